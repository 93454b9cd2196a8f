"""`python -m bench wire`: our all-reduce beside XGBoost's collective's and torch's gloo's, in the same run.

Processes on this machine talk over loopback; in each turn one all-reduce of either follows the other, begun
by all at the same moment. Ours is authenticated, the others are not. gloo works on one thread, in a ring.
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
import torch
import torch.distributed
from xgboost import collective
from xgboost.tracker import RabitTracker

from bench.machine import machine
from outgrow.engine.ranks.rendezvous import join
from outgrow.testing.clusters import free_port

RESULTS = Path(__file__).parent / "results"
LOOPBACK, PORTS = "127.0.0.1", (20_000, 30_000)
RANKS = (2, 4)
NUMBERS = (10, 1_000, 100_000, 1_000_000, 5_000_000, 10_000_000)
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
    given = (ranks, numbers, secret, tracker.worker_args(), free_port(), answers)
    processes = [spawn.Process(target=_rank, args=(rank, *given)) for rank in range(ranks)]
    for process in processes:
        process.start()
    ours, xgboost, gloo = answers.get(timeout=300)
    for process in processes:
        process.join(60)
    tracker.free()
    return {
        "ranks": ranks,
        "numbers": numbers,
        **{
            name: [1000 * median(times), 1000 * min(times)]
            for name, times in (("ours", ours), ("xgboost", xgboost), ("gloo", gloo))
        },
        "ratio": median(xgboost) / median(ours),
        "gloo ratio": median(gloo) / median(ours),
    }


def _rank(
    rank: int, ranks: int, numbers: int, secret: bytes, tracker: dict[str, Any], port: int, answers: Any
) -> None:
    comm = join(rank, [LOOPBACK] * ranks, secret, ports=PORTS, joining=60, deadline=60)
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = f"tcp://{LOOPBACK}:{port}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=ranks)
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
            (
                timed(comm.allreduce),
                timed(lambda state: collective.allreduce(state, collective.Op.SUM)),
                timed(_by_gloo),
            )
            for _ in range(turns + 1)
        ]
        if rank == 0:
            answers.put(tuple(zip(*pairs[1:], strict=True)))  # the first turn warms up
        comm.allreduce(None)
    comm.close()
    torch.distributed.destroy_process_group()


def _by_gloo(state: np.ndarray) -> np.ndarray:
    torch.distributed.all_reduce(torch.from_numpy(state))
    return state


def _table(found: list[dict[str, Any]], facts: dict[str, str]) -> str:
    lines = [
        "# All-reduce of float64 numbers between ranks on loopback",
        "",
        "Written by `python -m bench wire`; milliseconds, the median of all turns and the least.",
        f"{facts['CPU']}, {facts['cores']} cores, {facts['date']}; load {facts['load before']} before and "
        f"{facts['load after']} after.",
        "",
        "| ranks | numbers | outgrow | XGBoost's collective | gloo | XGBoost / outgrow | gloo / outgrow |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for each in found:
        times = " | ".join(f"{each[who][0]:.2f} ({each[who][1]:.2f})" for who in ("ours", "xgboost", "gloo"))
        ratios = f"{each['ratio']:.2f} | {each['gloo ratio']:.2f}"
        row = f"| {each['ranks']} | {each['numbers']:,} | {times} | {ratios} |"
        lines.append(row.replace("| 10,000,000 |", "| **10,000,000** |") if _is_target(each) else row)
    return "\n".join(lines) + "\n"


def _is_target(each: dict[str, Any]) -> bool:
    return (each["ranks"], each["numbers"]) == TARGET
