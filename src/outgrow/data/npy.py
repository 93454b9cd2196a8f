"""Arrays in files of NumPy as a source: the files of a folder are the columns of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.fs import LocalFileSystem

from outgrow.data.array_columns import array_column, kind_bytes
from outgrow.data.batch import Batch
from outgrow.data.names import check_names
from outgrow.data.paths import file_record, files_below, unreadable
from outgrow.data.source import Piece, batch_rows, chosen, empty_batch, needed
from outgrow.errors import DataError, SchemaError

NPY = "npy"
ENDING = ".npy"
_PIECE_BYTES = 32 << 20
_ERRORS = (OSError, ValueError, EOFError)


class NpySource:
    """The rows of arrays of one length, each a column by its file's name; a folder below is further rows.

    Parameters
    ----------
    path : a folder, or one file.

    Raises
    ------
    SchemaError
        When folders hold other arrays than the first.
    DataError
        When arrays of a folder are of several lengths, or hold what no column can.
    """

    has_pieces = True
    format = NPY

    def __init__(self, path: str) -> None:
        self.filesystem, _, files = files_below(path, (ENDING,))
        self.paths = [file.path for file in files]
        self._folders: dict[str, dict[str, str]] = {}
        for name in self.paths:
            pure = PurePosixPath(name)
            self._folders.setdefault(str(pure.parent), {})[pure.stem] = name
        check_names(self.schema.names, path)

    @cached_property
    def _parts(self) -> list[tuple[dict[str, str], pa.Schema, int]]:
        """Of each folder the files, what they hold, and how many rows."""
        parts = [(files, *_looked_at(self.filesystem, files)) for files in self._folders.values()]
        for (files, schema, _), folder in zip(parts, self._folders, strict=True):
            if not schema.equals(parts[0][1]):
                raise SchemaError(
                    f"{folder} has other arrays than {next(iter(self._folders))}: {list(files)} as "
                    f"{list(map(str, schema.types))} instead of {parts[0][1].names} as "
                    f"{list(map(str, parts[0][1].types))}. Make the folders alike, or read them separately."
                )
        return parts

    @property
    def schema(self) -> pa.Schema:
        return self._parts[0][1]

    def example(self) -> Batch:
        return empty_batch(self.schema)

    def pieces(self) -> Sequence[Piece]:
        width = sum(kind_bytes(kind) for kind in self.schema.types)
        step = max(1, _PIECE_BYTES // width)
        return [
            NpyPiece(self.filesystem, files, self.schema, start, min(start + step, rows), width)
            for files, _, rows in self._parts
            for start in range(0, rows, step)
        ]

    def describe(self) -> dict[str, Any]:
        return {"kind": NPY, **file_record(self.filesystem, self.paths)}


@dataclass(frozen=True, eq=False)
class NpyPiece:
    """Some rows of the arrays of a folder, whose files are `files` by name."""

    filesystem: Any
    files: dict[str, str]
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
        return f"row {self.start + row} of {self}"

    def __str__(self) -> str:
        return str(PurePosixPath(next(iter(self.files.values()))).parent)

    def batches(
        self, columns: Sequence[str] | None, where: pc.Expression | None, *, encoded: bool = False
    ) -> Iterator[Batch]:
        """Its rows, as `Piece.batches`; only the files of the columns needed are opened.

        Parameters
        ----------
        columns : names of columns, in their order; None for all.
        where : rows that are wanted; None for all.
        encoded : without effect.

        Raises
        ------
        DataError
            When a file cannot be read.
        """
        names = needed(self.schema.names, columns, where)
        arrays = {name: _opened(self.filesystem, self.files[name]) for name in names}
        schema = pa.schema([self.schema.field(name) for name in names])
        rows = batch_rows(self.nbytes, self.known_rows)
        for start in range(self.start, self.stop, rows):
            stop = min(start + rows, self.stop)
            made = [array_column(arrays[field.name][start:stop], field.type) for field in schema]
            yield from chosen(pa.Table.from_arrays(made, schema=schema), columns, where)


def _opened(filesystem: Any, path: str) -> np.ndarray:
    """An array of a file, mapped into memory where it lies on this machine."""
    try:
        if isinstance(filesystem, LocalFileSystem):
            mapped: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
            return mapped
        with filesystem.open_input_stream(path) as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except _ERRORS as error:
        raise unreadable(path, error) from error


def _looked_at(filesystem: Any, files: dict[str, str]) -> tuple[pa.Schema, int]:
    arrays = {name: _opened(filesystem, path) for name, path in files.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len({shape[:1] for shape in shapes.values()}) != 1 or () in shapes.values():
        raise DataError(
            f"Arrays of {PurePosixPath(next(iter(files.values()))).parent} are of several lengths: {shapes}. "
            "Rows need one: put others into a folder of their own."
        )
    schema = pa.schema([(name, _kind(array, files[name])) for name, array in arrays.items()])
    return schema, next(iter(shapes.values()))[0]


def _kind(array: np.ndarray, path: str) -> pa.DataType:
    """The type of a column: a number or text, or a tensor of numbers."""
    if array.dtype.kind == "U" and array.ndim == 1:
        return pa.string()
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{path} holds values of the type {array.dtype} in {array.ndim} dimension(s), which no column "
            "can hold. Write it as numbers, or as text in one dimension."
        )
    inner = pa.from_numpy_dtype(array.dtype.newbyteorder("="))
    if array.ndim == 1:
        return inner
    return (
        pa.list_(inner, array.shape[1]) if array.ndim == 2 else pa.fixed_shape_tensor(inner, array.shape[1:])
    )
