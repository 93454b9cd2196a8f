"""`python -m bench gpu`: steps of networks on a GPU beside a loop written by hand and beside the processor.

Also batches that a loader brings to the GPU, and gradients that NCCL adds up.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import torch

import outgrow as og
from bench import networks
from bench.machine import machine
from outgrow.deep.gpus import GpuSum
from outgrow.engine.links import Links
from outgrow.engine.ranks.rendezvous import join

REPEATS, EPOCHS = 3, 4
SHAPES = [((64, 64), 1024), ((256, 256), 4096), ((2048, 2048), 4096), ((4096, 4096, 4096), 8192)]
LOADED, COLUMNS = 4_000_000, 30
RESULTS = Path(__file__).parent / "results" / "gpu.md"


def by_hand(hidden: tuple[int, ...], batch: int, epochs: int) -> Any:
    """All rows lie on the GPU, shuffled there; the loss of every sixteenth step is looked at, as ours is."""
    net, criterion = networks.network(hidden).cuda(), torch.nn.MSELoss()
    rows, targets = (tensor.cuda() for tensor in networks.TENSORS)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
    for _ in range(epochs):
        for number, index in enumerate(torch.randperm(len(rows), device="cuda").split(batch)):
            optimizer.zero_grad()
            loss = criterion(net(rows[index]), targets[index])
            loss.backward()
            optimizer.step()
            if number % 16 == 0:
                loss.item()
    torch.cuda.synchronize()
    return net


def outgrow(hidden: tuple[int, ...], batch: int, epochs: int, device: str) -> Any:
    model = og.TorchRegressor(
        networks.network(hidden), batch_size=batch, max_epochs=epochs, device=device
    ).fit(og.dataset(networks.TABLE), "y")
    return model.module_


CONTENDERS: dict[str, Any] = {
    "by hand, on the GPU": by_hand,
    "outgrow, on the GPU": lambda *shape: outgrow(*shape, "cuda"),
    "outgrow, on the processor": lambda *shape: outgrow(*shape, "cpu"),
}


def steps(hidden: tuple[int, ...], batch: int) -> list[str]:
    """A line for each contender: microseconds a step, by the first one's, rows a second, and the loss."""
    taken: dict[str, list[float]] = {}
    losses: dict[str, float] = {}
    for turn in range(REPEATS):
        for name, train in CONTENDERS.items():
            slow = "processor" in name and sum(hidden) > 1000
            if slow and turn:
                continue
            more = 1 if slow else EPOCHS
            marks = [time.perf_counter()]
            for epochs in (1, 1 + more):
                net = train(hidden, batch, epochs)
                marks.append(time.perf_counter())
            seconds = marks[2] - 2 * marks[1] + marks[0]
            taken.setdefault(name, []).append(seconds / (more * networks.ROWS / batch))
            losses[name] = _loss(net.cpu())
    first = median(next(iter(taken.values())))
    begin = f"| 30-{'-'.join(map(str, hidden))}-1 | {batch:,}"
    return [
        f"{begin} | {name} | {1e6 * median(times):,.0f} | {median(times) / first:.2f} | "
        f"{batch / median(times):,.0f} | {losses[name]:.4f} |"
        for name, times in taken.items()
    ]


def _loss(net: Any) -> float:
    with torch.no_grad():
        return float(((net(networks.TENSORS[0]).reshape(-1) - networks.TENSORS[1]) ** 2).mean())


def loaded() -> list[str]:
    """Lines for batches that reach the GPU, in order and shuffled, from pinned memory and not."""
    random = np.random.default_rng(0)
    table = pa.table({f"x{j}": random.random(LOADED, np.float32) for j in range(COLUMNS)})
    names = table.column_names
    lines = []
    for shuffle in (False, True):
        for pinned in (False, True):
            loader = og.Loader(
                og.dataset(table),
                batch_size=8192,
                shuffle=shuffle,
                columns={"X": names},
                device="cuda",
                pin_memory=pinned,
            )
            began = time.perf_counter()
            total = sum(batch["X"].sum() for batch in loader)
            torch.cuda.synchronize()
            seconds = time.perf_counter() - began
            assert torch.isfinite(total)
            order, memory = "shuffled" if shuffle else "in order", "pinned" if pinned else "pageable"
            lines.append(f"| {order} | {memory} | {LOADED / seconds:,.0f} |")
    return lines


def added() -> list[str]:
    """Lines for what NCCL takes to add up a gradient on one rank: what it costs to ask."""
    comm = join(0, ["127.0.0.1"], os.urandom(32), ports=(20_000, 30_000), joining=20, deadline=20)
    group = GpuSum(Links(comm), torch.device("cuda:0"))
    lines = []
    for size in (10_000, 1_000_000, 100_000_000):
        gradient = torch.ones(size, device="cuda")
        group.add(gradient)
        times = []
        for _ in range(20):
            began = time.perf_counter()
            group.add(gradient)
            torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
        assert bool((gradient == 1).all())
        lines.append(f"| {size:,} | {1e6 * median(times):,.0f} |")
    group.close()
    comm.close()
    return lines


def main() -> None:
    if not torch.cuda.is_available():
        raise SystemExit("There is no GPU here.")
    facts = machine()
    lines = [
        "# Networks on a GPU",
        "",
        "Written by `python -m bench gpu`. A contender trains for one epoch and for several more; the",
        "difference, by its steps, is what a step takes. All have the same rows and the same network at",
        f"first, and AdamW. Medians of {REPEATS} turns; of wide networks one turn on the processor.",
        "",
        f"{torch.cuda.get_device_name()}; {facts['CPU']}, {facts['cores']} cores; {facts['date']}; torch "
        f"{torch.__version__}.",
        "",
        "| network | batch | | microseconds a step | by the first | rows/s | loss |",
        "|---|---:|---|---:|---:|---:|---:|",
        *(line for shape in SHAPES for line in steps(*shape)),
        "",
        f"A loader of {LOADED:,} rows of {COLUMNS} float32 in memory, batches of 8,192 brought to the GPU:",
        "",
        "| rows | memory | rows/s |",
        "|---|---|---:|",
        *loaded(),
        "",
        "A gradient added up by NCCL over one rank, which is what it costs to ask:",
        "",
        "| numbers | microseconds |",
        "|---:|---:|",
        *added(),
        "",
    ]
    RESULTS.write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
