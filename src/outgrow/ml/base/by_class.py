"""Classifiers that learn from one statistic of the rows of each class."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.ml.base.known_classes import given_classes, places_among
from outgrow.ml.base.models import ProbabilityClassifier
from outgrow.ml.core.candidates import Candidate, usable
from outgrow.ml.core.inputs import open_training
from outgrow.stats.state import State


class ByClassClassifier(ProbabilityClassifier):
    """Learns from a state of each class, in one pass that all settings and folds share.

    Hooks: `_statistic(block)` is the state of some rows, keyed by the places of their classes, and
    `_learn(state)` learns from that of all rows; `classes_` and `class_count_` are known by then.

    Attributes
    ----------
    class_count_ : ndarray of shape (n_classes,), the weight of the rows of each.
    """

    shared_fit_parameters: ClassVar[tuple[str, ...] | None] = ()
    class_count_: np.ndarray

    def _statistic(self, block: Block) -> State:
        raise NotImplementedError

    def _learn(self, state: Any) -> None:
        raise NotImplementedError

    def _fit(self, view: MatrixView) -> None:
        self._take(view.classes, view.class_weights, view.reduce(self._statistic))

    @classmethod
    def _fit_many(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        chosen = usable(rows, candidates)
        if not chosen:
            return
        states, weights = rows.each(chosen[0].model._statistic), rows.class_weights
        assert weights is not None
        for one in chosen:
            one.attempt(partial(one.model._take, rows.view.classes, weights[one.fold], states[one.fold]))

    def _take(self, classes: np.ndarray, counts: np.ndarray, state: Any) -> None:
        self.classes_, self.class_count_ = classes, np.asarray(counts, dtype=np.float64)
        self._learn(state)

    def _spread(self, hashes: np.ndarray, values: np.ndarray) -> np.ndarray:
        """What a state holds of some classes, with zeros for the others, of shape (classes, ...)."""
        spread = np.zeros((len(self.classes_), *values.shape[1:]))
        spread[hashes.astype(np.intp)] = values
        return spread


class GrowingClassifier(ByClassClassifier):
    """Learns from further rows what it would learn from all rows together.

    Hook: `_noted()` gives back the state that it learned before.
    """

    _before: Self | None = None
    """What has learned from the rows before those of the fit under way, or has its classes alone."""

    def _noted(self) -> Any:
        raise NotImplementedError

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Learn from further rows: what results is what `fit` would learn from all rows together.

        Parameters
        ----------
        X, y : as `fit` takes them.
        classes : all there will be, at the first call; later ones need not give them again.
        sample_weight : as `fit` takes it.

        Raises
        ------
        ParameterError
            When the first call has no classes, or a later one has others.
        DataError
            When y has a class that is not among them.
        """
        self.check_parameters()
        first = not hasattr(self, "classes_")
        known = given_classes(classes, None if first else self.classes_)
        data = open_training(self, X, y, sample_weight, reset=first)
        self._before = self if not first else type(self)._of_classes(known)
        try:
            return self._fit_on_engine(data)
        finally:
            self._before = None

    @classmethod
    def _of_classes(cls, classes: np.ndarray) -> Self:
        """One that has learned nothing but which classes there are."""
        made = cls()
        made.classes_ = classes
        return made

    def _worker(self) -> Self:
        made = super()._worker()
        made._before = self._before
        return made

    def _take(self, classes: np.ndarray, counts: np.ndarray, state: Any) -> None:
        before = self._before
        if before is None:
            super()._take(classes, counts, state)
            return
        at = places_among(before.classes_, classes)
        total = np.zeros(len(before.classes_))
        total[at] = counts
        hashes = at.astype(np.uint64)[state.hashes.astype(np.intp)]
        moved = type(state)(hashes, *_others(state))
        if hasattr(before, "class_count_"):
            total, moved = total + before.class_count_, before._noted().merge(moved)
        super()._take(before.classes_, total, moved)


def _others(state: Any) -> list[Any]:
    """The fields of a state but its keys."""
    return [value for name, value in vars(state).items() if name != "hashes"]
