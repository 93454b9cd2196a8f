"""Mixtures of Gaussians."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.context import FitContext
from outgrow.engine.matrix import MatrixView
from outgrow.engine.together import side_by_side
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import DensityModel
from outgrow.ml.cluster.centers import Centers
from outgrow.ml.cluster.kmeans import KMeans
from outgrow.ml.cluster.nearest import closest
from outgrow.ml.core.joint import class_shares, some_rows
from outgrow.ml.core.parameters import (
    ARRAY,
    FLAG,
    RANDOM_STATE,
    Integer,
    Number,
    OneOf,
    Unused,
    seed,
)
from outgrow.ml.export.onnx.answer import Answer, features
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.mixture.covariances import (
    FORMS,
    TIED,
    covariances,
    drawn,
    factors_of,
    free_parameters,
    log_determinants,
    precision_factors,
    precisions,
    shape,
    squares,
    whitening,
)

Sums = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Shares (components,), rows about means (components, p), their squares; log likelihood and weight (2,)."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """The parameters at one step; covariances as in scikit-learn for their form."""

    form: str
    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    factors: np.ndarray

    def logs(self, X: np.ndarray) -> np.ndarray:
        """The logarithm of weight and density of each row in each component, of shape (rows, components).

        Rows are taken about the means before anything is squared, so nothing cancels far from zero.
        """
        components, width = self.means.shape
        white = whitening(self.form, self.factors, components, width)
        out = np.empty((components, len(X))).T
        for rows in some_rows(X):
            columns = np.ascontiguousarray(X[rows].T)
            for k in range(components):
                standard = white[k].T @ (columns - self.means[k][:, None])
                np.einsum("ji,ji->i", standard, standard, out=out[rows, k])
        out += width * np.log(2 * np.pi)
        out *= -0.5
        out += self.constants
        return out

    @property
    def constants(self) -> np.ndarray:
        """What each component adds wherever a row lies, but for the powers of pi."""
        with np.errstate(divide="ignore"):
            return np.log(self.weights) + log_determinants(self.form, self.factors, self.means.shape[1])


class GaussianMixture(DensityModel):
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

    _samples = True
    expected_failed_checks = dict.fromkeys(
        ("check_estimator_sparse_array", "check_estimator_sparse_matrix"),
        "it asks what has predict_proba for the tags of classifiers",
    )
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

    weights_: np.ndarray
    means_: np.ndarray
    covariances_: np.ndarray
    precisions_cholesky_: np.ndarray

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

    def _worker(self) -> Self:
        worker = super()._worker()
        if self.warm_start and hasattr(self, "means_"):
            for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
                setattr(worker, name, getattr(self, name))
        return worker

    # ---- learn -------------------------------------------------------------------------------------------

    def _fit(self, view: MatrixView) -> None:
        if view.rows < self.n_components:
            raise DataError(
                f"Expected n_samples >= n_components but got n_components = {self.n_components}, n_samples = "
                f"{view.rows}. Ask for fewer components."
            )
        self._check_start(view.width)
        first = seed(self.random_state)
        runs = 1 if hasattr(self, "means_") else self.n_init

        def run(number: int) -> Callable[[FitContext], tuple[Mixture, float, int, bool]]:
            return lambda context: self._climb(view.on(context), first + 7919 * number)

        found = side_by_side(view.run, [run(number) for number in range(runs)])
        best, bound, steps, converged = max(found, key=lambda one: one[1])
        self.weights_, self.means_ = best.weights, best.means
        self.covariances_, self.precisions_cholesky_ = best.covariances, best.factors
        self.lower_bound_, self.n_iter_, self.converged_ = bound, steps, converged
        if not converged:
            warnings.warn(
                "Best performing initialization did not converge. Try different init parameters, or increase "
                "max_iter, tol, or check for degenerate data.",
                ConvergenceWarning,
                stacklevel=2,
            )

    def _climb(self, view: MatrixView, number: int) -> tuple[Mixture, float, int, bool]:
        """One run: where it ends, its bound, its iterations, and whether it has converged."""
        mixture = self._known() if hasattr(self, "means_") else self._start(view, number)
        bound, steps = -np.inf, 0
        for steps in range(1, self.max_iter + 1):
            sums = view.reduce(lambda block, now=mixture: _expected(block, now))  # type: ignore[misc]
            before, bound = bound, float(sums[3][0] / sums[3][1])
            view.run.tell("step", steps, loss=-bound)
            mixture = self._most_likely(sums, mixture.means)
            if abs(bound - before) < self.tol:
                return mixture, bound, steps, True
        return mixture, bound, steps, False

    def _check_start(self, width: int) -> None:
        """Whether what the last fit learned is what this one begins with."""
        if not hasattr(self, "means_"):
            return
        known, form = (len(self.means_), self.means_.shape[1]), self.covariance_type
        if known != (self.n_components, width) or self.covariances_.shape != shape(form, *known):
            raise ParameterError(
                f"warm_start=True: the last fit had {known[0]} components on {known[1]} columns, with "
                f"covariances of shape {self.covariances_.shape}; {self.n_components} on {width} with "
                f"covariance_type={form!r} are to be fitted. Fit anew with warm_start=False."
            )

    def _known(self) -> Mixture:
        return Mixture(
            *(self.covariance_type, self.weights_, self.means_, self.covariances_, self.precisions_cholesky_)
        )

    def _start(self, view: MatrixView, number: int) -> Mixture:
        """The components of the rows nearest to each of some centers, and what the user has given."""
        init = "k-means||" if self.init_params != "random_from_data" else "random"
        seeds = KMeans(self.n_components, init=init, random_state=number)
        if self.init_params != "kmeans":
            seeds.set_params(max_iter=1)
        seeds._fit(view)
        centers = seeds.cluster_centers_
        nearest = Centers.of(centers, centers.mean(axis=0))
        sums = view.reduce(
            lambda block: _summed(block, _one_hot(nearest, block.X), self.covariance_type, centers)
        )
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

    def _given(self, name: str, like: np.ndarray) -> np.ndarray:
        try:
            values = np.asarray(getattr(self, name), dtype=np.float64)
        except (TypeError, ValueError):
            raise ParameterError(f"{name} holds what is no number. Give an array of numbers.") from None
        if values.shape != like.shape or not np.isfinite(values).all():
            raise ParameterError(
                f"The parameter '{name.removesuffix('_init')}' should have the shape of {like.shape}, of "
                f"finite numbers, but got {values.shape}. Check {name}."
            )
        return values

    def _most_likely(self, sums: Sums, origins: np.ndarray) -> Mixture:
        """The parameters that sums about some origins, one for each component, make most likely."""
        shares, moved, products, _ = sums
        shares = shares + 10 * np.finfo(np.float64).eps
        steps = moved / shares[:, None]
        made = covariances(self.covariance_type, products, shares, steps, self.reg_covar)
        factors = precision_factors(self.covariance_type, made)
        return Mixture(self.covariance_type, shares / shares.sum(), origins + steps, made, factors)

    # ---- answer ------------------------------------------------------------------------------------------

    @property
    def precisions_(self) -> np.ndarray:
        """The inverses of the covariances."""
        return precisions(self.covariance_type, self.precisions_cholesky_)

    def _logs(self, X: Any) -> np.ndarray:
        return self._known().logs(X.toarray() if is_sparse(X) else X)

    def _score_samples(self, X: Any) -> np.ndarray:
        return class_shares(self._logs(X))[1]

    def _predict(self, X: Any) -> np.ndarray:
        return np.argmax(self._logs(X), axis=1)

    def _predict_proba(self, X: Any) -> np.ndarray:
        return class_shares(self._logs(X))[0]

    def _most_probable(self, chances: np.ndarray) -> np.ndarray:
        return np.argmax(chances, axis=1)

    def predict_proba(self, X: Any) -> Any:
        """The share of each component in each row, (rows, components); for lazy tables `probability_<k>`."""
        return self._respond(X, "predict_proba")

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Draw rows from the mixture.

        Parameters
        ----------
        n_samples : how many.

        Returns
        -------
        The rows, of shape (n_samples, n_features), and the component each was drawn from, of shape
        (n_samples,), in the order of the components. With a whole number as `random_state` they are always
        the same.

        Examples
        --------
        >>> import numpy as np, outgrow as og
        >>> X = np.array([[0.0], [0.2], [0.1], [9.0], [9.2], [9.1]])
        >>> model = og.GaussianMixture(n_components=2, random_state=0).fit(X)
        >>> rows, components = model.sample(100)
        >>> rows.shape, bool((model.predict(rows) == components).all())
        ((100, 1), True)
        """
        check_is_fitted(self)
        Integer(low=1).check(f"{type(self).__name__}.sample", "n_samples", n_samples)
        rng = np.random.default_rng(None if self.random_state is None else seed(self.random_state))
        counts = rng.multinomial(n_samples, self.weights_ / self.weights_.sum())
        rows = rng.normal(size=(n_samples, self.means_.shape[1]))
        component = np.repeat(np.arange(len(counts)), counts)
        for k, mean in enumerate(self.means_):
            factors = self.precisions_cholesky_
            mine = factors if self.covariance_type == TIED else factors[k]
            rows[component == k] = mean + drawn(self.covariance_type, mine, rows[component == k])
        return rows, component

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

    def _prediction_names(self, method: str) -> list[str]:
        if method == "predict_proba":
            return [f"probability_{k}" for k in range(len(self.means_))]
        return super()._prediction_names(method)

    # ---- export ------------------------------------------------------------------------------------------

    def _to_onnx(self, table: Table) -> Answer:
        graph, mixture = table.graph, self._known()
        X = features(self.features_, table, type(self).__name__)
        white = whitening(self.covariance_type, mixture.factors, *mixture.means.shape)
        distances = []
        for mean, matrix in zip(mixture.means, white, strict=True):
            apart = graph.node("Sub", X, graph.constant(mean[None, :]))
            standard = graph.node("MatMul", apart, graph.constant(np.ascontiguousarray(matrix)))
            square = graph.node("Mul", standard, standard)
            distances.append(graph.node("ReduceSum", square, graph.constant([1], np.int64), keepdims=1))
        halves = graph.node("Mul", graph.join(distances), graph.constant(-0.5))
        logs = graph.node("Add", halves, graph.constant(mixture.constants[None, :]))
        shares = graph.node("Softmax", logs, axis=1)
        return Answer(graph.node("ArgMax", logs, axis=1, keepdims=0), "integer", shares)

    def _sklearn_model(self) -> Any:
        shared = ("n_components", "covariance_type", "tol", "reg_covar", "max_iter", "n_init")
        made = twin("mixture.GaussianMixture", **{name: getattr(self, name) for name in shared})
        learned = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")
        return with_learned(made, self, *learned, "converged_", "n_iter_", "lower_bound_")


def _expected(block: Block, mixture: Mixture) -> Sums:
    """What a block adds with the shares of its rows that are expected of a mixture."""
    X = block.X.toarray() if is_sparse(block.X) else block.X
    shares, total = class_shares(mixture.logs(X))
    return _summed(block, shares, mixture.form, mixture.means, total)


def _summed(
    block: Block, shares: np.ndarray, form: str, origins: np.ndarray, total: np.ndarray | None = None
) -> Sums:
    X = block.X.toarray() if is_sparse(block.X) else block.X
    weight = np.ones(len(X)) if block.weight is None else block.weight
    shares = (shares.T * weight).T
    moved, products = np.zeros_like(origins), [np.zeros(())] * len(origins)
    for rows in some_rows(X):
        columns = np.ascontiguousarray(X[rows].T)
        for k, origin in enumerate(origins):
            apart, share = columns - origin[:, None], np.ascontiguousarray(shares[rows, k])
            moved[k] += apart @ share
            products[k] = products[k] + squares(form, apart, share)
    likelihood = 0.0 if total is None else float(weight @ total)
    return shares.sum(axis=0), moved, np.stack(products), np.array([likelihood, weight.sum()])


def _one_hot(nearest: Centers, X: Any) -> np.ndarray:
    return np.eye(len(nearest.apart))[closest(nearest, X)]
