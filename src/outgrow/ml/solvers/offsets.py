"""Features that lie far from zero beside how much they vary, such as times and identifiers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from outgrow.engine.matrix import MatrixView
from outgrow.ml.solvers.gram import varies
from outgrow.stats.moments import Moments, check_squares, squares_about_zero

_FAR = 16.0
"""Standard deviations: a feature whose mean is farther from zero loses digits in products."""


@dataclass(frozen=True, eq=False)
class Offsets:
    """What a fit with an intercept may subtract from features without changing its minimum.

    Attributes
    ----------
    centre : ndarray of shape (width,), the mean of features that lie far from zero, 0 for others.
    spread : ndarray of shape (width,), the root of the mean square about the centre; 0 for those that do not
        vary, which then count as zeros.
    """

    centre: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, view: MatrixView, *, intercept: bool) -> Self:
        """From one pass over rows.

        Parameters
        ----------
        view : all rows that the fit is about, or some.
        intercept : whether the fit has one; otherwise nothing is subtracted.

        Raises
        ------
        DataError
            When squares overflow.
        """
        moments: Moments = view.reduce(lambda block: Moments.of(block.X, block.weight))
        about_zero = squares_about_zero(moments.n, moments.mean, moments.m2)
        check_squares(about_zero, small=not intercept)
        check_squares(moments.m2, small=intercept)
        deviation = np.sqrt(moments.variance())
        far = intercept & (np.abs(moments.mean) > _FAR * deviation)
        if not far.any():
            return cls(np.zeros(len(deviation)), np.hypot(deviation, moments.mean))
        flat = far & ~varies(moments.n, moments.m2, moments.mean)
        centre = np.where(far, moments.mean, 0.0)
        return cls(centre, np.where(flat, 0.0, np.hypot(deviation, moments.mean - centre)))

    def apply(self, view: MatrixView) -> MatrixView:
        """The rows without their offsets."""
        return view.shifted(self.centre, (self.spread > 0).astype(float)) if self.centre.any() else view

    def hide(self, coef: np.ndarray, intercept: np.ndarray) -> np.ndarray:
        """The intercepts for features without their offsets.

        Parameters
        ----------
        coef : ndarray of shape (scores, width), the same for both.
        intercept : ndarray of shape (scores,), those for features as they are.
        """
        return intercept + coef @ self.centre

    def restore(self, coef: np.ndarray, intercept: np.ndarray) -> np.ndarray:
        """The intercepts for features as they are; undoes `hide`.

        Parameters
        ----------
        coef : ndarray of shape (scores, width), the same for both.
        intercept : ndarray of shape (scores,), those for features without their offsets.
        """
        return intercept - coef @ self.centre
