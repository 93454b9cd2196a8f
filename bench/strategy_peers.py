"""What trains on several ranks beside outgrow: torch's own ways, and torchft where it is installed.

Each takes the rows, the perceptron, the optimizer and the steps that `bench.strategies` gives outgrow.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import distributed as dist

from bench import strategies

_PORTS = 29_500, 29_510
_LIMIT = timedelta(seconds=300)
_EVERY, _SELDOM = 20, 50

Trained = tuple[Any, AbstractContextManager[Any], Callable[[], None]]
"""The module that rows go through, what surrounds the steps, and what follows each of them."""


def available() -> list[str]:
    """The names of the peers that can run here."""
    return [name for name in PEERS if not name.startswith("torchft") or find_spec("torchft")]


def network() -> Any:
    torch.manual_seed(0)
    first, second = strategies.HIDDEN
    return torch.nn.Sequential(
        torch.nn.Linear(6, first),
        torch.nn.ReLU(),
        torch.nn.Linear(first, second),
        torch.nn.ReLU(),
        torch.nn.Linear(second, 2),
    )


def _joined() -> None:
    """A group of all ranks, over gloo."""
    dist.init_process_group(
        "gloo",
        init_method=f"tcp://{os.environ['MASTER_ADDR']}:{_PORTS[0]}",
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        timeout=_LIMIT,
    )


def ddp(net: Any, optimizer: Any) -> Trained:
    _joined()
    return torch.nn.parallel.DistributedDataParallel(net), nullcontext(), lambda: None


def post_local_sgd(net: Any, optimizer: Any) -> Trained:
    from torch.distributed.algorithms.ddp_comm_hooks import post_localSGD_hook as hooks
    from torch.distributed.algorithms.model_averaging.averagers import PeriodicModelAverager

    _joined()
    alone, _ = dist.new_subgroups(1)
    module = torch.nn.parallel.DistributedDataParallel(net)
    state = hooks.PostLocalSGDState(process_group=None, subgroup=alone, start_localSGD_iter=1)
    module.register_comm_hook(state, hooks.post_localSGD_hook)
    averager = PeriodicModelAverager(period=_EVERY, warmup_steps=0)
    return module, nullcontext(), lambda: averager.average_parameters(net.parameters())


def _manager(net: Any, *, waits: bool) -> Any:
    """One replica of torchft in each rank; rank 0 has the lighthouse."""
    from torchft import Manager, ProcessGroupGloo
    from torchft.coordination import LighthouseServer

    rank, own = int(os.environ["RANK"]), f"10.77.0.{int(os.environ['RANK']) + 1}"
    kept = []
    if rank == 0:
        ranks = int(os.environ["WORLD_SIZE"])
        kept.append(LighthouseServer(bind=f"[::]:{_PORTS[1]}", min_replicas=ranks, join_timeout_ms=60_000))
    kept.append(dist.TCPStore(own, _PORTS[0], is_master=True, wait_for_workers=False))
    manager = Manager(
        pg=ProcessGroupGloo(timeout=_LIMIT),
        load_state_dict=net.load_state_dict,
        state_dict=net.state_dict,
        min_replica_size=int(os.environ["WORLD_SIZE"]),
        use_async_quorum=not waits,
        timeout=_LIMIT,
        quorum_timeout=_LIMIT,
        connect_timeout=_LIMIT,
        rank=0,
        world_size=1,
        store_addr=own,
        store_port=_PORTS[0],
        lighthouse_addr=f"http://{os.environ['MASTER_ADDR']}:{_PORTS[1]}",
        hostname=own,
        replica_id=f"rank {rank}",
        init_sync=False,
    )
    manager.kept = kept
    return manager


def torchft_local_sgd(net: Any, optimizer: Any) -> Trained:
    from torchft.local_sgd import LocalSGD

    return net, LocalSGD(_manager(net, waits=False), net, optimizer, sync_every=_EVERY), lambda: None


def torchft_diloco(net: Any, optimizer: Any) -> Trained:
    from torchft.local_sgd import DiLoCo

    outer = torch.optim.SGD(net.parameters(), lr=0.7, momentum=0.9, nesterov=True)
    manager = _manager(net, waits=True)
    return net, DiLoCo(manager, [net], optimizer, outer, sync_every=_SELDOM), lambda: None


PEERS: dict[str, Callable[[Any, Any], Trained]] = {
    "torch's DDP over gloo": ddp,
    f"torch's post-local SGD, {_EVERY}": post_local_sgd,
    f"torchft's local SGD, {_EVERY}": torchft_local_sgd,
    f"torchft's DiLoCo, {_SELDOM}": torchft_diloco,
}


def rank(name: str) -> None:
    """One rank: train, and let rank 0 tell how long it took and how good it is."""
    os.environ["GLOO_SOCKET_IFNAME"] = "way"
    torch.set_num_threads(1)
    number, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    learned, judged = strategies.flights()
    X, y = _tensors(learned.slice(0, len(learned) // ranks * ranks))
    X, y = X[number::ranks], y[number::ranks]
    net = network()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-4)
    criterion, losses = torch.nn.CrossEntropyLoss(), []
    began = time.perf_counter()
    module, around, after = PEERS[name](net, optimizer)
    order = torch.Generator().manual_seed(0)
    with around:
        for _ in range(strategies.EPOCHS):
            for index in torch.randperm(len(X), generator=order).split(strategies.BATCH // ranks):
                optimizer.zero_grad()
                loss = criterion(module(X[index]), y[index])
                loss.backward()
                optimizer.step()
                after()
                losses.append(loss.item())
    seconds = time.perf_counter() - began
    with torch.no_grad():
        X, y = _tensors(judged)
        held_out = float(criterion(net(X), y))
    if number == 0:
        result = {"seconds": seconds, "loss": float(np.mean(losses)), "held_out": held_out}
        print(json.dumps(result), flush=True)
    else:
        time.sleep(5)  # rank 0 may be a message behind
    os._exit(0)  # what listens in other threads is not waited for


def _tensors(rows: Any) -> tuple[Any, Any]:
    columns = [rows[name].to_numpy() for name in rows.column_names if name != "late"]
    late = rows["late"].to_numpy(zero_copy_only=False)
    return torch.from_numpy(np.column_stack(columns).astype(np.float32)), torch.from_numpy(late.astype(int))


if __name__ == "__main__":
    rank(sys.argv[1])
