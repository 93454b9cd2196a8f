"""Frequent sets where not all different baskets fit into memory: each rank mines some items (Li et al. 2008).

The sets of which an item is the least frequent one need of each basket only what stands before that item. So
items are dealt into groups, each basket goes to every group of its items, cut behind the last of them, and
what a group gets is mined by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import cast

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.engine.shard import Shard
from outgrow.ml.fpm.eclat import Miner
from outgrow.ml.fpm.items import ItemCoder, once
from outgrow.stats.baskets import Baskets, pieces_of
from outgrow.stats.quantiles import Gathered

_PER_THREAD = 4
"""Groups for each thread, at least, so that slow ones even out."""
_STATES = 16
"""Counts of baskets that each thread may leave behind in a pass before they are merged: all fit in memory."""
_PARTS = 64
"""Of the budget, one part is about what the items of a group take."""


@dataclass(frozen=True)
class Room:
    """How much memory there is for baskets, and how much they are.

    Attributes
    ----------
    budget : the least of the budgets of all ranks, in bytes.
    threads : of a rank.
    occurrences : in how many baskets the frequent items are, summed.
    """

    budget: int
    threads: int
    occurrences: float

    @property
    def of_baskets(self) -> int:
        """What the different baskets may take where all ranks hold them."""
        return self.budget // (_STATES * self.threads)

    def groups(self, items: int, workers: int) -> int:
        """Into how many groups items are dealt.

        Parameters
        ----------
        items : how many are frequent.
        workers : threads of all ranks.
        """
        wanted = ceil(4 * self.occurrences * _PARTS / self.budget)
        return min(items, max(wanted, _PER_THREAD * workers))


@dataclass(frozen=True, eq=False)
class Prefixes:
    """A step: of each basket and group of its items, the items up to the last of the group.

    Attributes
    ----------
    coder : finds the number of each frequent item.
    lists : the columns of baskets.
    groups : item i is in group i % groups.
    """

    coder: ItemCoder
    lists: list[str]
    groups: int

    def __call__(self, batch: Batch) -> Batch:
        codes, rows = self.coder.codes(batch, self.lists)
        first = once(codes, rows)  # by row, and in a row the most frequent item first
        codes, rows = codes[first], rows[first]
        keys = rows.astype(np.int64) * self.groups + codes % self.groups
        found, last = np.unique(keys[::-1], return_index=True)
        last = len(keys) - 1 - last
        starts = np.searchsorted(rows, rows[last])
        lengths = last - starts + 1
        some = lengths > 1
        items = codes[pieces_of(starts[some], lengths[some])].astype(np.int32)
        ends = np.concatenate([[0], np.cumsum(lengths[some])]).astype(np.int32)
        columns = {
            "group": pa.array((found[some] % self.groups).astype(np.int32)),
            "items": pa.ListArray.from_arrays(pa.array(ends), pa.array(items)),
        }
        return Batch(columns, int(some.sum()))


def placed_sets(shard: Shard, step: Prefixes, least: float, longest: int | None) -> tuple[np.ndarray, ...]:
    """The frequent sets of two and more items: all items, the sizes, and the weights.

    Parameters
    ----------
    shard : the rows.
    step : makes of baskets what each group needs.
    least : the weight from which on a set is frequent.
    longest : the largest size of sets; None for any.
    """
    items = len(step.coder.items)

    def mined(batch: Batch) -> Gathered:
        parts = [(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0))]
        for group, baskets in _by_group(batch):
            miner = Miner(baskets, least, longest)
            parts += [miner.mine(item).flat() for item in range(group, items, step.groups)]
        return Gathered(tuple(map(np.concatenate, zip(*parts, strict=True))))

    placed = shard.transformed(step).exchange(["group"], last=True)
    return placed.reduce(mined, empty=mined(placed.example)).values


def _by_group(batch: Batch) -> Iterator[tuple[int, Baskets]]:
    """The counted baskets of each group in a batch, whose rows stand together."""
    groups, column = np.asarray(batch["group"]), cast(pa.ListArray, batch["items"])
    if not len(groups):
        return
    cuts = [0, *(np.flatnonzero(groups[1:] != groups[:-1]) + 1).tolist(), len(groups)]
    for start, end in pairwise(cuts):
        part = column.slice(start, end - start)
        ends = np.concatenate([[0], np.cumsum(part.value_lengths().to_numpy())])
        yield int(groups[start]), Baskets.of(part.flatten().to_numpy(), ends)
