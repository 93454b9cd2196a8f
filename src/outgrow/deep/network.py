"""What the estimators of networks have in common: parameters, the training, what is saved, and the answers.

Nothing here imports torch before a network is trained or asked, so that a model is loaded, and served by ONNX
Runtime, without it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.matrix import Column as Values
from outgrow.data.matrix import is_sparse
from outgrow.deep.graph import OnnxAnswer, network_nodes
from outgrow.deep.strategy_words import is_strategy, strategy_of, words_of
from outgrow.deep.structure import structure_of
from outgrow.engine.matrix import MatrixView
from outgrow.engine.shard import Shard
from outgrow.errors import ArtifactError, DataError, ExportError, MissingExtraError, ParameterError
from outgrow.ml.base import Model
from outgrow.ml.core.begun import check_begun
from outgrow.ml.core.categories import codes, is_text, learned_categories
from outgrow.ml.core.estimator import class_name
from outgrow.ml.core.parameters import (
    FLAG,
    LIST,
    RANDOM_STATE,
    TEXT,
    Integer,
    Number,
    OneOf,
    Such,
    described,
    seed,
)
from outgrow.ml.core.task import Task
from outgrow.ml.export.onnx.answer import features
from outgrow.ml.export.onnx.lookup import category_index
from outgrow.ml.export.onnx.table import Column, Table

PREFIXES = ("module__", "criterion__", "optimizer__")
"""Further parameters: arguments of the module, the loss and the optimizer, as skorch has them."""
_ASKED_ROWS = 1 << 13


def _is_shape(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(size in Integer(low=1) for size in value)


class Made:
    """What is made when a model is first asked, and is no part of it.

    Attributes
    ----------
    module : the trained module.
    graph : what answers by ONNX Runtime.
    content : of the graph, where it was written here.
    """

    module: Any = None
    graph: OnnxAnswer | None = None
    content: bytes | None = None


class Network(Model):
    """A module of torch that is trained by minibatches. Hooks: `_target`, `_outputs_wanted`."""

    tells_rounds = True
    _samples = True
    _by_rows = True
    _export_tolerance = 1e-5
    _partition_tolerance = 1e-4
    """float32, whose rounding depends on how many rows are multiplied at once."""
    _saved_tolerance = 1e-5
    """A loaded model answers by ONNX Runtime, which multiplies otherwise than torch."""
    parameters = {
        "module": described("'mlp', a class of modules, its name, or a module"),
        "criterion": described("a class of torch.nn, its name, or a function of outputs and targets"),
        "optimizer": described("a class of torch.optim, or its name"),
        "lr": Number(above=0),
        "max_epochs": Integer(low=1),
        "batch_size": Integer(low=1),
        "lr_schedule": OneOf("constant", "linear", "cosine") | Such("a function", callable),
        "warmup": Number(low=0),
        "gradient_clip": Number(above=0) | None,
        "accumulate": Integer(low=1),
        "precision": OneOf("float32", "bfloat16"),
        "ema": Number(above=0, below=1) | None,
        "early_stopping": FLAG,
        "validation_fraction": Number(above=0, high=0.9),
        "n_iter_no_change": Integer(low=1),
        "tol": Number(low=0),
        "frozen": TEXT | LIST,
        "recompute": TEXT | LIST,
        "input_shape": Such("the shape of the inputs of a row", _is_shape) | None,
        "strategy": Such("the name of a strategy, or one such as og.LocalSGD()", is_strategy),
        "device": TEXT,
        "random_state": RANDOM_STATE,
        "warm_start": FLAG,
    }
    test_parameters = {"max_epochs": 8, "batch_size": 32, "lr": 0.02}
    exempt = {"weights_are_repetitions": "minibatches draw rows, not weights"}
    expected_failed_checks: ClassVar[dict[str, str]] = {
        "check_sample_weight_equivalence_on_dense_data": "minibatches draw rows, not weights",
        "check_sample_weight_equivalence_on_sparse_data": "minibatches draw rows, not weights",
        "check_do_not_raise_errors_in_init_or_set_params": "further parameters are known by their beginnings",
    }
    no_exports = {"scikit-learn": "has no networks of torch"}

    module: Any
    criterion: Any
    optimizer: Any
    lr: float
    max_epochs: int
    batch_size: int
    lr_schedule: Any
    warmup: float
    gradient_clip: float | None
    accumulate: int
    precision: str
    ema: float | None
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float
    frozen: str | Sequence[str]
    recompute: str | Sequence[str]
    input_shape: Sequence[int] | None
    strategy: Any
    device: str
    random_state: Any
    warm_start: bool

    weights_: dict[str, np.ndarray]
    categories_: dict[str, list[Any]]
    train_loss_: np.ndarray
    validation_loss_: np.ndarray
    n_iter_: int
    best_epoch_: int
    epsilon_: float
    n_outputs_: int
    graph_: bytes
    _made: Made
    _begun: Any = None
    """The last fit, from whose weights this one goes on; or None."""

    # ---- parameters with prefixes ------------------------------------------------------------------------

    def _take(self, arguments: Mapping[str, Any]) -> None:
        """Note the further parameters."""
        for name, value in arguments.items():
            if not self.takes_parameter(name):
                raise TypeError(
                    f"{type(self).__name__} has no parameter {name!r}; further ones begin with "
                    f"{', '.join(PREFIXES)}."
                )
            setattr(self, name, value)

    @classmethod
    def takes_parameter(cls, name: str) -> bool:
        """Whether there is a parameter of this name.

        Parameters
        ----------
        name : such as 'lr' or 'module__hidden'.
        """
        prefixed = any(name.startswith(prefix) and len(name) > len(prefix) for prefix in PREFIXES)
        return prefixed or super().takes_parameter(name)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters, those with prefixes included.

        Parameters
        ----------
        deep : has no effect.
        """
        named = super().get_params(deep=False)
        return {**named, **{name: value for name, value in vars(self).items() if name.startswith(PREFIXES)}}

    def set_params(self, **params: Any) -> Self:
        """Set parameters, those with prefixes included.

        Parameters
        ----------
        **params : by name.
        """
        further = {name: value for name, value in params.items() if name.startswith(PREFIXES)}
        self._take(further)
        super().set_params(**{name: value for name, value in params.items() if name not in further})
        return self

    def _arguments(self, prefix: str) -> dict[str, Any]:
        """The further parameters with a prefix, without it."""
        return {
            name.removeprefix(prefix): value for name, value in vars(self).items() if name.startswith(prefix)
        }

    # ---- the training ------------------------------------------------------------------------------------

    def _target(self, view: MatrixView) -> str:
        """Note what the targets are: 'classes', 'numbers' or 'inputs'."""
        raise NotImplementedError

    def _outputs_wanted(self, view: MatrixView) -> int:
        """How many numbers the module gives for a row, if it is asked."""
        raise NotImplementedError

    def _class_factors(self, view: MatrixView) -> np.ndarray | None:
        """By what the weights of the rows of each class are multiplied."""
        return None

    def _standard(self, view: MatrixView) -> tuple[np.ndarray, np.ndarray] | None:
        """What is subtracted from the targets, and by what the rest is divided; None for nothing."""
        return None

    def _scales(self, view: MatrixView) -> dict[str, np.ndarray]:
        """To what the buffers of the module 'mlp' are set, before it is trained."""
        raise NotImplementedError

    def _prepared(self, shard: Shard, task: Task) -> Shard:
        names = [name for name in task.features(shard.example) if is_text(shard.example[name])]
        self.categories_ = learned_categories(shard, names) if names else {}
        return shard.transformed(self._coded, encoded=True) if names else shard

    def _coded(self, batch: Batch) -> Batch:
        """The batch with whole numbers in place of text, 0 for what is not known."""
        coded = {name: _codes(batch[name], values) for name, values in self.categories_.items()}
        return batch.with_columns(coded) if coded else batch

    def _matrix(self, batch: Batch) -> Any:
        return super()._matrix(self._coded(batch))

    def _worker(self) -> Self:
        try:
            worker = super()._worker()
        except (RuntimeError, TypeError, ValueError):
            if _is_module(self.module):
                from outgrow.deep.modules import copied

                copied(self.module)  # says why, if it is this
            raise
        if self.warm_start and hasattr(self, "weights_"):
            worker._begun = self
        return worker

    def _fit(self, view: MatrixView) -> None:
        from outgrow.deep.fitting import trained

        target = self._target(view)
        check_begun(self, self._begun)
        self.n_outputs_ = self._outputs_wanted(view)
        trained(self, view, target)
        self._made = Made()

    def _category_places(self) -> tuple[tuple[int, int], ...]:
        """The places of columns of categories, and how many values each may have."""
        return tuple(
            (column, 1 + len(self.categories_[name]))
            for column, name in enumerate(self.features_)
            if name in self.categories_
        )

    # ---- what is saved -----------------------------------------------------------------------------------

    def _parameters_to_save(self) -> dict[str, Any]:
        named = {name: _named(value) for name, value in self.get_params(deep=False).items()}
        named["strategy"] = words_of(self.strategy)
        if _is_module(self.criterion):
            raise ArtifactError(
                f"criterion={self.criterion!r} is made already and cannot be saved. Give its class or name "
                "as the criterion, and its arguments as criterion__<name>."
            )
        for name in ("criterion__weight", "criterion__pos_weight"):
            if hasattr(named.get(name), "tolist"):  # of a tensor, which a loss is given as numbers as well
                named[name] = named[name].tolist()
        if _is_module(self.module):
            from outgrow.deep.keras_modules import is_keras

            if is_keras(self.module):
                raise ArtifactError(
                    "A model of Keras that is made already cannot be saved. Give its class as the module, "
                    "class Net(keras.Model), or write it with to_onnx()."
                )
            from outgrow.deep.modules import is_unmade

            # of lazy layers, which only the trained copy has seen rows
            named["module"] = structure_of(self.module_ if is_unmade(self.module) else self.module)
        return named

    def _learned_to_save(self) -> dict[str, Any]:
        """What was learned, and the graph by which it answers without torch, where there can be one."""
        learned = self._learned()
        if hasattr(self, "weights_") and "graph_" not in learned:
            from outgrow.deep.fitting import graph_of

            with suppress(ExportError, MissingExtraError):
                if self._made.content is None:
                    self._made.content = graph_of(self)
                learned["graph_"] = self._made.content
        return learned

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_made"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._restored()

    def _restore(self, learned: dict[str, Any]) -> None:
        self.__dict__.pop("graph_", None)  # of an earlier fit
        super()._restore(learned)

    def _restored(self) -> None:
        self._made = Made()
        graph = self._kept_graph()
        if graph is not None and find_spec("onnxruntime") is not None:
            self._made.graph = OnnxAnswer(graph)

    # ---- answers -----------------------------------------------------------------------------------------

    @property
    def module_(self) -> Any:
        """The trained module, ready to answer."""
        from outgrow.deep.fitting import module_of_model

        if self._made.module is None:
            self._made.module = module_of_model(self)
        return self._made.module

    def _outputs(self, X: Any) -> np.ndarray:
        """What the network says of rows, of shape (rows, outputs); by its graph, if it has one."""
        if self._made.module is None and self._made.graph is not None:
            answers = self._made.graph(self._inputs(X))
            flat = [part.reshape(X.shape[0], int(np.prod(part.shape[1:]))) for part in answers]
            return np.concatenate(flat, axis=1).astype(np.float64)
        from outgrow.deep.fitting import outputs

        parts = [
            outputs(self.module_, self._inputs(X[start : start + _ASKED_ROWS]))
            for start in range(0, X.shape[0], _ASKED_ROWS)
        ]
        if not parts:
            return np.zeros((0, self.n_outputs_))
        made: np.ndarray = np.concatenate(parts)
        return made

    def _onnx_outputs(self, table: Table) -> str:
        """In a graph, what the network says of rows, of shape (rows, outputs)."""
        from outgrow.deep.fitting import graph_of

        graph, who = table.graph, type(self).__name__
        coded = {
            name: Column(graph.cast(self._lookup(table, name, values), "number"))
            for name, values in self.categories_.items()
        }
        X = features(self.features_, table.with_columns(coded), who)
        beyond = graph.node("IsInf", graph.cast(X, "single"))
        X = graph.refuse(beyond, X, f"{who}: X contains numbers beyond 3.4e38")
        if self.input_shape is not None:
            shape = graph.constant([0, *self.input_shape], np.int64)
            X = graph.node("Reshape", X, shape)
        content = self._kept_graph() or graph_of(self)
        outputs = [graph.node("Flatten", tensor, axis=1) for tensor in network_nodes(graph, content, [X])]
        return outputs[0] if len(outputs) == 1 else graph.node("Concat", *outputs, axis=1)

    def _lookup(self, table: Table, name: str, values: list[Any]) -> str:
        """In a graph, 1, 2, ... for the values of a column in their order, 0 for others."""
        graph = table.graph
        index = category_index(table, name, values, self)  # the number of values for others
        after = graph.node("Add", index, graph.constant(np.int64(1)))
        return graph.node("Mod", after, graph.constant(np.int64(len(values) + 1)))

    def _kept_graph(self) -> bytes | None:
        """The graph that was saved with it, if there is one."""
        graph = vars(self).get("graph_")
        if graph is not None and not isinstance(graph, bytes):
            raise ArtifactError(f"The graph of a {type(self).__name__} is a {type(graph).__name__}.")
        return graph

    def _inputs(self, X: Any) -> np.ndarray:
        dense = X.toarray() if is_sparse(X) else X
        with np.errstate(over="ignore"):
            single = np.ascontiguousarray(dense, dtype=np.float32)
        if not np.isfinite(single).all():
            raise DataError(
                f"X has numbers beyond 3.4e38, which {type(self).__name__} cannot hold. Scale them."
            )
        return single.reshape(-1, *(self.input_shape or (single.shape[1],)))

    def _seed(self) -> int:
        return seed(self.random_state)

    def _check_parameters(self) -> None:
        private = strategy_of(self.strategy).private
        if private and (self.early_stopping or self.ema is not None):
            raise ParameterError(
                "early_stopping and ema tell more of the rows than the rounds of a strategy with noise, "
                "of which epsilon_ is. Leave them out."
            )
        if self.input_shape is not None and self.module == "mlp":
            raise ParameterError(
                "input_shape: module='mlp' takes rows of columns. Give a module of your own."
            )


def _codes(column: Values, values: list[Any]) -> pa.Array:
    """1, 2, ... for the values in their order, 0 for others and for missing ones."""
    return pa.array(np.nan_to_num(codes(column, values).to_numpy(zero_copy_only=False)))


def _named(value: Any) -> Any:
    """A class by its name, of torch by its public one; anything else is itself."""
    if not inspect.isclass(value):
        return value
    home = next((home for home in ("torch.nn", "torch.optim") if value.__module__.startswith(home)), None)
    return class_name(value) if home is None else f"{home}:{value.__name__}"


def _is_module(value: Any) -> bool:
    """Whether this is a module of torch, which need not be imported for that."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)
