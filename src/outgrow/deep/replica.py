"""A network that learns: its parameters and their gradient as one array each, and the optimizer that moves them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from outgrow._optional import optional
from outgrow.errors import ParameterError

torch = optional("torch", "torch")

_BY_ELEMENT = frozenset(
    "SGD Adam AdamW Adamax NAdam RAdam RMSprop Adagrad Adadelta ASGD Rprop".split()  # noqa: SIM905
)
"""Optimizers that treat each number by itself, so that all may lie in one array: one step is a few calls."""


@dataclass(frozen=True)
class Group:
    """Parameters that learn alike.

    Attributes
    ----------
    names : of the module's parameters.
    lr : by what the learning rate is multiplied.
    weight_decay : whether they decay.
    """

    names: tuple[str, ...]
    lr: float = 1.0
    weight_decay: bool = True


@dataclass
class Replica:
    """A module on one rank, with what it takes to learn.

    Attributes
    ----------
    module : its parameters are views of `parameters`.
    parameters, gradient : all that learns, one after the other; shape (size,).
    optimizer : moves `parameters` along `gradient`.
    step : how many steps were taken.
    rates : of each of the optimizer's groups, by what the learning rate is multiplied.
    """

    module: Any
    parameters: Any
    gradient: Any
    optimizer: Any
    rates: list[float] = field(default_factory=list)
    step: int = 0

    def zero(self) -> None:
        """Begin a new gradient."""
        self.gradient.zero_()

    def clip(self, most: float) -> float:
        """Shorten the gradient to a norm, and give the norm it had.

        Parameters
        ----------
        most : the largest norm that is left as it is.
        """
        norm = float(torch.linalg.vector_norm(self.gradient))
        if norm > most:
            self.gradient.mul_(most / norm)
        return norm

    def advance(self, lr: float) -> None:
        """Take a step.

        Parameters
        ----------
        lr : the learning rate.
        """
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = lr * rate
        self.optimizer.step()
        self.step += 1


def replica_of(
    module: Any,
    optimizer: Any,
    options: Mapping[str, Any],
    *,
    lr: float,
    groups: Sequence[Group] | None = None,
) -> Replica:
    """A module with its parameters in one array.

    Parameters
    ----------
    module : of `torch.nn`; its parameters that do not require a gradient stay as they are.
    optimizer : a class of `torch.optim`, or its name.
    options : further arguments of the optimizer.
    lr : the learning rate to begin with.
    groups : parameters that learn apart; by default all learn alike.

    Raises
    ------
    ParameterError
        When nothing in the module learns, or the optimizer cannot be made.
    """
    learning = {name: each for name, each in module.named_parameters() if each.requires_grad}
    if not learning:
        raise ParameterError("The module has no parameter that learns: all are frozen, or there is none.")
    kinds = {(each.dtype, each.device) for each in learning.values()}
    if len(kinds) > 1:
        raise ParameterError(f"The module's parameters are of several types or on several devices: {kinds}.")
    groups = groups or [Group(tuple(learning))]
    order = [name for group in groups for name in group.names]
    parameters = torch.cat([learning[name].detach().reshape(-1) for name in order])
    gradient = torch.zeros_like(parameters)
    _lay(learning, order, parameters, gradient)
    kind = optimizer_class(optimizer)
    made = _optimizer(kind, options, lr, list(_parts(kind, learning, groups, parameters, gradient)))
    per_group = [group.lr for group in groups]
    return Replica(module, parameters, gradient, made, per_group)


def optimizer_class(optimizer: Any) -> Any:
    """A class of optimizers by its name, in any case; a class is itself.

    Raises
    ------
    ParameterError
        When there is none.
    """
    if isinstance(optimizer, str):
        names = {
            name.lower(): name for name in dir(torch.optim) if inspect.isclass(getattr(torch.optim, name))
        }
        if optimizer.lower() not in names or optimizer.lower() == "optimizer":
            raise ParameterError(f"optimizer={optimizer!r}: torch.optim has {sorted(names.values())}.")
        return getattr(torch.optim, names[optimizer.lower()])
    if inspect.isclass(optimizer) and issubclass(optimizer, torch.optim.Optimizer):
        return optimizer
    raise ParameterError(f"optimizer={optimizer!r}: give the name of one of torch.optim, or a class.")


def _lay(learning: Mapping[str, Any], order: Sequence[str], parameters: Any, gradient: Any) -> None:
    """Let each parameter of the module be a view of the array of all, and its gradient likewise."""
    at = 0
    for name in order:
        each = learning[name]
        end = at + each.numel()
        each.data = parameters[at:end].view(each.shape)
        each.grad = gradient[at:end].view(each.shape)
        at = end


def _parts(
    kind: Any, learning: Mapping[str, Any], groups: Sequence[Group], parameters: Any, gradient: Any
) -> Iterator[dict[str, Any]]:
    """The optimizer's groups: views of the arrays where it looks at single numbers, else the parameters."""
    at = 0
    for group in groups:
        tensors = [learning[name] for name in group.names]
        end = at + sum(each.numel() for each in tensors)
        if kind.__name__ in _BY_ELEMENT and kind.__module__.startswith("torch.optim"):
            flat = torch.nn.Parameter(parameters[at:end])
            flat.grad = gradient[at:end]
            tensors = [flat]
        yield {"params": tensors} if group.weight_decay else {"params": tensors, "weight_decay": 0.0}
        at = end


def _optimizer(kind: Any, options: Mapping[str, Any], lr: float, parts: list[dict[str, Any]]) -> Any:
    known = inspect.signature(kind).parameters
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ParameterError(
            f"optimizer__{unknown[0]}: {kind.__name__} takes {sorted(set(known) - {'params'})}."
        )
    given = dict(options)
    if "fused" in known and not {"fused", "foreach"} & set(given):
        given["fused"] = True
    try:
        return kind(parts, lr=lr, **given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ParameterError(f"{kind.__name__} cannot be made: {error}") from error


Schedule = Callable[[int, int], float]
"""By what the learning rate is multiplied at a step of so many."""
