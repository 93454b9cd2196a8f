"""Where the driver hears of progress while a barrier job runs."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from outgrow.engine.events import Event, emit
from outgrow.engine.spark.rendezvous import accept


@contextmanager
def hub(host: str | None, secret: bytes) -> Iterator[tuple[str, int] | None]:
    """Listen on `host` for the events of one job and pass them on; yields the address or None."""
    try:
        server = None if host is None else socket.create_server((host, 0))
    except OSError:
        server = None  # the address is not of this machine: progress comes with the result alone
    if server is None:
        yield None
        return
    done = threading.Event()
    thread = threading.Thread(target=_serve, args=(server, secret, done), daemon=True)
    thread.start()
    try:
        yield server.getsockname()[:2]
    finally:
        done.set()
        thread.join(timeout=5.0)
        server.close()


def _serve(server: socket.socket, secret: bytes, done: threading.Event) -> None:
    while not done.is_set():
        try:
            found = accept(server, secret, time.monotonic() + 0.2)
        except TimeoutError:
            continue
        except OSError:
            return
        if found is not None:
            _relay(found[1])
            return


def _relay(line: socket.socket) -> None:
    line.settimeout(None)
    with line, line.makefile("rb") as stream:
        while head := stream.read(4):
            text = stream.read(int.from_bytes(head, "little"))
            if text:
                emit(Event(**json.loads(text)))
