"""What a prediction misses of each row, and what the best constant would miss."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import special

from outgrow.data.batch import Batch
from outgrow.data.keys import key_codes
from outgrow.engine.shard import Shard
from outgrow.statistics.rows import Rows
from outgrow.stats.grouped import GroupedSums


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def tweedie(y: np.ndarray, mean: np.ndarray, power: float) -> np.ndarray:
    """The deviance of a Tweedie distribution of each row; NaN where the family has no such numbers.

    Parameters
    ----------
    y, mean : shape (rows,).
    power : of the variance: 0 normal, 1 Poisson, 2 gamma, 3 inverse normal; no number between 0 and 1.
    """
    if power == 0:
        return (y - mean) ** 2
    if power == 1:
        return np.where((y >= 0) & (mean > 0), 2 * (special.xlogy(y, y / mean) - y + mean), np.nan)
    if power == 2:
        return np.where((y > 0) & (mean > 0), 2 * (np.log(mean / y) + y / mean - 1), np.nan)
    one, two = 1 - power, 2 - power
    first = np.maximum(y, 0) if power < 0 else y
    deviance = 2 * (first**two / (one * two) - y * mean**one / one + mean**two / two)
    known = (mean > 0) & ((power < 0) | (y > 0) | ((y == 0) & (power < 2)))
    return np.where(known, deviance, np.nan)


def pinball(y: np.ndarray, predicted: np.ndarray, quantile: float) -> np.ndarray:
    """What a quantile that is predicted costs each row.

    Parameters
    ----------
    y, predicted : shape (rows,).
    quantile : between 0 and 1.
    """
    rest = y - predicted
    return np.maximum(quantile * rest, (quantile - 1) * rest)


@dataclass(frozen=True)
class Constants:
    """What constants miss of the rows of each group.

    Attributes
    ----------
    hashes : uint64 of shape (groups,), sorted.
    values : ndarray of shape (losses, groups), the constant of each group for each loss.
    losses : of each loss `(name, number)`: 'pinball' of a quantile, or 'tweedie' of a power.
    """

    hashes: np.ndarray
    values: np.ndarray
    losses: tuple[tuple[str, float], ...]

    def missed(self, rows: Rows, columns: tuple[str, str]) -> np.ndarray:
        """The losses of the constants, summed, of shape (losses, groups) in the order of the hashes.

        Parameters
        ----------
        rows : that were grouped.
        columns : of the truth, and of the prediction without which a row does not count.
        """
        sums: GroupedSums = rows.learn(partial(_learn, fold=partial(self._fold, rows=rows, columns=columns)))
        by_loss: np.ndarray = sums.sums[np.searchsorted(sums.hashes, self.hashes)].T
        return by_loss

    def _fold(self, batch: Batch, rows: Rows, columns: tuple[str, str]) -> GroupedSums:
        y, predicted = batch.matrix(list(columns)).T
        weight = rows.weights(batch)
        segments, _ = rows.grouped(batch)
        there = ~(np.isnan(y) | np.isnan(predicted))
        counted = np.where(there, 1.0 if weight is None else weight, 0.0)[segments.order]
        y = np.where(there, y, 0.0)[segments.order]
        group = np.repeat(np.searchsorted(self.hashes, segments.hashes), segments.counts)
        missed = [
            (pinball if name == "pinball" else tweedie)(y, constants[group], number)
            for (name, number), constants in zip(self.losses, self.values, strict=True)
        ]
        return GroupedSums.of(segments, np.where(counted > 0, counted * np.stack(missed), 0.0))


def group_hashes(groups: pa.Table | None, rows: Rows) -> np.ndarray:
    """The hashes of groups as `Rows.grouped` gives them, of shape (groups,).

    Parameters
    ----------
    groups : their keys; None where all rows are one.
    rows : that were grouped.
    """
    if groups is None:
        return np.zeros(1, dtype=np.uint64)
    columns = {name: groups[name].combine_chunks() for name in groups.column_names}
    batch = Batch(columns, groups.num_rows)
    hashes, codes = key_codes(batch, rows.by)
    return np.asarray(hashes)[np.asarray(codes)]


def _learn(shard: Shard, fold: Any) -> Any:
    return shard.reduce(fold)
