"""A server that looks features up: requests bring keys."""

from __future__ import annotations

import datetime
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import outgrow as og
import web
from outgrow.data.kind import NUMBER
from outgrow.errors import InputNotFoundError, ParameterError, SchemaError
from outgrow.features import Entity, FeatureService, OnDemandView, Source
from outgrow.features.serving import feature_settings, source
from outgrow.serve.http.deployment import Model
from outgrow.serve.http.state import Settings
from outgrow.testing.clusters import free_port

NOW = datetime.datetime.now(datetime.UTC)
RNG = np.random.default_rng(4)


def ago(hours: float) -> datetime.datetime:
    return NOW - datetime.timedelta(hours=hours)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[og.FeatureStore]:
    rows = pa.table(
        {
            "user": ["ann", "bob", "old"],
            "shop": [1, 1, 1],
            "at": [ago(1), ago(2), ago(40)],
            "spent": [4.0, 9.0, 100.0],
            "city": ["Bonn", "Rom", "Rom"],
        }
    )
    with og.FeatureStore(tmp_path_factory.mktemp("features") / "store") as made:
        view = og.FeatureView("users", [Entity("user"), Entity("shop")], Source(rows, "at"), ttl="1d")
        ratio = OnDemandView("ratios", ["users:spent"], "spent / price AS ratio", ["ratio"])
        made.apply([view, ratio, FeatureService("late", ["users", "ratios"])])
        made.materialize_incremental(NOW)
        yield made


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    n = 400
    spent = RNG.normal(5, 3, n)
    spent[::9] = np.nan
    price = RNG.uniform(1, 3, n)
    city = pa.array(RNG.choice(["Bonn", "Rom"], n), mask=np.isnan(spent))
    columns = {"spent": spent, "city": city, "ratio": spent / price, "price": price}
    table = pa.table({**columns, "y": np.where(np.isnan(spent), -7.0, spent + 10 * price)})
    trees = og.HistGradientBoostingRegressor(max_iter=30)
    path = tmp_path_factory.mktemp("model") / "late"
    og.Pipeline([og.OneHotEncoder(columns=["city"]), trees]).fit(table, "y").save(path)
    return path


@pytest.fixture(scope="module")
def address(store: og.FeatureStore, model: Path) -> Iterator[str]:
    port = free_port()
    words = ["serve", str(model), "--features", f"{store.path}:late", "--port", str(port)]
    process = subprocess.Popen([sys.executable, "-m", "outgrow", *words], stdout=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        web.until_ready(process, f"{url}/health")
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def expected(model: Path, spent: float | None, city: str | None, price: float) -> float:
    given = pa.table(
        {
            "spent": pa.array([spent], pa.float64()),
            "city": pa.array([city], pa.string()),
            "ratio": pa.array([None if spent is None else spent / price], pa.float64()),
            "price": [price],
        }
    )
    (row,) = og.load(model).predict(given).to_pylist()
    return float(row["prediction"])


def test_requests_bring_keys_in_every_dialect(address: str, model: Path) -> None:
    rows = [{"user": "ann", "shop": 1, "price": 2.0}, {"user": "bob", "shop": 1, "price": 3.0}]
    wanted = [expected(model, 4.0, "Bonn", 2.0), expected(model, 9.0, "Rom", 3.0)]
    name = model.name
    found = web.post(f"{address}/models/{name}/predict", json={"rows": rows}).json()
    assert found["predictions"] == wanted
    mlflow = web.post(f"{address}/invocations", json={"dataframe_records": rows}).json()
    assert mlflow["predictions"] == wanted
    csv = "user,shop,price\nann,1,2.0\nbob,1,3.0\n"
    answer = web.post(f"{address}/invocations", content=csv, headers={"content-type": "text/csv"})
    assert answer.json()["predictions"] == wanted
    inputs = [
        {"name": "user", "datatype": "BYTES", "shape": [2], "data": ["ann", "bob"]},
        {"name": "shop", "datatype": "FP64", "shape": [2], "data": [1, 1]},
        {"name": "price", "datatype": "FP64", "shape": [2], "data": [2.0, 3.0]},
    ]
    answer = web.post(f"{address}/v2/models/{name}/infer", json={"inputs": inputs})
    assert answer.json()["outputs"][0]["data"] == wanted
    assert set(web.get(f"{address}/openapi.json").text.split('"')) >= {"user", "shop", "price"}


def test_what_is_stale_or_unknown_is_missing_and_what_is_pushed_is_there(
    address: str, model: Path, store: og.FeatureStore
) -> None:
    def ask(*users: Any) -> list[float]:
        rows = [{"user": user, "shop": 1, "price": 2.0} for user in users]
        answer = web.post(f"{address}/models/{model.name}/predict", json={"rows": rows})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["predictions"])

    nothing = expected(model, None, None, 2.0)
    assert ask("old", "nobody", None) == [nothing] * 3
    store.push("users", [{"user": "new", "shop": 1, "at": ago(0), "spent": 6.0, "city": "Rom"}])
    assert ask("new") == [expected(model, 6.0, "Rom", 2.0)]


def test_rows_without_keys_are_refused_and_the_age_is_a_metric(address: str, model: Path) -> None:
    answer = web.post(f"{address}/models/{model.name}/predict", json={"rows": [{"price": 1.0}]})
    assert answer.status_code == 422
    assert "user" in answer.text
    page = web.get(f"{address}/metrics").text
    (line,) = [line for line in page.splitlines() if line.startswith("outgrow_feature_age_seconds{")]
    assert 'view="users"' in line
    assert 0 < float(line.rpartition(" ")[2]) < 3600


def test_what_cannot_be_served_is_refused(store: og.FeatureStore, model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="no feature store"):
        feature_settings(str(tmp_path))
    with pytest.raises(ParameterError, match="no service 'x'"):
        source(str(store.path), "x")
    with pytest.raises(SchemaError, match="No column of the model is a feature"):
        source(str(store.path))({"age": NUMBER})
    more = Settings(models={"late": Model(str(model))}, **feature_settings(str(store.path)))
    assert list(more.features) == ["outgrow.features.serving:source"]
    with pytest.raises(ParameterError, match="cached_rows=0"):
        Settings(models={"late": Model(str(model))}, cached_rows=9, **feature_settings(str(store.path)))
