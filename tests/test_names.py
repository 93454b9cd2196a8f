"""Names of columns: none is lost to one that is made, and any name passes every door."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.data.names import distinct, numbered
from outgrow.errors import SchemaError

TABLE = pa.table({"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.0, 3.0, 4.0]})
CLASSES = pa.table({"x": [1.0, 2.0, 3.0, 4.0], "y": ["a", "b", "a", "b"]})
INSIDE = ["__target__", "__weight__", "__place__", "__outgrow_row", "__outgrow_place", "__outgrow_matrix"]
"""What columns are called that outgrow puts beside those of a user for a while."""


def test_distinct_names_leave_free_ones_alone() -> None:
    assert distinct(["a", "b"], ["c"]) == ["a", "b"]
    assert distinct(["a", "a", "a_2"]) == ["a", "a_3", "a_2"]
    assert numbered("onehot", {"onehot", "onehot2"}) == "onehot3"


@pytest.mark.parametrize("name", ["prediction", "probability_a", "probability_b"])
def test_predictions_replace_no_column(name: str, tmp_path: Path) -> None:
    rows = pa.table({"x": [1.0, 4.0], name: [7.0, 8.0]})
    model = og.LogisticRegression().fit(CLASSES, "y")
    with pytest.raises(SchemaError, match=name):
        og.score(model, rows, tmp_path / "out", probabilities=True)
    with pytest.raises(SchemaError, match=name):
        og.score(model, rows, tmp_path / "out", probabilities=True, keep=[name])
    with pytest.raises(SchemaError, match=name):
        (model.predict if name == "prediction" else model.predict_proba)(og.dataset(rows))
    assert not (tmp_path / "out").exists()
    og.score(model, rows, tmp_path / "out", probabilities=True, keep=["x"])
    assert og.read(tmp_path / "out").columns == ["x", "prediction", "probability_a", "probability_b"]


def test_reasons_replace_no_column(tmp_path: Path) -> None:
    rows = pa.table({"x": [1.0, np.inf], "reason": ["why", "so"]})
    model = og.LinearRegression().fit(TABLE, "y")
    with pytest.raises(SchemaError, match="reason"):
        og.score(model, rows, tmp_path / "out", errors=tmp_path / "refused")
    assert list(tmp_path.iterdir()) == []
    og.score(model, rows.slice(0, 1), tmp_path / "out")
    assert og.read(tmp_path / "out").columns == ["x", "reason", "prediction"]


def test_vectors_spelt_out_replace_no_column() -> None:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0, 3.0, 4.0]), 2)
    rows = pa.table({"v": vectors, "v_1": [9.0, 9.0], "y": [1.0, 2.0]})
    with pytest.raises(SchemaError, match=r"vectors 'v'.*'v_1'"):
        og.dataset(rows).to_arrow()
    assert og.dataset(rows).select("v", "y").to_arrow().column_names == ["v_0", "v_1", "y"]


@pytest.mark.parametrize("name", ["rows", "status", "error", "seconds", "rmse", "r2", "fold"])
def test_keys_of_groups_have_names_of_their_own(name: str) -> None:
    rows = TABLE.append_column(name, pa.array(["a", "a", "b", "b"]))
    with pytest.raises(SchemaError, match=f"columns.*{name}.*Rename"):
        og.PerGroup(og.LinearRegression(), by=[name]).fit(rows, "y")


@pytest.mark.parametrize("name", INSIDE)
def test_columns_that_are_called_as_inner_ones(name: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2))
    y = X @ [2.0, 3.0]
    frame = pd.DataFrame({name: X[:, 0], "x": X[:, 1]})
    weight = np.ones(len(y))
    model = og.LinearRegression().fit(frame, y, sample_weight=weight)
    np.testing.assert_allclose(model.coef_, [2.0, 3.0])
    assert list(model.columns_) == [name, "x"]
    assert model.score(frame, y, sample_weight=weight) == pytest.approx(1.0)
    assert og.cross_validate(model, frame, y, weight, cv=3).mean()["r2"] == pytest.approx(1.0)
    table = pa.table({name: X[:, 0], "x": X[:, 1], "y": y})
    named = og.LinearRegression().fit(table.rename_columns(["x1", "x2", name]), name)
    assert list(named.columns_) == ["x1", "x2"]
    assert og.dataset(table).where(og.col("x") > 0).columns == table.column_names


def test_a_condition_beside_vectors_keeps_a_column_called_as_its_own() -> None:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0, 3.0, 4.0]), 2)
    rows: dict[str, Any] = {"v": vectors, "__outgrow_row": [5, 6]}
    found = og.dataset(pa.table(rows)).where(og.col("__outgrow_row") > 5).to_arrow()
    assert found["__outgrow_row"].to_pylist() == [6]
