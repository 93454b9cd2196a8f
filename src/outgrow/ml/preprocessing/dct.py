"""The discrete cosine transform of each row."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.fft import dct, idct

from outgrow.data.batch import Batch
from outgrow.engine.checks import check_finite
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, FLAG
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.preprocessing.columnwise import ColumnwiseScaler, replaced_numbers


class DCT(ColumnwiseScaler):
    """The discrete cosine transform (DCT-II) of each row, scaled so that it keeps lengths. It learns nothing.

    Parameters
    ----------
    columns : which columns make up the rows, by name or selector, in the order in which they stand; all by
        default.
    inverse : go back, from what the transform gives to the rows it was given (DCT-III).

    Notes
    -----
    Unlike scikit-learn: it has no such class; the numbers are those of `scipy.fft.dct(X, norm="ortho")`.

    Unlike Spark MLlib's `DCT(inverse=False)`: columns of numbers as well as vectors, and they keep their
    names.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.DCT().fit_transform(np.array([[1.0, 1.0, 1.0, 1.0]])).round(12).tolist()
    [[2.0, 0.0, 0.0, 0.0]]
    """

    learns_nothing = True
    missing_values_pass = False
    parameters = {"columns": COLUMNS, "inverse": FLAG}
    no_exports = {"scikit-learn": "it has no cosine transform"}

    def __init__(self, columns: Columns = None, *, inverse: bool = False) -> None:
        self.columns = columns
        self.inverse = inverse

    def _sparse_refusal(self) -> str | None:
        return "DCT does not support sparse input: what it gives is dense. Give dense columns."

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        return _changed(batch, names, self.inverse)

    def _revert(self, batch: Batch) -> Batch:
        return _changed(batch, self.selected_, not self.inverse)

    def _to_onnx(self, table: Table) -> Table:
        graph, X = table.graph, table.matrix(self.selected_, type(self).__name__)
        X = graph.finite(X, type(self).__name__, missing=False)
        waves = (idct if self.inverse else dct)(np.eye(self._width), norm="ortho")
        return table.with_numbers(graph.node("MatMul", X, graph.constant(waves)), self.selected_)


def _changed(batch: Batch, names: list[str], inverse: bool) -> Batch:
    X = batch.matrix(names)
    check_finite(X, "X")
    change: Any = idct if inverse else dct
    return replaced_numbers(batch, names, change(X, norm="ortho", axis=1))
