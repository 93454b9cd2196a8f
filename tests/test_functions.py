"""Columns by functions and by SQL."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import scipy.sparse as sp
import scipy.special
from sklearn import preprocessing

import outgrow as og
from outgrow.errors import ArtifactError, DataError, ExportError, ParameterError
from outgrow.testing import EngineCase

X = np.abs(np.random.default_rng(0).normal(size=(30, 3))) + 0.1
ROWS = pa.table(
    {
        "a": [1, 2, None],
        "b": [0.5, float("nan"), 4.0],
        "s": ["x", None, "z"],
        "day": [datetime(2026, 1, 31, 23, 30), None, datetime(2024, 2, 29)],
        "v": pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2, 3, 4, 5, 6]), 2),
    }
)


@og.FunctionTransformer.register
def ratio(rows: np.ndarray, offset: float = 0.0) -> np.ndarray:
    return rows[:, [0]] / rows[:, 1:] + offset


@og.FunctionTransformer.register
def spelt(rows: pa.Table) -> dict[str, Any]:
    return {"length": pc.utf8_length(rows["s"]), "s": rows["s"], "v": rows["v_1"]}


def test_functions_of_arrays() -> None:
    logs = og.FunctionTransformer(np.log1p, np.expm1).fit(X)
    np.testing.assert_array_equal(logs.transform(X), np.log1p(X))
    np.testing.assert_allclose(logs.inverse_transform(np.log1p(X)), X)
    assert list(logs.get_feature_names_out()) == ["x0", "x1", "x2"]
    np.testing.assert_array_equal(og.FunctionTransformer().fit_transform(X), X)
    wide = og.FunctionTransformer(ratio, kw_args={"offset": 2.0}, feature_names_out=["p", "q"])
    np.testing.assert_array_equal(wide.fit_transform(X), ratio(X, 2.0))
    assert list(wide.get_feature_names_out()) == ["p", "q"]
    unnamed = og.FunctionTransformer(ratio).fit(X)
    assert list(unnamed.get_feature_names_out()) == ["functiontransformer0", "functiontransformer1"]
    named = og.FunctionTransformer(ratio, feature_names_out=lambda self, names: [f"{n}r" for n in names[1:]])
    assert list(named.fit(X).get_feature_names_out()) == ["x1r", "x2r"]
    sparse = og.FunctionTransformer(lambda rows: rows.power(2), accept_sparse=True)
    np.testing.assert_array_equal(sparse.fit_transform(sp.csr_array(X)).toarray(), X**2)


def test_functions_of_tables() -> None:
    columns = ["s", "v"]
    made = og.FunctionTransformer(spelt, takes="table", columns=columns).fit_transform(ROWS)
    assert made.select(["length", "s", "v"]).to_pydict() == {
        "length": [1, None, 1],
        "s": ["x", None, "z"],
        "v": [2.0, 4.0, 6.0],
    }
    assert made.column_names == ["a", "b", "length", "s", "v", "day"]
    pipe = og.Pipeline(
        [og.FunctionTransformer(spelt, takes="table", columns=columns), og.SimpleImputer(columns=["length"])]
    )
    assert pipe.fit(ROWS).transform(ROWS)["length"].to_pylist() == [1.0, 1.0, 1.0]


def test_which_functions_can_be_saved(tmp_path: Path) -> None:
    for number, function in enumerate([np.log1p, scipy.special.expit, ratio]):
        model = og.FunctionTransformer(function).fit(X)
        model.save(tmp_path / f"m{number}")
        np.testing.assert_array_equal(og.load(tmp_path / f"m{number}").transform(X), model.transform(X))
    with pytest.raises(ArtifactError, match=r"cannot be saved.* FunctionTransformer says which"):
        og.FunctionTransformer(lambda rows: rows).fit(X).save(tmp_path / "no")
    with pytest.raises(ParameterError, match="has no name by which it could be found"):
        og.FunctionTransformer.register(lambda rows: rows)


@pytest.mark.parametrize("name", ["os:system", "numpy:load", "scipy.special:seterr", "builtins:exec"])
def test_models_name_no_other_functions(tmp_path: Path, name: str) -> None:
    og.FunctionTransformer(np.log1p).fit(X).save(tmp_path / "m")
    text = (tmp_path / "m" / "model.json").read_text()
    changed = text.replace("numpy:log1p", name)
    assert changed != text
    (tmp_path / "m" / "model.json").write_text(changed)
    with pytest.raises(ArtifactError):
        og.load(tmp_path / "m")


def test_what_functions_may_not_do() -> None:
    with pytest.raises(DataError, match="made 1 rows of 30"):
        og.FunctionTransformer(lambda rows: rows[:1]).fit(X).transform(X)
    with pytest.raises(DataError, match=r"failed on 30 rows .*KeyError: 'gone'"):
        og.FunctionTransformer(lambda rows: rows if not len(rows) else {}["gone"]).fit(X).transform(X)
    with pytest.raises(DataError, match=r"array of shape \(0,\)"):
        og.FunctionTransformer(lambda rows: rows.sum(axis=1)).fit(X)
    with pytest.raises(ParameterError, match="gives 1 names, and the function makes 3 columns"):
        og.FunctionTransformer(np.exp, feature_names_out=["a"]).fit(X)
    with pytest.raises(TypeError, match="Sparse data was passed"):
        og.FunctionTransformer(np.exp).fit(sp.csr_array(X))


def test_functions_elsewhere(tmp_path: Path) -> None:
    model = og.FunctionTransformer(np.sqrt).fit(X)
    np.testing.assert_array_equal(model.to_sklearn().transform(X), np.sqrt(X))
    model.to_onnx(tmp_path / "m.onnx")
    wide = og.FunctionTransformer(ratio).fit(X)
    np.testing.assert_array_equal(wide.to_sklearn().transform(X), ratio(X))
    theirs = preprocessing.FunctionTransformer(ratio).fit_transform(X)
    np.testing.assert_array_equal(wide.transform(X), theirs)
    with pytest.raises(ExportError, match="ratio has no equal in ONNX"):
        wide.to_onnx(tmp_path / "r.onnx")
    with pytest.raises(ExportError, match="takes tables"):
        og.FunctionTransformer(lambda rows: rows, takes="table").fit(X).to_sklearn()


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("a * 2 + 1 AS c", {"c": [3, 5, None]}),
        ("a / 2 AS half, a // 2 AS whole;", {"half": [0.5, 1.0, None], "whole": [0, 1, None]}),
        ("coalesce(s, '?') AS t -- a remark", {"t": ["x", "?", "z"]}),
        ("SELECT last_day(day)::VARCHAR AS d FROM __THIS__", {"d": ["2026-01-31", None, "2024-02-29"]}),
        ("FROM __THIS__ SELECT v[1] * 10 AS first", {"first": [10.0, 30.0, 50.0]}),
        ("WITH q AS (SELECT a AS n FROM __THIS__) SELECT n * 2 AS n FROM q", {"n": [2, 4, None]}),
        ("SELECT list_sum([a, 1]) AS n, CASE WHEN isnan(b) THEN 1 ELSE 0 END AS hole FROM __THIS__", None),
        ("SELECT regexp_extract(s, '[a-y]') AS r FROM __THIS__", {"r": ["x", None, ""]}),
    ],
)
def test_statements(statement: str, expected: dict[str, Any] | None) -> None:
    model = og.SQLTransformer(statement).fit(ROWS)
    made = model.transform(ROWS)
    assert made.num_rows == 3
    for name, values in (expected or {}).items():
        assert made[name].to_pylist() == values
    parts = pa.concat_tables([model.transform(ROWS.slice(at, 1)) for at in range(3)])
    assert str(parts.to_pydict()) == str(made.to_pydict())  # where NaN equals NaN


@pytest.mark.parametrize(
    ("statement", "match"),
    [
        ("SELECT a FROM __THIS__ WHERE a > 1", "FILTER"),
        ("SELECT sum(a) FROM __THIS__", "AGGREGATE"),
        ("SELECT row_number() OVER () FROM __THIS__", "WINDOW"),
        ("SELECT a FROM __THIS__ ORDER BY a", "ORDER_BY"),
        ("SELECT a FROM __THIS__ LIMIT 1", "LIMIT"),
        ("SELECT DISTINCT a FROM __THIS__", "GROUP_BY"),
        ("SELECT unnest([a, 1]) FROM __THIS__", "UNNEST"),
        ("SELECT t.a FROM __THIS__ t JOIN __THIS__ u USING (a)", "JOIN"),
        ("SELECT (SELECT max(a) FROM __THIS__) AS m FROM __THIS__", "does not look at each row alone"),
        ("SELECT a FROM __THIS__ UNION ALL SELECT a FROM __THIS__", "UNION"),
        ("SELECT a FROM __THIS__ USING SAMPLE 1", "SAMPLE"),
        ("SELECT 1 AS one", "DUMMY_SCAN"),
        ("random() AS r", "something else each time"),
        ("now() AS r", "something else each time"),
        ("SELECT current_date AS r FROM __THIS__", "something else each time"),
        ("SELECT * FROM read_text('/etc/passwd')", "cannot be run"),
        ("SELECT * FROM '/etc/passwd'", "cannot be run"),
        ("nothing + 1 AS n", "cannot be run"),
        ("SELECT a FROM", "cannot be read"),
        ("DROP TABLE x", "cannot be read"),
        ("SELECT a FROM __THIS__; SELECT b FROM __THIS__", "cannot be read"),
    ],
)
def test_statements_that_are_refused(statement: str, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        og.SQLTransformer(statement).fit(ROWS)


def test_statements_and_values(tmp_path: Path) -> None:
    model = og.SQLTransformer("SELECT s::INTEGER AS n FROM __THIS__").fit(ROWS)
    with pytest.raises(DataError, match=r"(?s)Could not convert string 'x'.*try_cast"):
        model.transform(ROWS)
    with pytest.raises(ParameterError, match="differ in case"):
        og.SQLTransformer().fit(pa.table({"a": [1], "A": [2]}))
    with pytest.raises(ValueError, match="'a'"):
        og.SQLTransformer("SELECT a, a FROM __THIS__").fit(ROWS).transform(ROWS)
    with pytest.raises(TypeError, match="Sparse data was passed"):
        og.SQLTransformer().fit(sp.csr_array(X))
    some = og.SQLTransformer("SELECT s AS t FROM __THIS__", columns=["s"]).fit_transform(ROWS)
    assert some.column_names == ["a", "b", "t", "day", "v_0", "v_1"]


def test_statements_mean_the_same_however_columns_come(tmp_path: Path) -> None:
    """Whole numbers may come as fractions, dates as times: `//`, casts and differences depend on it."""
    day = pa.array([date(2020, 1, 3), None])
    rows = pa.table({"n": pa.array([7, None], pa.int32()), "day": day, "s": ["x", "y"], "b": [True, False]})
    made = "n // 2 AS h, n::VARCHAR AS t, day - DATE '2020-01-01' AS d, s || b::VARCHAR AS s"
    statement = f"SELECT {made} FROM __THIS__"
    model = og.SQLTransformer(statement).fit(rows)
    expected = model.transform(rows)
    assert expected.to_pydict() == {
        "h": [3, None],
        "t": ["7", None],
        "d": [2, None],
        "s": ["xtrue", "yfalse"],
    }
    model.save(tmp_path / "model")
    others: dict[str, list[pa.DataType]] = {
        "n": [pa.float64(), pa.int8(), pa.decimal128(12, 2), pa.uint64()],
        "day": [pa.timestamp("ns"), pa.timestamp("s"), pa.date64()],
        "s": [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())],
        "b": [pa.int64(), pa.float64()],
    }
    for name, types in others.items():
        for kind in types:
            column = rows[name].combine_chunks()
            changed = rows.set_column(rows.column_names.index(name), name, column.cast(kind))
            assert og.load(tmp_path / "model").transform(changed).equals(expected), (name, kind)
    prices = pa.table({"p": pa.array([Decimal("1.25"), Decimal(3)], pa.decimal128(5, 2))})
    texts = og.SQLTransformer("SELECT p::VARCHAR AS t FROM __THIS__").fit(prices)
    for values in (pa.array([1.25, 3.0]), pa.array([Decimal("1.25"), Decimal(3)]), prices["p"]):
        assert texts.transform(pa.table({"p": values}))["t"].to_pylist() == ["1.25", "3.00"]
    assert texts.transform(pa.table({"p": [3]}))["t"].to_pylist() == ["3.00"]
    with pytest.raises(DataError, match=r"'n' is int64; now it is double"):
        model.transform(rows.set_column(0, "n", pa.array([7.5, 1.0])))


def test_differences_of_times_are_durations() -> None:
    first, last = datetime(2026, 3, 1, 5, 0, 0, 3), datetime(2026, 1, 30)
    rows = pa.table({"a": [first, None, last], "b": [last, first, first]})
    made = og.SQLTransformer("a - b AS gone, epoch(a - b) AS seconds").fit_transform(rows.slice(0, 3))
    assert made.schema.field("gone").type == pa.duration("us")
    assert made["gone"].to_pylist() == [first - last, None, last - first]
    assert made["seconds"].to_pylist() == [
        (first - last).total_seconds(),
        None,
        (last - first).total_seconds(),
    ]
    assert og.sql("SELECT a - b AS gone FROM t", {"t": rows}).to_arrow()["gone"] == made["gone"]
    with pytest.raises(DataError, match="interval of months"):
        og.SQLTransformer("INTERVAL 1 MONTH AS m").fit_transform(rows)


def test_saved_statements_are_checked_again(tmp_path: Path) -> None:
    og.SQLTransformer("SELECT a FROM __THIS__").fit(ROWS).save(tmp_path / "m")
    assert og.load(tmp_path / "m").transform(ROWS)["a"].to_pylist() == [1, 2, None]
    text = (tmp_path / "m" / "model.json").read_text()
    wicked = text.replace("SELECT a FROM __THIS__", "SELECT a FROM __THIS__ WHERE sleep_ms(1) IS NULL")
    assert json.loads(wicked)
    (tmp_path / "m" / "model.json").write_text(wicked)
    with pytest.raises(ValueError, match=r"each row alone|checksum|damaged"):
        og.load(tmp_path / "m").transform(ROWS)


def test_functions_and_statements_on_every_engine(engine: EngineCase) -> None:
    """Lambdas cannot be saved, but they travel; DuckDB runs where the rows are."""
    rows = pa.table({"a": [1.0, 2.0, None, 4.0], "b": [1, 2, 3, 4], "s": ["x", "y", None, "x"]})
    steps = [
        og.FunctionTransformer(lambda X: X * 2, columns=["a"]),
        og.SQLTransformer("b // 2 AS h, s || '!' AS t"),
    ]
    model = og.Pipeline(steps).fit(engine.open(rows))
    made = model.transform(engine.open(rows)).to_arrow().sort_by("b")
    assert np.nan_to_num(made["a"].to_numpy()).tolist() == [2.0, 4.0, 0.0, 8.0]
    assert made["h"].to_pylist() == [0, 1, 1, 2]
    assert made["t"].to_pylist() == ["x!", "y!", None, "x!"]


# ---- lists of Python, which have no type where there are no rows ------------------------------------------


def lengths(rows: pa.Table) -> dict[str, list[Any]]:
    texts = rows["t"].to_pylist()
    return {
        "word": [None if text is None else f"{text}!" for text in texts],
        "letters": [None if text is None else list(text) for text in texts],
        "length": [len(text or "") if (text or "") < "b" else len(text or "") + 0.5 for text in texts],
    }


def test_lists_of_python_get_their_types_from_the_rows(engine: EngineCase) -> None:
    rows = pa.table({"t": ["a", None, "bc", None] * 30})
    step = og.FunctionTransformer(lengths, takes="table", columns=["t"])
    found = step.fit(engine.open(rows)).transform(rows)
    assert found.schema.types == [pa.string(), pa.list_(pa.string()), pa.float64()]
    assert found.slice(0, 3).to_pylist() == [
        {"word": "a!", "letters": ["a"], "length": 1.0},
        {"word": None, "letters": None, "length": 0.0},
        {"word": "bc!", "letters": ["b", "c"], "length": 2.5},
    ]
    for few in (rows.slice(0, 0), rows.slice(1, 1)):  # which tell of no type
        assert step.transform(few).schema.types == found.schema.types
    lazily = step.transform(engine.open(rows)).to_arrow()
    assert sorted(map(str, lazily.to_pylist())) == sorted(map(str, found.to_pylist()))


def test_lists_that_have_no_common_type_are_refused() -> None:
    def mixed(rows: pa.Table) -> dict[str, list[Any]]:
        return {"x": [number if number < 5 else {"n": number} for number in rows["x"].to_pylist()]}

    step = og.FunctionTransformer(mixed, takes="table")
    for values in ([1, 9], [9, 9]):
        with pytest.raises(DataError, match="x"):
            step.fit(pa.table({"x": values}))
    step.fit(pa.table({"x": [1, 2]}))
    with pytest.raises(DataError, match="x"):
        step.transform(pa.table({"x": [9]}))
