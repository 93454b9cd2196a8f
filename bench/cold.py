"""`python -m bench cold`: processor time and memory from the start of Python to the first prediction.

Two steps, a scaler and a logistic regression, from a saved model. Each number is the least of five processes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import outgrow as og
from bench.machine import machine

RESULTS = Path(__file__).parent / "results" / "cold.md"
REPEATS = 5
ROW = "{'x0': 1.0, 'x1': 2.0}"
WAYS = {
    "`outgrow.load`": "import outgrow as og; og.load(path).predict([[1.0, 2.0]])",
    "`outgrow.serve.lean.load`": f"from outgrow.serve import lean; lean.load(path).predict([{ROW}])",
    "`import numpy, pyarrow`": "import numpy, pyarrow",
}
SCRIPT = """
import re, sys, time
path = sys.argv[1]
{way}
peak = int(re.search(r"VmHWM:\s*(\d+) kB", open("/proc/self/status").read())[1]) * 1024 / 1e6
print(time.process_time(), peak, len(sys.modules))
"""


def main() -> None:
    """Write the table."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1_000, 2)), rng.integers(0, 2, 1_000)
    lines = ["| first prediction by | processor, s | peak, MB | modules |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model"
        og.Pipeline([og.StandardScaler(), og.LogisticRegression()]).fit(X, y).save(path)
        for name, way in WAYS.items():
            seconds, megabytes, modules = min(_run(way, path) for _ in range(REPEATS))
            lines.append(f"| {name} | {seconds:.2f} | {megabytes:.0f} | {modules:.0f} |")
            print(lines[-1], flush=True)
    about = ", ".join(f"{key} {value}" for key, value in machine().items())
    parts = ["# Cold starts", str(__doc__).strip(), about, "\n".join(lines)]
    RESULTS.write_text("\n\n".join(parts) + "\n")


def _run(way: str, path: str) -> tuple[float, ...]:
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT.format(way=way), path]
    return tuple(map(float, subprocess.check_output(command, text=True).split()))
