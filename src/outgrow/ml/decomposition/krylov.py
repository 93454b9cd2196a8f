"""The largest singular values of matrices too wide, or too sparse, for their products: block Krylov spaces.

A pass multiplies a block of directions with A'A. The directions of all passes span the space (Musco and Musco
2015, "Randomized block Krylov methods"), in which the products are decomposed; it starts anew from its best
directions when it grows too large (Wu and Simon 2000, "Thick-restart Lanczos").
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from sklearn.exceptions import ConvergenceWarning

from outgrow.engine.blocks import Block
from outgrow.engine.context import one_blas_thread
from outgrow.engine.matrix import MatrixView
from outgrow.ml.core.parameters import numpy_random
from outgrow.stats.moments import Moments, check_squares

OVERSAMPLES = 10
"""Directions in a block beside those that are wanted."""
_MOST_PASSES = 500
_CONVERGED = 1e-13
"""What may be left of the products of a direction outside its own, as a share of the largest value."""
_SPARE = 2
"""Directions beside those that are wanted where passes go on until these are exact."""
_LARGEST, _CELLS = 256, 1 << 27
"""Directions, and numbers of them, up to which a space grows."""
_NOISE = 100 * float(np.finfo(np.float64).eps)
_ORTHOGONAL = 1e-15
"""Products of directions that are as orthogonal as rounding allows."""
_ORTHOGONALISED, _LITTLE = 3, 1e-7
"""How often directions are made orthogonal to a space, at most; once more is enough if they nearly were."""
_LOOK = 4
"""After so many passes it is looked at how exact directions are, which costs as much as a part of a pass."""
_APART = 1e-10
"""The least square of a size, as a share of the largest, that products still know: they are found faster."""
_USED = 0.5
"""With a share of columns below this that hold anything but zeros, the others are left out."""


@dataclass(frozen=True)
class Krylov:
    """How far a space grows.

    Attributes
    ----------
    passes : over the rows, at most; None for as many as it takes.
    tol : where `passes` is None, the share of the largest value that may be left of a direction's products
        outside its own; next to nothing at least.
    oversamples : directions in a block beside those that are wanted.
    seed : of the random directions at the start.
    """

    passes: int | None = None
    tol: float = 0.0
    oversamples: int = OVERSAMPLES
    seed: int = 0

    def leading(
        self, products: Callable[[np.ndarray], np.ndarray], width: int, count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The largest eigenvalues of a symmetric matrix without negative ones, and their vectors.

        Parameters
        ----------
        products : of the matrix with directions of shape (width, any).
        width : of the matrix.
        count : how many are wanted, at most `width`.

        Returns
        -------
        ndarray of shape (count,), falling, and one of shape (count, width) with orthonormal rows.
        """
        with one_blas_thread():  # products of narrow matrices: more threads cost more than they do
            return self._leading(products, width, count)

    def _leading(
        self, products: Callable[[np.ndarray], np.ndarray], width: int, count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        spare = self.oversamples if self.passes else min(_SPARE, self.oversamples)
        size = min(width, count + spare)
        start = numpy_random(self.seed).normal(size=(width, size))
        fresh = scipy.linalg.qr(start, mode="economic", check_finite=False)[0]
        inner, most, scale = np.zeros((0, 0)), self.passes or _MOST_PASSES, 0.0
        largest = max(3 * size, min(_LARGEST, _CELLS // width))
        space = np.empty((width, min(largest, most * size)), order="F")
        basis = _extended(space, 0, fresh)
        for step in range(1, most + 1):
            image = products(fresh)
            within, used = basis.T @ image, fresh.shape[1]
            inner = _bordered(inner, within)
            scale = max(scale, float(np.linalg.norm(within[-used:], 2)))
            fresh, rest = _outside(basis, image, within, _NOISE * scale)
            full = basis.shape[1] + fresh.shape[1] > largest
            if fresh.shape[1] > 0 and step < most and step % _LOOK and not full:
                basis = _extended(space, basis.shape[1], fresh)
                continue
            values, turned = scipy.linalg.eigh(inner, check_finite=False)
            values, turned = np.maximum(values[::-1], 0.0), turned[:, ::-1]
            left = np.linalg.norm(rest @ turned[-used:, :count], axis=0)
            if (left <= max(self.tol, _CONVERGED) * values[0]).all():
                break
            if step == most:
                _warn_unless(self.passes is not None, most)
                break
            if full:
                kept = max(size, largest // 2)
                basis, inner = _extended(space, 0, basis @ turned[:, :kept]), np.diag(values[:kept])
            basis = _extended(space, basis.shape[1], fresh)
        return values[:count], np.ascontiguousarray((basis @ turned[:, :count]).T)


def _extended(space: np.ndarray, used: int, fresh: np.ndarray) -> np.ndarray:
    """The columns of a space that are used, and fresh ones behind them."""
    count = used + fresh.shape[1]
    space[:, used:count] = fresh
    return space[:, :count]


def _bordered(inner: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """A symmetric matrix with further columns, of shape (all, more), and the rows that are their mirror."""
    old, width = len(inner), len(columns)
    whole = np.empty((width, width))
    whole[:old, :old] = inner
    whole[:, old:] = columns
    whole[old:, :old] = columns[:old].T
    whole[old:, old:] = (columns[old:] + columns[old:].T) / 2
    return whole


def _outside(
    basis: np.ndarray, image: np.ndarray, within: np.ndarray, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """Directions of what lies outside a space, and what it is in them, but for noise.

    Parameters
    ----------
    basis : of the space.
    image, within : what may lie outside, and its products with the basis.
    noise : the least size that counts.

    Returns
    -------
    Orthonormal columns of shape (width, some), and an array of shape (some, columns of `image`).
    """
    made, size = _orthonormal(image - basis @ within, noise)
    for _ in range(_ORTHOGONALISED):
        left = basis.T @ made
        largest = np.abs(left).max(initial=0.0)
        if largest <= _ORTHOGONAL:
            break
        made = _normalised(made - basis @ left)
        if largest <= _LITTLE:
            break
    return made, size


def _normalised(directions: np.ndarray) -> np.ndarray:
    """Columns that are nearly orthonormal, made so."""
    factor = scipy.linalg.cholesky(directions.T @ directions, check_finite=False)
    return scipy.linalg.solve_triangular(factor, directions.T, trans="T", check_finite=False).T


def _orthonormal(rest: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal columns whose products with an array of shape (their number, columns) are these."""
    squares, turned = scipy.linalg.eigh(rest.T @ rest, check_finite=False)
    if squares[0] > max(_APART * squares[-1], noise**2):
        sizes = np.sqrt(squares)
        return rest @ (turned / sizes), sizes[:, None] * turned.T
    made, factor, order = scipy.linalg.qr(rest, mode="economic", pivoting=True, check_finite=False)
    rank = int((np.abs(np.diag(factor)) > noise).sum())
    size = np.empty((rank, len(order)))
    size[:, order] = factor[:rank]
    return made[:, :rank], size


def _warn_unless(wanted: bool, passes: int) -> None:
    if not wanted:
        warnings.warn(
            f"The components did not converge in {passes} passes. Give a larger tol, or another "
            "n_components, if the singular values around it are nearly equal.",
            ConvergenceWarning,
            stacklevel=2,
        )


def column_moments(view: MatrixView) -> Moments:
    """Mean and squares about it of each column of a matrix.

    Parameters
    ----------
    view : the rows, which may be weighted.

    Raises
    ------
    DataError
        When squares overflow.
    """
    moments = view.reduce(lambda block: Moments.of(block.X, block.weight))
    check_squares(moments.m2)
    return moments


def singular_directions(
    view: MatrixView, moments: Moments, count: int, krylov: Krylov, *, centred: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The squares of the largest singular values, and the right singular vectors, of the rows of a matrix.

    Sparse rows stay sparse, centred or not.

    Parameters
    ----------
    view : the rows, which may be weighted.
    moments : the `column_moments` of these.
    count : how many are wanted, at most the number of columns.
    krylov : how.
    centred : of the rows about their mean.

    Returns
    -------
    As `Krylov.leading`.
    """
    used = np.flatnonzero((moments.mean != 0) | (moments.m2 > 0))
    if not (view.sparse and count <= len(used) < _USED * view.width):
        return krylov.leading(_products(view, moments.mean if centred else None), view.width, count)
    narrow = view.selected(used)
    mean = moments.mean[used] if centred else None
    values, directions = krylov.leading(_products(narrow, mean), len(used), count)
    whole = np.zeros((count, view.width))
    whole[:, used] = directions
    return values, whole


def _products(view: MatrixView, mean: np.ndarray | None) -> Callable[[np.ndarray], np.ndarray]:
    """Multiplies directions with the products of the rows, about their mean if there is one, in one pass."""

    def times(directions: np.ndarray) -> np.ndarray:
        directions = np.ascontiguousarray(directions)
        shift = 0.0 if mean is None else mean @ directions

        def fold(block: Block) -> tuple[np.ndarray, np.ndarray]:
            along = np.asarray(block.X @ directions) - shift
            if block.weight is not None:
                along *= block.weight[:, None]
            return np.asarray(block.X.T @ along), along.sum(axis=0)

        made, rest = view.reduce(fold)
        return made if mean is None else made - np.outer(mean, rest)

    return times
