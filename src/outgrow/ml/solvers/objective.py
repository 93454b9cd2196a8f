"""Losses of linear models, summed over rows, with derivatives: of many candidates on many folds at once.

One fit is a stack of one. All candidates' scores of some rows are one product, and so are all their
gradients; both are made of a tile of rows while it is in the caches, so the rows are read once a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.ml.solvers.losses import Loss
from outgrow.ml.solvers.weighing import idle_rows
from outgrow.stats.state import merge

CHUNK = 1 << 17
"""Scores that are worked on at once: they stay in a core's cache."""
SPARSE_CHUNK = 1 << 19
"""Of sparse rows: a gradient of all columns is made for each chunk."""
PAIRS = 2_000
"""Up to so many pairs of features, their products are laid out for all rows of a chunk."""
_SHORT = 1 << 15
"""Up to so many numbers, half a product takes as long as a whole one."""
_FEW = 4
"""Up to so many curvatures of the same rows, each is a product by itself."""

Sums = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Losses (candidates,), gradients (candidates, size), curvatures (some, pairs of scores, side, side)."""


@dataclass(frozen=True, eq=False)
class Objective:
    """The summed loss of each of several candidates, whose rows are those of its fold, and its penalty.

    A penalty is l1 * sum |w| + ½ l2 * sum w², over all parameters but intercepts.

    Attributes
    ----------
    width, intercept : the features, and whether the last parameter of each score is a constant.
    folds, l1, l2 : of each candidate.
    factors : ndarray of shape (candidates, classes), what rows of a class count; None where all count one.
    labels : of each candidate, the index of the class that it tells from all others; None where there are no
        classes, or two, or the loss takes several.
    offset : what is added to all scores of the rows of a block, of shape (rows,), such as the logarithm of an
        exposure; None for nothing.
    """

    loss: Loss
    width: int
    intercept: bool
    folds: np.ndarray
    l1: np.ndarray
    l2: np.ndarray
    factors: np.ndarray | None = None
    labels: np.ndarray | None = None
    offset: Callable[[Block], np.ndarray] | None = None

    @property
    def scores(self) -> int:
        return self.loss.scores

    @property
    def side(self) -> int:
        """Parameters of one score."""
        return self.width + self.intercept

    @property
    def size(self) -> int:
        return self.scores * self.side

    @cached_property
    def mask(self) -> np.ndarray:
        """1 for each parameter that is penalised, 0 for intercepts."""
        mask = np.ones((self.scores, self.side))
        mask[:, self.width :] = 0
        return mask.ravel()

    @cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of scores."""
        return np.triu_indices(self.scores)

    def penalty(self, w: np.ndarray, which: np.ndarray) -> np.ndarray:
        """What the parameters of some candidates cost, of shape (some,).

        Parameters
        ----------
        w : ndarray of shape (some, size).
        which : ndarray of shape (some,), which candidates these are.
        """
        kept = w * self.mask
        return self._absolute(w, which) + 0.5 * self.l2[which] * (kept * kept).sum(axis=1)

    def _absolute(self, w: np.ndarray, which: np.ndarray) -> np.ndarray:
        return self.l1[which] * np.abs(w * self.mask).sum(axis=1)

    def pack(self, coef: np.ndarray, constants: np.ndarray) -> np.ndarray:
        """Parameters of shape (size,), those of a score side by side, its intercept last.

        Parameters
        ----------
        coef : ndarray of shape (scores, features).
        constants : ndarray of shape (scores,), the intercepts; without effect where there are none.
        """
        return np.column_stack([coef, constants] if self.intercept else [coef]).ravel()

    def unpack(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What `pack` was given."""
        table = w.reshape(self.scores, -1)
        constants = table[:, -1] if self.intercept else np.zeros(self.scores)
        return np.ascontiguousarray(table[:, : self.width]), np.ascontiguousarray(constants)

    def gauge(self) -> np.ndarray | None:
        """A positive semi-definite matrix over directions in which the loss does not change, if any."""
        if self.scores == 1:
            return None
        return np.kron(np.ones((self.scores, self.scores)) / self.scores, np.eye(self.side))

    def gradient(self, rows: FoldedView, w: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss of the only candidate and its gradient, without the penalty, from one pass.

        Parameters
        ----------
        rows : from all of which it learns.
        w : ndarray of shape (size,), parameters.
        """
        none = np.zeros(0, dtype=np.intp)
        losses, gradients, _ = rows.reduce(
            lambda block: self.sums(rows, block, w[None, :], np.zeros(1, dtype=np.intp), none)
        )
        return float(losses[0]), gradients[0]

    def sums(
        self, rows: FoldedView, block: Block, table: np.ndarray, which: np.ndarray, curved: np.ndarray
    ) -> Sums:
        """What a block adds for some candidates, without their penalties.

        Parameters
        ----------
        rows : whose folds say which rows of the block a candidate learns from.
        block : a tile of these rows.
        table : ndarray of shape (some, size), parameters.
        which : ndarray of shape (some,), which candidates these are.
        curved : ndarray of places among the some, ascending, whose curvature is asked for; may be empty.
        """
        if rows.train is None and len(block):  # all candidates learn from all rows
            return self._summed(block, table, which, curved)
        losses, gradients = np.zeros(len(table)), np.zeros(table.shape)
        pairs = len(self.pairs[0]) if len(curved) else 1
        bends = np.zeros((len(curved), pairs, self.side, self.side))
        folds = self.folds[which]
        for place, part in rows.parts(block):
            own = rows.learners(place, folds)
            if not len(own):
                continue
            learns = np.zeros(len(folds), dtype=bool)
            learns[own] = True
            bent = learns[curved]
            within = np.searchsorted(own, curved[bent])
            rest = slice(None) if len(own) == len(table) else own  # which spares copies of wide gradients
            loss, gradient, bend = self._summed(part, table[own], which[own], within)
            losses[rest] += loss
            gradients[rest] += gradient
            if len(within):
                bends[bent] += bend
        return losses, gradients, bends

    def _summed(self, block: Block, table: np.ndarray, which: np.ndarray, curved: np.ndarray) -> Sums:
        """The same of rows from which all these candidates learn."""
        return reduce(merge, self._chunks(block, table, which, curved))

    def _chunks(
        self, block: Block, table: np.ndarray, which: np.ndarray, curved: np.ndarray
    ) -> Iterator[Sums]:
        """The same of a few rows at a time."""
        y, sparse = np.asarray(block.y), is_sparse(block.X)
        offset = None if self.offset is None else self.offset(block)
        flat = table.reshape(-1, self.side)
        coef = np.ascontiguousarray(flat[:, : self.width].T) if sparse else flat[:, : self.width]
        step = max(256, (SPARSE_CHUNK if sparse else CHUNK) // len(flat))
        for start in range(0, len(block), step):
            part = slice(start, start + step) if len(block) > step else slice(None)
            X = block.X[part] if len(block) > step else block.X  # a slice of sparse rows is a copy
            own = y[part]
            margins = np.ascontiguousarray((X @ coef).T) if sparse else coef @ X.T
            if self.intercept:
                margins += flat[:, -1:]
            if offset is not None:
                margins += offset[part]
            answers = own if self.labels is None else own == self.labels[which, None, None]
            losses, first, shared = self.loss.derivatives(
                margins.reshape(len(table), self.scores, -1), answers
            )
            second = self.loss.second(shared[curved], self.pairs) if len(curved) else first[:0]
            w = self._weights(own, None if block.weight is None else block.weight[part], which)
            if w is not None:
                idle = idle_rows(w)
                if idle is not None:
                    losses, first = np.where(idle, 0.0, losses), np.where(idle[:, None], 0.0, first)
                    second = np.where((idle if len(w) == 1 else idle[curved])[:, None], 0.0, second)
                losses *= w
                first *= w[:, None, :]
                second = second * (w if len(w) == 1 else w[curved])[:, None, :]
            yield (
                losses.sum(axis=1),
                self._gradients(X, first.reshape(len(flat), -1)).reshape(table.shape),
                self._curvatures(X, second) if len(curved) else np.zeros((0, 1, self.side, self.side)),
            )

    def _gradients(self, X: Any, first: np.ndarray) -> np.ndarray:
        out = np.empty((len(first), self.side))
        right = np.ascontiguousarray(first.T) if is_sparse(X) else first.T
        out[:, : self.width] = (X.T @ right).T  # of dense rows, the faster way round
        if self.intercept:
            out[:, -1] = first.sum(axis=1)
        return out

    def _weights(self, y: np.ndarray, weight: np.ndarray | None, which: np.ndarray) -> np.ndarray | None:
        """What rows weigh for each of some candidates, of shape (some, rows) or (1, rows); None for one."""
        if self.factors is None:
            return None if weight is None else weight[None, :]
        factors = self.factors[which][:, y]
        return factors if weight is None else factors * weight

    def _curvatures(self, X: Any, second: np.ndarray) -> np.ndarray:
        """X' diag(each row of second) X."""
        columns, width = (X.toarray() if is_sparse(X) else X).T, self.width
        flat = second.reshape(-1, X.shape[0])
        out = np.empty((len(flat), self.side, self.side))
        if len(flat) > _FEW and width * (width + 1) // 2 <= PAIRS:
            i, j = np.triu_indices(width)
            out[:, i, j] = out[:, j, i] = (_products(columns) @ flat.T).T
        else:
            scaled = np.empty(columns.shape)
            halved = self.scores == 1 and columns.size > _SHORT  # of a square, BLAS works out one half
            for place, row in enumerate(flat):
                np.multiply(columns, np.sqrt(row) if halved else row, out=scaled)
                out[place, :width, :width] = scaled @ (scaled if halved else columns).T
        if self.intercept:
            out[:, :width, -1] = out[:, -1, :width] = flat @ columns.T
            out[:, -1, -1] = flat.sum(axis=1)
        return out.reshape(*second.shape[:2], self.side, self.side)

    def unfolded(self, bends: np.ndarray) -> np.ndarray:
        """Curvatures as matrices, of shape (candidates, size, size)."""
        if self.scores == 1:
            return bends[:, 0]
        H = np.empty((len(bends), self.scores, self.side, self.scores, self.side))
        for place, (k, m) in enumerate(zip(*self.pairs, strict=True)):
            H[:, k, :, m] = bends[:, place]
            H[:, m, :, k] = bends[:, place].transpose(0, 2, 1)
        return H.reshape(len(bends), self.size, self.size)


def _products(columns: np.ndarray) -> np.ndarray:
    """The products of each column of (columns, rows) with itself and each that follows, in order."""
    width, rows = columns.shape
    found = np.empty((width * (width + 1) // 2, rows))
    ends = np.cumsum(np.arange(width, 0, -1)).tolist()
    for a, end in enumerate(ends):
        np.multiply(columns[a], columns[a:], out=found[end - width + a : end])
    return found
