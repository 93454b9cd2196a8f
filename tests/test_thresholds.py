"""Thresholds of classifiers: given, and tuned on rows held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier

import outgrow as og
from outgrow.errors import DataError, ParameterError
from outgrow.ml.meta.threshold_metrics import METRICS, at_thresholds, by_cost
from outgrow.stats.scores import RankedScores

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 3))
Y = (X @ [1.0, -1.0, 0.3] + RNG.normal(size=600) > 1.5).astype(int)
NAMES = np.array(["no", "yes"])[Y]
OF_SKLEARN = {
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "accuracy": metrics.accuracy_score,
    "f1": metrics.f1_score,
    "precision": metrics.precision_score,
    "recall": metrics.recall_score,
    "jaccard": metrics.jaccard_score,
    "matthews_corrcoef": metrics.matthews_corrcoef,
}


@settings(max_examples=4)
@given(seed=st.integers(0, 1000), kinds=st.integers(2, 30), weighted=st.booleans())
@pytest.mark.filterwarnings("ignore")
def test_metrics_at_each_threshold_are_those_of_scikit_learn(seed: int, kinds: int, weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    scores, y = rng.integers(0, kinds, 40) / kinds, np.append(rng.integers(0, 2, 38), [0, 1])
    weight = rng.integers(0, 3, 40).astype(float) + np.append(np.zeros(38), [1, 1]) if weighted else None
    ranked = RankedScores.of(scores, y == 1, weight)
    for name, metric in METRICS.items():
        thresholds, values = at_thresholds(ranked, metric)
        assert (np.diff(thresholds) > 0).all()
        expected = [OF_SKLEARN[name](y, scores >= t, sample_weight=weight) for t in thresholds]
        np.testing.assert_allclose(values, expected, atol=1e-12, err_msg=name)
        wanted = np.array([-1.0, 0.3, 0.5, 2.0])
        expected = [OF_SKLEARN[name](y, scores >= t, sample_weight=weight) for t in wanted]
        np.testing.assert_allclose(at_thresholds(ranked, metric, wanted)[1], expected, atol=1e-12)


def test_costs_are_those_of_the_confusion() -> None:
    scores, costs = RNG.random(100), np.array([[-1.0, 2.0], [5.0, 0.5]])
    y = RNG.integers(0, 2, 100)
    thresholds, values = at_thresholds(RankedScores.of(scores, y == 1), by_cost(costs))
    expected = [-(metrics.confusion_matrix(y, scores >= t) * costs).sum() / 100 for t in thresholds]
    np.testing.assert_allclose(values, expected, atol=1e-12)


@pytest.mark.parametrize("method", ["predict_proba", "decision_function"])
@pytest.mark.parametrize("positive", ["no", "yes"])
def test_fixed_thresholds_are_those_of_scikit_learn(method: str, positive: str) -> None:
    setting: dict[str, Any] = {"threshold": 0.2, "pos_label": positive, "response_method": method}
    ours = og.FixedThresholdClassifier(og.LogisticRegression(), **setting).fit(X, NAMES)
    inner = LogisticRegression(tol=1e-10, max_iter=1000)
    theirs = FixedThresholdClassifier(inner, **setting).fit(X, NAMES)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_array_equal(ours.to_sklearn().predict(X), theirs.predict(X))
    scores = ours.evaluate(X, NAMES)
    assert scores["accuracy"] == pytest.approx((ours.predict(X) == NAMES).mean())
    assert scores["f1"] == pytest.approx(metrics.f1_score(NAMES, ours.predict(X), pos_label="yes"))
    assert scores["roc_auc"] == pytest.approx(ours.estimator_.evaluate(X, NAMES)["roc_auc"])


def test_a_score_at_the_threshold_is_of_the_class() -> None:
    rows, y = np.ones((8, 1)), np.array([0, 0, 0, 0, 0, 0, 1, 1])
    chance = float(og.BernoulliNB().fit(rows, y).predict_proba(rows)[0, 1])
    model = og.FixedThresholdClassifier(og.BernoulliNB(), threshold=chance).fit(rows, y)
    assert model.predict(rows).tolist() == [1] * 8
    assert model.evaluate(rows, y)["recall"] == 1


@pytest.mark.parametrize("inner", [og.LogisticRegression(), og.LinearSVC()])
def test_the_best_threshold_is_the_best_of_all(inner: Any) -> None:
    """Beside the scores of the same folds, put together by hand."""
    plain = og.TunedThresholdClassifierCV(inner, scoring="f1", cv=4, store_cv_results=True).fit(X, Y)
    results = plain.cv_results_
    assert plain.best_score_ == results["scores"].max()
    assert plain.best_threshold_ == results["thresholds"][results["scores"].argmax()]
    assert len(results["thresholds"]) == 601
    default = og.FixedThresholdClassifier(inner).fit(X, Y)
    assert plain.evaluate(X, Y)["f1"] > default.evaluate(X, Y)["f1"]
    some = og.TunedThresholdClassifierCV(inner, scoring="f1", cv=4, thresholds=[0.4, 0.1, 0.2]).fit(X, Y)
    at = np.interp(some.best_threshold_, results["thresholds"], results["scores"])
    assert some.best_threshold_ in (0.1, 0.2, 0.4)
    assert some.best_score_ == pytest.approx(at, abs=0.02)


def test_dear_misses_lower_the_threshold() -> None:
    def tuned(miss: float) -> Any:
        return og.TunedThresholdClassifierCV(og.LogisticRegression(), scoring=[[0, 1], [miss, 0]]).fit(X, Y)

    found = [tuned(miss).best_threshold_ for miss in (1.0, 5.0, 25.0)]
    assert found[0] > found[1] > found[2]
    assert found[1] < 0.35  # 1/6 is where the odds are those of the costs


def test_all_models_learn_in_the_same_passes(tmp_path: Path) -> None:
    model = og.TunedThresholdClassifierCV(og.GaussianNB(), cv=5).fit(X, Y)
    assert model.fit_record_.passes == 3  # to deal, to learn, to rank
    np.testing.assert_allclose(model.predict_proba(X), og.GaussianNB().fit(X, Y).predict_proba(X))
    model.save(tmp_path / "model")
    assert og.load(tmp_path / "model").best_threshold_ == model.best_threshold_
    fitted = og.GaussianNB().fit(X[:300], Y[:300])
    judged = og.TunedThresholdClassifierCV(fitted, cv="prefit", store_cv_results=True).fit(X[300:], Y[300:])
    chances = fitted.predict_proba(X[300:])[:, 1]
    expected = metrics.balanced_accuracy_score(Y[300:], chances >= judged.best_threshold_)
    assert judged.best_score_ == pytest.approx(expected)


def test_what_has_no_threshold_is_refused() -> None:
    with pytest.raises(DataError, match="Only binary classification"):
        og.FixedThresholdClassifier(og.GaussianNB()).fit(X, np.arange(600) % 3)
    with pytest.raises(ParameterError, match="pos_label='maybe'"):
        og.FixedThresholdClassifier(og.GaussianNB(), pos_label="maybe").fit(X, NAMES)
    with pytest.raises(ParameterError, match="no such method"):
        og.FixedThresholdClassifier(og.LinearSVC(), response_method="predict_proba").fit(X, Y)
    with pytest.raises(ParameterError, match="costs of shape"):
        og.TunedThresholdClassifierCV(og.GaussianNB(), scoring=[[1, 2]]).fit(X, Y)
    with pytest.raises(ParameterError, match="none answers"):
        og.TunedThresholdClassifierCV(og.GaussianNB(), refit=False).fit(X, Y)
    with pytest.raises(ParameterError, match="finite numbers"):
        og.TunedThresholdClassifierCV(og.GaussianNB(), thresholds=[np.nan]).fit(X, Y)
