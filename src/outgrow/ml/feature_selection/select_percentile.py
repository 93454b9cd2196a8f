"""A share of the columns, those with the highest scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import Number
from outgrow.ml.feature_selection.univariate import UnivariateSelection


class SelectPercentile(UnivariateSelection):
    """Keep a share of the columns, those with the highest scores.

    Of columns with equal scores the earlier ones are kept, as in scikit-learn.

    Parameters
    ----------
    score_func : 'f_classif', 'chi2', 'f_regression' or 'r_regression'; 'mutual_info_classif' or
        'mutual_info_regression', which look at 100,000 rows at most, or either followed by '_binned', which
        count all rows in up to 256 bins of each column; or scikit-learn's function of that name.
    percentile : how many in a hundred are kept.
    columns : which columns it looks at, by name or selector; all by default. Others stay.

    Notes
    -----
    Unlike scikit-learn: mutual information is that of the rows with the smallest hashes, with scikit-learn's
    noise of seed 0 for each column by itself.

    Unlike Spark MLlib's `UnivariateFeatureSelector(selectionMode="percentile", selectionThreshold=0.1)`:
    counts in percent.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.array([[1.0, 0.0], [2.0, 1.0], [3.0, 0.0], [4.0, 1.0]]), np.array([0, 0, 1, 1])
    >>> og.SelectPercentile(percentile=50).fit(X, y).get_support().tolist()
    [True, False]
    """

    parameters = {**UnivariateSelection.parameters, "percentile": Number(low=0, high=100)}

    def __init__(
        self, score_func: Any = "f_classif", *, percentile: float = 10, columns: Columns = None
    ) -> None:
        self.score_func = score_func
        self.percentile = percentile
        self.columns = columns

    def _chosen(self) -> np.ndarray:
        if self.percentile in (0, 100):
            return np.full(len(self.scores_), self.percentile == 100)
        scores = self._ranked()
        threshold = np.percentile(scores, 100 - self.percentile)
        kept = scores > threshold
        most = int(len(scores) * self.percentile / 100)
        kept[np.flatnonzero(scores == threshold)[: max(most - int(kept.sum()), 0)]] = True
        return kept
