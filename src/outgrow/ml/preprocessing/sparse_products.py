"""Products of the stored numbers of sparse rows: all up to a degree, without a look at the zeros."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import comb
from typing import Any

import numpy as np
import scipy.sparse as sp


def sparse_products(X: Any, least: int, most: int, interaction_only: bool, bias: bool) -> Any:
    """The products of each row, in scikit-learn's order.

    Parameters
    ----------
    X : CSR, of shape (rows, width).
    least, most : how many factors a product has.
    interaction_only : each column is a factor at most once.
    bias : begin with a column of ones.

    Returns
    -------
    CSR array; work and memory are in proportion to what it stores.
    """
    X = sp.csr_array(X, copy=True)
    X.sum_duplicates()
    blocks = [sp.csr_array(np.ones((X.shape[0], 1)))] * bias
    blocks += [
        block
        for degree, block in enumerate(_by_degree(X, most, interaction_only), start=1)
        if degree >= least
    ]
    return sp.hstack(blocks, format="csr") if blocks else sp.csr_array((X.shape[0], 0))


def _by_degree(X: Any, most: int, interaction_only: bool) -> Iterator[Any]:
    """The products of each degree; those of a degree are made of those with a factor less.

    A product knows the place of its last factor among what is stored: the next ones stand behind it in the
    row, or there, too.
    """
    stored = np.arange(len(X.data))
    row = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
    end = X.indptr[1:][row]
    last, values, factors = stored, X.data, [X.indices.astype(np.int64)]
    for degree in range(1, most + 1):
        if degree > 1:
            first = last + interaction_only
            parent, last = _spans(first, end[last] - first)
            values = values[parent] * X.data[last]
            factors = [*(factor[parent] for factor in factors), X.indices[last].astype(np.int64)]
        ends = np.concatenate([[0], np.cumsum(np.bincount(row[last], minlength=X.shape[0]))])
        places, count = _ranks(factors, X.shape[1], interaction_only)
        yield sp.csr_array((values, places, ends), shape=(X.shape[0], count))


def _spans(first: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers from each first one on, as many as its length says, and to which of these each belongs."""
    owner = np.repeat(np.arange(len(first)), lengths)
    before = np.cumsum(lengths) - lengths
    return owner, np.arange(len(owner)) + (first - before)[owner]


def _ranks(factors: Sequence[np.ndarray], width: int, interaction_only: bool) -> tuple[np.ndarray, int]:
    """The places of products among all of their degree, in lexicographic order, and how many these are."""
    degree = len(factors)
    places = np.zeros(len(factors[0]), dtype=np.int64)
    start: Any = 0
    for known, factor in enumerate(factors):
        ways = _ways(degree - known, width, interaction_only)
        places += ways[start] - ways[factor]
        start = factor + interaction_only
    return places, int(_ways(degree, width, interaction_only)[0])


def _ways(degree: int, width: int, interaction_only: bool) -> np.ndarray:
    """How many products of a degree there are of the columns from each one on."""
    left = range(width, -1, -1)
    counts = [comb(n, degree) if interaction_only else comb(n + degree - 1, degree) for n in left]
    return np.array(counts, dtype=np.int64)
