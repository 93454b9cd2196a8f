"""The normal equations of least squares, from one pass: joint moments of features and target."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.stats.moments import CoMoments, check_squares, squares_about_zero


@dataclass(frozen=True, eq=False)
class Normal:
    """The normal equations of a regression: products about the means, or about zero without an intercept.

    Attributes
    ----------
    n : summed weight of the rows.
    products : ndarray of shape (p, p), X'WX.
    target : ndarray of shape (p,), X'Wy.
    energy : y'Wy.
    x_mean, y_mean : what was subtracted.
    centred : whether something was.
    """

    n: float
    products: np.ndarray
    target: np.ndarray
    energy: float
    x_mean: np.ndarray
    y_mean: float
    centred: bool

    def of_columns(self, columns: np.ndarray) -> Normal:
        """The equations of some of the features, as indices of shape (chosen,)."""
        return replace(
            self,
            products=self.products[np.ix_(columns, columns)],
            target=self.target[columns],
            x_mean=self.x_mean[columns],
        )

    def intercept(self, coef: np.ndarray) -> float:
        return float(self.y_mean - self.x_mean @ coef)


def normal_equations(view: MatrixView, *, intercept: bool) -> list[Normal]:
    """The equations of each target, from one pass over the rows.

    Parameters
    ----------
    view : rows with one target or several.
    intercept : whether the products are about the means; otherwise about zero.

    Raises
    ------
    DataError
        When squares overflow.
    """
    return _normals_of(view.reduce(_joint_moments), view.width, intercept=intercept)


def moments_of_folds(rows: FoldedView) -> list[CoMoments]:
    """The joint moments of features and target in each fold, from one pass."""
    return rows.each(_joint_moments)


def normal_of(moments: CoMoments, *, intercept: bool) -> Normal:
    """The normal equations of one target, without another pass.

    Parameters
    ----------
    moments : the joint moments of the features and, as the last column, the target.
    intercept : whether the products are about the means; otherwise about zero.

    Raises
    ------
    DataError
        When squares overflow.
    """
    return _normals_of(moments, len(moments.mean) - 1, intercept=intercept)[0]


def _normals_of(moments: CoMoments, width: int, *, intercept: bool) -> list[Normal]:
    """The normal equations of each target behind so many features, from the joint moments of all.

    Features that do not vary have no products with others.

    Raises
    ------
    DataError
        When squares overflow.
    """
    mean, products = moments.mean, moments.products
    squares = np.diag(products)
    if not np.isfinite(squares).all():
        names = [*map(str, range(width)), *["the target"] * (len(squares) - width)]
        check_squares(squares, names, small=False)
    if not intercept:
        check_squares(squares_about_zero(moments.n, mean, squares)[:width])
        products = products + moments.n * np.outer(mean, mean)
        mean = np.zeros_like(mean)
    else:
        check_squares(squares[:width])
        flat = ~varies(moments.n, squares, mean)
        flat[width:] = False
        if flat.any():
            products = np.where(flat | flat[:, None], 0.0, products)
    X, x_mean = products[:width, :width], mean[:width]
    return [
        Normal(moments.n, X, products[:width, j], float(products[j, j]), x_mean, float(mean[j]), intercept)
        for j in range(width, len(mean))
    ]


def varies(n: float | np.ndarray, squares: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Which columns vary more than their mean is rounded.

    Parameters
    ----------
    n : summed weight of the rows, of all columns or of each.
    squares : ndarray of shape (columns,), the weighted sum of squares about the mean.
    mean : ndarray of shape (columns,); zeros where the squares are about zero.

    Returns
    -------
    ndarray of bool of shape (columns,).
    """
    return np.sqrt(squares) > np.sqrt(n) * 16 * np.finfo(np.float64).eps * np.abs(mean)


def _joint_moments(block: Block) -> CoMoments | None:
    y = np.asarray(block.y)
    return CoMoments.of(block.X, block.weight, beside=y[:, None] if y.ndim == 1 else y)
