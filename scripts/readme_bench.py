"""Fill README.md's table of benchmarks from bench/results/*.json: `python scripts/readme_bench.py`.

With `--check` nothing is written, and the exit code is 1 when the table is not that of the results.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README, RESULTS = ROOT / "README.md", ROOT / "bench" / "results"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def main() -> int:
    text = README.read_text()
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        print(f"{README} lacks {BEGIN} or {END}. Put both where the table belongs.", file=sys.stderr)
        return 1
    files = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    results = [result for result in files if "case" in result]  # grids have pages of their own
    filled = "\n".join([head + BEGIN, *table(results), END + tail])
    if "--check" in sys.argv[1:]:
        return int(filled != text)
    README.write_text(filled)
    return 0


def table(results: list[dict[str, Any]]) -> Iterable[str]:
    """A line for each comparison that has a target."""
    if not results:
        yield "No results are stored yet: `make bench` measures them on your machine."
        return
    yield "| job | rows | outgrow, s | peer | peer, s | outgrow is | same optimum |"
    yield "|---|---:|---:|---|---:|---:|---|"
    for result in results:
        if result["case"] in ASIDE:
            continue
        medians = {each["contender"]: each["median"] for each in result["contenders"]}
        for target in result["targets"]:
            ours, _, peer = target["compared"].partition(" : ")
            if peer == SCAN or ours.endswith(CACHED):
                continue
            yield line(result, ours, medians[ours], peer, medians[peer], worse=target["worse"])
    yield ""
    yield from machines(results)


ASIDE = {"fused", "imputer", "onehot", "scaler"}
"""Cases that compare many fits with one, and those of single transformers, which have a page of their own."""
SCAN = "1 scan"
"""What reading alone takes; no peer."""
CACHED = "cached before"
"""Contenders whose rows Spark had written before: on the page of results only."""


def line(result: dict[str, Any], ours: str, own: float, peer: str, other: float, *, worse: bool) -> str:
    rows = f"{result['rows']:,}" if result["rows"] else "flights"
    ratio = f"{other / own:.1f}x faster" if other >= own else f"{own / other:.2f}x slower"
    cells = (
        f"{result['case']}, {ours}",
        rows,
        f"{own:.2f}",
        peer,
        f"{other:.2f}",
        ratio,
        "no" if worse else "yes",
    )
    return f"| {' | '.join(cells)} |"


def machines(results: list[dict[str, Any]]) -> Iterable[str]:
    """What it was measured on, each machine once."""
    shown = (each["machine"] for each in results if each["targets"] and each["case"] not in ASIDE)
    facts = {(m["CPU"], m["cores"], m["memory"], m["date"][:10]) for m in shown}
    for cpu, cores, memory, date in sorted(facts):
        yield f"Seconds are medians; measured on {date} with {cores} cores of {cpu}, {memory}."


if __name__ == "__main__":
    sys.exit(main())
