"""What somebody meets in the first hour with rows of their own, and what is said of mistakes."""

from __future__ import annotations

import sqlite3
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.base import BaseEstimator, RegressorMixin

import outgrow as og
from outgrow.data.frames import to_frame
from outgrow.errors import ColumnNotFoundError, DataError, InputNotFoundError, ParameterError
from outgrow.page.tabular import Tabular

SCALER = og.StandardScaler().fit(np.arange(6.0).reshape(3, 2))
LONG = 2**60 + 1
"""A number that float64 does not tell from its neighbours."""


class LongNumbers(Tabular):
    """A result with numbers that float64 would change."""

    def to_arrow(self) -> pa.Table:
        return pa.table({"key": [LONG, None]})


class SeesKeys(RegressorMixin, BaseEstimator):
    """An estimator of scikit-learn's kind that refuses other keys than there were."""

    def __init__(self, level: float = 1.0) -> None:
        self.level = level

    def fit(self, X: Any, y: Any) -> SeesKeys:
        self.largest_ = int(X["key"].max())
        if self.largest_ != LONG:
            raise ValueError(f"{self.largest_} is another number")
        return self

    def predict(self, X: Any) -> np.ndarray:
        return np.full(len(X), self.level)


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("rows.csv", r"give og\.read\(X\)"),
        (None, "Give an array, a table or a dataset"),
        ({"x0": [1.0], "x1": [2.0]}, r"Give pd\.DataFrame\(X\)"),
        (pa.array([1.0, 2.0]), r'give pa\.table\(\{"name": X\}\)'),
        (np.array([[1, "x"]], dtype=object), "X holds text"),
        (np.array([[1j, 2.0]]), r"Give the real and the imaginary part"),
    ],
)
def test_what_is_no_rows_is_not_taken_back(given: Any, advice: str) -> None:
    with pytest.raises(DataError, match=advice):
        SCALER.inverse_transform(given)


def test_masked_numbers_taken_back_are_missing() -> None:
    masked = np.ma.masked_array([[1.0, 2.0]], mask=[[False, True]])
    back = SCALER.inverse_transform(masked)
    assert back[0, 0] == SCALER.inverse_transform([[1.0, 2.0]])[0, 0]
    assert np.isnan(back[0, 1])


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2**31 - 1], pa.date32()),
        pa.array([1], pa.time64("ns")),
        pa.array([1], pa.timestamp("ns", "Nowhere/Land")),
        pa.DictionaryArray.from_arrays([0, 1], ["a", "a"]),
    ],
)
def test_what_pandas_cannot_hold_is_said_with_its_column(column: pa.Array) -> None:
    rows = pa.table({"day": pa.array([date(2026, 1, 1)] * len(column)), "odd": column})
    with pytest.raises(DataError, match=r"Column 'odd' of type .* cannot become one of pandas: .*to_arrow"):
        to_frame(rows)


def test_results_as_pandas_change_no_number() -> None:
    assert LongNumbers().to_pandas()["key"][0] == LONG
    rows = pa.table({"key": [LONG, None] * 20, "a": np.arange(40.0), "y": np.arange(40.0)})
    found = og.tune(SeesKeys(), rows, "y", space={"level": [1.0, 2.0]}, sampler="grid", trials=2, workers=1)
    assert found.trials["error"].null_count == 2
    assert found.best_estimator.largest_ == LONG


@pytest.mark.parametrize("kind", ["npy", "images", "csv"])
def test_a_record_says_the_format_of_its_files(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    for name in "ab":
        np.save(folder / f"{name}.npy", np.arange(3))
        Image.new("RGB", (2, 2)).save(folder / f"{name}.png")
    (tmp_path / "rows.txt").write_text("a,b\n1,2\n")
    rows = og.read(tmp_path / "rows.txt" if kind == "csv" else folder, format=kind)
    again = og.read(og.DatasetVersion.from_dict(rows.version().to_dict()))
    assert again.to_arrow().equals(rows.to_arrow())


@pytest.mark.parametrize("asked", ["table=towns", "query=SELECT%20height%20FROM%20towns"])
def test_a_record_of_a_database_holds_from_any_folder(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite3.connect(tmp_path / "my towns.db") as connection:
        connection.execute("CREATE TABLE towns (height INTEGER)")
        connection.execute("INSERT INTO towns VALUES (113)")
    monkeypatch.chdir(tmp_path)
    version = og.read(f"sqlite:///my towns.db?{asked}").version()
    monkeypatch.chdir("/")
    assert og.read(version).to_arrow().to_pydict() == {"height": [113]}
    with pytest.raises(InputNotFoundError, match=r"sqlite:////none\.db\?table=t cannot be read"):
        og.read("sqlite:///none.db?table=t")


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("rows.parquet", r"give og\.read\(data\)"),
        (Path("rows.parquet"), r"Give og\.read\(data\)"),
        ({"a": [1]}, r"pa\.table\(data\)"),
        ([{"a": 1}], r"pa\.Table\.from_pylist\(data\)"),
        (np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]), r"Give pd\.DataFrame\(data\)"),
        (np.arange(3), r'pa\.table\(\{"name": column\}\)'),
    ],
)
def test_what_is_no_rows_is_no_dataset(given: Any, advice: str) -> None:
    with pytest.raises(DataError, match=advice):
        og.dataset(given)


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("", "The path is empty"),
        (b"rows.csv", r"Give os\.fsdecode\(path\)"),
        ({"rows.csv"}, r"Give sorted\(paths\)"),
        (iter(["rows.csv"]), r"Give sorted\(paths\)"),
    ],
)
def test_what_names_no_files_is_not_read(
    path: Any, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputNotFoundError, match=advice):
        og.read(path)


def test_formats_of_folders_are_named_too(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n")
    with pytest.raises(ParameterError, match=r"format='excel' is not known.* images, ipc, json, npy"):
        og.read(tmp_path / "rows.csv", format="excel")


def test_the_nearest_column_is_named() -> None:
    rows = og.dataset(pa.table({f"c{number}": [1] for number in range(60)}))
    with pytest.raises(ColumnNotFoundError, match=r"'c49'\] and 10 others\. Did you mean 'c7'\?"):
        rows.select("C7")
    with pytest.raises(ColumnNotFoundError, match=r"among \['Late'\]\. Did you mean 'Late'\?"):
        og.LinearRegression().fit(pa.table({"Late": [1.0]}), "late")


def test_rows_of_other_lengths_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3\n")
    with pytest.raises(DataError, match=r"row 1: expected 2 columns, got 1\. The first row names 2: quote"):
        og.read(tmp_path / "rows.csv").to_arrow()


@pytest.mark.parametrize("workers", [0, -1])
def test_a_search_needs_workers(workers: int) -> None:
    with pytest.raises(ParameterError, match=f"workers={workers}: more than 0 are needed"):
        og.tune(lambda parameters: 1.0, space={"x": [1.0]}, trials=1, workers=workers)


def test_rows_and_columns_that_cannot_be_asked_for() -> None:
    rows = og.dataset(pa.table({"a": [1, 2], "b": [3, 4], "c": [5, 6]}))
    with pytest.raises(ParameterError, match=r"head\(-1\): give a number of rows of at least 0"):
        rows.head(-1)
    assert rows.head(0).num_rows == 0
    assert rows.drop(["a", "b"]).columns == ["c"]
    for choose in (rows.select, rows.drop):
        with pytest.raises(ParameterError, match=r"0 is none\. Give rows\.columns"):
            choose(0)
