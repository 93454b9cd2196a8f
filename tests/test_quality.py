"""Labels that come later: joined to the predictions of a stream, counted by model version."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, roc_auc_score

import outgrow as og
from outgrow.errors import ColumnNotFoundError, InputNotFoundError, ParameterError
from test_score import people
from test_serve import fitted

NOON = datetime.datetime(2026, 1, 5, 12, tzinfo=datetime.UTC)
SCHEMA = (
    "id bigint, asked timestamp, prediction string, probability_no double, probability_yes double, "
    "model_version string"
)


def hours(values: np.ndarray) -> pa.Array:
    return pa.array(
        [NOON + datetime.timedelta(hours=float(value)) for value in values], pa.timestamp("us", "UTC")
    )


@pytest.fixture
def store(tmp_path: Path) -> og.ModelStore:
    found = og.ModelStore(tmp_path / "store")
    found.promote(found.add(fitted()))
    found.add(fitted(seed=8))
    return found


def put(folder: Path, table: pa.Table) -> None:
    folder.mkdir(exist_ok=True)
    draft = folder / ".draft"
    pq.write_table(table, draft)
    draft.rename(folder / f"{len(list(folder.iterdir())):03d}.parquet")


def rows_of(count: int, seed: int) -> pa.Table:
    table = people(count, seed=seed)
    table = table.set_column(0, "id", pa.array(np.arange(count) + 1000 * seed))
    return table.append_column("asked", hours(np.zeros(count)))


def labels_of(table: pa.Table, after: float) -> pa.Table:
    return pa.table({"id": table["id"], "seen": hours(np.full(len(table), after)), "truth": table["late"]})


def run_once(spark: Any, store: og.ModelStore, tmp_path: Path) -> None:
    """All three streams go through what is there."""
    session = spark.readStream
    flights = session.schema("id bigint, age double, place string, late string, asked timestamp").parquet(
        str(tmp_path / "in")
    )
    now = {"availableNow": True}
    keep = ["id", "asked"]
    og.score_stream(
        store,
        flights,
        tmp_path / "scores",
        checkpoint=tmp_path / "c1",
        keep=keep,
        probabilities=True,
        trigger=now,
    ).awaitTermination()
    predictions = session.schema(SCHEMA).parquet(str(tmp_path / "scores"))
    labels = session.schema("id bigint, seen timestamp, truth string").parquet(str(tmp_path / "labels"))
    og.live_quality(
        store,
        predictions,
        labels,
        tmp_path / "quality",
        on="id",
        label="truth",
        times=("asked", "seen"),
        within="12 hours",
        checkpoint=tmp_path / "c2",
        trigger=now,
    ).awaitTermination()


def test_quality_of_each_version_when_labels_come(spark: Any, tmp_path: Path, store: og.ModelStore) -> None:
    first, second = rows_of(200, 1), rows_of(100, 2)
    put(tmp_path / "in", first)
    (tmp_path / "labels").mkdir()
    run_once(spark, store, tmp_path)
    with pytest.raises(InputNotFoundError, match="No label has met"):
        og.read_quality(tmp_path / "quality")
    put(tmp_path / "labels", labels_of(first.slice(0, 150), after=2))
    late = labels_of(first.slice(150), after=13)  # more than twelve hours after the prediction
    strange = labels_of(second.slice(0, 3), after=1).set_column(2, "truth", pa.array(["maybe", None, "no"]))
    put(tmp_path / "labels", pa.concat_tables([late, strange]))
    store.promote(2)
    put(tmp_path / "in", second)
    run_once(spark, store, tmp_path)
    put(tmp_path / "labels", labels_of(second.slice(3), after=5))
    run_once(spark, store, tmp_path)
    found = og.read_quality(tmp_path / "quality").to_pylist()
    assert [(line["model_version"], line["rows"], line["not_counted"]) for line in found] == [
        ("1", 150, 0),
        ("2", 98, 2),
    ]
    truth = first["late"].to_numpy()[:150]
    chances = store.load(1).predict_proba(first.select(["age", "place"]).to_pandas())[:150]
    expected = {
        "accuracy": accuracy_score(truth, np.array(["no", "yes"])[chances.argmax(axis=1)]),
        "log_loss": log_loss(truth, chances),
        "roc_auc": roc_auc_score(truth == "yes", chances[:, 1]),
    }
    assert {name: found[0][name] for name in expected} == pytest.approx(expected, rel=1e-12)


def test_quality_of_a_regression(spark: Any, tmp_path: Path) -> None:
    table = rows_of(60, 1)
    model = og.LinearRegression().fit(table.select(["id", "age"]), "age")
    model.save(tmp_path / "model")
    put(tmp_path / "in", table.select(["id", "asked"]))
    put(tmp_path / "labels", pa.table({"id": table["id"], "seen": hours(np.ones(60)), "truth": table["age"]}))
    stream, now = spark.readStream, {"availableNow": True}
    rows = stream.schema("id bigint, asked timestamp").parquet(str(tmp_path / "in"))
    og.score_stream(
        tmp_path / "model", rows, tmp_path / "scores", checkpoint=tmp_path / "c1", trigger=now
    ).awaitTermination()
    scores = stream.schema("id bigint, asked timestamp, prediction double, model_version string")
    og.live_quality(
        tmp_path / "model",
        scores.parquet(str(tmp_path / "scores")),
        stream.schema("id bigint, seen timestamp, truth double").parquet(str(tmp_path / "labels")),
        tmp_path / "quality",
        on=["id"],
        label="truth",
        times=("asked", "seen"),
        within="2 hours",
        checkpoint=tmp_path / "c2",
        trigger=now,
    ).awaitTermination()
    (line,) = og.read_quality(tmp_path / "quality").to_pylist()
    expected = mean_squared_error(table["age"], model.predict(table.select(["id"]).to_pandas()))
    assert (line["rows"], line["mse"]) == (60, pytest.approx(expected, rel=1e-12))


def test_misuse(spark: Any, tmp_path: Path, store: og.ModelStore) -> None:
    (tmp_path / "in").mkdir()
    stream = spark.readStream.schema(SCHEMA).parquet(str(tmp_path / "in"))
    settings: dict[str, Any] = {
        "on": "id",
        "label": "truth",
        "times": ("asked", "seen"),
        "within": "1 hour",
        "checkpoint": tmp_path / "c",
    }
    with pytest.raises(ParameterError, match="labels is no stream"):
        og.live_quality(store, stream, spark.range(3), tmp_path / "out", **settings)
    with pytest.raises(ColumnNotFoundError, match="labels has no column 'seen'"):
        og.live_quality(store, stream, stream, tmp_path / "out", **settings)
