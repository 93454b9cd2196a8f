"""Multilayer perceptrons that predict classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, softmax

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.ml.base import ProbabilityClassifier
from outgrow.ml.export.onnx.answer import Answer, chosen
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.neural_network.multilayer import Multilayer
from outgrow.ml.solvers.output_losses import log_loss_of_many, log_loss_of_two


class MLPClassifier(Multilayer, ProbabilityClassifier):
    """A multilayer perceptron for classes, learned by L-BFGS (Rumelhart, Hinton and Williams 1986).

    It minimises the mean log loss plus `alpha / (2 n)` times the sum of squared weights, n being the weight
    of all rows. Each step is a pass over the rows, or a few where it is shortened; only sums of derivatives
    leave a rank, so rows may lie anywhere. Put a `StandardScaler` before it: layers expect columns of about
    one size.

    Parameters
    ----------
    hidden_layer_sizes : how many neurons each hidden layer has; () for none.
    activation : 'relu', 'tanh', 'logistic' or 'identity', of the hidden layers.
    solver : 'lbfgs'.
    alpha : the penalty.
    max_iter : most steps.
    max_fun : most passes.
    tol : it ends where no derivative of the objective is larger.
    random_state : another number starts elsewhere; None means 0. The start depends on it alone.
    warm_start : begin with the layers of the last fit.
    verbose : accepted as in scikit-learn, without effect; `og.listen` hears of progress.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    coefs_ : of each layer the weights, ndarrays of shape (below, above).
    intercepts_ : of each layer the constants, ndarrays of shape (above,).
    loss_ : the objective at the end.
    n_iter_ : steps.
    n_layers_, n_outputs_ : layers, features and outputs counted; outputs, one for two classes.

    Notes
    -----
    Unlike scikit-learn: the solver is 'lbfgs' by default, and the only one; what belongs to minibatches
    (`learning_rate`, `batch_size`, `early_stopping`, ...) is no parameter. One target.

    Unlike Spark MLlib's `MultilayerPerceptronClassifier(maxIter=100, tol=1e-6)`: `hidden_layer_sizes` are its
    `layers` without the first and the last; `activation='logistic'` and `alpha=0` make it the same objective
    (of two classes with one output); takes weights.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> model = og.MLPClassifier((8,), activation="tanh", random_state=1).fit(X, ["no", "yes", "yes", "no"])
    >>> model.predict(X).tolist()
    ['no', 'yes', 'yes', 'no']
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "lbfgs",
        alpha: float = 1e-4,
        max_iter: int = 200,
        max_fun: int = 15000,
        tol: float = 1e-4,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.max_iter = max_iter
        self.max_fun = max_fun
        self.tol = tol
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    def _fit(self, view: MatrixView) -> None:
        classes = self._learn_classes(view)
        table = np.eye(classes) if classes > 2 else np.array([[0.0], [1.0]])

        def target(block: Block) -> np.ndarray:
            found: np.ndarray = table[block.y]
            return found

        self._learn(view, table.shape[1], log_loss_of_many if classes > 2 else log_loss_of_two, target)

    def _predict_proba(self, X: Any) -> np.ndarray:
        sums = self._outputs(X)
        if sums.shape[1] > 1:
            shares: np.ndarray = softmax(sums, axis=1)
            return shares
        return np.hstack([expit(-sums), expit(sums)])

    def _to_onnx(self, table: Table) -> Answer:
        graph, sums = table.graph, self._onnx_outputs(table)
        if self.n_outputs_ > 1:
            return chosen(graph, graph.node("Softmax", sums, axis=1), self.classes_)
        both = [graph.node("Sigmoid", graph.node("Neg", sums)), graph.node("Sigmoid", sums)]
        return chosen(graph, graph.join(both), self.classes_)

    def _sklearn_model(self) -> Any:
        made = twin("neural_network.MLPClassifier", **self._shared())
        made.classes_ = self.classes_
        made._label_binarizer = twin("preprocessing.LabelBinarizer").fit(self.classes_)
        return self._as_sklearn(made, "softmax" if self.n_outputs_ > 1 else "logistic")
