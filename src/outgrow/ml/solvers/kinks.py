"""The minimum of losses with a kink and a squared penalty, exactly, whatever number of rows there is.

Near the minimum of a smoothed loss, only rows near their kink may still change their side of it. They are
brought together as they are, all others as one vector, by which side they are on. Rows that are then found on
the other side join, until there are none: then what was minimised is a bound of the loss of all rows that is
equal to it there, so that the minimum is proven.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.errors import DataError, ParameterError
from outgrow.ml.solvers.kinked_rows import KinkedRows
from outgrow.ml.solvers.losses import Loss
from outgrow.ml.solvers.minimum import minimum
from outgrow.ml.solvers.objective import Objective
from outgrow.stats.quantiles import Gathered

WIDTH = 512
"""Up to so many features."""
_FEW = 2_000
"""Up to so many rows, all of them are brought together."""
_EACH = 60
"""Rows that are brought together for each parameter."""
_MOST = 200_000
_BANDS = 2.0 ** np.arange(-40.0, 21.0)
"""Of the width of the parabola: how near their kink rows that are brought together may have to lie."""
_NARROWER = 0.25
_SMOOTH = 1e-9
"""Of the objective: how near the minimum of a smoothed loss is looked for, as it is not the one wanted."""
_ROUNDS, _STEPS = 30, 50

Kinks = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of some rows: 1 or -1, a number, and a cost of at least 0, which is that of each by which the first times
the score falls short of the second; of shape (kinks, rows)."""


@dataclass(frozen=True, eq=False)
class _Program:
    """The rows near their kinks, and how many others changed their side with the last parameters.

    Attributes
    ----------
    near : ndarray of shape (rows, size + 2): signed features, with a one for the intercept; target; cost.
    slope : ndarray of shape (size,), by what the loss of all others changes with the parameters.
    changed : how many others are on another side with the last parameters than with the first.
    """

    near: np.ndarray
    slope: np.ndarray
    changed: int


@dataclass(eq=False)
class KinkSearch:
    """The search for the minimum of one loss.

    Parameters
    ----------
    rows : one fold, without offsets of its columns.
    objective : of one candidate of one score, without absolute penalty; its loss does not matter.
    smoothed : the loss with parabolas of some width in place of its kinks.
    kinks : those of the rows of a block.
    spread : ndarray of shape (width,), how large the features are.
    size : how large scores are.
    """

    rows: FoldedView
    objective: Objective
    smoothed: Callable[[float], Loss]
    kinks: Callable[[Block], Kinks]
    spread: np.ndarray
    size: float
    proven: bool = False
    steps: int = 0

    def best(self, start: float) -> np.ndarray:
        """The parameters of the minimum, of shape (size,), coefficients and then the intercept.

        Parameters
        ----------
        start : the intercept to begin with.
        """
        wanted = max(_FEW, _EACH * self.objective.size)
        w = np.zeros(self.objective.size)
        if self.objective.intercept:
            w[-1] = start
        if self.rows.view.rows <= wanted:
            return self._exact(w, np.inf)
        return self._exact(*self._near(w, wanted))

    def _near(self, w: np.ndarray, wanted: int) -> tuple[np.ndarray, float]:
        """Parameters near the best, and how far from their kinks as many rows lie as are wanted."""
        width = self.size
        while True:
            objective = replace(self.objective, loss=self.smoothed(width))
            bend = np.full(1, self.rows.view.rows / width)
            minima, offsets = minimum(
                self.rows, objective, bend=bend, tol=_SMOOTH, max_iter=_STEPS, begin=objective.unpack(w)
            )
            coef, constant = objective.unpack(minima.w[0])
            w = objective.pack(coef, offsets.restore(coef, constant))
            self.steps += int(minima.steps[0])
            counts = self._counts(w, width)
            if counts[np.searchsorted(_BANDS, 1.0)] <= 2 * wanted or width < 1e-9 * self.size:
                break
            width *= _NARROWER
        enough = np.flatnonzero(counts >= wanted)
        return w, float(width * _BANDS[enough[0]]) if len(enough) else np.inf

    def _counts(self, w: np.ndarray, width: float) -> np.ndarray:
        """How many kinks lie within each of the bands."""

        def fold(block: Block) -> np.ndarray:
            sign, target, _ = self.kinks(block)
            far = np.sort(np.abs(target - sign * self._scores(block, w)), axis=None)
            return np.searchsorted(far, width * _BANDS, side="right").astype(np.float64)

        return self.rows.view.reduce(fold)

    def _exact(self, first: np.ndarray, band: float) -> np.ndarray:
        tried: list[np.ndarray] = []
        w, proven = first, False
        for _ in range(_ROUNDS):
            program = self._program(first, band, tried)
            self.steps += 1
            if tried and not program.changed:
                self.proven = proven
                break
            found = self._solved(program, w)
            if found is None:  # rows further away hold the minimum
                band, tried = 4 * band, []
                continue
            w, proven = found
            if band == np.inf:
                self.proven = proven
                break
            tried.append(w)
        return w

    def _program(self, first: np.ndarray, band: float, tried: list[np.ndarray]) -> _Program:
        def fold(block: Block) -> tuple[Gathered, np.ndarray, np.ndarray]:
            X = block.X.toarray() if is_sparse(block.X) else block.X
            X = np.column_stack([X, np.ones(len(X))]) if self.objective.intercept else X
            sign, target, cost = self.kinks(block)
            before = target - sign * (X @ first)
            held = np.abs(before) <= band
            changed = np.zeros(held.shape, bool)
            for w in tried:
                changed = ~held & ((target - sign * (X @ w)) * before < 0)
                held |= changed
            pull = np.where(held | (before < 0), 0.0, -cost * sign)
            near = [
                np.column_stack([X[on] * s[on, None], t[on], c[on]])
                for on, s, t, c in zip(held & (cost > 0), sign, target, cost, strict=True)
            ]
            return (
                Gathered((np.concatenate(near),)),
                (X.T @ pull.T).sum(axis=1),
                np.array([float(changed.sum())]),
            )

        gathered, slope, changed = self.rows.view.reduce(fold)
        (near,) = gathered.values
        if len(near) > _MOST:
            raise DataError(
                f"{len(near):,} rows lie on the kink of the loss, or so near that the exact minimum is not "
                f"found within {_MOST:,} rows. Give rows that are alike once, with their weight."
            )
        return _Program(_united(near), slope, int(changed[0]))

    def _solved(self, program: _Program, start: np.ndarray) -> tuple[np.ndarray, bool] | None:
        """The best parameters for the rows near their kinks; None where there are no best ones."""
        width = self.objective.width
        units = np.where(self.spread > 0, self.spread, 1.0)
        bend = self.objective.l2[0] / units**2
        if self.objective.intercept:
            units, bend = np.append(units, 1.0), np.append(bend, 0.0)
        near = KinkedRows(
            program.near[:, :-2] / units,
            program.near[:, -2],
            program.near[:, -1],
            program.slope / units,
            bend,
            self.size,
        )
        found = near.minimum(start * units)
        assert len(start) == width + self.objective.intercept
        return None if found is None else (found[0] / units, found[1])

    def _scores(self, block: Block, w: np.ndarray) -> np.ndarray:
        width = self.objective.width
        scores = np.asarray(block.X @ w[:width])
        return scores + w[width] if self.objective.intercept else scores


def check_search(objective: Objective, who: str) -> None:
    """Refuse what the search does not find.

    Parameters
    ----------
    objective : how many features there are, and the penalty.
    who : the class that the error names.

    Raises
    ------
    ParameterError
        When the penalty is another than a squared one.
    DataError
        When there are too many features.
    """
    if objective.l1.any() or not objective.l2.all():
        raise ParameterError(
            f"{who} finds the minimum of a loss without curvature with a squared penalty alone. Take "
            "penalty='l2' and a strength above 0, or a loss with curvature."
        )
    if objective.width > WIDTH:
        raise DataError(
            f"{who} finds the minimum of a loss without curvature for up to {WIDTH} features; there are "
            f"{objective.width}. Take the squared loss, which takes any number, or fewer columns."
        )


def _united(near: np.ndarray) -> np.ndarray:
    """The same rows in an order that follows from them, equal ones as one with their costs."""
    if not len(near):
        return near
    found = near[np.lexsort(near[:, :-1].T)]
    new = np.append(True, (found[1:, :-1] != found[:-1, :-1]).any(axis=1))
    first = np.flatnonzero(new)
    united = found[first]
    united[:, -1] = np.add.reduceat(found[:, -1], first)
    return united
