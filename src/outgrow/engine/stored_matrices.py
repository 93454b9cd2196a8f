"""Matrices of batches as columns of Arrow files, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from outgrow.data.batch import Batch
from outgrow.data.matrix import Matrix
from outgrow.data.names import VectorNames, numbered


@dataclass(frozen=True)
class StoredMatrix:
    """How a file holds a matrix.

    Attributes
    ----------
    names : of its columns.
    indices : the column of the file with where the values of a row are, in lists; None where it is dense.
    """

    names: Sequence[str]
    indices: str | None


@dataclass(frozen=True)
class StoredMatrices:
    """Matrices by the names of their columns; a call makes them again of a batch that was read."""

    matrices: Mapping[str, StoredMatrix]

    @classmethod
    def of(cls, example: Batch) -> StoredMatrices:
        """How those of such batches are stored."""
        taken, matrices = set(example.columns), {}
        for name, column in example.columns.items():
            if isinstance(column, Matrix):
                indices = numbered(f"{name}_indices", taken) if column.sparse else None
                taken.add(indices or name)
                matrices[name] = StoredMatrix(column.names, indices)
        return cls(matrices)

    @property
    def as_read(self) -> bool:
        """Whether a file's columns are read as what they were."""
        return all(
            matrix.indices is None and matrix.names == VectorNames(name, len(matrix.names))
            for name, matrix in self.matrices.items()
        )

    def to_arrow(self, batch: Batch) -> pa.RecordBatch:
        """A batch with dense matrices as lists of one size, sparse ones as lists of indices and values."""
        arrays: dict[str, pa.Array] = {}
        for name, column in batch.columns.items():
            matrix = self.matrices.get(name)
            if matrix is None:
                arrays[name] = column
            elif matrix.indices is None:
                flat = pa.array(np.ascontiguousarray(column.values).ravel())
                arrays[name] = pa.FixedSizeListArray.from_arrays(flat, column.width)
            else:
                values = column.values.tocsr()
                ends = pa.array(values.indptr.astype(np.int32))
                arrays[name] = pa.ListArray.from_arrays(ends, pa.array(values.data))
                arrays[matrix.indices] = pa.ListArray.from_arrays(ends, pa.array(values.indices))
        return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))

    def __call__(self, batch: Batch) -> Batch:
        made = {name: _matrix(batch, name, matrix) for name, matrix in self.matrices.items()}
        indices = [matrix.indices for matrix in self.matrices.values() if matrix.indices is not None]
        return batch.with_columns(made).drop(indices)


def _matrix(batch: Batch, name: str, matrix: StoredMatrix) -> Matrix:
    column: Any = batch[name]
    if matrix.indices is None:
        return Matrix(column.values, matrix.names)
    places: Any = batch[matrix.indices]
    ends = np.concatenate([[0], np.cumsum(column.value_lengths().to_numpy(zero_copy_only=False))])
    parts = (column.flatten().to_numpy(), places.flatten().to_numpy(), ends)
    return Matrix(sp.csr_array(parts, shape=(batch.num_rows, len(matrix.names))), matrix.names)
