"""The rows of least hash: the same sample of rows on any partitioning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.stats.state import State


@dataclass(frozen=True, eq=False)
class LeastRows(State):
    """The rows of a matrix with the least hashes, in the order of these.

    Attributes
    ----------
    most : how many are kept at most.
    width : how many columns they have.
    sparse : whether they are rows of a sparse matrix.
    key : uint64 of shape (rows,), the hashes.
    values : their numbers; of shape (rows, width), or of sparse ones those that are stored.
    places, ends : of sparse rows, the columns of these, and where each row ends, as CSR has them; else empty.
    """

    most: int
    width: int
    sparse: bool
    key: np.ndarray
    values: np.ndarray
    places: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, most: int, X: Any, key: np.ndarray) -> LeastRows:
        """Those of a matrix.

        Parameters
        ----------
        most : how many to keep.
        X : shape (rows, width), dense or CSR.
        key : uint64 of shape (rows,), the hashes.
        """
        if len(key) > most:
            near = np.argpartition(key, most)[:most]
            X, key = X[near], key[near]
        order = np.argsort(key, kind="stable")
        rows: Any = X[order]
        if isinstance(rows, np.ndarray):
            none = np.zeros(0, dtype=np.int64)
            return cls(most, X.shape[1], False, key[order], rows, none, none)
        places, ends = rows.indices.astype(np.int64), rows.indptr.astype(np.int64)
        return cls(most, X.shape[1], True, key[order], rows.data, places, ends)

    @property
    def rows(self) -> Any:
        """The rows as a matrix, dense or CSR."""
        if not self.sparse:
            return self.values
        return sp.csr_array((self.values, self.places, self.ends), shape=(len(self.key), self.width))

    def merge(self, other: LeastRows) -> LeastRows:
        join: Any = sp.vstack if self.sparse else np.concatenate
        rows = join([self.rows, other.rows])
        return LeastRows.of(self.most, rows.tocsr() if self.sparse else rows, np.append(self.key, other.key))
