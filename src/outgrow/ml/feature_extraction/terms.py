"""The terms of documents as numbers: each text once, and which of them every occurrence is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from outgrow.stats.texts import Texts


@dataclass(frozen=True, eq=False)
class Terms:
    """The terms of some documents.

    Attributes
    ----------
    texts : each term once.
    codes : int of shape (occurrences,), the place of each occurrence in `texts`.
    rows : int of shape (occurrences,), the document of each, counted from 0.
    count : how many documents there are.
    """

    texts: Texts
    codes: np.ndarray
    rows: np.ndarray
    count: int

    @classmethod
    def of(cls, texts: Texts, rows: np.ndarray, count: int) -> Terms:
        """The terms of documents.

        Parameters
        ----------
        texts : every occurrence.
        rows : the document of each.
        count : how many documents there are.
        """
        first, codes = texts.codes()
        return cls(texts.take(first), codes, rows, count)

    @classmethod
    def of_lists(cls, lists: pa.Array) -> Terms:
        """The items of lists of text; missing lists have none, missing items are left out."""
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
        items, rows = lists.flatten(), np.repeat(np.arange(len(lists)), lengths)
        if items.null_count:
            rows, items = rows[np.asarray(items.is_valid())], items.drop_null()
        return cls.of(Texts.of(items), rows, len(lists))

    @classmethod
    def beside(cls, parts: Sequence[Terms]) -> Terms:
        """All terms of several; those of a document need not stand together.

        Parameters
        ----------
        parts : at least one; each of the same documents.
        """
        if len(parts) == 1:
            return parts[0]
        joined = _joined([part.texts for part in parts])
        first, same = joined.codes()
        starts = np.cumsum([0, *(len(part.texts) for part in parts[:-1])])
        codes = [same[start + part.codes] for start, part in zip(starts, parts, strict=True)]
        rows = np.concatenate([part.rows for part in parts])
        return cls(joined.take(first), np.concatenate(codes), rows, parts[0].count)

    @cached_property
    def words(self) -> list[str]:
        """The texts as Python has them."""
        words: list[str] = self.texts.arrow.to_pylist()
        return words

    def only(self, kept: np.ndarray) -> Terms:
        """The occurrences of some texts.

        Parameters
        ----------
        kept : boolean of shape (texts,).
        """
        if kept.all():
            return self
        there = kept[self.codes]
        codes = (np.cumsum(kept) - 1)[self.codes[there]]
        return Terms(self.texts.take(np.flatnonzero(kept)), codes, self.rows[there], self.count)

    def take(self, documents: np.ndarray) -> Terms:
        """The terms of documents at some places, in this order; -1 is one without terms.

        Parameters
        ----------
        documents : int of shape (n,). The terms of each must stand together here.
        """
        ends = np.append(np.searchsorted(self.rows, np.arange(self.count + 1)), [0, 0])
        starts, lengths = ends[documents], ends[documents + 1] - ends[documents]
        lengths[documents < 0] = 0
        rows = np.repeat(np.arange(len(documents)), lengths)
        places = np.arange(len(rows)) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
        return Terms(self.texts, self.codes[places], rows, len(documents))

    def ngrams(self, low: int, high: int, join: str = " ", *, whole: bool = False) -> Terms:
        """Runs of neighbours, joined.

        Parameters
        ----------
        low, high : how many neighbours make a term, at least and at most.
        join : what stands between them.
        whole : a document of fewer than `low` terms is one term as it is.
        """
        if low == high == 1:
            return self
        at, order, parts = np.arange(len(self.codes)), 1, list[Terms]()
        runs, lengths = self, np.bincount(self.rows, minlength=self.count) if whole else None
        while True:
            if order >= low:
                parts.append(runs)
            elif lengths is not None:
                alone = lengths[runs.rows] == order
                parts.append(replace(runs, codes=runs.codes[alone], rows=runs.rows[alone]))
            if order == high:
                return Terms.beside(parts)
            at, runs = self._longer(at, order, runs, join)
            order += 1

    def _longer(self, at: np.ndarray, order: int, runs: Terms, join: str) -> tuple[np.ndarray, Terms]:
        """Runs of one neighbour more, and where each begins."""
        inside = at + order < len(self.codes)
        inside[inside] = self.rows[at[inside]] == self.rows[at[inside] + order]
        at, width = at[inside], max(1, len(self.texts))
        keys = runs.codes[inside].astype(np.int64) * width + self.codes[at + order]
        encoded = pa.array(keys).dictionary_encode()
        begin, end = np.divmod(encoded.dictionary.to_numpy(), width)
        heads, tails = runs.texts.arrow.take(pa.array(begin)), self.texts.arrow.take(pa.array(end))
        texts = Texts.of(pc.binary_join_element_wise(heads, tails, pa.scalar(join, heads.type)))
        return at, Terms(texts, encoded.indices.to_numpy(), self.rows[at], self.count)

    def counted(self, places: np.ndarray, width: int, signs: np.ndarray | None = None) -> Any:
        """How often each document has the term of each column.

        Parameters
        ----------
        places : int of shape (texts,), the column of each text; -1 for none.
        width : how many columns there are.
        signs : int of shape (texts,), what an occurrence of each text counts, 1 or -1; all 1 by default.

        Returns
        -------
        CSR array of shape (count, width), the columns of each row sorted.
        """
        known = np.flatnonzero(places >= 0)
        columns, ranks = np.unique(places[known], return_inverse=True)
        rank = np.full(len(places), -1, dtype=np.int64)
        rank[known] = 2 * ranks + (0 if signs is None else signs[known] < 0)
        codes, rows = rank[self.codes], self.rows
        if len(known) < len(places):
            codes, rows = codes[codes >= 0], rows[codes >= 0]
        span = 2 * max(1, len(columns))
        keys = codes + rows * span
        keys = np.sort(keys.astype(np.uint32) if self.count * span < 1 << 32 else keys)
        cells = keys >> 1
        first = np.flatnonzero(np.diff(cells, prepend=cells[:1] + 1)) if len(keys) else np.zeros(0, np.int64)
        made = cells[first]
        begins = (np.arange(self.count + 1) * (span // 2)).astype(made.dtype)
        ends = np.searchsorted(made, begins)
        made_columns = made - np.repeat(begins[:-1], np.diff(ends))
        if signs is None:
            values = np.diff(first, append=len(keys)).astype(np.float64)
        else:
            values = np.add.reduceat(1.0 - 2 * (keys & 1), first) if len(first) else np.zeros(0)
        kind = np.int32 if max(len(values), width) < 2**31 else np.int64
        parts = (values, columns[made_columns].astype(kind), ends.astype(kind))
        return sp.csr_array(parts, shape=(self.count, width))

    def lists(self, missing: np.ndarray | None = None) -> pa.Array:
        """The terms of each document as a list.

        Parameters
        ----------
        missing : boolean of shape (count,), which lists are missing; none by default.
        """
        ends = np.searchsorted(self.rows, np.arange(self.count + 1)).astype(np.int32)
        items = self.texts.arrow.take(pa.array(self.codes)).cast(pa.string())
        mask = None if missing is None or not missing.any() else pa.array(missing)
        return pa.ListArray.from_arrays(pa.array(ends), items, mask=mask)


def _joined(parts: Sequence[Texts]) -> Texts:
    ends = np.concatenate([[0], *(part.ends[1:] - part.ends[:-1] for part in parts)]).cumsum()
    return Texts(np.concatenate([part.letters for part in parts]), ends)
