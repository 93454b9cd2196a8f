"""The minimum of losses with a kink and a squared penalty, for rows that fit into memory.

The kinks are smoothed, less and less (Chapelle 2007). As soon as the rows on kinks are told from all others,
the equations of the minimum are linear, and their solution is checked: it is the minimum if no row is found
on another side of its kink, and none on it pulls with more than it has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_NARROWER = 0.2
_NARROWEST = 1e-13
_STEPS, _HALVINGS, _DOUBLINGS = 60, 60, 80
_STILL = 1e-13
"""Of the size of its parts: a gradient that counts as zero."""
_SLACK = 1e-9
"""Of the size of scores, and of what a row pulls with: what rounding may leave."""
_PROVEN = 1e-11
"""Of the objective: a bound so near it that it is the minimum."""


@dataclass(frozen=True, eq=False)
class KinkedRows:
    """The sum of cost * max(0, target - rows @ w), of slope @ w, and of ½ bend @ w².

    Attributes
    ----------
    rows : ndarray of shape (rows, size).
    target, cost : ndarrays of shape (rows,); costs are above 0.
    slope, bend : ndarrays of shape (size,).
    scale : how large scores are.
    """

    rows: np.ndarray
    target: np.ndarray
    cost: np.ndarray
    slope: np.ndarray
    bend: np.ndarray
    scale: float

    def minimum(self, start: np.ndarray) -> tuple[np.ndarray, bool] | None:
        """The parameters, and whether they are proven to be the best; None where there is no minimum.

        Parameters
        ----------
        start : ndarray of shape (size,), where to begin.
        """
        w = start
        short = self._short(w)
        width = max(float(short.max(initial=0.0)), self.scale * 1e-3)
        while width > _NARROWEST * self.scale:
            found = self._smoothed(w, width)
            if found is None:
                return None
            w = found
            exact = self._polished(w, width)
            if exact is not None:
                return exact, True
            width *= _NARROWER
        return w, self._gap(w, width / _NARROWER) <= _PROVEN * self._value(w)

    def _short(self, w: np.ndarray) -> np.ndarray:
        short: np.ndarray = self.target - self.rows @ w
        return short

    def _value(self, w: np.ndarray) -> float:
        linear = self.slope @ w + 0.5 * self.bend @ w**2
        return float(np.maximum(self._short(w), 0) @ self.cost + abs(linear))

    def _gap(self, w: np.ndarray, width: float) -> float:
        """How far the objective is above the bound that the smoothed minimum gives."""
        short = self._short(w)
        pull = np.clip(short / width, 0, 1)
        return float(self.cost @ (np.maximum(short, 0) - pull * short))

    # ---- smoothed ----------------------------------------------------------------------------------------

    def _gradient(self, w: np.ndarray, short: np.ndarray, width: float) -> np.ndarray:
        pull = self.cost * np.clip(short / width, 0, 1)
        gradient: np.ndarray = self.bend * w + self.slope - self.rows.T @ pull
        return gradient

    def _smoothed(self, w: np.ndarray, width: float) -> np.ndarray | None:
        """The minimum with parabolas of this width, by Newton's method."""
        large = np.abs(self.rows).T @ self.cost + np.abs(self.slope)
        for _ in range(_STEPS):
            short = self._short(w)
            gradient = self._gradient(w, short, width)
            if (np.abs(gradient) <= _STILL * (large + np.abs(self.bend * w))).all():
                return w
            direction = self._direction(gradient, short, width)
            far = self._far(w, direction, short, width)
            if far is None:
                return None
            moved = w + far * direction
            if (moved == w).all():
                return w
            w = moved
        return w

    def _direction(self, gradient: np.ndarray, short: np.ndarray, width: float) -> np.ndarray:
        within = (short > 0) & (short < width)
        near = self.rows[within]
        curved = near.T @ (near * (self.cost[within] / width)[:, None])
        curved[np.diag_indices_from(curved)] += self.bend
        # a constant that no row within holds has no curvature
        curved[np.diag_indices_from(curved)] += 1e-14 * max(float(np.diag(curved).max()), 1e-300)
        try:
            step: np.ndarray = -np.linalg.solve(curved, gradient)
        except np.linalg.LinAlgError:
            step = -np.linalg.lstsq(curved, gradient, rcond=None)[0]
        return step

    def _far(self, w: np.ndarray, direction: np.ndarray, short: np.ndarray, width: float) -> float | None:
        """How far to go in a direction, to where the smoothed objective rises; None if it never does."""
        along = self.rows @ direction
        bend, level = self.bend @ direction**2, (self.bend * w + self.slope) @ direction

        def rise(far: float) -> float:
            pull = self.cost * np.clip((short - far * along) / width, 0, 1)
            return float(level + far * bend - along @ pull)

        low, high = 0.0, 1.0
        if rise(high) <= 0:
            for _ in range(_DOUBLINGS):
                if rise(2 * high) > 0:
                    return high if high == 1.0 else self._between(rise, high, 2 * high)
                high *= 2
            return 1.0 if abs(rise(1.0)) <= abs(level) * 1e-9 else None
        return self._between(rise, low, high)

    @staticmethod
    def _between(rise: Callable[[float], float], low: float, high: float) -> float:
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            if rise(middle) > 0:
                high = middle
            else:
                low = middle
            if high - low <= 1e-6 * high:
                break
        return high if low == 0.0 else low

    # ---- exact -------------------------------------------------------------------------------------------

    def _polished(self, w: np.ndarray, width: float) -> np.ndarray | None:
        """The minimum as if the rows within the width are on their kinks; None where it is not one."""
        short = self._short(w)
        on, beyond = (short > 0) & (short < width), short >= width
        count, size = int(on.sum()), len(w)
        if count > size:
            return None
        near, pull = self.rows[on], self.cost[beyond]
        left = np.zeros((size + count, size + count))
        left[:size, :size] = np.diag(self.bend)
        left[:size, size:], left[size:, :size] = -near.T, -near
        right = np.concatenate([self.rows[beyond].T @ pull - self.slope - self.bend * w, -short[on]])
        moved = np.linalg.lstsq(left, right, rcond=1e-14)[0]
        exact, pulls = w + moved[:size], moved[size:]
        missed = np.abs(left @ moved - right)
        large = np.abs(self.rows).T @ self.cost + np.abs(self.slope) + np.abs(self.bend * exact)
        if (missed[:size] > _SLACK * large).any() or (missed[size:] > _SLACK * self.scale).any():
            return None
        slack = _SLACK * max(self.scale, float(np.abs(self.target).max(initial=0.0)))
        short = self._short(exact)
        sides = (short[beyond] > -slack).all() and (short[~on & ~beyond] < slack).all()
        costs = self.cost[on]
        fits = (pulls >= -_SLACK * costs).all() and (pulls <= (1 + _SLACK) * costs).all()
        return exact if sides and fits else None
