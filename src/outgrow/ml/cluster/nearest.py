"""The nearest centers of rows, by compiled code where that pays."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.data.matrix import is_sparse
from outgrow.errors import MissingExtraError
from outgrow.ml.cluster.centers import Centers

WORTH = 1 << 21
"""So many products of numbers are worth the time it takes to load what was compiled."""


def compiled(products: float) -> ModuleType | None:
    """The kernels, where they are worth it and Numba is installed; else NumPy does the same.

    Parameters
    ----------
    products : how many numbers of rows and centers are to be multiplied.
    """
    if products < WORTH:
        return None
    try:
        optional("numba", "fast")
    except MissingExtraError:
        return None
    from outgrow.ml.cluster import bounded

    return bounded


def closest(centers: Centers, X: Any) -> np.ndarray:
    """The index of the center of each row.

    Parameters
    ----------
    centers : among which to choose.
    X : shape (rows, width), dense or CSR.
    """
    stored = X.nnz if is_sparse(X) else X.size
    kernels = compiled(stored * len(centers.exact))
    labels: np.ndarray = centers.closest(X) if kernels is None else kernels.closest(centers, X)
    return labels
