"""A pipeline in the place of a model: models around others learn from matrices, and it from tables.

What is no number becomes the number of its value among all values, and is that value again before the steps
of the pipeline see it. So each fold, copy or relabelling of the rows is a table to the pipeline, and its
steps learn from the same rows as its model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from sklearn.base import clone, is_classifier
from sklearn.utils.metaestimators import available_if

from outgrow.data.batch import Batch
from outgrow.data.dictionaries import not_null, places_among
from outgrow.data.kind import Kind
from outgrow.data.matrix import Column, Matrix, is_sparse
from outgrow.data.names import numbered
from outgrow.engine.block_rows import BlockRows
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.engine.shard import Shard
from outgrow.errors import SchemaError
from outgrow.ml.base import Model
from outgrow.ml.core.parameters import described
from outgrow.ml.core.task import Task, kinds_of
from outgrow.ml.predictor import Predictor
from outgrow.ml.step_list import StepList
from outgrow.stats.counts import ValueCounts

_NO_NUMBERS = ("category", "time")
PROMISES = ("columns_", "n_features_in_", "feature_names_in_")
"""What a fit notes of the columns, the same for all models of one table."""


def _has(hook: str) -> Callable[[Any], Any]:
    return available_if(lambda part: hasattr(part.pipeline.model, hook))


class WholePipeline(Model):
    """A pipeline that learns from a matrix, and answers for one, or for rows of a table.

    Parameters
    ----------
    pipeline : it ends in a model.
    """

    _missing = True
    parameters = {"pipeline": described("a pipeline that ends in a model")}
    no_exports: ClassVar[dict[str, str]] = {
        "ONNX": "it is a pipeline within another model",
        "scikit-learn": "it is a pipeline within another model",
    }

    pipeline_: dict[str, Any]
    classes_: np.ndarray
    _values: dict[str, list[Any]]
    """Those of columns of categories, in the order of their codes."""
    _times: list[str]
    _types: dict[str, pa.DataType]
    _task: Task
    _fitted: Any = None

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    @property
    def _labels(self) -> bool:  # type: ignore[override]
        return is_classifier(self.pipeline)

    @property
    def _depth(self) -> int:
        return int(getattr(self.pipeline.model, "_depth", 0))

    def _check_parameters(self) -> None:
        self.pipeline.check_parameters()

    def __sklearn_tags__(self) -> Any:
        return self.pipeline.__sklearn_tags__()

    # ---- learn -------------------------------------------------------------------------------------------

    def _prepared(self, shard: Shard, task: Task) -> Shard:
        kinds = kinds_of(shard.example, task)
        self._refuse_lists(kinds)
        self._task, self._types = task, shard.example.arrow_types(kinds)
        if all(kind.base not in _NO_NUMBERS for kind in kinds.values()):
            self._values, self._times = {}, []
            return shard
        self._times = [name for name, kind in kinds.items() if kind.base == "time"]
        names = [name for name, kind in kinds.items() if kind.base == "category"]
        self._values = _values_of(shard, names) if names else {}
        return shard.transformed(self._coded, encoded=True)

    def shares_columns(self, other: WholePipeline) -> None:
        """Take over what another one noted of the same columns."""
        self._task, self._types = other._task, other._types
        self._values, self._times = other._values, other._times

    def _refuse_lists(self, kinds: dict[str, Kind]) -> None:
        lists = [
            name
            for name, kind in kinds.items()
            if kind.width is None and kind.base not in (*_NO_NUMBERS, "number")
        ]
        if lists:
            raise SchemaError(
                f"Columns {lists[:20]} are {kinds[lists[0]]}, which go to no pipeline within another model. "
                "Put the steps that take them before the outer model, in a pipeline around it."
            )

    def _coded(self, batch: Batch) -> Batch:
        """The batch with numbers in place of what is none."""
        codes = {name: places_among(_plain(batch, name), values) for name, values in self._values.items()}
        return batch.with_columns({**codes, **{name: _moments(batch, name) for name in self._times}})

    def _fit(self, view: MatrixView) -> None:
        names, made = self.features_, clone(self.pipeline)
        target, weight = numbered("_y", names), numbered("_weight", names)
        weighted = view.labels.weighted
        classes = view.labels.classes

        def table(block: Block) -> Batch:
            y = np.asarray(block.y)
            columns = {target: pa.array(y if classes is None else classes[y])}
            if weighted:
                columns[weight] = pa.array(np.ones(len(block)) if block.weight is None else block.weight)
            return self._decoded(block.X).with_columns(columns)

        task = Task(target, weight if weighted else None, tuple(names), named=self._task.named)
        rows = BlockRows(view, table)
        example = rows.empty(view.width)
        made._expect(kinds_of(example, task))
        made._fit_shard(Shard(view.run, example, rows), task)
        if classes is not None:
            self.classes_ = classes
        self.pipeline_ = {name: value for name, value in made._learned().items() if name not in PROMISES}
        self._restored()

    def _restored(self) -> None:
        if hasattr(self, "pipeline_"):
            made = clone(self.pipeline)
            made._trusted = self._trusted
            promised = {name: getattr(self, name) for name in PROMISES if hasattr(self, name)}
            made._restore({**promised, **self.pipeline_})
            self.answered_by(made)

    def answered_by(self, fitted: Any) -> None:
        """Let a fitted pipeline answer."""
        self._fitted = fitted
        self.__dict__.pop("_predictor", None)

    # ---- answer ------------------------------------------------------------------------------------------

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self._fitted)

    def _matrix(self, batch: Batch) -> Any:
        """The features of a batch: numbers, or where there are others the rows themselves."""
        kinds = self.columns_.values()
        return batch if any(kind.base in _NO_NUMBERS for kind in kinds) else super()._matrix(batch)

    def _answer(self, method: str, X: Any) -> np.ndarray:
        return self._predictor.answer(X if isinstance(X, Batch) else self._decoded(X), method)

    def _predict(self, X: Any) -> np.ndarray:
        return self._answer("predict", X)

    @_has("_predict_proba")
    def _predict_proba(self, X: Any) -> np.ndarray:
        found, own = self._answer("predict_proba", X), self._predictor.model.classes_
        if len(own) == len(self.classes_):
            return found
        whole = np.zeros((len(found), len(self.classes_)))  # of rows that lacked a class
        whole[:, np.searchsorted(self.classes_, own)] = found
        return whole

    @_has("_decision_function")
    def _decision_function(self, X: Any) -> np.ndarray:
        return self._answer("decision_function", X)

    def _decoded(self, X: Any) -> Batch:
        """The rows of a matrix as a table."""
        columns: dict[str, Column] = {}
        start = 0
        for name in self.features_:
            kind = self.columns_[name]
            end = start + (kind.width or 1)
            part = X[:, start:end]
            if kind.width is not None:
                columns[name] = Matrix(part, tuple(f"{name}_{j}" for j in range(kind.width)))
            else:
                values = np.asarray(part.toarray() if is_sparse(part) else part)[:, 0]
                columns[name] = self._column(name, values)
            start = end
        return Batch(columns, X.shape[0])

    def _column(self, name: str, numbers: np.ndarray) -> pa.Array:
        kind = self._types.get(name, pa.float64()) if hasattr(self, "_types") else pa.float64()
        if name in getattr(self, "_times", ()):
            return _times(numbers, kind)
        if name not in getattr(self, "_values", {}):
            floating = pa.types.is_floating(kind)
            return pa.array(numbers, mask=None if floating else np.isnan(numbers)).cast(kind)
        codes = pa.array(np.nan_to_num(numbers).astype(np.int32), mask=np.isnan(numbers))
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        values = pa.array(self._values[name], pa.string() if pa.types.is_null(plain) else plain)
        return values.take(codes) if len(values) else pa.nulls(len(numbers), values.type)


def as_model(estimator: Any) -> Any:
    """An estimator as models around others take it: pipelines that end in a model as `WholePipeline`.

    Parameters
    ----------
    estimator : anything.
    """
    if isinstance(estimator, StepList) and isinstance(estimator.model, Model):
        return WholePipeline(estimator)
    return estimator


def is_pipeline(model: Any) -> bool:
    """Whether a part of a model is a pipeline."""
    return isinstance(model, WholePipeline)


def as_given(parts: Sequence[Any]) -> list[Any]:
    """Fitted parts as users know them: pipelines are pipelines.

    Parameters
    ----------
    parts : of a fitted model.
    """
    return [part._fitted if is_pipeline(part) else part for part in parts]


def as_fitted_model(estimator: Any, noted: Any) -> Any:
    """The same of one that is fitted already.

    Parameters
    ----------
    estimator : a fitted model or pipeline.
    noted : what has noted the columns, where it is known.
    """
    if isinstance(estimator, Model):
        return estimator
    made = WholePipeline(estimator) if noted is None else noted
    made.columns_, made.features_ = estimator.columns_, list(estimator.columns_)
    if hasattr(estimator, "classes_"):
        made.classes_ = estimator.classes_
    made.answered_by(estimator)
    return made


def _values_of(shard: Shard, names: Sequence[str]) -> dict[str, list[Any]]:
    """The values of columns, sorted; one pass."""
    counts = shard.reduce(
        lambda batch: tuple(ValueCounts.of(_plain(batch, name)) for name in names), encoded=True
    )
    return {name: count.values() for name, count in zip(names, counts, strict=True)}


def _plain(batch: Batch, name: str) -> pa.Array:
    column = batch[name]
    assert not isinstance(column, Matrix)
    return not_null(column)


def _stored(kind: pa.DataType) -> tuple[pa.DataType, pa.DataType]:
    """As what moments become numbers: to the microsecond, as a float64 counts no more; and those numbers."""
    exact = pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) and kind.unit == "ns" else kind
    return exact, pa.int32() if exact.bit_width == 32 else pa.int64()


def _moments(batch: Batch, name: str) -> pa.Array:
    """Moments as numbers."""
    column = _plain(batch, name)
    exact, number = _stored(column.type)
    return column.cast(exact, safe=False).cast(number).cast(pa.float64(), safe=False)


def _times(numbers: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Numbers as moments again."""
    exact, number = _stored(kind)
    return pa.array(numbers, mask=np.isnan(numbers)).cast(number).cast(exact).cast(kind)
