"""Factorization machines that predict classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, softmax

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.ml.base import ProbabilityClassifier
from outgrow.ml.core.parameters import CLASS_WEIGHT
from outgrow.ml.core.weights import ClassWeight, class_factors
from outgrow.ml.export.onnx.answer import Answer, chosen
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.factorization.factorized import Factorized
from outgrow.ml.solvers.output_losses import log_loss_of_many, log_loss_of_two


class FMClassifier(Factorized, ProbabilityClassifier):
    """A factorization machine for classes (Rendle 2010), learned by L-BFGS.

    The score of a row is `intercept + x @ coef + sum over pairs i < j of (v_i @ v_j) x_i x_j`, v_i being the
    `n_factors` numbers of feature i: all interactions of two features, for a cost that grows with the
    features, not with their pairs. It minimises the mean log loss plus `alpha / 2` times the sum of squared
    coefficients and factors. Each step is a pass over the rows, or a few where it is shortened; sparse rows
    stay sparse. Put a scaler before it: it expects columns of about one size.

    Parameters
    ----------
    n_factors : numbers a feature has; 0 leaves a linear model.
    fit_linear : learn coefficients of single features.
    fit_intercept : learn constants, which are not penalised.
    alpha : the penalty, beside a mean loss, so that its meaning does not change with the number of rows.
    init_std : standard deviation of the factors at the start. With factors of 0 no derivative would lead
        away from the linear model.
    max_iter : most steps.
    tol : it ends where no derivative of the objective is larger.
    random_state : another number starts elsewhere; None means 0. The start of a factor depends on it, and on
        the place of its feature, alone.
    class_weight : weight of each class, 'balanced' for the inverse of its frequency, None for 1.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    coef_ : ndarray of shape (1, n_features), or (n_classes, n_features) for more than two classes.
    intercept_ : ndarray of shape (1,) or (n_classes,).
    factors_ : ndarray of shape (1, n_features, n_factors) or (n_classes, n_features, n_factors).
    loss_ : the objective at the end.
    n_iter_ : steps.

    Notes
    -----
    The objective has several minima; which one is found depends on `random_state`.

    Unlike Spark MLlib's `FMClassifier(factorSize=8, stepSize=1.0, solver='adamW', regParam=0, maxIter=100)`:
    L-BFGS over all rows, so there are no steps and minibatches to choose; `alpha` is not 0 by default; more
    than two classes have a score each, and their softmax are the probabilities; takes weights.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    >>> model = og.FMClassifier(n_factors=2).fit(X, ["same", "other", "other", "same"])
    >>> model.predict(X).tolist()
    ['same', 'other', 'other', 'same']
    """

    parameters = {**Factorized.parameters, "class_weight": CLASS_WEIGHT}

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
        class_weight: ClassWeight = None,
    ) -> None:
        self.n_factors = n_factors
        self.fit_linear = fit_linear
        self.fit_intercept = fit_intercept
        self.alpha = alpha
        self.init_std = init_std
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.class_weight = class_weight

    def _fit(self, view: MatrixView) -> None:
        classes = self._learn_classes(view)
        totals = np.asarray(view.class_weights, dtype=np.float64)
        factors = class_factors(self.class_weight, self.classes_, totals)
        logs = np.log(np.maximum(totals if factors is None else totals * factors, 1e-9 * totals.sum()))
        table = np.eye(classes) if classes > 2 else np.array([[0.0], [1.0]])

        def row(block: Block) -> tuple[np.ndarray, np.ndarray | None]:
            y = np.asarray(block.y)
            if factors is None:
                return table[y], block.weight
            return table[y], factors[y] if block.weight is None else factors[y] * block.weight

        self.coef_, self.intercept_, self.factors_ = self._learn(
            view,
            logs - logs.mean() if classes > 2 else logs[1:] - logs[:1],
            log_loss_of_many if classes > 2 else log_loss_of_two,
            row,
        )

    def _predict_proba(self, X: Any) -> np.ndarray:
        scores = self._outputs(X)
        if scores.shape[1] > 1:
            return np.asarray(softmax(scores, axis=1))
        return np.hstack([expit(-scores), expit(scores)])

    def _to_onnx(self, table: Table) -> Answer:
        graph, scores = table.graph, self._onnx_outputs(table)
        if len(self.coef_) > 1:
            return chosen(graph, graph.node("Softmax", scores, axis=1), self.classes_)
        both = [graph.node("Sigmoid", graph.node("Neg", scores)), graph.node("Sigmoid", scores)]
        return chosen(graph, graph.join(both), self.classes_)
