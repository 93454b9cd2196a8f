"""Weights of rows and of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from outgrow.data.batch import Batch
from outgrow.engine.checks import weight_column
from outgrow.errors import ParameterError

ClassWeight = Mapping[Any, float] | Literal["balanced"] | None


def class_factors(class_weight: ClassWeight, classes: np.ndarray, totals: np.ndarray) -> np.ndarray | None:
    """The factor of each class, in the order of `classes`; None where all are 1.

    Parameters
    ----------
    class_weight : a dictionary from class to factor, 1 for those it lacks; 'balanced', which is
        n / (classes * weight of the class), as in scikit-learn; or None.
    classes : ndarray of shape (classes,).
    totals : ndarray of shape (classes,), the summed weight of the rows of each.

    Raises
    ------
    ParameterError
        When it is something else, or names a class that is not there.
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ParameterError(f"class_weight={class_weight!r}: give 'balanced', a dictionary, or None.")
        return totals.sum() / (len(classes) * np.where(totals > 0, totals, 1))
    unknown = [label for label in class_weight if label not in classes.tolist()]
    if unknown:
        raise ParameterError(
            f"class_weight names {unknown}, which are not among the classes {classes.tolist()}."
        )
    return np.array([float(class_weight.get(label, 1.0)) for label in classes.tolist()])


def weights(batch: Batch, name: str | None) -> np.ndarray | None:
    """The weights of the rows of a batch, checked; None where every row weighs one.

    Parameters
    ----------
    batch : rows with the column of weights.
    name : that column, or None.
    """
    return None if name is None else weight_column(batch, name)


def total_weight(batch: Batch, name: str | None) -> np.ndarray:
    """Summed weight of the rows of a batch, as a state: ndarray of shape (1,).

    Parameters
    ----------
    batch : rows with the column of weights.
    name : that column, or None where every row weighs one.
    """
    w = weights(batch, name)
    return np.array([float(batch.num_rows if w is None else w.sum())])
