"""Parquet files with columns of Spark ML's vectors, which ranks read as Spark wrote them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from outgrow.data.batch import Batch
from outgrow.data.files import FilesSource
from outgrow.data.scan import Where
from outgrow.data.source import Piece
from outgrow.engine.spark.frames import FrameSource
from outgrow.engine.spark.vectors import VectorColumn, with_matrices


@dataclass(frozen=True)
class VectorPiece:
    """A piece of such a file, with vectors as matrices."""

    piece: Piece
    vectors: Mapping[str, VectorColumn]

    @property
    def nbytes(self) -> int:
        return self.piece.nbytes

    @property
    def known_rows(self) -> int | None:
        return self.piece.known_rows

    def location(self, row: int) -> str:
        return self.piece.location(row)

    def __str__(self) -> str:
        return str(self.piece)

    def batches(
        self, columns: Sequence[str] | None, where: pc.Expression | None, *, encoded: bool = False
    ) -> Iterator[Batch]:
        """Its rows, as `Piece.batches`.

        Parameters
        ----------
        columns : names of columns, in their order; None for all.
        where : rows that are wanted; None for all.
        encoded : text may come as the dictionaries that the file holds.
        """
        read = columns if where is None else None
        for batch in self.piece.batches(read, None, encoded=encoded and where is None):
            found = with_matrices(batch, self.vectors)
            if where is not None:
                found = Where(where)(found)
            yield found if columns is None else found.select(columns)


class VectorFilesSource:
    """The rows of a DataFrame that is nothing but such files."""

    has_pieces = True

    def __init__(self, frame: FrameSource, files: FilesSource) -> None:
        self.schema = frame.schema
        self._frame = frame
        self._files = files

    def example(self) -> Batch:
        return self._frame.example()

    def pieces(self) -> Sequence[Piece]:
        return [VectorPiece(piece, self._frame.vectors) for piece in self._files.pieces()]

    def describe(self) -> dict[str, Any]:
        return self._frame.describe()
