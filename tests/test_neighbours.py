"""KNNImputer and MissingIndicator beside scikit-learn's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn import impute

import outgrow as og
from outgrow.errors import DataError, ExportError, ParameterError

rng = np.random.default_rng(0)
X = rng.normal(size=(80, 4))
X[rng.random(X.shape) < 0.3] = np.nan
NEW = rng.normal(size=(30, 4))
NEW[rng.random(NEW.shape) < 0.4] = np.nan


@pytest.mark.parametrize("weights", ["uniform", "distance", lambda distances: np.exp(-distances)])
@pytest.mark.parametrize("n_neighbors", [1, 5, 200])
def test_nearest_rows(n_neighbors: int, weights: Any) -> None:
    chosen: dict[str, Any] = {"n_neighbors": n_neighbors, "weights": weights}
    ours, theirs = og.KNNImputer(**chosen).fit(X), impute.KNNImputer(**chosen).fit(X)
    for rows in (X, NEW):
        np.testing.assert_allclose(ours.transform(rows), theirs.transform(rows), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.to_sklearn().transform(NEW), ours.transform(NEW), rtol=1e-9, atol=1e-12)


holes = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=6),
    elements=st.floats(-100, 100).map(lambda x: round(x, 1)) | st.just(np.nan),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(rows=holes, keep=st.booleans(), indicate=st.booleans())
def test_any_rows(rows: np.ndarray, keep: bool, indicate: bool) -> None:
    """With as many neighbours as rows no order of equals matters."""
    chosen: dict[str, Any] = {
        "n_neighbors": len(rows),
        "keep_empty_features": keep,
        "add_indicator": indicate,
    }
    ours, theirs = og.KNNImputer(**chosen).fit(rows), impute.KNNImputer(**chosen).fit(rows)
    np.testing.assert_allclose(ours.transform(rows), theirs.transform(rows), rtol=1e-9, atol=1e-9)
    if not keep and not np.isnan(rows).all():  # scikit-learn forgets names of the columns that it keeps
        assert list(ours.get_feature_names_out()) == list(theirs.get_feature_names_out())


def test_donors_do_not_depend_on_the_order_of_rows() -> None:
    many = rng.integers(0, 4, size=(300, 3)).astype(float)  # with many rows as far as each other
    many[rng.random(many.shape) < 0.2] = np.nan
    first = og.KNNImputer(max_donors=50).fit(many)
    again = og.KNNImputer(max_donors=50).fit(rng.permutation(many))
    np.testing.assert_array_equal(first.donors_, again.donors_)
    whole = first.transform(many)
    np.testing.assert_array_equal(whole, np.vstack([again.transform(row[None]) for row in many]))
    assert first.donors_.shape == (50, 3)
    assert not np.array_equal(first.donors_, og.KNNImputer(max_donors=50, random_state=1).fit(many).donors_)
    with pytest.raises(ExportError, match=r"50 of \d+ rows"):
        first.to_sklearn()


def test_vectors_marks_and_other_columns() -> None:
    table = pa.table(
        {
            "v": pa.FixedSizeListArray.from_arrays(pa.array([1.0, -1, 2, -1, 3, -1]), 2),
            "n": [1.0, -1.0, 3.0],
            "m": [-1, -1, -1],
            "s": ["a", "b", None],
        }
    )
    imputer = og.KNNImputer(["v", "n", "m"], missing_values=-1, n_neighbors=1, add_indicator=True).fit(table)
    made = imputer.transform(table)
    assert made["n"].to_pylist() == [1.0, 1.0, 3.0] or made["n"].to_pylist() == [1.0, 3.0, 3.0]
    assert made["v_0"].to_pylist() == [1.0, 2.0, 3.0]
    assert "m" not in made.column_names
    assert "v_1" not in made.column_names
    assert made["missingindicator_n"].to_pylist() == [0.0, 1.0, 0.0]
    assert made["s"].to_pylist() == ["a", "b", None]
    with pytest.raises(TypeError, match="Sparse data was passed"):
        og.KNNImputer().fit(sp.csr_array(np.eye(3)))
    far = og.KNNImputer(n_neighbors=2).fit(np.array([[1e9, 1.0], [1e9 + 1, 2.0], [1e9 + 9, 9.0]]))
    np.testing.assert_allclose(far.transform([[1e9 + 0.4, np.nan]]), [[1e9 + 0.4, 1.5]])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(rows=holes, features=st.sampled_from(["all", "missing-only"]), sparse=st.sampled_from([True, "auto"]))
def test_indicators(rows: np.ndarray, features: str, sparse: Any) -> None:
    chosen: dict[str, Any] = {"features": features, "sparse": sparse, "error_on_new": False}
    ours, theirs = og.MissingIndicator(**chosen).fit(rows), impute.MissingIndicator(**chosen).fit(rows)
    np.testing.assert_array_equal(ours.features_, theirs.features_)
    new = np.where(rows > 0, np.nan, rows)
    for given_rows in (rows, new):
        made, expected = ours.transform(given_rows), theirs.transform(given_rows)
        if len(ours.features_):
            assert sp.issparse(made) == sp.issparse(expected)
        made, expected = (each.toarray() if sp.issparse(each) else each for each in (made, expected))
        np.testing.assert_array_equal(made, expected)
    assert list(ours.get_feature_names_out()) == list(theirs.get_feature_names_out())


def test_indicators_of_any_columns(tmp_path: Path) -> None:
    table = pa.table({"s": ["a", None], "t": pa.array([None, 1], pa.timestamp("s")), "n": [1.0, 2.0]})
    model = og.MissingIndicator().fit(table)
    made = model.transform(table)
    assert made.to_pydict() == {"missingindicator_s": [0.0, 1.0], "missingindicator_t": [1.0, 0.0]}
    marked = og.MissingIndicator(columns=["s"], missing_values="a").fit_transform(table)
    assert marked["missingindicator_s"].to_pylist() == [1.0, 1.0]
    with pytest.raises(DataError, match="have missing values in transform but have no missing values in fit"):
        model.transform(table.set_column(2, "n", pa.array([None, 2.0])))
    with pytest.raises(ParameterError, match="missing_values == 0 and input is sparse"):
        og.MissingIndicator(missing_values=0).fit(sp.csr_array(np.eye(2)))
    dense = og.MissingIndicator(features="all").fit(X)
    np.testing.assert_array_equal(dense.to_sklearn().transform(NEW), np.isnan(NEW))
    dense.to_onnx(tmp_path / "m.onnx")
    stored = sp.csr_array(np.array([[0.0, np.nan], [1.0, 0.0]]))
    made = og.MissingIndicator().fit_transform(stored)
    assert sp.issparse(made)
    assert made.toarray().tolist() == [[1.0], [0.0]]
