"""Least squares with an absolute penalty."""

from __future__ import annotations

from typing import Any

from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.linear_model.elastic_net import ElasticNet


class Lasso(ElasticNet):
    """Minimise ||y - Xw||² / 2n + alpha ||w||₁ (Tibshirani 1996).

    Up to 4,096 columns, one pass over the rows whatever the number of iterations, which run on the products
    of the columns. With more, a pass an iteration, most of them over those columns alone whose coefficients
    are not zero.

    Parameters
    ----------
    alpha : strength of the penalty.
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

    Unlike Spark MLlib's `LinearRegression(regParam=r, elasticNetParam=1.0)`: `alpha = r` on standardised
    columns.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[-1.0, 0.1], [1.0, 0.1], [-1.0, -0.1], [1.0, -0.1]])
    >>> og.Lasso(alpha=0.5).fit(X, X[:, 0]).coef_.round(6).tolist()
    [0.5, 0.0]
    """

    l1_ratio = 1.0

    shared_fit_parameters = ("alpha",)  # type: ignore[assignment]
    parameters = {name: each for name, each in ElasticNet.parameters.items() if name != "l1_ratio"}

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        precompute: Any = False,
        copy_X: bool = True,
        max_iter: int = 10_000,
        tol: float = 1e-10,
        warm_start: bool = False,
        positive: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.precompute = precompute
        self.copy_X = copy_X
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.positive = positive
        self.random_state = random_state
        self.selection = selection

    def _sklearn_model(self) -> Any:
        shared = {name: getattr(self, name) for name in ("fit_intercept", "max_iter", "tol")}
        return with_learned(
            twin("linear_model.Lasso", self.alpha, **shared), self, "coef_", "intercept_", "n_iter_"
        )
