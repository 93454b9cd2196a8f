"""Sets that have much in common, by the least hashes of their members."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from outgrow.data.hashing import matrix_hash, mix, seeded
from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, RANDOM_STATE, TEXT, Integer, seed
from outgrow.ml.neighbors.buckets import joined
from outgrow.ml.neighbors.hashed import HashedRows
from outgrow.ml.neighbors.known_rows import MOST_NUMBERS
from outgrow.stats.least_rows import LeastRows

_EMPTY = np.uint64(2**64 - 1)
_TOGETHER = 1 << 18
"""Pairs of sets that are compared at once."""


class MinHashLSH(HashedRows):
    """Find sets that have much in common by the least hashes of their members (Broder 1997; in bands, as
    Leskovec, Rajaraman and Ullman have them), and compare those exactly.

    A row is the set of its columns that are not 0, such as words of a text or bought things; vectors count
    with each of their places. The distance is Jaccard's: 1 less what two sets have in common, divided by what
    they have together. Of up to 4,096 rows of the fit all are compared. The model is the sets of the fit; the
    others may be larger than memory. A row of zeros is like no other: it is never found, and finds nothing.

    Parameters
    ----------
    n_neighbors : how many sets `transform` finds.
    columns : which columns, by name or selector; all by default, but `id`.
    id : a column of whole numbers that names the rows of the fit; see `NearestNeighbors`.
    n_tables : how many tables there are: the more, the more of the near sets are found, and the longer it
        takes.
    n_hashes : how many least hashes decide in a table together: sets with a share s in common are found with
        a chance of 1 - (1 - s ** n_hashes) ** n_tables.
    random_state : another number hashes otherwise.

    Attributes
    ----------
    members_, ends_ : the sets of the fit, in the order of their hashes: the places of the members, and where
        each set ends, as CSR has them.
    width_ : how many members there may be.
    ids_ : ndarray of shape (n_samples_fit_,), what each is called.
    n_samples_fit_ : how many there are.

    Notes
    -----
    Unlike Spark MLlib's `MinHashLSH(numHashTables=1)`: several hashes decide together; more tables by
    default; rows of zeros are taken; the rows of the fit have to fit in memory; `approx_nearest` answers many
    rows at once.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> carts = pa.table({"cart": [1, 2], "milk": [1, 0], "bread": [1, 0], "nails": [0, 1], "glue": [0, 1]})
    >>> model = og.MinHashLSH(1, id="cart").fit(carts)
    >>> other = pa.table({"milk": [1], "bread": [0], "nails": [0], "glue": [0]})
    >>> model.transform(other).to_pylist()
    [{'neighbor0': 1.0, 'distance0': 0.5}]
    """

    takes_sparse = True
    exempt: ClassVar[dict[str, str]] = {}
    test_parameters = {"n_neighbors": 2}
    parameters = {
        "n_neighbors": Integer(low=1),
        "columns": COLUMNS,
        "id": TEXT | None,
        "n_tables": Integer(low=1),
        "n_hashes": Integer(low=1),
        "random_state": RANDOM_STATE,
    }
    members_: np.ndarray
    ends_: np.ndarray
    width_: int
    _rows: Any = None

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        columns: Columns = None,
        id: str | None = None,
        n_tables: int = 16,
        n_hashes: int = 2,
        random_state: Any = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.columns = columns
        self.id = id
        self.n_tables = n_tables
        self.n_hashes = n_hashes
        self.random_state = random_state

    def _gather(self, view: MatrixView) -> np.ndarray | None:
        if view.cells > MOST_NUMBERS and view.sparse:
            raise DataError(
                f"MinHashLSH keeps the sets of its fit: about {view.cells:.0f} members, of which "
                f"{MOST_NUMBERS} are held. Fit it on the smaller of two tables, or on a sample."
            )
        most, width = view.rows, view.width

        def fold(block: Block) -> LeastRows:
            beside = sp.csr_array(block.roles.get("id", np.zeros(len(block)))[:, None])
            parts: list[Any] = [_sets(block.X), beside]
            return LeastRows.of(most, sp.hstack(parts, format="csr"), block.hashes(0))

        found = view.reduce(fold)
        ids = found.rows[:, [width]].toarray().ravel()
        order = np.lexsort((ids, found.key))  # sets that are the same come in the order of their ids
        sets = found.rows[:, :width].tocsr()[order]
        self.members_, self.ends_ = sets.indices.astype(np.int32), sets.indptr.astype(np.int64)
        self.width_ = width
        return None if self.id is None else ids[order]

    def _positions(self, values: Any) -> np.ndarray:
        return np.argsort(seeded(matrix_hash(values), 0), kind="stable")

    def _known(self) -> Any:
        ones = np.ones(len(self.members_))
        return sp.csr_array((ones, self.members_, self.ends_), shape=(len(self.ends_) - 1, self.width_))

    def _restored(self) -> None:
        super()._restored()
        self._rows = self._known() if hasattr(self, "members_") else None

    def _comparable(self, X: Any) -> np.ndarray:
        return np.diff(_sets(X).indptr) > 0

    def _hashes(self, X: Any) -> np.ndarray:
        sets, number = _sets(X), np.uint64(seed(self.random_state) % 2**32)
        some, total = np.diff(sets.indptr) > 0, self.n_tables * self.n_hashes
        found = np.full((X.shape[0], total), _EMPTY)
        used, places = np.unique(sets.indices, return_inverse=True)
        for k in range(total):
            salt = mix(np.array([number * np.uint64(1 << 16) + np.uint64(k)], dtype=np.uint64))
            hashes = mix(used.astype(np.uint64) ^ salt)[places]
            if some.any():
                found[some, k] = np.minimum.reduceat(hashes, sets.indptr[:-1][some])
        return joined(found.reshape(-1, self.n_tables, self.n_hashes))

    def _pair_distances(self, X: Any, queries: np.ndarray, places: np.ndarray) -> np.ndarray:
        sets, found = _sets(X), np.empty(len(queries))
        if self._rows is None:
            self._restored()
        sizes, others = np.diff(sets.indptr), np.diff(self._rows.indptr)
        for start in range(0, len(queries), _TOGETHER):
            part = slice(start, start + _TOGETHER)
            both = np.asarray(sets[queries[part]].multiply(self._rows[places[part]]).sum(axis=1)).ravel()
            found[part] = 1 - both / (sizes[queries[part]] + others[places[part]] - both)
        return found


def _sets(X: Any) -> Any:
    """Rows as sets: CSR with ones where they are not 0."""
    made = sp.csr_array(X, copy=True) if is_sparse(X) else sp.csr_array(np.asarray(X))
    made.sum_duplicates()
    made.eliminate_zeros()
    made.data = np.ones(len(made.data))
    return made
