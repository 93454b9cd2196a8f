"""Regression that outliers do not lead."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError
from outgrow.ml.core.candidates import Candidate, learn_apart, usable
from outgrow.ml.core.parameters import FLAG, Integer, Number
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.linear_model.base import GRAM_WIDTH, LinearRegressor
from outgrow.ml.linear_model.warm_start import WarmStarted
from outgrow.ml.solvers.gram import normal_equations
from outgrow.ml.solvers.least_squares import least_squares
from outgrow.ml.solvers.location_scale import Rows, ScaledObjective, scaled_minimum
from outgrow.ml.solvers.offsets import Offsets
from outgrow.stats.moments import Moments

_LEAST, _NOTHING = 1e-14, 1e-9
"""Of the size of y: a smaller scale is that of y that the features explain exactly, from the start, or in the
end but for the outliers."""


class HuberRegressor(WarmStarted, LinearRegressor):
    """Minimise the sum of sigma + H((Xw - y) / sigma) sigma, plus alpha ||w||², over w and sigma.

    H is the square up to epsilon, and from there on a line (Huber and Ronchetti 2009, section 7.8). The
    objective is scikit-learn's and convex in both; it is minimised by Newton's method from least squares, a
    handful of passes over the rows, whatever the scale of the columns.

    Parameters
    ----------
    epsilon : from how many sigmas on a residual counts by its size, not by its square; greater than 1, as at
        1 the best sigma is 0 and the best w that of absolute deviations, which is only approached.
    max_iter : most passes.
    alpha : strength of the penalty, at least 0.
    warm_start : begin at the coefficients of the last fit.
    fit_intercept : learn a constant, which is not penalised.
    tol : share of the objective; it ends with the step that is expected to leave no more to gain.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,); float32 where X was an array of float32.
    intercept_ : float.
    scale_ : float, sigma.
    n_iter_ : passes.

    Notes
    -----
    Unlike scikit-learn: solved to a tighter `tol` whatever the scale of the columns; there is no `outliers_`,
    which is as long as the rows: they are those where |y - predict(X)| > epsilon * scale_. It takes up to
    4,096 columns.

    Unlike Spark MLlib's `LinearRegression(loss='huber', epsilon=1.35, regParam=0.0)`: `alpha = n * regParam
    / 2` on columns that are not standardised.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.arange(10.0)[:, None]
    >>> y = 2 * X[:, 0] + 0.1 * (-1.0) ** np.arange(10)
    >>> y[9] = 1000.0
    >>> og.HuberRegressor().fit(X, y).coef_.round(2).tolist()
    [2.01]
    """

    shared_fit_parameters = ("alpha", "epsilon")
    expected_failed_checks = {
        "check_sample_weight_equivalence_on_dense_data": "of rows that the columns explain exactly, sigma "
        "goes to 0, and the last digits of the coefficients with it"
    }
    parameters = {
        "epsilon": Number(low=1),
        "max_iter": Integer(low=1),
        "alpha": Number(low=0),
        "warm_start": FLAG,
        "fit_intercept": FLAG,
        "tol": Number(low=0),
    }

    def __init__(
        self,
        *,
        epsilon: float = 1.35,
        max_iter: int = 100,
        alpha: float = 0.0001,
        warm_start: bool = False,
        fit_intercept: bool = True,
        tol: float = 1e-12,
    ) -> None:
        self.epsilon = epsilon
        self.max_iter = max_iter
        self.alpha = alpha
        self.warm_start = warm_start
        self.fit_intercept = fit_intercept
        self.tol = tol

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = False
        return tags

    def _fit(self, view: MatrixView) -> None:
        if view.width > GRAM_WIDTH:
            raise DataError(
                f"HuberRegressor takes up to {GRAM_WIDTH} features; there are {view.width}. Choose some of "
                "them, or reduce them with PCA."
            )
        offsets = Offsets.of(view, intercept=self.fit_intercept)
        shifted = offsets.apply(view)
        start, spread = self._start(shifted, self._begin(1, view.width), offsets)
        if start[-1] > _LEAST * spread:
            objective = ScaledObjective(
                shifted, HuberLoss(float(self.epsilon)), self.fit_intercept, 2.0 * self.alpha
            )
            found = scaled_minimum(objective, start, tol=self.tol, max_iter=self.max_iter)
            start, self.n_iter_ = found.w, found.steps
            if not found.converged and start[-1] > _NOTHING * spread:
                self._warn()
        else:
            self.n_iter_ = 1
        coef = start[: view.width]
        constant = offsets.restore(coef[None, :], start[view.width : -1]) if self.fit_intercept else [0.0]
        self.coef_, self.intercept_, self.scale_ = coef, float(constant[0]), float(start[-1])

    def _start(
        self, view: MatrixView, begin: tuple[np.ndarray, np.ndarray] | None, offsets: Offsets
    ) -> tuple[np.ndarray, float]:
        """Least squares, or where the last fit ended, with the mean square there; and how y varies."""
        if begin is None:
            normals = normal_equations(view, intercept=self.fit_intercept)
            ((coef, constant),) = least_squares(view, normals, np.full(1, self.alpha), positive=False)
        else:
            coef, constant = begin[0][0], float(offsets.hide(*begin)[0])

        def fold(block: Block) -> Moments:
            y = np.asarray(block.y)
            return Moments.of(np.column_stack([y, y - (block.X @ coef + constant)]), block.weight)

        moments = view.reduce(fold)
        squares = moments.m2 / moments.n + moments.mean**2
        middle = [constant] if self.fit_intercept else []
        return np.array([*coef, *middle, np.sqrt(squares[1])]), float(np.sqrt(squares[0]))

    @classmethod
    def _fit_many(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        learn_apart(rows, usable(rows, candidates))

    def _warn(self) -> None:
        warnings.warn(
            f"HuberRegressor convergence failed: after {self.max_iter} passes a step may still gain more "
            "than tol. Raise max_iter, or scale the columns.",
            ConvergenceWarning,
            stacklevel=2,
        )

    def _sklearn_model(self) -> Any:
        names = ("epsilon", "alpha", "fit_intercept", "max_iter")
        made = twin("linear_model.HuberRegressor", **{name: getattr(self, name) for name in names})
        return with_learned(made, self, "coef_", "intercept_", "scale_", "n_iter_")


class HuberLoss:
    """Sigma plus sigma times Huber's loss of the residual in sigmas; convex in prediction and sigma.

    Parameters
    ----------
    epsilon : where the square ends.
    """

    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon

    def losses(self, predictor: np.ndarray, scale: float, block: Block) -> np.ndarray:
        """See `ScaledLoss.losses`.

        Parameters
        ----------
        predictor, scale, block : as there.
        """
        size, epsilon = np.abs(predictor - np.asarray(block.y)), self.epsilon
        near = size <= epsilon * scale
        return scale + np.where(near, size**2 / scale, 2 * epsilon * size - epsilon**2 * scale)

    def derivatives(self, predictor: np.ndarray, scale: float, block: Block) -> Rows:
        """See `ScaledLoss.derivatives`.

        Parameters
        ----------
        predictor, scale, block : as there.
        """
        rest, epsilon = predictor - np.asarray(block.y), self.epsilon
        size = np.abs(rest)
        near = size <= epsilon * scale
        ratio = np.where(near, rest / scale, 0.0)
        bend = np.where(near, 2 / scale, 0.0)
        return (
            scale + np.where(near, size**2 / scale, 2 * epsilon * size - epsilon**2 * scale),
            np.where(near, 2 * ratio, 2 * epsilon * np.sign(rest)),
            1 - np.where(near, ratio**2, epsilon**2),
            bend,
            -bend * ratio,
            bend * ratio**2,
        )
