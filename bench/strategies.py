"""`python -m bench strategies`: four ranks on a slow network, by each strategy and codec, in one run.

Each rank is a process in a network namespace of its own; a relay lets each send 100 Mbit/s, and each packet
takes 25 ms. All train the same network on the same flights for the same number of steps.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import outgrow as og
from bench.flights_by_hand import table
from bench.machine import machine
from bench.slow_network import SlowNetwork
from outgrow.deep.strategy_words import strategy_of

RANKS, MEGABITS, DELAY = 4, 100.0, 0.025
ROWS, BATCH, EPOCHS, HIDDEN = 12_800, 128, 1, (1024, 1024)
RESULTS = Path(__file__).parent / "results" / "strategies.md"
CONTENDERS: dict[str, Any] = {
    "ddp": {"name": "ddp"},
    "ddp, tree": {"name": "ddp", "topology": "tree"},
    "ddp, mesh": {"name": "ddp", "topology": "mesh"},
    "ddp, ring": {"name": "ddp", "topology": "ring"},
    "ddp, bfloat16": {"name": "ddp", "codec": "bfloat16"},
    "ddp, int8": {"name": "ddp", "codec": "int8"},
    "ddp, PowerSGD of rank 2": {"name": "ddp", "codec": "power_sgd"},
    "ddp, sign": {"name": "ddp", "codec": "sign"},
    "ddp, top 1 %": {"name": "ddp", "codec": {"name": "top_k", "share": 0.01}},
    "local SGD, 20": {"name": "local_sgd", "every": 20},
    "DiLoCo, 50": {"name": "diloco", "every": 50},
    "DiLoCo, 50, top 1 %": {"name": "diloco", "every": 50, "codec": {"name": "top_k", "share": 0.01}},
    "EASGD, 20": {"name": "easgd", "every": 20},
    "gossip, 4": {"name": "gossip", "every": 4},
    "push-sum, 4": {"name": "push_sum", "every": 4},
    "parameter servers, staleness 4": {"name": "parameter_server", "staleness": 4},
}


def main() -> None:
    """Run the contenders whose name contains a text, and write the table of all that were run."""
    from bench.strategy_peers import available  # which needs this module

    chosen = "".join(sys.argv[1:2])
    lines, first = [], None
    commands = {name: ["bench.strategies", json.dumps(words)] for name, words in CONTENDERS.items()}
    commands |= {name: ["bench.strategy_peers", name] for name in available()}
    for name, command in commands.items():
        if chosen in name:
            result = contest(command)
            first = first or result["seconds"]
            megabytes, loss = result["sent"] / 1e6, result["loss"]
            lines.append(
                f"| {name} | {result['seconds']:.1f} | {first / result['seconds']:.1f} | {megabytes:.2f} | "
                f"{loss:.4f} | {result['held_out']:.4f} |"
            )
            print(lines[-1], flush=True)
    RESULTS.write_text(page(lines))


def page(lines: list[str]) -> str:
    size = parameters()
    return "\n".join(
        [
            "# Strategies on a slow network",
            "",
            f"Written by `python -m bench strategies`. {RANKS} ranks in network namespaces, each of which",
            f"sends at most {MEGABITS:.0f} Mbit/s, {1000 * DELAY:.0f} ms a packet; a perceptron of {size:,}",
            f"parameters, {ROWS:,} flights (late by 15 minutes or not), {ROWS // BATCH * EPOCHS} steps of",
            f"{BATCH} rows. Seconds are those of the training; the ratio is ddp's by them; megabytes are",
            "what the host of rank 0 has sent, with the heads of packets; the losses are those of the last",
            "epoch and of rows nobody learned from. torch and torchft take the same rows and steps.",
            "",
            ", ".join(f"{key} {value}" for key, value in machine().items()),
            "",
            "| strategy | s | ratio | MB sent | loss | loss held out |",
            "|---|---|---|---|---|---|",
            *lines,
            "",
        ]
    )


def contest(command: list[str]) -> dict[str, Any]:
    """Train on all ranks, each by a module and what it is given; what rank 0 tells."""
    secret = secrets.token_hex(32)
    with SlowNetwork(RANKS, MEGABITS, DELAY) as network:
        started = [
            network.start(
                rank,
                [sys.executable, "-m", *command],
                env={
                    **os.environ,
                    **network.environment(rank),
                    "OUTGROW_SECRET": secret,
                    "OMP_NUM_THREADS": "1",
                },
                stdout=subprocess.PIPE,
            )
            for rank in range(RANKS)
        ]
        outputs = [process.communicate(timeout=900)[0] for process in started]
        return {**json.loads(outputs[0].splitlines()[-1]), "sent": network.sent[0]}


def flights() -> tuple[pa.Table, pa.Table]:
    """Rows to learn from, and to judge by."""
    names = ["dep_delay", "month", "hour", "distance", "air_time", "day"]
    frame = table("flights").dropna(subset=[*names, "arr_delay"]).sample(2 * ROWS, random_state=0)
    X = frame[names].to_numpy(float)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    rows = pa.table({**{name: X[:, j] for j, name in enumerate(names)}, "late": frame["arr_delay"] > 15})
    return rows.slice(0, ROWS), rows.slice(ROWS)


def parameters() -> int:
    widths = [6, *HIDDEN, 2]
    return sum((a + 1) * b for a, b in pairwise(widths))


def rank(words: Any) -> None:
    """One rank: train, and let rank 0 tell how long it took and how good it is."""
    learned, judged = flights()
    engine = og.Ranks(threads=1)
    rows = og.dataset(learned, engine=engine)
    model = og.TorchClassifier(
        module__hidden=HIDDEN, max_epochs=EPOCHS, batch_size=BATCH, lr=3e-4, strategy=strategy_of(words)
    )
    began = time.perf_counter()
    model.fit(rows, "late")
    seconds = time.perf_counter() - began
    chances = np.asarray(model.predict_proba(judged.drop_columns(["late"]).to_pandas()))
    late = judged["late"].to_numpy(zero_copy_only=False).astype(int)
    held_out = -np.log(np.clip(chances[np.arange(len(late)), late], 1e-12, 1)).mean()
    if os.environ["RANK"] == "0":
        print(json.dumps({"seconds": seconds, "loss": model.train_loss_[-1], "held_out": held_out}))


if __name__ == "__main__":
    rank(json.loads(sys.argv[1]))
