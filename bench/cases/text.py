"""Documents to classes: the job of examples/text, next to the same in scikit-learn and in MLlib."""

from __future__ import annotations

import importlib.util
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import outgrow as og
from bench.cases.names import LOCAL, MLLIB, SKLEARN, SPARK_PATH
from bench.contest import Case, Contender, Place, Quality, QualityMeasure, Target

WRITER = Path(__file__).parents[2] / "examples" / "text" / "write_docs.py"
FEATURES = 1 << 18
Found = tuple[np.ndarray, np.ndarray]
"""The library of each text that is held out, and the one that is found."""


@cache
def _rows() -> tuple[str, str]:
    """Paths of the rows to learn from, and of those held out."""
    spec = importlib.util.spec_from_file_location("write_docs", WRITER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tempfile.mkdtemp(prefix="outgrow-bench-text-")
    parts = og.dataset(module.table()).split(test=0.25, seed=7)
    paths = f"{folder}/train.parquet", f"{folder}/test.parquet"
    for part, path in zip(parts, paths, strict=True):
        pq.write_table(part.to_arrow(), path, row_group_size=2000)
    return paths


def _pipeline() -> og.Pipeline:
    return og.Pipeline(
        [
            og.TfidfVectorizer(columns="text", ngram_range=(1, 2), min_df=3, sublinear_tf=True),
            og.LogisticRegression(C=10.0, max_iter=400),
        ]
    )


def _answered(train: Any, test: str) -> Found:
    model = _pipeline().fit(train, "library")
    rows = pq.read_table(test)
    return rows["library"].to_numpy(), model.predict(rows)["prediction"].to_numpy()


def local(place: Place) -> Found:
    train, test = _rows()
    return _answered(og.read(train), test)


def spark_path(place: Place) -> Found:
    train, test = _rows()
    return _answered(og.read(train, engine=og.Spark(place.session)), test)


def sklearn(place: Place) -> Found:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    train, test = map(pq.read_table, _rows())
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True)
    model = make_pipeline(vectorizer, LogisticRegression(C=10.0, max_iter=1000))
    model.fit(train["text"].to_pylist(), train["library"].to_numpy())
    return test["library"].to_numpy(), model.predict(test["text"].to_pylist())


def mllib(place: Place) -> Found:
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import IDF, HashingTF, IndexToString, StringIndexer, Tokenizer

    train, test = map(place.session.read.parquet, _rows())
    labels = StringIndexer(inputCol="library", outputCol="label").fit(train)
    steps = [
        labels,
        Tokenizer(inputCol="text", outputCol="words"),
        HashingTF(inputCol="words", outputCol="counts", numFeatures=FEATURES),
        IDF(inputCol="counts", outputCol="features"),
        LogisticRegression(regParam=1e-3),
        IndexToString(inputCol="prediction", outputCol="found", labels=labels.labels),
    ]
    rows = Pipeline(stages=steps).fit(train).transform(test).select("library", "found").toArrow()
    return rows["library"].to_numpy(), rows["found"].to_numpy()


def judge(path: Path) -> QualityMeasure:
    def scores(found: Found) -> dict[str, float]:
        return {"accuracy": float((found[0] == found[1]).mean())}

    return scores


CASE = Case(
    name="text",
    title="Documentation to libraries: terms, weights, logistic regression",
    table=None,
    contenders=(
        Contender(LOCAL, local),
        Contender(SKLEARN, sklearn),
        Contender(SPARK_PATH, spark_path, spark=True),
        Contender(MLLIB, mllib, spark=True, repeats=2),
    ),
    judge=judge,
    ready=lambda place: _rows(),
    quality=Quality("accuracy", "high", 0.0),
    targets=(Target(LOCAL, SKLEARN, at_least=1), Target(SPARK_PATH, MLLIB, at_least=1)),
    notes="The rows are those of `examples/text/write_docs.py`, a quarter held out; all read Parquet and "
    "answer the rows held out. Ours and scikit-learn count words and pairs of words. MLlib has Tokenizer, "
    f"HashingTF with {FEATURES:,} columns, IDF and LogisticRegression(regParam=1e-3).",
)
