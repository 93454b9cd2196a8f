"""Fits that go on from the last one: what is the same by its place has to be the same by its name."""

from __future__ import annotations

from typing import Any

from outgrow.errors import ParameterError

_SHOWN = 20


def check_begun(model: Any, begun: Any) -> None:
    """That the rows of a fit with `warm_start` have the columns, categories and classes of the last fit.

    Weights belong to places: of other columns, or in another order, they would be those of something else.

    Parameters
    ----------
    model : under way; it has noted its `features_`, and `categories_` and `classes_` where it has such.
    begun : the last fit; None for none.

    Raises
    ------
    ParameterError
        When they are others.
    """
    if begun is None:
        return
    _check(model, "the columns", begun.features_, model.features_)
    for name, values in getattr(model, "categories_", {}).items():
        _check(model, f"the values of {name!r}", begun.categories_.get(name, []), values)
    if hasattr(model, "classes_"):
        _check(model, "the classes of the target", begun.classes_, model.classes_)


def _check(model: Any, what: str, known: Any, now: Any) -> None:
    known, now = list(known), list(now)
    if known != now:
        raise ParameterError(
            f"{type(model).__name__}(warm_start=True): {what} are {_short(now)}, and the last fit had "
            f"{_short(known)}. Give the same, in the same order, or fit anew with warm_start=False."
        )


def _short(values: list[Any]) -> str:
    shown = ", ".join(str(value) for value in values[:_SHOWN])
    return shown if len(values) <= _SHOWN else f"{shown} and {len(values) - _SHOWN} more"
