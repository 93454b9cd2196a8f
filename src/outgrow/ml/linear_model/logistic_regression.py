"""Logistic regression, binary and multinomial."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning

from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.base import ProbabilityClassifier
from outgrow.ml.core.candidates import Candidate, learn_apart, usable
from outgrow.ml.core.parameters import CLASS_WEIGHT, FLAG, Integer, Number, OneOf, Unused
from outgrow.ml.core.weights import ClassWeight, class_factors
from outgrow.ml.export.onnx.answer import Answer
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.linear_model.base import products
from outgrow.ml.linear_model.classifier import LinearClassifier, probabilities
from outgrow.ml.linear_model.warm_start import WarmStarted, dense
from outgrow.ml.solvers.cost import by_newton
from outgrow.ml.solvers.losses import Logistic, Multinomial
from outgrow.ml.solvers.minimum import minimum
from outgrow.ml.solvers.newton import Minima, newton
from outgrow.ml.solvers.objective import Objective
from outgrow.ml.solvers.offsets import Offsets

UNFINISHED = {
    "liblinear": "Liblinear failed to converge, increase the number of iterations.",
    "newton-cholesky": "Newton solver did not converge after {1} iterations.",
    "sag": "The max_iter was reached which means the coef_ did not converge.",
    "saga": "The max_iter was reached which means the coef_ did not converge.",
}
"""What scikit-learn's warning says for a solver: code filters warnings by these words."""

_LIGHT = 1e-6
"""Of the mean weight: rows that weigh less may be wrong where classes are said to be separated."""


class LogisticRegression(WarmStarted, LinearClassifier, ProbabilityClassifier):
    """Minimise C times the log loss plus ½ (1 - l1_ratio) ||w||² + l1_ratio ||w||₁.

    The objective is scikit-learn's. Where second derivatives pay, it is minimised by Newton's method (for l1
    proximal; Lee, Sun and Saunders 2014), a handful of passes over the rows whatever the scale of the
    columns; where there are too many parameters for that, by L-BFGS, and with an absolute penalty over those
    columns alone whose coefficients are not zero.

    Parameters
    ----------
    C : inverse strength of the penalty; `numpy.inf` for none.
    l1_ratio : share of the absolute penalty, in [0, 1].
    fit_intercept : learn constants, which are not penalised.
    class_weight : weight of each class, 'balanced' for the inverse of its frequency, None for 1.
    penalty : None for no penalty, 'l2', 'l1' or 'elasticnet' as scikit-learn once spelt them; by default C
        and l1_ratio say it all.
    dual, intercept_scaling, random_state, solver, verbose, n_jobs : accepted as scikit-learn has them; the
        minimum is the same without them. Warnings name the solver that was asked for, as there, so that
        filters of warnings go on to work.
    warm_start : begin at the coefficients of the last fit, which shortens this one.
    max_iter : most passes of Newton's method, or steps of L-BFGS, each of a pass or a few.
    tol : share of the objective. Newton's method ends with the step that is expected to leave no more than
        this to gain. L-BFGS ends where the next step is expected to gain no more, or the last three have each
        gained no more; it never looks for gains below 1e-8, as each would take a pass or more, so that a
        smaller `tol`, such as the default, counts as 1e-8 there. With an absolute penalty over hundreds of
        columns it ends where none of those that are zero is expected to gain more; below 1e-9 it counts as
        1e-9.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    coef_ : ndarray of shape (1, n_features), or (n_classes, n_features) for more than two classes; float32
        where X was an array of float32, as in scikit-learn, but for solver='liblinear'.
    intercept_ : ndarray of shape (1,) or (n_classes,).
    n_iter_ : ndarray of shape (1,), steps over all rows; L-BFGS may count a last one that was not made.
    objective_ : the value reached, divided by C and the summed weight (the mean loss, if C is infinite).

    Notes
    -----
    Unlike scikit-learn: there is one minimum, and `solver` changes nothing but the words of warnings;
    `C=numpy.inf` or `penalty=None` is no penalty; `tol` is a share of the objective, and L-BFGS takes none
    below 1e-8.

    Unlike Spark MLlib's `LogisticRegression(regParam=0.0, elasticNetParam=0.0)`: `C = 1 / (n * regParam)` and
    `l1_ratio = elasticNetParam` on standardised columns: there the loss is averaged, columns are
    standardised, and there is no penalty by default.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> og.LogisticRegression().fit(X, np.array(["no", "no", "yes", "yes"])).predict(X).tolist()
    ['no', 'no', 'yes', 'yes']
    """

    shared_fit_parameters = ("C", "l1_ratio")
    parameters = {
        "C": Number(above=0),
        "penalty": OneOf("deprecated", None, "l2", "l1", "elasticnet"),
        "l1_ratio": Number(low=0, high=1) | None,
        "dual": Unused(),
        "fit_intercept": FLAG,
        "intercept_scaling": Unused(),
        "class_weight": CLASS_WEIGHT,
        "random_state": Unused(),
        "solver": Unused(OneOf("lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga")),
        "max_iter": Integer(low=0),
        "tol": Number(low=0),
        "verbose": Unused(),
        "warm_start": FLAG,
        "n_jobs": Unused(),
    }

    def __init__(
        self,
        C: float = 1.0,
        *,
        penalty: str | None = "deprecated",
        l1_ratio: float = 0.0,
        dual: bool = False,
        fit_intercept: bool = True,
        intercept_scaling: float = 1,
        class_weight: ClassWeight = None,
        random_state: Any = None,
        solver: str = "lbfgs",
        max_iter: int = 100,
        tol: float = 1e-12,
        verbose: int = 0,
        warm_start: bool = False,
        n_jobs: int | None = None,
    ) -> None:
        self.C = C
        self.penalty = penalty
        self.l1_ratio = l1_ratio
        self.dual = dual
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.random_state = random_state
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.n_jobs = n_jobs

    def _check_parameters(self) -> None:
        if np.isinf(self.C) and self.l1_ratio:
            raise ParameterError(
                f"l1_ratio={self.l1_ratio} has no effect with C=inf, which means no penalty."
            )
        if self.penalty == "elasticnet" and self.l1_ratio is None:
            raise ParameterError("l1_ratio must be specified when penalty is elasticnet.")
        if self.penalty is None and self.C != 1:
            warnings.warn(
                "Setting penalty=None will ignore the C and l1_ratio parameters. Leave one of them out.",
                stacklevel=2,
            )
        if self.penalty == "l2" and self.l1_ratio == 1:
            warnings.warn(
                f"Inconsistent values: penalty={self.penalty} with l1_ratio={self.l1_ratio}. "
                "Leave one of them out.",
                stacklevel=2,
            )
        if self.penalty in ("l1", "l2") and 0 < (self.l1_ratio or 0) < 1:
            warnings.warn(
                "l1_ratio parameter is only used when penalty is 'elasticnet'. Got "
                f"(penalty={self.penalty}). Leave one of them out.",
                stacklevel=2,
            )

    def _strength(self) -> tuple[float, float]:
        """What the absolute and half the squared coefficients cost beside the summed loss."""
        weight = 0.0 if self.penalty is None else 1 / self.C
        share = {"l1": 1.0, "l2": 0.0}.get(str(self.penalty), float(self.l1_ratio or 0.0))
        return weight * share, weight * (1 - share)

    def _fit(self, view: MatrixView) -> None:
        self._learn_classes(view)
        rows = FoldedView.whole(view)
        objective = self._objective(rows, [self], np.zeros(1, dtype=np.intp))
        totals = self._totals(rows)[0]
        shares = totals / totals.sum()
        prior = np.log(np.maximum(shares, 1e-9))
        minima, offsets = minimum(
            rows,
            objective,
            bend=totals.sum() * (shares * (1 - shares))[-objective.scores :],
            tol=self.tol,
            max_iter=self.max_iter,
            begin=self._begin(objective.scores, view.width),
            constants=prior[1:] - prior[0] if objective.scores == 1 else prior - prior.mean(),
        )
        self._take(objective, minima, 0, totals, offsets)
        if minima.converged[0]:
            self._warn_of_separation(view)
        else:
            words = UNFINISHED.get(self.solver, "{} failed to converge after {} iterations.")
            warnings.warn(
                f"{words.format(self.solver, self.max_iter)} Increase the number of iterations. "
                "Raise max_iter of LogisticRegression, scale the columns, or penalise more (a smaller C).",
                ConvergenceWarning,
                stacklevel=2,
            )

    def _warn_of_separation(self, view: MatrixView) -> None:
        """Say that no coefficients are best: as where losses add up to less than that of a wrong row."""
        share = _LIGHT if view.labels.weighted else 1.0
        if not any(self._strength()) and self.objective_ * view.rows < np.log(2.0) * share:
            warnings.warn(
                "Perfect separation: sums of the columns tell the classes of all rows apart, so the longer "
                "the coefficients are the better, and none are best. Penalise (a finite C); "
                "GeneralizedLinearRegression('binomial') names the columns.",
                ConvergenceWarning,
                stacklevel=2,
            )

    def _totals(self, rows: FoldedView) -> np.ndarray:
        """What the rows of each class count, of shape (folds, classes)."""
        weights = rows.class_weights
        assert weights is not None
        factors = [class_factors(self.class_weight, rows.view.classes, own) for own in weights]
        return weights if factors[0] is None else weights * np.array(factors)

    @classmethod
    def _objective(cls, rows: FoldedView, models: Sequence[Any], folds: np.ndarray) -> Objective:
        one, classes = models[0], len(rows.view.classes)
        l1, l2 = np.array([model._strength() for model in models]).T
        weights = rows.class_weights
        assert weights is not None
        each = [class_factors(one.class_weight, rows.view.classes, own) for own in weights]
        factors = None if each[0] is None else np.array(each)[folds]
        loss = Logistic() if classes == 2 else Multinomial(classes)
        return Objective(loss, rows.view.width, one.fit_intercept, folds, l1, l2, factors)

    def _take(
        self, objective: Objective, minima: Minima, place: int, totals: np.ndarray, offsets: Offsets
    ) -> None:
        self.coef_, constants = objective.unpack(minima.w[place])
        self.intercept_ = offsets.restore(self.coef_, constants)
        if objective.scores > 1 and self.fit_intercept:
            self.intercept_ -= self.intercept_.mean()  # of all that answer alike, those that sum to zero
        self.n_iter_ = np.array([minima.steps[place]], dtype=np.int32)
        self.objective_ = float(minima.objective[place]) / float(totals.sum())

    @classmethod
    def _fit_many(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        for candidate in candidates:
            candidate.attempt(partial(candidate.model._learn_classes, rows.view))
        chosen = usable(rows, candidates)
        if not chosen:
            return
        one: LogisticRegression = chosen[0].model
        folds = np.array([candidate.fold for candidate in chosen])
        objective = cls._objective(rows, [candidate.model for candidate in chosen], folds)
        if not by_newton(rows.view, objective):
            learn_apart(rows, chosen)
            return
        minima, offsets = newton(rows, objective, tol=one.tol, max_iter=one.max_iter)
        totals = one._totals(rows)
        for i, candidate in enumerate(chosen):
            candidate.model._take(objective, minima, i, totals[candidate.fold], offsets)
        learn_apart(rows, [one for one, done in zip(chosen, minima.converged, strict=True) if not done])

    @property
    def _follows_type(self) -> tuple[str, ...]:  # type: ignore[override]
        return () if self.solver == "liblinear" else ("coef_",)

    @classmethod
    def _predict_many(cls, models: Sequence[Any], method: str, X: Any) -> Any:
        if method != "predict_proba":
            return super()._predict_many(models, method, X)
        table = np.concatenate([dense(model.coef_) for model in models])
        margins = products(table, X) + np.concatenate([model.intercept_ for model in models])[:, None]
        if len(table) == len(models):
            return _both_shares(margins).transpose(0, 2, 1)
        shape = (len(models), -1, margins.shape[1])
        return softmax(margins.reshape(shape), axis=1).transpose(0, 2, 1)

    def _predict_proba(self, X: Any) -> np.ndarray:
        return probabilities(self._decision_function(X))

    def _to_onnx(self, table: Table) -> Answer:
        return self._probabilities_in_onnx(table)

    def _sklearn_model(self) -> Any:
        shared = ("C", "fit_intercept", "class_weight", "max_iter")
        made = twin("linear_model.LogisticRegression", **{name: getattr(self, name) for name in shared})
        if self.l1_ratio:
            made.set_params(solver="saga", l1_ratio=self.l1_ratio)
        return with_learned(made, self, "coef_", "intercept_", "classes_", "n_iter_")


def _both_shares(margins: np.ndarray) -> np.ndarray:
    """Probabilities of shape (models, 2, rows) of margins, which are overwritten: `expit`, but vectorised."""
    found = np.empty((len(margins), 2, margins.shape[1]))
    first, second = found[:, 0], found[:, 1]
    np.clip(margins, -700, 700, out=margins)
    np.negative(margins, out=margins)
    np.exp(margins, out=first)
    np.add(first, 1.0, out=second)
    np.reciprocal(second, out=second)
    first *= second
    return found
