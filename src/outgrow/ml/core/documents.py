"""Documents and lists that come without a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.errors import ParameterError

_LISTS = (list, tuple, set, frozenset, np.ndarray)


def documents(estimator: Any, X: Any) -> Any:
    """Documents or lists as a column of one array, for estimators that take such in the place of columns.

    Parameters
    ----------
    estimator : its tags, and `takes_lists`, say whether it does.
    X : a list, a series or an array of shape (rows,) of text or of lists; what else it is stays as it is.

    Raises
    ------
    ParameterError
        When X is one text.
    """
    lists = getattr(estimator, "takes_lists", False)
    plain = not estimator.__sklearn_tags__().input_tags.two_d_array
    if not (lists or plain) or getattr(X, "ndim", 1) > 1 or not hasattr(X, "__iter__"):
        return X
    if isinstance(X, str):
        raise ParameterError(
            "Iterable over raw text documents expected, string object received. Give a list."
        )
    values = list(X)
    first = next((value for value in values if value is not None), None)
    if isinstance(first, _LISTS):
        if not lists or any(isinstance(cell, _LISTS) for cell in first):  # rows of columns
            return X
        values = [list(value) if isinstance(value, _LISTS) else value for value in values]
    elif not plain:
        return X
    column = np.empty((len(values), 1), dtype=object)
    column[:, 0] = np.fromiter(values, dtype=object, count=len(values))
    return column
