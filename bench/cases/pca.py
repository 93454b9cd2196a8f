"""Ten principal components."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import outgrow as og
from bench.cases.names import LOCAL, MLLIB, SKLEARN, SPARK_PATH, contenders
from bench.contest import Case, Place, Quality, QualityMeasure, Target
from bench.data import FEATURES, read_matrix
from bench.spark import vectors

COMPONENTS = 10


def _ours(data: Any) -> np.ndarray:
    return og.PCA(n_components=COMPONENTS).fit(data.select(FEATURES)).components_


def local(place: Place) -> np.ndarray:
    return _ours(og.read(str(place.path)))


def spark_path(place: Place) -> np.ndarray:
    return _ours(og.read(str(place.path), engine=og.Spark(place.session)))


def sklearn(place: Place) -> np.ndarray:
    from sklearn.decomposition import PCA

    return PCA(COMPONENTS, copy=False).fit(read_matrix(place.path)).components_


def mllib(place: Place) -> np.ndarray:
    from pyspark.ml.feature import PCA

    model = PCA(k=COMPONENTS, inputCol="features").fit(vectors(place.session, place.path))
    return model.pc.toArray().T


def judge(path: Path) -> QualityMeasure:
    covariance = np.cov(read_matrix(path), rowvar=False)

    def captured(components: np.ndarray) -> dict[str, float]:
        return {
            "variance captured": float(
                np.trace(components @ covariance @ components.T) / np.trace(covariance)
            )
        }

    return captured


CASE = Case(
    name="pca",
    title=f"PCA, {COMPONENTS} components",
    table="numbers",
    contenders=contenders(local, spark_path, sklearn, mllib, FEATURES),
    judge=judge,
    quality=Quality("variance captured", "high", 1e-9),
    targets=(Target(SPARK_PATH, MLLIB, at_least=5), Target(LOCAL, SKLEARN, at_least=2)),
)
