"""A function of batches as an expression of Spark DataFrames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.kind import Kind
from outgrow.data.schema import check_kinds, conformed
from outgrow.engine.spark.frames import spark_schema
from outgrow.engine.spark.names import quoted
from outgrow.errors import EngineError, ParameterError, SchemaError


@dataclass(frozen=True)
class Job:
    """What runs in Spark's workers: one value for each row of some columns, which come as one struct.

    Attributes
    ----------
    columns : what the function needs, name to kind.
    """

    function: Callable[[Batch], pa.Array]
    columns: Mapping[str, Kind]
    owner: str

    def __call__(self, rows: pa.StructArray) -> pa.Array:
        batch = pa.RecordBatch.from_struct_array(rows)
        check_kinds(self.columns, batch.schema, self.owner)
        return self.function(conformed(Batch.from_arrow(batch), self.columns))


class Expression:
    """A function for `select`, `withColumn`, `where` and SQL: one value for each row.

    Parameters
    ----------
    function : from a batch to an array with a value for each row.
    columns : the columns it needs, name to kind.
    type : the Arrow type of its values.
    owner : whose function this is, for messages.

    Attributes
    ----------
    function : Spark's function of one struct with those columns, for `spark.udf.register`.
    """

    def __init__(
        self,
        function: Callable[[Batch], pa.Array],
        columns: Mapping[str, Kind],
        type: pa.DataType,
        owner: str,
    ) -> None:
        vectors = [name for name, kind in columns.items() if kind.width is not None]
        if vectors:
            raise SchemaError(
                f"Column {vectors[0]!r} holds vectors, which Spark hands to no such function. "
                "Use predict(frame), which takes them."
            )
        self.columns = dict(columns)
        self._job = Job(function, self.columns, owner)
        self._type = type

    @cached_property
    def function(self) -> Any:
        from pyspark.sql import functions

        if not hasattr(functions, "arrow_udf"):
            raise EngineError("A function of Arrow columns needs Spark 4.1 or later. Use predict(frame).")
        job = self._job

        def answer(rows: pa.Array) -> pa.Array:  # Spark reads the types of its functions
            return job(rows)

        return functions.arrow_udf(answer, returnType=_ddl(self._type))

    def __call__(self, *columns: Any) -> Any:
        """The value for each row, as a column of Spark.

        Parameters
        ----------
        columns : names or columns of Spark, in the order of the fit, or one struct of them; by default the
            columns that have the names of the fit.
        """
        from pyspark.sql import functions

        given: Any = columns or tuple(self.columns)
        if len(given) == 1 and len(self.columns) > 1:
            return self.function(given[0])
        if len(given) != len(self.columns):
            raise ParameterError(
                f"{len(given)} columns were given, and {len(self.columns)} are needed: {list(self.columns)}."
            )
        parts = [functions.col(quoted(each)) if isinstance(each, str) else each for each in given]
        named = [part.alias(name) for part, name in zip(parts, self.columns, strict=True)]
        return self.function(functions.struct(*named))

    def __repr__(self) -> str:
        return f"{self._job.owner}({', '.join(self.columns)}) -> {_ddl(self._type)}"


def _ddl(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"array<{_ddl(kind.value_type)}>"
    ddl, _ = spark_schema(pa.schema([("value", kind)]))
    return ddl.removeprefix("`value` ")
