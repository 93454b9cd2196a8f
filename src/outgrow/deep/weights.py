"""The numbers of a network as NumPy arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.errors import ArtifactError

_WIDENED = ("bfloat16",)
"""Types that NumPy lacks; what is stored is float32, which holds them exactly."""
_KINDS = "biuf"


def weights_of(module: Any) -> dict[str, Any]:
    """The parameters and buffers of a network.

    Parameters
    ----------
    module : a `torch.nn.Module`, on any device. It is not changed.

    Returns
    -------
    dict
        `arrays`, an ndarray by the name that `state_dict` gives it, each a copy; `aliases`, names of what is
        the same tensor as another (tied weights), with the name under which that is stored; `types`, of those
        that were widened, the type that they had. An artifact can hold it.

    Raises
    ------
    ArtifactError
        When it holds what is no tensor of numbers.

    Examples
    --------
    >>> import torch
    >>> from outgrow.deep.weights import weights_of
    >>> sorted(weights_of(torch.nn.Linear(2, 1))["arrays"])
    ['bias', 'weight']
    """
    arrays: dict[str, np.ndarray] = {}
    aliases: dict[str, str] = {}
    types: dict[str, str] = {}
    first: dict[Any, str] = {}
    for name, tensor in module.state_dict().items():
        if not optional("torch", "torch").is_tensor(tensor):
            raise ArtifactError(
                f"The network keeps a {type(tensor).__name__} as {name}, which is no tensor and cannot be "
                "saved. Keep it as a buffer, or give it to the constructor."
            )
        owner = first.setdefault(_identity(tensor) or name, name)
        if owner != name:
            aliases[name] = owner
            continue
        arrays[name], type_ = _array(name, tensor)
        if type_ is not None:
            types[name] = type_
    return {"arrays": arrays, "aliases": aliases, "types": types}


def load_weights(module: Any, weights: Mapping[str, Any]) -> None:
    """Give a network the numbers that `weights_of` took from its like.

    Its parameters become new tensors on the CPU, of the types that were stored; it may have been built on the
    device 'meta', which spends no time and no memory on numbers that are replaced. What was tied is tied.

    Parameters
    ----------
    module : a `torch.nn.Module`; it is changed.
    weights : what `weights_of` gave; nothing may be missing or left over.

    Raises
    ------
    ArtifactError
        When the names, shapes or types are not those of the network.
    """
    arrays, aliases, types = checked_weights(weights)
    expected = module.state_dict(keep_vars=True)
    check_names(expected, {*arrays, *aliases})
    tensors = {}
    for name, array in arrays.items():
        tensors[name] = _tensor(name, array, types.get(name), expected[name])
    for name, owner in aliases.items():
        tensors[name] = tensors[owner]
        _check_shape(name, tuple(tensors[owner].shape), tuple(expected[name].shape))
    module.load_state_dict(tensors, strict=True, assign=True)
    for name, owner in aliases.items():
        _tie(module, name, owner)
    left = [name for name, tensor in [*module.named_parameters(), *module.named_buffers()] if tensor.is_meta]
    if left:
        raise ArtifactError(f"The network computes {left} when it is built, and does not save them.")


def checked_weights(weights: Any) -> tuple[dict[str, np.ndarray], dict[str, str], dict[str, str]]:
    """The arrays, aliases and types that `weights_of` gave.

    Raises
    ------
    ArtifactError
        When they are not of that form.
    """
    parts = [
        weights.get(key) if isinstance(weights, Mapping) else None for key in ("arrays", "aliases", "types")
    ]
    arrays, aliases, types = (part if isinstance(part, Mapping) else None for part in parts)
    if arrays is None or aliases is None or types is None:
        raise ArtifactError(
            "The network's weights are not of the form in which they are saved. Restore a copy."
        )
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in _KINDS:
            raise ArtifactError(f"The network's weight {name!r} is no array of numbers. Restore a copy.")
    for name, owner in aliases.items():
        if owner not in arrays or name in arrays:
            raise ArtifactError(
                f"The network's weight {name!r} is to be {owner!r}, which is none. Restore a copy."
            )
    for name, type_ in types.items():
        if type_ not in _WIDENED or name not in arrays:
            raise ArtifactError(f"The network's weight {name!r} is to be of type {type_!r}. Restore a copy.")
    return dict(arrays), dict(aliases), dict(types)


def check_names(expected: Any, given: Any) -> None:
    """That weights are those of a network.

    Parameters
    ----------
    expected, given : the names of what it has, and of what there is.

    Raises
    ------
    ArtifactError
        When they differ; the message names some.
    """
    missing, further = sorted({*expected} - {*given}), sorted({*given} - {*expected})
    faults = [
        f"{what} {len(names)} weights: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        for what, names in (("lacks", missing), ("has no room for", further))
        if names
    ]
    if faults:
        raise ArtifactError(
            f"The network {'; it '.join(faults)}. Restore a copy, or give the class that was saved."
        )


def _identity(tensor: Any) -> Any:
    """What is equal for two names of one tensor, and different for different ones in the same memory."""
    if tensor.is_meta or tensor.numel() == 0:
        return None
    return tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def _array(name: str, tensor: Any) -> tuple[np.ndarray, str | None]:
    """A copy of a tensor, and the type that it had where NumPy lacks it."""
    type_ = str(tensor.dtype).removeprefix("torch.")
    tensor = tensor.detach().cpu()
    if type_ in _WIDENED:
        return tensor.float().numpy(), type_
    try:
        array = np.array(tensor.numpy())
    except (TypeError, RuntimeError, NotImplementedError) as error:
        raise ArtifactError(
            f"The network's weight {name} of type {type_} cannot be saved: {error}."
        ) from error
    if array.dtype.kind not in _KINDS:
        raise ArtifactError(f"The network's weight {name} of type {type_} cannot be saved.")
    return array, None


def _tensor(name: str, array: np.ndarray, type_: str | None, expected: Any) -> Any:
    """A tensor that holds a copy of an array."""
    torch = optional("torch", "torch")
    shape = tuple(expected.shape)
    if shape == () and array.size == 1:
        array = array.reshape(())  # an artifact gives a single number a dimension
    _check_shape(name, array.shape, shape)
    tensor = torch.tensor(array)
    if type_ is not None:
        tensor = tensor.to(getattr(torch, type_))
    if tensor.is_floating_point() != expected.is_floating_point():
        raise ArtifactError(f"The network's weight {name} is {tensor.dtype}, and has to be {expected.dtype}.")
    return tensor


def _check_shape(name: str, given: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if given != expected:
        raise ArtifactError(f"The network's weight {name} has shape {given}, and has to have {expected}.")


def tied_names(module: Any) -> dict[str, str]:
    """By name of a parameter of one layer that is another layer's, too: the name that comes first.

    Parameters
    ----------
    module : a `torch.nn.Module`; a layer that stands in it twice counts once.
    """
    first: dict[int, str] = {}
    tied = {}
    for path, layer in module.named_modules():
        for name, value in layer.named_parameters(prefix=path, recurse=False, remove_duplicate=False):
            owner = first.setdefault(id(value), name)
            if owner != name:
                tied[name] = owner
    return tied


def tie(module: Any, tied: Any) -> None:
    """Make names the same parameter or buffer.

    Parameters
    ----------
    module : a `torch.nn.Module`; it is changed.
    tied : by name the one that it shall be.

    Raises
    ------
    ArtifactError
        When there is no such name, or the shapes differ.
    """
    known = module.state_dict(keep_vars=True)
    if not isinstance(tied, Mapping) or not {*tied, *tied.values()} <= known.keys():
        raise ArtifactError("The network ties weights that it does not have. Restore a copy.")
    for name, owner in tied.items():
        _check_shape(name, tuple(known[owner].shape), tuple(known[name].shape))
        _tie(module, name, owner)


def _tie(module: Any, name: str, owner: str) -> None:
    """Make two names the same parameter or buffer."""
    path, _, last = owner.rpartition(".")
    same = getattr(module.get_submodule(path), last)
    path, _, last = name.rpartition(".")
    setattr(module.get_submodule(path), last, same)
