"""Vectorizers whose terms are learned: which there are, and in how many documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np

from outgrow.data.batch import Batch
from outgrow.data.names import distinct, numbered
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.core.parameters import MAPPING, Integer, Share
from outgrow.ml.core.task import column_names
from outgrow.ml.feature_extraction.analyzer import WORD_LIST
from outgrow.ml.feature_extraction.terms import Terms
from outgrow.ml.feature_extraction.vectorizer import Vectorizer
from outgrow.stats.text_counts import TextCounts
from outgrow.stats.texts import TextIndex

_LIMIT = Integer(low=1) | Share(low=0, high=1)


@dataclass(frozen=True)
class _Learned:
    """What is found from the terms."""

    terms: np.ndarray
    taken: Sequence[str]

    @cached_property
    def index(self) -> TextIndex:
        return TextIndex(self.terms)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(distinct(self.terms.tolist(), self.taken))


class VocabularyVectorizer(Vectorizer):
    """Counts the terms that were there at the fit.

    Attributes
    ----------
    terms_ : ndarray of the terms, in the order of their columns.
    taken_names_ : list of those that are names of other columns.
    """

    parameters = {
        **Vectorizer.parameters,
        "max_df": _LIMIT,
        "min_df": _LIMIT,
        "max_features": Integer(low=1) | None,
        "vocabulary": WORD_LIST | MAPPING | None,
    }
    max_df: Any
    min_df: Any
    max_features: int | None
    vocabulary: Any
    terms_: np.ndarray
    taken_names_: list[str]

    def _note_documents(self, frequencies: np.ndarray, documents: int) -> None:
        """Keep what is needed of how many documents have each term."""

    @property
    def _needs_documents(self) -> bool:
        """Whether it must be known how many documents have each term even where the terms are given."""
        return False

    @property
    def vocabulary_(self) -> dict[str, int]:
        """The column of each term."""
        return {term: place for place, term in enumerate(self.terms_.tolist())}

    @property
    def fixed_vocabulary_(self) -> bool:
        """Whether the terms were given."""
        return self.vocabulary is not None

    def _check_parameters(self) -> None:
        super()._check_parameters()
        given_terms(type(self).__name__, self.vocabulary)

    def _learn_terms(self, shard: Shard, names: list[str]) -> None:
        given = given_terms(type(self).__name__, self.vocabulary)
        if given is None or self._needs_documents:
            counts, documents = self._counts(shard, names)
            kept = np.arange(len(counts.weights)) if given is not None else self._kept(counts, documents)
            terms, frequencies = _sorted(counts, kept)
            if given is not None:
                terms, frequencies = given, _found(given, terms, frequencies)
            self._note_documents(frequencies, documents)
        self.terms_ = terms if given is None else given
        others = shard.example.drop(names)
        taken = {*others.columns, *column_names(others)}
        self.output_name_ = numbered(self.stem, taken)
        self.taken_names_ = sorted(taken.intersection(self.terms_.tolist()))

    def _counts(self, shard: Shard, names: list[str]) -> tuple[TextCounts, int]:
        """How many documents have each term, and how often they have it; how many documents there are."""
        analyzer = self._analyzer

        def fold(batch: Batch) -> tuple[TextCounts, np.ndarray]:
            terms = analyzer.terms(batch, names)
            made = terms.counted(np.arange(len(terms.texts)), len(terms.texts))
            kinds = [np.bincount(made.indices, minlength=made.shape[1])]
            if self.max_features is not None and not self.binary:
                kinds.append(np.bincount(made.indices, made.data, made.shape[1]))
            weights = np.stack(kinds, axis=1).astype(np.float64)
            return TextCounts.of_texts(terms.texts, weights), np.array([batch.num_rows])

        counts, documents = shard.reduce(fold, encoded=True)
        return counts.compact(), int(documents[0])

    def _kept(self, counts: TextCounts, documents: int) -> np.ndarray:
        """The places of the terms that are kept."""
        who, frequencies = type(self).__name__, counts.weights[:, 0]
        if not len(frequencies):
            raise DataError(
                f"{who} found no terms: empty vocabulary; perhaps the documents only contain stop words. "
                "Give other documents, or fewer stop words."
            )
        most, least = _limit(self.max_df, documents), _limit(self.min_df, documents)
        if most < least:
            raise ParameterError(
                f"{who}(max_df={self.max_df!r}, min_df={self.min_df!r}): max_df corresponds to < documents "
                f"than min_df where there are {documents}. Raise max_df, or lower min_df."
            )
        kept = np.flatnonzero((frequencies >= least) & (frequencies <= most))
        if not len(kept):
            raise DataError(
                f"{who} keeps no terms: after pruning, no terms remain of {len(frequencies)}. Try a lower "
                "min_df or a higher max_df."
            )
        if self.max_features is None or len(kept) <= self.max_features:
            return kept
        kept = kept[counts.texts.take(kept).order()]  # so that terms decide among equals
        often = np.argsort(-counts.weights[kept, -1], kind="stable")
        return kept[often[: self.max_features]]

    def _restored(self) -> None:
        super()._restored()
        self._found = _Learned(self.terms_, self.taken_names_)

    @property
    def _labels(self) -> Sequence[str]:
        return self._found.labels

    def _term_counts(self, terms: Terms) -> Any:
        """How often each document has each term."""
        places = self._found.index.places(terms.texts.arrow)
        made = terms.counted(places, len(self.terms_))
        if self.binary:
            made.data[:] = 1.0
        return made


def given_terms(who: str, vocabulary: Any) -> np.ndarray | None:
    """The terms of a `vocabulary` in the order of their columns.

    Parameters
    ----------
    who : the class, for the message.
    vocabulary : terms, or a mapping from terms to columns, or None.

    Raises
    ------
    ParameterError
        When a term or a column comes twice, a column has no term, or there is none at all.
    """
    if vocabulary is None:
        return None
    terms = sorted(vocabulary) if isinstance(vocabulary, set | frozenset) else list(vocabulary)
    wrong = ""
    if isinstance(vocabulary, Mapping):
        terms = sorted(vocabulary, key=vocabulary.__getitem__)
        wrong = (
            ""
            if sorted(vocabulary.values()) == list(range(len(terms)))
            else "its columns are not 0, 1, 2, ..."
        )
    elif len(set(terms)) < len(terms):
        twice = next(term for place, term in enumerate(terms) if term in terms[:place])
        wrong = f"duplicate term in vocabulary: {twice!r}"
    wrong = wrong if terms else "empty vocabulary passed to fit"
    if wrong:
        raise ParameterError(
            f"{who}(vocabulary=...): {wrong}. Give each term once, with a column of its own."
        )
    return np.array(terms, dtype=object)


def _limit(value: Any, documents: int) -> float:
    return float(value) if isinstance(value, Integral) else float(value) * documents


def _sorted(counts: TextCounts, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Some terms, sorted, and how many documents have each."""
    texts = counts.texts.take(kept)
    order = texts.order()
    terms: np.ndarray = texts.take(order).arrow.to_numpy(zero_copy_only=False)
    return terms, counts.weights[kept[order], 0]


def _found(given: np.ndarray, terms: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """How many documents have each given term, where `frequencies` says it of those that there are."""
    known = dict(zip(terms.tolist(), frequencies.tolist(), strict=True))
    return np.array([known.get(term, 0.0) for term in given.tolist()])
