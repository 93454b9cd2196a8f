"""Vectors of words that tell their neighbours from other words: skip-gram with negative samples.

After Mikolov, Sutskever, Chen, Corrado and Dean (2013), "Distributed representations of words and phrases and
their compositionality". Each rank takes steps over its own documents; every so often the vectors become the
means of those of all ranks, each weighted by how many steps it took with the word. A mean lies between what
it is the mean of, so more ranks take no vector farther.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from outgrow._optional import optional
from outgrow.engine.context import FitContext
from outgrow.engine.memory import Store
from outgrow.errors import DataError, MissingExtraError
from outgrow.ml.feature_extraction.documents import Documents

PART = 1 << 14
"""Words whose pairs are made at once."""
_MERGES = 10
"""Of the vectors of several ranks, in each pass over the documents."""
_NOISE = 1 << 20
"""Words from which those are drawn that a word is told from, and for each word so many at least."""
_NOISE_OF_A_WORD = 16
_WORTH = 1 << 26
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

    def vectors(self, run: FitContext, documents: Store[Documents], counts: np.ndarray) -> np.ndarray:
        """The vectors of words.

        Parameters
        ----------
        run : the fit; the vectors of its ranks are merged.
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
        pairs = _Pairs.of(self, counts)
        steps = _steps(counts.sum() * self.window * (1 + self.negative) * self.vector_size * self.epochs)
        both = self._start(len(counts))
        merges = 1 if run.comm.size == 1 else _MERGES
        with np.errstate(over="ignore", invalid="ignore"):
            for turn in range(self.epochs * merges):
                random = np.random.default_rng([self.seed, turn, run.comm.rank])
                places = np.array_split(np.arange(len(documents)), merges)[turn % merges]
                before = tuple(part.copy() for part in both) if merges > 1 else both
                taken = np.zeros((2, len(counts)), dtype=np.float32)
                for done, place in enumerate(places):
                    share = (turn + done / len(places)) / (self.epochs * merges)
                    words, others, negatives = pairs.draw(documents.get(place), random)
                    steps(words, others, negatives, self._alpha(share), *both)
                    taken += _counted(len(counts), words, others, negatives)
                if merges > 1:
                    both = _merged(run, before, both, taken)
                if (turn + 1) % merges == 0:
                    run.tell("epoch", (turn + 1) // merges, self.epochs)
        if not np.isfinite(both[0]).all():
            raise DataError(
                f"Word2Vec(alpha={self.alpha!r}): the vectors grew without end. Give a smaller alpha."
            )
        return both[0]

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
    store.extend([store.hold(part, part.nbytes)] for documents in found for part in documents.cut(PART))
    return store


def _counted(count: int, words: np.ndarray, others: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """How many steps are taken with each word, and with each as a neighbour; shape (2, count)."""
    beside = np.bincount(others, minlength=count) + np.bincount(negatives.ravel(), minlength=count)
    return np.stack([np.bincount(words, minlength=count), beside]).astype(np.float32)


def _merged(
    run: FitContext, before: tuple[np.ndarray, ...], both: tuple[np.ndarray, ...], taken: np.ndarray
) -> tuple[np.ndarray, ...]:
    """The means of the vectors of all ranks, weighted by the steps each took with a word.

    Parameters
    ----------
    run : the fit.
    before : the vectors that all ranks had.
    both : those this rank has made of them.
    taken : shape (2, words), its steps.
    """
    own = [(new - old) * steps[:, None] for old, new, steps in zip(before, both, taken, strict=True)]
    *moved, total = run.call(lambda: run.combine((*own, taken)))
    return tuple(
        old + far / np.maximum(steps, 1)[:, None]
        for old, far, steps in zip(before, moved, total, strict=True)
    )


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
        np.add.at(vectors, own, np.einsum("ik,ikd->id", slopes, there))
        np.add.at(contexts, beside, slopes[:, :, None] * here[:, None, :])
