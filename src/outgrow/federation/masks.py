"""A sum of which nobody sees the parts: sites add masks that cancel, even where some of them drop out.

Bonawitz and others (2017), Practical secure aggregation for privacy-preserving machine learning, CCS, against
a coordinator that keeps to the protocol and looks at all it gets. Each pair of sites agrees on a mask that
one adds and the other subtracts (X25519, HKDF), and each site adds one more of its own. Shares of what the
masks follow from are held by all sites, sealed for each (AES-GCM). In the end those that are still there give
shares of the pair masks of sites that dropped out, or of the own mask of sites that did not: never both.

Every sum has fresh keys. The messages of a site, in their order: `keys`, `sealed`, `masked`, `unmasking`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.errors import EngineError, ParameterError, PrivacyError
from outgrow.federation.secret_sharing import recovered, shares

_SHARE = 66
_SEED = 32


def threshold(sites: int) -> int:
    """How many sites must stay, so that up to a third may drop out once all have sent their keys.

    Parameters
    ----------
    sites : how many there are; at least 3, as of two each would know the other's part.
    """
    if sites < 3:
        raise ParameterError(f"A secure sum over {sites} site(s) hides nothing: at least 3 are needed.")
    return sites - sites // 3


class MaskedSite:
    """One site's part in one sum.

    Parameters
    ----------
    number : of the site, from 1.
    sites : how many there are.
    context : what the sum is for, the same at all sites: keys for one sum do not open another.
    """

    def __init__(self, number: int, sites: int, context: bytes = b"") -> None:
        x25519 = _primitives("asymmetric.x25519")
        self._number, self._sites, self._context = number, sites, context
        self._least = threshold(sites)
        self._sealing = x25519.X25519PrivateKey.generate()
        self._pairing = x25519.X25519PrivateKey.generate()
        self._seed = os.urandom(_SEED)
        self._keys: Mapping[int, Mapping[str, bytes]] = {}
        self._held: dict[int, tuple[int, int]] = {}
        self._revealed = False

    def keys(self) -> dict[str, bytes]:
        """The public keys, for all other sites."""
        return {
            "sealing": self._sealing.public_key().public_bytes_raw(),
            "pairing": self._pairing.public_key().public_bytes_raw(),
        }

    def sealed(self, keys: Mapping[int, Mapping[str, bytes]]) -> dict[int, bytes]:
        """For each other site its shares of what this one's masks follow from, which only that can open.

        Parameters
        ----------
        keys : of all sites that take part, by number.

        Raises
        ------
        EngineError
            When there are too few, or a key stands twice.
        """
        if len(keys) < self._least or len({key["pairing"] for key in keys.values()}) < len(keys):
            raise EngineError(
                f"A secure sum needs the keys of {self._least} different sites, not {len(keys)}."
            )
        self._keys = keys
        seed = shares(int.from_bytes(self._seed), self._least, keys)
        pairing = shares(int.from_bytes(self._pairing.private_bytes_raw()), self._least, keys)
        self._held[self._number] = seed[self._number], pairing[self._number]
        return {
            other: self._sealed_for(other, seed[other], pairing[other])
            for other in keys
            if other != self._number
        }

    def masked(self, values: np.ndarray, sealed: Mapping[int, bytes]) -> np.ndarray:
        """The part of this site behind its masks: to all who see it evenly distributed.

        Parameters
        ----------
        values : unsigned integers of shape (size,).
        sealed : by the site that sealed them, the shares that are for this one; those sites' masks are used.
        """
        for other, content in sealed.items():
            self._held[other] = self._opened(other, content)
        total = values + stream(self._seed, values)
        for other in sorted(self._held):
            if other != self._number:
                mask = stream(self._pair_seed(other), values)
                total = total + mask if self._number < other else total - mask
        return total

    def unmasking(self, there: Collection[int]) -> dict[int, bytes]:
        """Of each site the one share that takes its masks away: by whether its part came.

        Parameters
        ----------
        there : the sites whose masked parts have come.

        Raises
        ------
        PrivacyError
            When it is asked twice, or so few are there that their parts could be told apart.
        """
        if self._revealed or len(set(there)) < self._least or not set(there) <= set(self._held):
            raise PrivacyError(
                f"A secure sum is opened once, and of at least {self._least} sites; asked for {len(there)}. "
                "Nothing was told."
            )
        self._revealed = True
        return {
            other: (held[0] if other in there else held[1]).to_bytes(_SHARE)
            for other, held in self._held.items()
        }

    def _pair_seed(self, other: int) -> bytes:
        return _agreed(self._pairing, self._keys[other]["pairing"], b"mask" + self._context)

    def _seal(self, other: int) -> Any:
        key = _agreed(self._sealing, self._keys[other]["sealing"], b"seal" + self._context)
        return _primitives("ciphers.aead").AESGCM(key)

    def _sealed_for(self, other: int, seed: int, pairing: int) -> bytes:
        nonce, content = os.urandom(12), seed.to_bytes(_SHARE) + pairing.to_bytes(_SHARE)
        sealed: bytes = self._seal(other).encrypt(nonce, content, _route(self._number, other))
        return nonce + sealed

    def _opened(self, other: int, content: bytes) -> tuple[int, int]:
        invalid = optional("cryptography.exceptions", "federated").InvalidTag
        try:
            plain = self._seal(other).decrypt(content[:12], content[12:], _route(other, self._number))
        except invalid:
            raise EngineError(f"What came in the name of site {other} is not from it.") from None
        return int.from_bytes(plain[:_SHARE]), int.from_bytes(plain[_SHARE:])


def opened_sum(
    masked: Mapping[int, np.ndarray],
    revealed: Mapping[int, Mapping[int, bytes]],
    keys: Mapping[int, Mapping[str, bytes]],
    sites: int,
    context: bytes = b"",
) -> np.ndarray:
    """What the coordinator learns: the sum of the parts that came, and of no part alone.

    Parameters
    ----------
    masked : the parts that came, by site.
    revealed : what sites that are still there gave of each site's masks.
    keys : of the sites that sealed shares, by number; their masks are in the parts.
    sites : how many there are in the federation.
    context : as at the sites.

    Raises
    ------
    EngineError
        When too few sites are still there.
    """
    least = threshold(sites)
    if len(revealed) < least:
        raise EngineError(f"{len(revealed)} of {sites} sites are still there; a secure sum needs {least}.")
    x25519 = _primitives("asymmetric.x25519")
    holders = sorted(revealed)[:least]

    def secret(of: int) -> bytes:
        number = recovered({holder: int.from_bytes(revealed[holder][of]) for holder in holders})
        if number >= 1 << (8 * _SEED):
            raise EngineError(f"What the sites gave of the masks of site {of} does not fit together.")
        return number.to_bytes(_SEED)

    first, *others = (masked[number] for number in sorted(masked))
    total = first.copy()
    for part in others:
        total += part
    for number in keys:
        if number in masked:
            total -= stream(secret(number), total)
            continue
        gone = x25519.X25519PrivateKey.from_private_bytes(secret(number))
        for other in masked:
            mask = stream(_agreed(gone, keys[other]["pairing"], b"mask" + context), total)
            total = total - mask if other < number else total + mask
    return total


def stream(seed: bytes, like: np.ndarray) -> np.ndarray:
    """Evenly distributed integers that follow from a seed (AES-256 in counter mode).

    Parameters
    ----------
    seed : 32 bytes, used for one mask only.
    like : how many, and of which type.
    """
    ciphers = _primitives("ciphers")
    cipher = ciphers.Cipher(ciphers.algorithms.AES256(seed), ciphers.modes.CTR(bytes(16)))
    return np.frombuffer(cipher.encryptor().update(bytes(like.nbytes)), like.dtype).reshape(like.shape)


def _agreed(private: Any, public: bytes, purpose: bytes) -> bytes:
    """A key that two sites share, and nobody else knows."""
    other = _primitives("asymmetric.x25519").X25519PublicKey.from_public_bytes(public)
    derive = _primitives("kdf.hkdf").HKDF(
        algorithm=_primitives("hashes").SHA256(), length=_SEED, salt=None, info=purpose
    )
    key: bytes = derive.derive(private.exchange(other))
    return key


def _route(sender: int, receiver: int) -> bytes:
    return f"{sender}>{receiver}".encode()


def _primitives(name: str) -> Any:
    return optional(f"cryptography.hazmat.primitives.{name}", "federated")
