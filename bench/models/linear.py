"""Generalized linear models, margins, robust and survival regression."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import sklearn.linear_model as peer
import sklearn.svm
from sklearn.metrics import mean_pinball_loss, mean_tweedie_deviance

import outgrow as og
from bench.grids.cell import Cell
from bench.models import rows
from bench.models.rows import Sample

Judge = Callable[[Any, Any], float]


def beside(
    name: str,
    make: Callable[[], Sample],
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    judge: Judge,
    **how: Any,
) -> Cell:
    return Cell(
        name,
        make,
        lambda sample: ours().fit(sample.X, sample.y),
        lambda sample: theirs().fit(sample.X, sample.y),
        judge,
        **how,
    )


def deviance(power: float, alpha: float) -> Judge:
    """What scikit-learn's generalized linear models minimise: half the mean deviance, and the penalty."""

    def judge(sample: Sample, model: Any) -> float:
        mean = np.exp(sample.X @ np.ravel(model.coef_) + float(np.ravel(model.intercept_)[0]))
        penalty = alpha * float(np.sum(np.square(model.coef_)))
        return 0.5 * (float(mean_tweedie_deviance(sample.y, mean, power=power)) + penalty)

    return judge


def huber(sample: Sample, model: Any) -> float:
    rest = np.abs(sample.y - sample.X @ model.coef_ - model.intercept_) / model.scale_
    outer = rest > model.epsilon
    losses = np.where(outer, 2 * model.epsilon * rest - model.epsilon**2, rest**2)
    penalty = model.alpha * float(model.coef_ @ model.coef_)
    return float((model.scale_ * (1 + losses)).mean()) + penalty / len(rest)


def squared_hinge(sample: Sample, model: Any) -> float:
    coef, intercept = np.ravel(model.coef_), float(np.ravel(model.intercept_)[0])
    margin = (2 * sample.y - 1) * (sample.X @ coef + intercept)
    return float(np.mean(np.maximum(0, 1 - margin) ** 2)) + 0.5 * float(coef @ coef) / len(margin)


def squared_errors(sample: Sample, model: Any) -> float:
    coef, intercept = np.ravel(model.coef_), float(np.ravel(model.intercept_)[0])
    rest = sample.y - sample.X @ coef - intercept
    return float(np.mean(rest**2)) + 0.5 * float(coef @ coef) / len(rest)


def pinball(sample: Sample, model: Any) -> float:
    return float(mean_pinball_loss(sample.y, model.predict(sample.X), alpha=0.9))


def _few(make: Callable[[], Sample], count: int) -> Callable[[], Sample]:
    return lambda: Sample(*(part[:count] for part in make()))


def _statsmodels() -> Iterator[Cell]:
    def theirs(sample: Sample) -> Any:
        import statsmodels.api as sm

        design = np.column_stack([np.ones(len(sample.X)), sample.X])
        fitted = sm.GLM(sample.y, design, family=sm.families.Poisson()).fit()
        return fitted.params[1:], fitted.params[0], fitted.bse

    def ours(sample: Sample) -> Any:
        model = og.GeneralizedLinearRegression("poisson").fit(sample.X, sample.y)
        return model.coef_, model.intercept_, model.summary_

    def judge(sample: Sample, found: Any) -> float:
        mean = np.exp(sample.X @ found[0] + found[1])
        return float(mean_tweedie_deviance(sample.y, mean, power=1))

    yield Cell("Poisson with standard errors", rows.counts, ours, theirs, judge, peer="statsmodels")


def _survival() -> Iterator[Cell]:
    def weibull(sample: Any) -> Any:
        import lifelines
        import pandas as pd

        X, time, event = sample
        frame = pd.DataFrame(X).assign(time=time, event=event)
        fitted = lifelines.WeibullAFTFitter().fit(frame, "time", "event")
        return -fitted.log_likelihood_

    def ours(sample: Any) -> Any:
        X, time, event = sample
        return og.AFTSurvivalRegression().fit(X, time, event=event)

    def judge(sample: Any, found: Any) -> float:
        return 0.0

    yield Cell("Weibull survival, 100,000 x 10", rows.lifetimes, ours, weibull, judge, peer="lifelines")


def _cells() -> Iterator[Cell]:
    yield beside(
        "Poisson",
        rows.counts,
        lambda: og.PoissonRegressor(alpha=1e-4),
        lambda: peer.PoissonRegressor(alpha=1e-4, tol=1e-6),
        deviance(1, 1e-4),
    )
    yield beside(
        "gamma",
        rows.positives,
        lambda: og.GammaRegressor(alpha=1e-4),
        lambda: peer.GammaRegressor(alpha=1e-4, tol=1e-6),
        deviance(2, 1e-4),
    )
    yield beside(
        "Tweedie, power 1.5",
        rows.claims,
        lambda: og.TweedieRegressor(power=1.5, alpha=1e-4),
        lambda: peer.TweedieRegressor(power=1.5, alpha=1e-4, tol=1e-6),
        deviance(1.5, 1e-4),
    )
    yield beside("Huber", rows.heavy_tails, og.HuberRegressor, peer.HuberRegressor, huber)
    yield beside(
        "linear support vectors",
        rows.classes,
        og.LinearSVC,
        lambda: sklearn.svm.LinearSVC(dual=False),
        squared_hinge,
    )
    yield beside(
        "linear support vectors of numbers",
        rows.heavy_tails,
        lambda: og.LinearSVR(loss="squared_epsilon_insensitive"),
        lambda: sklearn.svm.LinearSVR(loss="squared_epsilon_insensitive", dual=False),
        squared_errors,
    )
    yield from _statsmodels()
    yield from _survival()


CELLS = tuple(_cells())
