"""Batch scoring: the same rows and predictions from every engine, whole, resumable, bad rows set apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.artifact import pack, unpack_shared
from outgrow.errors import EngineError, OutputExistsError, ParameterError, RowError, SchemaError
from outgrow.ml.predictor import RESTORED, Predictor
from outgrow.testing import EngineCase


def people(count: int = 400, seed: int = 3) -> pa.Table:
    random = np.random.default_rng(seed)
    age, place = random.integers(18, 90, count).astype(float), random.choice(["town", "sea", "hill"], count)
    late = np.where(age + 20 * (place == "sea") + random.normal(0, 8, count) > 55, "yes", "no")
    return pa.table({"id": np.arange(count), "age": age, "place": place, "late": late})


@pytest.fixture(scope="module")
def model() -> Any:
    steps = [
        og.StandardScaler(columns=["age"]),
        og.OneHotEncoder(columns=og.categorical()),
        og.LogisticRegression(),
    ]
    return og.Pipeline(steps).fit(people().drop_columns("id"), "late")


def sorted_rows(folder: Path) -> pa.Table:
    return og.read(str(folder)).to_arrow().sort_by("id")


def test_scores_are_those_of_predict(engine: EngineCase, model: Any, tmp_path: Path) -> None:
    table = people()
    done = og.score(model, engine.open(table), tmp_path / "out", keep=["id"], probabilities=True)
    assert (done.rows, done.refused) == (400, 0)
    found = sorted_rows(tmp_path / "out")
    assert found.column_names == ["id", "prediction", "probability_no", "probability_yes"]
    frame = table.to_pandas()[["age", "place"]]
    assert found["prediction"].to_pylist() == model.predict(frame).tolist()
    expected = model.predict_proba(frame)[:, 1]  # of all rows at once, where pieces may have fewer
    np.testing.assert_allclose(found["probability_yes"].to_numpy(), expected, rtol=1e-12)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_rows_that_cannot_be_scored_are_set_apart(engine: EngineCase, model: Any, tmp_path: Path) -> None:
    table = people()
    age = table["age"].to_numpy().copy()
    age[[7, 8, 250]] = np.nan
    table = table.set_column(1, "age", pa.array(age))
    done = og.score(model, engine.open(table), tmp_path / "out", errors=tmp_path / "bad", keep=["id"])
    assert (done.rows, done.refused) == (397, 3)
    bad = sorted_rows(tmp_path / "bad")
    assert bad["id"].to_pylist() == [7, 8, 250]
    assert bad.column_names == ["id", "age", "place", "late", "reason"]
    assert all("NaN" in reason for reason in bad["reason"].to_pylist())
    good = table.filter(pa.array(~np.isnan(age))).to_pandas()
    found = sorted_rows(tmp_path / "out")
    assert found["prediction"].to_pylist() == model.predict(good[["age", "place"]]).tolist()


def test_no_row_is_bad(model: Any, tmp_path: Path) -> None:
    og.score(model, people(), tmp_path / "out", errors=tmp_path / "bad")
    assert og.read(str(tmp_path / "bad")).columns == ["id", "age", "place", "late", "reason"]
    assert og.read(str(tmp_path / "bad")).count() == 0


def test_a_bad_row_is_named(model: Any, tmp_path: Path) -> None:
    table = people()
    age = table["age"].to_numpy().copy()
    age[[251, 390]] = np.nan
    path = tmp_path / "people.parquet"
    pq.write_table(table.set_column(1, "age", pa.array(age)), path, row_group_size=100)
    with pytest.raises(RowError, match=r"Row 251 of .*people.parquet cannot be scored: .*NaN.*'id': 251"):
        og.score(model, og.read(str(path), engine=og.Local(threads=1)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bad_row_is_named_on_spark(spark: Any, model: Any, tmp_path: Path) -> None:
    table = people()
    path = tmp_path / "people.parquet"
    pq.write_table(table.set_column(1, "age", pa.array([np.inf] + [1.0] * 399)), path)
    with pytest.raises(RowError, match=r"Row 0 of .*people.parquet cannot be scored"):
        og.score(model, og.read(str(path), engine=og.Spark(spark)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_partitions_become_folders(engine: EngineCase, model: Any, tmp_path: Path) -> None:
    og.score(model, engine.open(people()), tmp_path / "out", keep=["id", "place"], partition_by="place")
    assert {path.name for path in (tmp_path / "out").glob("[!.]*")} == {
        "place=town",
        "place=sea",
        "place=hill",
    }
    assert og.read(str(tmp_path / "out")).count() == 400


def test_misuse_is_refused_before_a_row_is_read(model: Any, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(OutputExistsError, match="exists already"):
        og.score(model, people(), tmp_path / "there")
    with pytest.raises(OutputExistsError, match="exists already"):
        og.score(model, people(), tmp_path / "out", errors=tmp_path / "there")
    with pytest.raises(SchemaError, match=r"- age: number  \(missing\)"):
        og.score(model, people().drop_columns("age"), tmp_path / "out")
    regression = og.LinearRegression().fit(people().select(["id", "age"]), "age")
    with pytest.raises(ParameterError, match="has no probabilities"):
        og.score(regression, people(), tmp_path / "out", probabilities=True)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


# ---- stopped and gone on -----------------------------------------------------------------------------------

SLOW = """
import sys, time
import outgrow as og
from test_score import crawl
path, saved, out = sys.argv[1:]
print(og.score(og.load(saved), og.read(path, engine=og.Local(threads=1)).map(crawl), out), flush=True)
"""


def crawl(batch: Any) -> Any:
    time.sleep(float(os.environ.get("CRAWL", "0")) if batch.num_rows else 0)
    return batch


def run_slow(path: Path, saved: Path, out: Path, seconds: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, str(path), str(saved), str(out)],
        text=True,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent,
        env={**os.environ, "CRAWL": seconds},
    )


def test_a_killed_run_goes_on(model: Any, tmp_path: Path) -> None:
    path, saved, out = tmp_path / "people.parquet", tmp_path / "model", tmp_path / "out"
    pq.write_table(people(2000), path, row_group_size=100)
    model.save(saved)
    first = run_slow(path, saved, out, "0.1")
    until = time.monotonic() + 30
    while len(list(tmp_path.glob(".out.new/_ledger/*.json"))) < 5 and time.monotonic() < until:
        time.sleep(0.02)
    assert not out.exists()
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=30)
    said = run_slow(path, saved, out, "0").communicate(timeout=60)[0]
    assert said.startswith("Scored(rows=2000, refused=0, resumed=")
    assert int(said.strip()[:-1].split("=")[-1]) >= 5
    assert sorted_rows(out)["id"].to_pylist() == list(range(2000))
    assert not list(tmp_path.glob(".out*"))


# ---- models that travel ------------------------------------------------------------------------------------


def sightings(batch: Any) -> Any:
    """How many models the process of these rows has restored, under its number."""
    return batch.with_columns(
        {"models": pa.array([f"{os.getpid()} {len(RESTORED)}"] * batch.num_rows, pa.string())}
    )


def test_a_worker_restores_a_model_once(spark: Any, model: Any) -> None:
    frame = spark.createDataFrame(people()).repartition(12)
    seen: dict[str, set[int]] = {}
    for _ in range(3):
        scored = og.dataset(model.predict(frame)).map(sightings).to_arrow()
        for process, models in map(str.split, scored["models"].unique().to_pylist()):
            seen.setdefault(process, set()).add(int(models))
    for restored in seen.values():  # none while the columns are looked at, then one for all tasks and runs
        assert max(restored) - min(restored) <= 1


def test_large_arrays_are_mapped_from_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    weights = np.arange(300_000.0).reshape(3, -1)
    message = pack({"weights": weights, "small": np.array([True, False])})
    first, second = (unpack_shared(message, "name") for _ in range(2))
    for tree in (first, second):
        assert np.array_equal(tree["weights"], weights)
        assert tree["small"].tolist() == [True, False]
        assert not tree["weights"].flags.owndata
        assert not tree["weights"].flags.writeable
    (folder,) = tmp_path.iterdir()
    assert [path.name for path in folder.iterdir()] == ["name"]
    assert Path("/proc/self/maps").read_text().count(str(folder / "name")) == 2


def test_a_predictor_tells_a_model_by_what_it_learned(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    assert Predictor(og.load(tmp_path / "model")).digest == Predictor(model).digest
    other = og.LogisticRegression().fit(people().select(["age", "late"]), "late")
    assert Predictor(other).digest != Predictor(model).digest


def test_a_function_of_spark_columns(spark: Any, model: Any) -> None:
    from pyspark.sql import functions

    table = people()
    frame = table.to_pandas()[["age", "place"]]
    rows = spark.createDataFrame(table).repartition(3)
    late, chances = model.udf(), model.udf("predict_proba")
    if not hasattr(functions, "arrow_udf"):
        with pytest.raises(EngineError, match=r"needs Spark 4.1 or later. Use predict\(frame\)"):
            late()
        return
    asked = rows.select("id", late().alias("late"), chances(functions.col("age"), "place").alias("p"))
    found = asked.toArrow().sort_by("id")
    assert found["late"].to_pylist() == model.predict(frame).tolist()
    np.testing.assert_allclose(np.array(found["p"].to_pylist()), model.predict_proba(frame), rtol=1e-12)
    assert rows.where(late() == "yes").count() == (model.predict(frame) == "yes").sum()
    spark.udf.register("late", late.function)
    rows.createOrReplaceTempView("people")
    by_sql = "SELECT count(*) FROM people WHERE late(struct(place, age)) = 'yes'"
    assert spark.sql(by_sql).head()[0] == (model.predict(frame) == "yes").sum()
    number = og.LinearRegression().fit(table.select(["id", "age"]), "id")
    doubled = rows.select("id", number.udf()((functions.col("age") * 2).cast("int")).alias("p"))
    expected = number.predict(2 * table.select(["age"]).to_pandas())
    np.testing.assert_allclose(doubled.toArrow().sort_by("id")["p"].to_numpy(), expected, rtol=1e-12)


def test_misuse_of_functions_of_columns(spark: Any, model: Any) -> None:
    from pyspark.sql import functions

    rows = spark.createDataFrame(people())
    with pytest.raises(ParameterError, match="3 columns were given, and 2 are needed"):
        model.udf()("id", "age", "place")
    with pytest.raises(ParameterError, match="no predict_proba"):
        og.LinearRegression().fit(people().select(["id", "age"]), "id").udf("predict_proba")
    known = hasattr(functions, "arrow_udf")
    with pytest.raises(Exception, match="age: expected number, found string" if known else "needs Spark 4.1"):
        rows.select(model.udf()("place", "age")).toArrow()
