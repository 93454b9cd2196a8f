"""Rows in bins of our own: all rows of all ranks on each of them, as numbers of bins.

The trees of a forest do not need each other: each rank grows some of them, on all rows, small as bins are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError
from outgrow.ml.trees.bins import SampledRows
from outgrow.ml.trees.forest_kernels import in_bins
from outgrow.ml.trees.forest_nodes import Codes
from outgrow.ml.trees.plan import TOO_LARGE, Plan
from outgrow.ml.trees.rows import Part, without_zeros
from outgrow.stats.quantiles import Gathered

TOP = np.finfo(np.float32).max
"""All numbers of a feature lie below it, for a split between them and missing values."""


@dataclass(frozen=True, eq=False)
class RowsInBins:
    """All rows that weigh something, in any order.

    Attributes
    ----------
    codes : the bin of each value.
    bins : how many there are; the last holds missing values.
    cuts : float32 of shape (width, bins - 1), below which values each bin but that one lies.
    lows : float32 of shape (width, bins - 1), the least sampled value of each; of no rows where splits are
        not drawn.
    label : float32 of shape (rows, targets).
    weight : float64 of shape (rows,).
    hashes : uint64 of shape (rows,), by which trees draw them; none where each tree sees all.
    """

    codes: Codes
    bins: int
    cuts: np.ndarray
    lows: np.ndarray
    label: np.ndarray
    weight: np.ndarray
    hashes: np.ndarray

    @classmethod
    def of(cls, view: MatrixView, plan: Plan, sample: SampledRows, zeros_absent: bool) -> RowsInBins:
        """The rows of all ranks; all of them call it.

        Parameters
        ----------
        view : the rows of this rank.
        plan : says weights and labels.
        sample : of all rows, alike on each rank: it decides the bins.
        zeros_absent : whether zeros count as missing.

        Raises
        ------
        DataError
            When a value does not fit float32.
        """
        found = _cuts(view, plan, sample, zeros_absent)
        cuts, lows = [ends for ends, _ in found], [begins for _, begins in found]
        part = Part(view, plan, zeros_absent)
        bins = max(map(len, cuts)) + 2
        blocks = [block for block in part.blocks() if len(block)] or [part.nothing()]
        codes = [_codes(view, _features(block, plan, zeros_absent), cuts, bins) for block in blocks]
        labels = [np.asarray(plan.label(block), np.float32).reshape(-1, plan.targets) for block in blocks]
        weights = [np.ones(len(block)) if block.weight is None else block.weight for block in blocks]
        hashes = np.zeros(0, np.uint64) if plan.sample is None else part.hashes()
        own = Gathered((_joined(codes), _joined(labels), _joined(weights), hashes))
        every = view.run.combine(own).values
        drawn = lows if plan.draws_splits else []
        tables = _table(cuts, bins - 1), _table(drawn, bins - 1)
        return cls(Codes.of(every[0].T), bins, *tables, *every[1:])


def _table(rows: Sequence[np.ndarray], width: int) -> np.ndarray:
    """Rows of unlike lengths as one array."""
    table = np.full((len(rows), width), TOP, dtype=np.float32)
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    return table


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _features(block: Block, plan: Plan, zeros_absent: bool) -> Any:
    """The features as float32 that is not infinite: CSC where zeros are absent."""
    X = without_zeros(block.X, plan.numbers).tocsc() if zeros_absent else block.X
    with np.errstate(over="ignore"):
        X = X.astype(np.float32)
    if np.isinf(X.data if is_sparse(X) else X).any():
        raise DataError(TOO_LARGE)
    return X


def _codes(view: MatrixView, X: Any, cuts: Sequence[np.ndarray], bins: int) -> np.ndarray:
    """The bin of each value, of shape (rows, width), column-major."""
    codes = np.full((X.shape[1], X.shape[0]), bins - 1, dtype=np.uint16)

    def column(j: int) -> None:
        if is_sparse(X):
            part = slice(X.indptr[j], X.indptr[j + 1])
            found = np.empty(part.stop - part.start, dtype=np.uint16)
            in_bins(X.data[part], cuts[j], bins - 1, found)
            codes[j, X.indices[part]] = found
        else:
            in_bins(np.ascontiguousarray(X[:, j]), cuts[j], bins - 1, codes[j])

    for _ in view.run.map(column, range(X.shape[1])):
        pass
    return codes.T


def _cuts(
    view: MatrixView, plan: Plan, sample: SampledRows, zeros_absent: bool
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Where the bins of each feature end, all but the last; and the least value of each, where asked for."""
    X, weight = sample.matrix()
    if zeros_absent:
        X = without_zeros(X, plan.numbers).tocsc()
    plain = bool((weight == weight[0]).all())

    def column(j: int) -> tuple[np.ndarray, np.ndarray]:
        values, weights = X[:, j] if not is_sparse(X) else _stored(X, j), weight
        if is_sparse(X):
            weights = weight[X.indices[X.indptr[j] : X.indptr[j + 1]]]
        present = ~np.isnan(values)
        missing = is_sparse(X) or not present.all()
        most = max((plan.bins or plan.parameters["max_bin"]) - missing, 1)
        ends = cut_points(values[present], None if plain else weights[present], most)
        return ends, least_values(values[present], ends) if plan.draws_splits else ends[:0]

    return list(view.run.map(column, range(X.shape[1])))


def _stored(X: sp.csc_matrix, column: int) -> np.ndarray:
    found: np.ndarray = X.data[X.indptr[column] : X.indptr[column + 1]]
    return found


def cut_points(values: np.ndarray, weight: np.ndarray | None, most: int) -> np.ndarray:
    """Where the bins of numbers end: in the middle between neighbours, about as many rows in each.

    Parameters
    ----------
    values : float32 of shape (rows,), none missing.
    weight : of each, or None where all are alike.
    most : so many bins at most.

    Returns
    -------
    float32 of shape (bins - 1,): a value belongs to the first bin whose end is above it.
    """
    order = None if weight is None else np.argsort(values, kind="stable")
    ordered = np.sort(values) if order is None else values[order]
    ends = np.flatnonzero(ordered[1:] != ordered[:-1])
    if len(ends) >= most:
        before = ends + 1.0 if weight is None else np.cumsum(weight[order])[ends]
        whole = len(values) if weight is None else weight.sum()
        wanted = np.arange(1, most) * (whole / most)
        after = np.minimum(np.searchsorted(before, wanted), len(ends) - 1)
        nearer = (after > 0) & (wanted - before[after - 1] < before[after] - wanted)
        ends = ends[np.unique(after - nearer)]
    low, high = ordered[ends], ordered[ends + 1]
    middle = ((low.astype(np.float64) + high) / 2).astype(np.float32)
    return np.where(middle > low, middle, high)


def least_values(values: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """The least value of each bin.

    Parameters
    ----------
    values : float32 of shape (rows,), none missing.
    cuts : where all bins but the last end, between values that there are.
    """
    ordered = np.sort(values)
    return np.concatenate([ordered[:1], ordered[np.searchsorted(ordered, cuts)]])
