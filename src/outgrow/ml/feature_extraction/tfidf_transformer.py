"""Counts of terms weighed by how few documents have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.batch import Batch
from outgrow.data.matrix import is_sparse
from outgrow.engine.checks import check_finite
from outgrow.engine.shard import Shard
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.task import Task
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.feature_extraction.tfidf import WEIGHING, inverse_frequencies, weighed
from outgrow.ml.preprocessing.columnwise import ColumnwiseTransformer, changed_numbers


class TfidfTransformer(ColumnwiseTransformer):
    """Weigh counts of terms by how few documents have them.

    Parameters
    ----------
    norm : the length that rows get, 'l1' or 'l2'; None leaves them.
    columns : which columns, by name or selector, numbers or vectors of them; all by default.
    use_idf : weigh terms.
    smooth_idf : count one document more, which has each term once, so that no weight is infinite.
    sublinear_tf : take 1 + log(count) in the place of counts.
    formula : 'sklearn' for weights of log(documents / those with the term) + 1, 'spark' for those of MLlib's
        `IDF`, log((documents + 1) / (those with the term + 1)).
    copy : as scikit-learn has it, without effect: input is never changed.

    Attributes
    ----------
    idf_ : ndarray of shape (terms,), the weights; without `use_idf` there are none.

    Raises
    ------
    DataError
        For negative counts with `sublinear_tf`.

    Notes
    -----
    Unlike scikit-learn: dense counts stay dense; with `sublinear_tf`, counts of zero that a sparse matrix
    stores stay zero, and negative ones are refused.

    Unlike Spark MLlib's `IDF(minDocFreq=0)`: rows get length one, and 1 is added to weights;
    `formula="spark", norm=None` gives MLlib's.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> counts = np.array([[2, 1, 0], [1, 1, 0], [1, 0, 1]])
    >>> og.TfidfTransformer().fit_transform(counts).round(2)
    array([[0.84, 0.54, 0.  ],
           [0.61, 0.79, 0.  ],
           [0.51, 0.  , 0.86]])
    """

    missing_values_pass = False
    parameters = {**ColumnwiseTransformer.parameters, **WEIGHING}
    idf_: np.ndarray

    def __init__(
        self,
        norm: str | None = "l2",
        *,
        columns: Columns = None,
        use_idf: bool = True,
        smooth_idf: bool = True,
        sublinear_tf: bool = False,
        formula: str = "sklearn",
        copy: bool = True,
    ) -> None:
        self.norm = norm
        self.columns = columns
        self.use_idf = use_idf
        self.smooth_idf = smooth_idf
        self.sublinear_tf = sublinear_tf
        self.formula = formula
        self.copy = copy

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        def fold(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
            counts = _sparse(batch, names)
            return np.bincount(counts.indices, minlength=counts.shape[1]), np.array([batch.num_rows])

        if self.use_idf:
            frequencies, documents = shard.reduce(fold, encoded=True)
            self.idf_ = inverse_frequencies(self, frequencies, int(documents[0]))

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        made = weighed(self, _sparse(batch, names), self.idf_ if self.use_idf else None)

        def change(X: Any, part: slice) -> Any:
            return made[:, part] if is_sparse(X) else made[:, part].toarray(order="F")

        return changed_numbers(batch, names, change)

    def _to_onnx(self, table: Table) -> Table:
        if self.sublinear_tf:
            raise refusal(
                self, "it refuses negative counts, of which a graph has no logarithm.", "Leave it out."
            )
        graph, who = table.graph, type(self).__name__
        X = graph.finite(table.matrix(self.selected_, who), who, missing=False)
        if self.use_idf:
            X = graph.node("Mul", X, graph.constant(self.idf_[None, :]))
        if self.norm is not None:
            length = graph.node(f"Reduce{self.norm.upper()}", X, graph.constant(np.array([1])))
            none = graph.node("Equal", length, graph.constant(np.array([[0.0]])))
            X = graph.node("Div", X, graph.node("Where", none, graph.constant(np.array([[1.0]])), length))
        return table.with_numbers(X, self.selected_)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        made = twin(
            "feature_extraction.text.TfidfTransformer",
            norm=self.norm,
            use_idf=self.use_idf,
            smooth_idf=self.smooth_idf,
            sublinear_tf=self.sublinear_tf,
        )
        return self._twin_in(flow, name, made, *(["idf_"] if self.use_idf else []))


def _sparse(batch: Batch, names: list[str]) -> Any:
    """Columns of counts as a CSR array.

    Raises
    ------
    DataError
        When a number is missing or infinite.
    """
    X = batch.matrix(names)
    check_finite(X.data if is_sparse(X) else X, "X")
    return X if is_sparse(X) else sp.csr_array(X)
