"""The partial likelihood of times until events, from sums over the rows that are at risk at each of them.

Rows are at risk for the events of their own stratum, after they have entered and until their own time. Where
the scores of rows lie far apart, their exponentials are no numbers, or none beside each other: each time then
has a level, near the largest score at risk, by which exponentials are divided.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.ml.solvers.weighing import weighed
from outgrow.stats.extremes import Extremes
from outgrow.stats.number_sums import NumberSums

_TIES = 1 << 20
"""Events of several times that are looked at together, at least those of one."""
_FAR = 300.0
"""Scores up to which exponentials need no levels; and how far levels lie from each other."""


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
class Clock:
    """The different times of all events, and the strata, which together number the times of each stratum.

    Attributes
    ----------
    times : ndarray of shape (times,), sorted.
    strata : ndarray of shape (strata,), the sorted numbers that stand for strata; None where there are none.
    """

    times: np.ndarray
    strata: np.ndarray | None = None

    def codes(self, block: Block, time: np.ndarray) -> np.ndarray:
        """A number for each row that grows with its stratum, and within it with the times passed by then.

        Parameters
        ----------
        block : the rows; each stratum is one of those known.
        time : ndarray of shape (rows,).
        """
        passed = np.searchsorted(self.times, time, side="right")
        if self.strata is None:
            return np.asarray(passed)
        stratum = np.searchsorted(self.strata, block.roles["strata"])
        return np.asarray(stratum * (len(self.times) + 1) + passed)


@dataclass(frozen=True, eq=False)
class EventTimes:
    """The different times at which there are events, in each stratum.

    Attributes
    ----------
    clock : numbers them.
    codes : ndarray of shape (times,), sorted.
    weight, count : ndarrays of shape (times,): what the events of each weigh, and how many there are.
    efron : whether events of the same time leave the risk set little by little, as Efron's method has it;
        otherwise, by Breslow's, all are at risk for each.
    """

    clock: Clock
    codes: np.ndarray
    weight: np.ndarray
    count: np.ndarray
    efron: bool

    @classmethod
    def of(cls, clock: Clock, sums: NumberSums, *, efron: bool) -> Self:
        """From sums over the events of each time.

        Parameters
        ----------
        clock : numbers them.
        sums : by those numbers, what they weigh, and how many there are.
        efron : see there.
        """
        codes = sums.numbers.astype(np.intp)
        return cls(clock, codes, sums.sums[:, 0], sums.sums[:, 1], efron)

    @cached_property
    def strata(self) -> np.ndarray:
        """The place of the stratum of each among all strata."""
        return self.codes // (len(self.clock.times) + 1)

    @cached_property
    def times(self) -> np.ndarray:
        """The times themselves, sorted within each stratum."""
        return np.asarray(self.clock.times[self.codes % (len(self.clock.times) + 1) - 1])

    @cached_property
    def _cuts(self) -> np.ndarray:
        """Where another stratum begins."""
        return np.flatnonzero(np.diff(self.strata)) + 1

    @cached_property
    def tied(self) -> np.ndarray:
        """Booleans of shape (times,): where several events make Efron's method differ."""
        return np.asarray(self.efron & (self.count > 1))

    def places(self, block: Block, time: np.ndarray) -> np.ndarray:
        """The last of the times of a row's stratum that is not after the given one; -1 where there is none.

        Parameters
        ----------
        block : the rows.
        time : ndarray of shape (rows,).
        """
        codes = self.clock.codes(block, time)
        found = np.searchsorted(self.codes, codes, side="right") - 1
        if self.clock.strata is None or not len(self.codes):
            return np.asarray(found)
        other = self.strata[found] != codes // (len(self.clock.times) + 1)
        return np.where(other, -1, found)

    def entered(self, block: Block) -> np.ndarray:
        """The last of the times that each row has missed, as it entered no earlier; -1 where there is none.

        Parameters
        ----------
        block : the rows, with the role `entry` if some enter late.
        """
        if "entry" not in block.roles:
            return np.full(len(block), -1)
        return self.places(block, block.roles["entry"])

    def summed(self, values: np.ndarray, level: np.ndarray) -> np.ndarray:
        """Sums up to each of the times within its stratum, all multiplied by exp(level) of the time.

        Parameters
        ----------
        values : ndarray of shape (times, ...), each multiplied by that of its own time.
        level : ndarray of shape (times,), falling within each stratum.
        """
        sums = values.copy()
        for start, end in self._runs(level):
            if start and start not in self._starts:
                sums[start] += sums[start - 1] * np.exp(level[start] - level[start - 1])
            np.cumsum(sums[start:end], axis=0, out=sums[start:end])
        return sums

    def summed_from(self, values: np.ndarray, level: np.ndarray) -> np.ndarray:
        """Sums from each of the times on within its stratum, all divided by exp(level) of the time.

        Parameters
        ----------
        values : ndarray of shape (times, ...), each divided by that of its own time.
        level : ndarray of shape (times,), falling within each stratum.
        """
        sums = values.copy()
        for start, end in reversed(self._runs(level)):
            if end < len(sums) and end not in self._starts:
                sums[end - 1] += sums[end] * np.exp(level[end] - level[end - 1])
            behind = sums[start:end][::-1]
            np.cumsum(behind, axis=0, out=behind)
        return sums

    def levels(self, peaks: np.ndarray) -> np.ndarray:
        """A level for each time, no less than the scores at risk, and near the largest.

        Parameters
        ----------
        peaks : ndarray of shape (times,), the largest score of the rows that leave at each, minus infinity
            where none do.
        """
        parts = np.split(peaks, self._cuts)
        largest = np.concatenate([np.maximum.accumulate(part[::-1])[::-1] for part in parts])
        return np.asarray(_FAR * np.ceil(largest / _FAR))

    @cached_property
    def _starts(self) -> set[int]:
        return set(self._cuts.tolist())

    def _runs(self, level: np.ndarray) -> list[tuple[int, int]]:
        """The stretches of times of one stratum and one level."""
        ends = np.union1d(self._cuts, np.flatnonzero(np.diff(level)) + 1).tolist()
        return list(zip([0, *ends], [*ends, len(level)], strict=True))


@dataclass(frozen=True, eq=False)
class Look:
    """The partial likelihood at some coefficients.

    Attributes
    ----------
    value : its logarithm.
    gradient : ndarray of shape (width,).
    means : ndarray of shape (width, width): the products of the mean rows at risk, summed over events.
    level : ndarray of shape (times,): the sums of exponentials are divided by exp(level), hazards multiplied.
    at_risk : ndarray of shape (times,), the summed exp(X @ coef) of the rows at risk.
    hazard : ndarray of shape (times,), what each time adds to the weight of the rows at risk.
    relief : ndarray of shape (times,), what those of its own events have less, by Efron's method.
    """

    value: float
    gradient: np.ndarray
    means: np.ndarray
    level: np.ndarray
    at_risk: np.ndarray
    hazard: np.ndarray
    relief: np.ndarray

    @property
    def finite(self) -> bool:
        """Whether there are numbers for all of it; risks too far from each other have none."""
        with np.errstate(over="ignore"):
            sums = [*self.gradient, self.hazard.sum(), self.means.sum()]
        return bool(np.isfinite(sums).all())


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
        """Its value and slope, from one pass; from three where scores are far apart.

        Parameters
        ----------
        coef : ndarray of shape (width,).
        """
        level = np.zeros(len(self.events.codes))
        with np.errstate(all="ignore"):
            sums, leaving, linear, ends = self.view.reduce(lambda block: self._sums(block, coef, level))
            if max(-ends.low[0], ends.high[0]) > _FAR:
                peaks: Extremes = self.view.reduce(lambda block: self._peaks(block, coef))
                far = self.events.levels(peaks.high)
                sums, leaving, linear, _ = self.view.reduce(lambda block: self._sums(block, coef, far))
                level = far
            size = (len(level), len(coef) + 1)
            risk = self.events.summed_from(_placed(sums, size), level)
            return self._look(risk, _placed(leaving, size), linear, level)

    def information(self, coef: np.ndarray, look: Look) -> np.ndarray:
        """Minus its second derivatives, from one pass: an array of shape (width, width).

        The squares of the rows at risk, summed over times, are those of all rows, each weighed by the hazard
        since it entered up to its own time; so nothing of that size is kept for each time.

        Parameters
        ----------
        coef : ndarray of shape (width,).
        look : what is known of them.
        """
        hazard = np.append(self.events.summed(look.hazard, look.level), 0.0)  # which -1 finds
        relief = np.append(look.relief, 0.0)
        level = np.append(look.level, 0.0)

        def fold(block: Block) -> np.ndarray:
            X = _dense(block)
            place, missed = self.events.places(block, np.asarray(block.y)), self.events.entered(block)
            before = hazard[missed] * np.exp(np.minimum(level[place] - level[missed], 0.0))
            passed = hazard[place] - before - events_of(block) * relief[place]
            with np.errstate(over="ignore"):  # of a row that weighs nothing
                risk = np.exp(_above(X @ coef, place, level))
            rows = weighed(risk, block.weight) * passed
            return np.asarray((X.T * rows) @ X)

        squares: np.ndarray = self.view.reduce(fold)
        found = squares - look.means
        flat = np.diag(found) <= 1e-14 * np.diag(squares)  # which rounding alone makes
        found[flat] = found[:, flat] = 0.0
        return found

    def _sums(
        self, block: Block, coef: np.ndarray, level: np.ndarray
    ) -> tuple[NumberSums, NumberSums, np.ndarray, Extremes]:
        """Of the rows by the last event before their time, of the events of tied times, and of all events.

        And between which numbers the scores of rows at risk lie. Those of rows that enter late are subtracted
        at the last event that they have missed.
        """
        X, event, weight = _dense(block), events_of(block), weights_of(block)
        place, missed = self.events.places(block, np.asarray(block.y)), self.events.entered(block)
        level = np.append(level, 0.0)
        score = X @ coef
        above = _above(score, place, level)
        risk = weighed(np.exp(above), block.weight)
        parts = np.column_stack([risk, X * risk[:, None]])
        known = place > missed
        late = known & (missed >= 0)
        sums = NumberSums.of(place[known], parts[known])
        if late.any():
            lowered = np.exp(level[place[late]] - level[missed[late]])
            sums = sums.merge(NumberSums.of(missed[late], -parts[late] * lowered[:, None]))
        tied = known & (event > 0) & self.events.tied[place]
        own = event * (weight > 0) > 0
        linear = np.append(weight[own] @ above[own], (weight * event) @ X)
        ends = Extremes.of(score[(place >= 0) & (weight > 0), None])
        return sums, NumberSums.of(place[tied], parts[tied]), linear, ends

    def _peaks(self, block: Block, coef: np.ndarray) -> Extremes:
        """The largest score of the rows that leave at each time; the least are not looked at."""
        peaks = np.full(len(self.events.codes), -np.inf)
        place = self.events.places(block, np.asarray(block.y))
        seen = (place >= 0) & (weights_of(block) > 0)
        np.maximum.at(peaks, place[seen], (_dense(block) @ coef)[seen])
        return Extremes(np.array([seen.sum()]), -peaks, peaks)

    def _look(self, risk: np.ndarray, leaving: np.ndarray, linear: np.ndarray, level: np.ndarray) -> Look:
        logs, first, second = _by_time(self.events, risk[:, 0], leaving[:, 0])
        S, D = risk[:, 1:], leaving[:, 1:]
        tied = self.events.tied
        S_mean, D_mean = S / risk[:, :1], D[tied] / risk[tied, :1]  # whose squares are no less than numbers
        means = (S_mean.T * second[0]) @ S_mean
        if tied.any():
            S_tied, D_tied = S_mean[tied], D_mean
            cross = (S_tied.T * second[1, tied]) @ D_tied
            means += (D_tied.T * second[2, tied]) @ D_tied - cross - cross.T
        gradient = linear[1:] - first[0] @ S + first[1] @ D
        return Look(float(linear[0] - logs.sum()), gradient, means, level, risk[:, 0], first[0], first[1])


def _above(score: np.ndarray, place: np.ndarray, level: np.ndarray) -> np.ndarray:
    """How far scores lie above the level of their place; minus infinity without one."""
    return np.where(place >= 0, score - level[place], -np.inf)


def _by_time(events: EventTimes, risk: np.ndarray, leaving: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of each time: the logarithms of what is at risk, its inverses, and its squared inverses, over events.

    The inverses also times the share of the events that have left, and the squared ones times its square;
    the squared ones are of what is left as a share of what is at risk, for that may be tiny.
    """
    weight = events.weight
    logs, first, second = weight * np.log(risk), np.zeros((2, len(risk))), np.zeros((3, len(risk)))
    first[0], second[0] = weight / risk, weight
    tied = np.flatnonzero(events.tied)
    group = (np.cumsum(events.count[tied]) // _TIES).astype(np.intp)
    for part in np.split(tied, np.flatnonzero(np.diff(group)) + 1) if len(tied) else []:
        count = events.count[part].astype(np.intp)
        starts = np.cumsum(count) - count
        share = (np.arange(count.sum()) - np.repeat(starts, count)) / np.repeat(count, count)
        left = np.repeat(risk[part], count) - share * np.repeat(leaving[part], count)
        kept, each = left / np.repeat(risk[part], count), weight[part] / count
        logs[part] = each * np.add.reduceat(np.log(left), starts)
        for power in range(2):
            first[power, part] = each * np.add.reduceat(share**power / left, starts)
        for power in range(3):
            second[power, part] = each * np.add.reduceat(share**power / kept**2, starts)
    return logs, first, second


def _placed(sums: NumberSums, size: tuple[int, int]) -> np.ndarray:
    """Sums by place as an array with a row for each place."""
    found = np.zeros(size)
    found[sums.numbers.astype(np.intp)] = sums.sums
    return found


def _dense(block: Block) -> np.ndarray:
    X = block.X.toarray(order="F") if is_sparse(block.X) else block.X
    return np.asarray(X, dtype=np.float64)
