"""Classes told apart by the logarithm of their joint probability with a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from outgrow.data.matrix import is_sparse
from outgrow.errors import ParameterError

_CACHED_VALUES, _FEWEST_ROWS = 1 << 15, 256


def some_rows(X: np.ndarray) -> Iterator[slice]:
    """Rows that stay in a core's cache while every class looks at them.

    Parameters
    ----------
    X : shape (rows, columns).
    """
    step = max(_FEWEST_ROWS, _CACHED_VALUES // X.shape[1])
    return (slice(start, start + step) for start in range(0, max(1, len(X)), step))


def class_shares(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The share of each class in each row, and the logarithm of the density of all.

    Infinite logarithms are alike: from classes that are all too far for squares to say, none is nearer.

    Parameters
    ----------
    logs : shape (rows, classes), of the joint probabilities or densities.
    """
    top = logs.max(axis=1)
    endless = np.isinf(top)
    found = np.exp(logs - np.where(endless, 0.0, top)[:, None])
    found[endless] = logs[endless] == top[endless, None]
    total = found.sum(axis=1)
    found /= total[:, None]
    return found, top + np.log(total)


def log_shares(logs: np.ndarray) -> np.ndarray:
    """The logarithms of the shares that `class_shares` gives, which may be too small for it."""
    found, whole = class_shares(logs)
    endless = np.isinf(whole)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(endless[:, None], np.log(found), logs - whole[:, None])


def log_sums(X: Any, logs: np.ndarray) -> np.ndarray:
    """For each row and class the sum of logarithms, each as often as a number says: X @ logs.T.

    What is there no time adds nothing, also where its logarithm is infinite.

    Parameters
    ----------
    X : shape (rows, columns), dense or CSR, of at least 0.
    logs : shape (classes, columns); infinite ones have one sign.
    """
    endless = np.isinf(logs)
    if not endless.any():
        return _product(X, logs)
    sums = _product(X, np.where(endless, 0.0, logs))
    sums[_product(X, endless.astype(np.float64)) > 0] = logs[endless][0]
    return sums


def _product(X: Any, table: np.ndarray) -> np.ndarray:
    right = np.ascontiguousarray(table.T)
    return np.asarray(X @ right)


def dense(X: Any) -> np.ndarray:
    """A matrix with all its zeros."""
    return np.asarray(X.toarray() if is_sparse(X) else X)


def checked_priors(name: str, given: Any, classes: int) -> np.ndarray:
    """Priors that a user gives, one for each class.

    Parameters
    ----------
    name : the parameter.
    given : what it is.
    classes : how many there are.

    Raises
    ------
    ParameterError
        When they are not as many.
    """
    priors = np.atleast_1d(np.asarray(given, dtype=np.float64))
    if len(priors) != classes:
        raise ParameterError(
            f"Number of priors must match number of classes. {name} has {len(priors)}; there are {classes} "
            "classes. Give one for each, in the order of classes_."
        )
    return priors
