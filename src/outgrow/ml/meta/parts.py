"""What models around models share: the models within them, which are learned, saved and asked as parts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.engine.blocks import MatrixSpec
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError, SchemaError
from outgrow.ml.adapters import as_step
from outgrow.ml.base import Model
from outgrow.ml.core.parameters import Such
from outgrow.ml.core.task import Task, kinds_of
from outgrow.ml.export.sklearn.flow import Flow, note_width
from outgrow.ml.meta.whole_pipeline import PROMISES, as_fitted_model, as_model, is_pipeline

_ADVICE = (
    "Transformers stand before a model in a pipeline, and models of scikit-learn in scikit-learn's own class."
)
ESTIMATOR = Such(
    "a model of outgrow, or a pipeline that ends in one",
    lambda value: isinstance(as_model(value), Model) and as_model(value).learns_from_matrix,
    advice=_ADVICE,
)
T = TypeVar("T")
PREFIT = "prefit"
SEED = 0x0F01D5
"""Of the hashes that deal rows to folds; models within models deal anew."""
NO_FOLDS = dict.fromkeys(
    (
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
    ),
    "cv is a number; folds that are given are not taken",
)
"""Checks of scikit-learn that cannot be made."""


class AroundModel(Model):
    """A model around another, which learns from the same matrix once or several times.

    The parts share what the model notes of the columns before it learns, `common_`; `learned_` is what each
    of them learned beside that.
    """

    estimator: Any
    common_: dict[str, Any]
    learned_: list[dict[str, Any]]
    _noted: Any = None
    """A model like the parts that has noted the columns, and learned nothing."""
    _parts: Sequence[Any] = ()

    @property
    def _inner(self) -> Any:
        """The model within, not fitted."""
        return as_model(self.estimator)

    @property
    def _ready(self) -> Any:
        """The model within that is fitted already."""
        return as_fitted_model(self.estimator, self._noted)

    def _check_parameters(self) -> None:
        check_model(self, self._inner)

    @property
    def _prefit(self) -> bool:
        """Whether the model within is fitted already."""
        return False

    def __sklearn_clone__(self) -> Any:
        made = super().__sklearn_clone__()
        if self._prefit:
            made.estimator = self.estimator
        return made

    # ---- learn -------------------------------------------------------------------------------------------

    def _prepared(self, shard: Shard, task: Task) -> Shard:
        if self._prefit:
            check_is_fitted(self.estimator)
        self._noted = clone(self._inner)
        self._noted._expect(kinds_of(shard.example, task))
        if self._prefit and getattr(self.estimator, "categories_", None):
            return shard.transformed(self.estimator._coded, encoded=True)
        prepared: Shard = self._noted._prepared(shard, task)
        return prepared

    def _expect_features(self, shard: Shard, task: Task) -> MatrixSpec:
        super()._expect_features(shard, task)
        spec: MatrixSpec = self._noted._expect_features(shard, task)
        if self._prefit and self._noted.columns_ != self.estimator.columns_:
            raise SchemaError(
                f"{type(self).__name__}(cv='prefit'): the estimator learned from "
                f"{list(self.estimator.columns_)[:20]}, and the rows have "
                f"{list(self._noted.columns_)[:20]}. Give rows with the same columns."
            )
        return replace(spec, hashed=task.columns)

    def _new_part(self, **parameters: Any) -> Any:
        """A model that has noted the columns.

        Parameters
        ----------
        **parameters : those that differ from the model within.
        """
        part = copy.copy(self._noted)
        return part.set_params(**parameters) if parameters else part

    def _keep(self, parts: Sequence[Any]) -> None:
        """Note what fitted parts learned."""
        self._parts = parts
        if self._prefit:
            self.common_, self.learned_ = {}, []
            return
        common = self._noted._learned()
        self.common_ = {name: value for name, value in common.items() if name not in PROMISES}
        self.learned_ = [
            {n: v for n, v in part._learned().items() if n not in common or common[n] is not v}
            for part in parts
        ]

    def _restored(self) -> None:
        if hasattr(self, "learned_"):
            prefit = self._prefit
            self._parts = [self._ready] if prefit else [self._part(own) for own in self.learned_]

    def _part(self, learned: dict[str, Any]) -> Any:
        part = clone(self._inner)
        part._trusted = self._trusted
        promised = {name: getattr(self, name) for name in PROMISES if hasattr(self, name)}
        part._restore({**promised, **self.common_, **learned})
        return part

    @property
    def _seed(self) -> int:
        """Of the hashes that deal rows to folds."""
        return SEED + self._depth

    @property
    def _depth(self) -> int:
        """How many models around models this is, one within the other."""
        return 1 + getattr(self._inner, "_depth", 0)

    # ---- answer ------------------------------------------------------------------------------------------

    def _matrix(self, batch: Batch) -> Any:
        return self._parts[0]._matrix(batch)

    def _answers_matrix(self, values: Any) -> bool:
        return all(part._answers_matrix(values) for part in self._parts)

    def _used_features(self) -> list[str]:
        used: list[str] = self._parts[0]._used_features()
        return used

    def _sklearn_features(self, flow: Flow) -> Flow:
        return self._parts[0]._sklearn_features(flow)

    def _name_features(self, made: Any, names: np.ndarray) -> None:
        super()._name_features(made, names)
        for part, twin in zip(self._parts, self._twins_in(made), strict=True):
            part._name_features(twin, names)

    def _twins_in(self, made: Any) -> list[Any]:
        """The equals of the parts in that of this model."""
        twins: list[Any] = made.estimators_
        return twins

    def _sklearn_part(self, part: Any) -> Any:
        """The fitted equal of a part in scikit-learn."""
        made = part._sklearn_model()
        note_width(made, sum(kind.width or 1 for kind in part.columns_.values()))
        return made

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = self._inner.__sklearn_tags__()
        tags.input_tags = inner.input_tags
        if tags.classifier_tags is not None and inner.classifier_tags is not None:
            tags.classifier_tags = inner.classifier_tags
        return tags


def check_model(owner: Any, model: Any, name: str = "estimator") -> None:
    """Refuse what is no model that learns from a matrix, or has parameters that cannot be.

    Parameters
    ----------
    owner : the model around it.
    model : the one within.
    name : the parameter that holds it.

    Raises
    ------
    ParameterError
        When it cannot be.
    """
    step = as_model(as_step(model))
    if not isinstance(step, Model) or not step.learns_from_matrix:
        raise ParameterError(
            f"{type(owner).__name__}({name}=...): {type(model).__name__} is no model of outgrow. {_ADVICE}"
        )
    last = step.pipeline.model if is_pipeline(step) else step
    if any(last.roles.values()):
        raise ParameterError(
            f"{type(owner).__name__}({name}=...): {type(last).__name__} needs {sorted(last.roles)} beside "
            "y, which it would not get here. Choose another model."
        )
    if last.answers_several:
        raise ParameterError(
            f"{type(owner).__name__}({name}=...): {last!r} predicts several numbers for each row, and one is "
            "taken here. Give it one."
        )
    step.check_parameters()


def check_classifier(owner: Any, model: Any) -> None:
    """Refuse what does not predict classes.

    Parameters
    ----------
    owner : the model around it.
    model : the one within.

    Raises
    ------
    ParameterError
        When it does not.
    """
    if not is_classifier(model):
        raise ParameterError(
            f"{type(owner).__name__}(estimator=...): {type(model).__name__} predicts no classes. Choose a "
            "classifier."
        )


def inner_has(hook: str) -> Callable[[T], T]:
    """Available where the model within has a hook.

    Parameters
    ----------
    hook : its name, such as `_predict_proba`.
    """
    found: Callable[[T], T] = available_if(lambda model: hasattr(model._inner, hook))
    return found
