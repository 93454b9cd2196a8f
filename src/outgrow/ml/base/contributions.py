"""What each feature adds to the answers of models that are sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.data.matrix import is_sparse


def products_of(X: Any, coef: Any, intercept: Any) -> np.ndarray:
    """The terms of a linear model, and behind them its constant: of shape (rows, outputs, features + 1).

    Parameters
    ----------
    X : shape (rows, features), dense or sparse.
    coef : shape (features,), or (outputs, features), dense or sparse.
    intercept : a number, or one for each output.
    """
    coef = np.atleast_2d(coef.toarray() if is_sparse(coef) else np.asarray(coef, dtype=np.float64))
    rows = X.toarray() if is_sparse(X) else np.asarray(X, dtype=np.float64)
    found = np.empty((len(rows), len(coef), coef.shape[1] + 1))
    np.multiply(rows[:, None, :], coef[None, :, :], out=found[:, :, :-1])
    found[:, :, -1] = intercept
    return found
