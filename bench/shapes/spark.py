"""Fits on Spark from a path or a DataFrame, beside MLlib on the same session and cores.

Sparse rows are a DataFrame with a column of Spark ML's vectors, and those of "DataFrame" have been through a
filter. MLlib gets its rows by VectorAssembler, held in memory where it makes several passes, as its guide
advises, and parameters by which it comes to the same objective.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import ceil
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import scipy.sparse as sp
from scipy.special import logsumexp
from sklearn.metrics import log_loss as mean_log_loss
from sklearn.metrics import mean_squared_error

import outgrow as og
from bench.grids.cell import Cell
from bench.shapes.linear import Rows, log_loss, sparse, squared, words
from bench.shapes.tables import (
    Table,
    bent_tables,
    dense_table,
    grouped_table,
    mixed_table,
    sparse_table,
    word_table,
)
from bench.spark import cached, vectors

Make = Callable[[], Table]
Fit = Callable[[Any], Any]
Judge = Callable[[Table, Any], float]

ITERATIONS = 20
LASSO, SPARSE_LASSO, L1_C = 0.02, 1e-4, 0.1


def beside_mllib(
    name: str,
    make: Make,
    ours: Fit,
    theirs: Callable[[Table], Any],
    judge: Judge,
    *,
    slack: float = 1e-6,
    turns: int = 2,
    frame: bool = False,
) -> Cell:
    """A cell of a fit from the rows that outgrow reads.

    Parameters
    ----------
    ours : from a dataset or a DataFrame to what the judge understands.
    theirs : from the table.
    frame : outgrow gets a DataFrame that is no longer just its files.
    """

    def read(table: Table) -> Any:
        if frame:
            return table.frame().where(f"{table.names[0]} IS NOT NULL")
        return table.frame() if table.vectors else og.read(str(table.path), engine=og.Spark(table.session))

    def cleared(table: Table) -> Any:
        try:
            return theirs(table)
        finally:
            table.session.catalog.clearCache()

    def ready(table: Table) -> None:
        """Spark ends processes of Python that had nothing to do for a minute, as while MLlib takes longer."""
        ours(read(replace(table, path=table.few)))

    def warmed() -> Table:
        table = make()
        cleared(replace(table, path=table.few))
        assert table.count  # looked up now, so that it takes no time later
        assert table.spread >= 0
        return table

    source = "DataFrame" if frame else "Spark"
    return Cell(
        f"{source}: {name}",
        warmed,
        lambda table: ours(read(table)),
        cleared,
        judge,
        slack=slack,
        peer="MLlib",
        turns=turns,
        ready=ready,
    )


def features(table: Table, *others: str, cache: bool = True) -> Any:
    """The column of vectors that MLlib learns from, and others."""
    frame = table.frame() if table.vectors else vectors(table.session, table.path, table.names)
    return cached(frame, "features", *others) if cache else frame.select("features", *others)


def _logistic(shape: str, make: Make, rows: Callable[[Table], Rows], *, l1: bool = False, **how: Any) -> Cell:
    C, ratio = (L1_C, 1.0) if l1 else (1.0, 0.0)

    def theirs(table: Table) -> Any:
        from pyspark.ml.classification import LogisticRegression

        strength = {"regParam": 1 / (C * table.count), "elasticNetParam": ratio}
        peer = LogisticRegression(labelCol="y", standardization=False, maxIter=200, tol=1e-6, **strength)
        return _lines(peer.fit(features(table, "y")))

    def judge(table: Table, model: Any) -> float:
        return float(log_loss(C, ratio)(rows(table), model))

    name = f"logistic {'l1' if l1 else 'l2'}, {shape}"
    ours = og.LogisticRegression(C=C, l1_ratio=ratio, max_iter=200)
    return beside_mllib(name, make, lambda data: ours.fit(data, "y"), theirs, judge, **how)


def _lines(model: Any) -> SimpleNamespace:
    """A linear classifier of MLlib with scikit-learn's names."""
    return SimpleNamespace(
        coef_=model.coefficientMatrix.toArray(), intercept_=np.asarray(model.interceptVector.toArray())
    )


def _least_squares(
    name: str,
    make: Make,
    rows: Callable[[Table], Rows],
    ours: Any,
    *,
    l1: float = 0.0,
    l2: float = 0.0,
    **how: Any,
) -> Cell:
    """MLlib divides a squared penalty by the standard deviation of y."""

    def theirs(table: Table) -> Any:
        from pyspark.ml.regression import LinearRegression

        several = table.vectors  # so many columns are fitted by L-BFGS, in many passes
        strength = {"regParam": l1 or l2 * table.spread, "elasticNetParam": float(l1 > 0)}
        peer = LinearRegression(labelCol="y", standardization=False, maxIter=200, tol=1e-6, **strength)
        model = peer.fit(features(table, "y", cache=several))
        return SimpleNamespace(coef_=model.coefficients.toArray(), intercept_=float(model.intercept))

    def judge(table: Table, model: Any) -> float:
        return float(squared(l1, l2)(rows(table), model))

    return beside_mllib(name, make, lambda data: ours.fit(data, "y"), theirs, judge, **how)


def _shown(rows: int, width: int, classes: int = 0) -> str:
    return f"{rows:,} x {width:,}" + (f", {classes} classes" if classes else "")


def _dense() -> Iterator[Cell]:
    for rows, width, classes, l1 in (
        *((1_000, 10, 2, False), (100_000, 10, 2, False), (100_000, 100, 2, False)),
        *((100_000, 1_000, 2, False), (2_000_000, 10, 2, False), (2_000_000, 100, 2, False)),
        *((1_000, 10, 10, False), (100_000, 10, 10, False), (100_000, 100, 10, False)),
        *((1_000, 10, 2, True), (100_000, 10, 2, True), (100_000, 100, 2, True)),
        *((2_000_000, 10, 2, True), (100_000, 10, 10, True)),
    ):
        make, turns = partial(dense_table, rows, width, classes), 1 + (rows * width <= 2_000_000)
        yield _logistic(_shown(rows, width, classes), make, Table.rows, l1=l1, turns=turns)
    for rows, width, penalties in (
        *((1_000, 10, True), (100_000, 10, False), (100_000, 100, True)),
        *((100_000, 1_000, False), (2_000_000, 10, True), (2_000_000, 100, False)),
    ):
        shape, make = _shown(rows, width), partial(dense_table, rows, width, 0)
        turns = 1 + (rows * width <= 20_000_000)
        fit = partial(_least_squares, make=make, rows=Table.rows, turns=turns)
        yield fit(f"linear, {shape}", ours=og.LinearRegression())
        if penalties:
            yield fit(f"ridge, {shape}", ours=og.Ridge(), l2=1 / rows)
        if penalties or width == 1_000:
            yield fit(f"lasso, {shape}", ours=og.ElasticNet(alpha=LASSO, l1_ratio=1.0), l1=LASSO)


def _sparse() -> Iterator[Cell]:
    rows, width = 200_000, 20_000
    for classes, l1 in ((2, False), (10, False), (2, True)):
        made = lambda _, classes=classes: sparse(rows, width, classes)  # noqa: E731
        make = partial(sparse_table, rows, width, classes)
        yield _logistic(f"sparse {_shown(rows, width, classes)}", make, made, l1=l1, turns=1)
    fit = partial(
        _least_squares,
        make=partial(sparse_table, rows, width, 0),
        rows=lambda _: sparse(rows, width, 0),
        turns=1,
    )
    shape = f"sparse {_shown(rows, width)}"
    yield fit(f"ridge, {shape}", ours=og.Ridge(), l2=1 / rows)
    yield fit(f"lasso, {shape}", ours=og.ElasticNet(alpha=SPARSE_LASSO, l1_ratio=1.0), l1=SPARSE_LASSO)


def _kmeans(rows: int, width: int, clusters: int, **how: Any) -> Cell:
    """The same number of steps, each from its own start."""

    def ours(data: Any) -> np.ndarray:
        model = og.KMeans(clusters, max_iter=ITERATIONS, tol=0, random_state=0)
        return np.asarray(model.fit(data).cluster_centers_)

    def theirs(table: Table) -> np.ndarray:
        from pyspark.ml.clustering import KMeans

        model = KMeans(k=clusters, maxIter=ITERATIONS, tol=0.0, seed=0).fit(features(table))
        return np.array(model.clusterCenters())

    def judge(table: Table, centers: np.ndarray) -> float:
        X = table.matrix()
        near = ((centers**2).sum(axis=1) - 2 * X @ centers.T).min(axis=1)
        return float(near.sum() + (X**2).sum())

    make = partial(grouped_table, rows, width, clusters)
    name = f"k-means, {_shown(rows, width)}, {clusters} clusters"
    return beside_mllib(name, make, ours, theirs, judge, slack=0.02, **how)


def _pca(rows: int, width: int, components: int) -> Cell:
    def theirs(table: Table) -> np.ndarray:
        from pyspark.ml.feature import PCA

        model = PCA(k=components, inputCol="features").fit(features(table, cache=False))
        return np.asarray(model.pc.toArray().T)

    def judge(table: Table, components: np.ndarray) -> float:
        return -float(np.trace(components @ np.cov(table.matrix(), rowvar=False) @ components.T))

    make = partial(dense_table, rows, width, 0)
    name = f"PCA, {_shown(rows, width)}, {components} components"
    return beside_mllib(
        name, make, lambda data: og.PCA(components).fit(_without_y(data)).components_, theirs, judge
    )


def _without_y(data: Any) -> Any:
    return data.drop("y")


def _standard_scaler(rows: int, width: int, **how: Any) -> Cell:
    def theirs(table: Table) -> np.ndarray:
        from pyspark.ml.feature import StandardScaler

        model = StandardScaler(withMean=True, inputCol="features").fit(features(table, cache=False))
        return np.asarray(model.std.toArray() * np.sqrt(1 - 1 / table.count))

    def judge(table: Table, scale: np.ndarray) -> float:
        return float(np.abs(scale / table.matrix().std(axis=0) - 1).max() > 1e-9)

    make = partial(dense_table, rows, width, 0)
    name = f"scaler fit, {_shown(rows, width)}"
    return beside_mllib(
        name, make, lambda data: og.StandardScaler().fit(_without_y(data)).scale_, theirs, judge, **how
    )


def _min_max_scaler(rows: int, width: int) -> Cell:
    def theirs(table: Table) -> np.ndarray:
        from pyspark.ml.feature import MinMaxScaler

        model = MinMaxScaler(inputCol="features").fit(features(table, cache=False))
        return np.array([model.originalMin.toArray(), model.originalMax.toArray()])

    def ours(data: Any) -> np.ndarray:
        model = og.MinMaxScaler().fit(_without_y(data))
        return np.array([model.data_min_, model.data_max_])

    def judge(table: Table, ends: np.ndarray) -> float:
        X = table.matrix()
        return float((ends != [X.min(axis=0), X.max(axis=0)]).any())

    make = partial(dense_table, rows, width, 0)
    return beside_mllib(f"min-max scaler fit, {_shown(rows, width)}", make, ours, theirs, judge)


def _forest(rows: int, width: int, classes: int, trees: int = 20, depth: int = 8) -> Cell:
    tried = ceil(np.sqrt(width)) if classes else ceil(width / 3)  # what MLlib makes of its defaults

    def ours(data: Any) -> Any:
        kind = og.RandomForestClassifier if classes else og.RandomForestRegressor
        return kind(trees, max_depth=depth, max_features=tried, random_state=0).fit(data, "y")

    def theirs(table: Table) -> Any:
        from pyspark.ml.classification import RandomForestClassifier
        from pyspark.ml.regression import RandomForestRegressor

        kind = RandomForestClassifier if classes else RandomForestRegressor
        peer = kind(labelCol="y", numTrees=trees, maxDepth=depth, seed=0)
        return peer.setFeatureSubsetStrategy(str(tried)).fit(features(table, "y"))

    def judge(table: Table, model: Any) -> float:
        unseen = bent_tables(rows, width, classes)[1]
        found = _answers(model, unseen, "probability" if classes else "prediction")
        if classes:
            return float(mean_log_loss(unseen.label(), np.clip(found, 1e-3, 1)))
        return float(mean_squared_error(unseen.label(), found))

    def make() -> Table:
        return bent_tables(rows, width, classes)[0]

    name = f"forest of {trees} trees of depth {depth}, {_shown(rows, width, classes)}"
    return beside_mllib(name, make, ours, theirs, judge, slack=0.02)


def _answers(model: Any, unseen: Table, column: str) -> np.ndarray:
    """What a model of either library says of rows in a file."""
    if hasattr(model, "transform"):
        from pyspark.ml.functions import vector_to_array

        scored = model.transform(features(unseen, cache=False))
        wanted = vector_to_array(column) if column == "probability" else scored[column]
        return np.array(scored.select(wanted.alias("found")).toArrow()["found"].to_pylist())
    method = model.predict_proba if column == "probability" else model.predict
    found = method(pq.read_table(unseen.path, columns=unseen.names))
    return np.column_stack([found[name] for name in found.column_names if name.startswith(column)]).squeeze()


def _encoders(rows: int, count: int) -> Iterator[Cell]:
    def indexed(table: Table) -> int:
        from pyspark.ml.feature import StringIndexer

        peer = StringIndexer(inputCol="word", outputCol="place", stringOrderType="alphabetAsc")
        return len(peer.fit(table.frame()).labels)

    def one_hot(table: Table) -> int:
        from pyspark.ml import Pipeline
        from pyspark.ml.feature import OneHotEncoder, StringIndexer

        indexer = StringIndexer(inputCol="word", outputCol="place")
        encoder = OneHotEncoder(inputCol="place", outputCol="hot", dropLast=False)
        return int(Pipeline(stages=[indexer, encoder]).fit(table.frame()).stages[1].categorySizes[0])

    def judge(table: Table, found: int) -> float:
        words = pq.read_table(table.path, columns=["word"])["word"]
        return float(abs(pc.count_distinct(words).as_py() - found))

    for name, kind, theirs in (
        ("ordinal", og.OrdinalEncoder, indexed),
        ("one-hot", og.OneHotEncoder, one_hot),
    ):
        yield beside_mllib(
            f"{name} encoder fit, {rows:,} rows, {count:,} words",
            partial(word_table, rows, count),
            lambda data, kind=kind: len(kind().fit(data).categories_[0]),
            theirs,
            judge,
        )


def _pipeline(rows: int, count: int) -> Cell:
    def ours(data: Any) -> Any:
        steps = [og.OneHotEncoder(columns=["word"]), og.LogisticRegression()]
        return og.Pipeline(steps).fit(data, "y")[-1]

    def theirs(table: Table) -> Any:
        from pyspark.ml import Pipeline
        from pyspark.ml.classification import LogisticRegression
        from pyspark.ml.feature import OneHotEncoder, StringIndexer, VectorAssembler

        model = LogisticRegression(labelCol="y", standardization=False, regParam=1 / table.count, maxIter=200)
        stages = [
            StringIndexer(inputCol="word", outputCol="place", stringOrderType="alphabetAsc"),
            OneHotEncoder(inputCol="place", outputCol="hot", dropLast=False),
            VectorAssembler(inputCols=["x0", "x1", "x2", "hot"], outputCol="features"),
            model,
        ]
        return _lines(Pipeline(stages=stages).fit(table.frame()).stages[-1])

    def judge(table: Table, model: Any) -> float:
        made = words(rows, count)
        numbers, word = made.X[:, :3], made.X[:, 3:]
        loss = log_loss(1.0, 0.0)
        orders = (made.X, sp.hstack([word, numbers], format="csr"))
        return float(min(loss(Rows(X, made.y), model) for X in orders))

    name = f"pipeline, {rows:,} rows, {count:,} words one-hot"
    return beside_mllib(name, partial(mixed_table, rows, count), ours, theirs, judge)


def _linear_svc(rows: int, width: int) -> Cell:
    """MLlib has the hinge, outgrow its square: the judge is the share of rows that a model takes wrongly."""

    def theirs(table: Table) -> Any:
        from pyspark.ml.classification import LinearSVC

        peer = LinearSVC(labelCol="y", standardization=False, regParam=1 / table.count, maxIter=100)
        model = peer.fit(features(table, "y"))
        return SimpleNamespace(coef_=model.coefficients.toArray()[None], intercept_=model.intercept)

    def judge(table: Table, model: Any) -> float:
        X, y = table.matrix(), table.label()
        return float(np.mean(((X @ model.coef_[0] + model.intercept_) > 0) != (y == 1)))

    def ours(data: Any) -> Any:
        return og.LinearSVC().fit(data, "y")

    make, name = partial(dense_table, rows, width, 2), f"linear SVC, {_shown(rows, width, 2)}"
    return beside_mllib(name, make, ours, theirs, judge, slack=0.01)


def _mixture(rows: int, width: int, components: int) -> Cell:
    """The same number of steps, each from its own start."""

    def ours(data: Any) -> Any:
        model = og.GaussianMixture(components, max_iter=ITERATIONS, tol=0, random_state=0).fit(data)
        return model.weights_, model.means_, model.covariances_

    def theirs(table: Table) -> Any:
        from pyspark.ml.clustering import GaussianMixture

        model = GaussianMixture(k=components, maxIter=ITERATIONS, tol=0.0, seed=0).fit(features(table))
        parts = model.gaussiansDF.toPandas()
        means = np.array([each.toArray() for each in parts["mean"]])
        return np.array(model.weights), means, np.array([each.toArray() for each in parts["cov"]])

    def judge(table: Table, found: Any) -> float:
        return -float(logsumexp(_log_densities(table.matrix(), *found), axis=1).mean())

    make = partial(grouped_table, rows, width, components)
    name = f"Gaussian mixture, {_shown(rows, width)}, {components} components"
    return beside_mllib(name, make, ours, theirs, judge, slack=0.02)


def _log_densities(
    X: np.ndarray, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray
) -> np.ndarray:
    densities = np.empty((len(X), len(weights)))
    for part, (weight, mean, covariance) in enumerate(zip(weights, means, covariances, strict=True)):
        factor = np.linalg.cholesky(covariance)
        distance = (np.linalg.solve(factor, (X - mean).T) ** 2).sum(axis=0)
        volume = 2 * np.log(np.diag(factor)).sum() + X.shape[1] * np.log(2 * np.pi)
        densities[:, part] = np.log(weight) - 0.5 * (distance + volume)
    return densities


def _frames() -> Iterator[Cell]:
    """Of DataFrames that ordinary tasks write for the ranks."""
    for rows, width in ((100_000, 100), (2_000_000, 10)):
        make = partial(dense_table, rows, width, 2)
        yield _logistic(_shown(rows, width, 2), make, Table.rows, frame=True)
    make = partial(dense_table, 2_000_000, 10, 0)
    yield _least_squares(
        f"linear, {_shown(2_000_000, 10)}", make, Table.rows, og.LinearRegression(), frame=True
    )
    yield _kmeans(200_000, 20, 8, frame=True)
    yield _standard_scaler(2_000_000, 30, frame=True)


def _cells() -> Iterator[Cell]:
    yield from _dense()
    yield from _sparse()
    for width, rows in ((20, 200_000), (1_000, 20_000)):
        for clusters in (8, 100):
            yield _kmeans(rows, width, clusters)
    yield _pca(2_000_000, 30, 5)
    yield _pca(100_000, 1_000, 20)
    yield _standard_scaler(2_000_000, 30)
    yield _standard_scaler(100_000, 1_000)
    yield _min_max_scaler(2_000_000, 30)
    for rows, width, classes in ((100_000, 20, 2), (100_000, 20, 0), (20_000, 200, 2)):
        yield _forest(rows, width, classes)
    yield from _encoders(2_000_000, 1_000_000)
    yield from _encoders(1_000_000, 100)
    yield _pipeline(200_000, 5_000)
    yield _linear_svc(100_000, 10)
    yield _mixture(100_000, 10, 8)
    yield from _frames()


CELLS = tuple(_cells())
