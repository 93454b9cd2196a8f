"""LightGBM on several ranks, which talk through the collective of the fit and no connections of its own.

LightGBM asks for two functions (`LGBM_NetworkInitWithFunctions`): one that gathers a message of each rank,
and one that adds up the histograms of all and leaves each rank those of its own features.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.engine.collective import Communicator
from outgrow.errors import EngineError

_INTS = ctypes.POINTER(ctypes.c_int32)
_REDUCE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int32)
_SCATTER = ctypes.CFUNCTYPE(
    None,
    *(ctypes.c_void_p, ctypes.c_int32, ctypes.c_int, _INTS, _INTS, ctypes.c_int),
    *(ctypes.c_void_p, ctypes.c_int32, ctypes.POINTER(_REDUCE)),
)
_GATHER = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_int32, _INTS, _INTS, ctypes.c_int, ctypes.c_void_p, ctypes.c_int32
)
_DOUBLE = 8


class Ranks:
    """The other ranks, as LightGBM on this one sees them.

    Parameters
    ----------
    comm : reaches them.
    """

    def __init__(self, comm: Communicator) -> None:
        self._comm, self._error = comm, None
        self._adds: dict[int, bool] = {}
        self.functions = (_SCATTER(self._scatter), _GATHER(self._gather))

    def check(self) -> None:
        """Raise what went wrong between ranks while LightGBM worked, which cannot pass errors on."""
        if self._error is not None:
            raise self._error

    _error: BaseException | None

    def _guarded(self, output: int, size: int, work: Callable[[], None]) -> None:
        """Work, or zeros once something went wrong: from them LightGBM grows nothing more."""
        if self._error is None:
            try:
                work()
            except BaseException as error:
                self._error = error
        if self._error is not None:
            ctypes.memset(output, 0, size)

    def _gather(
        self, given: int, size: int, starts: Any, lengths: Any, count: int, output: int, room: int
    ) -> None:
        def work() -> None:
            own = ctypes.string_at(given, lengths[self._comm.rank])
            for rank, message in enumerate(self._comm.gather(own)):
                ctypes.memmove(output + starts[rank], message, lengths[rank])

        self._guarded(output, room, work)

    def _scatter(
        self,
        given: int,
        size: int,
        unit: int,
        starts: Any,
        lengths: Any,
        count: int,
        output: int,
        room: int,
        reduce: Any,
    ) -> None:
        own = slice(starts[self._comm.rank], starts[self._comm.rank] + lengths[self._comm.rank])

        def work() -> None:
            message = ctypes.string_at(given, size)
            if unit == _DOUBLE and self._adds_doubles(reduce):
                total = self._comm.allreduce(np.frombuffer(message, dtype=np.float64).copy())
                ctypes.memmove(output, np.ascontiguousarray(total).tobytes()[own], lengths[self._comm.rank])
                return
            first, *others = [part[own] for part in self._comm.gather(message)]
            ctypes.memmove(output, first, len(first))
            for part in others:
                kept = ctypes.create_string_buffer(part, len(part))
                reduce[0](ctypes.addressof(kept), output, unit, len(part))

        self._guarded(output, room, work)

    def _adds_doubles(self, reduce: Any) -> bool:
        """Whether a function of LightGBM's adds float64 numbers, as it does on some that are tried."""
        address = int(ctypes.cast(reduce[0], ctypes.c_void_p).value or 0)
        if address not in self._adds:
            tried, onto = np.array([1.5, -2.0, 0.25]), np.array([2.25, 1.0, -8.0])
            expected = tried + onto
            reduce[0](tried.ctypes.data, onto.ctypes.data, _DOUBLE, onto.nbytes)
            self._adds[address] = bool(np.array_equal(onto, expected))
        return self._adds[address]


@contextmanager
def joined(comm: Communicator) -> Iterator[Ranks]:
    """LightGBM in this thread is one of the ranks.

    Parameters
    ----------
    comm : reaches the others; with none of them nothing happens.
    """
    ranks = Ranks(comm)
    if comm.size == 1:
        yield ranks
        return
    library = optional("lightgbm.basic", "lightgbm")._LIB
    pointers = [ctypes.cast(function, ctypes.c_void_p) for function in ranks.functions]
    if library.LGBM_NetworkInitWithFunctions(comm.size, comm.rank, *pointers):
        raise EngineError(f"LightGBM failed: {library.LGBM_GetLastError().decode()}")
    try:
        yield ranks
    finally:
        library.LGBM_NetworkFree()
