"""Folders of images as a source: a row a file, its bytes, and the name of its folder as its label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch
from outgrow.data.paths import file_record, files_below, unreadable
from outgrow.data.source import Piece, chosen, empty_batch, needed

IMAGES = "images"
ENDINGS = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".gif",
    ".bmp",
    ".webp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
)
_SCHEMA = pa.schema([("image", pa.binary()), ("label", pa.string()), ("path", pa.string())])
_PIECE_BYTES, _BATCH_BYTES = 32 << 20, 4 << 20


class ImagesSource:
    """The image files of a folder and its sub-folders, in the order of their paths.

    Parameters
    ----------
    path : the folder, local or a URI.
    """

    has_pieces = True
    format = IMAGES

    def __init__(self, path: str) -> None:
        self.filesystem, self.root, self._files = files_below(path, ENDINGS)

    @property
    def schema(self) -> pa.Schema:
        return _SCHEMA

    def example(self) -> Batch:
        return empty_batch(_SCHEMA)

    def pieces(self) -> Sequence[Piece]:
        sizes = [(file.path, int(file.size or 0)) for file in self._files]
        return [ImagesPiece(self.filesystem, self.root, tuple(part)) for part in _cut(sizes, _PIECE_BYTES)]

    def describe(self) -> dict[str, Any]:
        return {"kind": IMAGES, **file_record(self.filesystem, [file.path for file in self._files])}


@dataclass(frozen=True, eq=False)
class ImagesPiece:
    """Some of the files, each a path and a size."""

    filesystem: Any
    root: str
    files: tuple[tuple[str, int], ...]

    @property
    def nbytes(self) -> int:
        return sum(size for _, size in self.files)

    @property
    def known_rows(self) -> int:
        return len(self.files)

    def location(self, row: int) -> str:
        return self.files[row][0]

    def __str__(self) -> str:
        return f"{self.files[0][0]} and {len(self.files) - 1} others"

    def batches(
        self, columns: Sequence[str] | None, where: pc.Expression | None, *, encoded: bool = False
    ) -> Iterator[Batch]:
        """Its rows, as `Piece.batches`; no file is opened for paths and labels alone.

        Parameters
        ----------
        columns : names of columns, in their order; None for all.
        where : rows that are wanted; None for all.
        encoded : without effect.

        Raises
        ------
        InputNotFoundError
            When a file is gone.
        """
        opens = "image" in needed(_SCHEMA.names, columns, where)
        for files in _cut(self.files, _BATCH_BYTES):
            table = self._table([path for path, _ in files], opens=opens)
            yield from chosen(table, columns, where)

    def _table(self, paths: Sequence[str], *, opens: bool) -> pa.Table:
        data = list(map(self._read, paths)) if opens else [None] * len(paths)
        labels = [PurePosixPath(path).parent.name for path in paths]
        names = [path[len(self.root) :].lstrip("/") for path in paths]
        return pa.table([pa.array(data, pa.binary()), pa.array(labels), pa.array(names)], schema=_SCHEMA)

    def _read(self, path: str) -> bytes:
        try:
            with self.filesystem.open_input_stream(path) as stream:
                return bytes(stream.read())
        except OSError as error:
            raise unreadable(path, error) from error


def _cut(files: Sequence[tuple[str, int]], most: int) -> Iterator[list[tuple[str, int]]]:
    """Files in turn, in parts of about so many bytes."""
    part, size = list[tuple[str, int]](), 0
    for file in files:
        part.append(file)
        size += file[1]
        if size >= most:
            yield part
            part, size = [], 0
    if part:
        yield part
