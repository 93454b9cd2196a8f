"""The nearest rows of other rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, TEXT, Integer, Number, OneOf, Unused
from outgrow.ml.neighbors.columns import NeighborColumns
from outgrow.ml.neighbors.known_rows import RowParts
from outgrow.ml.neighbors.queries import ALGORITHMS, NearestQueries, RadiusQueries
from outgrow.ml.neighbors.search import METRICS, check_count


class NearestNeighbors(NearestQueries, RadiusQueries, NeighborColumns):
    """Find for each row the nearest rows of the fit, or all within a radius, exactly.

    With algorithm='ivf' the nearest are found nearly all, and faster.

    `transform` puts `neighbor0`, ..., `distance0`, ... in the place of the columns that it compares; other
    columns, such as a key, stay. The model is the rows of the fit, which it holds: up to 268 million numbers.
    Rows to be compared come a batch at a time, on any engine.

    Parameters
    ----------
    n_neighbors : how many.
    radius : how far the rows may be that `radius_neighbors` finds.
    columns : which columns are compared, by name or selector; all by default, but `id`.
    id : a column of whole numbers that names the rows of the fit, which neighbours are called by. Without it
        they are called by their positions, 0 for the first, where `fit` got rows in memory, else, and in
        pipelines, by their places in `rows_`.
    metric : 'minkowski', 'euclidean', 'manhattan', 'chebyshev' or 'cosine'.
    p : the power of 'minkowski': 1 is 'manhattan', 2 'euclidean', infinity 'chebyshev'.
    algorithm : 'ivf' looks at cells of near rows alone, as many as find the share `recall` of the neighbours;
        the others are accepted as in scikit-learn and change nothing: the search is exact.
    recall : the share of the neighbours that 'ivf' is to find, measured on 256 rows of the fit.
    leaf_size, metric_params, n_jobs : accepted as in scikit-learn, without effect.

    Attributes
    ----------
    rows_ : ndarray of shape (n_samples_fit_, n_columns), in the order of their hashes.
    ids_ : ndarray of shape (n_samples_fit_,), what each is called.
    n_samples_fit_ : how many there are.
    recall_ : the share of the neighbours that 'ivf' found of those rows; 1 where the search is exact.
    probes_ : how many cells 'ivf' looks at; `centers_` are their centres, `cells_` those of the rows.

    Notes
    -----
    Unlike scikit-learn: has `transform`; of rows as far from a query those of the least hash are found, in
    batches of any size, there it is chance; dense columns only; `radius_neighbors` always sorts, and
    `radius_edges` gives a table of edges.

    Unlike Spark MLlib's `BucketedRandomProjectionLSH(bucketLength, numHashTables=1)`: exact, where
    `approxNearestNeighbors` finds some of the nearest; the rows that are searched have to fit in memory.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa, outgrow as og
    >>> X = np.array([[0.0], [1.0], [5.0]])
    >>> distances, neighbors = og.NearestNeighbors(n_neighbors=2).fit(X).kneighbors(np.array([[4.0]]))
    >>> distances.tolist(), neighbors.tolist()
    ([[1.0, 3.0]], [[2, 1]])
    >>> shops = pa.table({"shop": [17, 18], "x": [0.0, 2.0], "y": [0.0, 0.0]})
    >>> people = pa.table({"name": ["Ann"], "x": [1.5], "y": [0.0]})
    >>> og.NearestNeighbors(1, id="shop").fit(shops).transform(people).to_pylist()
    [{'name': 'Ann', 'neighbor0': 18.0, 'distance0': 0.5}]
    """

    test_parameters = {"n_neighbors": 2}
    no_exports = {
        "ONNX": "it looks at all rows of the fit for each row",
        "scikit-learn": "that class transforms nothing",
    }
    parameters = {
        "n_neighbors": Integer(low=1),
        "radius": Number(low=0),
        "columns": COLUMNS,
        "id": TEXT | None,
        "algorithm": OneOf(*ALGORITHMS),
        "recall": Number(above=0, high=1),
        "leaf_size": Unused(Integer(low=1)),
        "metric": OneOf(*METRICS),
        "p": Number(low=1),
        "metric_params": Unused(),
        "n_jobs": Unused(),
    }

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        radius: float = 1.0,
        columns: Columns = None,
        id: str | None = None,
        algorithm: str = "auto",
        leaf_size: int = 30,
        metric: str = "minkowski",
        p: float = 2,
        metric_params: Any = None,
        n_jobs: int | None = None,
        recall: float = 0.95,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.radius = radius
        self.columns = columns
        self.id = id
        self.algorithm = algorithm
        self.leaf_size = leaf_size
        self.metric = metric
        self.p = p
        self.metric_params = metric_params
        self.n_jobs = n_jobs
        self.recall = recall

    def _gather(self, view: MatrixView) -> np.ndarray | None:
        table = view.reduce(_rows).in_order()
        self.rows_ = np.ascontiguousarray(table[:, : view.width])
        self._check_extent()
        self._learn_cells()
        return None if self.id is None else table[:, -1]

    # ---- answer ------------------------------------------------------------------------------------------

    def _expanded(self, X: Any) -> np.ndarray:
        check_count(self.n_neighbors, self.n_samples_fit_)
        distances, places = self._nearest(X, self.n_neighbors)
        return np.concatenate([self.ids_[places].astype(np.float64), distances], axis=1)


def _rows(block: Block) -> RowParts:
    beside = [block.roles["id"]] if "id" in block.roles else []
    X = block.X if isinstance(block.X, np.ndarray) else block.X.toarray()
    return RowParts([np.column_stack([X, *beside])], [block.hashes(0)])
