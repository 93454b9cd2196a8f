"""Accelerated failure time: regression for times of which some are censored."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError
from outgrow.ml.base import Regressor
from outgrow.ml.core.parameters import FLAG, Integer, Number, Numbers, OneOf
from outgrow.ml.export.onnx.answer import Answer, features
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.linear_model.base import GRAM_WIDTH
from outgrow.ml.linear_model.inference import Information, Summary
from outgrow.ml.solvers.location_scale import Rows, ScaledObjective, scaled_minimum
from outgrow.ml.solvers.offsets import Offsets
from outgrow.ml.survival.residuals import RESIDUALS, Residual
from outgrow.ml.survival.time_scores import TimeScoring
from outgrow.stats.moments import Moments


class AFTSurvivalRegression(Regressor):
    """log(time) = X @ coef_ + intercept_ + scale_ * error, for times of which some are censored.

    `fit(..., event=)` takes 1 where what is waited for happened at that time, and 0 where nothing is known
    but that it had not happened by then; without it, all have happened. In the coefficients divided by the
    scale, and its inverse, the likelihood is concave (Burridge 1981), so Newton's method finds the maximum
    from anywhere, in a handful of passes.

    Parameters
    ----------
    distribution : of the times: 'weibull', 'exponential' (whose scale is 1), 'lognormal' or 'loglogistic'.
    fit_intercept : learn a constant.
    quantiles : shares between 0 and 1, of which `predict_quantiles` tells the times.
    max_iter : most passes.
    tol : share of the log likelihood; it ends with the step that is expected to leave no more to gain.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,); float32 where X was an array of float32.
    intercept_ : float.
    scale_ : float; 1 / scale_ is the shape of a Weibull distribution.
    n_iter_ : passes.
    covariance_ : ndarray, of the intercept, the coefficients, and log(scale_).
    summary_ : `Summary`: of each coefficient `std_error`, `statistic`, `p_value` and `interval()`; and
        `log_likelihood`, `aic`, `events` and `rows`, as R's `survreg` and lifelines give them.

    Notes
    -----
    `evaluate` takes `event`, too, without which all times are known ones: it gives the `concordance` of the
    predicted times, the mean `log_likelihood` of a row, and the errors of those times that are known. It
    takes up to 4,096 features.

    Unlike Spark MLlib's `AFTSurvivalRegression(censorCol='censor', quantilesCol='')`: `event` is the column
    that is called `censorCol` there, in which 1 is an event, too; other distributions than Weibull's,
    weights, standard errors.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[1.0], [0.0], [1.0], [0.0], [1.0], [0.0]])
    >>> time, event = np.array([9.0, 2.0, 6.0, 3.0, 8.0, 1.0]), np.array([0, 1, 1, 1, 1, 1])
    >>> model = og.AFTSurvivalRegression().fit(X, time, event=event)
    >>> round(float(np.exp(model.coef_[0])), 2)
    3.84
    """

    roles = {"event": False}
    _scoring = TimeScoring()
    score_metric = "concordance"
    _follows_type = ("coef_",)
    no_exports = {"scikit-learn": "scikit-learn has no models of censored times"}
    expected_failed_checks = {
        f"check_sample_weight_equivalence_on_{form}_data": "rows that the columns explain exactly have no "
        "most likely scale"
        for form in ("dense", "sparse")
    }
    parameters = {
        "distribution": OneOf(*RESIDUALS),
        "fit_intercept": FLAG,
        "quantiles": Numbers(above=0, below=1),
        "max_iter": Integer(low=1),
        "tol": Number(low=0),
    }

    coef_: np.ndarray
    intercept_: float
    scale_: float
    covariance_: np.ndarray
    fit_statistics_: dict[str, float]

    def __init__(
        self,
        distribution: str = "weibull",
        *,
        fit_intercept: bool = True,
        quantiles: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 0.9),
        max_iter: int = 100,
        tol: float = 1e-12,
    ) -> None:
        self.distribution = distribution
        self.fit_intercept = fit_intercept
        self.quantiles = quantiles
        self.max_iter = max_iter
        self.tol = tol

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        return tags

    def _fit(self, view: MatrixView) -> None:
        if view.width > GRAM_WIDTH:
            raise DataError(
                f"AFTSurvivalRegression takes up to {GRAM_WIDTH} features; there are {view.width}. Choose "
                "some of them, or reduce them with PCA."
            )
        log_time, counts = view.reduce(_opening)
        _check(counts)
        centre = float(log_time.mean[0]) if self.fit_intercept else 0.0
        deviation = float(np.sqrt(log_time.variance()[0]))
        offsets = Offsets.of(view, intercept=self.fit_intercept)
        loss = TimeLoss(RESIDUALS[self.distribution], centre)
        free = self.distribution != "exponential"
        objective = ScaledObjective(offsets.apply(view), loss, self.fit_intercept, 0.0, free)
        start = np.zeros(view.width + self.fit_intercept + 1)
        start[-1] = 1 / deviation if free and deviation > 0 else 1.0
        found = scaled_minimum(objective, start, tol=self.tol, max_iter=self.max_iter)
        self.n_iter_ = found.steps
        self._take(found.w, offsets, centre)
        values, _, H = objective.look(found.w, np.zeros_like(found.w), np.ones(1))
        self._infer(found.w, H, offsets, float(values[0]), counts)
        if not found.converged:
            self._warn()

    def _take(self, w: np.ndarray, offsets: Offsets, centre: float) -> None:
        width = len(offsets.centre)
        coef = w[:width] / w[-1]
        constant = [w[width] / w[-1] + centre] if self.fit_intercept else [0.0]
        if self.fit_intercept:
            constant = list(offsets.restore(coef[None, :], np.array(constant)))
        self.coef_, self.intercept_, self.scale_ = coef, float(constant[0]), float(1 / w[-1])

    def _infer(
        self, w: np.ndarray, H: np.ndarray, offsets: Offsets, value: float, counts: np.ndarray
    ) -> None:
        """The covariance of the intercept, the coefficients and the logarithm of the scale."""
        width, inverse = len(offsets.centre), w[-1]
        free = self.distribution != "exponential"
        size = len(w) if free else len(w) - 1
        back = np.zeros((size, size))
        first = int(self.fit_intercept)
        back[first : first + width, :width] = np.eye(width) / inverse
        if first:
            back[0, :width], back[0, width] = -offsets.centre / inverse, 1 / inverse
        if free:
            coef = w[:width] / inverse
            back[first : first + width, -1] = -coef / inverse
            back[-1, -1] = -1 / inverse
            if first:
                back[0, -1] = (coef @ offsets.centre - w[width] / inverse) / inverse
        self.covariance_ = Information.of(H[:size, :size]).covariance(back)
        likelihood = -value - float(counts[5])
        self.fit_statistics_ = {
            "log_likelihood": likelihood,
            "aic": 2 * size - 2 * likelihood,
            "events": float(counts[4]),
            "rows": float(counts[6]),
        }

    @property
    def summary_(self) -> Summary:
        """Coefficients with their standard errors and tests, and the log likelihood."""
        check_is_fitted(self)
        names, coef = list(self.features_), np.asarray(self.coef_, dtype=np.float64)
        if self.fit_intercept:
            names, coef = ["intercept", *names], np.append(self.intercept_, coef)
        if self.distribution != "exponential":
            names, coef = [*names, "log(scale)"], np.append(coef, np.log(self.scale_))
        fit = {"distribution": self.distribution, "scale": self.scale_, **self.fit_statistics_}
        left = self.fit_statistics_["rows"] - len(coef)
        return Summary(names, coef, np.sqrt(np.diag(self.covariance_)), "z", left, fit)

    def _predict(self, X: Any) -> np.ndarray:
        with np.errstate(over="ignore"):  # a time past all numbers is infinite
            return np.asarray(np.exp(X @ self.coef_ + self.intercept_))

    def _log_likelihoods(self, predicted: np.ndarray, block: Block) -> np.ndarray:
        """The logarithms of the likelihood of the times of a block, from what is predicted for its rows."""
        loss, scores = TimeLoss(RESIDUALS[self.distribution], 0.0), np.log(predicted)
        losses = loss.losses(scores / self.scale_, 1 / self.scale_, block)
        return np.asarray(-losses - _events(block) * np.log(np.asarray(block.y)))

    def _survival(self, predicted: np.ndarray, times: np.ndarray) -> np.ndarray:
        """How probable it is that rows with these predictions have no event by each time."""
        with np.errstate(divide="ignore"):
            z = (np.log(times) - np.log(predicted)[:, None]) / self.scale_
        censored = RESIDUALS[self.distribution].parts(np.maximum(z, -700.0), np.zeros(z.shape))[0]
        return np.asarray(np.exp(-censored))

    def predict_quantiles(self, X: Any) -> Any:
        """By when each of the shares in `quantiles` has happened: an array of shape (rows, quantiles).

        For lazy tables, columns `quantile_<share>`.
        """
        return self._respond(X, "predict_quantiles")

    def _predict_quantiles(self, X: Any) -> np.ndarray:
        errors = RESIDUALS[self.distribution].quantile(np.atleast_1d(np.asarray(self.quantiles, float)))
        scores = np.asarray(X @ self.coef_ + self.intercept_)
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(scores[:, None] + self.scale_ * errors))

    def _prediction_names(self, method: str) -> list[str]:
        if method != "predict_quantiles":
            return super()._prediction_names(method)
        return [f"quantile_{share:g}" for share in np.atleast_1d(self.quantiles)]

    def _to_onnx(self, table: Table) -> Answer:
        graph = table.graph
        X = features(self.features_, table, type(self).__name__)
        product = graph.node("MatMul", X, graph.constant(self.coef_.astype(np.float64)[:, None]))
        score = graph.node("Add", product, graph.constant(np.atleast_1d(self.intercept_)))
        return Answer(graph.node("Exp", graph.node("Squeeze", score, graph.constant([1], np.int64))))

    def _warn(self) -> None:
        warnings.warn(
            f"AFTSurvivalRegression failed to converge in {self.n_iter_} passes. Raise max_iter, or scale "
            "the columns; where they explain the times exactly (a scale_ near 0), leave some of them out.",
            ConvergenceWarning,
            stacklevel=2,
        )


class TimeLoss:
    """Minus the log likelihood of times, without their own logarithms, by predictor and inverse scale.

    Parameters
    ----------
    residual : the distribution of (log(time) - centre) * inverse scale - predictor.
    centre : what is subtracted from the logarithms.
    """

    def __init__(self, residual: Residual, centre: float) -> None:
        self.residual = residual
        self.centre = centre

    def losses(self, predictor: np.ndarray, scale: float, block: Block) -> np.ndarray:
        """See `ScaledLoss.losses`.

        Parameters
        ----------
        predictor, scale, block : as there.
        """
        log_time, event = self._seen(block)
        return self.residual.parts(scale * log_time - predictor, event)[0] - event * np.log(scale)

    def derivatives(self, predictor: np.ndarray, scale: float, block: Block) -> Rows:
        """See `ScaledLoss.derivatives`.

        Parameters
        ----------
        predictor, scale, block : as there.
        """
        log_time, event = self._seen(block)
        loss, slope, bend = self.residual.parts(scale * log_time - predictor, event)
        return (
            loss - event * np.log(scale),
            -slope,
            log_time * slope - event / scale,
            bend,
            -log_time * bend,
            log_time**2 * bend + event / scale**2,
        )

    def _seen(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        return np.log(np.asarray(block.y)) - self.centre, _events(block)


def _events(block: Block) -> np.ndarray:
    return block.roles.get("event", np.ones(len(block)))


def _opening(block: Block) -> tuple[Moments, np.ndarray]:
    """Of the logarithms of times; how many times and events cannot be, with the sums of those.

    Then the weight of the events, the sum of the logarithms of their times, and the weight of all rows.
    """
    y, event = np.asarray(block.y), _events(block)
    weight = np.ones(len(y)) if block.weight is None else block.weight
    wrong, odd = ~(y > 0), (event != 0) & (event != 1)
    logs = np.log(np.where(wrong, 1.0, y))
    counts = [wrong.sum(), y[wrong].sum(), odd.sum(), event[odd].sum()]
    sums = [weight @ event, weight @ (event * logs), weight.sum()]
    return Moments.of(logs[:, None], weight), np.array([*counts, *sums], dtype=np.float64)


def _check(counts: np.ndarray) -> None:
    """Raise DataError for times and events that cannot be."""
    if counts[0]:
        raise DataError(
            f"Times must be greater than 0: {counts[0]:.0f} value(s) of y are not, whose mean is "
            f"{counts[1] / counts[0]:.6g}. Leave those rows out, or measure from an earlier moment."
        )
    if counts[2]:
        raise DataError(
            f"event must be 0 or 1: {counts[2]:.0f} value(s) are neither, whose mean is "
            f"{counts[3] / counts[2]:.6g}. Give 1 where it happened, 0 where the time is censored."
        )
    if not counts[4] > 0:
        raise DataError("No row has an event, so nothing tells how long it takes. Give rows with event=1.")
