"""Generalized linear models with standard errors and tests."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.errors import ParameterError
from outgrow.ml.core.candidates import Candidate, learn_apart, usable
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.parameters import FLAG, Integer, Number, OneOf
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.linear_model.inference import Information, Summary, restored
from outgrow.ml.linear_model.penalised import MeanRegressor
from outgrow.ml.solvers.families import NAMES, Family, MeanLoss, Tweedie, family_of
from outgrow.ml.solvers.links import LINKS, Link
from outgrow.ml.solvers.newton import Minima, newton
from outgrow.ml.solvers.objective import Objective
from outgrow.ml.solvers.offsets import Offsets
from outgrow.ml.solvers.weighing import weighed

_MOVES = 1e-3
"""Of a coefficient: one that a step still moves by so much, where the fit ends, has no end."""
_STEPS = 8
"""So many steps must have been made before that is said of one."""


class GeneralizedLinearRegression(MeanRegressor):
    """The mean of y through a link, with standard errors, tests, deviance and AIC in `summary_`.

    Minimises half the mean deviance plus alpha (l1_ratio ||w||₁ + ½ (1 - l1_ratio) ||w||²) by Newton's
    method, or Fisher scoring where the link leaves no convex objective, with steps that are shortened where a
    mean leaves its range (McCullagh and Nelder 1989). A binomial y is 0 or 1, or a share between them, of as
    many trials as the row weighs.

    Parameters
    ----------
    family : 'gaussian', 'binomial', 'poisson', 'gamma', 'tweedie', 'negative_binomial' or
        'inverse_gaussian'.
    link : 'identity', 'log', 'inverse', 'inverse_squared', 'sqrt', 'logit', 'probit' or 'cloglog'; None for
        that of the family, which is 'log' for 'tweedie' and 'negative_binomial', and R's for others.
    alpha : strength of the penalty, at least 0; with one there are no standard errors.
    l1_ratio : share of the absolute penalty, between 0 (ridge) and 1 (lasso), by which coefficients may be
        exactly 0; each step then minimises a quadratic model together with the penalty.
    fit_intercept : learn a constant, which is not penalised.
    var_power : of 'tweedie': the variance is the mean to this power, at most 0 or at least 1.
    overdispersion : of 'negative_binomial': the variance is mean + overdispersion * mean².
    max_iter : most passes of Newton's method, or steps of L-BFGS.
    tol : share of the objective; it ends with the step that is expected to leave no more to gain.
    warm_start : begin at the coefficients of the last fit.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,); float32 where X was an array of float32.
    intercept_ : float.
    n_iter_ : steps over all rows.
    mean_ : float, the mean of y.
    summary_ : `Summary`: of each coefficient `std_error`, `statistic`, `p_value` and `interval()`; and
        `deviance`, `null_deviance`, `dispersion`, `pearson`, `aic`, `df_residual`, `df_null`.
    covariance_ : ndarray of shape (coefficients, coefficients), the intercept first; None with a penalty.

    Notes
    -----
    The dispersion is Pearson's, and 1 for binomial, Poisson and negative binomial y; tests are by t where it
    is estimated. AIC is R's, which counts the dispersion among the parameters. Weights repeat rows, as
    everywhere here: R takes them as known precisions, so that its degrees of freedom count rows. Of
    coefficients that answer alike the shortest are taken. Where the likelihood has no maximum, as with
    perfect separation, a warning names the columns.

    Unlike Spark MLlib's `GeneralizedLinearRegression(regParam=0.0, variancePower=0.0)`: `alpha = regParam`;
    it also has the negative binomial and the inverse Gaussian, takes exposures and any number of columns, and
    its penalty may be absolute.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> model = og.GeneralizedLinearRegression("poisson").fit(X, np.array([1.0, 2.0, 3.0, 9.0]))
    >>> round(model.summary_.deviance, 4), model.summary_.std_error.round(4).tolist()
    (0.3146, [0.7234, 0.2896])
    """

    parameters = {
        "family": OneOf(*NAMES),
        "link": OneOf(*LINKS, None),
        "alpha": Number(low=0),
        "l1_ratio": Number(low=0, high=1),
        "fit_intercept": FLAG,
        "var_power": Number(high=0) | Number(low=1),
        "overdispersion": Number(above=0),
        "max_iter": Integer(low=1),
        "tol": Number(low=0),
        "warm_start": FLAG,
    }

    covariance_: np.ndarray | None
    fit_statistics_: dict[str, float]

    def __init__(
        self,
        family: str = "gaussian",
        *,
        link: str | None = None,
        alpha: float = 0.0,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        var_power: float = 1.5,
        overdispersion: float = 1.0,
        max_iter: int = 100,
        tol: float = 1e-12,
        warm_start: bool = False,
    ) -> None:
        self.family = family
        self.link = link
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.var_power = var_power
        self.overdispersion = overdispersion
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start

    def _check_parameters(self) -> None:
        bounded = ("logit", "probit", "cloglog")
        if self.link in bounded and self.family != "binomial":
            raise ParameterError(
                f"link={self.link!r} is for means between 0 and 1, and the family is {self.family!r}. "
                "Choose family='binomial', or link='log'."
            )

    def _family(self) -> Family:
        power, overdispersion = float(self.var_power), float(self.overdispersion)
        return family_of(self.family, power=power, overdispersion=overdispersion)

    def _link(self) -> Link:
        return LINKS[self._family().link if self.link is None else self.link]

    @classmethod
    def _fit_many(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        learn_apart(rows, usable(rows, candidates))

    @property
    def summary_(self) -> Summary:
        """Coefficients with their standard errors and tests, and how well the model fits.

        Raises
        ------
        ParameterError
            When there was a penalty: standard errors are those of coefficients without one.
        """
        check_is_fitted(self)
        if self.covariance_ is None:
            raise ParameterError(
                f"summary_ needs alpha=0, and alpha is {self.alpha}: a penalty shrinks coefficients, so that "
                "standard errors and tests say little of them. Deviances are in fit_statistics_."
            )
        names = list(self.features_)
        coef = np.asarray(self.coef_, dtype=np.float64)
        if self.fit_intercept:
            names, coef = ["intercept", *names], np.append(self.intercept_, coef)
        fit = {"family": self.family, "link": self._link().name, **self.fit_statistics_}
        test = "t" if self._family().free else "z"
        errors = np.sqrt(np.diag(self.covariance_))
        return Summary(names, coef, errors, test, self.fit_statistics_["df_residual"], fit)

    def _infer(
        self, rows: FoldedView, objective: Objective, minima: Minima, offsets: Offsets, opening: np.ndarray
    ) -> None:
        family, view = self._family(), replace(rows, view=offsets.apply(rows.view))
        expected = replace(objective, loss=MeanLoss(family, self._link(), expected=True))
        w, none = minima.w[:1], np.zeros(1, dtype=np.intp)
        null = self._null(rows, objective, opening)

        def fold(block: Block) -> tuple[Any, np.ndarray]:
            return expected.sums(view, block, w, none, none), self._row_sums(objective, block, w[0], null)

        (_, gradients, bends), sums = view.reduce(fold)
        information = Information.of(expected.unfolded(bends)[0])
        self.fit_statistics_ = self._statistics(opening, sums, information.rank)
        self.covariance_ = None
        if self.alpha:
            return
        scale = self.fit_statistics_["dispersion"]
        back = restored(offsets.centre, intercept=self.fit_intercept)
        self.covariance_ = scale * information.covariance(back)
        minima.w[0] = information.shortest(w[0], objective.width)
        self._take(objective, minima, 0, offsets, opening)
        if minima.converged[0] or self.n_iter_ >= _STEPS:
            self._check_ends(w[0], information.pseudo @ gradients[0], offsets)

    def _row_sums(self, objective: Objective, block: Block, w: np.ndarray, null: float) -> np.ndarray:
        """Deviance, Pearson's statistic, terms of the likelihood, and the deviance of the null model."""
        family, link = self._family(), self._link()
        y = np.asarray(block.y)
        (coef,), (constant,) = objective.unpack(w)
        offset = np.zeros(len(y)) if objective.offset is None else objective.offset(block)
        with np.errstate(all="ignore"):
            mean = link.inverse(block.X @ coef + constant + offset)
            flat = link.inverse(null + offset)
            rows = [
                2 * family.half_deviance(y, mean),
                (y - mean) ** 2 / family.variance(mean),
                family.terms(y, mean),
                2 * family.half_deviance(y, flat),
            ]
            return np.array([weighed(each, block.weight).sum() for each in rows])

    def _null(self, rows: FoldedView, objective: Objective, opening: np.ndarray) -> float:
        """The linear predictor of a model without features."""
        constant = self._constant(opening)
        if not self.fit_intercept:
            return 0.0
        if objective.offset is None:
            return float(self._link().apply(opening[1:2] / opening[0])[0])
        bare = replace(rows, view=rows.view.narrowed(np.zeros(0, dtype=np.intp)))
        alone = replace(objective, width=0, l1=np.zeros(1), l2=np.zeros(1))
        minima, _ = newton(
            bare, alone, tol=self.tol, max_iter=self.max_iter, constants=np.array([[constant]])
        )
        return float(minima.w[0, 0])

    def _statistics(self, opening: np.ndarray, sums: np.ndarray, rank: int) -> dict[str, float]:
        family, weight = self._family(), float(opening[0])
        deviance, pearson, terms, null = map(float, sums)
        left = weight - rank
        with np.errstate(all="ignore"):
            dispersion = float(np.divide(pearson, left)) if left > 0 else float("nan")
        return {
            "deviance": deviance,
            "null_deviance": null,
            "pearson": pearson,
            "dispersion": dispersion if family.free else 1.0,
            "aic": float(family.doubled(weight, deviance, terms)) + 2 * rank,
            "df_residual": left,
            "df_null": weight - self.fit_intercept,
        }

    def _check_ends(self, w: np.ndarray, step: np.ndarray, offsets: Offsets) -> None:
        """Warn of coefficients that would go on for ever."""
        spread = np.append(offsets.spread, 1.0)[: len(w)]
        endless = (np.abs(step) > _MOVES * np.abs(w)) & (np.abs(w) * spread > _MOVES)
        if endless.any():
            names = [*self.features_, "intercept"]
            columns = [names[j] for j in np.flatnonzero(endless)]
            warnings.warn(
                f"Perfect separation: the coefficient(s) of {columns[:10]} have no finite best value, as "
                "rows that those columns tell apart have a mean at the end of its range. Their standard "
                "errors and tests mean nothing. Leave them out, join categories, or penalise (alpha > 0).",
                ConvergenceWarning,
                stacklevel=2,
            )

    def _sklearn_model(self) -> Any:
        family, link = self._family(), self._link()
        if not isinstance(family, Tweedie) or link.name not in ("identity", "log"):
            raise refusal(
                self,
                f"scikit-learn has no family {family.name!r} with the link {link.name!r}.",
                "Keep it with save(), and answer with outgrow.",
            )
        if self.alpha and self.l1_ratio:
            raise refusal(
                self,
                f"scikit-learn's have no absolute penalty, and l1_ratio is {self.l1_ratio}.",
                "Keep it with save(), and answer with outgrow.",
            )
        made = twin(
            "linear_model.TweedieRegressor",
            power=family.power,
            link=link.name,
            alpha=self.alpha,
            fit_intercept=self.fit_intercept,
        )
        made._base_loss = made._get_loss()
        return with_learned(made, self, "coef_", "intercept_", "n_iter_")

    def _to_onnx(self, table: Any) -> Any:
        if self._link().name == "probit":
            raise refusal(
                self,
                "ONNX has no normal distribution in float64.",
                "Keep it with save(), or use link='logit'.",
            )
        return super()._to_onnx(table)
