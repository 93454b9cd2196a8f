"""Documents as runs of the numbers of their words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from outgrow.data.hashing import mix
from outgrow.ml.feature_extraction.terms import Terms
from outgrow.stats.texts import TextIndex


@dataclass(frozen=True, eq=False)
class Documents:
    """The known words of some documents, in their order.

    Attributes
    ----------
    codes : int32 of shape (words,), which word each is.
    rows : int32 of the same shape, the document of each, rising.
    """

    codes: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, terms: Terms, index: TextIndex) -> Documents:
        """The documents with words that are not known left out, so that others become neighbours.

        Parameters
        ----------
        terms : in the order in which they stand in each document.
        index : finds the number of a word.
        """
        codes = index.places(terms.texts.arrow)[terms.codes]
        known = codes >= 0
        codes, rows = codes[known].astype(np.int32), terms.rows[known].astype(np.int32)
        if (rows[1:] < rows[:-1]).any():  # of several columns
            order = np.argsort(rows, kind="stable")
            codes, rows = codes[order], rows[order]
        return cls(codes, rows)

    @classmethod
    def of_lengths(cls, codes: np.ndarray, lengths: np.ndarray) -> Documents:
        """Documents one after the other.

        Parameters
        ----------
        codes : int32 of shape (words,), which word each is.
        lengths : int of shape (documents,), how many words each document has.
        """
        return cls(codes, np.repeat(np.arange(len(lengths), dtype=np.int32), lengths))

    @cached_property
    def starts(self) -> np.ndarray:
        """Where each document begins that has any words."""
        return np.flatnonzero(np.diff(self.rows, prepend=-1))

    @cached_property
    def lengths(self) -> np.ndarray:
        """How many words each document has that has any."""
        return np.diff(self.starts, append=len(self.codes))

    @property
    def nbytes(self) -> int:
        return int(self.codes.nbytes + self.rows.nbytes)

    def ordered(self) -> Documents:
        """The same documents in an order that their words alone decide."""
        if not len(self.codes):
            return self
        words = np.arange(len(self.codes)) - np.repeat(self.starts, self.lengths)
        terms = mix(words.astype(np.uint64) << np.uint64(32) | self.codes.astype(np.uint64))
        order = np.argsort(np.add.reduceat(terms, self.starts), kind="stable")
        lengths = self.lengths[order]
        moved = self.starts[order] - np.cumsum(lengths) + lengths
        return self.of_lengths(self.codes[np.arange(len(words)) + np.repeat(moved, lengths)], lengths)

    def cut(self, words: int) -> Iterator[Documents]:
        """Parts of so many words, whatever documents they are of; words of two parts are no neighbours."""
        for start in range(0, len(self.codes), words):
            at = slice(start, start + words)
            yield Documents(self.codes[at].copy(), self.rows[at].copy())

    def only(self, kept: np.ndarray) -> Documents:
        """Some of the words; `kept` is boolean of shape (words,)."""
        return Documents(self.codes[kept], self.rows[kept])

    def neighbours(self, apart: int) -> tuple[np.ndarray, np.ndarray]:
        """The words that stand so far apart in a document, as two arrays of numbers."""
        same = self.rows[apart:] == self.rows[:-apart]
        return self.codes[:-apart][same], self.codes[apart:][same]

    def pairs(self, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each word beside every one that it reaches, as two arrays of numbers.

        Parameters
        ----------
        reach : int of shape (words,), how far each reaches to either side.
        """
        place = np.arange(len(self.codes)) - np.repeat(self.starts, self.lengths)
        before = np.minimum(reach, place)
        counts = before + np.minimum(reach, np.repeat(self.lengths, self.lengths) - 1 - place)
        words = np.repeat(np.arange(len(self.codes)), counts)
        offsets = np.arange(len(words)) - np.repeat(np.cumsum(counts) - counts + before, counts)
        others = words + offsets + (offsets >= 0)
        return self.codes[words], self.codes[others]
