"""A comparison as one HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from outgrow._version import __version__
from outgrow.engine.reference import Reference
from outgrow.engine.reference_plan import Entry
from outgrow.monitor.findings import ORDER, Finding
from outgrow.monitor.words import value_text
from outgrow.page import format as say
from outgrow.page import overlays
from outgrow.page.render import render
from outgrow.stats.grid_counts import GridCounts
from outgrow.stats.grids import HEADS, NoGrid, NumberGrid, TextGrid, ValueGrid, heaviest

TEMPLATES = Path(__file__).parent / "templates"
CARDS, LINES, HEAT_COLUMNS, HEAT_SLICES = 12, 1_000, 20, 24
"""How many changes have a picture of their own, lines the table, and columns and slices the heat map."""
_BINS, _SPARK_BINS, _CATEGORIES, _TAIL_DOTS = 40, 20, 8, 64
_NAMES = {
    "psi": "PSI",
    "js": "JS distance",
    "kl": "KL divergence",
    "ks": "KS",
    "wasserstein": "Wasserstein",
    "l1": "L1",
    "tv": "Total variation",
    "linf": "L∞",
    "rate": "Share of rows",
}


_DAYS = 3 * 86_400e6


@dataclass(frozen=True)
class Line:
    """A measure in the table of all columns."""

    finding: Finding
    spark: Markup
    missing: str
    bar: float


@dataclass(frozen=True)
class Heat:
    """Distances of columns in slices; None where there are too few rows."""

    slices: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Finding | None]]]


def drift_report(drift: Any, title: str, names: tuple[str, str] = ("the reference", "the window")) -> str:
    """The page of a comparison.

    Parameters
    ----------
    drift : `outgrow.monitor.drift.Drift`.
    title : of the page.
    names : of what was compared.
    """
    reference, window = drift.reference, drift.window
    whole = [f for f in drift.findings if not f.slice]
    values = [f for f in whole if f.what in ("values", "predictions", "label")]
    changed = [f for f in whole if f.verdict in ("drift", "watch")]
    changed.sort(key=lambda f: (ORDER[f.verdict], f.what != "values", -f.share))
    pictures = [f for f in changed if f in values][:CARDS]
    lines = sorted(values, key=lambda f: (ORDER[f.verdict], f.what != "values", -f.share, f.column))
    return render(
        TEMPLATES,
        "drift.html.j2",
        title=title,
        names=names,
        drift=drift,
        window=window,
        reference=reference,
        columns=len({f.column for f in values}),
        drifted=len(drift.drifted),
        tests=sum(not np.isnan(f.p) for f in drift.findings),
        cards=[(f, Markup(_picture(reference, window, f))) for f in pictures],
        facts=[f for f in changed if f not in pictures],
        undecided=sum(f.verdict == "cannot say" for f in drift.findings),
        lines=[_line(reference, window, f, whole) for f in lines[:LINES]],
        left_out=max(0, len(lines) - LINES),
        heat=_heat(drift.findings),
        measure=lambda name: _NAMES.get(name, name),
        number=_short,
        libraries={"outgrow": __version__},
        began=datetime.now(UTC),
    )


def _short(value: float) -> str:
    """A number in a cell: three digits, and what is tiny as a power of ten."""
    if np.isnan(value):
        return say.NONE
    return f"{value:.2g}" if 0 < abs(value) < 1e-3 else f"{value:.3g}"


def _index(reference: Reference, finding: Finding) -> int:
    roles = {"predictions": "prediction", "label": "target"}
    role = roles.get(finding.what, "column")
    return next(
        i for i, e in enumerate(reference.plan.entries) if e.name == finding.column and e.role == role
    )


def _cells(reference: Reference, window: GridCounts, index: int) -> tuple[Entry, np.ndarray, np.ndarray]:
    entry = reference.plan.entries[index]
    coarse = window.grids != reference.counts.grids
    base = reference.coarse(reference.counts) if coarse else reference.counts
    return entry, reference.vector(base, index), reference.vector(window, index)


def _histograms(
    reference: Reference, window: GridCounts, index: int, bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts of the reference and of the window in equal bins over where most of both lie, and the edges."""
    entry, before, now = _cells(reference, window, index)
    grid = entry.grid
    assert isinstance(grid, NumberGrid | ValueGrid)
    coarse = window.grids != reference.counts.grids
    sides = [_spread(grid.shares(v), reference.positions(index, v, coarse=coarse)) for v in (before, now)]
    low, high = _ends(sides)
    if isinstance(grid, ValueGrid) and 1 < len(grid.values) <= bins:
        bins = min(bins, int(np.ceil((high - low) / np.diff(grid.values).min())) + 1)
        half = (high - low) / max(1, bins - 1) / 2
        low, high = low - half, high + half
    edges = np.linspace(low, high, bins + 1)
    counts = [np.histogram(np.clip(at, low, high), edges, weights=shares)[0] for shares, at in sides]
    return counts[0], counts[1], edges


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


def _line(reference: Reference, window: GridCounts, finding: Finding, whole: Sequence[Finding]) -> Line:
    index = _index(reference, finding)
    entry, before, now = _cells(reference, window, index)
    if isinstance(entry.grid, TextGrid):
        a, b = before[HEADS:], now[HEADS:]
        keep = heaviest(a + b, _SPARK_BINS)
        spark = overlays.spark_pair(a[keep], b[keep])
    else:
        a, b, _ = _histograms(reference, window, index, _SPARK_BINS)
        spark = overlays.spark_pair(a, b)
    missing = f"{_missing(before, entry)} → {_missing(now, entry)}" if before[0] or now[0] else ""
    bar = 0.0 if np.isnan(finding.value) or not finding.effect else finding.value / (2 * finding.effect)
    return Line(finding, Markup(spark), missing, 100 * min(1.0, bar))


def _missing(vector: np.ndarray, entry: Entry) -> str:
    present = int(entry.grid.shares(vector).sum()) if not isinstance(entry.grid, NoGrid) else 0
    return say.share(float(vector[0]) / max(1, present + int(vector[0])))


def _picture(reference: Reference, window: GridCounts, finding: Finding) -> str:
    index = _index(reference, finding)
    entry, before, now = _cells(reference, window, index)
    grid = entry.grid
    if isinstance(grid, TextGrid):
        a, b = before[HEADS:] / before[HEADS:].sum(), now[HEADS:] / now[HEADS:].sum()
        keep = heaviest(a + b, _CATEGORIES)
        keep = keep[(a + b)[keep] > 0]
        labels = [_category(grid, len(a), int(cell)) for cell in keep]
        return overlays.paired_bars(labels, a[keep].tolist(), b[keep].tolist(), finding.column)
    if entry.measure.type == "bool":
        shares = [[1 - m, m] for m in (_mean(reference, index, v, window) for v in (before, now))]
        return overlays.paired_bars(["false", "true"], shares[0], shares[1], finding.column)
    a, b, edges = _histograms(reference, window, index, _BINS)
    return overlays.overlay(
        a, b, _axis(entry.measure.type, float(edges[0]), float(edges[-1])), finding.column
    )


def _axis(kind: str, low: float, high: float) -> list[str]:
    """What stands under a picture."""
    at = (low, (low + high) / 2, high)
    texts = [value_text(kind, x) for x in at]
    if not kind.startswith(("date", "timestamp")):
        return texts
    return [text[:10] for text in texts] if high - low > _DAYS else [text[5:16] for text in texts]


def _mean(reference: Reference, index: int, vector: np.ndarray, window: GridCounts) -> float:
    grid: Any = reference.plan.entries[index].grid
    coarse = window.grids != reference.counts.grids
    shares = grid.shares(vector)
    return float(shares @ reference.positions(index, vector, coarse=coarse) / max(1, shares.sum()))


def _category(grid: TextGrid, cells: int, cell: int) -> str:
    if cell == cells - 1:
        return "(new)" if grid.complete else "(all others)"
    return grid.texts[cell] if cells == grid.size or cell < cells - 2 else "(rare)"


def _heat(findings: Sequence[Finding]) -> Heat | None:
    """The columns and slices that drifted most, each with its distance."""
    inside = [f for f in findings if f.slice and f.what != "missing" and "js" in f.measures]
    if not inside:
        return None
    size: dict[str, float] = {}
    for finding in inside:
        size[finding.column] = max(size.get(finding.column, 0.0), finding.measures["js"].value)
    moved = {f.column for f in inside if f.verdict in ("drift", "watch")}
    columns = sorted(moved, key=lambda name: -size[name])[:HEAT_COLUMNS]
    if not columns:
        return None
    slices = list(dict.fromkeys(f.slice for f in inside))[:HEAT_SLICES]
    by = {(f.column, f.slice): f for f in inside}
    return Heat(slices, [(name, [by.get((name, part)) for part in slices]) for name in columns])
