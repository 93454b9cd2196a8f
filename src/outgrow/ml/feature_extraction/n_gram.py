"""Runs of neighbouring words."""

from __future__ import annotations

from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, Integer
from outgrow.ml.feature_extraction.lists import ListTransformer
from outgrow.ml.feature_extraction.terms import Terms


class NGram(ListTransformer):
    """Make lists of n neighbouring words, with a space between them, of lists of words.

    Lists of fewer words become empty, missing lists stay missing. It learns nothing.

    Parameters
    ----------
    n : how many words make one.
    columns : which columns, by name or selector; all of lists of words by default. They keep their names.

    Notes
    -----
    Unlike scikit-learn: a transformer of its own; vectorizers have `ngram_range`, here as well.

    Unlike Spark MLlib's `NGram(n=2)`: the column keeps its name.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"words": [["a", "rainy", "day"], ["rain"], None]})
    >>> og.NGram().fit_transform(rows)["words"].to_pylist()
    [['a rainy', 'rainy day'], [], None]
    """

    parameters = {"n": Integer(low=1), "columns": COLUMNS}

    def __init__(self, n: int = 2, *, columns: Columns = None) -> None:
        self.n = n
        self.columns = columns

    def _changed(self, terms: Terms) -> Terms:
        return terms.ngrams(self.n, self.n)
