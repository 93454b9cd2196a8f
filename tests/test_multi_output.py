"""A model for each of several targets, beside scikit-learn's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import sklearn.multioutput as peer
from sklearn.linear_model import HuberRegressor, LogisticRegression

import outgrow as og
from outgrow.errors import ExportError, ParameterError
from outgrow.ml.export.onnx.file import content

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 3))
Y = X @ RNG.normal(size=(3, 2)) + RNG.normal(size=(300, 2)) + [0.0, 5.0]
LABELS = np.column_stack([np.digitize(Y[:, 0], [-1, 1]), Y[:, 1] > 5]).astype(int)
WEIGHT = RNG.integers(0, 3, 300).astype(float)
TABLE = pd.DataFrame({"u": X[:, 0], "v": X[:, 1], "w": X[:, 2], "a": Y[:, 0], "b": Y[:, 1]})


def test_numbers_are_those_of_scikit_learn(tmp_path: Path) -> None:
    ours = og.MultiOutputRegressor(og.HuberRegressor()).fit(X, Y, sample_weight=WEIGHT)
    theirs = peer.MultiOutputRegressor(HuberRegressor(tol=1e-9, max_iter=1000))
    theirs.fit(X, Y, sample_weight=WEIGHT)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-4)
    np.testing.assert_allclose(ours.to_sklearn().predict(X), ours.predict(X))
    assert ours.score(X, Y) == pytest.approx(theirs.score(X, Y), abs=1e-5)
    ours.save(tmp_path / "model")
    np.testing.assert_array_equal(og.load(tmp_path / "model").predict(X), ours.predict(X))
    one = og.MultiOutputRegressor(og.HuberRegressor()).fit(X, Y[:, 1], sample_weight=WEIGHT)
    np.testing.assert_allclose(one.predict(X), ours.predict(X)[:, 1], atol=1e-6)


def test_targets_are_columns_with_names() -> None:
    model = og.MultiOutputRegressor(og.LinearRegression()).fit(TABLE, ["a", "b"])
    assert model.target_names_ == ["a", "b"]
    np.testing.assert_allclose(model.predict(TABLE), og.LinearRegression().fit(X, Y).predict(X))
    scores = model.evaluate(TABLE, ["a", "b"])
    assert scores["r2"] == pytest.approx((scores["r2_a"] + scores["r2_b"]) / 2)
    session = onnxruntime.InferenceSession(content(model))
    feeds = {node.name: X[:, [k]] for k, node in enumerate(session.get_inputs())}
    np.testing.assert_allclose(session.run(None, feeds)[0], model.predict(TABLE), rtol=1e-9)


def test_classes_are_those_of_scikit_learn(tmp_path: Path) -> None:
    ours = og.MultiOutputClassifier(og.LogisticRegression()).fit(X, LABELS, sample_weight=WEIGHT)
    theirs = peer.MultiOutputClassifier(LogisticRegression(tol=1e-10, max_iter=1000))
    theirs.fit(X, LABELS, sample_weight=WEIGHT)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    twin = ours.to_sklearn()
    for own, equal, other in zip(
        ours.predict_proba(X), twin.predict_proba(X), theirs.predict_proba(X), strict=True
    ):
        np.testing.assert_allclose(own, other, atol=1e-5)
        np.testing.assert_allclose(own, equal, atol=1e-12)
    assert ours.score(X, LABELS) == pytest.approx(theirs.score(X, LABELS))
    ours.save(tmp_path / "model")
    np.testing.assert_array_equal(og.load(tmp_path / "model").predict(X), ours.predict(X))
    with pytest.raises(ExportError, match="several targets"):
        content(ours)


def test_all_targets_share_their_passes() -> None:
    alone = max(og.LogisticRegression().fit(X, column).fit_record_.passes for column in LABELS.T)
    model = og.MultiOutputClassifier(og.LogisticRegression()).fit(X, LABELS)
    assert model.fit_record_.passes <= alone + 1


def test_trees_and_models_around_models_learn_each_target() -> None:
    text = TABLE.drop(columns=["v", "w"]).assign(t=np.where(X[:, 1] > 0, "p", "q"))
    trees = og.MultiOutputRegressor(og.DecisionTreeRegressor(max_depth=3)).fit(text, ["a", "b"])
    alone = og.DecisionTreeRegressor(max_depth=3).fit(text.drop(columns=["a"]), "b")
    np.testing.assert_allclose(trees.predict(text)[:, 1], alone.predict(text))
    around = og.MultiOutputClassifier(og.OneVsRestClassifier(og.GaussianNB())).fit(X, LABELS)
    np.testing.assert_array_equal(
        around.predict(X)[:, 0], og.OneVsRestClassifier(og.GaussianNB()).fit(X, LABELS[:, 0]).predict(X)
    )


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ParameterError, match="no regressor"):
        og.MultiOutputRegressor(og.GaussianNB()).fit(X, Y)
    with pytest.raises(ParameterError, match="predicts no classes"):
        og.MultiOutputClassifier(og.Ridge()).fit(X, LABELS)
    with pytest.raises(ParameterError, match="no probabilities"):
        og.MultiOutputClassifier(og.LinearSVC()).fit(X, LABELS)
