"""How many values lie in each cell of a reference's grids: exact, and all of it adds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from outgrow.errors import ParameterError
from outgrow.stats.state import State
from outgrow.stats.text_tally import LeastTexts


@dataclass(frozen=True, eq=False)
class GridCounts(State):
    """The rows of a window on the grids of a reference. Windows merge to hours, days and months.

    Attributes
    ----------
    grids : the digest of the grids; only counts on the same ones merge.
    rows : how many there are.
    counts : int64, the vectors of all measures one after the other; see `stats/grids.py`.
    ends : float64 of shape (2, measures): the least and the largest value; infinity and minus infinity of
        none.
    slices : int64 of shape (slices, cells): for each measure the missing values, then coarser cells.
    slice_rows : int64 of shape (slices,).
    joint : int64 of shape (parts of the label, parts of the prediction).
    schema : the types of each column that came, by name.
    novel : examples of texts that the reference has not, one for each measure of text.
    """

    grids: str
    rows: int
    counts: np.ndarray
    ends: np.ndarray
    slices: np.ndarray
    slice_rows: np.ndarray
    joint: np.ndarray
    schema: dict[str, list[str]]
    novel: tuple[LeastTexts, ...]

    def merge(self, other: GridCounts) -> GridCounts:
        if self.grids != other.grids:
            raise ParameterError(
                "These windows were counted on the grids of different references, so they do not add up. "
                "Count both with the same reference."
            )
        ends = np.stack([np.minimum(self.ends[0], other.ends[0]), np.maximum(self.ends[1], other.ends[1])])
        return replace(
            self,
            rows=self.rows + other.rows,
            counts=self.counts + other.counts,
            ends=ends,
            slices=self.slices + other.slices,
            slice_rows=self.slice_rows + other.slice_rows,
            joint=self.joint + other.joint,
            schema=_joined(self.schema, other.schema),
            novel=tuple(a.merge(b) for a, b in zip(self.novel, other.novel, strict=True)),
        )


def _joined(left: dict[str, list[str]], right: dict[str, list[str]]) -> dict[str, list[str]]:
    if left == right:
        return left
    names = sorted({*left, *right})
    return {name: sorted({*left.get(name, ()), *right.get(name, ())}) for name in names}


def packed(numbers: np.ndarray) -> np.ndarray:
    """Whole numbers in as few bytes as hold them."""
    if not len(numbers):
        return numbers.astype(np.uint8)
    low, high = int(numbers.min()), int(numbers.max())
    for kind in ("uint8", "uint16", "uint32", "int64"):
        limits: Any = np.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            return numbers.astype(kind)
    return numbers
