"""Scalers and other changes of numbers beside scikit-learn's and SciPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.fft
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn import preprocessing

import outgrow as og
from outgrow.errors import ParameterError

tame = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 1.0, 1e-300, 1e300])
shapes = array_shapes(min_dims=2, max_dims=2, max_side=6)
with_holes = arrays(np.float64, shapes, elements=tame | st.just(np.nan))
without = arrays(np.float64, shapes, elements=tame)
as_many_examples = settings(max_examples=40, deadline=None, derandomize=True)
quiet = pytest.mark.filterwarnings(
    "ignore:All-NaN", "ignore:overflow", "ignore:invalid value", "ignore:divide"
)


def same(ours: Any, theirs: Any, names: list[str], X: Any, tolerance: float = 0.0) -> None:
    """Both learned and give the same."""
    for name in names:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=tolerance, err_msg=name)
    given, expected = ours.transform(X), theirs.transform(X)
    if sp.issparse(expected):
        assert sp.issparse(given)
        given, expected = given.toarray(), expected.toarray()
    np.testing.assert_allclose(given, expected, rtol=max(tolerance, 1e-15), atol=0)


@quiet
@as_many_examples
@given(X=with_holes, clip=st.booleans(), cut=st.integers(1, 5))
def test_max_abs_scaler(X: np.ndarray, clip: bool, cut: int) -> None:
    theirs = preprocessing.MaxAbsScaler(clip=clip).fit(X)
    grown = og.MaxAbsScaler(clip=clip)
    for part in [part for part in (X[:cut], X[cut:]) if len(part)]:
        grown.partial_fit(part)
    for ours in (og.MaxAbsScaler(clip=clip).fit(X), grown):
        same(ours, theirs, ["max_abs_", "scale_", "n_samples_seen_"], X * 1.5 + 1)
    sparse = sp.csr_array(X)
    ours, theirs = og.MaxAbsScaler(clip=clip).fit(sparse), preprocessing.MaxAbsScaler(clip=clip).fit(sparse)
    same(ours, theirs, ["max_abs_", "scale_"], sparse * 1.5)
    np.testing.assert_array_equal(ours.inverse_transform(sparse).toarray(), (X * ours.scale_))


@quiet
@as_many_examples
@given(
    X=with_holes,
    centred=st.booleans(),
    scaled=st.booleans(),
    ends=st.sampled_from([(25.0, 75.0), (0, 100), (10, 10)]),
)
def test_robust_scaler(X: np.ndarray, centred: bool, scaled: bool, ends: Any) -> None:
    chosen: dict[str, Any] = {"with_centering": centred, "with_scaling": scaled, "quantile_range": ends}
    ours, theirs = og.RobustScaler(**chosen).fit(X), preprocessing.RobustScaler(**chosen).fit(X)
    names = ["center_"] * centred + ["scale_"] * scaled
    same(ours, theirs, names, X * 1.5 + 1, tolerance=1e-15)
    np.testing.assert_allclose(ours.inverse_transform(X), theirs.inverse_transform(X), rtol=1e-15)


def test_robust_scaler_of_sparse_and_normal_columns() -> None:
    X = sp.random_array((200, 5), density=0.4, random_state=0, format="csr")
    ours, theirs = (
        kind(with_centering=False).fit(X) for kind in (og.RobustScaler, preprocessing.RobustScaler)
    )
    same(ours, theirs, ["scale_"], X, tolerance=1e-14)
    with pytest.raises(ParameterError, match="Cannot center sparse matrices"):
        og.RobustScaler().fit(X)
    Z = np.random.default_rng(0).normal(3, 2, (2_000, 2))
    ours, theirs = (kind(unit_variance=True).fit(Z) for kind in (og.RobustScaler, preprocessing.RobustScaler))
    same(ours, theirs, ["center_", "scale_"], Z, tolerance=1e-14)
    for wrong in ({"quantile_range": (60, 40)}, {"quantile_range": (-1, 50)}):
        with pytest.raises(ParameterError, match="Invalid quantile range"):
            og.RobustScaler(**wrong).fit(Z)
    with pytest.raises(ParameterError, match="no finite distance"):
        og.RobustScaler(unit_variance=True, quantile_range=(0, 100)).fit(Z)


@as_many_examples
@given(X=without, threshold=st.sampled_from([0.0, 1.0, -2.5]))
def test_binarizer(X: np.ndarray, threshold: float) -> None:
    ours = og.Binarizer(threshold=threshold).fit(X)
    theirs = preprocessing.Binarizer(threshold=threshold)
    np.testing.assert_array_equal(ours.transform(X), theirs.transform(X))
    if threshold >= 0:
        given = og.Binarizer(threshold=threshold).fit_transform(sp.csr_array(X))
        np.testing.assert_array_equal(given.toarray(), theirs.transform(X))
        assert (given.data == 1).all()
    else:
        with pytest.raises(ParameterError, match="threshold < 0"):
            og.Binarizer(threshold=threshold).fit(sp.csr_array(X))


def test_one_threshold_or_factor_for_each_column() -> None:
    X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    expected = (X > [1, 2, 5]).astype(float)
    np.testing.assert_array_equal(og.Binarizer(threshold=[1, 2, 5]).fit_transform(X), expected)
    given = og.Binarizer(threshold=[1, 2, 5]).fit_transform(sp.csr_array(X))
    np.testing.assert_array_equal(given.toarray(), expected)
    np.testing.assert_array_equal(og.ElementwiseProduct([2, 0, -1]).fit_transform(X), X * [2, 0, -1])
    np.testing.assert_array_equal(og.ElementwiseProduct(3).fit_transform(sp.csr_array(X)).toarray(), X * 3)
    vectors = pa.table({"v": pa.FixedSizeListArray.from_arrays(X.ravel(), 3), "a": [1.0, 2.0]})
    changed = og.ElementwiseProduct([2, 0, -1, 7]).fit_transform(vectors)
    np.testing.assert_array_equal(np.column_stack(changed.columns)[:, :3], X * [2, 0, -1])
    assert changed["a"].to_pylist() == [7.0, 14.0]
    for wrong in (og.Binarizer(threshold=[1, 2]), og.ElementwiseProduct([1, 2])):
        with pytest.raises(ParameterError, match="has 2 entries, and there are 3 columns"):
            wrong.fit(X)


@quiet
@as_many_examples
@given(X=without, norm=st.sampled_from(["l1", "l2", "max"]))
def test_normalizer(X: np.ndarray, norm: str) -> None:
    X = np.where(np.abs(X) < 1e-14, 0.0, np.clip(X, -1e100, 1e100))  # it leaves tiny rows alone if dense
    ours, theirs = og.Normalizer(norm).fit(X), preprocessing.Normalizer(norm=norm)
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), rtol=1e-15)
    given = og.Normalizer(norm).fit_transform(sp.csr_array(X))
    np.testing.assert_allclose(given.toarray(), theirs.transform(X), rtol=1e-15)


def test_normalizer_looks_at_all_columns_of_a_row() -> None:
    X = np.array([[1.0, 2.0, 2.0], [0.0, 0.0, 0.0]])
    table = pa.table(
        {"v": pa.FixedSizeListArray.from_arrays(X[:, 1:].ravel(), 2), "a": X[:, 0], "w": ["x", "y"]}
    )
    changed = og.Normalizer(columns=["a", "v"]).fit_transform(table)
    np.testing.assert_array_equal(np.column_stack(changed.columns[:3]), np.array([[2, 2, 1], [0, 0, 0]]) / 3)
    assert changed["w"] == table["w"]
    np.testing.assert_allclose(og.Normalizer(3).fit_transform(X)[0], X[0] / 17 ** (1 / 3))
    with pytest.raises(ValueError, match="NaN"):
        og.Normalizer().fit_transform([[np.nan]])


@as_many_examples
@given(X=without)
def test_dct(X: np.ndarray) -> None:
    X = np.clip(X, -1e6, 1e6)
    np.testing.assert_array_equal(og.DCT().fit_transform(X), scipy.fft.dct(X, norm="ortho"))
    np.testing.assert_array_equal(og.DCT(inverse=True).fit_transform(X), scipy.fft.idct(X, norm="ortho"))
    back = og.DCT().fit(X)
    np.testing.assert_allclose(back.inverse_transform(back.transform(X)), X, atol=1e-8)


@pytest.mark.parametrize("degree", [0, 1, 2, 3, (2, 3), (0, 0), (3, 3)])
@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_polynomial_features(degree: Any, once: bool, bias: bool) -> None:
    X = np.random.default_rng(0).integers(-3, 4, (7, 4)) / 2
    chosen: dict[str, Any] = {"interaction_only": once, "include_bias": bias}
    ours, theirs = og.PolynomialFeatures(degree, **chosen), preprocessing.PolynomialFeatures(degree, **chosen)
    if degree in (0, (0, 0)) and not bias:
        with pytest.raises(ParameterError, match="empty output array"):
            ours.fit(X)
        return
    np.testing.assert_array_equal(ours.fit_transform(X), theirs.fit_transform(X))
    np.testing.assert_array_equal(ours.powers_, theirs.powers_)
    assert ours.n_output_features_ == theirs.n_output_features_
    assert list(ours.get_feature_names_out()) == list(theirs.get_feature_names_out())
    names = ["a b", "b", "c", "d"]
    assert list(ours.get_feature_names_out(names)) == list(theirs.get_feature_names_out(names))
    sparse = og.PolynomialFeatures(degree, **chosen).fit_transform(sp.csr_array(X))
    np.testing.assert_array_equal(sparse.toarray(), theirs.transform(X))


def test_chosen_interactions() -> None:
    rows = pa.table({"wind": [1.0, 2.0], "rain": [3.0, 5.0], "day": ["x", "y"]})
    made = og.PolynomialFeatures(
        columns=["wind", "rain"], interactions=[["rain", "wind"], ["wind", "wind"]], include_bias=False
    ).fit_transform(rows)
    assert made.to_pydict() == {
        "wind": [1.0, 2.0],
        "rain": [3.0, 5.0],
        "wind rain": [3.0, 10.0],
        "wind^2": [1.0, 4.0],
        "day": ["x", "y"],
    }
    with pytest.raises(ParameterError, match="no column 'snow'"):
        og.PolynomialFeatures(columns=["wind", "rain"], interactions=[["snow"]]).fit(rows)
    with pytest.raises(ParameterError, match="at most 1,000,000"):
        og.PolynomialFeatures(9).fit(np.zeros((2, 50)))
