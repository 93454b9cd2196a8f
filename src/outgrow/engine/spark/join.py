"""Two streams joined by key and time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.sql import functions

from outgrow.engine.spark.names import quoted

_KEY, _MADE, _SEEN = "__outgrow_key", "__outgrow_made", "__outgrow_seen"


def join_in_time(
    first: Any, later: Any, keys: Sequence[str], times: tuple[str, str], within: str, value: tuple[str, str]
) -> Any:
    """The rows of a stream with a value of another that has the same keys and comes in time.

    Parameters
    ----------
    times : the columns with the time of a row, in each stream.
    within : how much later the second may be, and how late rows of either may arrive: '2 hours'.
    value : the column of `later`, and its name in the answer.
    """
    others = [f"{_KEY}_{place}" for place in range(len(keys))]
    chosen = [functions.col(quoted(name)).alias(other) for name, other in zip(keys, others, strict=True)]
    when = functions.col(quoted(times[1])).alias(_SEEN)
    answer = functions.col(quoted(value[0])).alias(value[1])
    right = later.select(*chosen, when, answer).withWatermark(_SEEN, within)
    left = first.withColumn(_MADE, functions.col(quoted(times[0]))).withWatermark(_MADE, within)
    made, seen = left[_MADE], right[_SEEN]
    met = (seen >= made) & (seen <= made + functions.expr(f"INTERVAL {within}"))
    for name, other in zip(keys, others, strict=True):
        met = met & (left[quoted(name)] == right[other])
    return left.join(right, met)
