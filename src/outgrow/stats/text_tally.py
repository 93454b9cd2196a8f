"""How often texts occur: exactly while they are few, and exactly for the frequent ones when they are many.

Texts of which there are too many are counted in buckets of their hashes first. A frequent text lies in
buckets that are full; those that do are counted by themselves in a second pass. What remains is the same
whatever the order of the rows and wherever they are cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from outgrow.stats.state import State

MOST = 4_096
"""Different texts that are all known."""
_ROWS, _BITS = 4, 14


@dataclass(frozen=True, eq=False)
class TextTally(State):
    """Texts with their counts; past `most` different ones, the counts of buckets in their place.

    Attributes
    ----------
    hashes : uint64, one for each text, ascending.
    counts : int64 of as many.
    texts : in the same order.
    missing : values without a text.
    most : how many are known by themselves.
    buckets : int64 of shape (4, 16384): counts by parts of the hash; None while all texts are known.
    """

    hashes: np.ndarray
    counts: np.ndarray
    texts: list[str]
    missing: int = 0
    most: int = MOST
    buckets: np.ndarray | None = None

    @classmethod
    def of(
        cls, hashes: np.ndarray, counts: np.ndarray, texts: Sequence[str], missing: int = 0, most: int = MOST
    ) -> TextTally:
        """The tally of texts, of which some may stand there twice.

        Parameters
        ----------
        hashes, counts, texts : one for each.
        missing : how many values have no text.
        most : how many different ones are known by themselves.
        """
        once, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        sums = np.zeros(len(once), dtype=np.int64)
        np.add.at(sums, inverse, counts)
        there = sums > 0
        once, sums, first = once[there], sums[there], first[there]
        if len(once) > most:
            return cls.bucketed(once, sums, missing, most)
        return cls(once, sums, [texts[index] for index in first.tolist()], missing, most)

    @classmethod
    def bucketed(cls, hashes: np.ndarray, counts: np.ndarray, missing: int, most: int = MOST) -> TextTally:
        """Counts of buckets alone.

        Parameters
        ----------
        hashes, counts : one for each text.
        missing : how many values have no text.
        most : how many different texts are known by themselves.
        """
        none = np.zeros(0, dtype=np.uint64)
        size = 1 << _BITS
        buckets = np.stack([np.bincount(row, counts, size) for row in _rows(hashes)]).astype(np.int64)
        return cls(none, none.astype(np.int64), [], missing, most, buckets)

    def merge(self, other: TextTally) -> TextTally:
        missing = self.missing + other.missing
        if self.buckets is None and other.buckets is None:
            hashes = np.concatenate([self.hashes, other.hashes])
            counts = np.concatenate([self.counts, other.counts])
            return TextTally.of(hashes, counts, [*self.texts, *other.texts], missing, self.most)
        left, right = self._buckets(), other._buckets()
        return replace(self._buckets_alone(), missing=missing, buckets=left + right)

    def _buckets(self) -> np.ndarray:
        if self.buckets is not None:
            return self.buckets
        buckets = TextTally.bucketed(self.hashes, self.counts, 0).buckets
        assert buckets is not None
        return buckets

    def _buckets_alone(self) -> TextTally:
        none = np.zeros(0, dtype=np.uint64)
        return TextTally(none, none.astype(np.int64), [], 0, self.most)

    @property
    def complete(self) -> bool:
        """Whether all texts are known."""
        return self.buckets is None

    @property
    def total(self) -> int:
        """How many values have a text."""
        return int(self.counts.sum() if self.buckets is None else self.buckets[0].sum())

    def full(self, share: float) -> Buckets:
        """The buckets that hold at least a share of the values.

        Parameters
        ----------
        share : texts that are as frequent lie in them.
        """
        buckets = self._buckets()
        return Buckets(buckets >= max(1.0, share * self.total))

    def by_count(self) -> list[tuple[str, int]]:
        """Texts with their counts, the most frequent first, equally frequent ones by their text."""
        pairs = zip(self.texts, self.counts.tolist(), strict=True)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


@dataclass(frozen=True, eq=False)
class Buckets:
    """Which buckets count: boolean of shape (4, 16384)."""

    full: np.ndarray

    def holds(self, hashes: np.ndarray) -> np.ndarray:
        """Whether texts with these hashes may be frequent."""
        inside = np.ones(len(hashes), dtype=bool)
        for row, full in zip(_rows(hashes), self.full, strict=True):
            inside &= full[row]
        return inside


def _rows(hashes: np.ndarray) -> list[np.ndarray]:
    mask = np.uint64((1 << _BITS) - 1)
    return [((hashes >> np.uint64(row * _BITS)) & mask).astype(np.intp, copy=False) for row in range(_ROWS)]


@dataclass(frozen=True, eq=False)
class LeastTexts(State):
    """The texts with the least hashes, with their counts: some examples of many, the same for any order.

    Attributes
    ----------
    hashes, counts, texts : as in `TextTally`, at most `most`.
    """

    hashes: np.ndarray
    counts: np.ndarray
    texts: list[str]
    most: int = 20

    @classmethod
    def of(cls, hashes: np.ndarray, counts: np.ndarray, texts: Sequence[str], most: int = 20) -> LeastTexts:
        """The examples of some texts, which may stand there twice.

        Parameters
        ----------
        hashes, counts, texts : one for each.
        most : how many are kept.
        """
        tally = TextTally.of(hashes, counts, texts, most=max(most, len(hashes)))
        return cls(tally.hashes[:most], tally.counts[:most], tally.texts[:most], most)

    def by_count(self) -> list[tuple[str, int]]:
        """Texts with their counts, the most frequent first, equally frequent ones by their text."""
        pairs = zip(self.texts, self.counts.tolist(), strict=True)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))

    @classmethod
    def empty(cls) -> LeastTexts:
        """None of any."""
        none = np.zeros(0, dtype=np.uint64)
        return cls(none, none.astype(np.int64), [])

    def merge(self, other: LeastTexts) -> LeastTexts:
        return LeastTexts.of(
            np.concatenate([self.hashes, other.hashes]),
            np.concatenate([self.counts, other.counts]),
            [*self.texts, *other.texts],
            self.most,
        )
