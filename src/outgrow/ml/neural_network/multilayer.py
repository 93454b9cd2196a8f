"""What the two multilayer perceptrons have in common."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Self

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ArtifactError, ParameterError
from outgrow.ml.base import Model
from outgrow.ml.core.begun import check_begun
from outgrow.ml.core.parameters import FLAG, RANDOM_STATE, Integer, Number, OneOf, Such, Unused, seed
from outgrow.ml.export.onnx.answer import features
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.neural_network.network import ACTIVATIONS, Network
from outgrow.ml.solvers.lbfgs import lbfgs
from outgrow.ml.solvers.output_losses import Loss
from outgrow.ml.solvers.stochastic import Course, Fold, Judge, Penalty, stochastic
from outgrow.ml.solvers.updates import Adam, Momentum, Update

_CURVES = ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_")
_OWN = ("random_state", "warm_start", "verbose")
_ONNX = {"logistic": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}


def _are_sizes(value: Any) -> bool:
    if value in Integer(low=1):
        return True
    return isinstance(value, list | tuple | np.ndarray) and all(size in Integer(low=1) for size in value)


class Multilayer(Model):
    """Full layers, learned by L-BFGS, or by minibatches. Hooks: `_judged`, `_judgement`."""

    parameters = {
        "hidden_layer_sizes": Such("a whole number of at least 1, or several", _are_sizes),
        "activation": OneOf(*ACTIVATIONS),
        "solver": OneOf("lbfgs", "adam", "sgd"),
        "alpha": Number(low=0),
        "batch_size": Integer(low=1) | "auto",
        "learning_rate": OneOf("constant", "invscaling", "adaptive"),
        "learning_rate_init": Number(above=0, below=np.inf),
        "power_t": Number(low=0, below=np.inf),
        "max_iter": Integer(low=1),
        "shuffle": FLAG,
        "momentum": Number(low=0, high=1),
        "nesterovs_momentum": FLAG,
        "early_stopping": FLAG,
        "validation_fraction": Number(above=0, below=1),
        "beta_1": Number(low=0, below=1),
        "beta_2": Number(low=0, below=1),
        "epsilon": Number(above=0, below=np.inf),
        "n_iter_no_change": Integer(low=1) | Such("infinity", lambda value: value == np.inf),
        "max_fun": Integer(low=1),
        "tol": Number(low=0),
        "random_state": RANDOM_STATE,
        "warm_start": FLAG,
        "verbose": Unused(),
    }
    test_parameters = {"hidden_layer_sizes": (4,), "activation": "tanh", "tol": 0.03}

    hidden_layer_sizes: Any
    activation: str
    solver: str
    alpha: float
    batch_size: Any
    learning_rate: str
    learning_rate_init: float
    power_t: float
    shuffle: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_iter: int
    max_fun: int
    tol: float
    random_state: Any
    warm_start: bool

    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    loss_: float
    n_iter_: int
    loss_curve_: list[float]
    best_loss_: float | None
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    n_outputs_: int
    _begun: Any = None
    """The last fit, from whose weights this one goes on; or None."""

    def _worker(self) -> Self:
        worker = super()._worker()
        if self.warm_start and hasattr(self, "coefs_"):
            worker.coefs_, worker.intercepts_ = self.coefs_, self.intercepts_
            worker._begun = self
        return worker

    @property
    def n_layers_(self) -> int:
        """How many layers there are, the features and the outputs counted."""
        return len(self.coefs_) + 1

    @property
    def _network(self) -> Network:
        return Network((*(len(part) for part in self.coefs_), self.coefs_[-1].shape[1]), self.activation)

    def _learn(
        self, view: MatrixView, outputs: int, loss: Loss, target: Callable[[Block], np.ndarray]
    ) -> None:
        """Minimise the mean loss and the penalty."""
        network = Network(
            (view.width, *np.ravel(self.hidden_layer_sizes).astype(int).tolist(), outputs), self.activation
        )
        weighing = sum(below * above for below, above in pairwise(network.sizes))

        def fold(w: np.ndarray) -> Callable[[Block], np.ndarray]:
            layers = network.unpack(w)
            return lambda block: network.sums(block.X, target(block), block.weight, layers, loss)

        def penalty(w: np.ndarray, weight: float) -> tuple[float, np.ndarray]:
            shrunk = float(self.alpha) / weight * w
            shrunk[weighing:] = 0.0
            return 0.5 * float(shrunk @ w), shrunk

        def judged(w: np.ndarray) -> Callable[[Block], Any]:
            layers = network.unpack(w)
            return lambda block: self._judged(block, network.outputs(block.X, layers))

        start = self._start(network)
        if self.solver == "lbfgs":
            limits = {"maxfun": int(self.max_fun), "maxiter": int(self.max_iter), "gtol": float(self.tol)}
            w, self.loss_, self.n_iter_ = lbfgs(
                view, fold, penalty, start, limits=limits, owner=type(self).__name__
            )
        else:
            judge = Judge(judged, self._judgement)
            w = self._by_batches(view, fold, penalty, start, judge)
        self.coefs_, self.intercepts_ = (list(map(np.array, part)) for part in network.unpack(w))
        self.n_outputs_ = outputs

    def _by_batches(
        self, view: MatrixView, fold: Fold, penalty: Penalty, start: np.ndarray, judge: Judge
    ) -> np.ndarray:
        course = Course(
            int(self.max_iter),
            None if self.batch_size == "auto" else int(self.batch_size),
            float(self.tol),
            float(self.n_iter_no_change),
            bool(self.shuffle),
            float(self.validation_fraction) if self.early_stopping else None,
            seed(self.random_state),
        )
        update = self._update(len(start))
        learned = stochastic(view, fold, penalty, start, update, course, judge, type(self).__name__)
        self.loss_curve_, self.loss_ = learned.losses, learned.losses[-1]
        self.n_iter_ = len(learned.losses)
        self.best_loss_ = None if self.early_stopping else min(learned.losses)
        self.validation_scores_ = learned.scores if self.early_stopping else None
        self.best_validation_score_ = max(learned.scores) if self.early_stopping else None
        return learned.w

    def _update(self, size: int) -> Update:
        rate = float(self.learning_rate_init)
        if self.solver == "adam":
            return Adam(size, rate, float(self.beta_1), float(self.beta_2), float(self.epsilon))
        momentum, power = float(self.momentum), float(self.power_t)
        return Momentum(size, rate, self.learning_rate, power, momentum, bool(self.nesterovs_momentum))

    def _judged(self, block: Block, sums: np.ndarray) -> Any:
        """What is merged over rows held out.

        Parameters
        ----------
        block : the rows.
        sums : the last sums, of shape (rows, outputs).
        """
        raise NotImplementedError

    def _judgement(self, merged: Any) -> float:
        """The score that follows from what was merged."""
        raise NotImplementedError

    def _start(self, network: Network) -> np.ndarray:
        if not hasattr(self, "coefs_"):
            return network.start(seed(self.random_state))
        check_begun(self, self._begun)
        known = self._network.sizes
        if known != network.sizes:
            raise ParameterError(
                f"{type(self).__name__}(warm_start=True): the last fit had layers of {known}, this one would "
                f"have {network.sizes}. Fit anew with warm_start=False."
            )
        return network.pack((self.coefs_, self.intercepts_))

    def _restored(self) -> None:
        weights, constants = self.coefs_, self.intercepts_
        shapes = [np.shape(part) for part in weights]
        right = len(weights) == len(constants) > 0 and all(len(shape) == 2 for shape in shapes)
        right = right and all(one[1] == other[0] for one, other in pairwise(shapes))
        right = right and all(
            np.shape(part) == shape[1:] for part, shape in zip(constants, shapes, strict=True)
        )
        if not right:
            raise ArtifactError("The layers of the model do not fit one another. Restore it from a copy.")

    def _outputs(self, X: Any) -> np.ndarray:
        """The last sums, of shape (rows, outputs)."""
        return self._network.outputs(X, (self.coefs_, self.intercepts_))

    def _onnx_outputs(self, table: Table) -> str:
        """The last sums as a tensor of shape (rows, outputs)."""
        graph = table.graph
        values = features(self.features_, table, type(self).__name__)
        for number, (weights, constants) in enumerate(zip(self.coefs_, self.intercepts_, strict=True), 1):
            product = graph.node("MatMul", values, graph.constant(np.ascontiguousarray(weights)))
            values = graph.node("Add", product, graph.constant(constants[None, :]))
            if number < len(self.coefs_) and self.activation in _ONNX:
                values = graph.node(_ONNX[self.activation], values)
        return values

    def _as_sklearn(self, made: Any, output: str) -> Any:
        """scikit-learn's own with these layers."""
        made.coefs_, made.intercepts_ = self.coefs_, self.intercepts_
        made.n_layers_, made.n_outputs_, made.n_features_in_ = (
            self.n_layers_,
            self.n_outputs_,
            len(self.coefs_[0]),
        )
        for name in _CURVES:
            if hasattr(self, name):
                setattr(made, name, getattr(self, name))
        made.out_activation_, made.loss_, made.n_iter_ = output, self.loss_, self.n_iter_
        return made

    def _shared(self) -> dict[str, Any]:
        """The parameters that scikit-learn's has too."""
        return {name: getattr(self, name) for name in Multilayer.parameters if name not in _OWN}
