"""The end of a logistic fit does not depend on the units or the offsets of the columns."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import log_softmax, softmax
from sklearn.exceptions import ConvergenceWarning

import outgrow as og
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError
from outgrow.ml.base import Classifier
from outgrow.ml.selection.many import fit_many
from outgrow.ml.solvers import cost
from outgrow.ml.solvers.offsets import Offsets

ROWS = 600
random = np.random.default_rng(0)
Z = random.normal(size=(ROWS, 3))
NOISE = random.logistic(size=(ROWS, 2))
TARGETS = {
    "two": (Z @ [1.0, -2.0, 0.5] + NOISE[:, 0] > 0).astype(int),
    "three": (Z @ [1.0, -2.0, 0.5] + NOISE[:, 0] > 0).astype(int) + (Z[:, 0] + NOISE[:, 1] > 1),
}
TABLES = {
    "plain": Z,
    "nanoseconds": Z * [3e16, 1, 1e-3] + [1.7e18, 0, 5],
    "seconds": Z * [3e7, 1, 1e-9] + [1.7e9, 0, 1e-5],
    "far": Z + np.array([1e9, -1e6, 1e3]),
    "units": Z * [1e-12, 1e12, 1],
    "huge and tiny": Z * [1e100, 1e-100, 1],
    "constant": np.column_stack([Z, np.full(ROWS, 0.1), np.full(ROWS, 1.7e18)]),
    "collinear": np.column_stack([Z, Z[:, 0] * 1e6, Z[:, 0] - Z[:, 1]]),
    "skewed": np.column_stack([Z, 1e12 * (np.arange(ROWS) % 50 == 0)]),
}
WEIGHTS = {
    "none": None,
    "small": np.full(ROWS, 1e-9),
    "large": np.full(ROWS, 1e9),
    "mixed": random.uniform(0.1, 3, ROWS),
}


def gap(
    model: Any, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None, C: float, l1_ratio: float
) -> float:
    """What a Newton step in standardised columns would still gain, as a share of the objective."""
    w = np.ones(len(y)) if weight is None else weight
    mean, scale = X.mean(axis=0), X.std(axis=0)
    flat = scale <= 1e-12 * np.abs(mean)
    scale = np.where(flat, 1.0, scale)
    S = np.column_stack([np.where(flat, 0.0, (X - mean) / scale), np.ones(len(y))])
    coef, constant = model.coef_, model.intercept_ + model.coef_ @ mean
    if len(coef) == 1:
        coef, constant = np.vstack([np.zeros_like(coef), coef]), np.append(0.0, constant)
    V = np.column_stack([coef * scale, constant])
    margins = S @ V.T
    loss = -w @ log_softmax(margins, axis=1)[np.arange(len(y)), y]
    penalty = 1 / C / np.append(scale, np.inf)
    l1, l2 = l1_ratio * penalty, (1 - l1_ratio) * penalty / np.append(scale, np.inf)
    free = slice(1, None) if len(model.coef_) == 1 else slice(None)
    objective = loss + (np.abs(V[free]) @ l1).sum() + 0.5 * (V[free] ** 2 @ l2).sum()
    residual = w[:, None] * (softmax(margins, axis=1) - np.eye(len(coef))[y])
    worst = 0.0
    for k in range(len(coef))[free]:
        p = softmax(margins, axis=1)[:, k]
        gradient = S.T @ residual[:, k] + l2 * V[k]
        bent = l1 > 0
        pull = np.where(V[k] != 0, gradient + l1 * np.sign(V[k]), np.maximum(np.abs(gradient) - l1, 0))
        H = (S * (w * p * (1 - p))[:, None]).T @ S + np.diag(l2)
        if bent.any():  # coordinate by coordinate: which of them move is not known to a Newton step
            worst = max(worst, float(np.max(pull**2 / np.maximum(np.diag(H), 1e-300) / 2)))
        else:
            worst = max(worst, float(pull @ np.linalg.lstsq(H, pull, rcond=1e-10)[0]) / 2)
    return worst / objective


CASES = [
    (table, target, weights)
    for table in TABLES
    for target in TARGETS
    for weights in (WEIGHTS if table == "nanoseconds" else ["mixed"])
]


@pytest.mark.parametrize(("table", "target", "weights"), CASES)
def test_the_minimum_is_reached_in_any_units(table: str, target: str, weights: str) -> None:
    X, y, weight = TABLES[table], TARGETS[target], WEIGHTS[weights]
    total = ROWS if weight is None else weight.mean() * ROWS
    penalties = [(np.inf, 0.0), (100 / total, 0.0)]
    for C, l1_ratio in [*penalties, (10 / total, 0.5), (1.0, 1.0)] if target == "two" else penalties:
        model = og.LogisticRegression(C=C, l1_ratio=l1_ratio).fit(X, y, sample_weight=weight)
        assert gap(model, X, y, weight, C, l1_ratio) < 1e-8


@pytest.mark.parametrize("table", [name for name in TABLES if name != "skewed"])
def test_the_loss_is_that_of_standardised_columns(table: str) -> None:
    expected = og.LogisticRegression(C=np.inf).fit(Z, TARGETS["two"]).objective_
    model = og.LogisticRegression(C=np.inf).fit(TABLES[table], TARGETS["two"])
    assert model.objective_ == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("table", ["nanoseconds", "units", "constant", "far"])
def test_folds_and_settings_reach_it_too(table: str) -> None:
    X, y = TABLES[table], TARGETS["two"]
    settings = [{"C": C, "l1_ratio": l1_ratio} for C in (0.01, 1.0) for l1_ratio in (0.0, 0.5)]
    for trial in fit_many(og.LogisticRegression(), X, y, settings, refit=True).trials:
        assert gap(trial.refitted, X, y, None, trial.setting["C"], trial.setting["l1_ratio"]) < 1e-8


@pytest.mark.parametrize("table", ["plain", "seconds", "units", "skewed", "far"])
def test_sparse_columns_reach_it_too(table: str) -> None:
    X, y = TABLES[table], TARGETS["two"]
    for C in (np.inf, 1.0):
        model = og.LogisticRegression(C=C).fit(sp.csr_array(X), y)
        assert gap(model, X, y, None, C, 0.0) < 1e-8


class SeesRowsWithoutOffsets(Classifier):
    """Keeps what a solver of linear models folds."""

    def _fit(self, view: MatrixView) -> None:
        offsets = Offsets.of(view, intercept=True)
        blocks = [block.X for block in offsets.apply(view).blocks()]
        self.cells_ = [np.count_nonzero(X.data) for X in blocks if sp.issparse(X)]
        self.rows_ = np.vstack([X.toarray() for X in blocks])
        self.centre_, self.spread_ = offsets.centre, offsets.spread

    def _proba(self, X: np.ndarray) -> np.ndarray:
        return np.full((X.shape[0], 2), 0.5)


def test_offsets_of_some_columns_leave_the_others_sparse() -> None:
    """A word of every document must not turn a million of others into dense columns."""
    few = sp.random_array((ROWS, 40), density=0.05, rng=np.random.default_rng(1), format="csr")
    far = [np.full(ROWS, 0.7), 1e9 + Z[:, 0], np.where(np.arange(ROWS) == 5, 0.0, 1e6 + 1e-6 * Z[:, 1])]
    X, y = sp.hstack([few, *(sp.csr_array(each[:, None]) for each in far)], format="csr"), TARGETS["two"]
    seen = SeesRowsWithoutOffsets().fit(X, y)
    assert seen.centre_.astype(bool).tolist() == [False] * 40 + [True] * 3
    assert seen.spread_[40] == 0
    expected = (X.toarray() - seen.centre_) * (seen.spread_ > 0)
    np.testing.assert_array_equal(np.sort(seen.rows_, axis=0), np.sort(expected, axis=0))
    assert sum(seen.cells_) == few.nnz + 2 * ROWS
    dense, sparse = (og.LogisticRegression(C=0.1).fit(rows, y) for rows in (X.toarray(), X))
    np.testing.assert_allclose(sparse.predict_proba(X), dense.predict_proba(X.toarray()), rtol=1e-6)


@pytest.mark.parametrize("table", ["plain", "nanoseconds", "units", "far", "constant"])
@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
def test_quasi_newton_reaches_it_too(table: str, l1_ratio: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "LARGEST", 0)
    X, y = TABLES[table], TARGETS["two"]
    model = og.LogisticRegression(C=1.0, l1_ratio=l1_ratio, max_iter=500).fit(X, y)
    assert gap(model, X, y, None, 1.0, l1_ratio) < 1e-6


@pytest.mark.parametrize("largest", [0, cost.LARGEST])
def test_many_classes_take_few_steps(largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the classes of a feature have in common changes nothing but the penalty: no step looks for it."""
    monkeypatch.setattr(cost, "LARGEST", largest)
    rng = np.random.default_rng(5)
    place = (300 * rng.random((3_000, 10)) ** 3).astype(int)  # few words are frequent, most are rare
    X = sp.csr_array((np.ones(30_000), place.ravel(), np.arange(0, 30_001, 10)), shape=(3_000, 300))
    X.sum_duplicates()
    y = np.argmax(X @ rng.standard_normal((300, 5)) + rng.gumbel(size=(3_000, 5)), axis=1)
    model = og.LogisticRegression().fit(X, y)
    assert model.n_iter_[0] < (70 if largest == 0 else 20)  # they were 153, and 70
    np.testing.assert_allclose(model.coef_.sum(axis=0), 0, atol=1e-9)
    assert gap(model, X.toarray(), y, None, 1.0, 0.0) < 1e-6


@pytest.mark.parametrize("scale", [1.0, 1e9, 1e-9])
def test_what_has_no_minimum_says_so(scale: float) -> None:
    X = scale * Z
    for steps in (30, 1000):  # statsmodels #39: coefficients that grew until they ended seemed to be best
        with pytest.warns(ConvergenceWarning, match="penalise|Perfect separation"):
            og.LogisticRegression(C=np.inf, max_iter=steps).fit(X, (Z[:, 0] > 0).astype(int))


@pytest.mark.parametrize("table", [name for name in TABLES if name != "collinear"])
def test_the_elastic_net_is_the_same_in_any_units(table: str) -> None:
    X = TABLES[table]
    y = Z @ [1.0, -2.0, 0.5] + NOISE[:, 0]
    for alpha in (1e-3, 0.1):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = og.ElasticNet(alpha=alpha, l1_ratio=0.5).fit(X, y)
        centred = X - X.mean(axis=0)
        residual = (y - y.mean()) - centred @ model.coef_
        pull = -centred.T @ residual / ROWS + 0.5 * alpha * model.coef_
        pull = np.where(
            model.coef_ != 0,
            pull + 0.5 * alpha * np.sign(model.coef_),
            np.maximum(np.abs(pull) - 0.5 * alpha, 0),
        )
        bend = (centred**2).mean(axis=0) + 0.5 * alpha
        assert (pull**2 / bend).max() < 1e-12 * (y**2).mean()


def test_squares_that_overflow_are_refused() -> None:
    with pytest.raises(DataError, match="overflow"):
        og.LogisticRegression().fit(Z * [1e200, 1, 1], TARGETS["two"])


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_a_minimum_over_many_columns_is_one_of_all(classes: int, offset: float) -> None:
    """With more columns than rows only some are worked on; the others satisfy the conditions, too."""
    random = np.random.default_rng(classes)
    X = random.standard_normal((200, 400)) + offset * (np.arange(400) % 7 == 0)
    centred = X - X.mean(axis=0)
    y = np.argmax(centred[:, :classes] + 0.3 * random.gumbel(size=(200, classes)), axis=1)
    model = og.LogisticRegression(C=0.3, l1_ratio=0.7).fit(X, y)
    assert 0 < np.count_nonzero(model.coef_) < model.coef_.size / 2
    errors = model.predict_proba(X)[:, -len(model.coef_) :] - np.eye(classes)[y][:, -len(model.coef_) :]
    slope = 0.3 * errors.T @ centred + 0.3 * model.coef_  # of the loss and the squared penalty
    zero = model.coef_ == 0
    assert np.abs(slope[zero]).max() <= 0.7 * (1 + 1e-3)
    np.testing.assert_allclose(slope[~zero], -0.7 * np.sign(model.coef_[~zero]), atol=2e-3)
    np.testing.assert_allclose(errors.sum(axis=0), 0, atol=1e-3)
