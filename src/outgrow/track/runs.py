"""`og.runs`: a table of what was done, folded from the log and kept for the next look."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from outgrow.errors import LogError, ParameterError
from outgrow.log.event_log import EventLog
from outgrow.log.record import Record
from outgrow.storage import write_file
from outgrow.track.filters import column_of, filtered
from outgrow.track.tracking import default_log, recording_log

KINDS = ("run.began", "data.seen", "run.measured", "run.ended", "run.tagged", "run.deleted")
COLUMNS: dict[str, pa.DataType] = {
    "run": pa.string(),
    "kind": pa.string(),
    "name": pa.string(),
    "state": pa.string(),
    "began": pa.timestamp("ms", "UTC"),
    "seconds": pa.float64(),
    "rows": pa.int64(),
    "memory": pa.int64(),
    "estimator": pa.string(),
    "data": pa.string(),
    "fingerprint": pa.string(),
    "engine": pa.string(),
    "user": pa.string(),
    "host": pa.string(),
    "pid": pa.int64(),
    "commit": pa.string(),
    "dirty": pa.bool_(),
    "cause": pa.string(),
    "model": pa.string(),
    "error": pa.string(),
    "description": pa.string(),
}
"""What is known of every run; columns params.*, metrics.* and tags.* follow."""
_GROUPS = {"params": pa.string(), "metrics": pa.float64(), "tags": pa.string()}
_LONGEST = 200
_VERSION = 1
"""Of the kept tables; others are made anew."""


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
        return log
    if log is None and (recorded := recording_log()) is not None:
        return recorded
    uri = default_log() if log is None else os.fspath(log)
    path = uri.removeprefix("sqlite:///")
    if "://" not in path and not Path(path).exists():
        raise LogError(
            f"There is no log at {path}. Name one (--log, log=, OUTGROW_LOG), or record runs with "
            "og.track.start() first."
        )
    return EventLog(uri)


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


@dataclass
class _Kept:
    """A table of runs, and the last record that it knows."""

    table: pa.Table
    position: int = 0
    digest: str = ""


class RunsView:
    """The runs of a log as a table; each look folds what was recorded since the last one, also by others."""

    _views: dict[str, RunsView] = {}

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._file = _cache_file(log)
        self._kept = _read_kept(self._file, log)

    @classmethod
    def of(cls, log: EventLog) -> RunsView:
        """The view of a log, the same for all who ask."""
        key = f"{log.origin} {log.uri}"
        view = cls._views.get(key)
        if view is None:
            view = cls._views[key] = cls(log)
        view._log = log
        return view

    def now(self) -> pa.Table:
        """The table as of all records until now."""
        with self._lock:
            if self._log.last() < self._kept.position:
                self._kept = _Kept(_table([]))  # another log has taken the place of that one
            records = list(self._log.since(self._kept.position, kinds=KINDS))
            if records:
                table = _folded(self._kept.table, records)
                self._kept = _Kept(table, records[-1].position, records[-1].digest)
                if len(records) >= _MANY:
                    _keep(self._file, self._kept)
            return self._kept.table


_MANY = 64
"""So many new records are worth to be kept on disk."""


def _folded(table: pa.Table, records: Sequence[Record]) -> pa.Table:
    """The table with the runs that records tell of as they are now."""
    touched = pa.array(sorted({record.subject for record in records}), pa.string())
    known = pc.is_in(table["run"], touched)
    rows: dict[str, dict[str, Any]] = {
        row["run"]: {name: value for name, value in row.items() if value is not None}
        for row in table.filter(known).to_pylist()
    }
    for record in records:
        _step(rows, record)
    return pa.concat_tables(
        [table.filter(pc.invert(known)), _table(list(rows.values()))], promote_options="default"
    ).combine_chunks()


def _step(rows: dict[str, dict[str, Any]], record: Record) -> None:
    """Take a record in."""
    body = record.body
    if record.kind == "run.began":
        rows[record.subject] = _begun(record)
        return
    row = rows.get(record.subject)
    if row is None:
        return
    if record.kind == "run.deleted":
        del rows[record.subject]
    elif record.kind == "data.seen":
        row["data"], row["fingerprint"] = body.get("uri") or body.get("kind"), body.get("fingerprint")
        row.setdefault("rows", body.get("rows"))
    elif record.kind == "run.tagged":
        row |= _group("tags", body.get("tags", {}))
        row["description"] = body.get("description", row.get("description"))
    elif record.kind == "run.measured":
        row |= _group("metrics", body.get("metrics", {}))
    else:
        _end(row, body)


def _begun(record: Record) -> dict[str, Any]:
    body = record.body
    environment, code = body.get("environment", {}), body.get("code", {})
    return {
        "run": record.subject,
        "kind": body.get("kind"),
        "name": body.get("name"),
        "state": "running",
        "began": datetime.fromtimestamp(record.time, UTC),
        "estimator": body.get("estimator"),
        "engine": (body.get("engine") or {}).get("name"),
        "user": record.by,
        "host": environment.get("host"),
        "pid": environment.get("pid"),
        "commit": code.get("commit"),
        "dirty": code.get("dirty"),
        "cause": record.cause,
        **_group("params", body.get("parameters", {})),
        **_group("tags", body.get("tags", {})),
    }


def _end(row: dict[str, Any], body: Mapping[str, Any]) -> None:
    for name in ("state", "seconds", "rows", "memory", "model"):
        if body.get(name) is not None:
            row[name] = body[name]
    if body.get("error"):
        row["error"] = f"{body['error'].get('type')}: {body['error'].get('message', '')}"[:_LONGEST]
    row |= _group("params", body.get("parameters", {}))
    row |= _group("params", (body.get("best") or {}).get("parameters", {}))
    row |= _group("metrics", body.get("metrics", {}))


def _group(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    if name == "metrics":
        return {f"metrics.{key}": float(v) for key, v in values.items() if isinstance(v, int | float)}
    return {f"{name}.{key}": shown(value)[:_LONGEST] for key, value in values.items()}


def shown(value: Any) -> str:
    """A parameter as text, as MLflow has it."""
    return (
        value
        if isinstance(value, str)
        else json.dumps(value)
        if isinstance(value, list | dict)
        else str(value)
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    names = dict(COLUMNS)
    for row in rows:
        for name in row:
            if name not in names:
                names[name] = _GROUPS[name.partition(".")[0]]
    return pa.table({name: pa.array([row.get(name) for row in rows], kind) for name, kind in names.items()})


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
    gone = {pid for pid in table["pid"].filter(open_runs).unique().to_pylist() if not _lives(pid)}
    if not gone:
        return table
    lost = pc.and_(open_runs, pc.is_in(table["pid"], pa.array(sorted(gone), pa.int64())))
    states = pc.if_else(lost, "lost", table["state"])
    return table.set_column(table.column_names.index("state"), "state", states)


def _lives(process: int) -> bool:
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


# ---- kept on disk --------------------------------------------------------------------------------


def _cache_file(log: EventLog) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = os.environ.get("OUTGROW_CACHE") or Path(home) / "outgrow"
    uri = log.uri if "://" in log.uri else os.path.abspath(log.uri)
    name = hashlib.sha256(f"{log.origin} {uri}".encode()).hexdigest()[:32]
    return Path(folder) / "runs" / f"{name}.arrow"


def _read_kept(file: Path, log: EventLog) -> _Kept:
    """What was kept at an earlier look, if the log still has the record it ended with."""
    with suppress(OSError, pa.ArrowException, KeyError, ValueError):
        with pa.memory_map(str(file)) as source:
            table = pa.ipc.open_file(source).read_all()
        about = json.loads(table.schema.metadata[b"outgrow"])
        position, digest = int(about["position"]), str(about["digest"])
        last = next(iter(log.since(position - 1, limit=1)), None)
        if about["version"] == _VERSION and last is not None and last.digest == digest:
            return _Kept(table.replace_schema_metadata(None), position, digest)
    return _Kept(_table([]))


def _keep(file: Path, kept: _Kept) -> None:
    """Write the table where the next process finds it; where that cannot be, it is made anew."""
    about = {"version": _VERSION, "position": kept.position, "digest": kept.digest}
    table = kept.table.replace_schema_metadata({"outgrow": json.dumps(about)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_file(file, sink.getvalue().to_pybytes(), overwrite=True)
