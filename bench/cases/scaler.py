"""Means and standard deviations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import outgrow as og
from bench.cases.names import LOCAL, MLLIB, SKLEARN, SPARK_PATH, contenders
from bench.contest import Case, Place, Quality, QualityMeasure, Target
from bench.data import FEATURES, read_matrix
from bench.spark import vectors


def _ours(data: Any) -> np.ndarray:
    model = og.StandardScaler().fit(data.select(FEATURES))
    return np.array([model.mean_, model.scale_])


def local(place: Place) -> np.ndarray:
    return _ours(og.read(str(place.path)))


def spark_path(place: Place) -> np.ndarray:
    return _ours(og.read(str(place.path), engine=og.Spark(place.session)))


def sklearn(place: Place) -> np.ndarray:
    from sklearn.preprocessing import StandardScaler

    model = StandardScaler().fit(read_matrix(place.path))
    return np.array([model.mean_, model.scale_])


def mllib(place: Place) -> np.ndarray:
    from pyspark.ml.feature import StandardScaler

    model = StandardScaler(withMean=True, inputCol="features").fit(vectors(place.session, place.path))
    return np.array([model.mean.toArray(), model.std.toArray()])


def judge(path: Path) -> QualityMeasure:
    X = read_matrix(path)
    exact = np.array([X.mean(axis=0), X.std(axis=0)])
    del X

    def error(found: np.ndarray) -> dict[str, float]:
        return {"largest error": float((np.abs(found - exact) / exact[1]).max())}

    return error


CASE = Case(
    name="scaler",
    title="Standard scaler",
    table="numbers",
    contenders=contenders(local, spark_path, sklearn, mllib, FEATURES),
    judge=judge,
    quality=Quality("largest error", "low", 1e-9),
    targets=(Target(SPARK_PATH, MLLIB, at_least=5), Target(LOCAL, SKLEARN, at_least=2)),
    notes="Error: of means and standard deviations against NumPy's, in standard deviations. MLlib divides "
    "by n - 1.",
)
