"""Documents as counts of their terms."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.columns import Columns
from outgrow.ml.feature_extraction.terms import Terms
from outgrow.ml.feature_extraction.vectorizer import WORD_PATTERN
from outgrow.ml.feature_extraction.vocabulary import VocabularyVectorizer


class CountVectorizer(VocabularyVectorizer):
    r"""Count the terms of documents, each in a column of its own.

    The text of a row becomes one sparse vector, which models behind it in a pipeline take as it is. A column
    may also hold lists of words, such as `RegexTokenizer` makes; they are taken as they are. The text of
    several columns is one document. Missing text is a document without terms.

    Parameters
    ----------
    columns : which columns, by name or selector; all of text and of lists of words by default.
    strip_accents : leave out accents: 'ascii' and with them all that is not ASCII, 'unicode', or None.
    lowercase : make text lowercase first.
    stop_words : words that are left out: 'english' for those of scikit-learn, a list, or None.
    token_pattern : what words are, as a regular expression of Python's, with one group at most.
    ngram_range : how many neighbouring words, or characters, make a term, at least and at most.
    analyzer : what terms are made of: 'word'; 'char' for characters; 'char_wb' for those within words.
    max_df, min_df : leave out terms of more or fewer documents: a whole number of them, or a share.
    max_features : keep only so many terms, the most frequent ones; of equals the first in the alphabet.
    vocabulary : the terms that are counted, a list or a mapping to columns; None for those of the documents.
    binary : say only whether a term is there, as 1.
    dtype : the type of the counts, for NumPy.

    Attributes
    ----------
    terms_ : ndarray of the terms, in the order of their columns.
    vocabulary_ : dict, the column of each term.
    fixed_vocabulary_ : whether the terms were given.
    output_name_ : what the vector is called: 'countvectorizer', where that is free.
    taken_names_ : list of the terms that are names of other columns; a number follows in theirs.

    Raises
    ------
    DataError
        When no term is left.

    Notes
    -----
    Unlike scikit-learn: it takes tables, and text that is missing; functions as `preprocessor`, `tokenizer`
    or `analyzer` do not exist: give a column of lists of words. Scripts that put no spaces between words,
    such as Chinese or Thai, come as one word up to the next mark: take characters, `analyzer="char"`.

    Unlike Spark MLlib's `CountVectorizer(vocabSize=262144, minDF=1.0, minTF=1.0)`: it cuts text itself, terms
    are in alphabetical order, not by how frequent they are, and all are kept.

    Examples
    --------
    >>> import outgrow as og
    >>> counter = og.CountVectorizer()
    >>> counter.fit_transform(["a rainy day", "rain, rain and rain"]).toarray()
    array([[0, 1, 0, 1],
           [1, 0, 3, 0]])
    >>> counter.get_feature_names_out().tolist()
    ['and', 'day', 'rain', 'rainy']
    """

    stem = "countvectorizer"

    def __init__(
        self,
        *,
        columns: Columns = None,
        strip_accents: str | None = None,
        lowercase: bool = True,
        stop_words: Any = None,
        token_pattern: str = WORD_PATTERN,
        ngram_range: tuple[int, int] = (1, 1),
        analyzer: str = "word",
        max_df: float = 1.0,
        min_df: float = 1,
        max_features: int | None = None,
        vocabulary: Any = None,
        binary: bool = False,
        dtype: Any = np.int64,
    ) -> None:
        self.columns = columns
        self.strip_accents = strip_accents
        self.lowercase = lowercase
        self.stop_words = stop_words
        self.token_pattern = token_pattern
        self.ngram_range = ngram_range
        self.analyzer = analyzer
        self.max_df = max_df
        self.min_df = min_df
        self.max_features = max_features
        self.vocabulary = vocabulary
        self.binary = binary
        self.dtype = dtype

    def _vectors(self, terms: Terms) -> Any:
        return self._term_counts(terms)
