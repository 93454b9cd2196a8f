"""What the columns of a dataset hold, from one pass of mergeable states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch, is_categorical, is_numeric
from outgrow.data.exact import microseconds, moment_text
from outgrow.data.hashing import column_hash
from outgrow.data.kind import Kind
from outgrow.data.matrix import Matrix, numbers
from outgrow.data.scan import Scan
from outgrow.engine.protocol import Engine
from outgrow.engine.shard import Shard
from outgrow.stats.counts import DistinctCount
from outgrow.stats.moments import PairMoments, ShapeMoments
from outgrow.stats.sketch import FrequentValues, QuantileSketch
from outgrow.stats.state import State, from_tree, merge, to_tree

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""Probabilities of the quantiles in a profile."""
CORRELATED = 100
"""At most this many numeric columns get a correlation matrix."""
_TILE = 8192


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


@dataclass(frozen=True)
class Profile:
    """What a dataset holds: `rows`, `columns` by name, and `correlation` of the `numeric` columns."""

    rows: int
    columns: Mapping[str, ColumnProfile]
    numeric: tuple[str, ...]
    correlation: np.ndarray | None

    def __getitem__(self, name: str) -> ColumnProfile:
        return self.columns[name]

    def to_arrow(self) -> pa.Table:
        """One row for each column."""
        fields = ("name", "type", "count", "missing", "distinct", "mean", "std", "skewness", "kurtosis")
        rows = [{name: getattr(column, name) for name in fields} for column in self.columns.values()]
        for row, column in zip(rows, self.columns.values(), strict=True):
            row |= {"min": _text(column.min), "max": _text(column.max)}
            row |= {f"q{p:g}": value for p, value in (column.quantiles or dict.fromkeys(QUANTILES)).items()}
            row["top"] = ", ".join(value for value, _ in column.top[:3])
        return pa.Table.from_pylist(rows)

    def __str__(self) -> str:
        heads = ("column", "type", "missing", "distinct", "mean", "std", "min", "median", "max", "top values")
        lines = [heads, *(_line(column, self.rows) for column in self.columns.values())]
        widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        return "\n".join([f"{self.rows:,} rows, {len(self.columns)} columns", "", *text])


def profile(engine: Engine, scan: Scan) -> Profile:
    """The profile of the rows of a scan: one pass, on whichever engine.

    Parameters
    ----------
    engine : where the work is done.
    scan : the rows; none are kept.
    """
    fields = {field.name: field.type for field in scan.schema}
    tree = engine.fit(lambda shard: to_tree(_states(shard)), scan, stage="profile", keep=False).result
    states, pairs = from_tree(tree)
    numeric = _numeric(scan.example())
    columns = {name: _describe(name, fields[name], state) for name, state in zip(fields, states, strict=True)}
    rows = states[0].rows if states else 0
    return Profile(rows, columns, numeric, None if pairs is None else pairs.correlation())


def _states(shard: Shard) -> Any:
    numeric = _numeric(shard.example)

    def fold(batch: Batch) -> Any:
        columns = tuple(_column_state(column, name) for name, column in batch.columns.items())
        if not 2 <= len(numeric) <= CORRELATED:
            return columns, None
        X = batch.matrix(numeric)
        pairs: PairMoments | None = None
        for start in range(0, len(X), _TILE):
            pairs = merge(pairs, PairMoments.of(X[start : start + _TILE]))
        return columns, pairs

    return shard.reduce(fold, encoded=True, empty=fold(shard.example))


def _numeric(example: Batch) -> tuple[str, ...]:
    return tuple(
        name
        for name, column in example.columns.items()
        if not isinstance(column, Matrix) and is_numeric(column.type)
    )


def _column_state(column: Any, name: str) -> ColumnState:
    if isinstance(column, Matrix):
        return ColumnState(len(column), 0, None, None, None, None, None, None)
    rows, kind = len(column), column.type
    if is_numeric(kind):
        values = np.asarray(numbers(column), dtype=np.float64)
        present = values[~np.isnan(values)]
        whole = not pa.types.is_floating(kind) and not pa.types.is_decimal(kind)
        return ColumnState(
            rows,
            rows - len(present),
            DistinctCount.of(column_hash(pa.array(present), name)),
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


def _describe(name: str, kind: pa.DataType, state: ColumnState) -> ColumnProfile:
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


def _text(value: Any) -> str | None:
    return None if value is None else _number(value)


def _number(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _line(column: ColumnProfile, rows: int) -> tuple[str, ...]:
    missing = f"{column.missing / rows:.1%}" if column.missing else "0"
    median = column.quantiles[0.5] if column.quantiles else None
    top = ", ".join(f"{value} ({count:,})" for value, count in column.top[:3])
    return (
        column.name,
        column.type,
        missing,
        _number(column.distinct),
        _number(column.mean),
        _number(column.std),
        _number(column.min),
        _number(median),
        _number(column.max),
        top,
    )
