"""Checks of estimator parameters, made at `fit` before any data is read."""

from __future__ import annotations

from collections.abc import Collection
from numbers import Integral, Real
from typing import Any

import numpy as np

from outgrow.errors import ParameterError


def number(
    owner: Any,
    name: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    none: bool = False,
) -> None:
    """Check that a parameter is a real number within limits; NaN never is.

    Parameters
    ----------
    owner : the estimator, whose attribute is looked at.
    name : the parameter.
    low, high : the least and the largest allowed number; None sets no limit.
    above : a number that itself is not allowed, and below which nothing is.
    none : whether None is allowed.

    Raises
    ------
    ParameterError
        When it is not.
    """
    value = getattr(owner, name)
    if none and value is None:
        return
    good = isinstance(value, Real) and not isinstance(value, bool) and value == value
    if good and low is not None:
        good = value >= low
    if good and high is not None:
        good = value <= high
    if good and above is not None:
        good = value > above
    if not good:
        _refuse(owner, name, _range("a number", low, high, above, none))


def numbers(owner: Any, name: str, *, low: float | None = None) -> None:
    """Check that a parameter is a number, or a list or array of shape (n,) of numbers.

    Parameters
    ----------
    owner : the estimator, whose attribute is looked at.
    name : the parameter.
    low : the least allowed number; None sets no limit.

    Raises
    ------
    ParameterError
        When it is neither, or empty.
    """
    values = np.asarray(getattr(owner, name))
    good = (
        values.dtype.kind in "iuf"
        and values.ndim <= 1
        and values.size
        and (low is None or (values >= low).all())
    )
    if not good:
        _refuse(
            owner, name, _range("a number", low, None, None, none=False) + ", or an array of such numbers"
        )


def integer(owner: Any, name: str, *, low: int | None = None, none: bool = False) -> None:
    """Check that a parameter is a whole number; True and False are not.

    Parameters
    ----------
    owner : the estimator, whose attribute is looked at.
    name : the parameter.
    low : the least allowed number; None sets no limit.
    none : whether None is allowed.

    Raises
    ------
    ParameterError
        When it is not.
    """
    value = getattr(owner, name)
    if none and value is None:
        return
    if not isinstance(value, Integral) or isinstance(value, bool) or (low is not None and value < low):
        _refuse(owner, name, _range("a whole number", low, None, None, none))


def one_of(owner: Any, name: str, allowed: Collection[Any]) -> None:
    """Check that a parameter is one of some values.

    Parameters
    ----------
    owner : the estimator, whose attribute is looked at.
    name : the parameter.
    allowed : text, which is compared by value, and other objects, of which it must be one itself.

    Raises
    ------
    ParameterError
        When it is none of them.
    """
    value = getattr(owner, name)
    if not any(value is item or (isinstance(item, str) and value == item) for item in allowed):
        _refuse(owner, name, "one of " + ", ".join(map(repr, allowed)))


def random_state(owner: Any) -> None:
    """`random_state` is a whole number, None, or one of NumPy's sources of random numbers."""
    value = owner.random_state
    if not isinstance(value, np.random.RandomState | np.random.Generator):
        integer(owner, "random_state", low=0, none=True)


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


def _range(what: str, low: float | None, high: float | None, above: float | None, none: bool) -> str:
    parts = [
        f"of at least {low:g}" if low is not None else "",
        f"of at most {high:g}" if high is not None else "",
        f"greater than {above:g}" if above is not None else "",
        "or None" if none else "",
    ]
    return " ".join([what, *(part for part in parts if part)])


def _refuse(owner: Any, name: str, expected: str) -> None:
    raise ParameterError(
        f"{type(owner).__name__}({name}={getattr(owner, name)!r}): {name} must be {expected}."
    )
