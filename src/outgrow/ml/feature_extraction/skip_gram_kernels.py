"""Steps of skip-gram, one pair after the other, compiled by Numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from outgrow.ml.core.compiled import typed_kernel

_CODES, _NEGATIVES = types.int32[::1], types.int32[:, ::1]
_VECTORS = types.float32[:, ::1]


@typed_kernel(_CODES, _CODES, _NEGATIVES, types.float64, _VECTORS, _VECTORS, loose=("reassoc", "contract"))
def one_by_one(words: Any, others: Any, negatives: Any, alpha: Any, vectors: Any, contexts: Any) -> None:
    """Take a step for each pair.

    Parameters
    ----------
    words, others : of shape (pairs,).
    negatives : of shape (pairs, negative).
    alpha : how long steps are.
    vectors, contexts : of shape (words, vector_size), to be changed.
    """
    size = vectors.shape[1]
    change = np.empty(size, np.float32)
    for i in range(len(words)):
        own = vectors[words[i]]
        change[:] = 0
        for k in range(negatives.shape[1] + 1):
            target = others[i] if k == 0 else negatives[i, k - 1]
            if k > 0 and target == others[i]:
                continue
            beside = contexts[target]
            score = np.float32(0)
            for j in range(size):
                score += own[j] * beside[j]
            wanted = 1.0 if k == 0 else 0.0
            slope = np.float32(alpha * (wanted - 1.0 / (1.0 + np.exp(-np.float64(score)))))
            for j in range(size):
                change[j] += slope * beside[j]
                beside[j] += slope * own[j]
        for j in range(size):
            own[j] += change[j]
