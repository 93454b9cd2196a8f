"""The columns whose scores chance would hardly give."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import Number
from outgrow.ml.feature_selection.univariate import UnivariateSelection


class PValueSelection(UnivariateSelection):
    """Keeps columns by their p-values."""

    needs_p_values = True
    parameters = {**UnivariateSelection.parameters, "alpha": Number(low=0, high=1)}
    pvalues_: np.ndarray

    def __init__(
        self, score_func: Any = "f_classif", *, alpha: float = 0.05, columns: Columns = None
    ) -> None:
        self.score_func = score_func
        self.alpha = alpha
        self.columns = columns


class SelectFpr(PValueSelection):
    """Keep the columns with a p-value below a limit, which bounds the false positive rate.

    Parameters
    ----------
    score_func : 'f_classif', 'chi2' or 'f_regression', or scikit-learn's function.
    alpha : the limit; columns with smaller p-values are kept.
    columns : which columns it looks at, by name or selector; all by default. Others stay.

    Notes
    -----
    Unlike Spark MLlib's `UnivariateFeatureSelector(selectionMode="fpr", selectionThreshold=0.05)`: a class of
    its own.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.array([[1.0, 0.0], [2.0, 1.0], [8.0, 0.0], [9.0, 1.0]]), np.array([0, 0, 1, 1])
    >>> og.SelectFpr(alpha=0.05).fit(X, y).get_support().tolist()
    [True, False]
    """

    def _chosen(self) -> np.ndarray:
        return np.asarray(self.pvalues_ < self.alpha)


class SelectFdr(PValueSelection):
    """Keep columns so that a share of them at most is expected to be false: Benjamini and Hochberg (1995).

    Parameters
    ----------
    score_func : 'f_classif', 'chi2' or 'f_regression', or scikit-learn's function.
    alpha : the highest false discovery rate.
    columns : which columns it looks at, by name or selector; all by default. Others stay.

    Notes
    -----
    Unlike Spark MLlib's `UnivariateFeatureSelector(selectionMode="fdr", selectionThreshold=0.05)`: a class of
    its own.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.array([[1.0, 0.0], [2.0, 1.0], [8.0, 0.0], [9.0, 1.0]]), np.array([0, 0, 1, 1])
    >>> og.SelectFdr(alpha=0.05).fit(X, y).get_support().tolist()
    [True, False]
    """

    def _chosen(self) -> np.ndarray:
        ordered = np.sort(self.pvalues_)
        steps = self.alpha / len(ordered) * np.arange(1, len(ordered) + 1)
        passed = ordered[ordered <= steps]
        return np.asarray(self.pvalues_ <= (passed.max() if len(passed) else -1.0))


class SelectFwe(PValueSelection):
    """Keep columns so that one false one at all is unlikely: p-values below a limit by their number.

    Parameters
    ----------
    score_func : 'f_classif', 'chi2' or 'f_regression', or scikit-learn's function.
    alpha : the highest family-wise error.
    columns : which columns it looks at, by name or selector; all by default. Others stay.

    Notes
    -----
    Unlike Spark MLlib's `UnivariateFeatureSelector(selectionMode="fwe", selectionThreshold=0.05)`: a class of
    its own.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.array([[1.0, 0.0], [2.0, 1.0], [8.0, 0.0], [9.0, 1.0]]), np.array([0, 0, 1, 1])
    >>> og.SelectFwe(alpha=0.05).fit(X, y).get_support().tolist()
    [True, False]
    """

    def _chosen(self) -> np.ndarray:
        return np.asarray(self.pvalues_ < self.alpha / len(self.pvalues_))
