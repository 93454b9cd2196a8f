"""What the metrics of predicted classes need, of each group of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outgrow.stats.scores import ClassificationState
from outgrow.stats.state import State


@dataclass(frozen=True, eq=False)
class JudgedClasses(State):
    """Rows with their true and their predicted class, and how likely each class was said to be.

    Attributes
    ----------
    rows, missing : how many count, and how many lack a value.
    confusion : ndarray of shape (classes, classes); weight of rows by true class (row) and predicted.
    losses : ndarray of shape (2, 2), weighted sums of the log losses and of the squared errors of the
        probabilities, and of the squares of both.
    scored : one `ClassificationState` where there are probabilities, else none.
    """

    rows: int
    missing: int
    confusion: np.ndarray
    losses: np.ndarray
    scored: tuple[ClassificationState, ...]

    @classmethod
    def of(
        cls,
        y: np.ndarray,
        predicted: np.ndarray | None,
        probabilities: np.ndarray | None,
        weight: np.ndarray | None = None,
        *,
        classes: int,
    ) -> JudgedClasses:
        """The state of rows.

        Parameters
        ----------
        y : shape (rows,), the index of the true class; -1 where it is missing.
        predicted : shape (rows,), that of the predicted class, -1 where it is missing; None for the most
            probable.
        probabilities : shape (rows, classes), NaN where missing; None where there are none.
        weight : shape (rows,); None where each row counts once.
        classes : how many there are.
        """
        there = y >= 0
        if predicted is not None:
            there = there & (predicted >= 0)
        if probabilities is not None:
            there = there & ~np.isnan(probabilities).any(axis=1)
        n = int(there.sum())
        w = np.ones(n) if weight is None else weight[there]
        y, chances = y[there], None if probabilities is None else probabilities[there]
        if predicted is not None:
            best = predicted[there]
        else:
            assert chances is not None
            best = chances.argmax(axis=1)
        confusion = np.bincount(y * classes + best, w, classes * classes).reshape(classes, classes)
        losses = np.zeros((2, 2))
        scored: tuple[ClassificationState, ...] = ()
        if chances is not None:
            losses = _losses(y, chances, w)
            scored = (ClassificationState.of(y, chances, None if weight is None else w),)
        return cls(n, len(there) - n, confusion, losses, scored)

    def merge(self, other: JudgedClasses) -> JudgedClasses:
        pairs = zip(self.scored, other.scored, strict=True)
        return JudgedClasses(
            self.rows + other.rows,
            self.missing + other.missing,
            self.confusion + other.confusion,
            self.losses + other.losses,
            tuple(one.merge(two) for one, two in pairs),
        )


def _losses(y: np.ndarray, chances: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The sums of the losses of rows, and of their squares."""
    eps = np.finfo(np.float64).eps
    total = chances.sum(axis=1)
    rows = np.arange(len(y))
    log = -np.log(np.clip(chances[rows, y] / np.where(total > 0, total, 1.0), eps, 1 - eps))
    missed = chances.copy()
    missed[rows, y] -= 1
    squared = (missed**2).sum(axis=1) / (2 if chances.shape[1] == 2 else 1)
    return np.array([[w @ part, w @ part**2] for part in (log, squared)])


@dataclass(frozen=True, eq=False)
class JudgedGroups(State):
    """A state for each group: hashes of shape (groups,), sorted, and the states in their order."""

    hashes: np.ndarray
    groups: tuple[JudgedClasses, ...]

    def merge(self, other: JudgedGroups) -> JudgedGroups:
        known = dict(zip(self.hashes.tolist(), self.groups, strict=True))
        for name, group in zip(other.hashes.tolist(), other.groups, strict=True):
            known[name] = known[name].merge(group) if name in known else group
        hashes = sorted(known)
        return JudgedGroups(np.array(hashes, dtype=np.uint64), tuple(known[name] for name in hashes))
