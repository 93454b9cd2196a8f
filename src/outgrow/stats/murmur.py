"""MurmurHash3 (Appleby 2011) of 32 bits, of many texts at once, as scikit-learn and Spark hash them."""

from __future__ import annotations

import numpy as np

from outgrow.stats.texts import Texts

_BLOCK = 4
"""Bytes that are hashed at once."""
_FIRST, _SECOND, _ADDED = np.uint32(0xCC9E2D51), np.uint32(0x1B873593), np.uint32(0xE6546B64)
_FIVE = np.uint32(5)
_REST = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF], dtype=np.uint32)


def murmur3(texts: Texts, seed: int) -> np.ndarray:
    """The hash of each text's bytes.

    Parameters
    ----------
    texts : in UTF-8.
    seed : 0 as scikit-learn has it, 42 as Spark has it.

    Returns
    -------
    int32 of shape (texts,).

    Examples
    --------
    >>> import pyarrow as pa
    >>> from outgrow.stats.texts import Texts
    >>> murmur3(Texts.of(pa.array(["foo", "naïve"])), 0).tolist()
    [-156908512, 992511445]
    """
    starts, lengths = texts.ends[:-1], np.diff(texts.ends)
    padded = np.concatenate([texts.letters, np.zeros(_BLOCK, np.uint8)])
    words = np.ndarray(len(texts.letters) + 1, "<u4", padded, strides=(1,))
    hashes = np.full(len(texts), seed, dtype=np.uint32)
    rows = np.arange(len(texts))
    for at in range(0, int(lengths.max(initial=0)) - _BLOCK + 1, _BLOCK):
        rows = rows[lengths[rows] >= at + _BLOCK]
        mixed = hashes[rows] ^ _scrambled(words[starts[rows] + at])
        hashes[rows] = _turned(mixed, 13) * _FIVE + _ADDED
    rest = lengths % _BLOCK
    hashes ^= _scrambled(words[starts + lengths - rest] & _REST[rest])
    hashes ^= lengths.astype(np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        hashes ^= hashes >> np.uint32(shift)
        hashes *= np.uint32(factor)
    hashes ^= hashes >> np.uint32(16)
    return hashes.view(np.int32)


def _scrambled(block: np.ndarray) -> np.ndarray:
    return _turned(block * _FIRST, 15) * _SECOND


def _turned(x: np.ndarray, bits: int) -> np.ndarray:
    turned: np.ndarray = (x << np.uint32(bits)) | (x >> np.uint32(32 - bits))
    return turned
