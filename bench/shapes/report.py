"""The grid as a page."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log
from statistics import median
from typing import Any

INTRODUCTION = """
Written by `python -m bench shapes`. One process a cell; in it outgrow and its peer take turns on the same
rows, with the same cores: beside scikit-learn on rows in memory, beside MLlib on one warm Spark session, from
Parquet files or a DataFrame, both after a run on 1,000 rows (outgrow's is repeated before each of its turns:
Spark ends processes of Python that had nothing to do for a minute). Seconds are medians of three turns on the
clock, fewer of slow peers (in brackets: of all cores); the ratio is the peer's seconds by outgrow's. The
objective of each is what its model reaches, by the same code: it must not be worse than the peer's by more
than the cell's slack. "load" is the machine's when the cell ended.
""".strip()

AIMS = {"scikit-learn": 0.9, "MLlib": 5.0}
"""The ratio that no cell beside a peer should be below."""


def page(cells: Sequence[dict[str, Any]], facts: dict[str, str]) -> str:
    """All cells by their peers, those that failed and the slowest first."""
    done = sorted((cell for cell in cells if "failed" not in cell), key=lambda cell: cell["ratio"])
    failed = [f"- {cell['cell']} failed: {cell['failed']}" for cell in cells if "failed" in cell]
    lines = ["# Shapes", "", INTRODUCTION, "", ", ".join(f"{k} {v}" for k, v in facts.items()), "", *failed]
    for peer in dict.fromkeys(cell["peer"] for cell in done):
        lines += ["", *_beside(peer, [cell for cell in done if cell["peer"] == peer])]
    return "\n".join(lines) + "\n"


def _beside(peer: str, cells: Sequence[dict[str, Any]]) -> list[str]:
    ratios = [cell["ratio"] for cell in cells]
    mean, aim = exp(sum(map(log, ratios)) / len(ratios)), AIMS[peer]
    slow = sum(ratio < aim for ratio in ratios)
    return [
        f"## Beside {peer}: {len(ratios)} cells, geometric mean {mean:.2f}x, {slow} below {aim:g}x",
        "",
        "| cell | ratio | outgrow s | peer s | outgrow objective | peer objective | load |",
        "|---|---|---|---|---|---|---|",
        *map(_line, cells),
    ]


def _line(cell: dict[str, Any]) -> str:
    ours, theirs = cell["ours"], cell["theirs"]
    worse = " (worse)" if cell["worse"] else ""
    entries = [
        cell["cell"],
        f"{cell['ratio']:.2f}",
        _seconds(ours),
        _seconds(theirs),
        f"{ours['found']:.9g}{worse}",
        f"{theirs['found']:.9g}",
        f"{cell['load']:.1f}",
    ]
    return f"| {' | '.join(entries)} |"


def _seconds(times: dict[str, Any]) -> str:
    return f"{median(times['wall']):.3g} ({median(times['cpu']):.3g})"
