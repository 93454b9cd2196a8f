"""`python -m bench networks`: steps of our training beside a loop written by hand and its peers, in one run.

A contender trains for one epoch and for several more; the difference, by its steps, is what a step takes. All
have the same rows, the same network at the start and the same optimizer; each shuffles by itself.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import torch

import outgrow as og
from bench.machine import machine

ROWS, COLUMNS, EPOCHS, REPEATS = 102_400, 30, 4, 3
SHAPES = [((64, 64), 1024), ((256, 256), 256), ((256, 256), 4096)]
RESULTS = Path(__file__).parent / "results" / "networks.md"
_random = np.random.default_rng(0)
X = _random.normal(size=(ROWS, COLUMNS)).astype(np.float32)
y = (2 * X[:, 0] + np.sin(3 * X[:, 1]) + 0.1 * _random.normal(size=ROWS)).astype(np.float32)
TENSORS = torch.from_numpy(X), torch.from_numpy(y)
TABLE = pa.table({**{f"x{j}": X[:, j] for j in range(COLUMNS)}, "y": y})

Hidden = tuple[int, ...]


def network(hidden: Hidden) -> Any:
    torch.manual_seed(0)
    layers: list[Any] = []
    width = COLUMNS
    for size in hidden:
        layers += [torch.nn.Linear(width, size), torch.nn.ReLU()]
        width = size
    return torch.nn.Sequential(*layers, torch.nn.Linear(width, 1), torch.nn.Flatten(0))


def shuffled(batch: int) -> Iterator[tuple[Any, Any]]:
    """The rows in batches, in a random order."""
    return ((TENSORS[0][index], TENSORS[1][index]) for index in torch.randperm(ROWS).split(batch))


class Batches:
    """The rows in batches, in another order each time."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return shuffled(self.batch)


# ---- contenders ------------------------------------------------------------------------------------------


def by_hand(hidden: Hidden, batch: int, epochs: int, *, fused: bool = True) -> Any:
    net, criterion = network(hidden), torch.nn.MSELoss()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=fused)
    for _ in range(epochs):
        for inputs, targets in shuffled(batch):
            optimizer.zero_grad()
            loss = criterion(net(inputs), targets)
            loss.backward()
            optimizer.step()
            loss.item()
    return net


def plainly(hidden: Hidden, batch: int, epochs: int) -> Any:
    return by_hand(hidden, batch, epochs, fused=False)


def outgrow(hidden: Hidden, batch: int, epochs: int, **settings: Any) -> Any:
    model = og.TorchRegressor(network(hidden), batch_size=batch, max_epochs=epochs, **settings)
    return model.fit(og.dataset(TABLE), "y").module_


def with_snapshots(hidden: Hidden, batch: int, epochs: int) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        rows = og.dataset(TABLE, engine=og.Local(checkpoint=folder))
        return og.TorchRegressor(network(hidden), batch_size=batch, max_epochs=epochs).fit(rows, "y").module_


def accelerate(hidden: Hidden, batch: int, epochs: int) -> Any:
    from accelerate import Accelerator

    accelerator, criterion = Accelerator(cpu=True), torch.nn.MSELoss()
    net = network(hidden)
    model, optimizer = accelerator.prepare(net, torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True))
    for _ in range(epochs):
        for inputs, targets in shuffled(batch):
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            accelerator.backward(loss)
            optimizer.step()
            loss.item()
    return net


def lightning(hidden: Hidden, batch: int, epochs: int) -> Any:
    import lightning as peer

    class Module(peer.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network(hidden)

        def training_step(self, batch: Any, number: int) -> Any:
            return torch.nn.functional.mse_loss(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=1e-3, fused=True)

    module = Module()
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    peer.Trainer(max_epochs=epochs, accelerator="cpu", **quiet).fit(module, Batches(batch))
    return module.net


def skorch(hidden: Hidden, batch: int, epochs: int) -> Any:
    import skorch as peer

    net = network(hidden)
    peer.NeuralNetRegressor(
        net,
        max_epochs=epochs,
        optimizer=torch.optim.AdamW,
        optimizer__fused=True,
        lr=1e-3,
        train_split=None,
        verbose=0,
        iterator_train=lambda dataset, **_: Batches(batch),
    ).fit(X, y)
    return net


CONTENDERS: dict[str, Callable[..., Any]] = {
    "by hand, fused AdamW": by_hand,
    "by hand, default AdamW": plainly,
    "outgrow": outgrow,
    "outgrow, with snapshots": with_snapshots,
    "outgrow, bfloat16": lambda *shape: outgrow(*shape, precision="bfloat16"),
}
PEERS: dict[str, Callable[..., Any]] = {"skorch": skorch, "lightning": lightning, "accelerate": accelerate}


# ---- measured --------------------------------------------------------------------------------------------


def steps(hidden: Hidden, batch: int) -> list[str]:
    """A line for each contender: microseconds a step, by the first one's, and the loss at the end."""
    taken: dict[str, list[float]] = {}
    losses: dict[str, float] = {}
    contenders = CONTENDERS | {name: train for name, train in PEERS.items() if find_spec(name)}
    for _ in range(REPEATS):
        for name, train in contenders.items():
            marks = [time.perf_counter()]
            for epochs in (1, 1 + EPOCHS):
                net = train(hidden, batch, epochs)
                marks.append(time.perf_counter())
            seconds = marks[2] - 2 * marks[1] + marks[0]
            taken.setdefault(name, []).append(1e6 * seconds / (EPOCHS * ROWS / batch))
            with torch.no_grad():
                losses[name] = float(((net(TENSORS[0]).reshape(-1) - TENSORS[1]) ** 2).mean())
    first = median(next(iter(taken.values())))
    begin = f"| 30-{'-'.join(map(str, hidden))}-1 | {batch:,}"
    return [
        f"{begin} | {name} | {median(times):,.0f} | {median(times) / first:.2f} | {losses[name]:.4f} |"
        for name, times in taken.items()
    ]


class Stack(torch.nn.Module):
    """Sixty-four layers in eight parts."""

    def __init__(self, n_features: int, n_outputs: int, width: int = 256, parts: int = 8) -> None:
        super().__init__()
        self.first = torch.nn.Linear(n_features, width)
        self.parts = torch.nn.ModuleList(
            torch.nn.Sequential(
                *(
                    torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.ReLU())
                    for _ in range(64 // parts)
                )
            )
            for _ in range(parts)
        )
        self.last = torch.nn.Linear(width, n_outputs)

    def forward(self, inputs: Any) -> Any:
        values = self.first(inputs)
        for part in self.parts:
            values = part(values)
        return self.last(values)


def stacked(recompute: str) -> None:
    """Train a stack, and print seconds and the MiB by which the peak of memory grew."""
    rows = og.dataset(TABLE.slice(0, 65_536))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    names = ["parts.[0-9]"] if recompute else []
    began = time.perf_counter()
    og.TorchRegressor(Stack, batch_size=16_384, max_epochs=2, recompute=names).fit(rows, "y")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{time.perf_counter() - began:.1f} {grown:.0f}")


def memory() -> list[str]:
    """Lines for a stack of 64 layers, as it is and with eight parts that compute anew; a process each."""
    lines = []
    for name, argument in (("all kept", ""), ("eight parts computed anew", "recompute")):
        command = [sys.executable, "-c", f"from bench.networks import stacked; stacked({argument!r})"]
        seconds, grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[
            -2:
        ]
        lines.append(f"| {name} | {seconds} | {grown} |")
    return lines


def main() -> None:
    facts = machine()
    missing = [name for name in PEERS if not find_spec(name)]
    lines = [
        "# Steps of networks",
        "",
        "Written by `python -m bench networks`. A contender trains for one epoch and for several more; the",
        "difference, by its steps, is what a step takes. All have the same rows, the same network at first",
        f"and AdamW, fused but where it says otherwise; each shuffles {ROWS:,} rows by itself. Medians of",
        f"{REPEATS} turns. Not installed: {', '.join(missing) or 'none of the peers'}.",
        "",
        f"{facts['CPU']}, {facts['cores']} cores, {facts['date']}; load {facts['load before']} before; torch "
        f"{torch.__version__}.",
        "",
        "| network | batch | | microseconds a step | by the first | loss |",
        "|---|---:|---|---:|---:|---:|",
        *(line for shape in SHAPES for line in steps(*shape)),
        "",
        "A stack of 64 layers of 256, batches of 16,384:",
        "",
        "| | seconds | peak memory grew by, MiB |",
        "|---|---:|---:|",
        *memory(),
        "",
    ]
    RESULTS.write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
