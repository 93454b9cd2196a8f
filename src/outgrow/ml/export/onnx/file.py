"""A fitted estimator as one ONNX file."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from outgrow.ml.core.estimator import Estimator
from outgrow.ml.core.exports import check_has_equal
from outgrow.ml.export.onnx.answer import Answer
from outgrow.ml.export.onnx.graph import Graph
from outgrow.ml.export.onnx.table import Table, opened
from outgrow.storage import write_file

PREDICTION, PROBABILITIES, TRANSFORMED = "prediction", "probabilities", "transformed"
MARGINS = "decision_function"

_DOC = """\
Written by outgrow. Each column is an input of shape (rows, 1): numbers as float64, where NaN is missing; text
as strings, where empty text is missing. What outgrow refuses, a run refuses too: an unknown category with
handle_unknown='error', infinite numbers, and NaN where the model takes none. The failing node says which."""


def write(estimator: Estimator, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a fitted estimator as ONNX; see its `to_onnx`.

    Parameters
    ----------
    estimator : a fitted estimator or pipeline; each of its steps has a `_to_onnx`.
    path : the file.
    overwrite : whether a file that is there already may be replaced.
    """
    write_file(path, content(estimator), overwrite=overwrite)


def content(estimator: Estimator) -> bytes:
    """The bytes of the file."""
    steps, graph = estimator.active_steps, Graph()
    for _, step in steps:
        check_has_equal(step, "_to_onnx", "ONNX")
    made: Table | Answer = opened(graph, estimator.columns_)
    for _, step in steps:
        if getattr(step, "selected_", True):
            assert isinstance(made, Table)
            made = step._to_onnx(made.apart(getattr(step, "apart_", None) or {}))
    if isinstance(made, Answer):
        _give_answer(made, step, graph)
    else:
        _give_columns(made)
    return graph.content(_about(estimator, step, made), _DOC)


def _give_answer(answer: Answer, model: Any, graph: Graph) -> None:
    graph.output(PREDICTION, answer.prediction, answer.kind, answer.width)
    if answer.probabilities is not None:
        graph.output(
            PROBABILITIES, answer.probabilities, "number", len(model._prediction_names("predict_proba"))
        )

    if answer.margins is not None:
        _give_margins(answer.margins, len(model.classes_), graph)


def _give_margins(margins: str, classes: int, graph: Graph) -> None:
    """In the shape that `decision_function` has."""
    if classes == 2:
        second = graph.node("Gather", margins, graph.constant(np.int64(1)), axis=1)
        graph.output(MARGINS, second, "number")
    else:
        graph.output(MARGINS, margins, "number", classes)


def _give_columns(table: Table) -> None:
    """Numbers side by side as `transformed`, each column of text as `transformed_<column>`."""
    graph = table.graph
    numbers = [name for name, column in table.columns.items() if column.kind == "number"]
    if numbers:
        width = sum(table[name].width for name in numbers)
        graph.output(TRANSFORMED, table.matrix(numbers, "A pipeline"), "number", width)
    for name, column in table.columns.items():
        if column.kind == "text":
            graph.output(f"{TRANSFORMED}_{name}", column.tensor, "text", 1)


def _about(estimator: Estimator, last: Any, made: Table | Answer) -> dict[str, Any]:
    about: dict[str, Any] = {"estimator": type(last).__name__, "columns": estimator.columns_}
    if isinstance(made, Table):
        return about | {"names": estimator.get_feature_names_out().tolist()}
    return about | {"classes": last.classes_.tolist()} if hasattr(last, "classes_") else about
