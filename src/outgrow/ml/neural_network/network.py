"""A network of full layers: what it answers, and its loss with the derivatives, summed over rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import expit

from outgrow.data.hashing import seeded, unit
from outgrow.ml.solvers.output_losses import Loss

ROWS = 1024
"""So many rows go through the layers at once: what they make of them stays in a cache."""

Layers = tuple[Sequence[np.ndarray], Sequence[np.ndarray]]
"""Weights of shape (below, above) of each layer, and constants of shape (above,)."""


def _relu(z: np.ndarray) -> np.ndarray:
    return np.maximum(z, 0.0, out=z)


def _tanh(z: np.ndarray) -> np.ndarray:
    return np.tanh(z, out=z)


def _logistic(z: np.ndarray) -> np.ndarray:
    found: np.ndarray = expit(z, out=z)
    return found


ACTIVATIONS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], Any]]] = {
    "identity": (lambda z: z, lambda h: 1.0),
    "logistic": (_logistic, lambda h: h * (1.0 - h)),
    "tanh": (_tanh, lambda h: 1.0 - h * h),
    "relu": (_relu, lambda h: h > 0),
}
"""Of each activation the function, which may change its argument, and its derivative from its value."""


@dataclass(frozen=True)
class Network:
    """The shape of a network.

    Attributes
    ----------
    sizes : of the layers, from the features to the outputs.
    activation : of all layers but the last, one of `ACTIVATIONS`.
    """

    sizes: tuple[int, ...]
    activation: str

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return sum(below * above + above for below, above in pairwise(self.sizes))

    def unpack(self, w: np.ndarray) -> Layers:
        """The layers in a vector of parameters: all weights, then all constants, as scikit-learn has them."""
        weights, constants, at = [], [], 0
        for below, above in pairwise(self.sizes):
            weights.append(w[at : at + below * above].reshape(below, above))
            at += below * above
        for above in self.sizes[1:]:
            constants.append(w[at : at + above])
            at += above
        return weights, constants

    @staticmethod
    def pack(layers: Layers) -> np.ndarray:
        """A vector of parameters."""
        return np.concatenate([np.ravel(part) for part in (*layers[0], *layers[1])])

    def start(self, seed: int) -> np.ndarray:
        """Parameters to begin with, drawn evenly within bounds that suit the layers (Glorot, Bengio 2010)."""
        chance = unit(seeded(np.arange(self.size, dtype=np.uint64), seed))
        reach = 2.0 if self.activation == "logistic" else 6.0
        bounds = [np.sqrt(reach / (below + above)) for below, above in pairwise(self.sizes)]
        pairs = list(zip(bounds, pairwise(self.sizes), strict=True))
        scale = np.concatenate(
            [
                *(np.full(below * above, bound) for bound, (below, above) in pairs),
                *(np.full(above, bound) for bound, (_, above) in pairs),
            ]
        )
        return (2 * chance - 1) * scale

    def forward(self, X: Any, layers: Layers) -> list[Any]:
        """The features, what each layer makes of them, and the last sums.

        Parameters
        ----------
        X : shape (rows, features), dense or CSR.
        layers : the parameters.
        """
        function, _ = ACTIVATIONS[self.activation]
        values = [X]
        for number, (weights, constants) in enumerate(zip(*layers, strict=True), 1):
            sums = values[-1] @ weights
            sums += constants
            values.append(sums if number == len(self.sizes) - 1 else function(sums))
        return values

    def outputs(self, X: Any, layers: Layers) -> np.ndarray:
        """The last sums, of shape (rows, outputs).

        Parameters
        ----------
        X : shape (rows, features), dense or CSR.
        layers : the parameters.
        """
        found = np.empty((X.shape[0], self.sizes[-1]))
        for start in range(0, X.shape[0], ROWS):
            found[start : start + ROWS] = self.forward(X[start : start + ROWS], layers)[-1]
        return found

    def sums(
        self, X: Any, y: np.ndarray, weight: np.ndarray | None, layers: Layers, loss: Loss
    ) -> np.ndarray:
        """The summed loss, the weight of the rows, and the gradient.

        Parameters
        ----------
        X : shape (rows, features), dense or CSR.
        y : shape (rows, outputs).
        weight : shape (rows,), or None where all are 1.
        layers : the parameters.
        loss : of rows.

        Returns
        -------
        Shape (2 + parameters,).
        """
        found = np.zeros(2 + self.size)
        gradients = self.unpack(found[2:])
        for start in range(0, X.shape[0], ROWS):
            part = slice(start, start + ROWS)
            values = self.forward(X[part], layers)
            losses, delta = loss(y[part], values[-1])
            if weight is not None:
                losses, delta = losses * weight[part], delta * weight[part, None]
            found[0] += losses.sum()
            self._backward(values, delta, layers, gradients)
        found[1] = X.shape[0] if weight is None else weight.sum()
        return found

    def _backward(self, values: list[Any], delta: np.ndarray, layers: Layers, gradients: Layers) -> None:
        """Add what rows say of the parameters of each layer to their gradient."""
        _, derivative = ACTIVATIONS[self.activation]
        for number in range(len(self.sizes) - 2, -1, -1):
            gradients[0][number][...] += values[number].T @ delta
            gradients[1][number][...] += delta.sum(axis=0)
            if number:
                delta = delta @ layers[0][number].T
                delta *= derivative(values[number])
