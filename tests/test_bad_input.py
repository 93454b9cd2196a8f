"""Input that cannot be used, and what is said of it; on every engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp

import outgrow as og
from outgrow import errors
from outgrow.engine.spark.explain import explain
from outgrow.testing import EngineCase


def table(**columns: object) -> pa.Table:
    return pa.table({"a": [1.0, 2.0, 3.0, 4.0], "y": [0, 1, 0, 1], **columns})


def test_single_class(engine: EngineCase) -> None:
    rows = engine.open(table().set_column(1, "y", pa.array([1, 1, 1, 1])))
    with pytest.raises(errors.DataError, match="only one class: 1"):
        og.LogisticRegression().fit(rows, "y")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_value_that_is_no_number(value: float | None, engine: EngineCase) -> None:
    rows = engine.open(table().set_column(0, "a", pa.array([1.0, value, 3.0, 4.0], pa.float64())))
    with pytest.raises(errors.DataError, match=r"Input X contains (NaN|infinity)"):
        og.LogisticRegression().fit(rows, "y")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_target_that_is_no_number(value: float | None) -> None:
    rows = table().set_column(1, "y", pa.array([1.0, value, 3.0, 4.0], pa.float64()))
    with pytest.raises(errors.DataError, match=r"Input y contains (NaN|infinity)"):
        og.LinearRegression().fit(rows, "y")


def test_text_where_numbers_are_needed() -> None:
    with pytest.raises(errors.SchemaError, match=r"not numbers: w \(string\).*Encode them"):
        og.LinearRegression().fit(table(w=["p", "q", "r", "s"]), "y")


def test_column_without_any_value(engine: EngineCase) -> None:
    rows = engine.open(table(empty=pa.array([None] * 4, pa.float64())))
    with pytest.raises(errors.DataError, match="contains NaN"):
        og.LinearRegression().fit(rows, "y")
    pipe = og.Pipeline([og.SimpleImputer(keep_empty_features=True), og.LinearRegression()]).fit(rows, "y")
    assert pipe.predict(pd.DataFrame({"a": [1.0], "empty": [0.0]})).shape == (1,)


def test_unseen_category(engine: EngineCase) -> None:
    rows = engine.open(table(w=["p", "q", "p", "q"]))
    pipe = og.Pipeline([og.OneHotEncoder(columns=["w"]), og.LogisticRegression()]).fit(rows, "y")
    with pytest.raises(errors.DataError, match=r"'new'\] in column 'w'.*handle_unknown"):
        pipe.predict(pd.DataFrame({"a": [1.0], "w": ["new"]}))


def test_labels_that_are_fractions() -> None:
    with pytest.raises(errors.DataError, match="Unknown label type: continuous"):
        og.LogisticRegression().fit(np.eye(3), np.array([0.5, 1.5, 2.5]))


def test_labels_unseen_at_fit() -> None:
    model = og.LogisticRegression().fit(table(), "y")
    with pytest.raises(errors.DataError, match=r"not there at fit: \[7\]"):
        model.evaluate(table().set_column(1, "y", pa.array([0, 1, 0, 7])), "y")


@pytest.mark.parametrize("weight", [[-1.0, 1, 1, 1], [float("nan"), 1, 1, 1], [0.0, 0, 0, 0]])
def test_weights(weight: list[float]) -> None:
    with pytest.raises(errors.DataError, match=r"negative|NaN|zero"):
        og.LinearRegression().fit(table(), "y", sample_weight=weight)


def test_lengths_that_differ() -> None:
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        og.LinearRegression().fit(table().drop(["y"]), [1.0, 2.0])
    with pytest.raises(ValueError, match="inconsistent"):
        og.LinearRegression().fit(np.eye(3), np.ones(4))


def test_names_without_columns() -> None:
    with pytest.raises(errors.ParameterError, match="X is an array without column names"):
        og.LinearRegression().fit(np.eye(3), "y")
    with pytest.raises(errors.ParameterError, match="names of its columns, not arrays"):
        og.LinearRegression().fit(og.dataset(table()), np.ones(4))


def test_condition_on_no_column() -> None:
    with pytest.raises(errors.ColumnNotFoundError, match="does not fit the columns"):
        og.dataset(table()).where(og.col("typo") > 1)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (og.LogisticRegression(C=-1), "C must be a number greater than 0"),
        (og.LogisticRegression(l1_ratio=2), "l1_ratio must be a number of at least 0 and at most 1"),
        (og.LogisticRegression(class_weight="even"), "class_weight='even'"),
        (og.KMeans(n_clusters=0), "n_clusters must be a whole number of at least 1"),
        (og.KMeans(init="median"), "init must be 'k-means"),
        (og.KMeans(n_clusters=9), "n_samples=4 should be >= n_clusters=9"),
        (og.PCA(n_components=2.5), "whole number, or a share below 1"),
        (og.Pipeline([]), "Please add steps"),
        (og.Pipeline([og.Ridge(), og.Ridge()]), "step 'ridge', type .* hands no rows on"),
        (og.StandardScaler(columns=["nope"]), "No column 'nope'"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_parameters(estimator: object, message: str) -> None:
    with pytest.raises((errors.OutgrowError), match=message):
        estimator.fit(table(), "y")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    [
        "ModuleNotFoundError: No module named 'my.code'",
        "No module named my.code in its stdout. It ended",
    ],
)
def test_a_module_that_executors_lack_is_named(text: str) -> None:
    assert "The Python of the executors has no module 'my.code'" in explain(text)


@pytest.mark.parametrize(
    ("X", "kind", "said"),
    [
        (np.array([[1.0, np.nan], [2, 3]]), errors.DataError, r"NaN. Feature\(s\) number \[1\]. Impute"),
        (np.array([[1.0, 2], [np.inf, 3]]), errors.DataError, r"infinity .* number \[0\]. Replace it"),
        (sp.csr_array([[1.0, np.nan], [2, 3]]), errors.DataError, "NaN. .* Impute"),
        (np.empty((2, 0)), errors.DataError, r"0 feature\(s\)"),
        (np.empty((0, 2)), errors.DataError, r"0 sample\(s\)"),
        (np.ones((2, 2, 2)), errors.DataError, "dim 3"),
        (np.ones((3, 2)), errors.DataError, r"inconsistent numbers of samples: \[3, 2\]"),
        ([[1, 2], [3]], errors.DataError, r"rows of other lengths than others: \[1, 2\]. Give each row"),
        ([[{}], [{}]], errors.ValueTypeError, "not 'dict'"),
    ],
    ids=str,
)
def test_what_is_wrong_with_an_array_is_an_error_of_ours(X: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        og.LogisticRegression().fit(X, [0, 1])


def test_other_columns_than_those_of_the_fit_are_an_error_of_ours() -> None:
    X = pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 1.0]})
    with pytest.raises(errors.SchemaError, match=r"X has 3 features, but .* expecting 2"):
        og.LogisticRegression().fit(X.to_numpy(), [0, 1]).predict(np.ones((1, 3)))
    with pytest.raises(errors.SchemaError, match="same order"):
        og.LogisticRegression().fit(X, [0, 1]).predict(X[["b", "a"]])


@pytest.mark.parametrize("role", ["y", "sample_weight"])
def test_a_column_of_another_dataset_is_no_target(role: str) -> None:
    column = og.dataset(table()).select("y")
    given = {"y": "y", "sample_weight": None, role: column}
    with pytest.raises(errors.DataError, match=f"{role} is a outgrow Dataset, .* Give the name of a column"):
        og.LogisticRegression().fit(table(), **given)


@pytest.mark.spark
def test_what_spark_has_beside_dataframes_is_refused_by_name(spark: Any) -> None:
    frame = spark.createDataFrame(table().to_pandas())
    for role in ("y", "sample_weight"):
        for column in (frame.select("y"), frame.y):
            given = {"y": "y", "sample_weight": None, role: column}
            with pytest.raises(errors.DataError, match=f"{role} is a pyspark .* Give the name of a column"):
                og.LogisticRegression().fit(frame, **given)
    with pytest.raises(errors.DataError, match=r"X is a pyspark Column, .* Give a Spark DataFrame"):
        og.LogisticRegression().fit(frame.a, "y")
    with pytest.raises(errors.DataError, match=r"data is a pyspark GroupedData, .* Give a Spark DataFrame"):
        og.dataset(frame.groupBy("a"))


@pytest.mark.spark
def test_columns_that_spark_hands_to_no_python_are_named(spark: Any) -> None:
    frame = spark.createDataFrame(table().to_pandas())
    model = og.LogisticRegression().fit(frame, "y")
    with pytest.raises(errors.SchemaError, match=r"months \(interval month\). Drop them, or cast"):
        model.predict(frame.selectExpr("*", "interval '3' month AS months"))
