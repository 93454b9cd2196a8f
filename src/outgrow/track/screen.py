"""Runs on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from rich.table import Table
from rich.text import Text

from outgrow.page.format import seconds as in_words
from outgrow.track.runs import COLUMNS

ID_LENGTH = 8
_ALWAYS = ("run", "kind", "name", "state", "began", "seconds")
_COLOURS = {"finished": "green", "failed": "red", "killed": "yellow", "running": "cyan", "lost": "yellow"}
_MOST = 6
"""Parameters and metrics that are shown where nobody names them; of the runs at hand, the most frequent."""


def runs_table(table: pa.Table) -> Any:
    """Runs as a table for people.

    Parameters
    ----------
    table : as `og.runs` gives it.
    """
    if not table.num_rows:
        return Text("No runs.")
    names = list(table.column_names)
    if set(COLUMNS) <= set(names):
        names = [*_ALWAYS, *_frequent(table, "params."), *_frequent(table, "metrics.")]
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        right = pa.types.is_floating(table.schema.field(name).type) or name == "rows"
        _, dot, tail = name.partition(".")
        shown.add_column(tail if dot else name, justify="right" if right else "left", overflow="fold")
    for row in table.select(names).to_pylist():
        shown.add_row(*[_cell(name, row[name]) for name in names])
    return shown


def as_lines(table: pa.Table) -> Iterator[str]:
    """Each run as a line of JSON, without what it has not."""
    for row in table.to_pylist():
        yield json.dumps({name: value for name, value in row.items() if value is not None}, default=str)


def _frequent(table: pa.Table, group: str) -> list[str]:
    counts = {n: table.num_rows - table[n].null_count for n in table.column_names if n.startswith(group)}
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
    return Text(f"{value:.5g}" if isinstance(value, float) else str(value)[:60])


def ago(moment: datetime) -> str:
    """A time of today by the hour, others by the day, in the zone of this machine."""
    local = moment.astimezone()
    today = datetime.now(UTC).astimezone().date()
    return local.strftime("%H:%M:%S" if local.date() == today else "%Y-%m-%d %H:%M")
