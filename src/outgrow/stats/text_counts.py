"""Texts and how often they occur, as Arrow's buffers: no Python object for each of a million words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.stats.state import State

_FEW = 4_096
"""Texts that may stand twice before they are counted together."""


@dataclass(frozen=True, eq=False)
class TextCounts(State):
    """Each text's weight. Memory grows with the number of different texts.

    Attributes
    ----------
    letters : uint8, the texts in UTF-8, one after the other.
    ends : int64 of shape (texts + 1,), where each begins and the last ends.
    weights : ndarray of shape (texts,).
    distinct : so many of the texts, the first, are different; of the others some may stand twice.
    missing : the weight of missing values, and how many there are.
    """

    letters: np.ndarray
    ends: np.ndarray
    weights: np.ndarray
    distinct: int
    missing: np.ndarray

    @classmethod
    def of(cls, array: pa.Array) -> TextCounts:
        """The counts of an Arrow column of text, which may be a dictionary.

        Parameters
        ----------
        array : each row counts once.
        """
        array = array.cast(pa.string()) if pa.types.is_null(array.type) else array
        encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        words, codes = encoded.dictionary, encoded.indices.drop_null().to_numpy(zero_copy_only=False)
        rows = np.bincount(codes, minlength=len(words)).astype(np.float64)
        used = np.flatnonzero(rows)
        missing = float(encoded.indices.null_count)
        if len(used) < len(words):
            words, rows = words.take(pa.array(used)), rows[used]
        return cls(*_buffers(words), rows, len(words), np.array([missing]))

    def merge(self, other: TextCounts) -> TextCounts:
        both = TextCounts(
            np.concatenate([self.letters, other.letters]),
            np.concatenate([self.ends, self.ends[-1] + other.ends[1:]]),
            np.concatenate([self.weights, other.weights]),
            self.distinct,
            self.missing + other.missing,
        )
        return both.compact() if len(both.weights) > 2 * max(self.distinct, _FEW) else both

    def compact(self) -> TextCounts:
        """The same with each text once."""
        if self.distinct == len(self.weights):
            return self
        encoded = self._words.dictionary_encode()
        weights = np.bincount(encoded.indices.to_numpy(), self.weights, len(encoded.dictionary))
        return TextCounts(*_buffers(encoded.dictionary), weights, len(weights), self.missing)

    @property
    def _words(self) -> pa.Array:
        buffers = [None, pa.py_buffer(self.ends), pa.py_buffer(self.letters)]
        return pa.Array.from_buffers(pa.large_string(), len(self.weights), buffers)

    @cached_property
    def counts(self) -> dict[str | None, float]:
        """The weight of each text; that of missing values is under None."""
        once = self.compact()
        counts: dict[str | None, float] = dict(
            zip(once._words.to_pylist(), once.weights.tolist(), strict=True)
        )
        return {**counts, None: float(self.missing[0])} if self.has_missing else counts

    def values(self) -> list[str]:
        """The texts that are not missing, sorted."""
        words = self.compact()._words
        return words.take(pc.sort_indices(words)).to_pylist()

    @property
    def has_missing(self) -> bool:
        return bool(self.missing[0] > 0)


def _buffers(words: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Texts as their letters and where each begins."""
    words = words.cast(pa.large_string())
    _, ends, letters = words.buffers()
    offsets = np.frombuffer(ends, np.int64)[words.offset : words.offset + len(words) + 1] if ends else None
    if offsets is None or not len(words):
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    held = np.frombuffer(letters, np.uint8) if letters else np.zeros(0, np.uint8)
    return held[offsets[0] : offsets[-1]], offsets - offsets[0]
