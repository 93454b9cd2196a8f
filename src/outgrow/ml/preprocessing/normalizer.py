"""Rows of length one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
_LEAST = np.finfo(np.float64).tiny / np.finfo(np.float64).eps
"""Sums of powers below this have lost digits."""


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
    divided by their norm, too, as sparse ones are; rows whose squares overflow or vanish (numbers past 1e154,
    or all below 1e-154) get their length all the same.

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
        return changed_numbers(batch, names, _divided_by(_divisors(X, self._power)))

    def _to_onnx(self, table: Table) -> Table:
        graph, X = table.graph, table.matrix(self.selected_, type(self).__name__)
        X = graph.finite(X, type(self).__name__, missing=False)
        power, axis, zero, one = (
            self._power,
            *(graph.constant(np.array(value)) for value in ([1], [[0.0]], [[1.0]])),
        )
        if power not in (1.0, 2.0, np.inf):
            raise refusal(
                self, f"norm={self.norm!r} is none of 'l1', 'l2' and 'max'.", "Choose one of these."
            )
        peak = graph.node("ReduceMax", graph.node("Abs", X), axis)
        peak = graph.node("Where", graph.node("Equal", peak, zero), one, peak)
        X = graph.node("Div", X, peak)  # so that no square overflows, or becomes 0
        if power != np.inf:
            length = graph.node(f"ReduceL{power:.0f}", X, axis)
            length = graph.node("Where", graph.node("Equal", length, zero), one, length)
            X = graph.node("Div", X, length)
        return table.with_numbers(X, self.selected_)

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


def _divisors(X: Any, power: float) -> list[np.ndarray]:
    """What each row is divided by: its norm, or where powers overflow or vanish its largest number first."""
    with np.errstate(over="ignore", under="ignore"):
        lengths = _lengths(X, power)
    lost = np.flatnonzero(~np.isfinite(lengths) | (lengths < _LEAST ** (1 / min(power, 1e3))))
    peaks = np.ones_like(lengths)
    if len(lost):
        peaks[lost] = _lengths(X[lost], np.inf)
        peaks[peaks == 0] = 1.0
        lengths[lost] = _lengths(_over(X[lost], peaks[lost]), power)
    lengths[lengths == 0] = 1.0
    return [lengths] if (peaks == 1).all() else [peaks, lengths]


def _over(X: Any, divisors: np.ndarray) -> Any:
    """Rows divided each by a number; by the inverse would be infinite of numbers near 0."""
    if not is_sparse(X):
        return X / divisors[:, None]
    made = sp.csr_array(X, dtype=np.float64)
    return sp.csr_array(
        (made.data / np.repeat(divisors, np.diff(made.indptr)), made.indices, made.indptr), shape=made.shape
    )


def _divided_by(divisors: Sequence[np.ndarray]) -> Callable[[Any, slice], Any]:
    def change(X: Any, part: slice) -> Any:
        for each in divisors:
            X = _over(X, each)
        return X

    return change
