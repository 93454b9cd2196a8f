"""What the measurements of `bench.scaling` mean for larger clusters: `python -m bench.forecast`.

Fills the tables of docs/scaling.md from bench/results/scaling/scaling.json.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import median
from typing import Any

from bench.scaling import RESULTS, ROWS

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
EXECUTORS = (10, 100, 1_000)
STATES = (31, 10_000, 1_000_000)
ROWS_PER_RANK = 10_000_000
PASSES = 9
LAUNCH = 0.002
"""Seconds in which Spark's driver starts one task."""

SPREAD = 0.05
"""How much ranks differ in a pass: the standard deviation as a share of the mean; assumed."""


def main() -> None:
    found = json.loads(RESULTS.read_text())
    text = PAGE.read_text()
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = f"{head}{begin}\n{table(found)}\n{end}{tail}"
    PAGE.write_text(text)
    print(text)


def clusters(found: dict[str, Any]) -> str:
    """Medians on one and two workers."""
    lines = ["| work | rows | 1 worker, s | 2 workers, s | 2 workers are |", "|---|---:|---:|---:|---:|"]
    for name in ("logistic", "kmeans", "scoring"):
        for times in (1, 2, 4):
            one, two = (median(found[f"workers {n}"][name][f"{times}x"]) for n in (1, 2))
            lines.append(f"| {name} | {ROWS * times:,} | {one:.2f} | {two:.2f} | {one / two:.2f}x faster |")
    return "\n".join(lines)


def efficiencies(found: dict[str, Any]) -> str:
    names = ("logistic", "kmeans", "scoring")
    lines = ["| efficiency | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for kind, values in found["efficiency"].items():
        if "logistic" in values:
            lines.append(f"| {kind} | " + " | ".join(f"{values[name]:.2f}" for name in names) + " |")
    return "\n".join(lines)


def allreduces(found: dict[str, Any]) -> str:
    lines = ["| floats | ranks | ms | sent by all ranks, MB |", "|---:|---:|---:|---:|"]
    lines += [
        f"| {each['floats']:,} | {each['ranks']} | {1000 * each['seconds']:.2f} | {each['bytes'] / 1e6:.2f} |"
        for each in found["allreduce"]
    ]
    return "\n".join(lines)


def beyond(found: dict[str, Any]) -> str:
    """More data than memory."""
    both = found["beyond memory"]
    lines = ["| data | rows | s per million rows | spilled, MiB |", "|---|---:|---:|---:|"]
    for name in ("in memory", "four times the memory"):
        each = both[name]
        lines.append(
            f"| {name} | {each['rows']:,} | {each['s per million rows']:.2f} | {each['spilled, MiB']:,} |"
        )
    return "\n".join(lines)


def forecast(found: dict[str, Any]) -> str:
    """Seconds of a fit of `PASSES` passes with `ROWS_PER_RANK` rows on each rank."""
    columns = (
        "executors",
        "floats in the state",
        "rows",
        "start, s",
        "rows' part, s",
        "slowest rank, s",
        "all-reduce, s",
        "in all, s",
    )
    lines = ["| " + " | ".join(columns) + " |", "|" + "---:|" * len(columns)]
    for ranks in EXECUTORS:
        for floats in STATES:
            parts = predict(found, ranks, floats)
            rows = ranks * ROWS_PER_RANK
            shown = " | ".join(f"{part:.1f}" for part in (*parts, sum(parts)))
            lines.append(f"| {ranks:,} | {floats:,} | {rows:,} | {shown} |")
    return "\n".join(lines)


def predict(found: dict[str, Any], ranks: int, floats: int) -> tuple[float, float, float, float]:
    """Seconds to start, of the rows' part, of waiting for the slowest rank, and of all-reduces."""
    one = found["workers 1"]["logistic"]
    per_row = (median(one["4x"]) - median(one["1x"])) / (3 * ROWS)
    rows = per_row * ROWS_PER_RANK
    start = median(found["workers 1"]["empty"]["fit"]) + LAUNCH * ranks
    slowest = rows * SPREAD * math.sqrt(2 * math.log(ranks))
    return start, rows, slowest, PASSES * allreduce_seconds(found, ranks, floats)


def allreduce_seconds(found: dict[str, Any], ranks: int, floats: int) -> float:
    """The tree has log2(ranks) levels; at each, a state goes up and down two edges, one after the other."""
    pairs = sorted((each["floats"], each["seconds"]) for each in found["allreduce"] if each["ranks"] == 2)
    (_, least), (many, most) = pairs[0], pairs[-1]
    return 2 * int(math.log2(ranks)) * (least + (most - least) * floats / many)


TABLES = {
    "clusters": clusters,
    "efficiency": efficiencies,
    "allreduce": allreduces,
    "beyond": beyond,
    "forecast": forecast,
}


if __name__ == "__main__":
    main()
