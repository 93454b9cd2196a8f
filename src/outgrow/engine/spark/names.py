"""Columns of Spark DataFrames by their names, whatever those are.

Spark reads a dot in a name as the way into a struct, a backtick as a quote, and upper as lower case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

Rows = Iterator[pa.RecordBatch]


def quoted(name: str) -> str:
    """A name as Spark takes it for one column."""
    return f"`{name.replace('`', '``')}`"


def numbered_columns(frame: Any) -> Any:
    """The DataFrame with columns c0, c1, ..."""
    return frame.toDF(*(f"c{place}" for place in range(len(frame.columns))))


def chosen_columns(frame: Any, names: Sequence[str]) -> Any:
    """The DataFrame with some of its columns.

    Parameters
    ----------
    frame : the DataFrame.
    names : of columns, in the order wanted.
    """
    columns = frame.columns
    if _distinct(columns):
        return frame.select(*map(quoted, names))
    return numbered_columns(frame).select(*(f"c{columns.index(name)}" for name in names)).toDF(*names)


def map_in_arrow(frame: Any, job: Callable[[Rows], Rows], schema: Any, **how: Any) -> Any:
    """`frame.mapInArrow` for columns of any names.

    Parameters
    ----------
    frame : the DataFrame.
    job : sent to the tasks; gets the batches of a partition, under the frame's names, and yields others.
    schema : of what it yields: DDL or a Spark StructType.
    **how : what `mapInArrow` takes besides, like `barrier`.
    """
    names = frame.columns
    if _plain(names):
        return frame.mapInArrow(job, schema, **how)
    return numbered_columns(frame).mapInArrow(Renamed(tuple(names), job), schema, **how)


@dataclass(frozen=True)
class Renamed:
    """Hands batches on under other names."""

    names: tuple[str, ...]
    job: Callable[[Rows], Rows]

    def __call__(self, rows: Rows) -> Rows:
        return self.job(batch.rename_columns(list(self.names)) for batch in rows)


def _plain(names: Sequence[str]) -> bool:
    """Whether Spark finds each column by its bare name."""
    return _distinct(names) and not any("." in name or "`" in name for name in names)


def _distinct(names: Sequence[str]) -> bool:
    """Whether Spark finds each column by its quoted name."""
    return len({name.casefold() for name in names}) == len(names)
