"""Texts and how often they occur, as Arrow's buffers: no Python object for each of a million words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa

from outgrow.stats.state import State
from outgrow.stats.texts import Texts

_HELD_BYTES = 64 << 20
"""Of texts, some of them twice, before they are counted together: that is cheapest when many are."""
_FEW = 1_000
"""Texts that Python sorts sooner than NumPy does."""
_TIMES = 4
"""How often texts may stand there in the mean when they are more."""


@dataclass(frozen=True, eq=False)
class TextCounts(State):
    """Each text's weight. Memory grows with the number of different texts.

    Attributes
    ----------
    letters : uint8, the texts in UTF-8, one after the other.
    ends : int64 of shape (texts + 1,), where each begins and the last ends.
    weights : ndarray of shape (texts,), or (texts, kinds) of several kinds of weights; where all are zero,
        no row has the text.
    distinct : so many of the texts, the first, are different; of the others some may stand twice.
    missing : the weight of missing values, and how many there are.
    """

    letters: np.ndarray
    ends: np.ndarray
    weights: np.ndarray
    distinct: int
    missing: np.ndarray

    @classmethod
    def of(cls, array: pa.Array, *, counted: bool = True) -> TextCounts:
        """The counts of an Arrow column of text, which may be a dictionary.

        Parameters
        ----------
        array : each row counts once.
        counted : whether it matters how often a text occurs; if not, that it does may count but once.
        """
        array = array.cast(pa.string()) if pa.types.is_null(array.type) else array
        missing = np.array([float(array.null_count)])
        if not counted and pa.types.is_string(array.type):
            words = array.unique().drop_null()
            return cls._of_words(words, np.ones(len(words)), missing)
        encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        words, codes = encoded.dictionary, encoded.indices.drop_null().to_numpy(zero_copy_only=False)
        rows = np.bincount(codes, minlength=len(words)).astype(np.float64)
        if len(words) > _FEW and not rows.all():  # few texts of no row stay: batches that share them add up
            used = np.flatnonzero(rows)
            words, rows = words.take(pa.array(used)), rows[used]
        return cls._of_words(words, rows, missing)

    @classmethod
    def of_texts(cls, texts: Texts, weights: np.ndarray) -> TextCounts:
        """The counts of texts that are there once each.

        Parameters
        ----------
        texts : different ones.
        weights : shape (texts,) or (texts, kinds).
        """
        return cls(texts.letters, texts.ends, weights, len(texts), np.zeros(1))

    @classmethod
    def _of_words(cls, words: pa.Array, rows: np.ndarray, missing: np.ndarray) -> TextCounts:
        return replace(cls.of_texts(Texts.of(words), rows), missing=missing)

    def merge(self, other: TextCounts) -> TextCounts:
        if np.array_equal(self.ends, other.ends) and np.array_equal(self.letters, other.letters):
            return replace(self, weights=self.weights + other.weights, missing=self.missing + other.missing)
        both = TextCounts(
            np.concatenate([self.letters, other.letters]),
            np.concatenate([self.ends, self.ends[-1] + other.ends[1:]]),
            np.concatenate([self.weights, other.weights]),
            self.distinct,
            self.missing + other.missing,
        )
        full = both.letters.nbytes + both.ends.nbytes > _HELD_BYTES
        return both.compact() if full and len(both.weights) > _TIMES * self.distinct else both

    def compact(self) -> TextCounts:
        """The same with each text once."""
        if self.distinct == len(self.weights):
            return self
        first, codes = self.texts.codes()
        texts = self.texts.take(first)
        kinds = self.weights.reshape(len(codes), -1).T
        sums = [np.bincount(codes, kind, len(first)) for kind in kinds]
        weights = np.stack(sums, axis=1).reshape(len(first), *self.weights.shape[1:])
        return TextCounts(texts.letters, texts.ends, weights, len(weights), self.missing)

    def _there(self) -> TextCounts:
        """The same with each text once that some row has."""
        once = self.compact()
        there = once.weights.any(axis=tuple(range(1, once.weights.ndim)))
        if there.all():
            return once
        kept = self.of_texts(once.texts.take(np.flatnonzero(there)), once.weights[there])
        return replace(kept, missing=self.missing)

    @property
    def texts(self) -> Texts:
        """The texts in the order of their weights."""
        return Texts(self.letters, self.ends)

    @cached_property
    def counts(self) -> dict[str | None, float]:
        """The weight of each text; that of missing values is under None."""
        once = self._there()
        counts: dict[str | None, float] = dict(
            zip(once.texts.arrow.to_pylist(), once.weights.tolist(), strict=True)
        )
        return {**counts, None: float(self.missing[0])} if self.has_missing else counts

    def values(self) -> np.ndarray:
        """The texts that are not missing, sorted; objects of shape (texts,)."""
        texts = self._there().texts
        if len(texts) <= _FEW:
            few = np.empty(len(texts), dtype=object)
            few[:] = sorted(texts.arrow.to_pylist())
            return few
        words: np.ndarray = texts.take(texts.order()).arrow.to_numpy(zero_copy_only=False)
        return words

    @property
    def has_missing(self) -> bool:
        return bool(self.missing[0] > 0)
