"""MLflow is told of runs: as they happen, later, on its databases, and when it is away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
import pytest
import yaml
from tests.postgresql import postgresql

import outgrow as og
from job_files import write_job, write_rows
from outgrow.cli import main
from outgrow.errors import LogError, LogWarning, ParameterError
from outgrow.track.autolog import Synced


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A tracking server of its own, and what MLflow is set to afterwards as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OUTGROW_CACHE", str(tmp_path / "cache"))
    before = mlflow.get_tracking_uri()
    yield
    og.track.autolog(disable=True)
    og.track.stop()
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables without a run; it takes seconds to make them."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def uri(tmp_path: Path, empty_database: Path) -> str:
    (tmp_path / "mlflow.db").write_bytes(empty_database.read_bytes())
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def rows() -> pa.Table:
    random = np.random.default_rng(0)
    x = random.normal(size=200)
    return pa.table({"x": x, "late": np.where(x + random.normal(size=200) > 0, "late", "on time")})


def runs_of(uri: str, experiment: str) -> dict[str, Any]:
    """The runs of an experiment by name."""
    client = mlflow.MlflowClient(uri)
    listed = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return {run.info.run_name: run for run in listed}


def test_a_fit_is_a_run_with_all_that_mlflow_shows(uri: str, rows: pa.Table) -> None:
    og.track.autolog(uri, experiment="late", sample=0.05, tags={"team": "sales"})
    model = og.LogisticRegression(C=0.5).fit(rows, "late")
    scores = model.evaluate(rows, "late")
    og.track.autolog(disable=True)
    run = runs_of(uri, "late")["LogisticRegression"]
    assert run.info.status == "FINISHED"
    assert run.data.params == {"C": "0.5"}
    assert run.data.metrics["log_loss"] == pytest.approx(scores["log_loss"])
    assert run.data.tags["team"] == "sales"
    assert run.data.tags["outgrow.id"] == model.fit_record_.run
    client = mlflow.MlflowClient(uri)
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert losses[-1].value < losses[0].value
    assert losses[-1].step > losses[0].step
    (seen,) = run.inputs.dataset_inputs
    assert seen.tags[0].value == "training"
    assert {column["name"] for column in json.loads(seen.dataset.schema)["mlflow_colspec"]} == {"x", "late"}
    (logged,) = run.outputs.model_outputs
    mlflow.set_tracking_uri(uri)
    (listed,) = mlflow.search_logged_models(experiment_ids=[run.info.experiment_id], output_format="list")
    assert (listed.model_id, listed.source_run_id, listed.status) == (
        logged.model_id,
        run.info.run_id,
        "READY",
    )
    assert listed.params == {"C": "0.5"}
    again = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
    assert again.metadata.signature.inputs.input_names() == ["x"]
    assert again.input_example is not None
    frame = rows.select(["x"]).to_pandas()
    assert list(again.predict(frame)) == list(model.predict(frame))


@pytest.mark.parametrize(("trials", "children"), [("best", 1), ("all", 3), ("table", 0)])
def test_trials_are_what_the_user_chooses(uri: str, rows: pa.Table, trials: str, children: int) -> None:
    og.track.autolog(uri, experiment="late", trials=trials, log_models=False)
    space = {"C": [0.1, 1.0, 10.0]}
    result = og.tune(og.LogisticRegression(), rows, "late", space=space, sampler="grid")
    og.track.autolog(disable=True)
    runs = runs_of(uri, "late")
    parent = runs.pop("LogisticRegression")
    assert len(runs) == children
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} <= {parent.info.run_id}
    assert parent.data.params["C"] == str(result.best_parameters["C"])
    if trials == "best":
        (best,) = runs.values()
        assert best.data.params["C"] == str(result.best_parameters["C"])
        assert best.data.metrics["log_loss"] == pytest.approx(result.best_value)
    table = mlflow.artifacts.load_dict(f"{parent.info.artifact_uri}/trials.json")
    assert len(table["data"]) == 3


def test_runs_inside_a_run_of_the_user_are_its_children(uri: str, rows: pa.Table) -> None:
    mlflow.set_tracking_uri(uri)
    og.track.autolog(log_models=False)
    with mlflow.start_run(run_name="mine") as mine:
        og.LogisticRegression().fit(rows, "late")
    og.track.autolog(disable=True)
    client = mlflow.MlflowClient(uri)
    (child,) = client.search_runs(["0"], f"tags.mlflow.parentRunId = '{mine.info.run_id}'")
    assert (child.info.run_name, child.info.status) == ("LogisticRegression", "FINISHED")


def test_a_server_that_is_away_ends_nothing(rows: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def work() -> None:
        og.track.autolog("http://127.0.0.1:9", experiment="late", log_models=False)
        og.LogisticRegression().fit(rows, "late")
        og.track.autolog(disable=True)

    with pytest.warns(LogWarning) as heard:
        work()
    assert "MLflow cannot be written to" in str(heard[0].message)
    assert "are lost" in str(heard[-1].message)
    with pytest.raises(ParameterError, match="choose one of"):
        og.track.autolog(trials="most")


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    yield from postgresql()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return str(request.getfixturevalue("uri"))
    return str(request.getfixturevalue("server").database()).replace("postgresql://", "postgresql+psycopg://")


def test_sync_repeats_safely(database: str, rows: pa.Table, capsys: pytest.CaptureFixture[str]) -> None:
    log = og.track.start("ops.db", sample=0)
    model = og.LogisticRegression().fit(rows, "late")
    og.tune(og.LogisticRegression(), rows, "late", space={"C": [0.1, 1.0]}, sampler="grid")
    with pytest.raises(og.errors.DataError):
        og.LogisticRegression(C=3.0).fit(np.zeros((3, 1)), np.zeros(3))
    og.track.stop()
    done = og.track.sync(database, log=log, trials="all")
    assert (done.written, done.there) == (3, 0)
    assert og.track.sync(database, log=log) == Synced(0, 3)
    first = runs_of(database, "outgrow")
    assert len(first) == 3  # three of one name, and two trials
    failed = og.runs("state = 'failed'", log=log)["run"][0].as_py()
    client = mlflow.MlflowClient(database)
    experiment = client.get_experiment_by_name("outgrow").experiment_id
    (run,) = client.search_runs([experiment], f"tags.`outgrow.id` = '{failed}'")
    assert run.info.status == "FAILED"
    assert "2 classes" in run.data.tags["outgrow.error"]
    og.track.start(log, sample=0)
    model.evaluate(rows, "late")
    og.track.stop()
    with pytest.raises(SystemExit):
        main(["sync", "--to", database, "--log", "ops.db"])
    assert "1 runs written, 2 were there." in capsys.readouterr().out
    (run,) = client.search_runs([experiment], f"tags.`outgrow.id` = '{model.fit_record_.run}'")
    assert run.data.metrics["accuracy"] > 0.5
    assert len(client.search_runs([experiment])) == 5


def test_sync_says_when_the_server_is_away(rows: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    log = og.track.start("ops.db", sample=0)
    og.LogisticRegression().fit(rows, "late")
    og.track.stop()
    with pytest.raises(LogError, match="0 runs were written; the same command goes on"):
        og.track.sync("http://127.0.0.1:9", log=log)


def test_a_job_is_a_project_that_mlflow_runs(tmp_path: Path, uri: str) -> None:
    write_rows(tmp_path)
    write_job(tmp_path)
    with pytest.raises(SystemExit):
        main(["export-mlproject", "job.yaml", "-o", "project"])
    project = yaml.safe_load(Path("project/MLproject").read_text())
    assert set(project["entry_points"]["main"]["parameters"]) == {"C", "sample", "engine", "output"}
    words = ["run", "project", "--env-manager", "local", "--experiment-name", "jobs", "-P", "C=0.25"]
    path = os.pathsep.join([str(Path(og.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": path, "PATH": programs}
    command = [sys.executable, "-m", "mlflow", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2_000:]
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("jobs").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["C"] == "0.25"
    assert run.data.metrics["log_loss"] > 0
    assert run.data.tags["outgrow.kind"] == "run"
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"job.yaml", "report.html"} <= files
    assert run.outputs.model_outputs
