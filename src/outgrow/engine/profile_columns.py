"""What one pass learns of each column by itself, and what that says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import is_categorical, is_numeric
from outgrow.data.exact import microseconds, moment_text
from outgrow.data.hashing import column_hash, value_hash
from outgrow.data.kind import Kind
from outgrow.data.matrix import Matrix, numbers
from outgrow.stats.counts import DistinctCount
from outgrow.stats.moments import ShapeMoments
from outgrow.stats.sketch import FrequentValues, QuantileSketch
from outgrow.stats.state import State, merge

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""Probabilities of the quantiles in a profile."""


@dataclass(frozen=True, eq=False)
class ColumnState(State):
    """What one pass learns of one column; parts that its type has not are None."""

    rows: int
    missing: int
    distinct: DistinctCount | None
    frequent: FrequentValues | None
    quantiles: QuantileSketch | None
    shape: ShapeMoments | None
    low: int | None
    high: int | None

    def merge(self, other: ColumnState) -> ColumnState:
        return ColumnState(
            self.rows + other.rows,
            self.missing + other.missing,
            merge(self.distinct, other.distinct),
            merge(self.frequent, other.frequent),
            merge(self.quantiles, other.quantiles),
            merge(self.shape, other.shape),
            min((x for x in (self.low, other.low) if x is not None), default=None),
            max((x for x in (self.high, other.high) if x is not None), default=None),
        )


@dataclass(frozen=True)
class ColumnProfile:
    """What a column holds.

    Attributes
    ----------
    kind : 'number', 'category', 'time', or the type of a column that is only counted.
    count, missing : rows with and without a value.
    distinct : about how many different values (standard error 0.8 %).
    top : the most frequent values with their counts.
    mean, std, skewness, kurtosis, min, max : of a number's values; min and max also of times.
    quantiles : by probability (rank error below 0.7 %).
    histogram : (edges, counts) over the 1 % to 99 % range, for drawing.
    """

    name: str
    type: str
    kind: str
    count: int
    missing: int
    distinct: int | None = None
    top: tuple[tuple[str, int], ...] = ()
    mean: float | None = None
    std: float | None = None
    skewness: float | None = None
    kurtosis: float | None = None
    min: Any = None
    max: Any = None
    quantiles: Mapping[float, float] | None = None
    histogram: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def column_state(column: Any, name: str) -> ColumnState:
    """What a batch tells of a column.

    Parameters
    ----------
    column : of the batch.
    name : of the column.
    """
    if isinstance(column, Matrix):
        return ColumnState(len(column), 0, None, None, None, None, None, None)
    rows, kind = len(column), column.type
    if is_numeric(kind):
        values = np.asarray(numbers(column), dtype=np.float64)
        present = values[~np.isnan(values)]
        whole = not pa.types.is_floating(kind) and not pa.types.is_decimal(kind)
        # float64 takes names of 64 bits for each other
        exact = column.drop_null() if pa.types.is_integer(kind) else pa.array(present)
        return ColumnState(
            rows,
            rows - len(present),
            DistinctCount.of(value_hash(exact, name)),
            FrequentValues.of(column) if whole else None,
            QuantileSketch.of(present),
            ShapeMoments.of(present[:, None]),
            None,
            None,
        )
    if is_categorical(kind):
        words = column.dictionary_decode() if pa.types.is_dictionary(kind) else column
        distinct = DistinctCount.of(column_hash(pc.unique(words).drop_null(), name))
        return ColumnState(
            rows, column.null_count, distinct, FrequentValues.of(words), None, None, None, None
        )
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        micros = microseconds(column, name)
        ends = pc.min_max(micros).as_py()
        distinct = DistinctCount.of(column_hash(micros.drop_null(), name))
        return ColumnState(rows, column.null_count, distinct, None, None, None, ends["min"], ends["max"])
    return ColumnState(rows, column.null_count, None, None, None, None, None, None)


def describe(name: str, kind: pa.DataType, state: ColumnState) -> ColumnProfile:
    """What a column holds.

    Parameters
    ----------
    name, kind : of the column.
    state : what all batches told.
    """
    known: dict[str, Any] = {}
    if state.distinct is not None:
        known["distinct"] = min(round(state.distinct.estimate()), state.rows - state.missing)
    if state.frequent is not None:
        known["top"] = tuple(state.frequent.top(10))
    if state.low is not None and state.high is not None:
        known |= {"min": moment_text(state.low), "max": moment_text(state.high)}
    if state.shape is not None and state.quantiles is not None:
        known |= _numbers_of(state.shape, state.quantiles)
    return ColumnProfile(name, str(kind), Kind.of(kind), state.rows - state.missing, state.missing, **known)


def _numbers_of(shape: ShapeMoments, sketch: QuantileSketch) -> dict[str, Any]:
    if shape.n[0] == 0:
        return {}
    quantiles = dict(zip(QUANTILES, sketch.quantiles(QUANTILES), strict=True))
    low, high = quantiles[QUANTILES[0]], quantiles[QUANTILES[-1]]
    known = {
        "mean": float(shape.mean[0]),
        "std": float(shape.std()[0]),
        "skewness": float(shape.skewness()[0]),
        "kurtosis": float(shape.kurtosis()[0]),
        "min": float(shape.low[0]),
        "max": float(shape.high[0]),
        "quantiles": quantiles,
    }
    if np.isfinite(high - low) and high > low:
        edges = np.linspace(low, high, 25)
        known["histogram"] = tuple(edges.tolist()), tuple(sketch.histogram(edges).tolist())
    return known


def clipped(value: str, most: int = 24) -> str:
    """The start of a text, on one line.

    Parameters
    ----------
    value : the text.
    most : characters there may be.

    Examples
    --------
    >>> clipped("One morning, when\\nGregor Samsa woke")
    'One morning, when Gre...'
    """
    line = " ".join(value.split())
    return line if len(line) <= most else line[: most - 3] + "..."
