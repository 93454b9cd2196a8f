"""Least squares with a squared penalty."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.parameters import FLAG, Numbers, OneOf, Unused
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.linear_model.base import LeastSquares


class Ridge(LeastSquares):
    """Minimise ||y - Xw||² + alpha ||w||², from one pass over the rows, or a few more for small penalties.

    As `LinearRegression`, it decomposes the rows where their products would lose digits, so a penalty may be
    as small as one likes.

    Parameters
    ----------
    alpha : strength of the penalty, at least 0; or one for each target, of shape (n_targets,).
    fit_intercept : learn a constant, which is not penalised.
    copy_X, max_iter, tol, solver, random_state : accepted as scikit-learn has them, without effect.
    positive : coefficients are at least 0.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,), or (n_targets, n_features) for several targets; float32 where X
        was an array of float32, as in scikit-learn.
    intercept_ : float, or ndarray of shape (n_targets,).
    solver_ : what `solver` says, 'cholesky' for 'auto'.

    Notes
    -----
    Unlike scikit-learn: solved at once: `solver` and `max_iter` change nothing.

    Unlike Spark MLlib's `LinearRegression(regParam=r, elasticNetParam=0.0)`: `alpha = n * r` on standardised
    columns: there the error is divided by 2n, and columns are standardised.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[-1.0], [1.0]])
    >>> og.Ridge(alpha=2.0).fit(X, X[:, 0]).coef_.tolist()
    [0.5]
    """

    shared_fit_parameters = ("alpha",)
    expected_failed_checks = {
        "check_non_transformer_estimators_n_iter": "it is solved at once, whatever max_iter says"
    }
    parameters = {
        "alpha": Numbers(low=0),
        "fit_intercept": FLAG,
        "copy_X": Unused(),
        "max_iter": Unused(),
        "tol": Unused(),
        "solver": Unused(OneOf("auto", "svd", "cholesky", "lsqr", "sparse_cg", "sag", "saga", "lbfgs")),
        "positive": FLAG,
        "random_state": Unused(),
    }

    def __init__(
        self,
        alpha: Any = 1.0,
        *,
        fit_intercept: bool = True,
        copy_X: bool = True,
        max_iter: int | None = None,
        tol: float = 1e-4,
        solver: str = "auto",
        positive: bool = False,
        random_state: Any = None,
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.max_iter = max_iter
        self.tol = tol
        self.solver = solver
        self.positive = positive
        self.random_state = random_state

    def _restored(self) -> None:
        super()._restored()
        self.solver_ = "cholesky" if self.solver == "auto" else self.solver

    def _penalty(self) -> np.ndarray:
        return np.atleast_1d(np.asarray(self.alpha, dtype=np.float64))

    def _sklearn_model(self) -> Any:
        made = twin("linear_model.Ridge", self.alpha, fit_intercept=self.fit_intercept)
        return with_learned(made, self, "coef_", "intercept_")
