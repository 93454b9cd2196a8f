"""What a killed process leaves behind: no process, and no folder that the next one would not remove."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HOLDS_THE_LOCK = """
import os, sys, numpy as np, pyarrow as pa, outgrow as og
import outgrow.engine.groups
outgrow.engine.groups._WORTH = 0.0
from sklearn.base import BaseEstimator, RegressorMixin


class Slow(RegressorMixin, BaseEstimator):
    def fit(self, X, y, sample_weight=None):
        open(os.path.join(sys.argv[1], str(os.getpid())), "w").close()
        import time; time.sleep(0.3)
        return self

    def predict(self, X):
        return np.zeros(len(X))


rows = pa.table({"key": np.arange(400) % 200, "x": np.arange(400.0), "y": np.arange(400.0)})
og.PerGroup(Slow(), by="key", min_rows=1).fit(rows, "y")
"""


def gone(pid: int) -> bool:
    """Whether a process has ended (one that nobody has waited for counts)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(condition: Callable[[], bool], seconds: float = 90.0) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


def test_workers_of_a_killed_fit_end(tmp_path: Path) -> None:
    script = tmp_path / "fit.py"
    script.write_text(HOLDS_THE_LOCK)
    seen = tmp_path / "pids"
    seen.mkdir()
    environment = {**os.environ, "OUTGROW_THREADS": "2"}
    fit = subprocess.Popen([sys.executable, str(script), str(seen)], env=environment)

    def workers() -> list[int]:
        return [int(path.name) for path in seen.iterdir() if int(path.name) != fit.pid]

    assert wait_until(lambda: len(workers()) == 2 or fit.poll() is not None)
    assert len(workers()) == 2
    fit.send_signal(signal.SIGKILL)
    fit.wait()
    assert wait_until(lambda: all(map(gone, workers())))
