"""Features at the edges of types, times and processes: right, or refused with a clear sentence."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.errors import ColumnNotFoundError, DataError, ParameterError, SchemaError
from outgrow.features import Aggregation, Entity, Source, as_of_join

BASE = datetime.datetime(2026, 1, 1)
SHOP = Entity("shop")
LARGE = 2**63 + 1


def day(n: float) -> datetime.datetime:
    return BASE + datetime.timedelta(days=n)


def table(**features: Any) -> pa.Table:
    return pa.table({"shop": ["a", "a", "b"], "day": [day(0), day(4), day(4)], **features})


def view(rows: Any, name: str = "v", **settings: Any) -> og.FeatureView:
    return og.FeatureView(name, SHOP, Source(rows, "day"), **settings)


KINDS = {
    "zone": pa.array([1, None, 3], pa.timestamp("us", "Europe/Berlin")),
    "seconds of a zone": pa.array([1, 2, 3], pa.timestamp("s", "Asia/Tokyo")),
    "nanoseconds of a zone": pa.array([1_000, 2_000, 3_000], pa.timestamp("ns", "Europe/Berlin")),
    "nanoseconds": pa.array([1_000, 2_000, 3_000], pa.timestamp("ns")),
    "milliseconds": pa.array([1, 2, 3], pa.timestamp("ms")),
    "date": pa.array([0, 86_400_000, None], pa.date64()),
    "days": pa.array([0, 1, None], pa.date32()),
    "time": pa.array([1, 2, None], pa.time32("s")),
    "time in nanoseconds": pa.array([1_000, 2_000, None], pa.time64("ns")),
    "duration": pa.array([1_000, 2_000, None], pa.duration("ns")),
    "duration in seconds": pa.array([1, 2, None], pa.duration("s")),
    "decimal": pa.array([Decimal("1.10"), None, Decimal("2.30")]),
    "uint64": pa.array([LARGE, LARGE, None], pa.uint64()),
    "int8": pa.array([1, -2, None], pa.int8()),
    "half": pa.array(np.array([1, 2, 3], np.float16)),
    "category": pa.array(["u", "v", None]).dictionary_encode(),
    "bytes": pa.array([b"a", b"\0", None], pa.large_binary()),
    "truth": pa.array([True, False, None]),
    "list": pa.array([[1.5], [], None], pa.list_(pa.float32())),
    "whole list": pa.array([[1], [], None], pa.large_list(pa.int16())),
    "vector": pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32(), 2)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_features_have_one_type_in_training_and_serving(kind: str, tmp_path: Path) -> None:
    asked = pa.table({"shop": ["a", "b"], "event_timestamp": [day(5)] * 2})
    with og.FeatureStore(tmp_path / "store") as store:
        store.apply(view(table(f=KINDS[kind])))
        store.materialize_incremental(day(5))
        trained = store.get_historical_features(asked, "v").to_arrow()["f"].combine_chunks()
        served = store.get_online_features("v", [{"shop": "a"}, {"shop": "b"}])["f"].combine_chunks()
        assert trained.type == served.type == store.definitions.views["v"].features["f"]
        assert trained.equals(served)
        assert len(trained.drop_null()) > 0
        again = og.FeatureStore(tmp_path / "store").definitions.views["v"]
        assert again.features["f"] == served.type
        pushed = pa.table({"shop": ["b"], "day": [day(6)], "f": KINDS[kind].slice(0, 1)})
        assert store.push("v", pushed) == 1
        newest = store.get_online_features("v", [{"shop": "b"}])["f"].combine_chunks()
        assert newest.type == served.type
        assert newest.null_count == 0


def test_rows_that_ask_keep_their_types() -> None:
    moments = pa.array([day(5)], pa.timestamp("us", "America/New_York"))
    asked = pa.table(
        {
            "shop": ["a"],
            "event_timestamp": moments,
            "clock": pa.array([7], pa.time32("s")),
            "many": pa.array([[1]], pa.list_(pa.timestamp("ms", "Asia/Tokyo"))),
            "nothing": pa.nulls(1),
            "vector": pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2)),
        }
    )
    made = as_of_join(asked, view(table(f=[1, 2, 3])))
    kinds = {field.name: field.type for field in asked.schema} | {"vector": pa.list_(pa.float32())}
    assert {name: made.schema.field(name).type for name in asked.column_names} == kinds
    assert made.to_arrow()["event_timestamp"].equals(asked["event_timestamp"])
    assert made.to_arrow()["vector"].to_pylist() == [[1.0, 2.0]]
    assert made.to_arrow()["f"].to_pylist() == [2]


def test_vectors_are_lists_in_queries_and_in_what_is_made_to_leak() -> None:
    rows = table(e=KINDS["vector"])
    doubled = Source(rows, "day", query="SELECT * REPLACE (list_concat(e, e) AS e) FROM rows")
    asked = pa.table({"shop": ["a"], "event_timestamp": [day(1)]})
    made = as_of_join(asked, og.FeatureView("v", SHOP, doubled)).to_arrow()
    assert made["e"].to_pylist() == [[1.0, 2.0, 1.0, 2.0]]
    assert not og.check_leakage(view(rows), asked).leaks


def test_a_type_that_cannot_be_written_down_is_refused(tmp_path: Path) -> None:
    rows = table(s=[{"a": 1}] * 3)
    counted = view(rows, aggregations=Aggregation("count", "1d", "s"))
    assert as_of_join(pa.table({"shop": ["a"], "event_timestamp": [day(4)]}), counted).count() == 1
    with pytest.raises(SchemaError, match="'s' is of type struct<a: int64>, which cannot be written down"):
        og.FeatureStore(tmp_path / "store").apply(counted)
    assert not og.FeatureStore(tmp_path / "store").definitions.views


CHANGES: dict[str, Any] = {
    "query": lambda path: og.FeatureView(
        "v", SHOP, Source(path, "day", query="SELECT * REPLACE (f * 100 AS f) FROM rows")
    ),
    "delay": lambda path: og.FeatureView("v", SHOP, Source(path, "day", delay="3d")),
    "time of writing": lambda path: og.FeatureView("v", SHOP, Source(path, "day", "late")),
    "time": lambda path: og.FeatureView("v", SHOP, Source(path, "late"), ["f"]),
    "windows": lambda path: view(path, aggregations=Aggregation("sum", "9d", "f", name="f")),
}


@pytest.mark.parametrize("changed", CHANGES)
def test_a_view_that_is_another_serves_no_rows_of_the_old_one(
    changed: str, online: str, tmp_path: Path
) -> None:
    path = str(tmp_path / "rows.parquet")
    og.write_parquet(og.dataset(table(f=[1, 2, 3], late=[day(1), day(9), day(9)])), path)
    asked = pa.table({"shop": ["a", "b"], "event_timestamp": [day(5)] * 2})
    with og.FeatureStore(tmp_path / "store", online=online) as store:
        store.apply(view(path, schema=["f"]))
        store.materialize_incremental(day(5))
        store.apply(view(path, schema=["f"], ttl="90d"))  # how long values hold is looked at when asked
        assert store.get_online_features("v", asked, now=day(5))["f"].to_pylist() == [2, 3]
        store.apply(CHANGES[changed](path))
        assert store.get_online_features("v:f", asked, now=day(5))["f"].to_pylist() == [None, None]
        assert store.freshness() == {"v": None}
        store.materialize_incremental(day(5))
        served = store.get_online_features("v:f", asked, now=day(5))
        assert served["f"].equals(store.get_historical_features(asked, "v:f").to_arrow()["f"])


def test_stores_that_are_open_at_once_keep_each_others_views(online: str, tmp_path: Path) -> None:
    first = og.FeatureStore(tmp_path / "store", online=online)
    second = og.FeatureStore(tmp_path / "store", online=online)
    first.apply(view(table(f=[1, 2, 3])))
    assert first.materialize_incremental(day(5)) == {"v": 2}
    second.apply(view(table(g=[4, 5, 6]), "other"))
    assert sorted(og.FeatureStore(tmp_path / "store").definitions.views) == ["other", "v"]
    assert second.get_online_features("v", [{"shop": "a"}])["f"].to_pylist() == [2]
    with pytest.raises(DataError, match="table of the process that applied it"):
        second.materialize_incremental(day(5), views=["v"])
    assert second.materialize_incremental(day(5), views=["other"]) == {"other": 2}
    assert first.materialize_incremental(day(5), views=["v"]) == {"v": 2}  # its own table is still there
    assert first.get_online_features("other", [{"shop": "a"}])["g"].to_pylist() == [5]
    first.close()
    second.close()


def test_views_whose_names_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    store = og.FeatureStore(tmp_path / "store")
    store.apply(view(table(f=[1, 2, 3])))
    with pytest.raises(ParameterError, match=r"\['V', 'v'\] differ in case only"):
        store.apply(view(table(f=[10, 20, 30]), "V"))
    assert list(store.definitions.views) == ["v"]


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def test_rows_of_the_future_are_not_pushed(online: str, tmp_path: Path) -> None:
    late = now() + datetime.timedelta(hours=2)
    rows = table(f=[1, 2, 3], late=[day(1)] * 3)
    with og.FeatureStore(tmp_path / "store", online=online) as store:
        store.apply([view(rows, schema=["f"]), view(rows, "w", aggregations=Aggregation("count", "1d"))])
        store.apply(og.FeatureView("written", SHOP, Source(rows, "day", "late", delay="1h"), ["f"]))
        given = [{"shop": "a", "day": now(), "f": 8}, {"shop": "a", "day": late, "f": 9}]
        for name in ("v", "w"):
            with pytest.raises(DataError, match=r"Row 1 pushed to view '.' has day=.* UTC; now it is .* UTC"):
                store.push(name, given)
            assert store.push(name, given[:1]) == 1
        assert store.get_online_features("v", [{"shop": "a"}])["f"].to_pylist() == [8]
        with pytest.raises(DataError, match=r"has late=.* and can be used 1h later"):
            store.push("written", [{"shop": "a", "day": day(1), "f": 8}])
        hours = [now() - datetime.timedelta(hours=hour) for hour in (3, 2)]
        assert store.push("written", [{"shop": "a", "day": hours[0], "late": hours[1], "f": 8}]) == 1


def test_a_key_is_not_there_before_its_first_event_is_known(online: str, tmp_path: Path) -> None:
    rows = table()
    delayed = og.FeatureView(
        "v", SHOP, Source(rows, "day", delay="1h"), aggregations=Aggregation("count", "1d")
    )
    with og.FeatureStore(tmp_path / "store", online=online) as store:
        store.apply(delayed)
        store.push("v", rows.slice(0, 1))
        asked = pa.table({"shop": ["a"] * 3, "event_timestamp": [day(0), day(1 / 24), day(3)]})
        trained = as_of_join(asked, delayed).to_arrow()["count_1d"].to_pylist()
        served = [
            store.get_online_features("v", [{"shop": "a"}], now=moment)["count_1d"].to_pylist()[0]
            for moment in asked["event_timestamp"].to_pylist()
        ]
        assert served == trained == [None, 1, 0]


def test_text_is_counted(online: str, tmp_path: Path) -> None:
    counted = view(
        table(t=["x", None, "y"]), aggregations=[Aggregation("count", "9d", "t"), Aggregation("count", "9d")]
    )
    asked = pa.table({"shop": ["a", "b"], "event_timestamp": [day(5)] * 2})
    with og.FeatureStore(tmp_path / "store", online=online) as store:
        store.apply(counted)
        store.materialize_incremental(day(4.5))
        store.push("v", [{"shop": "b", "day": day(4.7), "t": "z"}])
        served = store.get_online_features("v", asked, now=day(5))
        assert served["count_t_9d"].to_pylist() == [1, 2]
        assert served["count_9d"].to_pylist() == [2, 2]
        assert store.get_historical_features(asked, "v").to_arrow()["count_t_9d"].to_pylist() == [1, 1]
        assert og.FeatureStore(tmp_path / "store").definitions.views["v"].inputs == {"t": pa.string()}


def test_sums_past_64_bits_are_missing_and_others_are_not(online: str, tmp_path: Path) -> None:
    most = 2**63 - 1
    rows = pa.table(
        {
            "shop": ["a", "a", "a", "b", "b", "c"],
            "day": [day(0), day(1), day(2), day(0), day(1), day(0)],
            "f": [most, most, -most, -most, -most, -5],
        }
    )
    sums = view(rows, aggregations=[Aggregation("sum", "9d", "f"), Aggregation("mean", "9d", "f")])
    with og.FeatureStore(tmp_path / "store", online=online) as store:
        store.apply(sums)
        wanted = {0: [most, -most, -5], 1: [None, None, -5], 2: [most, None, -5], 9.5: [0, -most, 0]}
        for after, expected in wanted.items():
            asked = pa.table({"shop": ["a", "b", "c"], "event_timestamp": [day(after)] * 3})
            trained = store.get_historical_features(asked, "v").to_arrow()
            assert trained["sum_f_9d"].to_pylist() == expected
            store.materialize_incremental(day(after))
            served = store.get_online_features("v", asked, now=day(after))
            for name in ("sum_f_9d", "mean_f_9d"):
                assert served[name].combine_chunks().equals(trained[name].combine_chunks())
        many = pa.concat_tables([rows.slice(0, 1)] * 3)
        with pytest.raises(DataError, match=r"\['sum_f_9d', 'mean_f_9d'\] cannot be served"):
            store.push("v", many)


@pytest.mark.parametrize("split", [None, 1])
def test_keys_past_63_bits_are_found(split: int | None, online: str, tmp_path: Path) -> None:
    keys = pa.array([LARGE, LARGE, 2], pa.uint64())
    rows = table(f=[1, 2, 3]).set_column(0, "shop", keys)
    signed = table(g=[4, 5, 6]).set_column(0, "shop", pa.array([-1, 2, 2]))
    asked = pa.table({"shop": pa.array([LARGE, 2, 7], pa.uint64()), "event_timestamp": [day(4)] * 3})
    both = [view(signed, "signed"), view(rows)]
    made = as_of_join(asked, both, split_rows=split).to_arrow()
    assert made["f"].to_pylist() == [2, 3, None]
    assert made["g"].combine_chunks().null_count == 2
    assert made["g"].to_pylist()[1] in (5, 6)
    floats = asked.set_column(0, "shop", pa.array([float(LARGE), 2.0, None]))
    assert as_of_join(floats, both).to_arrow()["f"].to_pylist() == [None, 3, None]
    assert as_of_join(asked, both[0]).to_arrow()["g"].null_count == 2
    with og.FeatureStore(tmp_path / "store", online=online) as store:
        store.apply(both[1])
        store.materialize_incremental(day(4))
        found = store.get_online_features("v", asked.select(["shop"]))
        assert found["f"].to_pylist() == [2, 3, None]


def test_pushed_rows_are_checked_first(tmp_path: Path) -> None:
    rows = table(f=[1, 2, 3], x=[0.5, 1.5, 2.5], t=["u", "v", "w"])
    row = {"shop": "a", "day": day(6), "f": 7, "x": 1.0, "t": "z"}
    with og.FeatureStore(tmp_path / "store") as store:
        store.apply([view(rows), view(rows, "w", aggregations=Aggregation("sum", "1d", "f"))])
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"x": "7"}, "'x' of view 'v' is of type double, and of the pushed rows: it holds string"),
            ({"f": 1.5}, "'f' of view 'v' is of type int64, and of the pushed rows: Float value 1.5"),
            ({"t": 5}, "'t' of view 'v' is of type string"),
        ]
        for change, message in wrong:
            with pytest.raises(DataError, match=message):
                store.push("v", [row | change])
        with pytest.raises(DataError, match="'f' of view 'w' is of type int64"):
            store.push("w", [row | {"f": 1.5}])
        with pytest.raises(SchemaError, match="the join needs dates or times"):
            store.push("v", [row | {"day": "2026-01-06"}])
        for name in ("day", "f", "shop"):
            with pytest.raises(
                ColumnNotFoundError, match=rf"pushed to view 'v' have no columns \['{name}'\]"
            ):
                store.push("v", [{key: value for key, value in row.items() if key != name}])
        for none in ([row, row | {"f": "x"}], [1], {"shop": ["a"], "day": []}):
            with pytest.raises(DataError, match="The rows make no table"):
                store.push("v", none)
        assert store.push("v", []) == 0
        assert store.push("v", [row | {"day": None}]) == 0
        assert store.push("v", [row | {"f": None, "x": 3}]) == 1
        assert store.get_online_features("v", [{"shop": "a"}]).to_pylist() == [
            {"shop": "a", "f": None, "x": 3.0, "t": "z"}
        ]
