"""Ordinary least squares."""

from __future__ import annotations

from collections.abc import Sequence

from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.ml.candidates import Candidate, side_by_side_fits
from outgrow.ml.linear.base import GRAM_WIDTH, LinearRegressor
from outgrow.ml.linear.gram import (
    Normal,
    condition,
    normal_equations,
    normal_of,
    refine,
    solve_ridge,
    solve_wide,
)
from outgrow.ml.linear.grouped import GroupedLeastSquares
from outgrow.stats.moments import CoMoments


class LinearRegression(LinearRegressor):
    """Least squares without a penalty, from one pass over the rows (two where columns nearly depend).

    Spark MLlib's `LinearRegression` is this with `regParam=0`; with a penalty it is `Ridge` or `ElasticNet`.
    Up to 4,096 features the result is that of a direct solver; past that, of conjugate gradients.

    Parameters
    ----------
    fit_intercept : learn a constant.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,).
    intercept_ : float.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> og.LinearRegression().fit(X, 1 + 2 * X[:, 0]).coef_.round(6).tolist()
    [2.0]
    """

    fusable = ()

    def __init__(self, *, fit_intercept: bool = True) -> None:
        self.fit_intercept = fit_intercept

    def _group_form(self) -> GroupedLeastSquares:
        return GroupedLeastSquares(0.0, self.fit_intercept)

    def _learn(self, view: MatrixView) -> None:
        if view.width > GRAM_WIDTH:
            self.coef_, self.intercept_ = solve_wide(view, 0.0, intercept=self.fit_intercept, tol=1e-12)
            return
        self._solve(view, normal_equations(view, intercept=self.fit_intercept))

    @classmethod
    def _solve_many(
        cls, rows: FoldedView, moments: Sequence[CoMoments], candidates: Sequence[Candidate]
    ) -> None:
        def learn(candidate: Candidate, view: FoldedView) -> None:
            model = candidate.model
            normal = normal_of(moments[candidate.fold], intercept=model.fit_intercept)
            model._solve(view.fold(candidate.fold), normal)

        side_by_side_fits(rows, candidates, learn)

    def _solve(self, view: MatrixView, normal: Normal) -> None:
        coef = solve_ridge(normal, 0.0)
        if 1e6 < condition(normal) < 1e14:
            coef = refine(view, normal, coef, 0.0)
        self.coef_ = coef
        self.intercept_ = normal.intercept(coef)
