"""Scaling by the largest absolute value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.batch import Batch
from outgrow.data.matrix import is_sparse
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.groups import GroupView, Stacked
from outgrow.ml.core.matrices import by_column, checked_matrix
from outgrow.ml.core.parameters import FLAG
from outgrow.ml.core.task import Task
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.preprocessing.columnwise import GrowingScaler, unit_where_constant
from outgrow.ml.preprocessing.onnx import clipped
from outgrow.stats.extremes import Extremes, GroupedExtremes


class MaxAbsScaler(GrowingScaler):
    """Divide each column by its largest absolute value, so that all values lie between -1 and 1.

    Missing values stay missing and count for nothing. Zeros stay zeros, so sparse rows stay sparse.

    Parameters
    ----------
    columns : which columns, by name or selector; all by default.
    copy : as scikit-learn has it, without effect: input is never changed.
    clip : values beyond those of the fit become -1 or 1.

    Attributes
    ----------
    max_abs_ : ndarray of shape (n_columns,); NaN where all values are missing.
    scale_ : ndarray of shape (n_columns,), what columns are divided by: 1 where all values are zero.
    n_samples_seen_ : how many rows there were.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.MaxAbsScaler().fit_transform(np.array([[1.0], [-4.0], [2.0]])).tolist()
    [[0.25], [-1.0], [0.5]]
    """

    parameters = {**GrowingScaler.parameters, "clip": FLAG}
    max_abs_: np.ndarray
    scale_: np.ndarray

    def __init__(self, columns: Columns = None, *, copy: bool = True, clip: bool = False) -> None:
        self.columns = columns
        self.copy = copy
        self.clip = clip

    def _statistics(self, batch: Batch, names: list[str], task: Task) -> Extremes:
        return Extremes.of(abs(checked_matrix(batch, names)))

    def _note(self, state: Extremes, names: list[str]) -> None:
        self.n_samples_seen_ = int(state.rows[0])
        for name, value in _learned(state.high).items():
            setattr(self, name, value)

    def _noted(self) -> Extremes:
        largest = np.where(np.isnan(self.max_abs_), -np.inf, self.max_abs_)
        return Extremes(np.array([self.n_samples_seen_]), np.full(len(largest), np.inf), largest)

    def _scaled(self, X: Any, part: slice) -> Any:
        if is_sparse(X):
            X = sp.csr_array(X @ sp.diags_array(1.0 / self.scale_[part]))
            if self.clip:
                np.clip(X.data, -1.0, 1.0, out=X.data)
            return X
        return _scaled(X, self.scale_[part], self.clip)

    def _unscaled(self, X: Any, part: slice) -> Any:
        if is_sparse(X):
            return sp.csr_array(X @ sp.diags_array(self.scale_[part]))
        return by_column(np.multiply, X, self.scale_[part])

    def _group_form(self) -> GroupedLargest:
        return GroupedLargest(self.clip)

    def _to_onnx(self, table: Table) -> Table:
        graph, X = table.graph, table.matrix(self.selected_, type(self).__name__)
        X = graph.node("Div", X, graph.constant(self.scale_[None, :]))
        return table.with_numbers(clipped(graph, X, -1.0, 1.0) if self.clip else X, self.selected_)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        made = twin("preprocessing.MaxAbsScaler", clip=self.clip)
        return self._twin_in(flow, name, made, "max_abs_", "scale_", "n_samples_seen_")


@dataclass(frozen=True)
class GroupedLargest:
    """The largest absolute value of each group."""

    clip: bool
    missing = True

    def learn(self, view: GroupView) -> Stacked:
        extremes = view.reduce(lambda block: GroupedExtremes.of(block.segments, block.features))
        assert view.rows is not None
        rows = view.rows.sums[:, 0].astype(np.int64)
        high = np.where(extremes.low > extremes.high, -np.inf, np.maximum(-extremes.low, extremes.high))
        return {"n_samples_seen_": rows, **_learned(high)}

    def apply(self, X: np.ndarray, learned: Stacked, place: np.ndarray) -> np.ndarray:
        """X, scaled by what each row's own group learned.

        Parameters
        ----------
        X : shape (rows, columns).
        learned : what `learn` gave; `scale_` has shape (groups, columns).
        place : shape (rows,), the place of each row's group in what was learned.
        """
        return _scaled(X, learned["scale_"][place], self.clip)

    def beside(self) -> dict[str, Any]:
        return {}


def _learned(largest: np.ndarray) -> dict[str, np.ndarray]:
    """What is learned of columns with these largest absolute values; minus infinity is of no value."""
    largest = np.where(np.isneginf(largest), np.nan, largest)
    return {"max_abs_": largest, "scale_": unit_where_constant(largest)}


def _scaled(X: np.ndarray, scale: Any, clip: bool) -> np.ndarray:
    out = by_column(np.divide, X, scale)
    return np.clip(out, -1.0, 1.0, out=out) if clip else out
