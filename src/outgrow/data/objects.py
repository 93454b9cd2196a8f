"""Arrays of Python objects, such as strings.

Where the same objects come again, as a column of categories mostly has them, rows are told apart by which
object they hold, and each object is read once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch
from outgrow.data.matrix import Column, Matrix
from outgrow.data.source import Piece, TablePiece, TableSource

_LOOKED_AT = 4_096
_PART_ROWS = 1 << 18
_CODES = pa.dictionary(pa.int32(), pa.string())
_READ = (pa.types.is_string, pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
_SHARE = 4
"""Objects are worth telling apart where each of them stands for so many of the first rows."""


class _Addresses:
    """The addresses of the objects of an array, in its memory."""

    def __init__(self, objects: np.ndarray) -> None:
        self.objects = objects  # the array must live as long as this does
        address, _ = objects.__array_interface__["data"]
        self.__array_interface__ = {
            "version": 3,
            "typestr": np.dtype(np.uintp).str,
            "data": (address, True),
            "shape": objects.shape,
            "strides": objects.strides,
        }


def shared_texts(values: np.ndarray) -> pa.ChunkedArray | None:
    """A column of text as codes of its words, where few objects are many rows.

    Parameters
    ----------
    values : shape (rows,).

    Returns
    -------
    Its dictionaries hold each text once. None where the objects are other than text (None and NaN apart,
    which are missing), too few or too many; nothing is known of the values then.

    Examples
    --------
    >>> import numpy as np
    >>> from outgrow.data.objects import shared_texts
    >>> shared_texts(np.array(["small", "large"] * 5_000, dtype=object)).unique().to_pylist()
    ['small', 'large']
    >>> shared_texts(np.array(["small", "large"], dtype=object)) is None
    True
    """
    column = shared_values(values)
    return column if column is not None and pa.types.is_dictionary(column.type) else None


def shared_values(values: np.ndarray) -> pa.ChunkedArray | None:
    """Text as `shared_texts` has it, or a column of numbers or booleans, where few objects are many rows.

    Parameters
    ----------
    values : shape (rows,).

    Examples
    --------
    >>> import numpy as np
    >>> from outgrow.data.objects import shared_values
    >>> shared_values(np.array([1, 2] * 5_000, dtype=object)).type
    DataType(int64)
    """
    if values.dtype.kind != "O" or len(values) < _LOOKED_AT:
        return None
    if _SHARE * len(np.unique(np.asarray(_Addresses(values[:_LOOKED_AT])))) > _LOOKED_AT:
        return None
    codes = _codes(values)
    places = _first_rows([np.asarray(part.indices) for part in codes.chunks], len(codes.chunk(0).dictionary))
    read = _read(values[places])
    if read is None:
        return None
    if not pa.types.is_string(read.type):
        return pa.chunked_array([read.take(part.indices) for part in codes.chunks], read.type)
    words = read.dictionary_encode()
    if words.null_count or len(words.dictionary) < len(words):  # equal texts may be several objects
        taken = [words.indices.take(part.indices) for part in codes.chunks]
        return _of_words(taken, words.dictionary)
    return _of_words([part.indices for part in codes.chunks], words.dictionary)


def _codes(values: np.ndarray) -> pa.ChunkedArray:
    """Which object each row holds; all parts have one dictionary."""
    parts = [
        pa.array(np.asarray(_Addresses(values[i : i + _PART_ROWS])))
        for i in range(0, len(values), _PART_ROWS)
    ]
    with ThreadPoolExecutor(min(len(parts), pa.cpu_count())) as pool:
        coded = list(pool.map(pa.Array.dictionary_encode, parts))
    return pa.chunked_array(coded).unify_dictionaries()


def _read(objects: np.ndarray) -> pa.Array | None:
    """Objects as Arrow has them; None where they are other than text, numbers or booleans."""
    try:
        read = pa.array(objects.tolist(), from_pandas=True)
    except (pa.ArrowException, OverflowError):
        return None
    return read if any(holds(read.type) for holds in _READ) else None


def _of_words(codes: Sequence[pa.Array], words: pa.Array) -> pa.ChunkedArray:
    """Text as parts of codes of the same words."""
    parts = [pa.DictionaryArray.from_arrays(part.cast(pa.int32()), words, safe=False) for part in codes]
    return pa.chunked_array(parts, _CODES)


def _first_rows(parts: Sequence[np.ndarray], count: int) -> np.ndarray:
    """Where each of the codes 0 to count - 1 stands first, given that they first come in this order."""
    places = np.empty(count, dtype=np.intp)
    known, before = 0, 0
    for codes in parts:
        start = 0
        while known < count and start < len(codes):
            part = codes[start : max(_LOOKED_AT, 2 * start)]
            new = np.flatnonzero(part >= known)[::-1]  # of equal ones the first counts, as it is written last
            if len(new):
                places[part[new]] = before + start + new
                known = 1 + int(part[new].max())
            start += len(part)
        before += len(codes)
    return places


@dataclass(frozen=True, eq=False)
class CodedPiece(TablePiece):
    """Consecutive rows of a table whose text lies there as dictionaries, though its schema says text."""

    def batches(
        self, columns: Sequence[str] | None, where: pc.Expression | None, *, encoded: bool = False
    ) -> Iterator[Batch]:
        """Its rows, as `Piece.batches`.

        Parameters
        ----------
        columns : names of columns, in their order; None for all.
        where : rows that are wanted; None for all.
        encoded : text may stay as the dictionaries.
        """
        for batch in super().batches(columns, where):
            yield batch if encoded else _decoded(batch)


def _decoded(batch: Batch) -> Batch:
    words: dict[str, Column] = {}
    for name in batch.columns:
        column = batch[name]
        if not isinstance(column, Matrix) and pa.types.is_dictionary(column.type):
            words[name] = column.dictionary_decode()
    return batch.with_columns(words)


@dataclass(frozen=True, eq=False)
class CodedSource(TableSource):
    """A table of arrays, some of its columns of text as dictionaries, which is nobody else's business."""

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([field.with_type(_value_type(field.type)) for field in self.table.schema])

    def pieces(self) -> Sequence[Piece]:
        starts = range(0, max(1, self.table.num_rows), self.piece_rows)
        return [CodedPiece(self.table.slice(start, self.piece_rows), start) for start in starts]

    def describe(self) -> dict[str, Any]:
        """As the same text tells of itself."""
        columns = [
            column.cast(field.type) for column, field in zip(self.table.columns, self.schema, strict=True)
        ]
        return TableSource(pa.table(columns, schema=self.schema)).describe()


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
