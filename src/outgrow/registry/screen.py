"""Versions and moves as text: tables for people, JSON lines for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from outgrow.registry.facts import Move, VersionInfo, moment

_MOST_CHARACTERS = 60


def move_table(moves: Iterable[Move]) -> str:
    """A line for each move, in the order of the log; a clock that was behind is marked."""
    head = ("when", "alias", "from", "to", "by", "why")
    rows, latest = [], None
    for move in moves:
        behind = latest is not None and move.time < latest
        latest = move.time if latest is None else max(latest, move.time)
        to = _number(move.version) + ("" if move.percent is None else f" ({move.percent:g} %)")
        why = "; ".join(
            f"{key}{text}" for key, text in (("", move.why), ("evidence ", move.evidence)) if text
        )
        when = moment(move.time) + (" (clock behind)" if behind else "")
        rows.append((when, move.alias, _number(move.before), to, move.by, why))
    return table(head, rows) if rows else "No alias was moved."


def pointing_table(aliases: Mapping[str, int]) -> str:
    """A line for each alias."""
    return table(("alias", "version"), [(alias, str(number)) for alias, number in sorted(aliases.items())])


def version_table(infos: Iterable[VersionInfo]) -> str:
    """A line for each version."""
    head = ("version", "added", "by", "aliases", "metrics", "tags", "description")
    rows = [
        (
            str(info.number) + ("" if info.there else " (gone)"),
            "" if info.time is None else moment(info.time),
            info.by or "",
            " ".join(info.aliases),
            " ".join(f"{name}={_value(value)}" for name, value in info.metrics.items()),
            " ".join(f"{name}={value}" for name, value in info.tags.items()),
            _shortened(info.description or ""),
        )
        for info in infos
    ]
    return table(head, rows) if rows else "There is no version."


def json_lines(entries: Iterable[Any]) -> str:
    """A line of JSON for each; they are data classes, or mappings."""
    plain = (entry if isinstance(entry, Mapping) else asdict(entry) for entry in entries)
    return "\n".join(json.dumps(entry, default=_json, ensure_ascii=False) for entry in plain)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns below their heads; a column without any text is left out.

    Parameters
    ----------
    head : a word for each column.
    rows : as many texts each.
    """
    shown = [i for i in range(len(head)) if any(row[i] for row in rows)]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in shown]
    lines = []
    for row in (head, *rows):
        cells = [row[i].ljust(width) for i, width in zip(shown, widths, strict=True)]
        lines.append(" ".join("  ".join(cells).split("\n")).rstrip())
    return "\n".join(lines)


def _number(version: int | None) -> str:
    return "-" if version is None else str(version)


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 3]}..."


def _json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else list(value)
