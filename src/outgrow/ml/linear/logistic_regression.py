"""Logistic regression, binary and multinomial."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.exceptions import ConvergenceWarning

from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml import parameters as check
from outgrow.ml.base import Classifier
from outgrow.ml.linear.likelihood import Binary, Likelihood, Multinomial
from outgrow.ml.linear.newton import Penalty, newton
from outgrow.ml.linear.quasi_newton import quasi_newton
from outgrow.ml.weights import ClassWeight, class_factors

NEWTON_SIZE = 1024
"""Up to this many parameters, Newton's method; past it, L-BFGS."""


class LogisticRegression(Classifier):
    """Minimise C times the log loss plus ½ (1 - l1_ratio) ||w||² + l1_ratio ||w||₁.

    The objective is scikit-learn's. With up to 1,024 parameters it is minimised by Newton's method (proximal
    for l1; Lee, Sun and Saunders 2014), a handful of passes over the rows whatever the scale of the columns;
    past that by L-BFGS. Spark MLlib's `LogisticRegression` averages the loss and standardises the columns:
    on standardised columns its `regParam=r` is `C=1/(n*r)`, its `elasticNetParam` is `l1_ratio`, and it has
    no penalty by default (`C=numpy.inf` here).

    Parameters
    ----------
    C : inverse strength of the penalty; `numpy.inf` for none.
    l1_ratio : share of the absolute penalty, in [0, 1].
    fit_intercept : learn constants, which are not penalised.
    class_weight : weight of each class, 'balanced' for the inverse of its frequency, None for 1.
    max_iter : most passes of the optimiser.
    tol : stop when the expected gain of a step is below this share of the objective; the step is still made.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    coef_ : ndarray of shape (1, n_features), or (n_classes, n_features) for more than two classes.
    intercept_ : ndarray of shape (1,) or (n_classes,).
    n_iter_ : steps made over all rows.
    objective_ : the value reached, divided by C and the summed weight (the mean loss, if C is infinite).

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> og.LogisticRegression().fit(X, np.array(["no", "no", "yes", "yes"])).predict(X).tolist()
    ['no', 'no', 'yes', 'yes']
    """

    def __init__(
        self,
        C: float = 1.0,
        *,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        class_weight: ClassWeight = None,
        max_iter: int = 100,
        tol: float = 1e-12,
    ) -> None:
        self.C = C
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.max_iter = max_iter
        self.tol = tol

    def _check_parameters(self) -> None:
        check.number(self, "C", above=0)
        check.number(self, "l1_ratio", low=0, high=1)
        check.integer(self, "max_iter", low=1)
        check.number(self, "tol", low=0)
        if np.isinf(self.C) and self.l1_ratio:
            raise ParameterError(
                f"l1_ratio={self.l1_ratio} has no effect with C=inf, which means no penalty."
            )

    def _learn(self, view: MatrixView) -> None:
        classes = self._learn_classes(view)
        factors = class_factors(self.class_weight, self.classes_, view.class_weights)
        kind: Callable[..., Likelihood] = Binary if classes == 2 else Multinomial
        likelihood = kind(view.width, classes, factors, intercept=self.fit_intercept)
        weight = 1 / self.C
        penalty = Penalty(weight * self.l1_ratio, weight * (1 - self.l1_ratio), likelihood.penalised())
        minimise = newton if likelihood.size <= NEWTON_SIZE else quasi_newton
        found = minimise(view, likelihood, penalty, tol=self.tol, max_iter=self.max_iter)
        self.coef_, self.intercept_ = likelihood.unpack(found.parameters)
        self.n_iter_ = found.steps
        self.objective_ = found.objective / float(
            (view.class_weights * (1.0 if factors is None else factors)).sum()
        )
        if not found.converged:
            warnings.warn(
                f"LogisticRegression did not converge in {self.max_iter} steps. "
                "Raise max_iter, scale the columns, or penalise more (a smaller C).",
                ConvergenceWarning, stacklevel=2,
            )  # fmt: skip

    def decision_function(self, X: Any) -> Any:
        """Log odds: shape (rows,) for two classes, otherwise scores of shape (rows, classes)."""
        return self._respond(X, "decision_function")

    def _answer_decision_function(self, X: Any) -> np.ndarray:
        if len(self.coef_) == 1:
            return X @ self.coef_[0] + self.intercept_[0]
        return X @ self.coef_.T + self.intercept_

    def _answer_predict_proba(self, X: Any) -> np.ndarray:
        margins = self._answer_decision_function(X)
        if margins.ndim == 2:
            return softmax(margins, axis=1)
        return np.column_stack([expit(-margins), expit(margins)])
