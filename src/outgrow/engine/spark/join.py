"""Two streams joined by key and time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.sql import functions

_KEY, _TIME = "__outgrow_key", "__outgrow_time"


def join_in_time(first: Any, later: Any, keys: Sequence[str], times: tuple[str, str], within: str,
                 value: tuple[str, str]) -> Any:  # fmt: skip
    """The rows of a stream with a value of another that has the same keys and comes in time.

    Parameters
    ----------
    times : the columns with the time of a row, in each stream.
    within : how much later the second may be, and how late rows of either may arrive: '2 hours'.
    value : the column of `later`, and its name in the answer.
    """
    others = [f"{_KEY}_{place}" for place in range(len(keys))]
    chosen = [functions.col(name).alias(other) for name, other in zip(keys, others, strict=True)]
    when = functions.col(times[1]).alias(_TIME)
    right = later.select(*chosen, when, functions.col(value[0]).alias(value[1])).withWatermark(_TIME, within)
    left = first.withWatermark(times[0], within)
    made, seen = left[times[0]], right[_TIME]
    met = (seen >= made) & (seen <= made + functions.expr(f"INTERVAL {within}"))
    for name, other in zip(keys, others, strict=True):
        met = met & (left[name] == right[other])
    return left.join(right, met)
