"""Rows of length one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.batch import Batch
from outgrow.data.matrix import is_sparse
from outgrow.engine.checks import check_finite
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.parameters import Number, OneOf
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.preprocessing.columnwise import ColumnwiseTransformer, changed_numbers

_POWERS = {"l1": 1.0, "l2": 2.0, "max": np.inf}


class Normalizer(ColumnwiseTransformer):
    """Divide each row by its norm; rows of zeros stay as they are. It learns nothing.

    Parameters
    ----------
    norm : 'l1', 'l2' or 'max', or the power of another one as a number of at least 1.
    columns : which columns make up the rows, by name or selector; all by default.
    copy : as scikit-learn has it, without effect: input is never changed.

    Notes
    -----
    Unlike scikit-learn: `norm` may be a number, as MLlib's `p` is; dense rows shorter than 2e-15 are
    divided by their norm, too, as sparse ones are.

    Unlike Spark MLlib's `Normalizer(p=2.0)`: columns of numbers as well as vectors, and they keep their
    names.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.Normalizer().fit_transform(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """

    learns_nothing = True
    missing_values_pass = False
    parameters = {**ColumnwiseTransformer.parameters, "norm": OneOf("l1", "l2", "max") | Number(low=1)}

    def __init__(self, norm: str | float = "l2", *, columns: Columns = None, copy: bool = True) -> None:
        self.norm = norm
        self.columns = columns
        self.copy = copy

    @property
    def _power(self) -> float:
        return _POWERS[self.norm] if isinstance(self.norm, str) else float(self.norm)

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        X = batch.matrix(names, order="K")
        check_finite(X.data if is_sparse(X) else X, "X")
        lengths = _lengths(X, self._power)
        return changed_numbers(batch, names, _divided_by(np.where(lengths == 0, 1.0, lengths)))

    def _to_onnx(self, table: Table) -> Table:
        graph, X = table.graph, table.matrix(self.selected_, type(self).__name__)
        X = graph.finite(X, type(self).__name__, missing=False)
        power, axis = self._power, graph.constant(np.array([1]))
        if power == np.inf:
            length = graph.node("ReduceMax", graph.node("Abs", X), axis)
        elif power in (1.0, 2.0):
            length = graph.node(f"ReduceL{power:.0f}", X, axis)
        else:
            raise refusal(
                self, f"norm={self.norm!r} is none of 'l1', 'l2' and 'max'.", "Choose one of these."
            )
        none = graph.node("Equal", length, graph.constant(np.array([[0.0]])))
        divisor = graph.node("Where", none, graph.constant(np.array([[1.0]])), length)
        return table.with_numbers(graph.node("Div", X, divisor), self.selected_)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        if not isinstance(self.norm, str):
            raise refusal(
                self, f"norm={self.norm!r} is none of 'l1', 'l2' and 'max'.", "Choose one of these."
            )
        return self._twin_in(flow, name, twin("preprocessing.Normalizer", norm=self.norm))


def _lengths(X: Any, power: float) -> np.ndarray:
    """The norm of each row."""
    if power == np.inf:
        return np.asarray(
            abs(X).max(axis=1).toarray() if is_sparse(X) else abs(X).max(axis=1, initial=0)
        ).ravel()
    if power == 1:
        return np.asarray(abs(X).sum(axis=1)).ravel()
    if power == 2:
        squares = X.multiply(X).sum(axis=1) if is_sparse(X) else np.einsum("ij,ij->i", X, X)
        return np.asarray(np.sqrt(squares)).ravel()
    powers = abs(X) ** power
    return np.asarray(powers.sum(axis=1)).ravel() ** (1 / power)


def _divided_by(lengths: np.ndarray) -> Callable[[Any, slice], Any]:
    def change(X: Any, part: slice) -> Any:
        if is_sparse(X):
            return sp.csr_array(sp.diags_array(1.0 / lengths) @ X)
        return X / lengths[:, None]

    return change
