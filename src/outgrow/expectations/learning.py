"""Expectations that are learned from rows which are as they should be: written down for people to edit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch
from outgrow.data.exact import microseconds, moment_text
from outgrow.data.hashing import column_hash
from outgrow.data.kind import is_time
from outgrow.data.matrix import Column, Matrix
from outgrow.engine.dataset import Dataset
from outgrow.engine.open import dataset
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.expectations.checker import Counting, RowChecker
from outgrow.expectations.expectations import Expectations
from outgrow.expectations.repeated import repeated_rows
from outgrow.expectations.rules import missing_values, value_type
from outgrow.expectations.spec import type_name
from outgrow.expectations.state import CheckedRows
from outgrow.stats.counts import DistinctCount
from outgrow.stats.state import State, from_tree, merge, to_tree

FEW = 50
"""Different texts up to which they are listed."""
ROWS_A_VALUE = 20
"""Rows that a listed text stands for on average, at least: else there are more than these rows show."""
KEY_ROWS = 100
"""Rows from which a column without repetitions is taken for a key."""
SLACK = 0.1
"""Of the range of a column's numbers, by which later ones may lie beyond it on each side."""
_Z = 3.3
"""Standard errors by which the share of missing values may rise: one in a thousand by chance."""


@dataclass(frozen=True, eq=False)
class LearnedColumn(State):
    """What one pass learns of a column.

    Attributes
    ----------
    rows, missing : how many, and how many without a value.
    low, high : the least and largest value, decimals as float64, times in microseconds; None for none.
    shortest, longest : of texts.
    words : its texts, sorted; None where there are more than a few.
    distinct : about how many values there are; None where that is of no account.
    """

    rows: int
    missing: int
    low: Any = None
    high: Any = None
    shortest: int | None = None
    longest: int | None = None
    words: list[str] | None = None
    distinct: DistinctCount | None = None

    def merge(self, other: LearnedColumn) -> LearnedColumn:
        words = None if self.words is None or other.words is None else sorted({*self.words, *other.words})
        return LearnedColumn(
            self.rows + other.rows,
            self.missing + other.missing,
            _least(self.low, other.low),
            _most(self.high, other.high),
            _least(self.shortest, other.shortest),
            _most(self.longest, other.longest),
            None if words is None or len(words) > FEW else words,
            merge(self.distinct, other.distinct),
        )

    @classmethod
    def of(cls, column: Column, name: str) -> LearnedColumn:
        """What a batch tells of a column.

        Parameters
        ----------
        column : of the batch.
        name : of the column.
        """
        rows = len(column)
        missing = missing_values(column)
        gone = 0 if missing is None else int(np.count_nonzero(missing))
        kind = value_type(column)
        if kind is None or isinstance(column, Matrix):
            return cls(rows, gone)
        if pa.types.is_string(kind):
            words = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
            return cls._of_words(rows, gone, pc.unique(words).drop_null(), name)
        values = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        if is_time(kind):
            ends = pc.min_max(microseconds(values, name))
            return cls(rows, gone, ends["min"].as_py(), ends["max"].as_py())
        if pa.types.is_integer(kind):
            ends = pc.min_max(values)
            distinct = DistinctCount.of(column_hash(pc.unique(values).drop_null(), name))
            return cls(rows, gone, ends["min"].as_py(), ends["max"].as_py(), distinct=distinct)
        if pa.types.is_floating(kind):
            finite = values.filter(pc.is_finite(values))
            ends = pc.min_max(finite)
            return cls(rows, gone, ends["min"].as_py(), ends["max"].as_py())
        if pa.types.is_decimal(kind):
            ends = pc.min_max(values)
            low, high = ends["min"].as_py(), ends["max"].as_py()
            return cls(rows, gone, None if low is None else float(low), None if high is None else float(high))
        return cls(rows, gone)

    @classmethod
    def _of_words(cls, rows: int, gone: int, words: pa.Array, name: str) -> LearnedColumn:
        lengths = pc.min_max(pc.utf8_length(words))
        return cls(
            rows,
            gone,
            shortest=lengths["min"].as_py(),
            longest=lengths["max"].as_py(),
            words=sorted(words.to_pylist()) if len(words) <= FEW else None,
            distinct=DistinctCount.of(column_hash(words, name)),
        )


def learn(rows: Any) -> Expectations:
    """Learn expectations of rows from rows that are as they should be.

    Parameters
    ----------
    rows : dataset, Spark DataFrame, table or array: the reference.

    Returns
    -------
    Expectations
        Types; ranges of numbers, a tenth wider on each side (what is never negative stays so), and the first
        time; the values of columns of few texts; the length of texts that all have one; a bound for the share
        of missing values that chance alone seldom breaks, or that there are none; which columns are keys; and
        half to twice as many rows. One pass, and one over columns that may be keys.

    Raises
    ------
    DataError
        When there are no rows.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> carriers = ["AA", "UA"] * 50
    >>> print(og.expectations.learn(pa.table({"id": range(100), "carrier": carriers})).to_yaml(), end="")
    columns:
      id:
        type: integer
        required: true
        unique: true
      carrier:
        type: text
        required: true
        values: [AA, UA]
    rows: [50, 200]
    """
    data = dataset(rows)
    example = data.scan.example()
    names = list(example.columns)

    def fold(batch: Batch) -> tuple[LearnedColumn, ...]:
        return tuple(LearnedColumn.of(batch[name], name) for name in names)

    def learned(shard: Shard) -> Any:
        return to_tree(shard.reduce(fold, encoded=True, empty=fold(shard.example)))

    states: tuple[LearnedColumn, ...] = from_tree(
        data.engine.fit(learned, data.scan, stage="learn", keep=False).result
    )
    count = states[0].rows if states else 0
    if not count:
        raise DataError("There are no rows to learn from. Check the path and the conditions.")
    by_name = dict(zip(names, states, strict=True))
    keys = _keys(data, [name for name, state in by_name.items() if _like_key(state)])
    columns = {name: _column(example[name], state, name in keys) for name, state in by_name.items()}
    return Expectations({"columns": columns, "rows": [count // 2, 2 * count]})


def _like_key(state: LearnedColumn) -> bool:
    """Whether whole numbers or texts may be different in all rows; fractions and times are so by chance."""
    if state.distinct is None or state.missing or state.rows < KEY_ROWS:
        return False
    return state.distinct.estimate() >= 0.9 * state.rows


def _keys(data: Dataset, names: list[str]) -> set[str]:
    """Those of some columns in which no value comes twice; one pass over them."""
    if not names:
        return set()
    counting = Counting(RowChecker(()), (), (), tuple((name,) for name in names))
    fold = counting.counted

    def count(shard: Shard) -> Any:
        return to_tree(shard.reduce(fold, encoded=True, empty=fold(shard.example)))

    scan = data.select(names).scan
    state: CheckedRows = from_tree(data.engine.fit(count, scan, stage="learn", keep=False).result)
    pairs = zip(names, state.keys, strict=True)
    return {name for name, keys in pairs if not repeated_rows(keys, data, (name,)).rows}


def _column(column: Column, state: LearnedColumn, is_key: bool) -> Mapping[str, Any]:
    kind = type_name(column)
    learned_of: dict[str, Any] = {} if kind is None else {"type": kind}
    if not state.missing:
        learned_of["required"] = True
    elif state.missing < state.rows:
        learned_of["missing"] = _missing_bound(state.missing, state.rows)
    if is_key:
        learned_of["unique"] = True
    values = value_type(column)
    if state.low is not None and values is not None and not is_key:  # later keys are larger
        learned_of["range"] = [moment(state.low), None] if is_time(values) else _range(state.low, state.high)
    if state.words and len(state.words) * ROWS_A_VALUE <= state.rows:
        learned_of["values"] = state.words
    elif state.shortest is not None and state.shortest == state.longest:
        learned_of["length"] = [state.shortest, state.longest]
    return learned_of


def moment(micros: int) -> str:
    """The beginning of the day of a moment, as text, which every year has."""
    day = micros // 86_400_000_000 * 86_400_000_000
    return moment_text(day).removesuffix(" 00:00:00")


def _missing_bound(missing: int, rows: int) -> float:
    """The upper end of Wilson's interval, or half as many again; rounded up to three digits."""
    share, z2 = missing / rows, _Z * _Z
    centre = share + z2 / (2 * rows)
    half = _Z * math.sqrt(share * (1 - share) / rows + z2 / (4 * rows * rows))
    bound = max(1.5 * share, (centre + half) / (1 + z2 / rows))
    return min(1.0, _rounded_up(bound))


def _range(low: Any, high: Any) -> list[Any]:
    if isinstance(low, int):
        slack = math.ceil((high - low) * SLACK) if high > low else 1
        return [_same_side(low, low - slack), high + slack if low >= 0 or high > 0 else min(0, high + slack)]
    low, high = float(low), float(high)
    slack = (high - low) * SLACK or abs(high) * SLACK or 1.0
    digits = 2 - math.floor(math.log10(slack)) if slack else 0
    step = 10.0**-digits
    least = _same_side(low, round(math.floor((low - slack) / step) * step, max(digits, 0)))
    most = round(math.ceil((high + slack) / step) * step, max(digits, 0))
    return [least, most if low >= 0 or high > 0 else min(0.0, most)]


def _same_side(low: Any, wider: Any) -> Any:
    """An end that is not negative where no value is."""
    return max(type(low)(0), wider) if low >= 0 else wider


def _rounded_up(share: float) -> float:
    digits = 2 - math.floor(math.log10(share))
    return round(math.ceil(share * 10**digits) / 10**digits, digits)


def _least(left: Any, right: Any) -> Any:
    return left if right is None else right if left is None else min(left, right)


def _most(left: Any, right: Any) -> Any:
    return left if right is None else right if left is None else max(left, right)
