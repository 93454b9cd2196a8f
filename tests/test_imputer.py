"""The imputer on sparse rows, with functions, marks of every kind, indicators, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import impute

import outgrow as og
from outgrow.errors import ArtifactError, ParameterError, SchemaError
from outgrow.testing import EngineCase

NAN = float("nan")
STRATEGIES = ["mean", "median", "most_frequent", "constant"]
holed = st.integers(1, 9).flatmap(
    lambda n: arrays(np.float64, (n, 3), elements=st.sampled_from([0.0, 0.0, 1.0, -2.0, 3.5, NAN]))
)


@pytest.mark.filterwarnings("ignore:Skipping features")
@settings(deadline=None, max_examples=25, derandomize=True)
@given(holed, st.sampled_from(STRATEGIES), st.booleans(), st.booleans())
def test_sparse_rows_are_filled_as_dense_ones(
    rows: np.ndarray, strategy: str, indicators: bool, keep: bool
) -> None:
    settings_ = {"strategy": strategy, "add_indicator": indicators, "keep_empty_features": keep}
    ours = og.SimpleImputer(**settings_).fit(sp.csr_array(rows))
    theirs = impute.SimpleImputer(**settings_).fit(rows)
    np.testing.assert_allclose(ours.statistics_, theirs.statistics_.astype(float))
    made = ours.transform(sp.csc_array(rows))
    assert sp.issparse(made)
    np.testing.assert_allclose(made.toarray(), theirs.transform(rows).astype(float))
    if indicators:
        np.testing.assert_array_equal(ours.inverse_transform(made).toarray(), rows)


def test_medians_of_many_sparse_columns() -> None:
    rows = sp.random_array((40, 700), density=0.3, rng=np.random.default_rng(1), format="csr")
    rows.data[::5] = NAN
    filled = og.SimpleImputer(strategy="median").fit(rows)
    np.testing.assert_allclose(filled.statistics_, np.nanmedian(rows.toarray(), axis=0))


def test_sparse_rows_of_a_pipeline_are_those_of_the_caller() -> None:
    rows = sp.csr_array(np.array([[0.0, NAN], [2.0, 4.0], [NAN, 8.0]]))
    before = rows.copy()
    pipe = og.Pipeline([og.SimpleImputer(add_indicator=True), og.Ridge()]).fit(rows, [0.0, 1.0, 2.0])
    assert np.isfinite(pipe.predict(rows)).all()
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(rows, part), getattr(before, part))


def test_zero_is_no_mark_of_sparse_rows() -> None:
    rows = np.array([[0.0, 1.0], [2.0, 3.0]])
    with pytest.raises(ParameterError, match="dense array"):
        og.SimpleImputer(missing_values=0).fit(sp.csr_array(rows))
    with pytest.raises(ParameterError, match="dense array"):
        og.SimpleImputer(missing_values=0).fit(rows).transform(sp.csr_array(rows))


# ---- functions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [np.min, np.mean, lambda values: np.quantile(values, 0.9)])
def test_functions_see_the_values_of_each_column(function: Any, engine: EngineCase) -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(50, 2))
    rows[rng.random(rows.shape) < 0.3] = NAN
    table = pa.table({"a": rows[:, 0], "b": rows[:, 1]})
    imputer = og.SimpleImputer(strategy=function).fit(engine.open(table))
    expected = [function(np.sort(column[~np.isnan(column)])) for column in rows.T]
    np.testing.assert_allclose(imputer.statistics_, expected)


def test_functions_see_values_in_one_order_for_any_cut() -> None:
    values = np.random.default_rng(3).permutation(30).astype(float)
    first = [
        og.SimpleImputer(strategy=lambda column: column[0])
        .fit(pa.table({"a": pa.chunked_array([values[:cut], values[cut:]])}))
        .statistics_[0]
        for cut in (1, 7, 30)
    ]
    assert first == [0.0, 0.0, 0.0]


def test_functions_and_columns_without_values(tmp_path: Path) -> None:
    imputer = og.SimpleImputer(strategy=np.min, keep_empty_features=True).fit([[NAN, 2.0], [NAN, 3.0]])
    assert imputer.statistics_.tolist() == [0.0, 2.0]
    with pytest.raises(ArtifactError):
        imputer.save(tmp_path / "model")
    with pytest.raises(SchemaError, match="non-numeric data"):
        og.SimpleImputer(strategy=np.min).fit(pa.table({"a": ["x"]}))


# ---- marks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [None, NAN, pd.NA, "", "NAN", 0])
@pytest.mark.parametrize("strategy", ["most_frequent", "constant"])
def test_marks_among_objects(mark: Any, strategy: str) -> None:
    rows = np.array([[mark, "a"], ["c", mark], ["c", "b"], ["d", "b"]], dtype=object)
    filled = og.SimpleImputer(missing_values=mark, strategy=strategy, fill_value="?").fit_transform(rows)
    fill = ["c", "b"] if strategy == "most_frequent" else ["?", "?"]
    assert filled.tolist() == [[fill[0], "a"], ["c", fill[1]], ["c", "b"], ["d", "b"]]


def test_marks_in_floats_of_32_bits() -> None:
    rows = np.array([[1.1], [2.0], [4.0]], dtype=np.float32)
    filled = og.SimpleImputer(missing_values=1.1).fit_transform(rows)
    assert filled.dtype == np.float32
    assert filled.tolist() == [[3.0], [2.0], [4.0]]


def test_marks_of_another_type_are_refused() -> None:
    with pytest.raises(ParameterError, match="both numerical"):
        og.SimpleImputer(missing_values="-1").fit([[1.0], [-1.0]])
    with pytest.raises(ParameterError, match="missing values have become text"):
        og.SimpleImputer(strategy="most_frequent").fit(np.array([["a"], [np.nan]], dtype=str))


def test_numbers_without_a_value_are_missing_text() -> None:
    imputer = og.SimpleImputer(strategy="most_frequent").fit([["a", "b"], ["c", "b"], ["a", "a"]])
    assert imputer.transform([[NAN, NAN]]).tolist() == [["a", "b"]]


@pytest.mark.parametrize("strategy", ["mean", "median"])
@pytest.mark.parametrize("rows", [[["a", 1.0]], np.array([["a", "b"]]), np.array([["a"]], dtype=object)])
def test_text_has_no_mean(strategy: str, rows: Any) -> None:
    with pytest.raises(SchemaError, match=r"non-numeric data:\ncould not convert string to float"):
        og.SimpleImputer(strategy=strategy).fit(rows)


# ---- indicators and back -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [NAN, -1.0])
@pytest.mark.parametrize("form", ["arrow", "pandas", "dataset"])
def test_tables_come_back(mark: float, form: str) -> None:
    table = pa.table({"a": [1.0, mark, 3.0], "word": ["x", None, "y"], "b": [mark, 5.0, 6.0], "c": [7, 8, 9]})
    rows = {"arrow": table, "pandas": table.to_pandas(), "dataset": og.dataset(table)}[form]
    imputer = og.SimpleImputer(missing_values=mark, strategy="most_frequent", add_indicator=True).fit(rows)
    back = imputer.inverse_transform(imputer.transform(rows))
    assert type(back) is type(rows)
    frame = back if form == "pandas" else back.to_pandas()
    pd.testing.assert_frame_equal(frame, table.to_pandas(), check_dtype=False)


@pytest.mark.filterwarnings("ignore:Skipping features")
def test_columns_that_were_left_out_come_back_missing(tmp_path: Path) -> None:
    rows = np.array([[NAN, 1.0, NAN], [NAN, NAN, 2.0]])
    imputer = og.SimpleImputer(add_indicator=True).fit(rows)
    imputer.save(tmp_path / "model")
    for each in (imputer, og.load(tmp_path / "model")):
        np.testing.assert_array_equal(each.inverse_transform(each.transform(rows)), rows)


def test_nothing_comes_back_without_indicators() -> None:
    imputer = og.SimpleImputer().fit([[1.0], [2.0]])
    with pytest.raises(ParameterError, match="add_indicator=False"):
        imputer.inverse_transform([[1.0]])


def test_each_column_of_vectors_has_an_indicator() -> None:
    table = pa.table({"v": pa.array([[1.0, NAN, 3.0], [4.0, 5.0, NAN]], pa.list_(pa.float64(), 3))})
    imputer = og.SimpleImputer(add_indicator=True).fit(table)
    assert imputer.indicated_ == {"missingindicator_v": [1, 2]}
    made = imputer.transform(table)
    assert made.column_names == ["v_0", "v_1", "v_2", "missingindicator_v_1", "missingindicator_v_2"]
    assert made["missingindicator_v_2"].to_pylist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 1, 2, None], ["1", "1", "2", "1"]),
        ([True, True, False, None], ["true", "true", "false", "true"]),
        ([0.5, 0.5, float("nan"), None], ["0.5", "0.5", "0.5", "0.5"]),
    ],
)
def test_categories_that_are_no_text(values: list[Any], expected: list[str]) -> None:
    rows = pa.table({"c": pa.array(values).dictionary_encode()})
    for imputer in (
        og.SimpleImputer(strategy="most_frequent"),
        og.SimpleImputer(strategy="constant", fill_value=expected[0]),
    ):
        assert imputer.fit_transform(rows)["c"].to_pylist() == expected
