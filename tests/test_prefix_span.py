"""Frequent sequences: those of trying all, and Spark's example."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow.errors import ColumnNotFoundError, DataError, SchemaError
from outgrow.testing import EngineCase

Sequence = tuple[frozenset[Any], ...]


def found(table: Any, **more: Any) -> dict[Sequence, int]:
    rows = og.frequent_sequences(table, "s", **more).to_pylist()
    assert len({repr(row["sequence"]) for row in rows}) == len(rows)
    return {tuple(map(frozenset, row["sequence"])): row["count"] for row in rows}


def holds(sequence: list[set[Any]], pattern: Sequence) -> bool:
    at = 0
    for wanted in pattern:
        while at < len(sequence) and not wanted <= sequence[at]:
            at += 1
        if at == len(sequence):
            return False
        at += 1
    return True


def counted(sequences: list[list[set[Any]]], least: int, longest: int) -> dict[Sequence, int]:
    """Every frequent pattern, by extending those found in every way."""
    items = sorted({item for sequence in sequences for one in sequence for item in one})
    sets = [frozenset(c) for n in range(1, longest + 1) for c in combinations(items, n)]
    level: list[Sequence] = [()]
    patterns: dict[Sequence, int] = {}
    while level:
        longer = [
            (*pattern, one)
            for pattern in level
            for one in sets
            if sum(map(len, pattern)) + len(one) <= longest
        ]
        counts = {pattern: sum(holds(sequence, pattern) for sequence in sequences) for pattern in longer}
        level = [pattern for pattern, count in counts.items() if count >= least]
        patterns |= {pattern: counts[pattern] for pattern in level}
    return patterns


def test_the_example_of_spark() -> None:
    """The sequences of Spark's documentation, and the numbers it shows."""
    sequences = [[[1, 2], [3]], [[1], [3, 2], [1, 2]], [[1, 2], [5]], [[6]]]
    table = pa.table({"s": pa.array(sequences, pa.list_(pa.list_(pa.int32())))})
    one, two, three = frozenset([1]), frozenset([2]), frozenset([3])
    expected = {(one,): 3, (three,): 2, (two,): 3, (frozenset([1, 2]),): 3, (one, three): 2}
    assert found(table, min_support=0.5, max_pattern_length=5) == expected


@given(
    st.lists(
        st.lists(st.sets(st.integers(0, 3), min_size=1, max_size=3), max_size=4), min_size=1, max_size=7
    ),
    st.integers(1, 4),
    st.integers(1, 4),
)
@settings(max_examples=30)
def test_all_sequences_and_no_others(sequences: list[list[set[int]]], least: int, longest: int) -> None:
    lists = [[sorted(one) for one in sequence] for sequence in sequences]
    table = pa.table({"s": pa.array(lists, pa.list_(pa.list_(pa.int64())))})
    made = found(table, min_support=min(1.0, least / len(sequences)), max_pattern_length=longest)
    assert made == counted(sequences, min(least, len(sequences)), longest)


def test_every_engine(engine: EngineCase) -> None:
    """Items one by one, with missing ones and repetitions."""
    words = [["a", "b", "a", "c"], ["a", "c"], ["c", None, "a"], [], None, ["b", "a", "c"], ["a", "a"]] * 3
    table = pa.table({"s": pa.array(words, pa.list_(pa.string())), "n": range(21)})
    made = found(engine.open(table), min_support=0.3, max_pattern_length=3)
    plain = [[{word} for word in row if word] for row in words if row is not None]
    assert made == counted(plain, 6, 3)


def test_nothing_and_refusals() -> None:
    table = pa.table({"s": [["a"], ["b"], ["c"]], "x": [1, 2, 3]})
    assert og.frequent_sequences(table, "s", min_support=0.5).num_rows == 0
    with pytest.raises(SchemaError, match="holds no lists"):
        og.frequent_sequences(table, "x")
    with pytest.raises(ColumnNotFoundError, match="No column 'y'"):
        og.frequent_sequences(table, "y")
    with pytest.raises(DataError, match="are missing"):
        og.frequent_sequences(pa.table({"s": pa.array([None], pa.list_(pa.string()))}), "s")
