"""Classes that saved models may name beside the estimators, such as modules of torch: those that were given.

A model holds no code, and none is imported because a model names it. Whoever loads a model gives the classes
that it names, or imports the module that defines them.
"""

from __future__ import annotations

from collections.abc import Iterable

from outgrow.errors import ParameterError
from outgrow.ml.core.estimator import class_name

_GIVEN: dict[str, type] = {}


def give(classes: Iterable[type]) -> None:
    """Let models that are loaded in this session name classes.

    Parameters
    ----------
    classes : they are known from then on, by their modules and names.

    Raises
    ------
    ParameterError
        When one is no class.
    """
    for kind in classes:
        if not isinstance(kind, type):
            raise ParameterError(f"modules: {kind!r} is no class. Give the class that the model was made of.")
        _GIVEN[class_name(kind)] = kind


def given(name: str) -> type | None:
    """The class that a model calls so; None where there is none.

    A class of the same name from elsewhere will do, as when one of a notebook went into a module, if it is
    the only one.

    Parameters
    ----------
    name : such as 'package.module:Net'.
    """
    last = name.rpartition(":")[2].rpartition(".")[2]
    same = {kind for kind in _GIVEN.values() if kind.__name__ == last}
    return _GIVEN.get(name) or (same.pop() if len(same) == 1 else None)
