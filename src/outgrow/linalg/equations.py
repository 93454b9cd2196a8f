"""Linear equations whose rows are a dataset: least squares, and square systems."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg

from outgrow.engine.dataset import Dataset
from outgrow.engine.open import is_spark
from outgrow.errors import DataError, ParameterError
from outgrow.linalg.factors import dependent, reciprocal_condition
from outgrow.linalg.products import WIDEST, check_width, triangle
from outgrow.linalg.rows import RowMatrix, as_rows, beside, with_columns
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import Number
from outgrow.ml.solvers.least_squares import shortest
from outgrow.stats.triangle import Triangle

_EPS = float(np.finfo(np.float64).eps)
_WIDE = "Take og.Ridge or og.LinearRegression, which need no triangular factor"


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """What minimises ||A x - b||.

    Attributes
    ----------
    x : ndarray of shape (columns,), or (columns, right sides).
    residuals : the sum of squares that is left, a number or of shape (right sides,).
    rank : of A, its columns taken at equal length.
    singular_values : ndarray of A's.
    """

    x: np.ndarray
    residuals: Any
    rank: int
    singular_values: np.ndarray


def lstsq(A: Any, b: Any, columns: Columns = None, *, alpha: float = 0.0) -> LeastSquares:
    """The x for which A x is nearest to b, from one pass; the shortest where there are many.

    The rows of [A, b] are merged into one triangular factor, so the condition number is not squared, as it is
    by normal equations.

    Parameters
    ----------
    A : a `RowMatrix`, or what `og.linalg.row_matrix` takes.
    b : the right side: a column's name in the rows of A, or several; a `RowMatrix` with the same rows; or for
        A in memory an array of shape (rows,) or (rows, right sides).
    columns : as `og.linalg.row_matrix` takes them; by default all numbers but b.
    alpha : what each squared number of x costs, as ridge regression has it.

    Raises
    ------
    DataError
        When a value is missing or infinite, or there are more than 4,096 columns.

    Notes
    -----
    Unlike NumPy: which columns depend on others is judged with all at the same length, so units do not
    matter; `residuals` are always there.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> A = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [3.0, 1.0]])
    >>> found = og.linalg.lstsq(A, np.array([-1.0, 0.2, 0.9, 2.1]))
    >>> found.x.round(6).tolist(), found.rank
    ([1.0, -0.95], 2)
    """
    Number(low=0).check("lstsq", "alpha", alpha)
    matrix, right, single = _sides(A, b, columns)
    check_width(matrix, WIDEST, "Triangular factors", _WIDE)
    factor, _ = _joint_factor(matrix, right)
    width = factor.shape[1] - right_width(right)
    top, rest = factor[:width], factor[width:, width:]
    R, targets = top[:, :width], top[:, width:]
    lengths = np.linalg.norm(R, axis=0)
    scale = np.where(lengths > 0, lengths, 1.0)
    x = np.column_stack([_solved(R, target, scale, alpha) for target in targets.T])
    left = ((R @ x - targets) ** 2).sum(axis=0) + (rest**2).sum(axis=0)
    values = scipy.linalg.svd(R / scale, compute_uv=False)
    rank = int((values > 8 * max(R.shape) * _EPS * values.max(initial=0.0)).sum())
    return LeastSquares(
        x[:, 0] if single else x,
        float(left[0]) if single else left,
        rank,
        scipy.linalg.svd(R, compute_uv=False),
    )


def right_width(right: RowMatrix) -> int:
    """How many right sides there are."""
    return len(right.columns)


def _solved(R: np.ndarray, target: np.ndarray, scale: np.ndarray, alpha: float) -> np.ndarray:
    """The least squares solution of the rows of a triangular factor."""
    if alpha:
        root = np.sqrt(alpha)
        whole = np.vstack([np.column_stack([R, target]), np.eye(R.shape[1], R.shape[1] + 1) * root])
        made = Triangle.of(whole).factor
        R, target = made[: R.shape[1], :-1], made[: R.shape[1], -1]
        scale = np.linalg.norm(R, axis=0)
    # of columns at the same length
    solution = shortest(R / scale, target, scale, 0.0)
    if solution is not None:
        return solution
    return np.asarray(scipy.linalg.solve_triangular(R, target, check_finite=False))


def solve(A: Any, b: Any, columns: Columns = None) -> np.ndarray:
    """The x for which A x = b, of a square matrix: one pass.

    Parameters
    ----------
    A : a `RowMatrix`, or what `og.linalg.row_matrix` takes, with as many rows as columns, in any order.
    b : the right side, as `lstsq` takes it.
    columns : as `og.linalg.row_matrix` takes them; by default all numbers but b.

    Returns
    -------
    ndarray of shape (columns,), or (columns, right sides).

    Raises
    ------
    DataError
        When A is not square, or singular to rounding: it names columns that depend on others.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"x": [3.0, 1.0], "y": [1.0, 2.0], "b": [9.0, 8.0]})
    >>> og.linalg.solve(rows, "b").round(6).tolist()
    [2.0, 3.0]
    """
    matrix, right, single = _sides(A, b, columns)
    check_width(matrix, WIDEST, "Triangular factors", _WIDE)
    factor, rows = _joint_factor(matrix, right)
    width = factor.shape[1] - right_width(right)
    if rows != width:
        raise DataError(
            f"solve takes as many rows as columns; there are {rows} rows and {width} columns. What is "
            "nearest to a solution is og.linalg.lstsq."
        )
    R = factor[:width, :width]
    if not reciprocal_condition(R) > _EPS:
        raise DataError(f"The matrix is singular. {dependent(R, matrix.columns)}")
    x = np.asarray(scipy.linalg.solve_triangular(R, factor[:width, width:], check_finite=False))
    return x[:, 0] if single else x


def _joint_factor(matrix: RowMatrix, right: RowMatrix) -> tuple[np.ndarray, int]:
    """The triangular factor of [A, b], and the number of rows, from one pass."""
    both = replace(matrix, names=(*matrix.names, *right.names))
    made, rows = both.reduce(_counted_triangle)
    return made.factor, int(rows[0])


def _counted_triangle(X: Any) -> tuple[Triangle | None, np.ndarray]:
    return triangle(X), np.array([float(X.shape[0])])


def _sides(A: Any, b: Any, columns: Columns) -> tuple[RowMatrix, RowMatrix, bool]:
    """A and b as matrices over one dataset, and whether b is one column by itself."""
    if isinstance(b, RowMatrix):
        left, right = beside(as_rows(A, columns), b)
        return left, right, False
    if isinstance(b, str) or (isinstance(b, list | tuple) and b and all(isinstance(n, str) for n in b)):
        names = (b,) if isinstance(b, str) else tuple(b)
        matrix = as_rows(A, columns, without=names)
        return matrix, matrix.select(*names), isinstance(b, str)
    return _with_array(A, np.asarray(b), columns)


def _with_array(A: Any, b: np.ndarray, columns: Columns) -> tuple[RowMatrix, RowMatrix, bool]:
    if isinstance(A, RowMatrix | Dataset) or is_spark(A):
        raise ParameterError(
            "The right side of a dataset is a column of it, by name, or a RowMatrix with the same index; an "
            "array has no rows that belong to its rows."
        )
    if b.ndim not in (1, 2) or b.dtype.kind not in "biuf":
        raise ParameterError(
            f"b is an array of {b.ndim} dimensions of {b.dtype}: give numbers, one for each row."
        )
    flat = np.asarray(b[:, None] if b.ndim == 1 else b, dtype=np.float64)
    rows, names = with_columns(A, flat, "b")
    matrix = as_rows(rows, columns, without=names)
    return matrix, matrix.select(*names), b.ndim == 1
