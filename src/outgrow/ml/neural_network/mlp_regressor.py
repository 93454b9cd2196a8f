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
from outgrow.stats.moments import Moments


class MLPRegressor(Multilayer, Regressor):
    """A multilayer perceptron for numbers, learned by L-BFGS or by minibatches (Rumelhart et al. 1986).

    It minimises half the mean squared error plus `alpha / (2 n)` times the sum of squared weights, n being
    the weight of all rows, or of those of a batch. A step of L-BFGS is a pass over the rows, or a few where
    it is shortened; only sums of derivatives leave a rank, so rows may lie anywhere. Put a `StandardScaler`
    before it: layers expect columns of about one size, and y, too, should not be far from 1.

    Parameters
    ----------
    loss : 'squared_error', or 'poisson' for half the deviance of counts, whose means are then predicted.
    hidden_layer_sizes : how many neurons each hidden layer has; () for none.
    activation : 'relu', 'tanh', 'logistic' or 'identity', of the hidden layers.
    solver : 'lbfgs', all rows for each step; 'adam' (Kingma and Ba 2015) or 'sgd', minibatches of rows in
        memory.
    alpha : the penalty.
    batch_size : of 'adam' and 'sgd', rows of a step, about; 'auto' for 200, or all if there are fewer.
    learning_rate : of 'sgd': 'constant'; 'invscaling', which divides `learning_rate_init` by the rows so far
        to the power `power_t`; 'adaptive', which divides it by 5 where it would end.
    learning_rate_init : of 'adam' and 'sgd', the size of steps.
    power_t : of 'invscaling'.
    max_iter : most steps of 'lbfgs', most epochs of the others.
    shuffle : take other batches in each epoch.
    tol : 'lbfgs' ends where no derivative of the objective is larger; the others when more than
        `n_iter_no_change` epochs in a row are not better by it.
    random_state : another number starts elsewhere, and draws other batches; None means 0.
    warm_start : begin with the layers of the last fit.
    verbose : accepted as in scikit-learn, without effect; `og.listen` hears of progress.
    momentum : of 'sgd', the share of the last step that the next one keeps.
    nesterovs_momentum : of 'sgd', look ahead along the momentum (Nesterov 1983).
    early_stopping : of 'adam' and 'sgd', hold out rows; their score decides, and the layers of the epoch
        with the best one stay.
    validation_fraction : the share of the rows held out, about.
    beta_1, beta_2 : of 'adam', by what means of gradients and of their squares keep their past.
    epsilon : of 'adam', is added to the root of the mean of squares.
    n_iter_no_change : of 'adam' and 'sgd', see `tol`.
    max_fun : of 'lbfgs', most passes.

    Attributes
    ----------
    coefs_ : of each layer the weights, ndarrays of shape (below, above).
    intercepts_ : of each layer the constants, ndarrays of shape (above,).
    loss_ : the objective at the end; of 'adam' and 'sgd' its mean over the last epoch, before each step.
    n_iter_ : steps of 'lbfgs', epochs of the others.
    loss_curve_, best_loss_ : of 'adam' and 'sgd', `loss_` after each epoch, and the least of them, None with
        early stopping.
    validation_scores_, best_validation_score_ : with early stopping, R squared of the rows held out after
        each epoch, and the best; else None.
    n_layers_, n_outputs_ : layers, features and outputs counted; outputs.

    Notes
    -----
    Unlike scikit-learn: the solver is 'lbfgs' by default. A hash says which step of an epoch takes a row, so
    that any partitioning gives the same batches; their sizes vary as those of random draws, and
    `shuffle=False` takes the same ones in each epoch, in no order of rows. Rows held out are not stratified.
    There is no `partial_fit`. The loss of several targets is the sum of theirs.

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
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 1e-3,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun

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

    def _judged(self, block: Block, sums: np.ndarray) -> tuple[Moments, np.ndarray]:
        y = _y(block).reshape(sums.shape)
        rest = (y - (np.exp(sums) if self.loss == "poisson" else sums)) ** 2
        if block.weight is not None:
            rest *= block.weight[:, None]
        return Moments.of(y, block.weight), rest.sum(axis=0)

    def _judgement(self, merged: tuple[Moments, np.ndarray]) -> float:
        every, rest = merged[0].m2, merged[1]
        share = rest / np.where(every > 0, every, 1.0)
        return float(np.mean(np.where(every > 0, 1.0 - share, np.where(rest > 0, 0.0, 1.0))))

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
