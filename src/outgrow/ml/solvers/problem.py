"""What methods minimise that go over the rows of one candidate again and again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from outgrow.engine.folded import FoldedView
from outgrow.ml.solvers.objective import Objective


@dataclass(frozen=True, eq=False)
class Problem:
    """The loss of one candidate over all rows, its penalty, and about how much the parameters bend it.

    Attributes
    ----------
    rows : the matrix, without offsets.
    objective : of one candidate, which learns from all rows.
    spread : ndarray of shape (width,), the mean square of each feature.
    bend : ndarray of shape (scores,), about how much the scores of all rows bend the loss.
    """

    rows: FoldedView
    objective: Objective
    spread: np.ndarray
    bend: np.ndarray

    def thinned(self, step: int) -> Problem:
        """That of one in `step` rows, and of as small a share of the penalty."""
        share = replace(self.objective, l1=self.objective.l1 / step, l2=self.objective.l2 / step)
        return Problem(self.rows.thinned(step), share, self.spread, self.bend / step)

    def over(self, columns: np.ndarray) -> Problem:
        """That of some columns, which are copied, the parameters of all others being zero."""
        rows = FoldedView.whole(self.rows.view.selected(columns))
        objective = replace(self.objective, width=len(columns))
        return Problem(rows, objective, self.spread[columns], self.bend)
