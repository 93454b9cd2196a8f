"""How much more rows would help: the loss as a power of the rows, with an interval, or a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from outgrow.planning.probe import Loss

EXPONENTS = np.linspace(0.1, 1.5, 71)
"""Of the rows, in a + b rows^-c. At its ends the curve is not one that can be drawn further."""
_NEAR = np.linspace(-0.02, 0.02, 41)
LONGEST = 100.0
"""How many times the largest sample a curve is drawn further at most."""
_DEVIANCE, _DEVIATIONS = 3.2, 1.8
"""Of 90 % with ten degrees of freedom: what a law may fit worse than the best, and how far off it is."""
_LEAST = 4
"""Sizes of samples."""


@dataclass(frozen=True)
class Curve:
    """a + b rows^-c, and how sure it is.

    Attributes
    ----------
    total : the rows there are to learn from.
    at_total, low, high : the loss that is expected of all rows, with its interval of 90 %.
    enough : the fewest rows whose loss is within `tolerance` of that of all, with 90 % of the curves; None
        where that cannot be said.
    tolerance : the difference in loss that does not matter.
    refused : why no curve was drawn; empty where one was.
    formula : the curve, in words.
    law : a, b and c.
    """

    total: int
    at_total: float
    low: float
    high: float
    enough: int | None
    tolerance: float
    refused: str = ""
    formula: str = ""
    law: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def at(self, rows: np.ndarray) -> np.ndarray:
        """The loss that is expected of so many rows."""
        a, b, c = self.law
        return np.asarray(a + b * rows**-c)

    @property
    def share(self) -> float | None:
        """Of the rows, that are enough."""
        return None if self.enough is None else self.enough / self.total

    def __str__(self) -> str:
        if self.refused:
            return f"Whether a sample is enough cannot be said: {self.refused}"
        of_all = (
            f"all {self.total:,} rows should reach {self.at_total:.4f} ({self.low:.4f} to {self.high:.4f})"
        )
        if self.enough is None or self.enough >= self.total:
            return f"No sample is within {self.tolerance:g} of the loss of all rows; {of_all}."
        return (
            f"{self.share:.2%} of the rows ({self.enough:,}) are within {self.tolerance:g} of the loss of "
            f"all (90 %); {of_all}."
        )


def curve_of(losses: Sequence[Loss], total: int, tolerance: float = 0.001) -> Curve:
    """The learning curve of samples, drawn further.

    Inverse power laws fit most learning curves, and about a seventh not at all (LCDB 1.1, arXiv 2505.15657):
    one that rises, or whose exponent is at the end of what is plausible, is not drawn further. The interval
    holds the curves of all exponents that fit nearly as well as the best (profile likelihood).

    Parameters
    ----------
    losses : of samples, smallest first.
    total : the rows there are to learn from.
    tolerance : the difference in loss that does not matter.
    """
    n = np.array([loss.rows for loss in losses], float)
    means = np.array([sum(loss.losses) / len(loss.losses) for loss in losses])
    errors = _errors(losses)
    refused = _refusal(n, means, errors, total)
    if refused:
        return _refused(total, tolerance, refused)
    rough = min(_laws(n, means, errors, EXPONENTS), key=_misfit)
    tried = np.union1d(EXPONENTS, np.clip(rough.c + _NEAR, EXPONENTS[0], EXPONENTS[-1]))
    laws = _laws(n, means, errors, tried)
    best = min(laws, key=_misfit)
    plausible = [law for law in laws if law.misfit <= best.misfit + _DEVIANCE]
    ends = np.array([law.at(total) for law in plausible])
    room = np.array([_DEVIATIONS * law.deviation(total) for law in plausible])
    exponents = [law.c for law in plausible]
    doubtful = best.c in (EXPONENTS[0], EXPONENTS[-1])
    if doubtful and max(law.more(n[-1:], total)[0] for law in plausible) > tolerance:
        why = (
            f"the samples fit powers from {min(exponents):.2g} to {max(exponents):.2g} alike. Give more time."
        )
        return _refused(total, tolerance, why)
    return Curve(
        total,
        float(best.at(total)),
        float((ends - room).min()),
        float((ends + room).max()),
        _enough(plausible, total, tolerance, n[0]),
        tolerance,
        formula=f"{best.a:.5g} + {best.b:.4g} rows^-{best.c:.3g}",
        law=(best.a, best.b, best.c),
    )


def _refused(total: int, tolerance: float, why: str) -> Curve:
    return Curve(total, np.nan, np.nan, np.nan, None, tolerance, why)


@dataclass(frozen=True)
class _Law:
    """a + b rows^-c with the least squares of one c.

    Attributes
    ----------
    misfit : the sum of squares, each by what its mean is off by.
    spread : the covariance of a and b.
    """

    a: float
    b: float
    c: float
    misfit: float
    spread: np.ndarray

    def at(self, rows: Any) -> Any:
        return self.a + self.b * rows**-self.c

    def deviation(self, rows: float) -> float:
        """Of the loss at so many rows."""
        row = np.array([1.0, rows**-self.c])
        return float(np.sqrt(max(0.0, row @ self.spread @ row)))

    def more(self, sizes: np.ndarray, total: int) -> np.ndarray:
        """The most that is lost at these sizes beside all rows."""
        fall = sizes**-self.c - float(total) ** -self.c
        return np.asarray((self.b + _DEVIATIONS * np.sqrt(self.spread[1, 1])) * fall)


def _misfit(law: _Law) -> float:
    return law.misfit


def _laws(n: np.ndarray, means: np.ndarray, errors: np.ndarray, exponents: np.ndarray) -> list[_Law]:
    laws = []
    for c in exponents:
        columns = np.column_stack([np.ones_like(n), n**-c]) / errors[:, None]
        scale = np.abs(columns).max(axis=0)
        (a, b), residual = nnls(columns / scale, means / errors)
        spread = np.linalg.pinv((columns / scale).T @ (columns / scale)) / np.outer(scale, scale)
        laws.append(_Law(float(a / scale[0]), float(b / scale[1]), float(c), float(residual**2), spread))
    return laws


def _errors(losses: Sequence[Loss]) -> np.ndarray:
    """What the mean loss of each size is off by, by chance: pooled, as three samples tell little."""
    if not np.isfinite([value for loss in losses for value in loss.losses]).all():
        return np.full(len(losses), np.nan)
    spreads = [(np.std(loss.losses, ddof=1), loss) for loss in losses if len(loss.losses) > 1]
    if not spreads:
        return np.full(len(losses), np.nan)
    scale = np.sqrt(np.mean([(spread**2) * loss.rows for spread, loss in spreads]))
    return np.array([max(1e-9, scale / np.sqrt(loss.rows * len(loss.losses))) for loss in losses])


def _refusal(n: np.ndarray, means: np.ndarray, errors: np.ndarray, total: int) -> str:
    if len(n) < _LEAST:
        return f"{len(n)} sizes of samples are too few, {_LEAST} are needed. Give more time."
    if not np.isfinite(means).all() or not np.isfinite(errors).all():
        return "a loss is not finite, or each size has one sample. Give more time."
    if total > LONGEST * n[-1]:
        return f"the largest sample has {n[-1]:,.0f} of {total:,} rows. Give more time."
    rises = means[1:] - means[:-1] > 2 * np.hypot(errors[1:], errors[:-1])
    if rises.any():
        at = int(np.argmax(rises))
        return f"the loss rises from {n[at]:,.0f} to {n[at + 1]:,.0f} rows."
    return ""


def _enough(laws: Sequence[_Law], total: int, tolerance: float, smallest: float) -> int | None:
    """The fewest rows whose loss is near enough that of all, whichever of the laws holds."""
    sizes = np.unique(np.round(np.geomspace(smallest, total, 200)))
    near = np.max([law.more(sizes, total) for law in laws], axis=0) <= tolerance
    return int(sizes[np.argmax(near)]) if near.any() else None
