"""Mixtures of Gaussians that use as many components as the rows ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from scipy.special import betaln, digamma, gammaln

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.core.joint import class_shares, dense
from outgrow.ml.core.parameters import ARRAY, FLAG, RANDOM_STATE, Integer, Number, OneOf, Unused
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.mixture.base import Mixture, NormalMixture, Sums, summed
from outgrow.ml.mixture.covariances import (
    DIAG,
    FORMS,
    FULL,
    SPHERICAL,
    TIED,
    covariances,
    factors_of,
    log_determinants,
    precision_factors,
)
from outgrow.stats.moments import CoMoments

PROCESS, DISTRIBUTION = "dirichlet_process", "dirichlet_distribution"


@dataclass(frozen=True, eq=False)
class Prior:
    """What is believed before any row is seen.

    Attributes
    ----------
    process : whether weights follow a Dirichlet process, so that later components are the less likely.
    concentration : of the weights.
    mean, mean_precision : where means lie, and how many rows that belief is worth.
    freedom, covariance : degrees of freedom of the covariances, and these times their expectation.
    """

    process: bool
    concentration: float
    mean: np.ndarray
    mean_precision: float
    freedom: float
    covariance: np.ndarray


@dataclass(frozen=True, eq=False)
class Posterior(Mixture):
    """What is believed at one step: distributions of the parameters of a mixture.

    Attributes
    ----------
    concentration : ndarray of shape (components,), or (2, components) of a process.
    mean_precision : ndarray of shape (components,).
    freedom : ndarray of shape (components,), or () where all have one covariance.
    """

    concentration: np.ndarray
    mean_precision: np.ndarray
    freedom: np.ndarray

    @property
    def constants(self) -> np.ndarray:
        """What each component adds wherever a row lies, but for the powers of pi: expectations."""
        width = self.means.shape[1]
        halves = 0.5 * (self.freedom - np.arange(width).reshape(-1, *[1] * np.ndim(self.freedom)))
        spread = width * np.log(2.0) + digamma(halves).sum(axis=0) - width / self.mean_precision
        made: np.ndarray = self._log_weights() + self._log_determinants() + 0.5 * spread
        return made

    def bound(self, entropy: float) -> float:
        """The lower bound, but for what does not change from step to step.

        Parameters
        ----------
        entropy : of the shares of all rows in the components.
        """
        width, freedom = self.means.shape[1], self.freedom
        rows = np.arange(width).reshape(-1, *[1] * np.ndim(freedom))
        wishart = -(
            freedom * self._log_determinants()
            + 0.5 * freedom * width * np.log(2.0)
            + gammaln(0.5 * (freedom - rows)).sum(axis=0)
        )
        total = len(self.means) * wishart if self.form == TIED else wishart.sum()
        return float(entropy - total - self._weights_norm() - 0.5 * width * np.log(self.mean_precision).sum())

    def _log_determinants(self) -> np.ndarray:
        """Of the factors of expected precisions, less what makes them those of the distributions."""
        width = self.means.shape[1]
        made: np.ndarray = log_determinants(self.form, self.factors, width) - 0.5 * width * np.log(
            self.freedom
        )
        return made

    def _log_weights(self) -> np.ndarray:
        if self.concentration.ndim == 1:
            alone: np.ndarray = digamma(self.concentration) - digamma(self.concentration.sum())
            return alone
        both = digamma(self.concentration.sum(axis=0))
        first, rest = digamma(self.concentration)
        made: np.ndarray = first - both + np.append(0.0, np.cumsum(rest - both)[:-1])
        return made

    def _weights_norm(self) -> float:
        if self.concentration.ndim == 1:
            return float(gammaln(self.concentration.sum()) - gammaln(self.concentration).sum())
        return -float(betaln(*self.concentration).sum())


class BayesianGaussianMixture(NormalMixture):
    """Mix normal distributions, and leave those without weight that the rows do not ask for, by variational
    inference (Attias 2000; Blei and Jordan 2006).

    One pass over the rows for each iteration, with the same state as `GaussianMixture`.

    Parameters
    ----------
    n_components : how many distributions, at most; those that are not needed get a weight of about 0.
    covariance_type : 'full', 'tied' for one covariance of all, 'diag', or 'spherical' for one variance each.
    tol : it ends when the lower bound gains less than this.
    reg_covar : is added to each variance.
    max_iter : most iterations of a run.
    n_init : how often to start anew, in passes that the runs share; the highest bound counts.
    init_params : as for `GaussianMixture`.
    weight_concentration_prior_type : 'dirichlet_process', for which later components are the less likely, or
        'dirichlet_distribution'.
    weight_concentration_prior : the lower, the fewer components; None is one divided by `n_components`.
    mean_precision_prior : how many rows the prior of the means is worth; None is 1.
    mean_prior : of shape (n_features,); None is the mean of the rows.
    degrees_of_freedom_prior : of the covariances; None is `n_features`.
    covariance_prior : of the shape of one covariance; None is that of all rows.
    random_state : another number starts elsewhere. The start depends on it and on the rows alone.
    warm_start : begin with what the last fit learned.
    verbose, verbose_interval : accepted as in scikit-learn, without effect.

    Attributes
    ----------
    weights_, means_, covariances_, precisions_, precisions_cholesky_ : as `GaussianMixture` has them, as they
        are expected.
    weight_concentration_ : ndarray of shape (n_components,), or (2, n_components) for 'dirichlet_process'.
    mean_precision_, degrees_of_freedom_ : ndarray of shape (n_components,); one number of the latter for
        'tied'.
    weight_concentration_prior_, mean_precision_prior_, mean_prior_, degrees_of_freedom_prior_,
    covariance_prior_ : the priors.
    converged_ : whether it ended by `tol`.
    n_iter_ : iterations of the run that counts.
    lower_bound_ : at its end.

    Notes
    -----
    Unlike scikit-learn: 'k-means++' and 'random_from_data' begin with the rows nearest to each center, not
    with one row each; 'random' is refused; takes weights.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> random = np.random.default_rng(0)
    >>> X = np.concatenate([random.normal(size=(200, 1)), 20 + random.normal(size=(100, 1))])
    >>> model = og.BayesianGaussianMixture(5, random_state=0, max_iter=500).fit(X)
    >>> int((model.weights_ > 0.05).sum()) <= 3
    True
    """

    parameters = {
        "n_components": Integer(low=1),
        "covariance_type": OneOf(*FORMS),
        "tol": Number(low=0),
        "reg_covar": Number(low=0),
        "max_iter": Integer(low=1),
        "n_init": Integer(low=1),
        "init_params": OneOf("kmeans", "k-means++", "random_from_data"),
        "weight_concentration_prior_type": OneOf(PROCESS, DISTRIBUTION),
        "weight_concentration_prior": Number(above=0, below=np.inf) | None,
        "mean_precision_prior": Number(above=0, below=np.inf) | None,
        "mean_prior": ARRAY | None,
        "degrees_of_freedom_prior": Number(above=0, below=np.inf) | None,
        "covariance_prior": ARRAY | Number(above=0, below=np.inf) | None,
        "random_state": RANDOM_STATE,
        "warm_start": FLAG,
        "verbose": Unused(),
        "verbose_interval": Unused(),
    }
    _carried: ClassVar[tuple[str, ...]] = (
        *NormalMixture._carried,
        *("weight_concentration_", "mean_precision_", "degrees_of_freedom_"),
    )
    weight_concentration_: np.ndarray
    mean_precision_: np.ndarray
    degrees_of_freedom_: Any

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
        weight_concentration_prior_type: str = PROCESS,
        weight_concentration_prior: float | None = None,
        mean_precision_prior: float | None = None,
        mean_prior: Any = None,
        degrees_of_freedom_prior: float | None = None,
        covariance_prior: Any = None,
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
        self.weight_concentration_prior_type = weight_concentration_prior_type
        self.weight_concentration_prior = weight_concentration_prior
        self.mean_precision_prior = mean_precision_prior
        self.mean_prior = mean_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior
        self.covariance_prior = covariance_prior
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval

    # ---- learn -------------------------------------------------------------------------------------------

    def _look(self, view: MatrixView) -> None:
        moments: CoMoments = view.reduce(lambda block: CoMoments.of(dense(block.X), block.weight))
        width, count = view.width, self.n_components
        own = self.weight_concentration_prior
        self.weight_concentration_prior_ = 1.0 / count if own is None else float(own)
        self.mean_precision_prior_ = float(self.mean_precision_prior or 1.0)
        self.mean_prior_ = (
            moments.mean if self.mean_prior is None else self._given("mean_prior", moments.mean)
        )
        self.degrees_of_freedom_prior_ = float(self.degrees_of_freedom_prior or width)
        if self.degrees_of_freedom_prior_ <= width - 1:
            raise ParameterError(
                f"The parameter 'degrees_of_freedom_prior' should be greater than {width - 1}, but got "
                f"{self.degrees_of_freedom_prior_:.3f}. Leave it out for {width}."
            )
        self.covariance_prior_ = self._covariance_prior(moments)

    def _covariance_prior(self, moments: CoMoments) -> Any:
        spread = moments.products / max(moments.n - 1, 1.0)
        variances = np.diag(spread)
        like = {FULL: spread, TIED: spread, DIAG: variances}.get(self.covariance_type, variances.mean())
        if self.covariance_prior is None:
            return like
        made = self._given("covariance_prior", np.asarray(like))
        if self.covariance_type in (FULL, TIED):
            factors_of(TIED, made)
        elif not (made > 0).all():
            raise ParameterError("covariance_prior should be positive. Check it.")
        return float(made) if self.covariance_type == SPHERICAL else made

    @property
    def _prior(self) -> Prior:
        return Prior(
            self.weight_concentration_prior_type == PROCESS,
            self.weight_concentration_prior_,
            self.mean_prior_,
            self.mean_precision_prior_,
            self.degrees_of_freedom_prior_,
            np.asarray(self.covariance_prior_),
        )

    def _climb(self, view: MatrixView, number: int) -> tuple[Posterior, float, int, bool]:
        """One run: where it ends, its bound, its iterations, and whether it has converged."""
        known = hasattr(self, "means_")
        now = self._known() if known else self._believed(*self._first_sums(view, number))
        bound, steps = -np.inf, 0
        for steps in range(1, self.max_iter + 1):
            sums = view.reduce(lambda block, known=now: _expected(block, known))  # type: ignore[misc]
            now = self._believed(sums, now.means)
            before, bound = bound, now.bound(float(sums[3][0]))
            view.run.tell("step", steps, loss=-bound)
            if abs(bound - before) < self.tol:
                return now, bound, steps, True
        return now, bound, steps, False

    def _believed(self, sums: Sums, origins: np.ndarray) -> Posterior:
        """What sums about some origins, one for each component, make of the prior."""
        form, prior = self.covariance_type, self._prior
        shares = sums[0] + 10 * np.finfo(np.float64).eps
        steps = sums[1] / shares[:, None]
        spread = covariances(form, sums[2], shares, steps, self.reg_covar)
        places = origins + steps
        precision = prior.mean_precision + shares
        means = (prior.mean_precision * prior.mean + shares[:, None] * places) / precision[:, None]
        made, freedom = _wishart(form, prior, shares, places, spread, precision)
        concentration = _concentration(prior, shares)
        factors = precision_factors(form, made)
        weights = _weights(concentration)
        return Posterior(form, weights, means, made, factors, concentration, precision, freedom)

    def _keep(self, best: Any) -> None:
        super()._keep(best)
        self.weight_concentration_, self.mean_precision_ = best.concentration, best.mean_precision
        self.degrees_of_freedom_ = float(best.freedom) if np.ndim(best.freedom) == 0 else best.freedom

    def _known(self) -> Posterior:
        return Posterior(
            *(self.covariance_type, self.weights_, self.means_, self.covariances_, self.precisions_cholesky_),
            concentration=self.weight_concentration_,
            mean_precision=self.mean_precision_,
            freedom=np.asarray(self.degrees_of_freedom_),
        )

    def _sklearn_model(self) -> Any:
        shared = ("n_components", "covariance_type", "tol", "reg_covar", "max_iter", "n_init")
        kind = self.weight_concentration_prior_type
        settings = {name: getattr(self, name) for name in shared}
        made = twin("mixture.BayesianGaussianMixture", weight_concentration_prior_type=kind, **settings)
        learned = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")
        with_learned(made, self, *learned, "mean_precision_", "degrees_of_freedom_", "mean_prior_")
        pair = self.weight_concentration_
        made.weight_concentration_ = tuple(pair) if pair.ndim == 2 else pair
        return with_learned(made, self, "converged_", "n_iter_", "lower_bound_")


def _expected(block: Block, known: Posterior) -> Sums:
    """What a block adds with the shares of its rows, and their entropy."""
    X = block.X.toarray() if is_sparse(block.X) else block.X
    logs = known.logs(X)
    shares, total = class_shares(logs)
    with np.errstate(invalid="ignore"):
        entropy = total - np.where(shares > 0, shares * logs, 0.0).sum(axis=1)
    return summed(replace(block, X=X), shares, known.form, known.means, entropy)


def _concentration(prior: Prior, shares: np.ndarray) -> np.ndarray:
    if not prior.process:
        made: np.ndarray = prior.concentration + shares
        return made
    later = np.append(np.cumsum(shares[::-1])[-2::-1], 0.0)
    return np.stack([1.0 + shares, prior.concentration + later])


def _weights(concentration: np.ndarray) -> np.ndarray:
    """The expected weights."""
    if concentration.ndim == 1:
        alone: np.ndarray = concentration / concentration.sum()
        return alone
    own, rest = concentration / concentration.sum(axis=0)
    made: np.ndarray = own * np.append(1.0, np.cumprod(rest[:-1]))
    return made / made.sum()


def _wishart(
    form: str, prior: Prior, shares: np.ndarray, places: np.ndarray, spread: np.ndarray, precision: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The expected covariances and their degrees of freedom."""
    apart, pull = places - prior.mean, prior.mean_precision / precision
    count = len(shares)
    if form == TIED:
        freedom = np.asarray(prior.freedom + shares.sum() / count)
        outer = (shares * pull * apart.T) @ apart / count
        return (prior.covariance + spread * shares.sum() / count + outer) / freedom, freedom
    freedom = prior.freedom + shares
    if form == FULL:
        outer = (shares * pull)[:, None, None] * apart[:, :, None] * apart[:, None, :]
        made = prior.covariance + shares[:, None, None] * spread + outer
        return made / freedom[:, None, None], freedom
    if form == DIAG:
        return (prior.covariance + shares[:, None] * (spread + pull[:, None] * apart**2)) / freedom[
            :, None
        ], freedom
    return (prior.covariance + shares * (spread + pull * (apart**2).mean(axis=1))) / freedom, freedom
