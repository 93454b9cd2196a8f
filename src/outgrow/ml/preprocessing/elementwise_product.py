"""Columns times constants."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.matrix import is_sparse
from outgrow.engine.checks import check_finite
from outgrow.engine.shard import Shard
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.matrices import by_column
from outgrow.ml.core.parameters import Numbers
from outgrow.ml.core.task import Task
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.preprocessing.columnwise import ColumnwiseTransformer, check_width


class ElementwiseProduct(ColumnwiseTransformer):
    """Multiply each column by a number of its own, as weights of features do. It learns nothing.

    Parameters
    ----------
    scaling : one number for each number of a row, or one for all.
    columns : which columns, by name or selector; all by default.

    Notes
    -----
    Unlike scikit-learn: it has no such class.

    Unlike Spark MLlib's `ElementwiseProduct(scalingVec)`: columns of numbers as well as vectors, and they
    keep their names.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.ElementwiseProduct([1.0, 10.0]).fit_transform(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[1.0, 20.0], [3.0, 40.0]]
    """

    learns_nothing = True
    parameters = {
        "columns": ColumnwiseTransformer.parameters["columns"],
        "scaling": Numbers(above=-np.inf, below=np.inf),
    }

    def __init__(self, scaling: Any = 1.0, *, columns: Columns = None) -> None:
        self.scaling = scaling
        self.columns = columns

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        check_width("scaling", self.scaling, shard.example.matrix(names).shape[1])

    @property
    def _factors(self) -> np.ndarray:
        return np.broadcast_to(np.asarray(self.scaling, dtype=np.float64), self._width)

    def _scaled(self, X: Any, part: slice) -> Any:
        check_finite(X.data if is_sparse(X) else X, "X", missing=True)
        factors = self._factors[part]
        return (
            sp.csr_array(X @ sp.diags_array(factors)) if is_sparse(X) else by_column(np.multiply, X, factors)
        )

    def _to_onnx(self, table: Table) -> Table:
        graph, X = table.graph, table.matrix(self.selected_, type(self).__name__)
        return table.with_numbers(
            graph.node("Mul", X, graph.constant(self._factors[None, :])), self.selected_
        )

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        made = twin("preprocessing.StandardScaler", with_mean=False)
        flow = self._twin_in(flow, name, made)
        made.scale_ = 1.0 / self._factors
        return flow
