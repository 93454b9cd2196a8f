"""Clusters, components, scales, forests, encoders and small files on all shapes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import sklearn.cluster
import sklearn.decomposition
import sklearn.ensemble
import sklearn.linear_model
import sklearn.preprocessing
from sklearn.metrics import log_loss, mean_squared_error

import outgrow as og
from bench.grids.cell import Cell
from bench.shapes.linear import dense

ITERATIONS = 20
SMALL_FILES, SMALL_ROWS = 3_000, 200


class Split(NamedTuple):
    """Rows to learn from, and rows that judge."""

    X: np.ndarray
    y: np.ndarray
    unseen: np.ndarray
    unseen_y: np.ndarray


@lru_cache(1)
def grouped(rows: int, width: int, clusters: int) -> np.ndarray:
    """Rows around so many centres, which overlap."""
    random = np.random.default_rng([rows, width, clusters])
    centres = 2.5 * random.standard_normal((clusters, width)) / width**0.25
    return centres[random.integers(0, clusters, rows)] + random.standard_normal((rows, width))


def bent(rows: int, width: int, classes: int) -> Split:
    """Rows whose answer is no straight line; a fifth judges."""
    random = np.random.default_rng([rows, width, classes])
    X = random.standard_normal((rows, width))
    score = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + np.abs(X[:, 3]) + 0.5 * random.standard_normal(rows)
    y = score if not classes else np.digitize(score, np.quantile(score, np.arange(1, classes) / classes))
    cut = rows // 5
    return Split(X[cut:], y[cut:], X[:cut], y[:cut])


def _kmeans(rows: int, width: int, clusters: int) -> Cell:
    """The same number of steps from the same centres."""

    def start(X: np.ndarray) -> np.ndarray:
        return X[np.random.default_rng(1).choice(len(X), clusters, replace=False)]

    shared = {"n_init": 1, "max_iter": ITERATIONS, "tol": 0}
    return Cell(
        f"k-means from given centres, {rows:,} x {width:,}, {clusters:,} clusters",
        lambda: grouped(rows, width, clusters),
        lambda X: og.KMeans(clusters, init=start(X), **shared).fit(X).inertia_,
        lambda X: sklearn.cluster.KMeans(clusters, init=start(X), **shared).fit(X).inertia_,
        lambda X, found: float(found),
        slack=1e-3,
    )


def _kmeans_by_default(rows: int, width: int, clusters: int) -> Cell:
    return Cell(
        f"k-means, {rows:,} x {width:,}, {clusters:,} clusters",
        lambda: grouped(rows, width, clusters),
        lambda X: og.KMeans(clusters, random_state=0).fit(X).inertia_,
        lambda X: sklearn.cluster.KMeans(clusters, random_state=0).fit(X).inertia_,
        lambda X, found: float(found),
        slack=0.02,
    )


def _pca(rows: int, width: int, components: int) -> Cell:
    def judge(rows: Any, model: Any) -> float:
        return -float(np.sum(model.explained_variance_))

    return Cell(
        f"PCA, {rows:,} x {width:,}, {components} components",
        lambda: dense(rows, width, 0).X,
        lambda X: og.PCA(components).fit(X),
        lambda X: sklearn.decomposition.PCA(components).fit(X),
        judge,
    )


def _scaler(rows: int, width: int) -> Iterator[Cell]:
    def judge(X: np.ndarray, model: Any) -> float:
        return float(np.abs(model.scale_ / X.std(axis=0) - 1).max() > 1e-9)

    def make() -> np.ndarray:
        return dense(rows, width, 0).X

    ours, theirs = og.StandardScaler, sklearn.preprocessing.StandardScaler
    shape = f"{rows:,} x {width:,}"
    yield Cell(f"scaler fit, {shape}", make, lambda X: ours().fit(X), lambda X: theirs().fit(X), judge)
    yield Cell(
        f"scaler fit and transform, {shape}",
        make,
        lambda X: ours().fit_transform(X)[:10],
        lambda X: theirs().fit_transform(X)[:10],
        lambda X, found: 0.0,
    )


def _forest(rows: int, width: int, classes: int, trees: int = 100) -> Cell:
    name = f"forest of {trees} trees, {rows:,} x {width:,}, " + (
        f"{classes} classes" if classes else "numbers"
    )
    if classes:
        return Cell(
            name,
            lambda: bent(rows * 5 // 4, width, classes),
            lambda part: og.RandomForestClassifier(trees, random_state=0).fit(part.X, part.y),
            lambda part: sklearn.ensemble.RandomForestClassifier(trees, random_state=0, n_jobs=2).fit(
                part.X, part.y
            ),
            lambda part, model: log_loss(part.unseen_y, np.clip(model.predict_proba(part.unseen), 1e-3, 1)),
            slack=0.02,
        )
    return Cell(
        name,
        lambda: bent(rows * 5 // 4, width, 0),
        lambda part: og.RandomForestRegressor(trees, random_state=0).fit(part.X, part.y),
        lambda part: sklearn.ensemble.RandomForestRegressor(trees, random_state=0, n_jobs=2).fit(
            part.X, part.y
        ),
        lambda part, model: mean_squared_error(part.unseen_y, model.predict(part.unseen)),
        slack=0.02,
    )


def _boosting(rows: int, width: int, classes: int) -> Cell:
    """Beside scikit-learn's histogram boosting with the same parameters."""
    shared = {"max_iter": 100, "early_stopping": False}
    return Cell(
        f"histogram boosting, {rows:,} x {width:,}, {classes} classes",
        lambda: bent(rows * 5 // 4, width, classes),
        lambda part: og.HistGradientBoostingClassifier(**shared).fit(part.X, part.y),
        lambda part: sklearn.ensemble.HistGradientBoostingClassifier(**shared).fit(part.X, part.y),
        lambda part, model: log_loss(part.unseen_y, model.predict_proba(part.unseen)),
        slack=0.02,
    )


def many_words(rows: int, words: int) -> pa.Table:
    """A column of text with so many different words, in no order."""
    random = np.random.default_rng([rows, words])
    place = random.integers(0, words, rows)
    place[:words] = random.permutation(words)
    return pa.table({"word": pa.array([f"word{j:08}" for j in range(words)]).take(pa.array(place))})


def _encoders(rows: int, words: int) -> Iterator[Cell]:
    def make() -> Any:
        table = many_words(rows, words)
        return table, table.to_pandas()

    for name, ours, theirs in (
        ("ordinal", og.OrdinalEncoder, sklearn.preprocessing.OrdinalEncoder),
        ("one-hot", og.OneHotEncoder, sklearn.preprocessing.OneHotEncoder),
    ):
        yield Cell(
            f"{name} encoder fit, {rows:,} rows, {words:,} words",
            make,
            lambda data, ours=ours: len(ours().fit(data[0]).categories_[0]),
            lambda data, theirs=theirs: len(theirs().fit(data[1]).categories_[0]),
            lambda data, found: -float(found),
        )
        yield Cell(
            f"{name} encoder fit and transform, {rows:,} rows, {words:,} words",
            make,
            lambda data, ours=ours: ours().set_output(transform="default").fit_transform(data[0]),
            lambda data, theirs=theirs: theirs().fit_transform(data[1]),
            lambda data, found: 0.0,
        )


@lru_cache(1)
def _many_files() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="bench-files-")
    random = np.random.default_rng(0)
    for number in range(SMALL_FILES):
        x = random.standard_normal((SMALL_ROWS, 10))
        columns = {f"x{j}": x[:, j] for j in range(10)}
        pq.write_table(pa.table({**columns, "y": x @ np.arange(10.0)}), f"{folder.name}/{number:05}.parquet")
    return folder


def _small_files() -> Cell:
    def ours(folder: Path) -> Any:
        return og.LinearRegression().fit(og.read(f"{folder}/*.parquet"), "y").coef_

    def theirs(folder: Path) -> Any:
        frame = ds.dataset(folder, format="parquet").to_table().to_pandas()
        return sklearn.linear_model.LinearRegression().fit(frame.drop(columns="y"), frame["y"]).coef_

    return Cell(
        f"linear, {SMALL_FILES:,} Parquet files of {SMALL_ROWS} rows",
        lambda: Path(_many_files().name),
        ours,
        theirs,
        lambda folder, coef: float(np.abs(coef - np.arange(10.0)).max() > 1e-8),
    )


def _cells() -> Iterator[Cell]:
    for width, rows in ((20, 200_000), (1_000, 20_000)):
        for clusters in (8, 100, 1_000):
            yield _kmeans(rows, width, clusters)
    yield _kmeans_by_default(100_000, 20, 8)
    yield _kmeans_by_default(100_000, 20, 100)
    yield _kmeans_by_default(1_000, 10, 8)
    for rows, width, components in (
        (100_000, 1_000, 20),
        (2_000_000, 30, 5),
        (1_000, 1_000, 20),
        (1_000, 10, 3),
    ):
        yield _pca(rows, width, components)
    for rows, width in ((100_000, 1_000), (2_000_000, 30), (1_000, 10)):
        yield from _scaler(rows, width)
    for rows, width, classes in (
        *((1_000, 10, 2), (20_000, 20, 2), (20_000, 20, 10), (100_000, 20, 2)),
        *((1_000, 10, 0), (20_000, 20, 0), (20_000, 200, 2)),
    ):
        yield _forest(rows, width, classes)
    for rows, width, classes in ((1_000, 10, 2), (100_000, 20, 2), (100_000, 20, 10)):
        yield _boosting(rows, width, classes)
    yield from _encoders(2_000_000, 1_000_000)
    yield from _encoders(1_000_000, 100)
    yield _small_files()


CELLS = tuple(_cells())
