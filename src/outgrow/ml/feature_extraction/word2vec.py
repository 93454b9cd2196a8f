"""Vectors of words, and documents as the means of those."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.names import VectorNames
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
from outgrow.ml.feature_extraction.skip_gram import OF_ONE_RANK, SkipGram, parts
from outgrow.ml.feature_extraction.terms import Terms
from outgrow.ml.feature_extraction.vectorizer import WORD_PATTERN, Vectorizer, free_stem
from outgrow.stats.number_counts import NumberCounts
from outgrow.stats.quantiles import Gathered
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
    Vectors are the same on every engine and partitioning, whatever the order of the rows. 'pmi-svd' needs
    memory for all different pairs of neighbours. 'sgns' takes steps over the documents in an order that
    hashes of their words give, on one core. Past 16 million words each task of a cluster takes steps over its
    own rows, and ten times in an epoch vectors become means over the tasks: then other partitions, or another
    order, give other vectors of the same kind. Where much is learned and Numba is there (`outgrow[fast]`),
    steps are compiled, and taken one by one; else NumPy takes some at once.

    Unlike scikit-learn: there is none; the parameters are gensim's, with its `wv.most_similar` and
    `wv.get_vector` as methods. It is skip-gram (`sg=1`) only.

    Unlike Spark MLlib's `Word2Vec(vectorSize=100, minCount=5, maxIter=1, stepSize=0.025, windowSize=5)`: it
    tells neighbours from random words in place of hierarchical softmax, and makes five passes. Vectors are
    means over partitions, no sums, so that they stay finite however many there are. Means of documents are
    those of the words that are known. `getVectors()` is `get_vectors()`, `findSynonyms(word, num)` is
    `most_similar(word, topn=num)`.

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

    def get_vectors(self) -> pa.Table:
        """All words, how often each is there, and their vectors: a table of `word`, `count`, `vector`."""
        check_is_fitted(self)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(self.vectors_.ravel()), self.vectors_.shape[1])
        counts = self.counts_.astype(np.int64)
        return pa.table({"word": pa.array(self.terms_, pa.string()), "count": counts, "vector": vectors})

    def most_similar(self, positive: Any, negative: Any = (), topn: int = 10) -> list[tuple[str, float]]:
        """The words whose vectors have most nearly the direction of that of a word, and the cosines.

        Parameters
        ----------
        positive : a word that is known, a vector as an array, or a list of those: then their mean direction.
        negative : the same, of what is subtracted: 'king' and 'woman' less 'man' may be near 'queen'.
        topn : how many at most; words that are given are none of them.

        Raises
        ------
        DataError
            When a word is not known, a vector has another size or is not finite, or there are neither.
        """
        check_is_fitted(self)
        near, far = _several(positive), _several(negative)
        if not near and not far:
            raise DataError("Word2Vec compares words and vectors, and there are none. Give at least one.")
        sought = self._directions(near).sum(axis=0) - self._directions(far).sum(axis=0)
        cosines = np.clip(_unit(np.asarray(self.vectors_, dtype=np.float64)) @ _unit(sought), -1, 1)
        order = np.argsort(-cosines, kind="stable")
        places = [self._place(one) for one in (*near, *far) if isinstance(one, str)]
        nearest = order[~np.isin(order, places)][: max(0, topn)]
        return [(str(self.terms_[at]), float(cosines[at])) for at in nearest]

    def _directions(self, given: Sequence[Any]) -> np.ndarray:
        """Words or vectors as vectors of length one, of shape (given, vector_size)."""
        size = self.vectors_.shape[1]
        vectors = [self.get_vector(one) if isinstance(one, str) else np.asarray(one) for one in given]
        for vector in vectors:
            if vector.shape != (size,) or vector.dtype.kind not in "iuf" or not np.isfinite(vector).all():
                raise DataError(
                    f"Word2Vec compares words and vectors of {size} finite numbers, not {vector!r}. Give "
                    "words of `terms_`, or what `get_vector` gives."
                )
        return _unit(np.array(vectors, dtype=np.float64).reshape(len(vectors), size))

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

        if self.method == "pmi-svd":
            self.vectors_ = self._singular_vectors(shard, documents)
        else:
            self.vectors_ = self._skip_gram_vectors(shard, documents)

    def _singular_vectors(self, shard: Shard, documents: Callable[[Batch], Documents]) -> np.ndarray:
        words = len(self.terms_)
        pairs: NumberCounts = shard.reduce(
            lambda batch: cooccurrences(documents(batch), words, self.window), encoded=True
        )
        found = information(pairs, words, self.negative, self.ns_exponent)
        return singular_vectors(found, self.vector_size, seed(self.random_state))

    def _skip_gram_vectors(self, shard: Shard, documents: Callable[[Batch], Documents]) -> np.ndarray:
        how = self._skip_gram(seed(self.random_state))
        if self.counts_.sum() > OF_ONE_RANK:
            own = parts(map(documents, shard.batches()), shard.run)
            return how.of_ranks(shard.run, own, self.counts_)

        def fold(batch: Batch) -> Gathered:
            read = documents(batch)
            return Gathered((read.codes, read.lengths))

        every = Documents.of_lengths(*shard.reduce(fold, encoded=True).values)
        return how.of_one_rank(shard.run, every, self.counts_)

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
        self._names = VectorNames(self.output_name_, self.vectors_.shape[1])

    @property
    def _labels(self) -> Sequence[str]:
        return self._names

    def _vectors(self, terms: Terms) -> Any:
        made = terms.counted(self._index.places(terms.texts.arrow), len(self.terms_))
        known = np.asarray(made.sum(axis=1), dtype=np.float64)
        return np.asarray(made @ self.vectors_, dtype=np.float64) / np.maximum(known, 1)[:, None]


def _several(given: Any) -> list[Any]:
    """Words and vectors, of which one may stand alone."""
    if given is None:
        return []
    alone = isinstance(given, str) or (isinstance(given, np.ndarray) and given.ndim == 1)
    return [given] if alone else list(given)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length one, of shape (..., vector_size); zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
