"""Standardisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from outgrow.data.batch import Batch
from outgrow.data.matrix import is_sparse
from outgrow.errors import DataError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.groups import GroupBlock, GroupView, Stacked
from outgrow.ml.core.matrices import by_column, checked_matrix
from outgrow.ml.core.parameters import FLAG
from outgrow.ml.core.task import Task
from outgrow.ml.core.weights import total_weight, weights
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.preprocessing.columnwise import GrowingScaler
from outgrow.stats.grouped import GroupedMoments
from outgrow.stats.moments import Moments, check_squares


class StandardScaler(GrowingScaler):
    """Subtract the mean and divide by the standard deviation, column by column.

    Missing values stay missing and count for nothing.

    Parameters
    ----------
    columns : which columns, by name or selector; all by default.
    with_mean : subtract the mean. Sparse matrices need `with_mean=False`.
    with_std : divide by the standard deviation.
    copy : as scikit-learn has it, also as a keyword of `transform`; it changes nothing here, where input is
        never changed.

    Attributes
    ----------
    mean_, var_, scale_ : ndarray of shape (n_columns,); None where neither is used, or for `var_` and
        `scale_` without `with_std`.
    n_samples_seen_ : how many rows, or what they weigh, have a value: a number where that is the same for all
        columns, else an ndarray of shape (n_columns,).
    n_rows_seen_ : how many rows there were.

    Notes
    -----
    Unlike Spark MLlib's `StandardScaler(withMean=False, withStd=True)`: centres by default, and divides by
    the deviation of the rows (n), not of a sample (n - 1).

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.StandardScaler().fit_transform(np.array([[1.0], [3.0]])).tolist()
    [[-1.0], [1.0]]
    """

    mean_: Any
    var_: Any
    scale_: Any
    parameters = {**GrowingScaler.parameters, "with_mean": FLAG, "with_std": FLAG}
    n_rows_seen_ = 0  # of models that were saved before there was one

    parameters = {**GrowingScaler.parameters, "with_mean": FLAG, "with_std": FLAG}

    def __init__(
        self, columns: Columns = None, *, copy: bool = True, with_mean: bool = True, with_std: bool = True
    ) -> None:
        self.columns = columns
        self.copy = copy
        self.with_mean = with_mean
        self.with_std = with_std

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        y : the name of a column of X to leave out; otherwise ignored.
        sample_weight : the name of a column of X, or an array of shape (rows,).

        Raises
        ------
        ParameterError
            When X is sparse and `with_mean` is true.
        """
        return self._learn(X, y, sample_weight)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from further rows: what results is what `fit` would learn from all rows together.

        Parameters
        ----------
        X, y, sample_weight : as `fit` takes them.

        Examples
        --------
        >>> import numpy as np, outgrow as og
        >>> scaler = og.StandardScaler().partial_fit(np.array([[1.0]])).partial_fit(np.array([[3.0]]))
        >>> scaler.mean_.tolist(), scaler.scale_.tolist()
        ([2.0], [1.0])
        """
        return self._learn_more(X, y, sample_weight)

    def _sparse_refusal(self) -> str | None:
        return "Cannot center sparse matrices: pass with_mean=False instead." if self.with_mean else None

    def _statistics(self, batch: Batch, names: list[str], task: Task) -> tuple[Moments, np.ndarray]:
        X = checked_matrix(batch, names)
        counts = np.append(total_weight(batch, task.weight), batch.num_rows)
        return Moments.of(X, weights(batch, task.weight)), counts

    def _note(self, state: tuple[Moments, np.ndarray], names: list[str]) -> None:
        """Keep what was learned from these rows."""
        moments, (total, rows) = state
        if total == 0:
            raise DataError("All sample weights are zero. Give at least one row a positive weight.")
        check_squares(moments.m2 if self.with_std else moments.mean, names, small=self.with_std)
        same = bool((moments.n == moments.n[0]).all())
        self.n_samples_seen_ = _count(moments.n[0].item()) if same else moments.n
        self.n_rows_seen_ = int(rows)
        self.mean_ = moments.mean if self.with_mean or self.with_std else None
        self.var_ = moments.variance() if self.with_std else None
        self.scale_ = _scale(moments, int(rows)) if self.with_std else None

    def _noted(self) -> tuple[Moments, np.ndarray]:
        """What was learned before, as a state: what is None counts for nothing."""
        n = np.broadcast_to(np.asarray(self.n_samples_seen_, dtype=np.float64), self._width).copy()
        none = np.zeros(self._width)
        mean = none if self.mean_ is None else self.mean_
        squares = none if self.var_ is None else np.where(n > 0, self.var_ * n, 0.0)
        some_weight = 1.0  # or it would have learned nothing
        return Moments(n, mean, squares), np.array([some_weight, self.n_rows_seen_])

    def _group_form(self) -> GroupedScaling:
        return GroupedScaling(self.with_mean, self.with_std)

    def _unscaled(self, X: Any, part: slice) -> Any:
        if self.with_std:
            X = (X @ sp.diags_array(self.scale_[part])).tocsr() if is_sparse(X) else X * self.scale_[part]
        return X + self.mean_[part] if self.with_mean else X

    def _scaled(self, X: Any, part: slice) -> Any:
        factors = 1.0 / self.scale_[part] if self.with_std else None
        if is_sparse(X):
            return X if factors is None else (X @ sp.diags_array(factors)).tocsr()
        made = by_column(np.subtract, X, self.mean_[part]) if self.with_mean else None
        if factors is None:
            return X if made is None else made
        return by_column(np.multiply, X if made is None else made, factors, made)

    def _to_onnx(self, table: Table) -> Table:
        graph, X = table.graph, table.matrix(self.selected_, type(self).__name__)
        if self.with_mean:
            X = graph.node("Sub", X, graph.constant(self.mean_[None, :]))
        if self.with_std:
            X = graph.node("Mul", X, graph.constant(1.0 / self.scale_[None, :]))
        return table.with_numbers(X, self.selected_)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        made = twin("preprocessing.StandardScaler", with_mean=self.with_mean, with_std=self.with_std)
        return self._twin_in(flow, name, made, "n_samples_seen_", "mean_", "var_", "scale_")


def _count(weight: float) -> float:
    """A weight of rows, whole where it counts them."""
    return int(weight) if weight.is_integer() else weight


@dataclass(frozen=True)
class GroupedScaling:
    """Means and standard deviations of each group."""

    with_mean: bool
    with_std: bool
    missing = True

    def learn(self, view: GroupView) -> Stacked:
        moments = view.reduce(_grouped_moments)
        own = Moments(moments.n, moments.mean, moments.m2)
        return {
            "n_samples_seen_": own.n,
            "mean_": own.mean,
            "var_": own.variance(),
            "scale_": _scale(own, own.n),
        }

    def apply(self, X: np.ndarray, learned: Stacked, place: np.ndarray) -> np.ndarray:
        """X, scaled by what each row's own group learned.

        Parameters
        ----------
        X : shape (rows, columns).
        learned : what `learn` gave; `mean_` and `scale_` have shape (groups, columns).
        place : shape (rows,), the place of each row's group in what was learned.
        """
        centred = X - learned["mean_"][place] if self.with_mean else X
        return centred / learned["scale_"][place] if self.with_std else centred

    def beside(self) -> dict[str, Any]:
        return {}


def _grouped_moments(block: GroupBlock) -> GroupedMoments:
    return GroupedMoments.of(block.segments, block.features, block.weight)


def _scale(moments: Moments, rows: Any) -> np.ndarray:
    """Standard deviations; 1 where a column varies no more than its sum is rounded, as scikit-learn does."""
    varies = moments.varies(rows)
    return np.where(varies, np.sqrt(np.where(varies, moments.variance(), 1.0)), 1.0)
