"""What models of the nearest rows have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.base import Supervised
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.parameters import FUNCTION, Integer, Number, OneOf, Unused
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.neighbors.known_rows import RowParts, check_size
from outgrow.ml.neighbors.search import METRICS, Search, check_count


class NeighborsModel(Supervised):
    """Answers by the rows of the fit that are nearest.

    Attributes
    ----------
    rows_ : ndarray of shape (n_samples_fit_, n_features), the rows of the fit that weigh something, in the
        order of their hashes.
    targets_ : ndarray of shape (n_samples_fit_,), their y, of classes as places in `classes_`.
    row_weights_ : ndarray of shape (n_samples_fit_,).
    n_samples_fit_ : how many there are.
    """

    parameters = {
        "n_neighbors": Integer(low=1),
        "weights": OneOf("uniform", "distance") | FUNCTION,
        "algorithm": Unused(OneOf("auto", "ball_tree", "kd_tree", "brute")),
        "leaf_size": Unused(Integer(low=1)),
        "p": Number(low=1),
        "metric": OneOf(*METRICS),
        "metric_params": Unused(),
        "n_jobs": Unused(),
    }
    expected_failed_checks = {
        "check_sample_weight_equivalence_on_dense_data": "weights count in votes, repeated rows as rows, too",
    }
    exempt = {"weights_are_repetitions": "weights count in votes, repeated rows as rows, too"}
    no_exports = {"ONNX": "it looks at all rows of the fit for each row"}
    sklearn_class: ClassVar[str]
    _samples = True
    _by_rows = True
    n_neighbors: int
    weights: str | Callable[[np.ndarray], np.ndarray]
    p: float
    metric: str
    rows_: np.ndarray
    targets_: np.ndarray
    row_weights_: np.ndarray
    n_samples_fit_: int
    _search: Search | None = None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags

    def _gather(self, view: MatrixView) -> None:
        if view.sparse:
            raise ParameterError(
                f"{type(self).__name__} does not support sparse input. Give dense columns, or make them "
                "fewer with TruncatedSVD."
            )
        check_size(view.rows, view.width + 2, type(self).__name__, view.run.least_budget())
        table = view.reduce(_weighing).in_order()
        self.rows_ = np.ascontiguousarray(table[:, :-2])
        self.targets_, self.row_weights_ = table[:, -2].copy(), table[:, -1].copy()
        self.n_samples_fit_ = len(table)
        check_count(self.n_neighbors, len(table))

    def _restored(self) -> None:
        self._search = Search(self.rows_, self.metric, self.p) if hasattr(self, "rows_") else None

    def _near(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """The places of the nearest rows of each row, and what they count, of shape (rows, n_neighbors)."""
        if self._search is None:
            self._restored()
        assert self._search is not None
        distances, places = self._search.nearest(np.asarray(X, dtype=np.float64), self.n_neighbors)
        counted = neighbor_weights(distances, self.weights) * self.row_weights_[places]
        nothing = counted.sum(axis=1) == 0
        counted[nothing] = self.row_weights_[places[nothing]]
        return places, counted

    def _twin(self, targets: np.ndarray) -> Any:
        if (self.row_weights_ != 1).any():
            raise refusal(self, "its rows have weights.", "Fit it without sample_weight.")
        if not isinstance(self.weights, str):
            raise refusal(self, "its weights are a function.", "Use 'uniform' or 'distance'.")
        names = ("n_neighbors", "weights", "p", "metric")
        made = twin(self.sklearn_class, **{name: getattr(self, name) for name in names})
        return made.fit(self.rows_, targets)


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
    X = block.X if isinstance(block.X, np.ndarray) else block.X.toarray()
    rows = np.column_stack([X, np.asarray(block.y, dtype=np.float64), weight])
    kept = weight > 0
    return RowParts([rows[kept]], [block.hashes(0)[kept]])
