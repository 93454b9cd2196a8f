"""The matrix products of an ONNX file in int8, and what that does to its answers.

onnxruntime's quantiser knows matrix products in float32 whose weights are constants. In files of outgrow
these are the coefficients of linear models, the centers of k-means and the components of PCA, in float64:
they are narrowed first, and all around them stays as it is. The layers of a network are in float32 already.
Trees, encoders and scalers have no form in int8.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow._optional import optional
from outgrow._scratch import temporary_folder
from outgrow.data.kind import Kind, read_kinds
from outgrow.engine.dataset import Dataset, as_table
from outgrow.errors import DataError, ParameterError
from outgrow.ml.export.onnx.run import feeds, run, session
from outgrow.storage import check_free, write_file

CALIBRATION_ROWS = 1000
CALLS = 200
"""Rows answered one at a time, of whose times the median is reported."""

_PRODUCT = "MatMul"


@dataclass(frozen=True)
class Quantization:
    """What quantising did.

    Attributes
    ----------
    products : matrix products that are in int8 now; with none, no file was written.
    agreement : the share of rows with the same prediction as before; for numbers, the R2 of the new
        predictions for the old.
    difference : the greatest by which a probability, or a predicted number, changed; None for clusters.
    metric : 'accuracy' or 'r2' of the predictions for y; None without y.
    score : (before, after), of that metric.
    size : (before, after), bytes of the file.
    latency : (before, after), seconds for one row; the median of 200 calls, on one thread.
    rows : how many were asked.
    """

    products: int
    agreement: float
    difference: float | None
    metric: str | None
    score: tuple[float, float] | None
    size: tuple[int, int]
    latency: tuple[float, float]
    rows: int

    def __repr__(self) -> str:
        if not self.products:
            return (
                "Nothing to quantise, and no file written: the model has no matrix product with constant "
                "weights. Trees, encoders and scalers have no form in int8."
            )
        (small, smaller), (slow, fast) = self.size, self.latency
        lines = [
            f"matrix products in int8  {self.products}",
            f"agreement                {self.agreement:.6g}",
            f"bytes                    {small:,} -> {smaller:,}",
            f"one row                  {slow * 1e6:.0f} µs -> {fast * 1e6:.0f} µs",
            f"rows                     {self.rows:,}",
        ]
        if self.difference is not None:
            lines.insert(2, f"greatest difference      {self.difference:.3g}")
        if self.score is not None:
            lines.insert(2, f"{self.metric:<24} {self.score[0]:.6g} -> {self.score[1]:.6g}")
        return "\n".join(lines)


def quantize_onnx(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    X: Any,
    y: Any = None,
    *,
    static: bool = False,
    overwrite: bool = False,
) -> Quantization:
    """Write an ONNX file of outgrow anew with its matrix products in int8, and say what that changed.

    Parameters
    ----------
    path : the file that `to_onnx` wrote.
    output : the file to write.
    X : dataset, table or array of shape (rows, columns) whose answers are compared.
    y : the name of a column of X, or an array of shape (rows,), to score the predictions.
    static : choose the range of what goes into the products from the first 1,000 rows of X, rather than at
        each run.

    Raises
    ------
    OutputExistsError
        When `output` exists and `overwrite` is false.

    Examples
    --------
    >>> import tempfile, numpy as np, outgrow as og
    >>> X = np.random.default_rng(0).normal(size=(500, 4))
    >>> y = np.where(X[:, 0] + X[:, 1] > 0, "yes", "no")
    >>> folder = tempfile.mkdtemp()
    >>> og.LogisticRegression().fit(X, y).to_onnx(folder + "/exact.onnx")
    >>> report = og.quantize_onnx(folder + "/exact.onnx", folder + "/int8.onnx", X, y)
    >>> report.products, report.agreement > 0.95, report.metric
    (1, True, 'accuracy')
    """
    check_free(output, overwrite=overwrite)
    before = Path(path).read_bytes()
    asked = _Asked.of(before, X, y)
    narrowed, products = _narrowed(optional("onnx", "onnx").load_from_string(before))
    if not products:
        return asked.compared(before, before, 0)
    after = _quantised(narrowed, asked.feeds if static else None)
    write_file(output, after, overwrite=overwrite)
    return asked.compared(before, after, products)


@dataclass(frozen=True)
class _Asked:
    """The rows to compare answers for, as inputs of the graph, and their y."""

    feeds: dict[str, np.ndarray]
    y: np.ndarray | None
    rows: int

    @classmethod
    def of(cls, content: bytes, X: Any, y: Any) -> _Asked:
        about = optional("onnx", "onnx").load_from_string(content).metadata_props
        kinds = next((json.loads(each.value) for each in about if each.key == "outgrow.columns"), None)
        if kinds is None:
            raise ParameterError("The file was not written by outgrow's to_onnx. Export the model with it.")
        kinds = read_kinds(kinds)
        table = _table(X, kinds)
        if table.num_rows == 0:
            raise DataError("X has no rows to compare answers for. Give some.")
        values = table[y].to_pylist() if isinstance(y, str) else y
        return cls(feeds(table, kinds), None if y is None else np.asarray(values), table.num_rows)

    def compared(self, before: bytes, after: bytes, products: int) -> Quantization:
        old, new = self._answers(before), self._answers(after)
        number = old["prediction"].dtype.kind == "f" and "probabilities" not in old
        score = None if self.y is None else (self._score(old, number), self._score(new, number))
        return Quantization(
            products,
            _r2(old["prediction"], new["prediction"])
            if number
            else _share(old["prediction"], new["prediction"]),
            _difference(old, new),
            None if score is None else "r2" if number else "accuracy",
            score,
            (len(before), len(after)),
            (self._latency(before), self._latency(after)),
            self.rows,
        )

    def _answers(self, content: bytes) -> dict[str, np.ndarray]:
        found = run(content, self.feeds)
        if "prediction" not in found:
            raise ParameterError("The file predicts nothing. Export a pipeline that ends in a model.")
        return found

    def _score(self, answers: Mapping[str, np.ndarray], number: bool) -> float:
        assert self.y is not None
        return (_r2 if number else _share)(self.y, answers["prediction"])

    def _latency(self, content: bytes) -> float:
        opened = session(content)
        times = []
        for row in range(CALLS):
            at = row % self.rows
            one = {name: values[at : at + 1] for name, values in self.feeds.items()}
            began = time.perf_counter()
            opened.run(None, one)
            times.append(time.perf_counter() - began)
        return float(np.median(times))


def _table(X: Any, kinds: Mapping[str, Kind]) -> pa.Table:
    if isinstance(X, Dataset):
        return X.to_arrow()
    if isinstance(X, np.ndarray):
        return pa.table({name: X[:, j].tolist() for j, name in enumerate(kinds)})
    return as_table(X)


def _narrowed(model: Any) -> tuple[Any, int]:
    """The model with its products by constants in float32, and how many these are."""
    onnx, arrays = optional("onnx", "onnx"), optional("onnx.numpy_helper", "onnx")
    _split_sums(model)
    weights = {each.name: each for each in model.graph.initializer}
    nodes, products = [], 0
    for node in model.graph.node:
        weight = weights.get(node.input[1]) if node.op_type == _PRODUCT else None
        if weight is None:
            nodes.append(node)
            continue
        products += 1
        if weight.data_type == onnx.TensorProto.FLOAT:
            nodes.append(node)
            continue
        single = arrays.to_array(weight).astype(np.float32)
        weight.CopyFrom(arrays.from_array(single, weight.name))
        (given,), (made,) = node.input[:1], node.output
        narrow, wide = f"{given}/single/{products}", f"{made}/single"
        node.input[0], node.output[0] = narrow, wide
        cast: Callable[..., Any] = onnx.helper.make_node
        nodes += [
            cast("Cast", [given], [narrow], to=onnx.TensorProto.FLOAT),
            node,
            cast("Cast", [wide], [made], to=onnx.TensorProto.DOUBLE),
        ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model, products


def _split_sums(model: Any) -> None:
    """Write layers of networks, products and sums in one node, as two: the quantiser looks for the first."""
    onnx, arrays = optional("onnx", "onnx"), optional("onnx.numpy_helper", "onnx")
    weights = {each.name: each for each in model.graph.initializer}
    nodes: list[Any] = []
    for node in model.graph.node:
        with_ = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        plain = with_.get("alpha", 1.0) == with_.get("beta", 1.0) == 1.0 and not with_.get("transA")
        if node.op_type != "Gemm" or not plain or node.input[1] not in weights:
            nodes.append(node)
            continue
        given, weight, *offset = node.input
        if with_.get("transB"):
            turned = np.ascontiguousarray(arrays.to_array(weights[weight]).T)
            weight = f"{weight}/turned/{len(nodes)}"
            model.graph.initializer.append(arrays.from_array(turned, weight))
        product = f"{node.output[0]}/product" if offset else node.output[0]
        nodes.append(onnx.helper.make_node(_PRODUCT, [given, weight], [product], name=f"{node.name}/product"))
        if offset:
            nodes.append(onnx.helper.make_node("Add", [product, *offset], list(node.output), name=node.name))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _quantised(model: Any, calibration: Mapping[str, np.ndarray] | None) -> bytes:
    """The model after onnxruntime's quantiser."""
    tool = optional("onnxruntime.quantization", "onnx")
    with temporary_folder("onnx") as folder:
        plain, given, made = (f"{folder}/{name}.onnx" for name in ("narrowed", "shaped", "int8"))
        optional("onnx", "onnx").save(model, plain)
        shaped = optional("onnxruntime.quantization.shape_inference", "onnx").quant_pre_process
        shaped(plain, given, skip_optimization=True, skip_symbolic_shape=True)
        # processors without VNNI add two products in 16 bits, which overflow where weights have all 8 bits
        options = {"op_types_to_quantize": [_PRODUCT], "reduce_range": True}
        if calibration is None:
            tool.quantize_dynamic(given, made, **options)
        else:
            tool.quantize_static(given, made, _calibration(tool, calibration), **options)
        return Path(made).read_bytes()


def _calibration(tool: Any, feeds: Mapping[str, np.ndarray]) -> Any:
    """The first rows, in the form the quantiser reads."""

    class Rows(tool.CalibrationDataReader):
        def __init__(self) -> None:
            self._left: Iterator[Any] = iter([{name: x[:CALIBRATION_ROWS] for name, x in feeds.items()}])

        def get_next(self) -> Any:
            return next(self._left, None)

    return Rows()


def _share(expected: np.ndarray, found: np.ndarray) -> float:
    return float(np.mean([a == b for a, b in zip(expected.tolist(), found.tolist(), strict=True)]))


def _r2(expected: np.ndarray, found: np.ndarray) -> float:
    spread = float(((expected - expected.mean()) ** 2).sum())
    rest = float(((expected - found) ** 2).sum())
    return 1.0 if rest == 0 else 1 - rest / spread if spread > 0 else -np.inf


def _difference(old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray]) -> float | None:
    name = "probabilities" if "probabilities" in old else "prediction"
    return float(np.abs(old[name] - new[name]).max()) if old[name].dtype.kind == "f" else None
