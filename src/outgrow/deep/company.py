"""A training whose ranks leave and join: what the living keep, and what a newcomer gets of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrow.engine.context import FitContext

_NAME = "training"


@dataclass(frozen=True)
class Kept:
    """Where a rank was when its company broke up.

    Attributes
    ----------
    number : how far that was; of two ranks that differ, the one with the larger number is further.
    content : a snapshot.
    """

    number: int
    content: bytes


def keep(run: FitContext, number: int, content: bytes) -> None:
    """Keep where this rank is for the next company.

    Parameters
    ----------
    run : the fit.
    number, content : see `Kept`.
    """
    run.between[_NAME] = Kept(number, content)


def of_the_living(run: FitContext) -> tuple[Kept | None, Kept | None]:
    """What this rank has kept, and what the one has that was furthest; all ranks ask together.

    Parameters
    ----------
    run : the fit.

    Returns
    -------
    The first is None for a newcomer, the second where all are.
    """
    mine: Kept | None = run.between.pop(_NAME, None)
    about = np.zeros((2, run.comm.size), np.int64)
    if mine is not None:
        about[:, run.comm.rank] = mine.number + 1, len(mine.content)
    about = _combined(run, about)
    if not about[0].any():
        return None, None
    giver = int(about[0].argmax())
    content = np.zeros(int(about[1, giver]), np.uint8)
    if run.comm.rank == giver:
        assert mine is not None
        content = np.frombuffer(mine.content, np.uint8).copy()  # sums are in place
    content = _combined(run, content)
    return mine, Kept(int(about[0, giver]) - 1, content.tobytes())


def one_waits(run: FitContext) -> bool:
    """Whether a rank has heard of one that waits to join; all ranks ask together, and hear the same.

    Parameters
    ----------
    run : the fit.
    """
    return bool(_combined(run, np.array([run.regroups()], np.int64))[0])


def _combined(run: FitContext, array: np.ndarray) -> Any:
    return run.call(lambda: run.combine(array))
