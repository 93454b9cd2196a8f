"""Classes as whole numbers."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from outgrow.engine.open import is_table
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.parameters import COLUMNS
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.preprocessing.categories import missing_place
from outgrow.ml.preprocessing.ordinal_encoder import OrdinalEncoder


class LabelEncoder(OrdinalEncoder):
    """Replace each class by its number in the sorted order of the classes, a whole number from 0.

    It takes a y of shape (rows,), as scikit-learn's, and columns of tables and arrays. A missing value is a
    class of its own, the last. Models need no such numbers: they learn and answer classes of any type.

    Parameters
    ----------
    columns : which columns of a table or array, by name or selector; all by default.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,), those of the first column.
    categories_ : list of ndarray, those of each column.

    Raises
    ------
    DataError
        At `transform`, for classes that the fit did not see.

    Notes
    -----
    Unlike scikit-learn: also encodes columns of tables, on every engine.

    Unlike Spark MLlib's `StringIndexer(stringOrderType="alphabetAsc")`: whole numbers; by falling frequency
    numbers `OrdinalEncoder(categories="frequency")`.

    Examples
    --------
    >>> import outgrow as og
    >>> encoder = og.LabelEncoder().fit(["paris", "tokyo", "paris"])
    >>> encoder.transform(["tokyo", "paris"]).tolist(), encoder.inverse_transform([1, 0]).tolist()
    ([1, 0], ['tokyo', 'paris'])
    """

    parameters: ClassVar[dict[str, Any]] = {"columns": COLUMNS}
    expected_failed_checks: ClassVar[dict[str, str]] = {
        "check_fit1d": "a y of shape (rows,) is what it takes",
        "check_fit2d_predict1d": "a y of shape (rows,) is what it takes",
    }

    categories = "auto"
    dtype = np.int64
    handle_unknown = "error"
    unknown_value = min_frequency = max_categories = None
    encoded_missing_value = np.nan

    def __init__(self, columns: Columns = None) -> None:
        self.columns = columns

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the classes.

        Parameters
        ----------
        X : array of shape (rows,) or (rows, columns), dataset, Spark DataFrame or table.
        y : the name of a column of X to leave out; otherwise ignored.
        """
        return super().fit(one_column(X), y)

    def transform(self, X: Any) -> Any:
        """The rows of X with numbers in the place of classes; in the form X has."""
        return _as_given(super().transform(one_column(X)), X)

    def inverse_transform(self, X: Any) -> Any:
        """The classes that have these numbers; in the form X has.

        Parameters
        ----------
        X : array of shape (rows,) or (rows, columns), or a dataset, Spark DataFrame or table with the encoded
            columns.

        Raises
        ------
        DataError
            When a number is that of no class.
        """
        return _as_given(super().inverse_transform(one_column(X)), X)

    @property
    def classes_(self) -> np.ndarray:
        """The classes of the first column."""
        return self.categories_[0]

    def _check_missing(self, names: list[str]) -> None:
        """A missing value has a number of its own, as any class has."""

    def _codes(self, categories: np.ndarray, few: np.ndarray | None) -> np.ndarray:
        return np.append(np.arange(len(categories), dtype=np.float64), -1.0)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        if any(missing_place(categories) is not None for categories in self.categories_):
            raise refusal(self, "missing values have a number.", "Fit on rows without.")
        return super()._to_sklearn(name, flow)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


def _is_y(X: Any) -> bool:
    """Whether this is an array or a list of shape (rows,)."""
    if isinstance(X, list | tuple):
        return not any(isinstance(row, list | tuple | np.ndarray) for row in X[:1])
    return not is_table(X) and len(getattr(X, "shape", ())) == 1


def one_column(X: Any) -> Any:
    """A y of shape (rows,) as an array of one column; others as they are."""
    if not _is_y(X):
        return X
    values = np.asarray(X)
    return (values.astype(object) if values.dtype.kind in "US" else values)[:, None]


def _as_given(made: Any, X: Any) -> Any:
    return made[:, 0] if _is_y(X) else made
