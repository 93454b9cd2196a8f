"""Data of every shape that Spark hands over: partitions, widths, types, vectors; the same model each time."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.base import clone

import outgrow as og
from outgrow.errors import DataError, EngineError, SchemaError
from outgrow.testing import EngineCase, run_together


def rows(n: int = 600, width: int = 5) -> pa.Table:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(n, width))
    y = (X.sum(axis=1) + rng.logistic(size=n) > 0).astype(int)
    return pa.table({**{f"x{j}": X[:, j] for j in range(width)}, "y": y})


ESTIMATORS = {
    "logistic": lambda: og.Pipeline([og.StandardScaler(), og.LogisticRegression()]),
    "ridge": lambda: og.Ridge(),
    "elastic net": lambda: og.ElasticNet(alpha=0.01),
    "kmeans": lambda: og.KMeans(n_clusters=3, random_state=0, max_iter=15),
    "pca": lambda: og.PCA(n_components=2),
    "boosting": lambda: og.GradientBoostingClassifier(n_estimators=5, max_depth=3),
}


def learned(estimator: Any, data: Any) -> np.ndarray:
    fitted = estimator.fit(data, "y")
    last = fitted[-1] if isinstance(fitted, og.Pipeline) else fitted
    for name in ("coef_", "cluster_centers_", "components_"):
        if hasattr(last, name):
            return np.asarray(getattr(last, name))
    return np.asarray(fitted.predict_proba(rows().drop(["y"])))


def same_model(estimator: Any, engine: EngineCase) -> None:
    found = learned(estimator, engine.open(rows()))
    np.testing.assert_allclose(found, learned(clone(estimator), rows()), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("partitions", [1, 2, 3, 7])
def test_the_same_model_for_any_partitions(spark: Any, partitions: int) -> None:
    def opened(table: pa.Table) -> og.Dataset:
        return og.dataset(spark.createDataFrame(table).repartition(partitions))

    checks = [(make(), same_model) for make in ESTIMATORS.values()]
    found = run_together(checks, EngineCase(f"{partitions} partitions", opened))
    assert {name: error for name, error in zip(ESTIMATORS, found, strict=True) if error} == {}


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("groups", [1, 2, 3, 7])
def test_the_same_model_for_any_row_groups(spark: Any, tmp_path: Path, ranks: int, groups: int) -> None:
    table = rows()
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=-(-table.num_rows // groups))
    data = og.read(str(tmp_path / "rows.parquet"), engine=og.Spark(spark, ranks=ranks))
    expected = learned(ESTIMATORS["logistic"](), table)
    np.testing.assert_allclose(learned(ESTIMATORS["logistic"](), data), expected, rtol=1e-9)


def test_many_more_partitions_than_slots(spark: Any) -> None:
    table = rows()
    frame = spark.createDataFrame(table).repartition(97)
    np.testing.assert_allclose(learned(og.Ridge(), frame), learned(og.Ridge(), table), rtol=1e-9)


def test_one_giant_partition_among_empty_ones(spark: Any) -> None:
    table = rows()
    frame = spark.createDataFrame(table).coalesce(1)
    frame = frame.union(frame.limit(0).repartition(5)).where("y >= 0")
    np.testing.assert_allclose(learned(og.Ridge(), frame), learned(og.Ridge(), table), rtol=1e-9)


def test_zero_rows(spark: Any) -> None:
    frame = spark.createDataFrame(rows()).where("x0 > 1e9")
    with pytest.raises(DataError, match="no rows to learn from"):
        og.Ridge().fit(frame, "y")


def test_a_thousand_columns(spark: Any, tmp_path: Path) -> None:
    table = rows(300, 1000)
    expected = og.Ridge(alpha=10.0).fit(table, "y").coef_
    frame = spark.createDataFrame(table)
    np.testing.assert_allclose(og.Ridge(alpha=10.0).fit(frame, "y").coef_, expected, rtol=1e-6, atol=1e-9)
    pq.write_table(table, tmp_path / "wide.parquet")
    data = og.read(str(tmp_path / "wide.parquet"), engine=og.Spark(spark))
    np.testing.assert_allclose(og.Ridge(alpha=10.0).fit(data, "y").coef_, expected, rtol=1e-6, atol=1e-9)


def test_decimals_dates_and_nulls(spark: Any) -> None:
    table = pa.table(
        {
            "price": pa.array(
                [decimal.Decimal("1.50"), None, decimal.Decimal("3.25"), decimal.Decimal("9.75")] * 50
            ),
            "amount": pa.array([1, 2, None, 4] * 50),
            "day": pa.array([datetime.date(2024, 1, 1 + j % 28) for j in range(200)]),
            "kind": pa.array(["a", None, "b", "a"] * 50),
            "y": pa.array([0.5, 1.5, 2.5, 3.5] * 50),
        }
    )
    pipeline = og.Pipeline(
        [og.SimpleImputer(columns=["price", "amount"]), og.OneHotEncoder(columns=["kind"]), og.Ridge()]
    )
    here = pipeline.fit(og.dataset(table).drop("day"), "y")[-1].coef_.copy()
    frame = spark.createDataFrame(table)
    there = pipeline.fit(frame.drop("day"), "y")[-1].coef_
    np.testing.assert_allclose(there, here, rtol=1e-9)
    assert og.dataset(frame).profile().columns["day"].count == 200
    with pytest.raises(SchemaError, match=r"day"):
        og.Ridge().fit(frame.select("day", "y"), "y")


def test_nested_columns_are_refused_by_name(spark: Any) -> None:
    frame = spark.range(3).selectExpr("id", "array(array(id)) AS list", "named_struct('a', id) AS pair")
    with pytest.raises(SchemaError, match=r"Nested columns .*list .*pair"):
        og.Ridge().fit(frame, "id")


# ---- vectors of Spark ML ---------------------------------------------------------------------------------


def vector_frame(spark: Any, kind: str, n: int = 200, width: int = 6) -> tuple[Any, np.ndarray, np.ndarray]:
    from pyspark.ml.linalg import Vectors

    rng = np.random.default_rng(8)
    X = rng.normal(size=(n, width))
    if kind != "dense":
        X[rng.random((n, width)) < 0.8] = 0
    y = X @ np.arange(1, width + 1) + rng.normal(scale=0.1, size=n)

    def vector(place: int) -> Any:
        row = X[place]
        if kind == "dense" or (kind == "mixed" and place % 2):
            return Vectors.dense(row)
        return Vectors.sparse(width, np.flatnonzero(row).tolist(), row[row != 0].tolist())

    made = [(vector(place), float(y[place]), place) for place in range(n)]
    return spark.createDataFrame(made, _schema()), X, y


def _schema() -> Any:
    from pyspark.ml.linalg import VectorUDT
    from pyspark.sql.types import DoubleType, LongType, StructField, StructType

    return StructType(
        [StructField("features", VectorUDT()), StructField("y", DoubleType()), StructField("id", LongType())]
    )


@pytest.mark.parametrize("kind", ["dense", "sparse", "mixed"])
def test_vectors_are_features(spark: Any, kind: str) -> None:
    frame, X, y = vector_frame(spark, kind)
    expected = og.LinearRegression().fit(X, y)
    model = og.LinearRegression().fit(frame.select("features", "y"), "y")
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-8)
    scored = model.predict(frame.select("features", "id", "y"))
    assert type(scored.schema["features"].dataType).__name__ == "VectorUDT"  # as it came
    found = scored.select("id", "prediction").toPandas().sort_values("id")["prediction"].to_numpy()
    np.testing.assert_allclose(found, expected.predict(X), rtol=1e-8, atol=1e-9)
    train, test = og.dataset(frame.select("features", "y")).split(test=0.25, seed=1)
    assert train.count() + test.count() == 200
    assert 0.1 < test.count() / 200 < 0.4


def test_vectors_are_scaled_and_grow_trees(spark: Any) -> None:
    frame, X, y = vector_frame(spark, "dense")
    pipeline = og.Pipeline([og.StandardScaler(), og.Ridge(alpha=0.5)])
    here = pipeline.fit(X, y)[-1].coef_.copy()
    np.testing.assert_allclose(pipeline.fit(frame.drop("id"), "y")[-1].coef_, here, rtol=1e-8)
    sparse, X, y = vector_frame(spark, "sparse")
    trees = og.GradientBoostingRegressor(n_estimators=5).fit(sparse.drop("id"), "y")
    found = trees.predict(sparse.drop("id")).toPandas()["prediction"]
    assert np.corrcoef(found, y)[0, 1] > 0.5


def test_wide_sparse_vectors_train_and_predict(spark: Any) -> None:
    from pyspark.ml.linalg import Vectors

    width = 1 << 18
    rng = np.random.default_rng(0)
    made = []
    for place in range(80):
        label = place % 2
        words = sorted({int(w) for w in rng.integers(10, width, 20)} | {label})
        made.append((Vectors.sparse(width, words, [1.0] * len(words)), float(label), place))
    frame = spark.createDataFrame(made, _schema())
    model = og.LogisticRegression(C=1.0, max_iter=50).fit(frame.select("features", "y"), "y")
    scored = model.predict(frame.select("features", "y")).toPandas()
    assert (scored["prediction"] == scored["y"]).all()


def test_vectors_of_several_lengths_and_nulls_are_refused(spark: Any) -> None:
    from pyspark.ml.linalg import Vectors

    made = [(Vectors.dense([1.0, 2.0]), 1.0, 0), (Vectors.dense([1.0]), 2.0, 1)]
    with pytest.raises(SchemaError, match=r"'features' holds vectors of lengths \[1, 2\]"):
        og.Ridge().fit(spark.createDataFrame(made, _schema()), "y")
    missing = [(Vectors.dense([1.0, 2.0]), 1.0, 0), (None, 2.0, 1)]
    with pytest.raises((SchemaError, EngineError), match=r"'features' holds vectors and 1 nulls"):
        og.Ridge().fit(spark.createDataFrame(missing, _schema()), "y")


# ---- scoring ---------------------------------------------------------------------------------------------


def test_scores_keep_the_order_of_rows(spark: Any, tmp_path: Path) -> None:
    table = rows(5000).append_column("id", pa.array(np.arange(5000)))
    model = og.Ridge().fit(table.drop(["id"]), "y")
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=500)
    data = og.read(str(tmp_path / "rows.parquet"), engine=og.Spark(spark))
    scored = model.predict(data).to_arrow()
    assert scored.column("id").to_pylist() == list(range(5000))
    np.testing.assert_allclose(
        scored.column("prediction"), model.predict(table.drop(["id", "y"])).column("prediction"), rtol=1e-12
    )
    frame = spark.createDataFrame(table).repartitionByRange(3, "id").sortWithinPartitions("id")
    ids = model.predict(frame).select("id").toPandas()["id"].to_numpy()
    assert (ids == np.arange(5000)).all()
