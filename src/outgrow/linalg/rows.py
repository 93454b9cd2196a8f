"""Tall matrices: a dataset with a column for each of theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import MAX_EXPANDED_COLUMNS
from outgrow.data.matrix import is_sparse
from outgrow.data.scan import check_columns
from outgrow.engine.blocks import MatrixSpec
from outgrow.engine.dataset import Dataset
from outgrow.engine.matrix import MatrixView
from outgrow.engine.shard import Shard
from outgrow.engine.sql import sql
from outgrow.errors import DataError, ParameterError
from outgrow.linalg.steps import Factor, Multiply, Spell, ToEntries, finite
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.task import column_names
from outgrow.statistics.rows import open_rows, opened
from outgrow.stats.state import from_tree, to_tree

STAGE = "linear algebra"


@dataclass(frozen=True, eq=False, repr=False)
class RowMatrix:
    """A matrix whose rows are those of a dataset; made by `og.linalg.row_matrix`.

    `A @ B` with an array, or with another matrix whose rows are few, is a `RowMatrix` again, computed when it
    is read. `A.T @ B`, of matrices with the same rows, is an array. `og.write_parquet` saves `A.dataset`.

    Attributes
    ----------
    dataset : the rows.
    names : the columns that make the matrix; vectors are one each.
    index : the column that numbers the rows, or None: then they have no order on Spark.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> A = og.linalg.row_matrix(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    >>> (A @ np.array([[1.0], [1.0]])).to_numpy().ravel().tolist()
    [3.0, 7.0, 11.0]
    >>> (A.T @ A).tolist()
    [[35.0, 44.0], [44.0, 56.0]]
    """

    dataset: Dataset
    names: tuple[str, ...]
    index: str | None = None

    @cached_property
    def columns(self) -> list[str]:
        """The names of the columns, vectors spelt out."""
        return [str(name) for name in column_names(self.dataset.scan.example().select(self.names))]

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns; rows are counted in a pass."""
        return self.dataset.count(), len(self.columns)

    @property
    def T(self) -> TransposedMatrix:  # noqa: N802
        """The transpose, to multiply from the left."""
        return TransposedMatrix(self)

    def select(self, *columns: str) -> RowMatrix:
        """Some columns of the dataset as a matrix of the same rows."""
        check_columns(self.dataset.schema, columns)
        return RowMatrix(self.dataset, columns, self.index)

    def to_numpy(self) -> np.ndarray:
        """The matrix in memory, of shape (rows, columns); in the order of the index if there is one."""
        number = [] if self.index is None else [self.index]
        spelt = self.spelt(number).dataset.to_arrow()
        made = np.column_stack([np.asarray(spelt[name]) for name in self.columns])
        if self.index is None:
            return made
        return np.asarray(made[np.argsort(np.asarray(spelt[self.index]), kind="stable")])

    def to_coordinates(self) -> Dataset:
        """Row, column and value of each entry that is not zero, for `og.linalg.coordinate_matrix`.

        Raises
        ------
        ParameterError
            When the rows have no numbers.
        """
        if self.index is None:
            raise ParameterError("Entries say their row: give row_matrix(index=) a column with its number.")
        return self.dataset.map(ToEntries(self.names, self.index))

    def spelt(self, kept: Sequence[str]) -> RowMatrix:
        """The same matrix with a column of floats for each of its columns.

        Parameters
        ----------
        kept : columns of the dataset that stay beside it; no others do.
        """
        rows = self.dataset.map(Spell(self.names, tuple(self.columns), tuple(kept)))
        return RowMatrix(rows, tuple(self.columns), self.index if self.index in kept else None)

    def times(self, factors: Sequence[Factor], stem: str) -> RowMatrix:
        """The product with factors, computed when it is read; the index stays.

        Parameters
        ----------
        factors : see `outgrow.linalg.steps.product`.
        stem : columns are called by it and a number.
        """
        width = factors[-1].matrix.shape[1]
        if width > MAX_EXPANDED_COLUMNS:
            raise ParameterError(
                f"The product would have {width} columns; a table has at most {MAX_EXPANDED_COLUMNS}. "
                "Multiply with some columns at a time."
            )
        kept = () if self.index is None else (self.index,)
        taken = set(kept)
        while any(f"{stem}{j}" in taken for j in range(width)):
            stem += "_"
        outputs = tuple(f"{stem}{j}" for j in range(width))
        rows = self.dataset.map(Multiply.of(self.names, outputs, kept, factors))
        return RowMatrix(rows, outputs, self.index)

    def __matmul__(self, other: Any) -> RowMatrix:
        right = gathered(other) if isinstance(other, RowMatrix) else _dense(other)
        flat = right[:, None] if right.ndim == 1 else right
        if flat.ndim != 2 or len(flat) != len(self.columns):
            raise ParameterError(
                f"A matrix of {len(self.columns)} columns cannot be multiplied with one of shape "
                f"{right.shape}: that needs a row for each column."
            )
        if not np.isfinite(flat).all():
            raise DataError("The matrix to multiply with holds missing or infinite values. Replace them.")
        return self.times([Factor(flat)], "x")

    def __repr__(self) -> str:
        rows = "" if self.index is None else f", rows numbered by {self.index!r}"
        return f"<RowMatrix of {len(self.columns)} columns on {self.dataset.engine.name}{rows}>"

    def reduce(self, fold: Callable[[Any], Any]) -> Any:
        """What a fold of the rows makes of them, in one pass.

        Parameters
        ----------
        fold : called with some rows, dense or CSR; see `Shard.reduce`. It may have to be sent to them.
        """
        names = list(self.names)

        def learn(shard: Shard) -> Any:
            return to_tree(shard.reduce(lambda batch: fold(finite(batch, names)), encoded=True))

        scan = self.dataset.select(names).scan
        return from_tree(self.dataset.engine.fit(learn, scan, stage=STAGE, keep=False).result)

    def learn(self, fit: Callable[[MatrixView], Any]) -> Any:
        """What a function makes of the rows in several passes.

        Parameters
        ----------
        fit : called on each rank with its rows; gives a state, an array, or a tuple of those.
        """
        spec = MatrixSpec(self.names)
        scan = self.dataset.select(list(self.names)).scan
        done = self.dataset.engine.fit(partial(_on_matrix, spec=spec, fit=fit), scan, stage=STAGE, keep=True)
        return from_tree(done.result)

    @property
    def sparse(self) -> bool:
        """Whether rows are stored without their zeros."""
        return is_sparse(self.dataset.scan.example().matrix(self.names))


def _on_matrix(shard: Shard, spec: MatrixSpec, fit: Callable[[MatrixView], Any]) -> Any:
    return to_tree(fit(shard.matrix(spec)))


@dataclass(frozen=True, eq=False)
class TransposedMatrix:
    """A `RowMatrix` on its side: `A.T @ B` with a matrix of the same rows is an array, from one pass.

    Attributes
    ----------
    matrix : what it is the transpose of.
    """

    matrix: RowMatrix

    @property
    def T(self) -> RowMatrix:  # noqa: N802
        """The matrix."""
        return self.matrix

    def __matmul__(self, other: Any) -> np.ndarray:
        if not isinstance(other, RowMatrix):
            raise ParameterError(
                f"A.T @ B takes a RowMatrix with the same rows, not a {type(other).__name__}. Make one of B "
                "with og.linalg.row_matrix, and say by index= which rows belong together."
            )
        left, right = beside(self.matrix, other)
        width = len(left.columns)
        if left.names == right.names:
            made = left.reduce(_products)
            return np.asarray(made)
        # a name in both is one column of the rows: each matrix takes its share
        both = replace(left, names=tuple(dict.fromkeys([*left.names, *right.names])))
        spans = _spans(both)
        of_left = np.concatenate([spans[name] for name in left.names])
        of_right = np.concatenate([spans[name] for name in right.names])
        assert len(of_left) == width
        return np.asarray(both.reduce(partial(_cross_products, left=of_left, right=of_right)))


def _spans(matrix: RowMatrix) -> dict[str, np.ndarray]:
    """Which columns of a matrix each of its names stands for."""
    example, start, spans = matrix.dataset.scan.example(), 0, {}
    for name in matrix.names:
        width = len(column_names(example.select([name])))
        spans[name] = np.arange(start, start := start + width)
    return spans


def _products(X: Any) -> np.ndarray:
    made = X.T @ X
    return made.toarray() if is_sparse(made) else np.asarray(made)


def _cross_products(X: Any, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    made = X[:, left].T @ X[:, right]
    return made.toarray() if is_sparse(made) else np.asarray(made)


def beside(left: RowMatrix, right: RowMatrix) -> tuple[RowMatrix, RowMatrix]:
    """Two matrices over one dataset: rows with the same number come together.

    Parameters
    ----------
    left, right : of one dataset, or both with an index.

    Raises
    ------
    ParameterError
        When nothing says which rows belong together.
    DataError
        When the numbers of rows are not the same in both, or not unique.
    """
    if left.dataset is right.dataset:
        return left, right
    if left.index is None or right.index is None:
        raise ParameterError(
            "Nothing says which rows of the two matrices belong together. Make both of one dataset "
            "(A.select), or give row_matrix(index=) the column that numbers the rows of each."
        )
    one, other = left.spelt([left.index]), right.spelt([right.index])
    wanted = [f"a.{_quoted(name)} AS a{j}" for j, name in enumerate(one.names)]
    wanted += [f"b.{_quoted(name)} AS b{j}" for j, name in enumerate(other.names)]
    query = (
        f"SELECT a.{_quoted(left.index)} AS number, {', '.join(wanted)} FROM a JOIN b "
        f"ON a.{_quoted(left.index)} = b.{_quoted(right.index)}"
    )
    joined = sql(query, {"a": one.dataset, "b": other.dataset}, engine=left.dataset.engine)
    rows = joined.count(), left.shape[0], right.shape[0]
    if len(set(rows)) > 1:
        raise DataError(
            f"The matrices have {rows[1]} and {rows[2]} rows, and {rows[0]} pairs with the same number: "
            "each number has to be once in both."
        )
    names_a = tuple(f"a{j}" for j in range(len(one.names)))
    names_b = tuple(f"b{j}" for j in range(len(other.names)))
    return RowMatrix(joined, names_a, "number"), RowMatrix(joined, names_b, "number")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def gathered(matrix: RowMatrix) -> np.ndarray:
    """A matrix with few rows in memory, its rows where their numbers say.

    Parameters
    ----------
    matrix : with an index of 0, 1, ..., each once; without one, of rows that have an order.
    """
    if matrix.index is None:
        if matrix.dataset.engine.name != "local":
            raise ParameterError(
                "The rows of the right matrix have no order. Give row_matrix(index=) the column that "
                "numbers them."
            )
        return matrix.to_numpy()
    numbers = np.sort(np.asarray(matrix.dataset.select(matrix.index).to_arrow()[matrix.index]))
    if not np.array_equal(numbers, np.arange(len(numbers))):
        raise DataError(
            f"{matrix.index!r} numbers the rows of the right matrix: it must hold each of 0 to "
            f"{len(numbers) - 1} once."
        )
    return matrix.to_numpy()


def _dense(values: Any) -> np.ndarray:
    dense = values.toarray() if is_sparse(values) else np.asarray(values)
    if dense.dtype.kind not in "biuf":
        raise ParameterError(f"A matrix is multiplied with numbers, not with {dense.dtype}.")
    return np.asarray(dense, dtype=np.float64)


def row_matrix(data: Any, columns: Columns = None, *, index: str | None = None) -> RowMatrix:
    """A matrix whose rows are those of a dataset.

    Parameters
    ----------
    data : dataset, Spark DataFrame, table, array or SciPy sparse matrix of shape (rows, columns).
    columns : names, or a selector; by default all that hold numbers or vectors of them, but the index.
    index : the column with the number of each row, from 0 on.

    Raises
    ------
    ColumnNotFoundError
        When a column is not there, or none holds numbers.
    SchemaError
        When a column does not hold numbers.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> table = pa.table({"id": [0, 1], "a": [1.0, 2.0], "b": [0.0, 1.0]})
    >>> og.linalg.row_matrix(table, index="id").columns
    ['a', 'b']
    """
    if isinstance(data, RowMatrix):
        return data if columns is None else replace(data, names=tuple(open_rows(data.dataset, columns).names))
    rows = opened(data)
    if index is not None:
        check_columns(rows.schema, [index])
    chosen = open_rows(rows, columns, by=None if index is None else [index], what="A matrix")
    names = [name for name in chosen.names if name != index]
    return RowMatrix(rows, tuple(names), index)


def as_rows(data: Any, columns: Columns = None, *, without: Sequence[str] = ()) -> RowMatrix:
    """What a function was given, as a matrix.

    Parameters
    ----------
    data : a `RowMatrix`, or what `row_matrix` takes.
    columns : as `row_matrix` takes them.
    without : columns that are something else.
    """
    matrix = row_matrix(data, columns)
    names = tuple(name for name in matrix.names if name not in without) if columns is None else matrix.names
    if not names:
        raise ParameterError(f"No columns are left beside {list(without)}.")
    return replace(matrix, names=names)


def with_columns(data: Any, values: np.ndarray, stem: str) -> tuple[Dataset, list[str]]:
    """The rows of something in memory with further columns, and the names of these.

    Parameters
    ----------
    data : table or array.
    values : shape (rows, columns).
    stem : columns are called by it and a number.
    """
    rows = opened(data)
    while any(name.startswith(stem) for name in rows.columns):
        stem += "_"
    names = [f"{stem}{j}" for j in range(values.shape[1])]
    table = rows.to_arrow()
    if table.num_rows != len(values):
        raise DataError(f"There are {table.num_rows} rows, and {len(values)} on the right side.")
    for j, name in enumerate(names):
        table = table.append_column(name, pa.array(values[:, j]))
    return opened(table), names
