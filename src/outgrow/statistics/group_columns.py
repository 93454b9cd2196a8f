"""Exact quantiles of the columns of groups: each column of each group is searched by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from outgrow.data.batch import Batch
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.statistics.rows import Rows, dense
from outgrow.stats.quantiles import quantiles, weighted_quantiles

_TOGETHER, _MOST = 128, 16_384
"""Columns of groups that are searched in the same passes, as each counts in 65,536 buckets; and in all."""


class GroupColumns:
    """The numbers of a batch as so many columns for each group, of as many rows as the group has."""

    def __init__(self, batch: Batch, rows: Rows, hashes: np.ndarray, part: range) -> None:
        segments, _ = rows.grouped(batch)
        self.shape = (batch.num_rows, len(part))
        self._part, self._order = part, segments.order if len(segments.starts) > 1 else slice(None)
        self._X, self._weight = dense(batch.matrix(rows.names)), rows.weights(batch)
        self._bounds = np.append(segments.starts, len(segments.order))
        self._at = np.searchsorted(segments.hashes, hashes)
        self._there = np.append(segments.hashes, np.uint64(0))[self._at] == hashes
        self._there &= self._at < len(segments.hashes)

    def __getitem__(self, key: tuple[slice, int]) -> np.ndarray:
        group, j = divmod(self._part[key[1]], self._X.shape[1])
        return self._within(self._X[:, j], group)

    def weighted(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        """The values of a column that are not missing, and their weights."""
        values = self[:, j]
        weight = self._within(self._weight, self._part[j] // self._X.shape[1])
        present = ~np.isnan(values)
        return values[present], weight[present]

    def _within(self, values: np.ndarray | None, group: int) -> np.ndarray:
        """The values of the rows of a group."""
        assert values is not None
        at = self._at[group]
        if not self._there[group]:
            return values[:0]
        chosen = (
            self._order
            if isinstance(self._order, slice)
            else self._order[self._bounds[at] : self._bounds[at + 1]]
        )
        return values[chosen]


def group_quantiles(
    shard: Shard, rows: Rows, hashes: np.ndarray, probabilities: Sequence[float]
) -> np.ndarray:
    """Exact quantiles of each column of each group, weighted where there are weights.

    Parameters
    ----------
    shard, rows : the rows.
    hashes : of the groups, sorted; those of `Rows.grouped`.
    probabilities : in [0, 1].

    Returns
    -------
    ndarray of shape (groups, columns, probabilities), NaN where a group has no value.

    Raises
    ------
    DataError
        When there are too many groups to be searched.
    """
    width = len(rows.labels)
    count = width * len(hashes)
    if count > _MOST:
        raise DataError(
            f"{width} columns of {len(hashes):,} groups are {count:,} searches for exact quantiles; at most "
            f"{_MOST:,} are made. Choose fewer columns, or coarser groups."
        )
    weighted = rows.weight is not None
    step = max(1, _TOGETHER // len(probabilities)) if weighted else _TOGETHER
    results = []
    for start in range(0, count, step):
        part = range(start, min(start + step, count))

        def reduce(fold: Callable[[Any], Any], part: range = part) -> Any:
            return shard.reduce(lambda batch: fold(GroupColumns(batch, rows, hashes, part)), encoded=True)

        if weighted:
            results.append(weighted_quantiles(reduce, len(part), probabilities))
        else:
            results.append(quantiles(reduce, len(part), probabilities)[0])
    whole = np.concatenate([np.empty((len(probabilities), 0)), *results], axis=1)
    return np.moveaxis(whole.reshape(len(probabilities), len(hashes), width), 0, -1)
