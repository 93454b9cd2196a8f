"""Classes as columns of two numbers."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.matrix import Matrix, is_sparse, matrix_columns
from outgrow.engine.open import dataset, is_table
from outgrow.errors import ParameterError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.outputs import as_given
from outgrow.ml.core.parameters import COLUMNS, FLAG, Integer
from outgrow.ml.export.onnx.table import Column, Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.preprocessing.categories import as_codes, as_column, side_by_side
from outgrow.ml.preprocessing.label_encoder import one_column
from outgrow.ml.preprocessing.one_hot_encoder import OneHotEncoder


class LabelBinarizer(OneHotEncoder):
    """Replace classes by a column for each: one number in rows of the class, another in those that are not.

    It takes a y of shape (rows,), as scikit-learn's, and columns of tables and arrays. Two classes make one
    column, that of the second; one class alone makes one in which no row is of a class. Rows of classes that
    the fit did not see are of none; where there are two classes that is what the first looks like, so a
    warning tells. A missing value is a class of its own, the last.

    Parameters
    ----------
    columns : which columns of a table or array, by name or selector; all by default.
    neg_label, pos_label : whole numbers for rows that are not of the class, and for those that are.
    sparse_output : make one sparse matrix column in place of dense ones.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,), those of the first column, sorted.
    categories_ : list of ndarray, those of each column.

    Raises
    ------
    ParameterError
        When `neg_label` is not less than `pos_label`, or not 0 where the output is sparse.

    Notes
    -----
    Unlike scikit-learn: also encodes columns of tables, on every engine; a y of several columns is a column
    each, so that zeros and ones of several labels come out as they went in.

    Unlike Spark MLlib's `OneHotEncoder(dropLast=True)`: needs no `StringIndexer` before it, and leaves out a
    column only where there are two classes.

    Examples
    --------
    >>> import outgrow as og
    >>> binarizer = og.LabelBinarizer().fit(["sun", "rain", "snow", "sun"])
    >>> binarizer.transform(["snow", "rain"]).tolist()
    [[0, 1, 0], [1, 0, 0]]
    >>> binarizer.inverse_transform([[0.1, 0.2, 0.7], [0.5, 0.4, 0.1]]).tolist()
    ['sun', 'rain']
    """

    parameters: ClassVar[dict[str, Any]] = {
        "columns": COLUMNS,
        "neg_label": Integer(),
        "pos_label": Integer(),
        "sparse_output": FLAG,
    }
    expected_failed_checks: ClassVar[dict[str, str]] = {
        "check_fit1d": "a y of shape (rows,) is what it takes",
        "check_fit2d_predict1d": "a y of shape (rows,) is what it takes",
    }
    categories, drop, handle_unknown = "auto", "if_binary", "ignore"
    min_frequency = max_categories = None
    dtype = np.int64
    feature_name_combiner = "concat"

    def __init__(
        self,
        columns: Columns = None,
        *,
        neg_label: int = 0,
        pos_label: int = 1,
        sparse_output: bool = False,
    ) -> None:
        self.columns = columns
        self.neg_label = neg_label
        self.pos_label = pos_label
        self.sparse_output = sparse_output

    def _check_parameters(self) -> None:
        if self.neg_label >= self.pos_label:
            raise ParameterError(
                f"neg_label={self.neg_label} must be strictly less than pos_label={self.pos_label}."
            )
        if self.sparse_output and self.neg_label != 0:
            raise ParameterError(
                f"LabelBinarizer(sparse_output=True, neg_label={self.neg_label}): what is not stored in a "
                "sparse matrix is 0. Give neg_label=0, or sparse_output=False."
            )

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the classes.

        Parameters
        ----------
        X : array of shape (rows,) or (rows, columns), dataset, Spark DataFrame or table.
        y : the name of a column of X to leave out; otherwise ignored.
        """
        return super().fit(one_column(X), y)

    def transform(self, X: Any) -> Any:
        """The rows of X with columns of two numbers in the place of classes; arrays become arrays."""
        return super().transform(one_column(X))

    def inverse_transform(self, X: Any, threshold: float | None = None) -> Any:
        """The classes of rows: that of the largest number, of two the second where the number is large.

        Parameters
        ----------
        X : array or sparse matrix of shape (rows, columns), such as scores of a model, or a dataset, Spark
            DataFrame or table with the columns of `transform`.
        threshold : what a number of the second of two classes exceeds; None for what is halfway between
            `neg_label` and `pos_label`.

        Returns
        -------
        An array of shape (rows,), or (rows, columns) of several; a table in the form X has.

        Raises
        ------
        DataError
            When X has another number of columns.
        """
        check_is_fitted(self)
        if is_table(X):
            return as_given(dataset(X).map(partial(self._revert, threshold=threshold)), X)
        found = self._classes_of(as_codes(X, self._labels), threshold)
        return found[0] if len(found) == 1 else side_by_side(found)

    @property
    def classes_(self) -> np.ndarray:
        """The classes of the first column."""
        return self.categories_[0]

    def _columns_of(self, j: int) -> tuple[np.ndarray, list[Any]]:
        columns, words = super()._columns_of(j)
        return (np.full_like(columns, -1), words) if len(self.categories_[j]) == 1 else (columns, words)

    def _meet_unknown(self, unknown: dict[str, list[Any]]) -> None:
        counts = dict(zip(self.selected_, map(len, self.categories_), strict=True))
        doubtful = {name: values for name, values in unknown.items() if counts[name] == 2}
        if doubtful:
            super()._meet_unknown(doubtful)

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        made = super()._transform_columns(batch, names)
        if (self.neg_label, self.pos_label) == (0, 1):
            return made
        if self.sparse_output:
            marks = made.matrix([self.output_name_]) * self.pos_label
            return made.with_columns({self.output_name_: Matrix(marks.astype(self.dtype), self._labels)})
        marks = self.neg_label + made.matrix(list(self._labels)) * (self.pos_label - self.neg_label)
        return made.with_columns(matrix_columns(marks.astype(self.dtype), self._labels))

    def _revert(self, batch: Batch, threshold: float | None = None) -> Batch:
        made = [self.output_name_] if self.output_name_ in batch.columns else list(self._labels)
        pairs = zip(self._classes_of(batch.matrix(made), threshold), self.categories_, strict=True)
        arrays = [as_column(found, classes, None) for found, classes in pairs]
        return batch.replace(made, dict(zip(self.selected_, arrays, strict=True)))

    def _classes_of(self, marks: Any, threshold: float | None) -> list[np.ndarray]:
        """The classes of each row, column by column."""
        limit = (self.neg_label + self.pos_label) / 2 if threshold is None else threshold
        found, at = [], 0
        for classes in self.categories_:
            width = len(classes) if len(classes) > 2 else 1
            own = marks[:, at : at + width]
            at += width
            if width == 1:
                own = own.toarray() if is_sparse(own) else own
                found.append(classes[((own[:, 0] > limit) & (len(classes) == 2)).astype(int)])
            else:
                found.append(classes[np.asarray(own.argmax(axis=1)).ravel()])
        return found

    def _columns_in_onnx(self, X: str, table: Table) -> dict[str, Column]:
        graph = table.graph
        if (self.neg_label, self.pos_label) != (0, 1):
            X = graph.node("Mul", X, graph.constant(float(self.pos_label - self.neg_label)))
            X = graph.node("Add", X, graph.constant(float(self.neg_label)))
        return super()._columns_in_onnx(X, table)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        if (self.neg_label, self.pos_label) != (0, 1) or any(len(each) == 1 for each in self.categories_):
            raise refusal(
                self,
                "scikit-learn's transformers of columns make zeros and ones of two classes and more.",
                "Leave neg_label and pos_label as they are, and columns of one class out.",
            )
        return super()._to_sklearn(name, flow)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags
