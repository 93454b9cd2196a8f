"""What models answer, as nodes of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from outgrow.ml.export.onnx.graph import Graph
from outgrow.ml.export.onnx.table import Table


@dataclass(frozen=True)
class Answer:
    """What a model says of the rows.

    Attributes
    ----------
    prediction : tensor of shape (rows,), or (rows, width) where there is a width; and the kind of its values.
    probabilities : of classifiers, the tensor of shape (rows, classes).
    margins : of classifiers by margins, the tensor of shape (rows, classes), the second of two alone counts.
    """

    prediction: str
    kind: str = "number"
    probabilities: str | None = None
    margins: str | None = None
    width: int | None = None


def chosen(graph: Graph, probabilities: str, classes: np.ndarray) -> Answer:
    """The most probable class of each row, the first of equals.

    Parameters
    ----------
    graph : gets the nodes.
    probabilities : the tensor, of shape (rows, classes).
    classes : ndarray of shape (classes,), in the same order; whole numbers of any size become int64.
    """
    kinds = {"O": "text", "U": "text", "b": "truth", "i": "integer", "u": "integer", "f": "number"}
    kind = kinds[classes.dtype.kind]
    labels = classes if kind != "integer" else classes.astype(np.int64)
    best = graph.node("ArgMax", probabilities, axis=1, keepdims=0)
    return Answer(graph.node("Gather", graph.constant(labels), best), kind, probabilities)


def most_likely(graph: Graph, logs: str, classes: np.ndarray) -> Answer:
    """The class of each row whose logarithm is greatest, and the probabilities that follow from all of them.

    Parameters
    ----------
    graph : gets the nodes.
    logs : the tensor of the logarithms of joint probabilities, of shape (rows, classes).
    classes : as for `chosen`.
    """
    return replace(chosen(graph, logs, classes), probabilities=graph.node("Softmax", logs, axis=1))


def features(names: Sequence[str], table: Table, who: str) -> str:
    """The features of a model that takes finite numbers only, as one tensor of shape (rows, width).

    Parameters
    ----------
    names : the columns, in the order of the fit.
    table : the columns as they reach the model.
    who : the model's class; a run that fails names it.
    """
    return table.graph.finite(table.matrix(names, who), who, missing=False)


def repeated(row: np.ndarray, table: Table) -> str:
    """The same numbers for each row of the table.

    Parameters
    ----------
    row : ndarray of shape (width,) or ().
    table : has at least one column, which tells how many rows there are.
    """
    first = next(iter(table.columns.values())).tensor
    return table.graph.repeat(row, first)
