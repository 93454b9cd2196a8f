"""What scalers share: numbers that change column by column, and statistics that grow with further rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from outgrow.data.batch import Batch
from outgrow.data.matrix import Matrix, is_sparse, matrix_columns
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.base import InvertibleTransformer
from outgrow.ml.base.invertible import KEPT_TYPES
from outgrow.ml.core.columns import require_numeric
from outgrow.ml.core.inputs import open_training
from outgrow.ml.core.parameters import COLUMNS, Unused
from outgrow.ml.core.task import Task
from outgrow.stats.state import merge


class ColumnwiseScaler(InvertibleTransformer):
    """Changes the numbers of each column by what it learned of that column.

    Hooks: `_statistics(batch, names, task)` is the state of a batch, `_note(state, names)` keeps what a state
    says, `_noted()` gives that state back; `_scaled(X, part)` and `_unscaled(X, part)` change a matrix, where
    `part` are its columns among all that were learned.
    """

    takes_dictionaries = True
    parameters = {"columns": COLUMNS, "copy": Unused()}

    def _statistics(self, batch: Batch, names: list[str], task: Task) -> Any:
        raise NotImplementedError

    def _note(self, state: Any, names: list[str]) -> None:
        raise NotImplementedError

    def _noted(self) -> Any:
        raise NotImplementedError

    def _scaled(self, X: Any, part: slice) -> Any:
        raise NotImplementedError

    def _unscaled(self, X: Any, part: slice) -> Any:
        raise NotImplementedError

    def _sparse_refusal(self) -> str | None:
        """Why there is no scaling of sparse rows; None where there is."""
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
            When X is sparse, and the scaler cannot keep its zeros.
        """
        return self._learn(X, y, None)

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Learn from further rows: what results is what `fit` would learn from all rows together.

        Parameters
        ----------
        X, y : as `fit` takes them.
        """
        return self._learn_more(X, y, None)

    def _learn(self, X: Any, y: Any, sample_weight: Any) -> Self:
        self._refuse_sparse(X)
        self.check_parameters()
        return self._fit_on_engine(open_training(self, X, y, sample_weight))

    def _learn_more(self, X: Any, y: Any, sample_weight: Any) -> Self:
        if not hasattr(self, "selected_"):
            return self._learn(X, y, sample_weight)
        self._refuse_sparse(X)
        self.check_parameters()
        before = self._noted()
        self._fit_on_engine(open_training(self, X, y, sample_weight, reset=False))
        self._note(merge(before, self._noted()), self.selected_)
        return self

    def transform(self, X: Any, copy: bool | None = None) -> Any:
        """Rows, scaled; in the form they have.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        copy : without effect: X is never changed.

        Raises
        ------
        ParameterError
            When X is sparse, and the scaler cannot keep its zeros.
        """
        self._refuse_sparse(X)
        return super().transform(X)

    def inverse_transform(self, X: Any, copy: bool | None = None) -> Any:
        """The rows that `transform` would turn into these; in the form X has.

        Parameters
        ----------
        X : what `transform` takes.
        copy : without effect: X is never changed.
        """
        self._refuse_sparse(X)
        return super().inverse_transform(X)

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
        self._note(shard.reduce(lambda batch: self._statistics(batch, names, task), encoded=True), names)

    @property
    def _width(self) -> int:
        """How many numbers the columns have that it works on."""
        return sum(kind.width or 1 for name, kind in self.columns_.items() if name in self.selected_)

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        return _changed(batch, names, self._scaled)

    def _revert(self, batch: Batch) -> Batch:
        return _changed(batch, self.selected_, self._unscaled)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = self._sparse_refusal() is None
        tags.transformer_tags.preserves_dtype = KEPT_TYPES
        return tags


def _holds_sparse(column: Any) -> bool:
    return isinstance(column, Matrix) and column.sparse


def _changed(batch: Batch, names: list[str], change: Callable[[Any, slice], Any]) -> Batch:
    """The batch with the numbers of these columns changed; the slice says which they are of all."""
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
