"""How strongly groups and numbers, or two kinds of groups, go together, read from their states."""

from __future__ import annotations

import numpy as np


def correlation_ratio(n: np.ndarray, mean: np.ndarray, m2: np.ndarray) -> float:
    """The root of the share of a number's variance that lies between groups.

    Parameters
    ----------
    n, mean, m2 : of the groups, as `GroupedMoments` has them.
    """
    total = n.sum()
    if not total or np.count_nonzero(n) < 2:
        return float("nan")
    mean = np.where(n > 0, mean, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        between = (n * (mean - (n * mean).sum() / total) ** 2).sum()
        spread = between + m2.sum()
    return float(np.sqrt(between / spread)) if 0 < spread < np.inf else float("nan")


def cramers_v(table: np.ndarray) -> float:
    """Cramer's V of a table of counts: of its lines that are not empty."""
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0].astype(np.float64)
    least = min(table.shape) - 1 if table.size else 0
    if least < 1:
        return float("nan")
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return float(np.sqrt(((table - expected) ** 2 / expected).sum() / table.sum() / least))
