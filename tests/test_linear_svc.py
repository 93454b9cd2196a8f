"""LinearSVC beside scikit-learn's, whose intercept is hardly penalised."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import scipy.sparse as sp
from sklearn import svm
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning

import outgrow as og
from outgrow.errors import ParameterError
from outgrow.ml.export.onnx.file import content
from outgrow.ml.selection.many import fit_many
from outgrow.ml.solvers import cost

RNG = np.random.default_rng(3)


def rows(classes: int) -> tuple[np.ndarray, np.ndarray]:
    X, y = make_classification(
        400, 6, n_informative=5, n_redundant=0, n_classes=classes, flip_y=0.1, class_sep=0.7, random_state=1
    )
    return X, np.array(["a", "b", "c"])[y]


def loss(model: Any, X: Any, y: np.ndarray, weight: Any = 1.0) -> list[float]:
    """The objective that each row of coefficients reaches, its intercept not penalised."""
    coefs, constants, values = model.coef_, model.intercept_, []
    for place, (coef, constant) in enumerate(zip(coefs, constants, strict=True)):
        label = model.classes_[1] if len(model.classes_) == 2 else model.classes_[place]
        short = np.maximum(0.0, 1 - np.where(y == label, 1, -1) * (X @ coef + constant))
        penalty = np.abs(coef).sum() if model.penalty == "l1" else 0.5 * coef @ coef
        values.append(float(penalty + model.C * np.sum(weight * short**2)))
    return values


def theirs(**settings: Any) -> Any:
    """scikit-learn's, solved to many digits."""
    return svm.LinearSVC(dual=False, intercept_scaling=1e3, tol=1e-8, max_iter=100_000, **settings)


@pytest.mark.filterwarnings("ignore:Liblinear failed to converge, increase the number of iterations.$")
@pytest.mark.parametrize("penalty", ["l2", "l1"])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_minimum_is_that_of_scikit_learn(penalty: str, classes: int, C: float) -> None:
    X, y = rows(classes)
    ours = og.LinearSVC(penalty, C=C).fit(X, y)
    peer = theirs(penalty=penalty, C=C).fit(X, y)
    assert (np.array(loss(ours, X, y)) <= np.array(loss(peer, X, y)) * (1 + 1e-9)).all()
    np.testing.assert_allclose(ours.decision_function(X), peer.decision_function(X), atol=1e-3)
    assert ours.coef_.shape == peer.coef_.shape


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("class_weight", ["balanced", {"a": 3.0, "b": 0.5}])
def test_weights_of_classes_and_rows(classes: int, class_weight: Any) -> None:
    X, y = rows(classes)
    weight = RNG.integers(0, 3, len(X)).astype(float)
    ours = og.LinearSVC(class_weight=class_weight).fit(X, y, sample_weight=weight)
    if class_weight == "balanced":  # of which scikit-learn would count rows that weigh nothing
        factors = {label: weight.sum() / classes / weight[y == label].sum() for label in np.unique(y)}
    else:
        factors = class_weight
    peer = theirs(class_weight=factors).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(ours.decision_function(X), peer.decision_function(X), atol=2e-4)
    repeated = og.LinearSVC(class_weight=class_weight).fit(
        np.repeat(X, weight.astype(int), axis=0), np.repeat(y, weight.astype(int))
    )
    np.testing.assert_allclose(ours.coef_, repeated.coef_, atol=1e-8)


@pytest.mark.parametrize("classes", [2, 3])
def test_many_columns_reach_the_same_minimum(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = rows(classes)
    near = og.LinearSVC().fit(X, y)
    monkeypatch.setattr(cost, "LARGEST", 2)
    far = og.LinearSVC().fit(X, y)
    np.testing.assert_allclose(loss(far, X, y), loss(near, X, y), rtol=1e-6)
    sparse = og.LinearSVC().fit(sp.csr_array(X), y)
    np.testing.assert_allclose(loss(sparse, X, y), loss(near, X, y), rtol=1e-6)


def test_rows_far_from_zero_and_without_intercept() -> None:
    X, y = rows(2)
    near, far = og.LinearSVC().fit(X, y), og.LinearSVC().fit(X + 1e6, y)
    np.testing.assert_allclose(far.coef_, near.coef_, rtol=1e-5)
    bare = og.LinearSVC(fit_intercept=False).fit(X, y)
    np.testing.assert_allclose(bare.coef_, theirs(fit_intercept=False).fit(X, y).coef_, atol=1e-6)
    assert bare.intercept_.tolist() == [0.0]


@pytest.mark.parametrize("classes", [2, 3])
def test_folds_and_settings_share_passes(classes: int) -> None:
    X, y = rows(classes)
    settings = [{"C": 0.01}, {"C": 1.0, "penalty": "l1"}]
    shared = fit_many(og.LinearSVC(), X, y, settings, folds=og.KFold(3), models=True)
    for trial, setting in zip(shared.trials, settings, strict=True):
        alone = og.cross_validate(og.LinearSVC(**setting), X, y, cv=og.KFold(3)).mean()
        assert trial.mean()["accuracy"] == pytest.approx(alone["accuracy"])
    assert shared.passes < 40


def test_it_is_judged_by_its_margins() -> None:
    X, y = rows(2)
    model = og.LinearSVC().fit(X, y)
    scores = model.evaluate(X, y)
    assert scores["accuracy"] == pytest.approx(theirs().fit(X, y).score(X, y), abs=0.01)
    assert scores["roc_auc"] > 0.6
    assert "log_loss" not in scores
    assert not hasattr(model, "predict_proba")


def test_what_it_refuses_is_said() -> None:
    X, y = rows(2)
    with pytest.raises(ParameterError, match="loss must be one of"):
        og.LinearSVC(loss="log_loss").fit(X, y)
    with pytest.raises(ParameterError, match="multi_class"):
        og.LinearSVC(multi_class="crammer_singer").fit(X, y)
    with pytest.warns(ConvergenceWarning, match="Liblinear failed to converge"):
        og.LinearSVC(max_iter=1).fit(X, y)


@pytest.mark.parametrize("classes", [2, 3])
def test_margins_in_onnx_have_the_shape_of_the_method(classes: int) -> None:
    X, y = rows(classes)
    model = og.LinearSVC().fit(X, y)
    session = onnxruntime.InferenceSession(content(model))
    inputs = {f"x{j}": X[:, [j]] for j in range(X.shape[1])}
    prediction, margins = session.run(["prediction", "decision_function"], inputs)
    np.testing.assert_allclose(margins, model.decision_function(X), rtol=1e-12, atol=1e-12)
    assert prediction.tolist() == model.predict(X).tolist()
    assert [output.name for output in session.get_outputs()] == ["prediction", "decision_function"]
