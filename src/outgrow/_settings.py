"""Whether a setting is a number: never a text, or a truth value that would pass for one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def is_whole(value: Any, least: int = 1) -> bool:
    """Whether a value is a whole number, and at least some other.

    Parameters
    ----------
    value : anything.
    least : the smallest that may be.

    Examples
    --------
    >>> [is_whole(value) for value in (3, 0, 2.0, True, "3")]
    [True, False, False, False, False]
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and bool(value >= least)


def is_real(value: Any) -> bool:
    """Whether a value is a finite number.

    Parameters
    ----------
    value : anything.

    Examples
    --------
    >>> [is_real(value) for value in (3, 0.5, float("inf"), float("nan"), True, "3")]
    [True, True, False, False, False, False]
    """
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return number and math.isfinite(value)
