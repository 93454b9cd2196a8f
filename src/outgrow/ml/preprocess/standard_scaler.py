"""Standardisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.batch import Batch, Matrix, is_sparse, matrix_columns
from outgrow.engine.checks import check_finite
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import WeightedTransformer
from outgrow.ml.columns import Columns, require_numeric
from outgrow.ml.grouped import GroupBlock, GroupView, Stacked
from outgrow.ml.task import Task
from outgrow.ml.weights import total_weight, weights
from outgrow.stats.grouped import GroupedMoments
from outgrow.stats.moments import Moments, check_squares


class StandardScaler(WeightedTransformer):
    """Subtract the mean and divide by the standard deviation, column by column.

    Missing values stay missing and count for nothing. Spark MLlib's `StandardScaler` divides by the sample
    standard deviation (n - 1) and does not centre by default; this one is scikit-learn's (n, and it centres).

    Parameters
    ----------
    columns : which columns, by name or selector; all by default.
    with_mean : subtract the mean. Sparse matrices need `with_mean=False`.
    with_std : divide by the standard deviation.
    copy : as scikit-learn has it; it changes nothing here, where input is never changed.

    Attributes
    ----------
    mean_, var_, scale_ : ndarray of shape (n_columns,).

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.StandardScaler().fit_transform(np.array([[1.0], [3.0]])).tolist()
    [[-1.0], [1.0]]
    """

    takes_dictionaries = True

    without_effect = ("copy",)

    def __init__(
        self, columns: Columns = None, *, copy: bool = True, with_mean: bool = True, with_std: bool = True
    ) -> None:
        self.columns = columns
        self.copy = copy
        self.with_mean = with_mean
        self.with_std = with_std

    def _learn(self, shard: Shard, names: list[str], task: Task) -> None:
        require_numeric(shard.example, names, "StandardScaler")
        if not names:
            return
        if self.with_mean and any(_sparse(shard.example[name]) for name in names):
            raise ParameterError("Cannot center sparse matrices: pass with_mean=False instead.")
        moments, (total, rows) = shard.reduce(
            lambda batch: (
                _moments(batch, names, task.weight),
                np.append(total_weight(batch, task.weight), batch.num_rows),
            ),
            encoded=True,
        )
        if total == 0:
            raise DataError("All sample weights are zero. Give at least one row a positive weight.")
        check_squares(moments.m2 if self.with_std else moments.mean, names)
        self.n_samples_seen_ = moments.n
        self.mean_ = moments.mean
        self.var_ = moments.variance()
        self.scale_ = _scale(moments, rows)

    def _group_form(self) -> GroupedScaling:
        return GroupedScaling(self.with_mean, self.with_std)

    def _change(self, batch: Batch, names: list[str]) -> Batch:
        columns, at = {}, 0
        if not any(isinstance(batch[name], Matrix) for name in names):
            return batch.with_columns(matrix_columns(self._scaled(batch.matrix(names), 0), names))
        for name in names:
            X = batch.matrix([name])
            scaled = self._scaled(X, at)
            at += X.shape[1]
            column = batch[name]
            columns[name] = (
                Matrix(scaled, column.names)
                if isinstance(column, Matrix)
                else matrix_columns(scaled, [name])[name]
            )
        return batch.with_columns(columns)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Undo the transformation of an array."""
        X = np.array(X, dtype=np.float64)
        if self.with_std:
            X *= self.scale_
        return X + self.mean_ if self.with_mean else X

    def _scaled(self, X: Any, at: int) -> Any:
        part = slice(at, at + X.shape[1])
        if is_sparse(X):
            return (X @ sp.diags_array(1 / self.scale_[part])).tocsr() if self.with_std else X
        out = np.empty(X.shape, order="F")
        for j, (mean, scale) in enumerate(zip(self.mean_[part], self.scale_[part], strict=True)):
            np.subtract(X[:, j], mean if self.with_mean else 0.0, out=out[:, j])
            if self.with_std and scale != 1.0:
                out[:, j] *= 1.0 / scale
        return out

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = not self.with_mean
        return tags


def _sparse(column: Any) -> bool:
    return isinstance(column, Matrix) and column.sparse


def _moments(batch: Batch, names: list[str], weight: str | None) -> Moments:
    X = batch.matrix(names)
    check_finite(X.data if is_sparse(X) else X, "X", missing=True)
    return Moments.of(X, weights(batch, weight))


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
        centred = X - learned["mean_"][place] if self.with_mean else X
        return centred / learned["scale_"][place] if self.with_std else centred

    def beside(self) -> dict[str, Any]:
        return {}


def _grouped_moments(block: GroupBlock) -> GroupedMoments:
    return GroupedMoments.of(block.segments, block.features, block.weight)


def _scale(moments: Moments, rows: Any) -> np.ndarray:
    """Standard deviations; 1 where a column varies no more than its sum is rounded, as scikit-learn does."""
    variance = moments.variance()
    rounding = rows * np.finfo(np.float64).eps
    noise = rounding * variance + (rounding * moments.mean) ** 2
    return np.where(
        np.isnan(variance) | (variance <= noise), 1.0, np.sqrt(np.where(variance > 0, variance, 1.0))
    )
