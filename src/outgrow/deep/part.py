"""A part of a network that learns at one rank, where the whole is divided among the ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.deep.replica import Replica

torch = optional("torch", "torch")


class Part(Replica):
    """What a rank holds of a network: tensors, their gradients, and an optimizer of the kind of the whole.

    Parameters
    ----------
    module : with which this rank computes.
    whole : the network before it was divided; its optimizer says how each parameter is moved.
    sources : parameters of `module` by their names in the whole: tensors, or those that torch has sharded.
    counted : names of those that no rank before this one holds, too.
    add : adds up an array over the ranks.
    """

    sources: dict[str, Any]

    def __init__(
        self,
        module: Any,
        whole: Replica,
        sources: Mapping[str, Any],
        counted: frozenset[str],
        add: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        self.module, self._whole, self._add = module, whole, add
        self.sources = dict(sources)
        self._leaves = {
            name: torch.nn.Parameter(local_of(source).detach()) for name, source in sources.items()
        }
        self._counted = counted
        self.optimizer, self.rates = whole.optimizer_over(
            {name: leaf for name, leaf in self._leaves.items() if leaf.numel()}
        )
        self.step = whole.step
        self.shapes = [tuple(leaf.shape) for leaf in self._leaves.values()]

    @property
    def answering(self) -> Any:
        """The module of the whole network, which is asked where nothing is learned."""
        return self._whole.module

    @property
    def device(self) -> Any:
        """Where the parameters lie."""
        return next(iter(self._leaves.values())).device if self._leaves else torch.device("cpu")

    def zero(self) -> None:
        """Begin a new gradient."""
        for source in self.sources.values():
            source.grad = None

    def take_gradients(self, total: float) -> None:
        """Make the gradients, sums over rows, those of their mean.

        Parameters
        ----------
        total : by what they are divided.
        """
        with torch.no_grad():
            for name, leaf in self._leaves.items():
                gradient = self.sources[name].grad
                leaf.grad = torch.zeros_like(leaf) if gradient is None else local_of(gradient).div_(total)

    def clip(self, most: float) -> None:
        """Shorten the gradient of the whole network to a norm; all ranks do so together.

        Parameters
        ----------
        most : the largest norm that is left as it is.
        """
        gradients = [self._leaves[name].grad for name in self._leaves if name in self._counted]
        squares = sum(float(gradient.double().square().sum()) for gradient in gradients)
        norm = float(self._add(np.array([squares]))[0]) ** 0.5
        if norm > most:
            for leaf in self._leaves.values():
                leaf.grad.mul_(most / norm)

    def advance(self, lr: float) -> None:
        """Take a step.

        Parameters
        ----------
        lr : the learning rate.
        """
        if self.optimizer is None:
            self.step += 1
        else:
            super().advance(lr)

    def read_parameters(self) -> np.ndarray:
        """A copy of what this rank holds, of shape (size,)."""
        parts = [leaf.detach().reshape(-1).cpu() for leaf in self._leaves.values()]
        numbers: np.ndarray = torch.cat([torch.zeros(0), *parts]).numpy()
        return numbers

    def put_parameters(self, numbers: np.ndarray) -> None:
        """Go on from other parameters.

        Parameters
        ----------
        numbers : of shape (size,), as those of `read_parameters`.
        """
        start = 0
        with torch.no_grad():
            for leaf in self._leaves.values():
                end = start + leaf.numel()
                leaf.copy_(torch.from_numpy(np.array(numbers[start:end])).view(leaf.shape))
                start = end

    def optimizer_state(self) -> dict[str, Any]:
        """See `Replica.optimizer_state`."""
        return {} if self.optimizer is None else super().optimizer_state()

    def restore_optimizer(self, known: Mapping[str, Mapping[str, Any]]) -> None:
        """See `Replica.restore_optimizer`."""
        if self.optimizer is not None:
            super().restore_optimizer(known)


def local_of(tensor: Any) -> Any:
    """What this rank holds of a tensor that torch has sharded; of others, all.

    Parameters
    ----------
    tensor : of any kind.
    """
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor
