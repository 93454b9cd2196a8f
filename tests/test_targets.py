"""Several targets at once, from every kind of y, on every engine, through every door."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pytest
import sklearn.linear_model as peers
from sklearn.base import clone
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score, root_mean_squared_error

import outgrow as og
from outgrow.errors import DataError, OutgrowError, ParameterError, SchemaError
from outgrow.ml.selection.many import fit_many
from outgrow.serve.http.app import application
from outgrow.serve.http.deployment import Model
from outgrow.serve.http.state import Settings
from outgrow.testing import EngineCase

random = np.random.default_rng(5)
X = random.normal(size=(120, 4))
Y = X @ random.normal(size=(4, 3)) + random.normal(size=(120, 3)) + [0.0, 10.0, -3.0]
WEIGHT = random.uniform(0, 2, 120)
NAMES = ["a", "b", "c"]
FEATURES = [f"x{j}" for j in range(4)]
TABLE = pa.table(
    {
        **{name: X[:, j] for j, name in enumerate(FEATURES)},
        **{name: Y[:, j] for j, name in enumerate(NAMES)},
        "w": WEIGHT,
    }
)
ROWS = TABLE.select(FEATURES)
PAIRS = [
    (og.LinearRegression(), peers.LinearRegression()),
    (og.LinearRegression(fit_intercept=False), peers.LinearRegression(fit_intercept=False)),
    (og.LinearRegression(positive=True), peers.LinearRegression(positive=True)),
    (og.Ridge(3.0), peers.Ridge(3.0)),
    (og.Ridge(np.array([0.1, 1.0, 100.0])), peers.Ridge(np.array([0.1, 1.0, 100.0]))),
    (og.ElasticNet(0.1), peers.ElasticNet(0.1, tol=1e-12)),
]


def learnt(model: Any, y: Any = Y, X: Any = X, **more: Any) -> np.ndarray:
    fitted = clone(model).fit(X, y, **more)
    return np.column_stack([fitted.coef_, fitted.intercept_ * np.ones(len(fitted.coef_))])


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize(("model", "peer"), PAIRS)
def test_coefficients_and_scores_are_those_of_scikit_learn(
    model: Any, peer: Any, weight: np.ndarray | None
) -> None:
    model, peer = model.fit(X, Y, sample_weight=weight), peer.fit(X, Y, sample_weight=weight)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-8)
    np.testing.assert_allclose(model.intercept_, peer.intercept_, atol=1e-8)
    np.testing.assert_allclose(model.predict(X), peer.predict(X), atol=1e-8)
    predicted, scores = model.predict(X), model.evaluate(X, Y, sample_weight=weight)
    for name, metric in (
        ("r2", r2_score),
        ("mse", mean_squared_error),
        ("rmse", root_mean_squared_error),
        ("mae", mean_absolute_error),
    ):
        assert scores[name] == pytest.approx(metric(Y, predicted, sample_weight=weight))
        each = metric(Y, predicted, sample_weight=weight, multioutput="raw_values")
        assert [scores[f"{name}_{j}"] for j in range(3)] == pytest.approx(each.tolist())
    assert model.score(X, Y, sample_weight=weight) == scores["r2"]


@pytest.mark.parametrize(
    ("rows", "y"),
    [
        pytest.param(X, Y, id="arrays"),
        pytest.param(X.tolist(), Y.tolist(), id="lists"),
        pytest.param(X, pd.DataFrame(Y, columns=NAMES), id="array-frame"),
        pytest.param(ROWS.to_pandas(), pd.DataFrame(Y, columns=NAMES), id="frames"),
        pytest.param(ROWS, Y, id="table-array"),
        pytest.param(TABLE.drop_columns("w"), NAMES, id="names"),
        pytest.param(TABLE.drop_columns("w").to_pandas(), tuple(NAMES), id="frame-names"),
        pytest.param(
            ROWS.append_column("y", pa.FixedSizeListArray.from_arrays(pa.array(Y.ravel()), 3)),
            "y",
            id="vectors",
        ),
        pytest.param(
            ROWS.append_column("y", pa.FixedSizeListArray.from_arrays(pa.array(Y.ravel(), pa.float32()), 3)),
            "y",
            id="short-vectors",
        ),
    ],
)
def test_every_kind_of_y_gives_one_model(rows: Any, y: Any) -> None:
    np.testing.assert_allclose(learnt(og.Ridge(), y, rows), learnt(og.Ridge()), atol=1e-6)


@pytest.mark.parametrize("model", [og.Ridge(), og.LinearRegression(), og.ElasticNet(0.1)])
def test_every_engine_learns_and_answers_the_same(engine: EngineCase, model: Any) -> None:
    rows = engine.open(TABLE)
    pipeline = og.Pipeline([og.StandardScaler(), clone(model)])
    whole = og.Pipeline([og.StandardScaler(), clone(model)]).fit(TABLE, NAMES, sample_weight="w")
    pipeline.fit(rows, NAMES, sample_weight="w")
    assert list(pipeline.columns_) == FEATURES
    np.testing.assert_allclose(pipeline.model.coef_, whole.model.coef_, rtol=1e-9)
    answered = og.dataset(pipeline.predict(rows)).to_arrow().sort_by("x0")
    expected = whole.predict(TABLE).sort_by("x0")
    for name in NAMES:
        np.testing.assert_allclose(answered[f"prediction_{name}"], expected[f"prediction_{name}"], rtol=1e-9)
    scores = pipeline.evaluate(rows, NAMES, sample_weight="w")
    assert dict(scores) == pytest.approx(dict(whole.evaluate(TABLE, NAMES, sample_weight="w")))


@pytest.mark.parametrize("many", [False, True])
def test_columns_that_depend_on_others_cost_each_target_its_own_passes(many: bool) -> None:
    copies = np.column_stack([X, X[:, 0] * 2, X[:, 1] + 1e-7 * random.normal(size=120)])
    Z = np.column_stack([Y, Y]) if many else Y
    fitted = og.LinearRegression().fit(copies, Z)
    for j in range(Z.shape[1]):
        alone = og.LinearRegression().fit(copies, Z[:, j])
        np.testing.assert_allclose(fitted.predict(copies)[:, j], alone.predict(copies), rtol=1e-6, atol=1e-6)


def test_more_columns_than_fit_into_products() -> None:
    wide = random.normal(size=(30, 4200))
    fitted = og.Ridge(10.0).fit(wide, Y[:30])
    np.testing.assert_allclose(fitted.coef_, peers.Ridge(10.0).fit(wide, Y[:30]).coef_, atol=1e-9)


def test_one_column_stays_a_column() -> None:
    fitted = og.Ridge().fit(X, Y[:, :1])
    assert fitted.coef_.shape == (1, 4)
    assert fitted.predict(X).shape == (120, 1)
    assert og.Ridge().fit(X, Y[:, 0]).predict(X).shape == (120,)
    assert fitted.fit(X, Y[:, 0]).target_names_ is None


@pytest.mark.parametrize("model", [og.Ridge(), og.Pipeline([og.StandardScaler(), og.LinearRegression()])])
def test_searches_and_folds_take_several_targets(model: Any) -> None:
    found = og.cross_validate(model, X, Y, cv=3)
    for fold in found.folds:
        assert fold["r2"] == pytest.approx(np.mean([fold[f"r2_{j}"] for j in range(3)]))
    settings = [{"alpha": 0.1}, {"alpha": 10.0}] if isinstance(model, og.Ridge) else [{}]
    for trial in fit_many(model, ROWS, Y, settings, refit=True).trials:
        alone = clone(model).set_params(**trial.setting).fit(ROWS, Y)
        frame = ROWS.to_pandas()
        np.testing.assert_allclose(trial.refitted.predict(frame), alone.predict(frame), rtol=1e-9)


def test_what_is_saved_exported_and_scored_answers_the_same(tmp_path: Path) -> None:
    model = og.Pipeline([og.StandardScaler(), og.Ridge()]).fit(TABLE.drop_columns("w"), NAMES)
    expected = model.predict(ROWS.to_pandas())
    model.save(tmp_path / "model")
    loaded = og.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(ROWS.to_pandas()), expected)
    np.testing.assert_allclose(model.to_sklearn().predict(ROWS.to_pandas()), expected, rtol=1e-12)
    model.to_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    given = {name: X[:, [j]] for j, name in enumerate(FEATURES)}
    np.testing.assert_allclose(session.run(["prediction"], given)[0], expected, atol=1e-12)
    og.score(loaded, ROWS, tmp_path / "scores")
    scored = og.read(tmp_path / "scores").to_arrow()
    np.testing.assert_array_equal(
        scored.select([f"prediction_{name}" for name in NAMES]).to_pandas(), expected
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("targets") / "model"
    og.Ridge().fit(TABLE.drop_columns("w"), NAMES).save(path)
    return path


async def _answers(path: Path, requests: list[tuple[str, dict[str, Any]]]) -> list[httpx.Response]:
    transport = httpx.ASGITransport(application(Settings({"three": Model(str(path))})))
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        return [await client.request("POST" if body else "GET", url, **body) for url, body in requests]


def test_the_server_answers_a_list_for_each_row(served: Path) -> None:
    rows = ROWS.slice(0, 5)
    expected = og.load(served).predict(rows.to_pandas())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    tensors = [
        {"name": name, "shape": [5], "datatype": "FP64", "data": rows[name].to_pylist()} for name in FEATURES
    ]
    arrow = {"content-type": "application/vnd.apache.arrow.stream"}
    requests = [
        ("/predict", {"json": {"rows": rows.to_pylist()}}),
        ("/invocations", {"json": {"dataframe_records": rows.to_pylist()}}),
        ("/predict", {"content": sink.getvalue().to_pybytes(), "headers": arrow}),
        ("/v2/models/three/infer", {"json": {"inputs": tensors}}),
        ("/v2/models/three", {}),
    ]
    plain, mlflow, columns, tensor, about = asyncio.run(_answers(served, requests))
    for answer in (plain, mlflow):
        np.testing.assert_allclose(answer.json()["predictions"], expected)
    found = pa.ipc.open_stream(columns.content).read_all()["prediction"].to_pylist()
    np.testing.assert_allclose(found, expected)
    (output,) = tensor.json()["outputs"]
    assert output["shape"] == [5, 3]
    np.testing.assert_allclose(np.reshape(output["data"], (5, 3)), expected)
    assert about.json()["outputs"] == [{"name": "prediction", "datatype": "FP64", "shape": [-1, 3]}]


@pytest.mark.parametrize(
    "model", [og.LogisticRegression(), og.GradientBoostingRegressor(), og.HistGradientBoostingClassifier()]
)
@pytest.mark.parametrize(
    ("rows", "y"),
    [
        (X, (Y > 0).astype(int)),
        (TABLE, NAMES),
        (og.dataset(TABLE), ["a", "b"]),
        (ROWS.append_column("y", pa.FixedSizeListArray.from_arrays(pa.array(Y.ravel()), 3)), "y"),
    ],
)
def test_who_learns_one_target_refuses_several(model: Any, rows: Any, y: Any) -> None:
    with pytest.raises(ValueError, match=r"y should be a 1d array, got an array of shape \(.*\) instead"):
        clone(model).fit(rows, y)


@pytest.mark.parametrize(
    ("y", "error", "said"),
    [
        (np.where(Y > 12, np.nan, Y), DataError, "NaN"),
        (np.where(Y > 12, np.inf, Y), DataError, "infinity"),
        (Y[:-1], ValueError, "inconsistent numbers of samples"),
        (Y.astype(str), SchemaError, "must be numbers"),
        (Y[:, :, None], ValueError, "dim 3"),
    ],
)
def test_targets_that_cannot_be_learnt(y: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        og.Ridge().fit(X, y)


@pytest.mark.parametrize(
    ("y", "error", "said"),
    [
        (["a", "a"], SchemaError, "several columns"),
        (["a", "nowhere"], OutgrowError, "nowhere"),
        (["a", "t"], SchemaError, "must be numbers"),
        (["x0", "x1", "x2", "x3", "t", "b", "a", "c", "w"], SchemaError, "no feature columns"),
    ],
)
def test_names_that_are_no_targets(y: list[str], error: type[Exception], said: str) -> None:
    rows = og.dataset(TABLE.append_column("t", pa.array(["text"] * 120)))
    with pytest.raises(error, match=said):
        og.Ridge().fit(rows, y)


def test_regressors_of_scikit_learn_in_a_pipeline_learn_several_targets(tmp_path: Path) -> None:
    model = og.Pipeline([og.StandardScaler(), peers.LinearRegression()]).fit(TABLE.drop_columns("w"), NAMES)
    expected = peers.LinearRegression().fit(X, Y).predict(X)
    np.testing.assert_allclose(model.predict(ROWS.to_pandas()), expected)
    np.testing.assert_allclose(model.predict(ROWS)["prediction_c"], expected[:, 2])
    assert model.evaluate(TABLE, NAMES)["r2"] == pytest.approx(r2_score(Y, expected))


def test_missing_targets_are_named() -> None:
    gap = TABLE.drop_columns(["b"]).append_column("b", pa.array([None, *Y[1:, 1]]))
    for rows, y in [(gap, NAMES), (X, gap.select(NAMES).to_pandas())]:
        with pytest.raises(DataError, match=r"The target\(s\) \['b'\] miss values"):
            og.Ridge().fit(rows, y)


def test_penalties_of_another_number_than_targets() -> None:
    with pytest.raises(ParameterError, match="Number of targets and number of penalties do not correspond"):
        og.Ridge([1.0, 2.0]).fit(X, Y)


def test_transformers_leave_targets_out() -> None:
    scaled = og.StandardScaler().fit(TABLE, [*NAMES, "w"])
    assert list(scaled.columns_) == FEATURES


def test_a_search_of_settings_takes_one_target() -> None:
    with pytest.raises(ParameterError, match="takes one target"):
        og.tune(og.Ridge(), X, Y, space={"alpha": [0.1, 10.0]}, trials=2)
