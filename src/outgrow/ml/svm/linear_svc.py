"""Linear support vector classification."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from outgrow.engine.context import FitContext
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.engine.together import side_by_side
from outgrow.ml.base import MarginClassifier
from outgrow.ml.core.candidates import Candidate, learn_apart, usable
from outgrow.ml.core.parameters import CLASS_WEIGHT, FLAG, Integer, Number, OneOf, Unused
from outgrow.ml.core.weights import ClassWeight, class_factors
from outgrow.ml.export.onnx.answer import Answer, chosen
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.linear_model.classifier import LinearClassifier
from outgrow.ml.solvers.cost import LARGEST, by_newton
from outgrow.ml.solvers.losses import SquaredHinge
from outgrow.ml.solvers.minimum import minimum
from outgrow.ml.solvers.objective import Objective

Fit = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Of shape (classes, candidates): coefficients, each of (features,), intercepts, steps, whether converged."""


class LinearSVC(LinearClassifier, MarginClassifier):
    """Minimise C times the squared hinge loss plus ½ ||w||², or with `penalty="l1"` plus ||w||₁.

    The objective is scikit-learn's but for the intercept, which is not penalised: liblinear counts
    `intercept_ / intercept_scaling` among the coefficients, and comes to the same minimum as
    `intercept_scaling` grows. It is minimised by Newton's method on the rows within the margin (Keerthi and
    DeCoste 2005), a handful of passes; where there are too many columns for that, by L-BFGS. Of several
    classes each is told from all others, in passes that they share. There are no probabilities.

    Parameters
    ----------
    penalty : 'l2' or 'l1'.
    loss : 'squared_hinge'. The hinge itself has no curvature and is refused.
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
    Unlike scikit-learn: the intercept is not penalised, which is the limit of a large `intercept_scaling`;
    the hinge itself is refused, the squared hinge is the default there too.

    Unlike Spark MLlib's `LinearSVC(regParam=0.0, maxIter=100)`: the squared hinge rather than the hinge, any
    number of classes, no standardising, and a penalty by default.

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
        "loss": OneOf(
            "squared_hinge",
            advice="By the curvature of the loss it is minimised, and the hinge has no curvature.",
        ),
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

    def _fit(self, view: MatrixView) -> None:
        self._learn_classes(view)
        self._learn_together(FoldedView.whole(view), [Candidate(self, 0)])

    @classmethod
    def _fit_many(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        for candidate in candidates:
            candidate.attempt(partial(candidate.model._learn_classes, rows.view))
        chosen = usable(rows, candidates)
        if not chosen:
            return
        if by_newton(rows.view, cls._objective(rows, chosen, [1])):
            cls._learn_together(rows, chosen)
        else:
            learn_apart(rows, chosen)

    @classmethod
    def _learn_together(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        """Tell each class from the others, for all candidates, in passes that all share."""
        count = len(rows.view.classes)
        labels = [1] if count == 2 else list(range(count))
        objective = cls._objective(rows, candidates, labels)
        stacked = len(objective.folds) * objective.size**2 <= LARGEST**2 and by_newton(rows.view, objective)

        def fit(label: int) -> Callable[[FitContext], Fit]:
            return lambda run: cls._minimum(rows.on(run), candidates, [label])

        if stacked or count == 2:
            coefs, constants, steps, converged = cls._minimum(rows, candidates, labels)
        else:
            fits = side_by_side(rows.view.run, [fit(label) for label in labels])
            coefs, constants, steps, converged = map(np.concatenate, zip(*fits, strict=True))
        for place, candidate in enumerate(candidates):
            model = candidate.model
            model.coef_, model.intercept_ = coefs[:, place], constants[:, place]
            model.n_iter_ = int(steps[:, place].max())
            if not converged[:, place].all():
                model._warn()

    @classmethod
    def _minimum(cls, rows: FoldedView, candidates: Sequence[Candidate], labels: Sequence[int]) -> Fit:
        one, objective = candidates[0].model, cls._objective(rows, candidates, labels)
        bend = np.array([2.0 * rows.view.class_weights.sum()])
        minima, offsets = minimum(rows, objective, bend=bend, tol=one.tol, max_iter=one.max_iter)
        table, shape = minima.w, (len(labels), len(candidates))
        coef = np.ascontiguousarray(table[:, : objective.width])
        constants = table[:, -1] if one.fit_intercept else np.zeros(len(table))
        constants = offsets.restore(coef, constants) if one.fit_intercept else constants
        return (
            coef.reshape(*shape, -1),
            constants.reshape(shape),
            minima.steps.reshape(shape),
            minima.converged.reshape(shape),
        )

    @classmethod
    def _objective(
        cls, rows: FoldedView, candidates: Sequence[Candidate], labels: Sequence[int]
    ) -> Objective:
        """Of each class that is told from the others, all candidates."""
        one, each = candidates[0].model, list(candidates) * len(labels)
        strength = np.array([1 / candidate.model.C for candidate in each])
        absolute = np.array([candidate.model.penalty == "l1" for candidate in each])
        folds = np.array([candidate.fold for candidate in candidates])
        factors = [one._factors(rows, label) for label in labels]
        return Objective(
            SquaredHinge(),
            rows.view.width,
            one.fit_intercept,
            np.tile(folds, len(labels)),
            strength * absolute,
            strength * ~absolute,
            None if factors[0] is None else np.concatenate([own[folds] for own in factors]),
            None if len(rows.view.classes) == 2 else np.repeat(labels, len(candidates)),
        )

    def _factors(self, rows: FoldedView, label: int) -> np.ndarray | None:
        """What rows of each class count, of shape (folds, classes); all but one count 1 of several."""
        weights = rows.class_weights
        assert weights is not None
        each = [class_factors(self.class_weight, rows.view.classes, totals) for totals in weights]
        if each[0] is None:
            return None
        factors = np.array(each)
        others = np.arange(factors.shape[1]) != label
        return factors if factors.shape[1] == 2 else np.where(others, 1.0, factors)

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
        shared = ("penalty", "C", "fit_intercept", "class_weight", "max_iter")
        made = twin("svm.LinearSVC", **{name: getattr(self, name) for name in shared})
        return with_learned(made, self, "coef_", "intercept_", "classes_", "n_iter_")
