"""How a column is distributed in a reference and in a window: in the same bins or categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrow.engine.reference import Reference
from outgrow.engine.reference_plan import Entry
from outgrow.errors import ColumnNotFoundError
from outgrow.monitor.words import value_text
from outgrow.stats.grid_counts import GridCounts
from outgrow.stats.grids import HEADS, MISSING, NoGrid, NumberGrid, TextGrid, ValueGrid, heaviest

BINS, CATEGORIES = 40, 8
"""Bins of numbers, and categories that are shown."""
_TAIL_DOTS = 64
_DAYS = 3 * 86_400e6
_ROLES = {"predictions": "prediction", "label": "target"}


@dataclass(frozen=True)
class Pair:
    """One column, twice.

    Attributes
    ----------
    labels : of the categories, or of the edges of the bins of numbers, one more than there are bins.
    before, now : shares of the values in each, of the reference and of the window.
    missing : the share of the rows without a value in both.
    edges : of the bins; None of categories.
    kind : the type of the values, as Arrow calls it.
    """

    labels: Sequence[str]
    before: np.ndarray
    now: np.ndarray
    missing: tuple[float, float]
    edges: np.ndarray | None
    kind: str

    @property
    def axis(self) -> list[str]:
        """What stands under a picture of numbers: at both ends and in the middle."""
        assert self.edges is not None
        low, high = float(self.edges[0]), float(self.edges[-1])
        texts = [value_text(self.kind, x) for x in (low, (low + high) / 2, high)]
        if not self.kind.startswith(("date", "timestamp")):
            return texts
        return [text[:10] for text in texts] if high - low > _DAYS else [text[5:16] for text in texts]


def pair(reference: Reference, window: GridCounts, column: str, what: str = "values") -> Pair | None:
    """Both distributions of a column; None of a type whose values are not counted.

    Parameters
    ----------
    reference, window : that are compared.
    column : by its name in the findings.
    what : "values", "predictions" or "label", as findings have it.

    Raises
    ------
    ColumnNotFoundError
        When the reference has no such column.
    """
    index = entry_index(reference, column, what)
    entry, before, now = cells(reference, window, index)
    missing = missing_share(before, entry), missing_share(now, entry)
    grid, kind = entry.grid, entry.measure.type
    if isinstance(grid, NoGrid):
        return None
    if isinstance(grid, TextGrid):
        a, b = _shares(before[HEADS:]), _shares(now[HEADS:])
        keep = heaviest(a + b, CATEGORIES)
        keep = keep[(a + b)[keep] > 0]
        labels = [_category(grid, len(a), int(cell)) for cell in keep]
        return Pair(labels, a[keep], b[keep], missing, None, kind)
    if kind == "bool":
        means = [_mean(reference, index, vector, window) for vector in (before, now)]
        parts = [np.array([1 - mean, mean]) for mean in means]
        return Pair(["false", "true"], parts[0], parts[1], missing, None, kind)
    a, b, edges = histograms(reference, window, index, BINS)
    labels = [value_text(kind, float(edge)) for edge in edges]
    return Pair(labels, _shares(a), _shares(b), missing, edges, kind)


def entry_index(reference: Reference, column: str, what: str) -> int:
    """The place of a column in the plan of a reference.

    Parameters
    ----------
    reference : that counts it.
    column, what : as `pair` takes them.

    Raises
    ------
    ColumnNotFoundError
        When the reference has no such column.
    """
    role = _ROLES.get(what, "column")
    for index, entry in enumerate(reference.plan.entries):
        if entry.name == column and entry.role == role:
            return index
    raise ColumnNotFoundError(
        f"The reference counts no {what} of {column!r}; it has {[e.name for e in reference.plan.entries]}."
    )


def cells(reference: Reference, window: GridCounts, index: int) -> tuple[Entry, np.ndarray, np.ndarray]:
    """An entry of the plan with its counts in the reference and in the window, in the same cells.

    Parameters
    ----------
    reference, window : that are compared.
    index : of the entry.
    """
    entry = reference.plan.entries[index]
    base = reference.coarse(reference.counts) if _is_coarse(reference, window) else reference.counts
    return entry, reference.vector(base, index), reference.vector(window, index)


def missing_share(vector: np.ndarray, entry: Entry) -> float:
    """The share of the rows that have no value.

    Parameters
    ----------
    vector, entry : as `cells` gives them.
    """
    present = int(entry.grid.shares(vector).sum()) if not isinstance(entry.grid, NoGrid) else 0
    return float(vector[MISSING]) / max(1, present + int(vector[MISSING]))


def histograms(
    reference: Reference, window: GridCounts, index: int, bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts of the reference and of the window in equal bins over where most of both lie, and the edges.

    Parameters
    ----------
    reference, window, index : as of `cells`, of an entry of numbers.
    bins : how many at most.
    """
    entry, before, now = cells(reference, window, index)
    grid = entry.grid
    assert isinstance(grid, NumberGrid | ValueGrid)
    coarse = _is_coarse(reference, window)
    sides = [_spread(grid.shares(v), reference.positions(index, v, coarse=coarse)) for v in (before, now)]
    low, high = _ends(sides)
    if isinstance(grid, ValueGrid) and 1 < len(grid.values) <= bins:
        bins = min(bins, int(np.ceil((high - low) / np.diff(grid.values).min())) + 1)
        half = (high - low) / max(1, bins - 1) / 2
        low, high = low - half, high + half
    edges = np.linspace(low, high, bins + 1)
    binned = _spread_evenly if coarse and isinstance(grid, NumberGrid) else _binned
    counts = [binned(shares, at, edges) for shares, at in sides]
    return counts[0], counts[1], edges


def _binned(shares: np.ndarray, at: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.histogram(np.clip(at, edges[0], edges[-1]), edges, weights=shares)[0]


def _spread_evenly(shares: np.ndarray, at: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """As `_binned`, of cells that may be wider than bins: their values lie anywhere in them."""
    between = (at[1:] + at[:-1]) / 2
    bounds = np.concatenate([[2 * at[0] - between[0]], between, [2 * at[-1] - between[-1]]])
    below = np.interp(edges, bounds, np.concatenate([[0.0], np.cumsum(shares)]))
    below[[0, -1]] = 0.0, shares.sum()
    return np.diff(below)


def _is_coarse(reference: Reference, window: GridCounts) -> bool:
    return window.grids != reference.counts.grids


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / max(1, counts.sum())


def _spread(shares: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells with the tails spread evenly about their means, as nobody knows where in them values lie."""
    if len(at) < 3:
        return shares, at
    steps = (np.arange(_TAIL_DOTS) + 0.5) / _TAIL_DOTS * 2
    below, above = at[1] + (at[0] - at[1]) * steps[::-1], at[-2] + (at[-1] - at[-2]) * steps
    tails = [np.full(_TAIL_DOTS, shares[end] / _TAIL_DOTS) for end in (0, -1)]
    return np.concatenate([tails[0], shares[1:-1], tails[1]]), np.concatenate([below, at[1:-1], above])


def _ends(sides: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """From the 1st percentile of either to the 99th of either, and no farther than both are drawn well."""
    ends = []
    for shares, at in sides:
        part = np.cumsum(shares) / max(1, shares.sum())
        first, last = np.searchsorted(part, [0.01, 0.99]).tolist()
        ends.append((at[first], at[min(len(at) - 1, last)]))
    low, high = min(a for a, _ in ends), max(b for _, b in ends)
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def _mean(reference: Reference, index: int, vector: np.ndarray, window: GridCounts) -> float:
    grid: Any = reference.plan.entries[index].grid
    shares = grid.shares(vector)
    at = reference.positions(index, vector, coarse=_is_coarse(reference, window))
    return float(shares @ at / max(1, shares.sum()))


def _category(grid: TextGrid, cells: int, cell: int) -> str:
    if cell == cells - 1:
        return "(new)" if grid.complete else "(all others)"
    return grid.texts[cell] if cells == grid.size or cell < cells - 2 else "(rare)"
