"""How many rows Spark hands over at a time."""

from __future__ import annotations

import re

import pyarrow as pa

from outgrow.engine.spark.cluster import spark_bytes
from outgrow.engine.spark.explain import from_spark
from outgrow.engine.spark.frames import FrameSource
from outgrow.engine.spark.supervise import is_connect

_RECORDS = "spark.sql.execution.arrow.maxRecordsPerBatch"
_BYTES = "spark.sql.execution.arrow.maxBytesPerBatch"
_UNLIMITED = (1 << 31) - 1
_PYTHON = re.compile("Python|InArrow|InPandas|InPySpark")
"""What the steps of a plan are called that hand rows to Python."""


def batch_properties(source: FrameSource) -> dict[str, str]:
    """Local properties of a job with which Spark counts rows, not bytes, where each row has the same bytes.

    The batches are no larger than they would be. Spark (4.1 and later) adds up the bytes of all columns again
    for each row, which takes longer than to hand the row over.

    Parameters
    ----------
    source : the rows that are handed over.

    Returns
    -------
    Names and values; none where rows may differ in size, functions of others get rows too, or Spark knows
    no such limits. Jobs of Spark Connect have no local properties.
    """
    row, session = _row_bytes(source.schema), source.frame.sparkSession
    if row is None or is_connect(session):
        return {}
    try:
        records, most = int(session.conf.get(_RECORDS)), spark_bytes(session.conf.get(_BYTES), 1)
        if _PYTHON.search(session.sql("EXPLAIN SELECT * FROM {rows}", rows=source.frame).first()[0]):
            return {}
    except Exception as error:
        if not from_spark(error):
            raise
        return {}
    fitting = max(1, most // row)
    return {_RECORDS: str(min(records, fitting) if records > 0 else fitting), _BYTES: str(_UNLIMITED)}


def _row_bytes(schema: pa.Schema) -> int | None:
    """What a row takes, a bit a column for missing values included; None where rows differ."""
    try:
        return -(-sum(field.type.bit_width + 1 for field in schema) // 8) or None
    except ValueError:
        return None
