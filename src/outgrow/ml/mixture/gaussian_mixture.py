"""Mixtures of Gaussians."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.core.parameters import (
    ARRAY,
    FLAG,
    RANDOM_STATE,
    Integer,
    Number,
    OneOf,
    Unused,
)
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.mixture.base import Mixture, NormalMixture, Sums, expected
from outgrow.ml.mixture.covariances import FORMS, covariances, factors_of, free_parameters, precision_factors


class GaussianMixture(NormalMixture):
    """Mix normal distributions by expectation and maximisation (Dempster, Laird and Rubin 1977).

    One pass over the rows for each iteration. What is summed are the rows about the means of the step before,
    so columns far from zero lose no digits.

    Parameters
    ----------
    n_components : how many distributions.
    covariance_type : 'full', 'tied' for one covariance of all, 'diag', or 'spherical' for one variance each.
    tol : it ends when the mean log likelihood gains less than this.
    reg_covar : is added to each variance.
    max_iter : most iterations of a run.
    n_init : how often to start anew, in passes that the runs share; the likeliest counts.
    init_params : 'kmeans', 'k-means++' for its start alone, or 'random_from_data' for rows that hashes
        choose. Rows begin in the component of the nearest of these centers; scikit-learn's last two begin
        with one row each.
    weights_init, means_init, precisions_init : the first parameters, in place of those of `init_params`.
    random_state : another number starts elsewhere. The start depends on it and on the rows alone.
    warm_start : begin with the parameters of the last fit.
    verbose, verbose_interval : accepted as in scikit-learn, without effect.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,).
    means_ : ndarray of shape (n_components, n_features).
    covariances_, precisions_, precisions_cholesky_ : ndarray of shape (n_components, n_features, n_features)
        for 'full', (n_features, n_features) for 'tied', (n_components, n_features) for 'diag' and
        (n_components,) for 'spherical'.
    converged_ : whether it ended by `tol`.
    n_iter_ : iterations of the run that counts.
    lower_bound_ : mean log likelihood before its last maximisation.

    Notes
    -----
    Unlike scikit-learn: 'k-means++' and 'random_from_data' begin with the rows nearest to each center, not
    with one row each; 'random' is refused.

    Unlike Spark MLlib's `GaussianMixture(k=2, maxIter=100, tol=0.01)`: knows other covariances than full
    ones, adds `reg_covar` to their diagonals, and begins with k-means rather than random rows.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[0.0], [0.2], [0.1], [9.0], [9.2], [9.1]])
    >>> model = og.GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> sorted(model.means_[:, 0].round(6).tolist()), model.weights_.round(6).tolist()
    ([0.1, 9.1], [0.5, 0.5])
    """

    parameters = {
        "n_components": Integer(low=1),
        "covariance_type": OneOf(*FORMS),
        "tol": Number(low=0),
        "reg_covar": Number(low=0),
        "max_iter": Integer(low=1),
        "n_init": Integer(low=1),
        "init_params": OneOf("kmeans", "k-means++", "random_from_data"),
        "weights_init": ARRAY | None,
        "means_init": ARRAY | None,
        "precisions_init": ARRAY | None,
        "random_state": RANDOM_STATE,
        "warm_start": FLAG,
        "verbose": Unused(),
        "verbose_interval": Unused(),
    }

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval

    # ---- learn -------------------------------------------------------------------------------------------

    def _climb(self, view: MatrixView, number: int) -> tuple[Mixture, float, int, bool]:
        """One run: where it ends, its bound, its iterations, and whether it has converged."""
        mixture = self._known() if hasattr(self, "means_") else self._start(view, number)
        bound, steps = -np.inf, 0
        for steps in range(1, self.max_iter + 1):
            sums = view.reduce(lambda block, now=mixture: expected(block, now))  # type: ignore[misc]
            before, bound = bound, float(sums[3][0] / sums[3][1])
            view.run.tell("step", steps, loss=-bound)
            mixture = self._most_likely(sums, mixture.means)
            if abs(bound - before) < self.tol:
                return mixture, bound, steps, True
        return mixture, bound, steps, False

    def _known(self) -> Mixture:
        return Mixture(
            *(self.covariance_type, self.weights_, self.means_, self.covariances_, self.precisions_cholesky_)
        )

    def _start(self, view: MatrixView, number: int) -> Mixture:
        """The components of the rows nearest to each of some centers, and what the user has given."""
        sums, centers = self._first_sums(view, number)
        made = self._most_likely(sums, centers)
        weights = made.weights if self.weights_init is None else self._given_weights(made.weights)
        means = made.means if self.means_init is None else self._given("means_init", made.means)
        factors = made.factors
        if self.precisions_init is not None:
            factors = factors_of(self.covariance_type, self._given("precisions_init", made.factors))
        return Mixture(self.covariance_type, weights, means, made.covariances, factors)

    def _given_weights(self, like: np.ndarray) -> np.ndarray:
        weights = self._given("weights_init", like)
        if (weights < 0).any() or not np.isclose(weights.sum(), 1):
            raise ParameterError(
                "The parameter 'weights' should be normalized, of numbers in [0, 1] whose sum is 1, "
                f"but got {weights.tolist()}. Check weights_init."
            )
        return weights

    def _most_likely(self, sums: Sums, origins: np.ndarray) -> Mixture:
        """The parameters that sums about some origins, one for each component, make most likely."""
        shares, moved, products, _ = sums
        shares = shares + 10 * np.finfo(np.float64).eps
        steps = moved / shares[:, None]
        made = covariances(self.covariance_type, products, shares, steps, self.reg_covar)
        factors = precision_factors(self.covariance_type, made)
        return Mixture(self.covariance_type, shares / shares.sum(), origins + steps, made, factors)

    def bic(self, X: Any) -> float:
        """Schwarz's criterion for these rows, the lower the better.

        Parameters
        ----------
        X : rows, in any form that `fit` takes.
        """
        return self._criterion(X, np.log)

    def aic(self, X: Any) -> float:
        """Akaike's criterion for these rows, the lower the better.

        Parameters
        ----------
        X : rows, in any form that `fit` takes.
        """
        return self._criterion(X, lambda rows: 2.0)

    def _criterion(self, X: Any, price: Callable[[int], float]) -> float:
        scores = self.evaluate(X)
        components, width = self.means_.shape
        free = free_parameters(self.covariance_type, components, width) + components * (width + 1) - 1
        return float(-2 * scores["log_likelihood"] * scores.rows + free * price(scores.rows))

    def _sklearn_model(self) -> Any:
        shared = ("n_components", "covariance_type", "tol", "reg_covar", "max_iter", "n_init")
        made = twin("mixture.GaussianMixture", **{name: getattr(self, name) for name in shared})
        learned = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")
        return with_learned(made, self, *learned, "converged_", "n_iter_", "lower_bound_")
