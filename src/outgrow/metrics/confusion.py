"""Metrics of tables of true and predicted classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.stats.confusion import averages, of_classes


def by_class(classes: list[Any], confusion: np.ndarray) -> pa.Table:
    """Precision, recall, F1 and support of each class.

    Parameters
    ----------
    classes : in the order of the table.
    confusion : ndarray of shape (classes, classes), weight by true class (row) and predicted.
    """
    precision, recall, f1 = of_classes(confusion)
    support = confusion.sum(axis=1)
    return pa.table(
        {"class": classes, "precision": precision, "recall": recall, "f1": f1, "support": support}
    )


@np.errstate(divide="ignore", invalid="ignore")
def agreement(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """How well the classes agree, by name of shape (groups,); NaN where there is no weight.

    Parameters
    ----------
    confusion : ndarray of shape (groups, classes, classes), weight by true class (row) and predicted.
    """
    total, true, predicted = confusion.sum(axis=(1, 2)), confusion.sum(axis=2), confusion.sum(axis=1)
    _, recall, f1 = of_classes(confusion)
    accuracy = averages(confusion)
    balanced = recall.sum(axis=1) / (true > 0).sum(axis=1)
    return {
        "accuracy": accuracy.pop("accuracy"),
        "balanced_accuracy": balanced,
        **accuracy,
        "f1_weighted": (f1 * true).sum(axis=1) / total,
        "mcc": _mcc(confusion, total, true, predicted),
        "cohen_kappa": _kappa(confusion, total, true, predicted),
    }


def _mcc(confusion: np.ndarray, total: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Matthews' correlation of classes (Gorodkin 2004)."""
    above = np.trace(confusion, axis1=1, axis2=2) * total - (true * predicted).sum(axis=1)
    below = np.sqrt(total**2 - (predicted**2).sum(axis=1)) * np.sqrt(total**2 - (true**2).sum(axis=1))
    return np.where(below > 0, above / below, 0.0)


def _kappa(confusion: np.ndarray, total: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    chance = np.where(total > 0, (true * predicted).sum(axis=1) / total**2, 1.0)
    right = np.trace(confusion, axis1=1, axis2=2) / total
    return np.where(chance < 1, (right - chance) / (1 - chance), np.nan)
