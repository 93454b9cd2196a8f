"""Least squares with a squared penalty."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.ml import parameters as check
from outgrow.ml.candidates import Candidate
from outgrow.ml.linear.base import GRAM_WIDTH, LinearRegressor
from outgrow.ml.linear.gram import Normal, normal_equations, normal_of, solve_ridge, solve_wide
from outgrow.ml.linear.grouped import GroupedLeastSquares
from outgrow.stats.moments import CoMoments


class Ridge(LinearRegressor):
    """Minimise ||y - Xw||² + alpha ||w||², from one pass over the rows.

    Spark MLlib's `LinearRegression(regParam=r, elasticNetParam=0)` divides the error by 2n and standardises:
    on standardised columns it is `Ridge(alpha=n * r)`.

    Parameters
    ----------
    alpha : strength of the penalty, at least 0.
    fit_intercept : learn a constant, which is not penalised.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,).
    intercept_ : float.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[-1.0], [1.0]])
    >>> og.Ridge(alpha=2.0).fit(X, X[:, 0]).coef_.tolist()
    [0.5]
    """

    fusable = ("alpha",)

    def __init__(self, alpha: float = 1.0, *, fit_intercept: bool = True) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept

    def _check_parameters(self) -> None:
        check.number(self, "alpha", low=0)

    def _group_form(self) -> GroupedLeastSquares:
        return GroupedLeastSquares(self.alpha, self.fit_intercept)

    def _learn(self, view: MatrixView) -> None:
        if view.width > GRAM_WIDTH:
            self.coef_, self.intercept_ = solve_wide(
                view, self.alpha, intercept=self.fit_intercept, tol=1e-12
            )
            return
        self._solve(normal_equations(view, intercept=self.fit_intercept))

    @classmethod
    def _solve_many(
        cls, rows: FoldedView, moments: Sequence[CoMoments], candidates: Sequence[Candidate]
    ) -> None:
        for candidate in candidates:
            model = candidate.model
            normal = normal_of(moments[candidate.fold], intercept=model.fit_intercept)
            candidate.attempt(partial(model._solve, normal))

    def _solve(self, normal: Normal) -> None:
        self.coef_ = solve_ridge(normal, self.alpha)
        self.intercept_ = normal.intercept(self.coef_)
