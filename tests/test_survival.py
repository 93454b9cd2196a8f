"""Accelerated failure times beside lifelines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.exceptions import ConvergenceWarning

import outgrow as og
from outgrow.engine.blocks import Block
from outgrow.errors import DataError
from outgrow.ml.survival import aft_survival_regression
from outgrow.ml.survival.aft_survival_regression import TimeLoss
from outgrow.ml.survival.concordance import concordance
from outgrow.ml.survival.residuals import RESIDUALS
from outgrow.testing import EngineCase

K = np.arange(40)
X = np.column_stack([np.sin(K), K % 5])
TIME = 1.0 + (7 * K + 3) % 11 + 2 * X[:, 1]
EVENT = (K % 4 != 0).astype(float)

LIFELINES: dict[str, Any] = {
    "weibull": (
        [2.08052029, 0.0130150743, 0.191257076, -1.23792966],
        [0.102677898, 0.0781824282, 0.0427862759, 0.146681648],
        -84.7792731,
    ),
    "lognormal": (
        [1.86406005, 0.0388717165, 0.219224136, -0.943802938],
        [0.11896333, 0.09640392, 0.04838586, 0.129541285],
        -86.3763038,
    ),
    "loglogistic": (
        [1.92248464, 0.0366428287, 0.201950096, -1.49317197],
        [0.121312764, 0.0945258745, 0.0485650499, 0.14853765],
        -86.6633191,
    ),
}
"""Of lifelines 0.30.3: intercept, coefficients, logarithm of the scale; standard errors; log likelihood."""


@pytest.mark.parametrize("distribution", LIFELINES)
def test_what_lifelines_finds(distribution: str) -> None:
    coef, std_error, likelihood = LIFELINES[distribution]
    summary = og.AFTSurvivalRegression(distribution).fit(X, TIME, event=EVENT).summary_
    np.testing.assert_allclose(summary.coef, coef, atol=5e-6)  # as many digits as it is solved to there
    np.testing.assert_allclose(summary.std_error, std_error, rtol=1e-5)
    assert summary.log_likelihood == pytest.approx(likelihood, abs=1e-6)
    assert summary.names == ["intercept", "x0", "x1", "log(scale)"]
    assert (summary.events, summary.rows, summary.test) == (30, 40, "z")


def _log_likelihood(model: Any) -> float:
    z = (np.log(TIME) - np.log(model.predict(X))) / model.scale_
    law = {"weibull": stats.gumbel_l, "exponential": stats.gumbel_l}.get(model.distribution, stats.logistic)
    law = stats.norm if model.distribution == "lognormal" else law
    seen = law.logpdf(z) - np.log(model.scale_ * TIME)
    return float(np.sum(np.where(EVENT == 1, seen, law.logsf(z))))


@pytest.mark.parametrize("distribution", RESIDUALS)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_nothing_near_is_likelier(distribution: str, fit_intercept: bool) -> None:
    model = og.AFTSurvivalRegression(distribution, fit_intercept=fit_intercept).fit(X, TIME, event=EVENT)
    best = _log_likelihood(model)
    assert model.summary_.log_likelihood == pytest.approx(best, rel=1e-10)
    assert (model.scale_ == 1) == (distribution == "exponential")
    for name in ("coef_", *(["intercept_"] * fit_intercept), *(["scale_"] * (model.scale_ != 1))):
        for step in (-1e-3, 1e-3):
            before = getattr(model, name)
            setattr(model, name, before + step)
            assert _log_likelihood(model) < best
            setattr(model, name, before)


def test_an_exponential_rate_is_events_by_time() -> None:
    """Without features that say anything, the maximum is known in closed form."""
    model = og.AFTSurvivalRegression("exponential").fit(np.zeros((40, 1)), TIME, event=EVENT)
    assert np.exp(model.intercept_) == pytest.approx(TIME.sum() / EVENT.sum())
    assert model.summary_.std_error[0] == pytest.approx(1 / np.sqrt(EVENT.sum()))


@pytest.mark.parametrize("distribution", RESIDUALS)
def test_quantiles_are_those_of_the_distribution(distribution: str) -> None:
    model = og.AFTSurvivalRegression(distribution, quantiles=[0.2, 0.5]).fit(X, TIME, event=EVENT)
    low, middle = model.predict_quantiles(X).T
    scale = model.predict(X)
    law = {
        "lognormal": lambda: stats.lognorm(model.scale_, scale=scale),
        "loglogistic": lambda: stats.fisk(1 / model.scale_, scale=scale),
    }.get(distribution, lambda: stats.weibull_min(1 / model.scale_, scale=scale))()
    np.testing.assert_allclose(law.cdf(low), 0.2, rtol=1e-9)
    np.testing.assert_allclose(law.cdf(middle), 0.5, rtol=1e-9)
    table = model.predict_quantiles(pa.table({"x0": X[:, 0], "x1": X[:, 1]}))
    np.testing.assert_allclose(table["quantile_0.2"], low)


def test_on_every_engine(engine: EngineCase) -> None:
    table = pa.table({"a": X[:, 0], "died": EVENT, "b": X[:, 1], "t": TIME, "w": 1.0 + K % 2})
    model = og.AFTSurvivalRegression().fit(engine.open(table), "t", sample_weight="w", event="died")
    assert model.features_ == ["a", "b"]
    rows = np.repeat(K, 1 + K % 2)
    twice = og.AFTSurvivalRegression().fit(X[rows], TIME[rows], event=EVENT[rows])
    np.testing.assert_allclose(model.coef_, twice.coef_, rtol=1e-8)
    np.testing.assert_allclose(model.covariance_, twice.covariance_, rtol=1e-6)


def test_censored_times_are_known_to_the_metrics() -> None:
    """The mean likelihood is that of the fit; the order is judged as Cox regression's, errors where known."""
    model = og.AFTSurvivalRegression().fit(X, TIME, event=EVENT)
    found = model.evaluate(X, TIME, event=EVENT)
    assert found["log_likelihood"] == pytest.approx(model.summary_.log_likelihood / 40)
    predicted, seen = model.predict(X), EVENT == 1
    assert found["concordance"] == pytest.approx(concordance(-predicted, TIME, EVENT, np.ones(40)))
    assert found["mse"] == pytest.approx(np.mean((predicted - TIME)[seen] ** 2))
    assert model.score(X, TIME, event=EVENT) == found["concordance"] != model.score(X, TIME)
    assert np.isnan(model.evaluate(X, TIME, event=np.zeros(40))["r2"])
    with pytest.raises(DataError, match=r"Times must be greater than 0; y holds \[-1.0\]"):
        model.evaluate(X[:1], [-1.0])
    folds = og.cross_validate(model, X, TIME, cv=3, params={"event": EVENT})
    assert np.isfinite(folds.mean()["log_likelihood"])


def test_far_columns_and_units_of_time() -> None:
    """Columns far from zero, and times in other units, change only the intercept (SPARK-13322's kind)."""
    plain = og.AFTSurvivalRegression().fit(X, TIME, event=EVENT)
    moved = og.AFTSurvivalRegression().fit(X * [1, 100] + [1e4, -1e6], TIME * 1e9, event=EVENT)
    np.testing.assert_allclose(moved.coef_ * [1, 100], plain.coef_, rtol=1e-6)
    np.testing.assert_allclose(
        moved.summary_.std_error[1:3] * [1, 100], plain.summary_.std_error[1:3], rtol=1e-5
    )
    assert moved.scale_ == pytest.approx(plain.scale_, rel=1e-7)


def test_what_cannot_be_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    model = og.AFTSurvivalRegression()
    with pytest.raises(DataError, match="must be greater than 0: 1 value"):
        model.fit(X, np.where(K == 3, 0.0, TIME))
    with pytest.raises(DataError, match=r"event must be 0 or 1: 40 value.*mean is 2"):
        model.fit(X, TIME, event=np.full(40, 2.0))
    with pytest.raises(DataError, match="No row has an event"):
        model.fit(X, TIME, event=np.zeros(40))
    with pytest.warns(ConvergenceWarning, match="leave some of them out"):
        model.fit(np.log(TIME)[:, None], TIME)
    monkeypatch.setattr(aft_survival_regression, "GRAM_WIDTH", 1)
    with pytest.raises(DataError, match="up to 1 features; there are 2"):
        model.fit(X, TIME)


@given(
    st.sampled_from(sorted(RESIDUALS)),
    st.floats(-3, 3),
    st.floats(0.2, 3),
    st.floats(0.1, 20),
    st.sampled_from([0.0, 1.0]),
)
@settings(max_examples=100, deadline=None)
def test_derivatives(distribution: str, predictor: float, scale: float, time: float, event: float) -> None:
    loss = TimeLoss(RESIDUALS[distribution], 0.3)
    block = Block(np.zeros((1, 0)), np.array([time]), roles={"event": np.array([event])})

    def at(p: float, s: float) -> np.ndarray:
        return np.array([each[0] for each in loss.derivatives(np.array([p]), s, block)])

    here, h = at(predictor, scale), 1e-5
    by_predictor = (at(predictor + h, scale) - at(predictor - h, scale)) / (2 * h)
    by_scale = (at(predictor, scale + h) - at(predictor, scale - h)) / (2 * h)
    expected = [by_predictor[0], by_scale[0], by_predictor[1], by_predictor[2], by_scale[2]]
    np.testing.assert_allclose(here[1:], expected, rtol=1e-4, atol=1e-5 * (1 + np.abs(here).max()))
    assert here[0] == loss.losses(np.array([predictor]), scale, block)[0]
