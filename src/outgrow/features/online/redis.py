"""Rows for servers in Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from outgrow._optional import optional
from outgrow.errors import DataError

_PREFIX = b"outgrow:features:"
_ROWS_AT_ONCE = 2_000
_PUT = """
for at, key in ipairs(KEYS) do
    local before = redis.call('GETRANGE', key, 0, 15)
    if before == '' or string.sub(ARGV[at], 1, 16) >= before then
        redis.call('SET', key, ARGV[at])
    end
end
"""


class RedisOnlineStore:
    """A string for each key of a view, so that many keys are one command.

    Parameters
    ----------
    address : `redis://host:port/number`; `rediss://` for TLS.
    name : of the feature store, which its keys begin with; empty for stores made before they had names.

    Raises
    ------
    MissingExtraError
        When redis-py is not installed.
    """

    def __init__(self, address: str, name: str) -> None:
        self._redis = optional("redis", "features")
        self._client: Any = self._redis.Redis.from_url(address)
        self._keys = _PREFIX + f"{name}:".encode() if name else _PREFIX
        self._shown = address.rpartition("@")[2]

    def put(self, view: str, rows: Iterable[tuple[bytes, bytes]]) -> int:
        """Write rows, each a key and its row; how many were given.

        Parameters
        ----------
        view : the name.
        rows : one that is older than what is there changes nothing.
        """
        count, prefix, left = 0, self._prefix(view), iter(rows)
        with self._explained():
            script = self._client.register_script(_PUT)
            while some := list(islice(left, _ROWS_AT_ONCE)):
                script(keys=[prefix + key for key, _ in some], args=[row for _, row in some])
                count += len(some)
        return count

    def merge(
        self, view: str, rows: Iterable[tuple[bytes, bytes]], merged: Callable[[bytes | None, bytes], bytes]
    ) -> int:
        """Write what becomes of the rows that are there and others, key by key; how many were given.

        Parameters
        ----------
        view : the name.
        rows : each a key and its row; no key twice.
        merged : the new row, of the one that is there and the one given; called again when another process
            wrote in between.
        """
        count, prefix, left = 0, self._prefix(view), iter(rows)
        with self._explained():
            while some := list(islice(left, _ROWS_AT_ONCE)):
                names = [prefix + key for key, _ in some]

                def change(pipe: Any, some: Any = some, names: Any = names) -> None:
                    before = pipe.mget(names)
                    pipe.multi()
                    pairs = zip(names, before, some, strict=True)
                    pipe.mset({name: merged(old, row) for name, old, (_, row) in pairs})

                self._client.transaction(change, *names)
                count += len(some)
        return count

    def get(self, view: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The rows of keys, in their order; None for those that have none.

        Parameters
        ----------
        view : the name.
        keys : may hold one twice.
        """
        if not keys:
            return []
        prefix = self._prefix(view)
        with self._explained():
            return list(self._client.mget([prefix + key for key in keys]))

    def as_of(self, view: str) -> int | None:
        """Up to which moment rows were materialised, in microseconds since 1970; None: never."""
        with self._explained():
            moment = self._client.hget(self._keys + b"as_of", view)
        return None if moment is None else int(moment)

    def set_as_of(self, view: str, moment: int) -> None:
        """Note up to which moment rows were materialised.

        Parameters
        ----------
        view : the name.
        moment : microseconds since 1970.
        """
        with self._explained():
            self._client.hset(self._keys + b"as_of", view, moment)

    def drop(self, view: str) -> None:
        """Remove the rows of a view."""
        with self._explained():
            keys = self._client.scan_iter(match=self._prefix(view) + b"*", count=_ROWS_AT_ONCE)
            while some := list(islice(keys, _ROWS_AT_ONCE)):
                self._client.unlink(*some)
            self._client.hdel(self._keys + b"as_of", view)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _prefix(self, view: str) -> bytes:
        return self._keys + view.encode() + b":"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self._redis.RedisError as error:
            raise DataError(
                f"Redis at {self._shown} cannot be used: {error}. Start it, or mend the address."
            ) from error
