"""GaussianMixture beside scikit-learn's, which begins where it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn import mixture
from sklearn.exceptions import NotFittedError

import outgrow as og
from outgrow.errors import DataError, ParameterError
from outgrow.testing import EngineCase

FORMS = ["full", "tied", "diag", "spherical"]
LEARNED = ["weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_", "lower_bound_"]


def rows(seed: int = 0, count: int = 600) -> np.ndarray:
    rng = np.random.default_rng(seed)
    means, spread = rng.normal(size=(3, 4)) * 4, rng.normal(size=(3, 4, 4))
    return np.concatenate(
        [rng.normal(size=(count // 3, 4)) @ s + m for m, s in zip(means, spread, strict=True)]
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("far", [0.0, 1e6])
def test_steps_are_those_of_scikit_learn(form: str, far: float) -> None:
    """From the same first parameters; far from zero the steps are those of rows that are near."""
    X = rows()
    first = mixture.GaussianMixture(3, covariance_type=form, max_iter=1, random_state=0)
    with pytest.warns(match="did not converge"):
        first.fit(X)
    start = {"weights_init": first.weights_, "precisions_init": first.precisions_}
    settings: dict[str, Any] = {"covariance_type": form, "tol": 1e-4, **start}
    theirs = mixture.GaussianMixture(3, means_init=first.means_, **settings).fit(X)
    ours = og.GaussianMixture(3, means_init=first.means_ + far, **settings).fit(X + far)
    assert (ours.n_iter_, ours.converged_) == (theirs.n_iter_, theirs.converged_)
    tolerance = 1e-9 if far == 0 else 1e-5
    np.testing.assert_allclose(ours.means_ - far, theirs.means_, rtol=tolerance, atol=tolerance)
    for name in set(LEARNED) - {"means_"}:
        np.testing.assert_allclose(
            getattr(ours, name), getattr(theirs, name), rtol=tolerance, atol=tolerance, err_msg=name
        )
    tolerance *= 100
    np.testing.assert_allclose(ours.score_samples(X + far), theirs.score_samples(X), rtol=tolerance)
    np.testing.assert_allclose(ours.predict_proba(X + far), theirs.predict_proba(X), atol=tolerance)
    assert ours.bic(X + far) == pytest.approx(theirs.bic(X), rel=tolerance)
    assert ours.aic(X + far) == pytest.approx(theirs.aic(X), rel=tolerance)


@pytest.mark.parametrize("form", FORMS)
def test_its_own_start_is_as_good(form: str) -> None:
    X = rows(1) + np.repeat(np.eye(3, 4) * 30, 200, axis=0)
    ours = og.GaussianMixture(3, covariance_type=form, n_init=3, random_state=1).fit(X)
    theirs = mixture.GaussianMixture(3, covariance_type=form, n_init=3, random_state=1).fit(X)
    assert ours.score(X) >= theirs.score(X) - 1e-2
    for init in ("k-means++", "random_from_data"):
        other = og.GaussianMixture(3, covariance_type=form, init_params=init, random_state=1).fit(X)
        assert np.isfinite(other.score(X))


def test_weights_are_repeated_rows() -> None:
    X, weight = rows(2, 300), np.random.default_rng(2).integers(0, 3, 300)
    start = {"means_init": X[[0, 150, 290]], "weights_init": np.full(3, 1 / 3)}
    start["precisions_init"] = np.stack([np.eye(4)] * 3)
    weighted = og.GaussianMixture(3, **start).fit(X, sample_weight=weight)
    repeated = og.GaussianMixture(3, **start).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(weighted.means_, repeated.means_, rtol=1e-8)
    np.testing.assert_allclose(weighted.covariances_, repeated.covariances_, rtol=1e-7, atol=1e-10)
    assert weighted.score(X, sample_weight=weight) == pytest.approx(
        repeated.score(np.repeat(X, weight, axis=0))
    )


def test_a_warm_start_goes_on() -> None:
    X = rows(3)
    model = og.GaussianMixture(3, max_iter=2, tol=0, warm_start=True, random_state=0)
    with pytest.warns(match="did not converge"):
        bounds = [model.fit(X).lower_bound_ for _ in range(4)]
    assert bounds == sorted(bounds)
    with pytest.warns(match="did not converge"):
        once = og.GaussianMixture(3, max_iter=8, tol=0, random_state=0).fit(X)
    np.testing.assert_allclose(model.means_, once.means_, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:Best performing")
def test_densities_of_every_engine_and_in_a_pipeline(engine: EngineCase, tmp_path: Path) -> None:
    X = rows(4, 240)
    table = pa.table({name: X[:, j] for j, name in enumerate("abcd")})
    pipe = og.Pipeline([og.MinMaxScaler(), og.GaussianMixture(2, random_state=0)]).fit(engine.open(table))
    pipe.save(tmp_path / "mixture")
    pipe = og.load(tmp_path / "mixture")
    scores = pipe.evaluate(engine.open(table), None)
    logs = pipe.score_samples(table)["log_density"].to_numpy()
    assert scores["log_likelihood"] == pytest.approx(logs.mean())
    assert scores.rows == 240
    lazy = pipe.score_samples(engine.open(table)).to_arrow()
    np.testing.assert_allclose(np.sort(lazy["log_density"].to_numpy()), np.sort(logs))


@pytest.mark.parametrize("form", FORMS)
def test_samples_are_drawn_from_it(form: str) -> None:
    X = rows(5)
    model = og.GaussianMixture(3, covariance_type=form, random_state=0).fit(X)
    drawn, components = model.sample(40_000)
    assert drawn.shape == (40_000, 4)
    assert (np.diff(components) >= 0).all()
    np.testing.assert_allclose(np.bincount(components) / 40_000, model.weights_, atol=0.02)
    spread = covariances_of(model)
    for k in range(3):
        mine = drawn[components == k]
        sizes = np.sqrt(np.diag(spread[k]))
        np.testing.assert_allclose(mine.mean(axis=0) / sizes, model.means_[k] / sizes, atol=0.05)
        np.testing.assert_allclose(
            np.cov(mine.T) / np.outer(sizes, sizes), spread[k] / np.outer(sizes, sizes), atol=0.05
        )
    assert (model.sample(5)[0] == model.sample(5)[0]).all()
    model.set_params(random_state=None)
    assert (model.sample(5)[0] != model.sample(5)[0]).any()
    with pytest.raises(ParameterError, match=r"sample\(n_samples=0\): n_samples must be a whole number"):
        model.sample(0)
    with pytest.raises(NotFittedError):
        og.GaussianMixture().sample()


def covariances_of(model: og.GaussianMixture) -> list[np.ndarray]:
    forms = {
        "full": lambda made: made,
        "tied": lambda made: made,
        "diag": np.diag,
        "spherical": lambda made: np.eye(4) * made,
    }
    made = model.covariances_ if model.covariance_type != "tied" else [model.covariances_] * 3
    return [forms[model.covariance_type](each) for each in made]


def test_rows_so_far_off_that_no_component_is_near() -> None:
    model = og.GaussianMixture(3, random_state=0).fit(rows(6))
    far = np.array([[1e200, 0, 0, 0], [1e6, 0, 0, 0], [0, -1e300, 1e160, 0]])
    shares = model.predict_proba(far)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (shares[[0, 2]] == 1 / 3).all()
    assert model.score_samples(far)[[0, 2]].tolist() == [-np.inf, -np.inf]
    assert (model.predict(far) == shares.argmax(axis=1)).all()


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        ({"weights_init": [0.5, 0.6]}, "'weights' should be normalized"),
        ({"weights_init": [-1, 2]}, r"in \[0, 1\].*got \[-1.0, 2.0\]"),
        ({"weights_init": [["a"]]}, "weights_init holds what is no number"),
        ({"means_init": [[0, 0], [np.inf, 0]]}, "of finite numbers"),
        ({"precisions_init": [np.eye(2), -np.eye(2)]}, "symmetric, positive-definite"),
        ({"precisions_init": [[[1, 0.5], [0, 1]]] * 2}, "symmetric, positive-definite"),
        ({"precisions_init": [-np.eye(2)[0], np.eye(2)[0]], "covariance_type": "tied"}, "symmetric"),
        ({"precisions_init": [[1, 0], [1, 1]], "covariance_type": "diag"}, "should be positive"),
        ({"precisions_init": [-1, 1], "covariance_type": "spherical"}, "should be positive"),
    ],
)
def test_first_parameters_that_cannot_be(start: dict[str, Any], reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        og.GaussianMixture(2, **start).fit(rows()[:, :2])


@pytest.mark.parametrize("change", [{"n_components": 3}, {"covariance_type": "diag"}, {}])
def test_a_warm_start_of_something_else_is_refused(change: dict[str, Any]) -> None:
    X = rows(3)
    model = og.GaussianMixture(2, warm_start=True, random_state=0).fit(X)
    with pytest.raises(ParameterError, match="the last fit had 2 components on 4 columns"):
        model.set_params(**change).fit(X if change else X[:, :3])
    assert model.set_params(warm_start=False).fit(X[:, :3]).n_features_in_ == 3


def test_what_it_refuses_is_said() -> None:
    with pytest.raises(DataError, match="n_components = 5, n_samples = 2"):
        og.GaussianMixture(5).fit(np.eye(2))
    with pytest.raises(ParameterError, match=r"'means' should have the shape of \(1, 2\)"):
        og.GaussianMixture(means_init=[[0.0]]).fit(np.eye(2))
    with pytest.raises(ParameterError, match="covariance_type"):
        og.GaussianMixture(covariance_type="round").fit(np.eye(2))
    with pytest.raises(DataError, match="ill-defined empirical covariance"):
        og.GaussianMixture(reg_covar=0).fit(np.ones((3, 2)))
