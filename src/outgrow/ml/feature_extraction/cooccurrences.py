"""Vectors of words from how often they stand near each other.

After Levy and Goldberg (2014), "Neural word embedding as implicit matrix factorization": the singular vectors
of the positive pointwise mutual information of words and neighbours, less the logarithm of how many negative
samples a skip-gram model would draw. Contexts are smoothed, and near ones count more, as in Levy, Goldberg
and Dagan (2015), "Improving distributional similarity with lessons learned from word embeddings".
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import scipy.linalg
import scipy.sparse as sp

from outgrow.ml.decomposition.krylov import Krylov
from outgrow.ml.decomposition.projection import signed
from outgrow.ml.feature_extraction.documents import Documents
from outgrow.stats.number_counts import NumberCounts

_DENSE = 1024
"""Words up to which the matrix is decomposed as a dense one."""
_TOL = 1e-5
_LEAST = 1e-6
"""Smaller singular values, as a share of the largest, are taken for zeros: they may be but rounding."""


def cooccurrences(documents: Documents, words: int, window: int) -> NumberCounts:
    """How often words stand near each other: neighbours count `window`, the next but one less, and so on.

    The numbers are whole, so their sums are the same in any order.

    Parameters
    ----------
    documents : some of them.
    words : how many different words there are.
    window : how far apart words may stand.

    Returns
    -------
    The counts of `a * words + b` for words a <= b.
    """
    near = [documents.neighbours(apart) for apart in range(1, window + 1)]
    keys = [np.minimum(a, b) * np.int64(words) + np.maximum(a, b) for a, b in near]
    weights = np.repeat(np.arange(window, 0, -1, dtype=np.float64), [len(part) for part in keys])
    encoded = pa.array(np.concatenate(keys)).dictionary_encode()
    numbers = encoded.dictionary.to_numpy()
    sums = np.bincount(encoded.indices.to_numpy(), weights, len(numbers))
    return NumberCounts(numbers, sums, len(numbers), np.zeros(1))


def information(pairs: NumberCounts, words: int, negative: int, exponent: float) -> Any:
    """The positive pointwise mutual information of words and neighbours, shifted.

    Parameters
    ----------
    pairs : all `cooccurrences`.
    words : how many different words there are.
    negative : its logarithm is the shift.
    exponent : smooths how frequent neighbours are.

    Returns
    -------
    CSR array of shape (words, words).
    """
    once = pairs.compact()
    a, b = np.divmod(once.numbers, words)
    half = sp.csr_array((once.weights, (a, b)), shape=(words, words))
    found = sp.coo_array(half + half.T)
    row, column, totals = found.coords[0], found.coords[1], found.sum(axis=1)
    smooth = np.zeros(words)
    smooth[totals > 0] = totals[totals > 0] ** exponent
    expected = totals[row] * (smooth / (smooth.sum() or 1.0))[column]
    values = np.log(found.data / expected) - np.log(negative)
    kept = values > 0
    made = sp.csr_array((values[kept], (row[kept], column[kept])), shape=(words, words))
    made.sort_indices()
    return made


def singular_vectors(X: Any, size: int, seed: int) -> np.ndarray:
    """The left singular vectors of the largest singular values, each times the root of its value.

    Parameters
    ----------
    X : square CSR array.
    size : how many; those that are not there, or whose values are next to nothing, are zeros.
    seed : of the directions to start from where X is large.

    Returns
    -------
    Shape (rows, size).
    """
    count = min(size, X.shape[0])
    if X.shape[0] <= _DENSE:
        left, values, _ = scipy.linalg.svd(X.toarray(), check_finite=False)
        directions, values = left.T[:count], values[:count]
    else:
        krylov = Krylov(tol=_TOL, seed=seed)
        squares, directions = krylov.leading(lambda block: X @ (X.T @ block), X.shape[0], count)
        values = np.sqrt(squares)
    values = np.where(values > _LEAST * values[0], values, 0.0)
    made = np.zeros((X.shape[0], size))
    made[:, :count] = (signed(directions) * np.sqrt(values)[:, None]).T
    return made
