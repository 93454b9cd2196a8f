"""What is asked of rows before clusters are sought in them."""

from __future__ import annotations

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.errors import DataError
from outgrow.stats.moments import Moments, check_small_squares


@np.errstate(over="ignore", invalid="ignore")  # `check_squares` says so
def moments_of(block: Block) -> Moments:
    """The moments of the columns of a block."""
    return Moments.of(block.X, block.weight)


def check_squares(moments: Moments) -> None:
    """Refuse columns whose squared distances are beyond float64.

    Parameters
    ----------
    moments : of the columns.

    Raises
    ------
    DataError
        When their squares are not finite.
    """
    wide = np.flatnonzero(~np.isfinite(moments.m2))
    if len(wide):
        raise DataError(
            f"Feature(s) number {wide[:5].tolist()} hold values so far apart that the squares of their "
            "distances overflow float64. Scale them, for instance with StandardScaler or by a constant."
        )
    check_small_squares(moments.m2, moments.m2 > 0)
