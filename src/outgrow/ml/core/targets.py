"""Several targets: columns that become one on their way to a fit, of vectors or of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.base import is_classifier
from sklearn.utils.validation import check_array, column_or_1d

from outgrow.data.batch import Batch, is_numeric, is_vector
from outgrow.data.frames import column_array, is_column
from outgrow.data.matrix import Matrix, is_sparse
from outgrow.data.names import called, check_names
from outgrow.data.pandas_frames import is_frame
from outgrow.data.scan import Apply, Scan
from outgrow.engine.checks import check_label, is_label
from outgrow.engine.dataset import Dataset
from outgrow.errors import DataError, ParameterError, SchemaError, ValueTypeError
from outgrow.ml.core.containers import check_beside, check_container, unmasked
from outgrow.ml.core.refusals import own_errors
from outgrow.stats.counts import ValueCounts
from outgrow.stats.state import from_tree, to_tree

MOST_LABELS = 1_000
"""So many labels of lists are learned: each is a target."""


@dataclass(frozen=True)
class Stack:
    """Columns as one, as a function of batches: numbers as vectors, classes as structs.

    Attributes
    ----------
    columns : the columns, which it takes away.
    name : the column that is made, which comes last.
    names : what the values in it are called.
    labels : whether they are classes.
    """

    columns: tuple[str, ...]
    name: str
    names: tuple[str, ...]
    labels: bool = False

    @property
    def given(self) -> list[str]:
        """How the user named them."""
        return list(self.columns)

    def __call__(self, batch: Batch) -> Batch:
        if self.labels:
            each = [_plain(batch[name]) for name in self.columns]
            made = pa.StructArray.from_arrays(each, names=list(self.names))
            return batch.drop(self.columns).with_columns({self.name: made})
        values = np.ascontiguousarray(batch.matrix(self.columns))
        return batch.drop(self.columns).with_columns({self.name: Matrix(values, self.names)})

    def applied(self, scan: Scan) -> Scan:
        """The rows of a scan with the vectors or structs.

        Raises
        ------
        SchemaError
            When a column does not hold numbers, or no classes.
        """
        schema = scan.schema
        kept = [field for field in schema if field.name not in self.columns]
        if self.labels:
            types = [_plain_type(schema.field(name).type) for name in self.columns]
            for name, kind in zip(self.columns, types, strict=True):
                check_label(kind, name)
            structs = pa.field(self.name, pa.struct(list(zip(self.names, types, strict=True))))
            return scan.then(Apply(self, pa.schema([*kept, structs])))
        text = [name for name in self.columns if not is_numeric(schema.field(name).type)]
        if text:
            raise SchemaError(
                f"Several targets at once must be numbers; {text} are not. Learn one of them, or encode them."
            )
        vectors = pa.field(self.name, pa.list_(pa.float64(), len(self.columns)))
        return scan.then(Apply(self, pa.schema([*kept, vectors])))


@dataclass(frozen=True)
class LabelLists:
    """A column of lists of labels as one of structs, as a function of batches: 1 where a row has a label.

    Attributes
    ----------
    column : the lists, which it takes away.
    name : the column that is made, which comes last.
    labels : those there are, in their order.
    """

    column: str
    name: str
    labels: tuple[Any, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """What it takes away."""
        return (self.column,)

    @property
    def given(self) -> str:
        """How the user named it."""
        return self.column

    @property
    def names(self) -> tuple[str, ...]:
        """What the targets are called."""
        return tuple(map(str, self.labels))

    def __call__(self, batch: Batch) -> Batch:
        lists = _whole(batch[self.column], self.column)
        items = lists.flatten()
        places = pc.index_in(items, pa.array(self.labels, items.type))
        if places.null_count:
            strange = sorted({*items.filter(places.is_null()).to_pylist()}, key=str)
            raise DataError(
                f"y holds labels that were not there at fit: {strange[:5]}. Known: {list(self.labels[:20])}."
            )
        marks = np.zeros((len(lists), len(self.labels)), dtype=np.int64)
        marks[pc.list_parent_indices(lists).to_numpy(), places.to_numpy()] = 1
        made = pa.StructArray.from_arrays([pa.array(mark) for mark in marks.T], names=list(self.names))
        return batch.drop(self.columns).with_columns({self.name: made})

    def applied(self, scan: Scan) -> Scan:
        """The rows of a scan with the structs.

        Parameters
        ----------
        scan : has the column.
        """
        kept = [field for field in scan.schema if field.name != self.column]
        structs = pa.field(self.name, pa.struct([(name, pa.int64()) for name in self.names]))
        return scan.then(Apply(self, pa.schema([*kept, structs])))


def are_lists(schema: pa.Schema, name: str) -> bool:
    """Whether a column is there and holds lists of what may be labels.

    Parameters
    ----------
    schema : the columns.
    name : of one.
    """
    if name not in schema.names:
        return False
    kind = schema.field(name).type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return lists and is_label(kind.value_type) and not pa.types.is_floating(kind.value_type)


def labels_of(rows: Dataset, column: str) -> tuple[Any, ...]:
    """The labels in a column of lists, sorted, by one pass.

    Parameters
    ----------
    rows : have the column.
    column : of lists.

    Raises
    ------
    DataError
        When there is none, or there are more than `MOST_LABELS`, or a list or a label is missing.
    """

    def fold(batch: Batch) -> ValueCounts:
        return ValueCounts.of(_whole(batch[column], column).flatten())

    fitted = rows.engine.fit(
        lambda shard: to_tree(shard.reduce(fold)), rows.select([column]).scan, stage="labels", keep=False
    )
    found = from_tree(fitted.result).values()
    if not 0 < len(found) <= MOST_LABELS:
        raise DataError(
            f"The lists in {column!r} have {len(found):,} different labels; 1 to {MOST_LABELS:,} can be "
            "learned. Leave rare ones out."
        )
    if len({*map(str, found)}) < len(found):
        raise DataError(f"The lists in {column!r} have different labels that read alike. Rename them.")
    return tuple(found)


def _whole(lists: Any, column: str) -> Any:
    """Lists of which none, and no label within, is missing."""
    missing = lists.null_count + lists.flatten().null_count
    if missing:
        raise DataError(
            f"Input y contains NaN. The target {called(column)} misses {missing} list(s) or label(s); "
            "drop those rows, or give an empty list to rows without labels."
        )
    return lists


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _plain(column: Any) -> pa.Array:
    """A column without a dictionary, which would differ from batch to batch."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def are_names(y: Any, columns: Sequence[str], *, lazy: bool) -> bool:
    """Whether y is a list of names of columns; of a table in memory it may also be one of classes.

    Parameters
    ----------
    y : what a user gave as the target.
    columns : the columns of X.
    lazy : whether X is a dataset or a Spark DataFrame. Beside those y is no array, so any list of text are
        names; beside others, only one of different columns of X.
    """
    if not isinstance(y, list | tuple) or not y or not all(isinstance(name, str) for name in y):
        return False
    return lazy or (len(set(y)) == len(y) and set(y) <= set(columns))


def target_arrays(estimator: Any, y: Any) -> tuple[list[np.ndarray | pa.Array], tuple[str, ...] | None]:
    """The columns of a y that came as an array, and their names where several may be learnt at once.

    Parameters
    ----------
    estimator : its tags say whether it learns several targets.
    y : array or DataFrame of shape (rows,) or (rows, targets). Names are those of a DataFrame's columns, else
        '0', '1' and so on.

    Raises
    ------
    ValueError
        When y has more than one column and the estimator takes one, or is no array of numbers or classes.
    """
    if is_sparse(y):
        raise ValueTypeError(
            "Sparse data was passed for y, but dense data is required. "
            "Use '.toarray()' to convert to a dense numpy array."
        )
    check_container(estimator, y, "y")
    y = unmasked(y, "y")
    width = () if is_column(y) else np.asarray(y).shape[1:]
    if not width or not takes_several(estimator) or (is_classifier(estimator) and width == (1,)):
        return [as_column(y, warn=True)], None
    # an array of columns of several types would have a type of its own
    columns = [as_column(y.iloc[:, j]) for j in range(*width)] if is_frame(y) else list(_matrix(y).T)
    names = tuple(str(name) for name in getattr(y, "columns", range(len(columns))))
    check_names(names, "y")
    return columns, names


def _matrix(y: Any) -> np.ndarray:
    with own_errors():
        values: np.ndarray = check_array(
            y, dtype=None, ensure_all_finite=False, input_name="y", ensure_min_samples=0
        )
    return values


def as_lists(y: Any, *, always: bool = False) -> Any:
    """Lists of labels of each row as an array of them; anything else as it is.

    Parameters
    ----------
    y : what a user gave as the target.
    always : whether lists that are all as long are such, too, not columns.
    """
    if not isinstance(y, list | tuple) or not y or not all(isinstance(row, list | tuple) for row in y):
        return y
    if len({*map(len, y)}) == 1 and not always:
        return y
    made = np.empty(len(y), dtype=object)
    made[:] = [list(row) for row in y]
    return made


def as_column(values: Any, *, warn: bool = False, what: str = "y") -> np.ndarray | pa.Array:
    """An array of shape (rows,), by scikit-learn's checks; a column of a table as Arrow has it.

    Parameters
    ----------
    values : array or column of a table.
    warn : whether to warn where it has shape (rows, 1).
    what : what it is called, for the message.
    """
    check_beside(values, what)
    values = unmasked(values, what)
    if is_column(values):  # scikit-learn would make floats of whole numbers and booleans
        return column_array(values)
    if is_frame(values) and values.shape[1:] == (1,) and is_column(values.iloc[:, 0]):
        column_or_1d(np.empty(values.shape), warn=warn)
        return column_array(values.iloc[:, 0])
    plain = type(values) is np.ndarray and values.ndim == 1 and values.dtype.kind in "biuf"
    return values if plain else _checked_column(values, warn=warn)


def _checked_column(values: Any, *, warn: bool) -> np.ndarray:
    try:
        column: np.ndarray = column_or_1d(values, warn=warn)
    except ValueError as error:
        raise DataError(f"{error} Give one value for each row of X.") from error
    return column


def takes_several(estimator: Any) -> bool:
    """Whether an estimator learns several targets at once."""
    return bool(estimator.__sklearn_tags__().target_tags.multi_output)


def check_single(
    estimator: Any, schema: pa.Schema, target: str | None, stack: Stack | LabelLists | None
) -> None:
    """Refuse several targets where an estimator learns one.

    Parameters
    ----------
    estimator : its tags say whether it learns several targets.
    schema : the columns of the rows, before several targets become one.
    target : the column of y; None, or no column of the schema, is no fault here.
    stack : what makes one column of several targets, or None.

    Raises
    ------
    ParameterError
        When y names several columns, or one of vectors or structs.
    """
    if target is None:
        return
    type_ = None if stack is not None or target not in schema.names else schema.field(target).type
    width = _width(type_) if stack is None else len(stack.columns)
    if width is not None and not takes_several(estimator):
        raise ParameterError(
            f"y should be a 1d array, got an array of shape (n_samples, {width}) instead. "
            f"{type(estimator).__name__} learns one target: name one column of single numbers."
        )


def _width(type_: pa.DataType | None) -> int | None:
    """How many targets a column is: of vectors, or of structs; None for a single one."""
    if type_ is None:
        return None
    if pa.types.is_struct(type_):
        return int(type_.num_fields)
    return int(type_.list_size) if is_vector(type_) else None
