"""Linear regression by a choice of losses and penalties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.core.candidates import Candidate, learn_apart, usable
from outgrow.ml.core.parameters import Number, OneOf
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.linear_model.base import LinearRegressor
from outgrow.ml.linear_model.batch_steps import LearnsOn, Standing
from outgrow.ml.linear_model.insensitive import insensitive_minimum
from outgrow.ml.linear_model.stochastic import PARAMETERS, TOLD, strength, warn_unfinished
from outgrow.ml.solvers.cost import by_newton
from outgrow.ml.solvers.losses import Huber, Loss, Squared, SquaredInsensitive
from outgrow.ml.solvers.minimum import PASSES, settled
from outgrow.ml.solvers.newton import Minima, newton
from outgrow.ml.solvers.objective import Objective
from outgrow.ml.solvers.offsets import Offsets
from outgrow.stats.moments import Moments


class SGDRegressor(LearnsOn, LinearRegressor):
    """Minimise the mean loss of the rows plus alpha times a penalty of the coefficients.

    The objective is that which scikit-learn's class approaches by stochastic gradient descent. Here `fit`
    finds its minimum, by Newton's method on the rows where the loss bends, a handful of passes whatever the
    scale of the columns; where there are too many columns for that, by L-BFGS. So it needs no learning rate,
    no order of rows, and no scaling. `partial_fit` learns on from batches of a stream, by steps of stochastic
    gradient descent (Bottou 2012).

    Parameters
    ----------
    loss : 'squared_error', half the squared residual; 'huber', the same up to epsilon and a line beyond it,
        so that outliers count less; 'epsilon_insensitive', how far a residual exceeds epsilon, and
        'squared_epsilon_insensitive', its square. `fit` of 'epsilon_insensitive' takes penalty='l2' and up to
        512 features, as `LinearSVR` does.
    penalty : 'l2', half the squared coefficients; 'l1', the absolute ones; 'elasticnet', both; None.
    alpha : strength of the penalty.
    l1_ratio : share of the absolute penalty, in [0, 1], for 'elasticnet'.
    fit_intercept : learn a constant, which is not penalised.
    max_iter : most passes of Newton's method, or steps of L-BFGS.
    tol : share of the objective; it ends with the step that is expected to leave no more to gain.
    epsilon : see `loss`, in units of y; above 0 with 'huber'.
    learning_rate, eta0, power_t, average, shuffle, random_state, early_stopping : of `partial_fit`, as for
        `SGDClassifier`; without effect on `fit`.
    verbose, validation_fraction, n_iter_no_change, warm_start : accepted as scikit-learn has them, without
        effect.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,); float32 where X was an array of float32.
    intercept_ : float; scikit-learn has an array of one number.
    n_iter_ : steps over all rows, of the method that ended at the minimum; 1 after `partial_fit`.
    t_ : how many rows it has learned from, and one.
    standard_coef_, standard_intercept_ : after `partial_fit` with `average`, where its last step has led;
        ndarrays of shape (1, n_features) and (1,).

    Notes
    -----
    With 'huber' and an `epsilon` far below the residuals, which is nearly the absolute loss, `fit` may leave
    up to 1e-6 of the objective. Before `partial_fit` scale the columns, and a y of large numbers.

    Unlike scikit-learn: `fit` gives the minimum itself, so that `learning_rate` and `early_stopping` change
    nothing there; the mean is weighted, so that a row
    of weight 2 counts as two rows; `partial_fit` leaves out rows of weight 0, and learns from sparse rows
    what it does from dense ones, where the intercept takes short steps there; 'pa1' and 'pa2' are refused.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.arange(8.0)[:, None]
    >>> y = 3 * X[:, 0]
    >>> y[7] = 1000.0
    >>> og.SGDRegressor(loss="huber", epsilon=1.0).fit(X, y).coef_.round(1).tolist()
    [3.1]
    >>> stream = og.SGDRegressor(learning_rate="constant", eta0=0.02)
    >>> for _ in range(200):
    ...     stream = stream.partial_fit(X[:7], y[:7])
    >>> stream.coef_.round(1).tolist()
    [3.0]
    """

    shared_fit_parameters = ("alpha", "l1_ratio", "penalty")
    parameters = {
        **PARAMETERS,
        "loss": OneOf(
            "squared_error",
            "huber",
            "epsilon_insensitive",
            "squared_epsilon_insensitive",
        ),
        "epsilon": Number(low=0),
    }

    def __init__(
        self,
        loss: str = "squared_error",
        *,
        penalty: str | None = "l2",
        alpha: float = 0.0001,
        l1_ratio: float = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-12,
        shuffle: bool = True,
        verbose: int = 0,
        epsilon: float = 0.1,
        random_state: Any = None,
        learning_rate: str = "invscaling",
        eta0: float = 0.01,
        power_t: float = 0.25,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        warm_start: bool = False,
        average: bool | int = False,
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.verbose = verbose
        self.epsilon = epsilon
        self.random_state = random_state
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.average = average

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = False
        return tags

    def _check_parameters(self) -> None:
        if self.loss == "huber" and self.epsilon == 0:
            raise ParameterError(
                "SGDRegressor(loss='huber', epsilon=0): a loss without a parabola is not minimised. Give "
                "an epsilon above 0, in units of y, or take QuantileRegressor."
            )

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Take a step for each row of a batch, one after the other: what results depends on their order.

        Parameters
        ----------
        X, y : as `fit` takes them; the batch is held in memory.
        sample_weight : as `fit` takes it; steps are so much longer.

        Raises
        ------
        ParameterError
            When parameters do not go with steps.
        DataError
            When the steps go beyond all numbers.
        """
        self.check_parameters()
        return self._learn_batch(X, y, sample_weight)

    def _targets(self, view: MatrixView, standing: Standing, y: np.ndarray) -> list[tuple[np.ndarray, Any]]:
        return [(y, 1.0)]

    def _fit(self, view: MatrixView) -> None:
        if self._before is not None:
            self._take_steps(view, self._before)
            self.coef_, self.intercept_ = self.coef_[0], float(self.intercept_[0])
            return
        self._find_minimum(view)
        self.t_ = 1.0 + view.rows

    def _find_minimum(self, view: MatrixView) -> None:
        rows = FoldedView.whole(view)
        moments: Moments = view.reduce(_moments)
        objective = self._objective(rows, [Candidate(self, 0)], moments.n)
        if self.loss == "epsilon_insensitive":
            epsilon, who = float(self.epsilon), type(self).__name__
            self.coef_, self.intercept_, search = insensitive_minimum(rows, objective, moments, epsilon, who)
            self.n_iter_ = search.steps
            if not search.proven:
                warn_unfinished(self)
            return
        bend = (2.0 if self.loss == "squared_epsilon_insensitive" else 1.0) * moments.n
        minima, offsets = settled(
            rows, objective, bend=bend, tol=self.tol, max_iter=self.max_iter, constants=moments.mean
        )
        self._take(objective, minima, 0, offsets)
        if not minima.converged[0]:
            warn_unfinished(self)

    @classmethod
    def _fit_many(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        chosen = usable(rows, candidates)
        if not chosen:
            return
        totals = np.array([0.0 if own is None else float(own.n[0]) for own in rows.each(_moments)])
        objective = cls._objective(rows, chosen, totals)
        if chosen[0].model.loss == "epsilon_insensitive" or not by_newton(rows.view, objective):
            learn_apart(rows, chosen)
            return
        one = chosen[0].model
        minima, offsets = newton(rows, objective, tol=one.tol, max_iter=min(one.max_iter, PASSES))
        for place, candidate in enumerate(chosen):
            candidate.model._take(objective, minima, place, offsets)
            candidate.model.t_ = 1.0 + float(rows.counts[candidate.fold])
        learn_apart(rows, [each for each, done in zip(chosen, minima.converged, strict=True) if not done])

    @classmethod
    def _objective(cls, rows: FoldedView, candidates: Sequence[Candidate], totals: np.ndarray) -> Objective:
        """Of candidates, with the weight of the rows of each fold."""
        one: SGDRegressor = candidates[0].model
        folds = np.array([candidate.fold for candidate in candidates])
        l1, l2 = np.array([strength(each.model, float(totals[each.fold])) for each in candidates]).T
        return Objective(one._loss(), rows.view.width, one.fit_intercept, folds, l1, l2)

    def _loss(self) -> Loss:
        if self.loss == "squared_error":
            return Squared()
        epsilon = float(self.epsilon)
        return Huber(epsilon) if self.loss == "huber" else SquaredInsensitive(epsilon)

    def _take(self, objective: Objective, minima: Minima, place: int, offsets: Offsets) -> None:
        coef, constants = objective.unpack(minima.w[place])
        self.coef_, self.n_iter_ = coef[0], int(minima.steps[place])
        self.intercept_ = float(offsets.restore(coef, constants)[0]) if self.fit_intercept else 0.0

    def _sklearn_model(self) -> Any:
        made = twin("linear_model.SGDRegressor", **{name: getattr(self, name) for name in TOLD})
        made.intercept_ = np.array([self.intercept_])
        return with_learned(made, self, "coef_", "n_iter_")


def _moments(block: Block) -> Moments:
    """Of the target of the rows of a block."""
    return Moments.of(np.asarray(block.y)[:, None], block.weight)
