"""Cells by name, each in a process of its own, their results kept beside those of earlier runs."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.grids.cell import Cell, measure
from bench.grids.report import page
from bench.machine import machine

RESULTS = Path(__file__).parents[1] / "results"
TURNS = 3
LONGEST = 1_800
"""Seconds until a cell is given up."""


@dataclass(frozen=True)
class Grid:
    """Cells that one page shows.

    Attributes
    ----------
    name : what follows `python -m bench`, and what the files of the results are called.
    introduction : what the page says above its tables.
    aims : the ratio that no cell beside a peer should be below.
    """

    name: str
    introduction: str
    aims: dict[str, float]
    cells: dict[str, Cell]

    @classmethod
    def of(cls, name: str, introduction: str, aims: dict[str, float], cells: Iterable[Cell]) -> Grid:
        return cls(name, introduction.strip(), aims, {cell.name: cell for cell in cells})

    def main(self, description: str | None) -> None:
        """Measure the cells that the command line names."""
        parser = argparse.ArgumentParser(prog=f"python -m bench {self.name}", description=description)
        parser.add_argument("parts", nargs="*", metavar="PART", help="text that the names of cells hold")
        parser.add_argument(
            "--turns", type=int, default=TURNS, help=f"turns of each contender, {TURNS} by default"
        )
        parser.add_argument("--one", help=argparse.SUPPRESS)
        parser.add_argument("--missing", action="store_true", help="only cells that have no result yet")
        parser.add_argument("--list", action="store_true", help="only name the cells")
        parser.add_argument("--keep", type=Path, default=RESULTS, help="the folder of the results")
        asked = parser.parse_args()
        if asked.one:
            print(json.dumps(measure(self.cells[asked.one], asked.turns)))
            return
        chosen = [name for name in self.cells if all(part in name for part in asked.parts)]
        if asked.missing:
            known = {each["cell"] for each in self.known(asked.keep) if "failed" not in each}
            chosen = [name for name in chosen if name not in known]
        if asked.list:
            print("\n".join(chosen))
            return
        for name in chosen:
            self.keep(asked.keep, self.run(name, asked.turns))

    def run(self, name: str, turns: int) -> dict[str, Any]:
        """One cell in a process of its own."""
        options = ["--one", name, "--turns", str(turns)]
        command = [sys.executable, "-W", "ignore", "-m", "bench", self.name, *options]
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

    def known(self, folder: Path) -> list[dict[str, Any]]:
        """The results of earlier runs."""
        path = folder / f"{self.name}.json"
        return json.loads(path.read_text())["cells"] if path.exists() else []

    def keep(self, folder: Path, result: dict[str, Any]) -> None:
        """Write a result beside those of other cells."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        cells = [*(each for each in self.known(folder) if each["cell"] != result["cell"]), result]
        facts = machine()
        path.write_text(json.dumps({"machine": facts, "cells": cells}, indent=1) + "\n")
        shown = page(cells, facts, self.name.capitalize(), self.introduction, self.aims)
        (folder / f"{self.name}.md").write_text(shown)
