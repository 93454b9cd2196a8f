"""Values that differ are told apart, also where float64 or microseconds are the same; equal ones are equal in
any type: in fingerprints, keys, references and splits."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.data.batch import Batch
from outgrow.data.hashing import value_hash
from outgrow.data.keys import key_hash

FAR = 2**53
LONG = "12345678901234567890.12"
NANO, MICRO = pa.timestamp("ns"), pa.timestamp("us")
DIFFERENT = {
    "whole numbers": (pa.int64(), FAR, FAR + 1),
    "nanoseconds": (NANO, 1_000, 1_500),
    "far times": (MICRO, 2**55, 2**55 + 1),
    "decimals": (pa.decimal128(22, 2), Decimal(LONG), Decimal(LONG[:-1] + "3")),
    "lists": (pa.list_(pa.int64()), [FAR], [FAR + 1]),
    "lists of times": (pa.list_(NANO), [1_000], [1_500]),
    "structs": (pa.struct([("x", pa.int64())]), {"x": FAR}, {"x": FAR + 1}),
    "decimals in structs": (
        pa.struct([("x", pa.decimal128(22, 2))]),
        {"x": Decimal(LONG)},
        {"x": Decimal(LONG) + Decimal("0.01")},
    ),
}
KEYS = [name for name in DIFFERENT if "lists" not in name and "structs" not in name]
EQUAL = [
    (pa.array([1], MICRO), pa.array([1_000], NANO)),
    (pa.array([Decimal("1.50")]), pa.array([Decimal("1.5")], pa.decimal128(38, 18))),
    (pa.array([Decimal(LONG)]), pa.array([Decimal(LONG)], pa.decimal128(38, 10))),
    (pa.array([Decimal("0.1")], pa.decimal128(38, 18)), pa.array([0.1])),
]


def column(kind: Any, *values: Any) -> pa.Table:
    return pa.table({"a": pa.array(values, kind)})


def strong(rows: pa.Table) -> str | None:
    return og.dataset(rows).version(strong=True).strong


def keys(array: pa.Array) -> list[int]:
    return [int(hash) for hash in key_hash(Batch({"a": array}, len(array)), ["a"])]


@pytest.mark.parametrize("name", DIFFERENT)
def test_one_changed_value_changes_the_fingerprint(name: str) -> None:
    kind, one, other = DIFFERENT[name]
    assert strong(column(kind, one)) != strong(column(kind, other))
    assert strong(column(kind, one, None)) == strong(column(kind, None, one))


@pytest.mark.parametrize("name", KEYS)
def test_different_values_are_different_keys(name: str, tmp_path: Path) -> None:
    kind, one, other = DIFFERENT[name]
    rows = column(kind, one, other)
    assert len(set(keys(rows["a"].combine_chunks()))) == 2
    assert len(set(value_hash(rows["a"].combine_chunks(), "a").tolist())) == 2
    assert og.Expectations({"columns": {"a": {"unique": True}}}).check(rows).ok
    pq.write_table(column(kind, one), tmp_path / "known.parquet")
    reference = {"references": {"path": str(tmp_path / "known.parquet"), "column": "a"}}
    report = og.Expectations({"columns": {"a": reference}}).check(rows)
    assert not report.ok
    assert report.set_aside == 1


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_values_are_equal_in_any_type(one: pa.Array, other: pa.Array) -> None:
    assert strong(pa.table({"a": one})) == strong(pa.table({"a": other}))
    assert keys(one) == keys(other)


@pytest.mark.parametrize("value", [7, FAR + 1, 10**18 + 1, 10**25 + 1])
def test_a_whole_decimal_is_the_key_that_the_whole_number_is(value: int) -> None:
    with_fraction = pa.array([Decimal(value)], pa.decimal128(38, 2))
    without = pa.array([value], pa.int64() if value < 2**63 else pa.decimal128(38, 0))
    assert keys(with_fraction) == keys(without)


def test_times_within_a_microsecond_are_split() -> None:
    rows = pa.table({"a": pa.array(np.arange(1_000), NANO)})
    counts = [part.count() for part in og.dataset(rows).split(test=0.5, seed=0)]
    assert sum(counts) == 1_000
    assert min(counts) > 400
