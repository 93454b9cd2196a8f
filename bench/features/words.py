"""Transformers of words and documents beside scikit-learn's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import sklearn.feature_extraction
import sklearn.feature_extraction.text
import sklearn.preprocessing

import outgrow as og
from bench.features.numbers import ROWS, beside
from bench.grids.cell import Cell

DOCUMENTS, VOCABULARY, LENGTH = 200_000, 50_000, 60


@lru_cache(1)
def column(categories: int = 1_000) -> np.ndarray:
    """A column of words, some of them often."""
    random = np.random.default_rng(categories)
    words = np.array([f"word{i}" for i in range(categories)], dtype=object)
    return words[np.minimum(random.zipf(1.3, ROWS), categories) - 1][:, None]


def labelled() -> tuple[np.ndarray, np.ndarray]:
    words = column()
    return words, np.random.default_rng(1).integers(0, 2, len(words))


@lru_cache(1)
def documents() -> list[str]:
    """Documents of about sixty words, whose frequencies fall as those of a language do."""
    random = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    lengths = random.integers(2, 11, VOCABULARY)
    words = np.array(["".join(letters[random.integers(0, 26, length)]) for length in lengths], dtype=object)
    counts = random.poisson(LENGTH, DOCUMENTS)
    drawn = words[np.minimum(random.zipf(1.2, counts.sum()), VOCABULARY) - 1]
    ends = np.cumsum(counts)
    return [" ".join(drawn[end - count : end]) for end, count in zip(ends, counts, strict=True)]


def few_documents() -> list[str]:
    return documents()[:20_000]


def records() -> list[dict[str, int]]:
    random = np.random.default_rng(0)
    names = [f"name{i}" for i in range(1_000)]
    return [{names[i]: int(i) for i in row} for row in random.integers(0, 1_000, (DOCUMENTS, 10)).tolist()]


def _cells() -> Iterator[Cell]:
    S, T = sklearn.preprocessing, sklearn.feature_extraction.text
    yield from beside("OrdinalEncoder, 1,000 words", column, lambda: og.OrdinalEncoder(), S.OrdinalEncoder)
    yield from beside("OneHotEncoder, 1,000 words", column, lambda: og.OneHotEncoder(), S.OneHotEncoder)
    yield from beside(
        "TargetEncoder, 1,000 words", labelled, lambda: og.TargetEncoder(), S.TargetEncoder, target=True
    )
    for name in ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer"):
        yield from beside(name, documents, lambda name=name: getattr(og, name)(), getattr(T, name))  # type: ignore[misc]
    yield from beside(
        "CountVectorizer of pairs of words, 20,000 documents",
        few_documents,
        lambda: og.CountVectorizer(ngram_range=(1, 2)),
        lambda: T.CountVectorizer(ngram_range=(1, 2)),
    )
    yield from beside(
        "TfidfVectorizer of characters, 20,000 documents",
        few_documents,
        lambda: og.TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4)),
        lambda: T.TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4)),
    )
    yield from beside(
        "FeatureHasher of dicts",
        records,
        lambda: og.FeatureHasher(),
        sklearn.feature_extraction.FeatureHasher,
    )


CELLS = tuple(_cells())
