"""A factorization machine: what it answers, and its loss with the derivatives, summed over rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import ndtri

from outgrow.data.hashing import seeded, unit
from outgrow.data.matrix import is_sparse
from outgrow.ml.solvers.output_losses import Loss

CELLS = 1 << 17
"""So many numbers of dense rows, and of what is made of them, are worked on at once: they stay in a cache."""
FEW_ROWS = 256
SPARSE_CELLS = 1 << 22
"""The same of sparse rows, whose gradients cost as much as there are features, however few the rows."""
MANY = 1 << 32


@dataclass(frozen=True)
class Machine:
    """The shape of a factorization machine of one or several scores.

    The parameters are a table of shape (features, scores + scores * factors), first the linear coefficients
    of the scores, then the factors of each, and behind it a constant for each score.

    Attributes
    ----------
    features, scores, factors : how many.
    linear, intercept : whether there are coefficients and constants; otherwise they stay at 0.
    """

    features: int
    scores: int
    factors: int
    linear: bool = True
    intercept: bool = True

    @property
    def columns(self) -> int:
        """Of the table of parameters."""
        return self.scores * (1 + self.factors)

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return self.features * self.columns + self.scores

    def unpack(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The table and the constants in a vector of parameters, as views."""
        return w[: -self.scores].reshape(self.features, self.columns), w[-self.scores :]

    def parts(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coefficients (scores, features), constants (scores,), factors (scores, features, factors)."""
        table, constants = self.unpack(w)
        factors = table[:, self.scores :].reshape(self.features, self.scores, self.factors)
        return table[:, : self.scores].T.copy(), constants.copy(), factors.transpose(1, 0, 2).copy()

    def pack(self, coef: np.ndarray, constants: np.ndarray, factors: np.ndarray) -> np.ndarray:
        """A vector of parameters from what `parts` gives.

        Parameters
        ----------
        coef, constants, factors : of shapes (scores, features), (scores,), (scores, features, factors).
        """
        flat = factors.transpose(1, 0, 2).reshape(self.features, -1)
        return np.concatenate([np.hstack([coef.T, flat]).ravel(), constants])

    def start(self, seed: int, spread: float, constants: np.ndarray) -> np.ndarray:
        """Parameters to begin with: normal factors, each by its feature, score and number alone.

        Parameters
        ----------
        seed : another gives other factors.
        spread : their standard deviation.
        constants : ndarray of shape (scores,).
        """
        w = np.zeros(self.size)
        table, last = self.unpack(w)
        last[:] = constants
        features = seeded(np.arange(self.features, dtype=np.uint64), seed)
        for score in range(self.scores):
            for factor in range(self.factors):
                chance = np.clip(unit(seeded(features, score * MANY + factor)), 2.0**-54, 1 - 2.0**-53)
                table[:, self.scores + score * self.factors + factor] = spread * ndtri(chance)
        return w

    def outputs(self, X: Any, w: np.ndarray) -> np.ndarray:
        """The scores, of shape (rows, scores).

        Parameters
        ----------
        X : shape (rows, features), dense or CSR.
        w : the parameters.
        """
        found, half = np.empty((X.shape[0], self.scores)), self._half_squares(w)
        for part in self._tiles(X):
            found[part] = self._forward(X[part], w, half)[0]
        return found

    def sums(self, X: Any, y: np.ndarray, weight: np.ndarray | None, w: np.ndarray, loss: Loss) -> np.ndarray:
        """The summed loss, the weight of the rows, and the gradient.

        Parameters
        ----------
        X : shape (rows, features), dense or CSR.
        y : shape (rows, scores).
        weight : shape (rows,), or None where all are 1.
        w : the parameters.
        loss : of rows.

        Returns
        -------
        Shape (2 + parameters,).
        """
        found, half = np.zeros(2 + self.size), self._half_squares(w)
        found[1] = X.shape[0] if weight is None else weight.sum()
        table, constants = self.unpack(found[2:])
        energy = np.zeros((self.features, self.scores))
        with np.errstate(over="ignore", invalid="ignore"):
            for part in self._tiles(X):
                scores, products, squares = self._forward(X[part], w, half)
                losses, delta = loss(y[part], scores)
                if weight is not None:
                    losses, delta = losses * weight[part], delta * weight[part, None]
                found[0] += losses.sum()
                constants += delta.sum(axis=0)
                table += X[part].T @ self._slopes(products, delta)
                if self.factors:
                    energy += squares.T @ delta
            factors = self.unpack(w)[0][:, self.scores :]
            table[:, self.scores :] -= factors * np.repeat(energy, self.factors, axis=1)
        if not self.linear:
            table[:, : self.scores] = 0.0
        if not self.intercept:
            constants[:] = 0.0
        return found

    def _tiles(self, X: Any) -> list[slice]:
        rows = X.shape[0]
        step = SPARSE_CELLS // self.columns if is_sparse(X) else CELLS // (self.columns + self.features)
        step = max(FEW_ROWS, step)
        return [slice(start, start + step) for start in range(0, rows, step)]

    def _half_squares(self, w: np.ndarray) -> np.ndarray:
        """Of each feature half the summed squares of its factors, of shape (features, scores)."""
        factors = self.unpack(w)[0][:, self.scores :].reshape(self.features, self.scores, self.factors)
        return 0.5 * np.einsum("jck,jck->jc", factors, factors)

    def _forward(self, X: Any, w: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray, Any]:
        """Scores, the rows times the table, and their squared features (None where there are no factors).

        All pairs of features at once (Rendle 2010): half of the squared sum less the sum of squares.
        """
        table, constants = self.unpack(w)
        products = X @ table
        scores = products[:, : self.scores] + constants
        if not self.factors:
            return scores, products, None
        pairs = products[:, self.scores :].reshape(-1, self.scores, self.factors)
        squares = _squared(X)
        scores += 0.5 * np.einsum("nck,nck->nc", pairs, pairs)
        scores -= squares @ half
        return scores, products, squares

    def _slopes(self, products: np.ndarray, delta: np.ndarray) -> np.ndarray:
        """What multiplies a row's features in the gradient of the table, in place of the products.

        What squared features add is left to `sums`.
        """
        products[:, : self.scores] = delta
        products[:, self.scores :] *= np.repeat(delta, self.factors, axis=1)
        return products


def _squared(X: Any) -> Any:
    if is_sparse(X):
        return sp.csr_array((X.data * X.data, X.indices, X.indptr), shape=X.shape)
    return X * X
