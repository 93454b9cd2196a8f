"""Estimators of scikit-learn as steps of a pipeline: they learn in one place, from all rows at once."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from sklearn.base import BaseEstimator, clone, is_classifier, is_clusterer, is_regressor
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if

from outgrow._optional import optional
from outgrow.data.batch import Batch, is_numeric
from outgrow.data.frames import to_frame
from outgrow.data.matrix import Matrix, is_sparse
from outgrow.engine.blocks import MatrixSpec, build_blocks
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.base import Clusterer, Model, ProbabilityClassifier, Regressor, Transformer
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.core.scoring import MARGINS, PROBABILITIES, Scoring
from outgrow.ml.core.task import Task, column_names, target_names


def as_step(estimator: Any) -> Any:
    """An estimator as a pipeline works with it: ours as they are, others behind an adapter.

    None for what no adapter can stand for.
    """
    if isinstance(estimator, Estimator):
        return estimator  # classes of users that are made of ours need no adapter
    if not isinstance(estimator, BaseEstimator):
        return None
    if hasattr(estimator, "transform") and not hasattr(estimator, "predict"):
        return ForeignTransformer(estimator)
    kinds = {ForeignClassifier: is_classifier, ForeignRegressor: is_regressor, ForeignClusterer: is_clusterer}
    fitting = (adapter for adapter, is_kind in kinds.items() if is_kind(estimator))
    adapter = next(fitting, None) if hasattr(estimator, "predict") else None
    return None if adapter is None else adapter(estimator)


class Foreign(Estimator):
    """What adapters share.

    Parameters
    ----------
    estimator : an estimator of scikit-learn, or of a library with its conventions; fitted after a fit.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    @property
    def _exported(self) -> Any:
        return self.estimator

    framed_: bool = False
    """Whether it was given a DataFrame, which scikit-learn's first step gets where rows have names."""

    def _fit_batch(self, shard: Shard, names: list[str], task: Task) -> Batch:
        """Learn from all rows, and give them."""
        self.framed_ = task.named and not shard.steps and find_spec("pandas") is not None
        batch = _in_one_place(shard, type(self.estimator).__name__)
        y, weight = beside(batch, task, labels=self._has_labels(batch, task))
        extra = {} if weight is None else {"sample_weight": weight}
        self.estimator_ = clone(self.estimator)
        self.estimator_.fit(self._input(batch, names), y, **extra)
        return batch

    def _input(self, batch: Batch, names: list[str]) -> Any:
        return as_input(batch.select(names), framed=self.framed_)

    def _has_labels(self, batch: Batch, task: Task) -> bool:
        """Whether y are classes: for a transformer, which may want either, where they are no numbers."""
        if is_classifier(self.estimator) or task.target is None:
            return True
        column = batch[task.target]
        return not (is_regressor(self.estimator) or isinstance(column, Matrix) or is_numeric(column.type))

    def _restored(self) -> None:
        vars(self.estimator).update(
            vars(self.estimator_)
        )  # what the user put into the pipeline is what was fitted


class ForeignTransformer(Foreign, Transformer):
    """A transformer of scikit-learn; it works on all columns that reach it."""

    columns = None

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        batch = self._fit_batch(shard, names, task)
        self.names_out_, self.sparse_out_ = self._made_of(batch.slice(0, 1), names)

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        if batch.num_rows:
            made = _values(self.estimator_.transform(self._input(batch, names)))
        else:  # which most transformers refuse
            empty = (0, len(self.names_out_))
            made = sp.csr_array(empty) if self.sparse_out_ else np.empty(empty)
        return batch.replace_numbers(names, made, self.names_out_, self.names_out_[0])

    def _made_of(self, batch: Batch, names: list[str]) -> tuple[list[str], bool]:
        """The names of what the transformer makes of rows, and whether that is sparse."""
        made = self.estimator_.transform(self._input(batch, names))
        if hasattr(made, "columns"):  # a DataFrame, where the step was told to give one
            return list(map(str, made.columns)), False
        spelt_out = column_names(batch.select(names)).tolist()
        return self._named(spelt_out, made.shape[1]), is_sparse(made)

    def _named(self, names: list[str], width: int) -> list[str]:
        try:
            found = list(map(str, self.estimator_.get_feature_names_out(names)))
        except (ValueError, AttributeError, TypeError):
            found = []
        if len(found) == width:
            return found
        stem = type(self.estimator).__name__.lower()
        return names if width == len(names) else [f"{stem}{j}" for j in range(width)]


class _ForeignModel(Foreign, Model):
    """What adapters of models share."""

    learns_from_matrix = False

    def _fit_shard(self, shard: Shard, task: Task, *, last: bool = True) -> None:
        self.features_ = task.features(shard.example)
        self.target_names_ = target_names(shard.example, task)
        self._fit_batch(shard, self.features_, task)
        if hasattr(self.estimator_, "classes_"):
            self.classes_ = self.estimator_.classes_

    def _predict_batch(self, method: str, batch: Batch) -> np.ndarray:
        if not batch.num_rows:  # which most models refuse
            return self._no_answers(method)
        return np.asarray(getattr(self.estimator_, method)(self._input(batch, self.features_)))

    def _no_answers(self, method: str) -> np.ndarray:
        width = len(self._prediction_names(method))
        if width > 1:
            return np.empty((0, width))
        return self.classes_[:0] if method == "predict" and hasattr(self, "classes_") else np.empty(0)


class ForeignRegressor(_ForeignModel, Regressor):
    """A regressor of scikit-learn."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = get_tags(self.estimator).target_tags.multi_output
        return tags


def _has(*methods: str) -> Any:
    """Available where the estimator has one of these methods."""
    return available_if(lambda adapter: any(hasattr(adapter.estimator, method) for method in methods))


class ForeignClassifier(_ForeignModel, ProbabilityClassifier):
    """A classifier of scikit-learn; with neither probabilities nor margins it has a score, no evaluation."""

    evaluate = _has("predict_proba", "decision_function")(ProbabilityClassifier.evaluate)
    predict_proba = _has("predict_proba")(ProbabilityClassifier.predict_proba)
    predict_log_proba = _has("predict_log_proba")(ProbabilityClassifier.predict_log_proba)

    @property
    def _scoring(self) -> Scoring:  # type: ignore[override]
        """By its probabilities, or else by its margins."""
        return PROBABILITIES if hasattr(self.estimator, "predict_proba") else MARGINS

    @_has("decision_function")  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> Any:
        """Margins of shape (rows,) for two classes, or (rows, classes)."""
        return self._respond(X, "decision_function")


class ForeignClusterer(_ForeignModel, Clusterer):
    """A clusterer of scikit-learn that can predict."""


def as_input(batch: Batch, *, framed: bool = False) -> Any:
    """Features as scikit-learn takes them: a matrix, or a DataFrame where some are no numbers.

    Parameters
    ----------
    batch : the features alone; missing numbers are NaN in the matrix.
    framed : whether numbers, too, become a DataFrame with the names of the columns; sparse ones never do.
    """
    columns = batch.columns.values()
    if not all(isinstance(column, Matrix) or is_numeric(column.type) for column in columns):
        return to_frame(pa.Table.from_batches([batch.to_arrow()]))
    matrix = batch.matrix()
    if is_sparse(matrix):
        return matrix
    values = np.ascontiguousarray(matrix)
    return optional("pandas", "spark").DataFrame(values, columns=column_names(batch)) if framed else values


def beside(batch: Batch, task: Task, *, labels: bool) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The target and the weights of a batch, checked; classes as they are.

    Parameters
    ----------
    batch : rows with the columns of y and of weights that `task` names.
    task : what the fit is about; without a target, or weights, None stands for them.
    labels : whether y are classes of any type; otherwise they must be numbers.
    """
    spec = MatrixSpec((), task.target, task.weight, labels=labels)
    (block,) = build_blocks(batch, spec)
    if block.values is None or block.y is None:
        return block.y, block.weight
    return np.array(block.values)[block.y], block.weight


def _in_one_place(shard: Shard, who: str) -> Batch:
    """All rows as one batch.

    Raises
    ------
    ParameterError
        When the rows are on several ranks.
    """
    if shard.run.comm.size > 1:
        raise ParameterError(
            f"{who} is not of outgrow and learns from all rows in one place, but these are on "
            f"{shard.run.comm.size} ranks. Fit it here, on a path or a sample, or use a class of outgrow."
        )
    return Batch.joined(list(shard.batches()) or [shard.example])


def _values(made: Any) -> Any:
    """What a transformer gave, as a matrix of numbers."""
    if is_sparse(made):
        return made
    values = np.asarray(made)
    return values if values.dtype.kind in "biuf" else values.astype(np.float64)
