"""Two models on the same rows: sums of the differences of their losses, and bounds that allow peeking."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from outgrow.stats.state import State

TUNED_ROWS = 2_000
"""The bounds are the tightest that this kind has at so many rows; they hold at every number of rows."""


@dataclass(frozen=True, eq=False)
class PairedDifferences(State):
    """Differences d between two losses of the same rows, by slice.

    Attributes
    ----------
    slices : names of the slices, sorted; a row may count in several, and no slice is named twice.
    sums : ndarray of shape (slices, 3): rows, sum of d, sum of d².
    """

    slices: tuple[str, ...]
    sums: np.ndarray

    @classmethod
    def of(cls, differences: np.ndarray, slices: dict[str, np.ndarray]) -> PairedDifferences:
        """The state of rows.

        Parameters
        ----------
        differences : ndarray of shape (rows,).
        slices : by name, which rows are in it: boolean arrays of shape (rows,).
        """
        names = tuple(sorted(slices))
        sums = np.zeros((len(names), 3))
        for index, name in enumerate(names):
            rows = differences[slices[name]]
            sums[index] = len(rows), rows.sum(), rows @ rows
        return cls(names, sums)

    def merge(self, other: PairedDifferences) -> PairedDifferences:
        if self.slices == other.slices:
            return PairedDifferences(self.slices, self.sums + other.sums)
        names = tuple(sorted({*self.slices, *other.slices}))
        sums = np.zeros((len(names), 3))
        for state in (self, other):
            sums[np.searchsorted(np.array(names, dtype=object), state.slices)] += state.sums
        return PairedDifferences(names, sums)

    def slice(self, name: str) -> Differences:
        """What is known of a slice; of one that no row was in, nothing."""
        if name not in self.slices:
            return Differences(0, 0.0, 0.0)
        rows, total, squares = self.sums[self.slices.index(name)]
        return Differences(int(rows), float(total), float(squares))


@dataclass(frozen=True)
class Differences:
    """The sums of some differences d.

    Attributes
    ----------
    rows, total, squares : how many, the sum of d, the sum of d².
    """

    rows: int
    total: float
    squares: float

    @property
    def mean(self) -> float:
        """NaN of no rows."""
        return self.total / self.rows if self.rows else math.nan

    @property
    def variance(self) -> float:
        """With n - 1 below; NaN of fewer than two rows."""
        if self.rows < 2:
            return math.nan
        return max(self.squares - self.total**2 / self.rows, 0.0) / (self.rows - 1)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Bounds of the mean, each right with `confidence` at all numbers of rows at once.

        Notes
        -----
        A confidence sequence: whoever looks after each row and stops when the bound suits errs no more often
        than 1 - confidence. It is that of a normal mixture with the variance estimated (Waudby-Smith, Arbour,
        Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences",
        Annals of Statistics 2024), which holds as rows grow: ask for some hundred before the first look.
        """
        if self.rows < 2:
            return -math.inf, math.inf
        n, alpha = self.rows, 1 - confidence
        spread = mixture(alpha, TUNED_ROWS)
        inside = n * spread + 1
        width = math.sqrt(2 * inside / (n * n * spread) * math.log1p(math.sqrt(inside) / (2 * alpha)))
        margin = math.sqrt(self.variance) * width
        return self.mean - margin, self.mean + margin

    def p_above(self, bound: float) -> float:
        """How likely so large a mean is where the true one is at most `bound`, by the normal law."""
        if self.rows < 2:
            return 1.0
        error = math.sqrt(self.variance / self.rows)
        if error == 0.0:
            return 0.0 if self.mean > bound else 1.0
        return float(special.ndtr(-(self.mean - bound) / error))


def mixture(alpha: float, rows: int) -> float:
    """The variance of the mixing normal law that makes the bounds tight at a number of rows.

    Parameters
    ----------
    alpha : how often the bounds may be wrong.
    rows : the number.
    """
    loss = -2 * math.log(2 * alpha) if alpha < 0.5 else 1.0
    return (loss + math.log1p(loss)) / rows


@dataclass(frozen=True, eq=False)
class GroupOutcomes(State):
    """How often each group of people is predicted, and is, of the positive class.

    Attributes
    ----------
    groups : names of the groups, sorted.
    counts : ndarray of shape (groups, 2, 2): rows by whether they are, and are predicted, positive.
    """

    groups: tuple[str, ...]
    counts: np.ndarray

    @classmethod
    def of(cls, groups: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> GroupOutcomes:
        """The state of rows.

        Parameters
        ----------
        groups : names, of shape (rows,).
        truth, predicted : whether a row is, and is predicted, positive; boolean, of shape (rows,).
        """
        names, index = np.unique(groups.astype(str), return_inverse=True)
        cells = index * 4 + truth.astype(np.intp) * 2 + predicted.astype(np.intp)
        counts = np.bincount(cells, minlength=4 * len(names)).astype(np.float64)
        return cls(tuple(names.tolist()), counts.reshape(len(names), 2, 2))

    def merge(self, other: GroupOutcomes) -> GroupOutcomes:
        names = tuple(sorted({*self.groups, *other.groups}))
        counts = np.zeros((len(names), 2, 2))
        for state in (self, other):
            counts[[names.index(group) for group in state.groups]] += state.counts
        return GroupOutcomes(names, counts)

    def rows(self) -> dict[str, int]:
        """How many rows each group has."""
        return dict(zip(self.groups, self.counts.sum(axis=(1, 2)).astype(int).tolist(), strict=True))

    def differences(self, least_rows: int = 1) -> dict[str, float]:
        """`demographic_parity_difference` and `equalized_odds_difference`, as fairlearn has them.

        The first is the largest difference between two groups in how many are predicted positive; the second
        is the larger of those in the true positive rate and in the false positive rate.

        Parameters
        ----------
        least_rows : groups of fewer rows are left out.

        Returns
        -------
        NaN where fewer than two groups are left, or, of the second, where a group has rows of one class only.
        """
        counts = self.counts[self.counts.sum(axis=(1, 2)) >= max(least_rows, 1)]
        if len(counts) < 2:
            return {"demographic_parity_difference": math.nan, "equalized_odds_difference": math.nan}
        selected = counts[:, :, 1].sum(axis=1) / counts.sum(axis=(1, 2))
        with np.errstate(invalid="ignore"):
            rates = counts[:, :, 1] / counts.sum(axis=2)
        return {
            "demographic_parity_difference": float(np.ptp(selected)),
            "equalized_odds_difference": float(np.ptp(rates, axis=0).max()),
        }
