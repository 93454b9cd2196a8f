"""The rows of a matrix view as XGBoost reads them: when it learns, and when it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from outgrow.data.hashing import mix
from outgrow.data.matrix import Matrix, is_sparse, matrix_columns, stored
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.ml.trees.plan import Plan, weighted

_TREES_APART = 211
"""What is added to the seed for the choice of rows of each tree."""


@dataclass
class Part:
    """Rows of this rank as XGBoost reads them: several times, a block at a time."""

    view: MatrixView
    plan: Plan
    zeros_absent: bool
    masks: list[np.ndarray] = field(default_factory=list)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        held = 0
        for part in self.blocks():
            if len(part):
                held += 1
                yield self._fields(part)
        if not held:
            yield self._fields(self.nothing())

    def blocks(self) -> Iterator[Block]:
        """Its rows that weigh something."""
        for place, block in enumerate(self.view.blocks()):
            yield weighted(block.take(self.masks[place]) if self.masks else block, self.plan)

    def hashes(self) -> np.ndarray:
        """The hash of each of its rows."""
        parts = [block.hashes(self.plan.seed + _TREES_APART) for block in self.blocks()]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint64)

    def _fields(self, block: Block) -> dict[str, Any]:
        fields = {
            "data": _as_columns(block.X, self.zeros_absent, self.plan.numbers),
            "label": self.plan.label(block),
        }
        if block.weight is not None:
            fields["weight"] = block.weight
        if self.plan.kinds is not None:
            fields["feature_types"] = list(self.plan.kinds)
        return fields

    def nothing(self) -> Block:
        """A rank without rows still takes part, with a block of none."""
        return Block(np.zeros((0, self.view.width), order="F"), np.zeros(0, dtype=np.intp))


def key_hashes(numbers: np.ndarray) -> np.ndarray:
    """One uint64 for each of the numbers that stand for keys.

    Parameters
    ----------
    numbers : float64 of shape (rows,), as a role that is a label brings them.
    """
    return mix((numbers + 0.0).view(np.uint64))  # -0.0 becomes 0.0


def _as_columns(X: Any, zeros_absent: bool, numbers: np.ndarray | None) -> Any:
    """A matrix as XGBoost reads it fastest when it learns."""
    if zeros_absent:
        return without_zeros(X, numbers)
    return pa.table(matrix_columns(X, [f"f{j}" for j in range(X.shape[1])]))


def without_zeros(X: Any, numbers: np.ndarray | None = None) -> Any:
    """A matrix as CSR of the class XGBoost knows, without zeros.

    Parameters
    ----------
    X : shape (rows, features), dense or sparse.
    numbers : features whose zeros are stored; None for none.
    """
    rows = sp.csr_matrix(X if is_sparse(X) or numbers is None else stored(X))
    if rows.data.all():
        return rows
    kept = rows.data != 0
    if numbers is not None:
        kept |= numbers[rows.indices]
    ends = np.concatenate([[0], np.cumsum(kept)])[rows.indptr]
    return sp.csr_matrix((rows.data[kept], rows.indices[kept], ends), shape=rows.shape)


def as_asked(X: Any, zeros_absent: bool, numbers: np.ndarray | None) -> Any:
    """A matrix as the trees of a booster are asked about it: CSR where zeros are absent, else dense.

    Parameters
    ----------
    X : shape (rows, features), dense or sparse.
    zeros_absent : zeros are left out, as they were where the trees learned from sparse rows.
    numbers : features whose zeros stay, as the trees learned; None for none.
    """
    if zeros_absent:
        return without_zeros(X, numbers)
    return Matrix(X, ()).values.toarray() if is_sparse(X) else X


def any_sparse(view: MatrixView) -> bool:
    """Whether a rank has sparse rows, whose zeros are then absent on all of them."""
    first = next(iter(view.tiles), None)
    sparse = np.array([float(first is not None and is_sparse(first.X))])
    return bool(view.run.comm.allreduce(sparse)[0])
