"""A classifier that learns from a sample of the large classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest

import outgrow as og
from conftest import EngineCase
from outgrow.errors import DataError, ParameterError
from outgrow.ml.export.onnx.file import content

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20_000, 3))
CHANCE = 1 / (1 + np.exp(4 - X @ [1.0, -1.0, 0.5]))
Y = np.where(RNG.random(len(X)) < CHANCE, "fraud", "fine")
LINE = og.LogisticRegression()


@pytest.mark.parametrize("ratio", ["auto", 0.25])
def test_large_classes_keep_their_share_and_small_ones_all(ratio: float | str) -> None:
    model = og.UndersampledClassifier(og.GaussianNB(), sampling_strategy=ratio).fit(X, Y)
    few, many = (Y == "fraud").sum(), (Y == "fine").sum()
    wanted = few / (1.0 if ratio == "auto" else ratio)
    counts = model.estimator_.class_count_
    assert counts[1] == few
    assert abs(counts[0] - wanted) < 5 * np.sqrt(wanted)
    np.testing.assert_allclose(model.rates_, [counts[0] / many, 1.0])


@pytest.mark.parametrize("inner", [LINE, og.Pipeline([og.StandardScaler(), LINE])])
def test_probabilities_are_those_of_all_rows(inner: og.LogisticRegression) -> None:
    train, test = slice(0, 12_000), slice(12_000, None)
    model = og.UndersampledClassifier(inner).fit(X[train], Y[train])
    raw = og.UndersampledClassifier(inner, correct=False).fit(X[train], Y[train])
    share, said = (Y[test] == "fraud").mean(), model.predict_proba(X[test])[:, 1]
    whole = og.LogisticRegression().fit(X[train], Y[train]).predict_proba(X[test])[:, 1]
    assert said.mean() == pytest.approx(whole.mean(), abs=0.006)
    assert said.mean() == pytest.approx(share, abs=0.01)
    assert raw.predict_proba(X[test])[:, 1].mean() > 4 * share
    assert np.abs(said - CHANCE[test]).mean() < 0.01
    likely = raw.predict_proba(X[test]) / model.rates_
    np.testing.assert_allclose(said, likely[:, 1] / likely.sum(axis=1))
    assert (raw.predict(X[test]) == "fraud").sum() > 5 * (model.predict(X[test]) == "fraud").sum()


def test_many_classes_and_weights() -> None:
    y = np.digitize(X[:, 0] + 0.5 * RNG.normal(size=len(X)), [1.0, 2.0])
    weight = RNG.choice([0.0, 1.0, 3.0], len(X))
    model = og.UndersampledClassifier(LINE).fit(X, y, sample_weight=weight)
    totals = np.bincount(y, weight)
    np.testing.assert_allclose(model.rates_, totals.min() / totals, rtol=0.2)
    shares = np.average(model.predict_proba(X), axis=0, weights=weight)
    np.testing.assert_allclose(shares, totals / totals.sum(), atol=0.015)
    graph = onnxruntime.InferenceSession(content(model))
    assert [output.name for output in graph.get_outputs()][:1] == ["prediction"]


def test_the_same_rows_stay_in_any_order_and_another_seed_keeps_others() -> None:
    order = RNG.permutation(len(X))
    model = og.UndersampledClassifier(og.GaussianNB()).fit(X, Y)
    again = og.UndersampledClassifier(og.GaussianNB()).fit(X[order], Y[order])
    np.testing.assert_allclose(again.estimator_.theta_, model.estimator_.theta_, rtol=1e-9)
    other = og.UndersampledClassifier(og.GaussianNB(), random_state=1).fit(X, Y)
    assert np.abs(other.estimator_.theta_[0] - model.estimator_.theta_[0]).max() > 1e-4
    np.testing.assert_allclose(other.estimator_.theta_[1], model.estimator_.theta_[1], rtol=1e-9)


def test_the_same_on_every_engine(engine: EngineCase) -> None:
    rows = pa.table({"a": X[:2000, 0], "b": X[:2000, 1].round(), "kind": Y[:2000]})
    here = og.UndersampledClassifier(og.GaussianNB()).fit(rows, "kind")
    there = og.UndersampledClassifier(og.GaussianNB()).fit(engine.open(rows), "kind")
    np.testing.assert_allclose(there.rates_, here.rates_)
    features = rows.drop_columns(["kind"]).to_pandas()
    np.testing.assert_allclose(there.predict_proba(features), here.predict_proba(features), rtol=1e-9)


def test_equal_rows_are_told_apart_and_no_class_is_lost() -> None:
    few = np.tile([[0.0], [1.0]], (1000, 1))
    y = np.arange(2000) % 20 == 1
    model = og.UndersampledClassifier(og.BernoulliNB()).fit(few, y)
    assert model.rates_[0] == pytest.approx(100 / 1900, rel=0.5)
    absent = og.UndersampledClassifier(og.GaussianNB()).fit(X, Y, sample_weight=(Y == "fine").astype(float))
    np.testing.assert_array_equal(absent.rates_, 1.0)
    for seed in range(5):
        one = np.arange(300) == 7
        lone = og.UndersampledClassifier(og.GaussianNB(), random_state=seed).fit(X[:300], one)
        assert (lone.estimator_.class_count_ > 0).all()


def test_classes_of_one_size_are_learned_whole(tmp_path: Path) -> None:
    y = np.arange(400) % 2
    model = og.UndersampledClassifier(LINE).fit(X[:400], y)
    alone = og.LogisticRegression().fit(X[:400], y)
    np.testing.assert_allclose(model.predict_proba(X), alone.predict_proba(X))
    model = og.UndersampledClassifier(LINE, sampling_strategy=0.5).fit(X, Y)
    model.save(tmp_path / "model")
    loaded = og.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(loaded.rates_, model.rates_)


def test_thresholds_around_it_see_corrected_probabilities() -> None:
    inner = og.UndersampledClassifier(LINE)
    careful = og.FixedThresholdClassifier(inner, threshold=0.1, pos_label="fraud").fit(X, Y)
    found = careful.predict(X) == "fraud"
    np.testing.assert_array_equal(found, careful.predict_proba(X)[:, 1] >= 0.1)
    assert (Y[found] == "fraud").mean() > 0.1
    assert found[Y == "fraud"].mean() > 0.3


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ParameterError, match="CalibratedClassifierCV"):
        og.UndersampledClassifier(og.LinearSVC()).fit(X, Y)
    with pytest.raises(ParameterError, match="predicts no classes"):
        og.UndersampledClassifier(og.Ridge()).fit(X, Y)
    with pytest.raises(ParameterError, match="sampling_strategy"):
        og.UndersampledClassifier(LINE, sampling_strategy=2.0).fit(X, Y)
    with pytest.raises(DataError, match="one class"):
        og.UndersampledClassifier(LINE).fit(X[:100], np.zeros(100))
