"""What modules give, as one array of numbers, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.errors import ParameterError

torch = optional("torch", "torch")


def named_outputs(answer: Any) -> list[tuple[str, Any]]:
    """The tensors that a module gave, by their names; without names in a tuple or alone.

    Parameters
    ----------
    answer : a tensor, several in a tuple or list, or by name.

    Raises
    ------
    ParameterError
        When it is none of these.
    """
    parts = list(answer.items()) if isinstance(answer, Mapping) else []
    if torch.is_tensor(answer):
        parts = [("", answer)]
    elif isinstance(answer, tuple | list):
        parts = [("", part) for part in answer]
    if not parts or not all(torch.is_tensor(part) for _, part in parts):
        raise ParameterError(
            f"The module gives a {type(answer).__name__}; it must give a tensor, or a tuple or a dict of "
            "tensors."
        )
    return [(str(name), part) for name, part in parts]


def flat_outputs(answer: Any) -> Any:
    """All that a module gave for rows, side by side: a tensor of shape (rows, numbers).

    Parameters
    ----------
    answer : as for `named_outputs`.
    """
    parts = [part.reshape(len(part), -1).float() for _, part in named_outputs(answer)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def shaped_outputs(flat: np.ndarray, shapes: Sequence[Sequence[Any]], kind: str) -> Any:
    """What a module gave, of the array that `flat_outputs` made of it.

    Parameters
    ----------
    flat : of shape (rows, numbers).
    shapes : of each output its name, and the shape for a row.
    kind : 'tensor', 'tuple' or 'dict'.
    """
    tensors, start = [], 0
    for _, shape in shapes:
        end = start + int(np.prod(shape))
        part = np.ascontiguousarray(flat[:, start:end], dtype=np.float32)
        tensors.append(torch.from_numpy(part).reshape(len(flat), *shape))
        start = end
    if kind == "dict":
        return dict(zip([name for name, _ in shapes], tensors, strict=True))
    return tensors[0] if kind == "tensor" else tuple(tensors)


def kind_of_outputs(answer: Any) -> str:
    """Whether a module gives a 'tensor', a 'tuple' of them or a 'dict'.

    Parameters
    ----------
    answer : as for `named_outputs`.
    """
    if torch.is_tensor(answer):
        return "tensor"
    return "dict" if isinstance(answer, Mapping) else "tuple"
