"""What statistics say of the coefficients of a model: standard errors, tests, and how well it fits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

_NONE, _ROUNDING = 1e-11, 1e-14
"""Of the largest: eigenvalues of the information, in coordinates of equal size, that count as none for
standard errors, and that rounding alone may make."""
_LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Information:
    """The inverse of the information on coefficients, and its rank.

    Attributes
    ----------
    inverse : ndarray of shape (size, size).
    free : booleans of shape (size,): coefficients that nothing determines.
    pseudo : the same with numbers everywhere, of all directions that are more than rounding.
    rank : how many directions are determined.
    loose : ndarray of shape (size, directions), those that rounding alone determines.
    """

    inverse: np.ndarray
    free: np.ndarray
    pseudo: np.ndarray
    rank: int
    loose: np.ndarray

    @classmethod
    def of(cls, matrix: np.ndarray) -> Information:
        """From second derivatives of a loss, of shape (size, size)."""
        size = np.sqrt(np.maximum(np.diag(matrix), 0.0))
        size = np.where(size > 0, size, 1.0)
        values, vectors = np.linalg.eigh(matrix / size[:, None] / size)
        scale = size[:, None] * size
        kept, real = (values > share * values.max(initial=0.0) for share in (_NONE, _ROUNDING))
        if kept.all():  # as nearly always
            with np.errstate(over="ignore"):
                inverse = (vectors / values) @ vectors.T / scale
            return cls(inverse, ~kept, inverse, len(values), vectors[:, :0])
        inverse, pseudo = ((vectors[:, some] / values[some]) @ vectors[:, some].T for some in (kept, real))
        free = (vectors[:, ~kept] ** 2).sum(axis=1) > 1e-8
        with np.errstate(over="ignore"):  # variances of coefficients past 1e154
            inverse, pseudo = inverse / scale, pseudo / scale
        return cls(inverse, free, pseudo, int(kept.sum()), vectors[:, ~real] / size[:, None])

    def covariance(self, back: np.ndarray) -> np.ndarray:
        """That of linear functions of the coefficients; NaN for those that nothing determines.

        Parameters
        ----------
        back : ndarray of shape (functions, size), the functions: of one coefficient, or of several with one
            that is their own.
        """
        found = back @ self.inverse @ back.T
        if not self.free.any():
            return np.asarray(found)
        free = (np.abs(back[:, self.free]).sum(axis=1) > 0) & (np.abs(back[:, ~self.free]).sum(axis=1) == 0)
        found[free] = found[:, free] = np.nan
        return found

    def shortest(self, w: np.ndarray, width: int) -> np.ndarray:
        """Of the parameters that fit as well as these, those with the shortest coefficients.

        Parameters
        ----------
        w : ndarray of shape (size,), coefficients and then an intercept, if there is one.
        width : how many coefficients there are.
        """
        if not self.loose.size:
            return w
        share = np.linalg.lstsq(self.loose[:width], w[:width], rcond=None)[0]
        return np.asarray(w - self.loose @ share)


@dataclass(frozen=True, eq=False)
class Summary:
    """Coefficients with their standard errors and tests, as R's `summary` and statsmodels give them.

    Attributes
    ----------
    names : of the coefficients, the intercept first.
    coef, std_error : ndarrays of shape (coefficients,); NaN where other columns say the same.
    statistic, p_value : ndarrays of shape (coefficients,): of the test that a coefficient is 0.
    test : 't', with `df_residual` degrees of freedom, or 'z'.
    df_residual : the weight of the rows less the number of coefficients.
    fit : what is said of the model as a whole, by name; each is also an attribute.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> model = og.GeneralizedLinearRegression("poisson").fit(X, np.array([1.0, 2.0, 3.0, 9.0]))
    >>> model.summary_.names, model.summary_.p_value.round(3).tolist()
    (['intercept', 'x0'], [0.798, 0.008])
    """

    names: list[str]
    coef: np.ndarray
    std_error: np.ndarray
    test: str
    df_residual: float
    fit: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        fit = vars(self).get("fit", {})
        if name in fit:
            return fit[name]
        raise AttributeError(f"A summary has no {name!r}. Of the model it says: {', '.join(fit)}.")

    @property
    def statistic(self) -> np.ndarray:
        """Each coefficient divided by its standard error."""
        with np.errstate(all="ignore"):
            return self.coef / self.std_error

    @property
    def p_value(self) -> np.ndarray:
        """How probable a statistic as far from 0 is where the coefficient is 0."""
        size = np.abs(self.statistic)
        tail = stdtr(self.df_residual, -size) if self.test == "t" else ndtr(-size)
        return np.asarray(2 * tail)

    def interval(self, confidence_level: float = _LEVEL) -> np.ndarray:
        """The ends of intervals for the coefficients, of shape (coefficients, 2).

        Parameters
        ----------
        confidence_level : how often such intervals hold the coefficient.
        """
        share = 0.5 + confidence_level / 2
        factor = stdtrit(self.df_residual, share) if self.test == "t" else ndtri(share)
        return self.coef[:, None] + factor * self.std_error[:, None] * np.array([-1.0, 1.0])

    def __repr__(self) -> str:
        head = ["", "coef", "std error", self.test, f"P>|{self.test}|", "2.5 %", "97.5 %"]
        numbers = [self.coef, self.std_error, self.statistic, self.p_value, *self.interval().T]
        rows = [
            [name, *(f"{value:.6g}" for value in values)]
            for name, *values in zip(self.names, *numbers, strict=True)
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = [
            "  ".join(
                [
                    row[0].ljust(widths[0]),
                    *(each.rjust(w) for each, w in zip(row[1:], widths[1:], strict=True)),
                ]
            )
            for row in [head, *rows]
        ]
        wide = max(map(len, self.fit), default=0)
        said = [
            f"{name.ljust(wide)}  {value:.6g}" if isinstance(value, float) else f"{name.ljust(wide)}  {value}"
            for name, value in self.fit.items()
        ]
        return "\n".join([*lines, "", *said])


def restored(centre: np.ndarray, *, intercept: bool) -> np.ndarray:
    """Parameters for features as they are, intercept first, as linear functions of those without offsets.

    Parameters
    ----------
    centre : ndarray of shape (width,), the offsets.
    intercept : whether there is one, the last parameter; without it nothing was subtracted.

    Returns
    -------
    ndarray of shape (size, size).
    """
    width = len(centre)
    if not intercept:
        return np.eye(width)
    back = np.zeros((width + 1, width + 1))
    back[0, :width], back[0, width] = -centre, 1.0
    back[1:, :width].flat[:: width + 1] = 1.0
    return back
