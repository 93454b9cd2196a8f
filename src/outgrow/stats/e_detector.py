"""Whether a model errs more often than it did, with a proven bound on false alarms.

The e-detector of Shin, Ramdas and Rinaldo ("E-detectors: a nonparametric framework for sequential change
detection", 2022, arXiv 2203.03532): each row's error x in [0, 1] is a bet against "the mean is at most p0",

    M <- (M + 1) (1 + lambda (x - p0)),

and there is an alarm when the mean of M over six bets lambda reaches 1 / alpha. While the mean error given
the past stays at or below p0, the expected number of rows before an alarm is at least 1 / alpha, whatever the
distribution of the errors and however they depend on each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
from scipy.optimize import brentq

from outgrow.errors import DataError, ParameterError
from outgrow.stats.state import State

ODDS = (1.2, 1.35, 1.5, 1.8, 2.5, 5.0)
"""Each bet is the best one against errors whose odds grew so many times."""
LEAST_BASELINE = 1e-6
STEPS = 256
_ERRORS = np.arange(STEPS + 1) / STEPS
_ROWS_AT_ONCE = 1 << 16


def bets(baseline: float) -> np.ndarray:
    """The six bets lambda against a mean error of at most `baseline`; each below 1 / baseline."""
    if not 0 <= baseline < 1:
        raise ParameterError(f"baseline={baseline!r} is no mean error. Give a number from 0 to below 1.")
    p = max(baseline, LEAST_BASELINE)
    odds = p / (1 - p) * np.asarray(ODDS)
    return (odds / (1 + odds) - p) / (p * (1 - p))


def upper_mean(mean: float, rows: float, confidence: float = 0.99) -> float:
    """What the mean error is at most, after `rows` errors in [0, 1] of the mean `mean`.

    The bound of Chernoff and Hoeffding (1963, theorem 1): it holds for any errors in [0, 1] of independent
    rows, not only for 0 and 1.

    Parameters
    ----------
    mean : of the errors that were seen.
    rows : how many.
    confidence : with which the bound holds.
    """
    if rows <= 0:
        return 1.0
    allowed = -math.log(1 - confidence) / rows

    def excess(p: float) -> float:
        divergence = 0.0
        if mean > 0:
            divergence += mean * math.log(mean / p)
        if mean < 1:
            divergence += (1 - mean) * math.log((1 - mean) / (1 - p))
        return divergence - allowed

    highest = 1 - 1e-12
    lowest = max(mean, 1e-300)
    return 1.0 if mean >= highest or excess(highest) <= 0 else float(brentq(excess, lowest, highest))


@dataclass(frozen=True, eq=False)
class ErrorCounts(State):
    """How often each error was made, in steps of 1/256, rounded down: exact counts, of any order of the rows.

    Rounding down keeps the bound on false alarms: no error becomes larger. 0 and 1 stay as they are.

    Attributes
    ----------
    counts : int64 ndarray of shape (257,), rows by error.
    """

    counts: np.ndarray

    @classmethod
    def of(cls, errors: np.ndarray) -> Self:
        """Of the errors of rows, each in [0, 1]."""
        steps = np.floor(_bounded(errors) * STEPS).astype(np.intp)
        return cls(np.bincount(steps, minlength=STEPS + 1))

    def merge(self, other: Self) -> Self:
        return type(self)(self.counts + other.counts)

    @property
    def rows(self) -> int:
        """How many."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """The mean error; NaN of no rows."""
        return float(self.counts @ _ERRORS) / self.rows if self.rows else math.nan

    def upper(self, confidence: float = 0.99) -> float:
        """What the mean error is at most: a baseline for the rows to come."""
        return upper_mean(self.mean, self.rows, confidence) if self.rows else 1.0


@dataclass(frozen=True)
class EDetector:
    """Watches errors in [0, 1] for a mean that grew; a value that `update` makes anew.

    While the mean error given the past is at most `baseline`, the expected number of rows before an alarm is
    at least 1 / `false_alarms`.

    Parameters
    ----------
    baseline : the mean error that is no alarm, such as `upper_mean` of what was measured before.
    false_alarms : alpha; at most so many alarms a row on average. 1e-5 is one in 100,000 rows.
    logs : the logarithms of the six M; None before the first row.
    rows : how many were seen.
    alarm : at which row, counted from 1, M reached 1 / alpha for the first time; None if it did not. Where
        whole windows are seen, the last row of the window.

    Examples
    --------
    >>> import numpy as np
    >>> from outgrow.stats.e_detector import EDetector
    >>> rng = np.random.default_rng(0)
    >>> detector = EDetector(baseline=0.2).update(rng.random(2000) < 0.2)
    >>> detector.alarm
    >>> detector.update(rng.random(2000) < 0.4).alarm - 2000
    40
    """

    baseline: float
    false_alarms: float = 1e-5
    logs: tuple[float, ...] | None = None
    rows: int = 0
    alarm: int | None = None

    def __post_init__(self) -> None:
        bets(self.baseline)
        if not 0 < self.false_alarms < 1:
            raise ParameterError(
                f"false_alarms={self.false_alarms!r} is no rate of alarms a row. Give a number between 0 and "
                "1, such as 1e-5 for at most one false alarm in 100,000 rows on average."
            )

    @property
    def evidence(self) -> float:
        """log10 of the mean M; the alarm is at -log10(false_alarms)."""
        return -math.inf if self.logs is None else float(_mean(np.asarray(self.logs))) / math.log(10)

    def update(self, errors: np.ndarray) -> EDetector:
        """After more rows, one by one in the order they came.

        Parameters
        ----------
        errors : shape (rows,), each in [0, 1].
        """
        values = _bounded(errors)
        detector = self
        for start in range(0, len(values), _ROWS_AT_ONCE):
            detector = detector._rows(values[start : start + _ROWS_AT_ONCE])
        return detector

    def update_window(self, window: ErrorCounts) -> EDetector:
        """After a window whose rows have no order: M <- (M + rows) x the product over its rows.

        The bound is the same, in rows, if how many rows a window has says nothing of their errors. An alarm
        comes at the end of a window, and windows of one row are `update`.
        """
        if window.rows == 0:
            return self
        gains = window.counts @ _by_step(self.baseline)
        logs = np.logaddexp(self._logs(), math.log(window.rows)) + gains
        rows = self.rows + window.rows
        reached = rows if _mean(logs) >= -math.log(self.false_alarms) else None
        return replace(self, logs=tuple(map(float, logs)), rows=rows, alarm=self.alarm or reached)

    def restarted(self) -> EDetector:
        """As before the first row, with the same baseline and bound."""
        return EDetector(self.baseline, self.false_alarms)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        logs = None if self.logs is None else list(self.logs)
        return {
            "baseline": self.baseline,
            "false_alarms": self.false_alarms,
            "logs": logs,
            "rows": self.rows,
            "alarm": self.alarm,
        }

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> EDetector:
        """What `to_dict` was called on."""
        logs = kept["logs"]
        return cls(**(kept | {"logs": None if logs is None else tuple(logs)}))

    def _logs(self) -> np.ndarray:
        return np.full(len(ODDS), -np.inf) if self.logs is None else np.asarray(self.logs)

    def _rows(self, values: np.ndarray) -> EDetector:
        """M after t rows is exp(g_t) (M_0 + 1 + sum over 0 < s < t of exp(-g_s)), of the summed gains g."""
        gains = np.cumsum(_gains(values, self.baseline), axis=0)
        starts = np.vstack([np.logaddexp(self._logs(), 0.0), -gains[:-1]])
        logs = gains + np.logaddexp.accumulate(starts, axis=0)
        alarm = self.alarm
        if alarm is None:
            (reached,) = np.nonzero(_mean(logs) >= -math.log(self.false_alarms))
            alarm = self.rows + int(reached[0]) + 1 if len(reached) else None
        return replace(self, logs=tuple(map(float, logs[-1])), rows=self.rows + len(values), alarm=alarm)


def _mean(logs: np.ndarray) -> Any:
    """The logarithm of the mean over the bets."""
    highest = logs.max(axis=-1, keepdims=True)
    return np.log(np.exp(logs - highest).mean(axis=-1)) + highest[..., 0]


def _gains(values: np.ndarray, baseline: float) -> np.ndarray:
    return np.log1p(np.outer(values - max(baseline, LEAST_BASELINE), bets(baseline)))


@lru_cache(maxsize=64)
def _by_step(baseline: float) -> np.ndarray:
    """What an error of each step is worth to each bet."""
    return _gains(_ERRORS, baseline)


def _bounded(errors: np.ndarray) -> np.ndarray:
    values = np.asarray(errors, dtype=np.float64)
    outside = ~((values >= 0) & (values <= 1))
    if outside.any():
        raise DataError(
            f"An error of {values[outside][0]!r} is not between 0 and 1, and the bound on false alarms holds "
            "only there. Divide the errors by their largest, or give 0 and 1."
        )
    return values
