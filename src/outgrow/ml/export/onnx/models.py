"""What models of numbers answer, as nodes of a graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrow.ml.base import Model
from outgrow.ml.cluster.kmeans import KMeans
from outgrow.ml.dummy import DummyClassifier, DummyRegressor
from outgrow.ml.export.onnx.graph import Graph
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.onnx.trees import averaged, boosted, summed
from outgrow.ml.export.refusal import check_certain, unknown
from outgrow.ml.linear_model.base import LinearRegressor
from outgrow.ml.linear_model.elastic_net import ElasticNet
from outgrow.ml.linear_model.linear_regression import LinearRegression
from outgrow.ml.linear_model.logistic_regression import LogisticRegression
from outgrow.ml.linear_model.ridge import Ridge
from outgrow.ml.linear_model.warm_start import dense
from outgrow.ml.trees.boosting import BoostingClassifier, BoostingRegressor
from outgrow.ml.trees.gradient_boosting import GradientBoostingClassifier, GradientBoostingRegressor
from outgrow.ml.trees.hist_gradient_boosting import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from outgrow.ml.trees.random_forest import RandomForestClassifier, RandomForestRegressor


@dataclass(frozen=True)
class Answer:
    """What a model says of the rows.

    Attributes
    ----------
    prediction : tensor of shape (rows,), or (rows, width) where there is a width; and the kind of its values.
    probabilities : of classifiers, the tensor of shape (rows, classes).
    """

    prediction: str
    kind: str = "number"
    probabilities: str | None = None
    width: int | None = None


def answered(model: Model, table: Table) -> Answer:
    """What a model answers for the table.

    Raises
    ------
    ExportError
        When it has no equal in ONNX.
    """
    answer = _ANSWERS.get(type(model))
    if answer is None:
        raise unknown(model, "ONNX")
    return answer(model, table)


def chosen(graph: Graph, probabilities: str, classes: np.ndarray) -> Answer:
    """The most probable class of each row, the first of equals."""
    kinds = {"O": "text", "U": "text", "b": "truth", "i": "integer", "u": "integer", "f": "number"}
    kind = kinds[classes.dtype.kind]
    labels = classes if kind != "integer" else classes.astype(np.int64)
    best = graph.node("ArgMax", probabilities, axis=1, keepdims=0)
    return Answer(graph.node("Gather", graph.constant(labels), best), kind, probabilities)


def _features(model: Model, table: Table) -> str:
    who = type(model).__name__
    return table.graph.finite(table.matrix(model.features_, who), who, missing=False)


def _linear(model: LinearRegressor, table: Table) -> Answer:
    graph, coef = table.graph, np.atleast_2d(model.coef_).astype(np.float64)
    # onnxruntime multiplies no rows by a matrix, but not by a vector
    product = graph.node("MatMul", _features(model, table), graph.constant(coef.T))
    product = graph.node("Add", product, graph.constant(np.atleast_1d(model.intercept_)))
    if model.target_names_ is not None:
        return Answer(product, width=len(coef))
    return Answer(graph.node("Squeeze", product, graph.constant([1], np.int64)))


def _logistic(model: LogisticRegression, table: Table) -> Answer:
    graph, coef, intercept = table.graph, dense(model.coef_).astype(np.float64), model.intercept_
    two = len(coef) == 1
    if two:
        coef, intercept = np.concatenate([-coef, coef]), np.concatenate([-intercept, intercept])
    margins = graph.node("MatMul", _features(model, table), graph.constant(coef.T))
    margins = graph.node("Add", margins, graph.constant(intercept[None, :]))
    if not two:
        return chosen(graph, graph.node("Softmax", margins, axis=1), model.classes_)
    # onnxruntime's Sigmoid loses the digits of small probabilities
    odds = graph.node("Exp", graph.node("Neg", margins))
    shares = graph.node("Reciprocal", graph.node("Add", odds, graph.constant(1.0)))
    return chosen(graph, shares, model.classes_)


def _nearest(model: KMeans, table: Table) -> Answer:
    graph, centers = table.graph, model.cluster_centers_.astype(np.float64)
    origin = centers.mean(axis=0)
    apart = centers - origin
    half = apart @ origin + 0.5 * (apart**2).sum(axis=1)
    scores = graph.node("MatMul", _features(model, table), graph.constant(apart.T))
    scores = graph.node("Sub", scores, graph.constant(half[None, :]))
    return Answer(graph.node("ArgMax", scores, axis=1, keepdims=0), "integer")


def _most_frequent(model: DummyClassifier, table: Table) -> Answer:
    check_certain(model)
    first = next(iter(table.columns.values())).tensor
    return chosen(table.graph, table.graph.repeat(model.chances, first), model.classes_)


def _mean(model: DummyRegressor, table: Table) -> Answer:
    first = next(iter(table.columns.values())).tensor
    width = None if model.target_names_ is None else len(model.target_names_)
    return Answer(table.graph.repeat(np.asarray(model.constant_, dtype=np.float64), first), width=width)


def _boosted(model: BoostingClassifier, table: Table) -> Answer:
    return chosen(table.graph, boosted(model, table), model.classes_)


def _averaged(model: RandomForestClassifier, table: Table) -> Answer:
    return chosen(table.graph, averaged(model, table), model.classes_)


def _summed(model: BoostingRegressor | RandomForestRegressor, table: Table) -> Answer:
    return Answer(summed(model, table))


_ANSWERS: dict[type, Callable[[Any, Table], Answer]] = {
    DummyClassifier: _most_frequent,
    DummyRegressor: _mean,
    ElasticNet: _linear,
    GradientBoostingClassifier: _boosted,
    GradientBoostingRegressor: _summed,
    HistGradientBoostingClassifier: _boosted,
    HistGradientBoostingRegressor: _summed,
    KMeans: _nearest,
    LinearRegression: _linear,
    LogisticRegression: _logistic,
    RandomForestClassifier: _averaged,
    RandomForestRegressor: _summed,
    Ridge: _linear,
}
