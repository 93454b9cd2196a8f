"""Documents as runs of the numbers of their words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

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

    @property
    def nbytes(self) -> int:
        return int(self.codes.nbytes + self.rows.nbytes)

    def cut(self, words: int) -> Iterator[Documents]:
        """Parts of so many words at most, wherever documents end."""
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
        reach : int of shape (words,), how far each reaches to either side, at least 1.
        """
        most, count = int(reach.max(initial=1)), len(self.codes)
        offsets = np.delete(np.arange(-most, most + 1), most)
        others = np.arange(count)[:, None] + offsets
        inside = (others >= 0) & (others < count) & (np.abs(offsets) <= reach[:, None])
        words, column = np.nonzero(inside)
        others = others[words, column]
        same = self.rows[words] == self.rows[others]
        return self.codes[words[same]], self.codes[others[same]]
