"""What models share whose predictions are those of others, counted or averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from outgrow.engine.context import FitContext
from outgrow.engine.matrix import MatrixView
from outgrow.engine.together import side_by_side
from outgrow.errors import ParameterError
from outgrow.ml.core.parameters import LIST, Unused
from outgrow.ml.meta.several import ESTIMATORS, AroundSeveral

PARAMETERS = {
    "estimators": ESTIMATORS,
    "weights": LIST | None,
    "n_jobs": Unused(),
    "verbose": Unused(),
}


class Voting(AroundSeveral):
    """Models that learn side by side, each with a weight."""

    weights: Sequence[float] | None

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.weights is None:
            return
        if len(self.weights) != len(self.estimators):
            raise ParameterError(
                "Number of `estimators` and weights must be equal; got "
                f"{len(self.weights)} weights, {len(self.estimators)} estimators. Give one for each."
            )
        numbers = np.asarray(self.weights, dtype=np.float64)
        if not np.isfinite(numbers).all() or (numbers < 0).any() or not numbers.sum() > 0:
            raise ParameterError(f"weights={self.weights!r}: at least 0, and one of them more.")

    @property
    def _shares(self) -> np.ndarray:
        """The weight of each model that is not dropped, of shape (models,); they sum to 1."""
        given = np.ones(len(self.estimators)) if self.weights is None else np.array(self.weights, np.float64)
        stays = np.array([not isinstance(model, str) for _, model in self.estimators])
        return np.asarray(given[stays] / given[stays].sum())

    def _learn_all(self, view: MatrixView) -> None:
        """Let all models learn, in passes that they share."""

        def work(part: Any) -> Callable[[FitContext], None]:
            return lambda run: part._fit(view.on(run))

        parts = self._new_parts()
        side_by_side(view.run, [work(part) for part in parts])
        self._keep(parts)
