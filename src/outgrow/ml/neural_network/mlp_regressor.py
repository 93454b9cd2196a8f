"""Multilayer perceptrons that predict numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError
from outgrow.ml.base import Regressor
from outgrow.ml.core.parameters import OneOf
from outgrow.ml.export.onnx.answer import Answer
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.neural_network.multilayer import Multilayer
from outgrow.ml.solvers.output_losses import half_poisson, half_square


class MLPRegressor(Multilayer, Regressor):
    """A multilayer perceptron for numbers, learned by L-BFGS (Rumelhart, Hinton and Williams 1986).

    It minimises half the mean squared error plus `alpha / (2 n)` times the sum of squared weights, n being
    the weight of all rows. Each step is a pass over the rows, or a few where it is shortened; only sums of
    derivatives leave a rank, so rows may lie anywhere. Put a `StandardScaler` before it: layers expect
    columns of about one size, and y, too, should not be far from 1.

    Parameters
    ----------
    loss : 'squared_error', or 'poisson' for half the deviance of counts, whose means are then predicted.
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
    coefs_ : of each layer the weights, ndarrays of shape (below, above).
    intercepts_ : of each layer the constants, ndarrays of shape (above,).
    loss_ : the objective at the end.
    n_iter_ : steps.
    n_layers_, n_outputs_ : layers, features and outputs counted; outputs.

    Notes
    -----
    Unlike scikit-learn: the solver is 'lbfgs' by default, and the only one; what belongs to minibatches
    (`learning_rate`, `batch_size`, `early_stopping`, ...) is no parameter; the loss of several targets is the
    sum of theirs.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> model = og.MLPRegressor(hidden_layer_sizes=(20,), activation="tanh", random_state=0)
    >>> round(model.fit(X, X[:, 0] ** 2).score(X, X[:, 0] ** 2), 2)
    1.0
    """

    parameters = {**Multilayer.parameters, "loss": OneOf("squared_error", "poisson")}

    def __init__(
        self,
        loss: str = "squared_error",
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
        self.loss = loss
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _fit(self, view: MatrixView) -> None:
        outputs = view.targets or 1
        if self.loss == "poisson":
            self._check_counts(view)
        loss = half_poisson if self.loss == "poisson" else half_square
        self._learn(view, outputs, loss, lambda block: _y(block).reshape(-1, outputs))

    def _check_counts(self, view: MatrixView) -> None:
        negative = int(view.reduce(lambda block: np.array([np.count_nonzero(_y(block) < 0)]))[0])
        if negative:
            raise DataError(
                f"MLPRegressor(loss='poisson'): {negative} values of y are negative. Counts are not: give "
                "others, or loss='squared_error'."
            )

    def _predict(self, X: Any) -> np.ndarray:
        found = self._outputs(X)
        if self.loss == "poisson":
            found = np.exp(found)
        return found[:, 0] if self.target_names_ is None else found

    def _to_onnx(self, table: Table) -> Answer:
        graph, sums = table.graph, self._onnx_outputs(table)
        if self.loss == "poisson":
            sums = graph.node("Exp", sums)
        if self.target_names_ is not None:
            return Answer(sums, width=self.n_outputs_)
        return Answer(graph.node("Squeeze", sums, graph.constant([1], np.int64)))

    def _sklearn_model(self) -> Any:
        made = twin("neural_network.MLPRegressor", **self._shared())
        return self._as_sklearn(made, "exp" if self.loss == "poisson" else "identity")


def _y(block: Block) -> np.ndarray:
    assert block.y is not None
    return block.y
