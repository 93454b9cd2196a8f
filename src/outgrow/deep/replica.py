"""A network that learns: parameters and gradient as one array each, and the optimizer that moves them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.errors import DataError, ParameterError

torch = optional("torch", "torch")

_BY_ELEMENT = frozenset(
    "SGD Adam AdamW Adamax NAdam RAdam RMSprop Adagrad Adadelta ASGD Rprop".split()  # noqa: SIM905
)
"""Optimizers that treat each number by itself, so that all may lie in one array: one step is a few calls."""
_OTHERS = ("Optimizer", "LBFGS", "SparseAdam")
"""What needs a function that computes the loss anew, or sparse gradients, or is no optimizer."""


@dataclass
class Replica:
    """A module on one rank, with what it takes to learn.

    Attributes
    ----------
    module : its parameters are views of `parameters`.
    parameters, gradient : all that learns, one after the other; shape (size,).
    optimizer : moves `parameters` along `gradient`.
    rates : of each of the optimizer's groups, by what the learning rate is multiplied.
    step : how many steps were taken.
    shapes : of the parameters, in the order in which they lie in the array.
    names : of the parameters of each of the optimizer's groups.
    """

    module: Any
    parameters: Any
    gradient: Any
    optimizer: Any
    rates: list[float] = field(default_factory=list)
    step: int = 0
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    names: list[list[str]] = field(default_factory=list)

    @property
    def answering(self) -> Any:
        """The module that is asked where nothing is learned."""
        return self.module

    @property
    def device(self) -> Any:
        """Where the parameters lie."""
        return self.parameters.device

    def zero(self) -> None:
        """Begin a new gradient."""
        self.gradient.zero_()

    def clip(self, most: float) -> None:
        """Shorten the gradient to a norm; a GPU is not waited for.

        Parameters
        ----------
        most : the largest norm that is left as it is.
        """
        norm = torch.linalg.vector_norm(self.gradient)
        self.gradient.mul_((most / norm).clamp(max=1.0))

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

    @property
    def buffers(self) -> list[Any]:
        """The module's buffers of numbers, such as running means."""
        return [buffer for buffer in self.module.buffers() if buffer.dtype.is_floating_point]

    def numbers(self) -> np.ndarray:
        """A copy of the parameters, and behind them the buffers; of shape (parameters + buffers,)."""
        flat = [self.parameters, *(buffer.reshape(-1).to(self.parameters.dtype) for buffer in self.buffers)]
        numbers: np.ndarray = torch.cat([part.detach().cpu() for part in flat]).numpy()
        return numbers

    def put(self, numbers: np.ndarray) -> None:
        """Go on from other parameters and buffers.

        Parameters
        ----------
        numbers : as those of `numbers`.
        """
        size = len(self.parameters)
        with torch.no_grad():
            self.parameters.copy_(torch.from_numpy(numbers[:size]))
        if size < len(numbers):
            self.put_buffers(numbers[size:])

    def put_buffers(self, numbers: np.ndarray) -> None:
        """Go on from other buffers.

        Parameters
        ----------
        numbers : of all buffers, one after the other.
        """
        start = 0
        with torch.no_grad():
            for buffer in self.buffers:
                end = start + buffer.numel()
                buffer.copy_(torch.from_numpy(numbers[start:end].reshape(buffer.shape)))
                start = end

    def on_device(self, numbers: np.ndarray) -> Any:
        """Numbers as a tensor beside the parameters.

        Parameters
        ----------
        numbers : any.
        """
        return torch.from_numpy(numbers).to(self.device)

    def read_parameters(self) -> np.ndarray:
        """A copy of the parameters; of shape (size,)."""
        return array_of(self.parameters)

    def put_parameters(self, numbers: np.ndarray) -> None:
        """Go on from other parameters.

        Parameters
        ----------
        numbers : of shape (size,).
        """
        self.parameters.copy_(torch.from_numpy(np.array(numbers)))

    def named(self) -> dict[str, Any]:
        """All parameters and buffers of the module by name, each once."""
        return {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}

    def release(self) -> None:
        """Give back the memory of the parameters and the gradient until `refill`."""
        for value in self.module.parameters():
            value.grad = None
        for array in (self.parameters, self.gradient):
            array.untyped_storage().resize_(0)

    def refill(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take other parameters and buffers.

        Parameters
        ----------
        arrays : by name, at least all parameters that learn.
        """
        self.parameters.untyped_storage().resize_(self.parameters.numel() * self.parameters.element_size())
        values = self.named()
        with torch.no_grad():
            for name, array in arrays.items():
                values[name].copy_(torch.from_numpy(np.array(array)))

    def count_batches(self) -> None:
        """Let BatchNorm that learns have seen a batch in each step, also on a rank without rows."""
        with torch.no_grad():
            for name, buffer in self.module.named_buffers():
                layer, _, kind = name.rpartition(".")
                if kind == "num_batches_tracked" and self.module.get_submodule(layer).training:
                    buffer.fill_(max(int(buffer), self.step))

    def read_gradient(self) -> np.ndarray:
        """A copy of the gradient; of shape (size,)."""
        return np.array(self.gradient.cpu().numpy())

    def put_gradient(self, numbers: np.ndarray) -> None:
        """Go on with another gradient.

        Parameters
        ----------
        numbers : of shape (size,).
        """
        self.gradient.copy_(torch.from_numpy(np.ascontiguousarray(numbers)))

    def optimizer_state(self) -> dict[str, Any]:
        """By the number of the parameter and by name: arrays, and plain numbers."""
        state = self.optimizer.state_dict()["state"]
        return {
            str(number): {
                name: array_of(value) if torch.is_tensor(value) else value for name, value in values.items()
            }
            for number, values in state.items()
        }

    def restore_optimizer(self, known: Mapping[str, Mapping[str, Any]]) -> None:
        """Bring the optimizer to where it was.

        Parameters
        ----------
        known : what `optimizer_state` gave.

        Raises
        ------
        DataError
            When it was another optimizer.
        """
        state = {
            int(number): {
                name: torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value
                for name, value in values.items()
            }
            for number, values in known.items()
        }
        try:
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        except (ValueError, KeyError) as error:
            raise DataError(f"The checkpoint is of another optimizer: {error}. Remove it.") from error

    def optimizer_over(self, tensors: Mapping[str, Any]) -> tuple[Any, list[float]]:
        """An optimizer like this one's that moves other tensors, and the rates of its groups; None for none.

        Parameters
        ----------
        tensors : by the names of the parameters in whose place they are.
        """
        groups, rates = [], []
        for names, group, rate in zip(self.names, self.optimizer.param_groups, self.rates, strict=True):
            mine = [tensors[name] for name in names if name in tensors]
            if mine:
                groups.append({**group, "params": mine})
                rates.append(rate)
        return (type(self.optimizer)(groups) if groups else None), rates

    def check_by_element(self) -> None:
        """Raise where the optimizer looks at more than one number at a time.

        Raises
        ------
        ParameterError
            It names those that do not.
        """
        kind, groups = type(self.optimizer), self.optimizer.param_groups
        if sum(len(group["params"]) for group in groups) != len(groups) or kind.__name__ not in _BY_ELEMENT:
            raise ParameterError(
                f"{kind.__name__} looks at whole matrices, so its parameters cannot be kept in parts by "
                f"several ranks. Choose one of {sorted(_BY_ELEMENT)}."
            )

    def shard(self, start: int, end: int) -> Replica:
        """A part of the parameters, copied, with an optimizer of its own.

        Parameters
        ----------
        start, end : from where to where in the array.

        Raises
        ------
        ParameterError
            When the optimizer does not treat each number by itself.
        """
        self.check_by_element()
        kind, groups = type(self.optimizer), self.optimizer.param_groups
        parameters, gradient = (
            self.parameters[start:end].clone(),
            torch.zeros_like(self.parameters[start:end]),
        )
        pieces, rates, low = [], [], 0
        for group, rate in zip(groups, self.rates, strict=True):
            high = low + group["params"][0].numel()
            first, last = max(low, start) - start, min(high, end) - start
            if first < last:
                flat = torch.nn.Parameter(parameters[first:last])
                flat.grad = gradient[first:last]
                pieces.append({**group, "params": [flat]})
                rates.append(rate)
            low = high
        optimizer = kind(pieces) if pieces else None
        return Replica(None, parameters, gradient, optimizer, rates)


def array_of(tensor: Any) -> np.ndarray:
    """A copy of a tensor as an array, of bfloat16 as float32.

    Parameters
    ----------
    tensor : on any device.
    """
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    array: np.ndarray = tensor.numpy().copy()
    return array


def replica_of(
    module: Any,
    optimizer: Any,
    options: Mapping[str, Any],
    *,
    lr: float,
    groups: Sequence[tuple[str, Mapping[str, Any]]] = (),
) -> Replica:
    """A module with its parameters in one array.

    Parameters
    ----------
    module : of `torch.nn`; its parameters that do not require a gradient stay as they are.
    optimizer : a class of `torch.optim`, or its name.
    options : further arguments of the optimizer.
    lr : the learning rate to begin with.
    groups : patterns of names of parameters, such as 'backbone.*', and what the optimizer is told of those
        that match, such as another `lr`; the first pattern that matches counts.

    Raises
    ------
    ParameterError
        When nothing in the module learns, a pattern matches nothing, or the optimizer cannot be made.
    """
    learning = {name: value for name, value in module.named_parameters() if value.requires_grad}
    if not learning:
        raise ParameterError("The module has no parameter that learns: all are frozen, or there is none.")
    kinds = {(value.dtype, value.device) for value in learning.values()}
    if len(kinds) > 1:
        raise ParameterError(f"The module's parameters are of several types or on several devices: {kinds}.")
    grouped = _grouped(list(learning), groups)
    order = [name for names, _ in grouped for name in names]
    parameters = torch.cat([learning[name].detach().reshape(-1) for name in order])
    gradient = torch.zeros_like(parameters)
    _lay(learning, order, parameters, gradient)
    kind = optimizer_class(optimizer)
    parts = list(_parts(kind, learning, grouped, parameters, gradient))
    rates = [float(part.get("lr", lr)) / lr for part in parts]
    shapes = [tuple(learning[name].shape) for name in order]
    optimizer = _optimizer(kind, options, lr, parts)
    names = [names for names, _ in grouped]
    return Replica(module, parameters, gradient, optimizer, rates, shapes=shapes, names=names)


def optimizer_class(optimizer: Any) -> Any:
    """A class of optimizers by its name, in any case; a class is itself.

    Parameters
    ----------
    optimizer : a class, or a name like 'AdamW' or 'torch.optim:AdamW'.

    Raises
    ------
    ParameterError
        When there is none.
    """
    if isinstance(optimizer, str):
        short = optimizer.removeprefix("torch.optim:").removeprefix("torch.optim.").lower()
        names = {
            name.lower(): name
            for name in dir(torch.optim)
            if inspect.isclass(getattr(torch.optim, name)) and name not in _OTHERS
        }
        if short not in names:
            raise ParameterError(f"optimizer={optimizer!r}: torch.optim has {sorted(names.values())}.")
        return getattr(torch.optim, names[short])
    if inspect.isclass(optimizer) and issubclass(optimizer, torch.optim.Optimizer):
        return optimizer
    raise ParameterError(f"optimizer={optimizer!r}: give the name of one of torch.optim, or a class.")


def _grouped(
    names: Sequence[str], groups: Sequence[tuple[str, Mapping[str, Any]]]
) -> list[tuple[list[str], Mapping[str, Any]]]:
    """The names that each pattern takes first, and then the rest; with what is said of them."""
    left, grouped = list(names), []
    for pattern, options in map(_pair, groups):
        taken = [name for name in left if fnmatchcase(name, pattern)]
        if not taken:
            raise ParameterError(
                f"optimizer__param_groups: no parameter that learns is called like {pattern!r}, or earlier "
                f"patterns took them. There are {list(names)[:20]}."
            )
        left = [name for name in left if name not in taken]
        grouped.append((taken, options))
    return [*grouped, (left, {})] if left else grouped


def _pair(group: Any) -> tuple[str, Mapping[str, Any]]:
    """A pattern, and what is said of the parameters that match."""
    match group:
        case [str(pattern), Mapping() as options]:
            return pattern, options
    raise ParameterError(
        f"optimizer__param_groups has {group!r}: it is a list of pairs of a pattern and a dictionary, such "
        "as [('body.*', {'lr': 1e-4})]."
    )


def _lay(learning: Mapping[str, Any], order: Sequence[str], parameters: Any, gradient: Any) -> None:
    """Let each parameter of the module be a view of the array of all, and its gradient likewise."""
    start = 0
    for name in order:
        value = learning[name]
        end = start + value.numel()
        value.data = parameters[start:end].view(value.shape)
        value.grad = gradient[start:end].view(value.shape)
        start = end


def _parts(
    kind: Any,
    learning: Mapping[str, Any],
    grouped: Sequence[tuple[list[str], Mapping[str, Any]]],
    parameters: Any,
    gradient: Any,
) -> Iterator[dict[str, Any]]:
    """The optimizer's groups: views of the arrays where it looks at single numbers, else the parameters."""
    start = 0
    for names, options in grouped:
        tensors = [learning[name] for name in names]
        end = start + sum(tensor.numel() for tensor in tensors)
        if kind.__name__ in _BY_ELEMENT and kind.__module__.startswith("torch.optim"):
            flat = torch.nn.Parameter(parameters[start:end])
            flat.grad = gradient[start:end]
            tensors = [flat]
        yield {"params": tensors, **options}
        start = end


def _optimizer(kind: Any, options: Mapping[str, Any], lr: float, parts: list[dict[str, Any]]) -> Any:
    known = inspect.signature(kind).parameters
    # torch keeps what it does not know in a group, and never looks at it
    unknown = [name for group in (options, *parts) for name in group if name not in known]
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values())
    if unknown and not takes_any:
        raise ParameterError(
            f"optimizer__{unknown[0]}: {kind.__name__} takes {sorted(set(known) - {'params'})}."
        )
    if "lr" in options:
        raise ParameterError(
            f"optimizer__lr={options['lr']!r}: say lr={options['lr']!r}, without optimizer__."
        )
    given = dict(options)
    if "fused" in known and not {"fused", "foreach"} & set(given):
        given["fused"] = True
    try:
        return kind(parts, lr=lr, **given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ParameterError(f"{kind.__name__} cannot be made: {error}") from error
