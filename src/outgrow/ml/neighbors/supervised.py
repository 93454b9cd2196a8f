"""What models of the nearest rows have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np

from outgrow.data.hashing import matrix_hash
from outgrow.engine.blocks import Block
from outgrow.engine.dataset import Dataset
from outgrow.engine.matrix import MatrixView
from outgrow.engine.open import is_spark, is_table
from outgrow.errors import ParameterError
from outgrow.ml.base import Supervised
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.inputs import checked_array, open_rows
from outgrow.ml.core.joint import dense
from outgrow.ml.core.outputs import collect
from outgrow.ml.core.parameters import FUNCTION, Integer, Number, OneOf, Unused
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.neighbors.known_rows import RowParts, check_size
from outgrow.ml.neighbors.queries import ALGORITHMS, KnownRows, NearestQueries
from outgrow.ml.neighbors.search import METRICS, check_count


class NeighborsModel(KnownRows, Supervised):
    """Answers by rows of the fit that are near.

    Attributes
    ----------
    rows_ : ndarray of shape (n_samples_fit_, n_features), the rows of the fit that weigh something, in the
        order of their hashes.
    ids_ : ndarray of shape (n_samples_fit_,), their positions in the X of `fit`, 0 for the first, where that
        was in memory, else, and in pipelines, their places in `rows_`.
    targets_ : ndarray of shape (n_samples_fit_,), their y, of classes as places in `classes_`; of several
        targets of shape (n_samples_fit_, targets).
    row_weights_ : ndarray of shape (n_samples_fit_,).
    n_samples_fit_ : how many there are.
    """

    parameters = {
        "weights": OneOf("uniform", "distance") | FUNCTION,
        "algorithm": Unused(OneOf("auto", "ball_tree", "kd_tree", "brute")),
        "leaf_size": Unused(Integer(low=1)),
        "p": Number(low=1),
        "metric": OneOf(*METRICS),
        "metric_params": Unused(),
        "n_jobs": Unused(),
    }
    no_exports = {"ONNX": "it looks at all rows of the fit for each row"}
    sklearn_class: ClassVar[str]
    counted: ClassVar[str] = "n_neighbors"
    _samples = True
    _by_rows = True
    weights: str | Callable[[np.ndarray], np.ndarray]
    targets_: np.ndarray
    row_weights_: np.ndarray

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, **roles: Any) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X, y, sample_weight, **roles : as for any model; rows that weigh nothing are left out.
        """
        super().fit(X, y, sample_weight, **roles)
        if not isinstance(X, Dataset) and not is_spark(X):
            self.ids_ = _positions(self.rows_, self._values(X))
        return self

    def _gather(self, view: MatrixView) -> None:
        if view.sparse:
            raise ParameterError(
                f"{type(self).__name__} does not support sparse input. Give dense columns, or make them "
                "fewer with TruncatedSVD."
            )
        check_size(
            view.rows, view.width + 1 + (view.targets or 1), type(self).__name__, view.run.least_budget()
        )
        table = view.reduce(_weighing).in_order()
        self.rows_ = np.ascontiguousarray(table[:, : view.width])
        targets = np.ascontiguousarray(table[:, view.width : -1])
        self.targets_ = targets if targets.shape[1] > 1 or view.targets else targets[:, 0]
        self.row_weights_ = table[:, -1].copy()
        self._check_extent()
        self.n_samples_fit_, self.ids_ = len(table), np.arange(len(table))

    def _values(self, X: Any) -> np.ndarray:
        made = collect(open_rows(self, X), self._matrix) if is_table(X) else checked_array(self, X)
        return np.asarray(made, dtype=np.float64)

    def _twin(self, targets: np.ndarray, **more: Any) -> Any:
        if (self.row_weights_ != 1).any():
            raise refusal(self, "its rows have weights.", "Fit it without sample_weight.")
        if not isinstance(self.weights, str):
            raise refusal(self, "its weights are a function.", "Use 'uniform' or 'distance'.")
        names = (self.counted, "weights", "p", "metric")
        made = twin(self.sklearn_class, **{name: getattr(self, name) for name in names}, **more)
        return made.fit(self.rows_, targets)


class NearestModel(NearestQueries, NeighborsModel):
    """Answers by so many rows that are nearest."""

    parameters = {
        "n_neighbors": Integer(low=1),
        **NeighborsModel.parameters,
        "algorithm": OneOf(*ALGORITHMS),
        "recall": Number(above=0, high=1),
    }
    expected_failed_checks = {
        "check_sample_weight_equivalence_on_dense_data": "weights count in votes, repeated rows as rows, too",
    }
    exempt = {"weights_are_repetitions": "weights count in votes, repeated rows as rows, too"}

    def _gather(self, view: MatrixView) -> None:
        super()._gather(view)
        check_count(self.n_neighbors, self.n_samples_fit_)
        self._learn_cells()

    def _near(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """The places of the nearest rows of each row, and what they count, of shape (rows, n_neighbors)."""
        distances, places = self._nearest(np.asarray(dense(X), dtype=np.float64), self.n_neighbors)
        counted = neighbor_weights(distances, self.weights) * self.row_weights_[places]
        nothing = counted.sum(axis=1) == 0
        counted[nothing] = self.row_weights_[places[nothing]]
        return places, counted


def _positions(rows: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Where rows are among given ones; of rows that are alike the first come first."""
    keys, hashes = matrix_hash(rows), matrix_hash(given)
    order, wanted = np.argsort(hashes, kind="stable"), np.argsort(keys, kind="stable")
    ranked = keys[wanted]
    again = np.arange(len(ranked)) - np.searchsorted(ranked, ranked)  # which of those that are alike
    positions = np.empty(len(rows), dtype=np.int64)
    positions[wanted] = order[np.searchsorted(hashes[order], ranked) + again]
    return positions


def neighbor_weights(distances: np.ndarray, how: Any) -> np.ndarray:
    """What neighbours count.

    Parameters
    ----------
    distances : shape (rows, neighbours).
    how : 'uniform', 'distance', or a function of the distances.
    """
    if callable(how):
        return np.array(how(distances), dtype=np.float64)
    if how == "uniform":
        return np.ones_like(distances)
    same = distances == 0
    with np.errstate(divide="ignore"):
        return np.where(same.any(axis=1, keepdims=True), same.astype(np.float64), 1 / distances)


def _weighing(block: Block) -> RowParts:
    """The rows that weigh something, their y and their weights."""
    weight = np.ones(len(block)) if block.weight is None else block.weight
    rows = np.column_stack([dense(block.X), np.asarray(block.y, dtype=np.float64), weight])
    kept = weight > 0
    return RowParts([rows[kept]], [block.hashes(0)[kept]])
