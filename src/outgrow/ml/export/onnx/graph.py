"""An ONNX graph while it grows: nodes, constants, and names for what flows between them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow._version import __version__
from outgrow.ml.core.exports import refusal

OPSET, ML_OPSET, IR = 21, 4, 10
"""Versions of ai.onnx, of ai.onnx.ml and of the file format, which onnxruntime reads from 1.20 on."""

ML = "ai.onnx.ml"
ROWS = "rows"
"""What the first dimension of inputs and outputs is called."""

_BYTES = 2**31 - 1


class Graph:
    """Collects nodes; a tensor is known by its name."""

    def __init__(self) -> None:
        self._onnx = optional("onnx", "onnx")
        self._helper = optional("onnx.helper", "onnx")
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._numbers = count()
        self._named: set[str] = set()
        self._joined: dict[tuple[str, ...], str] = {}
        self._finite: dict[tuple[str, str], str] = {}
        self._splits: dict[str, tuple[list[str], str]] = {}

    def input(self, name: str, kind: str, width: int | Sequence[int]) -> str:
        """A tensor that whoever runs the graph brings, of shape (rows, width) or (rows, *width).

        Parameters
        ----------
        name : what both the input and the tensor are called.
        kind : of its values, as `type` takes it.
        width : how many values each row has, or the shape of a row.
        """
        shape = [ROWS, width] if isinstance(width, int) else [ROWS, *width]
        self._inputs.append(self._helper.make_tensor_value_info(name, self.type(kind), shape))
        return name

    def output(
        self, name: str, tensor: str, kind: str, width: int | Sequence[int | None] | None = None
    ) -> None:
        """Give a tensor out, of shape (rows,), (rows, width) or (rows, *width).

        Parameters
        ----------
        name : what the output is called.
        tensor : what it gives.
        kind : of its values, as `type` takes it.
        width : how many values each row has; None for a tensor of shape (rows,); several for the shape of a
            row, where None is a number that the graph does not say.

        Raises
        ------
        ExportError
            When an input or output has this name already.
        """
        taken = {info.name for info in [*self._inputs, *self._outputs]}
        if name in taken:
            raise refusal(
                "A model", f"{name!r} is both a column and an output.", "Rename the column, and fit."
            )
        shape = [ROWS, *(width if isinstance(width, Sequence) else () if width is None else (width,))]
        self._nodes.append(self._helper.make_node("Identity", [tensor], [name]))
        self._outputs.append(self._helper.make_tensor_value_info(name, self.type(kind), shape))

    def node(
        self, operator: str, *inputs: str, domain: str = "", name: str | None = None, **with_: Any
    ) -> str:
        """The one output of a new node.

        Parameters
        ----------
        operator : ONNX's name for it, such as 'Gather'.
        *inputs : tensors.
        domain : where the operator is from: '' for ONNX's own, `ML` for those of machine learning.
        name : what the node is called, which a failing run says; None numbers it.
        **with_ : attributes of the operator.
        """
        return self._node(operator, inputs, 1, domain, name, with_)[0]

    def constant(self, values: Any, dtype: Any = None) -> str:
        """An array in the graph; text for arrays of objects.

        Parameters
        ----------
        values : an array, or what NumPy makes one of; also a single number.
        dtype : NumPy's type for it; None leaves that to NumPy, which makes float64 and int64.
        """
        name = f"/constant/{next(self._numbers)}"
        array = np.asarray(values, dtype=dtype)
        if array.dtype.kind in "OU":
            words = [word.encode() for word in array.ravel().tolist()]
            self._constants.append(self._helper.make_tensor(name, self.type("text"), array.shape, words))
        else:
            array = np.asarray(array, order="C")  # `ascontiguousarray` would give a number a dimension
            self._constants.append(optional("onnx.numpy_helper", "onnx").from_array(array, name))
        return name

    def cast(self, tensor: str, kind: str) -> str:
        """The tensor with values of another kind.

        Parameters
        ----------
        tensor : of any shape.
        kind : 'number' (float64), 'single' (float32), 'integer' (int64), 'text' or 'truth'.
        """
        return self.node("Cast", tensor, to=self.type(kind))

    def lookup(self, tensor: str, keys: Sequence[Any], places: Sequence[int], default: int) -> str:
        """A whole number for each value, of the shape of the tensor.

        Parameters
        ----------
        tensor : text or float64.
        keys : known values, at least one; all text or all numbers. NaN is a key like others.
        places : the number of each key.
        default : the number of every other value.
        """
        make, kind = self._helper.make_tensor, "text" if isinstance(keys[0], str) else "number"
        listed = [key.encode() if isinstance(key, str) else key for key in keys]
        return self.node(
            "LabelEncoder",
            tensor,
            domain=ML,
            keys_tensor=make("keys", self.type(kind), [len(listed)], listed),
            values_tensor=make("values", self.type("integer"), [len(places)], list(places)),
            default_tensor=make("default", self.type("integer"), [1], [default]),
        )

    def join(self, tensors: Sequence[str]) -> str:
        """Tensors side by side, once however often asked; those that a split made become what they were."""
        if tuple(tensors) not in self._joined:
            self._joined[tuple(tensors)] = self._join(tensors)
        return self._joined[tuple(tensors)]

    def _join(self, tensors: Sequence[str]) -> str:
        joined: list[str] = []
        at = 0
        while at < len(tensors):
            parts, whole = self._splits.get(tensors[at], ([tensors[at]], tensors[at]))
            if list(tensors[at : at + len(parts)]) != parts:
                parts, whole = [tensors[at]], tensors[at]
            joined.append(whole)
            at += len(parts)
        return joined[0] if len(joined) == 1 else self.node("Concat", *joined, axis=1)

    def split(self, tensor: str, widths: Sequence[int]) -> list[str]:
        """The columns of a tensor, in groups of these widths.

        Parameters
        ----------
        tensor : of shape (rows, width).
        widths : how many columns each part has; they add up to the width.
        """
        if len(widths) == 1:
            return [tensor]
        parts = self._node(
            "Split", (tensor, self.constant(widths, np.int64)), len(widths), "", None, {"axis": 1}
        )
        self._splits[parts[0]] = parts, tensor
        return parts

    def repeat(self, row: np.ndarray, like: str) -> str:
        """A row of numbers for each row of another tensor.

        Parameters
        ----------
        row : ndarray of shape (width,), or () for a tensor of shape (rows,).
        like : a tensor whose first dimension are the rows.
        """
        rows = self.node("Shape", like, start=0, end=1)
        if row.ndim:
            rows = self.node("Concat", rows, self.constant(row.shape, np.int64), axis=0)
        return self.node("Expand", self.constant(np.atleast_1d(row)), rows)

    def fill(self, tensor: str, values: np.ndarray) -> str:
        """The numbers of a tensor, with others for missing ones.

        Parameters
        ----------
        tensor : of shape (rows, width), where NaN is missing.
        values : ndarray of shape (width,), what stands for a missing number of each column.
        """
        return self.node("Where", self.node("IsNaN", tensor), self.constant(values[None, :]), tensor)

    def refuse(self, bad: str, instead: str, why: str) -> str:
        """`instead`, unless something in `bad` is true: then the run fails, and names a node.

        ONNX has no way to raise an error; the place of a value past the end of an array is one.

        Parameters
        ----------
        bad : truth values, of any shape.
        instead : a tensor of numbers.
        why : what the node is called, and so what whoever runs the graph is told.
        """
        bads = self.node("ReduceSum", self.cast(bad, "integer"), keepdims=0)
        return self.node("Add", instead, self.node("Gather", self.constant([0.0]), bads, name=why))

    def finite(self, tensor: str, who: str, *, missing: bool) -> str:
        """The tensor; a run with numbers that outgrow refuses fails as well.

        Parameters
        ----------
        tensor : float64, of any shape.
        who : the class that takes these numbers, which a failing run says.
        missing : whether NaN is allowed; infinite numbers never are.
        """
        why = f"{who}: X contains infinity" if missing else f"{who}: X contains NaN or infinity"
        if (tensor, why) not in self._finite:
            bad = self.node("IsInf", tensor)
            bad = bad if missing else self.node("Or", bad, self.node("IsNaN", tensor))
            self._finite[tensor, why] = self.refuse(bad, tensor, why)
        return self._finite[tensor, why]

    def inline(self, graph: Any, tensors: Sequence[str]) -> list[str]:
        """Take in the nodes and constants of another graph.

        Parameters
        ----------
        graph : of ONNX, of the same opset, whose names are none of ours.
        tensors : what goes into it, in the order of its inputs; numbers become those that it takes.

        Returns
        -------
        list of str
            Its outputs; those of float32 become float64, as numbers are here.
        """
        assert len(graph.input) == len(tensors)
        for tensor, given in zip(tensors, graph.input, strict=True):
            to = given.type.tensor_type.elem_type
            self._nodes.append(self._helper.make_node("Cast", [tensor], [given.name], to=to))
        self._nodes.extend(graph.node)
        self._constants.extend(graph.initializer)
        floats = (self.type("single"), self.type("number"))
        return [
            self.cast(output.name, "number") if output.type.tensor_type.elem_type in floats else output.name
            for output in graph.output
        ]

    def prefix(self) -> str:
        """What no name begins with as yet."""
        return f"/network/{next(self._numbers)}"

    def type(self, kind: str) -> int:
        """The ONNX type of a kind of value."""
        types = {"number": "DOUBLE", "single": "FLOAT", "integer": "INT64", "text": "STRING", "truth": "BOOL"}
        return int(getattr(self._onnx.TensorProto, types[kind]))

    def content(self, about: Mapping[str, Any], doc: str) -> bytes:
        """The bytes of the file: the graph, checked.

        Parameters
        ----------
        about : what is kept beside it, as JSON under `outgrow.<key>`.
        doc : the text of its documentation.

        Raises
        ------
        ExportError
            When it is larger than 2 GiB, which no ONNX file can be.
        """
        make = self._helper
        graph = make.make_graph(self._nodes, "outgrow", self._inputs, self._outputs, self._constants)
        opsets = [make.make_opsetid("", OPSET), make.make_opsetid(ML, ML_OPSET)]
        model = make.make_model(
            graph, opset_imports=opsets, ir_version=IR, producer_name="outgrow", producer_version=__version__
        )
        model.doc_string = doc
        make.set_model_props(model, {f"outgrow.{key}": json.dumps(value) for key, value in about.items()})
        if model.ByteSize() > _BYTES:
            raise refusal(
                "A model",
                f"it takes {model.ByteSize():,} bytes, and a file at most {_BYTES:,}.",
                "Grow fewer or smaller trees.",
            )
        optional("onnx.checker", "onnx").check_model(model, full_check=True)
        return bytes(model.SerializeToString())

    def _node(
        self, operator: str, inputs: Sequence[str], outputs: int, domain: str, name: str | None, with_: Any
    ) -> list[str]:
        number = next(self._numbers)
        names = [f"/{operator}/{number}/{j}" for j in range(outputs)]
        own = name or f"/{operator}/{number}"
        if own in self._named:  # as two models of one class refuse the same
            own = f"{own} ({number})"
        self._named.add(own)
        self._nodes.append(self._helper.make_node(operator, inputs, names, name=own, domain=domain, **with_))
        return names
