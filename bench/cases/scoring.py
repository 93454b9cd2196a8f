"""Scoring with a fitted logistic regression, from Parquet to Parquet: prediction and true label."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import outgrow as og
from bench.cases.names import LOCAL, MLLIB, SCAN, SKLEARN, SPARK_PATH, contenders
from bench.contest import Case, Contender, Place, Quality, QualityMeasure, Target
from bench.data import FEATURES, read_label, table_path
from bench.spark import vectors

MLFLOW = "mlflow spark_udf of scikit-learn"
EXPRESSION = "outgrow on Spark, model.udf()"
_TRAINING_ROWS = 200_000


@cache
def _models() -> dict[str, Any]:
    """The same regression in every form, fitted once and before the clock runs."""
    import mlflow.sklearn
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    path = table_path("numbers", _TRAINING_ROWS)
    ours = og.LogisticRegression().fit(og.read(str(path)).select(*FEATURES, "label"), "label")
    theirs = LogisticRegression().fit(pd.read_parquet(path, columns=FEATURES), read_label(path))
    theirs.coef_, theirs.intercept_ = ours.coef_, ours.intercept_
    folder = f"{tempfile.mkdtemp()}/model"
    mlflow.sklearn.save_model(theirs, folder, pip_requirements=[])
    return {"ours": ours, "sklearn": theirs, "mlflow": folder}


def _output() -> str:
    return f"{tempfile.mkdtemp()}/scores"


def _ours(data: Any) -> str:
    output = _output()
    og.score(_models()["ours"], data, output, keep=["label"])
    return output


def local(place: Place) -> str:
    return _ours(og.read(str(place.path)))


def spark_path(place: Place) -> str:
    return _ours(og.read(str(place.path), engine=og.Spark(place.session)))


def expression(place: Place) -> str:
    return _written(place, _models()["ours"].udf()(*FEATURES))


def mlflow_udf(place: Place) -> str:
    import mlflow.pyfunc
    from pyspark.sql import functions

    predict = mlflow.pyfunc.spark_udf(place.session, _models()["mlflow"], "bigint", env_manager="local")
    return _written(place, predict(functions.struct(*FEATURES)))


def _written(place: Place, prediction: Any) -> str:
    output = _output()
    frame = place.session.read.parquet(str(place.path))
    frame.select("label", prediction.alias("prediction")).write.parquet(output)
    return output


def sklearn(place: Place) -> str:
    import pandas as pd

    rows = pd.read_parquet(place.path, columns=[*FEATURES, "label"])
    found = _models()["sklearn"].predict(rows[FEATURES])
    output = _output()
    pd.DataFrame({"label": rows["label"], "prediction": found}).to_parquet(output)
    return output


@cache
def _of_mllib(session: Any) -> Any:
    from pyspark.ml.classification import LogisticRegression

    return LogisticRegression().fit(vectors(session, table_path("numbers", _TRAINING_ROWS)))


def mllib(place: Place) -> str:
    output = _output()
    scored = _of_mllib(place.session).transform(vectors(place.session, place.path))
    scored.select("label", "prediction").write.parquet(output)
    return output


def judge(path: Path) -> QualityMeasure:
    def accuracy(output: str) -> dict[str, float]:
        table = og.read(output, format="parquet").to_arrow()
        return {"accuracy": float(np.mean(table["label"].to_numpy() == table["prediction"].to_numpy()))}

    return accuracy


CASE = Case(
    name="scoring",
    title="Scoring with a fitted logistic regression, Parquet to Parquet",
    table="numbers",
    contenders=contenders(
        local,
        spark_path,
        sklearn,
        mllib,
        [*FEATURES, "label"],
        Contender(EXPRESSION, expression, spark=True),
        Contender(MLFLOW, mlflow_udf, spark=True, repeats=2),
    ),
    judge=judge,
    quality=Quality("accuracy", "high", 1e-3),
    targets=(
        Target(SPARK_PATH, MLFLOW, at_least=8),
        Target(SPARK_PATH, MLLIB, at_least=4),
        Target(LOCAL, SCAN, at_most=1.5),
        Target(LOCAL, SKLEARN, at_least=1),
    ),
    notes="The models are fitted on 200,000 rows before the clock runs; MLlib's with its own defaults. The "
    "scan reads the columns and writes nothing.",
)
