"""Numbers as zeros and ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.matrix import is_sparse
from outgrow.engine.checks import check_finite
from outgrow.engine.shard import Shard
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.matrices import by_column
from outgrow.ml.core.parameters import Numbers
from outgrow.ml.core.task import Task
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.preprocessing.columnwise import ColumnwiseTransformer, check_width


class Binarizer(ColumnwiseTransformer):
    """Make 1 of what is above a threshold, and 0 of all else. It learns nothing.

    Parameters
    ----------
    columns : which columns, by name or selector; all by default.
    threshold : a number, or one for each number of a row; sparse rows need thresholds of at least 0.
    copy : as scikit-learn has it, without effect: input is never changed.

    Notes
    -----
    Unlike scikit-learn: `threshold` may be an array, one for each column.

    Unlike Spark MLlib's `Binarizer(threshold=0.0)`: columns keep their names.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.Binarizer(threshold=1.0).fit_transform(np.array([[0.5, 1.0, 1.5]])).tolist()
    [[0.0, 0.0, 1.0]]
    """

    learns_nothing = True
    missing_values_pass = False
    parameters = {**ColumnwiseTransformer.parameters, "threshold": Numbers()}

    def __init__(self, columns: Columns = None, *, threshold: Any = 0.0, copy: bool = True) -> None:
        self.columns = columns
        self.threshold = threshold
        self.copy = copy

    def _sparse_refusal(self) -> str | None:
        return (
            "Cannot binarize a sparse matrix with threshold < 0: zeros would become ones. Give dense "
            "rows, or a threshold of at least 0."
            if np.min(self.threshold) < 0
            else None
        )

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        check_width("threshold", self.threshold, shard.example.matrix(names).shape[1])

    def _scaled(self, X: Any, part: slice) -> Any:
        check_finite(X.data if is_sparse(X) else X, "X")
        threshold = np.broadcast_to(self.threshold, self._width)[part]
        if not is_sparse(X):
            return by_column(np.greater, X, threshold).astype(np.float64)
        above = sp.csr_array(X)
        above.data = (above.data > threshold[above.indices]).astype(np.float64)
        above.eliminate_zeros()
        return above

    def _to_onnx(self, table: Table) -> Table:
        graph, X = table.graph, table.matrix(self.selected_, type(self).__name__)
        X = graph.finite(X, type(self).__name__, missing=False)
        bounds = np.broadcast_to(np.asarray(self.threshold, dtype=np.float64), self._width)[None, :]
        above = graph.node("Greater", X, graph.constant(bounds))
        return table.with_numbers(graph.cast(above, "number"), self.selected_)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        if np.ndim(self.threshold):
            raise refusal(self, "it has several thresholds.", "Use one Binarizer for each.")
        made = twin("preprocessing.Binarizer", threshold=self.threshold)
        return self._twin_in(flow, name, made)
