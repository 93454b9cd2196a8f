"""From columns of text, or of lists of words, to the terms that are counted."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from outgrow.data.batch import Batch, is_categorical
from outgrow.data.kind import Kind
from outgrow.data.matrix import Matrix
from outgrow.data.schema import conformed
from outgrow.errors import ParameterError, SchemaError
from outgrow.ml.core.parameters import Domain, OneOf, Such
from outgrow.ml.feature_extraction.terms import Terms
from outgrow.ml.feature_extraction.words import (
    as_ascii,
    cut_by_pattern,
    cut_characters,
    cut_words,
    least_length,
    prepared,
    without_accents,
)

WORDS = Kind("list[category]")
"""The kind of columns of lists of words."""
_ACCENTS = {"ascii": as_ascii, "unicode": without_accents}


def _is_range(value: Any) -> bool:
    whole = isinstance(value, tuple | list) and len(value) == 2
    return whole and all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in value)


def _are_words(value: Any) -> bool:
    listed = isinstance(value, Collection) and not isinstance(value, str | bytes | dict)
    return listed and all(isinstance(word, str) for word in value)


RANGE: Domain = Such(
    "a pair of whole numbers, the least and the most words of a term", lambda value: _is_range(value)
)
WORD_LIST: Domain = Such("a list of words", _are_words)
STOP_WORDS = OneOf("english", None) | WORD_LIST


def stop_word_set(stop_words: Any) -> frozenset[str]:
    """The words that `stop_words` means: a list, 'english' for those of scikit-learn, or None."""
    if isinstance(stop_words, str):
        return frozenset(ENGLISH_STOP_WORDS)
    return frozenset(stop_words or ())


def check_pattern(who: str, name: str, pattern: str) -> re.Pattern[str]:
    """A regular expression, compiled.

    Parameters
    ----------
    who, name : the class and the parameter, for the message.
    pattern : as Python's `re` takes it.

    Raises
    ------
    ParameterError
        When it is none, or may mean something else in later versions of Python.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)
            return re.compile(pattern)
    except (re.error, FutureWarning) as error:
        raise ParameterError(
            f"{who}({name}={pattern!r}): {name} must be a regular expression as Python's "
            f"re takes it: {error}. It has no classes such as \\p{{L}}, no sets within sets and no && in "
            "them: write \\w for letters and digits of all scripts, and \\[ for a bracket in a set."
        ) from None


def kind_of(column: Any) -> Kind | None:
    """The kind of a column; None for vectors."""
    return None if isinstance(column, Matrix) else Kind.of(column.type)


def text_columns(
    step: Any, example: Batch, names: Sequence[str], kinds: Collection[Kind], what: str
) -> list[str]:
    """Those of some columns that a step works on.

    Parameters
    ----------
    step : its `columns` are None for all that it can work on.
    example : a batch that shows the types of the columns.
    names : the columns that reach the step, resolved.
    kinds : those that it works on.
    what : such as 'text', for the message.

    Raises
    ------
    SchemaError
        When it was told to work on others.
    """
    found = [name for name in names if kind_of(example[name]) in kinds]
    if step.columns is not None and found != list(names):
        others = [name for name in names if name not in found]
        raise SchemaError(
            f"{type(step).__name__} works on {what}; {others} are not. Choose columns of {what}."
        )
    return found


@dataclass(frozen=True)
class Analyzer:
    """How documents become terms; the fields are parameters of the vectorizers."""

    lowercase: bool
    strip_accents: str | None
    token_pattern: str
    ngram_range: tuple[int, int]
    analyzer: str
    stop_words: frozenset[str]

    def terms(self, batch: Batch, names: Sequence[str]) -> Terms:
        """The terms of some columns; those of a row are one document.

        Parameters
        ----------
        batch : the rows.
        names : columns of text or of lists of words.
        """
        return Terms.beside([self._of_column(batch, name) for name in names])

    def _of_column(self, batch: Batch, name: str) -> Terms:
        column: Any = batch[name]
        if pa.types.is_null(column.type):
            column = column.cast(pa.string())
        if not is_categorical(column.type):
            lists = conformed(batch.select([name]), {name: WORDS})[name]
            return self._of_words(Terms.of_lists(lists))
        if not pa.types.is_dictionary(column.type):
            return self._of_documents(pc.fill_null(column, ""))
        if len(column.dictionary) > len(column):
            return self._of_documents(pc.fill_null(column.dictionary_decode(), ""))
        codes = pc.fill_null(column.indices, -1).to_numpy()
        return self._of_documents(pc.fill_null(column.dictionary.cast(pa.string()), "")).take(codes)

    def _of_documents(self, documents: pa.Array) -> Terms:
        change = None if self.strip_accents is None else _ACCENTS[self.strip_accents]
        texts = prepared(documents, self.lowercase, change)
        if self.analyzer != "word":
            return cut_characters(texts, *self.ngram_range, inside_words=self.analyzer == "char_wb")
        least = least_length(self.token_pattern)
        return self._of_words(
            cut_by_pattern(texts, self.token_pattern) if least is None else cut_words(texts, least)
        )

    def _of_words(self, words: Terms) -> Terms:
        if self.stop_words:
            words = words.only(np.array([word not in self.stop_words for word in words.words], dtype=bool))
        return words.ngrams(*self.ngram_range)
