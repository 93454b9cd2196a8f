"""The rows of a batch, brought together in an order that no partitioning changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.engine.memory import describe_size
from outgrow.errors import DataError
from outgrow.stats.state import State

_COPIES = 2
"""As which the rows are in memory at once: as they came, and as one."""


@dataclass(frozen=True, eq=False)
class BatchRows(State):
    """Rows as they came, those that weigh something.

    Attributes
    ----------
    parts : list of matrices of shape (rows, width), arrays or CSR.
    beside : list of ndarrays of shape (2, rows), y and weights.
    keys : list of uint64 arrays of shape (rows,), by which rows are ordered.
    """

    parts: list[Any]
    beside: list[np.ndarray]
    keys: list[np.ndarray]

    @classmethod
    def of(cls, block: Block, seed: int | None) -> BatchRows:
        """The rows of a block.

        Parameters
        ----------
        block : with y.
        seed : rows are ordered by their hashes with it; None for the order in which they came.
        """
        if seed is None:
            keys = (np.uint64(block.at[0]) << np.uint64(32)) + np.arange(
                block.at[1], block.at[1] + len(block), dtype=np.uint64
            )
        else:
            keys = block.hashes(seed)
        y = np.asarray(block.y, dtype=np.float64)
        if block.weight is None:
            return cls([block.X], [np.stack([y, np.ones(len(y))])], [keys])
        if (block.weight > 0).all():
            return cls([block.X], [np.stack([y, block.weight])], [keys])
        kept = np.flatnonzero(block.weight > 0)
        return cls([block.X[kept]], [np.stack([y[kept], block.weight[kept]])], [keys[kept]])

    def merge(self, other: BatchRows) -> BatchRows:
        return BatchRows(
            [*self.parts, *other.parts], [*self.beside, *other.beside], [*self.keys, *other.keys]
        )

    def in_order(self) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        """The matrix row by row, y and weights, and the places of the rows in their order.

        Rows of one key are ordered by y, then by what they weigh.
        """
        sparse = is_sparse(self.parts[0])
        X = sp.vstack(self.parts, format="csr") if sparse else _one([*map(np.ascontiguousarray, self.parts)])
        y, weight = _one(self.beside, axis=1)
        keys = _one(self.keys)
        order = np.argsort(keys)
        known = keys[order]
        again = np.zeros(len(known), dtype=bool)
        again[1:] = known[1:] == known[:-1]
        again[:-1] |= again[1:]
        alike = order[again]
        order[again] = alike[np.lexsort((weight[alike], y[alike], keys[alike]))]
        return X, y, weight, order


def _one(parts: list[np.ndarray], axis: int = 0) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)


def check_batch(view: MatrixView, who: str) -> None:
    """Refuse more rows than fit into memory at once, on all ranks alike.

    Parameters
    ----------
    view : the batch.
    who : the class that the error names.

    Raises
    ------
    DataError
        When there are too many.
    """
    needed = int(_COPIES * 8 * view.rows * (3 + view.width * max(view.labels.density, 1e-12)))
    budget = view.run.least_budget()
    if needed > budget:
        raise DataError(
            f"{who}.partial_fit holds a batch in memory: {view.rows} rows of {view.width} columns need about "
            f"{describe_size(needed)} in each task, of a budget of {describe_size(budget)}. Give smaller "
            "batches, raise the memory of the engine, or learn from all rows at once with fit."
        )
