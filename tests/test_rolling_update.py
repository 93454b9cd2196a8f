"""Servers are replaced under load as rollouts do it: no request fails, and what was accepted is answered."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pytest

import outgrow as og
import web
from outgrow.testing.clusters import free_port

STREAM = {"content-type": "application/vnd.apache.arrow.stream"}


class Replica:
    """A server process; `drain` is what Kubernetes does with a pod that goes."""

    def __init__(self, path: Path, *words: str) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        command = [
            sys.executable,
            "-m",
            "outgrow",
            "serve",
            "--model",
            f"line={path}",
            "--port",
            str(self.port),
        ]
        self.process = subprocess.Popen([*command, *words], stdout=subprocess.DEVNULL)

    def wait(self) -> Replica:
        """Until the model is loaded and warm."""
        web.until_ready(self.process, f"{self.address}/v2/health/ready")
        return self

    def stop(self) -> None:
        """The signal with which pods end; the server passes it on when all is answered."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(40) == -signal.SIGTERM

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Service:
    """The addresses that are ready, as a Service of Kubernetes has them, and clients that ask."""

    def __init__(self, *replicas: Replica) -> None:
        self.replicas = list(replicas)
        self.answers: Counter[tuple[int, str]] = Counter()
        self.errors: list[str] = []
        self._sent_to: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def _client(self, number: int) -> None:
        connections: dict[str, httpx.Client] = {}
        while not self._stop.is_set():
            number += 1
            with self._lock:
                address = self.replicas[number % len(self.replicas)].address
                self._sent_to[address] += 1
            if address not in connections:
                connections[address] = httpx.Client(base_url=address, timeout=30)
            client = connections[address]
            try:
                found = client.post("/predict", json={"rows": [{"x0": 3.0}]})
                value = round(found.json()["predictions"][0], 6)
                self.answers[found.status_code, str(value)] += 1
            except Exception as error:
                self.errors.append(f"{type(error).__name__}: {error}")
            finally:
                with self._lock:
                    self._sent_to[address] -= 1
        for client in connections.values():
            client.close()

    @contextmanager
    def asked(self, clients: int) -> Iterator[None]:
        threads = [threading.Thread(target=self._client, args=(k,)) for k in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def more(self, count: int) -> None:
        """Wait for so many answers more."""
        enough, until = self.answers.total() + count, time.monotonic() + 60
        while self.answers.total() < enough and not self.errors:
            assert time.monotonic() < until
            time.sleep(0.01)

    def replace(self, old: Replica, new: Replica) -> None:
        """Take a warm one in, and let an old one go."""
        new.wait()
        with self._lock:
            self.replicas = [*self.replicas, new]
        self.more(30)
        self.remove(old)

    def remove(self, old: Replica) -> None:
        """First nobody sends to it any more, which takes as long as the drain; then it ends."""
        with self._lock:
            self.replicas = [replica for replica in self.replicas if replica is not old]
        until = time.monotonic() + 10
        while self._sent_to[old.address]:
            assert time.monotonic() < until
            time.sleep(0.01)
        old.stop()


@pytest.fixture(scope="module")
def rolled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Replica]]:
    """What clients got of two replicas, of which one is replaced by the next version, and the other goes."""
    folder = tmp_path_factory.mktemp("versions")
    X = np.arange(4.0).reshape(-1, 1)
    for number in (1, 2):
        og.LinearRegression().fit(X, X[:, 0] * number).save(folder / str(number))
    first, second = old = [Replica(folder / "1"), Replica(folder / "1")]
    new = Replica(folder / "2", "--max-queue", "9000000")
    service = Service(*(replica.wait() for replica in old))
    try:
        with service.asked(clients=3):
            service.more(30)
            service.replace(first, new)
            service.more(30)
            service.remove(second)
            service.more(30)
        yield service, new
    finally:
        for replica in (*old, new):
            replica.kill()


def test_a_rollout_under_load_loses_no_request(rolled: tuple[Service, Replica]) -> None:
    service, _ = rolled
    assert service.errors == []
    assert set(service.answers) == {(200, "3.0"), (200, "6.0")}
    assert min(service.answers.values()) >= 30


def test_a_server_that_is_stopped_answers_what_it_accepted(rolled: tuple[Service, Replica]) -> None:
    """Requests under way and in the queue when the signal comes, of many rows each."""
    _, replica = rolled
    rows, clients = 200_000, 3
    sink = pa.BufferOutputStream()
    table = pa.table({"x0": np.ones(rows)})
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    content, statuses = sink.getvalue().to_pybytes(), []

    def client() -> None:
        found = web.post(f"{replica.address}/predict", content=content, headers=STREAM, timeout=60)
        statuses.append((found.status_code, pa.ipc.open_stream(found.content).read_all().num_rows))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    before = scored(replica)
    for thread in threads:
        thread.start()
    until = time.monotonic() + 20
    while scored(replica) == before:  # one was answered, or is about to be; others wait
        assert time.monotonic() < until
    replica.stop()
    for thread in threads:
        thread.join()
    assert statuses == [(200, rows)] * clients


def scored(replica: Replica) -> float:
    """Rows that were scored, and rows that wait."""
    page = web.get(f"{replica.address}/metrics").text
    return sum(
        float(n) for n in re.findall(r"^outgrow_(?:rows_total|waiting_rows){.*} (.*)$", page, re.MULTILINE)
    )
