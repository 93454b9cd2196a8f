"""`python -m bench plan`: jobs are planned, then run; how far off the plans were."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.machine import machine

RESULTS = Path(__file__).parent / "results" / "plan.md"
MODELS = {
    "logistic": "LogisticRegression: {C: 0.1}",
    "boosting": "GradientBoostingClassifier: {n_estimators: 50, random_state: 0}",
    "forest": "RandomForestClassifier: {n_estimators: 20, max_depth: 10, random_state: 0}",
    "naive Bayes": "GaussianNB: {}",
    "linear SVC": "LinearSVC: {}",
}
ROWS = (300_000, 1_000_000, 3_000_000)
COLUMNS = 20
HEAD = "| model | rows | planned, s | took, s | off | memory planned, MB | held, MB | off | planning, s |"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = [_cell(Path(folder), name, size) for size in ROWS for name in MODELS]
    off = [abs(row["planned"] / row["took"] - 1) for row in rows]
    twice = [0.5 <= row["planned"] / row["took"] <= 2 for row in rows]
    memory = [abs(row["memory"] / row["held"] - 1) for row in rows]
    lines = [HEAD, "|" + "---|" * 9, *map(_line, rows)]
    summary = (
        f"Time: median error {median(off):.0%}, {np.mean(twice):.0%} within twice. "
        f"Memory: median error {median(memory):.0%}, {np.mean(np.array(memory) <= 0.15):.0%} within 15 %."
    )
    facts = ", ".join(f"{key} {value}" for key, value in machine().items())
    text = (
        f"# Plans\n\nWritten by `python -m bench plan`.\n\n{facts}\n\n{summary}\n\n" + "\n".join(lines) + "\n"
    )
    RESULTS.write_text(text)
    print(text)


def _cell(folder: Path, name: str, rows: int) -> dict[str, Any]:
    path = write_rows(folder, rows)
    job = folder / "job.yaml"
    write_job(job, name, path, folder / "out")
    environment = {**os.environ, "OUTGROW_CACHE": str(folder / f"cache {name} {rows}")}
    outgrow = [sys.executable, "-m", "outgrow"]
    plan, quiet = folder / "plan.json", {"check": True, "capture_output": True, "env": environment}
    subprocess.run([*outgrow, "plan", job, "-o", plan, "--overwrite"], **quiet)
    subprocess.run([*outgrow, "run", job, "--overwrite"], **quiet)
    told, ran = json.loads(plan.read_text()), json.loads((folder / "out" / "run.json").read_text())
    return {
        "model": name,
        "rows": rows,
        "planned": told["places"][0]["seconds"] - told["size"]["import_seconds"],
        "took": sum(stage["seconds"] for stage in ran["stages"]),
        "memory": told["places"][0]["memory"] / 1e6,
        "held": max(stage["memory"] for stage in ran["stages"]) / 1e6,
        "planning": told["planning_seconds"],
    }


def write_rows(folder: Path, rows: int) -> Path:
    """A file of so many rows, made when it is first asked for."""
    path = folder / f"{rows}.parquet"
    if not path.exists():
        random = np.random.default_rng(rows)
        X = random.normal(size=(rows, COLUMNS))
        columns = {f"x{j}": X[:, j] for j in range(COLUMNS)}
        late = X[:, :5].sum(axis=1) + X[:, 0] * X[:, 6] + 2 * random.normal(size=rows) > 0
        pq.write_table(pa.table({**columns, "late": late}), path, row_group_size=100_000)
    return path


def write_job(job: Path, model: str, rows: Path, output: Path) -> None:
    """A job of one of the models."""
    job.write_text(
        f"name: {model}\ndata: {{path: {rows}}}\ntarget: late\n"
        "steps: [StandardScaler: {columns: numeric}]\n"
        f"model: {{{MODELS[model]}}}\noutput: {output}\n"
    )


def _line(row: dict[str, Any]) -> str:
    time, memory = row["planned"] / row["took"] - 1, row["memory"] / row["held"] - 1
    return (
        f"| {row['model']} | {row['rows']:,} | {row['planned']:.1f} | {row['took']:.1f} | {time:+.0%} "
        f"| {row['memory']:.0f} | {row['held']:.0f} | {memory:+.0%} | {row['planning']:.1f} |"
    )


if __name__ == "__main__":
    main()
