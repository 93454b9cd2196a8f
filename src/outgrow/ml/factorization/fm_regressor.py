"""Factorization machines that predict numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.ml.base import Regressor
from outgrow.ml.export.onnx.answer import Answer
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.factorization.factorized import Factorized
from outgrow.ml.solvers.output_losses import half_square


class FMRegressor(Factorized, Regressor):
    """A factorization machine for numbers (Rendle 2010), learned by L-BFGS.

    It predicts `intercept + x @ coef + sum over pairs i < j of (v_i @ v_j) x_i x_j`, v_i being the
    `n_factors` numbers of feature i: all interactions of two features, for a cost that grows with the
    features, not with their pairs. It minimises half the mean squared error plus `alpha / 2` times the sum of
    squared coefficients and factors. Each step is a pass over the rows, or a few where it is shortened;
    sparse rows stay sparse. Put a scaler before it: it expects columns of about one size, and y, too, should
    not spread far more than 1.

    Parameters
    ----------
    n_factors : numbers a feature has; 0 leaves a linear model.
    fit_linear : learn coefficients of single features.
    fit_intercept : learn a constant, which is not penalised.
    alpha : the penalty, beside half a mean, so that its meaning does not change with the number of rows.
    init_std : standard deviation of the factors at the start. With factors of 0 no derivative would lead
        away from the linear model.
    max_iter : most steps.
    tol : it ends where no derivative of the objective is larger.
    random_state : another number starts elsewhere; None means 0. The start of a factor depends on it, and on
        the place of its feature, alone.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,).
    intercept_ : float.
    factors_ : ndarray of shape (n_features, n_factors).
    loss_ : the objective at the end.
    n_iter_ : steps.

    Notes
    -----
    The objective has several minima; which one is found depends on `random_state`.

    Unlike Spark MLlib's `FMRegressor(factorSize=8, stepSize=1.0, solver='adamW', regParam=0, maxIter=100)`:
    L-BFGS over all rows, so there are no steps and minibatches to choose; `alpha` is not 0 by default; takes
    weights.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> y = 1.0 + X[:, 0] + 2.0 * X[:, 1] * X[:, 2]
    >>> model = og.FMRegressor(n_factors=2, alpha=1e-6).fit(X, y)
    >>> round(float(model.factors_[1] @ model.factors_[2]), 2)
    2.0
    """

    def __init__(
        self,
        n_factors: int = 8,
        *,
        fit_linear: bool = True,
        fit_intercept: bool = True,
        alpha: float = 1e-3,
        init_std: float = 0.01,
        max_iter: int = 500,
        tol: float = 1e-5,
        random_state: Any = None,
    ) -> None:
        self.n_factors = n_factors
        self.fit_linear = fit_linear
        self.fit_intercept = fit_intercept
        self.alpha = alpha
        self.init_std = init_std
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def _fit(self, view: MatrixView) -> None:
        total, weight = view.reduce(_total)
        coef, constants, factors = self._learn(
            view,
            np.array([total / weight]),
            half_square,
            lambda block: (np.asarray(block.y, dtype=np.float64)[:, None], block.weight),
        )
        self.coef_, self.intercept_, self.factors_ = coef[0], float(constants[0]), factors[0]

    def _predict(self, X: Any) -> np.ndarray:
        return self._outputs(X)[:, 0]

    def _to_onnx(self, table: Table) -> Answer:
        graph = table.graph
        return Answer(graph.node("Squeeze", self._onnx_outputs(table), graph.constant([1], np.int64)))


def _total(block: Block) -> np.ndarray:
    """The summed y, and the weight of the rows."""
    y = np.asarray(block.y, dtype=np.float64)
    if block.weight is None:
        return np.array([y.sum(), len(y)])
    return np.array([y @ block.weight, block.weight.sum()])
