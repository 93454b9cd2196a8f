"""QR and singular value decompositions of tall matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from scipy.linalg.lapack import dtrcon

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError, ParameterError
from outgrow.linalg.products import WIDEST, check_width, triangle
from outgrow.linalg.rows import RowMatrix, as_rows
from outgrow.linalg.steps import Factor, product
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import Integer, Number, OneOf
from outgrow.ml.decomposition.krylov import Krylov, column_moments, singular_directions
from outgrow.ml.decomposition.projection import signed
from outgrow.stats.triangle import Triangle

_EPS = float(np.finfo(np.float64).eps)
_WIDEST_SPARSE = 256
"""Columns up to which triangular factors of sparse rows take no longer than passes over them."""
_CLOSE = 1e-2
"""Singular values of at least this share of the largest give left vectors of full accuracy by themselves."""


@dataclass(frozen=True, eq=False)
class QR:
    """A = Q R.

    Attributes
    ----------
    Q : `RowMatrix` of orthonormal columns, computed when it is read; None where it was not wanted.
    R : ndarray of shape (min(rows, columns), columns), upper triangular, its diagonal at least 0.
    """

    Q: RowMatrix | None
    R: np.ndarray


@dataclass(frozen=True, eq=False)
class SVD:
    """A = U diag(s) V'.

    Attributes
    ----------
    U : `RowMatrix` of orthonormal columns, computed when it is read; None where it was not wanted.
    s : ndarray of shape (k,), the singular values, falling.
    V : ndarray of shape (columns, k), with orthonormal columns, the largest entry of each positive.
    """

    U: RowMatrix | None
    s: np.ndarray
    V: np.ndarray


def qr(A: Any, columns: Columns = None, *, mode: str = "reduced") -> QR:
    """The QR decomposition of a tall matrix: one pass for R, another for Q.

    Triangular factors of parts of the rows are merged (TSQR; Demmel, Grigori, Hoemmen and Langou 2012), so
    nothing is squared. Q is A R⁻¹ by substitution, divided by its own triangular factor once more, which
    makes its columns orthonormal to rounding (CholeskyQR2's idea; Fukaya et al. 2014).

    Parameters
    ----------
    A : a `RowMatrix`, or what `og.linalg.row_matrix` takes.
    columns : as `og.linalg.row_matrix` takes them.
    mode : 'reduced', or 'r' for R alone.

    Raises
    ------
    DataError
        When a value is missing or infinite, there are more than 4,096 columns, or, where Q is wanted, a
        column depends on others, or there are fewer rows than columns.

    Notes
    -----
    Unlike NumPy: the diagonal of R is at least 0, so that R is the same for any order of the rows; Q needs
    independent columns.

    Unlike Spark MLlib's `tallSkinnyQR(computeQ)`: R is not inverted, and Q is orthonormal where columns
    nearly depend on each other.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> found = og.linalg.qr(np.array([[3.0, 1.0], [4.0, 2.0], [0.0, 2.0]]))
    >>> found.R.round(6).tolist()
    [[5.0, 2.2], [0.0, 2.039608]]
    >>> Q = found.Q.to_numpy()
    >>> bool(np.allclose(Q.T @ Q, np.eye(2)))
    True
    """
    OneOf("reduced", "r").check("qr", "mode", mode)
    matrix = as_rows(A, columns)
    check_width(matrix, WIDEST, "Triangular factors", "Take svd(k=...), or fewer columns")
    if mode == "r":
        factor: Triangle = matrix.reduce(triangle)
        return QR(None, factor.factor)
    first, second = matrix.learn(_two_factors)
    _check_independent(first, matrix.columns)
    Q = matrix.times([Factor(first, divides=True), Factor(second, divides=True)], "q")
    return QR(Q, np.triu(second @ first))


def _two_factors(view: MatrixView) -> tuple[np.ndarray, np.ndarray]:
    """R of the rows, and that of the rows divided by it; nothing of the second where it is singular."""
    first = view.reduce(_block_triangle).factor
    if not reciprocal_condition(first) > _EPS:
        return first, np.zeros((0, first.shape[1]))
    return first, _factor_of_product(view, [Factor(first, divides=True)])


def _factor_of_product(view: MatrixView, factors: Sequence[Factor]) -> np.ndarray:
    """R of rows that were multiplied with factors."""
    made: Triangle = view.reduce(lambda block: triangle(product(block.X, factors)))
    return made.factor


def _block_triangle(block: Block) -> Triangle | None:
    return triangle(block.X)


def reciprocal_condition(factor: np.ndarray) -> float:
    """About one over the condition number of a triangular factor whose columns are given the same length.

    Parameters
    ----------
    factor : shape (some, columns); 0 where it has fewer rows than columns, or a column of zeros.
    """
    lengths = np.linalg.norm(factor, axis=0)
    if factor.shape[0] < factor.shape[1] or not lengths.all():
        return 0.0
    return float(dtrcon(factor / lengths, norm="1")[0])


def _check_independent(factor: np.ndarray, columns: Sequence[str]) -> None:
    if reciprocal_condition(factor) > _EPS:
        return
    raise DataError(
        f"{dependent(factor, columns)} Q needs independent columns: leave some out, or take og.linalg.svd; "
        "R alone is qr(mode='r')."
    )


def dependent(factor: np.ndarray, columns: Sequence[str]) -> str:
    """A sentence on which columns depend on others.

    Parameters
    ----------
    factor : the triangular factor of the columns.
    columns : their names.
    """
    rows, width = factor.shape
    if rows < width:
        return f"There are {rows} rows and {width} columns."
    lengths = np.linalg.norm(factor, axis=0)
    _, R, order = scipy.linalg.qr(factor / np.where(lengths > 0, lengths, 1), pivoting=True, mode="economic")
    loose = [columns[j] for j in order[np.abs(np.diag(R)) <= width * _EPS]] or [columns[order[-1]]]
    return f"Columns {', '.join(map(repr, sorted(loose)[:5]))} depend on the others to rounding."


def svd(
    A: Any,
    k: int | None = None,
    columns: Columns = None,
    *,
    compute_u: bool = True,
    rcond: float | None = None,
    seed: int = 0,
) -> SVD:
    """The singular value decomposition of a tall matrix, all of it or its largest part.

    Up to 4,096 dense columns, or 256 sparse ones, one pass makes the triangular factor, which is decomposed:
    singular values are as accurate as those of the rows in memory. Past that, `k` directions are found by
    passes over the rows (block Krylov; Musco and Musco 2015), and sparse rows stay sparse.

    Parameters
    ----------
    A : a `RowMatrix`, or what `og.linalg.row_matrix` takes.
    k : how many singular values; None for all, which wide matrices cannot have.
    columns : as `og.linalg.row_matrix` takes them.
    compute_u : whether left singular vectors are wanted; they may take a further pass.
    rcond : singular values that are a smaller share of the largest are left out; None for the number of
        columns (or rows, if more) times the spacing of float64, which is rounding.
    seed : of the random directions that passes begin with.

    Raises
    ------
    DataError
        When a value is missing or infinite, or the matrix is too wide for all singular values.

    Notes
    -----
    Unlike NumPy: singular values that are zero to rounding are left out with their vectors, and `V` is not
    transposed.

    Unlike Spark MLlib's `computeSVD(k, computeU, rCond)`: no digits are lost to products of the columns, so
    `rcond` is rounding and not 1e-9; U's columns are orthonormal for small singular values, too.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> found = og.linalg.svd(np.array([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), k=1)
    >>> found.s.round(6).tolist(), found.V.round(6).ravel().tolist()
    ([3.0], [1.0, 0.0])
    >>> found.U.to_numpy().round(6).ravel().tolist()
    [1.0, 0.0, 0.0]
    """
    (Integer(low=1) | None).check("svd", "k", k)
    (Number(low=0, high=1) | None).check("svd", "rcond", rcond)
    matrix = as_rows(A, columns)
    width = len(matrix.columns)
    narrow = width <= (_WIDEST_SPARSE if matrix.sparse else WIDEST)
    if not narrow and k is None:
        check_width(matrix, _WIDEST_SPARSE if matrix.sparse else WIDEST, "All singular values", "Give k=")
    if k is not None and k > width:
        raise ParameterError(f"k={k} singular values of a matrix with {width} columns: at most {width}.")
    learned = _Decompose(None if narrow else k, k, rcond, compute_u, seed)
    s, V, orthogonal = matrix.learn(learned)
    if not compute_u:
        return SVD(None, s, V)
    if not len(s):
        raise DataError("The matrix is zero: it has no left singular vectors. Give compute_u=False.")
    factors = [Factor(V / s), Factor(orthogonal, divides=True)] if len(orthogonal) else [Factor(V / s)]
    return SVD(matrix.times(factors, "u"), s, V)


@dataclass(frozen=True)
class _Decompose:
    """The singular values and right vectors of rows, and R of the left ones where these need it.

    Attributes
    ----------
    searched : how many directions passes search; None for all, from the triangular factor.
    k : how many are kept; None for all.
    rcond, compute_u, seed : as `svd` has them.
    """

    searched: int | None
    k: int | None
    rcond: float | None
    compute_u: bool
    seed: int

    def __call__(self, view: MatrixView) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self.searched is None:
            _, s, turned = scipy.linalg.svd(view.reduce(_block_triangle).factor, full_matrices=False)
        else:
            s, turned = _searched(view, min(self.searched, view.rows), self.seed)
        rounding = max(view.rows, view.width) * _EPS
        kept = s > (rounding if self.rcond is None else self.rcond) * s[0]
        kept &= np.arange(len(s)) < (len(s) if self.k is None else self.k)
        s, V = s[kept], signed(turned[kept]).T
        if not self.compute_u or not len(s) or s[-1] >= _CLOSE * s[0]:
            return s, V, np.zeros((0, len(s)))
        return s, V, _factor_of_product(view, [Factor(V / s)])


def _searched(view: MatrixView, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest singular values, and right vectors as rows, from a space of a few directions."""
    _, directions = singular_directions(view, column_moments(view), count, Krylov(seed=seed), centred=False)
    along = np.ascontiguousarray(directions.T)
    made: Triangle = view.reduce(lambda block: triangle(np.asarray(block.X @ along)))
    _, s, turned = scipy.linalg.svd(made.factor, full_matrices=False)
    return s, turned @ directions
