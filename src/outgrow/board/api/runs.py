"""The runs of a log: those that a filter leaves, a part of them at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from outgrow.board.sources import Sources
from outgrow.errors import ParameterError
from outgrow.track.compare import smaller_is_better
from outgrow.track.runs import runs

_SHOWN = (
    "run",
    "kind",
    "name",
    "state",
    "began",
    "seconds",
    "rows",
    "memory",
    "user",
    "error",
    "description",
)
_COLUMNS = 6
"""Parameters, and metrics, that are shown if nobody says which."""
_MOST = 1_000


def answer(sources: Sources, query: Mapping[str, str]) -> dict[str, Any]:
    """A part of the runs, and what there is to say of all of them.

    Parameters
    ----------
    sources : whose log is looked at.
    query : `filter` and `sort` as of `og.runs`; `limit` (100) and `skip`; `kind`, a kind of runs.

    Returns
    -------
    dict with 'runs', 'count', 'columns' (worth showing: parameters that differ, metrics that most have),
    'all' (every parameter, metric and tag), 'smaller' (the metrics of which less is better), 'position'
    of the log.

    Raises
    ------
    ParameterError
        When the filter, the order or a number is none.
    """
    position = sources.log.last()
    conditions = [f"({query['filter']})"] if query.get("filter", "").strip() else []
    if query.get("kind"):
        conditions.append(f"kind = '{query['kind']}'")
    order = query.get("sort", "-began").split(",")
    table = runs(" and ".join(conditions) or None, log=sources.log, sort=order)
    limit, skip = whole(query, "limit", 100), whole(query, "skip", 0)
    others = [name for name in table.column_names if name.startswith(("params.", "metrics.", "tags."))]
    rows = table.slice(skip, min(limit, _MOST))
    shown = worth_showing(table, others)
    return {
        "runs": listed(rows, [name for name in (*_SHOWN, *shown) if name in table.column_names]),
        "count": table.num_rows,
        "columns": shown,
        "all": others,
        "smaller": [name for name in others if smaller_is_better(name.removeprefix("metrics."))],
        "position": position,
    }


def listed(table: pa.Table, names: Sequence[str]) -> list[dict[str, Any]]:
    """Rows as JSON: times in seconds since 1970, nothing where there is nothing.

    Parameters
    ----------
    table : of runs.
    names : the columns that are wanted.
    """
    rows = table.select(list(names)).to_pylist()
    return [
        {
            name: value.timestamp() if name == "began" else value
            for name, value in row.items()
            if value is not None
        }
        for row in rows
    ]


def worth_showing(table: pa.Table, names: Sequence[str]) -> list[str]:
    """Metrics that most runs have, and parameters that differ between them.

    Parameters
    ----------
    table : of runs.
    names : of parameters, metrics and tags.
    """
    there = {name: table.num_rows - table[name].null_count for name in names}
    usual = sorted(names, key=lambda name: -there[name])
    metrics = [name for name in usual if name.startswith("metrics.")][:_COLUMNS]
    params = []
    for name in usual:
        if name.startswith("params.") and pc.count_distinct(table[name], mode="all").as_py() > 1:
            params.append(name)
        if len(params) == _COLUMNS:
            break
    return [*metrics, *params]


def whole(query: Mapping[str, str], name: str, default: int) -> int:
    """A whole number of a query.

    Parameters
    ----------
    query : what was asked.
    name : of the number.
    default : where it is not given.

    Raises
    ------
    ParameterError
        When it is none.
    """
    word = query.get(name, str(default))
    if not word.isdecimal() or len(word) > 9:
        raise ParameterError(f"{name}={word[:100]!r} is no number. Give a whole one from 0.")
    return int(word)
