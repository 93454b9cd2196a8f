"""Parameters of linear models that scikit-learn has: those that matter give what its own classes give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.linear_model as peers
from sklearn.base import clone

import outgrow as og
from outgrow.errors import DataError, ParameterError
from outgrow.ml.selection.many import fit_many

random = np.random.default_rng(0)
X = random.normal(size=(200, 6))
Y = X @ [1.0, -2.0, 0.5, 0.0, 3.0, -1.0] + random.normal(size=200) + 5
WEIGHT = random.uniform(0.5, 2, 200)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(
    ("model", "peer"),
    [
        (og.LinearRegression(positive=True), peers.LinearRegression(positive=True)),
        (og.Ridge(3.0, positive=True), peers.Ridge(3.0, positive=True, tol=1e-14)),
        (og.ElasticNet(0.1, positive=True), peers.ElasticNet(0.1, positive=True, tol=1e-14)),
    ],
)
def test_positive_coefficients_are_those_of_scikit_learn(model: Any, peer: Any, intercept: bool) -> None:
    model.set_params(fit_intercept=intercept).fit(X, Y, sample_weight=WEIGHT)
    peer.set_params(fit_intercept=intercept).fit(X, Y, sample_weight=WEIGHT)
    assert (model.coef_ >= 0).all()
    assert (model.coef_ == 0).any()
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-5)
    np.testing.assert_allclose(model.intercept_, peer.intercept_, atol=1e-5)


@pytest.mark.parametrize("model", [og.Ridge(positive=True), og.ElasticNet(positive=True)])
def test_positive_coefficients_in_searches(model: Any) -> None:
    trials = fit_many(model, X, Y, [{"alpha": 0.1}, {"alpha": 1.0}], refit=True).trials
    for trial in trials:
        alone = type(model)(**trial.setting, positive=True).fit(X, Y)
        np.testing.assert_allclose(trial.refitted.coef_, alone.coef_, rtol=1e-9)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ({"penalty": None}, {"C": np.inf}),
        ({"penalty": "l1"}, {"l1_ratio": 1.0}),
        ({"penalty": "l2", "solver": "liblinear", "dual": True, "n_jobs": 2, "random_state": 0}, {}),
        ({"penalty": "elasticnet", "l1_ratio": 0.3}, {"l1_ratio": 0.3}),
    ],
)
def test_older_spellings_of_penalties(older: dict[str, Any], newer: dict[str, Any]) -> None:
    y = (Y > 5).astype(int)
    one, other = og.LogisticRegression(**older).fit(X, y), og.LogisticRegression(**newer).fit(X, y)
    np.testing.assert_array_equal(one.coef_, other.coef_)
    assert one.n_iter_.shape == (1,)
    assert one.n_iter_[0] > 0


@pytest.mark.parametrize(
    "model",
    [
        og.LogisticRegression(solver="simplex"),
        og.LogisticRegression(penalty="l3"),
        og.Ridge(solver="simplex"),
        og.ElasticNet(selection="none"),
    ],
)
def test_names_that_scikit_learn_does_not_have_are_refused(model: Any) -> None:
    with pytest.raises(ParameterError):
        model.fit(X, (Y > 5).astype(int))


CLASSES = (Y > 5).astype(int)
THREE = np.digitize(Y, [3.0, 7.0])
WIDE = random.normal(size=(150, 1100))
WIDE_PLACES = np.random.default_rng(2).random((40, 4200)) < 0.1


@pytest.mark.parametrize("targets", [Y, np.column_stack([Y, -Y])])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
def test_the_duality_gap_and_sparse_coefficients(l1_ratio: float, targets: np.ndarray) -> None:
    model = og.ElasticNet(0.3, l1_ratio=l1_ratio).fit(X, targets, sample_weight=WEIGHT)
    assert np.shape(model.dual_gap_) == targets.shape[1:]
    np.testing.assert_allclose(model.dual_gap_, 0, atol=1e-8)
    np.testing.assert_array_equal(model.sparse_coef_.toarray(), np.atleast_2d(model.coef_))
    rough = og.ElasticNet(0.3, l1_ratio=l1_ratio, max_iter=1, tol=0)
    with pytest.warns(UserWarning, match="did not converge"):
        rough.fit(X, targets, sample_weight=WEIGHT)

    def objective(one: Any, y: np.ndarray, coef: np.ndarray, intercept: float) -> float:
        error = WEIGHT @ (y - X @ coef - intercept) ** 2 / (2 * WEIGHT.sum())
        return float(error + 0.3 * (l1_ratio * np.abs(coef).sum() + (1 - l1_ratio) * (coef @ coef) / 2))

    for j, y in enumerate(np.atleast_2d(targets.T)):
        ends = [
            objective(each, y, np.atleast_2d(each.coef_)[j], float(np.atleast_1d(each.intercept_)[j]))
            for each in (rough, model)
        ]
        assert ends[0] - ends[1] <= np.atleast_1d(rough.dual_gap_)[j] + 1e-12


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("l1_ratio", "intercept"), [(1.0, True), (0.5, True), (0.5, False)])
def test_more_columns_than_products_are_held_of(l1_ratio: float, intercept: bool, sparse: bool) -> None:
    rows = np.random.default_rng(1).normal(size=(40, 4200)) * (WIDE_PLACES if sparse else 1.0)
    rows[:, 5] += 0 if sparse else 50
    y, weight = rows[:, :4] @ [3.0, -2.0, 1.0, 1.0] + 2.0, np.arange(40) % 3 + 1.0
    X: Any = sp.csr_array(rows) if sparse else rows
    settings = {"l1_ratio": l1_ratio, "fit_intercept": intercept}
    model = og.ElasticNet(0.5, **settings).fit(X, np.column_stack([y, -2 * y]), weight)
    for j, target in enumerate((y, -2 * y)):
        peer = peers.ElasticNet(0.5, **settings, tol=1e-12, max_iter=100_000).fit(rows, target, weight)
        np.testing.assert_allclose(model.coef_[j], peer.coef_, atol=1e-5)
        np.testing.assert_allclose(model.intercept_[j], peer.intercept_, atol=1e-3)
        assert 0 <= model.dual_gap_[j] < 1e-6
    with pytest.raises(DataError, match="positive=True takes up to 4096 features; there are 4200"):
        og.ElasticNet(positive=True).fit(X, y)


@pytest.mark.parametrize(
    ("model", "rows", "y"),
    [
        (og.ElasticNet(0.1), X, Y),
        (og.ElasticNet(0.1), X, np.column_stack([Y, -Y])),
        (og.LogisticRegression(), X, CLASSES),
        (og.LogisticRegression(), X + 1e4, CLASSES),
        (og.LogisticRegression(l1_ratio=1.0), X, CLASSES),
        (og.LogisticRegression(fit_intercept=False), X, THREE),
        (og.LogisticRegression(C=0.1), WIDE, CLASSES[:150]),
        (og.LogisticRegression(C=0.1, l1_ratio=0.5), WIDE, CLASSES[:150]),
    ],
)
def test_a_warm_start_begins_where_the_last_fit_ended(model: Any, rows: np.ndarray, y: np.ndarray) -> None:
    cold = clone(model).set_params(warm_start=True).fit(rows, y)
    steps, coef = np.max(cold.n_iter_), cold.coef_
    warm = cold.fit(rows, y)
    assert np.max(warm.n_iter_) < steps
    np.testing.assert_allclose(warm.coef_, coef, atol=1e-5 * np.abs(coef).max())
    fewer = rows[:, :-1]
    with pytest.raises(ParameterError, match="Fit anew with warm_start=False"):
        warm.fit(fewer, y)
    warm.set_params(warm_start=False).fit(fewer, y)


def test_no_iteration_leaves_a_model_at_its_start() -> None:
    with pytest.warns(UserWarning, match="failed to converge"):
        model = og.LogisticRegression(max_iter=0).fit(X, CLASSES)
    assert not model.coef_.any()
    assert model.n_iter_ == 0


@pytest.mark.parametrize("y", [CLASSES, THREE])
def test_sparse_coefficients_answer_as_dense_ones(y: np.ndarray, tmp_path: Path) -> None:
    model = og.LogisticRegression(l1_ratio=1.0, C=0.05).fit(X, y)
    dense = model.predict_proba(X)
    assert sp.issparse(model.sparsify().coef_)
    model.save(tmp_path / "model")
    for rows in (X, sp.csr_array(X)):
        np.testing.assert_allclose(model.predict_proba(rows), dense, rtol=1e-12)
    assert model.evaluate(X, y)["accuracy"] == np.mean(model.predict(X) == y)
    np.testing.assert_allclose(og.load(tmp_path / "model").predict_proba(X), dense, rtol=1e-12)
    assert isinstance(model.densify().coef_, np.ndarray)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"penalty": None, "C": 2.0}, "will ignore the C"),
        ({"penalty": "l1", "l1_ratio": 0.5}, "only used"),
        ({"penalty": "l2", "l1_ratio": 1.0}, "Inconsistent values"),
    ],
)
def test_parameters_that_contradict_each_other_warn(parameters: dict[str, Any], said: str) -> None:
    with pytest.warns(UserWarning, match=said):
        og.LogisticRegression(**parameters).fit(X, CLASSES)
