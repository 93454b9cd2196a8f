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
from outgrow.monitor.distributions import cells, entry_index, histograms, missing_share, pair
from outgrow.monitor.findings import ORDER, Finding
from outgrow.page import format as say
from outgrow.page import overlays
from outgrow.page.render import render
from outgrow.stats.grid_counts import GridCounts
from outgrow.stats.grids import HEADS, MISSING, TextGrid, heaviest

TEMPLATES = Path(__file__).parent / "templates"
CARDS, LINES, HEAT_COLUMNS, HEAT_SLICES = 12, 1_000, 20, 24
"""How many changes have a picture of their own, lines the table, and columns and slices the heat map."""
_SPARK_BINS = 20
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
        lines=[_line(reference, window, f) for f in lines[:LINES]],
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


def _line(reference: Reference, window: GridCounts, finding: Finding) -> Line:
    index = entry_index(reference, finding.column, finding.what)
    entry, before, now = cells(reference, window, index)
    if isinstance(entry.grid, TextGrid):
        a, b = before[HEADS:], now[HEADS:]
        keep = heaviest(a + b, _SPARK_BINS)
        spark = overlays.spark_pair(a[keep], b[keep])
    else:
        a, b, _ = histograms(reference, window, index, _SPARK_BINS)
        spark = overlays.spark_pair(a, b)
    rates = [say.share(missing_share(vector, entry)) for vector in (before, now)]
    missing = " → ".join(rates) if before[MISSING] or now[MISSING] else ""
    bar = 0.0 if np.isnan(finding.value) or not finding.effect else finding.value / (2 * finding.effect)
    return Line(finding, Markup(spark), missing, 100 * min(1.0, bar))


def _picture(reference: Reference, window: GridCounts, finding: Finding) -> str:
    both = pair(reference, window, finding.column, finding.what)
    assert both is not None
    if both.edges is None:
        return overlays.paired_bars(both.labels, both.before.tolist(), both.now.tolist(), finding.column)
    return overlays.overlay(both.before, both.now, both.axis, finding.column)


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
