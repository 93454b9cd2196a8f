"""Networks of torch that predict classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from outgrow.deep.labels import ONE_OUTPUT, criterion_label
from outgrow.deep.network import Network
from outgrow.deep.scales import scales_of_features
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError
from outgrow.ml.base import ProbabilityClassifier
from outgrow.ml.core.parameters import CLASS_WEIGHT, OneOf
from outgrow.ml.core.weights import ClassWeight, class_factors
from outgrow.ml.export.onnx.answer import Answer, chosen
from outgrow.ml.export.onnx.table import Table

_OF_CRITERION = {"NLLLoss": "exp", "BCELoss": "identity"}
_CHANCES: dict[str, Any] = {"sigmoid": expit, "exp": np.exp, "identity": np.asarray}


class TorchClassifier(Network, ProbabilityClassifier):
    """A network of torch that predicts classes, trained by minibatches wherever the rows are.

    Without a module it is a perceptron over all columns: numbers are brought to one scale, and columns of
    text become embeddings that are learned with it. The rows stay where they are, here or on the ranks of a
    cluster; each step takes about `batch_size` of them, chosen by hashes of the rows, and the gradients of
    the ranks are added up: the network is the same, but for rounding, on any engine and any partitioning.

    Parameters
    ----------
    module : 'mlp', a class of modules or a function that makes one, its name such as 'package.module:Net', or
        a module, which is copied. It gives a tensor of shape (rows, classes), or of shape (rows, 1) for two
        classes with a loss such as BCEWithLogitsLoss. Parameters of the class such as `n_features` and
        `n_outputs` (also `in_features`, `input_dim`, `out_features`, `num_classes`, ...) that have no default
        and are not given follow from the rows. Columns of text reach it as whole numbers 1, 2, ... for the
        values in `categories_`, 0 for others.
    criterion : the loss: a class of `torch.nn`, its name, or a function of outputs and targets, which are
        indices of `classes_`.
    optimizer : a class of `torch.optim`, or its name in any case.
    lr : the learning rate.
    max_epochs : how often each row is seen.
    batch_size : rows of a step, about, over all ranks.
    lr_schedule : 'constant', 'linear' or 'cosine' down to zero, or a function of the step and of how many
        there are, that gives a factor of `lr`.
    warmup : the share of the steps in which the rate grows from zero, or, from 1 on, how many.
    gradient_clip : the largest norm of a gradient that is left as it is.
    accumulate : into how many parts each batch is cut, whose gradients add up: less memory, the same result.
    precision : 'bfloat16' computes in that where it is safe (`torch.autocast`); weights stay float32.
    ema : by what a running average of the weights keeps its past at each step, such as 0.999; that average
        is then what has been learned.
    early_stopping : hold out `validation_fraction` of the rows, stop when their loss has not fallen by `tol`
        for `n_iter_no_change` epochs, and keep the weights of the best epoch.
    validation_fraction, n_iter_no_change, tol : see `early_stopping`.
    class_weight : weight of each class, 'balanced' for the inverse of its frequency, None for 1.
    predict_nonlinearity : what makes probabilities of outputs: 'softmax', 'sigmoid', 'exp' or 'identity';
        'auto' follows the loss.
    frozen : beginnings or patterns of names of parameters that stay as they are, such as ['backbone'].
    recompute : names or patterns of submodules that compute their insides again on the way back, to save
        memory (`torch.utils.checkpoint`).
    input_shape : of the inputs of a row, such as (3, 96, 96), where the module does not take flat rows.
    strategy : what several ranks merge, with whom and when: 'ddp', or another of `outgrow.deep.strategies`
        by its name, such as 'local_sgd', or with parameters, such as `og.DiLoCo(every=100)`.
    device : 'cpu', 'cuda', ...
    random_state : another number starts elsewhere and takes other batches; None means 0.
    warm_start : begin with the weights of the last fit.
    **arguments : `module__<name>`, `criterion__<name>` and `optimizer__<name>` are arguments of the three,
        such as `module__hidden=(64, 64)` and `module__dropout=0.1` of 'mlp', or
        `optimizer__weight_decay=1e-4`. With `optimizer__param_groups=[('backbone.*', {'lr': 1e-5})]`
        parameters whose names match learn apart.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    module_ : the trained module.
    weights_ : its weights, a dictionary of ndarrays.
    categories_ : of columns of text their values.
    train_loss_, validation_loss_ : the mean loss of each epoch, the first before each step.
    n_iter_, best_epoch_ : epochs, and the one (from 0) whose weights stay.
    n_outputs_ : how many numbers the module gives.

    Notes
    -----
    Unlike skorch's `NeuralNetClassifier`: the loss is `CrossEntropyLoss` of plain outputs; the optimizer
    AdamW; batches have about, not exactly, `batch_size` rows; rows are held out only for `early_stopping`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> inside = np.hypot(*X.T) < 1
    >>> model = og.TorchClassifier(module__hidden=(16,), lr=0.02, max_epochs=30, batch_size=64)
    >>> bool(model.fit(X, inside).score(X, inside) > 0.95)
    True
    """

    parameters = {
        **Network.parameters,
        "class_weight": CLASS_WEIGHT,
        "predict_nonlinearity": OneOf("auto", "softmax", "sigmoid", "exp", "identity"),
    }

    def __init__(
        self,
        module: Any = "mlp",
        *,
        criterion: Any = "CrossEntropyLoss",
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
        class_weight: ClassWeight = None,
        predict_nonlinearity: str = "auto",
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
        self.class_weight = class_weight
        self.predict_nonlinearity = predict_nonlinearity
        self.frozen = frozen
        self.recompute = recompute
        self.input_shape = input_shape
        self.strategy = strategy
        self.device = device
        self.random_state = random_state
        self.warm_start = warm_start
        self._take(arguments)

    def _target(self, view: MatrixView) -> str:
        self._learn_classes(view)
        return "classes"

    def _outputs_wanted(self, view: MatrixView) -> int:
        classes = len(view.classes)
        return 1 if classes == 2 and criterion_label(self.criterion) in ONE_OUTPUT else classes

    def _class_factors(self, view: MatrixView) -> np.ndarray | None:
        return class_factors(self.class_weight, view.classes, view.class_weights)

    def _scales(self, view: MatrixView) -> dict[str, np.ndarray]:
        return scales_of_features(view, self._category_places())

    def _to_onnx(self, table: Table) -> Answer:
        graph, sums = table.graph, self._onnx_outputs(table)
        kind = self._nonlinearity(self.n_outputs_)
        operator = {"sigmoid": "Sigmoid", "exp": "Exp"}.get(kind)
        if kind == "softmax":
            return chosen(graph, graph.node("Softmax", sums, axis=1), self.classes_)
        chances = sums if operator is None else graph.node(operator, sums)
        if self.n_outputs_ == 1:
            both = graph.join([graph.node("Sub", graph.constant([[1.0]]), chances), chances])
            return chosen(graph, both, self.classes_)
        total = graph.node("ReduceSum", chances, graph.constant([1], np.int64), keepdims=1)
        return chosen(graph, graph.node("Div", chances, total), self.classes_)

    def _nonlinearity(self, width: int) -> str:
        """What makes probabilities of so many outputs."""
        if self.predict_nonlinearity != "auto":
            return self.predict_nonlinearity
        return _OF_CRITERION.get(criterion_label(self.criterion), "sigmoid" if width == 1 else "softmax")

    def _predict_proba(self, X: Any) -> np.ndarray:
        return self._answers(self._outputs(X))

    def _answers(self, outputs: np.ndarray) -> np.ndarray:
        """Probabilities, of what the module gave."""
        width = outputs.shape[1]
        kind = self._nonlinearity(width)
        if width not in (1, len(self.classes_)) or (width == 1 and len(self.classes_) > 2):
            raise DataError(
                f"The module gives {width} numbers for a row, and there are {len(self.classes_)} classes: "
                f"{self.classes_.tolist()[:20]}. Let it give one for each class."
            )
        if width == 1:
            chance = outputs if kind == "softmax" else _CHANCES[kind](outputs)
            return np.hstack([1.0 - chance, chance])
        if kind == "softmax":
            shares: np.ndarray = softmax(outputs, axis=1)
            return shares
        chances: np.ndarray = _CHANCES[kind](outputs)
        return chances / chances.sum(axis=1, keepdims=True)
