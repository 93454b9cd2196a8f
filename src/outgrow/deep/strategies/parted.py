"""What strategies have in common by which each rank holds a part of the network alone."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from outgrow.deep.strategies.strategy import Running, Totals
from outgrow.engine.links import Links
from outgrow.errors import ParameterError

if TYPE_CHECKING:
    from outgrow.deep.part import Part
    from outgrow.deep.replica import Replica

_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of glibc's malloc.h."""


class Parted(Running):
    """A training of parts. Hooks: `learn`, `arrays`.

    Parameters
    ----------
    part : of this rank.
    whole : the network, whose numbers are kept by the parts until all is learned.
    links : to the other ranks.
    """

    together = True
    parted = True

    def __init__(self, part: Part, whole: Replica, links: Links) -> None:
        super().__init__(part, links)
        _give_back()
        self.part, self.whole = part, whole
        whole.release()

    def learn(self, batch: Any, trainer: Any) -> Any:
        """Forward and back over the rows of a step: the sum of their losses that this rank knows.

        Parameters
        ----------
        batch : the rows of this rank.
        trainer : a `Trainer`, which takes the steps.
        """
        raise NotImplementedError

    def arrays(self) -> dict[str, np.ndarray]:
        """All parameters that learn and all buffers of the whole network; all ranks call this together."""
        raise NotImplementedError

    def gradients(self, sums: np.ndarray) -> np.ndarray:
        totals = self._totals(sums)
        if totals[1]:
            self.part.take_gradients(float(totals[1]))
        return totals

    def _totals(self, sums: np.ndarray) -> np.ndarray:
        return Totals(self.links, sums).get()

    def become_one(self) -> None:
        self.whole.refill(self.arrays())

    @contextmanager
    def consensus(self) -> Iterator[None]:
        self.become_one()
        try:
            yield
        finally:
            self.whole.release()


def _give_back() -> None:
    """Let what is freed go back to the system at once: glibc would keep pieces of up to 32 MB."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 1 << 20)


def is_tied(module: Any, part: Any) -> bool:
    """Whether a part of a network has a parameter that is also one of another part, which then learns as one.

    Parameters
    ----------
    module : the network.
    part : one of its submodules.
    """
    within = {id(one) for one in part.modules()}
    others = (one for one in module.modules() if id(one) not in within)
    elsewhere = {id(value) for one in others for value in one.parameters(recurse=False)}
    return any(id(value) in elsewhere for value in part.parameters())


def check_parts(replica: Replica, name: str) -> None:
    """Raise where a network cannot be divided among ranks.

    Parameters
    ----------
    replica : the whole.
    name : of the strategy, for messages.

    Raises
    ------
    ParameterError
        When it lies on a GPU, or its layers are of Keras.
    """
    if replica.device.type != "cpu":
        raise ParameterError(f"{name} divides networks on CPUs, and this one is on {replica.device}.")
    if any(kind.__module__.startswith("keras.") for kind in type(replica.module).__mro__):
        raise ParameterError(f"{name} divides modules of torch; models of Keras take og.DDP().")
