"""How functions are compiled: by Numba, once, without Python's lock."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from numba import njit, types

F = TypeVar("F", bound=Callable[..., Any])

ROWS = types.Array(types.float64, 2, "C", readonly=True)
"""A matrix that is only read."""
TOGETHER: Any = types.Tuple
"""Several types as one argument."""
GIVEN = types.Array(types.float64, 1, "C", readonly=True)
"""Numbers that are only read."""


def kernel(function: F) -> F:
    """Compile at the first call, and keep the code on disk where there is a place for it."""
    made: F = _compiled(function, None, False)
    return made


def inlined_kernel(function: F) -> F:
    """As `kernel`, and part of every kernel that calls it, where calls would cost much."""
    made: F = _compiled(function, None, False, forceinline=True)
    return made


def exact_kernel(function: F) -> F:
    """As `inlined_kernel`, of sums that are the same in any order, as those of whole numbers are."""
    made: F = _compiled(function, None, {"reassoc", "nsz"}, forceinline=True)
    return made


def typed_kernel(*arguments: Any, returns: Any = types.void, loose: Collection[str] = ()) -> Callable[[F], F]:
    """Compile for these types alone, when the module is imported, and keep the code as `kernel` does.

    Parameters
    ----------
    arguments : types of Numba.
    returns : the type of what it returns.
    loose : which rules of floating-point numbers need not hold, such as 'reassoc': sums in any order.
    """
    return lambda function: _compiled(function, returns(*arguments), set(loose) or False)


def _compiled(function: Any, signature: Any, loose: Any, **more: Any) -> Any:
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": loose, **more}
    try:
        return njit(signature, cache=True, **options)(function)
    except RuntimeError:  # neither the package's folder nor the user's can be written
        return njit(signature, **options)(function)
