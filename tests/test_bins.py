"""Bins, ranks and random projections beside scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn import preprocessing, random_projection

import outgrow as og
from outgrow.errors import DataError, ParameterError
from outgrow.testing import EngineCase

shapes = array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=8)
tame = arrays(np.float64, shapes, elements=st.integers(-4, 4).map(float) | st.floats(-1e3, 1e3))
as_many_examples = settings(max_examples=50, deadline=None, derandomize=True)
quiet = pytest.mark.filterwarnings("ignore:Feature", "ignore:Bins", "ignore:n_quantiles")


@quiet
@as_many_examples
@given(
    X=tame,
    n_bins=st.integers(2, 5),
    strategy=st.sampled_from(["quantile", "uniform"]),
    method=st.sampled_from(["averaged_inverted_cdf", "linear"]),
    encode=st.sampled_from(["onehot", "onehot-dense", "ordinal"]),
)
def test_bins(X: np.ndarray, n_bins: int, strategy: str, method: str, encode: str) -> None:
    shared: dict[str, Any] = {"strategy": strategy, "quantile_method": method, "encode": encode}
    ours = og.KBinsDiscretizer(n_bins, **shared).fit(X)
    theirs = preprocessing.KBinsDiscretizer(n_bins, **shared, subsample=None).fit(X)
    for own, other in zip(ours.bin_edges_, theirs.bin_edges_, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-14, atol=1e-14)
    np.testing.assert_array_equal(ours.n_bins_, theirs.n_bins_)
    theirs.bin_edges_ = ours.bin_edges_  # which may differ in the last bit
    made, expected = ours.transform(X), theirs.transform(X)
    assert sp.issparse(made) == sp.issparse(expected)
    dense = [values.toarray() if sp.issparse(values) else values for values in (made, expected)]
    np.testing.assert_array_equal(*dense)
    assert list(ours.get_feature_names_out()) == list(theirs.get_feature_names_out())
    if np.isfinite(np.concatenate(list(ours.bin_edges_))).all():
        np.testing.assert_allclose(ours.inverse_transform(made), theirs.inverse_transform(expected))


def test_bins_around_centers() -> None:
    X = np.random.default_rng(0).normal(size=(500, 3)) ** 3
    ours = og.KBinsDiscretizer([3, 4, 5], strategy="kmeans").fit(X)
    theirs = preprocessing.KBinsDiscretizer(
        [3, 4, 5], strategy="kmeans", subsample=None, quantile_method="linear"
    ).fit(X)
    for own, other in zip(ours.bin_edges_, theirs.bin_edges_, strict=True):
        np.testing.assert_allclose(own, other, rtol=0.02, atol=0.02)  # the last steps are small


def test_given_edges_and_missing_values() -> None:
    rows = pa.table({"a": [-5.0, 0.0, 0.5, None, 99.0], "b": [1, 2, 3, 4, 5]})
    bins = og.KBinsDiscretizer(
        encode="ordinal", bin_edges=[-np.inf, 0, 1, np.inf], handle_missing="bin", columns=["a"]
    )
    made = bins.fit_transform(rows)
    assert made.to_pydict() == {"a": [0.0, 1.0, 1.0, 3.0, 2.0], "b": [1, 2, 3, 4, 5]}
    hot = og.KBinsDiscretizer(2, encode="onehot-dense", handle_missing="bin").fit_transform(
        np.array([[1.0], [np.nan], [2.0]])
    )
    assert hot.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    with pytest.raises(ValueError, match="NaN"):
        og.KBinsDiscretizer(2).fit(np.array([[1.0], [np.nan], [2.0]]))
    with pytest.raises(ParameterError, match="bin_edges has 3 lists, and there are 2 columns"):
        og.KBinsDiscretizer(bin_edges=[[0, 1, 2]] * 3).fit(np.ones((3, 2)))
    with pytest.raises(ParameterError, match="rising numbers"):
        og.KBinsDiscretizer(bin_edges=[0, 1, 1]).fit(np.ones((3, 2)))
    with pytest.raises(ParameterError, match="2 entries for 3 columns"):
        og.KBinsDiscretizer([2, 3]).fit(np.ones((3, 3)))
    with pytest.raises(DataError, match="no values"):
        og.KBinsDiscretizer(2, handle_missing="bin").fit(np.full((3, 1), np.nan))


@quiet
@as_many_examples
@given(
    X=tame,
    holes=st.booleans(),
    n_quantiles=st.sampled_from([1, 3, 10, 1000]),
    shape=st.sampled_from(["uniform", "normal"]),
)
def test_ranks(X: np.ndarray, holes: bool, n_quantiles: int, shape: str) -> None:
    if holes:
        X = np.where(X == 1, np.nan, X)
        X[0] = 7.0
    shared: dict[str, Any] = {"n_quantiles": n_quantiles, "output_distribution": shape}
    ours = og.QuantileTransformer(**shared).fit(X)
    theirs = preprocessing.QuantileTransformer(**shared, subsample=None).fit(X)
    np.testing.assert_allclose(ours.quantiles_, theirs.quantiles_, rtol=1e-14, atol=1e-11)
    theirs.quantiles_ = ours.quantiles_
    for rows in (X, X * 1.5 + 0.25):
        np.testing.assert_allclose(ours.transform(rows), theirs.transform(rows), rtol=1e-9, atol=1e-12)
    shares = np.clip(np.nan_to_num(X) / 1e3 + 0.5, 0, 1)
    np.testing.assert_allclose(ours.inverse_transform(shares), theirs.inverse_transform(shares), rtol=1e-9)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            og.GaussianRandomProjection(4, random_state=3),
            random_projection.GaussianRandomProjection(4, random_state=3),
        ),
        (
            og.SparseRandomProjection(4, random_state=3),
            random_projection.SparseRandomProjection(4, random_state=3),
        ),
        (
            og.SparseRandomProjection(4, density=1.0, random_state=3),
            random_projection.SparseRandomProjection(4, density=1.0, random_state=3),
        ),
        (
            og.GaussianRandomProjection(eps=0.5, random_state=0),
            random_projection.GaussianRandomProjection(eps=0.5, random_state=0),
        ),
    ],
    ids=["normal", "sparse", "signs", "auto"],
)
def test_projections_are_those_of_scikit_learn(ours: Any, theirs: Any, form: Any) -> None:
    X = np.random.default_rng(0).normal(size=(50, 300))
    made, expected = ours.fit_transform(form(X)), theirs.fit_transform(form(X))
    made, expected = (values.toarray() if sp.issparse(values) else values for values in (made, expected))
    np.testing.assert_allclose(made, expected, rtol=1e-12, atol=1e-12)
    if theirs.n_components != "auto":  # of which it makes no names
        assert list(ours.get_feature_names_out()) == list(theirs.get_feature_names_out())


WEIGHTS = {
    "counts": np.tile([0.0, 3.0, 1.0, 2.0], 30),
    "shares": np.random.default_rng(1).random(120),
    "of all sizes": np.random.default_rng(1).random(120) * 10.0 ** np.arange(-6, 6).repeat(10),
}


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("strategy", ["quantile", "uniform", "kmeans"])
def test_bins_of_rows_with_weights_are_those_of_scikit_learn(
    strategy: str, weight: str, engine: EngineCase
) -> None:
    X, w = np.random.default_rng(0).normal(size=(120, 3)).round(2), WEIGHTS[weight]
    theirs = preprocessing.KBinsDiscretizer(
        4, strategy=strategy, subsample=None, quantile_method="averaged_inverted_cdf"
    ).fit(X, sample_weight=w)
    rows = engine.open(pa.table({**{f"x{j}": X[:, j] for j in range(3)}, "w": w}))
    ours = og.KBinsDiscretizer(4, strategy=strategy).fit(rows, sample_weight="w")
    for own, other in zip(ours.bin_edges_, theirs.bin_edges_, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-12, 1e-300, 1e12, 1e300])
def test_bins_of_one_width_at_any_scale(scale: float) -> None:
    X = np.random.default_rng(0).normal(size=(60, 2))
    wanted = og.KBinsDiscretizer(3, encode="ordinal", strategy="uniform").fit_transform(X)
    found = og.KBinsDiscretizer(3, encode="ordinal", strategy="uniform").fit_transform(X * scale)
    np.testing.assert_array_equal(found, wanted)


def test_weights_of_bins_that_are_not_whole_are_equal_where_they_say_so() -> None:
    X = np.random.default_rng(0).normal(size=(1000, 2))
    plain, tenth = og.KBinsDiscretizer(20), og.KBinsDiscretizer(20)
    plain.fit(X), tenth.fit(X, sample_weight=np.full(1000, 0.1))
    np.testing.assert_array_equal(np.stack(plain.bin_edges_), np.stack(tenth.bin_edges_))


def test_weights_that_bins_cannot_heed() -> None:
    X = np.arange(6.0)[:, None]
    with pytest.raises(ParameterError, match="heeds no weights"):
        og.KBinsDiscretizer(2, quantile_method="linear").fit(X, sample_weight=np.ones(6))
    with pytest.raises(DataError, match="sample weight is above zero"):
        og.KBinsDiscretizer(2).fit(X, sample_weight=np.zeros(6))


def test_too_few_columns_for_a_projection() -> None:
    with pytest.raises(ParameterError, match=r"target dimension of \d+ which is larger"):
        og.GaussianRandomProjection().fit(np.ones((10, 5)))
    for projection in (og.GaussianRandomProjection(), og.SparseRandomProjection()):
        with pytest.raises(ParameterError, match="n_samples=1 lead to a target dimension of 0"):
            projection.fit(np.ones((1, 5)))


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("shape", ["uniform", "normal"])
def test_ranks_of_sparse_rows(ignore: bool, shape: str) -> None:
    X = sp.random_array((200, 4), density=0.4, random_state=0, format="csr")
    X.data[:3] = np.nan
    X = sp.csr_array(sp.hstack([X, sp.csr_array((200, 1))]))  # and a column of which nothing is stored
    shared: dict[str, Any] = {
        "n_quantiles": 20,
        "ignore_implicit_zeros": ignore,
        "output_distribution": shape,
    }
    ours = og.QuantileTransformer(**shared).fit(X)
    theirs = preprocessing.QuantileTransformer(**shared, subsample=None).fit(X)
    np.testing.assert_allclose(ours.quantiles_, theirs.quantiles_, rtol=1e-14)
    made = ours.transform(X)
    assert sp.issparse(made)
    np.testing.assert_allclose(made.toarray(), theirs.transform(X).toarray(), rtol=1e-12, atol=1e-12)
    back = theirs.inverse_transform(theirs.transform(X)).toarray()
    np.testing.assert_allclose(ours.inverse_transform(made).toarray(), back, rtol=1e-9, atol=1e-12)
    below = sp.csr_array(-X)
    if ignore:
        assert og.QuantileTransformer(**shared).fit_transform(below).shape == (200, 5)
        return
    for act in (og.QuantileTransformer(**shared).fit, ours.transform):
        with pytest.raises(DataError, match="only accepts non-negative sparse matrices"):
            act(below)
