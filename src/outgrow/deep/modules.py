"""Modules as parameters of estimators say them: classes, names, structures, objects."""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from outgrow._optional import optional
from outgrow.deep.layers import layer_class
from outgrow.deep.perceptron import Perceptron
from outgrow.deep.structure import known_class
from outgrow.deep.structure import module_of as structured
from outgrow.errors import ParameterError

torch = optional("torch", "torch")

MLP = "mlp"
_FEATURES = ("n_features", "n_features_in", "in_features", "input_dim", "input_size", "num_features")
_OUTPUTS = (
    "n_outputs",
    "out_features",
    "output_dim",
    "output_size",
    "num_outputs",
    "num_classes",
    "n_classes",
)


@dataclass(frozen=True)
class Sizes:
    """What of a module follows from the rows.

    Attributes
    ----------
    features : how many columns there are.
    outputs : how many numbers are asked of a row.
    categories : the places of columns of categories, and how many values each has.
    """

    features: int
    outputs: int
    categories: tuple[tuple[int, int], ...] = ()


def module_of(module: Any, arguments: Mapping[str, Any], sizes: Sizes, *, trusted: bool = True) -> Any:
    """A module of its own, as new.

    Parameters
    ----------
    module : 'mlp'; a class or a function that makes a module; such as 'package.module:Name'; or a module,
        which is copied; or its structure, from `structure_of`.
    arguments : what the class or function is called with. Those of its parameters that say how many features
        or outputs there are, such as `n_features` or `out_features`, and are not given, follow from the rows.
    sizes : of the rows.
    trusted : whether a name may be imported; otherwise only what is imported already counts.

    Raises
    ------
    ParameterError
        When it makes no module, or does not take the arguments.
    ArtifactError
        When a name is not known, and may not be imported.
    """
    if isinstance(module, torch.nn.Module):
        if arguments:
            raise ParameterError(
                f"module__{next(iter(arguments))}: the module is made already; give its class."
            )
        return copied(module)
    if isinstance(module, Mapping):
        return structured(module)
    if isinstance(module, str):
        module = Perceptron if module == MLP else imported(module, trusted=trusted)
    if not callable(module):
        raise ParameterError(f"module={module!r}: give 'mlp', a class of modules, its name, or a module.")
    made = _called(module, {**_follows(module, arguments, sizes), **arguments})
    if not isinstance(made, torch.nn.Module):
        raise ParameterError(f"module={module!r} made a {type(made).__name__}, which is no torch.nn.Module.")
    return made


def copied(module: Any) -> Any:
    """A copy of a module that learns in its place.

    Parameters
    ----------
    module : of `torch.nn`.

    Raises
    ------
    ParameterError
        When it cannot be copied, as models of Keras with layers that are not registered.
    """
    try:
        return copy.deepcopy(module)
    except (RuntimeError, TypeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise ParameterError(
            f"module: this {type(module).__name__} cannot be copied: {type(error).__name__}: {why:.300}. "
            "Give its class, and the arguments of it as module__<name>."
        ) from error


def imported(name: str, *, trusted: bool) -> Any:
    """The class of modules that a name such as 'package.module:Name' stands for.

    Parameters
    ----------
    name : the module, a colon, and the name in it.
    trusted : whether it may be imported. Otherwise, as for a model that was loaded, it is a layer that any
        network may have, or a class of modules that was defined where the name says: nothing else is called.

    Raises
    ------
    ParameterError
        When there is none.
    ArtifactError
        When it is not known, and may not be imported.
    """
    home, colon, short = name.partition(":")
    if not colon:
        raise ParameterError(f"module={name!r}: give 'mlp', or a name such as 'package.module:Name'.")
    if not trusted:
        return layer_class(short) if home == "torch.nn" else known_class(name)
    try:
        value = importlib.import_module(home)
        for part in short.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError) as error:
        raise ParameterError(f"module={name!r}: {error}.") from error
    if not inspect.isclass(value) or not issubclass(value, torch.nn.Module):
        raise ParameterError(f"module={name!r}: it is {value!r}, and a name stands for a class of modules.")
    return value


def is_unmade(module: Any) -> bool:
    """Whether a module has lazy layers of torch, whose sizes follow from the first rows that they see.

    Parameters
    ----------
    module : of `torch.nn`.
    """
    return any(torch.nn.parameter.is_lazy(value) for value in [*module.parameters(), *module.buffers()])


def check_tensors(module: Any) -> None:
    """That all that a module keeps are tensors of numbers.

    Parameters
    ----------
    module : of `torch.nn`.

    Raises
    ------
    ParameterError
        When its `state_dict` has something else, as one with `get_extra_state` has.
    """
    for name, value in module.state_dict().items():
        if not torch.is_tensor(value) or value.is_complex():
            kind = str(value.dtype) if torch.is_tensor(value) else f"a {type(value).__name__}"
            raise ParameterError(
                f"module: its state_dict() has {kind} as {name!r}, and a network keeps real numbers. Make it "
                "a buffer of such, or an argument of its constructor."
            )


def freeze(module: Any, frozen: str | Sequence[str]) -> None:
    """Let parameters of a module stay as they are.

    Parameters
    ----------
    module : of `torch.nn`.
    frozen : patterns or beginnings of their names, such as 'backbone' or '*.bias'.

    Raises
    ------
    ParameterError
        When there is none of such a name.
    """
    for pattern in [frozen] if isinstance(frozen, str) else frozen:
        matching = [value for name, value in module.named_parameters() if _is_called(name, pattern)]
        if not matching:
            names = [name for name, _ in module.named_parameters()]
            raise ParameterError(f"frozen={pattern!r}: no parameter is called so. There are {names[:20]}.")
        for value in matching:
            value.requires_grad_(False)


def recompute(module: Any, names: str | Sequence[str]) -> None:
    """Let parts of a module forget what they computed on the way, and compute it again on the way back.

    Memory is saved for time (Chen et al. 2016).

    Parameters
    ----------
    module : of `torch.nn`.
    names : of submodules, or patterns of them.

    Raises
    ------
    ParameterError
        When there is none of such a name.
    """
    for pattern in [names] if isinstance(names, str) else names:
        matching = [part for name, part in module.named_modules() if name and fnmatchcase(name, pattern)]
        if not matching:
            known = [name for name, _ in module.named_modules() if name]
            raise ParameterError(f"recompute={pattern!r}: no submodule is called so. There are {known[:20]}.")
        for part in matching:
            part.forward = partial(torch.utils.checkpoint.checkpoint, part.forward, use_reentrant=False)


def _is_called(name: str, pattern: str) -> bool:
    return name == pattern or name.startswith(f"{pattern}.") or fnmatchcase(name, pattern)


def _follows(module: Any, arguments: Mapping[str, Any], sizes: Sizes) -> dict[str, Any]:
    """Arguments that the rows give, where the module has such parameters and they are not given."""
    try:
        known = inspect.signature(module).parameters
    except (TypeError, ValueError):  # of some classes there is no signature
        return {}
    given: dict[str, Any] = {}
    for names, value in ((_FEATURES, sizes.features), (_OUTPUTS, sizes.outputs)):
        wanted = [name for name in names if name in known and known[name].default is inspect.Parameter.empty]
        given.update((name, value) for name in wanted[:1] if name not in arguments)
    if module is Perceptron:
        given["categories"] = sizes.categories
    return given


def _called(module: Any, arguments: Mapping[str, Any]) -> Any:
    name = getattr(module, "__name__", repr(module))
    try:
        inspect.signature(module).bind(**arguments)
    except TypeError as error:
        raise ParameterError(
            f"{name} cannot be made with {sorted(arguments)}: {error}. Give arguments as module__<name>."
        ) from error
    except ValueError:  # no signature
        pass
    return module(**arguments)
