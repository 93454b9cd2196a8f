"""Taking back what a transformer did: for arrays, and for tables of any engine row by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.matrix import Column, Matrix, is_sparse
from outgrow.engine.open import dataset, is_table
from outgrow.errors import DataError
from outgrow.ml.base.transformers import Transformer
from outgrow.ml.core.containers import check_container, of_text, unmasked, without_na
from outgrow.ml.core.inputs import arrow_column
from outgrow.ml.core.outputs import all_columns, as_given, in_form, own
from outgrow.ml.core.task import promised_example

KEPT_TYPES = ["float64", "float32", "float16"]
"""Types of arrays of numbers that come out as they went in; all is worked out in float64."""


class InvertibleTransformer(Transformer):
    """A transformer that can take back what it did. Hook: `_revert(batch)`."""

    def inverse_transform(self, X: Any) -> Any:
        """The rows that `transform` would turn into these.

        Parameters
        ----------
        X : dataset, Spark DataFrame or table with the columns that `transform` gives, or an array or sparse
            matrix of these.

        Returns
        -------
        The rows in the form X has.
        """
        check_is_fitted(self)
        check_container(self, X)
        if is_table(X):
            return as_given(dataset(X).map(self._reverted), X)
        made = self._transform(promised_example(self.columns_))
        text = self.__sklearn_tags__().input_tags.categorical
        rows = self._reverted(_as_batch(_checked(self, X, None if text else np.float64), made.columns))
        return in_form(self, own(all_columns(rows), X), X)

    def _reverted(self, batch: Batch) -> Batch:
        return self._revert(batch) if self.selected_ else batch

    def _revert(self, batch: Batch) -> Batch:
        raise NotImplementedError


def _checked(estimator: Any, X: Any, dtype: Any) -> Any:
    """The values of an array; what is masked is NaN, as everywhere."""
    try:
        return check_array(unmasked(X, "X"), accept_sparse="csr", dtype=dtype, ensure_all_finite="allow-nan")
    except TypeError:
        known = without_na(X)
        if known is None:
            raise
        return _checked(estimator, known, dtype)
    except ValueError as error:
        if "could not convert string" not in str(error):
            raise
        raise of_text(estimator, error) from None


def _as_batch(X: Any, columns: Mapping[str, Column]) -> Batch:
    """An array as a batch of columns like these."""
    widths = [column.width if isinstance(column, Matrix) else 1 for column in columns.values()]
    if X.shape[1] != sum(widths):
        raise DataError(f"X has {X.shape[1]} columns; transform gives {sum(widths)}: {list(columns)}.")
    made: dict[str, Column] = {}
    at = 0
    for (name, column), width in zip(columns.items(), widths, strict=True):
        part = X[:, at : at + width]
        at += width
        if isinstance(column, Matrix):
            made[name] = Matrix(part, column.names)
        else:
            made[name] = arrow_column((part.toarray() if is_sparse(part) else part)[:, 0], name)
    return Batch(made, X.shape[0])
