"""Sparse matrices as datasets of entries: row, column, value."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from outgrow.data.batch import MAX_EXPANDED_COLUMNS
from outgrow.data.matrix import is_sparse
from outgrow.data.scan import check_columns
from outgrow.engine.dataset import Dataset
from outgrow.engine.open import is_table
from outgrow.engine.shard import Shard
from outgrow.engine.sql import sql
from outgrow.errors import DataError, ParameterError
from outgrow.linalg.rows import STAGE, RowMatrix
from outgrow.linalg.steps import AsEntries, Scale, Weigh
from outgrow.ml.core.columns import require_numeric
from outgrow.statistics.rows import opened
from outgrow.stats.extremes import Extremes

_MOST_COLUMNS = 1_000
"""Columns up to which entries become rows of numbers."""
_SUMMED = 'SELECT "row", "column", SUM(value) AS value FROM a GROUP BY "row", "column"'


@dataclass(frozen=True, eq=False, repr=False)
class CoordinateMatrix:
    """A sparse matrix whose entries are a dataset; made by `og.linalg.coordinate_matrix`.

    Entries of the same row and column add up, as SciPy's COO arrays have it. Products and sums are joins and
    groupings of the engine, computed when they are read: no matrix has to fit in memory.

    Attributes
    ----------
    dataset : with the columns `row`, `column` and `value`.
    size : what was given as shape, or None.

    Examples
    --------
    >>> import scipy.sparse, outgrow as og
    >>> A = og.linalg.coordinate_matrix(scipy.sparse.coo_array(([2.0, 3.0], ([0, 1], [1, 0]))))
    >>> (A @ A).to_numpy().tolist()
    [[6.0, 0.0], [0.0, 6.0]]
    """

    dataset: Dataset
    size: tuple[int, int] | None = field(default=None)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns: what was given, or what the largest numbers tell, in a pass."""
        if self.size is not None:
            return self.size
        largest = self.dataset.engine.fit(_largest, self.dataset.scan, stage=STAGE, keep=False).result
        return int(largest[0]) + 1, int(largest[1]) + 1

    @property
    def T(self) -> CoordinateMatrix:  # noqa: N802
        """The transpose."""
        size = None if self.size is None else (self.size[1], self.size[0])
        return CoordinateMatrix(self.dataset.map(Scale(turned=True)), size)

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, CoordinateMatrix):
            return self._times_entries(other)
        right = other.toarray() if is_sparse(other) else np.asarray(other, dtype=np.float64)
        flat = right[:, None] if right.ndim == 1 else right
        if flat.ndim != 2 or flat.shape[1] > MAX_EXPANDED_COLUMNS or not np.isfinite(flat).all():
            raise ParameterError(
                "A matrix of entries is multiplied with another, or with an array of finite numbers of "
                f"shape (n,) or (n, up to {MAX_EXPANDED_COLUMNS}), not {right.shape}."
            )
        if self.size is not None and self.size[1] != len(flat):
            raise ParameterError(f"Shapes {self.size} and {right.shape} cannot be multiplied.")
        return self._times_array(flat)

    def _times_entries(self, other: CoordinateMatrix) -> CoordinateMatrix:
        if self.size is not None and other.size is not None and self.size[1] != other.size[0]:
            raise ParameterError(f"Shapes {self.size} and {other.size} cannot be multiplied.")
        query = (
            'SELECT a."row" AS "row", b."column" AS "column", SUM(a.value * b.value) AS value '
            'FROM a JOIN b ON a."column" = b."row" GROUP BY a."row", b."column"'
        )
        return CoordinateMatrix(self._query(query, b=other), self._product_size(other))

    def _product_size(self, other: CoordinateMatrix) -> tuple[int, int] | None:
        return None if self.size is None or other.size is None else (self.size[0], other.size[1])

    def _times_array(self, right: np.ndarray) -> RowMatrix:
        names = tuple(f"x{j}" for j in range(right.shape[1]))
        digest = hashlib.sha256(np.ascontiguousarray(right).tobytes()).hexdigest()
        parts = self.dataset.map(Weigh(right, names, digest))
        sums = ", ".join(f"SUM({name}) AS {name}" for name in names)
        query = f'SELECT "row", {sums} FROM a GROUP BY "row"'
        return RowMatrix(sql(query, {"a": parts}, engine=self.dataset.engine), names, "row")

    def __mul__(self, factor: float) -> CoordinateMatrix:
        return replace(self, dataset=self.dataset.map(Scale(float(factor))))

    __rmul__ = __mul__

    def __add__(self, other: CoordinateMatrix) -> CoordinateMatrix:
        if self.size is not None and other.size is not None and self.size != other.size:
            raise ParameterError(f"Shapes {self.size} and {other.size} cannot be added.")
        query = (
            'SELECT "row", "column", SUM(value) AS value FROM '
            '(SELECT "row", "column", value FROM a UNION ALL '
            'SELECT "row", "column", value FROM b) AS both_of_them GROUP BY "row", "column"'
        )
        return CoordinateMatrix(self._query(query, b=other), self.size or other.size)

    def __sub__(self, other: CoordinateMatrix) -> CoordinateMatrix:
        return self + other * -1.0

    def norm(self, ord: Any = None) -> float:
        """The norm of the matrix: 'fro' or None, 1 or inf; see `og.linalg.norm`."""
        largest = 'SELECT MAX(s) AS n FROM (SELECT SUM(ABS(value)) AS s FROM ({}) AS t GROUP BY "{}") AS u'
        queries = {
            1: largest.format(_SUMMED, "column"),
            np.inf: largest.format(_SUMMED, "row"),
            "fro": f"SELECT SQRT(SUM(value * value)) AS n FROM ({_SUMMED}) AS t",
        }
        if (ord or "fro") not in queries:
            raise ParameterError(
                f"norm(ord={ord!r}) of entries: 'fro', 1 and inf need no decomposition. Others are those of "
                "to_rows()."
            )
        answer = self._query(queries[ord or "fro"]).to_arrow()["n"][0].as_py()
        return float(answer or 0.0)

    def to_rows(self) -> RowMatrix:
        """The rows that have entries, with a column for each of up to 1,000 columns, computed when they are
        read.

        Raises
        ------
        DataError
            When there are more columns.
        """
        width = self.shape[1]
        if width > _MOST_COLUMNS:
            raise DataError(
                f"Entries become rows of up to {_MOST_COLUMNS} numbers; there are {width} columns. What "
                "fits in memory is a sparse array, to_scipy(), which og.linalg takes as it is."
            )
        names = tuple(f"x{j}" for j in range(width))
        sums = ", ".join(
            f'SUM(CASE WHEN "column" = {j} THEN value ELSE 0.0 END) AS {name}' for j, name in enumerate(names)
        )
        return RowMatrix(self._query(f'SELECT "row", {sums} FROM a GROUP BY "row"'), names, "row")

    def to_scipy(self) -> sp.coo_array:
        """The matrix in memory as a sparse array, equal places summed up."""
        table = self.dataset.to_arrow()
        row, column, value = (table[name].to_numpy() for name in ("row", "column", "value"))
        shape = self.size or (int(row.max(initial=-1)) + 1, int(column.max(initial=-1)) + 1)
        made = sp.coo_array((value, (row, column)), shape=shape)
        made.sum_duplicates()
        return made

    def to_numpy(self) -> np.ndarray:
        """The matrix in memory, with its zeros."""
        return np.asarray(self.to_scipy().toarray())

    def _query(self, query: str, **others: CoordinateMatrix) -> Dataset:
        tables = {"a": self.dataset, **{name: other.dataset for name, other in others.items()}}
        return sql(query, tables, engine=self.dataset.engine)

    def __repr__(self) -> str:
        size = "" if self.size is None else f" of shape {self.size}"
        return f"<CoordinateMatrix{size} on {self.dataset.engine.name}>"


def _largest(shard: Shard) -> np.ndarray:
    """The largest numbers of a row and a column, -1 where there are no entries."""
    nothing = Extremes.of(np.zeros((0, 2)))
    largest = shard.reduce(lambda batch: Extremes.of(batch.matrix(["row", "column"])), empty=nothing)
    return np.maximum(largest.high, -1.0)


def coordinate_matrix(
    data: Any,
    *,
    row: str = "row",
    column: str = "column",
    value: str = "value",
    shape: tuple[int, int] | None = None,
) -> CoordinateMatrix:
    """A sparse matrix of the entries in a dataset.

    Parameters
    ----------
    data : dataset, Spark DataFrame or table with a row for each entry; or a SciPy sparse matrix, or an array.
    row, column, value : the columns with the number of the row and of the column, from 0 on, and the number
        there.
    shape : rows and columns; by default as many as there are numbers.

    Raises
    ------
    DataError
        When a place is missing, negative or no whole number, or a value is missing or infinite; as rows are
        read.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> visits = pa.table({"user": [0, 0, 1], "page": [2, 0, 2], "times": [3.0, 1.0, 4.0]})
    >>> A = og.linalg.coordinate_matrix(visits, row="user", column="page", value="times")
    >>> A.T.to_numpy().tolist()
    [[1.0, 0.0], [0.0, 0.0], [3.0, 4.0]]
    """
    if not is_table(data):
        entries = sp.coo_array(data)
        places = {"row": entries.row.astype(np.int64), "column": entries.col.astype(np.int64)}
        table = pa.table({**places, "value": entries.data.astype(np.float64)})
        return CoordinateMatrix(opened(table), tuple(shape or entries.shape))
    rows = opened(data)
    check_columns(rows.schema, [row, column, value])
    require_numeric(rows.scan.example(), [row, column, value], "A matrix of entries")
    return CoordinateMatrix(rows.map(AsEntries(row, column, value)), shape)
