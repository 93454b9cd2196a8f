"""What scikit-learn's trees and k-means offer beside fit and predict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import outgrow as og
from outgrow.errors import ParameterError


def rows(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    X = random.normal(size=(n, 3))
    return X, X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * random.normal(size=n)


def test_stages_end_in_the_prediction() -> None:
    X, y = rows()
    regressor = og.GradientBoostingRegressor(n_estimators=5).fit(X, y)
    stages = list(regressor.staged_predict(X))
    losses = [((y - stage) ** 2).mean() for stage in stages]
    assert len(stages) == regressor.n_iter_
    assert losses == sorted(losses, reverse=True)
    assert stages[-1].tolist() == regressor.predict(X).tolist()
    classifier = og.GradientBoostingClassifier(n_estimators=5).fit(X, np.digitize(y, [-0.5, 0.5]))
    assert np.allclose([*classifier.staged_predict_proba(X)][-1], classifier.predict_proba(X))
    assert [*classifier.staged_predict(X)][-1].tolist() == classifier.predict(X).tolist()


@pytest.mark.parametrize(
    "model",
    [og.GradientBoostingRegressor(n_estimators=4), og.RandomForestRegressor(n_estimators=4, max_depth=3)],
)
def test_rows_of_one_leaf_in_each_tree_have_one_prediction(model: Any) -> None:
    X, y = rows()
    leaves, answers = model.fit(X, y).apply(X), model.predict(X)
    assert leaves.shape == (len(X), 4)
    groups = np.unique(leaves, axis=0, return_inverse=True)[1].ravel()
    assert all(np.ptp(answers[groups == group]) == 0 for group in range(groups.max() + 1))


@pytest.mark.parametrize("sign", [1, -1])
def test_predictions_keep_their_direction(sign: int) -> None:
    X, y = rows()
    grid = np.zeros((50, 3))
    grid[:, 0] = np.linspace(-3, 3, 50)
    model = og.GradientBoostingRegressor(n_estimators=20, monotonic_cst=[sign, 0, 0]).fit(X, np.sin(3 * y))
    assert (np.diff(model.predict(grid)) * sign >= 0).all()
    named = og.GradientBoostingRegressor(n_estimators=20, monotonic_cst={"x0": sign}).fit(X, np.sin(3 * y))
    assert named.predict(grid).tolist() == model.predict(grid).tolist()


def test_features_that_may_not_interact_add_up() -> None:
    X, y = rows()
    model = og.GradientBoostingRegressor(n_estimators=20, interaction_cst="no_interactions").fit(X, y)
    a, b = np.array([[-1.0, 0, 0], [1.0, 0, 0]]), np.array([[-1.0, 2, 0], [1.0, 2, 0]])
    assert np.diff(model.predict(a)) == pytest.approx(np.diff(model.predict(b)), abs=1e-5)
    free = og.GradientBoostingRegressor(n_estimators=20, interaction_cst=[[0], [1, 2]]).fit(X, y)
    assert free.score(X, y) > model.score(X, y)


@pytest.mark.parametrize(
    "setting",
    [
        {"monotonic_cst": [1]},
        {"monotonic_cst": [2, 0, 0]},
        {"monotonic_cst": {"nobody": 1}},
        {"interaction_cst": [[7]]},
        {"interaction_cst": "some"},
        {"interaction_cst": [0]},
    ],
    ids=str,
)
def test_impossible_constraints_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match="_cst"):
        og.GradientBoostingRegressor(**setting).fit(*rows())


@pytest.mark.parametrize(
    "start",
    [
        "k-means++",
        "random",
        lambda X, clusters, random_state: X[random_state.permutation(len(X))[:clusters]],
        rows()[0][:4],
    ],
)
def test_k_means_starts_as_in_scikit_learn(start: Any) -> None:
    X, _ = rows()
    model = og.KMeans(
        4, init=start, n_init="auto", algorithm="elkan", random_state=np.random.RandomState(0)
    ).fit(X)
    squares = cdist(X, model.cluster_centers_, "sqeuclidean").min(axis=1)
    assert model.inertia_ == pytest.approx(squares.sum()) == pytest.approx(-model.score(X))
    assert model.score(X, sample_weight=np.full(len(X), 2.0)) == pytest.approx(-2 * squares.sum())
    assert model.fit_transform(X).shape == (len(X), 4)
