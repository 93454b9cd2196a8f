"""`python -m bench strangers`: good requests beside hostile ones, and the memory of the server meanwhile.

Clients ask for predictions all the time. Beside them, once a second, each kind of hostile neighbour does its
worst. No good answer may be lost, and memory must stay flat.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

import outgrow as og
from outgrow.testing.clusters import free_port

PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"
REQUESTS, CLIENTS, PAUSE = 10_000, 4, 1.0
ARROW = "application/vnd.apache.arrow.stream"
ROW = {"hour": 8.0, "carrier": "AA"}
GOOD = json.dumps({"rows": [ROW]}).encode()


@dataclass
class Server:
    """A server under attack: what it answered to whom."""

    port: int
    process: psutil.Process
    good: Counter[Any] = field(default_factory=Counter)
    hostile: dict[str, Counter[Any]] = field(default_factory=dict)
    slowest: float = 0.0

    def ask(self, body: bytes, kind: str = "application/json", path: str = "/predict", **headers: str) -> Any:
        """The status of the answer; the name of the error where there was none."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            line.request("POST", path, body, {"content-type": kind, **headers})
            answer = line.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        finally:
            line.close()

    def send(self, content: bytes, seconds: float) -> Any:
        """Send bytes, leave the connection open for some seconds, and read nothing until then."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as line, suppress(OSError):
            line.sendall(content)
            time.sleep(seconds)
        return "broken off"

    def memory(self) -> float:
        """MiB of the server; the processes that read bodies are extra."""
        return float(self.process.memory_info().rss / 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench strangers", description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="good requests that are made at least")
    parser.add_argument(
        "--pause", type=float, default=PAUSE, help="seconds between two of a hostile neighbour"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _running(Path(folder)) as server:
        sizes = _soak(server, asked.requests, asked.pause)
    table = _table(server, sizes)
    print(table)
    if asked.requests >= REQUESTS:
        _document(table)
    lost = sum(count for said, count in server.good.items() if said != 200)
    failed = sum(found[said] for found in server.hostile.values() for said in found if said in (500, 502))
    sys.exit(f"{lost} good answers lost, {failed} faults of the server" if lost or failed else 0)


@contextmanager
def _running(folder: Path) -> Iterator[Server]:
    rng = np.random.default_rng(0)
    carriers, labels = rng.choice(["AA", "B6", "DL"], 2000), rng.choice(["late", "on time"], 2000)
    table = pa.table(
        {"hour": rng.integers(5, 24, 2000).astype(float), "carrier": carriers, "arrival": labels}
    )
    steps = [og.OneHotEncoder(columns=["carrier"]), og.LogisticRegression()]
    og.Pipeline(steps).fit(table, "arrival").save(folder / "model")
    port = free_port()
    command = [sys.executable, "-m", "outgrow", "serve", str(folder / "model"), "--port", str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ)
    server = Server(port, psutil.Process(process.pid))
    try:
        until = time.monotonic() + 60
        while server.ask(GOOD) != 200:
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.2)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _soak(server: Server, requests: int, pause: float) -> list[float]:
    """Memory, seen once a second."""
    done = threading.Event()
    threads = [threading.Thread(target=_client, args=(server, done)) for _ in range(CLIENTS)]
    for name, attack in ATTACKS.items():
        server.hostile[name] = Counter()
        threads.append(threading.Thread(target=_neighbour, args=(server, done, name, attack, pause)))
    for thread in threads:
        thread.start()
    sizes = []
    while sum(server.good.values()) < requests:
        time.sleep(1.0)
        sizes.append(server.memory())
    done.set()
    for thread in threads:
        thread.join()
    return sizes


def _client(server: Server, done: threading.Event) -> None:
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    while not done.is_set():
        began = time.monotonic()
        try:
            line.request("POST", "/predict", GOOD, {"content-type": "application/json"})
            answer = line.getresponse()
            answer.read()
            server.good[answer.status] += 1
        except (OSError, http.client.HTTPException) as error:
            server.good[type(error).__name__] += 1
            line.close()
        server.slowest = max(server.slowest, time.monotonic() - began)
        time.sleep(0.01)
    line.close()


def _neighbour(server: Server, done: threading.Event, name: str, attack: Attack, pause: float) -> None:
    rng = random.Random(name)
    while not done.wait(pause):
        server.hostile[name][attack(server, rng)] += 1


Attack = Callable[[Server, random.Random], Any]


def _stream(columns: dict[str, Any], compression: str | None = None) -> bytes:
    batch, sink = pa.record_batch(columns), pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as file:
        file.write_batch(batch)
    return sink.getvalue().to_pybytes()


def _flipped(server: Server, rng: random.Random) -> Any:
    content = bytearray(_ARROW_ROWS)
    for _ in range(rng.randint(1, 8)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return server.ask(bytes(content), ARROW)


def _nothing(server: Server, _: random.Random) -> Any:
    with ExitStack() as lines:
        for _ in range(100):
            lines.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5))
    return "broken off"


_ARROW_ROWS = _stream({"hour": [8.0] * 100, "carrier": ["AA"] * 100})
_WORD = pa.DictionaryArray.from_arrays(pa.array(np.zeros(90_000, "i4")), pa.array(["x" * 60_000]))
_BOMB = _stream({"hour": np.zeros(90_000), "carrier": _WORD}, "zstd")
_LARGE = json.dumps({"rows": [{"hour": "x", "carrier": k} for k in range(300_000)]}).encode()
_BAD_ROWS = json.dumps({"rows": [{"hour": None, "carrier": "AA"}] * 3_000}).encode()
_WIDE = ",".join(map(str, range(100_000))).encode() + b"\n" + b"1," * 99_999 + b"1\n"
_ONE = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(GOOD)

ATTACKS: dict[str, Attack] = {
    "a bad row": lambda server, _: server.ask(b'{"rows":[{"hour":null,"carrier":"AA"}]}'),
    "3,000 bad rows": lambda server, _: server.ask(_BAD_ROWS),
    "300,000 rows of wrong types": lambda server, _: server.ask(_LARGE),
    "JSON 100,000 deep": lambda server, _: server.ask(b'{"rows":' + b"[" * 100_000),
    "CSV of 100,000 columns": lambda server, _: server.ask(_WIDE, "text/csv", "/invocations"),
    "Arrow with changed bytes": _flipped,
    "Arrow that expands to 5 GiB": lambda server, _: server.ask(_BOMB, ARROW),
    "an unknown model": lambda server, rng: server.ask(GOOD, path=f"/models/{rng.random()}/predict"),
    "headers without end": lambda server, _: server.send(b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 100_000, 0.1),
    "a body broken off": lambda server, _: server.send(_ONE + GOOD[:-3], 0.5),
    "100 connections that say nothing": _nothing,
    "10,000 requests sent ahead, no answer read": lambda server, _: server.send((_ONE + GOOD) * 10_000, 1.0),
    "a deadline of a millisecond": lambda server, _: server.ask(GOOD, **{"x-request-timeout-ms": "1"}),
}


def _table(server: Server, sizes: list[float]) -> str:
    lines = ["| what was sent, once a second each | times | answers |", "|---|---:|---|"]
    for name, found in server.hostile.items():
        said = ", ".join(f"{count:,} x {status}" for status, count in found.most_common())
        lines.append(f"| {name} | {sum(found.values()):,} | {said} |")
    good = ", ".join(f"{count:,} x {status}" for status, count in server.good.most_common())
    third = len(sizes) // 3
    lines += [
        "",
        f"Good requests beside them: {good}; the slowest took {server.slowest:.2f} s. The server held "
        f"{max(sizes[: third + 1]):.0f} MiB at most in the first third of {len(sizes)} s, and "
        f"{max(sizes[-third - 1 :]):.0f} MiB in the last.",
    ]
    return "\n".join(lines)


def _document(table: str) -> None:
    begin, end = "<!-- strangers:begin -->", "<!-- strangers:end -->"
    head, _, rest = PAGE.read_text().partition(begin)
    PAGE.write_text("\n".join([head + begin, table, end]) + rest.partition(end)[2])
