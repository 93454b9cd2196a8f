"""A member of an ensemble that does not know all classes, or gives no probabilities, as one that does."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.exports import refusal
from outgrow.ml.export.onnx.answer import Answer, chosen
from outgrow.ml.export.onnx.table import Table


class Spread:
    """A fitted classifier of numbers 0, 1, ..., each of which is one of several classes.

    Parameters
    ----------
    part : the classifier.
    codes : shape (its classes,), which of the classes each of its own is.
    classes : how many there are.
    """

    def __init__(self, part: Any, codes: np.ndarray, classes: int) -> None:
        self._part = part
        self.classes_ = np.arange(classes)
        self._table = np.eye(classes)[codes]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("_part", "_table", "_decision_function"):
            raise AttributeError(name)
        return getattr(self._part, name)

    def _predict_proba(self, X: Any) -> np.ndarray:
        if hasattr(self._part, "_predict_proba"):
            return np.asarray(self._part._predict_proba(X) @ self._table)
        found: np.ndarray = self._table[self._part._predict(X)]
        return found

    def _predict(self, X: Any) -> np.ndarray:
        return self._predict_proba(X).argmax(axis=1)

    def _to_onnx(self, table: Table) -> Answer:
        graph, answer = table.graph, self._part._to_onnx(table)
        if hasattr(self._part, "_predict_proba"):
            chances = graph.node("MatMul", answer.probabilities, graph.constant(self._table))
        else:
            chances = graph.node("Gather", graph.constant(self._table), answer.prediction)
        return chosen(graph, chances, self.classes_)

    def _sklearn_model(self) -> Any:
        raise refusal(
            "GossipEnsembleClassifier",
            "a member lacks classes or probabilities, which scikit-learn's ensembles want of each.",
            "Keep the model with save(), or export it to ONNX.",
        )
