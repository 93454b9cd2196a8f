"""Damage for tests of what reads bytes: the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable

Damage = Callable[[bytearray, random.Random], None]
_SIZES = (0, 1, -1, 2**31 - 1, -(2**31), 2**31 + 7, 2**40)


def damaged(content: bytes, seed: int) -> bytes:
    """The bytes with a few of them changed, replaced by numbers that are odd as sizes, or left out."""
    rng, result = random.Random(seed), bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        if result:
            rng.choices(_KINDS, _SHARES)[0](result, rng)
    return bytes(result)


def _flip(content: bytearray, rng: random.Random) -> None:
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def _replace(content: bytearray, rng: random.Random) -> None:
    content[rng.randrange(len(content))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])


def _resize(content: bytearray, rng: random.Random) -> None:
    width, place = rng.choice([4, 8]), rng.randrange(len(content))
    number = rng.choice([*_SIZES, rng.randrange(1 << 30)]) % (1 << 8 * width)
    content[place : place + width] = number.to_bytes(width, "little")


def _leave_out(content: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(content))
    del content[place : place + rng.randrange(1, 64)]


def _cut(content: bytearray, rng: random.Random) -> None:
    del content[rng.randrange(len(content)) :]


_KINDS: list[Damage] = [_flip, _replace, _resize, _leave_out, _cut]
_SHARES = [8, 6, 4, 1, 1]
