"""What onnxruntime answers for rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow._optional import optional
from outgrow.data.kind import Kind
from outgrow.data.matrix import numbers
from outgrow.errors import SchemaError


def run(content: bytes, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of a graph by name.

    Parameters
    ----------
    content : the bytes of the file.
    inputs : what `feeds` gives.
    """
    opened = session(content)
    names = [output.name for output in opened.get_outputs()]
    return dict(zip(names, opened.run(None, dict(inputs)), strict=True))


def session(content: bytes, threads: int = 1) -> Any:
    """A session of onnxruntime on the processor.

    Parameters
    ----------
    content : the bytes of a file.
    threads : how many work at one operator.
    """
    runtime = optional("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def feeds(table: pa.Table, kinds: Mapping[str, Kind]) -> dict[str, np.ndarray]:
    """The columns of a table as inputs of a graph.

    Parameters
    ----------
    table : rows in memory, missing values as nulls; further columns are left out.
    kinds : the columns that the model was fitted on, name to kind.

    Returns
    -------
    dict
        Arrays of shape (rows, width) by name: float64, or objects where they are text.

    Raises
    ------
    SchemaError
        When the table lacks a column.
    """
    absent = [name for name in kinds if name not in table.column_names]
    if absent:
        raise SchemaError(f"X lacks {absent}, which the model was fitted on. It has {table.column_names}.")
    return {name: _feed(table[name].combine_chunks(), kind) for name, kind in kinds.items()}


def _feed(column: pa.Array, kind: Kind) -> np.ndarray:
    if kind.form.onnx == "text":
        words = np.empty((len(column), 1), dtype=object)
        words[:, 0] = [word or "" for word in column.to_pylist()]
        return words
    if kind.width is None:
        return numbers(column).astype(np.float64).reshape(-1, 1)
    return numbers(column.flatten()).astype(np.float64).reshape(len(column), -1)
