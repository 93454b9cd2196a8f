"""What statistics are of: rows from anywhere, some of their columns, and how they are grouped and weighed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch, is_numeric
from outgrow.data.keys import in_order, key_codes, key_nulls, key_values
from outgrow.data.matrix import Matrix, is_sparse
from outgrow.data.names import numbered
from outgrow.data.scan import check_columns
from outgrow.engine.checks import weight_column
from outgrow.engine.dataset import Dataset
from outgrow.engine.open import dataset, is_spark, is_table
from outgrow.engine.shard import Shard
from outgrow.errors import ColumnNotFoundError, DataError, ParameterError
from outgrow.ml.core.apart import vectors_with
from outgrow.ml.core.columns import Columns, named, require_numeric, resolve
from outgrow.ml.core.inputs import arrow_column
from outgrow.ml.core.task import column_names
from outgrow.stats.grouped import Keys, Segments
from outgrow.stats.state import from_tree, to_tree

_TILE_VALUES = 1 << 18
"""Numbers that are worked on at once: they stay in a core's cache."""
_ALL = np.zeros(1, dtype=np.uint64)
"""The key of rows that are one group."""


@dataclass(frozen=True)
class Rows:
    """Rows, opened.

    Attributes
    ----------
    dataset : with the columns below, and no others.
    names : the columns to look at; vectors are one each.
    labels : the same, vectors spelt out.
    by : the columns whose values make groups.
    weight : the column of weights, or None.
    single : whether one column was named, so that results are numbers and no arrays.
    frequencies : whether weights say how often a row is there, so that they are whole.
    """

    dataset: Dataset
    names: list[str]
    labels: tuple[str, ...]
    by: tuple[str, ...] = ()
    weight: str | None = None
    single: bool = False
    frequencies: bool = False

    def __getstate__(self) -> dict[str, Any]:
        """What travels to where the rows are: there they are known."""
        return {**self.__dict__, "dataset": None}

    def learn(self, fit: Callable[[Shard], Any], *, keep: bool = False) -> Any:
        """What a function makes of the rows on their engine.

        Parameters
        ----------
        fit : called with a shard on each rank; gives a state, an array, or a tuple of those.
        keep : it takes several passes, so the rows are worth holding.
        """
        scan, engine = self.dataset.scan, self.dataset.engine
        done = engine.fit(lambda shard: to_tree(fit(shard)), scan, stage="statistics", keep=keep)
        return from_tree(done.result)

    def finite(self, batch: Batch) -> Any:
        """The columns as one matrix, missing values as NaN; infinity is refused by name."""
        X = batch.matrix(self.names)
        values = X.data if is_sparse(X) else X
        with np.errstate(all="ignore"):
            if np.isinf(values.sum()) and np.isinf(values).any():
                columns = {self.labels[j] for j in _where_infinite(X)}
                raise DataError(
                    f"Infinite values in {sorted(columns)[:5]}: they have no mean. Drop those rows, or make "
                    "them missing."
                )
        return X

    def weights(self, batch: Batch) -> np.ndarray | None:
        """The weights of the rows of a batch; None where each counts once."""
        if self.weight is None:
            return None
        weight = weight_column(batch, self.weight)
        if self.frequencies and len(broken := weight[weight != np.floor(weight)]):
            raise DataError(
                f"fweights say how often each row is there, and {len(broken)} of them are not whole, such as "
                f"{broken[0]:g}. Give whole numbers, or aweights= for how important rows are."
            )
        return weight

    def grouped(self, batch: Batch) -> tuple[Segments, Keys]:
        """The groups of the rows of a batch, and their keys; without `by` all are one."""
        if not self.by:
            return one_group(batch.num_rows), Keys(_ALL[:0], b"")
        segments = Segments.coded(*key_codes(batch, self.by))
        firsts = key_values(batch.select(self.by).take(segments.firsts), self.by)
        return segments, Keys.of(segments.hashes, firsts)

    def unwrapped(self, values: Any) -> Any:
        """An array of shape (columns,), or the number in it where one column was named."""
        values = np.asarray(values)
        return values[0].item() if self.single else values


def _where_infinite(X: Any) -> list[int]:
    if is_sparse(X):
        return sorted(set(X.indices[np.isinf(X.data)].tolist()))
    return np.flatnonzero(np.isinf(X).any(axis=0)).tolist()


def open_rows(
    data: Any,
    columns: Columns = None,
    *,
    by: Any = None,
    weights: Any = None,
    numeric: bool = True,
    what: str = "A statistic of numbers",
) -> Rows:
    """Rows, and which of their columns are what.

    Parameters
    ----------
    data : dataset, Spark DataFrame, table, array of shape (rows, columns), or of shape (rows,).
    columns : names, or a selector; by default all that hold numbers or vectors of them.
    by : a name, a list of names, or an array of shape (rows,).
    weights : a name, or an array of shape (rows,).
    numeric : whether the columns must be numbers.
    what : is made of them, as a message about those that are not begins.
    """
    rows = opened(data)
    rows, keys = _beside(data, rows, by, "group")
    rows, weigher = _beside(data, rows, weights, "weight")
    if len(weigher) > 1:
        raise ParameterError(f"weights={weights!r}: name one column, or give one array.")
    check_columns(rows.schema, [*keys, *weigher])
    example = rows.scan.example()
    names = _chosen(columns, example, {*keys, *weigher}, numeric)
    if numeric:
        require_numeric(example, names, what)
    labels = tuple(column_names(example.select(names)).tolist())
    single = len(labels) == 1 and (isinstance(columns, str) or (columns is None and _is_flat(data)))
    wanted = rows.select(list(dict.fromkeys([*names, *keys, *weigher])))
    return Rows(wanted, names, labels, tuple(keys), weigher[0] if weigher else None, single)


def opened(data: Any) -> Dataset:
    """A dataset of anything with rows; what has one dimension is one column.

    Raises
    ------
    DataError
        When it is no table.
    """
    if isinstance(data, pa.Array | pa.ChunkedArray):
        return dataset(pa.table({"x0": data}))
    if hasattr(data, "to_frame") and not hasattr(data, "columns"):  # a Series of pandas or Polars
        return dataset(data.to_frame())
    if is_table(data) or is_sparse(data):
        return dataset(data)
    values = np.asarray(data)
    if values.ndim == 1:
        return dataset(pa.table({"x0": arrow_column(values, "x0")}))
    return dataset(values)


def _is_flat(data: Any) -> bool:
    """Whether this is one column by itself."""
    return (
        isinstance(data, pa.Array | pa.ChunkedArray)
        or getattr(data, "ndim", None) == 1
        or (isinstance(data, list | tuple) and np.ndim(data[:1]) == 1)
    )


def _chosen(columns: Columns, example: Batch, aside: set[str], numeric: bool) -> list[str]:
    """The columns that are meant."""
    if columns is not None:
        if not callable(columns) and not isinstance(columns, str):
            columns = list(dict.fromkeys(columns))
        names, numbers = list(example.columns), vectors_with(example)
        wanted = named(columns, example, names)
        alone = [name for name in wanted if name in numbers]
        return resolve(wanted if alone else columns, example, [*names, *alone])
    rest = [name for name in example.columns if name not in aside]
    if not numeric:
        return rest
    names = [name for name in rest if isinstance(c := example[name], Matrix) or is_numeric(c.type)]
    if not names:
        raise ColumnNotFoundError(f"No column of numbers among {list(example.columns)}.")
    return names


def _beside(data: Any, rows: Dataset, given: Any, what: str) -> tuple[Dataset, list[str]]:
    """The rows with an array as a column beside them, and its name; or the names that were given."""
    if given is None:
        return rows, []
    if isinstance(given, str):
        return rows, [given]
    if isinstance(given, list | tuple) and all(
        isinstance(name, str) and name in rows.columns for name in given
    ):
        return rows, list(given)
    if isinstance(data, Dataset) or is_spark(data):
        raise ParameterError(
            f"{what}s of a dataset or a Spark DataFrame are named columns, not arrays; it has {rows.columns}."
        )
    table, name = rows.to_arrow(), numbered(what, rows.columns)
    column = arrow_column(np.asarray(given), what)
    if len(column) != table.num_rows:
        raise DataError(f"There are {table.num_rows} rows, and {len(column)} {what}s for them.")
    return dataset(table.append_column(name, column)), [name]


def one_group(rows: int) -> Segments:
    """So many rows, none of which is in another group."""
    count = min(rows, 1)
    return Segments(_ALL[:count], np.arange(rows), np.zeros(count, dtype=np.intp))


def tiles(X: Any) -> Iterator[tuple[slice, np.ndarray]]:
    """Runs of rows of a matrix that fit in a cache, as dense arrays."""
    step = max(1, _TILE_VALUES // max(1, X.shape[1]))
    for start in range(0, X.shape[0], step):
        part = X[start : start + step]
        yield slice(start, start + step), part.toarray(order="F") if is_sparse(part) else part


def dense(X: Any) -> np.ndarray:
    """A matrix, dense."""
    return X if isinstance(X, np.ndarray) else X.toarray(order="F")


def key_order(keys: Keys, by: Sequence[str], *, missing: bool) -> tuple[pa.Table, np.ndarray]:
    """The keys of groups in their order, and the place of each among the hashes.

    Parameters
    ----------
    keys : of the groups.
    by : the columns that make them.
    missing : whether groups whose key is missing are among them.
    """
    places = numbered("place", by)
    table = keys.table.append_column(places, pa.array(np.arange(len(keys.hashes))))
    if not missing:
        table = table.filter(pa.array(~key_nulls(keys.table)))
    table = in_order(table, by)
    return table.drop_columns([places]), table[places].to_numpy()
