"""Columns by SQL."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.duck import row_statement, select_rows
from outgrow.data.matrix import Matrix
from outgrow.data.names import check_names
from outgrow.data.schema_file import arrow_type
from outgrow.engine.shard import Shard
from outgrow.errors import ArtifactError, DataError, ParameterError
from outgrow.ml.base import Transformer
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, TEXT
from outgrow.ml.core.task import Task


class SQLTransformer(Transformer):
    """Make columns by a SQL statement of DuckDB, which looks at each row alone.

    DuckDB runs it on each batch of rows, here and on a cluster, while learning, scoring and serving, so the
    answers are the same everywhere. What looks at several rows is refused: conditions, aggregates, joins,
    windows, orders, subqueries (`outgrow.sql` runs them before a pipeline), and so is what gives something
    else each time, such as `random()` and `now()`. Times with a zone are read in UTC; differences of times
    are durations, whose seconds are `epoch(landed - departed)`. It needs the extra `sql`.

    Parameters
    ----------
    statement : `SELECT ... FROM __THIS__`, or expressions, such as `wind * 3.6 AS kmh`, which become columns
        behind the others.
    columns : the columns that the statement sees, and replaces, by name or selector; all by default.

    Attributes
    ----------
    statement_ : the statement that is run.
    types_ : dict of the Arrow types that its columns of numbers, text and times had; as these they reach it
        later, too, however they come, as what `n // 2` and `day - DATE '2020-01-01'` mean depends on it.

    Notes
    -----
    Unlike scikit-learn: it has no such class.

    Unlike Spark MLlib's `SQLTransformer(statement)`: the dialect is DuckDB's on every engine, in which
    `1 / 2` is 0.5 and `1 // 2` is 0; a statement keeps the number of rows and their order. Columns of
    vectors are arrays, such as `v[1]`. What is missing of a table is NULL; of an array of numbers it is NaN,
    which is a value: `isnan(x)`.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"wind": [10.0, None], "sky": ["clear", "grey"]})
    >>> og.SQLTransformer("wind * 3.6 AS kmh, sky = 'clear' AS clear").fit_transform(rows).to_pydict()
    {'wind': [10.0, None], 'sky': ['clear', 'grey'], 'kmh': [36.0, None], 'clear': [True, False]}
    >>> og.SQLTransformer("SELECT upper(sky) AS sky FROM __THIS__").fit_transform(rows).to_pydict()
    {'sky': ['CLEAR', 'GREY']}
    """

    learns_nothing = True
    parameters = {"statement": TEXT, "columns": COLUMNS}
    no_exports = {
        "ONNX": "it has no SQL",
        "scikit-learn": "it has no SQL",
    }
    statement_: str
    types_: Mapping[str, str] = MappingProxyType({})

    def __init__(self, statement: str = "SELECT * FROM __THIS__", *, columns: Columns = None) -> None:
        self.statement = statement
        self.columns = columns

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        table = _table(shard.example, names)
        types = {field.name: _noted(field.type) for field in table.schema}
        self.types_ = {name: kind for name, kind in types.items() if kind}
        self._restored()
        self.statement_ = row_statement(self.statement, self._typed(table)) if names else ""

    def _restored(self) -> None:
        try:
            self._types = {name: arrow_type(kind) for name, kind in self.types_.items()}
        except (TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"types_={self.types_!r} of a SQLTransformer: {error}.") from None

    def _typed(self, table: pa.Table) -> pa.Table:
        """The columns in the types they had.

        Raises
        ------
        DataError
            When a value cannot have that type, such as 1.5 in a column that held whole numbers.
        """
        for at, name in enumerate(table.column_names):
            column, wanted = table.column(at), self._types.get(name)
            if wanted is None or column.type == wanted:
                continue
            try:
                table = table.set_column(at, name, _cast(_plain(column), wanted))
            except pa.ArrowException as error:
                raise DataError(
                    f"The statement was fitted where column {name!r} is {wanted}; now it is {column.type}, "
                    f"with values that {wanted} does not hold: {error}. Fit it on rows of that type."
                ) from error
        return table

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        made = select_rows(self.statement_, self._typed(_table(batch, names)))
        check_names(made.column_names, "The statement")
        return batch.replace(names, Batch.from_arrow(_one_batch(made)).columns)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags


def _table(batch: Batch, names: list[str]) -> pa.Table:
    """Columns as Arrow has them, vectors as lists of one length."""
    return pa.table({name: _array(batch[name], name) for name in names})


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _cast(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_decimal128(wanted) and pa.types.is_integer(column.type):
        column = column.cast(pa.decimal128(38, wanted.scale))  # Arrow asks for room for all whole numbers
    return column.cast(wanted)


def _noted(kind: pa.DataType) -> str:
    """What a type is called that the same values may come in others than; '' for others."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return str(pa.int64())
    if pa.types.is_floating(kind):
        return str(pa.float64())
    others = (
        pa.types.is_boolean,
        pa.types.is_string,
        pa.types.is_date,
        pa.types.is_timestamp,
        pa.types.is_decimal128,
    )
    return str(kind) if any(test(kind) for test in others) else ""


def _array(column: Any, name: str) -> pa.Array:
    if not isinstance(column, Matrix):
        return column
    if column.sparse:
        raise ParameterError(
            f"SQLTransformer does not take sparse rows, as column {name!r} has. Name others, or make "
            "them dense."
        )
    flat = pa.array(column.values.ravel(order="C"))
    return pa.FixedSizeListArray.from_arrays(flat, column.width)


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    columns = [column.combine_chunks() for column in table.columns]
    return pa.RecordBatch.from_arrays(columns, schema=table.schema)
