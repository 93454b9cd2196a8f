"""A feature store: what servers look up is what training rows got, to the bit."""

from __future__ import annotations

import datetime
import json
import shutil
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.features import Entity, FeatureService, OnDemandView, Source
from outgrow.features.online.codec import KeyCodec

BASE = datetime.datetime(2026, 1, 1)
USER = Entity("user", ["user_id"])


def day(n: float) -> datetime.datetime:
    return BASE + datetime.timedelta(days=n)


def every_kind(n: int, seed: int = 0) -> pa.Table:
    """Rows of all kinds of columns, with ties, late rows and missing values."""
    random = np.random.default_rng(seed)
    gone = random.random(n) < 0.2
    numbers = random.normal(size=n)
    numbers[::7] = np.nan
    ticks = random.integers(0, 40, n)
    return pa.table(
        {
            "user_id": pa.array(random.integers(0, n // 3, n)),
            "at": pa.array([day(t) for t in ticks.tolist()], pa.timestamp("us", "UTC")),
            "written": pa.array([day(t) for t in (ticks + random.integers(0, 20, n)).tolist()]),
            "number": pa.array(numbers, mask=gone),
            "small": pa.array(random.integers(-9, 9, n), pa.int8(), mask=gone[::-1]),
            "single": pa.array(numbers.astype(np.float32)),
            "yes": pa.array(random.random(n) < 0.5, mask=gone),
            "text": pa.array(random.choice(["", "é", "long text"], n), mask=gone),
            "when": pa.array([day(t).date() for t in ticks.tolist()], mask=gone),
            "price": pa.array([Decimal(int(t)) / 4 for t in ticks], pa.decimal128(12, 2)),
            "list": pa.array([[float(t), 0.5][: t % 3] for t in ticks.tolist()], pa.list_(pa.float32())),
        }
    )


def test_what_servers_see_is_what_training_saw(online: str, tmp_path: Path) -> None:
    rows = every_kind(30_000)
    view = og.FeatureView("users", USER, Source(rows, "at", "written", delay="1d"), ttl="20d")
    with og.FeatureStore(tmp_path / "store", online=online) as store:
        store.apply(view)
        store.materialize(day(-1), day(20))
        store.materialize_incremental(day(30.5))
        keys = pa.table({"user_id": [*range(10_000), None, -1]})
        moments = pa.array([day(30.5)] * len(keys), pa.timestamp("us", "UTC"))
        trained = store.get_historical_features(keys.append_column("event_timestamp", moments), "users")
        offline = trained.to_arrow().drop_columns("event_timestamp")
        served = store.get_online_features("users", keys, now=day(30.5))
        assert served.column_names == offline.column_names
        assert 3_000 < served["single"].null_count < 7_000
        for name in served.column_names:
            ours, theirs = served[name].combine_chunks(), offline[name].combine_chunks()
            assert ours.type == theirs.type, name
            if pa.types.is_floating(ours.type):
                ours, theirs = (part.view(f"int{part.type.bit_width}") for part in (ours, theirs))
            assert ours.equals(theirs), name
        assert store.get_online_features("users", keys, now=day(80))["single"].null_count == len(keys)


def test_rows_that_came_late_are_materialised_and_never_replace_newer_ones(
    online: str, tmp_path: Path
) -> None:
    # Feast #4133: rows whose event time lies before the last materialisation were never written
    path = tmp_path / "rows.parquet"

    def write(*rows: tuple[int, float, float, int]) -> None:
        columns = ["user_id", "at", "written", "x"]
        frame = pd.DataFrame([(u, day(a), day(w), x) for u, a, w, x in rows], columns=columns)
        og.write_parquet(og.dataset(frame), path, overwrite=True)

    with og.FeatureStore(tmp_path / "store", online=online) as store:
        write((1, 1, 1, 10), (2, 5, 5, 20))
        store.apply(og.FeatureView("users", [USER], Source(path, "at", "written")))
        assert store.materialize_incremental(day(6)) == {"users": 2}
        write((1, 1, 1, 10), (2, 5, 5, 20), (1, 2, 7, 11), (2, 4, 7, 21), (3, 1, 7, 30), (3, 1, 99, 31))
        assert store.materialize_incremental(day(8)) == {"users": 3}
        found = store.get_online_features(["users:x"], {"user_id": [1, 2, 3]}, now=day(8))
        assert found["x"].to_pylist() == [11, 20, 30]
        assert store.freshness()["users"] == pytest.approx(time.time() - day(8).timestamp(), abs=60 * 1440)


def test_pushed_rows_are_served_at_once(online: str, tmp_path: Path) -> None:
    rows = pa.table({"user_id": [1], "at": [day(1)], "x": [1.0]})
    with og.FeatureStore(tmp_path / "store", online=online) as store:
        store.apply(og.FeatureView("users", [USER], Source(rows, "at"), ttl="3d"))
        store.materialize_incremental(day(1))
        newer = [{"user_id": 1, "at": day(2), "x": 2.0}, {"user_id": 2, "at": day(2), "x": None}]
        assert store.push("users", newer) == 2
        assert store.push("users", [{"user_id": 1, "at": day(0), "x": 9.0}]) == 1
        again = og.FeatureStore(tmp_path / "store")
        found = again.get_online_features("users", [{"user_id": u} for u in (1, 2, 3)], now=day(4))
        assert found["x"].to_pylist() == [2.0, None, None]
        assert again.get_online_features("users", [{"user_id": 1}], now=day(6))["x"].to_pylist() == [None]
        with pytest.raises(DataError, match="a table of the process that applied it"):
            again.materialize_incremental(day(9))
        again.close()


def test_a_service_joins_views_of_several_keys_and_what_is_computed_of_them(tmp_path: Path) -> None:
    users = pa.table({"user_id": [1, 2], "at": [day(0), day(0)], "spent": [6.0, 9.0], "mean": [1.0, 2.0]})
    shops = pa.table({"shop": ["a"], "user_id": [1], "at": [day(0)], "mean": [5.0]})
    ratio = OnDemandView("ratios", ["users:spent"], "spent / price AS ratio", ["ratio"])
    with og.FeatureStore(tmp_path / "store") as store:
        store.apply(
            [
                og.FeatureView("users", [USER], Source(users, "at")),
                og.FeatureView("pairs", [Entity("shop"), USER], Source(shops, "at")),
                ratio,
                FeatureService("model", ["pairs:mean", "ratios", "users:mean"]),
            ]
        )
        store.materialize_incremental(day(1))
        store = og.FeatureStore(tmp_path / "store")
        asked = pa.table({"user_id": [1, 2], "shop": ["a", "a"], "price": [2.0, 3.0]})
        with pytest.raises(ParameterError, match="full_feature_names=True"):
            store.get_online_features("model", asked)
        served = store.get_online_features("model", asked, full_feature_names=True)
        wanted = {"pairs__mean": [5.0, None], "ratios__ratio": [3.0, 3.0], "users__mean": [1.0, 2.0]}
        assert served.select(list(wanted)).to_pydict() == wanted
        assert served.column_names == ["user_id", "shop", "price", *wanted]
        fresh = og.FeatureStore(tmp_path / "other")
        fresh.apply([og.FeatureView("users", [USER], Source(users, "at")), ratio])
        at = asked.append_column("event_timestamp", pa.array([day(1)] * 2))
        rows = fresh.get_historical_features(at, "ratios", full_feature_names=True).to_arrow()
        assert rows["ratios__ratio"].to_pylist() == [3.0, 3.0]
        assert rows.column_names == [*at.column_names, "ratios__ratio"]
        store.close()


def test_what_cannot_be_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    rows = pa.table({"user_id": [1], "at": [day(0)], "x": [1]})
    store = og.FeatureStore(tmp_path / "store")
    store.apply(og.FeatureView("users", [USER], Source(rows, "at")))
    with pytest.raises(SchemaError, match="has no columns"):
        store.apply(og.FeatureView("users", [Entity("shop")], Source(rows, "at")))
    nested = rows.append_column("s", [[{"a": 1}]])
    with pytest.raises(SchemaError, match="An online store holds"):
        store.apply(og.FeatureView("users", [USER], Source(nested, "at")))
    with pytest.raises(ParameterError, match="no view or service 'nope'"):
        store.apply(FeatureService("model", ["nope:x"]))
    with pytest.raises(ParameterError, match="has no feature 'y'"):
        store.get_online_features("users:y", [{"user_id": 1}])
    with pytest.raises(KeyError, match="keys of the features"):
        store.get_online_features("users:x", [{"user": 1}])
    with pytest.raises(DataError, match="'user_id' is of type int64"):
        store.get_online_features("users:x", [{"user_id": "1"}])
    assert list(store.definitions.views) == ["users"]
    assert not store.definitions.services
    store.close()
    (tmp_path / "store" / "registry.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        og.FeatureStore(tmp_path / "store")
    with pytest.raises(ParameterError, match="redis://host"):
        _ = og.FeatureStore(tmp_path / "other", online="mysql://x").online
    (tmp_path / "text.db").write_text("this is no database, but a text of more than a hundred bytes" * 9)
    with pytest.raises(DataError, match="not a database"):
        _ = og.FeatureStore(tmp_path / "other", online=str(tmp_path / "text.db")).online


def test_stores_at_one_redis_have_rows_of_their_own(redis_server: str, tmp_path: Path) -> None:
    def store(name: str, x: int) -> og.FeatureStore:
        made = og.FeatureStore(tmp_path / name, online=redis_server)
        made.apply(
            og.FeatureView("users", USER, Source(pa.table({"user_id": [1], "at": [BASE], "x": [x]}), "at"))
        )
        made.materialize_incremental(day(x))
        return made

    def served(of: og.FeatureStore) -> list[Any]:
        found: list[Any] = of.get_online_features("users", [{"user_id": 1}])["x"].to_pylist()
        return found

    first, second = store("first", 5), store("second", 2)
    assert [served(first), served(second)] == [[5], [2]]
    shutil.copytree(tmp_path / "first", tmp_path / "copy")  # a server's copy of the definitions sees the rows
    registry = tmp_path / "first" / "registry.json"
    nameless = {key: value for key, value in json.loads(registry.read_text()).items() if key != "name"}
    registry.write_text(json.dumps(nameless))  # as those of before stores had names
    before = og.FeatureStore(tmp_path / "first")
    assert [served(og.FeatureStore(tmp_path / "copy")), served(before)] == [[5], [None]]
    before.push("users", [{"user_id": 1, "at": BASE, "x": 7}])
    assert [served(first), served(before)] == [[5], [7]]
    for opened in (first, second, before):
        opened.close()


def test_keys_of_several_columns_never_meet() -> None:
    codec = KeyCodec({"a": pa.string(), "b": pa.string()})
    pairs: list[Any] = [("a", "bc"), ("ab", "c"), ("", "abc"), (None, "c")]
    keys = codec.encode({"a": pa.array([a for a, _ in pairs]), "b": pa.array([b for _, b in pairs])})
    assert len(set(keys)) == 4
    assert keys[3] is None
    whole = KeyCodec({"k": pa.int32()}).encode({"k": pa.array([1.0, None, 2.5, float("nan")])})
    assert whole == [(1).to_bytes(8, "big"), None, None, None]
