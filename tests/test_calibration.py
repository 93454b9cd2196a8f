"""Calibrated probabilities beside scikit-learn's, and folds within a fit."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.calibration as peer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC

import outgrow as og
from outgrow.data.hashing import matrix_hash, seeded
from outgrow.engine.collective import Tcp
from outgrow.engine.context import FitContext
from outgrow.engine.together import side_by_side
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.job.components import build_pipeline
from outgrow.job.model import Job
from outgrow.ml.linear_model.classifier import normalised
from outgrow.ml.meta.calibrators import CALIBRATORS
from outgrow.ml.selection.many import fit_many
from outgrow.stats.strata import Strata
from ranks import ranks

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
SCORE = X @ [1.0, -2.0, 0.5, 0.0] + RNG.normal(size=400)
WEIGHT = RNG.integers(0, 3, 400).astype(float)


def labels(classes: int) -> np.ndarray:
    return np.digitize(SCORE, [0] if classes == 2 else [-1, 1])


def folds_of(model: Any, y: np.ndarray, count: int, weight: np.ndarray | None = None) -> list[Any]:
    """The folds of a fit, as scikit-learn takes them."""
    hashes = seeded(matrix_hash(X), model._seed)
    counts = np.ones(len(X), bool) if weight is None else weight > 0
    strata = Strata.of(y[counts].astype(np.uint64), hashes[counts], 1000)
    fold = strata.part_of(hashes, count)
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(count)]


@pytest.mark.parametrize("method", list(CALIBRATORS))
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("ensemble", [True, False])
def test_probabilities_are_those_of_scikit_learn(method: str, classes: int, ensemble: bool) -> None:
    if method == "temperature" and not hasattr(peer, "_TemperatureScaling"):
        pytest.skip("this scikit-learn knows no temperature")
    y = labels(classes)
    ours = og.CalibratedClassifierCV(og.GaussianNB(), method=method, ensemble=ensemble, cv=4)
    ours.fit(X, y, sample_weight=WEIGHT)
    cv = folds_of(ours, y, 4, WEIGHT)
    theirs = peer.CalibratedClassifierCV(GaussianNB(), method=method, ensemble=ensemble, cv=cv)
    theirs.fit(X, y, sample_weight=WEIGHT)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.predict_proba(X).sum(axis=1), 1)


def test_margins_are_asked_before_probabilities() -> None:
    y = labels(2)
    ours = og.CalibratedClassifierCV(og.LogisticRegression(), cv=3).fit(X, y)
    inner = LogisticRegression(tol=1e-10, max_iter=1000)
    theirs = peer.CalibratedClassifierCV(inner, cv=folds_of(ours, y, 3)).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-5)
    margins = og.CalibratedClassifierCV(cv=3).fit(X, y)
    assert [type(one) for one in margins.estimators_] == [og.LinearSVC] * 3
    expected = peer.CalibratedClassifierCV(LinearSVC(intercept_scaling=1e4), cv=folds_of(margins, y, 3)).fit(
        X, y
    )
    np.testing.assert_allclose(margins.predict_proba(X), expected.predict_proba(X), atol=0.01)


def test_folds_share_their_passes() -> None:
    """One pass deals the rows, one learns, and isotonic regression takes one more, whatever the folds."""
    for folds in (2, 5):
        model = og.CalibratedClassifierCV(og.GaussianNB(), method="isotonic", cv=folds).fit(X, labels(3))
        assert model.fit_record_.passes == 3


def test_calibration_makes_probabilities_right() -> None:
    copies = np.hstack([X, X, X])  # naive Bayes counts each column three times, and is too sure
    y = labels(2)
    plain = og.cross_validate(og.GaussianNB(), copies, y).mean()["log_loss"]
    for method in CALIBRATORS:
        model = og.CalibratedClassifierCV(og.GaussianNB(), method=method)
        assert og.cross_validate(model, copies, y).mean()["log_loss"] < plain


def test_a_fitted_model_is_calibrated_by_all_rows(tmp_path: Path) -> None:
    y = labels(2)
    inner = og.GaussianNB().fit(X[:200], y[:200])
    model = og.CalibratedClassifierCV(inner, cv="prefit").fit(X[200:], y[200:])
    from_there = peer._SigmoidCalibration().fit(inner.predict_proba(X[200:])[:, 1], y[200:])
    expected = from_there.predict(inner.predict_proba(X)[:, 1])
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], expected, rtol=1e-5)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(og.load(tmp_path / "model").predict_proba(X), model.predict_proba(X))
    with pytest.raises(SchemaError, match="same columns"):
        og.CalibratedClassifierCV(inner, cv="prefit").fit(X[:, :3], y)
    with pytest.raises(ValueError, match="not fitted"):
        og.CalibratedClassifierCV(og.GaussianNB(), cv="prefit").fit(X, y)


class Loud(og.LinearSVC):
    """Margins a million times as large."""

    def _decision_function(self, X: Any) -> np.ndarray:
        return super()._decision_function(X) * 1e6


def test_scores_of_any_scale_are_calibrated_alike() -> None:
    """As margins of 1e6, where scikit-learn once gave 0 and 1 (scikit-learn #26766)."""
    y = labels(2)
    usual = og.CalibratedClassifierCV(og.LinearSVC(), cv=3).fit(X, y).predict_proba(X)
    loud = og.CalibratedClassifierCV(Loud(), cv=3).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(loud, usual, rtol=1e-9)


def test_float32_and_constant_scores_calibrate() -> None:
    """scikit-learn #16022, #28245: scores of float32; and scores that tell nothing."""
    y = labels(2)
    single = og.CalibratedClassifierCV(og.LogisticRegression(), cv=3).fit(X.astype(np.float32), y)
    double = og.CalibratedClassifierCV(og.LogisticRegression(), cv=3).fit(
        X.astype(np.float32).astype(float), y
    )
    np.testing.assert_allclose(single.predict_proba(X), double.predict_proba(X), rtol=1e-6)
    for method in CALIBRATORS:
        flat = og.CalibratedClassifierCV(og.LogisticRegression(C=1e-12), method=method, cv=2)
        chances = flat.fit(X, y).predict_proba(X)
        assert np.isfinite(chances).all()


def test_perfect_scores_end() -> None:
    y = (X[:, 0] > 0).astype(int)
    for method in CALIBRATORS:
        model = og.CalibratedClassifierCV(og.LogisticRegression(C=np.inf, max_iter=20), method=method, cv=3)
        with pytest.warns(match="max_iter"):
            chances = model.fit(X, y).predict_proba(X)
        assert np.isfinite(chances).all()
        assert ((chances[:, 1] > 0.5) == y).mean() > 0.98


def test_rows_of_zeros_become_uniform() -> None:
    found = normalised(np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 3.0]]))
    np.testing.assert_allclose(found, [[1 / 3] * 3, [0, 0.25, 0.75]])


def test_models_within_models_deal_anew() -> None:
    """Else the fold that is held out outside would be missing inside."""
    inner = og.CalibratedClassifierCV(og.GaussianNB(), cv=3)
    model = og.CalibratedClassifierCV(inner, method="isotonic", cv=3).fit(X, labels(2))
    assert len(model.estimators_[0].estimators_) == 3
    assert model.evaluate(X, labels(2))["roc_auc"] > 0.9


def test_parameters_of_the_model_within_are_tuned() -> None:
    model = og.CalibratedClassifierCV(og.LogisticRegression(), cv=2)
    settings = [{"estimator__C": 1e-3, "method": "isotonic"}, {"estimator__C": 10.0}]
    trials = fit_many(model, X, labels(2), settings, models=True).trials
    assert [trial.estimators[0].estimators_[0].C for trial in trials] == [1e-3, 10.0]
    assert all(trial.mean()["roc_auc"] > 0.9 for trial in trials)


def test_a_job_names_the_model_within() -> None:
    model = {"CalibratedClassifierCV": {"estimator": {"LogisticRegression": {"C": 2}}, "method": "isotonic"}}
    job = Job.model_validate(
        {"name": "n", "data": {"path": "p"}, "target": "y", "model": model, "output": "o"}
    )
    assert build_pipeline(job)[-1].estimator.C == 2


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(ParameterError, match="predicts no classes"):
        og.CalibratedClassifierCV(og.Ridge()).fit(X, labels(2))
    with pytest.raises(ParameterError, match="must be a model of outgrow"):
        og.CalibratedClassifierCV(og.Pipeline([og.StandardScaler()])).fit(X, labels(2))
    with pytest.raises(ParameterError, match="C must be"):
        og.CalibratedClassifierCV(og.LogisticRegression(C=-1)).fit(X, labels(2))
    with pytest.raises(DataError, match="lacks the class"):
        og.CalibratedClassifierCV(og.GaussianNB(), cv=3).fit(X, np.append(np.arange(399) % 2, 2))
    with pytest.raises(DataError, match="n_samples = 3"):
        og.CalibratedClassifierCV(og.GaussianNB()).fit(X[:3], [0, 1, 0])


def test_fits_within_fits_talk_in_turn_on_several_ranks() -> None:
    """Ranks that wake in another order must not mix the messages of fits that run side by side."""

    def alone(number: int, slow: int) -> Callable[[FitContext], float]:
        def fit(run: FitContext) -> float:
            time.sleep(0.02 * ((number + slow) % 3))
            return float(run.call(lambda: run.combine(np.array([float(number)])))[0])

        return fit

    def within(first: int, slow: int) -> Callable[[FitContext], list[float]]:
        return lambda run: side_by_side(run, [alone(first + k, slow) for k in range(3)])

    def work(comm: Tcp) -> list[list[float]]:
        return side_by_side(FitContext(comm), [within(10 * k, comm.rank) for k in range(4)])

    for found in ranks(3, work):
        assert found == [[3.0 * (10 * k + j) for j in range(3)] for k in range(4)]
