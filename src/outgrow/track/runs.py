"""`og.runs`: a table of what was done, folded from the log and kept for the next look."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from outgrow.engine.usage import started
from outgrow.errors import LogError, ParameterError
from outgrow.log.event_log import EventLog
from outgrow.track.filters import column_of, filtered
from outgrow.track.runs_view import COLUMNS, RunsView
from outgrow.track.tracking import default_log, recording_log, up_to_date


def runs(
    filter: str | None = None,
    *,
    log: str | os.PathLike[str] | EventLog | None = None,
    sort: str | Sequence[str] = "-began",
    limit: int | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """What was fitted, run, tuned, scored and served, as a table with a row a run.

    Parameters
    ----------
    filter : which runs, as MLflow writes it: ``metrics.log_loss < 0.4 and params.C = '1'``; besides `and`
        there are `or`, `not`, brackets, LIKE, IN and IS NULL. All by default.
    log : where they are recorded; by default where this process records, else what OUTGROW_LOG names, else
        outgrow.db in this folder.
    sort : columns to sort by, with a minus before those whose largest values come first; the newest run comes
        first by default. Runs without a value come last.
    limit : at most so many.
    columns : only these.

    Returns
    -------
    pyarrow.Table
        With columns `run` (its id), `kind`, `name`, `state` ('running', 'finished', 'failed', 'killed' by
        Ctrl-C, or 'lost' where the process on this machine is gone), `began`, `seconds`, `rows`, ...;
        `params.*` as text, `metrics.*` as numbers, `tags.*`.

    Raises
    ------
    ParameterError
        When the filter is none, or names a column that no run has.
    LogError
        When there is no log, or it cannot be read.

    Examples
    --------
    >>> import tempfile, numpy as np, outgrow as og
    >>> X, y = np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 4.0, 6.5])
    >>> log = og.track.start(tempfile.mkdtemp())
    >>> for alpha in (0.1, 10.0):
    ...     _ = og.Ridge(alpha=alpha).fit(X, y).evaluate(X, y)
    >>> og.track.stop()
    >>> og.runs("metrics.r2 > 0.9", log=log, columns=["name", "params.alpha"]).to_pylist()
    [{'name': 'Ridge', 'params.alpha': '0.1'}]
    """
    table = _with_lost(RunsView.of(open_log(log)).now())
    table = filtered(table, filter)
    keys = [sort] if isinstance(sort, str) else list(sort)
    table = _sorted(table, keys)
    if limit is not None:
        table = table.slice(0, limit)
    if columns is not None:
        return table.select([column_of(table, name) for name in columns])
    return _without_empty(table)


def open_log(log: str | os.PathLike[str] | EventLog | None) -> EventLog:
    """The log that is meant, to be read: one that is not there is not made.

    Parameters
    ----------
    log : as of `runs`.

    Raises
    ------
    LogError
        When there is none.
    """
    if isinstance(log, EventLog):
        return up_to_date(log)
    if log is None and (recorded := recording_log()) is not None:
        return up_to_date(recorded)
    uri = default_log() if log is None else os.fspath(log)
    path = uri.removeprefix("sqlite:///")
    if "://" not in path and not Path(path).exists():
        raise LogError(
            f"There is no log at {path}. Name one (--log, log=, OUTGROW_LOG), or record runs with "
            "og.track.start() first."
        )
    return up_to_date(EventLog(uri))


def find_run(name: str, log: EventLog) -> str:
    """The id of the run that is meant.

    Parameters
    ----------
    name : the first characters of an id, as many as no other run has; or `last`.
    log : where it is recorded.

    Raises
    ------
    ParameterError
        When there is no such run, or there are several.
    """
    table = RunsView.of(log).now()
    if name == "last" and table.num_rows:
        return str(table["run"][pc.index(table["began"], pc.max(table["began"])).as_py()].as_py())
    wanted = name.lower().strip()
    matches = table.filter(pc.starts_with(table["run"], wanted)) if wanted else table.slice(0, 0)
    if matches.num_rows == 1:
        return str(matches["run"][0].as_py())
    if not matches.num_rows:
        raise ParameterError(f"There is no run {name!r} in {log!r}. See which there are with outgrow runs.")
    some = [f"{row['run'][:12]} ({row['name']})" for row in matches.slice(0, 5).to_pylist()]
    more = ", ..." if matches.num_rows > 5 else ""
    raise ParameterError(
        f"{matches.num_rows:,} runs begin with {name!r}: {', '.join(some)}{more}. Write more of it."
    )


def tag_run(
    name: str,
    tags: Mapping[str, str],
    description: str | None = None,
    *,
    log: str | os.PathLike[str] | EventLog | None = None,
) -> str:
    """Give a run tags or a description, after the fact; its id.

    Parameters
    ----------
    name : as of `find_run`.
    tags : by name; those that are there are replaced.
    description : what to know about it; None leaves it as it is.
    log : as of `runs`.
    """
    opened = open_log(log)
    run = find_run(name, opened)
    body: dict[str, Any] = {"tags": dict(tags)}
    if description is not None:
        body["description"] = description
    opened.append("run.tagged", run, body)
    return run


def _sorted(table: pa.Table, keys: Iterable[str]) -> pa.Table:
    order = []
    for key in keys:
        word, _, direction = key.strip().partition(" ")
        down = word.startswith("-") or direction.strip().lower() == "desc"
        order.append((column_of(table, word.lstrip("-+")), "descending" if down else "ascending"))
    if not order:
        return table
    return table.take(pc.sort_indices(table, sort_keys=order))


def _with_lost(table: pa.Table) -> pa.Table:
    """The runs of processes of this machine that ended without a word are lost."""
    open_runs = pc.and_(pc.equal(table["state"], "running"), pc.equal(table["host"], socket.gethostname()))
    open_runs = pc.fill_null(open_runs, False)
    some = table.filter(open_runs)
    pairs = zip(some["run"].to_pylist(), some["pid"].to_pylist(), some["began"].to_pylist(), strict=True)
    gone = [run for run, pid, began in pairs if not lives(pid, began.timestamp())]
    if not gone:
        return table
    lost = pc.is_in(table["run"], pa.array(gone, pa.string()))
    states = pc.if_else(lost, "lost", table["state"])
    return table.set_column(table.column_names.index("state"), "state", states)


_CLOCKS = 2.0
"""Seconds by which the start of a process, as the system counts it, may be off."""


def lives(process: int, since: float) -> bool:
    """Whether a process of this machine that was there at a moment still is; not another with its number.

    Parameters
    ----------
    process : its number.
    since : the moment, in seconds since 1970.
    """
    began = started(process)
    if began is not None:
        return began <= since + _CLOCKS
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _without_empty(table: pa.Table) -> pa.Table:
    """Without parameters, metrics and tags that none of these runs has."""
    return table.select(
        [name for name in table.column_names if name in COLUMNS or table[name].null_count < table.num_rows]
    )
