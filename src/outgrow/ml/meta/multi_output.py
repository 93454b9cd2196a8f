"""What models share that are one model for each of several targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sklearn.utils.validation import check_is_fitted

from outgrow.engine.blocks import MatrixSpec
from outgrow.engine.context import FitContext
from outgrow.engine.matrix import MatrixView
from outgrow.engine.shard import Shard
from outgrow.engine.together import side_by_side
from outgrow.ml.core.parameters import Unused
from outgrow.ml.core.task import Task
from outgrow.ml.meta.pairs import AT_ONCE
from outgrow.ml.meta.parts import ESTIMATOR, AroundModel
from outgrow.ml.meta.whole_pipeline import as_given

PARAMETERS = {"estimator": ESTIMATOR, "n_jobs": Unused()}


class MultiOutput(AroundModel):
    """One model for each target; they learn side by side from one matrix."""

    @property
    def estimators_(self) -> list[Any]:
        """The fitted models, in the order of the targets."""
        check_is_fitted(self)
        return as_given(self._parts)

    def _expect_features(self, shard: Shard, task: Task) -> MatrixSpec:
        spec = super()._expect_features(shard, task)
        self._noted.target_names_ = None  # each learns one
        return spec

    def _learn_targets(
        self, run: FitContext, views: Sequence[MatrixView], parts: Sequence[Any] | None = None
    ) -> None:
        """Let a model learn from each view.

        Parameters
        ----------
        run : makes the passes.
        views : the rows with one of the targets each.
        parts : models that have noted the columns of each; None for models like the one within.
        """

        def work(part: Any, view: MatrixView) -> Callable[[FitContext], None]:
            return lambda own: part._fit(view.on(own))

        parts = [self._new_part() for _ in views] if parts is None else parts
        works = [work(part, view) for part, view in zip(parts, views, strict=True)]
        for start in range(0, len(works), AT_ONCE):
            side_by_side(run, works[start : start + AT_ONCE])
        self._keep(parts)

    def _twins_in(self, made: Any) -> list[Any]:
        return [made] if self.target_names_ is None else list(made.estimators_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
