"""Pipelines that scikit-learn's own Pipeline runs: some of their steps, or what they get, is for it alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import sklearn
from sklearn.pipeline import Pipeline as SklearnPipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import has_fit_parameter

from outgrow.data.matrix import is_sparse
from outgrow.engine.open import is_table
from outgrow.errors import ParameterError, ValueTypeError
from outgrow.ml.adapters import Foreign, as_step
from outgrow.ml.base import Transformer
from outgrow.ml.core.outputs import is_lazy

Steps = Sequence[tuple[str, Any]]


def passes(step: Any) -> bool:
    """Whether this stands for no step."""
    return step is None or (isinstance(step, str) and step == "passthrough")


def check_step(name: str, step: Any, *, last: bool) -> None:
    """Refuse what no pipeline can have as a step.

    Parameters
    ----------
    name : what the step is called, for the message.
    step : what was given for it; 'passthrough' and None are not asked about.
    last : whether it is the last: others must hand on rows.

    Raises
    ------
    ValueTypeError
        When it is a class, or has not the methods that its place needs.
    """
    if isinstance(step, type):
        raise ValueTypeError(
            f"Expected an estimator instance ({step.__name__}()), got estimator class instead "
            f"({step.__name__}). Step {name!r} must be made."
        )
    learns = hasattr(step, "fit") or (not last and hasattr(step, "fit_transform"))
    if not learns or not (last or hasattr(step, "transform")):
        needed = "implement fit" if last else "be transformers and implement fit and transform"
        where = "Last step of Pipeline" if last else "All intermediate steps"
        raise ValueTypeError(
            f"{where} should {needed} or be the string 'passthrough'. "
            f"{step!r} (step {name!r}, type {type(step)}) is no such step, and hands no rows on."
        )


def without_adapter(steps: Steps) -> list[str]:
    """The steps that do not work on batches of rows, neither by themselves nor behind an adapter."""
    places = [(name, as_step(step), place == len(steps) - 1) for place, (name, step) in enumerate(steps)]
    return [
        name
        for (name, worker, last), (_, step) in zip(places, steps, strict=True)
        if not passes(step) and (worker is None or not (last or isinstance(worker, Transformer)))
    ]


def is_for_sklearn(steps: Steps, X: Any, params: Mapping[str, Any]) -> bool:
    """Whether a fit is scikit-learn's: a step has no adapter, or steps of others get more than a table.

    Parameters
    ----------
    steps : (name, estimator) pairs of the pipeline; in place of an inner pipeline those of its own.
    X : the rows that `fit` is given.
    params : the keyword arguments that `fit` is given beside y and weights.

    Raises
    ------
    ParameterError
        When it is, and the rows are not in memory.
    """
    alone = without_adapter(steps)
    others = [name for name, step in steps if isinstance(as_step(step), Foreign)]
    for_sklearn = bool(alone) or (bool(others) and _is_more_than_a_table(X, params))
    if for_sklearn and is_lazy(X):
        raise needs_memory(alone or others)
    return for_sklearn


def needs_memory(steps: Sequence[str]) -> ParameterError:
    """The error for steps that only scikit-learn's Pipeline can run."""
    return ParameterError(
        f"The steps {list(steps)} are not of outgrow; they, and parameters of their own, need rows "
        "in memory, as arrays or a DataFrame, and `fit`. Pass those, or use classes of outgrow."
    )


def _is_more_than_a_table(X: Any, params: Mapping[str, Any]) -> bool:
    own = [name for name in params if name.rpartition("__")[2] != "sample_weight"]
    return bool(own) or not _is_matrix(X) or sklearn.get_config()["enable_metadata_routing"]


def _is_matrix(X: Any) -> bool:
    """Whether these are rows of columns, and no documents, images or nothing."""
    if hasattr(X, "ndim"):
        return bool(X.ndim == 2)
    return is_table(X) or is_sparse(X) or (isinstance(X, list | tuple) and all(map(np.ndim, X)))


def in_output(made: Any, output: str | None, names: Callable[[], Any]) -> Any:
    """What a transformer made, in the form that `set_output` or scikit-learn's configuration asks for.

    Parameters
    ----------
    made : an array, a sparse matrix or a DataFrame, as it would be given without that.
    output : 'default', 'pandas' or 'polars'; None where `set_output` was not called.
    names : gives the names of the columns, and is called only where a DataFrame is made.
    """
    output = output or sklearn.get_config()["transform_output"]
    if output == "default":
        return made
    give = FunctionTransformer(feature_names_out=lambda *_: names())
    return give.set_output(transform=output).transform(made)


def in_sklearn(pipeline: Any) -> SklearnPipeline:
    """scikit-learn's Pipeline of the same steps."""
    return SklearnPipeline(
        list(pipeline.step_items),
        transform_input=pipeline.transform_input,
        memory=pipeline.memory,
        verbose=pipeline.verbose,
    )


def fit_params(steps: Steps, params: Mapping[str, Any], sample_weight: Any) -> dict[str, Any]:
    """The parameters of scikit-learn's fit: weights for all steps that know them.

    Parameters
    ----------
    steps : those of the pipeline.
    params : the keyword arguments that `fit` is given; they win over what is made of the weights.
    sample_weight : array of shape (rows,), or None. With metadata routing it is handed on as it is.
    """
    if sample_weight is None:
        return dict(params)
    if sklearn.get_config()["enable_metadata_routing"]:
        return {**params, "sample_weight": sample_weight}
    weighed = [name for name, step in steps if not passes(step) and has_fit_parameter(step, "sample_weight")]
    return {**{f"{name}__sample_weight": sample_weight for name in weighed}, **params}
