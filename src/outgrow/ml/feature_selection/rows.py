"""Columns of numbers beside y, as scores of columns see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from outgrow.data.batch import Batch
from outgrow.data.hashing import column_hash
from outgrow.data.matrix import is_sparse
from outgrow.engine.checks import check_finite
from outgrow.engine.shard import Shard
from outgrow.ml.core.matrices import checked_matrix

R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class SupervisedRows:
    """The rows of a fit: columns of numbers without missing values, and y.

    Attributes
    ----------
    shard : the rows.
    names : of the columns.
    target : the column of y.
    """

    shard: Shard
    names: list[str]
    target: str

    @property
    def width(self) -> int:
        """How many columns there are, vectors spelt out."""
        return int(self.shard.example.matrix(self.names).shape[1])

    @property
    def sparse(self) -> bool:
        return is_sparse(self.shard.example.matrix(self.names))

    def reduce(self, fold: Callable[[Any, np.ndarray], R], *, numeric: bool) -> R:
        """Merge a fold over all rows: one pass.

        Parameters
        ----------
        fold : is given X of shape (rows, columns), dense or CSR, and y of shape (rows,).
        numeric : y are numbers; otherwise hashes of classes.
        """
        y_of = _numbers if numeric else _classes

        def of_batch(batch: Batch) -> R:
            X = checked_matrix(batch, self.names)
            check_finite(X.data if is_sparse(X) else X, "X")
            return fold(X, y_of(batch, self.target))

        return self.shard.reduce(of_batch, encoded=True)


def _numbers(batch: Batch, target: str) -> np.ndarray:
    y = batch.matrix([target])[:, 0]
    check_finite(y, "y")
    return np.asarray(y)


def _classes(batch: Batch, target: str) -> np.ndarray:
    column: Any = batch[target]
    return column_hash(column, target)
