"""BayesianGaussianMixture beside scikit-learn's, from the same beginning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import mixture

import outgrow as og
from outgrow.errors import ParameterError

FORMS = ["full", "tied", "diag", "spherical"]
KINDS = ["dirichlet_process", "dirichlet_distribution"]
LEARNED = ["weights_", "means_", "covariances_", "precisions_", "mean_precision_", "degrees_of_freedom_"]


def rows(seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    parts = [
        random.normal(size=(count, 2)) @ random.normal(size=(2, 2)) + 12 * k
        for k, count in enumerate((90, 60))
    ]
    return np.concatenate(parts)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("far", [0.0, 1e6])
def test_it_ends_where_scikit_learn_does(form: str, kind: str, far: float) -> None:
    """Two groups that k-means finds are one beginning."""
    X = rows()
    settings: dict[str, Any] = {
        "covariance_type": form,
        "weight_concentration_prior_type": kind,
        "random_state": 0,
        "tol": 1e-6,
        "max_iter": 300,
    }
    ours = og.BayesianGaussianMixture(2, **settings).fit(X + far)
    order = np.argsort(ours.means_[:, 0])
    for seed in range(20):  # the order of components counts, and is chance
        theirs = mixture.BayesianGaussianMixture(n_components=2, **{**settings, "random_state": seed}).fit(X)
        if (np.argsort(theirs.means_[:, 0]) == order).all():
            break
    tolerance = 1e-6 if far == 0 else 1e-5
    for name in LEARNED:
        mine, wanted = np.asarray(getattr(ours, name)), np.asarray(getattr(theirs, name))
        shift = far if name == "means_" else 0.0
        np.testing.assert_allclose(mine - shift, wanted, rtol=tolerance, atol=tolerance, err_msg=name)
    assert ours.lower_bound_ == pytest.approx(theirs.lower_bound_, rel=tolerance)
    np.testing.assert_allclose(ours.score_samples(X + far), theirs.score_samples(X), rtol=1e-4)
    shares = ours.predict_proba(X + far)
    np.testing.assert_allclose(shares, theirs.predict_proba(X), atol=1e-4)
    np.testing.assert_allclose(
        ours.to_sklearn().predict_proba(X + far), ours.predict_proba(X + far), atol=1e-7
    )


@pytest.mark.parametrize("kind", KINDS)
def test_components_that_are_not_needed_get_no_weight(kind: str) -> None:
    X = rows(1)
    model = og.BayesianGaussianMixture(
        6,
        weight_concentration_prior_type=kind,
        weight_concentration_prior=1e-3,
        max_iter=2000,
        random_state=0,
    ).fit(X)
    assert (model.weights_ > 0.02).sum() == 2
    assert len(np.unique(model.predict(X))) == 2


def test_weights_are_repeated_rows_and_a_warm_start_goes_on() -> None:
    X, weight = rows(2), np.random.default_rng(0).integers(0, 3, 150)
    weighted = og.BayesianGaussianMixture(2, random_state=0).fit(X, sample_weight=weight)
    repeated = og.BayesianGaussianMixture(2, random_state=0).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(np.sort(weighted.weights_), np.sort(repeated.weights_), rtol=1e-6)
    model = og.BayesianGaussianMixture(3, max_iter=2, tol=0, warm_start=True, random_state=0)
    with pytest.warns(match="did not converge"):
        bounds = [model.fit(X).lower_bound_ for _ in range(3)]
    assert bounds == sorted(bounds)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"degrees_of_freedom_prior": 1.0}, "'degrees_of_freedom_prior' should be greater than 1, but got 1"),
        ({"mean_prior": [1.0]}, r"should have the shape of \(2,\)"),
        ({"covariance_prior": -np.eye(2)}, "symmetric, positive-definite"),
        ({"covariance_prior": [1.0, -1.0], "covariance_type": "diag"}, "covariance_prior should be positive"),
        ({"covariance_prior": np.eye(2), "covariance_type": "spherical"}, r"should have the shape of \(\)"),
        ({"weight_concentration_prior": 0}, "weight_concentration_prior must be"),
    ],
)
def test_priors_that_cannot_be(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        og.BayesianGaussianMixture(2, **given).fit(rows())
