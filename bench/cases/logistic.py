"""Logistic regression on scaled columns, to scikit-learn's objective: mean log loss + ||w||² / 2n."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

import outgrow as og
from bench.cases.names import LOCAL, MLLIB, SCAN, SKLEARN, SPARK_PATH, contenders, frame_targets, of_frame
from bench.contest import Case, Place, Quality, QualityMeasure, Target
from bench.data import FEATURES, read_label, read_matrix
from bench.spark import assembled, cached


class LinearFit(NamedTuple):
    """Log odds of rows that were not scaled."""

    slope: np.ndarray
    constant: float


def _ours(data: Any) -> LinearFit:
    model = og.Pipeline([og.StandardScaler(), og.LogisticRegression()]).fit(data, "label")
    scaler, line = model[0], model[1]
    return _unscaled(line.coef_[0], float(line.intercept_[0]), scaler.mean_, scaler.scale_)


def local(place: Place) -> LinearFit:
    return _ours(og.read(str(place.path)))


def spark_path(place: Place) -> LinearFit:
    return _ours(og.read(str(place.path), engine=og.Spark(place.session)))


def sklearn(place: Place) -> LinearFit:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler, model = StandardScaler(copy=False), LogisticRegression()
    model.fit(scaler.fit_transform(read_matrix(place.path)), read_label(place.path))
    return _unscaled(model.coef_[0], float(model.intercept_[0]), scaler.mean_, scaler.scale_)


def mllib(place: Place) -> LinearFit:
    return _mllib(place, place.session.read.parquet(str(place.path)))


def _mllib(place: Place, rows: Any) -> LinearFit:
    from pyspark.ml.classification import LogisticRegression

    penalty = 1 / pq.read_metadata(place.path).num_rows
    frame = cached(assembled(rows), "features", "label")
    model = LogisticRegression(regParam=penalty, standardization=True, maxIter=100, tol=1e-6).fit(frame)
    return LinearFit(model.coefficients.toArray(), float(model.intercept))


def judge(path: Path) -> QualityMeasure:
    X, positive = read_matrix(path), read_label(path) == 1
    scale = X.std(axis=0)

    def objective(line: LinearFit) -> dict[str, float]:
        margin = X @ line.slope + line.constant
        loss = np.logaddexp(0, np.where(positive, -margin, margin)).mean()
        return {"objective": float(loss + ((line.slope * scale) ** 2).sum() / (2 * len(X)))}

    return objective


def _unscaled(weights: np.ndarray, constant: float, mean: np.ndarray, scale: np.ndarray) -> LinearFit:
    slope = weights / scale
    return LinearFit(slope, constant - float(slope @ mean))


CASE = Case(
    name="logistic",
    title="Logistic regression on standardised columns",
    table="numbers",
    contenders=contenders(
        local,
        spark_path,
        sklearn,
        mllib,
        [*FEATURES, "label"],
        *of_frame(_ours, _mllib),
    ),
    judge=judge,
    quality=Quality("objective", "low", 1e-6, relative=True),
    targets=(
        Target(SPARK_PATH, MLLIB, at_least=12),
        *frame_targets(12),
        Target(LOCAL, SKLEARN, at_least=4),
        Target(LOCAL, SCAN, at_most=3),
    ),
    notes="Objective: mean log loss + ||w||² / 2n, w on standardised columns. scikit-learn: lbfgs with its "
    "default tolerance; MLlib: regParam=1/n, tol=1e-6.",
    spark_memory=True,
)
