"""The state of a training under way as bytes; nothing in them is executed when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.artifact import pack, unpack
from outgrow.deep.replica import Replica, array_of
from outgrow.errors import DataError

torch = optional("torch", "torch")


def snapshot_of(replica: Replica, beside: Mapping[str, Any]) -> bytes:
    """Where a training is: parameters, buffers, the optimizer's state, and what else belongs to it.

    Parameters
    ----------
    replica : what learns.
    beside : what else belongs to it, as an artifact can hold it.
    """
    tree = {
        "step": replica.step,
        "parameters": replica.read_parameters(),
        "buffers": {name: array_of(value) for name, value in replica.module.named_buffers()},
        "optimizer": replica.optimizer_state(),
        "beside": dict(beside),
    }
    return pack(tree)


def restore_snapshot(replica: Replica, content: bytes) -> dict[str, Any]:
    """Bring a replica to where a training was; what else belongs to it.

    Parameters
    ----------
    replica : of the same module and optimizer.
    content : what `snapshot_of` gave.

    Raises
    ------
    DataError
        When the snapshot is of another module or optimizer.
    """
    tree = unpack(content)
    here = dict(replica.module.named_buffers())
    there = {"all parameters": tree["parameters"], **tree["buffers"]}
    shapes = {name: tuple(value.shape) for name, value in here.items()}
    shapes["all parameters"] = replica.read_parameters().shape
    if shapes != {name: tuple(value.shape) for name, value in there.items()}:
        differ = sorted(
            name
            for name in {*shapes, *there}
            if name not in there or shapes.get(name) != np.shape(there[name])
        )
        raise DataError(f"The checkpoint is of another module: {', '.join(differ[:3])} differ. Remove it.")
    with torch.no_grad():
        for name, value in tree["buffers"].items():
            here[name].copy_(torch.from_numpy(np.array(value)))
    replica.put_parameters(tree["parameters"])
    replica.restore_optimizer(tree["optimizer"])
    replica.step = int(tree["step"])
    return dict(tree["beside"])
