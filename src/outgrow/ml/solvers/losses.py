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

    What is not promised: that the scores keep their values.
    """

    scores: int

    def derivatives(self, margins: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Losses (candidates, rows), derivatives (candidates, scores, rows), and what `second` needs."""

    def second(self, shared: np.ndarray, pairs: Pairs) -> np.ndarray:
        """Second derivatives by pairs of scores, of shape (candidates, pairs, rows)."""


class Squared:
    """Half the squared error."""

    scores = 1

    def derivatives(self, margins: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        margins -= y
        return 0.5 * margins[:, 0] ** 2, margins, margins

    def second(self, shared: np.ndarray, pairs: Pairs) -> np.ndarray:
        return np.ones_like(shared)


class Logistic:
    """Log loss of two classes; the score is the log odds of the second."""

    scores = 1

    def derivatives(self, margins: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
        return shared * (1.0 - shared)


class Multinomial:
    """Log loss of several classes, each with a score; the softmax of the scores are the probabilities."""

    def __init__(self, classes: int) -> None:
        self.scores = classes

    def derivatives(self, margins: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
        a, b = pairs
        return shared[:, a] * ((a == b)[:, None] - shared[:, b])


_LARGEST = 700.0
"""Past this score, an exponential would overflow."""
