"""Codes of categories, and limits of numbers, as nodes of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.export.onnx.graph import Graph
from outgrow.ml.export.onnx.lookup import category_index
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.preprocessing.categories import Coder


def codes_in_onnx(step: Any, table: Table, coder: Coder, strict: bool) -> str:
    """What each row of a column becomes; an unknown value fails the run where that is an error.

    Parameters
    ----------
    step : the encoder, for messages.
    table : the columns of the graph so far.
    coder : of the column.
    strict : an unknown value is an error; otherwise it becomes the last of the coder's values.

    Returns
    -------
    The name of a tensor of shape (rows, 1).
    """
    graph = table.graph
    index = category_index(table, coder.name, list(coder.places), step)
    values = graph.constant(coder.values[:-1] if strict else coder.values)
    return graph.node("Gather", values, index, name=f"unknown category in column {coder.name!r}")


def clipped(graph: Graph, X: str, low: float, high: float) -> str:
    """Numbers within two limits; NaN stays NaN.

    Parameters
    ----------
    graph : gets the nodes.
    X : the name of a tensor of numbers.
    low, high : what smaller and larger numbers become.
    """
    for beyond, end in (("Less", low), ("Greater", high)):
        bound = graph.constant(np.array([[float(end)]]))
        X = graph.node("Where", graph.node(beyond, X, bound), bound, X)
    return X
