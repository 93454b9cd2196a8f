"""`og.drift`: what is different in rows from those a model learned from, or from any others."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.engine.dataset import Dataset
from outgrow.engine.open import dataset
from outgrow.engine.protocol import Engine
from outgrow.engine.reading import read
from outgrow.engine.reference import Reference
from outgrow.errors import DataError, ParameterError
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.persistence import load
from outgrow.monitor.compare import compare
from outgrow.monitor.findings import FDR, ORDER, Finding, Verdict, findings_table
from outgrow.monitor.report import drift_report
from outgrow.page.tabular import MOST_LINES, Tabular
from outgrow.stats.grid_counts import GridCounts
from outgrow.storage import STRUCTURE

_SHOWN = ("verdict", "subject", "measure", "value", "interval", "q")


@dataclass(frozen=True, repr=False, eq=False)
class Drift(Tabular):
    """What a comparison gave.

    Attributes
    ----------
    findings : schema and rows first, then a finding for the values of each column, whether they could be
        compared or not, for missing values, new categories, predictions, label and concept, then those of
        slices.
    reference : what the rows were held against.
    window : the rows, counted; it merges with other windows of the same reference.
    fdr : the share of false ones among the changes that are reported, at most.
    names : of what was compared, for the page.
    """

    findings: tuple[Finding, ...]
    reference: Reference
    window: GridCounts
    fdr: float = FDR
    names: tuple[str, str] = ("the reference", "the window")

    @classmethod
    def of(
        cls,
        reference: Reference,
        window: GridCounts,
        *,
        fdr: float = FDR,
        effect: Mapping[str, float] | None = None,
        columns: str | Sequence[str] | None = None,
    ) -> Drift:
        """The comparison of a window that was counted before.

        Parameters
        ----------
        reference, window, fdr, effect, columns : as `outgrow.monitor.compare.compare` takes them.
        """
        findings = compare(reference, window, fdr=fdr, effect=effect, columns=columns)
        return cls(tuple(findings), reference, window, fdr)

    @property
    def verdict(self) -> Verdict:
        """'drift' or 'watch' if any finding is; else 'ok' if anything was compared, else 'cannot say'."""
        verdicts = {finding.verdict for finding in self.findings if finding.what != "volume"}
        if not self.window.rows:
            return "cannot say"
        if verdicts & {"drift", "watch"}:
            return "drift" if "drift" in verdicts else "watch"
        # that as many are missing as before says nothing of values that are not told apart
        compared = [f for f in self.findings if f.what not in ("volume", "schema", "missing")]
        return "ok" if any(finding.verdict == "ok" for finding in compared) else "cannot say"

    @property
    def drifted(self) -> tuple[str, ...]:
        """The columns of which something drifted, in any slice, those that explain most first."""
        drifting = [finding for finding in self.findings if finding.verdict == "drift" and finding.column]
        drifting.sort(key=lambda finding: (bool(finding.slice), -finding.share))
        return tuple(dict.fromkeys(finding.column for finding in drifting))

    @property
    def shift(self) -> str | None:
        """What kind of change it is, where labels are there: 'label shift', 'concept drift' or 'covariate
        shift'.

        None where labels are missing, or nothing of these changed.
        """
        by = {finding.what: finding.verdict == "drift" for finding in self.findings if not finding.slice}
        if "concept" not in by:
            return None
        if by["concept"]:
            return "label shift" if by.get("label") and not by.get("answers") else "concept drift"
        moved = by.get("predictions") or by.get("values") or by.get("answers")
        return "covariate shift" if moved else "label shift" if by.get("label") else None

    def to_arrow(self) -> pa.Table:
        """A row for each finding: contract and distances."""
        return findings_table(self.findings)

    def to_html(self) -> str:
        """The comparison as one HTML page that needs no network, with pictures of what changed."""
        return drift_report(self, "Drift", self.names)

    @property
    def _title(self) -> str:
        counts = {verdict: sum(f.verdict == verdict for f in self.findings) for verdict in ORDER}
        parts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
        text = f"{self.verdict}: {self.window.rows:,} rows beside {self.reference.rows:,} ({parts})"
        return text if self.shift is None else f"{text}; {self.shift}"

    def _printed(self) -> pa.Table:
        rows = [_line(finding) for finding in self._by_gravity()]
        return pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in (*_SHOWN, "because")]))

    def _by_gravity(self) -> list[Finding]:
        everything = self.verdict == "ok"
        some = [f for f in self.findings if f.verdict != "ok" or (everything and not f.slice)]
        return sorted(some, key=lambda f: (bool(f.slice), ORDER[f.verdict], -f.share))

    def __str__(self) -> str:
        findings = self._by_gravity()
        whole = [str(finding) for finding in findings if not finding.slice]
        slices = [str(finding) for finding in findings if finding.slice and finding.verdict == "drift"]
        more = len(whole) + len(slices) - MOST_LINES
        lines = [*whole, *slices][:MOST_LINES]
        return "\n".join([self._title, "", *lines, *([f"... and {more:,} more"] if more > 0 else [])])


def _line(finding: Finding) -> dict[str, str]:
    known = not np.isnan(finding.value)
    ends = not np.isnan(finding.low)
    return {
        "verdict": finding.verdict,
        "subject": finding.subject,
        "measure": finding.measure,
        "value": f"{finding.value:.4g}" if known else "",
        "interval": f"{finding.low:.3g} to {finding.high:.3g}" if ends else "",
        "q": f"{finding.q:.2g}" if not np.isnan(finding.q) else "",
        "because": finding.because,
    }


def drift(
    reference: Any,
    rows: Any,
    *,
    by: str | Sequence[str] | None = None,
    fdr: float = FDR,
    effect: Mapping[str, float] | None = None,
    columns: str | Sequence[str] | None = None,
    target: str | None = None,
) -> Drift:
    """What is different in rows from those a model learned from, or from any others.

    Everything is counted exactly in the cells of the reference, in one pass, with the same numbers to the bit
    on every engine.

    Parameters
    ----------
    reference : a model with a reference (or its path), a `Reference`, or rows: a dataset, table, Spark
        DataFrame or path.
    rows : those that are looked at, in any of these forms. Where the reference is a model, its predictions
        for them are compared, too.
    by : columns whose values are slices that are also compared by themselves. A reference that is there
        already has the slices it was made with.
    fdr : the share of false ones among the changes that are reported, at most.
    effect : by measure, from when a change is large, like {'psi': 0.2, 'missing': 0.01}. A distance that is
        given replaces the usual {'psi': 0.1, 'js': 0.1}.
    columns : the only ones that count; None for all.
    target : the column of the label, where the reference is rows.

    Returns
    -------
    Drift: findings with a verdict each, a table, a page. A change is drift when it is both certain (q at most
    `fdr`) and large (at least `effect`).

    Raises
    ------
    ParameterError
        When the model has no reference, or slices are wanted that the reference has not.
    DataError
        When there are rows without columns.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa, outgrow as og
    >>> random = np.random.default_rng(0)
    >>> before = pa.table({"delay": random.normal(5, 2, 5_000), "gate": random.choice(["A", "B"], 5_000)})
    >>> after = pa.table({"delay": random.normal(7, 2, 1_000), "gate": random.choice(["A", "B"], 1_000)})
    >>> print(og.drift(before, after))
    drift: 1,000 rows beside 5,000 (1 drift, 2 ok)
    <BLANKLINE>
    drift: delay: The mean went from 4.991 to 7.033, +1.03 standard deviations.
    """
    base, model = _reference(reference, by, target)
    window = base.count(_with_columns(_rows(rows)), model)
    return Drift.of(base, window, fdr=fdr, effect=effect, columns=columns)


def drift_of_paths(
    reference: str,
    rows: str,
    engine: Engine,
    *,
    by: Sequence[str] = (),
    fdr: float = FDR,
    effect: Mapping[str, float] | None = None,
    columns: str | Sequence[str] | None = None,
    target: str | None = None,
) -> Drift:
    """As `drift`, of files that an engine reads.

    Parameters
    ----------
    reference : a saved model, or files of rows.
    rows : files of those that are looked at.
    engine : where they are read and counted.
    by, fdr, effect, columns, target : as `drift` takes them.
    """
    given = load(reference) if _is_model(reference) else read(reference, engine=engine)
    base, model = _reference(given, by, target)
    window = base.count(read(rows, engine=engine), model)
    result = Drift.of(base, window, fdr=fdr, effect=effect, columns=columns)
    return replace(result, names=(Path(reference).name, Path(rows).name))


def _reference(given: Any, by: str | Sequence[str] | None, target: str | None) -> tuple[Reference, Any]:
    slices = (by,) if isinstance(by, str) else tuple(by or ())
    if isinstance(given, str | os.PathLike) and _is_model(given):
        given = load(given)
    if isinstance(given, Reference):
        return _with_slices(given, slices), None
    if isinstance(given, Estimator):
        kept = given.reference_
        if kept is None:
            raise ParameterError(
                f"This {type(given).__name__} has no reference of the rows it learned from. Save it with "
                "model.save(path, reference=rows), or give the rows themselves: og.drift(rows, new_rows)."
            )
        return _with_slices(kept, slices), given
    return Reference.of(_with_columns(_rows(given)), by=slices, target=target), None


def _with_slices(reference: Reference, slices: Sequence[str]) -> Reference:
    lacking = [name for name in slices if name not in reference.by]
    if lacking:
        raise ParameterError(
            f"The reference has slices by {list(reference.by)}, and none by {lacking[0]!r}. Make it with "
            f"og.Reference.of(rows, by={list(slices)!r})."
        )
    return reference


def _rows(given: Any) -> Dataset:
    return read(given) if isinstance(given, str | os.PathLike) else dataset(given)


def _with_columns(data: Dataset) -> Dataset:
    if not data.columns:
        raise DataError("The rows have no columns, so there is nothing to compare. Give rows with columns.")
    return data


def _is_model(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of a saved model, or of a folder of versions of one."""
    folder = Path(path)
    return (folder / STRUCTURE).is_file() or (folder / "current").is_file()
