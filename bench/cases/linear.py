"""Least squares: one column from the 29 others."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import outgrow as og
from bench.cases.names import LOCAL, MLLIB, SKLEARN, SPARK_PATH, contenders, frame_targets, of_frame
from bench.contest import Case, Place, Quality, QualityMeasure, Target
from bench.data import FEATURES, read_label, read_matrix
from bench.spark import assembled

INPUTS, TARGET = FEATURES[:-1], FEATURES[-1]


class LinearFit(NamedTuple):
    slope: np.ndarray
    constant: float


def _ours(data: Any) -> LinearFit:
    model = og.LinearRegression().fit(data.select(FEATURES), TARGET)
    return LinearFit(model.coef_, float(model.intercept_))


def local(place: Place) -> LinearFit:
    return _ours(og.read(str(place.path)))


def spark_path(place: Place) -> LinearFit:
    return _ours(og.read(str(place.path), engine=og.Spark(place.session)))


def sklearn(place: Place) -> LinearFit:
    from sklearn.linear_model import LinearRegression

    model = LinearRegression(copy_X=False).fit(
        read_matrix(place.path, INPUTS), read_label(place.path, TARGET)
    )
    return LinearFit(model.coef_, float(model.intercept_))


def mllib(place: Place) -> LinearFit:
    return _mllib(place, place.session.read.parquet(str(place.path)))


def _mllib(place: Place, rows: Any) -> LinearFit:
    from pyspark.ml.regression import LinearRegression

    model = LinearRegression(labelCol=TARGET).fit(assembled(rows, INPUTS))
    return LinearFit(model.coefficients.toArray(), float(model.intercept))


def judge(path: Path) -> QualityMeasure:
    X, y = read_matrix(path, INPUTS), read_label(path, TARGET)

    def error(line: LinearFit) -> dict[str, float]:
        return {"mean squared error": float(((X @ line.slope + line.constant - y) ** 2).mean())}

    return error


CASE = Case(
    name="linear",
    title="Linear regression",
    table="numbers",
    contenders=contenders(local, spark_path, sklearn, mllib, FEATURES, *of_frame(_ours, _mllib)),
    judge=judge,
    quality=Quality("mean squared error", "low", 1e-9, relative=True),
    targets=(
        Target(SPARK_PATH, MLLIB, at_least=5),
        *frame_targets(5),
        Target(LOCAL, SKLEARN, at_least=2),
    ),
    notes="The last column from the 29 others. MLlib solves the normal equations, in one pass, so not "
    "cached.",
)
