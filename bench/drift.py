"""`python -m bench drift`: what changed in rows, beside evidently, and how many rows and columns that takes.

Contenders run in processes of their own, on files that are made first. evidently comes with the extra
`peers`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.machine import machine
from bench.processes import kilobytes

RESULTS = Path(__file__).parent / "results"
ROWS, COLUMNS, REPEATS = 200_000, 20, 5
LARGE_ROWS, TIMES = 5_000_000, 20
WIDE_ROWS, WIDE_COLUMNS = 100_000, 5_000
NULL_COLUMNS, WINDOWS, NULL_ROWS = 1_000, 100, 500


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench drift", description=__doc__)
    parser.add_argument("cases", nargs="*", help=f"which of {', '.join(CASES)}; all by default")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(CASES[asked.one]()))
        return
    facts = machine()
    path = RESULTS / "drift.json"
    record = json.loads(path.read_text())["cases"] if path.exists() and asked.cases else {}
    for name in asked.cases or CASES:
        print(name, file=sys.stderr, flush=True)
        record[name] = _in_a_process(name) | {"load": f"{os.getloadavg()[0]:.1f}"}
    facts["load after"] = " ".join(f"{load:.2f}" for load in os.getloadavg())
    text = _report(record, facts)
    print(text)
    path.write_text(json.dumps({"machine": facts, "cases": record}, indent=1) + "\n")
    (RESULTS / "drift.md").write_text(text)


def _in_a_process(name: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench", "drift", "--one", name]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1][:200]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _folder() -> Path:
    folder = Path(os.environ.get("OUTGROW_BENCH_DATA", "bench/data")) / "drift"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _normal(name: str, rows: int, columns: int, shift: float, seed: int, group: int = 250_000) -> Path:
    """A file of normal numbers, of which every fourth column is shifted."""
    path = _folder() / f"{name}.parquet"
    if not path.exists():
        random = np.random.default_rng(seed)
        schema = pa.schema([(f"x{j}", pa.float64()) for j in range(columns)])
        with pq.ParquetWriter(path, schema) as writer:
            for start in range(0, rows, group):
                count = min(group, rows - start)
                arrays = [random.normal(shift * (j % 4 == 0), 1, count) for j in range(columns)]
                writer.write_table(pa.table(arrays, schema), row_group_size=group)
    return path


def _sides() -> tuple[Path, Path]:
    return _normal("before", ROWS, COLUMNS, 0.0, 0, 50_000), _normal("after", ROWS, COLUMNS, 0.3, 1, 50_000)


def _best(function: Callable[[], Any], repeats: int = REPEATS) -> float:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return min(times)


def _peak() -> int:
    return kilobytes(Path("/proc/self/status"), "VmHWM") >> 20


def _outgrow() -> dict[str, Any]:
    import outgrow as og

    before, after = _sides()
    result = og.drift(before, after)
    seconds = _best(lambda: og.drift(before, after))
    reference = og.Reference.of(og.read(before))
    stored = _best(lambda: og.drift(reference, after))
    return {"seconds": seconds, "stored": stored, "drifted": len(result.drifted), "peak MiB": _peak()}


def _evidently() -> dict[str, Any]:
    import pandas
    from evidently import Report
    from evidently.presets import DataDriftPreset

    before, after = _sides()

    def run() -> Any:
        sides = [pandas.read_parquet(path) for path in (after, before)]
        return Report([DataDriftPreset()]).run(*sides).dict()

    drifted = run()["metrics"][0]["value"]["count"]
    seconds = _best(run, 2)
    return {"seconds": seconds, "drifted": int(drifted), "peak MiB": _peak()}


def _many_rows() -> dict[str, Any]:
    """One file read many times, counted beside a stored reference; and the same only read."""
    import outgrow as og

    path = _normal("large", LARGE_ROWS, COLUMNS, 0.1, 2)
    reference = og.Reference.of(og.read(_sides()[0]))
    scan = og.read(path).scan

    def read() -> None:
        for _ in range(TIMES):
            og.Local().fit(
                lambda shard: shard.reduce(lambda batch: np.array([batch.num_rows]), encoded=True),
                scan,
                keep=False,
            )

    def count() -> Any:
        window = reference.empty()
        for _ in range(TIMES):
            window = window.merge(reference.count(og.read(path)))
        return window

    reading = _best(read, 1)
    began = time.perf_counter()
    window = count()
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "reading": reading, "rows": window.rows, "peak MiB": _peak()}


def _many_columns() -> dict[str, Any]:
    """Rows in memory, counted beside a stored reference and compared; and both sides."""
    import outgrow as og
    from outgrow.monitor.compare import compare

    random = np.random.default_rng(0)
    rows = np.empty((WIDE_ROWS, WIDE_COLUMNS))
    for start in range(0, WIDE_ROWS, 5_000):
        rows[start : start + 5_000] = random.normal(size=(5_000, WIDE_COLUMNS))
    began = time.perf_counter()
    reference = og.Reference.of(rows[:20_000])
    learned = time.perf_counter() - began
    reference.count(rows[:2_000])
    began = time.perf_counter()
    window = reference.count(rows)
    counted = time.perf_counter() - began
    findings = compare(reference, window)
    compared = time.perf_counter() - began - counted
    return {
        "seconds": counted + compared,
        "count": counted,
        "compare": compared,
        "reference of 20,000 rows": learned,
        "findings": len(findings),
        "peak MiB": _peak(),
    }


def _false_discoveries() -> dict[str, Any]:
    """Windows of unchanged columns: how many are called certain, and how many drift."""
    import outgrow as og
    from outgrow.monitor.compare import compare

    random = np.random.default_rng(0)
    reference = og.Reference.of(random.normal(size=(20_000, NULL_COLUMNS)))
    certain = drifted = naive = windows = 0
    for _ in range(WINDOWS):
        findings = compare(reference, reference.count(random.normal(size=(NULL_ROWS, NULL_COLUMNS))))
        tests = [finding for finding in findings if finding.what == "values"]
        false = sum(finding.q <= 0.01 for finding in tests)
        certain, windows = certain + false, windows + (false > 0)
        drifted += sum(finding.verdict == "drift" for finding in tests)
        naive += sum(finding.measures["psi"].value >= 0.1 for finding in tests)
    share = windows / WINDOWS
    return {"certain": certain, "windows with any": share, "drift": drifted, "PSI of 0.1 and more": naive}


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "outgrow": _outgrow,
    "evidently": _evidently,
    "many rows": _many_rows,
    "many columns": _many_columns,
    "false discoveries": _false_discoveries,
}


def _report(cases: dict[str, Any], facts: dict[str, str]) -> str:
    lines = [
        "# Drift",
        "",
        "Written by `python -m bench drift`. Each case ran in a process of its own; load is that of the",
        "machine, which has other work, as the case ended.",
        "",
        f"{facts['CPU']}, {facts['cores']} cores, {facts['date']}.",
    ]
    for name, text in _TEXTS.items():
        case = cases.get(name)
        if case is None:
            continue
        lines += ["", f"## {name.capitalize()}", "", *text.strip().splitlines(), "", "| | |", "|---|---:|"]
        lines += [f"| {key} | {_shown(value)} |" for key, value in case.items()]
    if {"outgrow", "evidently"} <= cases.keys() and "seconds" in cases["evidently"]:
        ratio = cases["evidently"]["seconds"] / cases["outgrow"]["seconds"]
        lines += ["", f"evidently takes {ratio:.0f} times as long as outgrow."]
    if "many rows" in cases and "seconds" in cases["many rows"]:
        ratio = cases["many rows"]["seconds"] / cases["many rows"]["reading"]
        lines += ["", f"Counting many rows takes {ratio:.2f} times what only reading them takes."]
    return "\n".join(lines) + "\n"


_TEXTS = {
    "outgrow": f"""
{ROWS:,} x {COLUMNS} float64 on both sides, from Parquet: `og.drift(before, after)`, the best of {REPEATS};
stored: the reference was made before.
""",
    "evidently": """
The same files with `DataDriftPreset`, the best of 2 after a first one.
""",
    "many rows": f"""
{LARGE_ROWS * TIMES:,} x {COLUMNS}: one Parquet file of {LARGE_ROWS:,} rows, read {TIMES} times, counted
beside a stored reference; reading: the same passes that only ask batches for their rows.
""",
    "many columns": f"""
{WIDE_ROWS:,} x {WIDE_COLUMNS:,} float64 in memory, counted beside a stored reference and compared.
""",
    "false discoveries": f"""
{NULL_COLUMNS:,} unchanged columns, {WINDOWS} windows of {NULL_ROWS} rows, fdr 0.01: columns that are called
certain or drift, and how many a fixed threshold of PSI would have called.
""",
}


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if value < 10 else f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
