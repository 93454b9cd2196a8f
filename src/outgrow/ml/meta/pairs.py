"""What classifiers of several classes share that are made of classifiers of two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from outgrow.engine.context import FitContext
from outgrow.engine.matrix import MatrixView
from outgrow.engine.together import side_by_side
from outgrow.ml.meta.parts import AroundModel, check_classifier
from outgrow.ml.meta.whole_pipeline import as_given

TWO = np.array([0, 1])
"""The classes that the parts learn."""
AT_ONCE = 64
"""So many parts learn side by side: each has a thread."""


class SeveralFromTwo(AroundModel):
    """Parts that each tell two classes apart, which they learn side by side."""

    classes_: np.ndarray

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_classifier(self, self._inner)

    def _learn_each(self, run: FitContext, views: Sequence[Callable[[FitContext], MatrixView]]) -> None:
        """Let a part learn from each view.

        Parameters
        ----------
        run : makes the passes.
        views : give the rows with the classes 0 and 1, in the run of a part.
        """

        def work(part: Any, view: Callable[[FitContext], MatrixView]) -> Callable[[FitContext], None]:
            return lambda own: part._fit(view(own))

        parts = [self._new_part() for _ in views]
        works = [work(part, view) for part, view in zip(parts, views, strict=True)]
        for start in range(0, len(works), AT_ONCE):
            side_by_side(run, works[start : start + AT_ONCE])
        self._keep(parts)

    @property
    def n_classes_(self) -> int:
        """How many classes there are."""
        check_is_fitted(self)
        return len(self.classes_)

    @property
    def estimators_(self) -> list[Any]:
        """The fitted classifiers."""
        check_is_fitted(self)
        return as_given(self._parts)
