"""Objects of scikit-learn that take over what ours have learned."""

from __future__ import annotations

import importlib
from typing import Any


def twin(name: str, *args: Any, **kwargs: Any) -> Any:
    """A new object of a class of scikit-learn, whose module is imported when it is first needed.

    Parameters
    ----------
    name : module and class, such as `linear_model.Ridge`.
    *args, **kwargs : for the class.
    """
    module, _, kind = name.rpartition(".")
    return getattr(importlib.import_module(f"sklearn.{module}"), kind)(*args, **kwargs)


def with_learned(made: Any, model: Any, *attributes: str) -> Any:
    """The object with attributes that a model has learned.

    Parameters
    ----------
    made : a new object of scikit-learn, which is changed.
    model : the fitted model of outgrow.
    *attributes : those that mean the same in both; the values are shared, not copied.
    """
    for attribute in attributes:
        setattr(made, attribute, getattr(model, attribute))
    return made
