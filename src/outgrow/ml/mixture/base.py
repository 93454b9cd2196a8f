"""What mixtures of normal distributions have in common: runs, answers and exports."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

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
from outgrow.ml.core.parameters import Integer, seed
from outgrow.ml.export.onnx.answer import Answer, features
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.mixture.covariances import (
    TIED,
    drawn,
    log_determinants,
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


class NormalMixture(DensityModel):
    """A mixture of normal distributions. Hooks: `_climb(view, number)`, one run; `_known()`, what was learned
    as a `Mixture`; `_look(view)`, what is asked of the rows first.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,).
    means_ : ndarray of shape (n_components, n_features).
    covariances_, precisions_cholesky_ : as scikit-learn has them for each form.
    """

    _samples = True
    expected_failed_checks = dict.fromkeys(
        ("check_estimator_sparse_array", "check_estimator_sparse_matrix"),
        "it asks what has predict_proba for the tags of classifiers",
    )
    n_components: int
    covariance_type: str
    init_params: str
    n_init: int
    random_state: Any
    weights_: np.ndarray
    means_: np.ndarray
    covariances_: np.ndarray
    precisions_cholesky_: np.ndarray

    _carried: ClassVar[tuple[str, ...]] = ("weights_", "means_", "covariances_", "precisions_cholesky_")
    """What a warm start begins with."""

    warm_start: bool

    def _worker(self) -> Self:
        worker = super()._worker()
        if self.warm_start and hasattr(self, "means_"):
            for name in self._carried:
                setattr(worker, name, getattr(self, name))
        return worker

    # ---- learn -------------------------------------------------------------------------------------------

    def _climb(self, view: MatrixView, number: int) -> tuple[Any, float, int, bool]:
        """One run: where it ends, its bound, its iterations, and whether it has converged."""
        raise NotImplementedError

    def _known(self) -> Mixture:
        raise NotImplementedError

    def _look(self, view: MatrixView) -> None:
        """Look at the rows before the runs begin."""

    def _fit(self, view: MatrixView) -> None:
        if view.rows < self.n_components:
            raise DataError(
                f"Expected n_samples >= n_components but got n_components = {self.n_components}, n_samples = "
                f"{view.rows}. Ask for fewer components."
            )
        self._check_start(view.width)
        self._look(view)
        first = seed(self.random_state)
        runs = 1 if hasattr(self, "means_") else self.n_init

        def run(number: int) -> Callable[[FitContext], tuple[Any, float, int, bool]]:
            return lambda context: self._climb(view.on(context), first + 7919 * number)

        found = side_by_side(view.run, [run(number) for number in range(runs)])
        best, bound, steps, converged = max(found, key=lambda one: one[1])
        self._keep(best)
        self.lower_bound_, self.n_iter_, self.converged_ = bound, steps, converged
        if not converged:
            warnings.warn(
                "Best performing initialization did not converge. Try different init parameters, or increase "
                "max_iter, tol, or check for degenerate data.",
                ConvergenceWarning,
                stacklevel=2,
            )

    def _keep(self, best: Any) -> None:
        """Note the parameters of the best run."""
        self.weights_, self.means_ = best.weights, best.means
        self.covariances_, self.precisions_cholesky_ = best.covariances, best.factors

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

    def _first_sums(self, view: MatrixView, number: int) -> tuple[Sums, np.ndarray]:
        """The sums of the rows nearest to each of some centers, and these centers."""
        init = "k-means||" if self.init_params != "random_from_data" else "random"
        seeds = KMeans(self.n_components, init=init, random_state=number)
        if self.init_params != "kmeans":
            seeds.set_params(max_iter=1)
        seeds._fit(view)
        centers = seeds.cluster_centers_
        nearest = Centers.of(centers, centers.mean(axis=0))
        form = self.covariance_type
        return view.reduce(lambda block: summed(block, _one_hot(nearest, block.X), form, centers)), centers

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


def expected(block: Block, mixture: Mixture) -> Sums:
    """What a block adds with the shares of its rows that are expected of a mixture.

    Parameters
    ----------
    block : the rows.
    mixture : by which they have shares.
    """
    X = block.X.toarray() if is_sparse(block.X) else block.X
    shares, total = class_shares(mixture.logs(X))
    return summed(block, shares, mixture.form, mixture.means, total)


def summed(
    block: Block, shares: np.ndarray, form: str, origins: np.ndarray, total: np.ndarray | None = None
) -> Sums:
    """What a block adds with some shares of its rows.

    Parameters
    ----------
    block : the rows.
    shares : of shape (rows, components).
    form : of the covariances.
    origins : of shape (components, width), about which rows are summed.
    total : of shape (rows,), what is summed beside them; None for nothing.
    """
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
