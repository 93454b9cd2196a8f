"""From what samples took to what all rows will take: seconds of each stage, memory, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from outgrow.planning.history import Constants, Expected
from outgrow.planning.probe import Probe, Size

_POINTS = 3
"""The largest probes count: small ones are overhead."""
_ALONE = 0.15
"""What two runs of the same work differ by, as a share."""
_NOISE = 0.05
_POWERS = 0.85, 1.2
"""A job takes between rows to these powers."""


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes
    ----------
    value : the best guess.
    low, high : between which it lies, by what samples of several sizes say.
    formula : how it was made.
    """

    value: float
    low: float
    high: float
    formula: str

    def times(self, factor: float) -> Estimate:
        """So many times as much."""
        if factor == 1:
            return self
        words = f"{factor:.3g} x ({self.formula})"
        return Estimate(self.value * factor, self.low * factor, self.high * factor, words)

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(
            self.value + other.value,
            self.low + other.low,
            self.high + other.high,
            f"{self.formula} + {other.formula}",
        )


def seconds_of(rows: Sequence[int], seconds: Sequence[float], total: int) -> Estimate:
    """What so many rows will take, when samples of these sizes took so long: a + b rows.

    The interval holds what each pair of neighbouring sizes says by itself, and what a power of the rows would
    make of the largest two.

    Parameters
    ----------
    rows, seconds : of the samples, smallest first.
    total : the rows to come.
    """
    n, t = np.array(rows[-_POINTS:], float), np.maximum(1e-6, np.array(seconds[-_POINTS:], float))
    if len(n) == 1:
        value = float(t[0] * total / n[0])
        return Estimate(value, t[0], value, f"{t[0]:.3g} s x {total / n[0]:.3g}")
    (a, b), _ = nnls(np.column_stack([np.ones_like(n), n]) / t[:, None], np.ones_like(t))
    value = float(a + b * total)
    others = [value]
    for (n1, t1), (n2, t2) in zip(zip(n, t, strict=True), zip(n[1:], t[1:], strict=True), strict=False):
        others.append(t2 + max(0.0, t2 - t1) / (n2 - n1) * (total - n2))
    power = np.clip(np.log(t[-1] / t[-2]) / np.log(n[-1] / n[-2]), 0.0, _POWERS[1])
    others.append(float(t[-1] * (total / n[-1]) ** max(power, 0.0)))
    hidden = _NOISE * t[-1] * total / n[-1]  # what rows cost, unseen below what runs differ by
    low, high = float(min(others) * (1 - _ALONE)), float(max(others) * (1 + _ALONE) + hidden)
    return Estimate(value, low, high, f"{a:.3g} s + {b * 1e6:.3g} us x {total:,} rows")


@dataclass(frozen=True)
class Forecast:
    """What a job will take on this machine.

    Attributes
    ----------
    stages : seconds by stage.
    seconds : in all.
    memory : bytes at the peak.
    passes : over the rows, of the fit.
    """

    stages: Mapping[str, Estimate]
    seconds: Estimate
    memory: Estimate
    passes: int

    @property
    def expected(self) -> Expected:
        """The best guesses alone, without imports."""
        stages = {name: estimate.value for name, estimate in self.stages.items()}
        return Expected(sum(stages.values()), self.memory.value, stages)


def forecast(probes: Sequence[Probe], size: Size, constants: Constants | None = None) -> Forecast:
    """What all rows will take.

    Parameters
    ----------
    probes : runs of samples, smallest first.
    size : of the whole.
    constants : by how much jobs took more on this machine than samples said.
    """
    known = constants or Constants()
    rows = [probe.rows for probe in probes]
    stages = {}
    for name in probes[-1].stages:
        if name == "read and join" and size.query_seconds is not None:
            query = size.query_seconds
            stages[name] = Estimate(query, query * 0.85, query * 1.15, f"the query was run: {query:.3g} s")
            continue
        if name == "report":
            drawn = probes[-1].stages[name]
            words = f"a page is drawn, whatever the rows: {drawn:.3g} s"
            stages[name] = Estimate(drawn, drawn * 0.85, drawn * 1.15, words).times(known.of(name))
            continue
        took = seconds_of(rows, [probe.stages[name] for probe in probes], size.rows)
        stages[name] = took.times(known.of(name))
    total = Estimate(size.import_seconds, size.import_seconds, size.import_seconds, "imports")
    for estimate in stages.values():
        total += estimate
    return Forecast(stages, total, _memory(probes, size).times(known.memory), probes[-1].passes)


def _memory(probes: Sequence[Probe], size: Size) -> Estimate:
    """What the largest probe held, and the rows that it had not: a fit keeps its rows as numbers."""
    last = probes[-1]
    rows = max(0, size.rows - last.rows)
    per_row = (size.nbytes or 0) / max(1, size.rows) * (1 if size.query_seconds is None else 2)
    value = last.memory + per_row * rows
    words = f"{last.memory / 1e6:.0f} MB + {per_row:.0f} bytes x {rows:,} rows"
    return Estimate(value, max(last.memory, 0.8 * value), 1.25 * value, words)
