"""Features as they were known: against every pair of rows looked at, to the bit, on every engine."""

from __future__ import annotations

import datetime
import math
import struct
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow.errors import ParameterError, SchemaError
from outgrow.features import Entity, Source, as_of_join
from outgrow.testing import EngineCase

DAY = 86_400 * 10**6
BASE = datetime.datetime(2026, 3, 28, 22)  # the clocks of Europe go forward in the night after
HOUR = datetime.timedelta(hours=1)


def hours(n: int) -> datetime.datetime:
    return BASE + n * HOUR


def expected(asked: dict[str, Any], rows: list[dict[str, Any]], delay: int, ttl: int | None) -> Any:
    """The row of features that counts, by looking at each."""
    key, time = (asked["key"], asked["shop"]), asked["at"]
    if None in key or time is None:
        return None
    known = [
        row
        for row in rows
        if (row["key"], row["shop"]) == key
        and row["event"] is not None
        and row["written"] is not None
        and max(row["event"], row["written"]) + delay * HOUR <= time
    ]
    last = max(known, key=_order, default=None)
    if last is None or (ttl is not None and last["event"] < time - ttl * HOUR):
        return None
    return last


def _order(row: dict[str, Any]) -> Any:
    """Event, writing, then values: missing ones first, NaN last."""
    number, text = row["number"], row["text"]
    values = (-1, 0.0) if number is None else (1, 0.0) if math.isnan(number) else (0, number)
    return row["event"], row["written"], values, (text is not None, (text or "").encode())


def bits(table: pa.Table) -> list[tuple[Any, ...]]:
    """Rows whose numbers are bytes, so that NaN is itself."""
    return [
        tuple(struct.pack("d", value) if isinstance(value, float) else value for value in row.values())
        for row in table.to_pylist()
    ]


MOMENTS = st.integers(0, 12).map(hours) | st.none()
NUMBERS = st.sampled_from([None, math.nan, -1.5, 0.5, 2.0])
KEYS = st.sampled_from([1, 2, 3, None])
ROW = st.fixed_dictionaries(
    {
        "key": KEYS,
        "shop": st.sampled_from(["a", "é"]),
        "event": MOMENTS,
        "written": MOMENTS,
        "number": NUMBERS,
        "text": st.sampled_from([None, "", "b", "ä"]),
    }
)
ASKED = st.fixed_dictionaries({"key": KEYS, "shop": st.sampled_from(["a", "é", None]), "at": MOMENTS})
UTC = pa.timestamp("us", tz="UTC")
FEATURES = pa.schema(
    {
        "key": pa.int64(),
        "shop": pa.string(),
        "event": pa.timestamp("us"),
        "written": UTC,
        "number": pa.float64(),
        "text": pa.string(),
    }
)
SPINE = pa.schema({"key": pa.int32(), "shop": pa.string(), "at": pa.timestamp("us", tz="Europe/Berlin")})
ENTITIES = [Entity("key"), Entity("shop")]


def view(rows: Any, *, delay: int = 0, ttl: int | None = None, name: str = "v") -> og.FeatureView:
    source = Source(rows, "event", "written", delay=f"{delay}h")
    return og.FeatureView(name, ENTITIES, source, ttl=None if ttl is None else f"{ttl}h")


@settings(max_examples=20, deadline=None)
@given(
    rows=st.lists(ROW, max_size=60),
    asked=st.lists(ASKED, min_size=1, max_size=30),
    delay=st.sampled_from([0, 2]),
    ttl=st.sampled_from([None, 3]),
    split=st.sampled_from([None, 4]),
)
def test_each_row_gets_what_was_known(
    rows: list[dict[str, Any]], asked: list[dict[str, Any]], delay: int, ttl: int | None, split: int | None
) -> None:
    zone = datetime.UTC
    spine = pa.Table.from_pylist(
        [row | {"at": row["at"] and row["at"].replace(tzinfo=zone)} for row in asked], SPINE
    )
    table = pa.Table.from_pylist(rows, FEATURES)
    made = as_of_join(spine, view(table, delay=delay, ttl=ttl), time="at", split_rows=split)
    found = [expected(row, rows, delay, ttl) for row in asked]
    wanted = [(None, None) if row is None else (row["number"], row["text"]) for row in found]
    fields = pa.schema({"number": pa.float64(), "text": pa.string()})
    told = pa.Table.from_pylist([dict(zip(fields.names, row, strict=True)) for row in wanted], fields)
    assert bits(made.select("number", "text").to_arrow()) == bits(told)


def many(seed: int = 3) -> tuple[pa.Table, pa.Table]:
    """Rows that ask and rows of features, with ties, gaps, late rows and one key that has most of them."""
    random = np.random.default_rng(seed)

    def keys(n: int) -> pa.Array:
        drawn = np.where(random.random(n) < 0.4, 0, random.integers(0, 30, n))
        return pa.array(drawn, mask=random.random(n) < 0.05)

    def moments(n: int, kind: pa.DataType) -> pa.Array:
        drawn = random.integers(0, 300, n) * 3_600_000_000 + 1_774_735_200_000_000
        return pa.array(drawn, mask=random.random(n) < 0.05).cast(pa.timestamp("us")).cast(kind)

    n = 1500
    text = pa.array(random.choice(["a", "é", "z", ""], n), mask=random.random(n) < 0.1)
    number = np.where(random.random(n) < 0.1, np.nan, random.integers(-3, 3, n) + 0.5)
    features = [keys(n), pa.array(random.choice(["a", "é"], n)), moments(n, pa.timestamp("us"))]
    features += [moments(n, UTC), pa.array(number, mask=random.random(n) < 0.1), text]
    m = 400
    asked = [keys(m).cast(pa.int32()), pa.array(random.choice(["a", "é"], m)), moments(m, UTC)]
    spine = pa.table([*asked, pa.array(range(m))], names=["key", "shop", "at", "number_of_row"])
    return spine, pa.Table.from_arrays(features, schema=FEATURES)


@pytest.mark.parametrize("split", [None, 100])
def test_engines_agree_to_the_bit(engine: EngineCase, split: int | None) -> None:
    spine, rows = many()
    plain = as_of_join(spine, view(rows, ttl=40, delay=1), time="at", split_rows=None).to_arrow()
    daily = og.FeatureView("daily", ENTITIES, Source(rows, "event"), ["text"])
    both = [view(engine.open(rows), ttl=40, delay=1), daily]
    made = as_of_join(engine.open(spine), both, time="at", full_feature_names=True, split_rows=split)
    table = made.to_arrow().sort_by("number_of_row")
    assert table.column_names[4:] == ["v__number", "v__text", "daily__text"]
    assert bits(table.select(["v__number", "v__text"])) == bits(plain.select(["number", "text"]))
    alone = as_of_join(spine, daily, time="at", split_rows=None).to_arrow()
    assert table["daily__text"].to_pylist() == alone["text"].to_pylist()
    assert sum(value is not None for value in alone["text"].to_pylist()) > 100


def test_rows_keep_order_and_duplicates_as_pandas_has_them() -> None:
    rows = pd.DataFrame(
        {"user": ["b", "a"], "day": pd.to_datetime(["2026-01-02", "2026-01-01"]), "x": [1, 2]}
    )
    users = og.FeatureView("users", [Entity("user")], Source(rows, "day"))
    asked = pd.DataFrame({"user": list("abba"), "event_timestamp": pd.Timestamp("2026-01-01 12:00")})
    asked.index = [7, 5, 5, 1]
    made = as_of_join(asked, users).to_pandas()
    assert made["user"].tolist() == list("abba")
    assert made["x"].fillna(-1).tolist() == [2, -1, -1, 2]


def test_whole_numbers_that_pandas_made_floats_are_the_same_keys() -> None:
    rows = pd.DataFrame({"user": [1, 2], "day": pd.to_datetime(["2026-01-01"] * 2), "x": [10, 20]})
    asked = pd.DataFrame({"user": [2, None, 1, 1.5], "event_timestamp": pd.Timestamp("2026-01-02")})
    made = as_of_join(asked, og.FeatureView("users", [Entity("user")], Source(rows, "day"))).to_arrow()
    assert made["x"].to_pylist() == [20, None, 10, None]


def test_dates_are_their_midnight_in_utc() -> None:
    day = datetime.date(2026, 1, 2)
    rows = pa.table({"k": [1], "day": [day], "x": [1]})
    zone = datetime.timezone(datetime.timedelta(hours=9))
    moments = [
        datetime.datetime(2026, 1, 2, 8, 59, tzinfo=zone),
        datetime.datetime(2026, 1, 2, 9, tzinfo=zone),
    ]
    asked = pa.table({"k": [1, 1], "event_timestamp": moments})
    made = as_of_join(asked, og.FeatureView("v", [Entity("k")], Source(rows, "day"))).to_arrow()
    assert made["x"].to_pylist() == [None, 1]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_times_of_every_unit_and_zone_are_the_same_moments(unit: str, zone: str | None) -> None:
    hours = pa.array([0, 3_600, 7_200]).cast(pa.timestamp("s")).cast(pa.timestamp(unit))
    times = hours.cast(pa.timestamp(unit, zone))  # without a zone they are of UTC
    columns = {"key": [1, 1, 1], "shop": ["a"] * 3, "event": times, "written": times}
    rows = pa.table({**columns, "number": [0.0, 1.0, 2.0]})
    asked = pa.table({"key": [1], "shop": ["a"], "at": times.slice(1, 1)})
    assert as_of_join(asked, view(rows), time="at").to_arrow()["number"].to_pylist() == [1.0]


def test_what_cannot_be_joined_is_refused() -> None:
    rows = pa.table({"k": ["1"], "at": [BASE], "x": [1.0]})
    view = og.FeatureView("v", [Entity("k")], Source(rows, "at"))
    asked = pa.table({"k": ["1"], "event_timestamp": [BASE]})
    with pytest.raises(SchemaError, match="of type int64 in the rows and of type string in view 'v'"):
        as_of_join(pa.table({"k": [1], "event_timestamp": [BASE]}), view)
    with pytest.raises(SchemaError, match="full_feature_names=True"):
        as_of_join(asked.append_column("X", [[1]]), view)
    with pytest.raises(SchemaError, match="seconds since 1970"):
        as_of_join(pa.table({"k": ["1"], "event_timestamp": [17]}), view)
    with pytest.raises(KeyError, match="nope"):
        as_of_join(asked, view, features={"v": ["nope"]})
    with pytest.raises(ParameterError, match="ttl='7 lives'"):
        og.FeatureView("v", [Entity("k")], Source(rows, "at"), ttl="7 lives")
    with pytest.raises(ParameterError, match=r"at least one features\.Entity"):
        og.FeatureView("v", [], Source(rows, "at"))
