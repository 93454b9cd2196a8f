"""Ordinary least squares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import fdtrc
from sklearn.utils.validation import check_is_fitted

from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.core.parameters import FLAG, Unused
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.linear_model.base import LeastSquares
from outgrow.ml.linear_model.inference import Information, Summary, restored
from outgrow.ml.solvers.gram import Normal

SUMMARY_WIDTH = 128
"""Up to so many features a fit also learns standard errors, which cost little more than its coefficients."""


class LinearRegression(LeastSquares):
    """Least squares without a penalty, from one pass over the rows; a few more where columns nearly depend.

    The normal equations are used where they keep ten digits. Past that their solution is corrected by the
    residuals, and where columns depend on others but for the last digits, the rows are decomposed instead of
    their products (QR). Of columns that depend on others exactly, the shortest solution is taken.

    Past 4,096 features, and where there are more rows than features, by conjugate gradients.

    Parameters
    ----------
    fit_intercept : learn a constant.
    copy_X, tol, n_jobs : accepted as scikit-learn has them, without effect.
    positive : coefficients are at least 0.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,), or (n_targets, n_features) for several targets; float32 where X
        was an array of float32, as in scikit-learn.
    intercept_ : float, or ndarray of shape (n_targets,).
    summary_ : `Summary`: of each coefficient `std_error`, `statistic`, `p_value` and `interval()`; and
        `r_squared`, `adjusted_r_squared`, `f_statistic`, `f_p_value`, `scale` (of the errors, squared),
        `log_likelihood`, `aic`, `bic`, `df_residual` and `df_model`, as statsmodels' OLS gives them. Of one
        target and up to 128 features, without `positive`.

    Notes
    -----
    The summary takes weights for repeated rows, and the sum of squares from the products, so that of errors
    far below y it has fewer digits; columns that others nearly determine have no standard error.

    Unlike Spark MLlib's `LinearRegression(regParam=0.0)`: the same; with a penalty it is `Ridge` or
    `ElasticNet`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> og.LinearRegression().fit(X, 1 + 2 * X[:, 0]).coef_.round(6).tolist()
    [2.0]
    """

    std_error_: np.ndarray
    fit_statistics_: dict[str, float]

    shared_fit_parameters = ()
    parameters = {
        "fit_intercept": FLAG,
        "copy_X": Unused(),
        "tol": Unused(),
        "n_jobs": Unused(),
        "positive": FLAG,
    }

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        copy_X: bool = True,
        tol: float = 1e-6,
        n_jobs: int | None = None,
        positive: bool = False,
    ) -> None:
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.tol = tol
        self.n_jobs = n_jobs
        self.positive = positive

    def _penalty(self) -> np.ndarray:
        return np.zeros(1)

    @property
    def summary_(self) -> Summary:
        """Coefficients with their standard errors and tests, and how well the plane fits.

        Raises
        ------
        ParameterError
            When the fit had several targets, too many features, coefficients held at 0 or more, or was one
            of several that shared their passes.
        """
        check_is_fitted(self)
        fit: dict[str, float] | None = getattr(self, "fit_statistics_", None)
        if fit is None:
            raise ParameterError(
                f"There is no summary_ of this fit: it is that of one target and up to {SUMMARY_WIDTH} "
                "features, without positive=True, fitted by itself. Fit the model alone."
            )
        names, coef = list(self.features_), np.asarray(self.coef_, dtype=np.float64)
        if self.fit_intercept:
            names, coef = ["intercept", *names], np.append(self.intercept_, coef)
        return Summary(names, coef, self.std_error_, "t", fit["df_residual"], fit)

    def _solve(self, view: MatrixView, normals: Sequence[Normal]) -> None:
        super()._solve(view, normals)
        if view.targets is None and not self.positive and view.width <= SUMMARY_WIDTH:
            self._infer(normals[0])

    def _infer(self, normal: Normal) -> None:
        products, width = normal.products, len(normal.target)
        if self.fit_intercept:
            products = np.zeros((width + 1, width + 1))
            products[:width, :width], products[width, width] = normal.products, normal.n
        information = Information.of(products)
        rank = information.rank
        left, model = normal.n - rank, rank - self.fit_intercept
        rest = max(normal.energy - float(normal.target @ self.coef_), 0.0)
        with np.errstate(all="ignore"):
            scale = np.float64(rest) / left if left > 0 else np.float64(np.nan)
            unscaled = information.covariance(restored(normal.x_mean, intercept=self.fit_intercept))
            self.std_error_ = np.sqrt(scale * np.diag(unscaled))
            share = np.float64(rest) / normal.energy
            f = (normal.energy - rest) / model / scale if model else np.float64(np.nan)
            likelihood = -normal.n / 2 * (np.log(2 * np.pi * np.float64(rest) / normal.n) + 1)
            self.fit_statistics_ = {
                "r_squared": float(1 - share),
                "adjusted_r_squared": float(1 - share * (normal.n - self.fit_intercept) / left)
                if left > 0
                else float("nan"),
                "f_statistic": float(f),
                "f_p_value": float(fdtrc(model, left, f)),
                "scale": float(scale),
                "log_likelihood": float(likelihood),
                "aic": float(2 * rank - 2 * likelihood),
                "bic": float(np.log(normal.n) * rank - 2 * likelihood),
                "df_residual": float(left),
                "df_model": float(model),
            }

    def _sklearn_model(self) -> Any:
        made = twin("linear_model.LinearRegression", fit_intercept=self.fit_intercept)
        return with_learned(made, self, "coef_", "intercept_")
