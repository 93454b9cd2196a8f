"""SplineTransformer beside scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn import preprocessing

import outgrow as og
from outgrow.errors import DataError, ParameterError
from outgrow.ml.export.onnx.run import feeds, run
from outgrow.ml.preprocessing import spline_transformer

shapes = array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=7)
tame = arrays(
    np.float64, shapes, elements=st.integers(-4, 4).map(float) | st.floats(-1e3, 1e3).map(np.float32)
)
EXTRAPOLATIONS = ["constant", "linear", "continue", "periodic"]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    X=tame,
    n_knots=st.integers(2, 6),
    degree=st.integers(0, 4),
    knots=st.sampled_from(["uniform", "quantile"]),
    extrapolation=st.sampled_from(EXTRAPOLATIONS),
    include_bias=st.booleans(),
    sparse=st.booleans(),
    holes=st.booleans(),
    compiled=st.booleans(),
)
def test_splines(
    X: np.ndarray,
    n_knots: int,
    degree: int,
    knots: str,
    extrapolation: str,
    include_bias: bool,
    sparse: bool,
    holes: bool,
    compiled: bool,
) -> None:
    include_bias = include_bias or (degree == 0)  # or nothing may be left
    if extrapolation == "periodic":
        n_knots = max(n_knots, degree + 1)
    if np.ptp(X, axis=0).min() < 1e-3:
        knots = "uniform"
        X[0] += 1.0
    if knots == "quantile":
        X = X + np.arange(X.size).reshape(X.shape)  # with equal knots scikit-learn divides by nothing
    chosen: dict[str, Any] = {
        "degree": degree,
        "knots": knots,
        "extrapolation": extrapolation,
        "include_bias": include_bias,
        "handle_missing": "zeros" if holes else "error",
    }
    ours = og.SplineTransformer(n_knots, **chosen, sparse_output=sparse).fit(X)
    theirs = preprocessing.SplineTransformer(n_knots, **chosen).fit(X)
    each = [preprocessing.SplineTransformer(n_knots, **chosen).fit(x[:, None]) for x in X.T]
    np.testing.assert_allclose(ours.knots_.T, [own.t for own in theirs.bsplines_], rtol=1e-12, atol=1e-9)
    for alone, own in zip(each, ours.bsplines_, strict=True):
        alone.bsplines_ = [own]  # which may differ in the last bit, and all splines of degree 0 then
    new = [X, X * 1.5 - 3] if degree else [np.clip(X * 1.5 - 3, X.min(axis=0), X.max(axis=0))]
    for rows in new:
        if holes:
            rows = np.where(rows > rows.mean(), np.nan, rows)
        # one by one, as scikit-learn takes a wrong knot for the second one of degree 1, extrapolated linearly
        expected = np.hstack([own.transform(x[:, None]) for own, x in zip(each, rows.T, strict=True)])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(spline_transformer, "_WORTH", 0 if compiled else rows.size + 1)
            made = ours.transform(rows)
        assert sp.issparse(made) == sparse
        made = made.toarray() if sparse else made
        np.testing.assert_allclose(made, expected, rtol=1e-9, atol=1e-9 * max(1.0, np.abs(expected).max()))
    assert list(ours.get_feature_names_out()) == list(theirs.get_feature_names_out())
    assert ours.n_features_out_ == theirs.n_features_out_
    if (degree == 0 and sparse) or (degree < 2 and extrapolation == "linear"):
        return  # which scikit-learn does not get through, and does wrongly
    back = ours.to_sklearn().transform(X)
    expected = ours.transform(X)
    dense = [each.toarray() if sp.issparse(each) else each for each in (back, expected)]
    np.testing.assert_allclose(*dense, atol=1e-12)


@pytest.mark.parametrize("extrapolation", EXTRAPOLATIONS)
@pytest.mark.parametrize("degree", [0, 1, 3])
def test_splines_in_onnx(tmp_path: Any, extrapolation: str, degree: int) -> None:
    X = np.random.default_rng(0).normal(size=(200, 2))
    ours = og.SplineTransformer(
        5, degree=degree, extrapolation=extrapolation, knots="quantile", handle_missing="zeros"
    ).fit(X)
    new = np.concatenate([X * 2, [[np.nan, 0.3]], [ours.knots_[degree]], [ours.knots_[-degree - 1]]])
    ours.to_onnx(tmp_path / "splines.onnx")
    rows = feeds(pa.table({"x0": new[:, 0], "x1": new[:, 1]}), ours.columns_)
    (made,) = run((tmp_path / "splines.onnx").read_bytes(), rows).values()
    np.testing.assert_allclose(made, ours.transform(new), rtol=1e-12, atol=1e-12)


def test_given_knots_and_equal_ones() -> None:
    X = np.linspace(0, 10, 21)[:, None]
    knots = [0.0, 2.0, 5.0, 10.0]
    ours = og.SplineTransformer(knots=knots).fit(X)
    theirs = preprocessing.SplineTransformer(knots=np.array(knots)[:, None]).fit(X)
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), atol=1e-14)
    np.testing.assert_allclose(ours.transform(X).sum(axis=1), 1)
    ties = np.array([[0.0], [1.0], [1.0], [1.0], [1.0], [1.0], [2.0]])
    for extrapolation in ("constant", "periodic"):
        chosen: dict[str, Any] = {"knots": "quantile", "extrapolation": extrapolation, "degree": 2}
        ours, theirs = (
            kind(n_knots=5, **chosen).fit(ties)
            for kind in (og.SplineTransformer, preprocessing.SplineTransformer)
        )
        np.testing.assert_allclose(ours.transform(ties), theirs.transform(ties), atol=1e-14)
    constant = og.SplineTransformer().fit(np.ones((4, 1)))
    assert np.isfinite(constant.transform([[0.0], [1.0], [7.0]])).all()


def test_what_splines_refuse() -> None:
    X = np.linspace(0, 1, 9)[:, None]
    with pytest.raises(DataError, match="beyond the limits of the knots, such as 2"):
        og.SplineTransformer(extrapolation="error").fit(X).transform([[2.0]])
    with pytest.raises(ParameterError, match="Periodic splines require degree < n_knots"):
        og.SplineTransformer(3, extrapolation="periodic").fit(X)
    for wrong, match in (
        ([1.0], "must be >= 2"),
        ([1.0, 1.0], "without duplicates"),
        ([[0.0, 1.0], [1.0, 2.0]], "knots are for 2 columns, and there are 1"),
    ):
        with pytest.raises(ParameterError, match=match):
            og.SplineTransformer(knots=wrong).fit(X)
    with pytest.raises(ValueError, match="NaN"):
        og.SplineTransformer().fit([[np.nan], [1.0]])
    holes = np.array([[np.nan, 1.0], [np.nan, 2.0]])
    made = og.SplineTransformer(3, degree=1, handle_missing="zeros").fit_transform(holes)
    assert made.tolist() == [[0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]]


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_lines_beyond_quantiles_that_are_one_value(degree: int) -> None:
    """Where many rows have the least value, several knots are one; the line goes on from there as inside."""
    X = np.array([0.0] * 5 + [1.0, 2.0, 3.0, 4.0] + [5.0, 6.0])[:, None]
    options = {"knots": "quantile", "extrapolation": "linear", "n_knots": 5, "degree": degree}
    ours, theirs = (
        kind(**options).fit(X) for kind in (og.SplineTransformer, preprocessing.SplineTransformer)
    )
    beyond = np.array([[-2.0], [-1.0], [0.0], [0.5], [6.0], [8.0]])
    if degree > 2:  # of lower ones, scikit-learn forgets one of the two splines there
        np.testing.assert_allclose(ours.transform(beyond), theirs.transform(beyond), atol=1e-9)
    inside = ours.transform(np.array([[1e-7]])) - ours.transform(np.array([[0.0]]))
    step = ours.transform(np.array([[0.0]])) - ours.transform(np.array([[-1e-7]]))
    np.testing.assert_allclose(step, inside, atol=1e-12)


@pytest.mark.parametrize("knots", ["uniform", "quantile"])
def test_knots_of_rows_with_weights_are_those_of_scikit_learn(knots: str) -> None:
    random = np.random.default_rng(0)
    X, w = random.normal(size=(120, 3)), np.where(random.random(120) < 0.3, 0.0, random.random(120))
    ours = og.SplineTransformer(knots=knots).fit(X, sample_weight=w)
    theirs = preprocessing.SplineTransformer(knots=knots).fit(X, sample_weight=w)
    for own, other in zip(ours.bsplines_, theirs.bsplines_, strict=True):
        np.testing.assert_allclose(own.t, other.t, rtol=1e-12)
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), rtol=1e-12, atol=1e-12)
    with pytest.raises(DataError, match="No row that weighs something has a value"):
        ours.fit(X, sample_weight=np.zeros(120))


@pytest.mark.parametrize("knots", ["uniform", "quantile"])
def test_missing_values_are_refused_at_the_fit(knots: str) -> None:
    rows = pa.table({"x": [1.0, None, 3.0, 4.0]})
    with pytest.raises(DataError, match="Input X contains NaN"):
        og.SplineTransformer(knots=knots).fit(rows)
