"""Scaling by quantiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import ndtri

from outgrow.data.matrix import is_sparse
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.matrices import by_column, column_quantiles
from outgrow.ml.core.parameters import FINITE, FLAG, Such
from outgrow.ml.core.task import Task
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.preprocessing.columnwise import ColumnwiseScaler, unit_where_constant


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and all(end in FINITE for end in value)


class RobustScaler(ColumnwiseScaler):
    """Subtract the median and divide by the distance of two quantiles, which outliers do not move.

    The quantiles are exact, found in two or three passes. Missing values stay missing and count for nothing.

    Parameters
    ----------
    columns : which columns, by name or selector; all by default.
    with_centering : subtract the median. Sparse matrices need `with_centering=False`.
    with_scaling : divide by the distance of the quantiles.
    quantile_range : the two quantiles, in percent.
    copy : as scikit-learn has it, without effect: input is never changed.
    unit_variance : divide further, so that normally distributed columns get a variance of 1.

    Attributes
    ----------
    center_, scale_ : ndarray of shape (n_columns,), or None where not used.

    Notes
    -----
    Unlike Spark MLlib's `RobustScaler(lower=0.25, upper=0.75, withCentering=False, relativeError=0.001)`:
    centres by default, counts quantiles in percent, and finds them exactly.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.RobustScaler().fit_transform(np.array([[1.0], [2.0], [3.0], [4.0], [99.0]])).tolist()
    [[-1.0], [-0.5], [0.0], [0.5], [48.0]]
    """

    parameters = {
        **ColumnwiseScaler.parameters,
        "with_centering": FLAG,
        "with_scaling": FLAG,
        "quantile_range": Such("a pair of percentages, the lower and the upper", _is_pair),
        "unit_variance": FLAG,
    }
    center_: Any
    scale_: Any

    def __init__(
        self,
        columns: Columns = None,
        *,
        with_centering: bool = True,
        with_scaling: bool = True,
        quantile_range: tuple[float, float] = (25.0, 75.0),
        copy: bool = True,
        unit_variance: bool = False,
    ) -> None:
        self.columns = columns
        self.with_centering = with_centering
        self.with_scaling = with_scaling
        self.quantile_range = quantile_range
        self.copy = copy
        self.unit_variance = unit_variance

    def _check_parameters(self) -> None:
        low, high = self.quantile_range
        if not 0 <= low <= high <= 100:
            raise ParameterError(
                f"Invalid quantile range: {self.quantile_range}. Give two percentages, the lower one first."
            )
        if self.unit_variance and (low == high or low == 0 or high == 100):
            raise ParameterError(
                f"RobustScaler(unit_variance=True, quantile_range={self.quantile_range}): a normal "
                "distribution has no finite distance between these. Give a range within (0, 100)."
            )

    def _sparse_refusal(self) -> str | None:
        return (
            "Cannot center sparse matrices: use `with_centering=False` instead."
            if self.with_centering
            else None
        )

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        low, high = (end / 100 for end in self.quantile_range)
        wanted = [0.5] * bool(self.with_centering) + [low, high] * bool(self.with_scaling)
        found = list(column_quantiles(shard, names, wanted)) if wanted else []
        self.center_ = found.pop(0) if self.with_centering else None
        self.scale_ = unit_where_constant(found[1] - found[0]) if self.with_scaling else None
        if self.with_scaling and self.unit_variance:
            self.scale_ = self.scale_ / (ndtri(high) - ndtri(low))

    def _scaled(self, X: Any, part: slice) -> Any:
        if is_sparse(X):
            return X if self.scale_ is None else sp.csr_array(X @ sp.diags_array(1.0 / self.scale_[part]))
        made = by_column(np.subtract, X, self.center_[part]) if self.with_centering else None
        if not self.with_scaling:
            return X if made is None else made
        return by_column(np.divide, X if made is None else made, self.scale_[part], made)

    def _unscaled(self, X: Any, part: slice) -> Any:
        if is_sparse(X):
            return X if self.scale_ is None else sp.csr_array(X @ sp.diags_array(self.scale_[part]))
        X = by_column(np.multiply, X, self.scale_[part]) if self.with_scaling else X
        return by_column(np.add, X, self.center_[part]) if self.with_centering else X

    def _to_onnx(self, table: Table) -> Table:
        graph, X = table.graph, table.matrix(self.selected_, type(self).__name__)
        if self.with_centering:
            X = graph.node("Sub", X, graph.constant(self.center_[None, :]))
        if self.with_scaling:
            X = graph.node("Div", X, graph.constant(self.scale_[None, :]))
        return table.with_numbers(X, self.selected_)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        chosen = {"with_centering": self.with_centering, "with_scaling": self.with_scaling}
        made = twin("preprocessing.RobustScaler", **chosen)
        return self._twin_in(flow, name, made, "center_", "scale_")
