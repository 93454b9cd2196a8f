"""Steps of Bayesian personalised ranking (Rendle et al. 2009) over pairs of users and items they liked.

Each pass draws as many liked pairs as there are, and for each an item that its user did not like. What is
drawn follows from the sorted pairs, the seed and the number of the pass alone. Steps of a small batch are
taken at once, so compiled code and NumPy take the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from outgrow._optional import optional
from outgrow.data.hashing import mix, seeded
from outgrow.errors import MissingExtraError

TRIES = 16
"""How often an item is drawn that the user should not like; then the pair waits for another pass."""
COMPILED_FROM = 1 << 22
"""Products of factors in a fit that are worth the time it takes to load compiled code."""
_SMALLEST, _LARGEST = 16, 256
"""Pairs of a batch: few beside users and items, so that seldom one is in several, whose steps add up."""

Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class LikedPairs:
    """Who liked what, each pair once, sorted by user and item.

    Attributes
    ----------
    users, items : numbers of keys, int32 of shape (pairs,).
    ends : int64 of shape (users + 1,), where the pairs of each user begin.
    sizes : how many users and items there are.
    """

    users: np.ndarray
    items: np.ndarray
    ends: np.ndarray
    sizes: tuple[int, int]

    @classmethod
    def of(cls, users: np.ndarray, items: np.ndarray, sizes: tuple[int, int]) -> LikedPairs:
        """From numbers of users and items in any order, pairs several times.

        Parameters
        ----------
        users, items : of shape (rows,).
        sizes : how many users and items there are.
        """
        pairs = np.unique(users.astype(np.int64) * sizes[1] + items)
        own = (pairs // sizes[1]).astype(np.int32)
        ends = np.searchsorted(own, np.arange(sizes[0] + 1))
        return cls(own, (pairs % sizes[1]).astype(np.int32), ends, sizes)

    def drawn(self, seed: int, turn: int) -> Drawn:
        """Users, items they liked, and items they did not like, for one pass; int32, at most one a pair.

        Parameters
        ----------
        seed : another one draws others.
        turn : the number of the pass.
        """
        count, (_, items) = len(self.users), self.sizes
        hashes = seeded(np.arange(count, dtype=np.uint64), seed << 31 | turn)
        chosen = (hashes % np.uint64(count)).astype(np.int64)
        users, others = self.users[chosen], np.full(count, -1, np.int32)
        waiting, known = np.arange(count), self._codes
        for _ in range(TRIES):
            hashes = mix(hashes)
            found = (hashes % np.uint64(items)).astype(np.int32)
            codes = users[waiting].astype(np.int64) * items + found
            liked = known[np.minimum(np.searchsorted(known, codes), count - 1)] == codes
            others[waiting[~liked]] = found[~liked]
            waiting, hashes = waiting[liked], hashes[liked]
        kept = others >= 0
        return users[kept], self.items[chosen][kept], others[kept]

    @property
    def _codes(self) -> np.ndarray:
        """A number for each pair, ascending."""
        return self.users.astype(np.int64) * self.sizes[1] + self.items


@dataclass(frozen=True)
class Ranking:
    """How factors are learned; the fields are parameters of `BPR`."""

    alpha: float
    learning_rate: float
    max_iter: int
    seed: int

    def learned(
        self, pairs: LikedPairs, users: np.ndarray, items: np.ndarray, told: Callable[[int, float], None]
    ) -> float:
        """Change factors by all passes; the mean logistic loss of the last one.

        Parameters
        ----------
        pairs : who liked what.
        users : of shape (users, k + 1), whose last column is 1 and stays.
        items : of shape (items, k + 1), whose last column are biases.
        told : is called after each pass with its number and mean loss.
        """
        compiled = len(pairs.users) * items.shape[1] * self.max_iter >= COMPILED_FROM
        kernels = _kernels() if compiled else None
        batch = int(np.clip(min(pairs.sizes) // 4, _SMALLEST, _LARGEST))
        mean = float("nan")
        for turn in range(self.max_iter):
            if kernels is None:
                drawn, step = pairs.drawn(self.seed, turn), in_batches
            else:
                drawn, step = _drawn_compiled(kernels, pairs, self.seed, turn), kernels.in_batches
            if len(drawn[0]):
                loss = step(*drawn, batch, self.learning_rate, self.alpha, users, items)
                mean = float(loss) / len(drawn[0])
            told(turn + 1, mean)
        return mean


def in_batches(
    own: np.ndarray,
    liked: np.ndarray,
    others: np.ndarray,
    batch: int,
    rate: float,
    alpha: float,
    users: np.ndarray,
    items: np.ndarray,
) -> float:
    """Take the steps of triples, so many at once; the sum of their losses before those.

    Parameters
    ----------
    own, liked, others : a user, an item they liked and one they did not, of shape (triples,).
    batch : how many at once.
    rate : how far steps go.
    alpha : the weight of squared factors.
    users, items : factors, which change; the last column of those of users does not.
    """
    total = 0.0
    for start in range(0, len(own), batch):
        part = slice(start, start + batch)
        of_user, of_liked, of_other = users[own[part]], items[liked[part]], items[others[part]]
        apart = of_liked - of_other
        ahead = np.einsum("nk,nk->n", of_user, apart)
        pull = expit(-ahead)[:, None]
        total += float(np.logaddexp(0.0, -ahead).sum())
        change = rate * (pull * apart - alpha * of_user)
        change[:, -1] = 0.0
        _add(users, own[part], change)
        up, down = pull * of_user - alpha * of_liked, -pull * of_user - alpha * of_other
        _add(items, np.concatenate([liked[part], others[part]]), rate * np.concatenate([up, down]))
    return total


def _add(rows: np.ndarray, places: np.ndarray, changes: np.ndarray) -> None:
    """Add changes to rows, of which some may be there several times."""
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    rows[ordered[begins]] += np.add.reduceat(changes[order], begins)


def _drawn_compiled(kernels: Any, pairs: LikedPairs, seed: int, turn: int) -> Drawn:
    """The same as `LikedPairs.drawn`."""
    count = len(pairs.users)
    hashes = seeded(np.arange(count, dtype=np.uint64), seed << 31 | turn)
    made = tuple(np.empty(count, np.int32) for _ in range(3))
    kept = kernels.drawn(hashes, pairs.users, pairs.items, pairs.ends, pairs.sizes[1], TRIES, *made)
    users, items, others = (column[:kept] for column in made)
    return users, items, others


def _kernels() -> Any:
    """The compiled steps, where Numba is there; else None."""
    try:
        optional("numba", "fast")
    except MissingExtraError:
        return None
    from outgrow.ml.recommendation import liked_pairs_kernels

    return liked_pairs_kernels
