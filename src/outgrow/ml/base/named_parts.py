"""Estimators made of named ones: their names, and the parameters of all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Self

from outgrow.errors import ParameterError, ValueTypeError
from outgrow.ml.base.verbs import Verbs


class NamedParts(Verbs):
    """Has estimators by name, which are parameters like others.

    Hooks: `_named_parts()` gives them in their order, `_replace_part(name, part)` puts another in the place
    of one.
    """

    def _named_parts(self) -> list[tuple[str, Any]]:
        raise NotImplementedError

    def _replace_part(self, name: str, part: Any) -> None:
        raise NotImplementedError

    def _own_parameters(self) -> dict[str, Any]:
        return super().get_params(deep=False)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters, and with `deep` the parts by name and their parameters as `<part>__<parameter>`."""
        params = self._own_parameters()
        if deep:
            for name, estimator in self._named_parts():
                params[name] = estimator
                if hasattr(estimator, "get_params"):
                    params |= {f"{name}__{key}": value for key, value in estimator.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters, parts by name, or parameters of parts as `<part>__<parameter>`."""
        own = self._own_parameters()
        for key in [key for key in params if key in own]:
            setattr(self, key, params.pop(key))
        inner: dict[str, dict[str, Any]] = defaultdict(dict)
        for key, value in params.items():
            name, _, rest = key.partition("__")
            self._check_known(name)
            if rest:
                inner[name][rest] = value
            else:
                self._replace_part(name, value)
        for name, values in inner.items():
            dict(self._named_parts())[name].set_params(**values)
        return self

    def _check_known(self, name: str) -> None:
        known = [known for known, _ in self._named_parts()]
        if name not in known:
            own = sorted(self._own_parameters())
            raise ParameterError(
                f"Invalid parameter {name!r} for estimator {self}. Valid parameters are: {own}. "
                f"Parameters of steps are '<step>__<parameter>'; the steps are {known}."
            )

    def _check_names(self, names: Sequence[Any]) -> None:
        """Refuse names that parameters could not be called by."""
        if not all(isinstance(name, str) for name in names):
            raise ValueTypeError(f"Names of steps are text: got {list(names)}.")
        if len(set(names)) < len(names):
            raise ParameterError(f"Names provided are not unique: {list(names)}.")
        wrong = [name for name in names if "__" in name]
        if wrong:
            raise ParameterError(f"Estimator names must not contain __: got {wrong}.")
        taken = sorted(set(names) & set(self._own_parameters()))
        if taken:
            raise ParameterError(f"Estimator names conflict with constructor arguments: {taken}.")
