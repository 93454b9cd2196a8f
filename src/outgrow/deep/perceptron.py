"""The network that is made where none is given: embeddings of categories, and full layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from outgrow._optional import optional
from outgrow._settings import is_whole
from outgrow.deep.labels import ACTIVATIONS
from outgrow.deep.structure import register
from outgrow.errors import ParameterError

torch = optional("torch", "torch")

_Module: Any = torch.nn.Module


def embedding_width(values: int) -> int:
    """How many numbers stand for a category that has so many values (the rule of fastai).

    Parameters
    ----------
    values : how many.
    """
    return int(min(100, max(2, round(1.6 * values**0.56))))


@register
class Perceptron(_Module):
    """Full layers over numbers and embeddings of categories (Guo and Berkhahn 2016).

    Numbers are first brought to one scale, by means and deviations that are given and stay.

    Parameters
    ----------
    n_features : how many columns there are.
    n_outputs : how many numbers come out.
    hidden : how many neurons each hidden layer has; a number for one layer.
    activation : of the hidden layers: 'relu', 'gelu', 'silu', 'tanh', 'leaky_relu', 'elu' or 'identity'.
    dropout : the share of neurons that is left out at each step of the training (Srivastava et al. 2014).
    batch_norm : normalise what enters each hidden layer over the batch (Ioffe and Szegedy 2015).
    residual : add what enters a hidden layer to what leaves it, where both are of one size.
    categories : of each column that holds whole numbers 0, 1, ... in place of categories: its place, and how
        many there are, the 0 of unknown ones included.
    embedding : how many numbers stand for a category; by default a rule of its number of values says it.
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        hidden: int | Sequence[int] = (64, 64),
        activation: str = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        residual: bool = False,
        categories: Sequence[tuple[int, int]] = (),
        embedding: int | None = None,
    ) -> None:
        super().__init__()
        self.n_features, self.n_outputs, self.hidden, self.activation = (
            n_features,
            n_outputs,
            hidden,
            activation,
        )
        self.dropout, self.batch_norm, self.residual = dropout, batch_norm, residual
        self.categories = [(int(column), int(count)) for column, count in categories]
        self.embedding = embedding
        sizes = list(hidden) if isinstance(hidden, Iterable) else [hidden]
        if activation not in ACTIVATIONS:
            raise ParameterError(f"module__activation={activation!r}: it is one of {list(ACTIVATIONS)}.")
        if not all(map(is_whole, sizes)):
            raise ParameterError(f"module__hidden={hidden!r}: give numbers of neurons of at least 1.")
        sizes = [int(size) for size in sizes]
        coded = [int(column) for column, _ in categories]
        numbers = [column for column in range(n_features) if column not in coded]
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.int64), persistent=False)
        self.register_buffer("coded", torch.tensor(coded, dtype=torch.int64), persistent=False)
        self.register_buffer("shift", torch.zeros(len(numbers)))
        self.register_buffer("scale", torch.ones(len(numbers)))
        widths = [embedding or embedding_width(count) for _, count in categories]
        self.embeddings = torch.nn.ModuleList(
            torch.nn.Embedding(int(count), width)
            for (_, count), width in zip(categories, widths, strict=True)
        )
        self.layers = torch.nn.ModuleList()
        width = len(numbers) + sum(widths)
        for size in sizes:
            self.layers.append(_hidden(width, size, activation, dropout, batch_norm))
            width = size
        self.output = torch.nn.Linear(width, n_outputs)

    def forward(self, inputs: Any) -> Any:
        """The outputs, of shape (rows, n_outputs).

        Parameters
        ----------
        inputs : shape (rows, n_features).
        """
        values = _numbers(self, inputs)
        for layer in self.layers:
            values = _after(layer, values, residual=self.residual)
        return self.output(values)

    def stages(self) -> list[Any]:
        """What is called one after the other: inputs, hidden layers, outputs."""
        layers = map(_Residual, self.layers) if self.residual else self.layers
        return [_Inputs(self), *layers, self.output]


def _numbers(module: Any, inputs: Any) -> Any:
    """Numbers brought to scale, and embeddings."""
    parts = [(inputs[:, module.numbers] - module.shift) * module.scale]
    codes = inputs[:, module.coded].long()
    parts += [embedding(codes[:, column]) for column, embedding in enumerate(module.embeddings)]
    return torch.cat(parts, 1)


def _after(layer: Any, values: Any, *, residual: bool) -> Any:
    after = layer(values)
    return after + values if residual and after.shape == values.shape else after


class _Inputs(_Module):
    """The first stage of a perceptron, with tensors of that."""

    def __init__(self, whole: Perceptron) -> None:
        super().__init__()
        for name in ("numbers", "coded", "shift", "scale"):
            self.register_buffer(name, getattr(whole, name))
        self.embeddings = whole.embeddings

    def forward(self, inputs: Any) -> Any:
        return _numbers(self, inputs)


class _Residual(_Module):
    """A hidden layer to which what enters is added."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, values: Any) -> Any:
        return _after(self.layer, values, residual=True)


def _hidden(width: int, size: int, activation: str, dropout: float, batch_norm: bool) -> Any:
    layers = [torch.nn.Linear(width, size)]
    if batch_norm:
        layers.append(torch.nn.BatchNorm1d(size))
    layers.append(getattr(torch.nn, ACTIVATIONS[activation])())
    if dropout:
        layers.append(torch.nn.Dropout(dropout))
    return torch.nn.Sequential(*layers)
