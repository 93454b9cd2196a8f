"""Scaling to a range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrow.data.batch import Batch
from outgrow.errors import ParameterError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.groups import GroupView, Stacked
from outgrow.ml.core.matrices import by_column, checked_matrix
from outgrow.ml.core.parameters import FINITE, FLAG, Such
from outgrow.ml.core.task import Task
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.preprocessing.columnwise import GrowingScaler
from outgrow.ml.preprocessing.onnx import clipped
from outgrow.stats.extremes import Extremes, GroupedExtremes


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and all(end in FINITE for end in value)


class MinMaxScaler(GrowingScaler):
    """Shift and stretch each column so that its least and largest value are those of a range.

    Missing values stay missing and count for nothing. A constant column becomes the lower end of the range,
    as in scikit-learn.

    Parameters
    ----------
    feature_range : the lower and the upper end.
    columns : which columns, by name or selector; all by default.
    copy : as scikit-learn has it, without effect: input is never changed.
    clip : values beyond those of the fit become the ends of the range.

    Attributes
    ----------
    data_min_, data_max_, data_range_ : ndarray of shape (n_columns,), of the rows of the fit; NaN where all
        are missing.
    scale_, min_ : ndarray of shape (n_columns,); what is given is `X * scale_ + min_`.
    n_samples_seen_ : how many rows there were.

    Notes
    -----
    Unlike Spark MLlib's `MinMaxScaler(min=0.0, max=1.0)`: a constant column becomes the lower end of the
    range, not its middle.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.MinMaxScaler().fit_transform(np.array([[1.0], [2.0], [5.0]])).tolist()
    [[0.0], [0.25], [1.0]]
    """

    parameters = {
        **GrowingScaler.parameters,
        "feature_range": Such("a pair of finite numbers, the lower and the upper end", _is_pair),
        "clip": FLAG,
    }
    data_min_: np.ndarray
    data_max_: np.ndarray
    scale_: np.ndarray
    min_: np.ndarray

    def __init__(
        self,
        feature_range: tuple[float, float] = (0, 1),
        *,
        columns: Columns = None,
        copy: bool = True,
        clip: bool = False,
    ) -> None:
        self.feature_range = feature_range
        self.columns = columns
        self.copy = copy
        self.clip = clip

    def _check_parameters(self) -> None:
        low, high = self.feature_range
        if not low < high:
            raise ParameterError(
                f"Minimum of desired feature range must be smaller than maximum. Got {self.feature_range}."
            )

    def _sparse_refusal(self) -> str | None:
        return (
            "MinMaxScaler does not support sparse input, whose zeros it would shift. "
            "Use StandardScaler(with_mean=False), or dense columns."
        )

    def _statistics(self, batch: Batch, names: list[str], task: Task) -> Extremes:
        return Extremes.of(checked_matrix(batch, names))

    def _note(self, state: Extremes, names: list[str]) -> None:
        self.n_samples_seen_ = int(state.rows[0])
        for name, value in _learned(state.low, state.high, self.feature_range).items():
            setattr(self, name, value)

    def _noted(self) -> Extremes:
        empty = np.isnan(self.data_min_)
        low, high = np.where(empty, np.inf, self.data_min_), np.where(empty, -np.inf, self.data_max_)
        return Extremes(np.array([self.n_samples_seen_]), low, high)

    def _scaled(self, X: np.ndarray, part: slice) -> np.ndarray:
        return _scaled(X, self.scale_[part], self.min_[part], self.feature_range if self.clip else None)

    def _unscaled(self, X: np.ndarray, part: slice) -> np.ndarray:
        out = by_column(np.subtract, X, self.min_[part])
        return by_column(np.divide, out, self.scale_[part], out)

    def _group_form(self) -> GroupedRanges:
        return GroupedRanges(self.feature_range, self.clip)

    def _to_onnx(self, table: Table) -> Table:
        graph, X = table.graph, table.matrix(self.selected_, type(self).__name__)
        X = graph.node("Mul", X, graph.constant(self.scale_[None, :]))
        X = graph.node("Add", X, graph.constant(self.min_[None, :]))
        X = clipped(graph, X, *self.feature_range) if self.clip else X
        return table.with_numbers(X, self.selected_)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        made = twin("preprocessing.MinMaxScaler", tuple(self.feature_range), clip=self.clip)
        learned = ("data_min_", "data_max_", "data_range_", "scale_", "min_", "n_samples_seen_")
        return self._twin_in(flow, name, made, *learned)


@dataclass(frozen=True)
class GroupedRanges:
    """The extremes of each group."""

    feature_range: tuple[float, float]
    clip: bool
    missing = True

    def learn(self, view: GroupView) -> Stacked:
        extremes = view.reduce(lambda block: GroupedExtremes.of(block.segments, block.features))
        assert view.rows is not None
        rows = view.rows.sums[:, 0].astype(np.int64)
        return {"n_samples_seen_": rows, **_learned(extremes.low, extremes.high, self.feature_range)}

    def apply(self, X: np.ndarray, learned: Stacked, place: np.ndarray) -> np.ndarray:
        """X, scaled by what each row's own group learned.

        Parameters
        ----------
        X : shape (rows, columns).
        learned : what `learn` gave; `scale_` and `min_` have shape (groups, columns).
        place : shape (rows,), the place of each row's group in what was learned.
        """
        scale, shift = learned["scale_"][place], learned["min_"][place]
        return _scaled(X, scale, shift, self.feature_range if self.clip else None)

    def beside(self) -> dict[str, Any]:
        return {}


def _learned(low: np.ndarray, high: np.ndarray, feature_range: tuple[float, float]) -> dict[str, np.ndarray]:
    """What is learned of columns with these extremes; infinite ones are of columns without a value."""
    empty = low > high
    low, high = np.where(empty, np.nan, low), np.where(empty, np.nan, high)
    with np.errstate(over="ignore"):
        spread = high - low
        constant = spread < 10 * np.finfo(np.float64).eps
        scale = (feature_range[1] - feature_range[0]) / np.where(constant, 1.0, spread)
    return {
        "data_min_": low,
        "data_max_": high,
        "data_range_": spread,
        "scale_": scale,
        "min_": feature_range[0] - low * scale,
    }


def _scaled(X: np.ndarray, scale: Any, shift: Any, ends: tuple[float, float] | None) -> np.ndarray:
    out = by_column(np.multiply, X, scale)
    by_column(np.add, out, shift, out)
    return out if ends is None else np.clip(out, *ends, out=out)
