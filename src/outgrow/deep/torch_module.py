"""Networks of torch with losses and outputs of any kind, with targets or without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from outgrow.deep.losses import LOSSES
from outgrow.deep.network import Network
from outgrow.deep.scales import scales_of_features
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.base import Regressor
from outgrow.ml.core.parameters import TEXT as NAME
from outgrow.ml.core.parameters import Integer, OneOf
from outgrow.ml.export.onnx.answer import Answer
from outgrow.ml.export.onnx.table import Table


class TorchModule(Network, Regressor):
    """A network of torch with a loss of your own, several outputs, or no targets, as autoencoders have.

    What the module gives reaches the loss as it is: a tensor, several in a tuple, or by name in a dict.
    Answers are all of it side by side, or one of several. Rows, steps and ranks are as for `TorchClassifier`.

    Parameters
    ----------
    module : as for `TorchClassifier`.
    criterion : the loss: a function of outputs and targets that gives a number for each row, or their mean;
        or a class of `torch.nn`, or its name.
    target : 'y' for the targets that `fit` is given; 'inputs' for the inputs themselves.
    output : which of several outputs is the answer: its place or its name; None for all, side by side.
    optimizer, lr, max_epochs, batch_size, lr_schedule, warmup, gradient_clip, accumulate, precision, ema :
        as for `TorchClassifier`.
    early_stopping, validation_fraction, n_iter_no_change, tol : as for `TorchClassifier`.
    frozen, recompute, input_shape, strategy, device, random_state, warm_start : as for `TorchClassifier`.
    **arguments : `module__<name>`, `criterion__<name>` and `optimizer__<name>`, as for `TorchClassifier`.

    Attributes
    ----------
    module_ : the trained module.
    weights_ : its weights, a dictionary of ndarrays.
    categories_ : of columns of text their values.
    output_shapes_ : of each output its name, and the shape of what it gives for a row.
    train_loss_, validation_loss_ : the mean loss of each epoch, the first before each step.
    n_iter_, best_epoch_ : epochs, and the one (from 0) whose weights stay.
    n_outputs_ : how many numbers the module gives.

    Notes
    -----
    `evaluate` gives the mean `loss`, `score` the same with the other sign.

    Unlike skorch's `NeuralNet`: the loss of each row counts by its weight; `target='inputs'` needs no y.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> t = np.random.default_rng(0).normal(size=(400, 1))
    >>> X = np.hstack([t, -2 * t, 3 * t])
    >>> net = og.TorchModule(module__hidden=(1,), module__activation="identity", target="inputs", lr=0.05,
    ...                      max_epochs=60)
    >>> net.fit(X).predict(X).shape
    (400, 3)
    >>> bool(net.evaluate(X)["loss"] < 0.1)
    True
    """

    _scoring = LOSSES
    answers_several = True
    parameters = {
        **Network.parameters,
        "target": OneOf("y", "inputs"),
        "output": Integer(low=0) | NAME | OneOf(None),
    }
    expected_failed_checks: ClassVar[dict[str, str]] = {
        **Network.expected_failed_checks,
        "check_methods_subset_invariance": "float32 rounds otherwise where rows are fewer",
        "check_regressors_train": "its score is a loss",
    }
    target: str
    output: int | str | None
    output_shapes_: list[list[Any]]
    output_kind_: str

    def __init__(
        self,
        module: Any = "mlp",
        *,
        criterion: Any = "MSELoss",
        target: str = "y",
        output: int | str | None = None,
        optimizer: Any = "AdamW",
        lr: float = 1e-3,
        max_epochs: int = 10,
        batch_size: int = 128,
        lr_schedule: Any = "constant",
        warmup: float = 0,
        gradient_clip: float | None = None,
        accumulate: int = 1,
        precision: str = "float32",
        ema: float | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        tol: float = 1e-4,
        frozen: str | Sequence[str] = (),
        recompute: str | Sequence[str] = (),
        input_shape: Sequence[int] | None = None,
        strategy: Any = "ddp",
        device: str = "cpu",
        random_state: Any = None,
        warm_start: bool = False,
        **arguments: Any,
    ) -> None:
        self.module = module
        self.criterion = criterion
        self.target = target
        self.output = output
        self.optimizer = optimizer
        self.lr = lr
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr_schedule = lr_schedule
        self.warmup = warmup
        self.gradient_clip = gradient_clip
        self.accumulate = accumulate
        self.precision = precision
        self.ema = ema
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.frozen = frozen
        self.recompute = recompute
        self.input_shape = input_shape
        self.strategy = strategy
        self.device = device
        self.random_state = random_state
        self.warm_start = warm_start
        self._take(arguments)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.required = self.target == "y"
        return tags

    def score(self, X: Any, y: Any = None, sample_weight: Any = None, **roles: Any) -> float:
        """The mean loss, with the other sign, so that greater is better.

        Parameters
        ----------
        X, y, sample_weight, **roles : as for `evaluate`.
        """
        return -float(self.evaluate(X, y, sample_weight, **roles)["loss"])

    def evaluate(self, X: Any, y: Any = None, sample_weight: Any = None, **roles: Any) -> Any:
        """The mean `loss` of rows, from one pass.

        Parameters
        ----------
        X, y, sample_weight, **roles : as for `fit`.
        """
        return super().evaluate(X, y, sample_weight, **roles)

    def _target(self, view: MatrixView) -> str:
        return "inputs" if self.target == "inputs" else "numbers"

    def _outputs_wanted(self, view: MatrixView) -> int:
        return view.width if self.target == "inputs" else view.targets or 1

    def _scales(self, view: MatrixView) -> dict[str, np.ndarray]:
        return scales_of_features(view, self._category_places())

    def _chosen(self) -> slice:
        """Which columns of all outputs are the answer."""
        if self.output is None:
            return slice(None)
        start = 0
        for number, (name, shape) in enumerate(self.output_shapes_):
            end = start + int(np.prod(shape))
            if self.output in (number, name):
                return slice(start, end)
            start = end
        known = [name or number for number, (name, _) in enumerate(self.output_shapes_)]
        raise ParameterError(f"output={self.output!r}: the module gives {known}.")

    def _predict(self, X: Any) -> np.ndarray:
        return self._answers(self._outputs(X))

    def _answers(self, outputs: np.ndarray) -> np.ndarray:
        answer = outputs[:, self._chosen()]
        return answer[:, 0] if answer.shape[1] == 1 else answer

    def _prediction_names(self, method: str) -> list[str]:
        width = len(range(self.n_outputs_)[self._chosen()])
        return ["prediction"] if width == 1 else [f"output_{number}" for number in range(width)]

    def _losses(self, X: Any) -> np.ndarray:
        """All outputs, and the inputs behind them where those are the targets, for `_losses_of`."""
        answer = self._outputs(X)
        return answer if self.target == "y" else np.hstack([answer, self._inputs(X).reshape(len(answer), -1)])

    def _losses_of(self, answer: np.ndarray, block: Block) -> np.ndarray:
        """The loss of each row.

        Parameters
        ----------
        answer : what `_losses` gave.
        block : y, where there are targets.
        """
        from outgrow.deep.fitting import losses_of_answers

        targets = block.y if self.target == "y" else answer[:, self.n_outputs_ :]
        return losses_of_answers(self, answer[:, : self.n_outputs_], np.asarray(targets))

    def _to_onnx(self, table: Table) -> Answer:
        graph, sums = table.graph, self._onnx_outputs(table)
        chosen = range(self.n_outputs_)[self._chosen()]
        if len(chosen) < self.n_outputs_:
            sums = graph.node("Gather", sums, graph.constant(list(chosen), np.int64), axis=1)
        if len(chosen) == 1:
            return Answer(graph.node("Squeeze", sums, graph.constant([1], np.int64)))
        return Answer(sums, width=len(chosen))
