"""Medians of columns with gaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import outgrow as og
from bench.cases.names import LOCAL, MLLIB, SKLEARN, SPARK_PATH, contenders
from bench.contest import Case, Place, Quality, QualityMeasure, Target
from bench.data import FEATURES, read_matrix


def _ours(data: Any) -> np.ndarray:
    return np.asarray(og.SimpleImputer(strategy="median").fit(data).statistics_, dtype=np.float64)


def local(place: Place) -> np.ndarray:
    return _ours(og.read(str(place.path)))


def spark_path(place: Place) -> np.ndarray:
    return _ours(og.read(str(place.path), engine=og.Spark(place.session)))


def sklearn(place: Place) -> np.ndarray:
    from sklearn.impute import SimpleImputer

    return SimpleImputer(strategy="median", copy=False).fit(read_matrix(place.path)).statistics_


def mllib(place: Place) -> np.ndarray:
    from pyspark.ml.feature import Imputer

    imputer = Imputer(
        strategy="median", inputCols=FEATURES, outputCols=[f"{name}_filled" for name in FEATURES]
    )
    row = imputer.fit(place.session.read.parquet(str(place.path))).surrogateDF.toPandas()
    return row[FEATURES].to_numpy(dtype=np.float64)[0]


def judge(path: Path) -> QualityMeasure:
    X = read_matrix(path)
    known = (~np.isnan(X)).sum(axis=0)

    def error(medians: np.ndarray) -> dict[str, float]:
        return {"largest rank error": float(np.abs((medians > X).sum(axis=0) / known - 0.5).max())}

    return error


CASE = Case(
    name="imputer",
    title="Imputer, median",
    table="gaps",
    contenders=contenders(local, spark_path, sklearn, mllib, FEATURES),
    judge=judge,
    quality=Quality("largest rank error", "low", 0.001),
    targets=(Target(SPARK_PATH, MLLIB, at_least=5), Target(LOCAL, SKLEARN, at_least=2)),
    notes="1 to 20 % of each column is missing. Rank error: how far from the middle the median lies, as a "
    "share of the rows; MLlib is asked for 0.001, its default.",
)
