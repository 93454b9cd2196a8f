"""Functions as parameters: which ones a saved model may name, and how it finds them again.

A model holds no code, and none is imported or called because a model names it. The functions that it may
name are NumPy's and SciPy's own of numbers (`numpy.log1p`), and those that were registered in the session
that loads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import scipy.special

from outgrow.errors import ArtifactError, ParameterError

F = TypeVar("F", bound=Callable[..., Any])
_REGISTERED: dict[str, Callable[..., Any]] = {}
_HOMES = {"numpy": np, "scipy.special": scipy.special}


def register(function: F) -> F:
    """Let saved models name a function.

    Parameters
    ----------
    function : one that a module defines by a name, so that others who import the module have it, too.

    Returns
    -------
    The function, so that this is a decorator.

    Raises
    ------
    ParameterError
        When it has no name by which it could be found.
    """
    name = getattr(function, "__qualname__", "<")
    if "<" in name:
        raise ParameterError(
            f"{function!r} has no name by which it could be found again. Define it by `def` in a module."
        )
    _REGISTERED[f"{function.__module__}:{name}"] = function
    return function


def name_of(function: Any) -> str | None:
    """What a saved model calls a function; None for one it may not name.

    Examples
    --------
    >>> import numpy as np
    >>> from outgrow.ml.core.functions import name_of
    >>> name_of(np.log1p), name_of(lambda x: x)
    ('numpy:log1p', None)
    """
    for home, module in _HOMES.items():
        short = getattr(function, "__name__", "")
        if isinstance(function, np.ufunc) and getattr(module, short, None) is function:
            return f"{home}:{short}"
    known = (name for name, each in _REGISTERED.items() if each is function)
    return next(known, None)


def function_of(name: str) -> Callable[..., Any]:
    """The function that a saved model calls so.

    Raises
    ------
    ArtifactError
        When there is none.
    """
    home, _, short = name.partition(":")
    found = getattr(_HOMES[home], short, None) if home in _HOMES else _REGISTERED.get(name)
    if found is None or (home in _HOMES and not isinstance(found, np.ufunc)):
        raise ArtifactError(
            f"The model has the function {name}, which is not known here. Import the module that registers "
            "it by outgrow.FunctionTransformer.register, then load."
        )
    return found
