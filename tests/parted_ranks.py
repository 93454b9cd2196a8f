"""One rank of several that check strategies by which each holds a part: `python -m tests.parted_ranks`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests import test_strategies as kit

import outgrow as og
from outgrow.deep import several
from outgrow.deep.gpus import GpuSum
from outgrow.deep.gpus import apart as gpus_apart
from outgrow.deep.loop import Rules
from outgrow.deep.part import Part
from outgrow.deep.strategies import Strategy
from outgrow.deep.strategies.ddp import OnGpus
from outgrow.engine.collective import Alone, Tcp
from outgrow.engine.journal import Journal
from outgrow.engine.links import Links
from outgrow.engine.ranks.rendezvous import join
from outgrow.errors import EngineError, ParameterError

STRATEGIES: dict[str, Strategy] = {
    "fsdp": og.FSDP(),
    "tensor_parallel": og.TensorParallel(),
    "pipeline_parallel": og.PipelineParallel(),
}
NORMED = torch.nn.Sequential(
    torch.nn.Linear(4, 12), torch.nn.BatchNorm1d(12), torch.nn.ReLU(), torch.nn.Linear(12, 12),
    torch.nn.Tanh(), torch.nn.Linear(12, 2)
)  # fmt: skip


def tied() -> Any:
    """A network of which two layers have the same weights."""
    torch.manual_seed(0)
    layers = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 8), torch.nn.Linear(8, 2)
    layers[1].weight = layers[0].weight
    tanh = torch.nn.Tanh()
    return torch.nn.Sequential(layers[0], tanh, layers[1], tanh, layers[2], tanh, layers[3])


class Failing(torch.nn.Module):  # type: ignore[misc]
    """Fails at one rank after so many calls."""

    calls = 0

    def forward(self, values: Any) -> Any:
        self.calls += torch.is_grad_enabled()
        if self.calls == 20:
            raise ValueError("the disk is full")
        return values


class OverGloo(og.DDP):
    """Gradients that a group of torch's own adds up, as NCCL does where each rank has a GPU."""

    def start(self, run: Any, replica: Any, links: Any, seed: int) -> Any:
        return OnGpus(replica, links, GpuSum(links, replica.device, "gloo"))


class Checks:
    """What one rank finds.

    Parameters
    ----------
    rank, size : which of how many.
    secret : of all of them.
    """

    def __init__(self, rank: int, size: int, secret: bytes) -> None:
        self._rank, self._size, self._secret, self._joined = rank, size, secret, 0

    def joined(self, work: Callable[[Tcp], Any]) -> Any:
        self._joined += 1
        secret = self._secret + bytes([self._joined])
        hosts = ["127.0.0.1"] * self._size
        comm = join(self._rank, hosts, secret, ports=(20_000, 30_000), joining=60, deadline=20)
        try:
            return work(comm)
        finally:
            comm.close()

    def learned(self, strategy: Strategy, **how: Any) -> np.ndarray:
        learned: np.ndarray = self.joined(lambda comm: kit.trained(comm, strategy, **how))
        return learned

    def equal(self, strategy: Strategy) -> dict[str, Any]:
        """To one process; and again, to the bit. Uneven rows, and a rank that often has none.

        Also how many numbers Adam keeps at each rank, and how many ports are open in the midst of it.
        """
        edges = [0, *(int(600 * share) for share in np.linspace(0.98, 1, self._size))]
        how: dict[str, Any] = {"optimizer": "AdamW", "lr": 0.01, "held_out": 0.2, "epochs": 2}
        kept: list[list[int]] = []
        advance = Part.advance

        def look(part: Part, lr: float) -> None:
            advance(part, lr)
            state = part.optimizer_state().values()
            kept.append([sum(int(np.size(one["exp_avg"])) for one in state), listening()])

        Part.advance = look  # type: ignore[method-assign]
        try:
            first, again = (
                self.learned(strategy, cuts=edges, **how),
                self.learned(strategy, cuts=edges, **how),
            )
        finally:
            Part.advance = advance  # type: ignore[method-assign]
        off = float(np.abs(first - kit.trained(Alone(), strategy, **how)).max())
        told = [
            json.loads(one) for one in self.joined(lambda comm: comm.gather(json.dumps(kept[-1]).encode()))
        ]
        sizes, ports = zip(*told, strict=True)
        return {"off": off, "again": bool((first == again).all()), "sizes": sizes, "ports": ports}

    def normed(self, strategy: Strategy) -> float:
        """With statistics of batches and clipped gradients: as ddp where rows stay, else as one process."""
        how: dict[str, Any] = {"module": NORMED, "epochs": 1, "rules": Rules(0.1, clip=0.5)}
        if isinstance(strategy, og.FSDP):
            how["rules"] = Rules(0.1, clip=0.5, parts=3)
            return float(np.abs(self.learned(strategy, **how) - self.learned(og.DDP(), **how)).max())
        if isinstance(strategy, og.PipelineParallel):
            strategy = og.PipelineParallel(microbatches=1)
        return float(np.abs(self.learned(strategy, **how) - kit.trained(Alone(), strategy, **how)).max())

    def tied(self, strategy: Strategy) -> float:
        """Where two layers have the same weights."""
        how: dict[str, Any] = {"module": tied(), "epochs": 1}
        return float(np.abs(self.learned(strategy, **how) - kit.trained(Alone(), og.DDP(), **how)).max())

    def resumed(self, strategy: Strategy) -> bool:
        """From a snapshot on the way; to the bit."""
        entries: list[bytes] = []
        several.SNAPSHOT_SECONDS = 0.0
        keep = Journal([], (lambda place, entry: entries.append(entry)) if self._rank == 0 else None)
        how: dict[str, Any] = {"epochs": 3, "optimizer": "Adam", "lr": 0.01}
        whole = self.learned(strategy, journal=keep, **how)
        entry = entries[len(entries) // 2] if self._rank == 0 else None
        known = self.joined(lambda comm: comm.broadcast(entry))
        return bool((self.learned(strategy, journal=Journal([known]), **how) == whole).all())

    def failing(self, strategy: Strategy) -> str:
        """What the others say when the last rank fails."""
        layers = [torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)]
        last = self._rank == self._size - 1
        module = torch.nn.Sequential(*layers, Failing() if last else torch.nn.Identity())

        def work(comm: Tcp) -> str:
            try:
                kit.trained(comm, strategy, module=module)
            except (ValueError, EngineError) as error:
                if last:
                    comm.abort(f"ValueError: {error}")
                return f"{type(error).__name__}: {error}"
            return "nothing failed"

        return str(self.joined(work))

    def beside_one_process(self, strategy: Strategy) -> dict[str, Any]:
        """How far what is learned is from what one process learns, and whether it is the same again."""
        first, again = self.learned(strategy, epochs=2), self.learned(strategy, epochs=2)
        off = float(np.abs(first - kit.trained(Alone(), og.DDP(), epochs=2)).max())
        return {"off": off, "again": bool((first == again).all()), "resumed": self.resumed(strategy)}

    def apart(self) -> bool:
        """Whether ranks on processors take themselves for ranks with a GPU each."""
        return bool(self.joined(lambda comm: gpus_apart(Links(comm), torch.device("cpu"))))

    def refused(self, strategy: Strategy) -> str:
        """What is said of an optimizer of whole matrices."""

        def work(comm: Tcp) -> str:
            try:
                kit.trained(comm, strategy, optimizer="Adafactor")
            except ParameterError as error:
                return str(error)
            return ""

        return str(self.joined(work))


def listening() -> int:
    """At how many ports of TCP this process listens."""
    mine = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # that of the listing itself is gone
            mine.add(os.readlink(f"/proc/self/fd/{number}"))
    lines = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return sum(line[3] == "0A" and f"socket:[{line[9]}]" in mine for line in lines)


def main(rank: int, size: int, secret: str) -> None:
    torch.set_num_threads(1)
    checks = Checks(rank, size, bytes.fromhex(secret))
    found: dict[str, Any] = {}
    for name, strategy in STRATEGIES.items():
        found[name] = {
            what: getattr(checks, what)(strategy)
            for what in ("equal", "normed", "tied", "resumed", "failing", "refused")
        }
    found["gloo"] = {**checks.beside_one_process(OverGloo()), "failing": checks.failing(OverGloo())}
    found["gloo"]["apart"] = checks.apart()
    if rank == 0:
        print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), os.environ["RANKS_SECRET"])
