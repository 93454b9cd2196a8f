"""`python -m bench wire`: the all-reduce of our ranks beside that of XGBoost's collective, in the same run.

Processes on this machine talk over loopback; in each turn one all-reduce of either follows the other, begun
by all at the same moment. Ours is authenticated, XGBoost's is not.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from xgboost import collective
from xgboost.tracker import RabitTracker

from bench.machine import machine
from outgrow.engine.ranks.rendezvous import join

RESULTS = Path(__file__).parent / "results"
LOOPBACK, PORTS = "127.0.0.1", (20_000, 30_000)
RANKS = (2, 4)
NUMBERS = (10, 1_000, 100_000, 1_000_000, 10_000_000)
TARGET = (2, 10_000_000)


def main() -> None:
    facts = machine()
    found = [_measured(ranks, numbers) for ranks in RANKS for numbers in NUMBERS]
    facts["load after"] = " ".join(f"{load:.2f}" for load in os.getloadavg())
    (RESULTS / "wire.json").write_text(json.dumps({"machine": facts, "all-reduce": found}, indent=1) + "\n")
    (RESULTS / "wire.md").write_text(_table(found, facts))
    print(_table(found, facts))


def _measured(ranks: int, numbers: int) -> dict[str, Any]:
    """Milliseconds of either: the median of all turns, and the least."""
    spawn = multiprocessing.get_context("spawn")
    answers, secret = spawn.Queue(), os.urandom(32)
    tracker = RabitTracker(n_workers=ranks, host_ip=LOOPBACK, sortby="task", timeout=120)
    tracker.start()
    given = (ranks, numbers, secret, tracker.worker_args(), answers)
    processes = [spawn.Process(target=_rank, args=(rank, *given)) for rank in range(ranks)]
    for process in processes:
        process.start()
    ours, theirs = answers.get(timeout=300)
    for process in processes:
        process.join(60)
    tracker.free()
    return {
        "ranks": ranks,
        "numbers": numbers,
        "ours": [1000 * median(ours), 1000 * min(ours)],
        "xgboost": [1000 * median(theirs), 1000 * min(theirs)],
        "ratio": median(theirs) / median(ours),
    }


def _rank(rank: int, ranks: int, numbers: int, secret: bytes, tracker: dict[str, Any], answers: Any) -> None:
    comm = join(rank, [LOOPBACK] * ranks, secret, ports=PORTS, joining=60, deadline=60)
    turns = 200 if numbers <= 1_000 else 50 if numbers <= 100_000 else 11

    def timed(allreduce: Callable[[np.ndarray], np.ndarray]) -> float:
        state = np.full(numbers, rank + 1.0)
        comm.allreduce(None)  # all begin together
        began = time.perf_counter()
        total = allreduce(state)
        seconds = time.perf_counter() - began
        assert total[0] == total[-1] == ranks * (ranks + 1) / 2
        return seconds

    with collective.CommunicatorContext(**tracker):
        pairs = [
            (timed(comm.allreduce), timed(lambda state: collective.allreduce(state, collective.Op.SUM)))
            for _ in range(turns + 1)
        ]
        if rank == 0:
            ours, theirs = zip(*pairs[1:], strict=True)  # the first turn warms up
            answers.put((ours, theirs))
        comm.allreduce(None)
    comm.close()


def _table(found: list[dict[str, Any]], facts: dict[str, str]) -> str:
    lines = [
        "# All-reduce of float64 numbers between ranks on loopback",
        "",
        "Written by `python -m bench wire`; milliseconds, the median of all turns and the least.",
        f"{facts['CPU']}, {facts['cores']} cores, {facts['date']}; load {facts['load before']} before and "
        f"{facts['load after']} after.",
        "",
        "| ranks | numbers | outgrow | XGBoost's collective | XGBoost / outgrow |",
        "|---:|---:|---:|---:|---:|",
    ]
    for each in found:
        ours, theirs = (f"{each[who][0]:.2f} ({each[who][1]:.2f})" for who in ("ours", "xgboost"))
        row = f"| {each['ranks']} | {each['numbers']:,} | {ours} | {theirs} | {each['ratio']:.2f} |"
        lines.append(row.replace("| 10,000,000 |", "| **10,000,000** |") if _is_target(each) else row)
    return "\n".join(lines) + "\n"


def _is_target(each: dict[str, Any]) -> bool:
    return (each["ranks"], each["numbers"]) == TARGET
