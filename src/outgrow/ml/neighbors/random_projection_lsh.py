"""Near rows by random projections."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, RANDOM_STATE, TEXT, Integer, Number, numpy_random
from outgrow.ml.neighbors.buckets import joined
from outgrow.ml.neighbors.hashed import HashedRows
from outgrow.ml.neighbors.known_rows import RowParts

_TOGETHER = 1 << 21
"""Numbers that are compared at once."""


class RandomProjectionLSH(HashedRows):
    """Find near rows by which stretches of random lines they fall on (Datar, Immorlica, Indyk and Mirrokni
    2004), and compare those exactly.

    Of up to 4,096 rows of the fit all are compared. `transform` puts the nearest that are found in the place
    of the columns, as `NearestNeighbors` does; `similarity_join` gives all pairs within a distance. The model
    is the rows of the fit, up to 268 million numbers; the others may be larger than memory.

    Parameters
    ----------
    n_neighbors : how many rows `transform` finds.
    columns : which columns are compared, by name or selector; all by default, but `id`.
    id : a column of whole numbers that names the rows of the fit; see `NearestNeighbors`.
    n_tables : how many tables there are: the more, the more of the near rows are found, and the longer it
        takes.
    n_hashes : how many lines decide in a table together: the more, the fewer rows are compared in vain, and
        the fewer are found.
    bucket_length : how long a stretch is, in the unit of the columns; None follows from how many rows there
        are and how they spread.
    random_state : another number draws other lines.

    Attributes
    ----------
    rows_ : ndarray of shape (n_samples_fit_, n_columns), in the order of their hashes.
    ids_ : ndarray of shape (n_samples_fit_,), what each is called.
    n_samples_fit_ : how many there are.
    directions_ : ndarray of shape (n_columns, n_tables * n_hashes), of length 1 each.
    offsets_ : ndarray of shape (n_tables * n_hashes,), where the first stretch of each line begins.
    bucket_length_ : how long a stretch is.

    Notes
    -----
    Unlike Spark MLlib's `BucketedRandomProjectionLSH(bucketLength, numHashTables=1)`: several lines decide
    together; more tables by default; stretches begin anywhere; the rows of the fit have to fit in memory;
    `approx_nearest` answers many rows at once.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> known = pa.table({"key": [7, 8, 9], "x": [0.0, 1.0, 5.0], "y": [0.0, 1.0, 5.0]})
    >>> model = og.RandomProjectionLSH(1, id="key", random_state=0).fit(known)
    >>> pairs = model.similarity_join(pa.table({"x": [0.5], "y": [0.5]}), 1.0)
    >>> sorted(pairs["neighbor"].to_pylist())
    [7, 8]
    """

    test_parameters = {"n_neighbors": 2}
    parameters = {
        "n_neighbors": Integer(low=1),
        "columns": COLUMNS,
        "id": TEXT | None,
        "n_tables": Integer(low=1),
        "n_hashes": Integer(low=1),
        "bucket_length": Number(above=0, below=np.inf) | None,
        "random_state": RANDOM_STATE,
    }
    rows_: np.ndarray
    directions_: np.ndarray
    offsets_: np.ndarray
    bucket_length_: float

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        columns: Columns = None,
        id: str | None = None,
        n_tables: int = 10,
        n_hashes: int = 4,
        bucket_length: float | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.columns = columns
        self.id = id
        self.n_tables = n_tables
        self.n_hashes = n_hashes
        self.bucket_length = bucket_length
        self.random_state = random_state

    def _gather(self, view: MatrixView) -> np.ndarray | None:
        table = view.reduce(_rows).in_order()
        self.rows_ = np.ascontiguousarray(table[:, : view.width])
        random = numpy_random(self.random_state)
        lines: Any = random.normal(size=(view.width, self.n_tables * self.n_hashes))
        self.directions_ = lines / np.sqrt((lines**2).sum(axis=0))
        spread = float(np.sqrt(self.rows_.var(axis=0).mean())) or 1.0
        self.bucket_length_ = float(self.bucket_length or self._usual_length(spread, view.width))
        begin: Any = random.uniform(size=self.directions_.shape[1])
        self.offsets_ = self.bucket_length_ * begin
        return None if self.id is None else table[:, -1]

    def _usual_length(self, spread: float, width: int) -> float:
        """Stretches so long that some rows share a bucket, and not all."""
        shrunk: float = len(self.rows_) ** (-1.0 / max(width, self.n_hashes))
        return 4 * spread * shrunk

    def _known(self) -> np.ndarray:
        return self.rows_

    def _comparable(self, X: Any) -> np.ndarray:
        return np.ones(X.shape[0], dtype=bool)

    def _hashes(self, X: Any) -> np.ndarray:
        stretch = np.floor(
            (np.asarray(X, dtype=np.float64) @ self.directions_ + self.offsets_) / self.bucket_length_
        )
        # what is past all whole numbers shares a bucket
        whole = np.clip(stretch, -(2.0**62), 2.0**62).astype(np.int64).view(np.uint64)
        return joined(whole.reshape(len(whole), self.n_tables, self.n_hashes))

    def _pair_distances(self, X: Any, queries: np.ndarray, places: np.ndarray) -> np.ndarray:
        found, step = np.empty(len(queries)), max(1, _TOGETHER // max(1, X.shape[1]))
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            apart = X[queries[part]] - self.rows_[places[part]]
            found[part] = np.sqrt(np.einsum("ij,ij->i", apart, apart))
        return found


def _rows(block: Block) -> RowParts:
    beside = [block.roles["id"]] if "id" in block.roles else []
    X = block.X if isinstance(block.X, np.ndarray) else block.X.toarray()
    return RowParts([np.column_stack([X, *beside])], [block.hashes(0)])
