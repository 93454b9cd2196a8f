"""Sites that are processes of this machine: for trying out what a federation does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from outgrow._process import UNRECORDED, end_with, usable_cores
from outgrow.artifact import pack, unpack
from outgrow.engine.dataset import Dataset
from outgrow.engine.local import Local
from outgrow.engine.ranks.parcel import Parcels, opened
from outgrow.errors import OutgrowError, RankLostError
from outgrow.federation.policy import Policy
from outgrow.federation.site import Task, take_part

_START = """
import sys
sys.path[:], sys.argv[:] = {path!r}, {argv!r}
from outgrow.federation.processes import main
main({parent})
"""
_FAILED_EXIT = 3
_LEAVING = 5.0
"""Seconds for the processes to end by themselves once the fit is over."""
_THREADS = ("OUTGROW_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class SiteProcesses:
    """A process for each site; a context manager, at whose end none is left.

    Parameters
    ----------
    task : what is learned.
    sites : the rows of each site, by its name.
    folder : for temporary files.
    address, secret : of the coordinator.
    policy : what may leave a site.
    audit : the folder for the audit logs, `<site>.jsonl`; or None.
    settings : `joining`, `deadline` and `secure`, as `take_part` takes them.
    """

    def __init__(
        self,
        task: Task,
        sites: Mapping[str, Dataset],
        folder: str,
        address: tuple[str, int],
        secret: bytes,
        policy: Policy,
        audit: Path | None,
        settings: Mapping[str, Any],
    ) -> None:
        objects = [
            {
                "task": task,
                "rows": rows.scan,
                "name": name,
                "address": address,
                "secret": secret,
                "policy": policy,
                "audit": None if audit is None else audit / f"{name}.jsonl",
                **settings,
            }
            for name, rows in sites.items()
        ]
        self._parcels = Parcels(objects, folder)
        self._all: dict[str, subprocess.Popen[bytes]] = {}
        threads = str(max(1, usable_cores() // len(sites)))
        path = [str(Path(entry).resolve()) for entry in sys.path]
        code = _START.format(path=path, argv=sys.argv, parent=os.getpid())
        for number, name in enumerate(sites):
            process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                env={**dict.fromkeys(_THREADS, threads), **os.environ, **UNRECORDED},
                start_new_session=True,  # Ctrl-C is for this process alone
            )
            self._all[name] = process
            assert process.stdin is not None
            with suppress(BrokenPipeError), process.stdin:
                process.stdin.write(pack(self._parcels.message(number)))

    def __enter__(self) -> SiteProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        until = time.monotonic() + _LEAVING
        for process in self._all.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
            process.kill()
            process.wait()
        self._parcels.__exit__(None, None, None)

    def look(self) -> None:
        """Raise if a process has ended before it could call the coordinator."""
        for name, process in self._all.items():
            code = process.poll()
            if code is not None:
                raise RankLostError(
                    f"The process of site {name!r} ended with exit code {code} before the fit began. What it "
                    "printed says why.",
                    host=name,
                )


def main(parent: int) -> None:
    """Be one site, as the message on the standard input says.

    Parameters
    ----------
    parent : the process that started this one, with which it ends.
    """
    end_with(parent)
    given: dict[str, Any] = opened(unpack(sys.stdin.buffer.read()))
    rows = Dataset(given.pop("rows"), Local())
    try:
        take_part(given.pop("task"), rows, **given)
    except OutgrowError as error:
        print(f"outgrow: site {given['name']!r}: {error}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(_FAILED_EXIT)
    os._exit(0)
