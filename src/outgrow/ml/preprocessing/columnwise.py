"""Numbers that change column by column, those whose change can be taken back, and those that learn on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np

from outgrow.data.batch import Batch
from outgrow.data.matrix import Matrix, is_sparse, matrix_columns
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.base import GrowingTransformer, InvertibleTransformer, Transformer
from outgrow.ml.base.invertible import KEPT_TYPES
from outgrow.ml.core.columns import require_numeric
from outgrow.ml.core.inputs import open_training
from outgrow.ml.core.parameters import COLUMNS, Unused
from outgrow.ml.core.task import Task
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import with_learned


class ColumnwiseTransformer(Transformer):
    """Changes the numbers of each column apart from those of others.

    Hooks: `_learn_columns(shard, names, task)` learns what it needs; `_scaled(X, part)` changes a matrix,
    where `part` are its columns among all that were learned; `_sparse_refusal()` says why sparse rows cannot
    be changed.
    """

    takes_dictionaries = True
    looks_at_its_columns = True
    missing_values_pass: ClassVar[bool] = True
    """Whether missing values stay missing; otherwise they are refused."""
    parameters = {"columns": COLUMNS, "copy": Unused()}

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        """Learn from rows whose columns are numbers; nothing by default."""

    def _scaled(self, X: Any, part: slice) -> Any:
        raise NotImplementedError

    def _sparse_refusal(self) -> str | None:
        """Why there is no change of sparse rows; None where there is."""
        return None

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        y : the name of a column of X to leave out; otherwise ignored.

        Raises
        ------
        ParameterError
            When X is sparse, and its zeros cannot be kept.
        """
        return self._learn(X, y, None)

    def _learn(self, X: Any, y: Any, sample_weight: Any) -> Self:
        self.check_parameters()
        self._refuse_sparse(X)
        return self._fit_on_engine(open_training(self, X, y, sample_weight))

    def transform(self, X: Any, copy: bool | None = None) -> Any:
        """Rows, changed; in the form they have.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        copy : without effect: X is never changed.

        Raises
        ------
        ParameterError
            When X is sparse, and its zeros cannot be kept.
        """
        self._refuse_sparse(X)
        return super().transform(X)

    def _refuse_sparse(self, X: Any) -> None:
        refusal = self._sparse_refusal()
        if refusal is not None and is_sparse(X):
            raise ParameterError(refusal)

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        require_numeric(shard.example, names, type(self).__name__)
        if not names:
            return
        refusal = self._sparse_refusal()
        if refusal is not None and any(_holds_sparse(shard.example.held.get(name)) for name in names):
            raise ParameterError(refusal)
        self._learn_columns(shard, names, task)

    @property
    def _width(self) -> int:
        """How many numbers the columns have that it works on."""
        return sum(kind.width or 1 for name, kind in self.columns_.items() if name in self.selected_)

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        return changed_numbers(batch, names, self._scaled)

    def _twin_in(self, flow: Flow, name: str, made: Any, *learned: str) -> Flow:
        """The flow of scikit-learn after this step.

        Parameters
        ----------
        flow : the steps before.
        name : what the step is called.
        made : a new object of scikit-learn with the same parameters; it takes over what was learned.
        *learned : the names of attributes, the same in both.
        """
        block = flow.block(self.selected_, name, made)
        made.fit(flow.tiny(block.labels, np.zeros((2, len(block.labels)))))
        with_learned(made, self, *learned)
        return flow.then(name, flow.beside(self.selected_, [block]), list(flow.columns))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing_values_pass
        tags.input_tags.sparse = self._sparse_refusal() is None
        tags.transformer_tags.preserves_dtype = KEPT_TYPES
        return tags


class ColumnwiseScaler(ColumnwiseTransformer, InvertibleTransformer):
    """A change of each column that can be taken back. Hook: `_unscaled(X, part)`."""

    def _unscaled(self, X: Any, part: slice) -> Any:
        raise NotImplementedError

    def inverse_transform(self, X: Any, copy: bool | None = None) -> Any:
        """The rows that `transform` would turn into these; in the form X has.

        Parameters
        ----------
        X : what `transform` takes.
        copy : without effect: X is never changed.
        """
        self._refuse_sparse(X)
        return super().inverse_transform(X)

    def _revert(self, batch: Batch) -> Batch:
        return changed_numbers(batch, self.selected_, self._unscaled)


class GrowingScaler(ColumnwiseScaler, GrowingTransformer):
    """A scaler that can learn from further rows.

    Hooks: `_statistics(batch, names, task)` is the state of a batch, `_note(state, names)` keeps what a state
    says, `_noted()` gives that state back.
    """

    def _statistics(self, batch: Batch, names: list[str], task: Task) -> Any:
        raise NotImplementedError

    def _note(self, state: Any, names: list[str]) -> None:
        raise NotImplementedError

    def _learn_more(self, X: Any, y: Any, sample_weight: Any) -> Self:
        self._refuse_sparse(X)
        return super()._learn_more(X, y, sample_weight)

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        state = shard.reduce(lambda batch: self._statistics(batch, names, task), encoded=True)
        self._note(self._grown(state), names)


def _holds_sparse(column: Any) -> bool:
    return isinstance(column, Matrix) and column.sparse


def changed_numbers(batch: Batch, names: list[str], change: Callable[[Any, slice], Any]) -> Batch:
    """The batch with the numbers of some columns changed.

    Parameters
    ----------
    batch : the rows.
    names : the columns, each a number or a vector of them.
    change : from a matrix, and the slice that its columns are of all, to the matrix in its place.
    """
    if not any(isinstance(batch.held.get(name), Matrix) for name in names):
        return batch.with_matrix(change(batch.matrix(names, order="K"), slice(None)), names)
    columns, at = {}, 0
    for name in names:
        X = batch.matrix([name])
        scaled = change(X, slice(at, at + X.shape[1]))
        at += X.shape[1]
        column = batch[name]
        columns[name] = (
            Matrix(scaled, column.names)
            if isinstance(column, Matrix)
            else matrix_columns(scaled, [name])[name]
        )
    return batch.with_columns(columns)


def unit_where_constant(scale: np.ndarray) -> np.ndarray:
    """What columns are divided by: 1 instead of next to nothing, as scikit-learn does; NaN stays NaN."""
    return np.where(scale < 10 * np.finfo(np.float64).eps, 1.0, scale)


def check_width(name: str, values: Any, width: int) -> None:
    """Refuse an array that has not one entry for each column.

    Parameters
    ----------
    name : the parameter.
    values : a number, or an array of shape (n,).
    width : how many numbers a row has.

    Raises
    ------
    ParameterError
        When n is another number.
    """
    if np.ndim(values) and len(values) != width:
        raise ParameterError(
            f"{name} has {len(values)} entries, and there are {width} columns. Give one for each, or one "
            "number."
        )


def replaced_numbers(batch: Batch, names: list[str], X: np.ndarray) -> Batch:
    """The batch with other numbers in the place of some columns.

    Parameters
    ----------
    batch : the rows.
    names : the columns, each a number or a vector of them; they keep their names and widths.
    X : shape (rows, width), the numbers of all these columns.
    """
    return changed_numbers(batch, names, lambda _, part: X[:, part])
