"""Linear classifiers that tell each class from all others, in passes that the classes share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.context import FitContext
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.engine.together import side_by_side
from outgrow.ml.core.candidates import Candidate, learn_apart, usable
from outgrow.ml.core.weights import ClassWeight, class_factors
from outgrow.ml.linear_model.classifier import LinearClassifier
from outgrow.ml.solvers.cost import LARGEST, by_newton
from outgrow.ml.solvers.kinks import Kinks, KinkSearch, check_search
from outgrow.ml.solvers.losses import Loss, SmoothedHinge
from outgrow.ml.solvers.minimum import settled
from outgrow.ml.solvers.objective import Objective
from outgrow.ml.solvers.offsets import Offsets

Fit = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Of shape (classes, candidates): coefficients, each of (features,), intercepts, steps, whether converged."""


class AgainstOthers(LinearClassifier):
    """Learns a line for each class, or for two classes one.

    Hooks: `_loss()` of one score, `_bend()`, about how much the score of a row bends it, `_strength(total)`,
    what the absolute and half the squared coefficients cost beside the summed loss of rows of that weight,
    and `_warn()` that it did not converge. Where `_kinked` is true, the loss is the hinge, and the penalty is
    squared; `_loss()` is not asked.
    """

    n_iter_: int
    fit_intercept: bool
    class_weight: ClassWeight
    tol: float
    max_iter: int

    def _loss(self) -> Loss:
        raise NotImplementedError

    def _bend(self) -> float:
        raise NotImplementedError

    def _strength(self, total: float) -> tuple[float, float]:
        raise NotImplementedError

    @property
    def _kinked(self) -> bool:
        return False

    def _warn(self) -> None:
        raise NotImplementedError

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
        if not chosen[0].model._kinked and by_newton(rows.view, cls._objective(rows, chosen, [1])):
            cls._learn_together(rows, chosen)
        else:
            learn_apart(rows, chosen)

    @classmethod
    def _learn_together(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        """Tell each class from the others, for all candidates, in passes that all share."""
        count = len(rows.view.classes)
        labels = [1] if count == 2 else list(range(count))
        objective = cls._objective(rows, candidates, labels)
        several = not candidates[0].model._kinked
        stacked = (
            several
            and len(objective.folds) * objective.size**2 <= LARGEST**2
            and by_newton(rows.view, objective)
        )

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
        if one._kinked:
            return one._hinge_minimum(rows, objective, labels[0])
        bend = np.array([one._bend() * rows.view.class_weights.sum()])
        minima, offsets = settled(rows, objective, bend=bend, tol=one.tol, max_iter=one.max_iter)
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

    def _hinge_minimum(self, rows: FoldedView, objective: Objective, label: int) -> Fit:
        """Where the hinge itself is least, which has no curvature."""
        check_search(objective, type(self).__name__)
        offsets = Offsets.of(rows.view, intercept=self.fit_intercept)

        def kinks(block: Block) -> Kinks:
            y = np.asarray(block.y)
            sign = np.where(y == label, 1.0, -1.0)[None, :]
            cost = np.ones(len(y)) if block.weight is None else block.weight
            if objective.factors is not None:
                cost = cost * objective.factors[0][y]
            return sign, np.ones_like(sign), cost[None, :]

        shifted = replace(rows, view=offsets.apply(rows.view))
        search = KinkSearch(shifted, objective, SmoothedHinge, kinks, offsets.spread, 1.0)
        coef, constants = objective.unpack(search.best(0.0))
        constants = offsets.restore(coef, constants) if self.fit_intercept else np.zeros(1)
        return coef[None], constants[None], np.array([[search.steps]]), np.array([[search.proven]])

    @classmethod
    def _objective(
        cls, rows: FoldedView, candidates: Sequence[Candidate], labels: Sequence[int]
    ) -> Objective:
        """Of each class that is told from the others, all candidates."""
        one, each = candidates[0].model, list(candidates) * len(labels)
        assert rows.class_weights is not None
        totals = rows.class_weights.sum(axis=1)
        l1, l2 = np.array([own.model._strength(float(totals[own.fold])) for own in each]).T
        folds = np.array([candidate.fold for candidate in candidates])
        factors = [one._factors(rows, label) for label in labels]
        return Objective(
            SmoothedHinge(1.0) if one._kinked else one._loss(),
            rows.view.width,
            one.fit_intercept,
            np.tile(folds, len(labels)),
            l1,
            l2,
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
