"""Least squares with an absolute and a squared penalty."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning

from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError
from outgrow.ml.core.candidates import Candidate
from outgrow.ml.core.parameters import FLAG, Integer, Number, OneOf, Unused
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.linear_model.base import GRAM_WIDTH, LinearRegressor
from outgrow.ml.linear_model.warm_start import WarmStarted
from outgrow.ml.solvers.descent import duality_gap, lasso_quadratic
from outgrow.ml.solvers.gram import Normal, normal_equations, normal_of
from outgrow.ml.solvers.least_squares import each_target
from outgrow.ml.solvers.losses import Squared
from outgrow.ml.solvers.minimum import minimum
from outgrow.ml.solvers.objective import Objective
from outgrow.stats.moments import CoMoments, Moments

Fit = tuple[np.ndarray, float, int, float]
"""Of one target: the coefficients, the intercept, the sweeps they took, and the duality gap there."""


class ElasticNet(WarmStarted, LinearRegressor):
    """Minimise ||y - Xw||² / 2n + alpha l1_ratio ||w||₁ + ½ alpha (1 - l1_ratio) ||w||².

    Up to 4,096 columns, one pass over the rows whatever the number of iterations, which run on the products
    of the columns. With more, a pass an iteration, most of them over those columns alone whose coefficients
    are not zero.

    Parameters
    ----------
    alpha : strength of the penalty.
    l1_ratio : share of the absolute penalty, in [0, 1]; 1 is the lasso.
    fit_intercept : learn a constant, which is not penalised.
    precompute, copy_X, random_state, selection : accepted as scikit-learn has them, without effect.
    warm_start : begin at the coefficients of the last fit, which shortens this one.
    max_iter : most sweeps over the coefficients.
    tol : stop when no coefficient moves the gradient by more than this share of its size; past 4,096 columns,
        when no step is expected to gain more than this share of the objective, or than 1e-9.
    positive : coefficients are at least 0; up to 4,096 columns.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,), or (n_targets, n_features) for several targets; float32 where X
        was an array of float32, as in scikit-learn.
    intercept_ : float, or ndarray of shape (n_targets,).
    n_iter_ : sweeps made, 0 where the fit began at the minimum; a list where there are several targets.
    dual_gap_ : how far the objective may lie above its minimum; ndarray of shape (n_targets,) for several.
    sparse_coef_ : `coef_` as a sparse matrix of shape (1 or n_targets, n_features).

    Notes
    -----
    Unlike scikit-learn: solved to a tighter `tol`.

    Unlike Spark MLlib's `LinearRegression(regParam=r, elasticNetParam=a)`: `alpha = r`, `l1_ratio = a` on
    standardised columns.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[-1.0, 0.1], [1.0, 0.1], [-1.0, -0.1], [1.0, -0.1]])
    >>> og.ElasticNet(alpha=0.5, l1_ratio=1.0).fit(X, X[:, 0]).coef_.round(6).tolist()
    [0.5, 0.0]
    """

    n_iter_: int | list[int]
    dual_gap_: Any

    shared_fit_parameters = ("alpha", "l1_ratio")
    parameters = {
        "alpha": Number(low=0),
        "l1_ratio": Number(low=0, high=1),
        "fit_intercept": FLAG,
        "precompute": Unused(),
        "max_iter": Integer(low=1),
        "copy_X": Unused(),
        "tol": Number(low=0),
        "warm_start": FLAG,
        "positive": FLAG,
        "random_state": Unused(),
        "selection": Unused(OneOf("cyclic", "random")),
    }

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        l1_ratio: float = 0.5,
        fit_intercept: bool = True,
        precompute: Any = False,
        max_iter: int = 10_000,
        copy_X: bool = True,
        tol: float = 1e-10,
        warm_start: bool = False,
        positive: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
    ) -> None:
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.precompute = precompute
        self.max_iter = max_iter
        self.copy_X = copy_X
        self.tol = tol
        self.warm_start = warm_start
        self.positive = positive
        self.random_state = random_state
        self.selection = selection

    def _fit(self, view: MatrixView) -> None:
        targets = view.targets or 1
        begin = self._begin(targets, view.width)
        if view.width > GRAM_WIDTH:
            found = each_target(view, lambda one, j: self._over_rows(one, begin, j), range(targets))
        else:
            normals = normal_equations(view, intercept=self.fit_intercept)
            start = np.zeros((targets, view.width)) if begin is None else begin[0]
            found = [self._descend(normal, each) for normal, each in zip(normals, start, strict=True)]
        coef, intercepts, sweeps, gaps = map(list, zip(*found, strict=True))
        self._take_targets(view, np.array(coef), np.array(intercepts))
        several = view.targets is not None
        self.n_iter_, self.dual_gap_ = (sweeps, np.array(gaps)) if several else (sweeps[0], gaps[0])
        self._warn(max(sweeps))

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, check_input: bool = True, **roles: Any
    ) -> Self:
        """Learn from rows, as other models do.

        Parameters
        ----------
        X, y, sample_weight, **roles : as for other models that learn several targets.
        check_input : without effect; accepted as scikit-learn has it.
        """
        return super().fit(X, y, sample_weight, **roles)

    @property
    def sparse_coef_(self) -> sp.csr_array:
        """The coefficients as a sparse matrix."""
        return sp.csr_array(np.atleast_2d(self.coef_))

    def _descend(self, normal: Normal, start: np.ndarray) -> Fit:
        H, g, penalty = self._quadratic(normal)
        coef, sweeps = lasso_quadratic(
            *(H, g, penalty, start), tol=self.tol, max_sweeps=self.max_iter, positive=self.positive
        )
        gradient = (normal.target - normal.products @ coef) / normal.n
        error = (normal.energy - float(normal.target @ coef)) / normal.n - float(coef @ gradient)
        return coef, normal.intercept(coef), sweeps, self._gap(gradient, error, coef)

    def _over_rows(self, view: MatrixView, begin: tuple[np.ndarray, np.ndarray] | None, target: int) -> Fit:
        """Passes over rows with one target, where the products of all features would take too much room."""
        if self.positive:
            raise DataError(f"positive=True takes up to {GRAM_WIDTH} features; there are {view.width}.")
        y: Moments = view.reduce(lambda block: Moments.of(np.asarray(block.y)[:, None], block.weight))
        n, (l1, l2) = float(y.n[0]), self._strength()
        rows, penalties = FoldedView.whole(view), (np.array([l1 * n]), np.array([l2 * n]))
        folds = np.zeros(1, dtype=np.intp)
        objective = Objective(Squared(), view.width, self.fit_intercept, folds, *penalties)
        start = None if begin is None else (begin[0][target : target + 1], begin[1][target : target + 1])
        minima, offsets = minimum(
            *(rows, objective), bend=y.n, tol=self.tol, max_iter=self.max_iter, begin=start, constants=y.mean
        )
        shifted = replace(rows, view=offsets.apply(view))
        loss, slope = objective.gradient(shifted, minima.w[0])
        coef, constants = objective.unpack(minima.w[0])
        gap = self._gap(-slope[: view.width] / n, 2 * loss / n, coef[0])
        sweeps = int(minima.steps[0]) if minima.converged[0] else self.max_iter
        return coef[0], float(offsets.restore(coef, constants)[0]), sweeps, gap

    def _strength(self) -> tuple[float, float]:
        """What the absolute and half the squared coefficients cost beside half the mean squared error."""
        return self.alpha * self.l1_ratio, self.alpha * (1 - self.l1_ratio)

    def _gap(self, gradient: np.ndarray, error: float, coef: np.ndarray) -> float:
        l1, l2 = self._strength()
        gap = duality_gap(gradient, max(error, 0.0), coef, l1=l1, l2=l2, positive=self.positive)
        return max(gap, 0.0)  # rounding may lead below

    @classmethod
    def _solve_many(
        cls, rows: FoldedView, moments: Sequence[CoMoments], candidates: Sequence[Candidate]
    ) -> None:
        one: ElasticNet = candidates[0].model
        folds = [normal_of(each, intercept=one.fit_intercept) for each in moments]
        for candidate in candidates:
            model, normal = candidate.model, folds[candidate.fold]
            found = model._descend(normal, np.zeros(len(normal.target)))
            model.coef_, model.intercept_, model.n_iter_, model.dual_gap_ = found
            model._warn(model.n_iter_)

    def _quadratic(self, normal: Normal) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What is minimised: products, target and absolute penalty of each coefficient."""
        width, (l1, l2) = len(normal.target), self._strength()
        H = normal.products / normal.n
        H[np.diag_indices(width)] += l2
        return H, normal.target / normal.n, np.full(width, l1)

    def _warn(self, sweeps: int) -> None:
        if sweeps >= self.max_iter:
            warnings.warn(
                f"Objective did not converge in {self.max_iter} sweeps of coordinate descent. "
                "Raise max_iter, or scale the columns.",
                ConvergenceWarning,
                stacklevel=2,
            )

    def _sklearn_model(self) -> Any:
        shared = ("l1_ratio", "fit_intercept", "max_iter", "tol")
        made = twin("linear_model.ElasticNet", self.alpha, **{name: getattr(self, name) for name in shared})
        return with_learned(made, self, "coef_", "intercept_", "n_iter_")
