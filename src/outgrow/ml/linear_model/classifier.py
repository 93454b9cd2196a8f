"""What linear classifiers share: margins from coefficients, kept dense or sparse."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from scipy.special import expit, softmax
from sklearn.utils.validation import check_is_fitted

from outgrow.ml.base import Classifier
from outgrow.ml.base.contributions import products_of
from outgrow.ml.export.onnx.answer import Answer, chosen, features
from outgrow.ml.export.onnx.graph import Graph
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.linear_model.warm_start import dense


class LinearClassifier(Classifier):
    """Its margins are X @ coef_.T + intercept_, one a class, or for two classes one."""

    coef_: Any
    intercept_: np.ndarray

    def decision_function(self, X: Any) -> Any:
        """Margins: shape (rows,) for two classes, otherwise (rows, classes)."""
        return self._respond(X, "decision_function")

    def sparsify(self) -> Self:
        """Keep `coef_` as a sparse matrix, which is smaller where most coefficients are zero."""
        check_is_fitted(self)
        self.coef_ = sp.csr_array(self.coef_)
        return self

    def densify(self) -> Self:
        """Keep `coef_` as an array, as it is after a fit."""
        check_is_fitted(self)
        self.coef_ = dense(self.coef_)
        return self

    def _learned(self) -> dict[str, Any]:
        learned = super()._learned()
        return {**learned, "coef_": dense(learned["coef_"])} if "coef_" in learned else learned

    def _decision_function(self, X: Any) -> np.ndarray:
        if len(self.intercept_) == 1:
            return X @ dense(self.coef_)[0] + self.intercept_[0]
        return dense(X @ self.coef_.T) + self.intercept_

    def _contributions(self, X: Any) -> np.ndarray:
        """What each feature adds to the margins, and the constant: (rows, outputs, features + 1)."""
        return products_of(X, self.coef_, self.intercept_)

    def _margins_in_onnx(self, table: Table) -> str:
        """A tensor of a margin for each class, of shape (rows, classes)."""
        graph, coef, intercept = table.graph, dense(self.coef_).astype(np.float64), self.intercept_
        if len(coef) == 1:
            coef, intercept = np.concatenate([-coef, coef]), np.concatenate([-intercept, intercept])
        X = features(self.features_, table, type(self).__name__)
        margins = graph.node("MatMul", X, graph.constant(coef.T))
        return graph.node("Add", margins, graph.constant(intercept[None, :]))

    def _probabilities_in_onnx(self, table: Table) -> Answer:
        """The probabilities whose logarithms the margins are, but for a constant."""
        graph, margins = table.graph, self._margins_in_onnx(table)
        if len(self.classes_) > 2:
            return chosen(graph, graph.node("Softmax", margins, axis=1), self.classes_)
        # onnxruntime's Sigmoid loses the digits of small probabilities
        odds = graph.node("Exp", graph.node("Neg", margins))
        shares = graph.node("Reciprocal", graph.node("Add", odds, graph.constant(1.0)))
        return chosen(graph, shares, self.classes_)


def probabilities(margins: np.ndarray) -> np.ndarray:
    """Those whose logarithms the margins are, but for a constant, of shape (rows, classes).

    Parameters
    ----------
    margins : shape (rows,) of the second of two classes, or (rows, classes).
    """
    if margins.ndim == 2:
        return np.asarray(softmax(margins, axis=1))
    return np.column_stack([expit(-margins), expit(margins)])


def normalised(ones: np.ndarray) -> np.ndarray:
    """Probabilities of shape (rows, classes) from those of each class against the others.

    Parameters
    ----------
    ones : shape (rows, 1) of the second of two classes, or (rows, classes); rows of zeros become uniform.
    """
    if ones.shape[1] == 1:
        return np.column_stack([1 - ones[:, 0], ones[:, 0]])
    total = ones.sum(axis=1, keepdims=True)
    return np.divide(ones, total, out=np.full_like(ones, 1 / ones.shape[1]), where=total > 0)


def normalised_in_onnx(graph: Graph, ones: str, width: int) -> str:
    """The same in a graph.

    Parameters
    ----------
    graph : gets the nodes.
    ones : the tensor of what `normalised` gets.
    width : how many columns it has.
    """
    if width == 1:
        return graph.node("Concat", graph.node("Sub", graph.constant(1.0), ones), ones, axis=1)
    total = graph.node("ReduceSum", ones, graph.constant([1], np.int64), keepdims=1)
    none = graph.node("Equal", total, graph.constant(0.0))
    shares = graph.node("Div", ones, graph.node("Where", none, graph.constant(1.0), total))
    return graph.node("Where", none, graph.constant(np.full((1, width), 1 / width)), shares)
