"""Formulas beside formulaic's, and what R and Spark make of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.errors import ColumnNotFoundError, DataError, OutgrowError, ParameterError, SchemaError
from outgrow.testing import pieces_case

RNG = np.random.default_rng(0)
ROWS = 60
TABLE = pa.table(
    {
        "a": RNG.uniform(1, 3, ROWS),
        "b": RNG.normal(size=ROWS),
        "c": RNG.choice(["x", "y", "z"], ROWS),
        "d": RNG.choice(["u", "v"], ROWS),
        "n": RNG.integers(1, 4, ROWS),
        "my col": RNG.normal(size=ROWS),
        "y": RNG.normal(size=ROWS),
    }
)
FRAME = TABLE.to_pandas()


def made(formula: str, table: pa.Table = TABLE, **settings: Any) -> pd.DataFrame:
    features = table.drop(["y"])
    found: pa.Table = og.Formula(formula, **settings).fit(table, "y").transform(features)
    return found.to_pandas()


def answers(pipe: Any) -> np.ndarray:
    found: np.ndarray = pipe.predict(TABLE)["prediction"].to_numpy()
    return found


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ a + b",
        "a + c",
        "y ~ c * a",
        "y ~ c + c:a",
        "y ~ c:a",
        "y ~ c * d",
        "y ~ c * d * a",
        "y ~ (a + c + d)^2 - c:d",
        "y ~ 0 + c + d",
        "y ~ c + d + a - 1",
        "y ~ C(n) + a",
        "y ~ C(n):a + a",
        'y ~ C(c, Treatment("y")) + a',
        "y ~ C(c, contr.treatment('z'))",
        "y ~ log(a) + np.sqrt(a) + I(a ** 2) + I(b)",
        "y ~ `my col` + c",
        "y ~ a/c",
        "y ~ c %in% d",
        "y ~ . - n",
    ],
)
def test_columns_are_those_of_formulaic(formula: str) -> None:
    import formulaic

    right = formula.rpartition("~")[2].strip()
    if right.startswith("."):
        right = f"a + b + c + d + n + `my col` {right[1:]}"
    theirs = formulaic.model_matrix(right, FRAME, output="pandas")
    theirs = theirs.drop(columns="Intercept", errors="ignore")
    theirs.columns = [
        re.sub(r"(?:C\()?(\w+)[^\[:]*\[(?:T\.)?([^\]]+)\]", r"\1_\2", name) for name in theirs.columns
    ]
    ours = made(formula)
    assert sorted(ours.columns) == sorted(theirs.columns)
    for name in ours.columns:
        np.testing.assert_allclose(ours[name], theirs[name].astype(float), err_msg=name)


def test_products_without_their_parts_are_coded_as_in_r() -> None:
    assert made("y ~ c:d").columns.tolist() == [f"c_{c}:d_{d}" for d in "uv" for c in "xyz"]
    assert made("y ~ 0 + a + c").columns.tolist() == ["a", "c_x", "c_y", "c_z"]
    assert made("y ~ 0 + c + d").columns.tolist() == ["c_x", "c_y", "c_z", "d_v"]


def test_spark_leaves_out_the_least_frequent_level() -> None:
    words = ["rare", *["often"] * 3, *["some"] * 2, *["also"] * 2]
    table = pa.table({"c": words, "y": range(8)})
    assert made("y ~ c", table, reference="least_frequent").columns.tolist() == [
        "c_often",
        "c_also",
        "c_some",
    ]
    assert made("y ~ c", table).columns.tolist() == ["c_often", "c_rare", "c_some"]


@pytest.mark.parametrize("formula", ["y ~ c * d * a + C(n):b - 1", "y ~ a:b + c"])
def test_sparse_columns_are_the_dense_ones(formula: str) -> None:
    dense = og.Formula(formula).fit(TABLE, "y")
    sparse = og.Formula(formula, sparse_output=True).fit(TABLE, "y")
    np.testing.assert_allclose(
        sparse.transform(TABLE.drop(["y"])).to_pandas(), dense.transform(TABLE.drop(["y"])).to_pandas()
    )
    pipe = og.Pipeline([sparse, og.Ridge()]).fit(TABLE, "y")
    other = og.Pipeline([dense, og.Ridge()]).fit(TABLE, "y")
    np.testing.assert_allclose(answers(pipe), answers(other))


def test_models_behind_a_formula(tmp_path: Path) -> None:
    import formulaic

    right = "a * c + C(n) + I(b ** 2)"
    pipe = og.Pipeline([og.Formula(f"y ~ {right}"), og.LinearRegression()]).fit(TABLE, "y")
    matrix = formulaic.model_matrix(right, FRAME, output="numpy")
    expected = matrix @ np.linalg.lstsq(matrix, FRAME["y"], rcond=None)[0]
    np.testing.assert_allclose(answers(pipe), expected, atol=1e-8)
    pipe.save(tmp_path / "model")
    np.testing.assert_array_equal(answers(og.load(tmp_path / "model")), answers(pipe))


def test_parts_with_different_levels_learn_the_same() -> None:
    ordered = TABLE.sort_by("c")
    case = pieces_case(7)
    whole, parts = og.Formula("y ~ c * d + a"), og.Formula("y ~ c * d + a")
    whole.fit(TABLE, "y")
    parts.fit(case.open(ordered), "y")
    assert parts.output_names_ == whole.output_names_
    one = TABLE.slice(0, 1).drop(["y"])
    assert parts.transform(one).to_pydict() == whole.transform(one).to_pydict()


def test_levels_that_were_not_seen() -> None:
    new = pa.table({"a": [1.0], "c": ["w"]})
    table = TABLE.select(["a", "c", "y"])
    with pytest.raises(DataError, match="unknown categories"):
        og.Formula("y ~ a * c").fit(table, "y").transform(new)
    ignoring = og.Formula("y ~ a * c", handle_unknown="ignore").fit(table, "y").transform(new)
    assert ignoring.to_pylist() == [{"a": 1.0, "c_y": 0.0, "c_z": 0.0, "a:c_y": 0.0, "a:c_z": 0.0}]


def test_vectors_missing_values_and_other_columns() -> None:
    vectors = pa.FixedSizeListArray.from_arrays(np.arange(6.0), 2)
    table = pa.table({"v": vectors, "c": ["x", "y", "x"], "m": [1.0, None, 3.0], "w": [1.0, 2.0, 3.0]})
    found = og.Formula("v:c + m", columns=["v", "c", "m"]).fit(table).transform(table)
    assert found.column_names == ["m", "v_0:c_x", "v_1:c_x", "v_0:c_y", "v_1:c_y", "w"]
    assert found["v_1:c_x"].to_pylist() == [1.0, 0.0, 5.0]
    assert np.isnan(found["m"][1].as_py())
    response = og.Formula("w ~ .", columns=["c", "m", "w"]).fit(table).transform(table)
    assert response.column_names == ["v_0", "v_1", "c_y", "m", "w"]


@pytest.mark.parametrize(
    ("formula", "error", "said"),
    [
        ("y ~ (a", ParameterError, "is not understood"),
        ("y ~ a + import os", ParameterError, "is not understood"),
        ("y ~ __import__('os').system('true')", ParameterError, "is not understood"),
        ("y ~ I(__import__('os'))", ParameterError, "which is not known"),
        ("y ~ poly(a, 2)", ParameterError, "which is not known"),
        ("y ~ 2:a", ParameterError, "which is not known"),
        ("y ~ I(a + b)", ParameterError, "which is not known"),
        ("y ~ 1", ParameterError, "no columns on the right"),
        ("y ~ q", ColumnNotFoundError, "no column 'q'"),
        ("y ~ log(q)", ColumnNotFoundError, "no column 'q'"),
        ("b ~ a", ParameterError, "explains 'b', and y is 'y'"),
        ("log(y) ~ a", ParameterError, "the name of one column"),
        ("y + b ~ a", ParameterError, "the name of one column"),
        ("y ~ a | b", ParameterError, "several parts"),
        ("y ~ log(c)", SchemaError, "works on numbers"),
        ('y ~ C(c, Treatment("q"))', ParameterError, "none of the levels"),
    ],
)
def test_what_is_not_understood_is_refused(formula: str, error: type[OutgrowError], said: str) -> None:
    with pytest.raises(error, match=re.escape(said)):
        og.Formula(formula).fit(TABLE, "y")


def test_responses_must_be_apart() -> None:
    with pytest.raises(ParameterError, match="both sides"):
        og.Formula("a ~ a + b").fit(TABLE.drop(["y"]))
