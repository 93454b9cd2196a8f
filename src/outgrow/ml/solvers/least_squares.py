"""Least squares, penalised or not, with as many digits as the rows allow.

The normal equations come from one pass, and where their condition number is small they are all that is
needed. Where some digits are lost, passes over the residuals bring them back; where too many are, another
pass makes the triangular factor of the rows themselves, whose condition number is the square root.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import scipy.linalg
import scipy.optimize
from scipy.linalg.lapack import dgeqrf, dormqr, dpocon, dpotrf, dpotrs, dtrcon

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.context import FitContext
from outgrow.engine.matrix import MatrixView
from outgrow.engine.together import side_by_side
from outgrow.ml.solvers.gram import Normal, varies
from outgrow.stats.extended import ExtendedSum
from outgrow.stats.triangle import Triangle

T = TypeVar("T")
Solve = Callable[[np.ndarray], np.ndarray]

SAFE = 1e-5
"""Down to this reciprocal condition number of the scaled products, a solution from them has ten digits."""
FAR = 1e5
"""Standard deviations: where a column lies farther from zero, its products are never safe."""
CORRIGIBLE = 1e-10
"""Down to this one, corrections by the residuals converge."""
CORRECTIONS = 4
FEW_PRODUCTS = 1e9
"""Rows times squared columns up to which a triangular factor takes no time worth saving."""
FEW_CELLS = 10_000_000
"""Up to so many numbers, residuals are computed to more digits than the numbers have."""
_DEPENDENT = 1e-12
_ROWS = 4096
_BLOCK = 64
"""Columns that LAPACK works on at once: room for them is given."""
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class System:
    """A least squares problem in columns of unit length.

    Attributes
    ----------
    normal : its normal equations.
    penalty : what each squared coefficient costs.
    scale : ndarray of shape (p,), the length of each column, infinite for columns that do not vary.
    products : ndarray of shape (p, p), the products of the scaled columns, penalty included.
    """

    normal: Normal
    penalty: float
    scale: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, normal: Normal, penalty: float) -> System:
        """The system of the normal equations of one target.

        Parameters
        ----------
        normal : with its products.
        penalty : what each squared coefficient costs beside the summed squared error.
        """
        scale = lengths(normal, np.diag(normal.products), penalty)
        products = normal.products / scale
        products /= scale[:, None]
        products.flat[:: len(products) + 1] = 1.0
        return cls(normal, penalty, scale, products)

    def inverse(self) -> tuple[Solve, float]:
        """What solves the scaled equations, and their reciprocal condition number: 0 if nothing does."""
        factor, failed = dpotrf(self.products)
        if failed:
            return np.copy, 0.0
        margin, _ = dpocon(factor, np.abs(self.products).sum(axis=0).max())
        margin *= np.sqrt(len(factor))  # largest sums of columns exceed singular values by up to this much
        offsets = np.abs(self.normal.x_mean) * np.sqrt(self.normal.n) / self.scale
        if (offsets > FAR).any():
            margin = min(margin, np.nextafter(SAFE, 0))
        return lambda right: np.asarray(dpotrs(factor, right)[0]), float(margin)

    def standardised(
        self, block: Block, dtype: Any = np.float64
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Rows of a block, a few thousand at a time, dense and in the units of the system.

        Parameters
        ----------
        block : rows of any number, with one target.
        dtype : of what comes out; `numpy.longdouble` where digits matter more than time.

        Yields
        ------
        Features, centred and scaled, of shape (rows, p), 0 where they do not vary; the target, centred, of
        shape (rows,); the root of the weight of each row.
        """
        for start in range(0, len(block), _ROWS):
            part = block.take(slice(start, start + _ROWS))
            X = part.X.toarray() if is_sparse(part.X) else part.X
            y = np.asarray(part.y).astype(dtype, copy=False)
            weight = np.ones(len(part)) if part.weight is None else part.weight
            X = (X.astype(dtype, copy=False) - self.normal.x_mean) / self.scale
            yield X, y - self.normal.y_mean, np.sqrt(weight.astype(dtype, copy=False))


def lengths(normal: Normal, squares: np.ndarray, penalty: float) -> np.ndarray:
    """The length of each column, penalty included; infinite where it varies no more than rounding.

    Parameters
    ----------
    normal : the summed weight and the means; its products are not looked at.
    squares : ndarray of shape (p,), the weighted sum of squares of each column about `normal.x_mean`.
    penalty : what each squared coefficient costs, which is added to the squares.
    """
    live = varies(normal.n, squares, normal.x_mean)
    return np.where(live, np.sqrt(squares + penalty), np.inf)


def least_squares(
    view: MatrixView, normals: Sequence[Normal], penalties: np.ndarray, *, positive: bool
) -> list[tuple[np.ndarray, float]]:
    """Coefficients and intercept of each target that minimise the squared error and the penalty.

    Where several do, the shortest of them, as least squares by singular values gives.

    Parameters
    ----------
    view : the rows with all targets; passes over them are made only for digits that the products lack.
    normals : those of each target, of these rows.
    penalties : ndarray of shape (targets,), what each squared coefficient of a target costs.
    positive : coefficients are at least 0; these are always solved from the products alone.
    """
    shared: dict[float, tuple[System, Solve, float]] = {}
    found: dict[int, tuple[np.ndarray, float]] = {}
    left: dict[int, tuple[System, Solve, float]] = {}
    for j, (normal, penalty) in enumerate(zip(normals, penalties.tolist(), strict=True)):
        if penalty not in shared:
            system = System.of(normal, penalty)
            shared[penalty] = (system, *system.inverse())
        system, solve, margin = shared[penalty]
        system = replace(system, normal=normal)
        if positive:
            found[j] = positive_from_products(system)
        elif margin >= SAFE:
            found[j] = from_products(system, solve)
        else:
            left[j] = system, solve, margin
    more = each_target(view, lambda one, j: from_rows(one, *left[j]), list(left))
    found |= dict(zip(left, more, strict=True))
    return [found[j] for j in range(len(normals))]


def each_target(view: MatrixView, learn: Callable[[MatrixView, int], T], targets: Sequence[int]) -> list[T]:
    """What is learnt of some targets, in passes that all share.

    Parameters
    ----------
    view : the rows; where they have but one target, they are given as they are.
    learn : called with the rows as if they had one target alone, and its number, side by side with others.
    targets : the numbers of those to learn.
    """
    if view.targets is None:
        return [learn(view, j) for j in targets]

    def alone(j: int) -> Callable[[FitContext], T]:
        return lambda run: learn(view.on(run).target(j), j)

    return side_by_side(view.run, [alone(j) for j in targets])


def from_rows(view: MatrixView, system: System, solve: Solve, margin: float) -> tuple[np.ndarray, float]:
    """Coefficients and intercept of a system whose products are not safe, from more passes over the rows.

    Parameters
    ----------
    view : the rows with the target of the system.
    system : its equations.
    solve, margin : what `System.inverse` gave; `solve` is used down to a `margin` of `CORRIGIBLE`.
    """
    if margin >= CORRIGIBLE:
        return _corrected(view, system, solve)
    solved = None
    if not system.penalty and view.rows * len(system.scale) ** 2 > FEW_PRODUCTS:
        solved = _of_dependent(view, system)
    return by_triangle(view, system) if solved is None else solved


def positive_from_products(system: System) -> tuple[np.ndarray, float]:
    """The solution whose coefficients are at least 0 (Lawson and Hanson 1974), from the products."""
    values, vectors = scipy.linalg.eigh(system.products)
    kept = values > len(values) * _EPS * values.max(initial=0.0)
    root, turned = np.sqrt(values[kept]), vectors[:, kept].T
    right = turned @ (system.normal.target / system.scale) / root
    coef = scipy.optimize.nnls(root[:, None] * turned, right)[0] / system.scale
    return coef, system.normal.intercept(coef)


def from_products(system: System, solve: Solve) -> tuple[np.ndarray, float]:
    """Coefficients and intercept without another pass.

    Parameters
    ----------
    system : of one target.
    solve : solves its scaled equations; that of another target of the same rows and penalty will do.
    """
    coef = solve(system.normal.target / system.scale) / system.scale
    return coef, system.normal.intercept(coef)


def _corrected(view: MatrixView, system: System, solve: Solve) -> tuple[np.ndarray, float]:
    """Coefficients and intercept after Newton steps from exact residuals.

    Each removes most of what the products, and the means, lost to rounding.
    """
    dtype = residual_type(view)
    found = solve(system.normal.target / system.scale).astype(dtype)
    for _ in range(CORRECTIONS):

        def fold(block: Block, at: np.ndarray = found) -> ExtendedSum:
            total = np.zeros(len(at) + 1, dtype=dtype)
            for X, y, root in system.standardised(block, dtype):
                residual = root**2 * (y - X @ at)
                total[:-1] += X.T @ residual
                total[-1] += residual.sum()
            return ExtendedSum.of(total)

        *gradient, rest = view.reduce(fold).values
        step = solve(np.array(gradient - system.penalty / system.scale**2 * found, dtype=np.float64))
        found = found + step
        if np.abs(step).max(initial=0.0) <= 1e-9 * float(np.abs(found).max(initial=0.0)):
            break
    coef = found.astype(np.float64) / system.scale
    normal = system.normal
    return coef, normal.intercept(coef) + (float(rest / normal.n) if normal.centred else 0.0)


def residual_type(view: MatrixView) -> Any:
    """The type in which residuals are computed: of more digits than the numbers have, where those are few."""
    return np.longdouble if view.rows * view.width <= FEW_CELLS else np.float64


def _of_dependent(view: MatrixView, system: System) -> tuple[np.ndarray, float] | None:
    """The shortest solution where columns depend on others exactly, as indicators of categories do.

    None where they only nearly do: products cannot tell, a pass over the rows can.
    """
    values, vectors = scipy.linalg.eigh(system.products)
    null = values <= CORRIGIBLE * values[-1]

    def fold(block: Block) -> np.ndarray:
        parts = (root[:, None] * (X @ vectors[:, null]) for X, _, root in system.standardised(block))
        return sum(((part**2).sum(axis=0) for part in parts), np.zeros(int(null.sum())))

    if (view.reduce(fold) > _DEPENDENT**2 * values[-1]).any():
        return None
    kept, turned = values[~null], vectors[:, ~null]
    found, constant = _corrected(view, system, lambda right: turned @ ((turned.T @ right) / kept))
    live = np.isfinite(system.scale)
    coef = np.zeros(len(found))
    coef[live] = _along(turned.T[:, live] * system.scale[live], found[live])
    return coef, constant + float(system.normal.x_mean @ (found - coef))


def by_triangle(view: MatrixView, system: System) -> tuple[np.ndarray, float]:
    """Coefficients and intercept from the triangular factor of [1, X, y], standardised and weighted.

    Parameters
    ----------
    view : the rows with the target of the system.
    system : its scale, penalty and means; its products are not looked at, and need not be there.
    """
    normal, live = system.normal, np.isfinite(system.scale)
    scale, unit, first = system.scale[live], float(np.sqrt(normal.energy)) or 1.0, int(normal.centred)

    def fold(block: Block) -> Triangle | None:
        total: Triangle | None = None
        for X, y, root in system.standardised(block):
            rows = np.hstack([np.ones((len(y), first)), X[:, live], y[:, None] / unit]) * root[:, None]
            total = Triangle.of(rows) if total is None else total.merge(Triangle.of(rows))
        return total

    triangle = view.reduce(fold)
    few = first and not triangle.done and len(triangle.rows) <= len(scale)
    factor = _reflected(triangle.rows) if few else triangle.factor
    solved = shortest(factor[first:, first:-1], factor[first:, -1], scale, system.penalty)
    if solved is None:
        found = _polished(view, system, factor, unit)
    else:
        shift = (factor[0, -1] - factor[0, 1:-1] @ (solved * scale)) / factor[0, 0] if first else 0.0
        found = np.append(shift, solved * scale)
    coef = np.zeros(len(live))
    coef[live] = found[1:] * unit / scale
    return coef, normal.intercept(coef) + float(found[0] * unit)


def _polished(view: MatrixView, system: System, factor: np.ndarray, unit: float) -> np.ndarray:
    """The scaled solution of a triangular factor of full rank, its shift first.

    Where rows are few, it is corrected by residuals of more digits (seminormal equations; Björck 1987).
    """
    normal, live = system.normal, np.isfinite(system.scale)
    first, width = int(normal.centred), int(live.sum())
    ridge = np.sqrt(system.penalty) / system.scale[live]
    border = np.hstack([np.zeros((width, first)), np.diag(ridge), np.zeros((width, 1))])
    whole = Triangle.of(np.vstack([factor, border]) if system.penalty else factor).factor
    R, right = whole[: first + width, :-1], whole[: first + width, -1]
    found = scipy.linalg.solve_triangular(R, right, check_finite=False).astype(np.longdouble)
    for _ in range(CORRECTIONS if residual_type(view) is np.longdouble else 0):

        def fold(block: Block, at: np.ndarray = found) -> ExtendedSum:
            total = np.zeros(first + width, dtype=np.longdouble)
            for X, y, root in system.standardised(block, np.longdouble):
                rows = np.hstack([np.ones((len(y), first), dtype=np.longdouble), X[:, live]])
                total += rows.T @ (root**2 * (y / unit - rows @ at))
            return ExtendedSum.of(total)

        gradient = view.reduce(fold).values
        gradient[first:] -= ridge.astype(np.longdouble) ** 2 * found[first:]
        step = scipy.linalg.solve_triangular(R, gradient.astype(np.float64), trans="T", check_finite=False)
        step = scipy.linalg.solve_triangular(R, step, check_finite=False)
        found = found + step
        if np.abs(step).max() <= 1e-12 * float(np.abs(found).max()):
            break
    return np.append(np.zeros(1 - first), found.astype(np.float64))


def _reflected(rows: np.ndarray) -> np.ndarray:
    """Rows of the same products, of which only the first has something in the first column."""
    mirror = rows[:, 0].copy()
    mirror[0] += np.copysign(np.sqrt(mirror @ mirror), mirror[0])
    found: np.ndarray = rows - np.outer(mirror, (mirror @ rows) * (2 / (mirror @ mirror)))
    return found


def shortest(A: np.ndarray, b: np.ndarray, scale: np.ndarray, penalty: float) -> np.ndarray | None:
    """The shortest w that minimises ||A (scale * w) - b||² + penalty ||w||²; None where there is but one.

    Parameters
    ----------
    A : shape (rows, columns), its columns of about the same length.
    b : shape (rows,).
    scale : shape (columns,).
    penalty : at least 0.
    """
    if not penalty and 0 < len(A) < len(scale):
        found = _of_independent_rows(A * scale, b)
        if found is not None:
            return found
    U, s, V = scipy.linalg.svd(A, full_matrices=False, check_finite=False)
    kept = s > 8 * max(A.shape) * _EPS * s.max(initial=0.0)
    if kept.sum() == len(scale):
        return None
    s, V, right = s[kept], V[kept], U[:, kept].T @ b
    if not penalty:
        return _along(V * scale, (V.T @ (right / s)) / scale)
    U, s, V = scipy.linalg.svd(s[:, None] * V * scale, full_matrices=False, check_finite=False)
    return np.asarray(V.T @ (s / (s**2 + penalty) * (U.T @ right)))


def _of_independent_rows(A: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """The shortest w for which Aw = b; None where the rows may depend on each other."""
    rows, width = A.shape
    factor, reflections, *_ = dgeqrf(A.T, lwork=_BLOCK * rows)
    margin, _ = dtrcon(factor[:rows], norm="1")
    if margin < CORRIGIBLE:
        return None
    right = np.zeros((width, 1))
    right[:rows, 0] = scipy.linalg.solve_triangular(factor[:rows], b, trans="T", check_finite=False)
    found, *_ = dormqr("L", "N", factor, reflections, right, lwork=_BLOCK)
    return np.asarray(found[:, 0])


def _along(rows: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """The part of a vector in the space that rows span."""
    basis = scipy.linalg.qr(rows.T, mode="economic", check_finite=False)[0]
    return basis @ (basis.T @ vector)
