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
    """A multilayer perceptron for classes, learned by L-BFGS or by minibatches (Rumelhart et al. 1986).

    It minimises the mean log loss plus `alpha / (2 n)` times the sum of squared weights, n being the weight
    of all rows, or of those of a batch. A step of L-BFGS is a pass over the rows, or a few where it is
    shortened; only sums of derivatives leave a rank, so rows may lie anywhere. Put a `StandardScaler` before
    it: layers expect columns of about one size.

    Parameters
    ----------
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
    classes_ : ndarray of the classes, sorted.
    coefs_ : of each layer the weights, ndarrays of shape (below, above).
    intercepts_ : of each layer the constants, ndarrays of shape (above,).
    loss_ : the objective at the end; of 'adam' and 'sgd' its mean over the last epoch, before each step.
    n_iter_ : steps of 'lbfgs', epochs of the others.
    loss_curve_, best_loss_ : of 'adam' and 'sgd', `loss_` after each epoch, and the least of them, None with
        early stopping.
    validation_scores_, best_validation_score_ : with early stopping, the accuracy of the rows held out after
        each epoch, and the best; else None.
    n_layers_, n_outputs_ : layers, features and outputs counted; outputs, one for two classes.

    Notes
    -----
    Unlike scikit-learn: the solver is 'lbfgs' by default. A hash says which step of an epoch takes a row, so
    that any partitioning gives the same batches; their sizes vary as those of random draws, and
    `shuffle=False` takes the same ones in each epoch, in no order of rows. Rows held out are not stratified.
    There is no `partial_fit`. One target.

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

    def _fit(self, view: MatrixView) -> None:
        classes = self._learn_classes(view)
        table = np.eye(classes) if classes > 2 else np.array([[0.0], [1.0]])

        def target(block: Block) -> np.ndarray:
            found: np.ndarray = table[block.y]
            return found

        self._learn(view, table.shape[1], log_loss_of_many if classes > 2 else log_loss_of_two, target)

    def _judged(self, block: Block, sums: np.ndarray) -> np.ndarray:
        found = sums.argmax(axis=1) if sums.shape[1] > 1 else sums[:, 0] > 0
        right = found == block.y
        weight = np.ones(len(block)) if block.weight is None else block.weight
        return np.array([weight[right].sum(), weight.sum()])

    def _judgement(self, merged: np.ndarray) -> float:
        return float(merged[0] / merged[1])

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
