"""Several classes from classifiers of two, beside scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import sklearn.multiclass as peer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

import outgrow as og
from outgrow.errors import DataError, ParameterError
from outgrow.ml.export.onnx.file import content
from outgrow.ml.meta.pairs import AT_ONCE

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
SCORE = X @ [1.0, -2.0, 0.5, 0.0] + RNG.normal(size=400)
WEIGHT = RNG.integers(0, 3, 400).astype(float)
PAIRS = [
    (og.LogisticRegression(), LogisticRegression(tol=1e-10, max_iter=1000)),
    (og.GaussianNB(), GaussianNB()),
]


def labels(classes: int) -> np.ndarray:
    cuts = np.quantile(SCORE, np.linspace(0, 1, classes + 1)[1:-1])
    return np.array(list("abcdefghijklmnop"))[np.digitize(SCORE, cuts)]


@pytest.mark.parametrize(("ours_of", "theirs_of"), PAIRS)
@pytest.mark.parametrize("classes", [2, 4])
def test_each_class_against_the_others(ours_of: Any, theirs_of: Any, classes: int) -> None:
    y = labels(classes)
    ours, theirs = og.OneVsRestClassifier(ours_of).fit(X, y), peer.OneVsRestClassifier(theirs_of).fit(X, y)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-4, atol=1e-6)
    assert len(ours.estimators_) == len(theirs.estimators_)
    if hasattr(theirs_of, "decision_function"):
        np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-3)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y))


@pytest.mark.parametrize(("ours_of", "theirs_of"), PAIRS)
@pytest.mark.parametrize("classes", [2, 4])
def test_each_class_against_each_other(ours_of: Any, theirs_of: Any, classes: int) -> None:
    y = labels(classes)
    ours, theirs = og.OneVsOneClassifier(ours_of).fit(X, y), peer.OneVsOneClassifier(theirs_of).fit(X, y)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    if classes > 2:
        np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-4)
    assert ours.evaluate(X, y)["accuracy"] == pytest.approx(theirs.score(X, y))


@pytest.mark.parametrize("around", [og.OneVsRestClassifier, og.OneVsOneClassifier])
def test_all_parts_share_their_passes_and_weights_count(around: Any) -> None:
    y = labels(4)
    model = around(og.GaussianNB()).fit(X, y)
    counted = around is og.OneVsOneClassifier
    assert model.fit_record_.passes == 1 + counted
    weighted = around(og.GaussianNB()).fit(X, y, sample_weight=WEIGHT)
    repeated = around(og.GaussianNB()).fit(
        np.repeat(X, WEIGHT.astype(int), axis=0), np.repeat(y, WEIGHT.astype(int))
    )
    np.testing.assert_allclose(
        weighted.decision_function(X) if counted else weighted.predict_proba(X),
        repeated.decision_function(X) if counted else repeated.predict_proba(X),
        rtol=1e-6,
    )


@pytest.mark.parametrize("inner", [og.LinearSVC(), og.RandomForestClassifier(n_estimators=5, random_state=0)])
def test_exports_of_all_kinds_of_parts_answer_alike(inner: Any) -> None:
    y = labels(3)
    for around in (og.OneVsRestClassifier(inner), og.OneVsOneClassifier(inner)):
        model = around.fit(X, y)
        session = onnxruntime.InferenceSession(content(model))
        feeds = {f"x{j}": X[:, [j]] for j in range(4)}
        assert session.run(["prediction"], feeds)[0].tolist() == model.predict(X).tolist()


def test_more_parts_than_learn_at_once() -> None:
    y = labels(13)
    model = og.OneVsOneClassifier(og.GaussianNB()).fit(X, y)
    assert len(model.estimators_) == 78 > AT_ONCE
    np.testing.assert_array_equal(
        model.predict(X), peer.OneVsOneClassifier(GaussianNB()).fit(X, y).predict(X)
    )


def test_what_tells_no_classes_apart_is_refused() -> None:
    with pytest.raises(ParameterError, match="predicts no classes"):
        og.OneVsRestClassifier(og.Ridge()).fit(X, labels(3))
    with pytest.raises(DataError, match="only one class"):
        og.OneVsOneClassifier(og.GaussianNB()).fit(X, np.zeros(400))
