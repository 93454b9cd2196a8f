"""Counts, sums and means over windows: against each row looked at; for servers the same to the bit."""

from __future__ import annotations

import datetime
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import outgrow as og
from outgrow.errors import ParameterError, SchemaError
from outgrow.features import Aggregation, Entity, Source, as_of_join
from outgrow.features.definitions_file import read_definitions
from outgrow.testing import EngineCase

BASE = datetime.datetime(2026, 1, 1)
MINUTE = datetime.timedelta(minutes=1)
USER = Entity("user")
ALL = [
    Aggregation("count", "1h"),
    Aggregation("count", "1d", "price"),
    Aggregation("sum", "1h", "price"),
    Aggregation("sum", "1d", "price"),
    Aggregation("mean", "1d", "price"),
    Aggregation("sum", "1d", "clicks"),
    Aggregation("mean", "90min", "clicks"),
]
DELAY = 5


def minutes(ticks: np.ndarray) -> pa.Array:
    return pa.array([BASE + int(t) * MINUTE for t in ticks], pa.timestamp("us"))


def events(n: int = 900, seed: int = 0) -> pa.Table:
    """Purchases in two days, some written late, of very large and very small prices."""
    random = np.random.default_rng(seed)
    at = random.integers(0, 2880, n)
    written = at + np.where(random.random(n) < 0.3, random.integers(0, 1600, n), 0)
    price = random.normal(size=n) * 10.0 ** random.integers(-3, 12, n)
    return pa.table(
        {
            "user": pa.array(random.integers(0, 9, n), mask=random.random(n) < 0.05),
            "at": minutes(at),
            "written": minutes(written),
            "price": pa.array(price, mask=random.random(n) < 0.1),
            "clicks": pa.array(random.integers(-5, 9, n), pa.int16()),
        }
    )


def view(rows: Any, every: str | None = None, aggregations: Any = ALL) -> og.FeatureView:
    source = Source(rows, "at", "written", delay=f"{DELAY}min")
    return og.FeatureView("v", USER, source, aggregations=aggregations, every=every)


def expected(each: Aggregation, asked: dict[str, Any], rows: list[dict[str, Any]], every: int) -> Any:
    """The feature of a row that asks, by looking at each event."""
    time = asked["event_timestamp"]
    known = [
        row
        for row in rows
        if row["user"] == asked["user"] is not None
        and max(row["at"], row["written"]) + DELAY * MINUTE <= time
    ]
    if not known:
        return None
    floored = [(BASE + (row["at"] - BASE) // (every * MINUTE) * (every * MINUTE), row) for row in known]
    inside = [row for at, row in floored if at > time - each.width // 60_000_000 * MINUTE]
    if each.column is None:
        return len(inside)
    values = [row[each.column] for row in inside if row[each.column] is not None]
    if each.function == "count":
        return len(values)
    total = sum(values) if each.column == "clicks" else math.fsum(values)
    if each.function == "sum":
        return total
    return total / len(values) if values else None


def asking(n: int = 120) -> pa.Table:
    random = np.random.default_rng(5)
    users = pa.array(random.integers(0, 11, n), mask=random.random(n) < 0.05)
    return pa.table({"user": users, "event_timestamp": minutes(random.integers(0, 5000, n)), "row": range(n)})


def bits(table: pa.Table) -> list[tuple[Any, ...]]:
    names = [each.name for each in ALL]
    return [
        tuple(struct.pack("d", value) if isinstance(value, float) else value for value in row.values())
        for row in table.select(names).to_pylist()
    ]


@pytest.mark.parametrize("every", [1, 20])
def test_windows_hold_what_was_known_and_is_no_older(every: int) -> None:
    rows, asked = events(), asking()
    made = as_of_join(asked, view(rows, f"{every}min")).to_arrow().to_pylist()
    listed = rows.to_pylist()
    for row, got in zip(asked.to_pylist(), made, strict=True):
        for each in ALL:
            wanted = expected(each, row, listed, every)
            near = None if wanted is None else pytest.approx(wanted, rel=1e-15, abs=1e-17)
            assert got[each.name] == near, (each.name, row)
    assert sum(got["sum_price_1d"] not in (None, 0) for got in made) > 50


def test_engines_agree_to_the_bit(engine: EngineCase) -> None:
    asked, of_spark = asking(), view(engine.open(events(300)), "20min", ALL)
    made = as_of_join(engine.open(asked), of_spark, split_rows=None).to_arrow()
    plain = as_of_join(asked, view(events(300), "20min")).to_arrow()
    assert bits(made.sort_by("row")) == bits(plain)


@pytest.mark.parametrize("every", [None, "20min"])
def test_servers_see_what_training_saw_at_any_moment(online: str, every: str | None, tmp_path: Path) -> None:
    rows = events()
    known = pc.max_element_wise(rows["at"], rows["written"])
    half = BASE + 1500 * MINUTE
    there = rows.filter(pc.less_equal(known, pa.scalar(half - DELAY * MINUTE, pa.timestamp("us"))))
    later = rows.filter(pc.greater(known, pa.scalar(half - DELAY * MINUTE, pa.timestamp("us"))))
    users = pa.table({"user": [*range(11), None]})

    def trained(table: pa.Table, moment: datetime.datetime) -> list[tuple[Any, ...]]:
        asked = users.append_column("event_timestamp", pa.array([moment] * len(users), pa.timestamp("us")))
        return bits(as_of_join(asked, view(table, every)).to_arrow())

    with og.FeatureStore(tmp_path / "store", online=online) as store:
        og.write_parquet(og.dataset(rows), tmp_path / "rows.parquet")
        store.apply(view(tmp_path / "rows.parquet", every))
        assert store.materialize_incremental(BASE + 700 * MINUTE) == {"v": 9}
        assert store.materialize_incremental(half) == {"v": 9}
        for ahead in (0, 59, 61, 700, 9000):
            moment = half + ahead * MINUTE
            served = store.get_online_features("v", users, now=moment)
            assert bits(served) == trained(there, moment)
        parts = [later.slice(start, 60) for start in range(0, len(later), 60)]
        for number, part in enumerate([*parts, parts[0]]):  # a batch that comes again counts once
            store.push("v", part, batch=min(number, len(parts)) % len(parts))
        assert store.push_stream("v", [there.slice(0, 40)]) > 0  # what was materialised is there already
        store = og.FeatureStore(tmp_path / "store")
        end = BASE + 4600 * MINUTE
        for moment in (end, end + 59 * MINUTE):
            assert bits(store.get_online_features("v", users, now=moment)) == trained(rows, moment)
        store.materialize_incremental(end)
        assert bits(store.get_online_features("v", users, now=end)) == trained(rows, end)
        store.materialize(BASE, half)  # an older state never takes the place of a newer one
        assert bits(store.get_online_features("v", users, now=end)) == trained(rows, end)
        store.close()


def test_what_is_no_finite_number_leaves_with_its_row() -> None:
    at = [BASE + minute * MINUTE for minute in (0, 10, 20, 30)]
    rows = pa.table({"user": [1] * 4, "at": at, "x": [math.inf, 0.1, 0.2, math.nan]})
    sums = og.FeatureView("v", USER, Source(rows, "at"), aggregations=Aggregation("sum", "15min", "x"))
    asked = pa.table({"user": [1] * 4, "event_timestamp": [*at[:1], at[2], at[3], at[3] + 15 * MINUTE]})
    first, second, third, last = as_of_join(asked, sums).to_arrow()["sum_x_15min"].to_pylist()
    assert math.isnan(first)
    assert second == 0.1 + 0.2
    assert math.isnan(third)
    assert last == 0.0


def test_windows_do_not_leak() -> None:
    asked = asking(40)
    assert not og.check_leakage(view(events(200), None, ALL[:3]), asked, moments=1).leaks


def test_a_file_defines_windows(tmp_path: Path) -> None:
    og.write_parquet(og.dataset(events(50)), tmp_path / "rows.parquet")
    (tmp_path / "views.yaml").write_text(
        "entities: {user: [user]}\nviews:\n  v:\n    entities: [user]\n    every: 1min\n"
        "    source: {data: rows.parquet, timestamp_field: at}\n    aggregations:\n"
        "      - {function: mean, time_window: 7d, column: price}\n"
        "      - {function: count, time_window: 1h}\n"
    )
    with og.FeatureStore(tmp_path / "store") as store:
        store.apply(read_definitions(str(tmp_path / "views.yaml")))
        again = og.FeatureStore(tmp_path / "store").definitions.views["v"]
        assert {name: str(kind) for name, kind in again.features.items()} == {
            "mean_price_7d": "double",
            "count_1h": "int64",
        }
        assert again.view.step == 60_000_000


def test_windows_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="count, sum, mean are taken"):
        Aggregation("median", "1h", "price")
    with pytest.raises(ParameterError, match="A sum needs a column"):
        Aggregation("sum", "1h")
    with pytest.raises(ParameterError, match="hold nothing"):
        view(events(5), aggregations=[Aggregation("count", "5min")])
    with pytest.raises(ParameterError, match="several columns are called"):
        view(
            events(5),
            aggregations=[Aggregation("count", "1h"), Aggregation("count", "60min", name="count_1h")],
        )
    with pytest.raises(ParameterError, match="drop schema and ttl"):
        og.FeatureView("v", USER, Source("x", "at"), ttl="1d", aggregations=[Aggregation("count", "1h")])
    texts = pa.table({"user": [1], "at": [BASE], "price": ["7"]})
    summed = og.FeatureView("v", USER, Source(texts, "at"), aggregations=[Aggregation("sum", "1h", "price")])
    with pytest.raises(SchemaError, match="numbers are needed"):
        as_of_join(asking(3), summed)
