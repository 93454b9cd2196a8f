"""Steps of Bayesian personalised ranking, compiled by Numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from outgrow.ml.core.compiled import typed_kernel

_HASHES = types.uint64[::1]
_CODES = types.int32[::1]
_ENDS = types.int64[::1]
_FACTORS = types.float64[:, ::1]


@typed_kernel(
    *(_HASHES, _CODES, _CODES, _ENDS, types.int64, types.int64, _CODES, _CODES, _CODES), returns=types.int64
)
def drawn(
    hashes: Any,
    users: Any,
    items: Any,
    ends: Any,
    count: Any,
    tries: Any,
    own: Any,
    liked: Any,
    others: Any,
) -> Any:
    """Draw liked pairs, and for each an item that its user did not like.

    Parameters
    ----------
    hashes : of shape (pairs,), which say what is drawn.
    users, items, ends : the fields of `LikedPairs`.
    count : how many items there are.
    tries : how often an item is drawn.
    own, liked, others : of shape (pairs,), to be filled.

    Returns
    -------
    How many are filled.
    """
    made = 0
    for at in range(len(hashes)):
        h = hashes[at]
        pair = h % np.uint64(len(users))
        user = users[pair]
        for _ in range(tries):
            h += np.uint64(0x9E3779B97F4A7C15)
            h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            h = h ^ (h >> np.uint64(31))
            other = np.int32(h % np.uint64(count))
            low, high = ends[user], ends[user + 1]
            while low < high:
                middle = (low + high) // 2
                if items[middle] < other:
                    low = middle + 1
                else:
                    high = middle
            if low == ends[user + 1] or items[low] != other:
                own[made], liked[made], others[made] = user, items[pair], other
                made += 1
                break
    return made


@typed_kernel(
    *(_CODES, _CODES, _CODES, types.int64, types.float64, types.float64, _FACTORS, _FACTORS),
    returns=types.float64,
    loose=("reassoc", "contract"),
)
def in_batches(
    own: Any, liked: Any, others: Any, batch: Any, rate: Any, alpha: Any, users: Any, items: Any
) -> Any:
    """Take the steps of triples, so many at once; the sum of their losses before those.

    Parameters
    ----------
    own, liked, others, batch, rate, alpha, users, items : as for `liked_pairs.in_batches`.
    """
    k = users.shape[1]
    before = np.empty((3 * batch, k))
    pulls = np.empty(batch)
    total = 0.0
    for start in range(0, len(own), batch):
        n = min(batch, len(own) - start)
        for s in range(n):
            user, up, down = users[own[start + s]], items[liked[start + s]], items[others[start + s]]
            of_user, of_up, of_down = before[3 * s], before[3 * s + 1], before[3 * s + 2]
            ahead = 0.0
            for f in range(k):
                ahead += user[f] * (up[f] - down[f])
                of_user[f], of_up[f], of_down[f] = user[f], up[f], down[f]
            small = np.exp(-abs(ahead))
            pulls[s] = small / (1.0 + small) if ahead > 0 else 1.0 / (1.0 + small)
            total += np.log1p(small) + max(-ahead, 0.0)
        for s in range(n):
            user, up, down = users[own[start + s]], items[liked[start + s]], items[others[start + s]]
            of_user, of_up, of_down = before[3 * s], before[3 * s + 1], before[3 * s + 2]
            pull = rate * pulls[s]
            shrink = rate * alpha
            for f in range(k - 1):
                user[f] += pull * (of_up[f] - of_down[f]) - shrink * of_user[f]
            for f in range(k):
                up[f] += pull * of_user[f] - shrink * of_up[f]
            for f in range(k):
                down[f] -= pull * of_user[f] + shrink * of_down[f]
    return total
