"""Correlations of ranks.

Spearman's needs the rank of each value among all: one pass counts the different values of each column, which
gives the rank of each, and the next multiplies ranks. Both see all columns at once as far as their values fit
in memory, and blocks of columns beyond. Ranks are whole numbers and halves, so that the result is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.stats

from outgrow.data.batch import Batch
from outgrow.data.hashing import mix
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.statistics.rows import Rows, dense
from outgrow.stats.counts import DistinctCount
from outgrow.stats.number_counts import NumberCounts
from outgrow.stats.quantiles import Gathered

HELD = 1 << 26
"""Different values whose ranks are held at once, 16 bytes each."""
_KENDALL_VALUES, _KENDALL_WORK = 1 << 22, 1 << 27
"""Values that are brought together for Kendall's tau, and rows times pairs that are compared."""

Problem = tuple[int, ...]
"""Columns that are ranked over the rows that have all of them."""


def spearman(shard: Shard, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Spearman's correlation of all pairs of columns, and how many rows have both.

    Parameters
    ----------
    shard, rows : the rows.

    Raises
    ------
    DataError
        When the different values of two columns do not fit in memory.
    """
    width = len(rows.labels)
    counted = shard.reduce(partial(_missing, rows=rows), encoded=True)
    sizes = _sizes(shard, rows, int(counted[-1]))
    r, count = np.full((width, width), np.nan), np.zeros((width, width))
    for problems in _rounds(_problems(counted[:-1] > 0, sizes), sizes):
        tables = shard.reduce(partial(_tables, rows=rows, problems=problems), encoded=True, large=True)
        ranks = tuple(tuple(_midranks(table.compact()) for table in some) for some in tables)
        fold = partial(_products, rows=rows, problems=problems, ranks=ranks)
        products = shard.reduce(fold, encoded=True, large=True)
        for problem, product, some in zip(problems, products, tables, strict=True):
            at = np.ix_(problem, problem)
            varies = np.where(np.diag(product) > 0, np.diag(product), np.nan)
            r[at] = np.clip(product / np.sqrt(np.outer(varies, varies)), -1, 1)
            count[at] = some[0].weights.sum()
    return r, count


def _missing(batch: Batch, rows: Rows) -> np.ndarray:
    """How many values each column lacks, and behind them how many rows there are."""
    X = dense(batch.matrix(rows.names))
    return np.append(np.isnan(X).sum(axis=0), len(X)).astype(np.float64)


def _sizes(shard: Shard, rows: Rows, count: int) -> np.ndarray:
    """How many different values each column may have."""
    most = np.full(len(rows.labels), float(count))
    if most.sum() <= HELD:
        return most
    states = shard.reduce(partial(_distinct, rows=rows), encoded=True)
    return np.minimum(most, np.array([1.05 * state.estimate() + 1 for state in states]))


def _distinct(batch: Batch, rows: Rows) -> tuple[DistinctCount, ...]:
    X = dense(batch.matrix(rows.names)) + 0.0
    return tuple(DistinctCount.of(mix(np.ascontiguousarray(x).view(np.uint64))) for x in X.T)


def _problems(missing: np.ndarray, sizes: np.ndarray) -> list[Problem]:
    """What is ranked together: columns without missing values in blocks, others in pairs."""
    full = np.flatnonzero(~missing)
    blocks, room = list[list[int]](), 0.0
    for j in full.tolist():
        if not blocks or room < sizes[j]:
            blocks.append([])
            room = HELD / 2
        blocks[-1].append(j)
        room -= sizes[j]
    together = (
        [tuple(full.tolist())]
        if sizes[full].sum() <= HELD
        else [(*a, *b) for a, b in combinations(blocks, 2)]
    )
    pairs = [(i, j) for i, j in combinations(range(len(missing)), 2) if missing[i] or missing[j]]
    alone = [(j,) for j in np.flatnonzero(missing).tolist()]
    return [problem for problem in (*together, *pairs, *alone) if problem]


def _rounds(problems: Sequence[Problem], sizes: np.ndarray) -> list[list[Problem]]:
    """The problems of each two passes, as many as are held at once."""
    rounds, room = list[list[Problem]](), 0.0
    for problem in problems:
        need = float(sizes[list(problem)].sum())
        if need > HELD:
            raise DataError(
                f"Ranks of {len(problem)} columns take up to {need:,.0f} different values at once; {HELD:,} "
                "fit. Take method='pearson', or a sample."
            )
        if not rounds or room < need:
            rounds.append([])
            room = HELD
        rounds[-1].append(problem)
        room -= need
    return rounds


def _complete(X: np.ndarray, problem: Problem) -> np.ndarray:
    """The columns of a problem, of shape (columns, rows), in the rows that have them all."""
    part = X.T[list(problem)]
    missing = np.isnan(part).any(axis=0)
    return part[:, ~missing] if missing.any() else part


def _tables(batch: Batch, rows: Rows, problems: Sequence[Problem]) -> Any:
    X = dense(batch.matrix(rows.names))
    return tuple(tuple(NumberCounts.of(pa.array(x)) for x in _complete(X, problem)) for problem in problems)


def _midranks(table: NumberCounts) -> tuple[np.ndarray, np.ndarray]:
    """The different values, and the mean rank of each less that of all."""
    ends = np.cumsum(table.weights)
    total = ends[-1] if len(ends) else 0.0
    return table.numbers, ends - (table.weights - 1) / 2 - (total + 1) / 2


def _products(batch: Batch, rows: Rows, problems: Sequence[Problem], ranks: Any) -> Any:
    X = dense(batch.matrix(rows.names))
    return tuple(
        _product(_complete(X, problem), known) for problem, known in zip(problems, ranks, strict=True)
    )


def _product(columns: np.ndarray, known: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    ranked = np.empty(columns.shape)
    for x, (values, ranks), out in zip(columns, known, ranked, strict=True):
        order = np.argsort(x)  # neighbours are looked up one after the other, and lie in the cache
        out[order] = ranks[np.searchsorted(values, x[order])]
    return ranked @ ranked.T


def kendall(shard: Shard, rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kendall's tau-b of all pairs of columns, the p-values, and how many rows have both.

    Parameters
    ----------
    shard, rows : the rows.

    Raises
    ------
    DataError
        When there are too many rows.
    """
    width = len(rows.labels)
    total = int(shard.reduce(partial(_missing, rows=rows), encoded=True)[-1])
    pairs = list(combinations(range(width), 2))
    if total * width > _KENDALL_VALUES or total * len(pairs) > _KENDALL_WORK:
        raise DataError(
            f"Kendall's tau compares each row with all others, so rows must be in one place: {total:,} rows "
            f"of {width} columns are more than {_KENDALL_VALUES:,} values or {_KENDALL_WORK:,} rows times "
            "pairs. Take method='spearman', fewer columns, or a sample."
        )
    columns = shard.reduce(partial(_gathered, rows=rows), encoded=True).values
    tau, pvalue, count = (np.full((width, width), np.nan) for _ in range(3))
    for i, j in [*pairs, *((i, i) for i in range(width))]:
        both = ~(np.isnan(columns[i]) | np.isnan(columns[j]))
        count[i, j] = count[j, i] = both.sum()
        if both.sum() > 1:
            result = scipy.stats.kendalltau(columns[i][both], columns[j][both])
            tau[i, j] = tau[j, i] = result.statistic
            pvalue[i, j] = pvalue[j, i] = result.pvalue
    return tau, pvalue, count


def _gathered(batch: Batch, rows: Rows) -> Gathered:
    return Gathered(tuple(dense(batch.matrix(rows.names)).T.copy()))
