"""Choosing columns by what each alone tells about y."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.base import SupervisedTransformer
from outgrow.ml.core.parameters import COLUMNS, Such
from outgrow.ml.core.task import Task
from outgrow.ml.feature_selection.base import Selection
from outgrow.ml.feature_selection.rows import SupervisedRows
from outgrow.ml.feature_selection.scores import SCORES


def _score_name(score_func: Any) -> str | None:
    """The name of a score, also of scikit-learn's function; None for what is none."""
    if isinstance(score_func, str):
        return score_func if score_func in SCORES else None
    if str(getattr(score_func, "__module__", "")).startswith("sklearn.feature_selection."):
        return _score_name(getattr(score_func, "__name__", ""))
    return None


SCORE_FUNC = Such(
    f"one of {', '.join(map(repr, SCORES))}, or scikit-learn's function of that name",
    lambda value: _score_name(value) is not None,
)


class UnivariateSelection(Selection, SupervisedTransformer):
    """Keeps columns by a statistic of each and y, found for all side by side.

    Attributes
    ----------
    scores_, pvalues_ : ndarray of shape (n_columns,); `pvalues_` is None where the statistic has none.
    """

    parameters = {"score_func": SCORE_FUNC, "columns": COLUMNS}
    needs_p_values: ClassVar[bool] = False
    score_func: Any
    scores_: np.ndarray
    pvalues_: Any

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        name = _score_name(self.score_func)
        assert name is not None
        assert task.target is not None
        rows = SupervisedRows(shard, names, task.target)
        self.scores_, self.pvalues_ = SCORES[name].scores(rows)
        if self.needs_p_values and self.pvalues_ is None:
            raise ParameterError(
                f"{type(self).__name__}(score_func={name!r}): it chooses by p-values, and {name} has none. "
                "Choose another score_func, or SelectKBest."
            )

    def _ranked(self) -> np.ndarray:
        """The scores; a column without one is the last."""
        return np.where(np.isnan(self.scores_), np.finfo(np.float64).min, self.scores_)
