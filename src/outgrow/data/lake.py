"""Tables of Delta Lake and Apache Iceberg as sources: what a version of the table holds, file by file."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from outgrow._optional import optional
from outgrow.data.batch import Batch
from outgrow.data.files import row_group_pieces
from outgrow.data.names import check_names
from outgrow.data.paths import unreadable
from outgrow.data.source import Piece, chosen, empty_batch, needed
from outgrow.data.spans import moment
from outgrow.errors import DataError, InputNotFoundError, ParameterError

DELTA, ICEBERG = "delta", "iceberg"
_CLOCK_SECONDS = 0.001
_NUMBER, _MOMENT = re.compile(r"v(\d+)"), re.compile(r"\d{4}-\d\d-\d\d\S*")
_MARKED = re.compile(rf"(?P<path>.+?)@(?P<mark>{_NUMBER.pattern}|{_MOMENT.pattern}|[\w.-]+)")


@dataclass(frozen=True)
class Reference:
    """A table, and which of its states is meant.

    Attributes
    ----------
    path : where the table is, or what it is called.
    mark : what stands behind the @; None for the newest state.
    """

    path: str
    mark: str | None = None

    @classmethod
    def of(cls, text: str) -> Reference:
        """As users write it: `path`, `path@v12`, `path@2026-11-01T12:00` (in UTC) or `path@tag`."""
        match = _MARKED.fullmatch(text)
        return cls(text) if match is None else cls(match["path"], match["mark"])

    @property
    def number(self) -> int | None:
        """The version or snapshot; None where the mark is something else."""
        match = _NUMBER.fullmatch(self.mark or "")
        return None if match is None else int(match[1])

    @property
    def when(self) -> datetime | None:
        """The moment; None where the mark is something else.

        Raises
        ------
        ParameterError
            When the mark looks like a moment and is none.
        """
        if _MOMENT.fullmatch(self.mark or "") is None:
            return None
        return moment(str(self.mark))

    @property
    def name(self) -> str | None:
        """The tag or branch; None where the mark is something else."""
        return self.mark if self.number is None and _MOMENT.fullmatch(self.mark or "") is None else None


def local_path(path: str) -> str | None:
    """The absolute path of what a path or a `file://` URI names; None for what is on no disk here."""
    scheme, separator, _ = path.partition("://")
    if separator and scheme != "file":
        return None
    return os.path.abspath(unquote(urlsplit(path).path) if separator else path)


def is_delta(path: Any) -> bool:
    """Whether a path is the folder of a Delta table, whose log says which of its files count."""
    folder = local_path(os.fspath(path)) if isinstance(path, str | os.PathLike) else None
    return folder is not None and os.path.isdir(os.path.join(folder, "_delta_log"))


def delta_files(path: str) -> list[str]:
    """The files of the newest version of a Delta table.

    Raises
    ------
    DataError
        When it cannot be opened.
    """
    source = DeltaSource(Reference(path))
    folder = source.reference.path
    if "://" in folder:
        return sorted(source._table.file_uris())
    return sorted(os.path.join(folder, unquote(str(file["path"]))) for file in source._files)


@dataclass(frozen=True)
class CompactedDelta:
    """What became of a Delta table: how many files it had and has, its rows, and the new version."""

    files_before: int
    files: int
    rows: int | None
    version: int


def compact_delta(path: str, target: int) -> CompactedDelta:
    """Write the small files of a Delta table as large ones, in a new version.

    Parameters
    ----------
    path : of the table.
    target : about how many bytes a file has.

    Raises
    ------
    DataError
        When delta-rs refuses; the table is as it was.
    """
    deltalake = optional("deltalake", "lake")
    before = len(delta_files(path))
    try:
        deltalake.DeltaTable(_normal(path)).optimize.compact(target_size=target)
    except (deltalake.exceptions.DeltaError, OSError) as error:
        raise DataError(
            f"The Delta table {path!r} cannot be compacted: {_reason(error)}. It is as it was."
        ) from None
    source = DeltaSource(Reference(path))
    return CompactedDelta(before, len(source._files), source.known_rows, source._table.version())


class DeltaSource:
    """The rows of a version of a Delta table.

    Parameters
    ----------
    reference : a folder or URI, and perhaps a version.
    """

    has_pieces = True
    format = DELTA

    def __init__(self, reference: Reference) -> None:
        if reference.name is not None:
            raise ParameterError(
                f"@{reference.name}: Delta tables have versions (@v12) and moments (@2026-11-01)."
            )
        self.reference = replace(reference, path=_normal(reference.path))
        self._table = self._opened()
        check_names(self.schema.names, self.reference.path)

    def _opened(self) -> Any:
        deltalake, when = optional("deltalake", "lake"), self.reference.when
        try:
            table = deltalake.DeltaTable(self.reference.path, version=self.reference.number)
            if when is not None:
                table.load_as_version(when)
        except deltalake.exceptions.TableNotFoundError as error:
            raise InputNotFoundError(
                f"No Delta table at {self.reference.path!r}: {error}. Check the path."
            ) from None
        except (deltalake.exceptions.DeltaError, OSError, ValueError, OverflowError) as error:
            raise DataError(
                f"The Delta table {self.reference.path!r} cannot be opened: {_reason(error)}. "
                f"{self._known_versions()}"
            ) from None
        self._check_moment(table)
        return table

    def _known_versions(self) -> str:
        """Which versions there are, in words."""
        deltalake = optional("deltalake", "lake")
        try:
            history = deltalake.DeltaTable(self.reference.path).history()
        except (deltalake.exceptions.DeltaError, OSError, ValueError):
            return "Check the path and the version."
        versions = [record["version"] for record in history]
        if self.reference.number in versions:
            return "That version was there, and its files or its log are not any more."
        return (
            f"It has versions {min(versions)} to {max(versions)}: the nearest is "
            f"@v{min(versions, key=lambda version: abs(version - (self.reference.number or 0)))}."
        )

    def _check_moment(self, table: Any) -> None:
        """Refuse a moment before the first version, for which delta-rs gives that version."""
        when = self.reference.when
        if when is None:
            return
        began = {record["version"]: record["timestamp"] / 1000 for record in table.history()}
        began_at = began.get(table.version())
        if began_at is not None and began_at > when.timestamp() + _CLOCK_SECONDS:
            first = datetime.fromtimestamp(began_at, UTC).isoformat(timespec="seconds")
            raise DataError(
                f"The Delta table {self.reference.path!r} had no version on "
                f"{when.isoformat()}: the first, @v{table.version()}, is of {first}. "
                "Read that, or a later moment."
            )

    @cached_property
    def arrow_dataset(self) -> Any:
        local = "://" not in self.reference.path
        filesystem = pafs.SubTreeFileSystem(self.reference.path, pafs.LocalFileSystem()) if local else None
        deltalake = optional("deltalake", "lake")
        try:
            return self._table.to_pyarrow_dataset(filesystem=filesystem)
        except deltalake.exceptions.DeltaError as error:
            raise DataError(
                f"The Delta table {self.reference.path!r} cannot be read: {_reason(error)}. Rewrite it "
                "without that feature."
            ) from None

    @property
    def schema(self) -> pa.Schema:
        return self.arrow_dataset.schema

    def example(self) -> Batch:
        return empty_batch(self.schema)

    def pieces(self) -> Sequence[Piece]:
        schema = self.schema
        try:
            fragments = list(self.arrow_dataset.get_fragments())
            return [piece for fragment in fragments for piece in row_group_pieces(fragment, schema)]
        except (OSError, pa.ArrowException) as error:
            raise unreadable(self.reference.path, error) from error

    @cached_property
    def _files(self) -> list[dict[str, Any]]:
        """The files of the version, as its log has them."""
        actions = pa.table(self._table.get_add_actions(flatten=True)).to_pylist()
        rows = [
            {"path": row["path"], "bytes": row["size_bytes"], "rows": row["num_records"]} for row in actions
        ]
        return sorted(rows, key=lambda row: str(row["path"]))

    @property
    def known_rows(self) -> int | None:
        """How many rows it has, where the log says it."""
        rows = [file["rows"] for file in self._files]
        return None if None in rows else sum(rows)

    def describe(self) -> dict[str, Any]:
        files = sorted(self._table.file_uris())
        about = {"path": self.reference.path, "version": self._table.version()}
        scheme = f"{DELTA}://" if "://" in self.reference.path else ""
        return {
            "kind": DELTA,
            **about,
            "uri": f"{scheme}{self.reference.path}@v{self._table.version()}",
            "bytes": sum(file["bytes"] for file in self._files),
            "file_count": len(files),
            "sha256": _digest([about, files]),
        }


class IcebergSource:
    """The rows of a snapshot of an Iceberg table.

    Parameters
    ----------
    reference : `catalog/namespace.table`, where the catalog is one that pyiceberg's configuration names, and
        perhaps a snapshot (`@v123`), a moment, or a tag or branch.
    """

    has_pieces = True
    format = ICEBERG

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self._scan = self._opened()
        check_names(self.schema.names, reference.path)

    def _opened(self) -> Any:
        catalogs, exceptions = optional("pyiceberg.catalog", "lake"), optional("pyiceberg.exceptions", "lake")
        catalog, _, name = self.reference.path.partition("/")
        try:
            table = catalogs.load_catalog(catalog).load_table(name)
            snapshot = self._snapshot(table)
        except (exceptions.NoSuchTableError, exceptions.NoSuchNamespaceError) as error:
            raise InputNotFoundError(f"No Iceberg table {name!r} in {catalog!r}: {error}.") from None
        except (DataError, ParameterError):
            raise
        except (ValueError, OSError) as error:
            raise DataError(
                f"The Iceberg table {self.reference.path!r} cannot be opened: {error}. Name a catalog of "
                "pyiceberg's configuration, like iceberg://catalog/namespace.table"
            ) from None
        return table.scan(snapshot_id=snapshot)

    def _snapshot(self, table: Any) -> int | None:
        mark, number = self.reference.mark, self.reference.number
        if mark is None:
            return None
        if mark in table.metadata.refs:  # a tag may be called like a moment or a version
            snapshot = table.snapshot_by_name(mark)
        elif self.reference.when is not None:
            moment = int(self.reference.when.timestamp() * 1000)
            snapshot = table.snapshot_as_of_timestamp(moment)
        elif number is not None or mark.isdecimal():
            snapshot = table.snapshot_by_id(int(mark) if number is None else number)
        else:
            snapshot = None
        if snapshot is None:
            tags = ", ".join(sorted(table.metadata.refs)) or "none"
            numbers = [item.snapshot_id for item in table.metadata.snapshots][-3:]
            last = ", ".join(f"@v{number}" for number in numbers) or "none"
            raise DataError(
                f"The Iceberg table {self.reference.path!r} has no snapshot for "
                f"@{mark}. Its tags and branches: {tags}. "
                f"Its last snapshots: {last}."
            )
        return int(snapshot.snapshot_id)

    @cached_property
    def schema(self) -> pa.Schema:
        arrow = optional("pyiceberg.io.pyarrow", "lake")
        return arrow.schema_to_pyarrow(self._scan.projection(), include_field_ids=False)

    def example(self) -> Batch:
        return empty_batch(self.schema)

    @cached_property
    def _tasks(self) -> list[Any]:
        return sorted(self._scan.plan_files(), key=lambda task: task.file.file_path)

    def pieces(self) -> Sequence[Piece]:
        return [IcebergPiece(self._scan, task, self.schema) for task in self._tasks]

    def describe(self) -> dict[str, Any]:
        snapshot = self._scan.snapshot()
        number = None if snapshot is None else snapshot.snapshot_id
        about = {"path": self.reference.path, "snapshot": number}
        files = [task.file for task in self._tasks]
        return {
            "kind": ICEBERG,
            **about,
            "uri": f"{ICEBERG}://{self.reference.path}" + ("" if number is None else f"@v{number}"),
            "bytes": sum(file.file_size_in_bytes for file in files),
            "file_count": len(files),
            "sha256": _digest([about, [file.file_path for file in files]]),
        }

    @property
    def known_rows(self) -> int | None:
        """How many rows it has; None where files say which of them are deleted."""
        if any(task.delete_files for task in self._tasks):
            return None
        return sum(int(task.file.record_count) for task in self._tasks)


@dataclass(frozen=True, eq=False)
class IcebergPiece:
    """A data file of an Iceberg table, less the rows that are deleted."""

    scan: Any
    task: Any
    schema: pa.Schema

    @property
    def nbytes(self) -> int:
        return int(self.task.file.file_size_in_bytes)

    @property
    def known_rows(self) -> None:
        return None

    def location(self, row: int) -> str:
        return f"row {row} of {self.task.file.file_path}"

    def __str__(self) -> str:
        return str(self.task.file.file_path)

    def batches(
        self, columns: Sequence[str] | None, where: pc.Expression | None, *, encoded: bool = False
    ) -> Iterator[Batch]:
        """Its rows, as `Piece.batches`.

        Parameters
        ----------
        columns : names of columns, in their order; None for all.
        where : rows that are wanted; None for all.
        encoded : without effect.

        Raises
        ------
        DataError
            When the file cannot be read.
        """
        arrow, scan = optional("pyiceberg.io.pyarrow", "lake"), self.scan
        read = needed(self.schema.names, columns, where)
        projected = scan.select(*read).projection()
        reader = arrow.ArrowScan(scan.table_metadata, scan.io, projected, scan.row_filter)
        try:
            for batch in reader.to_record_batches([self.task]):
                yield from chosen(pa.Table.from_batches([batch]).select(read), columns, where)
        except (OSError, pa.ArrowException) as error:
            raise unreadable(str(self), error) from error


def _normal(path: str) -> str:
    """The one form in which records have a path or URI, however it was written."""
    return local_path(path) or path.rstrip("/")


def _reason(error: Exception) -> str:
    """What an error says, without the frames that Delta's put behind it."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _digest(tree: Any) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
