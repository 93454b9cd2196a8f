"""What rows weigh, and what does not count: a term past all numbers times a weight of 0 would be none."""

from __future__ import annotations

import numpy as np


def idle_rows(weight: np.ndarray) -> np.ndarray | None:
    """Where rows weigh nothing; None where all weigh something, as nearly always.

    Parameters
    ----------
    weight : ndarray of any shape, of at least 0.
    """
    return None if weight.min(initial=1.0) > 0 else weight == 0


def weighed(terms: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """The terms of rows times what the rows weigh: 0 for those that weigh nothing, however large the term.

    Parameters
    ----------
    terms : ndarray of shape (rows,).
    weight : ndarray of shape (rows,); None where every row weighs one.
    """
    if weight is None:
        return terms
    idle = idle_rows(weight)
    return (terms if idle is None else np.where(idle, 0.0, terms)) * weight
