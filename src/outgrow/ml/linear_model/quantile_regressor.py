"""Quantiles that are linear in the features."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError
from outgrow.ml.core.candidates import Candidate, learn_apart, usable
from outgrow.ml.core.parameters import FLAG, Number, Unused
from outgrow.ml.core.scoring import Scoring
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.linear_model.base import LinearRegressor
from outgrow.ml.solvers.offsets import Offsets
from outgrow.ml.solvers.quantile_plane import Plane
from outgrow.stats.moments import Moments
from outgrow.stats.scores import RegressionState

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
    quantile : between 0 and 1.
    alpha : strength of the absolute penalty, at least 0.
    fit_intercept : learn a constant, which is not penalised.
    solver, solver_options : accepted as scikit-learn has them, without effect.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,); float32 where X was an array of float32.
    intercept_ : float.
    n_iter_ : passes over the rows.

    Notes
    -----
    Where several planes are best, it is one of them, the same for any order of the rows. It takes up to 512
    features; `evaluate` gives the mean `pinball` loss beside the metrics of numbers.

    Unlike scikit-learn: rows need not fit into one linear program, so there may be millions.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.arange(10.0)[:, None]
    >>> y = X[:, 0] + np.where(np.arange(10) == 5, 100.0, 0.0)
    >>> og.QuantileRegressor(alpha=0).fit(X, y).coef_.round(6).tolist()
    [1.0]
    """

    shared_fit_parameters = ("quantile", "alpha")
    parameters = {
        "quantile": Number(above=0, below=1),
        "alpha": Number(low=0),
        "fit_intercept": FLAG,
        "solver": Unused(),
        "solver_options": Unused(),
    }

    def __init__(
        self,
        *,
        quantile: float = 0.5,
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
    def _scoring(self) -> Scoring:  # type: ignore[override]
        return PinballScoring(float(self.quantile))

    def _fit(self, view: MatrixView) -> None:
        if view.width > WIDTH:
            raise DataError(
                f"QuantileRegressor takes up to {WIDTH} features; there are {view.width}. Choose some of "
                "them, or reduce them with PCA."
            )
        before = view.run.passes
        offsets = Offsets.of(view, intercept=self.fit_intercept)
        y: Moments = view.reduce(lambda block: Moments.of(np.asarray(block.y)[:, None], block.weight))
        deviation, mean = float(np.sqrt(y.variance()[0])), float(y.mean[0])
        size = deviation if self.fit_intercept else float(np.hypot(deviation, mean))
        plane = Plane(
            offsets.apply(view),
            float(self.quantile),
            float(self.alpha) * float(y.n[0]),
            intercept=self.fit_intercept,
            spread=offsets.spread,
            size=size or 1.0,
        )
        w = plane.best(mean, _STEPS)
        coef, constant = w[: view.width], w[view.width :]
        self.coef_ = coef
        self.intercept_ = float(offsets.restore(coef[None, :], constant)[0]) if self.fit_intercept else 0.0
        self.n_iter_ = max(1, view.run.passes - before)
        if not plane.proven:
            warnings.warn(
                "QuantileRegressor failed to converge: rows went on to change their side of the plane, which "
                "is near the best one but not proven to be it. Scale the columns, or leave out columns that "
                "others nearly determine.",
                ConvergenceWarning,
                stacklevel=2,
            )

    @classmethod
    def _fit_many(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        learn_apart(rows, usable(rows, candidates))

    def _sklearn_model(self) -> Any:
        names = ("quantile", "alpha", "fit_intercept")
        made = twin("linear_model.QuantileRegressor", **{name: getattr(self, name) for name in names})
        return with_learned(made, self, "coef_", "intercept_", "n_iter_")


class PinballScoring:
    """Predicted quantiles beside y.

    Parameters
    ----------
    quantile : which.
    """

    method = "predict"
    labels = False
    names: tuple[str, ...] = ("r2", "pinball", "mse", "rmse", "mae")

    def __init__(self, quantile: float) -> None:
        self.quantile = quantile

    def states(self, models: Sequence[Any], answers: Any, block: Block, bins: int | None) -> Any:
        """See `Scoring.states`.

        Parameters
        ----------
        models, answers, block, bins : as there.
        """
        y, weight = np.asarray(block.y), block.weight
        found = []
        for each in answers:
            rest = y - np.asarray(each)
            losses = np.maximum(self.quantile * rest, (self.quantile - 1) * rest)
            summed = losses.sum() if weight is None else weight @ losses
            found.append((RegressionState.of(y, np.asarray(each), weight), np.array([float(summed)])))
        return tuple(found)

    def weight(self, state: Any) -> float:
        """The weight of the rows that a state has seen."""
        return float(state[0].weight)

    def metrics(self, state: Any) -> dict[str, float]:
        """The mean pinball loss, and the metrics of numbers."""
        metrics = state[0].metrics()
        return {"r2": metrics.pop("r2"), "pinball": float(state[1][0] / state[0].weight), **metrics}
