"""Which columns are categories: by name, by number, or by a mask, as scikit-learn takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from outgrow.errors import ParameterError


def chosen(wanted: Any, names: Sequence[str]) -> list[str]:
    """The columns that `categorical_features` says.

    Parameters
    ----------
    wanted : a mask of shape (columns,), numbers of columns, or names.
    names : of all columns, in the order of X.

    Raises
    ------
    ParameterError
        When it is none of the three, or names columns that are not there.
    """
    given = np.asarray(wanted)
    if given.size == 0:
        return []
    if given.dtype.kind == "b":
        return _by_mask(given, names)
    if given.dtype.kind in "iu":
        return _by_number(given, names)
    kinds = sorted({type(value).__name__ for value in np.asarray(wanted, dtype=object).ravel().tolist()})
    if kinds != ["str"]:
        shown = given.dtype.name if given.dtype.kind != "O" else ", ".join(kinds)
        raise ParameterError(f"categorical_features must be an array-like of bool, int or str, got: {shown}.")
    return _by_name(given.ravel().tolist(), names)


def _by_mask(mask: np.ndarray, names: Sequence[str]) -> list[str]:
    if mask.shape != (len(names),):
        raise ParameterError(
            "categorical_features set as a boolean mask must have shape (n_features,) = "
            f"({len(names)},), got: {mask.shape}."
        )
    return [name for name, category in zip(names, mask.tolist(), strict=True) if category]


def _by_number(places: np.ndarray, names: Sequence[str]) -> list[str]:
    if ((places < 0) | (places >= len(names))).any():
        raise ParameterError(
            f"categorical_features set as integer indices must be in [0, n_features - 1] = [0, "
            f"{len(names) - 1}]"
            f", got: {places.tolist()[:20]}."
        )
    return [names[place] for place in sorted(set(places.ravel().tolist()))]


def _by_name(wanted: Sequence[str], names: Sequence[str]) -> list[str]:
    unknown = [name for name in wanted if name not in names]
    if unknown and len(unknown) == len(wanted) and list(names) == [f"x{j}" for j in range(len(names))]:
        raise ParameterError(
            "categorical_features should be passed as an array of integers or as a boolean mask when "
            "the model "
            f"is fitted on data without feature names. Got {unknown[:5]}."
        )
    if unknown:
        raise ParameterError(
            f"categorical_features has an item value {unknown[0]!r} which is not a valid feature name of the "
            f"training data. They are {list(names)[:20]}."
        )
    return list(wanted)
