"""Selections that let a model learn, and ask it how much it makes of each column."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.utils import get_tags

from outgrow.data.matrix import is_sparse
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.adapters import Foreign, as_step
from outgrow.ml.base import Model, SupervisedTransformer
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.core.inputs import open_training
from outgrow.ml.core.parameters import COLUMNS, Such
from outgrow.ml.core.task import Task, kinds_of
from outgrow.ml.feature_selection.base import Selection

ESTIMATOR = Such("an estimator of outgrow or scikit-learn", lambda value: as_step(value) is not None)
GETTER = Such(
    "'auto', or the name of an attribute of the fitted estimator", lambda value: isinstance(value, str)
)


class ModelSelection(Selection, SupervisedTransformer):
    """Keeps columns that matter to a model.

    Attributes
    ----------
    estimator_ : the fitted model.
    """

    parameters = {"estimator": ESTIMATOR, "importance_getter": GETTER, "columns": COLUMNS}
    estimator: Any
    importance_getter: str
    learned_: dict[str, Any]

    def _check_parameters(self) -> None:
        if isinstance(self.estimator, Estimator):
            self.estimator.check_parameters()

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from rows and their y.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        y : the name of a column of X, or an array of shape (rows,).
        sample_weight : the name of a column of X, or an array of shape (rows,), for the model.

        Raises
        ------
        ParameterError
            When there is no y.
        """
        self.check_parameters()
        return self._fit_on_engine(open_training(self, X, y, sample_weight))

    @property
    def estimator_(self) -> Any:
        """The fitted model, of scikit-learn if it was given one of these."""
        model = as_step(clone(self.estimator))
        model._restore(self.learned_)
        if not hasattr(self, "feature_names_in_"):  # it learned from an array, and takes arrays
            vars(model).pop("feature_names_in_", None)
            model.n_features_in_ = sum(kind.width or 1 for kind in model.columns_.values())
        return model.estimator if isinstance(model, Foreign) else model

    def _model_task(self, shard: Shard, names: Sequence[str], task: Task) -> Task:
        """The task of the model, which learns from some columns alone."""
        others = [name for name in task.features(shard.example) if name not in names]
        return replace(task, aside=(*task.aside, *others))

    def _learned_by(self, shard: Shard, names: Sequence[str], task: Task) -> Any:
        """The model, or the adapter of one of scikit-learn, that learned from some columns."""
        model, own = as_step(clone(self.estimator)), self._model_task(shard, names, task)
        model._expect(kinds_of(shard.example, own))
        model._fit_shard(shard, own, last=False)
        return model

    def _kept_of(self, shard: Shard, support: np.ndarray) -> Shard:
        """The rows with the columns where `support`, of shape (n_columns,), is true, and all others."""
        choice = copy.copy(self)
        choice.support_ = support
        return shard.transformed(choice._transform, encoded=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        tags.input_tags.sparse = inner.input_tags.sparse
        tags.target_tags.multi_output = inner.target_tags.multi_output
        tags.target_tags.required = True
        if inner.estimator_type == "classifier":
            tags.classifier_tags = inner.classifier_tags
        return tags


def importances(model: Any, getter: str, combine: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """How much a fitted model makes of each column.

    Parameters
    ----------
    model : fitted; that of an adapter is asked itself.
    getter : an attribute, through dots also of a part; 'auto' for `coef_`, or else `feature_importances_`.
    combine : makes one number of those of each column, given as an array of shape (any, columns).

    Raises
    ------
    ParameterError
        When the model has no such attribute.
    """
    fitted = model.estimator_ if isinstance(model, Foreign) else model
    names = ("coef_", "feature_importances_") if getter == "auto" else (getter,)
    for name in names:
        try:
            values = attrgetter(name)(fitted)
        except AttributeError:
            continue
        dense = values.toarray() if is_sparse(values) else np.asarray(values, dtype=np.float64)
        return combine(np.atleast_2d(dense))
    raise ParameterError(
        f"{type(fitted).__name__} has no {' or '.join(names)}, from which columns are chosen when "
        f"importance_getter={getter!r}. Name the attribute that it has, or choose another estimator."
    )


def is_model_of_matrix(model: Any) -> bool:
    """Whether a model learns from a resident matrix alone, so that it can from some of its columns."""
    return isinstance(model, Model) and model.learns_from_matrix
