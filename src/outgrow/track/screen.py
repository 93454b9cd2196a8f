"""Runs on a terminal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from rich.table import Table
from rich.text import Text

from outgrow.engine.memory import describe_size
from outgrow.page.format import seconds as in_words
from outgrow.track.details import RunDetails
from outgrow.track.runs_view import COLUMNS, shown

ID_LENGTH = 8
_ALWAYS = ("run", "name", "state", "began", "seconds")
_COLOURS = {"finished": "green", "failed": "red", "killed": "yellow", "running": "cyan", "lost": "yellow"}
_MOST = 3
"""Parameters, and metrics, that are shown where nobody names them; of the runs at hand, the most frequent."""
_NAME = 28


def runs_table(table: pa.Table, width: int = 120) -> Any:
    """Runs as a table for people.

    Parameters
    ----------
    table : as `og.runs` gives it.
    width : characters of a line; parameters and metrics that nobody named are left out where they do not fit.
    """
    if not table.num_rows:
        return Text("No runs.")
    names = list(table.column_names)
    all_of_them = set(COLUMNS) <= set(names)
    if all_of_them:
        names = [*_ALWAYS, *_frequent(table, "metrics."), *_frequent(table, "params.")]
    rows = table.select(names).to_pylist()
    cells = {name: [_cell(name, row[name]) for row in rows] for name in names}
    short = {name: name.partition(".")[2].rpartition("__")[2] or name for name in names}
    alike = [head for head, count in Counter(short.values()).items() if count > 1]
    heads = {name: name.partition(".")[2] if head in alike else head for name, head in short.items()}
    if all_of_them:
        names = _fitting(names, heads, cells, width)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        right = pa.types.is_floating(table.schema.field(name).type) or name == "rows"
        shown.add_column(heads[name], justify="right" if right else "left", no_wrap=True)
    for number in range(len(rows)):
        shown.add_row(*[cells[name][number] for name in names])
    return shown


def _fitting(
    names: Sequence[str], heads: Mapping[str, str], cells: Mapping[str, Sequence[Text]], width: int
) -> list[str]:
    """The columns that are always shown, and of the others those for which there is room, in their order."""
    fitting, used = [], 0
    for name in names:
        wide = 2 + max(len(heads[name]), *(len(cell) for cell in cells[name]))
        if name in _ALWAYS or used + wide <= width + 2:
            fitting.append(name)
            used += wide
    return fitting


def as_lines(table: pa.Table) -> Iterator[str]:
    """Each run as a line of JSON, without what it has not."""
    for row in table.to_pylist():
        yield json.dumps({name: value for name, value in row.items() if value is not None}, default=str)


def _frequent(table: pa.Table, group: str) -> list[str]:
    names = [name for name in table.column_names if name.startswith(group) and name != "params.steps"]
    counts = {name: table.num_rows - table[name].null_count for name in names}
    return [name for name in sorted(counts, key=lambda n: -counts[n])[:_MOST] if counts[name]]


def _cell(name: str, value: Any) -> Text:
    if value is None:
        return Text("")
    if name == "run":
        return Text(value[:ID_LENGTH], style="bold")
    if name == "state":
        return Text(value, style=_COLOURS.get(value, ""))
    if isinstance(value, datetime):
        return Text(ago(value))
    if name == "seconds":
        return Text(in_words(value))
    if name == "name":
        return Text(value.removeprefix("Pipeline of ")[:_NAME])
    return Text(f"{value:.5g}" if isinstance(value, float) else str(value)[:60])


def ago(moment: datetime) -> str:
    """A time of today by the hour, others by the day, in the zone of this machine."""
    local = moment.astimezone()
    today = datetime.now(UTC).astimezone().date()
    return local.strftime("%H:%M:%S" if local.date() == today else "%Y-%m-%d %H:%M")


def show_run(run: RunDetails) -> Iterator[Any]:
    """The parts of what a terminal shows of a run.

    Parameters
    ----------
    run : all that is known of it.
    """
    head = Text(f"{run.run}  {run.name}  ", style="bold")
    yield head.append(run.state, style=_COLOURS.get(run.state, ""))
    if run.description:
        yield Text(run.description)
    beginning, ending = run.beginning, run.ending
    code, engine = beginning.get("code", {}), beginning.get("engine") or {}
    commit = (code.get("commit") or "")[:12] + (" with changes" if code.get("dirty") else "")
    facts = {
        "kind": beginning.get("kind"),
        "began": f"{run.began.astimezone():%Y-%m-%d %H:%M:%S} by {run.by}",
        "time": in_words(ending["seconds"]) if "seconds" in ending else None,
        "memory": describe_size(ending["memory"]) if "memory" in ending else None,
        "rows": f"{ending['rows']:,}" if ending.get("rows") else None,
        "engine": engine.get("name"),
        "code": " ".join(filter(None, [code.get("script"), commit])),
        "model": ending.get("model"),
        "cause": run.cause,
        **run.tags,
    }
    yield _pairs("", facts)
    for seen in run.data:
        where = seen.get("uri") or f"{seen.get('kind')} in memory"
        version = f" version {seen['version']}" if seen.get("version") is not None else ""
        rows = f", {seen['rows']:,} rows" if seen.get("rows") is not None else ""
        yield Text(
            f"\n{seen.get('role', 'data')} rows: {where}{version}{rows}, {seen.get('fingerprint', '')[:16]}"
        )
    yield _pairs("parameters", {name: shown(value) for name, value in run.parameters.items()})
    yield _pairs("metrics", {name: f"{value:.6g}" for name, value in run.metrics.items()})
    for stage, body in run.ranks.items():
        yield _ranks_table(stage, body)
    files = (ending.get("artifacts") or {}).get("files", [])
    folder = (ending.get("artifacts") or {}).get("folder", "")
    yield _pairs(f"files in {folder}", {file["path"]: describe_size(file["bytes"]) for file in files[:20]})
    if "error" in ending:
        yield Text(f"\n{ending['error']['type']}: {ending['error']['message']}", style="red")


def _ranks_table(stage: str, body: Mapping[str, Any]) -> Table:
    """What each rank of a fit did; those that the others wait for are named."""
    table = Table(
        title=f"\nranks of {stage}", box=None, pad_edge=False, title_justify="left", header_style="dim"
    )
    for head in ("rank", "host", "rows", "at work", "rows/s", "memory", ""):
        table.add_column(head, justify="left" if head in ("host", "") else "right", no_wrap=True)
    for pace in body["ranks"]:
        slow = pace["rank"] in body["stragglers"]
        table.add_row(
            str(pace["rank"]),
            pace["host"],
            f"{pace['rows']:,}",
            in_words(pace["seconds"]),
            f"{pace['rows_per_second']:,.0f}",
            describe_size(pace["memory"]),
            Text("the others wait for it", style="yellow") if slow else "",
        )
    return table


def show_differences(
    first: RunDetails, second: RunDetails, sections: list[tuple[str, list[dict[str, Any]]]]
) -> Iterator[Any]:
    """The parts of what a terminal shows of two runs.

    Parameters
    ----------
    first, second : the runs.
    sections : titles, and rows with name, first, second and change.
    """
    if not sections:
        yield Text("The runs do not differ in what was recorded.")
    for title, rows in sections:
        table = Table(title=title, box=None, pad_edge=False, title_justify="left", header_style="bold")
        table.add_column("")
        table.add_column(first.run[:ID_LENGTH], overflow="fold")
        table.add_column(second.run[:ID_LENGTH], overflow="fold")
        table.add_column("")
        for row in rows:
            colour = "" if row["better"] is None else "green" if row["better"] else "red"
            cells = [Text(str(row[name])[:80]) for name in ("name", "first", "second")]
            table.add_row(*cells, Text(row["change"], style=colour))
        yield table
        yield Text("")


def _pairs(title: str, facts: Mapping[str, Any]) -> Any:
    """Names and values; nothing where there are none."""
    facts = {name: value for name, value in facts.items() if value not in (None, "")}
    if not facts:
        return Text("", end="")
    table = Table(
        box=None, pad_edge=False, show_header=False, title=title and f"\n{title}", title_justify="left"
    )
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(Text(name), Text(str(value)))
    return table
