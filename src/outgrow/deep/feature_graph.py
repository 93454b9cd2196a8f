"""Pretrained networks as ONNX graphs: of files, of bytes, of modules; and what a graph answers."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.errors import InputNotFoundError, ParameterError
from outgrow.ml.export.onnx.cut import cut
from outgrow.ml.export.onnx.run import session

Feeds = Mapping[str, np.ndarray]
_EXPORTING = Lock()
"""An export changes what is global in torch."""


def is_module(value: Any) -> bool:
    """Whether this is a module of torch, which need not be imported for that."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def graph_of_file(network: Any, layer: str | None) -> bytes:
    """The graph of a file, or of its bytes.

    Parameters
    ----------
    network : the bytes of an ONNX file, or its path.
    layer : the tensor to end with; None for the first output.

    Raises
    ------
    InputNotFoundError
        When there is no such file.
    ParameterError
        When there is no such layer.
    """
    if not isinstance(network, bytes):
        try:
            network = Path(network).read_bytes()
        except OSError as error:
            raise InputNotFoundError(
                f"network={os.fspath(network)!r}: the file cannot be read: {error}. Give the path of an ONNX "
                "file, its bytes, or a module of torch."
            ) from error
    return network if layer is None else cut(network, layer)


def graph_of_module(module: Any, inputs: Feeds, layer: str | None) -> bytes:
    """The graph of a module of torch, as it answers in evaluation mode.

    Parameters
    ----------
    module : it is not changed.
    inputs : some rows, by the names that the graph's inputs get, in the order in which the module takes them.
        Their first dimension, and of whole numbers the second, may have any size in the graph.
    layer : the submodule to end with, as `named_modules` calls it; None for the whole.

    Raises
    ------
    ParameterError
        When there is no such submodule, or the module does not take the inputs, or gives no tensor.
    """
    torch = optional("torch", "torch")
    tensors = tuple(torch.from_numpy(values) for values in inputs.values())
    axes = {
        name: {0: "rows", 1: "tokens"} if values.dtype.kind == "i" and values.ndim == 2 else {0: "rows"}
        for name, values in inputs.items()
    }
    file = io.BytesIO()
    others = {name: _other_size(values) for name, values in inputs.items()}
    with _EXPORTING, _evaluating(module), _quiet(torch):
        part = module if layer is None else _part(torch, module, layer)
        try:
            with torch.no_grad():
                answer = part(*map(torch.from_numpy, others.values()))
                if not torch.is_tensor(answer):
                    raise TypeError(f"it gives a {type(answer).__name__}, where a tensor is needed")
                torch.onnx.export(
                    part,
                    tensors,
                    file,
                    dynamo=False,
                    opset_version=17,
                    input_names=list(inputs),
                    output_names=["features"],
                    dynamic_axes={**axes, "features": {0: "rows"}},
                )
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            shapes = {name: values.shape for name, values in inputs.items()}
            raise ParameterError(
                f"network={type(module).__name__}(...): it does not take inputs of {shapes}, or is no plain "
                f"graph: {str(error).strip().splitlines()[0]}. image_size= and the columns say what it gets."
            ) from error
    _check_answers(file.getvalue(), others, answer.numpy(), type(module).__name__)
    return file.getvalue()


def _other_size(values: np.ndarray) -> np.ndarray:
    """Inputs of three rows, and of whole numbers with two tokens more."""
    rows = np.repeat(values[:1], 3, axis=0)
    return np.concatenate([rows, rows[:, :2]], axis=1) if values.dtype.kind == "i" else rows


def _check_answers(content: bytes, inputs: Feeds, expected: np.ndarray, name: str) -> None:
    """That a graph answers as its module does, also for inputs of another size than it was written with.

    Raises
    ------
    ParameterError
        When it does not: some modules turn sizes into constants.
    """
    try:
        answered = FeatureGraph(content)(inputs)
        same = answered.shape == expected.shape and np.allclose(answered, expected, rtol=1e-3, atol=1e-4)
    except ParameterError:
        same = False
    if not same:
        raise ParameterError(
            f"network={name}(...): as a graph it answers otherwise for other numbers of rows or tokens, as "
            "torch.nn.MultiheadAttention does. Write an ONNX file with torch.onnx.export(dynamo=True), and "
            "give its path."
        )


@contextmanager
def _evaluating(module: Any) -> Any:
    """While this lasts, layers such as dropout are at rest."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


@contextmanager
def _quiet(torch: Any) -> Any:
    """While this lasts, layers are made of the operators that ONNX has, and an export says nothing.

    Tracing warns of shapes, which are those of the inputs here, and prints the graph where it fails.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _part(torch: Any, module: Any, layer: str) -> Any:
    """A module that gives what a submodule of another gives."""
    parts = dict(module.named_modules())
    if layer not in parts:
        raise ParameterError(
            f"layer={layer!r}: the network has no submodule of that name. It has {[*parts][1:][-20:]}."
        )

    class UpTo(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.whole = module
            self.given: Any = None

        def forward(self, *inputs: Any) -> Any:
            def keep(_: Any, __: Any, given: Any) -> None:
                self.given = given

            hook = parts[layer].register_forward_hook(keep)
            try:
                self.whole(*inputs)
            finally:
                hook.remove()
            return self.given

    return UpTo().eval()


class FeatureGraph:
    """A graph that answers; several threads may ask it at once.

    Parameters
    ----------
    content : the bytes of an ONNX file.

    Attributes
    ----------
    inputs : by name the shape, None where a size may be any, and the type such as 'float32'.
    """

    def __init__(self, content: bytes) -> None:
        try:
            self._session = session(content)
        except Exception as error:  # of onnxruntime, whose classes are not public
            raise ParameterError(
                f"network: onnxruntime cannot run the graph of {len(content)} bytes: {str(error)[:300]}"
            ) from error
        self.inputs = {
            given.name: (
                [size if isinstance(size, int) else None for size in given.shape],
                _TYPES.get(given.type, given.type),
            )
            for given in self._session.get_inputs()
        }
        self._output = self._session.get_outputs()[0].name

    def __call__(self, inputs: Feeds) -> np.ndarray:
        """The first output.

        Parameters
        ----------
        inputs : arrays by the names of the graph's inputs.

        Raises
        ------
        ParameterError
            When they are not of its shapes.
        """
        try:
            (answer,) = self._session.run([self._output], dict(inputs))
        except Exception as error:  # of onnxruntime, whose classes are not public
            shapes = {name: values.shape for name, values in inputs.items()}
            raise ParameterError(
                f"network: it does not take inputs of {shapes}; its own are {self.inputs}. "
                f"{str(error).strip()[:300]}"
            ) from error
        return np.asarray(answer)


_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
}
