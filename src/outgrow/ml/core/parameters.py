"""What values the parameters of an estimator may have: data, which checks, job files, searches and docs read.

A class declares its parameters once, as a mapping from names to domains:

    parameters = {"alpha": Number(low=0), "max_depth": Integer(low=1) | None, "init": OneOf("random", "rows")}
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from outgrow.errors import ParameterError

MOST_SHOWN = 100
"""Characters of a value that an error shows."""


class Domain:
    """The values that a parameter may have: `value in domain`.

    `a | b` are the values of either, where `b` may also be one value, such as None.

    Examples
    --------
    >>> from outgrow.ml.core.parameters import Integer, OneOf
    >>> domain = Integer(low=1) | OneOf("auto", None)
    >>> print(domain)
    a whole number of at least 1, 'auto' or None
    >>> [value in domain for value in (3, "auto", 0, True, "never")]
    [True, True, False, False, False]
    """

    used = True
    """Whether the parameter changes anything."""
    advice = ""
    """What an error says beside what the value must be, as a sentence."""

    def __contains__(self, value: Any) -> bool:
        raise NotImplementedError

    def phrases(self) -> list[str]:
        """The alternatives, each as an error says it behind 'must be'."""
        raise NotImplementedError

    def __str__(self) -> str:
        *others, last = self.phrases()
        return f"{', '.join(others)} or {last}" if others else last

    def __or__(self, other: Any) -> Union:
        return Union((self, other if isinstance(other, Domain) else OneOf(other)))

    def check(self, owner: str, name: str, value: Any) -> None:
        """Refuse what is not in the domain.

        Parameters
        ----------
        owner : the class whose parameter it is, for the message.
        name : the parameter.
        value : what it is to be.

        Raises
        ------
        ParameterError
            When the value is not allowed; it says what is.
        """
        if value not in self:
            shown = repr(value)
            if len(shown) > MOST_SHOWN:
                shown = f"{shown[:MOST_SHOWN]}..."
            advice = f" {self.advice}" if self.advice else ""
            raise ParameterError(f"{owner}({name}={shown}): {name} must be {self}.{advice}")


@dataclass(frozen=True)
class Number(Domain):
    """A real number within limits; NaN, True and False never are.

    Parameters
    ----------
    low, high : the least and the largest allowed number; None sets no limit.
    above, below : the same of numbers that are not allowed themselves.
    """

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None

    def __contains__(self, value: Any) -> bool:
        return self._is_kind(value) and self._is_within(value)

    def _is_kind(self, value: Any) -> bool:
        return isinstance(value, Real) and not isinstance(value, bool) and bool(value == value)

    def _is_within(self, value: Any) -> bool:
        return bool(
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def phrases(self) -> list[str]:
        limits = [
            f"at least {self.low:g}" if self.low is not None else "",
            f"greater than {self.above:g}" if self.above is not None else "",
            f"at most {self.high:g}" if self.high is not None else "",
            f"less than {self.below:g}" if self.below is not None else "",
        ]
        within = " and ".join(filter(None, limits))
        return [f"{self._what} {'of ' * within.startswith('at ')}{within}".strip()]

    @property
    def _what(self) -> str:
        return "a number"


@dataclass(frozen=True)
class Integer(Number):
    """A whole number within limits; its type is one of whole numbers."""

    def _is_kind(self, value: Any) -> bool:
        return isinstance(value, Integral) and not isinstance(value, bool)

    @property
    def _what(self) -> str:
        return "a whole number"


@dataclass(frozen=True)
class Share(Number):
    """A number within limits whose type is not one of whole numbers: 1.0, but not 1, which counts things."""

    def _is_kind(self, value: Any) -> bool:
        return super()._is_kind(value) and not isinstance(value, Integral)

    @property
    def _what(self) -> str:
        return "a share"


@dataclass(frozen=True)
class Numbers(Number):
    """A number within limits, or a list or an array of shape (n,) of such numbers."""

    def __contains__(self, value: Any) -> bool:
        try:
            values = np.asarray(value)
        except ValueError:  # rows of different lengths
            return False
        plain = values.dtype.kind in "iuf" and values.ndim <= 1 and values.size > 0
        return plain and all(super(Numbers, self).__contains__(number) for number in values.ravel().tolist())

    def phrases(self) -> list[str]:
        return [*super().phrases(), "an array of such numbers"]


class OneOf(Domain):
    """One of some values.

    Parameters
    ----------
    *values : text, which is compared by value, and other objects, of which it must be one itself.
    advice : what an error says beside them, as a sentence.
    """

    def __init__(self, *values: Any, advice: str = "") -> None:
        self.values = values
        self.advice = advice

    def __contains__(self, value: Any) -> bool:
        text = isinstance(value, str)
        return any(
            value is item or (text and isinstance(item, str) and value == item) for item in self.values
        )

    def phrases(self) -> list[str]:
        return [repr(value) for value in self.values]

    def __str__(self) -> str:
        return f"one of {', '.join(self.phrases())}" if len(self.values) > 1 else repr(self.values[0])


@dataclass(frozen=True)
class Such(Domain):
    """What a test holds for.

    Parameters
    ----------
    what : the values, in words: 'a function'.
    test : says of a value whether it is one of them.
    advice : what an error says beside them, as a sentence.
    """

    what: str
    test: Callable[[Any], bool]
    advice: str = ""

    def __contains__(self, value: Any) -> bool:
        try:
            return bool(self.test(value))
        except (TypeError, ValueError):  # such as of an array of no dimensions, which has no length
            return False

    def phrases(self) -> list[str]:
        return [self.what]


@dataclass(frozen=True)
class Union(Domain):
    """The values of several domains."""

    parts: tuple[Domain, ...]

    def __contains__(self, value: Any) -> bool:
        return any(value in part for part in self.parts)

    def phrases(self) -> list[str]:
        return [phrase for part in self.parts for phrase in part.phrases()]

    @property
    def advice(self) -> str:  # type: ignore[override]
        return " ".join(part.advice for part in self.parts if part.advice)


@dataclass(frozen=True)
class Unused(Domain):
    """A parameter that scikit-learn's class has and that changes nothing here, such as `n_jobs`.

    It is accepted, so that code can stay as it is.
    """

    domain: Domain | None = None

    used = False

    def __contains__(self, value: Any) -> bool:
        return self.domain is None or value in self.domain

    def phrases(self) -> list[str]:
        return ["anything"] if self.domain is None else self.domain.phrases()

    def __str__(self) -> str:
        return "anything" if self.domain is None else str(self.domain)


def described(what: str) -> Such:
    """Values that only a fit can check, in words."""
    return Such(what, lambda value: True)


def _is_number_type(value: Any) -> bool:
    try:
        return np.dtype(value).kind in "iuf"
    except (TypeError, ValueError, SyntaxError):  # the last for text that looks like a list of types
        return False


def _is_class_weight(value: Any) -> bool:
    return isinstance(value, Mapping) and all(weight in WEIGHT for weight in value.values())


def _are_class_weights(value: Any) -> bool:
    return value in LIST and all(weights in CLASS_WEIGHT for weights in value)


def _is_column_choice(value: Any) -> bool:
    if value is None or isinstance(value, str) or callable(value):
        return True
    listed = isinstance(value, Collection) and not isinstance(value, Mapping)
    return listed and all(isinstance(name, str) for name in value)


FINITE = Number(above=-np.inf, below=np.inf)
WEIGHT = Number(low=0, below=np.inf)
FLAG = Such("True or False", lambda value: isinstance(value, bool | np.bool_))
FUNCTION = Such("a function", callable)
TEXT = Such("text", lambda value: isinstance(value, str))
LIST = Such("a list", lambda value: isinstance(value, list | tuple | np.ndarray))
ARRAY = Such("an array", lambda value: isinstance(value, list | tuple) or hasattr(value, "shape"))
MAPPING = Such("a dictionary", lambda value: isinstance(value, Mapping))
NUMBER_TYPE = Such("a NumPy type of numbers, such as 'float32'", _is_number_type)
COLUMNS = Such("names of columns, a selector such as outgrow.numeric(), or None for all", _is_column_choice)
RANDOM_STATE = (
    Integer(low=0)
    | None
    | Such(
        "one of NumPy's sources of random numbers",
        lambda value: isinstance(value, np.random.RandomState | np.random.Generator),
    )
)
CLASS_WEIGHT = Such("a dictionary of weights of at least 0", _is_class_weight) | OneOf("balanced", None)
CLASS_WEIGHTS = CLASS_WEIGHT | Such("a list of such, one for each target", _are_class_weights)


def seed(random_state: Any) -> int:
    """The number behind a `random_state`: None is 0, and a source of random numbers gives its next one.

    Examples
    --------
    >>> import numpy as np
    >>> from outgrow.ml.core.parameters import seed
    >>> seed(None), seed(7), seed(np.random.RandomState(0)) == seed(np.random.RandomState(0))
    (0, 7, True)
    """
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(np.iinfo(np.int32).max))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(np.iinfo(np.int32).max))
    return int(random_state or 0)


def numpy_random(random_state: Any) -> np.random.RandomState:
    """scikit-learn's source of random numbers for a `random_state`; of any size, where NumPy ends at 2**32.

    Examples
    --------
    >>> from outgrow.ml.core.parameters import numpy_random
    >>> numpy_random(7).randint(100), numpy_random(2**40).randint(100)
    (47, 1)
    """
    number = seed(random_state)
    if number < 2**32:
        return np.random.RandomState(number)
    return np.random.RandomState(
        [number >> shift & 0xFFFFFFFF for shift in range(0, number.bit_length(), 32)]
    )
