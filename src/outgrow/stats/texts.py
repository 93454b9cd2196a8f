"""Millions of texts as NumPy sees them: which are the same, their order, and where each stands."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_PART = 1 << 16
"""Texts that are hashed at once: they stay in a core's cache."""
_HASHED_BYTES = 256
"""Of a text: those, and its length, make its hash."""
_WORD = 8
"""Bytes that NumPy compares at once."""
_KEEP = np.array([(1 << (8 * size)) - 1 for size in range(_WORD + 1)], dtype=np.uint64)
_ODD = np.uint64(0xBF58476D1CE4E5B9)
_HALF = np.uint64(32)
_NO_TEXT = np.uint64(0xFF << 56)
"""A last byte that no text in UTF-8 has."""
_LINKED = 3
"""So many words of eight bytes are told apart one by one; what follows them by hashes."""


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts in UTF-8, none of them missing.

    Attributes
    ----------
    letters : uint8, one text after the other.
    ends : int64 of shape (texts + 1,), where each begins and the last ends.
    """

    letters: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, array: pa.Array) -> Texts:
        """The texts of an Arrow column that is no dictionary; what is missing there is some text here."""
        _, ends, letters = array.buffers()
        if not ends or not len(array):
            return cls(np.zeros(0, np.uint8), np.zeros(len(array) + 1, np.int64))
        kind = np.int64 if pa.types.is_large_string(array.type) else np.int32
        offsets = np.frombuffer(ends, kind)[array.offset : array.offset + len(array) + 1].astype(np.int64)
        held = np.frombuffer(letters, np.uint8) if letters else np.zeros(0, np.uint8)
        return cls(held[offsets[0] : offsets[-1]], offsets - offsets[0])

    def __len__(self) -> int:
        return len(self.ends) - 1

    @cached_property
    def arrow(self) -> pa.Array:
        """The same as an Arrow column."""
        buffers = [None, pa.py_buffer(self.ends), pa.py_buffer(self.letters)]
        return pa.Array.from_buffers(pa.large_string(), len(self), buffers)

    def take(self, places: np.ndarray) -> Texts:
        """The texts at these places, in this order."""
        return Texts.of(self.arrow.take(pa.array(places)))

    def same(self, places: np.ndarray, others: Texts) -> np.ndarray:
        """Whether the text at each place equals the one of others.

        Parameters
        ----------
        places : of the texts here.
        others : as many as there are places.
        """
        return np.asarray(pc.equal(self.arrow.take(pa.array(places)), others.arrow))

    @cached_property
    def hashes(self) -> np.ndarray:
        """One uint64 for each; equal texts have equal ones."""
        parts = [self._part(start) for start in range(0, len(self), _PART)]
        return np.concatenate([part._hashed() for part in parts] or [np.zeros(0, np.uint64)])

    def codes(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each text stands first, and which of those each is."""
        encoded = pa.array(self.hashes).dictionary_encode()
        codes, rows = encoded.indices.to_numpy(), np.arange(len(self))
        first = np.empty(len(encoded.dictionary), dtype=np.int64)
        first[codes[::-1]] = rows[::-1]
        again = np.flatnonzero(first[codes] != rows)
        if self._same(first[codes[again]], again):
            return first, codes
        encoded = self.arrow.dictionary_encode()  # two texts of one hash
        codes = encoded.indices.to_numpy()
        first = np.empty(len(encoded.dictionary), dtype=np.int64)
        first[codes[::-1]] = rows[::-1]
        return first, codes

    def _same(self, places: np.ndarray, others: np.ndarray) -> bool:
        """Whether the texts at some places equal those at others, given that their hashes do."""
        lengths = self._lengths
        if not np.array_equal(lengths[places], lengths[others]):
            return False
        longer = lengths[others] > _WORD  # the hash of one word and its length tells all of it
        return bool(self.same(places[longer], self.take(others[longer])).all())

    def order(self) -> np.ndarray:
        """The places of the texts, sorted as Python sorts them."""
        shared = self._shared_bytes()
        first = self._word(shared).byteswap()
        order = np.argsort(first)
        if not _ties(first[order]).any():
            return order
        second, length = self._word(shared + _WORD).byteswap(), self._lengths
        order = np.lexsort((length, second, first))
        tied = _ties(first[order]) & _ties(second[order])
        if (length[order[1:][tied]] > shared + 2 * _WORD).any():
            return np.asarray(pc.sort_indices(self.arrow)).astype(np.int64)
        return order

    @cached_property
    def _lengths(self) -> np.ndarray:
        return np.diff(self.ends)

    @cached_property
    def _words(self) -> np.ndarray:
        """The word that begins at each letter, and past the last."""
        padded = np.concatenate([self.letters, np.zeros(_WORD, np.uint8)])
        return np.ndarray(len(self.letters) + 1, "<u8", padded, strides=(1,))

    def _word(self, at: int, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Of each text the bytes from `at` on, zeros past its end."""
        rest = np.clip(self._lengths[rows] - at, 0, _WORD)
        return self._words[np.minimum(self.ends[:-1][rows] + at, len(self.letters))] & _KEEP[rest]

    def _part(self, start: int) -> Texts:
        ends = self.ends[start : start + _PART + 1]
        return Texts(self.letters[ends[0] : ends[-1]], ends - ends[0])

    def _hashed(self) -> np.ndarray:
        hashes = _mixed(self._lengths.astype(np.uint64))
        longer = np.arange(len(self))
        for at in range(0, min(_HASHED_BYTES, int(self._lengths.max(initial=0))), _WORD):
            longer = longer[self._lengths[longer] > at]
            rows = slice(None) if len(longer) == len(self) else longer
            hashes[rows] = _mixed(hashes[rows] ^ self._word(at, rows))
        return hashes

    def _shared_bytes(self) -> int:
        """How many bytes all texts begin with, at most so many as are hashed."""
        at = 0
        while at < min(_HASHED_BYTES, int(self._lengths.min(initial=_HASHED_BYTES))):
            words = self._word(at)
            differing = int(np.bitwise_or.reduce(words ^ words[:1]))
            if differing:
                return at + ((differing & -differing).bit_length() - 1) // 8
            at += _WORD
        return at


def runs(letters: np.ndarray, begin: np.ndarray, end: np.ndarray) -> Texts:
    """Parts of text, copied.

    Parameters
    ----------
    letters : uint8, text in UTF-8.
    begin, end : int of shape (parts,), where each begins and ends.
    """
    ends = np.concatenate([[0], np.cumsum(end - begin)])
    places = np.arange(ends[-1]) + np.repeat(begin - ends[:-1], end - begin)
    return Texts(letters[places], ends)


def run_codes(letters: np.ndarray, begin: np.ndarray, end: np.ndarray) -> tuple[Texts, np.ndarray]:
    """The different ones among parts of text, and which of them each part is.

    Up to eight bytes are a number, compared as such; of longer parts, pairs of such numbers are numbered.

    Parameters
    ----------
    letters : uint8, text in UTF-8.
    begin, end : int of shape (parts,), where each begins and ends; none holds a zero.
    """
    padded = np.concatenate([letters, np.zeros(_WORD, np.uint8)])
    words = np.ndarray(len(letters) + 1, "<u8", padded, strides=(1,))
    encoded = pa.array(_keys(words, letters, begin, end)).dictionary_encode()
    codes = encoded.indices.to_numpy()
    first = np.empty(len(encoded.dictionary), dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return runs(letters, begin[first], end[first]), codes


def _keys(
    words: np.ndarray, letters: np.ndarray, begin: np.ndarray, end: np.ndarray, left: int = _LINKED
) -> np.ndarray:
    """One uint64 for each part of text; equal parts, and no others, have equal ones."""
    lengths = end - begin
    keys: np.ndarray = words[begin] & _KEEP[np.minimum(lengths, _WORD)]
    longer = np.flatnonzero(lengths > _WORD)
    if len(longer):
        begin, end = begin[longer], end[longer]
        if left:
            heads, tails = keys[longer], _keys(words, letters, begin + _WORD, end, left - 1)
            codes = _numbered(_numbered(heads).astype(np.int64) * len(heads) + _numbered(tails))
        else:
            codes = runs(letters, begin, end).codes()[1]
        keys[longer] = codes.astype(np.uint64) | _NO_TEXT
    return keys


def _numbered(values: np.ndarray) -> np.ndarray:
    """Which of the different values each is."""
    numbers: np.ndarray = pa.array(values).dictionary_encode().indices.to_numpy()
    return numbers


class TextIndex:
    """Finds texts among others by their hashes.

    Parameters
    ----------
    known : objects of shape (texts,), each text once.
    """

    def __init__(self, known: np.ndarray) -> None:
        texts = Texts.of(pa.array(known, pa.large_string()))
        order = np.argsort(texts.hashes)
        hashes = texts.hashes[order]
        self._texts = texts
        self._order = np.append(order, 0)
        self._hashes = np.append(hashes, np.uint64(2**64 - 1))
        self._shift = np.uint64(64 - max(1, len(texts).bit_length() + 1))
        edges = np.arange((1 << (64 - int(self._shift))), dtype=np.uint64) << self._shift
        self._begin = np.searchsorted(hashes, edges)
        self._ambiguous = bool(_ties(hashes).any())

    def compares(self, kind: pa.DataType) -> bool:
        """Whether values of an Arrow type can be among those known."""
        return bool(pa.types.is_string(kind))

    def places(self, array: pa.Array) -> np.ndarray:
        """Where each text of an Arrow column stands, and -1 for those that are not known or missing."""
        if self._ambiguous or not len(self._texts):
            known = self._texts.arrow.cast(array.type)
            return np.asarray(pc.index_in(array, known, skip_nulls=True).fill_null(-1)).astype(np.int64)
        texts = Texts.of(array)
        places = self._order[self._find(texts.hashes)]
        there = self._texts.same(places, texts)
        if array.null_count:
            there &= np.asarray(array.is_valid())
        return np.where(there, places, -1)

    def _find(self, hashes: np.ndarray) -> np.ndarray:
        """The first of the sorted hashes that is not smaller."""
        at = self._begin[hashes >> self._shift]
        behind = np.flatnonzero(self._hashes[at] < hashes)
        while len(behind):
            at[behind] += 1
            behind = behind[self._hashes[at[behind]] < hashes[behind]]
        return at


def _mixed(x: np.ndarray) -> np.ndarray:
    x *= _ODD
    x ^= x >> _HALF
    x *= _ODD
    return x


def _ties(values: np.ndarray) -> np.ndarray:
    """Whether each but the first equals the one before."""
    return np.asarray(values[1:] == values[:-1])
