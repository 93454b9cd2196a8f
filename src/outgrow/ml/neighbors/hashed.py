"""What finds rows by hashes that near rows share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.names import numbered
from outgrow.ml.core.inputs import open_rows
from outgrow.ml.core.outputs import as_given
from outgrow.ml.core.parameters import Integer, Number
from outgrow.ml.neighbors.buckets import Buckets, least
from outgrow.ml.neighbors.columns import NeighborColumns


class HashedRows(NeighborColumns):
    """Finds rows that share a bucket with others.

    Hooks: `_hashes(X)`, uint64 of shape (rows, tables); `_comparable(X)`, which rows may be compared;
    `_known()`, the rows of the fit; `_pair_distances(X, queries, places)`.
    """

    no_exports = {
        "ONNX": "it looks up rows of the fit for each row",
        "scikit-learn": "it has nothing of the kind",
    }
    _buckets: Buckets | None = None

    def _hashes(self, X: Any) -> np.ndarray:
        raise NotImplementedError

    def _comparable(self, X: Any) -> np.ndarray:
        raise NotImplementedError

    def _known(self) -> Any:
        raise NotImplementedError

    def _pair_distances(self, X: Any, queries: np.ndarray, places: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _restored(self) -> None:
        if not hasattr(self, "ids_"):
            self._buckets = None
            return
        known = self._known()
        self._buckets = Buckets(self._hashes(known), self._comparable(known))

    def _pairs(self, X: Any) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Queries, places and distances of rows that share a bucket."""
        if self._buckets is None:
            self._restored()
        assert self._buckets is not None
        for queries, places in self._buckets.pairs(self._hashes(X), self._comparable(X)):
            yield queries, places, self._pair_distances(X, queries, places)

    def _nearest(self, X: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances and ids of the nearest rows that were found; NaN where there are fewer."""
        found = [least(*pairs, X.shape[0], count) for pairs in self._pairs(X)]
        distances, places = np.full((X.shape[0], count), np.nan), np.full((X.shape[0], count), -1)
        for far, at in found:  # a query is in one of them
            some = at[:, 0] >= 0
            distances[some], places[some] = far[some], at[some]
        return distances, np.where(places >= 0, self.ids_[places].astype(np.float64), np.nan)

    def _expanded(self, X: Any) -> np.ndarray:
        distances, ids = self._nearest(X, self.n_neighbors)
        return np.concatenate([ids, distances], axis=1)

    def approx_nearest(self, X: Any, n_neighbors: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The nearest rows that hashes find, as arrays.

        Parameters
        ----------
        X : rows in any form that `transform` takes.
        n_neighbors : how many; None for those of the parameter.

        Returns
        -------
        Distances, ascending, and ids, both of shape (rows, n_neighbors); NaN where fewer are found.
        """
        check_is_fitted(self)
        count = self.n_neighbors if n_neighbors is None else n_neighbors
        Integer(low=1).check(f"{type(self).__name__}.approx_nearest", "n_neighbors", count)
        return self._nearest(self._values(X), count)

    def similarity_join(self, X: Any, threshold: float) -> Any:
        """The pairs of a row of X and one of the fit that are no farther from each other than a threshold, as
        far as they share a bucket; distances are exact.

        Parameters
        ----------
        X : a dataset, Spark DataFrame or table; it may be larger than memory.
        threshold : the largest distance.

        Returns
        -------
        In the form of X: the row of X, with the columns `neighbor`, the id of the other, and `distance`
        beside it; a row of X comes as often as it has pairs.
        """
        check_is_fitted(self)
        Number(low=0).check(f"{type(self).__name__}.similarity_join", "threshold", threshold)
        return as_given(open_rows(self, X).map(partial(self._joined, threshold=float(threshold))), X)

    def _joined(self, batch: Batch, threshold: float) -> Batch:
        parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for queries, places, distances in self._pairs(self._numbers(batch, self.selected_)):
            near = distances <= threshold
            parts.append((queries[near], places[near], distances[near]))
        queries, places, distances = (
            np.concatenate([part[k] for part in parts]) if parts else np.zeros(0) for k in range(3)
        )
        names = [numbered(name, batch.columns) for name in ("neighbor", "distance")]
        ids = self.ids_[places.astype(np.int64)]
        beside = {names[0]: pa.array(ids), names[1]: pa.array(distances.astype(np.float64))}
        return batch.take(queries.astype(np.int64)).with_columns(beside)
