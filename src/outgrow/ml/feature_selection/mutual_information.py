"""How many nats a column tells about y: by nearest neighbours, or counted in bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrow.data.hashing import matrix_hash, mix, seeded
from outgrow.data.matrix import is_sparse
from outgrow.ml.core.matrices import column_quantiles, dense_part
from outgrow.ml.feature_selection.neighbour_information import of_classes, of_numbers, of_numbers_and_classes
from outgrow.ml.feature_selection.rows import SupervisedRows
from outgrow.stats.counts import ValueCounts
from outgrow.stats.least_rows import LeastRows

MOST_ROWS, MOST_CELLS = 100_000, 1 << 26
"""Rows, and numbers, that are looked at by nearest neighbours."""
MOST_BINS = 256
_IN_A_CELL = 5
"""Rows that are expected in each pair of bins, or there are fewer bins."""
_CELLS_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class NearestNeighbours:
    """Mutual information by scikit-learn's estimators (Kraskov and others 2004, Ross 2014).

    It looks at 100,000 rows at most: those with the smallest hashes. Each column is asked for by itself, with
    scikit-learn's noise of seed 0; columns of sparse rows are taken as discrete, constant ones tell nothing.
    Of classes of 7 rows or less scikit-learn's distances are rounded, so that it may count one row more.
    """

    numeric: bool

    def scores(self, rows: SupervisedRows) -> tuple[np.ndarray, None]:
        """The scores of the columns.

        Parameters
        ----------
        rows : all of them.
        """
        width, run = rows.width, rows.shard.run
        most = max(1, min(MOST_ROWS, MOST_CELLS // (width + 1)))
        sample: LeastRows = rows.reduce(lambda X, y: _sample(X, y, most), numeric=self.numeric)
        X, of_y = sample.rows[:, :width], sample.rows[:, width:]
        y = of_y[:, 0] if self.numeric else np.unique(of_y, axis=0, return_inverse=True)[1].ravel()

        def score(j: int) -> float:
            if X[:, j].min() == X[:, j].max():  # whose noise would seem to tell something of rare classes
                return 0.0
            if self.numeric:
                return of_numbers_and_classes(y, X[:, j]) if rows.sparse else of_numbers(X[:, j], y)
            return of_classes(X[:, j], y) if rows.sparse else of_numbers_and_classes(X[:, j], y)

        def own() -> np.ndarray:
            found, places = np.zeros(width), range(run.comm.rank, width, run.comm.size)
            found[list(places)] = list(run.map(score, places))
            return run.combine(found)

        return run.call(own), None


def _sample(X: Any, y: np.ndarray, most: int) -> LeastRows:
    """Rows with y behind them; the hashes of classes as two numbers, as they are too long for one."""
    X = np.ascontiguousarray(X.toarray() if is_sparse(X) else X)
    classes = y.dtype == np.uint64
    bits = y if classes else (y + 0.0).view(np.uint64)
    beside = [y >> np.uint64(32), y & np.uint64(0xFFFFFFFF)] if classes else [y]
    rows = np.column_stack([X, *(part.astype(np.float64) for part in beside)])
    return LeastRows.of(most, rows, seeded(matrix_hash(X) + mix(bits), 0))


@dataclass(frozen=True)
class Binned:
    """Mutual information of columns in bins of equal counts, less what chance gives (Miller 1955).

    All rows count. There are 256 bins, or as many as leave five rows for each pair of bins; numbers as y are
    counted in as many.
    """

    numeric: bool

    def scores(self, rows: SupervisedRows) -> tuple[np.ndarray, None]:
        """The scores of the columns.

        Parameters
        ----------
        rows : all of them.
        """
        seen: ValueCounts = rows.reduce(_counted if not self.numeric else _rows_alone, numeric=self.numeric)
        n = sum(seen.counts.values())
        classes = np.array(sorted(seen.counts), dtype=np.uint64)
        pairs = n / _IN_A_CELL
        bins = int(np.clip(np.sqrt(pairs) if self.numeric else pairs / len(classes), 2, MOST_BINS))
        inner = (np.arange(1, bins) / bins).tolist()
        limits = column_quantiles(rows.shard, rows.names, inner).T
        known = column_quantiles(rows.shard, [rows.target], inner)[:, 0] if self.numeric else classes
        side, of_y = ("right", bins) if self.numeric else ("left", len(classes))
        step = max(1, _CELLS_AT_ONCE // (bins * of_y))

        def counts(part: slice) -> np.ndarray:
            def fold(X: Any, y: np.ndarray) -> np.ndarray:
                codes = np.searchsorted(known, y, side=side)  # type: ignore[call-overload]
                columns = dense_part(X, part)
                cells = [
                    np.searchsorted(edges, columns[:, j], side="right") * of_y + codes
                    for j, edges in enumerate(limits[part])
                ]
                return np.array([np.bincount(cell, minlength=bins * of_y) for cell in cells])

            return rows.reduce(fold, numeric=self.numeric)

        parts = [slice(start, start + step) for start in range(0, len(limits), step)]
        found = [_information(table.reshape(bins, of_y)) for part in parts for table in counts(part)]
        return np.array(found), None


def _counted(X: Any, y: np.ndarray) -> ValueCounts:
    values, counts = np.unique(y, return_counts=True)
    return ValueCounts(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def _rows_alone(X: Any, y: np.ndarray) -> ValueCounts:
    return ValueCounts({0: len(y)})


def _information(table: np.ndarray) -> float:
    """Of a table of counts: its mutual information, less what is expected of independent ones."""
    n = table.sum()
    first, second = table.sum(axis=1), table.sum(axis=0)
    i, j = np.nonzero(table)
    counts = table[i, j]
    found = np.sum(counts * (np.log(counts) + np.log(n) - np.log(first[i]) - np.log(second[j]))) / n
    chance = (len(counts) - np.count_nonzero(first) - np.count_nonzero(second) + 1) / (2 * n)
    return max(0.0, float(found - chance))
