"""A window beside its reference: what changed, how much, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import scipy.special

from outgrow.data.exact import EXACT
from outgrow.engine.reference import Reference, moments
from outgrow.engine.reference_plan import Entry
from outgrow.errors import ColumnNotFoundError
from outgrow.monitor.findings import FDR, LEAST_VALUES, Finding, Rule, Verdict, What
from outgrow.monitor.words import moved_categories, moved_numbers, share_text
from outgrow.stats.distances import Distance, Distances, distances, rate_difference
from outgrow.stats.grid_counts import GridCounts
from outgrow.stats.grids import HEADS, MISSING, NoGrid, NumberGrid, TextGrid, ValueGrid

NAN = float("nan")
MOST_OTHERS = 0.5
"""Where more of the reference's values than this share the cell of all others, most are not told apart."""


def compare(
    reference: Reference,
    window: GridCounts,
    *,
    fdr: float = FDR,
    effect: Mapping[str, float] | None = None,
    columns: str | Sequence[str] | None = None,
) -> list[Finding]:
    """What is different in a window.

    Parameters
    ----------
    reference : what the window is held against.
    window : counted with it; coarse or not, of any number of windows merged.
    fdr : the share of false ones among the changes that are reported, at most.
    effect : by measure ('psi', 'js', 'ks', 'wasserstein', 'kl', 'l1', 'tv', 'linf', 'missing', 'new',
        'concept'), from when a change is large. Distances that are given replace the usual {'psi': 0.1,
        'js': 0.1}; any one of them suffices.
    columns : the only ones that count; None for all.

    Returns
    -------
    Schema and rows first, then a finding for the values of each column, or that they are not counted; for
    missing values and new categories where there are any, for predictions, label and concept; then the same
    of slices.

    Raises
    ------
    ParameterError
        When the rule makes no sense, or the window was counted with another reference.
    ColumnNotFoundError
        When the reference has no such column.
    """
    rule = Rule.of(fdr, effect)
    chosen = _chosen(reference, [columns] if isinstance(columns, str) else columns)
    if not window.rows:
        because = "There are no rows. Look where they should have come from."
        return [Finding("volume", "", "", "rows", 0.0, NAN, NAN, NAN, NAN, NAN, "cannot say", because)]
    facts = [_volume(reference, window), *_schema(reference, window, chosen)]
    gone = {finding.column for finding in facts if finding.what == "schema" and finding.verdict == "drift"}
    tests = [
        finding
        for index in chosen
        if reference.plan.entries[index].measure.column not in gone
        for finding in _whole(reference, window, index, rule)
    ]
    tests += _joint(reference, window, rule)
    tests += [finding for index in chosen for finding in _slices(reference, window, index, rule)]
    return [*facts, *rule.judged(_with_shares(tests))]


def _chosen(reference: Reference, columns: Sequence[str] | None) -> list[int]:
    entries = reference.plan.entries
    if columns is None:
        return list(range(len(entries)))
    known = {entry.measure.column for entry in entries} | {entry.name for entry in entries}
    for name in columns:
        if name not in known:
            raise ColumnNotFoundError(f"The reference counts no column {name!r}. It has {sorted(known)}.")
    return [i for i, e in enumerate(entries) if e.name in columns or e.measure.column in columns]


def _volume(reference: Reference, window: GridCounts) -> Finding:
    ratio = window.rows / reference.rows
    because = f"{window.rows:,} rows; the reference has {reference.rows:,}."
    return Finding("volume", "", "", "ratio", ratio, NAN, NAN, NAN, NAN, NAN, "ok", because)


def _schema(reference: Reference, window: GridCounts, chosen: Sequence[int]) -> Iterator[Finding]:
    entries = [reference.plan.entries[index] for index in chosen]
    expected = dict.fromkeys(entry.measure.column for entry in entries if entry.role == "column")

    def finding(column: str, measure: str, verdict: Verdict, because: str) -> Finding:
        return Finding("schema", column, "", measure, NAN, NAN, NAN, NAN, NAN, NAN, verdict, because)

    for name in expected:
        kind, came = reference.kinds[name], window.schema.get(name)
        if came is None:
            yield finding(name, "went", "drift", "The column is not there any more.")
        elif any(_base(other) not in (_base(kind), "null") for other in came) and came != ["category"]:
            yield finding(name, "type", "drift", f"It was {kind}, and is {' and '.join(came)} now.")
        elif came == ["category"] and _base(kind) != "category" and not _counted(reference, window, name):
            yield finding(name, "type", "drift", f"It was {kind}, and is category now.")
    if len(entries) == len(reference.plan.entries):
        known = {*reference.kinds, *reference.predictions}
        for name in window.schema:
            if name not in known:
                yield finding(
                    name, "came", "watch", "The reference has no such column, so it is not compared."
                )


def _counted(reference: Reference, window: GridCounts, column: str) -> bool:
    """Whether anything of a column was counted, and be it missing values."""
    return any(
        reference.vector(window, index).any()
        for index, entry in enumerate(reference.plan.entries)
        if entry.measure.column == column
    )


def _base(kind: str) -> str:
    return kind.partition("[")[0]


def _whole(reference: Reference, window: GridCounts, index: int, rule: Rule) -> Iterator[Finding]:
    """The findings of a measure over all rows of the window."""
    entry = reference.plan.entries[index]
    of_window = reference.vector(window, index)
    if not of_window.any():
        if entry.role == "column":
            yield _not_counted(entry, "these rows hold nothing of it, not even a missing value.")
        return  # a label that is not yet there, or no predictions
    coarse = window.grids != reference.counts.grids
    base = reference.coarse(reference.counts) if coarse else reference.counts
    of_reference = reference.vector(base, index)
    if not isinstance(entry.grid, NoGrid):
        yield _values(reference, window, index, of_reference, of_window, rule, coarse=coarse)
    elif entry.role == "column":
        nothing = "the reference has only missing values, and no cells for any."
        kind = f"the values of a {reference.kinds[entry.measure.column]} have no order and no text."
        yield _not_counted(entry, kind if entry.measure.sort == "presence" else nothing)
    yield from _missing(entry, "", of_reference, of_window, rule)
    if isinstance(entry.grid, TextGrid) and entry.grid.complete and entry.grid.texts:
        yield from _new(reference, window, entry, index, of_window, rule)


def _values(
    reference: Reference,
    window: GridCounts,
    index: int,
    of_reference: np.ndarray,
    of_window: np.ndarray,
    rule: Rule,
    *,
    coarse: bool,
) -> Finding:
    entry = reference.plan.entries[index]
    grid, what = entry.grid, _what(entry)
    if isinstance(grid, NumberGrid | ValueGrid):
        a, b = grid.shares(of_reference), grid.shares(of_window)
        positions = reference.positions(index, of_window, coarse=coarse)
        apart = distances(a, b, positions)
        if apart is None:
            return _too_few(what, entry.name, "", int(a.sum()), int(b.sum()))
        before = reference.positions(index, of_reference, coarse=coarse)
        sides = {"in the reference": reference.counts, "here": window}
        infinite = [where for where, side in sides.items() if np.isinf(side.ends[:, index]).any()]
        because = (
            f"There are infinite values {' and '.join(infinite)}."
            if infinite
            else moved_numbers(entry.measure.type, moments(a, before), moments(b, positions))
        )
    else:
        assert isinstance(grid, TextGrid)
        a, b = of_reference[HEADS:], of_window[HEADS:]
        apart = distances(a, b, None)
        if apart is None:
            return _too_few(what, entry.name, "", int(a.sum()), int(b.sum()))
        because = moved_categories(grid, a, b)
    finding = _finding(what, entry.name, "", apart, because, rule)
    blind = _blind(entry, a)
    small = finding.verdict == "ok" and abs(finding.value) < finding.effect
    if blind and small:  # a large distance is one all the same
        return replace(finding, verdict="cannot say", because=f"Not counted apart, because {blind}")
    return finding


def _not_counted(entry: Entry, because: str) -> Finding:
    why = f"Not counted, because {because}"
    return Finding("not counted", entry.name, "", "", NAN, NAN, NAN, NAN, NAN, NAN, "cannot say", why)


def _blind(entry: Entry, shares: np.ndarray) -> str | None:
    """Why most values lie in one cell, though they differ: then no distance is no sign that nothing changed.

    Parameters
    ----------
    entry : what was counted.
    shares : the values of the reference in each cell.
    """
    grid = entry.grid
    if isinstance(grid, TextGrid):
        others = int(shares[-1]) / int(shares.sum())
        if grid.complete or others <= MOST_OTHERS:
            return None
        share = share_text(others)
        return f"{share} of the reference's values share one cell: it has too many different ones."
    whole = entry.measure.type in ("int64", "uint64")
    if not whole or not isinstance(grid, ValueGrid) or len(grid.values) > 1:
        return None
    (value,) = grid.values
    return f"whole numbers near {value:.3g} share one float64." if abs(value) >= EXACT else None


def _what(entry: Entry) -> What:
    roles: dict[str, What] = {"column": "values", "prediction": "predictions", "target": "label"}
    return roles[entry.role]


def _finding(what: What, column: str, part: str, apart: Distances, because: str, rule: Rule) -> Finding:
    if min(apart.n, apart.m) < LEAST_VALUES:
        return _too_few(what, column, part, apart.n, apart.m)
    name, effect = rule.largest(apart.measures)
    distance = apart.measures[name]
    return Finding(
        what,
        column,
        part,
        name,
        distance.value,
        distance.low,
        distance.high,
        apart.p,
        NAN,
        effect,
        "ok",
        because,
        apart.measures,
        apart.divergence,
    )


def _too_few(what: What, column: str, part: str, n: int, m: int) -> Finding:
    because = f"Too few values to say: {n:,} in the reference, {m:,} here; {LEAST_VALUES} of each are needed."
    return Finding(what, column, part, "psi", NAN, NAN, NAN, NAN, NAN, NAN, "cannot say", because)


def _missing(
    entry: Entry, part: str, of_reference: np.ndarray, of_window: np.ndarray, rule: Rule
) -> Iterator[Finding]:
    k, j = int(of_reference[MISSING]), int(of_window[MISSING])
    if not k and not j:
        return
    n, m = (k + int(_present(entry, of_reference)), j + int(_present(entry, of_window)))
    if min(n, m) < LEAST_VALUES:
        return
    because = f"Missing in {share_text(k / n)} of the rows of the reference, and in {share_text(j / m)} here."
    yield _rate("missing", entry.name, part, rate_difference(k, n, j, m), rule.effect["missing"], because)


def _present(entry: Entry, vector: np.ndarray) -> int:
    tails = int(vector[1:3].sum()) if isinstance(entry.grid, NumberGrid) else 0
    return tails + int(vector[HEADS:].sum())


def _new(
    reference: Reference, window: GridCounts, entry: Entry, index: int, of_window: np.ndarray, rule: Rule
) -> Iterator[Finding]:
    assert isinstance(entry.grid, TextGrid)
    j, m = int(of_window[-1]), int(of_window[HEADS:].sum())
    if not j or m < LEAST_VALUES:
        return
    n = int(reference.plan.vector(reference.counts, index)[HEADS:].sum())
    examples = window.novel[reference.plan.texts[index]].by_count()
    shown = ", ".join(repr(text) for text, _ in examples[:3]) + (", ..." if len(examples) > 3 else "")
    because = (
        f"{share_text(j / m)} of the values are none of the reference's {len(entry.grid.texts):,}: {shown}."
    )
    yield _rate("new categories", entry.name, "", rate_difference(0, n, j, m), rule.effect["new"], because)


def _rate(what: What, column: str, part: str, rate: Distance, effect: float, because: str) -> Finding:
    p = NAN if rate.p is None else rate.p
    return Finding(what, column, part, "rate", rate.value, rate.low, rate.high, p, NAN, effect, "ok", because)


def _slices(reference: Reference, window: GridCounts, index: int, rule: Rule) -> Iterator[Finding]:
    plan, entry = reference.plan, reference.plan.entries[index]
    start, end = (int(at) for at in plan.slice_starts[index : index + 2])
    if not plan.slices or isinstance(entry.grid, NoGrid) or end - start < 3 or entry.measure.part == "items":
        return
    positions = entry.grid.slice_positions() if isinstance(entry.grid, NumberGrid | ValueGrid) else None
    for number, (column, value) in enumerate(plan.slices):
        if column == entry.measure.column:
            continue
        part = f"{column}={value}"
        a, b = reference.counts.slices[number, start:end], window.slices[number, start:end]
        if not a.any() or not b.any():
            continue
        apart = distances(a[1:], b[1:], positions)
        if apart is None or min(apart.n, apart.m) < LEAST_VALUES:
            continue
        if positions is not None:
            words = moved_numbers(entry.measure.type, moments(a[1:], positions), moments(b[1:], positions))
        else:
            assert isinstance(entry.grid, TextGrid)
            words = moved_categories(entry.grid, a[1:], b[1:])
        finding = _finding(_what(entry), entry.name, part, apart, words, rule)
        yield replace(finding, share=apart.divergence * int(window.slice_rows[number]))
        heads = [np.concatenate([x[:1], np.zeros(HEADS - 1, np.int64), x[1:]]) for x in (a, b)]
        yield from _missing(entry, part, heads[0], heads[1], rule)


def _joint(reference: Reference, window: GridCounts, rule: Rule) -> Iterator[Finding]:
    """Whether labels still go with the same predictions, and predictions with the same labels."""
    before, now = reference.counts.joint, window.joint
    if not before.size or min(before.sum(), now.sum()) < LEAST_VALUES:
        return
    for what, a, b in (("concept", before.T, now.T), ("answers", before, now)):
        rate = conditional_difference(a, b)
        subject = ("labels", "prediction") if what == "concept" else ("predictions", "label")
        because = f"For the same {subject[1]}, {share_text(rate.value)} of the {subject[0]} are others."
        finding = _rate("concept", "", "", rate, rule.effect["concept"], because)
        yield replace(finding, what="answers" if what == "answers" else "concept", measure="tv")


def conditional_difference(reference: np.ndarray, window: np.ndarray) -> Distance:
    """How much distributions within groups differ: the total variation, weighted by the rows of the window.

    The p-value is of chi-square, summed over the groups.

    Parameters
    ----------
    reference, window : counts of shape (groups, values).
    """
    statistic, free, value, variance = 0.0, 0, 0.0, 0.0
    weights = window.sum(axis=1) / max(1, window.sum())
    for a, b, weight in zip(reference, window, weights.tolist(), strict=True):
        apart = distances(a, b, None)
        if apart is None or min(apart.n, apart.m) < LEAST_VALUES:
            continue
        tv = apart.measures["tv"]
        statistic += apart.measures["chi2"].value
        free += apart.bins - 1
        value += weight * tv.value
        variance += (weight * (tv.high - tv.value)) ** 2
    if not free:
        return Distance(value, 0.0, 1.0, 1.0)
    half = float(np.sqrt(variance))
    chance = _chi_square(free, statistic)
    return Distance(value, max(0.0, value - half), min(1.0, value + half), chance)


def _chi_square(free: int, statistic: float) -> float:
    return float(scipy.special.chdtrc(free, statistic))


def _with_shares(findings: Sequence[Finding]) -> list[Finding]:
    """Findings with their share of the total: of columns among columns, of slices among those of a column."""
    totals: dict[tuple[bool, str], float] = {}

    def key(finding: Finding) -> tuple[bool, str]:
        return (True, finding.column) if finding.slice else (False, finding.what)

    for finding in findings:
        totals[key(finding)] = totals.get(key(finding), 0.0) + finding.share
    return [
        replace(finding, share=finding.share / total if (total := totals[key(finding)]) else 0.0)
        for finding in findings
    ]
