"""A fitted model as one ONNX file."""

from __future__ import annotations

import os
from typing import Any

from outgrow.ml.base import Estimator, Model, Transformer
from outgrow.ml.export.onnx.graph import Graph
from outgrow.ml.export.onnx.models import answered
from outgrow.ml.export.onnx.steps import changed
from outgrow.ml.export.onnx.table import Table, opened
from outgrow.ml.pipeline import Pipeline
from outgrow.storage import write_file

PREDICTION, PROBABILITIES, TRANSFORMED = "prediction", "probabilities", "transformed"

_DOC = """\
Written by outgrow. Each column is an input of shape (rows, 1): numbers as float64, where NaN is missing; text
as strings, where empty text is missing. What outgrow refuses, a run refuses too: an unknown category with
handle_unknown='error', infinite numbers, and NaN where the model takes none. The failing node says which."""


def write(estimator: Estimator, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a fitted estimator as ONNX; see `Estimator.to_onnx`."""
    write_file(path, content(estimator), overwrite=overwrite)


def content(estimator: Estimator) -> bytes:
    """The bytes of the file."""
    steps = [step for _, step in estimator.active_steps] if isinstance(estimator, Pipeline) else [estimator]
    graph = Graph()
    table = opened(graph, estimator.columns_)
    for step in steps:
        if isinstance(step, Transformer):
            table = changed(step, table)
    last = steps[-1]
    if isinstance(last, Model):
        _give_answer(last, table)
    else:
        _give_columns(table)
    return graph.content(_about(estimator, last), _DOC)


def _give_answer(model: Model, table: Table) -> None:
    graph, answer = table.graph, answered(model, table)
    graph.output(PREDICTION, answer.prediction, answer.kind, answer.width)
    if answer.probabilities is not None:
        graph.output(PROBABILITIES, answer.probabilities, "number", len(model.classes_))


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


def _about(estimator: Estimator, last: Estimator) -> dict[str, Any]:
    about: dict[str, Any] = {"estimator": type(last).__name__, "columns": estimator.columns_}
    if hasattr(last, "classes_"):
        return about | {"classes": last.classes_.tolist()}
    return about if isinstance(last, Model) else about | {"names": estimator.get_feature_names_out().tolist()}
