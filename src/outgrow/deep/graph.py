"""Networks as ONNX graphs: exported by PyTorch, and answering without it."""

from __future__ import annotations

import copy
import inspect
import logging
import warnings
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.errors import ArtifactError, DataError, ExportError, OutgrowError
from outgrow.ml.export.onnx.graph import OPSET, ROWS, Graph
from outgrow.ml.export.onnx.network import check_self_contained, taken_apart, tidied
from outgrow.ml.export.onnx.run import session

CHUNK_BYTES = 1 << 20
"""What goes into a network at once: its layers make some times as much, which should stay in a cache."""
TOLERANCE = 1e-5
"""How far an exported network may answer from the one it was made of, relative to the greatest number."""
_CHECKED_ROWS = 5
_LOGGER = "torch.onnx._internal.exporter._registration"


def onnx_of(
    module: Any,
    inputs: Sequence[Any] | Mapping[str, Any],
    output_names: Sequence[str] = ("output",),
    *,
    disposable: bool = False,
) -> bytes:
    """A network of any kind as the bytes of an ONNX file, weights inside.

    It is written as it answers in evaluation mode, for any number of rows, by `torch.onnx.export`, which runs
    it and takes seconds. Then ONNX Runtime answers for other rows, which has to be what the network answers.
    `outgrow.deep.written.written` knows plain networks, and takes milliseconds.

    Parameters
    ----------
    module : a `torch.nn.Module`, on any device. It is not changed, but with `disposable`.
    inputs : tensors such as `forward` takes, rows first, at least one row; or by the names of its parameters.
    output_names : what its answers are called, in their order.
    disposable : whether it may be changed, as nobody else has it; it need not be one that can be copied then.

    Raises
    ------
    ExportError
        When PyTorch cannot write it for any number of rows, or what was written answers something else.
    MissingExtraError
        When onnxscript is not installed, which the exporter needs.

    Examples
    --------
    >>> import torch
    >>> from outgrow.deep.graph import OnnxAnswer, onnx_of
    >>> class Sum(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.cumsum(dim=1)
    >>> OnnxAnswer(onnx_of(Sum(), [torch.ones(2, 3)]))([[1.0, 2.0, 3.0]])[0].tolist()
    [[1.0, 3.0, 6.0]]
    """
    torch = optional("torch", "torch")
    optional("onnxscript", "torch")
    module = _plain(module.cpu().eval() if disposable else _copied(module))
    if any(tensor.dtype == torch.bfloat16 for tensor in module.state_dict().values()):
        module = module.float()  # ONNX Runtime's processor kernels lack it
    named = dict(inputs) if isinstance(inputs, Mapping) else None
    given = _rows(list(inputs.values() if isinstance(inputs, Mapping) else inputs))
    shape = {0: torch.export.Dim(ROWS, min=1)}
    shapes: Any = [shape for _ in given] if named is None else dict.fromkeys(named, shape)
    args, kwargs = (tuple(given), None) if named is None else ((), dict(zip(named, given, strict=True)))
    written = _exported(module, args, kwargs, shapes, len(given))
    content = tidied(written, list(output_names))
    _check_answers(module, given, named, content)
    return content


def network_nodes(graph: Graph, content: bytes, tensors: Sequence[str]) -> list[str]:
    """Take a network into the graph of a pipeline.

    Parameters
    ----------
    graph : of the pipeline; gets the nodes and the weights.
    content : what `onnx_of` or `written` gave.
    tensors : what goes into the network, one for each of its inputs, such as `table.matrix(names, who)`.

    Returns
    -------
    list of str
        Its outputs, numbers in float64 as all are in such a graph.

    Raises
    ------
    ArtifactError
        When the network's graph is damaged, or refers to numbers outside of it.
    """
    return graph.inline(taken_apart(content, graph.prefix()), tensors)


class OnnxAnswer:
    """What a network answers, by ONNX Runtime: PyTorch is not imported.

    It can be copied, pickled and used by several threads at once; the session is made at the first call.

    Parameters
    ----------
    content : what `onnx_of` or `written` gave; it may come from a stranger.
    threads : how many work at one answer.
    """

    def __init__(self, content: bytes, threads: int = 1) -> None:
        self.content = content
        self.threads = threads
        self._lock = Lock()
        self._session: Any = None

    def __call__(self, *inputs: Any) -> list[np.ndarray]:
        """The answers for rows.

        Parameters
        ----------
        *inputs : arrays of the network's inputs, rows first, in the order in which it takes them; numbers
            become the type that it takes, float32 or int64.

        Returns
        -------
        list of ndarray
            Each output, rows first.

        Raises
        ------
        DataError
            When the arrays are not such as the network takes.
        ArtifactError
            When its graph is damaged, refers to numbers outside of it, or answers no rows.
        """
        opened = self._opened()
        takes = opened.get_inputs()
        if len(inputs) != len(takes):
            raise DataError(f"The network takes {len(takes)} arrays, and got {len(inputs)}.")
        arrays: list[np.ndarray] = [
            np.asarray(x, dtype=_DTYPES[take.type]) for x, take in zip(inputs, takes, strict=True)
        ]
        names = [take.name for take in takes]
        rows = len(arrays[0])
        if not rows:
            empty = [np.zeros((1, *x.shape[1:]), dtype=x.dtype) for x in arrays]
            return [answer[:0] for answer in self._run(opened, names, empty)]
        step = max(1, CHUNK_BYTES // max(1, sum(x.nbytes for x in arrays) // rows))
        if step >= rows:
            return self._run(opened, names, arrays)
        parts = [self._run(opened, names, [x[at : at + step] for x in arrays]) for at in range(0, rows, step)]
        return [np.concatenate(answers) for answers in zip(*parts, strict=True)]

    @property
    def output_names(self) -> list[str]:
        """What the answers are called."""
        return [output.name for output in self._opened().get_outputs()]

    def _opened(self) -> Any:
        with self._lock:
            if self._session is None:
                check_self_contained(self.content)
                try:
                    self._session = session(self.content, self.threads)
                except OutgrowError:
                    raise
                except Exception as error:  # onnxruntime's own classes
                    raise ArtifactError(
                        f"The network's graph is damaged: {error}. Restore it from a copy."
                    ) from error
            return self._session

    def _run(self, opened: Any, names: list[str], arrays: list[np.ndarray]) -> list[np.ndarray]:
        try:
            answers = list(opened.run(None, dict(zip(names, arrays, strict=True))))
        except Exception as error:  # onnxruntime's own classes
            shapes = ", ".join(str(x.shape) for x in arrays)
            raise DataError(f"The network has no answer for arrays of shape {shapes}: {error}") from error
        if not answers or any(answer.shape[:1] != (len(arrays[0]),) for answer in answers):
            raise ArtifactError(f"The network's graph does not answer {len(arrays[0])} rows one by one.")
        return answers

    def __reduce__(self) -> tuple[type[OnnxAnswer], tuple[bytes, int]]:
        return OnnxAnswer, (self.content, self.threads)


_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


def _plain(module: Any) -> Any:
    """A module whose `forward` takes any tensors, as those of Keras do, within one that takes one."""
    parameters = list(inspect.signature(module.forward).parameters.values())
    if not parameters or parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
        return module
    base: Any = optional("torch", "torch").nn.Module

    class Plain(base):
        def __init__(self) -> None:
            super().__init__()
            self.inside = module

        def forward(self, inputs: Any) -> Any:
            return self.inside(inputs)

    return Plain().eval()


def _copied(module: Any) -> Any:
    """A copy on the processor that may be changed."""
    module = getattr(module, "_orig_mod", module)  # what torch.compile wrapped
    try:
        return copy.deepcopy(module).cpu().eval()
    except (RuntimeError, TypeError) as error:  # as where a hook of torch.nn.utils.weight_norm made weights
        raise ExportError(
            f"The network {type(module).__name__} cannot be copied, so it is not written as ONNX: {error}"
        ) from error


def _rows(inputs: list[Any]) -> list[Any]:
    """Examples of a few rows each: one row alone would be taken for a number that stays."""
    torch = optional("torch", "torch")
    if not inputs or not all(torch.is_tensor(x) and x.ndim and len(x) for x in inputs):
        raise ExportError("A network is written with examples of its inputs: tensors, each with a row.")
    at = torch.arange(2)
    return [x.detach().cpu()[at % len(x)] for x in inputs]


def _exported(module: Any, args: Any, kwargs: Any, shapes: Any, count: int) -> bytes:
    """What PyTorch's exporter writes."""
    torch = optional("torch", "torch")
    logger = logging.getLogger(_LOGGER)  # says of each export that torchvision is not there
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.inference_mode(False):
            warnings.simplefilter("ignore")
            program = optional("torch.onnx", "torch").export(
                module,
                args,
                kwargs=kwargs,
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=shapes,
                input_names=[f"input_{number}" for number in range(count)],
                verbose=False,
            )
            return bytes(program.model_proto.SerializeToString())
    except OutgrowError:
        raise
    except Exception as error:  # the exporter's own classes, and those of what it calls
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        raise ExportError(
            f"The network {type(module).__name__} cannot be written as ONNX: {reason[:300]}. Answer with "
            "PyTorch, or write its forward without what depends on single numbers or on the number of rows."
        ) from error
    finally:
        logger.setLevel(level)


def _check_answers(module: Any, inputs: list[Any], names: Any, content: bytes) -> None:
    """That a graph answers what the network does, for another number of rows than it was written with.

    Raises
    ------
    ExportError
        When it does not.
    """
    torch = optional("torch", "torch")
    at = torch.arange(_CHECKED_ROWS) % 2
    rows = [x[at] for x in inputs]
    given = [x.clone() for x in rows]  # a forward may write into what it gets
    with torch.inference_mode():
        answer = module(*given) if names is None else module(**dict(zip(names, given, strict=True)))
    expected = _flat(answer)
    if any(array.shape[:1] != (_CHECKED_ROWS,) for array in expected):
        raise ExportError(
            f"The network {type(module).__name__} answers {_CHECKED_ROWS} rows with tensors of shape "
            f"{[array.shape for array in expected]}. Rows come first in what is kept."
        )
    try:
        answers = OnnxAnswer(content)(*[x.numpy() for x in rows])
    except DataError as error:
        raise ExportError(f"The network was written as ONNX, and the file does not run: {error}") from error
    for right, left in zip(expected, answers, strict=True):
        scale = float(np.abs(right).max(initial=1.0))
        if right.shape != left.shape or not np.allclose(
            right, left, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True
        ):
            raise ExportError(
                f"The network {type(module).__name__} was written as ONNX, and the file answers something "
                "else. Answer with PyTorch."
            )


def _flat(answer: Any) -> list[np.ndarray]:
    """The tensors of an answer as arrays."""
    if isinstance(answer, Mapping):
        answer = list(answer.values())
    if isinstance(answer, tuple | list):
        return [array for part in answer for array in _flat(part)]
    return [answer.numpy()] if optional("torch", "torch").is_tensor(answer) else []
