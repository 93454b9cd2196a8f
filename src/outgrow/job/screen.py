"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from outgrow.engine.profile import Profile
from outgrow.engine.profile_columns import ColumnProfile, clipped
from outgrow.engine.profile_findings import ProfileFinding
from outgrow.expectations.report import ExpectationReport
from outgrow.job.doctor import Finding
from outgrow.job.record import MODEL, REPORT, SCORES, SET_ASIDE, Outcome
from outgrow.monitor.drift import Drift
from outgrow.page import format as say

_FINDINGS_SHOWN = 40
_WIDE = 110
"""Characters of a terminal from which what a finding says has a column of its own."""
_NAME = 28
"""Characters of a column's name that are shown."""
_VERDICTS = {"drift": "bold red", "broken": "bold red", "watch": "yellow", "cannot say": "dim", "ok": "green"}
_MARKS = {True: "[green]✓[/]", False: "[red]✗[/]", None: " "}


def score_table(outcome: Outcome) -> Table:
    """The metrics of the model beside those of the baseline."""
    name = outcome.loaded.job.model.name
    table = Table(
        box=SIMPLE_HEAD, title_justify="left", title=f"{outcome.test_rows:,} test rows", title_style="bold"
    )
    table.add_column("metric")
    table.add_column(name, justify="right")
    table.add_column(f"baseline ({outcome.baseline_name})", justify="right")
    for metric, value, base in outcome.score_rows():
        table.add_row(say.metric_name(metric), f"[bold]{say.score(value)}[/]", say.score(base))
    return table


def drift_table(drift: Drift, width: int = 120) -> RenderableType:
    """A line for each finding that is not ok; for each where all are.

    Parameters
    ----------
    drift : what was compared.
    width : characters of a line; where they are few, what a finding says stands below it.
    """
    if width < _WIDE:
        return Group(Text(drift._title, style="bold"), "", *_narrow_findings(drift))
    table = Table(box=SIMPLE_HEAD, title=escape(drift._title), title_justify="left", title_style="bold")
    for head in ("", "what", "measure"):
        table.add_column(head, no_wrap=True)
    for head in ("value", "q"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("")
    for row in drift._printed().to_pylist()[:_FINDINGS_SHOWN]:
        colour = _VERDICTS[row["verdict"]]
        cells = (clipped(row["subject"], _NAME), row["measure"], row["value"], row["q"], row["because"])
        table.add_row(f"[{colour}]{row['verdict']}[/]", *map(escape, cells))
    return table


def expectations_table(report: ExpectationReport) -> Table:
    """A line for each expectation that is broken; for each where all hold."""
    table = Table(box=SIMPLE_HEAD, title=escape(report._title), title_justify="left", title_style="bold")
    for head in ("", "column", "what"):
        table.add_column(head, no_wrap=True)
    for head in ("expected", "observed"):
        table.add_column(head)
    for row in report._printed().to_pylist()[:_FINDINGS_SHOWN]:
        colour = _VERDICTS[row["verdict"]]
        cells = (clipped(row["column"], _NAME), row["what"], row["expected"], row["observed"])
        table.add_row(f"[{colour}]{row['verdict']}[/]", *map(escape, cells))
    return table


def _narrow_findings(drift: Drift) -> Iterator[RenderableType]:
    for row in drift._printed().to_pylist()[:_FINDINGS_SHOWN]:
        head = Text.from_markup(f"[{_VERDICTS[row['verdict']]}]{row['verdict']}[/]  ")
        facts = [row["subject"], row["measure"], row["value"], row["q"] and f"q {row['q']}"]
        yield head.append("  ".join(filter(None, facts)), style="bold")
        yield Padding(Text(row["because"]), (0, 0, 0, 2))


def next_steps(outcome: Outcome) -> str:
    """What was written, and the command to type next."""
    folder = Path(outcome.loaded.job.output)
    aside = 0 if outcome.expectations is None else outcome.expectations.set_aside
    return "\n".join(
        [
            *([f"aside   {escape(str(folder / SET_ASIDE))} ({aside:,} rows)"] if aside else []),
            f"model   {escape(str(folder / MODEL))}",
            f"scores  {escape(str(folder / SCORES))}",
            f"report  {escape(str(folder / REPORT))}",
            "",
            "Score rows of your own with:",
            f"  [bold]outgrow score {escape(str(folder / MODEL))} ROWS.parquet -o predictions[/]",
        ]
    )


def profile_table(profile: Profile) -> Table:
    """A line for each column."""
    title = f"{profile.rows:,} rows, {len(profile.columns)} columns"
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    for head in ("column", "type"):
        table.add_column(head, no_wrap=True)
    for head in ("missing", "distinct"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("values")  # the one that becomes narrower where the terminal is narrow
    for column in profile.columns.values():
        values = Text(_values(column), no_wrap=True, overflow="ellipsis")
        table.add_row(*map(escape, _cells(column, profile.rows)), values)
    return table


def profile_findings(findings: Sequence[ProfileFinding]) -> Table:
    """A line for each thing to look at in a profile."""
    table = Table.grid(padding=(0, 2))
    for finding in findings[:_FINDINGS_SHOWN]:
        table.add_row(escape(finding.kind), escape(", ".join(finding.columns)), escape(finding.text))
    if len(findings) > _FINDINGS_SHOWN:
        table.add_row("...", f"and {len(findings) - _FINDINGS_SHOWN:,} more")
    return table


def findings_table(findings: Sequence[Finding]) -> Table:
    """A line for each thing the doctor looked at."""
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        remedy = f"\n[yellow]{escape(finding.remedy)}[/]" if finding.remedy else ""
        table.add_row(_MARKS[finding.good], finding.subject, escape(finding.observed) + remedy)
    return table


def _cells(column: ColumnProfile, rows: int) -> list[str]:
    missing = say.share(column.missing / rows) if rows else ""
    return [
        clipped(column.name, _NAME),
        clipped(column.type, _NAME),
        missing,
        say.number(column.distinct),
    ]


def _values(column: ColumnProfile) -> str:
    """The least, middle and greatest number and the mean, two times, or the most frequent values."""
    if column.quantiles:
        ends = " .. ".join(map(say.number, (column.min, column.quantiles[0.5], column.max)))
        return f"{ends}, mean {say.number(column.mean)} ± {say.number(column.std)}"
    if column.min is not None:
        return f"{column.min} .. {column.max}"
    return ", ".join(clipped(value) for value, _ in column.top[:3])
