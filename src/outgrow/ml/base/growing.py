"""Transformers that can learn from further rows, as what they learned is a mergeable state."""

from __future__ import annotations

from typing import Any, Self

from outgrow.ml.base.transformers import Transformer
from outgrow.ml.core.inputs import open_training
from outgrow.stats.state import merge


class GrowingTransformer(Transformer):
    """Learns from further rows what it would learn from all rows together.

    Hooks: `_noted()` gives back the state that it learned before; `_fit` merges that of new rows with it by
    `_grown(state)`.
    """

    _before: Any = None
    """The state of rows before those of the fit under way."""

    _grows = False
    """Whether the fit under way is that of a part of the rows, which others may follow."""

    def _noted(self) -> Any:
        raise NotImplementedError

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Learn from further rows: what results is what `fit` would learn from all rows together.

        Parameters
        ----------
        X, y : as `fit` takes them.
        """
        return self._learn_more(X, y, None)

    def _learn_more(self, X: Any, y: Any, sample_weight: Any) -> Self:
        self.check_parameters()
        first = not hasattr(self, "selected_")
        self._before, self._grows = None if first else self._noted(), True
        try:
            return self._fit_on_engine(open_training(self, X, y, sample_weight, reset=first))
        finally:
            self._before, self._grows = None, False

    def _worker(self) -> Self:
        made = super()._worker()
        made._before, made._grows = self._before, self._grows
        return made

    def _grown(self, state: Any) -> Any:
        """A state of new rows with that of the rows before."""
        return state if self._before is None else merge(self._before, state)
