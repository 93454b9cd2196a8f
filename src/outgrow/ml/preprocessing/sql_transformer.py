"""Columns by SQL."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.duck import row_statement, select_rows
from outgrow.data.matrix import Matrix
from outgrow.data.names import check_names
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.base import Transformer
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, TEXT
from outgrow.ml.core.task import Task


class SQLTransformer(Transformer):
    """Make columns by a SQL statement of DuckDB, which looks at each row alone.

    DuckDB runs it on each batch of rows, here and on a cluster, while learning, scoring and serving, so the
    answers are the same everywhere. What looks at several rows is refused: conditions, aggregates, joins,
    windows, orders, subqueries (`outgrow.sql` runs them before a pipeline), and so is what gives something
    else each time, such as `random()` and `now()`. Times with a zone are read in UTC. It needs the extra
    `sql`.

    Parameters
    ----------
    statement : `SELECT ... FROM __THIS__`, or expressions, such as `wind * 3.6 AS kmh`, which become columns
        behind the others.
    columns : the columns that the statement sees, and replaces, by name or selector; all by default.

    Attributes
    ----------
    statement_ : the statement that is run.

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

    def __init__(self, statement: str = "SELECT * FROM __THIS__", *, columns: Columns = None) -> None:
        self.statement = statement
        self.columns = columns

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        self.statement_ = row_statement(self.statement, _table(shard.example, names)) if names else ""

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        made = select_rows(self.statement_, _table(batch, names))
        check_names(made.column_names, "The statement")
        return batch.replace(names, Batch.from_arrow(_one_batch(made)).columns)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags


def _table(batch: Batch, names: list[str]) -> pa.Table:
    """Columns as Arrow has them, vectors as lists of one length."""
    return pa.table({name: _array(batch[name], name) for name in names})


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
