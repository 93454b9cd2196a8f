"""What a search may choose: a range or a list for each parameter, some only beside some values of others."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from outgrow.errors import ParameterError
from outgrow.ml.core.estimator import Estimator

_KEYS = {"low", "high", "log", "step", "choices", "when"}


@dataclass(frozen=True)
class Dimension:
    """One parameter.

    Attributes
    ----------
    when : values of other parameters beside which this one is chosen; always, if empty.
    lists : the choices that are lists, by the text that Optuna chooses and stores in their place.
    """

    name: str
    distribution: BaseDistribution
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    lists: Mapping[str, list[Any]] = field(default_factory=dict)

    def applies(self, chosen: Mapping[str, Any]) -> bool:
        return all(name in chosen and chosen[name] in values for name, values in self.when.items())

    @property
    def extremes(self) -> list[Any]:
        """All choices, or both ends of a range."""
        distribution = self.distribution
        if isinstance(distribution, CategoricalDistribution):
            return [self.lists.get(str(choice), choice) for choice in distribution.choices]
        if isinstance(distribution, FloatDistribution | IntDistribution):
            return [distribution.low, distribution.high]
        return []

    def suggest(self, trial: Any) -> Any:
        distribution = self.distribution
        if isinstance(distribution, FloatDistribution):
            return trial.suggest_float(
                self.name, distribution.low, distribution.high, log=distribution.log, step=distribution.step
            )
        if isinstance(distribution, IntDistribution):
            return trial.suggest_int(
                self.name, distribution.low, distribution.high, log=distribution.log, step=distribution.step
            )
        assert isinstance(distribution, CategoricalDistribution)
        choice = trial.suggest_categorical(self.name, distribution.choices)
        return self.lists.get(str(choice), choice)


class Space:
    """The parameters of a search.

    Parameters
    ----------
    given : for each name a list of choices, a mapping with `low` and `high` (and `log`, `step`, `when`) or
        with `choices` (and `when`), or a distribution of Optuna; or a function that takes an Optuna trial and
        returns the parameters.
    """

    def __init__(self, given: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]]) -> None:
        self.function = given if callable(given) else None
        self.dimensions = [] if callable(given) else _ordered(given)
        if not callable(given) and not given:
            raise ParameterError("The space is empty: name at least one parameter to choose.")

    @property
    def names(self) -> list[str]:
        return [dimension.name for dimension in self.dimensions]

    def suggest(self, trial: Any) -> dict[str, Any]:
        """The parameters of a trial, as its sampler suggests them."""
        if self.function is not None:
            return dict(self.function(trial))
        chosen: dict[str, Any] = {}
        for dimension in self.dimensions:
            if dimension.applies(chosen):
                chosen[dimension.name] = dimension.suggest(trial)
        return chosen

    def check(self, estimator: Any) -> None:
        """Refuse what cannot be set: parameters that are none, and values that a parameter cannot have.

        Raises
        ------
        ParameterError
            When the space names such a parameter, or reaches such a value.
        """
        params = {"": estimator, **estimator.get_params()}
        self._check_names(params)
        for dimension in self.dimensions:
            step, _, name = dimension.name.rpartition("__")
            owner = params.get(step)
            if isinstance(owner, Estimator):
                for value in dimension.extremes:
                    owner.check_parameter(name, value)

    def _check_names(self, known: Mapping[str, Any]) -> None:
        words = sorted(set(known) - {""})
        for name in self.names:
            if name not in words and not _is_taken(known, name):
                folded = {word.lower(): word for word in words}
                near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.4)
                hint = f" Did you mean {folded[near[0]]!r}?" if near else ""
                raise ParameterError(
                    f"The space names {name!r}, which is no parameter.{hint} Known: {words}."
                )

    def grid(self) -> dict[str, list[Any]]:
        """Every value of every parameter, for a grid.

        Raises
        ------
        ParameterError
            When a parameter has endless values, or one depends on another.
        """
        if self.function is not None:
            raise ParameterError("A grid needs a space of lists, not a function.")
        return {dimension.name: _values(dimension) for dimension in self.dimensions}

    def describe(self) -> dict[str, Any]:
        """What tells this space from others."""
        if self.function is not None:
            return {"function": getattr(self.function, "__qualname__", repr(self.function))}
        return {
            dimension.name: [json.loads(distribution_to_json(dimension.distribution)), _plain(dimension.when)]
            for dimension in self.dimensions
        }


def _ordered(given: Mapping[str, Any]) -> list[Dimension]:
    """The dimensions, each behind those it depends on."""
    waiting = [_dimension(name, _without_numpy(spec)) for name, spec in given.items()]
    done: list[Dimension] = []
    while waiting:
        known = {dimension.name for dimension in done}
        ready = [dimension for dimension in waiting if set(dimension.when) <= known]
        if not ready:
            stuck = waiting[0]
            missing = sorted(set(stuck.when) - known)
            raise ParameterError(
                f"{stuck.name!r} is chosen only beside {missing[0]!r}, which the space does not choose."
            )
        done += ready
        waiting = [dimension for dimension in waiting if dimension not in ready]
    return done


def _without_numpy(given: Any) -> Any:
    """Scalars and arrays of NumPy, also within lists and mappings, as Python has them."""
    if isinstance(given, np.generic | np.ndarray):
        return given.tolist()
    if isinstance(given, Mapping):
        return {key: _without_numpy(value) for key, value in given.items()}
    if isinstance(given, list | tuple):
        return type(given)(map(_without_numpy, given))
    return given


def _dimension(name: str, spec: Any) -> Dimension:
    if isinstance(spec, BaseDistribution):
        return Dimension(name, spec)
    if isinstance(spec, list | tuple | range):
        return Dimension(name, _choices(name, spec), lists=_lists(spec))
    if not isinstance(spec, Mapping) or set(spec) - _KEYS or ("choices" in spec) == ("low" in spec):
        raise ParameterError(
            f"The space says {name}: {spec!r}. Give a list of choices, or low and high (log, step, when)."
        )
    when = {
        other: tuple(v) if isinstance(v, list | tuple) else (v,) for other, v in spec.get("when", {}).items()
    }
    if "choices" in spec:
        return Dimension(name, _choices(name, spec["choices"]), when, _lists(spec["choices"]))
    return Dimension(name, _range(name, spec), when)


def _is_taken(known: Mapping[str, Any], name: str) -> bool:
    """Whether an estimator takes a parameter that it does not have yet, such as `module__hidden`."""
    return any(
        isinstance(owner, Estimator) and owner.takes_parameter(name.removeprefix(f"{step}__"))
        for step, owner in known.items()
        if not step or name.startswith(f"{step}__")
    )


def _choices(name: str, values: Any) -> CategoricalDistribution:
    if not len(values):
        raise ParameterError(f"The space gives no choice for {name!r}. List at least one value.")
    odd = [value for value in values if not (_is_plain(value) or _is_list(value))]
    if odd:
        raise ParameterError(
            f"The space gives {odd[0]!r} for {name!r}: choices are numbers, text, true, null, or lists of "
            "these."
        )
    return CategoricalDistribution([json.dumps(value) if _is_list(value) else value for value in values])


def _lists(values: Any) -> dict[str, list[Any]]:
    """The choices that are lists, by their text."""
    return {json.dumps(value): list(value) for value in values if _is_list(value)}


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str | None)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_plain, value))


def _range(name: str, spec: Mapping[str, Any]) -> BaseDistribution:
    low, high, log, step = spec["low"], spec.get("high"), bool(spec.get("log", False)), spec.get("step")
    numbers = [
        bound for bound in (low, high) if isinstance(bound, int | float) and not isinstance(bound, bool)
    ]
    if len(numbers) < 2 or not all(map(math.isfinite, numbers)) or low > high or (log and low <= 0):
        raise ParameterError(
            f"The space says {name}: {dict(spec)}. low and high are numbers, low is not above high"
            f"{', and with log both are above 0' if log else ''}."
        )
    try:
        if isinstance(low, int) and isinstance(high, int) and isinstance(step, int | None):
            return IntDistribution(low, high, log=log, step=step or 1)
        return FloatDistribution(
            float(numbers[0]), float(numbers[1]), log=log, step=None if step is None else float(step)
        )
    except ValueError as error:
        raise ParameterError(f"The space says {name}: {dict(spec)}. {error}") from error


def _values(dimension: Dimension) -> list[Any]:
    distribution = dimension.distribution
    if dimension.when:
        raise ParameterError(
            f"A grid has no conditions, and {dimension.name!r} has one. Choose another sampler."
        )
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution) and not distribution.log:
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    if isinstance(distribution, FloatDistribution) and distribution.step:
        count = round((distribution.high - distribution.low) / distribution.step)
        return [distribution.low + step_number * distribution.step for step_number in range(count + 1)]
    raise ParameterError(
        f"A grid needs a list or a step for {dimension.name!r}. Give one, or another sampler."
    )


def _plain(when: Mapping[str, tuple[Any, ...]]) -> dict[str, list[Any]]:
    return {name: list(values) for name, values in when.items()}
