"""Factorization machines: their objective, the interactions they find, sparse rows, weights, the start."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from sklearn.exceptions import ConvergenceWarning

import outgrow as og
from outgrow.errors import ArtifactError, DataError
from outgrow.ml.factorization import machine as tiles
from outgrow.ml.factorization.machine import Machine
from outgrow.ml.persistence import describe, restore
from outgrow.ml.solvers import output_losses

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(600, 5))
INTERACTION = X[:, 0] * X[:, 1] - X[:, 2] * X[:, 3]
LOSSES = {1: output_losses.log_loss_of_two, 3: output_losses.log_loss_of_many}


@given(
    scores=st.sampled_from([1, 3]),
    factors=st.integers(0, 3),
    seed=st.integers(0, 1000),
    weighted=st.booleans(),
    squared=st.booleans(),
)
@settings(max_examples=12, deadline=None, derandomize=True)
def test_scores_are_sums_over_pairs_and_gradients_those_of_the_loss(
    scores: int, factors: int, seed: int, weighted: bool, squared: bool
) -> None:
    random = np.random.default_rng(seed)
    shape, loss = Machine(4, scores, factors), output_losses.half_square if squared else LOSSES[scores]
    rows = random.normal(size=(9, 4)) * (random.random((9, 4)) < 0.6)
    y = np.eye(3)[random.integers(0, 3, 9)][:, :scores]
    weight = random.random(9) if weighted else None
    w = random.normal(size=shape.size)
    coef, constants, V = shape.parts(w)
    np.testing.assert_array_equal(shape.pack(coef, constants, V), w)
    expected = rows @ coef.T + constants
    for i, j in combinations(range(4), 2):
        expected += (rows[:, i] * rows[:, j])[:, None] * (V[:, i] * V[:, j]).sum(axis=1)
    np.testing.assert_allclose(shape.outputs(rows, w), expected, atol=1e-12)

    found = shape.sums(rows, y, weight, w, loss)
    losses = loss(y, expected)[0]
    assert found[0] == pytest.approx(losses.sum() if weight is None else losses @ weight)
    assert found[1] == (9 if weight is None else weight.sum())
    slopes = approx_fprime(w, lambda at: float(shape.sums(rows, y, weight, at, loss)[0]))
    np.testing.assert_allclose(found[2:], slopes, rtol=1e-4, atol=1e-4)
    sparse = shape.sums(sp.csr_array(rows), y, weight, w, loss)
    np.testing.assert_allclose(sparse, found, rtol=1e-11, atol=1e-11)
    parts = [
        shape.sums(rows[p], y[p], None if weight is None else weight[p], w, loss)
        for p in (slice(0, 0), slice(0, 4), slice(4, 9))
    ]
    np.testing.assert_allclose(sum(parts), found, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_tiles_are_the_rows_they_are_cut_from(form: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, y = Machine(5, 1, 2), (INTERACTION > 0)[:, None].astype(float)
    w, rows = RANDOM.normal(size=shape.size), form(X)
    whole = shape.sums(rows, y, None, w, output_losses.log_loss_of_two), shape.outputs(rows, w)
    for name in ("CELLS", "SPARSE_CELLS"):
        monkeypatch.setattr(tiles, name, 1)
    assert len(shape._tiles(rows)) == 3
    np.testing.assert_allclose(shape.sums(rows, y, None, w, output_losses.log_loss_of_two), whole[0])
    np.testing.assert_allclose(shape.outputs(rows, w), whole[1])


def test_an_interaction_is_found_that_a_linear_model_misses() -> None:
    y = 1e4 + X[:, 4] + 2.0 * INTERACTION
    model = og.FMRegressor(n_factors=4, alpha=1e-8, tol=1e-7).fit(X, y)
    strength = model.factors_ @ model.factors_.T
    expected = {(0, 1): 2.0, (2, 3): -2.0}
    for i, j in combinations(range(5), 2):
        assert strength[i, j] == pytest.approx(expected.get((i, j), 0.0), abs=1e-3)
    np.testing.assert_allclose(model.coef_, [0, 0, 0, 0, 1], atol=1e-3)
    assert model.intercept_ == pytest.approx(1e4, abs=1e-2)
    assert model.score(X, y) > 0.99999 > 0.5 > og.LinearRegression().fit(X, y).score(X, y)
    np.testing.assert_allclose(
        og.FMRegressor(4, alpha=1e-8, tol=1e-7).fit(sp.csr_array(X), y).predict(X), y, atol=1e-2
    )


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_that_interactions_tell_apart(classes: int) -> None:
    y = np.digitize(INTERACTION, np.quantile(INTERACTION, np.arange(1, classes) / classes))
    model = og.FMClassifier(n_factors=4).fit(X, y)
    assert model.score(X, y) > 0.9 > 0.65 > og.LogisticRegression().fit(X, y).score(X, y)
    assert model.factors_.shape == (1 if classes == 2 else 3, 5, 4)
    sparse = og.FMClassifier(n_factors=4).fit(sp.csr_array(X), y)
    np.testing.assert_allclose(sparse.predict_proba(X), model.predict_proba(X), atol=1e-3)


def test_no_factor_is_a_linear_model() -> None:
    y = (X[:, 0] + RANDOM.normal(size=600) > 0).astype(int)
    model = og.FMClassifier(0, alpha=1e-2, tol=1e-8).fit(X, y)
    linear = og.LogisticRegression(C=1 / (1e-2 * 600)).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), linear.predict_proba(X), atol=1e-6)
    ridge = og.Ridge(alpha=1e-2 * 600).fit(X, INTERACTION)
    np.testing.assert_allclose(
        og.FMRegressor(0, alpha=1e-2, tol=1e-8).fit(X, INTERACTION).coef_, ridge.coef_, atol=1e-6
    )


def test_what_is_not_fitted_stays_zero() -> None:
    model = og.FMRegressor(2, fit_linear=False, fit_intercept=False).fit(X, INTERACTION + 1.0)
    assert not model.coef_.any()
    assert model.intercept_ == 0.0
    assert model.score(X, INTERACTION) > 0.3
    names = ("coef_", "intercept_")
    assert not any(
        getattr(og.FMClassifier(2, fit_linear=False, fit_intercept=False).fit(X, X[:, 0] > 1), n).any()
        for n in names
    )


def test_weights_are_repetitions_and_classes_weigh() -> None:
    y, weight = (INTERACTION > 1).astype(int), RANDOM.integers(0, 3, 600)
    settings_: dict[str, Any] = {"n_factors": 2, "alpha": 1e-2, "tol": 1e-7}
    weighted = og.FMClassifier(**settings_).fit(X, y, sample_weight=weight.astype(float))
    repeated = og.FMClassifier(**settings_).fit(X.repeat(weight, axis=0), y.repeat(weight))
    assert weighted.loss_ == pytest.approx(repeated.loss_, rel=1e-9)
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-4)
    double = og.FMClassifier(**settings_, class_weight={1: 2.0}).fit(X, y)
    same = og.FMClassifier(**settings_).fit(X, y, sample_weight=1.0 + y)
    assert double.loss_ == pytest.approx(same.loss_, rel=1e-9)
    np.testing.assert_allclose(double.predict_proba(X), same.predict_proba(X), atol=1e-4)


def test_the_start_of_a_factor_depends_on_its_feature_and_number_alone() -> None:
    def factors(*shape: int, seed: int = 0) -> np.ndarray:
        machine = Machine(*shape)
        return machine.parts(machine.start(seed, 0.5, np.zeros(shape[1])))[2]

    many = factors(5000, 2, 3)
    np.testing.assert_array_equal(factors(10, 1, 2), many[:1, :10, :2])
    assert not (factors(10, 1, 2, seed=1) == many[:1, :10, :2]).any()
    assert many.std() == pytest.approx(0.5, rel=0.02)
    assert np.abs(np.corrcoef(many.transpose(1, 0, 2).reshape(5000, 6).T) - np.eye(6)).max() < 0.06


def test_what_goes_wrong_is_told_in_words() -> None:
    with pytest.warns(ConvergenceWarning, match="Raise max_iter, scale the columns, or raise tol"):
        og.FMRegressor(max_iter=2).fit(X, INTERACTION)
    with pytest.raises(DataError, match="StandardScaler"):
        og.FMRegressor().fit(X * 1e200, INTERACTION)
    tree = describe(og.FMRegressor(2, tol=0.1).fit(X, INTERACTION))
    tree["learned"]["factors_"] = np.zeros((4, 2))
    with pytest.raises(ArtifactError, match="do not fit one another"):
        restore(tree)
