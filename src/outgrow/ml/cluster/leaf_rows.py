"""A few rows of each of several groups, the same on any partitioning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outgrow.stats.state import State


@dataclass(frozen=True, eq=False)
class LeafRows(State):
    """Of each group the distinct rows with the least hashes, and what those that are equal weigh together.

    Attributes
    ----------
    most : how many rows of a group are kept at most.
    group : ndarray of shape (rows,), the group of each; ascending.
    key : uint64 of shape (rows,), the hashes; ascending in a group, each once.
    rows : ndarray of shape (rows, width).
    weight : ndarray of shape (rows,), of all rows that have the hash.
    """

    most: int
    group: np.ndarray
    key: np.ndarray
    rows: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(
        cls, most: int, group: np.ndarray, key: np.ndarray, rows: np.ndarray, weight: np.ndarray
    ) -> LeafRows:
        """Those of some rows.

        Parameters
        ----------
        most : how many rows of a group to keep.
        group : integers of shape (rows,).
        key : uint64 of shape (rows,), the hashes.
        rows : shape (rows, width).
        weight : shape (rows,).
        """
        order = np.lexsort((key, group))
        group, key = group[order], key[order]
        new = np.ones(len(key), dtype=bool)
        new[1:] = (group[1:] != group[:-1]) | (key[1:] != key[:-1])
        starts = np.flatnonzero(new)
        together = np.add.reduceat(weight[order], starts) if len(starts) else weight[:0]
        group, key = group[starts], key[starts]
        first = np.searchsorted(group, group)
        kept = np.arange(len(group)) - first < most
        return cls(most, group[kept], key[kept], rows[order[starts[kept]]], together[kept])

    def merge(self, other: LeafRows) -> LeafRows:
        fields = ("group", "key", "rows", "weight")
        return LeafRows.of(
            self.most, *(np.concatenate([getattr(self, name), getattr(other, name)]) for name in fields)
        )
