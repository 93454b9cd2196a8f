"""Losses of rows: those of `torch.nn` by name, and functions of users."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from outgrow._optional import optional
from outgrow.deep.labels import OF_DIFFERENCES, ONE_OUTPUT, criterion_label
from outgrow.deep.loop import Losses
from outgrow.errors import DataError, ParameterError

torch = optional("torch", "torch")

_ALIKE = (*ONE_OUTPUT, *OF_DIFFERENCES, "PoissonNLLLoss")
"""Losses of outputs and targets of one shape."""
_WEIGHTS = ("weight", "pos_weight")
_OF_SIGNS = "SoftMarginLoss"
"""The loss whose targets are -1 and 1 for two classes, in place of 0 and 1."""
_OF_LOGARITHMS = "NLLLoss"
_LARGEST = 1e-3
"""Logarithms of probabilities are at most 0, but for rounding."""


def criterion_of(criterion: Any, options: Mapping[str, Any]) -> Any:
    """A criterion that gives a loss for each row, where it can.

    Parameters
    ----------
    criterion : a class of `torch.nn`, its name, an object of one, or a function of outputs and targets.
    options : further arguments of a class.

    Raises
    ------
    ParameterError
        When there is none of that name, or it does not take the options.
    """
    if isinstance(criterion, str):
        criterion = _named(criterion)
    if inspect.isclass(criterion):
        given = {name: _tensor(criterion, name, value) for name, value in options.items()}
        if "reduction" in inspect.signature(criterion).parameters:
            given["reduction"] = "none"
        try:
            return criterion(**given)
        except (TypeError, ValueError) as error:
            raise ParameterError(f"{criterion.__name__} cannot be made: {error}") from error
    if options:
        raise ParameterError(
            f"criterion__{next(iter(options))}: {criterion!r} takes no arguments; give a class."
        )
    if not callable(criterion):
        raise ParameterError(f"criterion={criterion!r}: give a class of torch.nn, its name, or a function.")
    if hasattr(criterion, "reduction"):
        criterion = copy.deepcopy(criterion)
        criterion.reduction = "none"
    return criterion


def losses_of(criterion: Any, *, classes: bool = False) -> Losses:
    """The loss of each row, whatever shape a criterion gives it.

    Parameters
    ----------
    criterion : what `criterion_of` gave.
    classes : whether targets are indices of classes.
    """
    label = criterion_label(criterion)
    same_shape, of_floats, of_signs = label in _ALIKE, label in ONE_OUTPUT, label == _OF_SIGNS
    of_logarithms = label == _OF_LOGARITHMS and isinstance(criterion, torch.nn.NLLLoss)

    def losses(outputs: Any, targets: Any) -> Any:
        if of_floats:
            targets = targets.to(outputs.dtype)
        if of_signs and classes:
            targets = 2 * targets - 1
        if of_logarithms and torch.is_tensor(outputs) and bool((outputs > _LARGEST).any()):
            most = float(outputs.detach().max())
            why = f"it takes logarithms of probabilities, as LogSoftmax gives, and {most:g} is above 0"
            raise _not_taken(criterion, outputs, targets, why)
        if torch.is_tensor(outputs) and torch.is_tensor(targets):
            outputs = _alike(outputs, targets)
            if same_shape and outputs.shape != targets.shape:
                raise _not_taken(criterion, outputs, targets, "they are of different shapes")
        values = _called(criterion, outputs, targets)
        rows = len(targets)
        if values.dim() == 0:
            if rows > 1 and getattr(criterion, "reduction", None) == "none":
                raise _not_taken(criterion, outputs, targets, "it takes all rows together as one")
            return values.expand(rows)
        if values.shape[0] != rows:
            raise DataError(
                f"{criterion_label(criterion)} gave losses of shape {tuple(values.shape)} for {rows} rows. "
                "It must give one for each row, or one number, their mean."
            )
        return values.reshape(rows, -1).mean(1) if values.dim() > 1 else values

    return losses


def _named(name: str) -> Any:
    short = name.removeprefix("torch.nn:").removeprefix("torch.nn.")
    kind = getattr(torch.nn, short, None)
    if not short.endswith("Loss") or not inspect.isclass(kind):
        known = sorted(other for other in dir(torch.nn) if other.endswith("Loss"))
        raise ParameterError(f"criterion={name!r}: torch.nn has {known}.")
    return kind


def _tensor(criterion: Any, name: str, value: Any) -> Any:
    """Weights of classes as torch's losses want them; job files and saved models have only numbers."""
    if name not in _WEIGHTS or not criterion.__module__.startswith("torch.nn.") or value is None:
        return value
    try:
        return torch.as_tensor(value, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ParameterError(f"criterion__{name}={value!r}: give numbers. {error}") from error


def _alike(outputs: Any, targets: Any) -> Any:
    """Outputs of shape (rows, 1) as those of shape (rows,), where the targets are such."""
    if outputs.dim() == targets.dim() + 1 and outputs.shape[-1] == 1 and targets.is_floating_point():
        return outputs.squeeze(-1)
    return outputs


def _called(criterion: Callable[[Any, Any], Any], outputs: Any, targets: Any) -> Any:
    try:
        return criterion(outputs, targets)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise _not_taken(criterion, outputs, targets, str(error)) from error


def _not_taken(criterion: Any, outputs: Any, targets: Any, why: str) -> DataError:
    shape = tuple(outputs.shape) if torch.is_tensor(outputs) else type(outputs).__name__
    return DataError(
        f"{criterion_label(criterion)} does not take the module's outputs {shape} with targets of shape "
        f"{tuple(targets.shape)} and type {targets.dtype}: {why.rstrip('.')}. Choose another criterion, or "
        "let the module give what this one takes."
    )
