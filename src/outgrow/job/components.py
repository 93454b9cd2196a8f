"""The estimators that a job names."""

from __future__ import annotations

import inspect
import re
from typing import Any

from outgrow.catalogue import ESTIMATORS, estimator_class
from outgrow.errors import ParameterError
from outgrow.job.model import EstimatorSpec, Job, unknown
from outgrow.ml.base import Supervised, Transformer
from outgrow.ml.core.columns import Columns, categorical, few_values, matching, numeric
from outgrow.ml.pipeline import Pipeline

_SELECTORS = {"numeric": numeric, "categorical": categorical, "few_values": few_values}


class SpecError(ParameterError):
    """An estimator or a parameter that cannot be, and its keys in the job file."""

    def __init__(self, key_path: tuple[str | int, ...], text: str) -> None:
        super().__init__(text)
        self.key_path = key_path


def build_pipeline(job: Job) -> Pipeline:
    """The pipeline of a job, with every name and value checked.

    Raises
    ------
    SpecError
        When an estimator or a parameter is not known, or a value is not possible.
    """
    steps = [_build(spec, ("steps", number), Transformer) for number, spec in enumerate(job.steps)]
    return Pipeline([*steps, _build(job.model, ("model",), Supervised)])


def _build(spec: EstimatorSpec, key_path: tuple[str | int, ...], base: type) -> Any:
    if spec.name not in ESTIMATORS:
        raise SpecError(key_path, unknown(spec.name, ESTIMATORS, "estimator"))
    kind = estimator_class(spec.name)
    if not issubclass(kind, base):
        what = "transforms nothing" if base is Transformer else "predicts no target"
        raise SpecError(key_path, f"{spec.name} {what}. Choose another estimator here.")
    known = list(inspect.signature(kind).parameters)
    for name in spec.parameters:
        if not kind.takes_parameter(name):
            raise SpecError((*key_path, spec.name, name), unknown(name, known, "parameter"))
    values: dict[str, Any] = {}
    for name, value in spec.parameters.items():
        try:
            values[name] = _value(name, value, (*key_path, spec.name))
            kind.check_parameter(name, values[name])
        except SpecError:  # of an estimator within this one
            raise
        except (ValueError, re.error) as error:
            raise SpecError((*key_path, spec.name, name), str(error)) from error
    try:
        estimator = kind(**values)
        estimator.check_parameters()
    except (ValueError, TypeError) as error:
        raise SpecError((*key_path, spec.name), str(error)) from error
    return estimator


def _value(name: str, value: Any, key_path: tuple[str | int, ...]) -> Any:
    if name in ("estimator", "final_estimator"):
        return None if value is None else _inner(value, (*key_path, name))
    if name == "estimators" and isinstance(value, list):
        return _named([_inner(model, (*key_path, name, number)) for number, model in enumerate(value)])
    return _columns(value) if name == "columns" else value


def _inner(value: Any, key_path: tuple[str | int, ...]) -> Any:
    return _build(EstimatorSpec.model_validate(value), key_path, Supervised)


def _named(models: list[Any]) -> list[tuple[str, Any]]:
    """Models with their names as a pipeline would name them."""
    return Pipeline(models).step_items


def _columns(value: Any) -> Columns:
    """`numeric`, `categorical`, `few_values`, `/regex/`, or names."""
    if not isinstance(value, str):
        return value
    if value in _SELECTORS:
        return _SELECTORS[value]()
    if len(value) > 2 and value[0] == value[-1] == "/":
        return matching(value[1:-1])
    return [value]
