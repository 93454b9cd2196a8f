"""HDF5 files as a source: the datasets of a group that have one length, as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow._optional import optional
from outgrow.data.array_columns import array_column, kind_bytes
from outgrow.data.batch import Batch
from outgrow.data.names import check_names
from outgrow.data.paths import file_record, unreadable
from outgrow.data.source import Piece, batch_rows, chosen, empty_batch, needed
from outgrow.errors import ColumnNotFoundError, DataError, SchemaError

_PIECE_BYTES = 32 << 20
_ERRORS = (OSError, RuntimeError, ValueError, KeyError)


class Hdf5Source:
    """The rows of some HDF5 files with the same datasets, in the order of their paths.

    Parameters
    ----------
    filesystem : of `pyarrow.fs`.
    files : paths on it.
    group : in which the datasets are.
    """

    has_pieces = True
    format = "hdf5"

    def __init__(self, filesystem: Any, files: Sequence[str], group: str = "/") -> None:
        self.filesystem = filesystem
        self.paths = list(files)
        self.group = group
        check_names(self.schema.names, self.paths[0])

    @cached_property
    def _files(self) -> list[tuple[pa.Schema, int]]:
        """What each file holds, and how many rows."""
        contents = [_looked_at(self.filesystem, path, self.group) for path in self.paths]
        for (schema, _), path in zip(contents, self.paths, strict=True):
            if not schema.equals(contents[0][0]):
                raise SchemaError(
                    f"{path} has other datasets than {self.paths[0]}: {schema} instead of {contents[0][0]}. "
                    "Make the files alike, or read them separately."
                )
        return contents

    @property
    def schema(self) -> pa.Schema:
        return self._files[0][0]

    def example(self) -> Batch:
        return empty_batch(self.schema)

    def pieces(self) -> Sequence[Piece]:
        width = max(1, sum(kind_bytes(field.type) for field in self.schema))
        step = max(1, _PIECE_BYTES // width)
        return [
            Hdf5Piece(self.filesystem, path, self.group, self.schema, start, min(start + step, rows), width)
            for path, (_, rows) in zip(self.paths, self._files, strict=True)
            for start in range(0, rows, step)
        ]

    def describe(self) -> dict[str, Any]:
        return {"kind": "hdf5", "group": self.group, **file_record(self.filesystem, self.paths)}


@dataclass(frozen=True, eq=False)
class Hdf5Piece:
    """Some rows of a file."""

    filesystem: Any
    path: str
    group: str
    schema: pa.Schema
    start: int
    stop: int
    width: int

    @property
    def nbytes(self) -> int:
        return (self.stop - self.start) * self.width

    @property
    def known_rows(self) -> int:
        return self.stop - self.start

    def location(self, row: int) -> str:
        return f"row {self.start + row} of {self.path}"

    def __str__(self) -> str:
        return self.path

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
        read = needed(self.schema.names, columns, where)
        rows = batch_rows(self.nbytes, self.stop - self.start)
        for start in range(self.start, self.stop, rows):
            yield from chosen(self._table(read, start, min(start + rows, self.stop)), columns, where)

    def _table(self, names: Sequence[str], start: int, stop: int) -> pa.Table:
        try:
            with _opened(self.filesystem, self.path) as file:
                held = _datasets(file, self.path, self.group)
                columns = [
                    array_column(held[name][start:stop], self.schema.field(name).type) for name in names
                ]
        except _ERRORS as error:
            if isinstance(error, DataError):
                raise
            raise unreadable(self.path, error) from error
        return pa.Table.from_arrays(columns, schema=pa.schema([self.schema.field(name) for name in names]))


def _opened(filesystem: Any, path: str) -> Any:
    return optional("h5py", "hdf5").File(filesystem.open_input_file(path), "r")


def _datasets(file: Any, path: str, group: str) -> Mapping[str, Any]:
    """The columns of a group by name: its datasets, the fields of those that have some."""
    library = optional("h5py", "hdf5")
    if group not in file or not isinstance(file[group], library.Group):
        groups = sorted(name for name in _groups(file, library))
        raise ColumnNotFoundError(f"No group {group!r} in {path}. There are: {groups}. Name one behind '::'.")
    columns: dict[str, Any] = {}
    for name, item in file[group].items():
        if isinstance(item, library.Dataset) and item.ndim:
            fields = item.dtype.names
            columns |= {name: item} if fields is None else {field: item.fields(field) for field in fields}
    return columns


def _groups(file: Any, library: Any) -> list[str]:
    names: list[str] = ["/"]
    file.visititems(lambda name, item: names.append(f"/{name}") if isinstance(item, library.Group) else None)
    return names


def _looked_at(filesystem: Any, path: str, group: str) -> tuple[pa.Schema, int]:
    try:
        with _opened(filesystem, path) as file:
            held = _datasets(file, path, group)
            rows = {name: len(item) for name, item in held.items()}
            if len(set(rows.values())) != 1:
                raise DataError(
                    f"The datasets of group {group!r} of {path} are of several lengths: {rows}. Name a group "
                    "whose datasets have one length behind '::', as in file.h5::/train."
                    if rows
                    else f"Group {group!r} of {path} holds no dataset. Name one that does behind '::'."
                )
            schema = pa.schema([(name, _kind(item, name, path)) for name, item in held.items()])
            return schema, next(iter(rows.values()))
    except _ERRORS as error:
        if isinstance(error, DataError | ColumnNotFoundError):
            raise
        raise unreadable(path, error) from error


def _kind(item: Any, name: str, path: str) -> pa.DataType:
    """The type of a column: a number or text, or of a matrix vectors of them."""
    values = np.asarray(item[:1])
    text = values.dtype.kind in "OS" and all(isinstance(value, str | bytes) for value in values.ravel())
    if text and values.ndim == 1:
        return pa.string()
    if text or values.dtype.kind not in "biuf":
        what = "texts in several dimensions" if text else f"values of the type {values.dtype}"
        raise DataError(
            f"Dataset {name!r} of {path} holds {what}, which no column can hold. Name a group without it "
            "behind '::', or write it as numbers or text."
        )
    inner = pa.from_numpy_dtype(values.dtype.newbyteorder("="))
    return inner if values.ndim == 1 else pa.list_(inner, int(np.prod(values.shape[1:])))
