"""Classes that are named before all of them have come, as rows come in parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.errors import DataError, ParameterError


def given_classes(classes: Any, known: np.ndarray | None) -> np.ndarray:
    """All classes there will be, sorted.

    Parameters
    ----------
    classes : what `partial_fit` got: all there will be, or None where they are known.
    known : those of the calls before; None at the first.

    Raises
    ------
    ParameterError
        When the first call has none, or a later one has others.
    """
    if classes is None:
        if known is None:
            raise ParameterError(
                "classes must be passed on the first call to partial_fit: a list of all there will be."
            )
        return known
    given = np.unique(np.asarray(classes))
    if known is not None and given.tolist() != known.tolist():
        raise ParameterError(
            f"`classes={given.tolist()}` is not the same as on last call to partial_fit, was: "
            f"{known.tolist()}. Leave them out, or begin anew with fit."
        )
    return given


def places_among(known: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The places of the classes of some rows among all of them, of shape (classes,).

    Parameters
    ----------
    known : all classes.
    classes : those that the rows have.

    Raises
    ------
    DataError
        When one of them is not known.
    """
    places = {label: place for place, label in enumerate(known.tolist())}
    unknown = [label for label in classes.tolist() if label not in places]
    if unknown:
        raise DataError(
            f"The target label(s) {unknown} in y do not exist in the initial classes "
            f"{known.tolist()}. Name all classes at the first call of partial_fit."
        )
    return np.array([places[label] for label in classes.tolist()], dtype=np.intp)
