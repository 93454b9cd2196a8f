"""The grid as a page."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log
from statistics import median
from typing import Any


def page(
    cells: Sequence[dict[str, Any]],
    facts: dict[str, str],
    title: str,
    introduction: str,
    aims: dict[str, float],
) -> str:
    """All cells by their peers, those that failed and the slowest first.

    Parameters
    ----------
    cells : what was measured.
    facts : of the machine.
    title, introduction : what stands above.
    aims : the ratio that no cell beside a peer should be below.
    """
    done = sorted((cell for cell in cells if "failed" not in cell), key=lambda cell: cell["ratio"])
    failed = [f"- {cell['cell']} failed: {cell['failed']}" for cell in cells if "failed" in cell]
    lines = [f"# {title}", "", introduction, "", ", ".join(f"{k} {v}" for k, v in facts.items()), "", *failed]
    for peer in dict.fromkeys(cell["peer"] for cell in done):
        lines += ["", *_beside(peer, [cell for cell in done if cell["peer"] == peer], aims[peer])]
    return "\n".join(lines) + "\n"


def _beside(peer: str, cells: Sequence[dict[str, Any]], aim: float) -> list[str]:
    ratios = [cell["ratio"] for cell in cells]
    mean = exp(sum(map(log, ratios)) / len(ratios))
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
