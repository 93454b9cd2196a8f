"""The partial likelihood of times until events, from sums over the rows that are at risk at each of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.stats.number_sums import NumberSums

_TIES = 1 << 20
"""Events of several times that are looked at together, at least those of one."""


def events_of(block: Block) -> np.ndarray:
    """1 for each row with an event, 0 for those whose time is censored.

    Parameters
    ----------
    block : rows, with the role `event` if some are censored.
    """
    return block.roles.get("event", np.ones(len(block)))


def weights_of(block: Block) -> np.ndarray:
    """What each row of a block weighs."""
    return np.ones(len(block)) if block.weight is None else block.weight


@dataclass(frozen=True, eq=False)
class EventTimes:
    """The different times at which there are events.

    Attributes
    ----------
    times : ndarray of shape (times,), sorted.
    weight, count : ndarrays of shape (times,): what the events of each weigh, and how many there are.
    efron : whether events of the same time leave the risk set little by little, as Efron's method has it;
        otherwise, by Breslow's, all are at risk for each.
    """

    times: np.ndarray
    weight: np.ndarray
    count: np.ndarray
    efron: bool

    @classmethod
    def of(cls, sums: NumberSums, *, efron: bool) -> Self:
        """From sums over the events of each time.

        Parameters
        ----------
        sums : what they weigh, and how many there are.
        efron : see there.
        """
        return cls(sums.numbers, sums.sums[:, 0], sums.sums[:, 1], efron)

    @cached_property
    def tied(self) -> np.ndarray:
        """Booleans of shape (times,): where several events make Efron's method differ."""
        return np.asarray(self.efron & (self.count > 1))

    def places(self, time: np.ndarray) -> np.ndarray:
        """The last of the times that is not after each given one; -1 where there is none."""
        return np.asarray(np.searchsorted(self.times, time, side="right") - 1)


@dataclass(frozen=True, eq=False)
class Look:
    """The partial likelihood at some coefficients.

    Attributes
    ----------
    value : its logarithm.
    gradient : ndarray of shape (width,).
    means : ndarray of shape (width, width): the products of the mean rows at risk, summed over events.
    at_risk : ndarray of shape (times,), the summed exp(X @ coef) of the rows at risk.
    hazard : ndarray of shape (times,), what each time adds to the weight of the rows at risk.
    relief : ndarray of shape (times,), what those of its own events have less, by Efron's method.
    """

    value: float
    gradient: np.ndarray
    means: np.ndarray
    at_risk: np.ndarray
    hazard: np.ndarray
    relief: np.ndarray


@dataclass(frozen=True, eq=False)
class PartialLikelihood:
    """The likelihood of the order in which rows have their events.

    Attributes
    ----------
    view : the rows; y are times.
    events : at which times there are events.
    """

    view: MatrixView
    events: EventTimes

    def look(self, coef: np.ndarray) -> Look:
        """Its value and slope, from one pass.

        Parameters
        ----------
        coef : ndarray of shape (width,).
        """
        with np.errstate(all="ignore"):
            sums, leaving, linear = self.view.reduce(lambda block: self._sums(block, coef))
            size = (len(self.events.times), len(coef) + 1)
            risk = np.cumsum(_placed(sums, size)[::-1], axis=0)[::-1]
            return self._look(risk, _placed(leaving, size), linear)

    def information(self, coef: np.ndarray, look: Look) -> np.ndarray:
        """Minus its second derivatives, from one pass: an array of shape (width, width).

        The squares of the rows at risk, summed over times, are those of all rows, each weighed by the hazard
        up to its own time; so nothing of that size is kept for each time.

        Parameters
        ----------
        coef : ndarray of shape (width,).
        look : what is known of them.
        """
        hazard = np.append(np.cumsum(look.hazard), 0.0)  # which -1 finds
        relief = np.append(look.relief, 0.0)

        def fold(block: Block) -> np.ndarray:
            X = _dense(block)
            place = self.events.places(np.asarray(block.y))
            rows = weights_of(block) * np.exp(X @ coef) * (hazard[place] - events_of(block) * relief[place])
            return np.asarray((X.T * rows) @ X)

        squares: np.ndarray = self.view.reduce(fold)
        found = squares - look.means
        flat = np.diag(found) <= 1e-14 * np.diag(squares)  # which rounding alone makes
        found[flat] = found[:, flat] = 0.0
        return found

    def _sums(self, block: Block, coef: np.ndarray) -> tuple[NumberSums, NumberSums, np.ndarray]:
        """Of the rows by the last event before their time, of the events of tied times, and of all events."""
        X, event, weight = _dense(block), events_of(block), weights_of(block)
        place = self.events.places(np.asarray(block.y))
        score = X @ coef
        risk = weight * np.exp(score)
        parts = np.column_stack([risk, X * risk[:, None]])
        known = place >= 0
        tied = known & (event > 0) & self.events.tied[place]
        linear = np.append((weight * event) @ score, (weight * event) @ X)
        return NumberSums.of(place[known], parts[known]), NumberSums.of(place[tied], parts[tied]), linear

    def _look(self, risk: np.ndarray, leaving: np.ndarray, linear: np.ndarray) -> Look:
        logs, first, second = _by_time(self.events, risk[:, 0], leaving[:, 0])
        S, D = risk[:, 1:], leaving[:, 1:]
        tied = self.events.tied
        means = (S.T * second[0]) @ S
        if tied.any():
            S_tied, D_tied = S[tied], D[tied]
            cross = (S_tied.T * second[1, tied]) @ D_tied
            means += (D_tied.T * second[2, tied]) @ D_tied - cross - cross.T
        gradient = linear[1:] - first[0] @ S + first[1] @ D
        return Look(float(linear[0] - logs.sum()), gradient, means, risk[:, 0], first[0], first[1])


def _by_time(events: EventTimes, risk: np.ndarray, leaving: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of each time: the logarithms of what is at risk, its inverses, and its squared inverses, over events.

    The inverses also times the share of the events that have left, and the squared ones times its square.
    """
    weight = events.weight
    logs, first, second = weight * np.log(risk), np.zeros((2, len(risk))), np.zeros((3, len(risk)))
    first[0], second[0] = weight / risk, weight / risk**2
    tied = np.flatnonzero(events.tied)
    group = (np.cumsum(events.count[tied]) // _TIES).astype(np.intp)
    for part in np.split(tied, np.flatnonzero(np.diff(group)) + 1) if len(tied) else []:
        count = events.count[part].astype(np.intp)
        starts = np.cumsum(count) - count
        share = (np.arange(count.sum()) - np.repeat(starts, count)) / np.repeat(count, count)
        left = np.repeat(risk[part], count) - share * np.repeat(leaving[part], count)
        each = weight[part] / count
        logs[part] = each * np.add.reduceat(np.log(left), starts)
        for power in range(2):
            first[power, part] = each * np.add.reduceat(share**power / left, starts)
        for power in range(3):
            second[power, part] = each * np.add.reduceat(share**power / left**2, starts)
    return logs, first, second


def _placed(sums: NumberSums, size: tuple[int, int]) -> np.ndarray:
    """Sums by place as an array with a row for each place."""
    found = np.zeros(size)
    found[sums.numbers.astype(np.intp)] = sums.sums
    return found


def _dense(block: Block) -> np.ndarray:
    X = block.X.toarray(order="F") if is_sparse(block.X) else block.X
    return np.asarray(X, dtype=np.float64)
