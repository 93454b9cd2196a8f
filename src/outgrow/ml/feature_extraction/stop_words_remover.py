"""Lists of words without those that say little."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, FLAG, OneOf
from outgrow.ml.feature_extraction.analyzer import WORD_LIST, stop_word_set
from outgrow.ml.feature_extraction.lists import ListTransformer
from outgrow.ml.feature_extraction.terms import Terms


class StopWordsRemover(ListTransformer):
    """Leave some words out of lists of words.

    Missing lists stay missing. It learns nothing.

    Parameters
    ----------
    stop_words : 'english' for those of scikit-learn, or a list.
    columns : which columns, by name or selector; all of lists of words by default. They keep their names.
    case_sensitive : whether `The` is another word than `the`.

    Notes
    -----
    Unlike scikit-learn: a transformer of its own; vectorizers have `stop_words`, here as well.

    Unlike Spark MLlib's `StopWordsRemover(caseSensitive=False)`: the column keeps its name; 'english' are 318
    words, not 181, and there is no other language: give a list; lowercase is that of no country, as
    MLlib's `locale="en_US"`.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"words": [["The", "rain", "and", "wind"], None]})
    >>> og.StopWordsRemover().fit_transform(rows)["words"].to_pylist()
    [['rain', 'wind'], None]
    """

    parameters = {
        "stop_words": OneOf("english") | WORD_LIST,
        "columns": COLUMNS,
        "case_sensitive": FLAG,
    }

    def __init__(
        self, stop_words: Any = "english", *, columns: Columns = None, case_sensitive: bool = False
    ) -> None:
        self.stop_words = stop_words
        self.columns = columns
        self.case_sensitive = case_sensitive

    def _changed(self, terms: Terms) -> Terms:
        words = stop_word_set(self.stop_words)
        if self.case_sensitive:
            return terms.only(np.array([word not in words for word in terms.words], dtype=bool))
        words = frozenset(word.lower() for word in words)
        return terms.only(np.array([word.lower() not in words for word in terms.words], dtype=bool))
