"""Arrays that users hand to `fit` and `predict`, checked as scikit-learn checks them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import validate_data

from outgrow.data.matrix import is_sparse
from outgrow.engine.checks import check_finite
from outgrow.errors import DataError
from outgrow.ml.core.containers import of_text, unmasked, without_na
from outgrow.ml.core.documents import documents
from outgrow.ml.core.refusals import own_errors

_LARGE = 1 << 22
"""Bytes of an array that are worth a thread."""


@own_errors()
@np.errstate(invalid="ignore", over="ignore")  # a signalling NaN is a missing value like any other
def checked_values(estimator: Any, X: Any, *, reset: bool) -> Any:
    """scikit-learn's own checks of an array, so that its users see the errors they know.

    Parameters
    ----------
    estimator : its tags say what it takes.
    X : array or sparse matrix of shape (rows, columns), or what the estimator takes in its place.
    reset : whether this is a fit.

    Raises
    ------
    DataError
        When there are no rows or columns, or values that the estimator cannot use.
    SchemaError
        When the columns are not those of the fit.
    ValueTypeError
        When it is sparse, or of objects, and the estimator takes no such.
    """
    X = documents(estimator, unmasked(X, "X"))
    if _is_checked(estimator, X, reset=reset):
        estimator.n_features_in_ = X.shape[1]
        return X
    tags = estimator.__sklearn_tags__().input_tags
    finite: Any = "allow-nan" if tags.allow_nan else True
    accept: Any = "csr" if tags.sparse else False
    if tags.categorical:
        values = validate_data(
            estimator, X, reset=reset, accept_sparse=accept, dtype=None, ensure_all_finite=False
        )
        if hasattr(X, "dtype") or values.dtype.kind not in "US":
            return values
        return np.array(X, dtype=object)  # a list of rows: numbers among text stay numbers
    try:
        return validate_data(
            estimator, X, reset=reset, accept_sparse=accept, dtype=np.float64, ensure_all_finite=finite
        )
    except TypeError:
        known = without_na(X)
        if known is None:
            raise
        return checked_values(estimator, known, reset=reset)
    except ValueError as error:
        if "could not convert string" in str(error):
            raise of_text(estimator, error) from error
        if "inhomogeneous" in str(error):
            raise DataError(
                f"X has rows of other lengths than others: {_lengths(X)}. Give each row a value for each "
                "column, None or NaN where it has none."
            ) from error
        if "NaN" in str(error) or "infinity" in str(error):  # says which columns, as of tables
            values = X.data if is_sparse(X) else np.asarray(X, dtype=np.float64)
            check_finite(values, "X", missing=tags.allow_nan)
        raise


def _lengths(rows: Any) -> list[int]:
    """The first of the lengths that rows have."""
    return sorted({len(row) for row in rows if hasattr(row, "__len__")})[:5]


def _is_checked(estimator: Any, X: Any, *, reset: bool) -> bool:
    """Whether scikit-learn's checks would give back an array as it is: for few rows they take longest."""
    return (
        type(X) is np.ndarray
        and X.dtype in (np.float64, object)
        and X.ndim == 2
        and X.size > 0
        and not hasattr(estimator, "feature_names_in_")
        and (reset or getattr(estimator, "n_features_in_", None) == X.shape[1])
        and _may_hold(estimator, X)
    )


def _may_hold(estimator: Any, X: np.ndarray) -> bool:
    """Whether values are such as an estimator takes without looking at each."""
    if X.dtype == object:
        return bool(estimator.__sklearn_tags__().input_tags.categorical)
    return bool(np.isfinite(_sum(X)))


def _sum(X: np.ndarray) -> Any:
    """The sum of an array, of a large one on two threads or more."""
    threads = min(pa.cpu_count(), X.nbytes // _LARGE)
    if threads < 2:
        return X.sum()
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(_quiet_sum, np.array_split(X, threads)))


@np.errstate(invalid="ignore", over="ignore")  # each thread has a state of its own
def _quiet_sum(X: np.ndarray) -> Any:
    return X.sum()
