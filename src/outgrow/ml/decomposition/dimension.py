"""How many principal components there are, guessed from their variances."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

_TINY = 1e-15


def minka(variances: np.ndarray, rows: float) -> int:
    """The dimension of greatest evidence (Minka 2000, "Automatic choice of dimensionality for PCA").

    Parameters
    ----------
    variances : ndarray of shape (columns,), falling.
    rows : how many the variances are of.
    """
    evidence = [-np.inf, *(_evidence(variances, rank, rows) for rank in range(1, len(variances)))]
    return int(np.argmax(evidence))


def _evidence(variances: np.ndarray, rank: int, rows: float) -> float:
    """The logarithm of the evidence of so many components."""
    width = len(variances)
    if variances[rank - 1] < _TINY:
        return -np.inf
    inner = np.arange(1, rank + 1)
    uniform = -rank * np.log(2.0) + np.sum(
        gammaln((width - inner + 1) / 2.0) - np.log(np.pi) * (width - inner + 1) / 2.0
    )
    own = -np.sum(np.log(variances[:rank])) * rows / 2.0
    noise = max(_TINY, float(variances[rank:].sum()) / (width - rank))
    rest = -np.log(noise) * rows * (width - rank) / 2.0
    free = width * rank - rank * (rank + 1.0) / 2.0
    spectrum = variances.copy()
    spectrum[rank:] = noise
    i, j = np.triu_indices(width, 1)
    few = i < rank
    i, j = i[few], j[few]
    hessian = np.sum(
        np.log((variances[i] - variances[j]) * (1.0 / spectrum[j] - 1.0 / spectrum[i])) + np.log(rows)
    )
    constant = np.log(2.0 * np.pi) * (free + rank) / 2.0
    return float(uniform + own + rest + constant - hessian / 2.0 - rank * np.log(rows) / 2.0)
