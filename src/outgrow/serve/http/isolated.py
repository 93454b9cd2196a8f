"""Bodies of requests are read in a process that may die.

Large bodies would hold up everybody if they were read between two turns of the event loop, and a thread holds
the interpreter as well while a parser works. Arrow's bytes are read by native code, whatever their size. So
both are read by another process: its memory is bounded, it is killed when the deadline of the request passes,
and if it dies, one request hears of it. What it gives back are columns of the model's own types.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from outgrow._process import UNRECORDED, end_with
from outgrow.data.batch import Batch
from outgrow.data.kind import read_kinds
from outgrow.engine.memory import peak_bytes
from outgrow.errors import OutgrowError
from outgrow.serve.http import inference, invocations, plain
from outgrow.serve.http.refusal import RefusedError, bounded, shortened
from outgrow.serve.http.rows import Query, RowReader, RowsError, arrow_batch, msgspec

PARSERS: dict[str, Callable[..., Query]] = {
    "plain": plain.read,
    "arrow": plain.read_arrow,
    "mlflow": invocations.read,
    "csv": invocations.read_csv,
    "v2": inference.read,
}
"""What reads a body, by the name that the other process knows it by."""

MEMORY_BYTES = 2 << 30
"""What a process may take on top of what it has when it begins."""
_RETIRE_BYTES = 256 << 20
"""A process that has taken so much memory is replaced, so that none keeps that of its largest body."""
_ENVIRONMENT = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_SIZES = struct.Struct("<QQ")
_START = """
import sys
sys.path[:] = {path!r}
from outgrow.serve.http.isolated import main
main({handle}, {parent}, {memory})
"""


class ReaderProcesses:
    """The processes that read bodies, started when they are first needed.

    Parameters
    ----------
    most : how many work at one time; more requests wait.
    memory : bytes that each may take.
    """

    def __init__(self, most: int = 2, memory: int = MEMORY_BYTES) -> None:
        self._most = most
        self._slots = asyncio.Semaphore(most)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: list[_ReaderProcess] = []
        self._memory = memory

    async def read(
        self, parser: str, columns: Mapping[str, str], body: bytes, options: tuple[Any, ...]
    ) -> Query:
        """What a body asks, read by a process that is free; waits for one if need be.

        Parameters
        ----------
        parser : a name in `PARSERS`.
        columns : the model's, name to kind.
        body : the whole body.
        options : further arguments of the parser; of types that JSON has.

        Raises
        ------
        RowsError
            When the body is not what it should be.
        RefusedError
            When the process ended of it.
        """
        kinds = {name: str(kind) for name, kind in columns.items()}
        head = msgspec.json.encode({"parser": parser, "columns": kinds, "options": options})
        if self._loop is not asyncio.get_running_loop():
            self._loop, self._slots = asyncio.get_running_loop(), asyncio.Semaphore(self._most)
        async with self._slots:
            process = self._take()
            try:
                reply, payload = await process.ask(head, body)
            except OSError:
                process.end()
                raise RefusedError(
                    422, "The body ended the process that read it: it is damaged, or takes too much memory."
                ) from None
            except BaseException:  # cancelled, by the deadline: nobody else needs what it works on
                process.end()
                raise
            if reply["retire"]:
                process.end()
            else:
                self._idle.append(process)
        return _query(reply, payload)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().end()

    def _take(self) -> _ReaderProcess:
        while self._idle:
            process = self._idle.pop()
            if process.alive:
                return process
            process.end()
        return _ReaderProcess(self._memory)


class _ReaderProcess:
    """One process, and the socket to it."""

    def __init__(self, memory: int) -> None:
        self._socket, child_socket = socket.socketpair()
        self._socket.setblocking(False)
        with child_socket:
            path = [str(Path(entry).resolve()) for entry in sys.path]
            code = _START.format(path=path, handle=child_socket.fileno(), parent=os.getpid(), memory=memory)
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                pass_fds=[child_socket.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **UNRECORDED, **_ENVIRONMENT},
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    async def ask(self, head: bytes, body: bytes) -> tuple[dict[str, Any], memoryview]:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._socket, _SIZES.pack(len(head), len(body)) + head)
        await loop.sock_sendall(self._socket, body)
        head_size, size = _SIZES.unpack(await self._receive(_SIZES.size))
        reply: dict[str, Any] = msgspec.json.decode(await self._receive(head_size))
        return reply, await self._receive(size)

    async def _receive(self, size: int) -> memoryview:
        loop = asyncio.get_running_loop()
        room = memoryview(bytearray(size))
        rest = room
        while rest:
            count = await loop.sock_recv_into(self._socket, rest)
            if not count:
                raise ConnectionResetError("the process is gone")
            rest = rest[count:]
        return room

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._socket.close()

    def __del__(self) -> None:
        if hasattr(self, "_process") and self._process.returncode is None:
            self.end()


def _query(reply: dict[str, Any], payload: memoryview) -> Query:
    if "refused" in reply:
        raise RowsError(reply["refused"], **reply["details"])
    (batch,) = pa.ipc.open_stream(pa.py_buffer(payload))
    batch.validate(full=True)
    return Query(Batch.from_arrow(batch), reply["probabilities"], reply["id"], reply["outputs"])


# ---- in the other process ----------------------------------------------------------------------------------


def main(handle: int, parent: int, memory: int) -> None:
    """Read bodies for the process at the other end, until it closes or is gone.

    Parameters
    ----------
    handle : file descriptor of a socket, over which bodies come and rows go.
    parent : process id of the server, with which this process ends.
    memory : bytes that this process may take on top of what it has now.
    """
    end_with(parent)
    _limit(memory)
    with (
        socket.socket(fileno=handle) as connection,
        suppress(ConnectionError),
        connection.makefile("rb") as source,
    ):
        while sizes := source.read(_SIZES.size):
            head_size, size = _SIZES.unpack(sizes)
            reply, payload = _parsed(source.read(head_size), source.read(size))
            reply["retire"] = peak_bytes() > _RETIRE_BYTES
            head = msgspec.json.encode(reply)
            connection.sendall(_SIZES.pack(len(head), len(payload)) + head)
            connection.sendall(payload)


def _limit(memory: int) -> None:
    """Bound what this process may take; and if the machine has none left, this one goes first."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _parsed(head: bytes, body: bytes) -> tuple[dict[str, Any], pa.Buffer | bytes]:
    given = msgspec.json.decode(head)
    reader = _reader(tuple(given["columns"].items()))
    try:
        query = PARSERS[given["parser"]](reader, body, *given["options"])
        batch = arrow_batch(query.rows if isinstance(query.rows, Batch) else reader.batch(query.rows))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
    except MemoryError:
        return _refused("The body takes more memory than may be taken to read it. Send fewer rows.")
    except RowsError as error:
        return _refused(str(error), error.details)
    except (OutgrowError, pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        return _refused(f"The rows cannot be read: {error}")
    reply = {"probabilities": query.probabilities, "id": query.id, "outputs": query.outputs}
    return reply, sink.getvalue()


def _refused(message: str, details: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], bytes]:
    return {"refused": shortened(message), "details": bounded(details or {})}, b""


@lru_cache(maxsize=100)
def _reader(columns: tuple[tuple[str, str], ...]) -> RowReader:
    return RowReader(read_kinds(dict(columns)))
