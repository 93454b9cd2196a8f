"""The log losses of many logistic models on many folds, with their derivatives, as matrix products.

All candidates' scores of some rows are one product, and so are all their gradients. Second derivatives are a
product too: of each candidate's curvature of every row, and the products of all pairs of that row's features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from outgrow.data.batch import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView

CHUNK = 1 << 17
"""Scores that are worked on at once: they stay in a core's cache."""
PAIRS = 2_000
"""Up to so many pairs of features, their products are laid out for all rows of a chunk."""

Sums = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Losses (candidates,), gradients (candidates, size), packed curvatures (of some, pairs)."""


@dataclass(frozen=True, eq=False)
class Likelihoods:
    """The summed log loss of each of several candidates, whose rows are those of its fold.

    Attributes
    ----------
    width, classes, intercept : as of one model.
    factors : ndarray of shape (folds, classes), what rows of a class count; None where all count one.
    """

    width: int
    classes: int
    intercept: bool
    factors: np.ndarray | None

    @property
    def scores(self) -> int:
        return 1 if self.classes == 2 else self.classes

    @property
    def side(self) -> int:
        """Parameters of one score."""
        return self.width + self.intercept

    @property
    def size(self) -> int:
        return self.scores * self.side

    def sums(
        self, rows: FoldedView, block: Block, table: np.ndarray, folds: np.ndarray, curved: np.ndarray
    ) -> Sums:
        """What a block adds, for parameters `table` of shape (candidates, size).

        `folds` are those of the candidates; `curved` are the candidates whose curvature is asked for.
        """
        losses, gradients = np.zeros(len(table)), np.zeros(table.shape)
        packed = np.zeros((len(curved), len(self._scores_pairs[0]) * len(self._pairs[0])))
        for place, part in rows.parts(block):
            own = rows.learners(place, folds)
            bent = np.isin(curved, own)
            loss, gradient, second = self._part(
                part, table[own], folds[own], np.searchsorted(own, curved[bent])
            )
            losses[own] += loss
            gradients[own] += gradient
            packed[bent] += second
        return losses, gradients, packed

    def _part(self, block: Block, table: np.ndarray, folds: np.ndarray, curved: np.ndarray) -> Sums:
        """What rows add from which all of these candidates learn."""
        losses, gradients = np.zeros(len(table)), np.zeros(table.shape)
        packed = np.zeros((len(curved), len(self._scores_pairs[0]) * len(self._pairs[0])))
        weights = self._weights(block)
        derive = partial(self._binary, room=[]) if self.scores == 1 else self._multinomial
        for part, X in self._chunks(block, len(table)):
            y = np.asarray(block.y)[part]
            w = None if weights is None else weights[:, part]
            with np.errstate(over="ignore"):
                loss, gradient, second = derive(X, y, table, folds, w, curved)
            losses += loss
            gradients += gradient
            if len(curved):
                packed += self._products(second, X).reshape(packed.shape)
        return losses, gradients, packed

    def unpacked(self, packed: np.ndarray) -> np.ndarray:
        """Curvatures as matrices, of shape (candidates, size, size)."""
        a, b = self._scores_pairs
        i, j = self._pairs
        cells = packed.reshape(len(packed), len(a), len(i))
        H = np.zeros((len(packed), self.scores, self.side, self.scores, self.side))
        for place, (k, m) in enumerate(zip(a, b, strict=True)):
            H[:, k, i, m, j] = H[:, k, j, m, i] = H[:, m, i, k, j] = H[:, m, j, k, i] = cells[:, place]
        return H.reshape(len(packed), self.size, self.size)

    def penalised(self) -> np.ndarray:
        """1 for each parameter that is penalised, 0 for intercepts."""
        mask = np.ones((self.scores, self.side))
        mask[:, self.width :] = 0
        return mask.ravel()

    def gauge(self) -> np.ndarray | None:
        """A positive semi-definite matrix over directions in which the loss does not change, if any."""
        if self.scores == 1:
            return None
        return np.kron(np.ones((self.scores, self.scores)) / self.scores, np.eye(self.side))

    def _weights(self, block: Block) -> np.ndarray | None:
        """What the rows weigh in each fold, of shape (folds, rows), or alike in all; None for one."""
        if self.factors is None:
            return None if block.weight is None else block.weight[None, :]
        factors = self.factors[:, block.y]
        return factors if block.weight is None else factors * block.weight

    def _chunks(self, block: Block, candidates: int) -> Iterator[tuple[slice, np.ndarray]]:
        """Runs of rows with their features, of shape (side, rows), the last of them one for the intercept."""
        step = max(32, CHUNK // max(1, candidates * self.scores))
        for start in range(0, len(block), step):
            part = slice(start, min(start + step, len(block)))
            X = np.ones((self.side, part.stop - start))
            X[: self.width] = block.X[part].toarray().T if is_sparse(block.X) else block.X.T[:, part]
            yield part, X

    def _binary(
        self,
        X: np.ndarray,
        y: np.ndarray,
        table: np.ndarray,
        folds: np.ndarray,
        w: np.ndarray | None,
        curved: np.ndarray,
        room: list[np.ndarray],
    ) -> Sums:
        if not room or room[0].shape[1] != X.shape[1]:  # new memory for each chunk would cost as much again
            room[:] = [np.empty((len(table), X.shape[1])) for _ in range(3)]
        E, logs, weights = room
        # with the sign of each row turned so that its class is the one with the positive score, a row's
        # probability of being right is 1 / (1 + E), E being exp(-score)
        signed = X * (1.0 - 2.0 * y)
        np.matmul(table, signed, out=E)
        np.exp(E, out=E)
        E += 1.0
        np.log(E, out=logs)
        right = np.reciprocal(E, out=E)
        second = right[curved] * (1.0 - right[curved])
        if w is None:
            return logs.sum(axis=1), signed.sum(axis=1) - _turned(signed, right), second
        if len(w) == 1:
            signed *= w
            return logs @ w[0], signed.sum(axis=1) - _turned(signed, right), second * w
        np.take(w, folds, axis=0, out=weights, mode="clip")
        losses = np.einsum("cr,cr->c", logs, weights)
        second *= weights[curved]
        right *= weights
        return losses, (w @ signed.T)[folds] - _turned(signed, right), second

    def _multinomial(
        self,
        X: np.ndarray,
        y: np.ndarray,
        table: np.ndarray,
        folds: np.ndarray,
        w: np.ndarray | None,
        curved: np.ndarray,
    ) -> Sums:
        count = X.shape[1]
        P = (table.reshape(-1, self.side) @ X).reshape(len(table), self.scores, count)
        P -= P.max(axis=1, keepdims=True)
        own = P[:, y, np.arange(count)]
        np.exp(P, out=P)
        total = P.sum(axis=1)
        losses = np.log(total) - own
        P /= total[:, None, :]
        a, b = self._scores_pairs
        second = P[curved][:, a] * ((a == b)[:, None] - P[curved][:, b])
        P[:, y, np.arange(count)] -= 1.0
        if w is not None:
            weights = w[folds] if len(w) > 1 else w
            losses *= weights
            second *= (weights[curved] if len(w) > 1 else w)[:, None, :]
            P *= weights[:, None, :]
        gradients = (P.reshape(-1, count) @ X.T).reshape(table.shape)
        return losses.sum(axis=1), gradients, second.reshape(-1, count)

    @cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        return np.triu_indices(self.side)

    @cached_property
    def _scores_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        return np.triu_indices(self.scores)

    def _products(self, second: np.ndarray, X: np.ndarray) -> np.ndarray:
        """X diag(each row of second) X', the upper triangle of each."""
        i, j = self._pairs
        if len(i) <= PAIRS:
            products = np.empty((len(i), X.shape[1]))
            ends = np.cumsum(np.arange(len(X), 0, -1)).tolist()
            for a, end in enumerate(ends):
                np.multiply(X[a], X[a:], out=products[end - len(X) + a : end])
            return _turned(products, second)
        return np.stack([((X * row) @ X.T)[i, j] for row in second])


def _turned(X: np.ndarray, right: np.ndarray) -> np.ndarray:
    """`right @ X.T`; the product of the narrow matrix and the wide one is the faster way round."""
    return (X @ right.T).T
