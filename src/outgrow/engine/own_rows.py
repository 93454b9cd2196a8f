"""The rows of one rank as if there were no others, for models that learn from those alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from outgrow.engine.collective import Alone, Communicator
from outgrow.engine.context import FitContext
from outgrow.engine.matrix import MatrixView

T = TypeVar("T")


class _AloneAmong(Alone):
    """A fit of one rank, which hears when another one fails."""

    def __init__(self, comm: Communicator) -> None:
        self._comm = comm

    def check(self) -> None:
        self._comm.check()


def with_own_rows(view: MatrixView, work: Callable[[MatrixView, float], T]) -> T | None:
    """What is made of the rows of this rank alone; None where it has none that weigh something.

    Nothing is sent: the fits of `work` see no other rank.

    Parameters
    ----------
    view : the rows of all ranks.
    work : called with the rows of this one, in which a class may have no row, and with what they weigh.
    """
    rows, weight = 0, 0.0
    classes = view.labels.classes
    counts = None if classes is None else np.zeros(len(classes))
    for block in view.blocks():
        rows += len(block)
        weight += len(block) if block.weight is None else float(block.weight.sum())
        if counts is not None:
            counts += np.bincount(np.asarray(block.y), block.weight, len(counts))
    if not weight:
        return None
    run = FitContext(_AloneAmong(view.run.comm), view.run.threads, view.run.memory, view.run.stage)
    run.many, run.reuse = view.run.many, view.run.reuse
    try:
        own = replace(view, run=run, labels=replace(view.labels, rows=rows, counts=counts), _made={})
        return work(own, weight)
    finally:
        run.close()
