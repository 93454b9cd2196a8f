"""Classifiers that learn several targets at once."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.metrics import accuracy_score

import outgrow as og
from outgrow.errors import DataError, ExportError, ParameterError, SchemaError
from outgrow.serve.http.app import application
from outgrow.serve.http.deployment import Model
from outgrow.serve.http.state import Settings
from outgrow.testing import EngineCase

RNG = np.random.default_rng(5)
X = RNG.normal(size=(240, 3))
COLOUR = np.where(X[:, 0] > 0, "red", np.where(X[:, 1] > 0, "green", "blue"))
SIZE = (X[:, 2] > 0.2).astype(int) * 10
Y = np.column_stack([X[:, 0] > 0, X[:, 1] > 0.5]).astype(int)
TABLE = pa.table({"x0": X[:, 0], "x1": X[:, 1], "x2": X[:, 2], "colour": COLOUR, "size": SIZE})
NAMES = ["colour", "size"]
MODELS = {
    "forest": og.RandomForestClassifier(8, max_depth=4, random_state=0),
    "dummy": og.DummyClassifier(),
    "pipeline": og.Pipeline([og.StandardScaler(), og.RandomForestClassifier(5, random_state=0)]),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_engine_learns_and_answers_the_same(engine: EngineCase, name: str, tmp_path: Path) -> None:
    model = clone(MODELS[name]).fit(engine.open(TABLE), NAMES)
    alone = clone(MODELS[name]).fit(TABLE, NAMES)
    found = og.dataset(model.predict(engine.open(TABLE))).to_arrow().sort_by("x0")
    expected = alone.predict(TABLE).sort_by("x0")
    assert found["prediction_colour"].to_pylist() == expected["prediction_colour"].to_pylist()
    assert found["prediction_size"].to_pylist() == expected["prediction_size"].to_pylist()
    scores, own = model.evaluate(engine.open(TABLE), NAMES), alone.evaluate(TABLE, NAMES)
    assert scores["accuracy"] == pytest.approx(own["accuracy"])
    assert scores["log_loss_colour"] == pytest.approx(own["log_loss_colour"])
    model.save(tmp_path / "model")
    loaded = og.load(tmp_path / "model")
    assert loaded.predict(TABLE).equals(alone.predict(TABLE))
    names = [f"probability_colour_{each}" for each in ("blue", "green", "red")]
    names += ["probability_size_0", "probability_size_10"]
    assert loaded.predict_proba(TABLE).column_names[-5:] == names


def test_targets_of_text_and_numbers_keep_their_types() -> None:
    model = og.RandomForestClassifier(8, random_state=0).fit(TABLE, NAMES)
    answered = model.predict(TABLE)
    assert answered.schema.field("prediction_colour").type == pa.string()
    assert answered.schema.field("prediction_size").type == pa.int64()
    assert [each.tolist() for each in model.classes_] == [["blue", "green", "red"], [0, 10]]
    assert (model.n_classes_, model.n_outputs_, model.target_names_) == ([3, 2], 2, NAMES)
    assert answered["prediction_colour"].to_pylist() == COLOUR.tolist()
    assert model[0].predict(X).shape == (240, 2)
    assert [each.shape for each in model[0].predict_proba(X)] == [(240, 3), (240, 2)]


@pytest.mark.parametrize("y", [Y, Y.astype(float), Y.astype(str), Y.astype(bool)])
def test_arrays_get_arrays_of_the_type_of_y(y: np.ndarray) -> None:
    model = og.RandomForestClassifier(8, random_state=0).fit(X, y)
    predicted = model.predict(X)
    assert predicted.dtype.kind == y.dtype.kind
    np.testing.assert_array_equal(predicted, y)
    chances = model.predict_proba(X)
    assert [each.shape for each in chances] == [(240, 2), (240, 2)]
    np.testing.assert_allclose(np.sum(chances, axis=2), 1)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)[1]), chances[1])
    assert model.score(X, y) == 1


def test_the_score_is_the_share_of_rows_with_all_targets_right() -> None:
    model = og.RandomForestClassifier(3, max_depth=1, random_state=0).fit(X, Y)
    weight = RNG.uniform(1, 2, size=240)
    expected = accuracy_score(Y, model.predict(X), sample_weight=weight)
    assert model.score(X, Y, weight) == pytest.approx(expected)
    scores = model.evaluate(X, Y)
    assert scores["accuracy_0"] == np.mean(model.predict(X)[:, 0] == Y[:, 0])


def test_each_target_is_as_if_it_were_learnt_alone() -> None:
    settings = {"n_estimators": 5, "bootstrap": False, "max_features": None, "random_state": 0}
    both = og.RandomForestClassifier(**settings).fit(X, Y).predict_proba(X)
    for k, chances in enumerate(both):
        alone = og.RandomForestClassifier(**settings).fit(X, Y[:, k]).predict_proba(X)
        np.testing.assert_allclose(chances, alone, atol=1e-6)


def test_class_weights_multiply() -> None:
    weights = [{0: 1.0, 1: 3.0}, {0: 2.0, 1: 1.0}]
    settings = {"n_estimators": 5, "max_depth": 2, "random_state": 0}
    found = og.RandomForestClassifier(class_weight=weights, **settings).fit(X, Y)
    rows = np.where(Y[:, 0] == 1, 3.0, 1.0) * np.where(Y[:, 1] == 0, 2.0, 1.0)
    weighted = og.RandomForestClassifier(**settings).fit(X, Y, rows)
    for own, other in zip(found.predict_proba(X), weighted.predict_proba(X), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-6)
    og.RandomForestClassifier(class_weight="balanced", **settings).fit(X, Y)
    with pytest.raises(ParameterError, match="should match number of outputs"):
        og.RandomForestClassifier(class_weight=weights[:1]).fit(X, Y)


def test_rows_that_trees_did_not_see() -> None:
    model = og.RandomForestClassifier(30, oob_score=True, random_state=0).fit(X, Y)
    assert model.oob_decision_function_.shape == (240, 2, 2)
    right = (model.oob_decision_function_.argmax(axis=1) == Y).all(axis=1)
    assert model.oob_score_ == pytest.approx(right.mean())
    with pytest.raises(ParameterError, match="cannot be used to compute OOB estimates"):
        og.RandomForestClassifier(oob_score=True).fit(TABLE, NAMES)


@pytest.mark.parametrize("strategy", ["prior", "most_frequent", "stratified", "uniform", "constant"])
def test_dummies(strategy: str) -> None:
    model = og.DummyClassifier(strategy=strategy, constant=[1, 0]).fit(X, Y)
    predicted, chances = model.predict(X), model.predict_proba(X)
    for k, classes in enumerate(model.classes_):
        np.testing.assert_array_equal(classes[chances[k].argmax(axis=1)], predicted[:, k])
        np.testing.assert_allclose(model.class_prior_[k], np.bincount(Y[:, k]) / 240)
    if strategy in ("stratified", "uniform"):
        shares = model.class_prior_ if strategy == "stratified" else [[0.5, 0.5]] * 2
        np.testing.assert_allclose(predicted.mean(axis=0), [share[1] for share in shares], atol=0.1)
        assert abs(np.corrcoef(predicted.T)[0, 1]) < 0.3
    if strategy == "constant":
        np.testing.assert_array_equal(predicted, [[1, 0]] * 240)


@pytest.mark.parametrize("constant", [1, [1], [1, 0, 1], [7, 0]])
def test_constants_that_no_target_has(constant: Any) -> None:
    with pytest.raises(ParameterError, match=r"[Cc]onstant target value"):
        og.DummyClassifier(strategy="constant", constant=constant).fit(X, Y)


@pytest.mark.parametrize(
    ("model", "y", "error", "words"),
    [
        (og.RandomForestClassifier(), np.column_stack([Y[:, 0], np.ones(240)]), DataError, "only one class"),
        (og.RandomForestClassifier(), np.column_stack([Y[:, 0], X[:, 0]]), DataError, "continuous"),
        (og.LogisticRegression(), Y, ValueError, "1d array"),
    ],
)
def test_targets_that_cannot_be_learnt(model: Any, y: np.ndarray, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        model.fit(X, y)


def test_columns_that_hold_no_classes_are_refused_by_name() -> None:
    table = TABLE.append_column("when", pa.array(np.arange(240), pa.timestamp("s")))
    with pytest.raises(SchemaError, match="'when'"):
        og.RandomForestClassifier().fit(table, ["colour", "when"])


def test_a_missing_class_is_refused_by_name() -> None:
    table = TABLE.set_column(3, "colour", pa.array([None, *COLOUR[1:]]))
    with pytest.raises(DataError, match="'colour' misses 1 value"):
        og.DummyClassifier().fit(table, NAMES)


@pytest.mark.parametrize("name", ["forest", "dummy"])
def test_what_is_not_exported_says_so(name: str, tmp_path: Path) -> None:
    model = clone(MODELS[name]).fit(TABLE, NAMES)
    for export in (model.to_sklearn, lambda: model.to_onnx(tmp_path / "model.onnx")):
        with pytest.raises(ExportError, match=re.compile("several targets|no equal")):
            export()


@pytest.mark.parametrize("y", [Y, NAMES])
def test_folds_take_several_targets(y: Any) -> None:
    model = og.RandomForestClassifier(3, max_depth=2, random_state=0)
    for cv in (3, og.KFold(3)):
        found = og.cross_validate(model, TABLE if y is NAMES else X, y, cv=cv)
        assert all(0 < fold["accuracy"] <= 1 for fold in found.folds)


def test_scores_in_batch_and_over_http(tmp_path: Path) -> None:
    model = og.RandomForestClassifier(4, random_state=0).fit(TABLE, NAMES)
    expected = model.predict(TABLE).select(["prediction_colour", "prediction_size"])
    model.save(tmp_path / "model")
    features = TABLE.drop_columns(NAMES)
    og.score(model, features, tmp_path / "scores", probabilities=True)
    scored = og.read(tmp_path / "scores").to_arrow()
    assert scored.select(expected.column_names).equals(expected)
    assert "probability_colour_red" in scored.column_names

    rows = features.slice(0, 4)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    tensors = [
        {"name": name, "shape": [4], "datatype": "FP64", "data": rows[name].to_pylist()}
        for name in rows.column_names
    ]
    arrow = {"content-type": "application/vnd.apache.arrow.stream"}
    requests: list[tuple[str, dict[str, Any]]] = [
        ("/predict", {"json": {"rows": rows.to_pylist()}}),
        ("/predict", {"content": sink.getvalue().to_pybytes(), "headers": arrow}),
        ("/v2/models/both/infer", {"json": {"inputs": tensors}}),
        ("/v2/models/both", {}),
        ("/predict", {"json": {"rows": rows.to_pylist(), "probabilities": True}}),
    ]
    plain, columns, tensor, about, refused = asyncio.run(_answers(tmp_path / "model", requests))
    pairs = [list(each) for each in zip(*expected.slice(0, 4).to_pydict().values(), strict=True)]
    assert plain.json()["predictions"] == pairs
    assert pa.ipc.open_stream(columns.content).read_all().to_pydict() == expected.slice(0, 4).to_pydict()
    (output,) = tensor.json()["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [4, 2])
    assert output["data"] == [str(value) for pair in pairs for value in pair]
    assert about.json()["outputs"] == [{"name": "prediction", "datatype": "BYTES", "shape": [-1, 2]}]
    assert refused.status_code == 422


async def _answers(path: Path, requests: list[tuple[str, dict[str, Any]]]) -> list[httpx.Response]:
    transport = httpx.ASGITransport(application(Settings({"both": Model(str(path))})))
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        return [await client.request("POST" if body else "GET", url, **body) for url, body in requests]


@pytest.mark.parametrize("strategy", ["most_frequent", "prior", "stratified", "constant"])
def test_dummies_give_sparse_classes_for_sparse_y(strategy: str, tmp_path: Path) -> None:
    settings = {"strategy": strategy, "constant": [0, 1]}
    model = og.DummyClassifier(**settings).fit(X, sp.csc_array(Y))
    model.save(tmp_path / "model")
    dense = og.DummyClassifier(**settings).fit(X, Y).predict(X)
    for each in (model, og.load(tmp_path / "model")):
        assert sp.issparse(each.predict(X))
        np.testing.assert_array_equal(each.predict(X).toarray(), dense)
    assert not sp.issparse(model.fit(X, Y).predict(X))
