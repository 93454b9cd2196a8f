"""Documents as terms, weighed by how few documents have them."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.columns import Columns
from outgrow.ml.feature_extraction.terms import Terms
from outgrow.ml.feature_extraction.tfidf import WEIGHING, inverse_frequencies, weighed
from outgrow.ml.feature_extraction.vectorizer import WORD_PATTERN
from outgrow.ml.feature_extraction.vocabulary import VocabularyVectorizer


class TfidfVectorizer(VocabularyVectorizer):
    r"""Count the terms of documents, and weigh them by how few documents have them.

    It is `CountVectorizer` and `TfidfTransformer` in one pass over the documents. The text of a row becomes
    one sparse vector, which models behind it in a pipeline take as it is. A column may also hold lists of
    words, such as `RegexTokenizer` makes; they are taken as they are. The text of several columns is one
    document. Missing text is a document without terms.

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
    binary : count a term once in a document.
    norm : the length that rows get, 'l1' or 'l2'; None leaves them.
    use_idf : weigh terms.
    smooth_idf : count one document more, which has each term once, so that no weight is infinite.
    sublinear_tf : take 1 + log(count) in the place of counts.
    formula : 'sklearn' for weights of log(documents / those with the term) + 1, 'spark' for those of MLlib's
        `IDF`, log((documents + 1) / (those with the term + 1)).
    dtype : the type of the numbers, for NumPy.

    Attributes
    ----------
    idf_ : ndarray of shape (terms,), the weights; without `use_idf` there are none.
    terms_ : ndarray of the terms, in the order of their columns.
    vocabulary_ : dict, the column of each term.
    fixed_vocabulary_ : whether the terms were given.
    output_name_ : what the vector is called: 'tfidfvectorizer', where that is free.
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

    Unlike Spark MLlib's `IDF(minDocFreq=0)` behind a `Tokenizer` and a `CountVectorizer`: one step does all,
    rows have length one, and 1 is added to weights; `formula="spark", norm=None` gives MLlib's.

    Examples
    --------
    >>> import outgrow as og
    >>> weigher = og.TfidfVectorizer()
    >>> weigher.fit_transform(["rain and rain", "rain and sun"]).toarray().round(2)
    array([[0.45, 0.89, 0.  ],
           [0.5 , 0.5 , 0.7 ]])
    >>> weigher.idf_.round(2).tolist()
    [1.0, 1.0, 1.41]
    """

    stem = "tfidfvectorizer"
    parameters = {**VocabularyVectorizer.parameters, **WEIGHING}
    idf_: np.ndarray

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
        norm: str | None = "l2",
        use_idf: bool = True,
        smooth_idf: bool = True,
        sublinear_tf: bool = False,
        formula: str = "sklearn",
        dtype: Any = np.float64,
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
        self.norm = norm
        self.use_idf = use_idf
        self.smooth_idf = smooth_idf
        self.sublinear_tf = sublinear_tf
        self.formula = formula
        self.dtype = dtype

    @property
    def _needs_documents(self) -> bool:
        return self.use_idf

    def _note_documents(self, frequencies: np.ndarray, documents: int) -> None:
        if self.use_idf:
            self.idf_ = inverse_frequencies(self, frequencies, documents)

    def _vectors(self, terms: Terms) -> Any:
        return weighed(self, self._term_counts(terms), self.idf_ if self.use_idf else None)
