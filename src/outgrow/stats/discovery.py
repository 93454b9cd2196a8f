"""False discoveries: of many tests at once, which are still worth a word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def q_values(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's (1995) adjusted p-values.

    Of all tests with q up to a level, that share is false in the mean, where the tests do not depend on each
    other or depend positively.

    Parameters
    ----------
    p_values : one for each test; NaN is no test.

    Returns
    -------
    Of as many; NaN where there was none.

    Examples
    --------
    >>> q_values([0.01, 0.02, 0.5, float("nan")]).round(3).tolist()
    [0.03, 0.03, 0.5, nan]
    """
    p = np.asarray(p_values, dtype=np.float64)
    q = np.full(len(p), np.nan)
    tests = np.flatnonzero(~np.isnan(p))
    order = tests[np.argsort(p[tests], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    q[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return q
