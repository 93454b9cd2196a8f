"""How alike the columns of a matrix are: cosines, exact or of sampled entries."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from outgrow.data.hashing import matrix_hash, seeded, unit
from outgrow.data.matrix import is_sparse
from outgrow.errors import DataError, ParameterError
from outgrow.linalg.products import WIDEST_PRODUCTS
from outgrow.linalg.rows import RowMatrix, as_rows
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import Number, OneOf
from outgrow.statistics.results import Result
from outgrow.stats.sparse_sums import SparseSums

_GAMMA = 10.0
"""The larger, the closer sampled cosines are; Spark has the same."""
_MOST_CELLS = 1 << 27


@dataclass(frozen=True, eq=False, repr=False)
class Similarities(Result):
    """Cosines of pairs of columns; prints, and is a table, largest first.

    Attributes
    ----------
    matrix : CSR array of shape (columns, columns), above the diagonal: the cosines of those pairs that have
        one other than 0, and at least `threshold`.
    threshold : see `column_similarities`.
    method : 'exact' or 'dimsum'.
    """

    matrix: Any
    threshold: float
    method: str
    names: list[str] = field(default_factory=list)

    def to_arrow(self) -> pa.Table:
        """A row for each pair: `left`, `right` and `cosine`."""
        pairs = self.matrix.tocoo()
        order = np.lexsort([pairs.col, pairs.row, -pairs.data])
        names = np.array(self.names, dtype=object)
        return pa.table(
            {
                "left": pa.array(names[pairs.row[order]], pa.string()),
                "right": pa.array(names[pairs.col[order]], pa.string()),
                "cosine": pairs.data[order],
            }
        )


def column_similarities(
    A: Any,
    columns: Columns = None,
    *,
    method: str = "exact",
    threshold: float = 0.0,
    seed: int = 0,
) -> Similarities:
    """The cosines of all pairs of columns: two passes.

    Parameters
    ----------
    A : a `RowMatrix`, or what `og.linalg.row_matrix` takes.
    columns : as `og.linalg.row_matrix` takes them.
    method : 'exact', or 'dimsum' for an estimate from sampled entries (Zadeh and Goel 2013), which does less
        the higher the threshold. Which entries, the values of the row decide: the same on every engine.
    threshold : pairs with smaller cosines are left out, and 'dimsum' may miss them; above 0 for 'dimsum'.
    seed : of the sample.

    Raises
    ------
    DataError
        When a value is missing or infinite, or more than 134 million pairs have a cosine.

    Notes
    -----
    With 'dimsum', an entry of a column of length l stays with probability min(1, √g/l), g = 10 ln(columns) /
    threshold: estimates are right on average, and the closer the lower the threshold.

    Unlike Spark MLlib's `columnSimilarities(threshold)`: a threshold alone does not turn estimates on, and
    pairs below it are not listed.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.linalg.column_similarities(np.array([[1.0, 0.0, 3.0], [0.0, 2.0, 4.0]]))
    Similarities
    left  right  cosine
    x1    x2     0.8000
    x0    x2     0.6000
    """
    OneOf("exact", "dimsum").check("column_similarities", "method", method)
    Number(low=0, high=1).check("column_similarities", "threshold", threshold)
    if method == "dimsum" and not threshold:
        raise ParameterError("method='dimsum' samples for cosines above a threshold: give one, such as 0.1.")
    matrix = as_rows(A, columns)
    width = len(matrix.columns)
    lengths = np.sqrt(matrix.reduce(_squares))
    if not np.isfinite(lengths).all():
        raise DataError("The squares of the numbers overflow. Divide the matrix by a number first.")
    gamma = _GAMMA * np.log(max(width, 2)) / threshold if method == "dimsum" else np.inf
    unit_rows = _UnitRows(lengths, float(np.sqrt(gamma)), seed)
    dense = width <= WIDEST_PRODUCTS and not matrix.sparse
    upper = _dense_upper(matrix, unit_rows) if dense else _sparse_upper(matrix, unit_rows, width)
    upper.data[np.abs(upper.data) < threshold] = 0.0
    upper.data = np.clip(upper.data, -1.0, 1.0)
    upper.eliminate_zeros()
    return Similarities(tuple(matrix.columns), upper, threshold, method, matrix.columns)


def _squares(X: Any) -> np.ndarray:
    with np.errstate(over="ignore"):
        squared = X.multiply(X) if is_sparse(X) else X * X
        return np.asarray(squared.sum(axis=0), dtype=np.float64).ravel()


@dataclass(frozen=True, eq=False)
class _UnitRows:
    """Rows with columns of length 1, some of their entries sampled.

    Attributes
    ----------
    lengths : shape (columns,), of the columns.
    root : the root of gamma; infinite where all entries stay.
    seed : of the sample.
    """

    lengths: np.ndarray
    root: float
    seed: int

    def __call__(self, X: Any) -> Any:
        divisors = np.minimum(self.lengths, self.root)
        divisors = np.where(divisors > 0, divisors, 1.0)
        if not is_sparse(X):
            made = X / divisors
            return made if self.root == np.inf else made * self._stays(X)
        made = sp.csr_array(X, copy=True)
        made.data = made.data / divisors[made.indices]
        if self.root < np.inf:
            rows = np.repeat(np.arange(made.shape[0]), np.diff(made.indptr))
            draw = _draws(matrix_hash(X)[rows], made.indices, self.seed)
            made.data = made.data * (draw < self._shares[made.indices])
            made.eliminate_zeros()
        return made

    def _stays(self, X: np.ndarray) -> np.ndarray:
        return _draws(matrix_hash(X)[:, None], np.arange(X.shape[1]), self.seed) < self._shares

    @property
    def _shares(self) -> np.ndarray:
        return np.minimum(1.0, self.root / np.where(self.lengths > 0, self.lengths, 1.0))


def _draws(rows: np.ndarray, columns: np.ndarray, seed: int) -> np.ndarray:
    """A number in [0, 1) for each entry, from the hash of its row and its column."""
    mixed = rows + (columns.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return unit(seeded(mixed.ravel(), seed)).reshape(mixed.shape)


def _dense_upper(matrix: RowMatrix, unit_rows: _UnitRows) -> Any:
    products = matrix.reduce(partial(_dense_products, unit_rows=unit_rows))
    return sp.csr_array(np.triu(products, 1))


def _dense_products(X: Any, unit_rows: _UnitRows) -> np.ndarray:
    made = unit_rows(X)
    return np.asarray(made.T @ made)


def _sparse_upper(matrix: RowMatrix, unit_rows: _UnitRows, width: int) -> Any:
    sums: SparseSums = matrix.reduce(partial(_sparse_products, unit_rows=unit_rows))
    rows, columns = np.divmod(sums.cells, width)
    return sp.csr_array((sums.sums, (rows, columns)), shape=(width, width))


def _sparse_products(X: Any, unit_rows: _UnitRows) -> SparseSums:
    made = unit_rows(X if is_sparse(X) else sp.csr_array(X))
    upper = sp.triu(made.T @ made, 1).tocoo()
    if upper.nnz > _MOST_CELLS:
        raise DataError(
            f"More than {_MOST_CELLS:,} pairs of columns have a cosine. Give method='dimsum' and a "
            "threshold, or leave out columns that nearly every row has."
        )
    cells = upper.row.astype(np.int64) * made.shape[1] + upper.col
    return SparseSums.of(cells, upper.data)
