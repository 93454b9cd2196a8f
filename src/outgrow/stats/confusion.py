"""What tables of true and predicted classes say, of one table or of many at once."""

from __future__ import annotations

import numpy as np


def shares(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """What one number is of another; of nothing 0.

    Parameters
    ----------
    above, below : of one shape, at least 0.
    """
    return np.where(below > 0, above / np.where(below > 0, below, 1), 0.0)


def of_classes(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of each class, of shape (..., classes).

    Parameters
    ----------
    confusion : shape (..., classes, classes), weight by true class (row) and predicted.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    true, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    return shares(right, predicted), shares(right, true), shares(2 * right, true + predicted)


def averages(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy; precision, recall and F1 of the second of two classes, or averaged over more.

    As in scikit-learn, classes that are neither there nor predicted do not count.

    Parameters
    ----------
    confusion : shape (..., classes, classes), weight by true class (row) and predicted.

    Returns
    -------
    Arrays of shape (...) by the names of metrics; NaN where there is no weight.
    """
    total, right = confusion.sum(axis=(-2, -1)), np.trace(confusion, axis1=-2, axis2=-1)
    parts = dict(zip(("precision", "recall", "f1"), of_classes(confusion), strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        metrics = {"accuracy": right / total}
        if confusion.shape[-1] == 2:
            ones = {name: values[..., 1] for name, values in parts.items()}
            ones["recall"] = np.where(total > 0, ones["recall"], np.nan)
            return metrics | ones
        used = confusion.sum(axis=-1) + confusion.sum(axis=-2) > 0
        many = used.sum(axis=-1)
        return metrics | {
            f"{name}_macro": np.where(used, values, 0).sum(axis=-1) / many for name, values in parts.items()
        }
