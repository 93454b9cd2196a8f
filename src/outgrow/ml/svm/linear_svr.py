"""Linear support vector regression."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.ml.core.candidates import Candidate, learn_apart, usable
from outgrow.ml.core.parameters import FLAG, Integer, Number, OneOf, Unused
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.linear_model.base import LinearRegressor
from outgrow.ml.linear_model.insensitive import insensitive_minimum
from outgrow.ml.solvers.cost import by_newton
from outgrow.ml.solvers.losses import SquaredInsensitive
from outgrow.ml.solvers.minimum import settled
from outgrow.ml.solvers.newton import Minima, newton
from outgrow.ml.solvers.objective import Objective
from outgrow.ml.solvers.offsets import Offsets
from outgrow.stats.moments import Moments


class LinearSVR(LinearRegressor):
    """Minimise C times how far residuals exceed epsilon, or its squares, plus ½ ||w||².

    The objective is scikit-learn's but for the intercept, which is not penalised. That of the squares is
    minimised by Newton's method on the rows outside the tube (Ho and Lin 2012), a handful of passes; where
    there are too many columns for that, by L-BFGS. That of the excesses themselves is exact, and proven to
    be: Newton's method on a smoothed loss (Chapelle 2007) comes near it, the equations of the few rows on the
    edges of the tube give it, and a last pass sees that no other row has changed its side.

    Parameters
    ----------
    epsilon : residuals up to this size cost nothing.
    tol : share of the objective; it ends with the step that is expected to leave no more to gain.
    C : inverse strength of the penalty.
    loss : 'squared_epsilon_insensitive', or 'epsilon_insensitive', which takes up to 512 features.
    fit_intercept : learn a constant, which is not penalised.
    max_iter : most passes of Newton's method, or steps of L-BFGS.
    intercept_scaling, dual, verbose, random_state : accepted as scikit-learn has them, without effect.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,); float32 where X was an array of float32.
    intercept_ : float; scikit-learn has an array of one number.
    n_iter_ : steps over all rows.

    Notes
    -----
    Unlike scikit-learn: the squared loss is the default, not the absolute one; the intercept is not
    penalised, which is the limit of a large `intercept_scaling`; with 'epsilon_insensitive' the minimum is
    exact, without a warning however large C is or whatever the columns are scaled by.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.arange(8.0)[:, None]
    >>> og.LinearSVR(epsilon=0.5, C=1000.0).fit(X, 3 * X[:, 0]).coef_.round(2).tolist()
    [2.86]
    """

    shared_fit_parameters = ("C",)
    parameters = {
        "epsilon": Number(low=0),
        "tol": Number(low=0),
        "C": Number(above=0),
        "loss": OneOf("squared_epsilon_insensitive", "epsilon_insensitive"),
        "fit_intercept": FLAG,
        "intercept_scaling": Unused(),
        "dual": Unused(),
        "verbose": Unused(),
        "random_state": Unused(),
        "max_iter": Integer(low=1),
    }

    def __init__(
        self,
        *,
        epsilon: float = 0.0,
        tol: float = 1e-12,
        C: float = 1.0,
        loss: str = "squared_epsilon_insensitive",
        fit_intercept: bool = True,
        intercept_scaling: float = 1.0,
        dual: Any = "auto",
        verbose: int = 0,
        random_state: Any = None,
        max_iter: int = 1000,
    ) -> None:
        self.epsilon = epsilon
        self.tol = tol
        self.C = C
        self.loss = loss
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.dual = dual
        self.verbose = verbose
        self.random_state = random_state
        self.max_iter = max_iter

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = False
        return tags

    def _fit(self, view: MatrixView) -> None:
        rows = FoldedView.whole(view)
        objective = self._objective(rows, [Candidate(self, 0)])
        y: Moments = view.reduce(lambda block: Moments.of(np.asarray(block.y)[:, None], block.weight))
        if self.loss == "epsilon_insensitive":
            epsilon, who = float(self.epsilon), type(self).__name__
            self.coef_, self.intercept_, search = insensitive_minimum(rows, objective, y, epsilon, who)
            self.n_iter_ = search.steps
            if not search.proven:
                self._warn()
            return
        minima, offsets = settled(
            rows, objective, bend=2 * y.n, tol=self.tol, max_iter=self.max_iter, constants=y.mean
        )
        self._take(objective, minima, 0, offsets)
        if not minima.converged[0]:
            self._warn()

    def _warn(self) -> None:
        warnings.warn(
            f"Liblinear failed to converge, increase the number of iterations: {self.max_iter} were not "
            "enough. Raise max_iter of LinearSVR, scale the columns, or penalise more (a smaller C).",
            ConvergenceWarning,
            stacklevel=2,
        )

    @classmethod
    def _fit_many(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        chosen = usable(rows, candidates)
        if not chosen:
            return
        objective = cls._objective(rows, chosen)
        if chosen[0].model.loss == "epsilon_insensitive" or not by_newton(rows.view, objective):
            learn_apart(rows, chosen)
            return
        one = chosen[0].model
        minima, offsets = newton(rows, objective, tol=one.tol, max_iter=one.max_iter)
        for place, candidate in enumerate(chosen):
            candidate.model._take(objective, minima, place, offsets)
        learn_apart(rows, [each for each, done in zip(chosen, minima.converged, strict=True) if not done])

    @classmethod
    def _objective(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> Objective:
        one = candidates[0].model
        models = [candidate.model for candidate in candidates]
        folds = np.array([candidate.fold for candidate in candidates])
        loss = SquaredInsensitive(float(one.epsilon))
        strength = np.array([1 / model.C for model in models])
        return Objective(loss, rows.view.width, one.fit_intercept, folds, np.zeros(len(models)), strength)

    def _take(self, objective: Objective, minima: Minima, place: int, offsets: Offsets) -> None:
        coef, constants = objective.unpack(minima.w[place])
        self.coef_, self.n_iter_ = coef[0], int(minima.steps[place])
        self.intercept_ = float(offsets.restore(coef, constants)[0]) if self.fit_intercept else 0.0

    def _sklearn_model(self) -> Any:
        names = ("epsilon", "C", "loss", "fit_intercept", "max_iter")
        made = twin("svm.LinearSVR", **{name: getattr(self, name) for name in names})
        return with_learned(made, self, "coef_", "intercept_", "n_iter_")
