"""One artifact, every way: ten thousand real flights get the same answers here, on Spark and over HTTP."""

from __future__ import annotations

import datetime
import fcntl
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
import web
from outgrow.job.engines import open_engine
from outgrow.job.load import load_job
from outgrow.job.run import run_job
from test_serve import ARROW, server

JOB = Path(__file__).parent.parent / "examples" / "flights"
ROWS = 10_000


class Flights:
    """A fitted job, the first rows it was not fitted on, and what the model says of them in memory."""

    def __init__(self, job: str, folder: Path) -> None:
        made = output_of(job, folder)
        self.model_path = made / "model"
        self.model = og.load(self.model_path)
        self.rows = og.read(str(made / "scores")).select(list(self.model.columns_)).head(ROWS)
        self.path = folder / "rows.parquet"
        pq.write_table(self.rows, self.path, row_group_size=1700)
        self.chances = self.model.predict_proba(self.rows).select(["probability_False", "probability_True"])
        self.expected = np.column_stack([column.to_numpy() for column in self.chances.columns])

    def as_json(self) -> list[dict[str, Any]]:
        return [
            {
                name: value.isoformat() if isinstance(value, datetime.date) else _null(value)
                for name, value in row.items()
            }
            for row in self.rows.to_pylist()
        ]


def output_of(job: str, folder: Path) -> Path:
    """What a job wrote; runs of the tests beside each other share it, in the folder that test.sh names."""
    shared = Path(os.environ.get("OUTGROW_TEST_SHARED", folder)) / Path(job).stem
    shared.mkdir(parents=True, exist_ok=True)
    with open(shared / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "ran").exists():
            settings = [f"output={shared / 'out'}", "sample=0.2"]
            settings += ["model.n_estimators=20"] if job == "job.yaml" else []
            run_job(load_job(JOB / job, settings), open_engine("local"))
            (shared / "ran").touch()
    return shared / "out"


def _null(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


@pytest.fixture(scope="module", params=["job.yaml", "job_linear.yaml"])
def flights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Flights:
    return Flights(request.param, tmp_path_factory.mktemp("flights"))


@pytest.fixture(scope="module")
def address(flights: Flights) -> Iterator[str]:
    with server("--model", f"late={flights.model_path}") as found:
        yield found


def same(flights: Flights, found: Any) -> None:
    assert np.shape(found) == (len(flights.rows), 2)
    assert len(found) > ROWS * 0.9
    np.testing.assert_allclose(found, flights.expected, rtol=1e-12, atol=1e-15)
    assert np.array_equal(np.argmax(found, axis=1), np.argmax(flights.expected, axis=1))


def chances_in(folder: Path) -> np.ndarray:
    table = og.read(str(folder)).to_arrow()
    return np.column_stack([table[name].to_numpy() for name in ("probability_False", "probability_True")])


def test_batch_here(flights: Flights, tmp_path: Path) -> None:
    og.score(og.load(flights.model_path), og.read(str(flights.path)), tmp_path / "out", probabilities=True)
    same(flights, chances_in(tmp_path / "out"))


def test_batch_on_spark(flights: Flights, spark: Any, tmp_path: Path) -> None:
    rows = og.read(str(flights.path), engine=og.Spark(spark))
    og.score(og.load(flights.model_path), rows, tmp_path / "out", probabilities=True)
    same(flights, chances_in(tmp_path / "out"))


def test_stream_here(flights: Flights, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pq.write_table(flights.rows, tmp_path / "in" / "rows.parquet", row_group_size=1700)
    og.score_stream(flights.model_path, tmp_path / "in", tmp_path / "out", probabilities=True).run_available()
    same(flights, chances_in(tmp_path / "out"))


def test_stream_on_spark(flights: Flights, spark: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    numbered = flights.rows.append_column("place", pa.array(range(len(flights.rows))))
    pq.write_table(numbered, tmp_path / "in" / "rows.parquet", row_group_size=1700)
    schema = spark.read.parquet(str(tmp_path / "in")).schema
    rows = spark.readStream.schema(schema).parquet(str(tmp_path / "in"))
    og.score_stream(
        flights.model_path,
        rows,
        tmp_path / "out",
        checkpoint=tmp_path / "notes",
        probabilities=True,
        trigger={"availableNow": True},
    ).awaitTermination()
    found = og.read(str(tmp_path / "out")).to_arrow().sort_by("place")
    same(flights, np.column_stack([found["probability_False"], found["probability_True"]]))


def test_function_of_spark_columns(flights: Flights, spark: Any) -> None:
    rows = spark.read.parquet(str(flights.path))
    chances = og.load(flights.model_path).udf("predict_proba")
    same(flights, np.array(rows.select(chances().alias("p")).toArrow()["p"].to_pylist()))


def test_plain(flights: Flights, address: str) -> None:
    rows = flights.as_json()
    found = []
    for start in range(0, len(rows), 2500):
        body = {"rows": rows[start : start + 2500], "probabilities": True}
        found += web.post(f"{address}/predict", json=body, timeout=60).json()["probabilities"]
    same(flights, found)


def test_arrow(flights: Flights, address: str) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, flights.rows.schema) as stream:
        stream.write_table(flights.rows)
    answer = web.post(
        f"{address}/predict",
        content=sink.getvalue().to_pybytes(),
        timeout=60,
        headers={"content-type": ARROW, "x-probabilities": "1"},
    )
    found = pa.ipc.open_stream(answer.content).read_all()
    same(flights, np.column_stack([found["probability_False"], found["probability_True"]]))


def test_mlflow(flights: Flights, address: str) -> None:
    rows = flights.as_json()
    body = {
        "dataframe_split": {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]},
        "params": {"method": "predict_proba"},
    }
    same(flights, web.post(f"{address}/invocations", json=body, timeout=60).json()["predictions"])


def test_open_inference(flights: Flights, address: str) -> None:
    described = web.get(f"{address}/v2/models/late").json()["inputs"]
    rows = flights.as_json()
    inputs = [
        {**tensor, "shape": [len(rows)], "data": [row[tensor["name"]] for row in rows]}
        for tensor in described
    ]
    answer = web.post(f"{address}/v2/models/late/infer", json={"inputs": inputs}, timeout=60).json()
    outputs = {tensor["name"]: tensor for tensor in answer["outputs"]}
    same(flights, np.reshape(outputs["probabilities"]["data"], outputs["probabilities"]["shape"]))
