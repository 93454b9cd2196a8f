"""How sure a classifier is of each class: its margins, or else its probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.exports import refusal
from outgrow.ml.export.onnx.table import Table


def has_margins(model: Any) -> bool:
    """Whether a classifier has margins, which are asked before probabilities."""
    return hasattr(model, "_decision_function")


def width_of(classes: int) -> int:
    """How many responses tell so many classes apart: of two, that of the second does."""
    return 1 if classes == 2 else classes


def responses(model: Any, X: Any) -> np.ndarray:
    """What a fitted classifier says of rows, of shape (rows, 1) for two classes, else (rows, classes).

    Parameters
    ----------
    model : has margins or probabilities.
    X : rows as the model gets them.
    """
    if has_margins(model):
        margins = np.asarray(model._decision_function(X), dtype=np.float64)
        return margins[:, None] if margins.ndim == 1 else margins
    chances = np.asarray(model._predict_proba(X), dtype=np.float64)
    return chances[:, 1:] if chances.shape[1] == 2 else chances


def responses_in_onnx(model: Any, table: Table) -> str:
    """The same in a graph: a tensor of shape (rows, 1) or (rows, classes).

    Parameters
    ----------
    model : a fitted classifier.
    table : the columns as they reach it.

    Raises
    ------
    ExportError
        When its margins have no equal in ONNX.
    """
    if hasattr(model, "_margins_in_onnx"):
        tensor = model._margins_in_onnx(table)
    else:
        answer = model._to_onnx(table)
        tensor = answer.margins if has_margins(model) else answer.probabilities
    if tensor is None:
        fact = "its margins are in no graph."
        raise refusal(model, fact, "Keep the model with save(), and answer with outgrow.")
    if len(model.classes_) > 2:
        return str(tensor)
    return table.graph.node("Gather", tensor, table.graph.constant([1]), axis=1)
