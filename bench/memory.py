"""Peak memory of a contender, from one run in a process of its own.

Without Spark it is the process's own high-water mark (VmHWM). With Spark it is the most that the process and
all below it (the JVM, the Python workers) held at once, looked at four times a second; pages that several
of them share count once (PSS).
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.contest import Case, Contender, Place
from bench.processes import family, kilobytes

LOOK_EVERY = 0.25


def peak_bytes(case: Case, contender: Contender, rows: int, *, quick: bool) -> int | None:
    """Run the contender once in a fresh process; None where the system does not tell."""
    if not Path("/proc/self/smaps_rollup").exists():
        return None
    command = [sys.executable, "-m", "bench.memory", case.name, contender.name, str(rows), str(int(quick))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{case.name}, {contender.name}: the run for its memory failed.\n{done.stderr}")
    return int(json.loads(done.stdout.splitlines()[-1])["peak_bytes"])


def main(case_name: str, contender_name: str, rows: str, quick: str) -> None:
    from bench.cases import CASES
    from bench.data import table_path
    from bench.spark import warm_session

    case = CASES[case_name]
    contender = next(each for each in case.contenders if each.name == contender_name)
    path = table_path(case.table, int(rows)) if case.table else Path()
    if not contender.spark:
        contender.run(Place(path, None, bool(int(quick))))
        peak = _high_water()
    else:
        session = warm_session()
        with _watched() as seen:
            contender.run(Place(path, session, bool(int(quick))))
        peak = max(seen)
        session.stop()
    print(json.dumps({"peak_bytes": peak}))


def _high_water() -> int:
    return kilobytes(Path("/proc/self/status"), "VmHWM")


@contextmanager
def _watched() -> Iterator[list[int]]:
    seen, stop = [0], threading.Event()

    def look() -> None:
        while not stop.wait(LOOK_EVERY):
            seen.append(sum(kilobytes(Path(f"/proc/{each}/smaps_rollup"), "Pss") for each in family()))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        stop.set()
        watcher.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
