"""Vectors of words, and documents as the means of those."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch, vector_names
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import (
    COLUMNS,
    FINITE,
    FLAG,
    RANDOM_STATE,
    TEXT,
    Integer,
    Number,
    OneOf,
    seed,
)
from outgrow.ml.core.task import column_names
from outgrow.ml.feature_extraction.analyzer import STOP_WORDS
from outgrow.ml.feature_extraction.cooccurrences import cooccurrences, information, singular_vectors
from outgrow.ml.feature_extraction.documents import Documents
from outgrow.ml.feature_extraction.skip_gram import SkipGram, parts
from outgrow.ml.feature_extraction.terms import Terms
from outgrow.ml.feature_extraction.vectorizer import WORD_PATTERN, Vectorizer, free_stem
from outgrow.stats.number_counts import NumberCounts
from outgrow.stats.text_counts import TextCounts
from outgrow.stats.texts import TextIndex

_LENGTH = Number(above=0, below=np.inf)


class Word2Vec(Vectorizer):
    r"""Learn a vector for each word from the words around it, and give documents the means of their words.

    Words that stand among the same words have vectors of nearly the same direction. A column of lists of
    words is taken as it is, text is cut as `CountVectorizer` cuts it; several columns are one document. The
    vector of a document is the mean of those of its words that are known, and zero where there are none.

    Parameters
    ----------
    vector_size : how many numbers a vector has.
    window : how far apart neighbours stand at most; near ones count more.
    min_count : words that are there less often are left out.
    method : 'sgns', skip-gram with negative samples, learned in steps over the documents (Mikolov et al.
        2013); or 'pmi-svd', singular vectors of which words stand near each other more often than by chance
        (Levy and Goldberg 2014).
    epochs : passes of 'sgns' over the documents.
    negative : from how many random words 'sgns' tells each neighbour; 'pmi-svd' takes its logarithm from the
        information.
    sample : 'sgns' leaves out occurrences of words whose share is larger, the more the larger; 0 for none.
    alpha, min_alpha : how long the steps of 'sgns' are at first and at last.
    ns_exponent : of how often a word is there: how often it is such a random word.
    random_state : another number lets 'sgns' start and draw otherwise; None is 0.
    columns : which columns, by name or selector; all of text and of lists of words by default.
    strip_accents, lowercase, stop_words, token_pattern : as in `CountVectorizer`.

    Attributes
    ----------
    terms_ : ndarray of the words, the most frequent first.
    counts_ : ndarray of shape (n_terms,), how often each is there.
    vectors_ : ndarray of shape (n_terms, vector_size), their vectors.
    vocabulary_ : dict, the row of each word in `vectors_`.
    output_name_ : what the vector of documents is called: 'word2vec', where that is free.

    Raises
    ------
    DataError
        When no word is there `min_count` times.

    Notes
    -----
    'pmi-svd' finds the same vectors on every engine, and needs memory for all different pairs of neighbours.
    'sgns' does so for the same rows in the same order on one machine. On a cluster each task takes steps
    over its own rows, and ten times in an epoch vectors become means over the tasks, so other partitions give
    other vectors, of the same kind; the same partitions give the same ones. Where much is learned and Numba
    is there (`outgrow[fast]`), steps are compiled, and taken one by one; else NumPy takes some at once.

    Unlike scikit-learn: there is none; the parameters are gensim's, with its `wv.most_similar` and
    `wv.get_vector` as methods. It is skip-gram (`sg=1`) only.

    Unlike Spark MLlib's `Word2Vec(vectorSize=100, minCount=5, maxIter=1, stepSize=0.025, windowSize=5)`: it
    tells neighbours from random words in place of hierarchical softmax, and makes five passes. Vectors are
    means over partitions, no sums, so that they stay finite however many there are. Means of documents are
    those of the words that are known. `getVectors()` is `terms_` beside `vectors_`, `findSynonyms(word, num)`
    is `most_similar(word, topn)`.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> pets = ["cat purrs", "cat sleeps", "dog barks", "dog sleeps", "kitten purrs"]
    >>> model = og.Word2Vec(vector_size=2, min_count=1, negative=1, method="pmi-svd").fit(pets)
    >>> model.transform(pets).shape
    (5, 2)
    >>> sorted(word for word, cosine in model.most_similar("purrs", topn=2))
    ['barks', 'sleeps']
    """

    stem = "word2vec"
    test_parameters: ClassVar[dict[str, Any]] = {
        "vector_size": 3,
        "min_count": 1,
        "method": "pmi-svd",
        "negative": 1,
    }
    parameters = {
        "vector_size": Integer(low=1),
        "window": Integer(low=1),
        "min_count": Integer(low=0),
        "method": OneOf("sgns", "pmi-svd"),
        "epochs": Integer(low=1),
        "negative": Integer(low=1),
        "sample": Number(low=0, below=np.inf),
        "alpha": _LENGTH,
        "min_alpha": Number(low=0, below=np.inf),
        "ns_exponent": FINITE,
        "random_state": RANDOM_STATE,
        "columns": COLUMNS,
        "strip_accents": OneOf("ascii", "unicode", None),
        "lowercase": FLAG,
        "stop_words": STOP_WORDS,
        "token_pattern": TEXT,
    }
    no_exports: ClassVar[dict[str, str]] = {
        "ONNX": "its tokenizers know other letters than Python's `str`",
        "scikit-learn": "it has no vectors of words",
    }
    analyzer = "word"
    ngram_range = (1, 1)
    dtype = np.float64
    terms_: np.ndarray
    counts_: np.ndarray
    vectors_: np.ndarray

    def __init__(
        self,
        vector_size: int = 100,
        *,
        window: int = 5,
        min_count: int = 5,
        method: str = "sgns",
        epochs: int = 5,
        negative: int = 5,
        sample: float = 1e-3,
        alpha: float = 0.025,
        min_alpha: float = 1e-4,
        ns_exponent: float = 0.75,
        random_state: Any = None,
        columns: Columns = None,
        strip_accents: str | None = None,
        lowercase: bool = True,
        stop_words: Any = None,
        token_pattern: str = WORD_PATTERN,
    ) -> None:
        self.vector_size = vector_size
        self.window = window
        self.min_count = min_count
        self.method = method
        self.epochs = epochs
        self.negative = negative
        self.sample = sample
        self.alpha = alpha
        self.min_alpha = min_alpha
        self.ns_exponent = ns_exponent
        self.random_state = random_state
        self.columns = columns
        self.strip_accents = strip_accents
        self.lowercase = lowercase
        self.stop_words = stop_words
        self.token_pattern = token_pattern

    @property
    def vocabulary_(self) -> dict[str, int]:
        """The row of each word in `vectors_`."""
        return {term: place for place, term in enumerate(self.terms_.tolist())}

    def get_vector(self, word: str) -> np.ndarray:
        """The vector of a word, of shape (vector_size,).

        Raises
        ------
        DataError
            When the word is not known.
        """
        return np.array(self.vectors_[self._place(word)], dtype=np.float64)

    def most_similar(self, word: str, topn: int = 10) -> list[tuple[str, float]]:
        """The words whose vectors have most nearly the direction of that of a word, and the cosines.

        Parameters
        ----------
        word : one that is known.
        topn : how many others at most.

        Raises
        ------
        DataError
            When the word is not known.
        """
        place = self._place(word)
        lengths = np.linalg.norm(self.vectors_, axis=1)
        products = self.vectors_ @ self.vectors_[place]
        cosines = products / np.maximum(lengths * lengths[place], np.finfo(np.float32).tiny)
        order = np.argsort(-cosines, kind="stable")
        nearest = order[order != place][: max(0, topn)]
        return [(str(self.terms_[at]), float(cosines[at])) for at in nearest]

    def _place(self, word: str) -> int:
        check_is_fitted(self)
        found = np.flatnonzero(self.terms_ == word)
        if not len(found):
            raise DataError(
                f"Word2Vec does not know {word!r}. Give one of the words in `terms_`; words that are there "
                f"less than {self.min_count} times (min_count) are left out."
            )
        return int(found[0])

    def _learn_terms(self, shard: Shard, names: list[str]) -> None:
        self.output_name_ = free_stem(self.stem, column_names(shard.example.drop(names)).tolist())
        self.terms_, self.counts_ = self._words(shard, names)
        analyzer, index = self._analyzer, TextIndex(self.terms_)

        def documents(batch: Batch) -> Documents:
            return Documents.of(analyzer.terms(batch, names), index)

        number = seed(self.random_state)
        if self.method == "pmi-svd":
            words = len(self.terms_)

            def fold(batch: Batch) -> NumberCounts:
                return cooccurrences(documents(batch), words, self.window)

            pairs: NumberCounts = shard.reduce(fold, encoded=True)
            found = information(pairs, words, self.negative, self.ns_exponent)
            self.vectors_ = singular_vectors(found, self.vector_size, number)
        else:
            read = parts(map(documents, shard.batches()), shard.run)
            self.vectors_ = self._skip_gram(number).vectors(shard.run, read, self.counts_)

    def _skip_gram(self, number: int) -> SkipGram:
        return SkipGram(
            vector_size=self.vector_size,
            window=self.window,
            epochs=self.epochs,
            negative=self.negative,
            sample=self.sample,
            alpha=self.alpha,
            min_alpha=self.min_alpha,
            ns_exponent=self.ns_exponent,
            seed=number,
        )

    def _words(self, shard: Shard, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """The words that are kept, the most frequent first, of equals the first in the alphabet; and how
        often each is there."""
        analyzer = self._analyzer

        def fold(batch: Batch) -> TextCounts:
            terms = analyzer.terms(batch, names)
            often = np.bincount(terms.codes, minlength=len(terms.texts)).astype(np.float64)
            return TextCounts.of_texts(terms.texts, often)

        counts: TextCounts = shard.reduce(fold, encoded=True).compact()
        kept = np.flatnonzero(counts.weights >= max(1, self.min_count))
        if not len(kept):
            raise DataError(
                f"Word2Vec keeps no words: of {len(counts.weights)} none is there {self.min_count} times. "
                "Give more documents, or a lower min_count."
            )
        kept = kept[counts.texts.take(kept).order()]
        kept = kept[np.argsort(-counts.weights[kept], kind="stable")]
        terms: np.ndarray = counts.texts.take(kept).arrow.to_numpy(zero_copy_only=False)
        return terms, counts.weights[kept]

    def _restored(self) -> None:
        super()._restored()
        self._index = TextIndex(self.terms_)
        self._names = vector_names(self.output_name_, self.vectors_.shape[1])

    @property
    def _labels(self) -> Sequence[str]:
        return self._names

    def _vectors(self, terms: Terms) -> Any:
        made = terms.counted(self._index.places(terms.texts.arrow), len(self.terms_))
        known = np.asarray(made.sum(axis=1), dtype=np.float64)
        return np.asarray(made @ self.vectors_, dtype=np.float64) / np.maximum(known, 1)[:, None]
