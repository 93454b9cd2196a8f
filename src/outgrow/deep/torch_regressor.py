"""Networks of torch that predict numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from outgrow.deep.labels import OF_DIFFERENCES, criterion_label
from outgrow.deep.network import Network
from outgrow.deep.scales import scales_of_features, scales_of_targets
from outgrow.deep.strategy_words import strategy_of
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError
from outgrow.ml.base import Regressor
from outgrow.ml.export.onnx.answer import Answer
from outgrow.ml.export.onnx.table import Table


class TorchRegressor(Network, Regressor):
    """A network of torch that predicts a number, or several, trained by minibatches wherever the rows are.

    Without a module it is a perceptron over all columns: numbers and targets are brought to one scale, and
    columns of text become embeddings that are learned with it. Rows, steps and ranks are as for
    `TorchClassifier`.

    Parameters
    ----------
    module : as for `TorchClassifier`; it gives a tensor of shape (rows,), (rows, 1) or (rows, targets).
    criterion : the loss: a class of `torch.nn`, its name, or a function of outputs and targets. With
        'PoissonNLLLoss' the module gives logarithms of what is expected, unless `criterion__log_input=False`,
        and the answers are what is expected itself.
    optimizer, lr, max_epochs, batch_size, lr_schedule, warmup, gradient_clip, accumulate, precision, ema :
        as for `TorchClassifier`.
    early_stopping, validation_fraction, n_iter_no_change, tol : as for `TorchClassifier`; `tol` is in units
        of the loss.
    frozen, recompute, input_shape, strategy, device, random_state, warm_start : as for `TorchClassifier`.
    **arguments : `module__<name>`, `criterion__<name>` and `optimizer__<name>`, as for `TorchClassifier`.

    Attributes
    ----------
    module_ : the trained module.
    weights_ : its weights, a dictionary of ndarrays.
    categories_ : of columns of text their values.
    train_loss_, validation_loss_ : the mean loss of each epoch, the first before each step.
    n_iter_, best_epoch_ : epochs, and the one (from 0) whose weights stay.
    n_outputs_ : how many numbers the module gives.
    target_shift_, target_scale_ : what is added to the module's outputs, and by what they are multiplied
        before; those of 'mlp' are in units of the deviation of y, and so are its losses, where the loss is
        one of differences (MSELoss, L1Loss, SmoothL1Loss, HuberLoss).

    Notes
    -----
    Unlike skorch's `NeuralNetRegressor`: y may be of shape (rows,) or (rows, targets); batches have about,
    not exactly, `batch_size` rows; rows are held out only for `early_stopping`. A module of the user's own
    sees the columns and the targets as they are: put a `StandardScaler` before it.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.linspace(-2, 2, 400)[:, None]
    >>> model = og.TorchRegressor(module__hidden=(32,), lr=0.02, max_epochs=60, batch_size=64)
    >>> bool(model.fit(X, 1000 * np.sin(X[:, 0])).score(X, 1000 * np.sin(X[:, 0])) > 0.95)
    True
    """

    expected_failed_checks: ClassVar[dict[str, str]] = {
        **Network.expected_failed_checks,
        "check_methods_subset_invariance": "float32 rounds otherwise where rows are fewer",
    }
    target_shift_: np.ndarray
    target_scale_: np.ndarray

    def __init__(
        self,
        module: Any = "mlp",
        *,
        criterion: Any = "MSELoss",
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
        return tags

    def _target(self, view: MatrixView) -> str:
        return "numbers"

    def _outputs_wanted(self, view: MatrixView) -> int:
        return view.targets or 1

    def _scales(self, view: MatrixView) -> dict[str, np.ndarray]:
        return scales_of_features(view, self._category_places())

    def _standard(self, view: MatrixView) -> tuple[np.ndarray, np.ndarray]:
        """What is subtracted from the targets, and by what the rest is divided."""
        plain = self.module != "mlp" or criterion_label(self.criterion) not in OF_DIFFERENCES
        if plain or strategy_of(self.strategy).private:
            return np.zeros(self.n_outputs_), np.ones(self.n_outputs_)
        return scales_of_targets(view)

    @property
    def _gives_logarithms(self) -> bool:
        """Whether the module gives logarithms of what it is to predict."""
        if criterion_label(self.criterion) != "PoissonNLLLoss":
            return False
        known = getattr(self.criterion, "log_input", True)
        return bool(self._arguments("criterion__").get("log_input", known))

    def _to_onnx(self, table: Table) -> Answer:
        graph, sums = table.graph, self._onnx_outputs(table)
        if self._gives_logarithms:
            sums = graph.node("Exp", sums)
        scaled = graph.node("Mul", sums, graph.constant(self.target_scale_[None]))
        moved = graph.node("Add", scaled, graph.constant(self.target_shift_[None]))
        if self.target_names_ is not None:
            return Answer(moved, width=self.n_outputs_)
        return Answer(graph.node("Squeeze", moved, graph.constant([1], np.int64)))

    def _predict(self, X: Any) -> np.ndarray:
        return self._answers(self._outputs(X))

    def _answers(self, outputs: np.ndarray) -> np.ndarray:
        wanted = 1 if self.target_names_ is None else len(self.target_names_)
        if outputs.shape[1] != wanted:
            raise DataError(
                f"The module gives {outputs.shape[1]} numbers for a row, and there is/are {wanted} target(s)."
            )
        if self._gives_logarithms:
            outputs = np.exp(outputs)
        outputs = outputs * self.target_scale_ + self.target_shift_
        return outputs[:, 0] if self.target_names_ is None else outputs
