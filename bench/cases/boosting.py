"""Boosted trees: 20 rounds of depth 5."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import outgrow as og
from bench.cases.names import LOCAL, MLLIB, SPARK_PATH, XGBOOST, scan
from bench.contest import Case, Contender, Place, Quality, QualityMeasure, Target
from bench.data import FEATURES, read_label, read_matrix, table_path
from bench.spark import cached, vectors

ROUNDS, DEPTH, RATE, BINS = 20, 5, 0.3, 256
UNSEEN = 160_000
"""Rows of another table of the same kind, on which the trees are judged."""

Answer = Callable[[Path], tuple[np.ndarray, np.ndarray]]
"""Labels and probabilities of the rows of a file."""


def _ours(data: Any) -> Answer:
    model = og.GradientBoostingClassifier(
        n_estimators=ROUNDS, max_depth=DEPTH, learning_rate=RATE, max_bins=BINS
    )
    model.fit(data, "label")

    def answer(path: Path) -> tuple[np.ndarray, np.ndarray]:
        found = model.predict_proba(pq.read_table(path, columns=FEATURES))
        return read_label(path), found.column("probability_1").to_numpy()

    return answer


def local(place: Place) -> Answer:
    return _ours(og.read(str(place.path)))


def spark_path(place: Place) -> Answer:
    return _ours(og.read(str(place.path), engine=og.Spark(place.session)))


def xgboost(place: Place) -> Answer:
    import xgboost as xgb

    rows = pq.read_table(place.path, columns=FEATURES)
    matrix = xgb.QuantileDMatrix(rows, label=read_label(place.path), max_bin=BINS)
    shape = {"max_depth": DEPTH, "learning_rate": RATE, "max_bin": BINS, "tree_method": "hist"}
    booster = xgb.train({"objective": "binary:logistic", **shape}, matrix, ROUNDS)
    booster.feature_names = None
    return lambda path: (read_label(path), booster.inplace_predict(read_matrix(path)))


def mllib(place: Place) -> Answer:
    from pyspark.ml.classification import GBTClassifier
    from pyspark.ml.functions import vector_to_array

    frame = cached(vectors(place.session, place.path), "features", "label")
    model = GBTClassifier(labelCol="label", maxIter=ROUNDS, maxDepth=DEPTH).fit(frame)

    def answer(path: Path) -> tuple[np.ndarray, np.ndarray]:
        found = model.transform(vectors(place.session, path))
        table = found.select("label", vector_to_array("probability")[1].alias("p")).toArrow()
        return table.column("label").to_numpy(), table.column("p").to_numpy()

    return answer


def judge(path: Path) -> QualityMeasure:
    from sklearn.metrics import log_loss, roc_auc_score

    unseen = table_path("numbers", UNSEEN)

    def scores(answer: Answer) -> dict[str, float]:
        label, probability = answer(unseen)
        return {"log loss": log_loss(label, probability), "ROC AUC": roc_auc_score(label, probability)}

    return scores


CASE = Case(
    name="boosting",
    title=f"Gradient boosted trees, {ROUNDS} rounds, depth {DEPTH}",
    table="numbers",
    contenders=(
        scan([*FEATURES, "label"]),
        Contender(LOCAL, local),
        Contender(XGBOOST, xgboost),
        Contender(SPARK_PATH, spark_path, spark=True),
        Contender(MLLIB, mllib, spark=True, repeats=1),
    ),
    judge=judge,
    quality=Quality("log loss", "low", 0.005, relative=True),
    targets=(Target(LOCAL, XGBOOST, at_most=1.1), Target(SPARK_PATH, MLLIB, at_least=5)),
    notes=f"Learning rate {RATE}, {BINS} bins. Judged on {UNSEEN:,} rows of their own. XGBoost reads the "
    "Arrow table, its fastest way in. MLlib's GBTClassifier has its defaults (32 bins; stepSize 0.1, whose "
    "steps are longer than at a learning rate of 0.1) and runs once.",
)
