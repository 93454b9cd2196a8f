"""`python -m bench shapes [PART ...]`: the cells whose names hold every PART, or all.

Each runs in a process of its own. Results are kept in bench/results/shapes.json, so that some cells can be
measured anew, and shown in bench/results/shapes.md, the worst first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.machine import machine
from bench.shapes.cell import Cell, measure
from bench.shapes.linear import CELLS as LINEAR
from bench.shapes.others import CELLS as OTHERS
from bench.shapes.report import page
from bench.shapes.spark import CELLS as SPARK

RESULTS = Path(__file__).parents[1] / "results"
TURNS = 3
LONGEST = 1_800
"""Seconds until a cell is given up."""

CELLS: dict[str, Cell] = {cell.name: cell for cell in (*LINEAR, *OTHERS, *SPARK)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench shapes", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="text that the names of cells hold")
    parser.add_argument(
        "--turns", type=int, default=TURNS, help=f"turns of each contender, {TURNS} by default"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--list", action="store_true", help="only name the cells")
    parser.add_argument("--keep", type=Path, default=RESULTS, help="the folder of the results")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(CELLS[asked.one], asked.turns)))
        return
    chosen = [name for name in CELLS if all(part in name for part in asked.parts)]
    if asked.list:
        print("\n".join(chosen))
        return
    for name in chosen:
        keep(asked.keep, run(name, asked.turns))


def run(name: str, turns: int) -> dict[str, Any]:
    """One cell in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "bench", "shapes", "--one", name, "--turns", str(turns)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=True)
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        result = {"cell": name, "failed": f"more than {LONGEST} s"}
    except subprocess.CalledProcessError as error:
        result = {"cell": name, "failed": (error.stderr.strip().splitlines() or [str(error)])[-1][:200]}
    shown = result.get("failed") or f"{result['ratio']:.2f}x{', worse objective' * result['worse']}"
    print(f"{name}: {shown}", file=sys.stderr, flush=True)
    return result


def keep(folder: Path, result: dict[str, Any]) -> None:
    """Write a result beside those of other cells."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "shapes.json"
    known = json.loads(path.read_text())["cells"] if path.exists() else []
    cells = [*(each for each in known if each["cell"] != result["cell"]), result]
    facts = machine()
    path.write_text(json.dumps({"machine": facts, "cells": cells}, indent=1) + "\n")
    (folder / "shapes.md").write_text(page(cells, facts))


if __name__ == "__main__":
    main()
