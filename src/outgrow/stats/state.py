"""What a state is, how any two results of a fold merge, and how they travel.

A fold may return a NumPy array (arrays add), a `State`, or a tuple of those; None is the identity.
"""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Any, ClassVar, Self

import numpy as np


class State:
    """Raw sufficient statistics of some rows, as a dataclass.

    `merge` is associative and commutative up to rounding; the statistics of no rows are its identity. Nothing
    is divided, smoothed or rounded before the result is read. Subclasses are dataclasses whose fields an
    artifact can store.
    """

    _by_name: ClassVar[dict[str, type[State]]] = {}
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        State._by_name[_name(cls)] = cls

    def merge(self, other: Self) -> Self:
        """The statistics of both sets of rows; neither operand changes."""
        raise NotImplementedError


def _name(kind: type[State]) -> str:
    """What tells a kind of state from others: ours have names of their own, and users' do not hide them."""
    ours = kind.__module__.startswith("outgrow.")
    return kind.__name__ if ours else f"{kind.__module__}:{kind.__qualname__}"


def merge(left: Any, right: Any) -> Any:
    """Merge two results of the same fold.

    Parameters
    ----------
    left : what came first; it may be reused for the answer. None for nothing.
    right : what came after it, of the same form. None for nothing.
    """
    if left is None:
        return right
    if right is None:
        return left
    if isinstance(left, tuple):
        return tuple(merge(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, np.ndarray):
        return np.add(left, right, out=left) if left.dtype == right.dtype and left.ndim else left + right
    return left.merge(right)


def to_tree(result: Any) -> Any:
    """The result of a fold as an artifact can store it."""
    if isinstance(result, State):
        return {
            "state": _name(type(result)),
            "of": {f.name: to_tree(getattr(result, f.name)) for f in fields(result)},
        }
    if isinstance(result, tuple):
        return {"tuple": [to_tree(item) for item in result]}
    return {"value": result}


def from_tree(tree: Any) -> Any:
    """What `to_tree` was given."""
    if "state" in tree:
        return State._by_name[tree["state"]](**{name: from_tree(part) for name, part in tree["of"].items()})
    if "tuple" in tree:
        return tuple(from_tree(part) for part in tree["tuple"])
    return tree["value"]
