"""All rows of a fit, brought together in an order that no partitioning changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outgrow.engine.memory import describe_size
from outgrow.errors import DataError
from outgrow.stats.state import State

MOST_NUMBERS = 1 << 28
"""Numbers of all rows that a model holds."""
_NEAREST = 1e-292
"""Sums of powers of differences below this have lost digits, or all of them."""
_COPIES = 2
"""As which all rows are in memory at once: as they came, and in order."""


@dataclass(frozen=True, eq=False)
class RowParts(State):
    """Rows as they came, and the hash of each.

    Attributes
    ----------
    rows : list of ndarrays of shape (rows, width).
    keys : list of uint64 arrays of shape (rows,).
    """

    rows: list[np.ndarray]
    keys: list[np.ndarray]

    def merge(self, other: RowParts) -> RowParts:
        return RowParts([*self.rows, *other.rows], [*self.keys, *other.keys])

    def in_order(self) -> np.ndarray:
        """All rows, by their hashes, and those of one hash by their numbers, from the last column on."""
        rows, keys = np.concatenate(self.rows), np.concatenate(self.keys)
        ordered: np.ndarray = rows[row_order(rows, keys)]
        return ordered


def row_order(rows: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """The places of rows in the order in which `RowParts.in_order` has them.

    Parameters
    ----------
    rows : shape (rows, width).
    keys : uint64 of shape (rows,), their hashes.
    """
    order = np.argsort(keys, kind="stable")
    known = keys[order]
    again = np.zeros(len(known), dtype=bool)
    again[1:] = known[1:] == known[:-1]
    again[:-1] |= again[1:]
    alike = order[again]
    order[again] = alike[np.lexsort((*rows[alike].T, keys[alike]))]
    return order


def check_extent(rows: np.ndarray, power: float) -> None:
    """Refuse rows so far apart that what distances are summed of is past all numbers.

    Parameters
    ----------
    rows : shape (rows, width).
    power : of the metric, by which differences are raised; infinite for the largest of them.

    Raises
    ------
    DataError
        When they are.
    """
    with np.errstate(over="ignore"):
        span = np.ptp(rows, axis=0)
        far = span if power == np.inf else span**power * len(span)
    if not np.isfinite(far).all():
        wide = np.flatnonzero(~np.isfinite(far))[:5].tolist()
        raise DataError(
            f"Feature(s) number {wide} hold values so far apart that their distances overflow float64. "
            "Scale them, for instance with RobustScaler or by a constant."
        )
    if span.max(initial=0.0) > 0 and far.max(initial=0.0) < _NEAREST:
        raise DataError(
            f"All rows lie so near each other, at most {span.max():g} in a feature, that their distances "
            "are too small for float64. Multiply the columns by a constant."
        )


def check_size(rows: int, width: int, who: str, budget: int) -> None:
    """Refuse more numbers than a model holds, or than fit into memory.

    Parameters
    ----------
    rows, width : of the fit.
    who : the class that the error names.
    budget : the least of a rank, in bytes, so that all ranks refuse alike.

    Raises
    ------
    DataError
        When there are too many.
    """
    if rows * width > MOST_NUMBERS:
        raise DataError(
            f"{who} keeps all rows of its fit: {rows} of {width} columns are {rows * width} numbers, of "
            f"which {MOST_NUMBERS} are held. Fit it on a sample, or make the columns fewer with PCA."
        )
    needed = _COPIES * 8 * rows * width
    if needed > budget:
        raise DataError(
            f"{who} keeps all rows of its fit: {rows} of {width} columns need about {describe_size(needed)} "
            f"in each task, of a budget of {describe_size(budget)}. Raise the memory of the engine, fit it "
            "on a sample, or make the columns fewer with PCA."
        )
