"""Lists of items of any type as lists of small whole numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch, is_categorical
from outgrow.data.exact import exact_type
from outgrow.data.kind import is_list, is_time
from outgrow.data.matrix import Matrix
from outgrow.errors import SchemaError
from outgrow.ml.preprocessing.categories import Coder, Counts, counting, plain, sorted_values


def list_columns(owner: str, example: Batch, names: Sequence[str], chosen: bool) -> list[str]:
    """Those of some columns that are lists of values, of one type.

    Parameters
    ----------
    owner : the class that needs them, for messages.
    example : a batch that shows the types of the columns.
    names : the columns.
    chosen : whether the user named them, so that all must be lists.

    Raises
    ------
    SchemaError
        When there is none, a chosen one is none, or they hold different types.
    """
    lists = [name for name in names if not isinstance(c := example[name], Matrix) and is_list(c.type)]
    if not lists or (chosen and lists != list(names)):
        others = [name for name in names if name not in lists]
        raise SchemaError(f"{owner} works on lists; {others} are none. Choose columns of lists.")
    if len({item_type(example, [name]) for name in lists}) > 1:
        raise SchemaError(f"The lists of {lists} hold items of different types. Name one column.")
    return lists


def item_type(example: Batch, names: Sequence[str]) -> pa.DataType:
    """The type of the items of the first of some columns of lists, as they are counted.

    Parameters
    ----------
    example : a batch that shows the types of the columns.
    names : the columns of lists.
    """
    return value_type(example.arrow_types(names)[names[0]].value_type)


def value_type(kind: pa.DataType) -> pa.DataType:
    """The type of items as they are counted."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    text = is_categorical(kind) or is_time(kind) or pa.types.is_null(kind)
    return pa.string() if text else exact_type(kind)


def occurrences(batch: Batch, names: Sequence[str]) -> tuple[pa.Array, np.ndarray]:
    """The items of all lists, missing ones left out, and the row of each; each column after the other.

    Parameters
    ----------
    batch : the rows.
    names : the columns of lists.
    """
    parts, rows = [], []
    for name in names:
        column = batch[name]
        assert not isinstance(column, Matrix)
        items = plain(column.flatten(), name)
        present = np.asarray(items.is_valid())
        parts.append(items if present.all() else items.drop_null())
        rows.append(pc.list_parent_indices(column).to_numpy()[present])
    joined = parts[0] if len(parts) == 1 else pa.concat_arrays([_decoded(part) for part in parts])
    return joined, np.concatenate(rows)


def _decoded(items: pa.Array) -> pa.Array:
    return items.dictionary_decode() if pa.types.is_dictionary(items.type) else items


def present(batch: Batch, names: Sequence[str]) -> np.ndarray:
    """Whether a row has a list at all, be it an empty one.

    Parameters
    ----------
    batch : the rows.
    names : the columns of lists.
    """
    there = [np.asarray(batch[name].is_valid()) for name in names]  # type: ignore[union-attr]
    return np.logical_or.reduce(there)


def once(codes: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The places of the first of each pair of a code and a row.

    Parameters
    ----------
    codes : whole numbers from 0 on.
    rows : the row of each.
    """
    width = int(codes.max(initial=0)) + 1
    return np.unique(rows.astype(np.int64) * width + codes, return_index=True)[1]


def item_counter(kind: pa.DataType) -> Callable[[pa.Array, np.ndarray], Counts]:
    """What counts in how many rows each item is, from items and their rows.

    Parameters
    ----------
    kind : of the items, as `item_type` gives it.
    """
    count = counting(kind, True)

    def counter(items: pa.Array, rows: np.ndarray) -> Counts:
        encoded = items if pa.types.is_dictionary(items.type) else items.dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        return count(_decoded(items.take(pa.array(once(codes, rows)))))

    return counter


def most_frequent(counts: Counts, kind: pa.DataType, least: float) -> tuple[np.ndarray, np.ndarray]:
    """The items that are in enough rows, the most frequent first, of equals the least; and their rows.

    Parameters
    ----------
    counts : in how many rows each item is.
    kind : of the items.
    least : how many rows are enough.
    """
    values, found = sorted_values(counts, kind), counts.counts
    rows = np.array([0.0 if value != value else found.get(value, 0.0) for value in values.tolist()])
    rows[[value is None for value in values.tolist()]] = 0.0
    order = np.argsort(-rows, kind="stable")
    order = order[rows[order] >= max(least, 1.0)]
    return values[order], rows[order]


@dataclass(frozen=True, eq=False)
class ItemCoder:
    """Finds the number of each item.

    Attributes
    ----------
    items : ndarray of the known items, each at its number.
    """

    items: np.ndarray

    def __post_init__(self) -> None:
        values = np.append(np.arange(len(self.items)), -1)
        object.__setattr__(self, "_coder", Coder("items", self.items, values))

    def codes(self, batch: Batch, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the known items in the lists of a batch, and the row of each.

        Parameters
        ----------
        batch : the rows.
        names : the columns of lists.
        """
        items, rows = occurrences(batch, names)
        if not len(items) or not len(self.items):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        codes, _ = self._coder.encode(items)  # type: ignore[attr-defined]
        return codes[codes >= 0], rows[codes >= 0]


def arrow_items(items: np.ndarray) -> pa.Array:
    """Known items as an Arrow column."""
    return pa.array(items.tolist(), None if len(items) or items.dtype.kind != "O" else pa.string())
