"""A PostgreSQL server of our own on a socket in a folder, without a port."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}


class PostgreSQL:
    """Debian's server; stopped and started as often as a test likes."""

    def __init__(self, programs: Path, home: Path) -> None:
        self.programs, self.home = programs, home
        self._run = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] * (os.getuid() == 0)
        home.chmod(0o777)
        subprocess.run(
            [*self._run, programs / "initdb", "-D", home / "data", "-A", "trust", "-U", "me", "--no-sync"],
            **QUIET,
        )
        self.start()

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.home}' -c fsync=off"
        self._control("-o", options, "-l", self.home / "log", "start")

    def stop(self) -> None:
        self._control("-m", "immediate", "stop")

    def _control(self, *words: str | Path) -> None:
        subprocess.run(
            [*self._run, self.programs / "pg_ctl", "-D", self.home / "data", "-w", "-t", "300", *words],
            **QUIET,
        )

    def uri(self, database: str = "postgres") -> str:
        return f"postgresql:///{database}?host={self.home}&user=me&password=secret"

    def database(self) -> str:
        """The URI of a database that nobody has used yet."""
        name = f"d{uuid.uuid4().hex[:12]}"
        command = [self.programs / "createdb", "-h", self.home, "-U", "me", name]
        subprocess.run([*self._run, *command], **QUIET)
        return self.uri(name)


def postgresql() -> Iterator[PostgreSQL]:
    """A running server; skips where PostgreSQL is not installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    initdb = shutil.which("initdb")
    if not installed and initdb is None:
        pytest.skip("PostgreSQL is not installed")
    programs = installed[-1] if installed else Path(str(initdb)).resolve().parent
    with tempfile.TemporaryDirectory(prefix="outgrow-postgresql-", ignore_cleanup_errors=True) as home:
        server = PostgreSQL(programs, Path(home))
        yield server
        server.stop()
