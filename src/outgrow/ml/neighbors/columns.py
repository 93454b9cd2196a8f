"""What finds rows of the fit and calls them by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from outgrow.data.hashing import matrix_hash, seeded
from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import MatrixSpec
from outgrow.engine.matrix import MatrixView
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.base.expansion import Expansion
from outgrow.ml.core.inputs import open_rows
from outgrow.ml.core.outputs import collect, is_lazy
from outgrow.ml.core.task import Task
from outgrow.ml.neighbors.known_rows import check_size, row_order


class NeighborColumns(Expansion):
    """Puts `neighbor0`, ..., `distance0`, ... in the place of the columns by which it finds rows of the fit.

    Hooks: `_gather(view)` notes the rows in the order of their hashes, and gives their ids, or None.

    Attributes
    ----------
    ids_ : ndarray of shape (n_samples_fit_,), what each row is called.
    n_samples_fit_ : how many there are.
    """

    stem = "neighbors"
    looks_at_its_columns = False
    exempt = {"two_of_a_kind_keep_their_outputs": "rows of a pipeline are called by their places in rows_"}
    n_neighbors: int
    id: str | None
    ids_: np.ndarray
    n_samples_fit_: int

    def _gather(self, view: MatrixView) -> np.ndarray | None:
        raise NotImplementedError

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns): the rows among which
            neighbours are found.
        y : the name of a column of X to leave out; otherwise ignored.
        """
        super().fit(X, y)
        if self.id is None and not is_lazy(X):
            self.ids_ = self._positions(self._values(X))
        return self

    def _positions(self, values: Any) -> np.ndarray:
        """The position of each row of the fit, in the order in which they are held."""
        return row_order(np.asarray(values, dtype=np.float64), seeded(matrix_hash(values), 0))

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        if self.id is not None and self.id not in shard.example.columns:
            raise ParameterError(
                f"{type(self).__name__}(id={self.id!r}): there is no such column. There are "
                f"{list(shard.example.columns)[:20]}."
            )
        self.selected_ = [name for name in names if name != self.id]
        super()._fit(shard, self.selected_, task)

    def _unused_columns(self) -> list[str]:
        return [] if self.id is None else [self.id]

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        roles = () if self.id is None else (("id", self.id),)
        hashed = tuple(name for name in task.columns if name != self.id)
        view = shard.matrix(MatrixSpec(tuple(names), hashed=hashed, roles=roles, by_rows=True))
        if not view.sparse:
            check_size(view.rows, view.width + 1, type(self).__name__, view.run.least_budget())
        self.n_samples_fit_ = view.rows
        ids = self._gather(view)
        self.ids_ = np.arange(view.rows) if ids is None else whole(ids)

    def _labels(self, inputs: Sequence[str]) -> list[str]:
        return [f"{what}{k}" for what in ("neighbor", "distance") for k in range(self.n_neighbors)]

    def _values(self, X: Any) -> Any:
        """The columns that are compared, of all rows in their order."""
        made = collect(open_rows(self, X), lambda batch: self._numbers(batch, self.selected_))
        return made if is_sparse(made) else np.asarray(made, dtype=np.float64)


def whole(ids: np.ndarray) -> np.ndarray:
    """Ids as whole numbers, where they are."""
    return ids.astype(np.int64) if (ids == np.round(ids)).all() and (np.abs(ids) < 2**53).all() else ids
