"""Between an estimator and torch: what its parameters ask for is made, trained, and asked."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.deep.criteria import criterion_of, losses_of
from outgrow.deep.gpus import current, own_device
from outgrow.deep.graph import onnx_of
from outgrow.deep.keras_modules import answer_of, is_keras, keep_states
from outgrow.deep.loader_settings import check_device
from outgrow.deep.loop import Rules, evaluating
from outgrow.deep.minibatches import rows_of
from outgrow.deep.modules import MLP, Sizes, check_tensors, freeze, is_unmade, module_of, recompute
from outgrow.deep.outputs import flat_outputs, kind_of_outputs, named_outputs, shaped_outputs
from outgrow.deep.replica import array_of, replica_of
from outgrow.deep.schedule import Schedule
from outgrow.deep.strategies.fed_avg import is_personal, personal_numbers
from outgrow.deep.strategy_words import strategy_of
from outgrow.deep.structure import module_of as structured
from outgrow.deep.structure import structure_of
from outgrow.deep.training import Plan, Training
from outgrow.deep.weights import weights_of
from outgrow.deep.written import Input, written
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ArtifactError, DataError, ParameterError

torch = optional("torch", "torch")

_SEEDING = threading.RLock()
"""Held by whoever makes a module: torch's random numbers are those of the whole process."""


def trained(model: Any, view: MatrixView, target: str) -> None:
    """Train the module of a model, and note on the model what it learned.

    Parameters
    ----------
    model : a `Network`, which knows its features and targets.
    view : the rows.
    target : as for `rows_of`.
    """
    check_device(model.device)
    device = own_device(model.device, view.run)
    shape = () if model.input_shape is None else tuple(model.input_shape)
    if shape and int(np.prod(shape)) != view.width:
        raise ParameterError(f"input_shape={shape}: it has {np.prod(shape)} numbers, and rows {view.width}.")
    standard = _standard(model, view)
    factors = model._class_factors(view)
    rows = rows_of(view, target, factors=factors, standard=standard, shape=shape, device=device)
    module = _begun(model, view)
    _try(module, rows.shape, model)
    module.to(device)
    keep_states(module)
    options = model._arguments("optimizer__")
    groups = options.pop("param_groups", ())
    replica = replica_of(module, model.optimizer, options, lr=float(model.lr), groups=groups)
    personal = getattr(strategy_of(model.strategy), "personal", ())
    personal_numbers(replica, personal)  # refuses layers that there are not
    criterion = criterion_of(model.criterion, model._arguments("criterion__"))
    if isinstance(criterion, torch.nn.Module):
        criterion.to(device)
    losses = losses_of(criterion, classes=target == "classes")
    training = Training(view.run, rows, replica, losses, _plan(model, view, module))
    with current(device):
        progress = training.run_to_the_end()
    model.weights_ = _state(module)
    if personal:
        model.personal_ = [name for name in model.weights_ if is_personal(name, personal)]
    if training.epsilon is not None:
        model.epsilon_ = training.epsilon
    model.train_loss_, model.validation_loss_ = np.array(progress.train), np.array(progress.validation)
    model.n_iter_ = progress.epoch
    model.best_epoch_ = progress.best if progress.best >= 0 else progress.epoch - 1


def module_of_model(model: Any) -> Any:
    """The trained module of a model.

    Parameters
    ----------
    model : a fitted `Network`.

    Raises
    ------
    ArtifactError
        When its weights are not those of its module.
    """
    if isinstance(model.module, Mapping):
        return structured(model.module, {"arrays": model.weights_, "aliases": {}, "types": {}})
    sizes = Sizes(model.n_features_, model.n_outputs_, model._category_places())
    with _seeded(0):
        module = module_of(model.module, model._arguments("module__"), sizes, trusted=model._trusted)
        _built(module, tuple(model.input_shape or (model.n_features_,)))
    try:
        _load(module, model.weights_)
    except RuntimeError as error:
        raise ArtifactError(f"The weights are of another module than {model.module!r}: {error}.") from error
    module.eval()
    return module


@contextmanager
def _seeded(number: int) -> Iterator[None]:
    """What is random in torch, and in Keras by Python's own numbers, begins here within the block."""
    with _SEEDING:
        before = random.getstate()
        random.seed(number)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(number)
                yield
        finally:
            random.setstate(before)


def _built(module: Any, shape: tuple[int, ...]) -> None:
    """Layers of Keras, and lazy ones of torch, make their weights when they see rows for the first time."""
    if (is_keras(module) and not module.built) or is_unmade(module):
        _asked(module, shape)


def _state(module: Any) -> dict[str, np.ndarray]:
    """What a module has learned, by name; of Keras, whose names count what was made before, by order."""
    if is_keras(module):
        return {str(n): array_of(variable.value) for n, variable in enumerate(module.variables)}
    return {name: array_of(value) for name, value in module.state_dict().items()}


def _load(module: Any, weights: Mapping[str, np.ndarray]) -> None:
    """Give a module what `_state` gave of another one."""
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
    if not is_keras(module):
        module.load_state_dict(tensors)
        return
    values = {str(n): variable.value for n, variable in enumerate(module.variables)}
    if {name: value.shape for name, value in values.items()} != {
        n: value.shape for n, value in tensors.items()
    }:
        raise RuntimeError("its layers have other sizes")
    with torch.no_grad():
        for name, value in values.items():
            value.copy_(tensors[name])


def graph_of(model: Any) -> bytes:
    """A network as an ONNX file: written layer by layer where its layers are known, else by torch.

    Parameters
    ----------
    model : a fitted `Network`.

    Raises
    ------
    ExportError
        When torch cannot write it.
    MissingExtraError
        When onnx or onnxscript is needed and not installed.
    """
    module = model.module_
    shape = (model.n_features_,) if model.input_shape is None else tuple(model.input_shape)
    names = [f"output_{number}" for number in range(len(getattr(model, "output_shapes_", [None])))]
    with suppress(ArtifactError):
        content = written(structure_of(module), weights_of(module), [Input(shape)])
        if content is not None:
            return content
    inputs = [torch.zeros(2, *shape)]
    if is_keras(module) and not isinstance(model.module, torch.nn.Module):
        # models of Keras can seldom be copied, but made once more
        return onnx_of(module_of_model(model), inputs, names, disposable=True)
    return onnx_of(module, inputs, names)


def outputs(module: Any, inputs: np.ndarray) -> np.ndarray:
    """What a module says of rows.

    Parameters
    ----------
    module : of `torch.nn`.
    inputs : of shape (rows, ...), float32.

    Returns
    -------
    Of shape (rows, outputs), float64.
    """
    device = next((value.device for value in module.parameters()), "cpu")
    with evaluating(module):
        answer = answer_of(module, torch.from_numpy(inputs).to(device))
    values: np.ndarray = flat_outputs(answer).cpu().numpy().astype(np.float64)
    return values


def losses_of_answers(model: Any, answer: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The loss of each row, of what a module gave.

    Parameters
    ----------
    model : a fitted `TorchModule`.
    answer : all outputs side by side, of shape (rows, outputs).
    targets : of shape (rows,) or (rows, targets).

    Returns
    -------
    Of shape (rows,).
    """
    if not len(answer):
        return np.zeros(0)
    losses = losses_of(criterion_of(model.criterion, model._arguments("criterion__")))
    given = shaped_outputs(answer, model.output_shapes_, model.output_kind_)
    with torch.no_grad():
        values: np.ndarray = losses(given, torch.from_numpy(targets.astype(np.float32))).numpy()
    return values.astype(np.float64)


def _standard(model: Any, view: MatrixView) -> tuple[np.ndarray, np.ndarray] | None:
    """What is subtracted from the targets, and by what the rest is divided; noted on the model."""
    begun = model._begun
    known = begun is not None and hasattr(begun, "target_scale_")
    standard: tuple[np.ndarray, np.ndarray] | None
    standard = (begun.target_shift_, begun.target_scale_) if known else model._standard(view)
    if standard is not None:
        model.target_shift_, model.target_scale_ = standard
    return standard


def _begun(model: Any, view: MatrixView) -> Any:
    """The module before it is trained: the same on every rank."""
    sizes = Sizes(view.width, model.n_outputs_, model._category_places())
    scaled = model.module == MLP and model._begun is None and not strategy_of(model.strategy).private
    scales = model._scales(view) if scaled else {}
    with _seeded(model._seed()):
        module = module_of(model.module, model._arguments("module__"), sizes, trusted=model._trusted)
        _built(module, tuple(model.input_shape or (view.width,)))
        if model._begun is not None:
            try:
                _load(module, model._begun.weights_)
            except RuntimeError as error:
                raise ParameterError(f"warm_start=True: the last fit had another module: {error}.") from error
    buffers = dict(module.named_buffers())
    for name, value in scales.items():
        buffers[name].copy_(torch.from_numpy(value))
    check_tensors(module)
    freeze(module, model.frozen)
    recompute(module, model.recompute)
    model.n_features_ = view.width
    return module


def _asked(module: Any, shape: tuple[int, ...]) -> Any:
    """What a module gives for two rows of zeros; it shall take rows of such a shape."""
    try:
        with _SEEDING, evaluating(module):
            return answer_of(module, torch.zeros(2, *shape))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        kinds = {str(value.dtype) for value in module.parameters() if value.is_floating_point()}
        if kinds - {"torch.float32"}:
            advice = f"Its weights are {', '.join(sorted(kinds))}, and rows float32: give module.float()."
        else:
            advice = "Its sizes are given as module__<name>, and the shape as input_shape."
        raise DataError(
            f"The module does not take rows of shape {shape}, which X has: {type(error).__name__}: {error}. "
            f"{advice}"
        ) from error


def _try(module: Any, shape: tuple[int, ...], model: Any) -> None:
    """Ask the module for two rows: it shall take such, and give what the criterion needs."""
    with torch.random.fork_rng(devices=[]):
        answer = _asked(module, shape)
    kind, parts = kind_of_outputs(answer), named_outputs(answer)
    if kind != "tensor" and not model.answers_several:
        raise ParameterError(
            f"The module gives a {kind} for rows; {type(model).__name__} needs a tensor. TorchModule takes "
            "several outputs."
        )
    for name, part in parts:
        if part.shape[:1] != (2,):
            raise ParameterError(
                f"The module gives {name or 'a tensor'} of shape {tuple(part.shape)} for 2 rows; the first "
                "size must count rows."
            )
    if model.answers_several:
        model.output_kind_ = kind
        model.output_shapes_ = [[name, list(part.shape[1:])] for name, part in parts]
    model.n_outputs_ = sum(int(np.prod(part.shape[1:])) for _, part in parts)


def _plan(model: Any, view: MatrixView, module: Any) -> Plan:
    rules = Rules(
        float(model.lr),
        Schedule(model.lr_schedule, model.warmup),
        model.gradient_clip,
        int(model.accumulate),
        model.precision == "bfloat16",
        model._seed(),
    )
    stops = bool(model.early_stopping)
    tell = None if view.watch is None or view.watch.tell is None else _teller(model, view, module)
    return Plan(
        rules,
        int(model.max_epochs),
        int(model.batch_size),
        model._seed(),
        model.ema,
        float(model.validation_fraction) if stops else None,
        int(model.n_iter_no_change) if stops else None,
        float(model.tol),
        strategy_of(model.strategy),
        tell,
    )


def _teller(model: Any, view: MatrixView, module: Any) -> Any:
    """What shows on the way how the module answers for the watched rows."""
    watch = view.watch
    assert watch is not None

    def tell(share: float) -> None:
        blocks = [model._inputs(block.X) for block in watch.rows.blocks()]
        answers = [outputs(module, block) for block in blocks] or [np.zeros((0, model.n_outputs_))]
        assert watch.tell is not None
        watch.tell(share, model._answers(np.concatenate(answers)))

    return tell
