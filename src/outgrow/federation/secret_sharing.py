"""Shares of a secret, of which some are needed to know it, and fewer tell nothing (Shamir 1979)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping

PRIME = 2**521 - 1
"""Secrets are numbers below it: 65 bytes at most."""


def shares(secret: int, threshold: int, holders: Iterable[int]) -> dict[int, int]:
    """A share for each holder.

    Parameters
    ----------
    secret : from 0, below `PRIME`.
    threshold : how many shares are needed.
    holders : their numbers, from 1, each once.

    Examples
    --------
    >>> parts = shares(42, 2, [1, 2, 3])
    >>> recovered({1: parts[1], 3: parts[3]})
    42
    """
    assert 0 <= secret < PRIME
    coefficients = [secret, *(secrets.randbelow(PRIME) for _ in range(threshold - 1))]
    return {holder: _value(coefficients, holder) for holder in holders}


def recovered(held: Mapping[int, int]) -> int:
    """The secret of which these are shares; some number where there are too few.

    Parameters
    ----------
    held : shares by the number of their holder.
    """
    total = 0
    for holder, share in held.items():
        above, below = 1, 1
        for other in held:
            if other != holder:
                above = above * -other % PRIME
                below = below * (holder - other) % PRIME
        total += share * above * pow(below, -1, PRIME)
    return total % PRIME


def _value(coefficients: list[int], at: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * at + coefficient) % PRIME
    return value
