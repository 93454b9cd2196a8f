"""Learning by minibatches: all ranks take the same steps, each with the sums over its rows of a batch."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from outgrow.engine.blocks import Block
from outgrow.engine.context import FitContext
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError
from outgrow.ml.solvers.minibatches import Steps, held_out, resident
from outgrow.ml.solvers.updates import Update
from outgrow.stats.state import merge

AUTO_ROWS = 200
"""Rows of a batch where nobody says how many."""
_PART = 4096
"""Rows of a batch that a thread takes."""

Fold = Callable[[np.ndarray], Callable[[Block], Any]]
"""Of parameters, what is summed over the rows of a block."""
Penalty = Callable[[np.ndarray, float], tuple[float, np.ndarray]]
"""Of parameters and the weight of all rows, what they cost, and its gradient."""


@dataclass(frozen=True)
class Course:
    """How a learning goes.

    Attributes
    ----------
    epochs : the most.
    batch_size : rows of a step over all ranks, about; None for `AUTO_ROWS`.
    tol, patience : it ends after more than so many epochs in a row that are not better by `tol`.
    shuffle : other batches in each epoch.
    held_out : the share of the rows that only judge; None for none.
    seed : of the batches, and of the rows held out.
    """

    epochs: int
    batch_size: int | None
    tol: float
    patience: float
    shuffle: bool
    held_out: float | None
    seed: int


@dataclass(frozen=True)
class Judge:
    """How well parameters do, of rows held out.

    Attributes
    ----------
    fold : of parameters, what is merged over rows.
    score : of what was merged, a number; more is better.
    """

    fold: Fold
    score: Callable[[Any], float]


@dataclass
class Learned:
    """What a learning gave.

    Attributes
    ----------
    w : the parameters, those of the best epoch where rows were held out.
    losses, scores : of each epoch the mean loss before each step, penalty included, and the score of the rows
        held out.
    """

    w: np.ndarray
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)


def stochastic(
    view: MatrixView,
    fold: Fold,
    penalty: Penalty,
    start: np.ndarray,
    update: Update,
    course: Course,
    judge: Judge,
    owner: str,
) -> Learned:
    """Minimise the mean loss of rows plus a penalty, by batches.

    Parameters
    ----------
    view : the rows, which each rank copies.
    fold : of parameters, what sums the loss, the weight and the gradient over the rows of a block, one behind
        the other.
    penalty : of parameters, and the weight of a batch.
    start : the parameters to begin with, of shape (size,).
    update : how they follow the gradient.
    course : how long, and with which batches.
    judge : of rows held out.
    owner : the class, for messages.

    Raises
    ------
    DataError
        When the loss is no finite number, too many rows are held out, or the rows do not fit into memory.
    """
    rows, watched = _parted(view, course, owner)
    view.run.resume()  # batches are no passes: a fit that begins anew takes them anew
    learning = _Learning(view.run, rows, fold, penalty, update, course, owner)
    learned, best, waiting = Learned(np.array(start)), -math.inf, 0
    w = learned.w
    for epoch in range(course.epochs):
        began = time.perf_counter()
        learned.losses.append(learning.epoch(w, epoch))
        quality, metrics = -learned.losses[-1], {}
        if watched is not None:
            quality = judge.score(learning.merged(watched, judge.fold(w)))
            learned.scores.append(quality)
            metrics = {"validation_score": quality}
        waiting = waiting + 1 if quality < best + course.tol else 0
        if quality > best:
            best = quality
            learned.w = w.copy() if watched is not None else w
        seconds = time.perf_counter() - began
        view.run.tell(
            "epoch", epoch + 1, course.epochs, seconds=seconds, loss=learned.losses[-1], metrics=metrics
        )
        if waiting > course.patience:
            if not update.slower():
                return learned
            waiting = 0
    warnings.warn(
        f"{owner}: {course.epochs} epochs ended before the learning converged. Raise max_iter, scale "
        "the columns, or raise tol.",
        ConvergenceWarning,
        stacklevel=4,
    )
    return learned


class _Learning:
    """Takes the steps of epochs."""

    def __init__(
        self,
        run: FitContext,
        rows: Block,
        fold: Fold,
        penalty: Penalty,
        update: Update,
        course: Course,
        owner: str,
    ) -> None:
        self._run, self._fold, self._penalty, self._update = run, fold, penalty, update
        self._shuffle, self._owner = course.shuffle, owner
        self._every = int(_combined(run, np.array([float(len(rows))]))[0])
        size = course.batch_size or min(AUTO_ROWS, self._every)
        self._steps = Steps(rows.source_hashes(), self._every, size, course.seed)
        self._rows = Block(rows.X, rows.y, rows.weight)

    def epoch(self, w: np.ndarray, number: int) -> float:
        """The mean loss before each step, each of which changes the parameters in place."""
        loss = weight = 0.0
        fold = self._fold(w)
        with np.errstate(over="ignore", invalid="ignore"):
            for chosen in self._steps.epoch(number if self._shuffle else 0):
                sums = self.merged(self._rows.take(chosen), fold)
                heavy = float(sums[1])
                if heavy > 0:
                    cost, bent = self._penalty(w, heavy)
                    bent += sums[2:] / heavy
                    loss, weight = loss + float(sums[0]) + cost * heavy, weight + heavy
                    self._check(loss, number)
                    self._update.advance(w, bent)
        self._check(float(w.sum()), number)
        self._update.epoch_ends((number + 1) * self._every)
        return loss / weight

    def merged(self, rows: Block, fold: Callable[[Block], Any]) -> Any:
        """What is merged of some rows of each rank."""
        if len(rows) <= _PART:
            return _combined(self._run, fold(rows))
        parts = [rows.take(slice(start, start + _PART)) for start in range(0, len(rows), _PART)]
        total: Any = None
        for state in self._run.map(fold, parts):
            total = merge(total, state)
        return _combined(self._run, total)

    def _check(self, number: float, epoch: int) -> None:
        if not math.isfinite(number):
            raise DataError(
                f"{self._owner}: the loss of the rows is no number any more in epoch {epoch + 1}. Where "
                "columns, or y, are far from 0, put a StandardScaler before it; else take a smaller "
                "learning_rate_init."
            )


def _parted(view: MatrixView, course: Course, owner: str) -> tuple[Block, Block | None]:
    """The rows of this rank to learn from, and those held out."""
    rows = resident(view, owner)
    if course.held_out is None:
        return rows, None
    watched = held_out(rows.source_hashes(), course.held_out, course.seed)
    counts = _combined(view.run, np.array([np.count_nonzero(~watched), np.count_nonzero(watched)], float))
    if not counts.all():
        raise DataError(
            f"validation_fraction={course.held_out} leaves {int(counts[0])} row(s) to learn from and "
            f"{int(counts[1])} to watch. Give more rows, another fraction, or early_stopping=False."
        )
    return rows.take(~watched), rows.take(watched)


def _combined(run: FitContext, state: Any) -> Any:
    """The states of all ranks, merged."""
    return state if run.comm.size == 1 else run.call(lambda: run.combine(state))
