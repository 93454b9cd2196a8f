"""What is required of the columns that a matrix is made of: features, target and weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch, is_categorical, is_numeric
from outgrow.data.exact import EXACT, exact, python_values
from outgrow.data.hashing import value_hash
from outgrow.data.kind import is_list
from outgrow.data.matrix import Column, Matrix, numbers
from outgrow.data.names import called
from outgrow.errors import DataError, SchemaError

_RANGE = 1 << 10
"""Whole numbers that lie within it are counted, a place for each."""


def check_numeric(example: Batch, names: Sequence[str]) -> None:
    """Refuse columns that are not numbers.

    Parameters
    ----------
    example : a batch with the columns; only their types are looked at, so it needs no rows.
    names : those that must be numbers; matrices are, and columns of nothing but nulls may be.

    Raises
    ------
    SchemaError
        When some are not; it names them.
    """
    text = [
        f"{name} ({kind})"
        for name, kind in example.arrow_types(names).items()
        if not is_numeric(kind) and not pa.types.is_null(kind)
    ]
    if text:
        raise SchemaError(
            f"Columns that are not numbers: {', '.join(text)}. "
            "Encode them (OneHotEncoder, OrdinalEncoder) or leave them out."
            f"{what_lists_need(example, names)}"
        )


def what_lists_need(example: Batch, names: Sequence[str]) -> str:
    """What to do with lists of numbers where vectors are needed, to be put behind a message; '' without any.

    Parameters
    ----------
    example : a batch that shows the types of the columns.
    names : those that were refused, or more.
    """
    kinds = example.arrow_types(names)
    lists = [name for name, kind in kinds.items() if is_list(kind) and is_numeric(kind.value_type)]
    if not lists:
        return ""
    return (
        f" Lists of numbers, as in {lists[:3]}, become vectors where Arrow knows their length, as in "
        "column.cast(pa.list_(pa.float64(), 384))."
    )


def check_finite(values: np.ndarray, what: str, *, missing: bool = False) -> None:
    """Refuse infinity, and NaN unless it is allowed.

    Parameters
    ----------
    values : floats of shape (rows,) or (rows, columns); of a sparse matrix, those that are stored.
    what : how the message calls them: 'X', 'y' or 'sample_weight'.
    missing : NaN is allowed.

    Raises
    ------
    DataError
        When there is such a value; it says how many, or in which columns.
    """
    with np.errstate(all="ignore"):
        if np.isfinite(values.sum()):
            return
    if np.isinf(values).any():
        raise DataError(
            f"Input {what} contains infinity or a value too large for dtype('float64')."
            f"{_where(np.isinf(values))} Replace it or drop those rows first."
        )
    if not missing and np.isnan(values).any():
        raise DataError(
            f"Input {what} contains NaN.{_where(np.isnan(values))} "
            "Impute (SimpleImputer) or drop those rows first."
        )


def _where(bad: np.ndarray) -> str:
    if bad.ndim == 1:
        return f" {int(bad.sum())} value(s) among the first {len(bad)}."
    columns = np.flatnonzero(bad.any(axis=0))
    return f" Feature(s) number {columns[:5].tolist()}{' and more' if len(columns) > 5 else ''}."


def target_column(
    batch: Batch, name: str | None, *, labels: bool
) -> tuple[np.ndarray | None, tuple[Any, ...] | None]:
    """A column of y as numbers, or as indices into its classes.

    Parameters
    ----------
    batch : the rows.
    name : the column; a matrix or a struct holds several targets. None where there is no y.
    labels : the values are classes of any type.

    Returns
    -------
    y of shape (rows,), or (rows, targets) for a matrix of numbers; and the classes that occur, sorted, None
    without `labels`. The classes of several targets are their combinations, as tuples. Without a column both
    are None.

    Raises
    ------
    DataError
        When a value is missing or infinite, or no class.
    SchemaError
        When the column holds neither numbers nor classes.
    """
    if name is None:
        return None, None
    array = batch[name]
    if labels and (columns := parts(array)) is not None:
        return _combinations(columns)
    if isinstance(array, Matrix):
        return _several_targets(array), None
    return _one_target(array, name, labels=labels)


def _one_target(array: pa.Array, name: str, *, labels: bool) -> tuple[np.ndarray, tuple[Any, ...] | None]:
    if array.null_count:
        raise DataError(
            f"Input y contains NaN. The target {called(name)} misses {array.null_count} value(s); drop "
            "those rows."
        )
    if labels:
        return _classes(array, name)
    if not is_numeric(array.type):
        raise SchemaError(f"The target {called(name)} has type {array.type}; a regression needs numbers.")
    y = numbers(array).astype(np.float64)
    check_finite(y, "y")
    return y, None


def parts(column: Column) -> dict[str, pa.Array] | None:
    """The columns of several targets, by name; None of one."""
    if isinstance(column, Matrix):
        values = _several_targets(column)
        return {name: pa.array(values[:, k]) for k, name in enumerate(column.names)}
    if not pa.types.is_struct(column.type):
        return None
    return dict(zip(column.type.names, column.flatten(), strict=True))


def _combinations(columns: Mapping[str, pa.Array]) -> tuple[np.ndarray, tuple[Any, ...]]:
    """Indices into the combinations of classes that rows have, and those."""
    codes, classes = zip(
        *(_one_target(each, name, labels=True) for name, each in columns.items()), strict=True
    )
    found, places = np.unique(np.column_stack(codes), axis=0, return_inverse=True)
    rows = ((own[code] for own, code in zip(classes, each, strict=True)) for each in found.tolist())
    return np.reshape(places, -1), tuple(map(tuple, rows))


def _several_targets(column: Matrix) -> np.ndarray:
    values = np.asarray(column.values.toarray() if column.sparse else column.values, dtype=np.float64)
    gaps = [name for name, target in zip(column.names, values.T, strict=True) if np.isnan(target).any()]
    if gaps:
        raise DataError(f"Input y contains NaN. The target(s) {gaps} miss values; drop those rows.")
    check_finite(values, "y")
    return values


def _classes(array: pa.Array, name: str) -> tuple[np.ndarray, tuple[Any, ...]]:
    check_label(array.type, name)
    array = exact(array, name)
    if pa.types.is_floating(array.type):
        values = numbers(array)
        check_finite(values, "y")
        if (values != np.floor(values)).any():
            raise DataError(
                f"Unknown label type: continuous. The target {called(name)} has fractions, "
                "so it is no set of classes. Use a regressor, or make classes of it."
            )
        array = pa.array(values + 0.0)  # -0.0 is 0.0, which dictionaries keep apart
    if pa.types.is_integer(array.type) and (found := _near_each_other(array)) is not None:
        return found
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    labels = python_values(encoded.dictionary)
    if len(set(labels)) < len(labels):  # a dictionary may hold a word twice
        return _classes(encoded.dictionary_decode(), name)
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    used = np.flatnonzero(np.bincount(codes, minlength=len(labels)))  # and values that no row has
    order = sorted(used.tolist(), key=labels.__getitem__)
    classes = tuple(labels[place] for place in order)
    if any(isinstance(label, int) and label >= 2**63 for label in classes):
        raise DataError(f"The target {called(name)} has whole numbers past 63 bits. Cast it to text.")
    places = np.zeros(len(labels), dtype=np.intp)
    places[order] = np.arange(len(order))
    return places[codes], classes


def _near_each_other(array: pa.Array) -> tuple[np.ndarray, tuple[int, ...]] | None:
    """What `_classes` gives of whole numbers whose range is short, without looking any up; None of others."""
    values = array.to_numpy(zero_copy_only=False)
    if not len(values):
        return None
    least, most = int(values.min()), int(values.max())
    if most - least >= _RANGE or most >= 2**62:
        return None
    codes = values.astype(np.intp) - least
    used = np.flatnonzero(np.bincount(codes))
    if len(used) == most - least + 1:
        return codes, tuple(range(least, most + 1))
    places = np.zeros(most - least + 1, dtype=np.intp)
    places[used] = np.arange(len(used))
    return places[codes], tuple((used + least).tolist())


def check_label(kind: pa.DataType, name: str) -> None:
    """Refuse a column that cannot hold classes: they are text, whole numbers or booleans.

    Floating types pass: whether their values are whole is seen when they are read.

    Parameters
    ----------
    kind : the column's Arrow type.
    name : how the message calls it.

    Raises
    ------
    SchemaError
        When it holds times, bytes or nested values.
    """
    if not (is_numeric(kind) or is_categorical(kind)):
        lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        advice = (
            "Lists of labels are learned by OneVsRestClassifier, MultiOutputClassifier or ClassifierChain "
            "around it, by KNeighborsClassifier and by forests."
            if lists
            else "Cast it to text."
        )
        raise SchemaError(
            f"The target {called(name)} has type {kind}; classes are text, whole numbers or booleans. "
            + advice
        )


def weight_column(batch: Batch, name: str) -> np.ndarray:
    """A column of weights, as float64 of shape (rows,).

    Parameters
    ----------
    batch : the rows.
    name : the column: numbers of at least 0, none missing.

    Raises
    ------
    SchemaError
        When it holds no numbers.
    DataError
        When a weight is missing, infinite or negative.
    """
    weight = number_column(batch, name, "sample_weight")
    if (weight < 0).any():
        raise DataError(
            f"The weight {called(name)} has negative values, {weight.min():g} the least. Weights "
            "must be 0 or more."
        )
    return weight


def number_column(batch: Batch, name: str, role: str) -> np.ndarray:
    """A column of numbers, none missing, as float64 of shape (rows,).

    Parameters
    ----------
    batch : the rows.
    name : the column.
    role : what it is to a model, for messages: the name of the parameter of `fit`.

    Raises
    ------
    SchemaError
        When it holds no numbers.
    DataError
        When a number is missing or infinite.
    """
    array = batch[name]
    if isinstance(array, Matrix) or not is_numeric(array.type):
        raise SchemaError(f"{role} is {called(name)}, which is not a column of numbers.")
    values = numbers(array).astype(np.float64)
    check_finite(values, role)
    return values


def is_label(kind: pa.DataType) -> bool:
    """Whether a type holds values that can name kinds of rows: numbers, text or booleans."""
    return is_numeric(kind) or is_categorical(kind) or pa.types.is_boolean(kind)


def label_column(batch: Batch, name: str, role: str) -> np.ndarray:
    """A column of values of any kind as numbers that are equal where they are, of shape (rows,).

    Parameters
    ----------
    batch, name, role : as for `number_column`.

    Raises
    ------
    SchemaError
        When it holds vectors, or values that are neither numbers nor text nor booleans.
    DataError
        When a value is missing, or a number infinite.
    """
    array = batch[name]
    if isinstance(array, Matrix) or not is_label(array.type):
        raise SchemaError(f"{role} is {called(name)}, which is not a column of numbers or text.")
    if not is_numeric(array.type) and array.null_count:
        raise DataError(f"{role} lacks {array.null_count} value(s). Give one for each row.")
    if not is_numeric(array.type):
        return label_numbers(array, role)
    found = number_column(batch, name, role)
    large = np.abs(found) >= EXACT  # as float64 neighbouring whole numbers would be one
    if large.any() and pa.types.is_integer(array.type):
        found[large] = (value_hash(array, role)[large] >> np.uint64(11)).astype(np.float64)
    return found


def label_numbers(array: pa.Array, role: str) -> np.ndarray:
    """What `label_column` makes of some values.

    Parameters
    ----------
    array : of one of its types.
    role : for messages.
    """
    if is_numeric(array.type):
        return np.asarray(numbers(array).astype(np.float64))
    return (value_hash(array, role) >> np.uint64(11)).astype(np.float64)  # 53 bits, which float64 holds
