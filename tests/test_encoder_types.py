"""The types of what encoders give, and what they say of values they do not know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from sklearn import preprocessing

import outgrow as og
from outgrow.errors import DataError, ParameterError

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
