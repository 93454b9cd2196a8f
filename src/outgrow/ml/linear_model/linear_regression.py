"""Ordinary least squares."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.parameters import FLAG, Unused
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.linear_model.base import LeastSquares


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

    Notes
    -----
    Unlike Spark MLlib's `LinearRegression(regParam=0.0)`: the same; with a penalty it is `Ridge` or
    `ElasticNet`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> og.LinearRegression().fit(X, 1 + 2 * X[:, 0]).coef_.round(6).tolist()
    [2.0]
    """

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

    def _sklearn_model(self) -> Any:
        made = twin("linear_model.LinearRegression", fit_intercept=self.fit_intercept)
        return with_learned(made, self, "coef_", "intercept_")
