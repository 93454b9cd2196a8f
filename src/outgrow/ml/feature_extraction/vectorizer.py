"""What the vectorizers share: documents in, one vector for each out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from outgrow.data.batch import Batch
from outgrow.data.kind import CATEGORY
from outgrow.data.matrix import Matrix
from outgrow.engine.open import is_table
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import Transformer
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, FLAG, NUMBER_TYPE, TEXT, OneOf
from outgrow.ml.core.task import Task
from outgrow.ml.feature_extraction.analyzer import (
    RANGE,
    STOP_WORDS,
    WORDS,
    Analyzer,
    check_pattern,
    stop_word_set,
    text_columns,
)
from outgrow.ml.feature_extraction.terms import Terms

WORD_PATTERN = r"(?u)\b\w\w+\b"
NORMS = OneOf("l1", "l2", None)


class Vectorizer(Transformer):
    """Makes one vector of the text of each row, and puts it in the place of the text.

    Hooks: `_learn_terms(shard, names)` learns what it needs and names the vector; `_vectors(terms)` gives the
    vectors of documents, as a CSR array or a dense one, `_labels` the names of their numbers.

    Attributes
    ----------
    output_name_ : what the vector is called.
    """

    takes_dictionaries = True
    takes_lists = True
    parameters = {
        "columns": COLUMNS,
        "strip_accents": OneOf("ascii", "unicode", None),
        "lowercase": FLAG,
        "stop_words": STOP_WORDS,
        "token_pattern": TEXT,
        "ngram_range": RANGE,
        "analyzer": OneOf("word", "char", "char_wb"),
        "binary": FLAG,
        "dtype": NUMBER_TYPE,
    }
    no_exports: ClassVar[dict[str, str]] = {
        "ONNX": "its tokenizers know other letters than Python's `str`",
        "scikit-learn": "its vectorizers take one column of text, none of which is missing",
    }
    stem: ClassVar[str]
    output_name_: str
    columns: Columns
    strip_accents: str | None
    lowercase: bool
    stop_words: Any
    token_pattern: str
    ngram_range: tuple[int, int]
    analyzer: str
    binary: bool
    dtype: Any

    def _learn_terms(self, shard: Shard, names: list[str]) -> None:
        raise NotImplementedError

    def _vectors(self, terms: Terms) -> Any:
        raise NotImplementedError

    @property
    def _labels(self) -> Sequence[str]:
        raise NotImplementedError

    def _check_parameters(self) -> None:
        who, (low, high) = type(self).__name__, self.ngram_range
        if not 1 <= low <= high:
            raise ParameterError(
                f"{who}(ngram_range={self.ngram_range!r}): its lower boundary must be at least 1 and at most "
                "the upper one. Give for example (1, 2)."
            )
        if check_pattern(who, "token_pattern", self.token_pattern).groups > 1:
            raise ParameterError(
                f"{who}(token_pattern={self.token_pattern!r}): more than 1 capturing group in token pattern. "
                "Leave one, and write (?:...) for the others."
            )

    @property
    def _analyzer(self) -> Analyzer:
        return Analyzer(
            lowercase=bool(self.lowercase),
            strip_accents=self.strip_accents,
            token_pattern=self.token_pattern,
            ngram_range=(int(self.ngram_range[0]), int(self.ngram_range[1])),
            analyzer=self.analyzer,
            stop_words=stop_word_set(self.stop_words),
        )

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        kinds, what = [CATEGORY], "text"
        if self.analyzer == "word":
            kinds, what = [CATEGORY, WORDS], "text or lists of words"
        self.selected_ = text_columns(self, shard.example, names, kinds, what)
        if not self.selected_:
            raise DataError(f"{type(self).__name__} has no columns of {what}. Name some that are there.")
        self._learn_terms(shard, self.selected_)
        self._restored()

    def _restored(self) -> None:
        self._ready = self._analyzer

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        made = self._vectors(self._ready.terms(batch, names))
        return batch.replace(names, {self.output_name_: Matrix(made, self._labels)})

    def transform(self, X: Any) -> Any:
        """The rows of X with a vector in the place of text.

        Parameters
        ----------
        X : documents as a list, a series or an array of text; or a dataset, Spark DataFrame, or table.

        Returns
        -------
        An array of shape (rows, numbers) for documents alone, a CSR one of counts; a table or dataset for
        one, with a column for each number; see `set_output` for arrays of tables.
        """
        made = super().transform(X)
        alone = not is_table(made) and set(self.selected_) == set(self.columns_)
        return made.astype(self.dtype, copy=False) if alone else made

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = tags.input_tags.string = tags.input_tags.allow_nan = True
        tags.input_tags.two_d_array = False
        return tags


def free_stem(stem: str, taken: Collection[str]) -> str:
    """A name for a vector such that neither it nor `<name>_0` and so on are taken.

    Parameters
    ----------
    stem : the name that is wanted; a number follows where it is taken.
    taken : names that are there.
    """
    number, name = 1, stem
    while any(other == name or other.startswith(f"{name}_") for other in taken):
        number += 1
        name = f"{stem}{number}"
    return name


def normalized(X: Any, norm: str | None) -> Any:
    """A CSR array whose rows have length one; rows of zeros stay as they are.

    Parameters
    ----------
    X : CSR array of float64; its numbers are replaced.
    norm : 'l1', 'l2' or None for none.
    """
    if norm is None or not len(X.data):
        return X
    powers = np.abs(X.data) if norm == "l1" else X.data * X.data
    filled = np.flatnonzero(np.diff(X.indptr))
    lengths = np.add.reduceat(powers, X.indptr[filled])
    lengths = lengths if norm == "l1" else np.sqrt(lengths)
    lengths[lengths == 0] = 1.0
    data = X.data / np.repeat(lengths, np.diff(X.indptr)[filled])
    return sp.csr_array((data, X.indices, X.indptr), shape=X.shape)
