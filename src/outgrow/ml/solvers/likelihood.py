"""The log loss of a logistic model with its derivatives, as sums over blocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from scipy.special import logsumexp

from outgrow.data.batch import is_sparse
from outgrow.engine.blocks import Block


class Likelihood(Protocol):
    """The summed log loss of rows, as a function of one flat vector of parameters."""

    @property
    def intercept(self) -> bool:
        """Whether the last parameter of each score is a constant."""

    @property
    def size(self) -> int:
        """How many parameters there are."""

    def penalised(self) -> np.ndarray:
        """1 for each parameter that is penalised, 0 for intercepts."""

    def gradient(self, block: Block, parameters: np.ndarray) -> np.ndarray:
        """[loss, gradient...] of a block."""

    def curvature(self, block: Block, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[loss, gradient...] of a block, and its matrix of second derivatives."""

    def losses(self, block: Block, candidates: np.ndarray) -> np.ndarray:
        """The loss of a block at each row of `candidates`."""

    def gauge(self) -> np.ndarray | None:
        """A positive semi-definite matrix over directions in which the loss does not change, if any."""

    def unpack(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of shape (scores, features) and intercepts of shape (scores,)."""

    def pack(self, coef: np.ndarray, constants: np.ndarray) -> np.ndarray:
        """The parameters that `unpack` was given."""


@dataclass(frozen=True, eq=False)
class _Logistic:
    width: int
    classes: int
    factors: np.ndarray | None = None
    intercept: bool = field(default=True, kw_only=True)

    @property
    def scores(self) -> int:
        return 1 if self.classes == 2 else self.classes

    @property
    def size(self) -> int:
        return self.scores * (self.width + self.intercept)

    def penalised(self) -> np.ndarray:
        mask = np.ones((self.scores, self.width + self.intercept))
        mask[:, self.width :] = 0
        return mask.ravel()

    def unpack(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        table = parameters.reshape(self.scores, -1)
        constants = table[:, -1] if self.intercept else np.zeros(self.scores)
        return np.ascontiguousarray(table[:, : self.width]), np.ascontiguousarray(constants)

    def pack(self, coef: np.ndarray, constants: np.ndarray) -> np.ndarray:
        return np.column_stack([coef, constants] if self.intercept else [coef]).ravel()

    def _weights(self, block: Block) -> np.ndarray | None:
        if self.factors is None:
            return block.weight
        factors = self.factors[block.y]
        return factors if block.weight is None else factors * block.weight

    def _margins(self, X: Any, table: np.ndarray) -> np.ndarray:
        """Scores of shape (rows, scores)."""
        margins = np.asarray(X @ table[:, : self.width].T)
        return margins + table[:, -1] if self.intercept else margins


class Binary(_Logistic):
    """Two classes, one score: the log odds of the second."""

    def losses(self, block: Block, candidates: np.ndarray) -> np.ndarray:
        margins = self._margins(block.X, candidates)
        weight = self._weights(block)
        losses = (
            np.log1p(np.exp(-np.abs(margins)))
            + np.maximum(margins, 0)
            - np.asarray(block.y)[:, None] * margins
        )
        return losses.sum(axis=0) if weight is None else weight @ losses

    def gradient(self, block: Block, parameters: np.ndarray) -> np.ndarray:
        loss, residual, _ = self._pointwise(block, parameters)
        return self._gradient(block.X, loss, residual)

    def curvature(self, block: Block, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        loss, residual, second = self._pointwise(block, parameters)
        X = block.X.toarray(order="F") if is_sparse(block.X) else block.X
        return self._gradient(block.X, loss, residual), _weighted_products(X, second, self.intercept)

    def gauge(self) -> np.ndarray | None:
        return None

    def _pointwise(self, block: Block, parameters: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Summed loss, and its first and second derivative by each row's score."""
        y, weight = np.asarray(block.y), self._weights(block)
        margin = block.X @ parameters[: self.width]
        if self.intercept:
            margin += parameters[-1]
        small = np.exp(-np.abs(margin))
        share = 1.0 / (1.0 + small)
        probability = np.where(margin >= 0, share, 1.0 - share)
        losses = np.log1p(small)
        losses += np.maximum(margin, 0)
        residual = probability - y
        second = small * share * share
        if weight is None:
            return float(losses.sum() - y @ margin), residual, second
        return float(weight @ (losses - y * margin)), residual * weight, second * weight

    def _gradient(self, X: Any, loss: float, residual: np.ndarray) -> np.ndarray:
        tail = [residual.sum()] if self.intercept else []
        return np.concatenate([[loss], X.T @ residual, tail])


class Multinomial(_Logistic):
    """More than two classes, a score each; the softmax of the scores are the probabilities."""

    def losses(self, block: Block, candidates: np.ndarray) -> np.ndarray:
        return np.array([self._pointwise(block, candidate)[0] for candidate in candidates])

    def gradient(self, block: Block, parameters: np.ndarray) -> np.ndarray:
        loss, residual, _ = self._pointwise(block, parameters)
        return self._gradient(block.X, loss, residual)

    def curvature(self, block: Block, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        loss, residual, probabilities = self._pointwise(block, parameters)
        weight = self._weights(block)
        X = block.X.toarray(order="F") if is_sparse(block.X) else block.X
        w = np.ones(len(block)) if weight is None else weight
        side = self.width + self.intercept
        H = np.empty((self.scores, side, self.scores, side))
        for k in range(self.scores):
            for m in range(k + 1):
                second = w * probabilities[:, k] * ((k == m) - probabilities[:, m])
                H[k, :, m, :] = H[m, :, k, :] = _signed_products(X, second, self.intercept)
        return self._gradient(block.X, loss, residual), H.reshape(self.size, self.size)

    def gauge(self) -> np.ndarray | None:
        side = self.width + self.intercept
        return np.kron(np.ones((self.scores, self.scores)) / self.scores, np.eye(side))

    def _pointwise(self, block: Block, parameters: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Summed loss, its derivative by the scores, and the probabilities, both of shape (rows, scores)."""
        y, weight = np.asarray(block.y), self._weights(block)
        margins = self._margins(block.X, parameters.reshape(self.scores, -1))
        total = logsumexp(margins, axis=1)
        rows = np.arange(len(block))
        losses = total - margins[rows, y]
        probabilities = np.exp(margins - total[:, None])
        residual = probabilities.copy()
        residual[rows, y] -= 1
        if weight is None:
            return float(losses.sum()), residual, probabilities
        return float(weight @ losses), residual * weight[:, None], probabilities

    def _gradient(self, X: Any, loss: float, residual: np.ndarray) -> np.ndarray:
        table = np.asarray(X.T @ residual).T
        if self.intercept:
            table = np.column_stack([table, residual.sum(axis=0)])
        return np.concatenate([[loss], table.ravel()])


def _weighted_products(X: np.ndarray, weight: np.ndarray, intercept: bool) -> np.ndarray:
    """[X, 1]' diag(weight) [X, 1] for weights of at least 0."""
    root = np.sqrt(weight)
    scaled = X * root[:, None]
    core = scaled.T @ scaled
    return _bordered(core, root @ scaled, weight.sum()) if intercept else core


def _signed_products(X: np.ndarray, weight: np.ndarray, intercept: bool) -> np.ndarray:
    """[X, 1]' diag(weight) [X, 1]."""
    scaled = X * weight[:, None]
    core = X.T @ scaled
    return _bordered(core, scaled.sum(axis=0), weight.sum()) if intercept else core


def _bordered(core: np.ndarray, edge: np.ndarray, corner: float) -> np.ndarray:
    out = np.empty((len(core) + 1, len(core) + 1))
    out[:-1, :-1] = core
    out[-1, :-1] = out[:-1, -1] = edge
    out[-1, -1] = corner
    return out
