"""Which strategy of training a job's network calls for, on clusters of several sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from outgrow.deep.advice import CHOICES, Choice, advised
from outgrow.deep.network import Network as Net
from outgrow.errors import ParameterError
from outgrow.planning.network import Network


@dataclass(frozen=True)
class Training:
    """How the network of the job was trained on a sample.

    Attributes
    ----------
    parameters : numbers that are learned.
    step : seconds of one step, on all cores of this machine.
    batch_size : rows of a step, over all ranks.
    epochs : passes over the rows.
    share : of the rows, those that are learned from.
    """

    parameters: int
    step: float
    batch_size: int
    epochs: int
    share: float

    def steps(self, rows: int) -> int:
        """Steps of the whole training, on however many ranks: they share the rows of a step.

        Parameters
        ----------
        rows : of the job.
        """
        return self.epochs * math.ceil(self.share * rows / self.batch_size)


@dataclass(frozen=True)
class Strategy:
    """A strategy on so many ranks, a machine like this one each.

    Attributes
    ----------
    ranks : how many there are.
    words : as `strategy=` and job files take it.
    advised : whether it is the one most like one process whose merges take no longer than the steps between.
    step : seconds of a step in the mean.
    seconds : of the training.
    sent : bytes that a rank sends in the training.
    learns : what becomes of the network, in a few words.
    formula : of `seconds`.
    """

    ranks: int
    words: dict[str, Any]
    advised: bool
    step: float
    seconds: float
    sent: float
    learns: str
    formula: str


def training_of(model: Any, seconds: float, learned: int, rows: int) -> Training | None:
    """What a fit on a sample tells of a network; None of other models.

    Parameters
    ----------
    model : fitted; the last step of a pipeline.
    seconds : of the fit.
    learned, rows : how many rows it learned from, and the sample has.
    """
    if not isinstance(model, Net):
        return None
    parameters = int(sum(array.size for array in model.weights_.values()))
    steps = model.n_iter_ * math.ceil(learned / model.batch_size)
    return Training(parameters, seconds / steps, model.batch_size, model.n_iter_, learned / rows)


def strategies(
    training: Training, rows: int, network: Network, memory: float, ranks: Sequence[int]
) -> list[Strategy]:
    """The plain strategy and the one that is advised, for each number of ranks.

    Parameters
    ----------
    training : of the sample.
    rows : of the job.
    network : between the ranks.
    memory : bytes that a rank has.
    ranks : how many there may be.
    """
    rated = []
    for count in ranks:
        try:
            best = advised(
                training.parameters,
                count,
                megabits=network.megabits,
                milliseconds=network.milliseconds,
                step=training.step / count,
                memory=memory,
            )
        except ParameterError:
            continue  # so few ranks cannot hold it
        shown = (best,) if best is CHOICES[0] else (CHOICES[0], best)
        rated += [_strategy(training, rows, network, count, choice, best is choice) for choice in shown]
    return rated


def _strategy(
    training: Training, rows: int, network: Network, ranks: int, choice: Choice, best: bool
) -> Strategy:
    step = choice.seconds(
        training.parameters,
        ranks,
        megabits=network.megabits,
        milliseconds=network.milliseconds,
        step=training.step / ranks,
    )
    steps, sent = training.steps(rows), choice.bytes_sent(training.parameters, ranks)
    words = (
        f"{steps:,} steps x ({training.step:.3g} s / {ranks} ranks + ({choice.hops} x "
        f"{network.milliseconds:g} ms + {sent / 1e6:.3g} MB at {network.megabits:g} Mbit/s) / {choice.every})"
    )
    total = sent * steps / choice.every
    return Strategy(ranks, dict(choice.words), best, step, steps * step, total, choice.learns, words)
