"""The plane below which a share of the rows lies, exactly: smoothed steps, then one linear program.

Near the minimum of a smoothed loss, only rows near the plane may still change their side. They enter a linear
program as they are, all others as one vector, by which side they are on (Portnoy and Koenker 1997). Rows that
its solution finds on the other side join, until there are none: then the program's bound is the loss of all
rows, so that the plane is proven to be the best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError
from outgrow.ml.solvers.losses import SmoothedPinball
from outgrow.ml.solvers.minimum import minimum
from outgrow.ml.solvers.objective import Objective
from outgrow.stats.quantiles import Gathered

_FEW = 2_000
"""Up to so many rows, all of them are in the linear program."""
_EACH = 60
"""Rows of the linear program for each parameter."""
_MOST = 200_000
_BANDS = 2.0 ** np.arange(-40.0, 21.0)
"""Of the width of the parabola: how near rows of the linear program may have to lie."""
_NARROWER = 0.25
_SMOOTH = 1e-9
"""Of the objective: how near the minimum of a smoothed loss is looked for, as it is not the one wanted."""
_ROUNDS = 30
_OPTIMAL, _INFEASIBLE = 0, 2


@dataclass(frozen=True, eq=False)
class Program:
    """The rows of a linear program, and how many changed their side with the last plane.

    Attributes
    ----------
    rows : ndarray of shape (rows, size + 2): features, a one for the intercept, y, weight.
    slope : ndarray of shape (size,), by what the loss of all other rows changes with the parameters.
    changed : how many rows outside the band are on another side of the last plane than of the first.
    """

    rows: np.ndarray
    slope: np.ndarray
    changed: int


class Plane:
    """The search for one quantile on some rows.

    Parameters
    ----------
    view : the rows, without offsets of their columns.
    quantile : between 0 and 1.
    penalty : what the absolute size of each coefficient costs beside the summed loss.
    intercept : whether the last parameter is a constant.
    spread : ndarray of shape (width,), how large the features are.
    size : how large y is.
    """

    def __init__(
        self,
        view: MatrixView,
        quantile: float,
        penalty: float,
        *,
        intercept: bool,
        spread: np.ndarray,
        size: float,
    ) -> None:
        self.view = view
        self.quantile = quantile
        self.penalty = penalty
        self.intercept = intercept
        units = np.where(spread > 0, spread, 1.0)
        self.units = np.append(units, 1.0) if intercept else units
        self.size = size
        self.parameters = view.width + intercept
        self.proven = False

    def best(self, start: float, max_iter: int) -> np.ndarray:
        """The parameters of the best plane, of shape (size,), coefficients and then the intercept.

        Parameters
        ----------
        start : the intercept to begin with.
        max_iter : most passes of each smoothed minimisation.
        """
        wanted = max(_FEW, _EACH * self.parameters)
        if self.view.rows <= wanted:
            first, band = np.zeros(self.parameters), np.inf
        else:
            first, band = self._near(start, wanted, max_iter)
        return self._exact(first, band)

    def _near(self, start: float, wanted: int, max_iter: int) -> tuple[np.ndarray, float]:
        """A plane near the best one, and how far from it as many rows lie as are wanted."""
        rows = FoldedView.whole(self.view)
        w = np.zeros(self.parameters)
        if self.intercept:
            w[-1] = start
        width = self.size
        while True:
            w = self._smoothed(rows, w, width, max_iter)
            counts = self._counts(w, width)
            if counts[np.searchsorted(_BANDS, 1.0)] <= 2 * wanted or width < 1e-9 * self.size:
                break
            width *= _NARROWER
        enough = np.flatnonzero(counts >= wanted)
        return w, float(width * _BANDS[enough[0]]) if len(enough) else np.inf

    def _smoothed(self, rows: FoldedView, w: np.ndarray, width: float, max_iter: int) -> np.ndarray:
        objective = Objective(
            SmoothedPinball(self.quantile, width),
            self.view.width,
            self.intercept,
            np.zeros(1, dtype=np.intp),
            np.full(1, self.penalty),
            np.zeros(1),
        )
        bend = np.full(1, self.view.rows / (2 * width))
        minima, offsets = minimum(
            rows, objective, bend=bend, tol=_SMOOTH, max_iter=max_iter, begin=objective.unpack(w)
        )
        coef, constant = objective.unpack(minima.w[0])
        return objective.pack(coef, offsets.restore(coef, constant))

    def _counts(self, w: np.ndarray, width: float) -> np.ndarray:
        """How many rows lie within each of the bands of a plane."""

        def fold(block: Block) -> np.ndarray:
            far = np.sort(np.abs(self._residuals(block, w)))
            return np.searchsorted(far, width * _BANDS, side="right").astype(np.float64)

        return self.view.reduce(fold)

    def _exact(self, first: np.ndarray, band: float) -> np.ndarray:
        planes: list[np.ndarray] = []
        w = first
        for _ in range(_ROUNDS):
            program = self._program(first, band, planes)
            if planes and not program.changed:
                self.proven = True
                break
            found = self._solved(program)
            if found is None:  # rows further away hold the plane
                band, planes = 4 * band, []
                continue
            w = found
            if band == np.inf:
                self.proven = True
                break
            planes.append(w)
        return w

    def _program(self, first: np.ndarray, band: float, planes: list[np.ndarray]) -> Program:
        q = self.quantile

        def fold(block: Block) -> tuple[Gathered, np.ndarray, np.ndarray]:
            X = block.X.toarray() if is_sparse(block.X) else block.X
            X = np.column_stack([X, np.ones(len(X))]) if self.intercept else X
            y = np.asarray(block.y)
            weight = np.ones(len(y)) if block.weight is None else block.weight
            before = y - X @ first
            held = np.abs(before) <= band
            changed = np.zeros(len(y), bool)
            for plane in planes:
                changed = ~held & ((y - X @ plane) * before < 0)
                held |= changed
            pull = np.where(held, 0.0, weight * np.where(before > 0, -q, 1 - q))
            rows = np.column_stack([X[held], y[held], weight[held]])
            return Gathered((rows,)), X.T @ pull, np.array([float(changed.sum())])

        gathered, slope, changed = self.view.reduce(fold)
        (rows,) = gathered.values
        if len(rows) > _MOST:
            raise DataError(
                f"{len(rows):,} rows lie on the plane of the quantile {q}, or so near that the exact one is "
                f"not found within {_MOST:,} rows. Give rows that are alike once, with their weight."
            )
        return Program(_united(rows), slope, int(changed[0]))

    def _solved(self, program: Program) -> np.ndarray | None:
        """The parameters of the best plane for the program, by its dual; None where there is no best one."""
        X, y, weight = program.rows[:, :-2] / self.units, program.rows[:, -2], program.rows[:, -1]
        slope, width = program.slope / self.units, self.view.width
        penalties = np.zeros(self.parameters)
        penalties[:width] = self.penalty / self.units[:width]
        slack = np.eye(self.parameters)[:, penalties > 0]
        bounds = np.column_stack([weight * (self.quantile - 1), weight * self.quantile])
        limits = penalties[penalties > 0]
        low, high = np.concatenate([bounds, np.column_stack([-limits, limits])]).T
        scale = max(float(weight.max(initial=0.0)), 1e-300)
        answer = linprog(
            np.concatenate([-y / self.size, np.zeros(len(limits))]),
            A_eq=np.column_stack([X.T, slack]),
            b_eq=slope / scale,
            bounds=list(zip((low / scale).tolist(), (high / scale).tolist(), strict=True)),
            method="highs",
        )
        if answer.status == _INFEASIBLE:
            return None
        if answer.status != _OPTIMAL:
            raise DataError(f"The linear program of the quantile has no solution: {answer.message}")
        w = -np.asarray(answer.eqlin.marginals) * self.size
        return self._polished(X, y, w, np.asarray(answer.x), bounds / scale, penalties > 0) / self.units

    def _polished(
        self,
        X: np.ndarray,
        y: np.ndarray,
        w: np.ndarray,
        x: np.ndarray,
        bounds: np.ndarray,
        penalised: np.ndarray,
    ) -> np.ndarray:
        """The same with the digits of the equations of the rows that the plane goes through."""
        margin = 1e-9 * (bounds[:, 1] - bounds[:, 0])
        through = (x[: len(y)] > bounds[:, 0] + margin) & (x[: len(y)] < bounds[:, 1] - margin)
        free = ~(penalised & (np.abs(w) <= 1e-9 * np.abs(w).max(initial=0.0)))
        if through.sum() != free.sum():
            return w
        sides, right = X[np.ix_(through, free)], y[through]
        better = np.zeros_like(w)
        better[free] = w[free] + np.linalg.lstsq(sides, right - sides @ w[free], rcond=None)[0]
        near = np.allclose(better, w, rtol=1e-5, atol=1e-6 * np.abs(w).max(initial=0.0))
        return better if near else w

    def _residuals(self, block: Block, w: np.ndarray) -> np.ndarray:
        width = self.view.width
        plane = np.asarray(block.X @ w[:width])
        return np.asarray(block.y) - (plane + w[width] if self.intercept else plane)


def _united(rows: np.ndarray) -> np.ndarray:
    """The same rows in an order that follows from them, equal ones as one with their weight."""
    rows = rows[rows[:, -1] > 0]
    if not len(rows):
        return rows
    found = rows[np.lexsort(rows[:, :-1].T)]
    new = np.append(True, (found[1:, :-1] != found[:-1, :-1]).any(axis=1))
    first = np.flatnonzero(new)
    united = found[first]
    united[:, -1] = np.add.reduceat(found[:, -1], first)
    return united
