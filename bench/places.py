"""`python -m bench places`: whether plans name the quicker place, this machine or Spark.

Spark is `local[2]`, its session started before and not counted; the plan is asked for one executor of as many
cores as this machine has. Each job runs once in each place, one after the other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.machine import machine
from bench.plan import MODELS, write_job, write_rows

RESULTS = Path(__file__).parent / "results" / "places.md"
ROWS = (20_000, 200_000)
SESSION = 8.0
"""Seconds that plans count for a session."""
HEAD = "| model | rows | here, s | planned | on Spark, s | planned | quicker | plan says | right |"


def main() -> None:
    from pyspark.sql import SparkSession

    import outgrow as og

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["OUTGROW_CACHE"] = str(folder / "cache")
        prices = folder / "prices.yaml"
        cores = len(os.sched_getaffinity(0))
        prices.write_text(
            f"currency: USD\nmachines: [{{name: this, cores: {cores}, memory_gib: 8, price: 0.1}}]\n"
        )
        spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
        engine = og.Spark(spark)
        rows = [_cell(folder, model, size, engine, prices) for size in ROWS for model in list(MODELS)[:5]]
        spark.stop()
    right = sum(row.endswith("yes |") for row in rows)
    facts = ", ".join(f"{key} {value}" for key, value in machine().items())
    verdict = f"{right} of {len(rows)} plans name the place that was quicker."
    text = "\n\n".join(["# Here or on Spark", str(__doc__).strip(), facts, verdict])
    RESULTS.write_text(text + "\n\n" + "\n".join([HEAD, "|" + "---|" * 9, *rows]) + "\n")


def _cell(folder: Path, model: str, rows: int, engine: Any, prices: Path) -> str:
    from outgrow.engine.local import Local

    path = write_rows(folder, rows)
    job = folder / "job.yaml"
    write_job(job, model, path, folder / "out")
    plan = folder / "plan.json"
    command = [sys.executable, "-m", "outgrow", "plan", str(job), "-o", str(plan), "--overwrite"]
    options = ["--seconds", "4", "--executors", "1", "--prices", str(prices)]
    subprocess.run([*command, *options], check=True, capture_output=True)
    here, there = json.loads(plan.read_text())["places"]
    planned_here = here["seconds"] - json.loads(plan.read_text())["size"]["import_seconds"]
    planned_there = there["seconds"] - SESSION
    took_here, took_there = _seconds(job, Local()), _seconds(job, engine)
    quicker = "here" if took_here <= took_there else "Spark"
    says = "here" if planned_here <= planned_there else "Spark"
    seconds = (took_here, planned_here, took_there, planned_there)
    numbers = " | ".join(f"{value:.1f}" for value in seconds)
    right = "yes" if quicker == says else "no"
    line = f"| {model} | {rows:,} | {numbers} | {quicker} | {says} | {right} |"
    print(line, flush=True)
    return line


def _seconds(job: Path, engine: Any) -> float:
    from outgrow.job.load import load_job
    from outgrow.job.run import run_job

    began = time.perf_counter()
    run_job(load_job(str(job)), engine, overwrite=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
