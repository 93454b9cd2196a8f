"""Linear support vector classification."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from outgrow.errors import ParameterError
from outgrow.ml.base import MarginClassifier
from outgrow.ml.core.parameters import CLASS_WEIGHT, FLAG, Integer, Number, OneOf, Unused
from outgrow.ml.core.weights import ClassWeight
from outgrow.ml.export.onnx.answer import Answer, chosen
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.linear_model.against_others import AgainstOthers
from outgrow.ml.solvers.losses import Loss, SquaredHinge


class LinearSVC(AgainstOthers, MarginClassifier):
    """Minimise C times the hinge loss or its square plus ½ ||w||², or with `penalty="l1"` plus ||w||₁.

    The objective is scikit-learn's but for the intercept, which is not penalised: liblinear counts
    `intercept_ / intercept_scaling` among the coefficients, and comes to the same minimum as
    `intercept_scaling` grows. That of the squared hinge is minimised by Newton's method on the rows within
    the margin (Keerthi and DeCoste 2005), a handful of passes; where there are too many columns for that, by
    L-BFGS. That of the hinge is exact, and proven to be: Newton's method on a smoothed hinge (Chapelle 2007)
    comes near it, the equations of the few rows on the margin give it, and a last pass sees that no other row
    has changed its side. Of several classes each is told from all others, in passes that they share. There
    are no probabilities.

    Parameters
    ----------
    penalty : 'l2' or 'l1'.
    loss : 'squared_hinge', or 'hinge', which takes penalty='l2' and up to 512 features.
    tol : share of the objective; it ends with the step that is expected to leave no more to gain.
    C : inverse strength of the penalty.
    multi_class : 'ovr', each class against all others.
    fit_intercept : learn constants, which are not penalised.
    class_weight : weight of each class, 'balanced' for the inverse of its frequency, None for 1. Of several
        classes, it weighs the rows of the class that is told from the others.
    max_iter : most passes of Newton's method, or steps of L-BFGS.
    dual, intercept_scaling, verbose, random_state : accepted as scikit-learn has them, without effect.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    coef_ : ndarray of shape (1, n_features), or (n_classes, n_features) for more than two classes; float32
        where X was an array of float32.
    intercept_ : ndarray of shape (1,) or (n_classes,).
    n_iter_ : steps over all rows, of the class that took most.

    Notes
    -----
    Unlike scikit-learn: the intercept is not penalised, which is the limit of a large `intercept_scaling`:
    with 'hinge' the minimum is that of `SVC(kernel='linear')`, without a warning however large C is or
    whatever the columns are scaled by.

    Unlike Spark MLlib's `LinearSVC(regParam=0.0, maxIter=100)`: the hinge is `loss='hinge'`, and its minimum
    is exact; any number of classes, no standardising, and a penalty by default.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> model = og.LinearSVC().fit(X, np.array(["no", "no", "yes", "yes"]))
    >>> model.predict(X).tolist(), model.decision_function(X).round(3).tolist()
    (['no', 'no', 'yes', 'yes'], [-1.6, -0.8, 0.8, 1.6])
    """

    _follows_type = ("coef_",)
    shared_fit_parameters = ("C", "penalty")
    parameters = {
        "penalty": OneOf("l2", "l1"),
        "loss": OneOf("squared_hinge", "hinge"),
        "dual": Unused(),
        "tol": Number(low=0),
        "C": Number(above=0),
        "multi_class": OneOf("ovr"),
        "fit_intercept": FLAG,
        "intercept_scaling": Unused(),
        "class_weight": CLASS_WEIGHT,
        "verbose": Unused(),
        "random_state": Unused(),
        "max_iter": Integer(low=1),
    }

    def __init__(
        self,
        penalty: str = "l2",
        loss: str = "squared_hinge",
        *,
        dual: Any = "auto",
        tol: float = 1e-12,
        C: float = 1.0,
        multi_class: str = "ovr",
        fit_intercept: bool = True,
        intercept_scaling: float = 1,
        class_weight: ClassWeight = None,
        verbose: int = 0,
        random_state: Any = None,
        max_iter: int = 1000,
    ) -> None:
        self.penalty = penalty
        self.loss = loss
        self.dual = dual
        self.tol = tol
        self.C = C
        self.multi_class = multi_class
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.verbose = verbose
        self.random_state = random_state
        self.max_iter = max_iter

    def _check_parameters(self) -> None:
        if self.loss == "hinge" and self.penalty == "l1":
            raise ParameterError(
                "LinearSVC(penalty='l1', loss='hinge'): the combination of penalty='l1' and loss='hinge' is "
                "not supported. Take penalty='l2', or loss='squared_hinge'."
            )

    @property
    def _kinked(self) -> bool:
        return self.loss == "hinge"

    def _loss(self) -> Loss:
        return SquaredHinge()

    def _bend(self) -> float:
        return 2.0

    def _strength(self, total: float) -> tuple[float, float]:
        return (1 / self.C, 0.0) if self.penalty == "l1" else (0.0, 1 / self.C)

    def _warn(self) -> None:
        warnings.warn(
            f"Liblinear failed to converge, increase the number of iterations: {self.max_iter} were not "
            "enough. Raise max_iter of LinearSVC, scale the columns, or penalise more (a smaller C).",
            ConvergenceWarning,
            stacklevel=2,
        )

    def _to_onnx(self, table: Table) -> Answer:
        margins = self._margins_in_onnx(table)
        return replace(chosen(table.graph, margins, self.classes_), probabilities=None, margins=margins)

    def _sklearn_model(self) -> Any:
        shared = ("penalty", "loss", "C", "fit_intercept", "class_weight", "max_iter")
        made = twin("svm.LinearSVC", **{name: getattr(self, name) for name in shared})
        return with_learned(made, self, "coef_", "intercept_", "classes_", "n_iter_")
