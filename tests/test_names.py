"""Names of columns: none is lost to one that is made, and any name passes every door."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow import errors
from outgrow.data.names import distinct, numbered
from outgrow.errors import ExportError, SchemaError
from outgrow.serve.http.app import application
from outgrow.serve.http.deployment import Model
from outgrow.serve.http.state import Settings
from outgrow.serve.pipe import score_pipe

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


ODD = [
    "Sepal.Length",
    'size "in"',
    "a\\b",
    "Total\nSales",
    "a`b",
    "'",
    "",
    " ",
    "\x00",
    "é",
    "É",
    "ß",
    "SS",
    "x;y",
    "a,b",
    "a/b",
    "a=b",
    "[0]",
    "{x}",
    "%s",
    "$x",
    "<b>",
    "&amp;",
    "\u2028",
    "😀",
    "rows",
    "c0",
    "__index_level_0__",
    "class",
    "self",
    "NaN",
    "null",
    "1",
    "select",
    "y_",
    "X",
    "x",
]
NAMES = st.lists(
    st.one_of(st.sampled_from(ODD), st.text(st.characters(exclude_categories=["Cs"]), max_size=6)),
    min_size=2,
    max_size=4,
    unique=True,
).filter(lambda names: not {"y", "prediction"} & set(names))


def rows_called(names: list[str]) -> pa.Table:
    """Rows whose first column is of text, the others of numbers; and the classes `y`."""
    x = np.random.default_rng(0).normal(size=(12, len(names)))
    columns: dict[str, Any] = {name: x[:, j] for j, name in enumerate(names)}
    columns[names[0]] = ["u", "v", None] * 4
    return pa.table({**columns, "y": ["no", "yes"] * 6})


def pipeline(text: str) -> og.Pipeline:
    steps = [og.SimpleImputer(columns=og.numeric()), og.StandardScaler(columns=og.numeric())]
    encoder = og.OneHotEncoder(columns=[text], handle_unknown="ignore")
    return og.Pipeline([*steps, encoder, og.LogisticRegression()])


def served(model: Path, rows: pa.Table) -> Any:
    """What a server answers to rows, after its pages have been looked at."""
    app = application(Settings({"m": Model(str(model))}))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            page, described = await client.get("/docs"), (await client.get("/openapi.json")).json()
            assert page.status_code == 200
            assert list(described["components"]["schemas"]["Row_m"]["properties"]) == rows.column_names
            split = {"columns": rows.column_names, "data": [list(row.values()) for row in rows.to_pylist()]}
            other = await client.post("/invocations", json={"dataframe_split": split})
            answer = await client.post("/predict", json={"rows": rows.to_pylist()})
            assert answer.status_code == 200, answer.text
            assert other.json()["predictions"] == answer.json()["predictions"]
            wrong = await client.post("/predict", json={"rows": [{rows.column_names[0]: 3}]})
            assert wrong.status_code == 422
            return answer

    return asyncio.run(ask()).json()["predictions"]


@given(names=NAMES)
@example(names=ODD[:12])
@example(names=ODD[12:24])
@example(names=ODD[24:])
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_name_passes_every_door(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("names")
    table = rows_called(names)
    features = table.drop_columns("y")
    model = pipeline(names[0]).fit(table, "y")
    expected = model.predict(features.to_pandas()).tolist()
    assert list(model.columns_) == names
    assert model.predict(features)["prediction"].to_pylist() == expected

    model.save(folder / "model")
    assert og.load(folder / "model").predict(features)["prediction"].to_pylist() == expected
    for path, write in {"parquet": pq.write_table, "arrow": pyarrow.feather.write_feather}.items():
        write(table, folder / f"rows.{path}")
        read = og.read(folder / f"rows.{path}")
        assert read.columns == table.column_names
        assert read.split(test=0.5, by=names[0])[0].where(og.col(names[1]) > 9).count() == 0
    og.score(model, og.read(folder / "rows.parquet"), folder / "out", probabilities=True)
    scored = og.read(folder / "out")
    assert scored.columns == [*table.column_names, "prediction", "probability_no", "probability_yes"]
    assert scored.to_arrow()["prediction"].to_pylist() == expected

    assert served(folder / "model", features) == expected
    lines, answers = "\n".join(json.dumps(row) for row in features.to_pylist()).encode(), io.BytesIO()
    score_pipe(str(folder / "model"), io.BytesIO(lines), answers)
    assert [json.loads(line)["prediction"] for line in answers.getvalue().splitlines()] == expected

    if "" in names:
        with pytest.raises(ExportError, match="empty text as its name"):
            model.to_sklearn()
    else:
        assert model.to_sklearn().predict(features.to_pandas()).tolist() == expected
    assert repr(og.dataset(table).profile())
    report = og.cross_validate(model, table, "y", cv=2)
    assert sum(fold.rows for fold in report.folds) == 12


@given(names=NAMES)
@example(names=[".", "a/b", "_x"])
@example(names=["..x", "a=b", "%41"])
@example(names=["[0]", "a.b", "a%20b"])
@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_name_is_a_key(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Of groups; and of folders, or refused before anything is written."""
    folder, table = tmp_path_factory.mktemp("keys"), rows_called(names)
    table = table.set_column(0, names[0], pa.array(["v", "u", "v"] * 4)).drop_columns("y")
    table = table.append_column(numbered("more", names), pa.array(np.arange(12.0)))
    if names[0] not in ("rows", "status", "error", "seconds", "rmse", "r2", "fold", "train_rows", "start"):
        model = og.PerGroup(og.Ridge(), by=[names[0]]).fit(table, names[-1])
        assert model.groups_[names[0]].to_pylist() == ["u", "v"]
        assert model.evaluate_groups(table, names[-1])[names[0]].to_pylist() == ["u", "v"]
        if len(names) > 2:
            past = model.backtest(table, names[-1], time=names[1], folds=2)
            assert set(past.groups[names[0]].to_pylist()) == {"u", "v"}
            model.report(folder / "groups.html", backtest=past)
    for name in names:
        try:
            og.write_parquet(og.dataset(table), folder / "out", partition_by=name, overwrite=True)
        except errors.OutgrowError:
            assert not list(folder.glob("*out*"))
        else:
            assert set(og.read(folder / "out").columns) == set(table.column_names)
            shutil.rmtree(folder / "out")


@given(names=NAMES)
@example(names=ODD[:6])
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_name_is_an_input_of_onnx(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    table = rows_called(names)
    model = pipeline(names[0]).fit(table, "y")
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    if "" in names or any("\0" in name for name in names):
        with pytest.raises(ExportError, match="no input can be called"):
            model.to_onnx(path)
        return
    model.to_onnx(path)
    given = {name: np.array(table[name].to_pylist(), dtype=float)[:, None] for name in names[1:]}
    given[names[0]] = np.array([[word or ""] for word in table[names[0]].to_pylist()], dtype=object)
    found = onnxruntime.InferenceSession(path).run(["prediction"], given)[0]
    assert found.tolist() == model.predict(table.drop_columns("y"))["prediction"].to_pylist()
