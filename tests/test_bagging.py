"""Copies of a model, each of which learns from its own sample of the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
from scipy.stats import poisson

import outgrow as og
from outgrow.data.hashing import matrix_hash, mix
from outgrow.engine.blocks import Block
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.ml.export.onnx.file import content
from outgrow.ml.meta.copies import Copy

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
Y = X @ [1.0, -2.0, 0.5, 0.0] + RNG.normal(size=400)
LABELS = np.array(["a", "b", "c"])[np.digitize(Y, [-1, 1])]


def times(number: int, y: np.ndarray, seed: int = 0, **how: Any) -> np.ndarray:
    """How often a copy has each row of X."""
    hashes = mix(matrix_hash(X) ^ mix((y.astype(np.float64) + 0.0).view(np.uint64)))
    return Copy(seed + (1 << 32), number, **({"mean": 1.0} | how)).times(Block(X, y, source=hashes))


def test_each_model_learns_from_its_own_copy_of_the_rows(tmp_path: Path) -> None:
    model = og.BaggingRegressor(og.Ridge(), n_estimators=4, random_state=3).fit(X, Y)
    each = [og.Ridge().fit(X, Y, sample_weight=times(k, Y, 3)) for k in range(4)]
    for part, alone in zip(model.estimators_, each, strict=True):
        np.testing.assert_allclose(part.coef_, alone.coef_, rtol=1e-10)
    np.testing.assert_allclose(model.predict(X), np.mean([one.predict(X) for one in each], axis=0))
    np.testing.assert_allclose(model.to_sklearn().predict(X), model.predict(X))
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(og.load(tmp_path / "model").predict(X), model.predict(X))
    assert not np.array_equal(
        og.BaggingRegressor(og.Ridge(), n_estimators=4).fit(X, Y).predict(X), model.predict(X)
    )


@pytest.mark.parametrize("inner", [og.LogisticRegression(), og.LinearSVC()])
def test_probabilities_are_averaged_or_votes_counted(inner: Any) -> None:
    y = np.where(Y > 0, "yes", "no")
    model = og.BaggingClassifier(inner, n_estimators=3).fit(X, y)
    codes = (Y > 0).astype(int)
    each = [inner.__class__().fit(X, codes, sample_weight=times(k, codes)) for k in range(3)]
    chances = hasattr(inner, "predict_proba")
    said = [one.predict_proba(X) if chances else np.eye(2)[one.predict(X)] for one in each]
    np.testing.assert_allclose(model.predict_proba(X), np.mean(said, axis=0), atol=1e-6)
    np.testing.assert_allclose(model.to_sklearn().predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(model.to_sklearn().predict(X), model.predict(X))


def test_rows_are_drawn_by_the_law_of_poisson() -> None:
    hashes = mix(np.arange(200_000, dtype=np.uint64))
    rows = Block(np.zeros((len(hashes), 1)), source=hashes)
    first, second = (Copy(0, number, 1.0).times(rows) for number in range(2))
    shares = np.bincount(first.astype(int), minlength=6)[:6] / len(hashes)
    np.testing.assert_allclose(shares, poisson.pmf(np.arange(6), 1.0), atol=5e-3)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.01
    half = Copy(0, 0, 0.5, replacement=False).times(rows)
    assert set(half) == {0.0, 1.0}
    assert half.mean() == pytest.approx(0.5, abs=5e-3)
    assert Copy(0, 0, 0.5).times(rows).mean() == pytest.approx(0.5, abs=5e-3)


def test_equal_rows_are_told_apart_in_any_order() -> None:
    few, y = X[:4].repeat(100, axis=0), Y[:4].repeat(100)
    y[::2] += 1.0
    model = og.BaggingRegressor(og.LinearRegression(), n_estimators=20).fit(few, y)
    order = RNG.permutation(400)
    again = og.BaggingRegressor(og.LinearRegression(), n_estimators=20).fit(few[order], y[order])
    np.testing.assert_allclose(again.predict(few), model.predict(few), rtol=1e-9)
    each = np.array([part.predict(few[:1])[0] for part in model.estimators_])
    assert 0.01 < each.std() < 0.2  # of 100 equal rows a mean of 0 and 1: about 0.05


def test_a_class_that_would_be_lost_is_learned_whole() -> None:
    y = np.array(["a", "b"])[(np.arange(400) > 0).astype(int)]
    model = og.BaggingClassifier(og.GaussianNB(), n_estimators=20).fit(X, y)
    assert all((part.class_count_ > 0).all() for part in model.estimators_)
    one = og.BaggingRegressor(og.DecisionTreeRegressor(), n_estimators=20).fit(X[:1], Y[:1])
    np.testing.assert_allclose(one.predict(X[:1]), Y[:1], rtol=1e-6)


@pytest.mark.parametrize("inner", [og.GaussianNB(), og.DecisionTreeClassifier(max_depth=3)])
@pytest.mark.parametrize("features", [2, 0.5])
def test_models_learn_from_some_features(inner: Any, features: float, tmp_path: Path) -> None:
    model = og.BaggingClassifier(inner, n_estimators=8, max_features=features).fit(X, LABELS)
    chosen = model.estimators_features_
    assert {len(columns) for columns in chosen} == {2}
    assert len({tuple(columns) for columns in chosen}) > 1
    pairs = zip(model.estimators_, chosen, strict=True)
    mean = np.mean([part.predict_proba(X[:, columns]) for part, columns in pairs], axis=0)
    np.testing.assert_allclose(model.predict_proba(X), mean)
    np.testing.assert_allclose(model.to_sklearn().predict_proba(X), mean, atol=1e-6)
    model.save(tmp_path / "model")
    loaded = og.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.estimators_[0].n_features_in_ == 2


def test_all_copies_share_their_passes() -> None:
    alone = og.LogisticRegression().fit(X, Y > 0).fit_record_.passes
    model = og.BaggingClassifier(og.LogisticRegression(), n_estimators=5).fit(X, Y > 0)
    assert model.fit_record_.passes <= 2 * alone + 1


def test_trees_are_better_together() -> None:
    train, test = slice(0, 300), slice(300, 400)
    tree = og.DecisionTreeRegressor().fit(X[train], Y[train]).score(X[test], Y[test])
    trees = og.BaggingRegressor(n_estimators=20).fit(X[train], Y[train])
    assert trees.score(X[test], Y[test]) > tree + 0.1
    inside = og.BaggingRegressor(og.BaggingRegressor(og.Ridge(), 2), 2).fit(X, Y)
    assert len({float(one.coef_[0]) for part in inside.estimators_ for one in part.estimators_}) == 4


def test_models_around_it_recode_the_classes() -> None:
    bags = og.BaggingClassifier(og.GaussianNB(), n_estimators=3)
    around = og.OneVsRestClassifier(bags).fit(X, LABELS)
    within = og.BaggingClassifier(og.OneVsRestClassifier(og.GaussianNB()), n_estimators=3).fit(X, LABELS)
    alone = og.OneVsRestClassifier(og.GaussianNB()).fit(X, LABELS).predict_proba(X)
    for model in (around, within):
        assert np.abs(model.predict_proba(X) - alone).mean() < 0.05


def test_text_reaches_trees_and_what_cannot_be_is_refused() -> None:
    table = pa.table({"a": X[:, 0], "text": np.where(X[:, 1] > 0, "u", "v"), "y": Y})
    trees = og.DecisionTreeRegressor(max_depth=3)
    assert og.BaggingRegressor(trees, n_estimators=3).fit(table, "y").score(table, "y") > 0.4
    with pytest.raises(SchemaError, match="some columns are text"):
        og.BaggingRegressor(trees, max_features=1).fit(table, "y")
    with pytest.raises(ParameterError, match="should be a regressor"):
        og.BaggingRegressor(og.GaussianNB()).fit(X, Y)
    with pytest.raises(DataError, match="n_features=4"):
        og.BaggingRegressor(og.Ridge(), max_features=5).fit(X, Y)
    with pytest.raises(DataError, match="n_samples=400"):
        og.BaggingRegressor(og.Ridge(), max_samples=401, bootstrap=False).fit(X, Y)


@pytest.mark.parametrize("inner", [og.LinearSVC(), og.DecisionTreeClassifier(max_depth=3)])
def test_models_of_some_features_are_exported(inner: Any) -> None:
    model = og.BaggingClassifier(inner, n_estimators=3, max_features=3).fit(X, LABELS)
    session = onnxruntime.InferenceSession(content(model))
    feeds = {node.name: X[:, [k]] for k, node in enumerate(session.get_inputs())}
    if len(feeds) == 1:
        feeds = {session.get_inputs()[0].name: X}
    said = dict(zip([node.name for node in session.get_outputs()], session.run(None, feeds), strict=True))
    np.testing.assert_array_equal(said["prediction"], model.predict(X))
