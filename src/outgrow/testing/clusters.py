"""Spark clusters for tests: a standalone master with workers, and a Connect server; all on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from outgrow.errors import MissingExtraError

LOOPBACK = "127.0.0.1"
PLAIN = {
    "spark.driver.host": LOOPBACK,
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.showConsoleProgress": "false",
}


_EXECUTOR = "CoarseGrainedExecutorBackend"


@dataclass
class Standalone:
    """A standalone cluster: the master's URL and the processes of master and workers."""

    url: str
    master: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]

    def executors(self) -> list[int]:
        """The process ids of the executors."""
        workers = {worker.pid for worker in self.workers}
        return [pid for pid in _processes() if _parent(pid) in workers and _EXECUTOR in _command(pid)]


@contextmanager
def standalone(folder: Path, *, workers: int = 2, cores: int = 1, memory: str = "1g") -> Iterator[Standalone]:
    """A master and workers from pip's pyspark, in processes of their own, which end with the block.

    Parameters
    ----------
    folder : for the logs, and what the workers write.
    workers : how many.
    cores : of each worker.
    memory : of each worker, as Spark takes it.
    """
    port = free_port()
    master = _start(
        "org.apache.spark.deploy.master.Master",
        folder,
        "--host",
        LOOPBACK,
        "--port",
        str(port),
        "--webui-port",
        str(free_port()),
    )
    cluster = Standalone(f"spark://{LOOPBACK}:{port}", master, [])
    try:
        wait_for(port, master)
        cluster.workers += [
            _start(
                "org.apache.spark.deploy.worker.Worker",
                folder,
                "--host",
                LOOPBACK,
                "--webui-port",
                str(free_port()),
                "--cores",
                str(cores),
                "--memory",
                memory,
                "--work-dir",
                str(folder / f"worker{number}"),
                cluster.url,
            )
            for number in range(workers)
        ]
        yield cluster
    finally:
        for process in [*cluster.workers, master]:
            process.terminate()
        for process in [*cluster.workers, master]:
            process.wait(30)


@contextmanager
def connect_server(**confs: str) -> Iterator[str]:
    """A Connect server with two slots; its URL.

    Parameters
    ----------
    confs : settings of Spark, beside those it needs.
    """
    port = free_port()
    binding = {"spark.connect.grpc.binding.port": port, "spark.connect.grpc.binding.address": LOOPBACK}
    command = [
        str(_home() / "bin" / "spark-submit"),
        "--master",
        "local[2]",
        "--class",
        "org.apache.spark.sql.connect.service.SparkConnectServer",
    ]
    for key, value in {**PLAIN, **confs, **binding}.items():
        command += ["--conf", f"{key}={value}"]
    server = _popen([*command, "spark-internal"])
    try:
        wait_for(port, server)
        yield f"sc://{LOOPBACK}:{port}"
    finally:
        server.terminate()
        server.wait(30)


def wait_until(what: str, met: Any, seconds: float = 60.0) -> None:
    """Wait, looking ten times a second.

    Parameters
    ----------
    what : is waited for; the error says it.
    met : a function without arguments; whether it has come.
    seconds : for which it may take.

    Raises
    ------
    TimeoutError
        When it has not come by then.
    """
    until = time.monotonic() + seconds
    while not met():
        if time.monotonic() > until:
            raise TimeoutError(f"after {seconds:g} s still not: {what}")
        time.sleep(0.1)


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    """Wait until somebody listens on this machine, for at most two minutes.

    Parameters
    ----------
    port : of TCP.
    server : the process that should listen; it must not end before.

    Raises
    ------
    TimeoutError
        When nobody does.
    """

    def listening() -> bool:
        assert server.poll() is None, "the server ended early"
        with socket.socket() as connection:
            connection.settimeout(1.0)
            return connection.connect_ex((LOOPBACK, port)) == 0

    wait_until(f"a server at port {port}", listening, 120)


def free_port() -> int:
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        return int(free.getsockname()[1])


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _start(kind: str, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return _popen([str(_home() / "bin" / "spark-class"), kind, *arguments], SPARK_LOG_DIR=str(folder))


def _popen(command: list[str], **more: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "SPARK_HOME": str(_home()), **more}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _home() -> Path:
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise MissingExtraError("No Spark is installed. Type:  pip install 'outgrow[spark]'")
    return Path(spec.origin).parent


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return -1
