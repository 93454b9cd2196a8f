"""Counts: Poisson regression."""

from __future__ import annotations

from typing import Any

from outgrow.ml.core.parameters import FLAG, Integer, Number, OneOf, Unused
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.linear_model.penalised import MeanRegressor
from outgrow.ml.solvers.families import Family, family_of
from outgrow.ml.solvers.links import LINKS, Link


class PoissonRegressor(MeanRegressor):
    """Counts, or counts for each unit of exposure: the Poisson family with the logarithm as link.

    The objective is scikit-learn's: half the mean deviance plus ½ alpha ||w||². It is minimised by Newton's
    method, a handful of passes over the rows; past some thousands of columns by L-BFGS. A mean answers for
    an offset of 0 and an exposure of 1: `fit(..., exposure=)` takes how long or how much each row was
    exposed, which multiplies its mean, and `offset=` what is added to its linear predictor.

    Parameters
    ----------
    alpha : strength of the penalty, at least 0.
    fit_intercept : learn a constant, which is not penalised.
    solver, verbose : accepted as scikit-learn has them, without effect.
    max_iter : most passes of Newton's method, or steps of L-BFGS.
    tol : share of the objective; it ends with the step that is expected to leave no more to gain.
    warm_start : begin at the coefficients of the last fit.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,); float32 where X was an array of float32.
    intercept_ : float.
    n_iter_ : steps over all rows.
    mean_ : float, the mean of y.

    Notes
    -----
    Unlike scikit-learn: solved to a tighter `tol`, whatever `solver` says; `fit` also takes offsets and
    exposures.

    Unlike Spark MLlib's `GeneralizedLinearRegression(family='poisson')`:
    `alpha = regParam`, which is 0 by default there, on columns that are not standardised;
    `GeneralizedLinearRegression` has its summary.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[0.0], [0.0], [1.0], [1.0]])
    >>> model = og.PoissonRegressor(alpha=0).fit(X, np.array([1.0, 3.0, 5.0, 7.0]))
    >>> model.predict(np.array([[0.0], [1.0]])).round(6).tolist()
    [2.0, 6.0]
    """

    parameters = {
        "alpha": Number(low=0),
        "fit_intercept": FLAG,
        "solver": Unused(OneOf("lbfgs", "newton-cholesky")),
        "max_iter": Integer(low=1),
        "tol": Number(low=0),
        "warm_start": FLAG,
        "verbose": Unused(),
    }

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        fit_intercept: bool = True,
        solver: str = "lbfgs",
        max_iter: int = 100,
        tol: float = 1e-12,
        warm_start: bool = False,
        verbose: int = 0,
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose

    def _family(self) -> Family:
        return family_of("poisson")

    def _link(self) -> Link:
        return LINKS["log"]

    def _sklearn_model(self) -> Any:
        names = ("alpha", "fit_intercept", "max_iter")
        made = twin("linear_model.PoissonRegressor", **{name: getattr(self, name) for name in names})
        made._base_loss = made._get_loss()
        return with_learned(made, self, "coef_", "intercept_", "n_iter_")
