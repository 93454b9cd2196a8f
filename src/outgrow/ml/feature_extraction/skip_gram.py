"""Vectors of words that tell their neighbours from other words: skip-gram with negative samples.

After Mikolov, Sutskever, Chen, Corrado and Dean (2013), "Distributed representations of words and phrases and
their compositionality". One rank takes steps over all documents, in an order that their words decide, so that
neither ranks nor the order of rows change a vector. Where that would take too long each rank takes steps over
its own; every so often the vectors become the means of those of all ranks, each weighted by how many steps it
took with the word. A mean lies between what it is the mean of, so more ranks take no vector farther.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import expit

from outgrow._optional import optional
from outgrow.engine.context import FitContext
from outgrow.engine.memory import Store
from outgrow.errors import DataError, MissingExtraError
from outgrow.ml.feature_extraction.documents import Documents

OF_ONE_RANK = 1 << 24
"""Words of all documents up to which one rank takes all steps."""
_PART = 1 << 14
"""Words whose pairs are made at once."""
_MERGES = 10
"""Of the vectors of several ranks, in each pass over the documents."""
_NOISE = 1 << 20
"""Words from which those are drawn that a word is told from, and for each word so many at least."""
_NOISE_OF_A_WORD = 16
_WORTH = 1 << 23
"""So many products of numbers are worth the time it takes to load what was compiled."""
_BATCH = 512
"""Pairs of which NumPy takes one step, at most; a word that is there often would move too far."""

Steps = Callable[[np.ndarray, np.ndarray, np.ndarray, float, np.ndarray, np.ndarray], None]
"""Takes steps: words, their neighbours, negative samples of each pair, how far, vectors and those of
neighbours, which change."""


@dataclass(frozen=True)
class SkipGram:
    """How vectors are learned; the fields are parameters of `Word2Vec`."""

    vector_size: int
    window: int
    epochs: int
    negative: int
    sample: float
    alpha: float
    min_alpha: float
    ns_exponent: float
    seed: int

    def of_one_rank(self, run: FitContext, documents: Documents, counts: np.ndarray) -> np.ndarray:
        """The vectors of words, the same for the same documents on any number of ranks and in any order.

        Parameters
        ----------
        run : the fit; its first rank takes the steps, the others wait.
        documents : of all ranks.
        counts : shape (words,), how often each word is there.

        Returns
        -------
        float32 of shape (words, vector_size).

        Raises
        ------
        DataError
            When steps are so long that vectors overflow.
        """
        own: Any = None
        if run.comm.rank == 0:
            own = self._learned(run, parts(iter([documents.ordered()]), run), counts, merges=1)
        return self._finite(run.call(lambda: run.combine(own)))

    def of_ranks(self, run: FitContext, documents: Store[Documents], counts: np.ndarray) -> np.ndarray:
        """The vectors of words: means of what ranks learn, each from its own documents.

        Parameters
        ----------
        run : the fit.
        documents : of this rank, in parts.
        counts : shape (words,), how often each word is there on all ranks.

        Returns
        -------
        float32 of shape (words, vector_size).

        Raises
        ------
        DataError
            When steps are so long that vectors overflow.
        """
        merges = 1 if run.comm.size == 1 else _MERGES
        return self._finite(self._learned(run, documents, counts, merges))

    @np.errstate(over="ignore", invalid="ignore")
    def _learned(
        self, run: FitContext, documents: Store[Documents], counts: np.ndarray, merges: int
    ) -> np.ndarray:
        """The vectors; `merges` of the vectors of all ranks in each pass, with 1 none."""
        pairs = _Pairs.of(self, counts)
        steps = _steps(counts.sum() * self.window * (1 + self.negative) * self.vector_size * self.epochs)
        both = self._start(len(counts))
        turns = self.epochs * merges
        for turn in range(turns):
            random = np.random.default_rng([self.seed, turn, run.comm.rank])
            places = np.array_split(np.arange(len(documents)), merges)[turn % merges]
            moves = _Moves(both) if merges > 1 else None
            for done, place in enumerate(places):
                run.comm.check()
                drawn = pairs.draw(documents.get(place), random)
                steps(*drawn, self._alpha((turn + done / len(places)) / turns), *both)
                if moves is not None:
                    moves.count(*drawn)
            if moves is not None:
                both = moves.merged(run, both)
            if (turn + 1) % merges == 0:
                run.tell("epoch", (turn + 1) // merges, self.epochs)
        return both[0]

    def _finite(self, vectors: np.ndarray) -> np.ndarray:
        if np.isfinite(vectors).all():
            return vectors
        raise DataError(
            f"Word2Vec(alpha={self.alpha!r}): the vectors grew without end. Give a smaller alpha."
        )

    def _start(self, words: int) -> tuple[np.ndarray, ...]:
        """The vectors of words and those of neighbours at first, the same on every rank."""
        size = words, self.vector_size
        drawn = np.random.default_rng(self.seed).random(size, dtype=np.float32)
        return (drawn - np.float32(0.5)) / np.float32(self.vector_size), np.zeros_like(drawn)

    def _alpha(self, share: float) -> float:
        """How long steps are when such a share of them is taken."""
        return self.alpha - (self.alpha - self.min_alpha) * share


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Draws pairs of neighbours.

    Attributes
    ----------
    kept : shape (words,), the share of each word's occurrences that is kept.
    noise : the words from which negative samples are drawn, each as often as is fit.
    """

    window: int
    negative: int
    kept: np.ndarray
    noise: np.ndarray

    @classmethod
    def of(cls, how: SkipGram, counts: np.ndarray) -> _Pairs:
        limit = how.sample * counts.sum()
        kept = (np.sqrt(counts / limit) + 1) * (limit / counts) if limit > 0 else np.ones(len(counts))
        size = max(_NOISE, _NOISE_OF_A_WORD * len(counts))
        ends = np.cumsum(counts**how.ns_exponent)
        noise = np.searchsorted(ends, (np.arange(size) + 0.5) * (ends[-1] / size)).astype(np.int32)
        return cls(how.window, how.negative, kept, noise)

    def draw(
        self, documents: Documents, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Words, neighbours, and of each pair the words from which the neighbour is told."""
        documents = documents.only(random.random(len(documents.codes)) < self.kept[documents.codes])
        words, others = documents.pairs(random.integers(1, self.window + 1, len(documents.codes)))
        drawn = random.integers(0, len(self.noise), (len(words), self.negative), dtype=np.int32)
        return words, others, self.noise[drawn]


def parts(found: Iterator[Documents], run: FitContext) -> Store[Documents]:
    """Documents to be read again and again, in parts.

    Parameters
    ----------
    found : those of this rank.
    run : has the memory to hold them.
    """
    store: Store[Documents] = Store(run.memory)
    store.extend([store.hold(part, part.nbytes)] for documents in found for part in documents.cut(_PART))
    return store


class _Moves:
    """What this rank does to vectors between two merges.

    Parameters
    ----------
    both : vectors and those of neighbours, as all ranks have them.
    """

    def __init__(self, both: tuple[np.ndarray, ...]) -> None:
        self._before = tuple(part.copy() for part in both)
        self._steps = np.zeros((2, len(both[0])), dtype=np.float32)

    def count(self, words: np.ndarray, others: np.ndarray, negatives: np.ndarray) -> None:
        """Note a step with each word, and with each as a neighbour."""
        own, beside = self._steps
        own += np.bincount(words, minlength=len(own))
        beside += np.bincount(np.append(others, negatives), minlength=len(own))

    def merged(self, run: FitContext, both: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        """The means of the vectors of all ranks, weighted by the steps each took with a word.

        Parameters
        ----------
        run : the fit.
        both : the vectors as this rank has made them.
        """
        moved = [(new - old) * steps[:, None] for old, new, steps in self._of(both, self._steps)]
        *sums, total = run.call(lambda: run.combine((*moved, self._steps)))
        return tuple(old + far / np.maximum(steps, 1)[:, None] for old, far, steps in self._of(sums, total))

    def _of(self, both: Iterable[np.ndarray], steps: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        return zip(self._before, both, steps, strict=True)


def _steps(products: float) -> Steps:
    """What takes steps: compiled, where that is worth it and Numba is installed, else NumPy."""
    if products < _WORTH:
        return batched
    try:
        optional("numba", "fast")
    except MissingExtraError:
        return batched
    from outgrow.ml.feature_extraction import skip_gram_kernels

    return skip_gram_kernels.one_by_one


def batched(
    words: np.ndarray,
    others: np.ndarray,
    negatives: np.ndarray,
    alpha: float,
    vectors: np.ndarray,
    contexts: np.ndarray,
) -> None:
    """Take one step for some pairs at a time.

    Parameters
    ----------
    words, others : int of shape (pairs,).
    negatives : int of shape (pairs, negative).
    alpha : how long steps are.
    vectors, contexts : float32 of shape (words, vector_size), to be changed.
    """
    targets = np.concatenate([others[:, None], negatives], axis=1)
    size = min(_BATCH, max(16, len(vectors)))
    for start in range(0, len(words), size):
        own, beside = words[start : start + size], targets[start : start + size]
        here, there = vectors[own], contexts[beside]
        slopes = -expit(np.einsum("id,ikd->ik", here, there))
        slopes[:, 1:][beside[:, 1:] == beside[:, :1]] = 0
        slopes[:, 0] += 1
        slopes *= alpha
        _add(vectors, own, np.ones_like(slopes[:, 0]), np.einsum("ik,ikd->id", slopes, there))
        _add(contexts, beside, slopes, here)


def _add(vectors: np.ndarray, places: np.ndarray, factors: np.ndarray, changes: np.ndarray) -> None:
    """Add multiples of changes to vectors, to some of them more than once.

    Parameters
    ----------
    vectors : to be changed.
    places, factors : shape (changes,) or (changes, several), which vectors, and how much of a change.
    changes : shape (changes, vector_size).
    """
    order = np.argsort(places, axis=None, kind="stable")
    rows = places.ravel()[order]
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    sums = factors.ravel()[order], order // (len(order) // len(changes)), np.append(first, len(rows))
    vectors[rows[first]] += sp.csr_array(sums, shape=(len(first), len(changes))) @ changes
