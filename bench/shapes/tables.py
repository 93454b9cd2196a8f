"""Tables of the grid as Parquet files, which Spark and the ranks read; written once."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from bench.data import FOLDER, GROUPS, read_label, read_matrix
from bench.shapes.linear import Rows, dense, sparse, words
from bench.shapes.others import bent, grouped, many_words
from bench.spark import warm_session

FEW = 1_000
"""Rows on which both contenders run before they are timed."""


@dataclass(frozen=True)
class Table:
    """Rows in a file, and the first of them in another.

    Attributes
    ----------
    path, few : the files.
    session : the Spark session.
    vectors : whether Spark ML's vectors are in a column `features` already.
    """

    path: Path
    few: Path
    session: Any
    vectors: bool = False

    @cached_property
    def names(self) -> list[str]:
        """The columns to learn from."""
        return [name for name in ds.dataset(self.path).schema.names if name != "y"]

    @cached_property
    def count(self) -> int:
        return int(ds.dataset(self.path).count_rows())

    @cached_property
    def spread(self) -> float:
        """The standard deviation of y, where there is one."""
        has_y = "y" in ds.dataset(self.path).schema.names
        return float(np.std(self.label(), ddof=1)) if has_y else 0.0

    def matrix(self) -> np.ndarray:
        return read_matrix(self.path, self.names)

    def label(self) -> np.ndarray:
        return read_label(self.path, "y")

    def rows(self) -> Rows:
        """What a judge looks at."""
        return Rows(self.matrix(), self.label())

    def frame(self) -> Any:
        """The rows as Spark reads them."""
        return self.session.read.parquet(str(self.path))


def dense_table(rows: int, width: int, classes: int) -> Table:
    """The rows of `dense`."""
    return stored_table(f"dense-{rows}-{width}-{classes}", lambda: _numbers(*dense(rows, width, classes)[:2]))


def grouped_table(rows: int, width: int, clusters: int) -> Table:
    """The rows of `grouped`, without an answer."""
    return stored_table(
        f"grouped-{rows}-{width}-{clusters}", lambda: _numbers(grouped(rows, width, clusters))
    )


def bent_tables(rows: int, width: int, classes: int) -> tuple[Table, Table]:
    """The rows of `bent`, and those that judge."""
    name = f"bent-{rows}-{width}-{classes}"
    learn = stored_table(name, lambda: _numbers(*bent(rows * 5 // 4, width, classes)[:2]))
    return learn, stored_table(f"{name}-unseen", lambda: _numbers(*bent(rows * 5 // 4, width, classes)[2:]))


def word_table(rows: int, count: int) -> Table:
    """The rows of `many_words`."""
    return stored_table(f"many-words-{rows}-{count}", lambda: many_words(rows, count))


def mixed_table(rows: int, count: int) -> Table:
    """The rows of `words`: three numbers and a column of text."""

    def make() -> pa.Table:
        made = words(rows, count)
        return made.table.append_column("y", pa.array(made.y))

    return stored_table(f"mixed-{rows}-{count}", make)


def sparse_table(rows: int, width: int, classes: int) -> Table:
    """The rows of `sparse`, as Spark writes vectors of its ML."""
    session, name = warm_session(), f"sparse-{rows}-{width}-{classes}"

    def make(count: int) -> Callable[[Path], None]:
        return lambda path: _write_vectors(session, sparse(rows, width, classes), count, path)

    return Table(
        _written(f"{name}-vectors", make(rows)), _written(f"{name}-few", make(FEW)), session, vectors=True
    )


def stored_table(name: str, make: Callable[[], pa.Table]) -> Table:
    """Rows that are made once.

    Parameters
    ----------
    name : of their file.
    make : gives them.
    """

    def all_rows(path: Path) -> None:
        made = make()
        pq.write_table(made, path, row_group_size=-(-len(made) // GROUPS))

    path = _written(name, all_rows)
    few = _written(f"{name}-few", lambda few: pq.write_table(next(_batches(path)), few))
    return Table(path, few, warm_session())


def _batches(path: Path) -> Any:
    for batch in pq.ParquetFile(path).iter_batches(FEW):
        yield pa.Table.from_batches([batch])


def _written(name: str, write: Callable[[Path], None]) -> Path:
    path = FOLDER / f"shapes-{name}.parquet"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        write(unfinished)
        os.replace(unfinished, path)
    return path


def _numbers(X: np.ndarray, y: np.ndarray | None = None) -> pa.Table:
    columns = {f"x{j}": X[:, j] for j in range(X.shape[1])}
    return pa.table(columns if y is None else {**columns, "y": y})


def _write_vectors(session: Any, made: Rows, count: int, path: Path) -> None:
    """Spark reads its vectors from the structs that they are in files, and writes them as its own."""
    from pyspark.ml.linalg import VectorUDT
    from pyspark.sql.types import StructField, StructType

    X, y = made.X[:count].tocsr(), made.y[:count]
    X.sort_indices()
    number = pa.int32()
    struct = pa.StructArray.from_arrays(
        [
            pa.array(np.zeros(count), pa.int8()),
            pa.array(np.full(count, X.shape[1]), number),
            pa.ListArray.from_arrays(pa.array(X.indptr, number), pa.array(X.indices, number)),
            pa.ListArray.from_arrays(pa.array(X.indptr, number), pa.array(X.data)),
        ],
        names=["type", "size", "indices", "values"],
    )
    plain = path.with_suffix(".structs")
    pq.write_table(pa.table({"features": struct, "y": y}), plain, row_group_size=-(-count // GROUPS))
    label = session.read.parquet(str(plain)).schema["y"]
    schema = StructType([StructField("features", VectorUDT()), label])
    session.read.schema(schema).parquet(str(plain)).repartition(GROUPS).write.parquet(str(path))
    plain.unlink()
