"""The types of what encoders give, and what they say of values they do not know."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
from sklearn import preprocessing
from sklearn.base import clone

import outgrow as og
from outgrow.errors import DataError, ExportError, ParameterError
from outgrow.testing import EngineCase

WORDS = np.array([["b", "x"], ["a", "x"], ["b", "y"]], dtype=object)
TYPES = [np.int32, np.float32, np.float64, "int64", np.dtype("uint8")]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("sparse", [True, False])
def test_zeros_and_ones_have_the_type(dtype: Any, sparse: bool, tmp_path: Path) -> None:
    ours = og.OneHotEncoder(dtype=dtype, sparse_output=sparse).fit(WORDS)
    theirs = preprocessing.OneHotEncoder(dtype=dtype, sparse_output=sparse).fit(WORDS)
    ours.save(tmp_path / "model")
    for encoder in (ours, og.load(tmp_path / "model")):
        made = encoder.transform(WORDS)
        assert sp.issparse(made) == sparse
        assert made.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(
            sp.csr_array(made).toarray(), sp.csr_array(theirs.transform(WORDS)).toarray()
        )
        np.testing.assert_array_equal(encoder.inverse_transform(made), WORDS)


@pytest.mark.parametrize("dtype", TYPES)
def test_codes_have_the_type(dtype: Any, tmp_path: Path) -> None:
    encoder = og.OrdinalEncoder(dtype=dtype).fit(WORDS)
    encoder.save(tmp_path / "model")
    for each in (encoder, og.load(tmp_path / "model")):
        made = each.transform(WORDS)
        assert made.dtype == np.dtype(dtype)
        assert made.tolist() == [[1, 0], [0, 0], [1, 1]]
        np.testing.assert_array_equal(each.inverse_transform(made), WORDS)


@pytest.mark.parametrize(
    "encoder", [og.OrdinalEncoder(dtype="int16"), og.OneHotEncoder(dtype="int16", sparse_output=False)]
)
def test_columns_of_tables_have_the_type_and_models_take_them(encoder: Any) -> None:
    table = pa.table({"a": WORDS[:, 0].tolist(), "b": WORDS[:, 1].tolist()})
    assert set(encoder.fit_transform(table).schema.types) == {pa.int16()}
    plain = type(encoder)(**{**encoder.get_params(), "dtype": "float64"})
    y = [1.0, 2.0, 3.0]
    found = [og.Pipeline([each, og.Ridge()]).fit(table, y).predict(table) for each in (encoder, plain)]
    np.testing.assert_allclose(found[0]["prediction"], found[1]["prediction"])


@pytest.mark.parametrize("encoder", [og.OrdinalEncoder, og.OneHotEncoder])
@pytest.mark.parametrize("dtype", ["text", object, np.str_])
def test_other_types_are_refused(encoder: Any, dtype: Any) -> None:
    with pytest.raises(ParameterError, match="dtype="):
        encoder(dtype=dtype).fit(WORDS)


def test_whole_codes_have_no_nan() -> None:
    with pytest.raises(ParameterError, match="missing values in features"):
        og.OrdinalEncoder(dtype=int).fit([[1.0], [np.nan]])
    assert og.OrdinalEncoder(dtype=int, encoded_missing_value=-1).fit_transform(
        [[1.0], [np.nan]]
    ).tolist() == [[0], [-1]]
    with pytest.raises(ParameterError, match="float dtype"):
        og.OrdinalEncoder(dtype=int, handle_unknown="use_encoded_value", unknown_value=np.nan).fit(WORDS)


@pytest.mark.parametrize(
    ("handle", "drop", "message"),
    [
        ("ignore", "first", "all zeros"),
        ("warn", None, "infrequent"),
        ("infrequent_if_exist", "first", "infrequent"),
    ],
)
def test_one_warning_names_all_columns_with_unknown_values(handle: str, drop: Any, message: str) -> None:
    strange = [["q", "q"]]
    arrays = og.OneHotEncoder(handle_unknown=handle, drop=drop).fit(WORDS)
    with pytest.warns(UserWarning, match=rf"columns \[0, 1\] during transform.*{message}"):
        arrays.transform(strange)
    tables = og.OneHotEncoder(handle_unknown=handle, drop=drop).fit(
        pa.table({"a": ["x", "y"], "b": ["x", "z"]})
    )
    with pytest.warns(UserWarning, match=rf"columns \['a', 'b'\] during transform.*{message}"):
        tables.transform(pa.table({"a": ["q"], "b": ["q"]}))


def test_unknown_values_of_arrays_are_told_by_place() -> None:
    for encoder in (og.OneHotEncoder(), og.OrdinalEncoder()):
        with pytest.raises(DataError, match=r"\['q'\] in column 1"):
            encoder.fit(WORDS).transform([["a", "q"]])


FREQUENT = pa.table({"a": ["x", "z", "z", None, "y", "x", "w"], "b": [3, 1, 1, 2, 2, 2, 9]})


@pytest.mark.parametrize("kind", ["text", "numbers"])
def test_categories_by_frequency(kind: str, engine: EngineCase, tmp_path: Path) -> None:
    """As Spark's StringIndexer numbers them: equals in their order; and back, as its IndexToString."""
    rows = FREQUENT.select(["a" if kind == "text" else "b"])
    encoder = og.OrdinalEncoder(categories="frequency").fit(engine.open(rows))
    expected = ["x", "z", "w", "y", None] if kind == "text" else [2, 1, 3, 9]
    assert encoder.categories_[0].tolist() == expected
    encoder.save(tmp_path / "model")
    made = og.load(tmp_path / "model").transform(rows)
    assert encoder.inverse_transform(made).equals(rows)
    hot = og.OneHotEncoder(categories="frequency", drop="first").fit(rows)
    assert hot.get_feature_names_out().tolist() == [f"{rows.column_names[0]}_{word}" for word in expected[1:]]


def test_many_numbers_by_frequency_are_found() -> None:
    values = np.concatenate([np.arange(6000), np.arange(3000, 6000)])[:, None]
    made = og.OrdinalEncoder(categories="frequency").fit_transform(values)[:, 0]
    np.testing.assert_array_equal(made, np.concatenate([(np.arange(6000) + 3000) % 6000, np.arange(3000)]))


def test_frequencies_go_to_scikit_learn_where_it_takes_them() -> None:
    words = np.array([["b"], ["a"], ["b"]], dtype=object)
    encoder = og.OrdinalEncoder(categories="frequency").fit(words)
    assert encoder.to_sklearn().transform(words).tolist() == encoder.transform(words).tolist()
    with pytest.raises(ExportError, match="in their order only"):
        og.OrdinalEncoder(categories="frequency").fit([[2.0], [1.0], [2.0]]).to_sklearn()


MOMENTS = [
    datetime(2026, 1, 31, 12, 30),
    datetime(2026, 1, 31),
    None,
    datetime(1969, 12, 31, 23, 59, 59, 500),
]


@pytest.mark.parametrize("encoder", [og.OrdinalEncoder, og.OneHotEncoder, og.TargetEncoder])
@pytest.mark.parametrize("unit", ["s", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Rome"])
def test_times_are_categories(encoder: Any, unit: str, zone: str | None) -> None:
    """The same moment is the same category, whatever the type of its column."""
    moments = MOMENTS if unit != "s" else MOMENTS[:3]
    utc = pa.array(moments, pa.timestamp("us"))
    rows = pa.table({"at": utc.cast(pa.timestamp(unit)).cast(pa.timestamp(unit, zone))})
    y = [1.0, 2.0, 3.5, 4.0][: len(moments)]
    fitted = encoder().fit(rows, y)
    words = ["1969-12-31 23:59:59.000500"] if unit != "s" else []
    assert fitted.categories_[0].tolist() == [*words, "2026-01-31", "2026-01-31 12:30:00", None]
    made = repr(fitted.transform(rows).to_pylist())
    assert repr(fitted.transform(pa.table({"at": utc})).to_pylist()) == made
    days = pa.table({"at": pa.array([date(2026, 1, 31)])})
    assert fitted.transform(days).equals(fitted.transform(rows).slice(1, 1))


@pytest.mark.parametrize("encoder", [og.OrdinalEncoder, og.OneHotEncoder, og.TargetEncoder])
@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 2, None, 1]),
        pa.array([1.5, float("nan"), None, 1.5]),
        pa.array([True, False, None, True]),
        pa.array(["x", "y", None, "x"]).dictionary_encode(),
        pa.array([3, 4, None, 3]).dictionary_encode(),
        pa.array(["1.50", "2.25", None, "1.50"]).cast(pa.decimal128(5, 2)),
        pa.array([2**60, 2**60 + 1, None, 2**60], pa.int64()),
        pa.array([b"x", b"y"]).cast(pa.string()).take(pa.array([0, 1, None, 0])),
    ],
    ids=lambda values: str(values.type),
)
def test_all_values_are_told_apart(encoder: Any, values: pa.Array) -> None:
    rows = pa.table({"v": values})
    made = encoder().fit(rows, [1.0, 2.0, 3.5, 7.0]).transform(rows).to_pylist()
    as_text = [repr(row) for row in made]
    assert as_text[0] == as_text[3]
    assert len(set(as_text)) == (2 if pa.types.is_floating(values.type) else 3)


FEW = pa.table(
    {
        "size": pa.array([3, 1, 3, None] * 8),
        "price": np.arange(32.0),
        "colour": ["red", "blue", "red", "red"] * 8,
        "on": [True, False] * 16,
        "day": pa.array([date(2026, 1, k % 3 + 1) for k in range(32)]),
        "tags": [["a"], ["b"], [], None] * 8,
    }
)


def test_few_values(engine: EngineCase, tmp_path: Path) -> None:
    few = ["size", "colour", "on", "day"]
    for most, expected in ((3, few), (2, few[:3]), (1, []), (32, ["size", "price", *few[1:]])):
        encoder = og.OrdinalEncoder(og.few_values(most)).fit(engine.open(FEW))
        assert encoder.selected_ == expected
    encoder.save(tmp_path / "model")
    assert repr(og.load(tmp_path / "model")) == "OrdinalEncoder(columns=few_values(32))"
    pipe = og.Pipeline([og.OrdinalEncoder(og.few_values(3)), og.StandardScaler("price")])
    assert pipe.fit(FEW)[0].selected_ == few


@pytest.mark.parametrize("most", [0, 1.5, True, "3"])
def test_few_is_a_whole_number(most: Any) -> None:
    with pytest.raises(ParameterError, match="whole number"):
        og.few_values(most)


@pytest.mark.parametrize("right", [True, False])
def test_bins_of_pandas_are_categories(right: bool) -> None:
    ages = pd.Series([1.0, 30.0, np.nan, 70.0])
    bins = pd.cut(ages, [0, 18.5, 65, 120], right=right)
    for column in (bins, bins.astype("interval")):
        made = og.OrdinalEncoder().fit(pd.DataFrame({"age": column}))
        expected = sorted(str(each) for each in bins.cat.categories)
        assert made.categories_[0].tolist() == [*expected, None]


def test_whole_numbers_that_float64_takes_for_each_other_are_no_few() -> None:
    rows = pa.table({"id": [2**62 + k for k in range(40)], "few": [2**62 + k % 2 for k in range(40)]})
    encoder = og.OrdinalEncoder(og.few_values(20)).fit(rows)
    assert encoder.selected_ == ["few"]


@pytest.mark.parametrize("kind", [np.float16, np.longdouble])
def test_floats_that_arrow_has_no_keys_of(kind: Any) -> None:
    rows, y = np.array([[1, 2], [2, 1], [1, 1], [3, 2]], dtype=kind), [0, 1, 0, 1]
    for model in (og.DummyClassifier(), og.CategoricalNB(), og.ALS()):
        same = clone(model).fit(rows.astype(np.float64), y).predict(rows.astype(np.float64))
        np.testing.assert_array_equal(model.fit(rows, y).predict(rows), same)
    coded = og.OrdinalEncoder().fit_transform(rows)
    np.testing.assert_array_equal(coded, [[0, 1], [1, 0], [0, 0], [2, 1]])
