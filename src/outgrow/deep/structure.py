"""How a network is built, as JSON: constructors of an allow-list, and a user's classes by their names.

A saved network holds no code, and nothing is imported or called because a file names it. Of PyTorch's own
classes a file may name those of `layers.LAYERS`; of others those that `register` let in, those that whoever
loads gives, and subclasses of `torch.nn.Module` in modules that were imported before.

A structure is one of

- `{"layer": "Linear", "with": {"in_features": 30, "out_features": 1}}`: a class of `torch.nn`;
- `{"layer": "Sequential", "modules": [["0", structure], ...]}`: so are `ModuleList` and `ModuleDict`;
- `{"class": "package.module:Net", "arguments": {"hidden": 64}}`: a user's;
- `{"shared": 3}`: the same object as the fourth one that was begun.

Arguments are numbers, text, truth values, None, lists of them, and `{"tuple": [...]}`,
`{"map": [[key, value], ...]}`, `{"module": structure}`, `{"type": "ReLU"}` and `{"function": "torch.relu"}`.
"""

from __future__ import annotations

import copy
import importlib
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np

from outgrow._optional import optional
from outgrow.deep.layers import (
    CONTAINERS,
    FUNCTIONS,
    LAYERS,
    argument_names,
    arguments_of,
    check_arguments,
    is_layer,
    layer_class,
)
from outgrow.deep.weights import load_weights, tie, tied_names, weights_of
from outgrow.errors import ArtifactError, OutgrowError
from outgrow.ml.core.given import give, given

C = TypeVar("C", bound=type)
_OURS = f"{__name__.rpartition('.')[0]}."
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_HOMES = ("torch.nn.functional", "torch")
MOST_DEPTH = 60
"""How deep modules may lie in each other."""


def register(kind: C) -> C:
    """Let saved networks name a class: a decorator for subclasses of `torch.nn.Module`.

    The arguments of its constructor have to be kept as attributes of the same names.
    """
    give([kind])
    return kind


def structure_of(
    module: Any, arguments: Mapping[str, Any] | None = None, inputs: Sequence[Any] | None = None
) -> dict[str, Any]:
    """How a network is built, so that `module_of` builds it again.

    It is built once to see that the result has the same layers, and weights of the same names and shapes.

    Parameters
    ----------
    module : a `torch.nn.Module` of any kind. It is not changed.
    arguments : what its constructor was given, where it is of a user's class; None reads them from attributes
        with the names of the constructor's parameters, as those of modules inside it are.
    inputs : tensors for `forward`; the built network, with the same weights, then has to answer the same.

    Returns
    -------
    dict
        JSON (with NaN and infinity where an argument is so).

    Raises
    ------
    ArtifactError
        When it cannot be built again from JSON; the message says why. Such a network can be saved as a graph
        (`outgrow.deep.graph.onnx_of`), which answers and cannot be trained further.

    Examples
    --------
    >>> from torch import nn
    >>> from outgrow.deep.structure import module_of, structure_of
    >>> structure_of(nn.Sequential(nn.Linear(30, 1), nn.Sigmoid()))["modules"][0]
    ['0', {'layer': 'Linear', 'with': {'in_features': 30, 'out_features': 1}}]
    >>> module_of(structure_of(nn.Sequential(nn.Linear(30, 1), nn.Sigmoid())))
    Sequential(
      (0): Linear(in_features=30, out_features=1, bias=True)
      (1): Sigmoid()
    )
    """
    structure = _Writer().node(module, arguments)
    if tied := tied_names(module):
        structure["tied"] = tied
    _check_equal(module, structure, inputs)
    return structure


def module_of(
    structure: Mapping[str, Any], weights: Mapping[str, Any] | None = None, modules: Iterable[type] = ()
) -> Any:
    """The network that `structure_of` was given, in evaluation mode.

    Parameters
    ----------
    structure : what `structure_of` gave; it may come from a stranger.
    weights : what `outgrow.deep.weights.weights_of` gave; None leaves what the constructors choose. With
        weights, layers of PyTorch take no memory before their shapes are seen to be those of the weights.
    modules : classes of users that it may name beside registered and imported ones. A class of the same name
        is taken where none stands in the module that the file names, as when a notebook's class moved.

    Raises
    ------
    ArtifactError
        When it names other classes, is no structure, or the weights are of another network.
    """
    torch = optional("torch", "torch")
    device = "cpu" if weights is None else "meta"
    try:
        with torch.random.fork_rng(devices=[], enabled=weights is not None), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whoever built it first was warned
            nodes = {key: value for key, value in structure.items() if key != "tied"}
            module = _Reader(modules).node(nodes, device, 0)
            if weights is not None:
                load_weights(module, weights)
            tie(module, structure.get("tied", {}))
    except OutgrowError:
        raise
    except Exception as error:  # constructors of users raise what they like
        raise ArtifactError(
            f"The network cannot be built: {type(error).__name__}: {error}. Restore it from a copy, or give "
            "the class that was saved."
        ) from error
    return module.eval()


def known_class(name: Any, modules: Iterable[type] = ()) -> type:
    """A class of networks that a file names.

    Parameters
    ----------
    name : such as 'package.module:Net'; it may come from a stranger.
    modules : as for `module_of`.

    Raises
    ------
    ArtifactError
        When it was neither given, registered nor imported, or is no class of networks.
    """
    home, _, path = name.partition(":") if isinstance(name, str) else ("", "", "")
    if home.startswith(_OURS):
        with suppress(ImportError):
            importlib.import_module(home)
    of_caller = {_name(kind): kind for kind in modules}
    kind = of_caller.get(name) or _imported(home, path) or given(str(name)) or _moved(of_caller, path)
    if kind is None:
        raise ArtifactError(
            f"The network is a {path or name!r}, which is not known here. Import the module that "
            f"defines it{f' ({home})' if home not in ('', '__main__') else ''}, then load: no code is "
            f"imported because a model names it; or give the class: og.load(path, modules=[{path}])."
        )
    if not isinstance(kind, type) or not issubclass(kind, optional("torch", "torch").nn.Module):
        raise ArtifactError(f"The network is a {name!r}, which is no subclass of torch.nn.Module.")
    return kind


def _moved(of_caller: Mapping[str, type], path: str) -> type | None:
    """The one class that was given with a name, where it came from elsewhere."""
    last = path.rpartition(".")[2]
    same = [kind for kind in of_caller.values() if kind.__name__ == last]
    return same[0] if len(same) == 1 else None


class _Writer:
    """One walk over a network; modules that stand in it twice are written once."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def node(self, module: Any, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        if id(module) in self._numbers:
            return {"shared": self._numbers[id(module)]}
        self._numbers[id(module)] = len(self._numbers)
        _check_plain(module)
        kind = type(module).__name__
        if not is_layer(module):
            return self._class(module, arguments)
        if kind in CONTAINERS:
            children = module._modules.items()  # `named_children` leaves out what was named before
            return {"layer": kind, "modules": [[name, self.node(child)] for name, child in children]}
        values = {name: self._value(value, kind, name) for name, value in arguments_of(module).items()}
        return {"layer": kind, "with": values} if values else {"layer": kind}

    def _class(self, module: Any, arguments: Mapping[str, Any] | None) -> dict[str, Any]:
        kind = type(module)
        if arguments is None:
            arguments = {name: _kept(module, name) for name in argument_names(kind)}
        values = {name: self._value(value, kind.__name__, name) for name, value in arguments.items()}
        return {"class": _name(kind), "arguments": values}

    def _value(self, value: Any, kind: str, name: str) -> Any:
        torch = optional("torch", "torch")
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, tuple | list):
            items = [self._value(item, kind, name) for item in value]
            return {"tuple": items} if isinstance(value, tuple) else items
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {"map": [[key, self._value(item, kind, name)] for key, item in value.items()]}
        if isinstance(value, torch.nn.Module):
            return {"module": self.node(value)}
        if (
            isinstance(value, type)
            and value.__name__ in LAYERS
            and getattr(torch.nn, value.__name__) is value
        ):
            return {"type": value.__name__}
        if (function := _function_name(value)) is not None:
            return {"function": function}
        raise ArtifactError(
            f"{kind} has {name}={value!r}, which cannot be saved. Give numbers, text, modules, layers or "
            "activations of torch."
        )


class _Reader:
    """One walk over a structure, of which nothing is believed."""

    def __init__(self, modules: Iterable[type]) -> None:
        self._given = tuple(modules)
        self._built: list[Any] = []

    def node(self, structure: Any, device: str, depth: int) -> Any:
        """The module of a structure.

        Parameters
        ----------
        structure : the node.
        device : where PyTorch's layers are built.
        depth : in how many others it lies.
        """
        if depth > MOST_DEPTH:
            raise ArtifactError(f"The network's modules lie more than {MOST_DEPTH} deep in each other.")
        if not isinstance(structure, Mapping):
            raise ArtifactError(f"The network has {_short(structure)} where a layer has to be.")
        if structure.keys() == {"shared"}:
            return self._shared(structure["shared"])
        number = len(self._built)
        self._built.append(None)
        if structure.keys() == {"class", "arguments"}:
            # what a user's constructor makes of tensors needs their numbers
            module = self._class(structure, depth)
        elif "layer" in structure and structure.keys() <= {"layer", "with", "modules"}:
            module = self._layer(structure, device, depth)
        else:
            raise ArtifactError(f"The network has {_short(dict(structure))} where a layer has to be.")
        self._built[number] = module
        return module

    def _shared(self, number: Any) -> Any:
        if type(number) is not int or not 0 <= number < len(self._built) or self._built[number] is None:
            raise ArtifactError(
                f"The network has a layer that is to be number {number!r}, and there is none."
            )
        return self._built[number]

    def _layer(self, structure: Mapping[str, Any], device: str, depth: int) -> Any:
        kind = layer_class(structure["layer"])
        if structure["layer"] in CONTAINERS:
            return self._container(kind, structure.get("modules"), device, depth)
        arguments = self._arguments(structure.get("with", {}), device, depth)
        check_arguments(structure["layer"], arguments)
        with optional("torch", "torch").device(device):
            return kind(**arguments)

    def _container(self, kind: Any, modules: Any, device: str, depth: int) -> Any:
        if not isinstance(modules, list | tuple) or not all(
            isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in modules
        ):
            raise ArtifactError(f"The network has a {kind.__name__} whose modules are {_short(modules)}.")
        container = kind()
        for name, child in modules:
            container.add_module(name, self.node(child, device, depth + 1))
        return container

    def _class(self, structure: Mapping[str, Any], depth: int) -> Any:
        kind = known_class(structure["class"], self._given)
        arguments = self._arguments(structure["arguments"], "cpu", depth)
        with optional("torch", "torch").device("cpu"):
            return kind(**arguments)

    def _arguments(self, values: Any, device: str, depth: int) -> dict[str, Any]:
        if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
            raise ArtifactError(f"The network has a layer whose arguments are {_short(values)}.")
        return {name: self._value(value, device, depth + 1) for name, value in values.items()}

    def _value(self, value: Any, device: str, depth: int) -> Any:
        if depth > MOST_DEPTH:
            raise ArtifactError(f"The network's arguments lie more than {MOST_DEPTH} deep in each other.")
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, list):
            return [self._value(item, device, depth + 1) for item in value]
        if isinstance(value, Mapping) and len(value) == 1:
            ((what, held),) = value.items()
            if what == "tuple" and isinstance(held, list):
                return tuple(self._value(item, device, depth + 1) for item in held)
            if what == "map" and isinstance(held, list):
                return {str(key): self._value(item, device, depth + 1) for key, item in held}
            if what == "module":
                return self.node(held, device, depth + 1)
            if what == "type":
                return layer_class(held)
            if what == "function":
                return _function(held)
        raise ArtifactError(
            f"The network has a layer with the argument {_short(value)}, which none can have."
        )


def _check_plain(module: Any) -> None:
    """That a module does what its class does.

    Raises
    ------
    ArtifactError
        When it was changed in a way that its constructor does not make again.
    """
    kind = type(module)
    if not isinstance(module, optional("torch", "torch").nn.Module):
        raise ArtifactError(f"{_short(module)} is no torch.nn.Module. Give an instance of one.")
    if hasattr(module, "_orig_mod"):
        raise ArtifactError("The network was compiled by torch.compile. Give the one that it was made from.")
    if kind.__module__ == "torch.nn.utils.parametrize":
        raise ArtifactError(
            f"A {kind.__bases__[0].__name__} has a parametrization, such as weight_norm, which is not saved. "
            "Call torch.nn.utils.parametrize.remove_parametrizations on it first."
        )
    if hasattr(module, "has_uninitialized_params") and module.has_uninitialized_params():
        raise ArtifactError(f"A {kind.__name__} has not seen data, so its shape is not known. Call it once.")
    if "forward" in vars(module):
        raise ArtifactError(
            f"The forward of a {kind.__name__} was replaced, which is not saved. Use a subclass."
        )
    if any(getattr(module, name, None) for name in _HOOKS):
        raise ArtifactError(
            f"A {kind.__name__} has hooks, which are not saved. Remove them, or use a subclass."
        )
    if kind.__module__.startswith("torch.") and not is_layer(module):
        raise ArtifactError(
            f"A torch {kind.__name__} is none of the layers that a saved network may name. Give the network "
            "that it wraps, or put it into a class of your own."
        )


def _check_equal(module: Any, structure: dict[str, Any], inputs: Sequence[Any] | None) -> None:
    """That a structure builds the network that it was written from.

    Raises
    ------
    ArtifactError
        When it builds another.
    """
    torch = optional("torch", "torch")
    weights = weights_of(module)
    try:
        built = module_of(structure, weights, {type(part) for part in module.modules()})
    except ArtifactError as error:
        raise ArtifactError(
            f"{type(module).__name__} cannot be built again from its arguments: {error}"
        ) from error
    for (name, old), (other, new) in zip(_layers(module), _layers(built), strict=False):
        if name != other or type(old) is not type(new) or _facts(old) != _facts(new):
            raise ArtifactError(
                f"{type(module).__name__} has changed since it was built: {name or 'it'} is {_short(old)}, "
                f"and its arguments make {_short(new)}. Change the class, so that its constructor does so."
            )
    if inputs is None:
        return
    training = [part for part in module.modules() if part.training]
    try:
        with torch.inference_mode():
            # a forward may write into what it gets
            old_answer = _tensors(module.eval()(*map(copy.deepcopy, inputs)))
            new_answer = _tensors(built(*map(_on_cpu, inputs)))
    finally:
        for part in training:
            part.training = True
    if len(old_answer) != len(new_answer) or not all(map(_close, old_answer, new_answer)):
        raise ArtifactError(
            f"{type(module).__name__} answers something else when it is built again from its arguments: its "
            "constructor draws or reads something that it does not keep. Keep it as a buffer."
        )


def _on_cpu(value: Any) -> Any:
    return value.detach().cpu().clone() if optional("torch", "torch").is_tensor(value) else value


def _close(old: Any, new: Any) -> bool:
    """Whether two tensors are equal up to the order of sums, which hangs on where numbers lie in memory."""
    torch = optional("torch", "torch")
    if old.shape != new.shape or old.dtype != new.dtype:
        return False
    return bool(torch.allclose(old.cpu(), new, rtol=1e-4, atol=1e-6, equal_nan=True))


def _layers(module: Any) -> list[tuple[str, Any]]:
    return list(module.named_modules(remove_duplicate=False))


def _facts(module: Any) -> str:
    """What PyTorch's layers print of themselves."""
    return str(module.extra_repr()) if is_layer(module) else ""


def _tensors(answer: Any) -> list[Any]:
    """The tensors of an answer, which may be one, or lie in tuples and dictionaries."""
    if isinstance(answer, Mapping):
        answer = list(answer.values())
    if isinstance(answer, tuple | list):
        return [tensor for part in answer for tensor in _tensors(part)]
    return [answer] if optional("torch", "torch").is_tensor(answer) else []


def _kept(module: Any, name: str) -> Any:
    try:
        value = getattr(module, name)
        # of a layer that derives from one of PyTorch, which was told whether to have one
        return True if name == "bias" and optional("torch", "torch").is_tensor(value) else value
    except AttributeError:
        raise ArtifactError(
            f"{type(module).__name__} does not keep the argument {name!r} of its constructor. Write "
            f"`self.{name} = {name}` in it, or make it from layers of torch.nn."
        ) from None


def _function_name(value: Any) -> str | None:
    """The full name of a function of PyTorch that a file may name; None for others."""
    name = getattr(value, "__name__", None)
    if not isinstance(name, str) or name not in FUNCTIONS:
        return None
    homes = (home for home in _HOMES if getattr(optional(home, "torch"), name, None) is value)
    return next((f"{home}.{name}" for home in homes), None)


def _function(name: Any) -> Any:
    home, _, last = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    function = getattr(optional(home, "torch"), last, None) if home in _HOMES and last in FUNCTIONS else None
    if function is None:
        raise ArtifactError(f"The network has the function {name!r}, which a saved network cannot name.")
    return function


def _imported(home: str, path: str) -> Any:
    """What stands at a path in a module that was imported, unless it only came there from elsewhere."""
    kind = sys.modules.get(home) if home.partition(".")[0] != "torch" else None
    for name in path.split("."):
        kind = vars(kind).get(name) if kind is not None and hasattr(kind, "__dict__") else None
    return kind if isinstance(kind, type) and _name(kind) == f"{home}:{path}" else None


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
