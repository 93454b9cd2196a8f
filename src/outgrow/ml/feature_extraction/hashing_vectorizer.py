"""Documents as counts of hashed terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from outgrow.data.names import VectorNames
from outgrow.engine.shard import Shard
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.task import column_names
from outgrow.ml.feature_extraction.hashing import HASHING, hashed
from outgrow.ml.feature_extraction.terms import Terms
from outgrow.ml.feature_extraction.vectorizer import (
    NORMS,
    WORD_PATTERN,
    Vectorizer,
    free_stem,
    normalized,
)


class HashingVectorizer(Vectorizer):
    r"""Count the terms of documents in columns that their hashes choose. It learns nothing.

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
    n_features : how many columns there are.
    binary : say only whether a term is there, as 1.
    norm : the length that rows get, 'l1' or 'l2'; None leaves the counts.
    alternate_sign : count down half of the terms, so that terms which share a column cancel in the mean.
    hash : 'sklearn' for the columns that scikit-learn chooses, 'spark' for those of MLlib's `HashingTF`,
        which knows no signs.
    dtype : the type of the numbers, for NumPy.

    Attributes
    ----------
    output_name_ : what the vector is called: 'hashingvectorizer', where that is free.

    Notes
    -----
    Unlike scikit-learn: it takes tables, and text that is missing; functions as `preprocessor`, `tokenizer`
    or `analyzer` do not exist: give a column of lists of words. Scripts that put no spaces between words,
    such as Chinese or Thai, come as one word up to the next mark: take characters, `analyzer="char"`.

    Unlike Spark MLlib's `HashingTF(numFeatures=262144, binary=False)`: it cuts text itself, and rows have
    length one; `HashingVectorizer(n_features=2**18, hash="spark", norm=None)` gives the same numbers.

    Examples
    --------
    >>> import outgrow as og
    >>> counter = og.HashingVectorizer(n_features=8, norm=None)
    >>> counter.fit_transform(["a rainy day", "rain, rain and rain"]).toarray().tolist()
    [[0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0], [0.0, 0.0, 0.0, 0.0, 3.0, -1.0, 0.0, 0.0]]
    """

    stem = "hashingvectorizer"
    learns_nothing = True
    test_parameters = {"n_features": 16}
    parameters = {**Vectorizer.parameters, **HASHING, "norm": NORMS}

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
        n_features: int = 2**20,
        binary: bool = False,
        norm: str | None = "l2",
        alternate_sign: bool = True,
        hash: str = "sklearn",
        dtype: Any = np.float64,
    ) -> None:
        self.columns = columns
        self.strip_accents = strip_accents
        self.lowercase = lowercase
        self.stop_words = stop_words
        self.token_pattern = token_pattern
        self.ngram_range = ngram_range
        self.analyzer = analyzer
        self.n_features = n_features
        self.binary = binary
        self.norm = norm
        self.alternate_sign = alternate_sign
        self.hash = hash
        self.dtype = dtype

    def _learn_terms(self, shard: Shard, names: list[str]) -> None:
        self.output_name_ = free_stem(self.stem, column_names(shard.example.drop(names)).tolist())

    def _restored(self) -> None:
        super()._restored()
        self._names = VectorNames(self.output_name_, self.n_features)

    @property
    def _labels(self) -> Sequence[str]:
        return self._names

    def _vectors(self, terms: Terms) -> Any:
        places, signs = hashed(self, terms.texts)
        made = terms.counted(places, self.n_features, signs)
        if self.binary:
            made.data[:] = 1.0
        return normalized(made, self.norm)
