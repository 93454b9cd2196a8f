"""What the encoders share: learning the categories of columns in one pass, and finding that of each value.

A missing value is a category like others, sorted last: NaN in columns of numbers, None in others. Dates and
times are categories by their text in UTC, which is the same for any type of column that holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from numbers import Integral
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch, is_categorical, is_numeric
from outgrow.data.exact import exact, exact_type, python_values, time_texts
from outgrow.data.kind import is_time
from outgrow.data.matrix import Column, Matrix, is_sparse
from outgrow.engine.open import is_table
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.ml.core.parameters import COLUMNS, LIST, NUMBER_TYPE, Integer, OneOf, Share
from outgrow.stats.counts import ValueCounts
from outgrow.stats.number_counts import NumberCounts, NumberIndex
from outgrow.stats.text_counts import TextCounts
from outgrow.stats.texts import TextIndex

Counts = ValueCounts | TextCounts | NumberCounts
INFREQUENT = "infrequent_sklearn"
CODED = {
    "columns": COLUMNS,
    "categories": OneOf("auto", "frequency") | LIST,
    "dtype": NUMBER_TYPE,
    "min_frequency": Integer(low=1) | Share(above=0, below=1) | None,
    "max_categories": Integer(low=1) | None,
}
"""The parameters that encoders have in common."""
_UNKNOWN = -1
_SHOWN = 5
_FEW = 16  # rows below which finding different values costs more than it saves
_MANY = 4_096  # categories from which on values are found without Python objects


@dataclass(frozen=True, eq=False)
class Coder:
    """Finds the category of each value of one column, and gives what that category becomes.

    Attributes
    ----------
    name : the column.
    categories : of the column.
    values : what each category becomes, and behind them what an unknown value becomes.
    """

    name: str
    categories: np.ndarray
    values: np.ndarray

    @cached_property
    def places(self) -> dict[Any, int]:
        """The number of each category; a missing value is under None."""
        return places_of(self.categories)

    def encode(self, column: Column) -> tuple[np.ndarray, list[Any]]:
        """What the rows become, of shape (rows,), and the values that belong to no category."""
        column = plain(column, self.name)
        if pa.types.is_dictionary(column.type) and len(column.dictionary) > len(column):
            column = column.dictionary_decode()
        if len(column) > _FEW and len(self.categories) > _MANY and self._has_index(column.type):
            return self._encode_many(column)
        words, rows = _words(column)
        places = [self.places.get(word, _UNKNOWN) for word in words]
        unknown = []
        if _UNKNOWN in places:
            used = range(len(words)) if rows is None else np.unique(rows).tolist()
            unknown = [words[place] for place in used if places[place] == _UNKNOWN]
        values = self.values[places]
        return values if rows is None else values[rows], list(dict.fromkeys(unknown))

    def _encode_many(self, column: pa.Array) -> tuple[np.ndarray, list[Any]]:
        """The same without a Python object for each of many values."""
        places = self._known[self._index.places(column)]
        if self._missing is not None:
            places[np.asarray(column.is_null(nan_is_null=True))] = self._missing
        unknown = np.flatnonzero(places == _UNKNOWN)
        words = python_values(column.take(pa.array(unknown)).unique()) if len(unknown) else []
        return self.values[places], list(dict.fromkeys(map(_key, words)))

    def _has_index(self, kind: pa.DataType) -> bool:
        """Whether the index finds values of this type; whole numbers of many bits are objects, too."""
        as_objects = self.categories.dtype.kind == "O" and not pa.types.is_string(kind)
        return not as_objects and self._index.compares(kind)

    @cached_property
    def _missing(self) -> int | None:
        return missing_place(self.categories)

    @cached_property
    def _known(self) -> np.ndarray:
        """The numbers of the categories in the index, missing ones left out, and that of unknown values."""
        places = np.arange(len(self.categories))
        places = places if self._missing is None else np.delete(places, self._missing)
        if self.categories.dtype.kind != "O":  # numbers are found by their order
            places = places[np.argsort(self.categories[places], kind="stable")]
        return np.append(places, _UNKNOWN)

    @cached_property
    def _index(self) -> TextIndex | NumberIndex:
        known = self.categories[self._known[:-1]]
        return TextIndex(known) if known.dtype.kind == "O" else NumberIndex(known)


def places_of(categories: np.ndarray) -> dict[Any, int]:
    """The number of each category, for `Coder`."""
    return {_key(value): place for place, value in enumerate(categories.tolist())}


def missing_place(categories: np.ndarray) -> int | None:
    """The number of the category of missing values."""
    if categories.dtype.kind not in "fO":
        return None
    missing = np.asarray(categories != categories, dtype=bool)
    if categories.dtype.kind == "O":
        missing |= np.equal(categories, np.array(None, dtype=object)).astype(bool)
    return int(missing.argmax()) if missing.any() else None


def _rows_of(categories: np.ndarray, counts: Counts) -> np.ndarray:
    """How many rows each category has."""
    rows = [counts.counts.get(_key(value), 0.0) for value in categories.tolist()]
    return np.array(rows, dtype=np.float64)


def shown_columns(owner: Any, names: Sequence[str]) -> list[Any]:
    """Columns as their user knows them: by name, or those of arrays by place.

    Parameters
    ----------
    owner : the encoder; it has `feature_names_in_` where names were given, `columns_` once it is fitted.
    names : of the columns, as a table has them.
    """
    if hasattr(owner, "feature_names_in_") or not hasattr(owner, "columns_"):
        return list(names)
    places = list(owner.columns_)
    return [places.index(name) for name in names]


def infrequent(owner: Any, categories: np.ndarray, counts: Counts) -> np.ndarray | None:
    """The categories to put together, chosen as scikit-learn chooses them.

    Parameters
    ----------
    owner : the encoder, whose `min_frequency` and `max_categories` decide.
    categories : of one column, sorted.
    counts : how many rows have each value of the column.

    Returns
    -------
    None where all are frequent.
    """
    if owner.min_frequency is None and owner.max_categories is None:
        return None
    rows = _rows_of(categories, counts)
    few = rows < _least_rows(owner.min_frequency, sum(counts.counts.values()))
    if owner.max_categories is not None and owner.max_categories < len(rows) - few.sum() + 1:
        # stable, so that of equals the later stay frequent
        few[np.argsort(rows, kind="stable")[: len(rows) - owner.max_categories + 1]] = True
    return categories[few] if few.any() else None


def grouped(categories: np.ndarray, few: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The group of each category, the infrequent ones in one group behind the others.

    Parameters
    ----------
    categories : of one column.
    few : those of them that are infrequent; None for none.

    Returns
    -------
    The number of the group of each, and whether each is frequent; both of shape (categories,).
    """
    frequent = np.ones(len(categories), dtype=bool)
    if few is not None:
        places = places_of(categories)
        frequent[[places[word] for word in places_of(few)]] = False
    return np.where(frequent, np.cumsum(frequent) - 1, frequent.sum()), frequent


def as_codes(X: Any, names: Sequence[str]) -> Any:
    """An array or sparse matrix with as many columns as there are names, dense or CSR.

    Parameters
    ----------
    X : what a user gives to `inverse_transform`.
    names : of the columns that are expected.

    Raises
    ------
    DataError
        When there are more or fewer columns.
    """
    codes = X.tocsr() if is_sparse(X) else np.asarray(X)
    if codes.ndim != 2 or codes.shape[1] != len(names):
        raise DataError(
            f"Shape of the passed X data is not correct. Expected {len(names)} columns, got "
            f"{codes.shape[1] if codes.ndim == 2 else 'none'}."
        )
    return codes


def in_dtype(owner: Any, values: Any) -> Any:
    """What `transform` made, arrays in the type that the encoder has for them.

    Parameters
    ----------
    owner : the encoder; where it leaves columns as they are, they keep their fractions.
    values : array, sparse matrix or table.
    """
    whole = not is_table(values) and len(owner.selected_) == len(owner.columns_)
    return values.astype(owner.dtype, copy=False) if whole else values


def side_by_side(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Columns of categories as one array."""
    kinds = {column.dtype for column in columns}
    dtype = object if any(kind.kind == "O" for kind in kinds) else np.result_type(*kinds)
    out = np.empty((len(columns[0]), len(columns)), dtype=dtype)
    for j, column in enumerate(columns):
        out[:, j] = column
    return out


def as_column(found: np.ndarray, categories: np.ndarray, few: np.ndarray | None) -> pa.Array:
    """Categories as a column of their type; of text where some are put together under a name.

    Parameters
    ----------
    found : shape (rows,), the category of each row, or the name for those that are put together.
    categories : of the column; they say its type.
    few : those that are put together; None for none.
    """
    words = found.tolist()
    if few is not None:
        return pa.array([None if _key(word) is None else str(word) for word in words], pa.string())
    kind = pa.array(categories.tolist(), from_pandas=True).type
    return pa.array(words, pa.string() if pa.types.is_null(kind) else kind, from_pandas=True)


def _most_frequent_first(categories: np.ndarray, counts: Counts) -> np.ndarray:
    """Categories by falling frequency, equals in their order, a missing value last."""
    rows = _rows_of(categories, counts)
    missing = missing_place(categories)
    if missing is not None:
        rows[missing] = -1.0
    return categories[np.argsort(-rows, kind="stable")]


def _least_rows(least: float | None, rows: float) -> float:
    if least is None:
        return 0.0
    return float(least) if isinstance(least, Integral) else rows * least


def learn_categories(
    owner: Any, shard: Shard, names: Sequence[str]
) -> tuple[list[np.ndarray], Sequence[Counts]]:
    """The categories of columns, and the counts of their values: one pass for all columns.

    Parameters
    ----------
    owner : the encoder: its `categories` may be given, and its `handle_unknown` may be 'error' for values
        beside those. Rows of texts are only counted where it puts infrequent ones together.
    shard : the rows.
    names : the columns.

    Raises
    ------
    SchemaError
        When a column holds no text, numbers, booleans, dates or times.
    ParameterError
        When the given categories are not as many as the columns, repeat, or are numbers out of order.
    DataError
        When there are values beside the given categories.
    """
    if not names:
        return [], []
    given = owner.categories
    by_frequency = isinstance(given, str) and given == "frequency"
    counted = by_frequency or (owner.min_frequency, owner.max_categories) != (None, None)
    kinds = {name: _kind(shard.example, name) for name in names}
    if not isinstance(given, str) and len(given) != len(names):
        raise ParameterError(
            "Shape mismatch: if categories is an array, it has to be of shape (n_features,). It has "
            f"{len(given)} entries for {len(names)} columns {list(names)}. Give one list for each column."
        )
    states = [counting(kinds[name], counted) for name in names]

    def count(batch: Batch) -> tuple[Counts, ...]:
        return tuple(state(plain(batch[name], name)) for name, state in zip(names, states, strict=True))

    found = shard.reduce(count, encoded=True)
    categories = [sorted_values(counts, kinds[name]) for name, counts in zip(names, found, strict=True)]
    if by_frequency:
        categories = [_most_frequent_first(*pair) for pair in zip(categories, found, strict=True)]
    elif not isinstance(given, str):
        auto, categories = (
            categories,
            [_given(values, name, kinds[name]) for name, values in zip(names, given, strict=True)],
        )
        if owner.handle_unknown == "error":
            for name, known, seen in zip(names, categories, auto, strict=True):
                _check_known(name, known, seen)
    return categories, found


def counting(kind: pa.DataType, counted: bool) -> Callable[[pa.Array], Counts]:
    """What counts values of a type.

    Parameters
    ----------
    kind : the type, as `plain` gives it.
    counted : whether it matters how often a value occurs.
    """
    if pa.types.is_string(kind):
        return partial(TextCounts.of, counted=counted)
    whole_or_float = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return NumberCounts.of if whole_or_float else ValueCounts.of


def plain(column: Column, name: str) -> pa.Array:
    """A column as values that compare: dictionaries of numbers decoded, decimals as the numbers they are,
    dates and times as text.

    Parameters
    ----------
    column : no matrix.
    name : of the column, for messages.

    Raises
    ------
    DataError
        When decimals have more digits than can be told apart.
    """
    assert not isinstance(column, Matrix)
    if pa.types.is_dictionary(column.type) and not pa.types.is_string(column.type.value_type):
        column = column.dictionary_decode()
    return time_texts(column, name) if is_time(column.type) else exact(column, name)


def unknown_error(name: str | int, values: Sequence[Any], when: str, advice: str) -> DataError:
    """What to raise for values that belong to no category.

    Parameters
    ----------
    name : of the column, or its place in an array.
    values : those that are unknown, at least one; five are shown.
    when : the verb that met them, like 'transform'.
    advice : a sentence that ends the message.
    """
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    shown = ", ".join(map(repr, values[:_SHOWN]))
    return DataError(f"Found unknown categories [{shown}]{more} in column {name!r} during {when}. {advice}")


def _words(column: pa.Array) -> tuple[list[Any], np.ndarray | None]:
    """Values of a column, None if missing, and which of them each row has; or row by row.

    Of a dictionary, values that no row has are among them.
    """
    if len(column) <= _FEW:
        return list(map(_key, python_values(column))), None
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    words = list(map(_key, python_values(encoded.dictionary)))
    if encoded.indices.null_count:
        words.append(None)
    return words, encoded.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)


def _key(value: Any) -> Any:
    """None for every kind of missing value."""
    return None if value != value else value


def _kind(example: Batch, name: str) -> pa.DataType:
    """The type of the values of a column; text for a column of nulls."""
    column = example[name]
    if isinstance(column, Matrix):
        raise SchemaError(f"Column {name!r} holds vectors, not categories. Name the columns to encode.")
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if is_numeric(kind):
        return exact_type(kind)
    if is_categorical(kind) or is_time(kind) or pa.types.is_null(kind):
        return pa.string()
    raise SchemaError(
        f"Column {name!r} is of type {column.type}; categories are text, numbers, booleans, dates or times. "
        "Cast it to text."
    )


def sorted_values(counts: Counts, kind: pa.DataType) -> np.ndarray:
    """The values that were counted, sorted, a missing one last.

    Parameters
    ----------
    counts : of the values.
    kind : their type, as for `counting`.
    """
    if isinstance(counts, TextCounts):
        return np.append(counts.values(), [None] if counts.has_missing else [])
    if isinstance(counts, NumberCounts):
        numbers = counts.values()
        return _array([*numbers.tolist(), None], kind) if counts.has_missing else numbers
    return _array([*counts.values(), *([None] if counts.has_missing else [])], kind)


def _array(values: list[Any], kind: pa.DataType) -> np.ndarray:
    """Categories in the type their column has in NumPy, where missing values turn integers into floats."""
    missing = any(_key(value) is None for value in values)
    if pa.types.is_decimal(kind) or (
        missing and not pa.types.is_floating(kind) and not pa.types.is_string(kind)
    ):
        kind = pa.float64() if missing else pa.int64()
    if pa.types.is_string(kind) or not _fit(values, kind):
        out = np.empty(len(values), dtype=object)
        out[:] = values
        return out
    return np.array([np.nan if value is None else value for value in values], kind.to_pandas_dtype())


def _fit(values: list[Any], kind: pa.DataType) -> bool:
    """Whether values keep what they are as this type: no boolean is a float, no long whole number either."""
    if pa.types.is_floating(kind):
        return not any(isinstance(value, bool) or _long(value, 2**53) for value in values)
    if not pa.types.is_integer(kind):
        return True
    limits = np.iinfo(kind.to_pandas_dtype())
    return all(limits.min <= value <= limits.max and value == int(value) for value in values)


def _long(value: Any, limit: int) -> bool:
    return isinstance(value, int) and not -limit <= value < limit


def _given(values: Any, name: str, kind: pa.DataType) -> np.ndarray:
    """The categories a user gave for a column, checked as scikit-learn does."""
    listed = np.asarray(values, dtype=object).tolist()
    text = is_categorical(kind)
    wrong = [value for value in listed if _key(value) is not None and isinstance(value, str) != text]
    if wrong:
        raise ParameterError(
            f"In column {name!r} of type {kind}, the predefined categories {wrong[:_SHOWN]} are of another "
            "type. Give them in the type of the column."
        )
    if any(value != value for value in listed[:-1]):
        raise ParameterError(
            f"In column {name!r}, NaN stands before other predefined categories {listed}. "
            "Nan should be the last element."
        )
    if len(set(map(_key, listed))) != len(listed):
        raise ParameterError(
            f"In column {name!r}, the predefined categories contain duplicate elements: {listed}. "
            "Name each once."
        )
    present = [value for value in listed if _key(value) is not None]
    if not text and (any(a > b for a, b in pairwise(present)) or present != listed[: len(present)]):
        raise ParameterError(
            f"Unsorted categories are not supported for numerical categories; column {name!r} has {listed}. "
            "Sort them, a missing value last."
        )
    return _array(listed, kind)


def _check_known(name: str, known: np.ndarray, seen: np.ndarray) -> None:
    places = places_of(known)
    unknown = [value for value in map(_key, seen.tolist()) if value not in places]
    if unknown:
        raise unknown_error(name, unknown, "fit", "Add them to categories, or choose another handle_unknown.")
