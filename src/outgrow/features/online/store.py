"""What a feature store asks of the place where servers look rows up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from outgrow.errors import ParameterError
from outgrow.features.online.redis import RedisOnlineStore
from outgrow.features.online.sqlite import SQLiteOnlineStore


class OnlineStore(Protocol):
    """One row of bytes for each key of a view. Several processes may write and read at once."""

    def put(self, view: str, rows: Iterable[tuple[bytes, bytes]]) -> int:
        """Write rows, each a key and its row; how many were given.

        Parameters
        ----------
        view : the name.
        rows : their first 16 bytes order what was true when, and known when; one that is older than what is
            there changes nothing.
        """

    def merge(
        self, view: str, rows: Iterable[tuple[bytes, bytes]], merged: Callable[[bytes | None, bytes], bytes]
    ) -> int:
        """Write what becomes of the rows that are there and others, key by key; how many were given.

        Parameters
        ----------
        view : the name.
        rows : each a key and its row; no key twice.
        merged : the new row, of the one that is there and the one given; it may be called more than once.
        """

    def get(self, view: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The rows of keys, in their order; None for those that have none.

        Parameters
        ----------
        view : the name.
        keys : may hold one twice.
        """

    def as_of(self, view: str) -> int | None:
        """Up to which moment rows were materialised, in microseconds since 1970; None: never."""

    def set_as_of(self, view: str, moment: int) -> None:
        """Note up to which moment rows were materialised.

        Parameters
        ----------
        view : the name.
        moment : microseconds since 1970.
        """

    def drop(self, view: str) -> None:
        """Remove the rows of a view."""

    def close(self) -> None:
        """Let go of files and connections."""


def open_online(address: str, name: str) -> OnlineStore:
    """The store at an address.

    Parameters
    ----------
    address : `redis://host:port/number`, or the path of a file of SQLite, which is made.
    name : of the feature store, where several may be at one address.

    Raises
    ------
    ParameterError
        When it is the address of something else.
    """
    if address.startswith(("redis://", "rediss://", "unix://")):
        return RedisOnlineStore(address, name)
    if "://" in address and not address.startswith("sqlite:///"):
        raise ParameterError(f"online={address!r}: give redis://host:port/0 or the path of a file.")
    return SQLiteOnlineStore(address.removeprefix("sqlite:///"))
