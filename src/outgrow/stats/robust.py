"""Merges of what several ranks propose that a minority of lying or broken ranks cannot move far.

Pure functions of an array of shape (ranks, size), one proposal a row, and the same as rules with a name, for
what takes any `Merge`. A number that is not finite never comes from an honest rank, and counts as far away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from outgrow._settings import is_real, is_whole
from outgrow.errors import ParameterError

_COLUMNS = 1 << 16
"""Numbers of each proposal that are sorted at once: few enough to stay in a core's cache."""


class Merge(Protocol):
    """How the proposals of several ranks become one."""

    def merge(self, updates: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """One proposal for all.

        Parameters
        ----------
        updates : ndarray of shape (ranks, size), one proposal a row; it is not changed.
        weights : ndarray of shape (ranks,), what each rank says that it counts, such as its rows.

        Returns
        -------
        ndarray of shape (size,), of the type of `updates`.
        """


@dataclass(frozen=True)
class Mean:
    """The weighted mean: right where every rank is honest, and at the mercy of a single one that is not.

    Examples
    --------
    >>> import numpy as np
    >>> Mean().merge(np.array([[1.0], [4.0]]), np.array([2.0, 1.0])).tolist()
    [2.0]
    """

    def merge(self, updates: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """See `Merge.merge`.

        Parameters
        ----------
        updates, weights : as there.
        """
        updates, weights = _checked(updates, weights)
        return np.asarray(_shares(weights, updates) @ updates)


@dataclass(frozen=True)
class Median:
    """The median of each number: right while fewer than half of the ranks lie [1]_.

    Parameters
    ----------
    weighted : count each rank by its weight. A rank that lies may lie about that, too, so ranks count alike
        by default.

    References
    ----------
    .. [1] Yin, Chen, Ramchandran, Bartlett (2018), Byzantine-robust distributed learning, ICML.

    Examples
    --------
    >>> import numpy as np
    >>> Median().merge(np.array([[1.0], [1.2], [-900.0]]), np.ones(3)).tolist()
    [1.0]
    """

    weighted: bool = False

    def merge(self, updates: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """See `Merge.merge`.

        Parameters
        ----------
        updates, weights : as there.
        """
        return median(updates, weights if self.weighted else None)


@dataclass(frozen=True)
class TrimmedMean:
    """The mean of each number without the ranks of its largest and smallest values [1]_.

    Parameters
    ----------
    share : of the ranks to leave out at either end, rounded down; at least as many as may lie.
    weighted : count each of the others by its weight, which a rank that lies may choose.

    References
    ----------
    .. [1] Yin, Chen, Ramchandran, Bartlett (2018), Byzantine-robust distributed learning, ICML.

    Examples
    --------
    >>> import numpy as np
    >>> TrimmedMean(share=0.25).merge(np.array([[1.0], [2.0], [3.0], [-900.0]]), np.ones(4)).tolist()
    [1.5]
    """

    share: float = 1 / 3
    weighted: bool = False

    def __post_init__(self) -> None:
        if not (is_real(self.share) and 0 <= self.share < 0.5):
            raise ParameterError(
                f"share={self.share!r}: at least 0 and below 0.5 of the ranks at either end."
            )

    def merge(self, updates: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """See `Merge.merge`.

        Parameters
        ----------
        updates, weights : as there.
        """
        return trimmed_mean(updates, weights if self.weighted else None, share=self.share)


@dataclass(frozen=True)
class Krum:
    """The mean of the whole proposals that have the nearest neighbours [1]_.

    Parameters
    ----------
    liars : how many ranks may lie, of at least 2 * liars + 3; by default as many as there may be.
    chosen : of how many proposals the mean is taken; 1 is Krum, more is multi-Krum.

    References
    ----------
    .. [1] Blanchard, El Mhamdi, Guerraoui, Stainer (2017), Machine learning with adversaries, NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> proposals = np.array([[1.0], [1.1], [1.3], [1.5], [-900.0]])
    >>> Krum(liars=1).merge(proposals, np.ones(5)).tolist()
    [1.1]
    """

    liars: int | None = None
    chosen: int = 1

    def __post_init__(self) -> None:
        if self.liars is not None and not is_whole(self.liars, 0):
            raise ParameterError(f"liars={self.liars!r}: a whole number, 0 or more.")
        if not is_whole(self.chosen):
            raise ParameterError(f"chosen={self.chosen!r}: at least 1 proposal has to stay.")

    def merge(self, updates: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """See `Merge.merge`.

        Parameters
        ----------
        updates, weights : as there; the weights of the chosen proposals count, not those in the choice.
        """
        return krum(updates, weights, liars=self.liars, chosen=self.chosen)


def median(stack: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The median of each number over the ranks; between two of them where just half of the weight is below.

    Parameters
    ----------
    stack : ndarray of shape (ranks, size).
    weights : ndarray of shape (ranks,); None where all count alike.

    Returns
    -------
    ndarray of shape (size,), of the type of `stack`.
    """
    stack, weights = _checked(stack, weights)
    answer = np.empty(stack.shape[1], stack.dtype)
    for part in _parts(stack.shape[1]):
        order, values = _sorted(stack[:, part])
        below = np.cumsum(weights[order], axis=0)
        half = below[-1] / 2
        close = 1e-12 * below[-1]
        low = np.argmax(below >= half - close, axis=0)
        high = np.argmax(below > half + close, axis=0)
        columns = np.arange(values.shape[1])
        first, second = values[low, columns], values[high, columns]
        answer[part] = np.where(low == high, first, first / 2 + second / 2)
    return answer


def trimmed_mean(stack: np.ndarray, weights: np.ndarray | None = None, *, share: float = 1 / 3) -> np.ndarray:
    """The mean of each number without its largest and its smallest values.

    Parameters
    ----------
    stack : ndarray of shape (ranks, size).
    weights : ndarray of shape (ranks,), of those that stay; None where all count alike.
    share : of the ranks, at either end, to leave out; rounded down to whole ranks.

    Returns
    -------
    ndarray of shape (size,), of the type of `stack`.
    """
    stack, weights = _checked(stack, weights)
    cut = int(share * len(stack) + 1e-9)
    answer = np.empty(stack.shape[1], stack.dtype)
    for part in _parts(stack.shape[1]):
        order, values = _sorted(stack[:, part])
        held, counted = values[cut : len(values) - cut], weights[order[cut : len(values) - cut]]
        total = counted.sum(axis=0)
        counted = np.where(total > 0, counted, 1.0)  # only those left out had a weight
        answer[part] = (held * counted).sum(axis=0) / counted.sum(axis=0)
    return answer


def krum(
    stack: np.ndarray, weights: np.ndarray | None = None, *, liars: int | None = None, chosen: int = 1
) -> np.ndarray:
    """The mean of those proposals whose nearest neighbours are nearest.

    Parameters
    ----------
    stack : ndarray of shape (ranks, size).
    weights : ndarray of shape (ranks,), of the proposals that are chosen; None where all count alike.
    liars : how many ranks may lie; None for as many as there may be.
    chosen : of how many proposals the mean is taken. Of equally good ones the first.

    Returns
    -------
    ndarray of shape (size,), of the type of `stack`.

    Raises
    ------
    ParameterError
        When there are fewer than 2 * liars + 3 ranks, or fewer honest ones than are to be chosen.
    """
    stack, weights = _checked(stack, weights)
    ranks = len(stack)
    allowed = max(0, (ranks - 3) // 2)
    liars = allowed if liars is None else liars
    if liars > allowed:
        raise ParameterError(f"liars={liars} of {ranks} ranks: Krum needs at least {2 * liars + 3} ranks.")
    if chosen > ranks - liars:
        raise ParameterError(
            f"chosen={chosen}: of {ranks} ranks with {liars} liars {ranks - liars} are left."
        )
    apart = _squared_distances(stack)
    nearest = np.sort(apart, axis=1)[:, 1 : max(2, ranks - liars - 1)]  # the first is its own, 0
    best = np.argsort(nearest.sum(axis=1), kind="stable")[:chosen]
    return np.asarray(_shares(weights[best], stack) @ stack[best])


def _checked(stack: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    stack = np.asarray(stack)
    stack = stack if stack.dtype.kind == "f" else stack.astype(np.float64)
    counted = np.ones(len(stack)) if weights is None else np.asarray(weights, dtype=np.float64)
    if stack.ndim != 2 or not len(stack) or counted.shape != (len(stack),):
        raise ParameterError(
            f"Proposals of shape {stack.shape} with weights of shape {counted.shape}: "
            "(ranks, size) and (ranks,) are needed, of at least one rank."
        )
    if not np.isfinite(counted).all() or counted.min() < 0 or counted.sum() <= 0:
        raise ParameterError(f"weights={counted.tolist()}: finite, none negative, and not all zero.")
    return stack, counted


def _shares(weights: np.ndarray, like: np.ndarray) -> np.ndarray:
    total = weights.sum()
    shares = weights / total if total > 0 else np.full(len(weights), 1 / len(weights))
    return shares.astype(like.dtype)


def _parts(size: int) -> list[slice]:
    return [slice(start, start + _COLUMNS) for start in range(0, size, _COLUMNS)]


def _sorted(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order of each column and its sorted values; those that are no numbers last, as infinite."""
    values = np.where(np.isnan(values), np.inf, values)
    order = np.argsort(values, axis=0, kind="stable")
    return order, np.take_along_axis(values, order, axis=0)


def _squared_distances(stack: np.ndarray) -> np.ndarray:
    """Of each proposal from each; infinite where one has a number that is not finite."""
    ranks = len(stack)
    apart = np.zeros((ranks, ranks))
    finite = np.isfinite(stack).all(axis=1)
    for row in range(ranks):
        for other in range(row):
            apart[row, other] = apart[other, row] = (
                _squared_distance(stack[row], stack[other]) if finite[row] and finite[other] else np.inf
            )
    return apart


def _squared_distance(left: np.ndarray, right: np.ndarray) -> float:
    total = 0.0
    with np.errstate(over="ignore"):  # of a lie; infinitely far is what it is
        for part in _parts(len(left)):
            difference = left[part].astype(np.float64) - right[part]
            total += float(difference @ difference)
    return total
