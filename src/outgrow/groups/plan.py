"""What a fit by key is going to do: how many groups there are, how large, and how they are shared out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.exact import readable
from outgrow.data.keys import key_nulls
from outgrow.engine.dataset import Dataset
from outgrow.engine.groups import CountGroups, Packing
from outgrow.errors import DataError
from outgrow.stats.grouped import GroupedSums, Keys
from outgrow.stats.state import from_tree, merge

LEAST_LARGE_GROUP_ROWS = 100_000
"""What any group may have without being a large group."""

PARALLEL, SAMPLE, TOGETHER, AUTO = "parallel", "sample", "together", "auto"
LARGE_GROUPS = (AUTO, PARALLEL, SAMPLE, TOGETHER)


@dataclass(frozen=True, eq=False)
class GroupCounts:
    """The groups there are, in the order of the hashes of their keys.

    Attributes
    ----------
    hashes, rows : ndarrays of shape (groups,).
    keys : the key columns.
    """

    hashes: np.ndarray
    rows: np.ndarray
    keys: pa.Table

    @property
    def nulls(self) -> np.ndarray:
        """Groups whose key has a part that is missing."""
        return key_nulls(self.keys)


def count_groups(dataset: Dataset, by: tuple[str, ...], *, stage: str) -> GroupCounts:
    """Count the rows of each group where they are; only the key columns are read.

    Parameters
    ----------
    dataset : rows that have at least the key columns.
    by : the key columns.
    stage : what the work is called in events.

    Raises
    ------
    DataError
        When there are no rows.
    """
    state: Any = None
    for tree in dataset.engine.each_piece(dataset.scan.select(by), CountGroups(by), stage=stage):
        if tree is not None:
            state = merge(state, from_tree(tree))
    if state is None:
        raise DataError("There are no rows to learn from. Check the path, the conditions and the split.")
    keys, counts = state
    assert isinstance(keys, Keys)
    assert isinstance(counts, GroupedSums)
    return GroupCounts(keys.hashes, counts.sums[:, 0].astype(np.int64), keys.table)


@dataclass(frozen=True, eq=False)
class GroupPlan:
    """What `PerGroup.fit` would do, or does.

    Attributes
    ----------
    way : 'at once' for all groups together from one pass a step; 'one by one' for a fit for each key.
    groups, rows : how many there are.
    sizes : the smallest, the median, the 95th percentile and the largest number of rows of a group.
    too_few, nulls : groups with fewer than `min_rows` rows, and groups whose key is missing.
    bins : calls among which the groups are shared out; 0 where nothing is.
    large_groups : keys of groups with more than `large_group_rows` rows, with their rows, the largest first.
    large_groups_are : what happens to them: 'parallel', 'sample' or 'together'.
    """

    way: str
    groups: int
    rows: int
    sizes: tuple[int, int, int, int]
    too_few: int
    nulls: int
    bins: int
    large_groups: list[tuple[tuple[Any, ...], int]]
    large_groups_are: str
    large_group_rows: int

    def __repr__(self) -> str:
        low, median, high, most = self.sizes
        lines = [
            f"{self.groups:,} groups of {self.rows:,} rows, fitted {self.way}",
            f"rows of a group: {low:,} to {most:,}, median {median:,}, 95 % have at most {high:,}",
        ]
        if self.bins:
            lines.append(f"shared out among {self.bins:,} bins of about {self.rows // self.bins:,} rows")
        if self.too_few:
            lines.append(f"{self.too_few:,} have too few rows")
        if self.nulls:
            lines.append(f"{self.nulls:,} have a key that is null")
        if self.large_groups:
            named = ", ".join(f"{_key_text(key)} ({rows:,} rows)" for key, rows in self.large_groups[:5])
            more = f" and {len(self.large_groups) - 5:,} more" if len(self.large_groups) > 5 else ""
            lines.append(
                f"large groups of more than {self.large_group_rows:,} rows, "
                f"{_FATES[self.large_groups_are]}: {named}{more}"
            )
        return "\n".join(lines)


_FATES = {
    PARALLEL: "each trained data-parallel",
    SAMPLE: "sampled",
    TOGETHER: "each in one call like any other",
}


def _key_text(key: tuple[Any, ...]) -> str:
    return " / ".join(map(str, key))


@dataclass(frozen=True)
class Policy:
    """Which groups get a model, and what is done with large ones.

    Attributes
    ----------
    by : the key columns.
    min_rows : groups with fewer get no model.
    large_groups_are : what happens to groups of more than `large_group_rows` rows.
    """

    by: tuple[str, ...]
    min_rows: int
    large_groups_are: str
    large_group_rows: int | None

    def chosen(self, counts: GroupCounts) -> np.ndarray:
        """The groups that get a model."""
        return (counts.rows >= self.min_rows) & ~counts.nulls

    def large_groups(self, counts: GroupCounts, slots: int) -> np.ndarray:
        """Which groups are large, as booleans of shape (groups,).

        Parameters
        ----------
        counts : the groups and their rows.
        slots : tasks the engine runs at once. Where `large_group_rows` is None, a group is large that has
            more than a slot's even share of the rows, and more than `LEAST_LARGE_GROUP_ROWS`.
        """
        return counts.rows > self._most(counts, slots)

    def apart(self, counts: GroupCounts, slots: int) -> np.ndarray:
        """The groups that are each fitted by all slots together, as booleans of shape (groups,).

        Parameters
        ----------
        counts, slots : as for `large_groups`.
        """
        return self.chosen(counts) & self.large_groups(counts, slots) & (self.large_groups_are == PARALLEL)

    def packing(self, counts: GroupCounts, chosen: np.ndarray, rows: Dataset) -> Packing:
        """The chosen groups in bins.

        Parameters
        ----------
        counts : the groups and their rows.
        chosen : booleans of shape (groups,): those to pack.
        rows : what they are read from; the slots of its engine and its columns say how many bins there are.
        """
        slots = rows.engine.slots
        return Packing.of(
            self.by,
            counts.hashes[chosen],
            counts.rows[chosen],
            slots=slots,
            row_bytes=8 * len(rows.columns),
            most=self._most(counts, slots) if self.large_groups_are == SAMPLE else None,
        )

    def plan(self, counts: GroupCounts, slots: int, bins: int | None) -> GroupPlan:
        """What a fit does with groups of these sizes.

        Parameters
        ----------
        counts, slots : as for `large_groups`.
        bins : in how many bins the groups are packed; None where all are fitted at once, and none is large.
        """
        rows = counts.rows
        low, median, high, most = (
            int(value) for value in np.quantile(rows, [0, 0.5, 0.95, 1], method="inverted_cdf")
        )
        large = np.flatnonzero(self.large_groups(counts, slots)) if bins is not None else np.zeros(0, np.intp)
        large = large[np.argsort(-rows[large], kind="stable")]
        keys = readable(counts.keys.take(pa.array(large)))
        named = [(tuple(key.values()), int(rows[group])) for key, group in zip(keys, large, strict=True)]
        return GroupPlan(
            "at once" if bins is None else "one by one",
            len(rows),
            int(rows.sum()),
            (low, median, high, most),
            int((rows < self.min_rows).sum()),
            int(counts.nulls.sum()),
            bins or 0,
            named,
            self.large_groups_are,
            self._most(counts, slots),
        )

    def _most(self, counts: GroupCounts, slots: int) -> int:
        """Rows that a group may have without being a large group."""
        return self.large_group_rows or max(LEAST_LARGE_GROUP_ROWS, int(counts.rows.sum()) // slots)
