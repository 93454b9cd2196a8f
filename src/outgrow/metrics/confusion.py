"""Metrics of a table of true and predicted classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa


def shares(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """What one number is of another; of nothing 0.

    Parameters
    ----------
    above, below : of one shape, at least 0.
    """
    return np.where(below > 0, above / np.where(below > 0, below, 1), 0.0)


def by_class(classes: list[Any], confusion: np.ndarray) -> pa.Table:
    """Precision, recall, F1 and support of each class.

    Parameters
    ----------
    classes : in the order of the table.
    confusion : ndarray of shape (classes, classes), weight by true class (row) and predicted.
    """
    precision, recall, f1 = _of_classes(confusion)
    support = confusion.sum(axis=1)
    return pa.table(
        {"class": classes, "precision": precision, "recall": recall, "f1": f1, "support": support}
    )


def _of_classes(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    right, true, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    return shares(right, predicted), shares(right, true), shares(2 * right, true + predicted)


def agreement(confusion: np.ndarray) -> dict[str, float]:
    """How well the classes agree; precision, recall and F1 of the second of two, or averaged over more.

    Parameters
    ----------
    confusion : ndarray of shape (classes, classes), weight by true class (row) and predicted.
    """
    total, true, predicted = confusion.sum(), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall, f1 = _of_classes(confusion)
    there = true > 0
    if not total > 0:
        recall = np.full(len(true), np.nan)
    metrics = {
        "accuracy": np.diag(confusion).sum() / total if total > 0 else np.nan,
        "balanced_accuracy": recall[there].mean() if there.any() else np.nan,
    }
    if len(confusion) == 2:
        metrics |= {"precision": precision[1], "recall": recall[1], "f1": f1[1]}
    else:
        used = there | (predicted > 0)  # as scikit-learn, which knows no other classes
        averages = {"precision_macro": precision, "recall_macro": recall, "f1_macro": f1}
        metrics |= {name: shares[used].mean() if used.any() else np.nan for name, shares in averages.items()}
    metrics["f1_weighted"] = f1 @ true / total if total > 0 else np.nan
    metrics |= {"mcc": _mcc(confusion), "cohen_kappa": _kappa(confusion)}
    return {name: float(value) for name, value in metrics.items()}


def _mcc(confusion: np.ndarray) -> float:
    """Matthews' correlation of classes (Gorodkin 2004)."""
    total, true, predicted = confusion.sum(), confusion.sum(axis=1), confusion.sum(axis=0)
    above = np.trace(confusion) * total - true @ predicted
    below = np.sqrt(total**2 - predicted @ predicted) * np.sqrt(total**2 - true @ true)
    return float(above / below) if below > 0 else 0.0


def _kappa(confusion: np.ndarray) -> float:
    total, true, predicted = confusion.sum(), confusion.sum(axis=1), confusion.sum(axis=0)
    chance = true @ predicted / total**2 if total > 0 else 1.0
    return float((np.trace(confusion) / total - chance) / (1 - chance)) if chance < 1 else float("nan")
