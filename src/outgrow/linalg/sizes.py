"""How large matrices are: norms, condition numbers, ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from outgrow.data.matrix import is_sparse
from outgrow.errors import DataError, ParameterError
from outgrow.linalg.entries import CoordinateMatrix
from outgrow.linalg.factors import svd
from outgrow.linalg.products import WIDEST, check_width, triangle
from outgrow.linalg.rows import RowMatrix, as_rows
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import Number
from outgrow.stats.extremes import Extremes

_EPS = float(np.finfo(np.float64).eps)
_ORDERS = (None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)


def norm(A: Any, ord: Any = None, columns: Columns = None) -> float:
    """A norm of a matrix, as `numpy.linalg.norm` has it: one pass.

    Parameters
    ----------
    A : a `RowMatrix`, a `CoordinateMatrix`, or what `og.linalg.row_matrix` takes.
    ord : 'fro' or None for the root of the sum of squares; 1 and inf for the largest sum of a column's and
        of a row's sizes, -1 and -inf for the smallest; 2 and -2 for the largest and smallest singular value;
        'nuc' for the sum of all of them.
    columns : as `og.linalg.row_matrix` takes them.

    Raises
    ------
    DataError
        When a value is missing or infinite, or squares overflow.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> A = np.array([[3.0, -4.0], [0.0, 0.0]])
    >>> og.linalg.norm(A), og.linalg.norm(A, 1), og.linalg.norm(A, np.inf)
    (5.0, 4.0, 7.0)
    """
    if ord not in _ORDERS:
        raise ParameterError(f"norm(ord={ord!r}): give one of {', '.join(map(repr, _ORDERS))}.")
    if isinstance(A, CoordinateMatrix):
        return A.norm(ord)
    matrix = as_rows(A, columns)
    if ord in (2, -2, "nuc"):
        return _of_singular_values(matrix, ord)
    if ord in (np.inf, -np.inf):
        extremes: Extremes = matrix.reduce(_row_sums)
        return float((extremes.high if ord > 0 else extremes.low)[0])
    if ord in (1, -1):
        sums = matrix.reduce(lambda X: np.asarray(abs(X).sum(axis=0), dtype=np.float64).ravel())
        return float(sums.max() if ord > 0 else sums.min())
    total = matrix.reduce(_squares)[0]
    if not np.isfinite(total):
        raise DataError("The squares of the numbers overflow. Divide the matrix by a number first.")
    return float(np.sqrt(total))


def _squares(X: Any) -> np.ndarray:
    values = X.data if is_sparse(X) else X
    with np.errstate(over="ignore"):
        return np.array([np.square(values).sum()])


def _row_sums(X: Any) -> Extremes:
    return Extremes.of(np.asarray(abs(X).sum(axis=1), dtype=np.float64).reshape(-1, 1))


def _of_singular_values(matrix: RowMatrix, ord: Any) -> float:
    if ord == 2:
        values = svd(matrix, 1, compute_u=False).s
        return float(values[0]) if len(values) else 0.0
    values = singular_values(matrix)
    return float(values.sum() if ord == "nuc" else values[-1])


def singular_values(matrix: RowMatrix) -> np.ndarray:
    """All singular values, zeros too, falling: one pass."""
    check_width(matrix, WIDEST, "All singular values")
    return np.asarray(scipy.linalg.svd(matrix.reduce(triangle).factor, compute_uv=False))


def cond(A: Any, columns: Columns = None) -> float:
    """The condition number of a matrix: its largest singular value by its smallest; one pass.

    Parameters
    ----------
    A : a `RowMatrix`, or what `og.linalg.row_matrix` takes.
    columns : as `og.linalg.row_matrix` takes them.

    Returns
    -------
    Infinity where the smallest is 0.

    Raises
    ------
    DataError
        When a value is missing or infinite, or there are more than 4,096 columns.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.linalg.cond(np.array([[2.0, 0.0], [0.0, 0.5], [0.0, 0.0]]))
    4.0
    """
    values = singular_values(as_rows(A, columns))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(values[0] / values[-1]) if values[0] > 0 else float("inf")


def matrix_rank(A: Any, tol: float | None = None, columns: Columns = None) -> int:
    """How many independent columns a matrix has: one pass.

    Parameters
    ----------
    A : a `RowMatrix`, or what `og.linalg.row_matrix` takes.
    tol : singular values up to this count as 0; None for the largest, times the number of rows or columns,
        times the spacing of float64, as NumPy has it.
    columns : as `og.linalg.row_matrix` takes them.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.linalg.matrix_rank(np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]))
    1
    """
    (Number(low=0) | None).check("matrix_rank", "tol", tol)
    matrix = as_rows(A, columns)
    values = singular_values(matrix)
    least = values[0] * max(matrix.shape) * _EPS if tol is None else tol
    return int((values > least).sum())
