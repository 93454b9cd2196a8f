"""What the metrics of predicted classes need, of each group of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from outgrow.stats.grouped import GroupedSums, Segments
from outgrow.stats.scores import EXACT_ROWS, RankedScores
from outgrow.stats.state import State

_BY_ROW = ("groups", "y", "weight", "scores")
"""What there is of each row that is kept."""


@dataclass(frozen=True, eq=False)
class ScoredGroups(State):
    """Scores of rows by group: as they are, or of groups of very many rows counted in bins.

    Attributes
    ----------
    groups : uint64 of shape (rows,), the hash of the group of each row that is kept.
    y, weight : of shape (rows,), the index of the true class, and the weight.
    scores : shape (rows, ranked).
    large : uint64, the hashes of groups whose rows are counted, sorted.
    counted : of each of those, the scores of each class that is ranked.
    exact : up to so many rows of a group are kept.
    """

    groups: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    scores: np.ndarray
    large: np.ndarray
    counted: tuple[tuple[RankedScores, ...], ...]
    exact: int = EXACT_ROWS

    @classmethod
    def of(
        cls,
        groups: np.ndarray,
        y: np.ndarray,
        scores: np.ndarray,
        weight: np.ndarray,
        exact: int = EXACT_ROWS,
    ) -> ScoredGroups:
        """The scores of rows.

        Parameters
        ----------
        groups : uint64 of shape (rows,), the hash of the group of each.
        y : shape (rows,), the index of the true class.
        scores : shape (rows, ranked), in [0, 1].
        weight : shape (rows,).
        exact : up to so many rows of a group are kept.
        """
        none = np.zeros(0, dtype=np.uint64)
        return cls(groups, y, weight, scores, none, (), exact)._with_few()

    def merge(self, other: ScoredGroups) -> ScoredGroups:
        counted = dict(zip(self.large.tolist(), self.counted, strict=True))
        for group, ranked in zip(other.large.tolist(), other.counted, strict=True):
            known = counted.get(group)
            counted[group] = ranked if known is None else _merged(known, ranked)
        large = sorted(counted)
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in _BY_ROW
        }
        hashes = np.array(large, dtype=np.uint64)
        both = replace(self, **joined, large=hashes, counted=tuple(counted[group] for group in large))
        return both._with_few()

    def _with_few(self) -> ScoredGroups:
        """The same with the rows of groups of very many rows counted."""
        if len(self.groups) <= self.exact and not len(self.large):
            return self
        hashes, counts = np.unique(self.groups, return_counts=True)
        many = hashes[(counts > self.exact) | np.isin(hashes, self.large)]
        if not len(many):
            return self
        counted = dict(zip(self.large.tolist(), self.counted, strict=True))
        for group in many:
            known = counted.get(int(group), self._ranked(np.zeros(0, dtype=np.intp)))
            counted[int(group)] = _merged(known, self._ranked(np.flatnonzero(self.groups == group)))
        keep = ~np.isin(self.groups, many)
        large = sorted(counted)
        kept: dict[str, Any] = {name: getattr(self, name)[keep] for name in _BY_ROW}
        hashes = np.array(large, dtype=np.uint64)
        return replace(self, **kept, large=hashes, counted=tuple(counted[group] for group in large))

    def _ranked(self, rows: np.ndarray) -> tuple[RankedScores, ...]:
        """Some rows as scores of each class that is ranked: the second of two, or each of more."""
        width = self.scores.shape[1]
        y, weight = self.y[rows], self.weight[rows]
        ranked = (
            RankedScores.of(self.scores[rows, j], y == (1 if width == 1 else j), weight) for j in range(width)
        )
        return tuple(
            RankedScores(len(rows), r.score, r.positive, r.negative, self.exact, r.bins) for r in ranked
        )

    def ranked(self, hashes: np.ndarray) -> list[tuple[RankedScores, ...]]:
        """The scores of each class that is ranked, of each group.

        Parameters
        ----------
        hashes : uint64 of shape (groups,), which groups.
        """
        order = np.argsort(self.groups, kind="stable")
        ordered, counted = self.groups[order], dict(zip(self.large.tolist(), self.counted, strict=True))
        starts, ends = (np.searchsorted(ordered, hashes, side=side) for side in ("left", "right"))
        pairs = zip(hashes.tolist(), starts, ends, strict=True)
        return [
            counted[group] if group in counted else self._ranked(order[start:end])
            for group, start, end in pairs
        ]

    def pairs(self, hashes: np.ndarray, classes: int) -> list[np.ndarray]:
        """How well the scores of a class tell it from each other, of each group.

        Parameters
        ----------
        hashes : uint64 of shape (groups,), which groups.
        classes : how many there are, more than two.

        Returns
        -------
        For each group an ndarray of shape (classes, classes): the ROC area of the scores of a class (row) on
        the rows of this and of the other (column); NaN where there are none, or where rows are counted.
        """
        order = np.argsort(self.groups, kind="stable")
        ordered = self.groups[order]
        starts, ends = (np.searchsorted(ordered, hashes, side=side) for side in ("left", "right"))
        return [self._pairs(order[start:end], classes) for start, end in zip(starts, ends, strict=True)]

    @np.errstate(divide="ignore", invalid="ignore")
    def _pairs(self, rows: np.ndarray, classes: int) -> np.ndarray:
        y, weight = self.y[rows], self.weight[rows]
        totals = np.bincount(y, weight, classes)
        areas = np.full((classes, classes), np.nan)
        for k in range(classes if len(rows) else 0):
            score = self.scores[rows, k]
            mine = np.flatnonzero(y == k)
            mine = mine[np.argsort(score[mine])]
            below = np.append(0.0, np.cumsum(weight[mine]))
            low, high = (below[np.searchsorted(score[mine], score, side=side)] for side in ("left", "right"))
            won = totals[k] - 0.5 * (low + high)  # of the rows of the class, with half of those alike
            areas[k] = np.bincount(y, weight * won, classes) / (totals[k] * totals)
        np.fill_diagonal(areas, np.nan)
        return areas


def _merged(left: tuple[RankedScores, ...], right: tuple[RankedScores, ...]) -> tuple[RankedScores, ...]:
    return tuple(one.merge(two) for one, two in zip(left, right, strict=True))


def judged(
    segments: Segments,
    y: np.ndarray,
    predicted: np.ndarray | None,
    probabilities: np.ndarray | None,
    weight: np.ndarray | None,
    classes: int,
    top: Sequence[int] = (),
) -> tuple[GroupedSums, ScoredGroups]:
    """The sums that metrics of classes need, of each group, and the scores of its rows.

    Parameters
    ----------
    segments : the groups of the rows.
    y : shape (rows,), the index of the true class; -1 where it is missing.
    predicted : shape (rows,), that of the predicted class, -1 where it is missing; None for the most
        probable.
    probabilities : shape (rows, classes), NaN where missing; None where there are none.
    weight : shape (rows,); None where each row counts once.
    classes : how many there are.
    top : among how many of the most probable classes the true one is looked for.

    Returns
    -------
    Sums of each group: how many rows count; how many lack a value; the log losses and the squares of those;
    the squared errors of the probabilities and the squares of those; for each number of `top` the weight of
    rows whose class is there; the table of classes. And the scores.
    """
    there = y >= 0
    if predicted is not None:
        there = there & (predicted >= 0)
    if probabilities is not None:
        there = there & ~np.isnan(probabilities).any(axis=1)
    w = np.where(there, 1.0 if weight is None else weight, 0.0)
    losses = np.zeros((4 + len(top), len(y)))
    none = np.zeros(0, dtype=np.uint64)
    scores = ScoredGroups.of(none, none.astype(np.int64), np.zeros((0, 0)), np.zeros(0))
    group = np.repeat(np.arange(len(segments.hashes)), segments.counts)
    if probabilities is not None:
        losses[:4, there] = _losses(y[there], probabilities[there], w[there])
        losses[4:, there] = w[there] * (_ahead(y[there], probabilities[there]) < np.array([*top])[:, None])
        kept = segments.order[there[segments.order]]
        ranked = probabilities[kept][:, [1] if classes == 2 else slice(None)]
        of_rows = segments.hashes[group][there[segments.order]]
        scores = ScoredGroups.of(of_rows, y[kept].astype(np.int64), ranked, w[kept], EXACT_ROWS)
    if predicted is None:
        assert probabilities is not None
        predicted = np.where(there[:, None], probabilities, 0.0).argmax(axis=1)
    cells = np.where(there, y * classes + predicted, 0)[segments.order]
    size = len(segments.hashes) * classes * classes
    table = np.bincount(group * classes * classes + cells, w[segments.order], size)
    sums = segments.sums(np.vstack([there, ~there, losses])[:, segments.order]).T
    return GroupedSums(segments.hashes, np.hstack([sums, table.reshape(-1, classes * classes)])), scores


def _losses(y: np.ndarray, chances: np.ndarray, w: np.ndarray) -> np.ndarray:
    """What each row adds: its log loss, the square of that, its squared error, the square of that."""
    eps = np.finfo(np.float64).eps
    total = chances.sum(axis=1)
    rows = np.arange(len(y))
    log = -np.log(np.clip(chances[rows, y] / np.where(total > 0, total, 1.0), eps, 1 - eps))
    missed = chances.copy()
    missed[rows, y] -= 1
    squared = (missed**2).sum(axis=1) / (2 if chances.shape[1] == 2 else 1)
    return w * np.array([log, log**2, squared, squared**2])


def _ahead(y: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """How many classes are more probable than the true one of each row, or as probable and later."""
    of_true_class = chances[np.arange(len(y)), y][:, None]
    later = np.arange(chances.shape[1]) > y[:, None]
    return ((chances > of_true_class) | ((chances == of_true_class) & later)).sum(axis=1)
