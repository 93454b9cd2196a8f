"""The state of a training under way as a folder: whole or absent, and nothing in it is executed when it is read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from outgrow._optional import optional
from outgrow.deep.replica import Replica
from outgrow.errors import ArtifactError, DataError
from outgrow.storage import disk_errors

torch = optional("torch", "torch")
_ARRAYS, _STATE = "arrays.safetensors", "state.json"
_MODULE, _OPTIMIZER = "module.", "optimizer."


def save_snapshot(folder: Path, replica: Replica, state: Mapping[str, Any]) -> None:
    """Write where a training is, in place of what was there.

    A process that is killed at any moment leaves the last whole snapshot.

    Parameters
    ----------
    folder : the snapshot.
    replica : its parameters, its buffers and those of its optimizer.
    state : what else belongs to it, as JSON can hold it, such as that of the loader.

    Raises
    ------
    StorageError
        When the disk refuses; the last snapshot is still there.
    """
    write = optional("safetensors.torch", "torch").save_file
    draft, last = folder.with_name(f".{folder.name}-draft"), folder.with_name(f".{folder.name}-last")
    with disk_errors(folder), ExitStack() as stack:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        stack.callback(shutil.rmtree, draft, ignore_errors=True)
        arrays, numbers = _optimizer_state(replica)
        write({**_module_state(replica), **arrays}, draft / _ARRAYS)
        record = {"step": replica.step, "optimizer": numbers, **state}
        (draft / _STATE).write_text(json.dumps(record))
        for name in (_ARRAYS, _STATE):
            _to_disk(draft / name)
        shutil.rmtree(last, ignore_errors=True)
        if folder.exists():
            folder.rename(last)
        draft.rename(folder)
        shutil.rmtree(last, ignore_errors=True)


def load_snapshot(folder: Path, replica: Replica) -> dict[str, Any] | None:
    """Bring a replica to where a training was; what else belongs to it, or None where there is no snapshot.

    Parameters
    ----------
    folder : the snapshot.
    replica : of the same module and optimizer.

    Raises
    ------
    DataError
        When the snapshot is of another module or optimizer.
    ArtifactError
        When it is damaged.
    """
    last = folder.with_name(f".{folder.name}-last")
    found = next((path for path in (folder, last) if (path / _STATE).exists()), None)
    if found is None:
        return None
    try:
        arrays = optional("safetensors.torch", "torch").load_file(found / _ARRAYS)
        state: dict[str, Any] = json.loads((found / _STATE).read_text())
    except Exception as error:  # of safetensors there is no list of errors
        raise ArtifactError(f"The snapshot {found} is damaged: {error}. Remove it to begin anew.") from error
    _restore_module(replica, arrays, found)
    _restore_optimizer(replica, arrays, state.pop("optimizer"), found)
    replica.step = state.pop("step")
    return state


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _module_state(replica: Replica) -> dict[str, Any]:
    """The arrays of a module: what learns as one, frozen parameters and buffers by their names."""
    made = {f"{_MODULE}learning": replica.parameters}
    for name, each in replica.module.named_parameters():
        if not each.requires_grad:
            made[f"{_MODULE}{name}"] = each.detach().clone()
    for name, each in replica.module.named_buffers():
        made[f"{_MODULE}{name}"] = each.clone().contiguous()
    return made


def _optimizer_state(replica: Replica) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays of an optimizer, and its plain numbers."""
    arrays, numbers = {}, {}
    for number, values in replica.optimizer.state_dict()["state"].items():
        for name, value in values.items():
            key = f"{_OPTIMIZER}{number}.{name}"
            if torch.is_tensor(value):
                arrays[key] = value.clone().contiguous()
            else:
                numbers[key] = value
    return arrays, numbers


def _restore_module(replica: Replica, arrays: Mapping[str, Any], where: Path) -> None:
    wanted = {key: value.shape for key, value in _module_state(replica).items()}
    there = {key: value.shape for key, value in arrays.items() if key.startswith(_MODULE)}
    if wanted != there:
        differ = sorted(key for key in {*wanted, *there} if wanted.get(key) != there.get(key))
        raise DataError(
            f"The snapshot {where} is of another module: {', '.join(differ[:3])} differ. Give it that module, or "
            "remove the snapshot to begin anew."
        )
    replica.parameters.copy_(arrays[f"{_MODULE}learning"])
    own = {**dict(replica.module.named_parameters()), **dict(replica.module.named_buffers())}
    with torch.no_grad():
        for key, value in arrays.items():
            name = key.removeprefix(_MODULE)
            if key.startswith(_MODULE) and name in own:
                own[name].copy_(value)


def _restore_optimizer(
    replica: Replica, arrays: Mapping[str, Any], numbers: Mapping[str, Any], where: Path
) -> None:
    state = replica.optimizer.state_dict()
    made: dict[int, dict[str, Any]] = {}
    for key, value in [*arrays.items(), *numbers.items()]:
        if key.startswith(_OPTIMIZER):
            number, _, name = key.removeprefix(_OPTIMIZER).partition(".")
            made.setdefault(int(number), {})[name] = value
    try:
        replica.optimizer.load_state_dict({**state, "state": made})
    except (ValueError, KeyError) as error:
        raise DataError(f"The snapshot {where} is of another optimizer: {error}.") from error
