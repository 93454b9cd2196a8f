"""Quantiles that are linear in the features."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from outgrow.engine.context import FitContext
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.engine.together import side_by_side
from outgrow.errors import DataError, ParameterError
from outgrow.ml.core.candidates import Candidate, learn_apart, usable
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.parameters import FLAG, Number, Numbers, Unused
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.linear_model.base import LinearRegressor
from outgrow.ml.linear_model.pinball_scores import PinballScoring
from outgrow.ml.solvers.offsets import Offsets
from outgrow.ml.solvers.quantile_plane import Plane
from outgrow.stats.moments import Moments

WIDTH = 512
"""Up to so many features."""
_STEPS = 50


class QuantileRegressor(LinearRegressor):
    """Minimise the mean pinball loss plus alpha ||w||₁: a share of the rows lies below the plane.

    The minimum is exact, and proven to be: Newton's method on a smoothed loss comes near it, a linear
    program over the few rows near the plane finds it, and a last pass sees that no other row has changed its
    side (Koenker and Bassett 1978; Portnoy and Koenker 1997).

    Parameters
    ----------
    quantile : between 0 and 1; or a list of such numbers, each of which is learnt, in passes that all share.
    alpha : strength of the absolute penalty, at least 0.
    fit_intercept : learn a constant, which is not penalised.
    solver, solver_options : accepted as scikit-learn has them, without effect.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,), or (n_quantiles, n_features) for a list of quantiles; float32
        where X was an array of float32.
    intercept_ : float, or ndarray of shape (n_quantiles,).
    n_iter_ : passes over the rows.

    Notes
    -----
    Where several planes are best, it is one of them, the same for any order of the rows. It takes up to 512
    features; `evaluate` gives the mean `pinball` loss beside the metrics of numbers.

    Of several quantiles `predict` gives an array of shape (rows, n_quantiles), or columns such as
    `prediction_0.9`, and `evaluate` each metric as their mean and as `pinball_0.9`. Each is the best by
    itself, so that planes may cross, mostly far from the rows of the fit: there a lower quantile is predicted
    above a higher one. `np.sort(predicted, axis=1)` mends that, and is never worse (Chernozhukov,
    Fernandez-Val and Galichon 2010).

    Unlike scikit-learn: rows need not fit into one linear program, so there may be millions; `quantile` may
    be a list.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.arange(10.0)[:, None]
    >>> y = X[:, 0] + np.where(np.arange(10) == 5, 100.0, 0.0)
    >>> og.QuantileRegressor(alpha=0).fit(X, y).coef_.round(6).tolist()
    [1.0]
    >>> og.QuantileRegressor(quantile=[0.25, 0.75], alpha=0).fit(X, y).predict(X[1:3]).round(6).tolist()
    [[1.0, 1.0], [2.0, 2.0]]
    """

    _scoring = PinballScoring()
    shared_fit_parameters = ("quantile", "alpha")
    parameters = {
        "quantile": Numbers(above=0, below=1),
        "alpha": Number(low=0),
        "fit_intercept": FLAG,
        "solver": Unused(),
        "solver_options": Unused(),
    }

    def __init__(
        self,
        *,
        quantile: float | Sequence[float] = 0.5,
        alpha: float = 1.0,
        fit_intercept: bool = True,
        solver: str = "highs",
        solver_options: Any = None,
    ) -> None:
        self.quantile = quantile
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.solver_options = solver_options

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = False
        return tags

    @property
    def answers_several(self) -> bool:  # type: ignore[override]
        """Whether `quantile` is a list."""
        return np.ndim(self.quantile) > 0

    def _check_parameters(self) -> None:
        names = self._quantile_names()
        if len(set(names)) < len(names):
            raise ParameterError(f"quantile={self.quantile!r}: some are the same. Give each once.")

    def _quantile_names(self) -> list[str]:
        """What the quantiles are called, as numbers of up to ten digits."""
        return [f"{float(each):.10g}" for each in np.atleast_1d(self.quantile)]

    def _fit(self, view: MatrixView) -> None:
        if view.width > WIDTH:
            raise DataError(
                f"QuantileRegressor takes up to {WIDTH} features; there are {view.width}. Choose some of "
                "them, or reduce them with PCA."
            )
        before = view.run.passes
        offsets = Offsets.of(view, intercept=self.fit_intercept)
        y: Moments = view.reduce(lambda block: Moments.of(np.asarray(block.y)[:, None], block.weight))
        quantiles = np.atleast_1d(self.quantile).astype(float).tolist()
        fits = [self._plane_of(view, each, offsets, y) for each in quantiles]
        found = side_by_side(view.run, fits)
        coef = np.array([w[: view.width] for w, _ in found])
        constants = np.array([w[view.width :] for w, _ in found])
        intercept = offsets.restore(coef, constants[:, 0]) if self.fit_intercept else np.zeros(len(found))
        self.coef_, self.intercept_ = coef, intercept
        if self.answers_several:
            self.target_names_ = self._quantile_names()
        else:
            self.coef_, self.intercept_ = coef[0], float(intercept[0])
        self.n_iter_ = max(1, view.run.passes - before)
        self._warn([each for each, (_, proven) in zip(quantiles, found, strict=True) if not proven])

    def _plane_of(
        self, view: MatrixView, quantile: float, offsets: Offsets, y: Moments
    ) -> Callable[[FitContext], tuple[np.ndarray, bool]]:
        """A fit of one quantile: its parameters, and whether they are proven to be the best."""
        deviation, mean = float(np.sqrt(y.variance()[0])), float(y.mean[0])
        size = deviation if self.fit_intercept else float(np.hypot(deviation, mean))

        def fit(run: FitContext) -> tuple[np.ndarray, bool]:
            plane = Plane(
                offsets.apply(view.on(run)),
                quantile,
                float(self.alpha) * float(y.n[0]),
                intercept=self.fit_intercept,
                spread=offsets.spread,
                size=size or 1.0,
            )
            return plane.best(mean, _STEPS), plane.proven

        return fit

    def _warn(self, unproven: list[float]) -> None:
        if unproven:
            which = f" of the quantiles {unproven}" if self.answers_several else ""
            warnings.warn(
                "QuantileRegressor failed to converge: rows went on to change their side of the plane"
                f"{which}, which is near the best one but not proven to be it. Scale the columns, or leave "
                "out columns that others nearly determine.",
                ConvergenceWarning,
                stacklevel=2,
            )

    @classmethod
    def _fit_many(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        learn_apart(rows, usable(rows, candidates))

    @classmethod
    def _predict_many(cls, models: Sequence[Any], method: str, X: Any) -> Any:
        if any(model.coef_.ndim == 2 for model in models):
            return [model._predict(X) for model in models]
        return super()._predict_many(models, method, X)

    def _sklearn_model(self) -> Any:
        if self.answers_several:
            raise refusal(
                self,
                "scikit-learn's learns one quantile.",
                "Fit a model for each quantile, and export those.",
            )
        names = ("quantile", "alpha", "fit_intercept")
        made = twin("linear_model.QuantileRegressor", **{name: getattr(self, name) for name in names})
        return with_learned(made, self, "coef_", "intercept_", "n_iter_")
