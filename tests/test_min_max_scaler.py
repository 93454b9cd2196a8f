"""MinMaxScaler beside scikit-learn's."""

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

values = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 1.0, 1e-300, 1e300, np.nan])
LEARNED = ["data_min_", "data_max_", "data_range_", "scale_", "min_", "n_samples_seen_"]


@pytest.mark.filterwarnings("ignore:All-NaN", "ignore:overflow", "ignore:invalid value")
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    X=arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=values),
    ends=st.sampled_from([(0, 1), (-1.0, 1.0), (5, 9.5)]),
    clip=st.booleans(),
    cut=st.integers(1, 5),
)
def test_learns_and_answers_to_the_bit_what_scikit_learn_does(
    X: np.ndarray, ends: Any, clip: bool, cut: int
) -> None:
    ours, theirs = og.MinMaxScaler(ends, clip=clip), preprocessing.MinMaxScaler(ends, clip=clip)
    for part in [part for part in (X[:cut], X[cut:]) if len(part)]:
        ours.partial_fit(part)
    theirs.fit(X)  # whose partial_fit would keep NaN for a column that was empty at first
    for model in (ours, og.MinMaxScaler(ends, clip=clip).fit(X)):
        for name in LEARNED:
            np.testing.assert_array_equal(getattr(model, name), getattr(theirs, name), name)
        other = X * 1.5 + 1
        np.testing.assert_array_equal(model.transform(other), theirs.transform(other))
        np.testing.assert_array_equal(model.inverse_transform(other), theirs.inverse_transform(other))


def test_what_it_refuses_is_said() -> None:
    with pytest.raises(ParameterError, match=r"Minimum of desired feature range .* \(1, 1\)"):
        og.MinMaxScaler((1, 1)).fit([[1.0]])
    for ends in ((0, np.inf), (-np.inf, 0), (0, np.nan), (False, 2), np.array([0, 1]), "01"):
        with pytest.raises(ParameterError, match="feature_range must be a pair of finite numbers"):
            og.MinMaxScaler(ends).fit([[1.0]])
    with pytest.raises(ParameterError, match="MinMaxScaler does not support sparse input"):
        og.MinMaxScaler().fit(sp.csr_array(np.eye(3)))
    with pytest.raises(ParameterError, match="does not support sparse input"):
        og.Pipeline([og.OneHotEncoder(), og.MinMaxScaler()]).fit(pa.table({"a": ["x", "y"]}))
    with pytest.raises(DataError, match="infinity"):
        og.MinMaxScaler().fit(pa.table({"a": [1.0, np.inf]}))


def test_vectors_and_other_columns() -> None:
    X = np.random.default_rng(0).normal(size=(20, 3))
    table = pa.table(
        {"a": X[:, 0], "v": pa.FixedSizeListArray.from_arrays(X[:, 1:].ravel(), 2), "w": ["x"] * 20}
    )
    changed = og.MinMaxScaler(columns=["v", "a"]).fit(table).transform(table)
    expected = preprocessing.MinMaxScaler().fit_transform(X)
    np.testing.assert_array_equal(np.column_stack(changed.columns[:3]), expected)
    assert changed["w"] == table["w"]
