"""K-means: 20 clusters, 20 iterations of Lloyd's algorithm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import outgrow as og
from bench.cases.names import LOCAL, MLLIB, SKLEARN, SPARK_PATH, contenders, frame_targets, of_frame
from bench.contest import Case, Place, Quality, QualityMeasure, Target
from bench.data import FEATURES, read_matrix
from bench.spark import assembled, cached

CLUSTERS, ITERATIONS = 20, 20
CHUNK = 100_000


def _ours(data: Any) -> np.ndarray:
    model = og.KMeans(n_clusters=CLUSTERS, max_iter=ITERATIONS, tol=0, random_state=0)
    model.fit(data.select(FEATURES))
    assert model.n_iter_ == ITERATIONS
    return model.cluster_centers_


def local(place: Place) -> np.ndarray:
    return _ours(og.read(str(place.path)))


def spark_path(place: Place) -> np.ndarray:
    return _ours(og.read(str(place.path), engine=og.Spark(place.session)))


def sklearn(place: Place) -> np.ndarray:
    from sklearn.cluster import KMeans

    model = KMeans(
        CLUSTERS, n_init=1, max_iter=ITERATIONS, tol=0, algorithm="lloyd", copy_x=False, random_state=0
    )
    return model.fit(read_matrix(place.path)).cluster_centers_


def mllib(place: Place) -> np.ndarray:
    return _mllib(place, place.session.read.parquet(str(place.path)))


def _mllib(place: Place, rows: Any) -> np.ndarray:
    from pyspark.ml.clustering import KMeans

    frame = cached(assembled(rows), "features")
    model = KMeans(k=CLUSTERS, maxIter=ITERATIONS, tol=0.0, seed=0).fit(frame)
    return np.array(model.clusterCenters())


def judge(path: Path) -> QualityMeasure:
    X = read_matrix(path)

    def cost(centers: np.ndarray) -> dict[str, float]:
        return {
            "cost per row": sum(_cost(X[at : at + CHUNK], centers) for at in range(0, len(X), CHUNK)) / len(X)
        }

    return cost


def _cost(X: np.ndarray, centers: np.ndarray) -> float:
    nearest = ((centers**2).sum(axis=1) - 2 * X @ centers.T).argmin(axis=1)
    return float(((X - centers[nearest]) ** 2).sum())


CASE = Case(
    name="kmeans",
    title=f"K-means, {CLUSTERS} clusters, {ITERATIONS} iterations",
    table="numbers",
    contenders=contenders(local, spark_path, sklearn, mllib, FEATURES, *of_frame(_ours, _mllib)),
    judge=judge,
    quality=Quality("cost per row", "low", 0.005, relative=True),
    targets=(
        Target(SPARK_PATH, MLLIB, at_least=10),
        *frame_targets(10),
        Target(LOCAL, SKLEARN, at_least=1.2),
    ),
    notes="Every contender does exactly the iterations (tol=0), each from its own default start.",
)
