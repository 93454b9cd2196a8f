"""What comes in by any container goes on as it is, and comes back as it was; what is no rows is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp

import outgrow as og
from outgrow.data.frames import to_frame

LONG = [2**53, 2**53 + 1, 5]
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 2))
Y = (X[:, 0] > 0).astype(int)
FRAME = pd.DataFrame(X, columns=["a", "b"])
TYPED: dict[str, Any] = {
    "Int64": pd.array([2**53 + 1, None, 7], dtype="Int64"),
    "UInt8": pd.array([1, None, 7], dtype="UInt8"),
    "Float32": pd.array([1, None, 7], dtype="Float32"),
    "boolean": pd.array([True, None, False], dtype="boolean"),
    "string": pd.array(["x", None, "y"], dtype="string"),
    "arrow": pd.array([2**53 + 1, None, 7], dtype="int64[pyarrow]"),
    "period": pd.period_range("2020", periods=3, freq="M"),
    "zone": pd.date_range("2020", periods=3, tz="Europe/Paris"),
    "category": pd.Categorical(["x", None, "y"], ordered=True),
    "int8": np.array([1, 2, 3], dtype="int8"),
    "text": ["x", None, "y"],
}


@pytest.mark.parametrize("name", TYPED)
def test_columns_that_pass_keep_their_type_and_values(name: str) -> None:
    frame = pd.DataFrame({"id": TYPED[name], "a": [1.0, 2.0, 3.0]}, index=[4, 5, 6])
    made = og.StandardScaler(columns=["a"]).fit_transform(frame)
    pd.testing.assert_series_equal(made["id"], frame["id"])
    assert made["a"].dtype == np.float64


def test_columns_that_change_do_not_keep_their_type() -> None:
    frame = pd.DataFrame(
        {"a": pd.array([1, None, 3], dtype="Int64"), "b": pd.array([0, 1, 2], dtype="UInt8")}
    )
    made = og.StandardScaler().fit_transform(frame)
    assert [kind.name for kind in made.dtypes] == ["float64", "float64"]
    np.testing.assert_allclose(made["a"], [-1, np.nan, 1])


def test_whole_numbers_stay_apart_beside_missing_ones(tmp_path: Path) -> None:
    (tmp_path / "id.csv").write_text(f"id,few\n{2**53},1\n{2**53 + 1},\n,3\n")
    frame = og.read(tmp_path / "id.csv").to_pandas()
    assert frame["id"].dtype == "Int64"
    assert frame["id"].dropna().tolist() == [2**53, 2**53 + 1]
    assert frame["few"].dtype == np.float64
    assert to_frame(pa.table({"id": pa.array([2**64 - 1, None], pa.uint64())}))["id"][0] == 2**64 - 1


def test_steps_of_scikit_learn_get_whole_numbers_as_they_are() -> None:
    from sklearn.preprocessing import FunctionTransformer

    seen: list[pd.DataFrame] = []

    def keep(frame: pd.DataFrame) -> np.ndarray:
        seen.append(frame)
        return np.zeros((len(frame), 1))

    rows = pa.table({"id": pa.array([*LONG, None] * 5), "word": ["u", "v"] * 10})
    og.Pipeline([FunctionTransformer(keep), og.Ridge()]).fit(rows, np.arange(20.0))
    assert max(seen, key=len)["id"].dropna().tolist() == LONG * 5


TARGETS: dict[str, Any] = {
    **{kind: pd.Series(LONG * 20, dtype=kind) for kind in ("Int64", "UInt64", "int64[pyarrow]", "int64")},
    "UInt8": pd.Series([1, 2, 3] * 20, dtype="UInt8"),
    **{kind: pd.Series([True, False] * 30, dtype=kind) for kind in ("boolean", "bool[pyarrow]")},
    **{kind: pd.Series(["u", "v"] * 30, dtype=kind) for kind in ("string", "string[pyarrow]", "category")},
    "numbers as categories": pd.Series(LONG * 20, dtype="category"),
    "sparse": pd.Series(pd.arrays.SparseArray([0, 1] * 30)),
}


@pytest.mark.parametrize("name", TARGETS)
def test_classes_are_the_same_by_name_and_by_array(name: str) -> None:
    y = TARGETS[name]
    plain = pd.Series(y.to_numpy()) if name == "sparse" else y
    expected = og.LogisticRegression().fit(FRAME[["a"]].assign(y=plain), "y")
    beside = pd.Series(y.array, index=range(100, 160))
    for rows, target in [(FRAME[["a"]], beside), (X[:, :1], beside), (X[:, :1], y.array)]:
        model = og.LogisticRegression().fit(rows, target)
        assert model.classes_.dtype == expected.classes_.dtype
        np.testing.assert_array_equal(model.classes_, expected.classes_)
        np.testing.assert_allclose(model.coef_, expected.coef_)


@pytest.mark.parametrize("make", [pa.array, lambda values: pa.chunked_array([values]), pl.Series])
def test_columns_of_arrow_and_polars_as_y(make: Callable[[Any], Any]) -> None:
    model = og.LogisticRegression().fit(X, make(LONG * 20))
    assert model.classes_.tolist() == sorted(LONG)
    with pytest.raises(og.errors.DataError, match="NaN"):
        og.LogisticRegression().fit(X, make([*LONG[:2], None] * 20))


@pytest.mark.filterwarnings("ignore:A column-vector y")
def test_targets_of_a_frame_keep_their_types() -> None:
    y = pd.DataFrame({"long": pd.array(LONG * 20, dtype="Int64"), "flag": pd.array([True, False] * 30)})
    found = og.RandomForestClassifier(n_estimators=2).fit(X, y).classes_
    assert [classes.tolist() for classes in found] == [sorted(LONG), [False, True]]
    assert og.LogisticRegression().fit(X, y[["long"]]).classes_.tolist() == sorted(LONG)


@pytest.mark.parametrize("kind", ["Int64", "boolean", "Float64", "double[pyarrow]"])
@pytest.mark.parametrize("rows", [FRAME, X], ids=["frame", "array"])
def test_weights_and_roles_of_any_type(kind: str, rows: Any) -> None:
    weight: Any = pd.Series([1, 0, 1] * 20)
    expected = og.Ridge().fit(rows, Y, sample_weight=weight.to_numpy(float)).coef_
    np.testing.assert_allclose(og.Ridge().fit(rows, Y, sample_weight=weight.astype(kind)).coef_, expected)
    with pytest.raises(og.errors.OutgrowError, match=r"NaN|missing"):
        og.Ridge().fit(rows, Y, sample_weight=weight.astype(kind).where(weight.index != 3))


def test_masked_values_are_missing() -> None:
    mask = [[False], [True], [False]]
    floats = np.ma.masked_array([[1.0], [999.0], [3.0]], mask=mask)
    for values in (floats, floats.astype(np.float32), floats.astype(int)):
        assert og.SimpleImputer().fit(values).statistics_.tolist() == [2.0]
    assert og.StandardScaler().fit(np.ma.masked_array([[1.0], [3.0]])).mean_.tolist() == [2.0]
    model = og.SimpleImputer().fit(floats)
    np.testing.assert_array_equal(model.transform(floats), [[1.0], [2.0], [3.0]])


def test_masked_targets_and_weights_are_missing() -> None:
    hidden = np.arange(60) == 3
    with pytest.raises(og.errors.DataError, match="NaN"):
        og.Ridge().fit(X, np.ma.masked_array(X[:, 0], mask=hidden))
    with pytest.raises(og.errors.DataError, match="NaN"):
        og.Ridge().fit(FRAME, np.ma.masked_array(Y, mask=hidden))
    with pytest.raises(og.errors.OutgrowError, match=r"NaN|missing"):
        og.Ridge().fit(X, Y, sample_weight=np.ma.masked_array(np.ones(60), mask=hidden))


@pytest.mark.parametrize("values", [[[2**53 + 1], [2]], [["a"], ["b"]]])
def test_masked_values_that_float64_cannot_hold_are_refused(values: Any) -> None:
    with pytest.raises(og.errors.DataError, match=r"X is a masked array of .*filled"):
        og.SimpleImputer().fit(np.ma.masked_array(values, mask=[[False], [True]]))


RECORDS = np.array([(1, 2.0)] * 60, dtype=[("i", "i4"), ("f", "f8")])
NO_ROWS: dict[str, tuple[Any, str]] = {
    "lazy frame": (pl.from_pandas(FRAME).lazy(), r"polars LazyFrame.*X\.collect\(\)"),
    "dict": ({"a": X[:, 0]}, r"a dict.*pd\.DataFrame\(X\)"),
    "dicts": ([{"a": 1.0}] * 60, r"a list of dicts.*pd\.DataFrame\(X\)"),
    "path": ("x.csv", r"the text 'x\.csv'.*og\.read\(X\)"),
    "Path": (Path("x.csv"), r"Path.*og\.read\(X\)"),
    "records": (RECORDS, r"fields \['i', 'f'\].*pd\.DataFrame\(X\)"),
    "recarray": (RECORDS.view(np.recarray), r"fields \['i', 'f'\].*pd\.DataFrame\(X\)"),
    "nothing": (None, "X is None.*Give an array"),
    "column of Arrow": (pa.array(X[:, 0]), r"one column: give pa\.table"),
    "column of Polars": (pl.Series(X[:, 0]), r"one column: give pa\.table"),
    "generator": (iter(X), r"Give list\(X\)"),
    "sparse complex": (sp.csr_array(X * 1j), r"^Complex data not supported: X is a scipy csr_array.{9,120}$"),
    "complex": (X * 1j, r"^Complex data not supported: X is a numpy ndarray.{9,120}$"),
    "complex column": (FRAME.assign(c=1j), r"^Complex data not supported: .*\['c'\]"),
    "sparse column": (FRAME.assign(c=pd.arrays.SparseArray([0.0, 1] * 30)), r"\['c'\].*to_dense"),
    "mixed column": (FRAME.assign(c=[1, "x"] * 30), r"column c .*astype\(str\)"),
    "text": (np.array([["a"]] * 60), "X holds text.*og.OneHotEncoder"),
}


@pytest.mark.parametrize("name", NO_ROWS)
@pytest.mark.parametrize("fitted", [False, True], ids=["fit", "predict"])
def test_what_is_no_rows_is_refused_with_what_to_do(name: str, fitted: bool) -> None:
    given, message = NO_ROWS[name]
    model: Any = og.LogisticRegression()
    if fitted:
        model.fit(X, Y)
    with pytest.raises(og.errors.DataError, match=message):
        model.predict(given) if fitted else model.fit(given, Y)


NO_COLUMN: dict[str, tuple[Any, str]] = {
    "lazy frame": (pl.from_pandas(FRAME).lazy(), r"y\.collect\(\)"),
    "dict": ({"a": Y}, r"a dict.*pd\.DataFrame\(y\)\[name\]"),
    "records": (RECORDS, r"fields \['i', 'f'\].*pd\.DataFrame\(y\)\[name\]"),
    "Path": (Path("y.csv"), "the name of a column of X"),
    "complex": (Y * 1j, r"^Complex data not supported: y is a numpy ndarray.{9,120}$"),
    "complex frame": (FRAME * 1j, r"^Complex data not supported: y is a pandas DataFrame.{9,120}$"),
    "two columns": (FRAME, "y should be a 1d array.*one value for each row"),
}


@pytest.mark.parametrize("name", NO_COLUMN)
def test_what_is_no_target_is_refused_with_what_to_do(name: str) -> None:
    given, message = NO_COLUMN[name]
    with pytest.raises(og.errors.DataError, match=message):
        og.LogisticRegression().fit(X, given)


def test_names_of_several_types_are_refused() -> None:
    named = FRAME.set_axis(["a", 1], axis=1)
    for ask in (og.StandardScaler().fit, og.StandardScaler().fit(X).transform):
        with pytest.raises(og.errors.ValueTypeError, match=r"X\.columns = X\.columns\.astype\(str\)"):
            ask(named)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_arrays_with_text_for_a_model_of_a_table() -> None:
    frame = FRAME.assign(c=["u", "v"] * 30)
    steps = [og.SimpleImputer(columns=og.numeric()), og.OneHotEncoder(columns=["c"]), og.LogisticRegression()]
    model = og.Pipeline(steps).fit(frame, Y)
    with pytest.raises(og.errors.DataError, match=r"text.*pd\.DataFrame\(X, columns=model"):
        model.predict(frame.to_numpy())
    remade = pd.DataFrame(frame.to_numpy(), columns=model.feature_names_in_)
    np.testing.assert_array_equal(model.predict(remade), model.predict(frame))


@pytest.mark.parametrize("make", [pa.array, pl.Series])
def test_columns_of_documents(make: Callable[[Any], Any]) -> None:
    with pytest.raises(og.errors.DataError, match=r"X\.to_pylist\(\) or X\.to_list\(\)"):
        og.CountVectorizer().fit(make(["one two", "two"]))


def test_sparse_rows_as_a_dictionary_of_cells() -> None:
    found = og.Ridge().fit(sp.dok_array(X), Y).coef_
    np.testing.assert_allclose(found, og.Ridge().fit(sp.csr_array(X), Y).coef_)


def test_groups_of_pandas_own_types_are_all_told_apart() -> None:
    keys = [2**53, 2**53 + 1, 5] * 4
    X = np.arange(12.0)[:, None]
    folds = og.GroupKFold(n_splits=3)
    plain = [test.tolist() for _, test in folds.split(X, groups=np.array(keys))]
    for groups in (pd.Series(keys, dtype="Int64"), pa.array(keys)):
        assert [test.tolist() for _, test in folds.split(X, groups=groups)] == plain


def test_na_of_pandas_among_objects_is_missing() -> None:
    X = np.array([[1.0, pd.NA], [2.0, 3.0], [pd.NA, 1.0]], dtype=object)
    plain = np.array([[1.0, np.nan], [2.0, 3.0], [np.nan, 1.0]])
    model = og.StandardScaler().fit(plain)
    for given in (X, X.tolist()):
        np.testing.assert_array_equal(og.StandardScaler().fit(given).transform(given), model.transform(plain))
        np.testing.assert_array_equal(model.inverse_transform(given), model.inverse_transform(plain))
    np.testing.assert_array_equal(og.SimpleImputer().fit_transform(X)[:, 1], [2.0, 3.0, 1.0])
    with pytest.raises(ValueError, match="contains NaN"):
        og.LinearRegression().fit(X, [1.0, 2.0, 3.0])
    with pytest.raises(TypeError):
        og.LinearRegression().fit(np.array([[1.0], [{}], [2.0]], dtype=object), [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("y", "weight", "says"),
    [
        (np.array([0, None, 1], dtype=object), None, "The target y misses 1 value"),
        (np.array([0.5, 1.0, 2.0]), None, "The target y has fractions"),
        (np.array([0, 1, 0]), [1.0, -1.0, 1.0], "The weight sample_weight has negative values"),
    ],
)
def test_what_came_as_an_array_is_called_as_its_argument(y: Any, weight: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        og.LogisticRegression().fit(np.eye(3), y, sample_weight=weight)
