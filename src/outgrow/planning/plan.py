"""What a plan says: what a job will take, where, and whether it needs all its rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from outgrow.engine.memory import describe_size
from outgrow.page import format as say
from outgrow.planning.accelerators import Cost
from outgrow.planning.cheaper import Rival
from outgrow.planning.curve import Curve
from outgrow.planning.deployment import Way
from outgrow.planning.forecast import Forecast
from outgrow.planning.places import Place, as_rows
from outgrow.planning.probe import Answers, Loss, Probe, Size
from outgrow.planning.strategies import Strategy

_SHORT = 120.0
"""Seconds that nobody needs a cluster for."""


@dataclass(frozen=True)
class Plan:
    """What a job will take.

    Attributes
    ----------
    job : the path of the job file.
    size : how many rows it has.
    probes : runs of samples.
    forecast : what all rows take on this machine.
    places : where it may run, this machine first.
    curve : whether a sample is enough.
    answers : how quickly the model answers.
    ways : of putting it to work.
    currency : of prices.
    seconds : what planning took.
    losses : of models learned from samples.
    settings : values that were set in the job file.
    rivals : other algorithms on the same sample.
    strategies : of training a network on several ranks; empty for other models.
    costs : of learning from a million rows, of a network on cores and accelerators.
    """

    job: str
    size: Size
    probes: Sequence[Probe]
    forecast: Forecast
    places: Sequence[Place]
    curve: Curve
    answers: Answers
    ways: Sequence[Way]
    currency: str
    seconds: float
    losses: Sequence[Loss] = ()
    settings: Sequence[str] = ()
    rivals: Sequence[Rival] = ()
    strategies: Sequence[Strategy] = ()
    costs: Sequence[Cost] = ()

    @property
    def advice(self) -> list[str]:
        """What to do, in sentences, the most important first."""
        here = self.places[0]
        sentences = [self._where(here), *self._cheaper(), str(self.curve), *self._network()]
        fitting = [way.name for way in self.ways if way.fits]
        if fitting:
            sentences.append(f"Put it to work in: {', '.join(fitting)}.")
        return sentences

    def _where(self, here: Place) -> str:
        took = f"{say.seconds(here.seconds.value)} and {describe_size(int(here.memory))} here"
        best = min(self.places, key=lambda choice: choice.seconds.value)
        if here.spilled:
            return (
                f"It does not fit: {took}, with {describe_size(int(here.spilled))} of rows on disk. "
                f"{best.where} would take {say.seconds(best.seconds.value)}."
            )
        if best is here or here.seconds.value < _SHORT:
            return f"No cluster is needed: {took}."
        gain = here.seconds.value / best.seconds.value
        return (
            f"It fits: {took}. {best.where} would be {gain:.1f} times as fast, in "
            f"{say.seconds(best.seconds.value)}, if that is worth it."
        )

    @property
    def gain(self) -> float:
        """How much less the job's model may lose by learning from all rows rather than the sample's."""
        if not self.rivals or self.curve.refused:
            return math.inf
        return max(0.0, self.rivals[0].job_loss - self.curve.low)

    def _cheaper(self) -> Iterator[str]:
        """Whether another algorithm would do."""
        as_good = [rival for rival in self.rivals if rival.as_good(self.gain, self.curve.tolerance)]
        on_sample = [rival for rival in self.rivals if rival.as_good(0.0, self.curve.tolerance)]
        for best in sorted(as_good or on_sample, key=lambda rival: rival.seconds)[:1]:
            beside = (
                f"its {best.metric} less this model's is {best.low:+.4f} to {best.high:+.4f} (95 %) on "
                f"{best.held:,} rows, {best.seconds:.2g} s of fit beside {best.of_job:.2g} s"
            )
            if as_good:
                yield f"{best.name} is as good and cheaper, even beside this model on all rows: {beside}."
            else:
                yield (
                    f"{best.name} is as good and cheaper on {best.rows:,} rows: {beside}. Whether it stays "
                    "so with more of them cannot be said."
                )

    def _network(self) -> Iterator[str]:
        """How to train the network, and on what."""
        best = min((way for way in self.strategies if way.advised), key=lambda way: way.seconds, default=None)
        if best is not None:
            words = ", ".join(f"{name}: {value}" for name, value in best.words.items())
            yield (
                f"On {best.ranks} ranks train with strategy: {{{words}}}, {say.seconds(best.seconds)}; it "
                f"learns {best.learns}."
            )
        if len(self.costs) > 1 and self.costs[0].cost is not None:
            yield (
                f"A million rows cost least on {self.costs[0].hardware}: {self.costs[0].cost:.2g} "
                f"{self.currency}."
            )

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; every number with its formula."""
        return {
            "job": self.job,
            "settings": list(self.settings),
            "size": asdict(self.size),
            "probes": [asdict(probe) for probe in self.probes],
            "seconds": asdict(self.forecast.seconds),
            "memory": asdict(self.forecast.memory),
            "stages": {name: asdict(estimate) for name, estimate in self.forecast.stages.items()},
            "places": as_rows(self.places),
            "curve": asdict(self.curve),
            "answers": asdict(self.answers),
            "ways": [asdict(way) for way in self.ways],
            "rivals": [asdict(rival) for rival in self.rivals],
            "strategies": [asdict(way) for way in self.strategies],
            "costs": [asdict(cost) for cost in self.costs],
            "advice": self.advice,
            "currency": self.currency,
            "planning_seconds": self.seconds,
        }

    def __str__(self) -> str:
        lines = [f"{self.job}: {self.size.rows:,} rows, planned in {say.seconds(self.seconds)}", ""]
        heads = ("where", "time", "from", "to", "memory", "on disk", "sent", self.currency)
        cells = [heads, *(self._cells(choice) for choice in self.places)]
        widths = [max(len(row[k]) for row in cells) for k in range(len(heads))]
        for row in cells:
            padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  ".join(padded).rstrip())
        return "\n".join([*lines, "", *self.advice])

    def _cells(self, choice: Place) -> tuple[str, ...]:
        return (
            choice.where,
            say.seconds(choice.seconds.value),
            say.seconds(choice.seconds.low),
            say.seconds(choice.seconds.high),
            describe_size(int(choice.memory)),
            describe_size(int(choice.spilled)) if choice.spilled else "",
            describe_size(int(choice.sent)) if choice.sent else "",
            "" if choice.price is None else f"{choice.price:.3f}",
        )
