"""One-hot encoding of three columns of text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

import outgrow as og
from bench.cases.names import LOCAL, MLLIB, SKLEARN, SPARK_PATH, contenders
from bench.contest import Case, Place, Quality, QualityMeasure, Target
from bench.data import WORDS

NAMES = list(WORDS)


def _ours(data: Any) -> list[int]:
    return [len(words) for words in og.OneHotEncoder().fit(data).categories_]


def local(place: Place) -> list[int]:
    return _ours(og.read(str(place.path)))


def spark_path(place: Place) -> list[int]:
    return _ours(og.read(str(place.path), engine=og.Spark(place.session)))


def sklearn(place: Place) -> list[int]:
    from sklearn.preprocessing import OneHotEncoder

    X = pq.read_table(place.path, columns=NAMES).to_pandas().to_numpy()
    return [len(words) for words in OneHotEncoder().fit(X).categories_]


def mllib(place: Place) -> list[int]:
    from pyspark.ml import Pipeline
    from pyspark.ml.feature import OneHotEncoder, StringIndexer

    places = [f"{name}_place" for name in NAMES]
    indexer = StringIndexer(inputCols=NAMES, outputCols=places)
    encoder = OneHotEncoder(inputCols=places, outputCols=[f"{name}_hot" for name in NAMES], dropLast=False)
    model = Pipeline(stages=[indexer, encoder]).fit(place.session.read.parquet(str(place.path)))
    return list(model.stages[1].categorySizes)


def judge(path: Path) -> QualityMeasure:
    table = pq.read_table(path, columns=NAMES)
    exact = np.array([pc.count_distinct(table.column(name)).as_py() for name in NAMES])

    def wrong(sizes: list[int]) -> dict[str, float]:
        return {"columns missing": float(np.abs(exact - sizes).sum()), "columns": float(sum(sizes))}

    return wrong


CASE = Case(
    name="onehot",
    title="One-hot encoder, three columns of text",
    table="words",
    contenders=contenders(local, spark_path, sklearn, mllib, NAMES),
    judge=judge,
    quality=Quality("columns missing", "low", 0.0),
    targets=(Target(SPARK_PATH, MLLIB, at_least=5), Target(LOCAL, SKLEARN, at_least=2)),
    notes="Up to "
    + ", ".join(f"{count:,}" for count in WORDS.values())
    + " words. Fit only. MLlib: StringIndexer and "
    "OneHotEncoder.",
)
