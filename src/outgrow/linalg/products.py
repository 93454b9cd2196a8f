"""Products of the columns of tall matrices, and their triangular factors."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.data.matrix import is_sparse
from outgrow.errors import DataError
from outgrow.linalg.rows import RowMatrix, as_rows
from outgrow.ml.core.columns import Columns
from outgrow.stats.triangle import Triangle

WIDEST_PRODUCTS = 16_384
"""Columns whose products, 2 GB, are held."""
WIDEST = 4096
"""Columns of triangular factors."""
_TILE_VALUES, _TALL = 1 << 18, 8


def gram(A: Any, columns: Columns = None) -> np.ndarray:
    """The products of the columns of a matrix, A'A: one pass.

    Parameters
    ----------
    A : a `RowMatrix`, or what `og.linalg.row_matrix` takes.
    columns : as `og.linalg.row_matrix` takes them.

    Returns
    -------
    ndarray of shape (columns, columns).

    Raises
    ------
    DataError
        When a value is missing or infinite, or there are more than 16,384 columns.

    Notes
    -----
    Unlike Spark MLlib's `computeGramianMatrix()`: up to 16,384 columns, and of columns far from 0 take
    `og.stats.cov`, which loses no digits.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.linalg.gram(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[10.0, 14.0], [14.0, 20.0]]
    """
    matrix = as_rows(A, columns)
    check_width(matrix, WIDEST_PRODUCTS, "Products of all columns")
    return matrix.T @ matrix


def check_width(matrix: RowMatrix, most: int, what: str, advice: str = "Choose fewer columns") -> None:
    """Refuse matrices that are too wide.

    Parameters
    ----------
    matrix : not looked at but for its columns.
    most : how many may be.
    what : begins the message.
    advice : ends it.
    """
    width = len(matrix.columns)
    if width > most:
        raise DataError(f"{what} take up to {most:,} columns; there are {width:,}. {advice}.")


def triangle(X: Any) -> Triangle | None:
    """The triangular factor of rows, some of them at a time.

    Parameters
    ----------
    X : shape (rows, columns), dense or CSR.
    """
    step = max(_TILE_VALUES // X.shape[1], _TALL * X.shape[1])
    total: Triangle | None = None
    for start in range(0, X.shape[0], step):
        part = X[start : start + step]
        made = Triangle.of(part.toarray() if is_sparse(part) else part)
        total = made if total is None else total.merge(made)
    return total
