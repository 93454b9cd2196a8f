"""The columns with the highest scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import Integer, OneOf
from outgrow.ml.feature_selection.univariate import UnivariateSelection


class SelectKBest(UnivariateSelection):
    """Keep the columns with the highest scores.

    Of columns with equal scores the later ones are kept, as in scikit-learn.

    Parameters
    ----------
    score_func : 'f_classif', 'chi2', 'f_regression' or 'r_regression'; 'mutual_info_classif' or
        'mutual_info_regression', which look at 100,000 rows at most, or either followed by '_binned', which
        count all rows in up to 256 bins of each column; or scikit-learn's function of that name.
    k : how many are kept, or 'all'.
    columns : which columns it looks at, by name or selector; all by default. Others stay.

    Notes
    -----
    Unlike scikit-learn: mutual information is that of the rows with the smallest hashes, with scikit-learn's
    noise of seed 0 for each column by itself.

    Unlike Spark MLlib's `UnivariateFeatureSelector(selectionMode="numTopFeatures", selectionThreshold=50)`:
    keeps 10 by default.

    Unlike Spark MLlib's `ChiSqSelector(numTopFeatures=50)`: `score_func="chi2"` sums what each class has of a
    count; the test there, of which value meets which class, is `og.stats.chi2_contingency`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.array([[1.0, 0.0], [2.0, 1.0], [3.0, 0.0], [4.0, 1.0]]), np.array([0, 0, 1, 1])
    >>> og.SelectKBest(k=1).fit(X, y).get_support().tolist()
    [True, False]
    """

    parameters = {**UnivariateSelection.parameters, "k": Integer(low=0) | OneOf("all")}

    def __init__(self, score_func: Any = "f_classif", *, k: int | str = 10, columns: Columns = None) -> None:
        self.score_func = score_func
        self.k = k
        self.columns = columns

    def _chosen(self) -> np.ndarray:
        kept = np.full(len(self.scores_), self.k == "all")
        if not isinstance(self.k, str) and self.k:
            kept[np.argsort(self._ranked(), kind="stable")[-self.k :]] = True
        return kept
