"""Leaving out columns that hardly vary."""

from __future__ import annotations

import numpy as np

from outgrow.data.batch import Batch
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.matrices import checked_matrix
from outgrow.ml.core.parameters import COLUMNS, Number
from outgrow.ml.core.task import Task
from outgrow.ml.feature_selection.base import Selection
from outgrow.stats.extremes import Extremes
from outgrow.stats.moments import Moments


class VarianceThreshold(Selection):
    """Keep the columns whose variance is above a threshold.

    Missing values count for nothing and stay missing.

    Parameters
    ----------
    threshold : columns with at most this variance are left out; 0 leaves out those that are constant.
    columns : which columns it looks at, by name or selector; all by default. Others stay.

    Attributes
    ----------
    variances_ : ndarray of shape (n_columns,); with a threshold of 0, the distance of the extremes where that
        is smaller.

    Raises
    ------
    DataError
        At `fit`, when no column is above the threshold.

    Notes
    -----
    Unlike Spark MLlib's `VarianceThresholdSelector(varianceThreshold=0.0)`: the variance of the rows (n), not
    of a sample (n - 1).

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.VarianceThreshold().fit_transform(np.array([[0.0, 2.0], [0.0, 3.0]])).tolist()
    [[2.0], [3.0]]
    """

    takes_missing = True
    parameters = {"threshold": Number(low=0), "columns": COLUMNS}
    variances_: np.ndarray

    def __init__(self, threshold: float = 0.0, *, columns: Columns = None) -> None:
        self.threshold = threshold
        self.columns = columns

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        def fold(batch: Batch) -> tuple[Moments, Extremes]:
            X = checked_matrix(batch, names)
            return Moments.of(X), Extremes.of(X)

        moments, extremes = shard.reduce(fold, encoded=True)
        self.variances_ = np.where(moments.n > 0, moments.variance(), np.nan)
        if self.threshold == 0:
            with np.errstate(over="ignore"):
                self.variances_ = np.fmin(self.variances_, extremes.high - extremes.low)
        if not self._chosen().any():
            rows = int(extremes.rows[0])
            raise DataError(
                f"No feature in X meets the variance threshold {self.threshold:.5f}"
                f"{' (X contains only one sample)' if rows == 1 else ''}. Lower the threshold."
            )

    def _chosen(self) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.isfinite(self.variances_) & (self.variances_ > self.threshold)
