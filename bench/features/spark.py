"""Transformers and statistics on Spark, beside MLlib on the same session and cores."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import outgrow as og
from bench.features.numbers import ROWS, WIDTH
from bench.features.words import documents
from bench.grids.cell import Cell
from bench.shapes.spark import beside_mllib, features
from bench.shapes.tables import Table, dense_table, stored_table, word_table

Learn = Callable[[Table], Any]


def _nothing(table: Table, found: Any) -> float:
    return 0.0


def _numbers(classes: int = 0) -> Table:
    return dense_table(ROWS, WIDTH, classes)


def _documents() -> Table:
    return stored_table("documents", lambda: pa.table({"text": documents()}))


def _words() -> Table:
    return word_table(ROWS, 1_000)


def _fit(name: str, make: Callable[[], Table], ours: Callable[[], Any], theirs: Learn, *y: str) -> Cell:
    def learn(rows: Any) -> Any:
        rows = rows if y else rows.drop("y") if "y" in rows.columns else rows
        return ours().fit(rows, *y)

    return beside_mllib(f"{name}, fit", make, learn, theirs, _nothing)


def _write(
    name: str, make: Callable[[], Table], ours: Callable[[], Any], theirs: Callable[[Table], Any]
) -> Cell:
    """A fit, and the rows it changes as Parquet; `theirs` gives a DataFrame."""

    def ours_written(rows: Any) -> int:
        with tempfile.TemporaryDirectory() as folder:
            step = ours().fit(rows)
            return og.write_parquet(step.transform(rows), Path(folder) / "made")

    def theirs_written(table: Table) -> int:
        with tempfile.TemporaryDirectory() as folder:
            theirs(table).write.parquet(str(Path(folder) / "made"))
        return table.count

    return beside_mllib(f"{name}, fit and transform to Parquet", make, ours_written, theirs_written, _nothing)


def _ml(kind: str, **parameters: Any) -> Any:
    from pyspark.ml import feature

    return getattr(feature, kind)(**parameters)


def _of_vectors(kind: str, **parameters: Any) -> Learn:
    given = {"inputCol": "features", "outputCol": "made", **parameters}
    return lambda table: _ml(kind, **given).fit(features(table, cache=False))


def _scalers() -> Iterator[Cell]:
    yield _fit("StandardScaler", _numbers, og.StandardScaler, _of_vectors("StandardScaler", withMean=True))
    yield _fit("MinMaxScaler", _numbers, og.MinMaxScaler, _of_vectors("MinMaxScaler"))
    yield _fit("MaxAbsScaler", _numbers, og.MaxAbsScaler, _of_vectors("MaxAbsScaler"))
    yield _fit("RobustScaler", _numbers, og.RobustScaler, _of_vectors("RobustScaler"))
    yield _fit("VarianceThreshold", _numbers, og.VarianceThreshold, _varying)
    yield _fit(
        "SelectKBest, f_classif",
        partial(_numbers, 2),
        lambda: og.SelectKBest("f_classif", k=5),
        _select,
        "y",
    )


def _varying(table: Table) -> Any:
    chooser = _ml("VarianceThresholdSelector", featuresCol="features", outputCol="made")
    return chooser.fit(features(table, cache=False))


def _select(table: Table) -> Any:
    chooser = _ml(
        "UnivariateFeatureSelector", featuresCol="features", labelCol="y", selectionMode="numTopFeatures"
    )
    chooser.setFeatureType("continuous").setLabelType("categorical").setSelectionThreshold(5)
    return chooser.fit(features(table, "y", cache=False))


def _bins() -> Iterator[Cell]:
    def discretise(table: Table) -> Any:
        names = list(table.names)
        outputs = [f"{name}_bin" for name in names]
        return _ml("QuantileDiscretizer", inputCols=names, outputCols=outputs, numBuckets=5).fit(
            table.frame()
        )

    def impute(table: Table) -> Any:
        outputs = [f"{name}_full" for name in table.names]
        peer = _ml("Imputer", inputCols=table.names, outputCols=outputs, strategy="median")
        return peer.fit(table.frame())

    yield _fit("KBinsDiscretizer", _numbers, lambda: og.KBinsDiscretizer(5, encode="ordinal"), discretise)
    yield _fit("SimpleImputer, median", _numbers, lambda: og.SimpleImputer(strategy="median"), impute)


def _maps() -> Iterator[Cell]:
    def mapped(kind: str, **parameters: Any) -> Callable[[Table], Any]:
        given = {"inputCol": "features", "outputCol": "made", **parameters}
        return lambda table: _ml(kind, **given).transform(features(table, cache=False)).select("made")

    yield _write("Normalizer", _numbers, og.Normalizer, mapped("Normalizer"))
    yield _write("DCT", _numbers, og.DCT, mapped("DCT", inverse=False))
    yield _write(
        "PolynomialFeatures",
        _numbers,
        lambda: og.PolynomialFeatures(include_bias=False),
        mapped("PolynomialExpansion", degree=2),
    )


def _texts() -> Iterator[Cell]:
    def cut(table: Table) -> Any:
        return _ml("Tokenizer", inputCol="text", outputCol="words").transform(table.frame())

    def counted(table: Table) -> Any:
        return _ml("CountVectorizer", inputCol="words", outputCol="counts", vocabSize=2**18).fit(cut(table))

    def weighed(table: Table) -> Any:
        hashed = _ml("HashingTF", inputCol="words", outputCol="counts", numFeatures=2**18).transform(
            cut(table)
        )
        return _ml("IDF", inputCol="counts", outputCol="made").fit(hashed)

    def indexed(table: Table) -> Any:
        return _ml("StringIndexer", inputCol=table.names[0], outputCol="made").fit(table.frame())

    yield _fit("OrdinalEncoder, 1,000 words", _words, og.OrdinalEncoder, indexed)
    yield _fit("CountVectorizer", _documents, lambda: og.CountVectorizer(), counted)
    yield _fit("TfidfVectorizer", _documents, lambda: og.TfidfVectorizer(), weighed)


def _statistics() -> Iterator[Cell]:
    def correlation(method: str, rows: int = 200_000, width: int = WIDTH) -> Cell:
        def theirs(table: Table) -> np.ndarray:
            from pyspark.ml.stat import Correlation

            found = Correlation.corr(features(table, cache=False), "features", method).head()[0]
            return np.asarray(found.toArray())

        def ours(rows: Any) -> np.ndarray:
            found = og.stats.corr(rows.drop("y"), method=method)
            return np.asarray(found.statistic)

        def judge(table: Table, found: np.ndarray) -> float:
            return float(np.abs(found).sum())

        make = partial(dense_table, rows, width, 0)
        columns = "" if width == WIDTH else f" x {width}"
        return beside_mllib(f"corr, {method}, {rows:,} rows{columns}", make, ours, theirs, judge, slack=1e-3)

    yield correlation("pearson")
    yield correlation("spearman")
    yield correlation("spearman", 500_000, 30)
    yield correlation("spearman", 2_000_000, 30)


def _cells() -> Iterator[Cell]:
    for part in (_scalers, _bins, _maps, _texts, _statistics):
        yield from part()


CELLS = tuple(_cells())
