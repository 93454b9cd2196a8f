"""Which rows somebody read: where they lie, in which version, and a fingerprint."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Self

import numpy as np

from outgrow.data.matrix import is_sparse
from outgrow.data.scan import Scan, Select
from outgrow.data.source import ArraySource, Source, TableSource
from outgrow.errors import DataError, ParameterError

_WHOLE_BYTES = 1 << 20
"""Of rows in memory, up to so many bytes are hashed; of more, evenly spaced parts of so many in all."""
_PARTS = 64
_FOLDERS = ("images", "npy")
"""Kinds whose files are rows or columns only together, as what lies in one folder."""
_LISTED = 200
"""Most files, or columns, that a record names one by one."""


@dataclass(frozen=True)
class DatasetVersion:
    """Which rows these are, so that they can be read again, and told from others.

    `og.read` takes one in place of a path: it reads the same rows, or says what has changed.

    Attributes
    ----------
    kind : 'parquet', 'delta', 'iceberg', 'query', 'table', ...: what holds them.
    uri : what `og.read` opens to read this very version; None for rows in memory.
    version : the number of a Delta version, an Iceberg snapshot, a revision of DVC; None where the source
        has none.
    fingerprint : of files their paths, sizes and times of change, of tables of a lake their version and
        files, of rows in memory their bytes; with the schema and the steps that choose rows.
    rows, bytes : as far as they are known without reading rows.
    schema : types by the names of columns.
    steps : how rows and columns were chosen, in words.
    files : the first 200, each with path, bytes and time of change.
    file_count : of all.
    inputs : of a query, the versions of its tables.
    sampled : whether only parts of large rows in memory count in the fingerprint.
    strong : sum of the hashes of all rows, which no partitioning, order, engine or file format changes; None
        where nobody asked for it.

    Examples
    --------
    >>> import pathlib, tempfile, outgrow as og
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "rows.csv"
    >>> _ = path.write_text("x,late\\n1,2\\n2,4\\n3,7\\n")
    >>> model = og.LinearRegression().fit(og.read(path), "late")
    >>> version = og.DatasetVersion.from_dict(model.fit_record_.data)
    >>> og.read(version).count()
    3
    """

    kind: str
    uri: str | None
    version: str | int | None
    fingerprint: str
    rows: int | None = None
    bytes: int | None = None
    schema: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    files: tuple[Mapping[str, Any], ...] = ()
    file_count: int = 0
    inputs: Mapping[str, DatasetVersion] = field(default_factory=dict)
    sampled: bool = False
    strong: str | None = None

    @classmethod
    def of(cls, scan: Scan, described: Mapping[str, Any] | None = None) -> Self:
        """The version of the rows of a scan; no rows of files are read.

        Parameters
        ----------
        scan : a source, and the steps its rows go through.
        described : what its `describe` gave, where somebody asked for that before.
        """
        record = dict(described) if described is not None else _described(scan)
        origin, whole = scan.origin, all(isinstance(step, Select) for step in scan.steps)
        uri = None if origin is None else origin.uri
        version = cls._from_source(record["source"], uri, _known_rows(scan.source) if whole else None)
        if not whole:
            version = replace(version, rows=None)
        if origin is not None and origin.kind is not None:
            version = replace(version, uri=origin.uri, kind=origin.kind, version=origin.version)
        steps = tuple(record["steps"])
        return replace(version, fingerprint=record["sha256"], schema=record["schema"], steps=steps)

    @classmethod
    def _from_source(cls, source: Mapping[str, Any], uri: str | None, rows: int | None) -> Self:
        files = [file if isinstance(file, Mapping) else {"path": file} for file in source.get("files", ())]
        sizes = [file.get("bytes") for file in files]
        whole = sum(size for size in sizes if size is not None) if files and None not in sizes else None
        tables = source.get("tables", {})
        return cls(
            kind=str(source["kind"]),
            uri=source.get("uri") or uri or _common_folder(files),
            version=source.get("version", source.get("snapshot", source.get("revision"))),
            fingerprint=source.get("sha256") or digest(source),
            rows=source.get("rows", rows),
            bytes=source.get("bytes", whole),
            files=tuple(files[:_LISTED]),
            file_count=source.get("file_count", len(files)),
            inputs={name: cls._from_source(table, None, None) for name, table in tables.items()},
            sampled=source.get("sampled", False),
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; `from_dict` reads it.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> version = og.dataset(pa.table({"a": [1, 2]})).version()
        >>> version.to_dict()["rows"], og.DatasetVersion.from_dict(version.to_dict()) == version
        (2, True)
        """
        return {
            "kind": self.kind,
            "uri": self.uri,
            "version": self.version,
            "fingerprint": self.fingerprint,
            "sampled": self.sampled,
            "rows": self.rows,
            "bytes": self.bytes,
            "columns": len(self.schema),
            "schema": dict(list(self.schema.items())[:_LISTED]),
            "steps": list(self.steps),
            "files": [dict(file) for file in self.files],
            "file_count": self.file_count,
            "inputs": {name: version.to_dict() for name, version in self.inputs.items()},
            "strong": self.strong,
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote.

        Raises
        ------
        ParameterError
            When it is something else.
        """
        try:
            known = {name: tree[name] for name in cls.__dataclass_fields__ if name in tree}
            known["steps"], known["files"] = tuple(tree.get("steps", ())), tuple(tree.get("files", ()))
            tables = tree.get("inputs", {})
            known["inputs"] = {name: cls.from_dict(table) for name, table in tables.items()}
            return cls(**known)
        except (TypeError, AttributeError, KeyError) as error:
            raise ParameterError(
                f"This is no record of a version of data: {error}. Give what DatasetVersion.to_dict() wrote."
            ) from None

    def paths(self) -> str | list[str]:
        """What to open to read it again.

        Raises
        ------
        DataError
            When the rows were in memory, or a query made them.
        """
        names = [str(file["path"]) for file in self.files]
        more = "://" in (self.uri or "") or "::" in (self.uri or "") or self.kind in _FOLDERS
        if self.uri is not None and (more or not names or len(names) < self.file_count):
            return self.uri
        if names:
            return names
        raise DataError(
            f"Rows of kind {self.kind!r} cannot be read again from a record: they were in memory, or a query "
            "made them. Read the inputs of the query, or write the rows to files first."
        )

    def check_same(self, other: DatasetVersion) -> None:
        """Refuse rows that are not those of this version any more.

        Parameters
        ----------
        other : what is there now, before any steps.

        Raises
        ------
        DataError
            When files have changed, are gone or new; it names them.
        """
        if self.fingerprint == other.fingerprint:
            return
        was, now = _by_path(self.files), _by_path(other.files)
        if was == now and self.version == other.version:
            self._check_columns(other)
            return
        changed = [path for path in was if path in now and was[path] != now[path]]
        gone, new = [path for path in was if path not in now], [path for path in now if path not in was]
        about = {"changed": changed, "gone": gone, "new": new}
        facts = "; ".join(f"{word}: {_some(paths)}" for word, paths in about.items() if paths)
        raise DataError(
            f"{self._shown} is not what was recorded: {facts or 'its version differs'}. Restore the files "
            "from a copy, or read the path itself for the rows of today."
        )

    def _check_columns(self, other: DatasetVersion) -> None:
        """Refuse the same files where they are read otherwise, or where the record was edited."""
        if self.steps:
            return
        if dict(self.schema) != dict(other.schema):
            raise DataError(
                f"{self._shown} has other columns than were recorded: {_columns(self, other)}. "
                "Read it with the types of the record."
            )
        raise DataError(
            f"The record of {self._shown} says fingerprint {self.fingerprint[:12]}, and that of the same "
            f"files is {other.fingerprint[:12]}: the record was edited, or text is read otherwise."
        )

    @property
    def _shown(self) -> str:
        return self.uri or f"The {self.kind}"

    def __str__(self) -> str:
        version = "" if self.version is None else f", version {self.version}"
        rows = "" if self.rows is None else f", {self.rows:,} rows"
        return f"{self._shown} ({self.kind}{version}{rows}, {self.fingerprint[:12]})"


def digest(tree: Any) -> str:
    """SHA-256 of what JSON can say."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True, default=str).encode()).hexdigest()


def _columns(was: DatasetVersion, now: DatasetVersion) -> str:
    names = [name for name in {**was.schema, **now.schema} if was.schema.get(name) != now.schema.get(name)]
    shown = [f"{name} was {was.schema.get(name)} and is {now.schema.get(name)}" for name in names[:3]]
    return ", ".join(shown) or "their order"


def _by_path(files: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, Any]]:
    return {str(file["path"]): (file.get("bytes"), file.get("modified")) for file in files}


def _some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(paths[:3]) + more


def _common_folder(files: Sequence[Mapping[str, Any]]) -> str | None:
    """The path of one file, or the folder in which several lie."""
    paths = [str(file["path"]) for file in files]
    if len(paths) < 2:
        return paths[0] if paths else None
    if any("://" in path for path in paths):
        return str(PurePosixPath(paths[0]).parent).replace(":/", "://", 1)
    return os.path.commonpath([os.path.dirname(path) for path in paths])


def _known_rows(source: Source) -> int | None:
    """How many rows there are, where nothing has to be read for it."""
    if isinstance(source, TableSource):
        return int(source.table.num_rows)
    if isinstance(source, ArraySource):
        return int(source.values.shape[0])
    return getattr(source, "known_rows", None)


def _described(scan: Scan) -> dict[str, Any]:
    """As `Scan.describe`, which reads all of what lies in memory."""
    source = scan.source
    if not isinstance(source, TableSource | ArraySource) or _bytes(source) <= _WHOLE_BYTES:
        return scan.describe()
    record = {
        "source": _sampled(source),
        "schema": {item.name: str(item.type) for item in scan.schema},
        "steps": [step.describe() for step in scan.steps],
    }
    return {**record, "sha256": digest(record)}


def _bytes(source: TableSource | ArraySource) -> int:
    if isinstance(source, TableSource):
        return int(source.table.nbytes)
    return int(source.values.data.nbytes if is_sparse(source.values) else source.values.nbytes)


def _sampled(source: TableSource | ArraySource) -> dict[str, Any]:
    """A digest of parts of rows in memory, from the first to the last."""
    table = isinstance(source, TableSource)
    values = source.table if isinstance(source, TableSource) else source.values
    rows = values.num_rows if table else values.shape[0]
    length = max(1, rows * _WHOLE_BYTES // _bytes(source) // _PARTS)
    running = hashlib.sha256()
    for start in np.unique(np.linspace(0, rows - length, _PARTS).astype(int)).tolist():
        if table:
            for batch in values.slice(start, length).combine_chunks().to_batches():
                running.update(batch.serialize())
        else:
            part = values[start : start + length]
            running.update(np.ascontiguousarray(part.data if is_sparse(part) else part).data)
    return {
        "kind": "table" if table else "array",
        "rows": rows,
        "sampled": True,
        "sha256": running.hexdigest(),
    }
