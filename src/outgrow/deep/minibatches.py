"""Minibatches of resident rows as tensors; `outgrow.ml.solvers.minibatches` says which rows a step takes."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block, concatenated
from outgrow.engine.matrix import MatrixView
from outgrow.engine.memory import Memory
from outgrow.errors import DataError
from outgrow.ml.solvers.minibatches import Steps, held_out, weighing
from outgrow.storage import disk_errors

torch = optional("torch", "torch")

Batch = tuple[Any, Any, Any]
"""Inputs, targets, and weights or None, as tensors of so many rows."""
_ASKED_ROWS = 1 << 14
_HEAVIEST = 1e30
"""Sums of such weights, and their inverse, are numbers of float32 still."""
_GPU_SHARE = 0.5
"""Rows that take at most so much of what is free on a GPU are brought there once."""


@dataclass(frozen=True)
class Rows:
    """Rows of this rank that weigh something, as a network takes them.

    Attributes
    ----------
    X : tensor of shape (rows, ...) of float32, or a CSR array.
    y : tensor of shape (rows,) or (rows, targets); None where X itself is the target.
    weight : tensor of shape (rows,), or None where each row weighs one.
    hashes : uint64 of shape (rows,); equal rows have others.
    shape : of the inputs of a row.
    device : where tensors are put.
    """

    X: Any
    y: Any
    weight: Any
    hashes: np.ndarray
    shape: tuple[int, ...]
    device: str = "cpu"

    def __len__(self) -> int:
        return len(self.hashes)

    def batch(self, rows: np.ndarray | slice) -> Batch:
        """Some of the rows.

        Parameters
        ----------
        rows : their indices, or a slice.
        """
        if is_sparse(self.X):
            index = rows if isinstance(rows, slice) else torch.from_numpy(rows)
            X = torch.from_numpy(self.X[rows].toarray())
        else:
            index = self._index(rows)
            X = self.X[index]
        X = self._moved(X.view(-1, *self.shape))
        y = X if self.y is None else self._moved(self.y[index])
        weight = None if self.weight is None else self._moved(self.weight[index])
        return X, y, weight

    def _index(self, rows: np.ndarray | slice) -> Any:
        """Where rows are taken from: beside them."""
        return rows if isinstance(rows, slice) else torch.from_numpy(rows).to(self.X.device)

    def resident(self) -> Rows:
        """The rows on the GPU of the network, where they are not sparse and there is room."""
        if not self.device.startswith("cuda") or is_sparse(self.X):
            return self
        size = sum(tensor.nbytes for tensor in (self.X, self.y, self.weight) if tensor is not None)
        if size > _GPU_SHARE * torch.cuda.mem_get_info(self.device)[0]:
            return self
        y = None if self.y is None else self.y.to(self.device)
        weight = None if self.weight is None else self.weight.to(self.device)
        return replace(self, X=self.X.to(self.device), y=y, weight=weight)

    def _moved(self, tensor: Any) -> Any:
        return tensor if self.device == "cpu" else tensor.to(self.device, non_blocking=True)

    def all(self, rows: int = _ASKED_ROWS) -> Iterator[Batch]:
        """All rows, so many at a time."""
        for start in range(0, len(self), rows):
            yield self.batch(slice(start, start + rows))

    def chosen(self, mask: np.ndarray) -> Rows:
        """Those of the rows that a mask says.

        Parameters
        ----------
        mask : booleans of shape (rows,).
        """
        rows = np.flatnonzero(mask)
        index = torch.from_numpy(rows) if is_sparse(self.X) else self._index(rows)
        return replace(
            self,
            X=self.X[mask] if is_sparse(self.X) else self.X[index],
            y=None if self.y is None else self.y[index],
            weight=None if self.weight is None else self.weight[index],
            hashes=self.hashes[mask],
        )

    def held_out(self, share: float, seed: int) -> tuple[Rows, Rows]:
        """The rows to learn from, and about a share of them to watch, chosen by their hashes.

        Parameters
        ----------
        share : of the rows to watch.
        seed : another one chooses others.
        """
        watched = held_out(self.hashes, share, seed)
        return self.chosen(~watched), self.chosen(watched)


def rows_of(
    view: MatrixView,
    target: str,
    *,
    factors: np.ndarray | None = None,
    standard: tuple[np.ndarray, np.ndarray] | None = None,
    shape: Sequence[int] = (),
    device: str = "cpu",
) -> Rows:
    """The rows of a view that weigh something, copied as float32; all ranks call this together.

    Parameters
    ----------
    view : the rows.
    target : 'classes' for indices, 'numbers', or 'inputs' where X itself is the target.
    factors : of shape (classes,), by what the weights of the rows of each class are multiplied; or None.
    standard : of shape (targets,), what is subtracted from numbers, and by what the rest is divided; or None.
    shape : of the inputs of a row, if it is not flat.
    device : where the network is.

    Raises
    ------
    DataError
        When a number is too large for float32.
    """
    blocks = weighing(view)
    y: Any = None
    if target != "inputs":
        kind = np.int64 if target == "classes" else np.float32
        with np.errstate(over="ignore"):
            parts = [_standardised(block, standard).astype(kind) for block in blocks]
        for part in parts:
            if not np.isfinite(part).all():
                raise DataError(
                    "The target has numbers beyond 3.4e38, which float32 cannot hold. Divide it by a number, "
                    "or take its logarithm."
                )
        y = torch.from_numpy(np.concatenate(parts or [np.zeros(0, kind)]))
    weight = concatenated([block.weight for block in blocks]) if view.labels.weighted else None
    if factors is not None:
        weights = np.ones(len(y)) if weight is None else weight
        weight = weights * factors[y.numpy()]
    return Rows(
        _features(blocks, view.width, view.run.memory),
        y,
        None if weight is None else torch.from_numpy(_weights(weight)),
        np.concatenate([block.source_hashes() for block in blocks] or [np.zeros(0, np.uint64)]),
        tuple(shape) or (view.width,),
        device,
    ).resident()


class Minibatches:
    """The rows of this rank, by epochs and steps.

    Parameters
    ----------
    rows : of this rank.
    every : how many rows there are over all ranks.
    batch_size : rows of a step over all ranks, about.
    seed : another one gives other batches.
    """

    def __init__(self, rows: Rows, every: int, batch_size: int, seed: int) -> None:
        self._rows = rows
        self._steps = Steps(rows.hashes, every, batch_size, seed)
        self.steps = self._steps.count

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The rows of each step of an epoch.

        Parameters
        ----------
        number : of the epoch, from 0.
        start : the first step.
        """
        return map(self._rows.batch, self._steps.epoch(number, start))


def _standardised(block: Block, standard: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    y = np.asarray(block.y)
    if standard is None:
        return y
    shape = y.ndim
    y = (y.reshape(len(block), -1) - standard[0]) / standard[1]
    return y[:, 0] if shape == 1 else y


def _weights(weight: np.ndarray) -> np.ndarray:
    """Weights as float32, in which what is nothing beside the others is nothing."""
    most = float(weight.max(initial=0.0))
    if most and not 1 / _HEAVIEST <= most <= _HEAVIEST:
        raise DataError(
            f"The greatest weight is {most:g}, and networks compute in float32. Only the ratios of weights "
            "count: divide them by their mean."
        )
    return np.where(weight < 1 / _HEAVIEST, 0.0, weight).astype(np.float32)


def _features(blocks: Sequence[Block], width: int, memory: Memory) -> Any:
    """The features of blocks as float32, row after row; in a file, where memory is short."""
    if any(is_sparse(block.X) for block in blocks):
        with np.errstate(over="ignore"):
            sparse = Block.joined(blocks).X.astype(np.float32)
        if not np.isfinite(sparse.data).all():
            raise _past_float32(int(sparse.indices[np.argmin(np.isfinite(sparse.data))]))
        return sparse
    X = _room((sum(map(len, blocks)), width), memory)
    start = 0
    for block in blocks:
        with np.errstate(over="ignore"):
            X[start : start + len(block)] = block.X
        start += len(block)
    _check_range(X)
    return torch.from_numpy(X)


def _room(shape: tuple[int, int], memory: Memory) -> np.ndarray:
    """An array of float32 in memory, or in an unnamed file that the system reads as it needs."""
    size = 4 * math.prod(shape)
    if memory.take(size):
        return np.empty(shape, dtype=np.float32)
    with disk_errors(Path(memory.folder)), tempfile.TemporaryFile(dir=memory.folder) as file:
        file.truncate(size)
        return np.memmap(file, dtype=np.float32, mode="r+", shape=shape)


def _check_range(X: np.ndarray) -> None:
    rows: Iterable[int] = range(0, len(X), _ASKED_ROWS)
    for start in rows:
        finite = np.isfinite(X[start : start + _ASKED_ROWS]).all(axis=0)
        if not finite.all():
            raise _past_float32(int(np.argmin(finite)))


def _past_float32(feature: int) -> DataError:
    return DataError(
        f"Feature {feature} has numbers beyond 3.4e38, which float32 cannot hold. Scale it before the "
        "network, for example by StandardScaler."
    )
