"""Which strategy a network and a model call for, as data and a formula.

A step takes the seconds of computing, and those of a merge divided among the steps from one to the next: so
many hops of the network's delay, and the bytes that a rank sends by its bandwidth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from outgrow.errors import ParameterError

_FLOAT = 4
_ADAM = 16
"""Bytes of a number that learns by Adam: itself, its gradient and two moments."""


def _mesh(parameters: int, ranks: int) -> float:
    return 2 * (ranks - 1) / ranks * _FLOAT * parameters


def _units(parameters: int, ranks: int) -> float:
    return 3 * (ranks - 1) / ranks * _FLOAT * parameters


@dataclass(frozen=True)
class Choice:
    """One way to train on several ranks.

    Attributes
    ----------
    words : the strategy, as `strategy_of` and job files take it.
    every : steps from one merge to the next.
    share : of the bytes of float32 that are sent.
    hops : how often one waits for the network's delay in a merge.
    learns : what becomes of the network, in a few words.
    sends : bytes that a rank sends in a merge of so many numbers among so many ranks, as float32.
    """

    words: Mapping[str, Any]
    every: int
    share: float
    hops: int
    learns: str
    sends: Callable[[int, int], float] = _mesh

    def bytes_sent(self, parameters: int, ranks: int) -> float:
        """What a rank sends in a merge.

        Parameters
        ----------
        parameters : how many numbers learn.
        ranks : how many there are.
        """
        return self.share * self.sends(parameters, ranks)

    def seconds(
        self, parameters: int, ranks: int, *, megabits: float, milliseconds: float, step: float
    ) -> float:
        """What a step takes in the mean.

        Parameters
        ----------
        parameters : how many numbers learn.
        ranks : how many there are.
        megabits : what a rank can send in a second.
        milliseconds : from when something is sent until it arrives.
        step : seconds that a rank computes for a step.
        """
        sending = 8e-6 * self.bytes_sent(parameters, ranks) / megabits
        return step + (1e-3 * self.hops * milliseconds + sending) / self.every


CHOICES = (
    Choice({"name": "ddp"}, 1, 1.0, 2, "as one process does"),
    Choice({"name": "ddp", "codec": "bfloat16"}, 1, 1 / 2, 2, "nearly as one process does"),
    Choice({"name": "ddp", "codec": "int8"}, 1, 1 / 4 * (1 + 4 / 1024), 2, "nearly as one process does"),
    Choice({"name": "local_sgd", "every": 32}, 32, 1.0, 2, "a little slower by steps"),
    Choice({"name": "diloco", "every": 100}, 100, 1.0, 2, "well in thousands of steps"),
    Choice(
        {"name": "diloco", "every": 100, "codec": {"name": "top_k", "share": 0.01}},
        100,
        2 / 100,
        2,
        "well in many thousands of steps",
    ),
)
"""From what is most like one process to what sends least."""
IN_PARTS = Choice({"name": "fsdp"}, 1, 1.0, 6, "as one process does, in parts", _units)
"""Where a rank has no room for the parameters, the gradient and the moments of Adam."""


def advised(
    parameters: int,
    ranks: int,
    *,
    megabits: float,
    milliseconds: float,
    step: float,
    memory: float | None = None,
) -> Choice:
    """The choice most like one process whose merges take no longer than the steps between them; where there
    is none, the quickest.

    Parameters
    ----------
    parameters : how many numbers learn.
    ranks : how many there are.
    megabits : what a rank can send in a second.
    milliseconds : from when something is sent until it arrives.
    step : seconds that a rank computes for a step.
    memory : bytes that a rank has for the training of the network; None for enough.

    Raises
    ------
    ParameterError
        When a number is not above 0, or the network does not fit all ranks together.

    Examples
    --------
    >>> from outgrow.deep.advice import advised
    >>> advised(1_000_000, 4, megabits=10_000, milliseconds=0.1, step=0.01).words
    {'name': 'ddp'}
    >>> advised(1_000_000, 4, megabits=100, milliseconds=25, step=0.1).words
    {'name': 'local_sgd', 'every': 32}
    """
    numbers = {"parameters": parameters, "ranks": ranks, "megabits": megabits, "step": step}
    wrong = {name: number for name, number in numbers.items() if not number > 0}
    if wrong or milliseconds < 0:
        raise ParameterError(f"{wrong or {'milliseconds': milliseconds}}: numbers above 0.")
    if memory is not None and _ADAM * parameters > memory:
        if _ADAM * parameters > memory * ranks:
            raise ParameterError(
                f"{parameters:,} numbers take {_ADAM * parameters:,} bytes by Adam, more than {ranks} ranks "
                f"of {memory:,.0f} bytes have together. Take more ranks, or a smaller network."
            )
        return IN_PARTS

    def takes(choice: Choice) -> float:
        return choice.seconds(parameters, ranks, megabits=megabits, milliseconds=milliseconds, step=step)

    return next((choice for choice in CHOICES if takes(choice) <= 2 * step), min(CHOICES, key=takes))
