"""The runs of a log as a table: a fold of its records, kept on disk for the next process."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from outgrow.errors import OutgrowError
from outgrow.log.event_log import EventLog
from outgrow.log.record import Record
from outgrow.storage import write_file

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

    def keep(self) -> None:
        """Keep on disk what was recorded since the last look, for the process that looks next; never raises.

        Of a log with very much that is new, that is left to who looks.
        """
        with suppress(OutgrowError, OSError):
            if _MANY <= self._log.last() - self._kept.position <= _MOST:
                self.now()


_MANY, _MOST = 64, 20_000
"""So many new records are worth to be kept on disk; past the second number it would take long."""


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
