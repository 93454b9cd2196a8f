"""The loss of a row as a function of its scores, with first and second derivatives.

A new loss is a class of this file: everything else about it (sums over rows, folds, penalties, how it is
minimised) is the same for all.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

Pairs = tuple[np.ndarray, np.ndarray]


class Loss(Protocol):
    """Losses of rows at the scores of some candidates, of shape (candidates, scores, rows).

    What is not promised: that the scores keep their values, or that what comes back are separate arrays.
    """

    scores: int

    def derivatives(self, margins: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Losses, first derivatives by the scores, and what `second` needs.

        Parameters
        ----------
        margins : ndarray of shape (candidates, scores, rows), the scores, which may be overwritten.
        y : ndarray of shape (rows,), or (candidates, 1, rows) where they learn different answers: numbers, or
            the index of each row's class.

        Returns
        -------
        losses : ndarray of shape (candidates, rows), without weights.
        first : ndarray of shape (candidates, scores, rows).
        shared : ndarray of shape (candidates, scores, rows); it may be `first`, so `second` is asked before
            that is changed.
        """

    def second(self, shared: np.ndarray, pairs: Pairs) -> np.ndarray:
        """Second derivatives by pairs of scores, of shape (candidates, pairs, rows).

        Parameters
        ----------
        shared : what `derivatives` gave, of all candidates or of some.
        pairs : two ndarrays of shape (pairs,), the numbers of the scores; a loss of one score has one pair.
        """


class Squared:
    """Half the squared error."""

    scores = 1

    def derivatives(self, margins: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Half the squared residuals, and the residuals twice.

        Parameters
        ----------
        margins : ndarray of shape (candidates, 1, rows), what is predicted; becomes the residuals.
        y : ndarray of shape (rows,), numbers.
        """
        margins -= y
        return 0.5 * margins[:, 0] ** 2, margins, margins

    def second(self, shared: np.ndarray, pairs: Pairs) -> np.ndarray:
        """One for each row.

        Parameters
        ----------
        shared : ndarray of shape (candidates, 1, rows), of which only the shape matters.
        pairs : without effect.
        """
        return np.ones_like(shared)


class Logistic:
    """Log loss of two classes; the score is the log odds of the second."""

    scores = 1

    def derivatives(self, margins: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log losses, their derivatives, and the probability of each row's own class.

        Parameters
        ----------
        margins : ndarray of shape (candidates, 1, rows), log odds of the second class, which are overwritten.
        y : ndarray of shape (rows,), 0 or 1.
        """
        sign = 1.0 - 2.0 * y  # with it a row is right where its score is negative
        margins *= sign
        excess = np.maximum(margins - _LARGEST, 0.0) if margins.max(initial=0.0) > _LARGEST else None
        if excess is not None:
            margins -= excess
        odds = np.exp(margins, out=margins)
        odds += 1.0
        losses = np.log(odds[:, 0])
        if excess is not None:
            losses += excess[:, 0]
        right = np.reciprocal(odds, out=odds)
        first = 1.0 - right
        first *= sign
        return losses, first, right

    def second(self, shared: np.ndarray, pairs: Pairs) -> np.ndarray:
        """The variance of the class of each row.

        Parameters
        ----------
        shared : ndarray of shape (candidates, 1, rows), probabilities of the rows' own classes.
        pairs : without effect.
        """
        return shared * (1.0 - shared)


class SquaredHinge:
    """The square of how far the margin of a row falls short of 1 on the side of its class."""

    scores = 1

    def derivatives(self, margins: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Squared shortfalls, and their derivatives twice.

        Parameters
        ----------
        margins : ndarray of shape (candidates, 1, rows), which are overwritten.
        y : ndarray of shape (rows,) or (candidates, 1, rows), whether a row is of the class that has a
            positive margin.
        """
        sign = np.where(y, -1.0, 1.0)
        margins *= sign
        margins += 1.0
        short = np.maximum(margins, 0.0, out=margins)
        losses = short[:, 0] ** 2
        short *= 2.0 * sign
        return losses, short, short

    def second(self, shared: np.ndarray, pairs: Pairs) -> np.ndarray:
        """2 for each row that falls short.

        Parameters
        ----------
        shared : ndarray of shape (candidates, 1, rows), the first derivatives.
        pairs : without effect.
        """
        return 2.0 * (shared != 0)


class ModifiedHuber:
    """The squared hinge, but a line where a row is on the wrong side by more than 1 (Zhang 2004)."""

    scores = 1

    def derivatives(self, margins: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Losses, their derivatives, and the margins on the side of the rows' classes.

        Parameters
        ----------
        margins : ndarray of shape (candidates, 1, rows), which are overwritten.
        y : ndarray of shape (rows,) or (candidates, 1, rows), whether a row is of the class that has a
            positive margin.
        """
        sign = np.where(y, 1.0, -1.0)
        margins *= sign
        short = np.clip(1.0 - margins, 0.0, 2.0)
        losses = short**2 + 4.0 * np.maximum(-1.0 - margins, 0.0)
        return losses[:, 0], -2.0 * sign * short, margins

    def second(self, shared: np.ndarray, pairs: Pairs) -> np.ndarray:
        """2 for each row that falls short by no more than 2.

        Parameters
        ----------
        shared : ndarray of shape (candidates, 1, rows), the margins on the side of the rows' classes.
        pairs : without effect.
        """
        return np.where(np.abs(shared) < 1.0, 2.0, 0.0)


class Huber:
    """Half the square of a residual up to some size, a line beyond it.

    Parameters
    ----------
    epsilon : that size, above 0.
    """

    scores = 1

    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon

    def derivatives(self, margins: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Losses, their derivatives, and the residuals.

        Parameters
        ----------
        margins : ndarray of shape (candidates, 1, rows), what is predicted; becomes the residuals.
        y : ndarray of shape (rows,), numbers.
        """
        margins -= y
        near = np.clip(margins, -self.epsilon, self.epsilon)
        return (near * (margins - 0.5 * near))[:, 0], near, margins

    def second(self, shared: np.ndarray, pairs: Pairs) -> np.ndarray:
        """One for each row whose residual is up to that size, else that of a parabola above the line.

        The line itself does not bend, and where all rows are far off nothing would say how far to step.

        Parameters
        ----------
        shared : ndarray of shape (candidates, 1, rows), the residuals.
        pairs : without effect.
        """
        return self.epsilon / np.maximum(np.abs(shared), self.epsilon)


class SquaredInsensitive:
    """The square of how far a residual exceeds a size that costs nothing.

    Parameters
    ----------
    epsilon : that size, at least 0.
    """

    scores = 1

    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon

    def derivatives(self, margins: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Squared excesses, and their derivatives twice.

        Parameters
        ----------
        margins : ndarray of shape (candidates, 1, rows), what is predicted; becomes the residuals.
        y : ndarray of shape (rows,), numbers.
        """
        margins -= y
        excess = margins - np.clip(margins, -self.epsilon, self.epsilon)
        losses = excess[:, 0] ** 2
        excess *= 2.0
        return losses, excess, excess

    def second(self, shared: np.ndarray, pairs: Pairs) -> np.ndarray:
        """2 for each row whose residual exceeds that size; for all where it is 0.

        Parameters
        ----------
        shared : ndarray of shape (candidates, 1, rows), the first derivatives.
        pairs : without effect.
        """
        return 2.0 * (shared != 0) if self.epsilon else np.full_like(shared, 2.0)


class SmoothedHinge:
    """How far the margin of a row falls short of 1, with a parabola above the kink.

    Parameters
    ----------
    width : shortfalls up to this size are in the parabola.
    """

    scores = 1

    def __init__(self, width: float) -> None:
        self.width = width

    def derivatives(self, margins: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Losses, their derivatives, and the shortfalls.

        Parameters
        ----------
        margins : ndarray of shape (candidates, 1, rows), which are overwritten.
        y : ndarray of shape (rows,) or (candidates, 1, rows), whether a row is of the class that has a
            positive margin.
        """
        sign = np.where(y, -1.0, 1.0)
        margins *= sign
        margins += 1.0
        pull = np.clip(margins / self.width, 0.0, 1.0)
        losses = pull * (margins - 0.5 * self.width * pull)
        return losses[:, 0], sign * pull, margins

    def second(self, shared: np.ndarray, pairs: Pairs) -> np.ndarray:
        """That of the parabola for the rows in it.

        Parameters
        ----------
        shared : ndarray of shape (candidates, 1, rows), the shortfalls.
        pairs : without effect.
        """
        return np.where((shared > 0) & (shared < self.width), 1.0 / self.width, 0.0)


class SmoothedInsensitive:
    """How far a residual exceeds a size that costs nothing, with parabolas above the kinks.

    Parameters
    ----------
    epsilon : that size, at least 0.
    width : excesses up to this size are in a parabola.
    """

    scores = 1

    def __init__(self, epsilon: float, width: float) -> None:
        self.epsilon = epsilon
        self.width = width

    def derivatives(self, margins: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Losses, their derivatives, and the excesses.

        Parameters
        ----------
        margins : ndarray of shape (candidates, 1, rows), what is predicted; becomes the residuals.
        y : ndarray of shape (rows,), numbers.
        """
        margins -= y
        excess = np.abs(margins) - self.epsilon
        pull = np.clip(excess / self.width, 0.0, 1.0)
        losses = pull * (excess - 0.5 * self.width * pull)
        return losses[:, 0], np.sign(margins) * pull, excess

    def second(self, shared: np.ndarray, pairs: Pairs) -> np.ndarray:
        """That of the parabolas for the rows in them.

        Parameters
        ----------
        shared : ndarray of shape (candidates, 1, rows), the excesses.
        pairs : without effect.
        """
        return np.where((shared >= 0) & (shared < self.width), 1.0 / self.width, 0.0)


class SmoothedPinball:
    """What a quantile minimises, with a parabola in place of its kink (Fernandes, Guerre and Horta 2021).

    Parameters
    ----------
    quantile : between 0 and 1.
    width : residuals up to this size are in the parabola.
    """

    scores = 1

    def __init__(self, quantile: float, width: float) -> None:
        self.quantile = quantile
        self.width = width

    def derivatives(self, margins: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Losses, their derivatives, and the residuals.

        Parameters
        ----------
        margins : ndarray of shape (candidates, 1, rows), what is predicted; becomes the residuals.
        y : ndarray of shape (rows,), numbers.
        """
        margins -= y
        tilt, near = 0.5 - self.quantile, np.clip(margins / self.width, -1.0, 1.0)
        # half the size of a residual, and (r² / w + w) / 4 within the width
        losses = tilt * margins + 0.5 * np.abs(margins) + 0.25 * self.width * (1 - np.abs(near)) ** 2
        return losses[:, 0], tilt + 0.5 * near, margins

    def second(self, shared: np.ndarray, pairs: Pairs) -> np.ndarray:
        """That of the parabola for the rows in it.

        Parameters
        ----------
        shared : ndarray of shape (candidates, 1, rows), the residuals.
        pairs : without effect.
        """
        return np.where(np.abs(shared) < self.width, 0.5 / self.width, 0.0)


class Multinomial:
    """Log loss of several classes, each with a score; the softmax of the scores are the probabilities."""

    def __init__(self, classes: int) -> None:
        self.scores = classes

    def derivatives(self, margins: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log losses, their derivatives, and the probabilities of all classes.

        Parameters
        ----------
        margins : ndarray of shape (candidates, classes, rows), which become the probabilities.
        y : ndarray of shape (rows,), the index of each row's class.
        """
        rows = np.arange(len(y))
        margins -= margins.max(axis=1, keepdims=True)
        losses = -margins[:, y, rows]
        P = np.exp(margins, out=margins)
        total = P.sum(axis=1)
        losses += np.log(total)
        P /= total[:, None, :]
        first = P.copy()
        first[:, y, rows] -= 1.0
        return losses, first, P

    def second(self, shared: np.ndarray, pairs: Pairs) -> np.ndarray:
        """The covariances of the indicators of classes.

        Parameters
        ----------
        shared : ndarray of shape (candidates, classes, rows), probabilities.
        pairs : two ndarrays of the indices of classes.
        """
        a, b = pairs
        return shared[:, a] * ((a == b)[:, None] - shared[:, b])


_LARGEST = 700.0
"""Past this score, an exponential would overflow."""
