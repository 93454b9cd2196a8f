"""Models on Spark from a path, beside MLlib on the same session and cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.metrics import log_loss, mean_squared_error, mean_tweedie_deviance

import outgrow as og
from bench.grids.cell import Cell
from bench.models import rows
from bench.models.relations import BASKETS, RANK, RATINGS, baskets, ratings
from bench.shapes.spark import beside_mllib, features
from bench.shapes.tables import Table, bent_tables, grouped_table, stored_table

Learn = Callable[[Table], Any]


def _stored(name: str, make: Callable[[], rows.Sample]) -> Callable[[], Table]:
    def table() -> pa.Table:
        X, y = make()
        return pa.table({**{f"x{j}": X[:, j] for j in range(X.shape[1])}, "y": y})

    return lambda: stored_table(f"models-{name}", table)


def _ml(module: str, kind: str, **parameters: Any) -> Any:
    import importlib

    return getattr(importlib.import_module(f"pyspark.ml.{module}"), kind)(**parameters)


def _poisson() -> Cell:
    def theirs(table: Table) -> Any:
        peer = _ml("regression", "GeneralizedLinearRegression", family="poisson", labelCol="y")
        model = peer.fit(features(table, "y"))
        return model.coefficients.toArray(), model.intercept

    def ours(data: Any) -> Any:
        model = og.GeneralizedLinearRegression("poisson").fit(data, "y")
        return model.coef_, model.intercept_

    def judge(table: Table, found: Any) -> float:
        mean = np.exp(table.matrix() @ np.ravel(found[0]) + found[1])
        return float(mean_tweedie_deviance(table.label(), mean, power=1))

    return beside_mllib("Poisson", _stored("counts", rows.counts), ours, theirs, judge)


def _margins() -> Cell:
    """MLlib minimises the hinge loss, outgrow its square."""

    def theirs(table: Table) -> Any:
        peer = _ml("classification", "LinearSVC", labelCol="y", regParam=1 / table.count)
        return peer.fit(features(table, "y"))

    make = _stored("classes", rows.classes)
    return beside_mllib(
        "linear support vectors", make, lambda data: og.LinearSVC().fit(data, "y"), theirs, lambda *_: 0.0
    )


def _naive_bayes() -> Cell:
    def theirs(table: Table) -> Any:
        peer = _ml("classification", "NaiveBayes", modelType="gaussian", labelCol="y")
        return peer.fit(features(table, "y", cache=False))

    make = _stored("classes", rows.classes)
    return beside_mllib(
        "Gaussian naive Bayes", make, lambda data: og.GaussianNB().fit(data, "y"), theirs, lambda *_: 0.0
    )


def _trees() -> Iterator[Cell]:
    for kind, classes in (("Classifier", 2), ("Regressor", 0)):
        module = "classification" if classes else "regression"
        ours = getattr(og, f"DecisionTree{kind}")(max_depth=10, max_bins=32)

        def theirs(table: Table, module: str = module, kind: str = kind) -> Any:
            peer = _ml(module, f"DecisionTree{kind}", labelCol="y", maxDepth=10, maxBins=32)
            return peer.fit(features(table, "y"))

        unseen = partial(bent_tables, rows.ROWS, rows.WIDTH, classes)

        def judge(table: Table, model: Any, classes: int = classes, unseen: Any = unseen) -> float:
            held = unseen()[1]
            X, y = held.matrix(), held.label()
            if not hasattr(model, "predict_proba") and not hasattr(model, "tree_"):
                frame = model.transform(features(held, "y", cache=False))
                column = "probability" if classes else "prediction"
                found = np.array([row[0] for row in frame.select(column).collect()])
                found = found if not classes else np.array([list(each) for each in found])
            else:
                found = model.predict_proba(X) if classes else model.predict(X)
            return float(log_loss(y, np.clip(found, 1e-3, 1)) if classes else mean_squared_error(y, found))

        name = "decision tree" if classes else "regression tree"
        yield beside_mllib(
            f"{name}, 10 deep, 32 bins",
            lambda unseen=unseen: unseen()[0],
            lambda data, ours=ours: ours.fit(data, "y"),
            theirs,
            judge,
            slack=0.02,
        )


def _clusters() -> Iterator[Cell]:
    def cost(table: Table, centres: np.ndarray) -> float:
        X = table.matrix()
        squares = (X**2).sum(axis=1)[:, None] - 2 * X @ centres.T + (centres**2).sum(axis=1)
        return float(squares.min(axis=1).sum())

    def theirs(table: Table) -> np.ndarray:
        return np.array(
            _ml("clustering", "BisectingKMeans", k=20, seed=0).fit(features(table)).clusterCenters()
        )

    yield beside_mllib(
        "bisecting k-means, 200,000 x 20, 20 clusters",
        partial(grouped_table, 200_000, 20, 20),
        lambda data: np.asarray(og.BisectingKMeans(20, random_state=0).fit(data).cluster_centers_),
        theirs,
        cost,
        slack=0.05,
        turns=1,
    )
    yield beside_mllib(
        "Gaussian mixture, 100,000 x 20, 8 components, 20 steps",
        partial(grouped_table, 100_000, 20, 8),
        lambda data: og.GaussianMixture(8, max_iter=20, tol=1e-9, random_state=0).fit(data),
        lambda table: _ml("clustering", "GaussianMixture", k=8, maxIter=20, tol=1e-9).fit(features(table)),
        lambda *_: 0.0,
        turns=1,
    )


def _relations() -> Iterator[Cell]:
    def factors(table: Table) -> Any:
        peer = _ml(
            "recommendation", "ALS", rank=RANK, maxIter=10, regParam=0.1, implicitPrefs=True, alpha=1.0
        )
        frame = table.frame().selectExpr("int(user) user", "int(item) item", "float(count) rating").cache()
        return peer.fit(frame)

    yield beside_mllib(
        f"implicit feedback, {RATINGS:,} ratings, rank {RANK}, 10 rounds",
        lambda: stored_table("models-ratings", ratings),
        lambda data: og.ALS(RANK, implicit=True, users="user", items="item").fit(data, "count"),
        factors,
        lambda *_: 0.0,
        turns=1,
    )

    def sets(table: Table) -> int:
        frame = table.frame().selectExpr("array_distinct(basket) items").cache()
        return int(_ml("fpm", "FPGrowth", minSupport=0.01).fit(frame).freqItemsets.count())

    yield beside_mllib(
        f"frequent sets of {BASKETS:,} baskets",
        lambda: stored_table("models-baskets", baskets),
        lambda data: og.FPGrowth(0.01).fit(data).itemsets().num_rows,
        sets,
        lambda table, found: -float(found),
        turns=1,
    )


CELLS = (_poisson(), _margins(), _naive_bayes(), *_trees(), *_clusters(), *_relations())
