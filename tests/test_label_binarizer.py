"""Classes as columns of two numbers: scikit-learn's, for a y and for columns."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import preprocessing

import outgrow as og
from outgrow.errors import DataError, ExportError, ParameterError
from outgrow.testing import EngineCase

YS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=9) | st.lists(
    st.integers(-2, 2), min_size=1, max_size=9
)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(YS, st.integers(-3, 0), st.integers(1, 3), st.booleans(), st.none() | st.sampled_from([-1.0, 0.3]))
def test_numbers_of_scikit_learn(y: Any, off: int, on: int, sparse: bool, threshold: Any) -> None:
    parameters = {"neg_label": 0 if sparse else off, "pos_label": on, "sparse_output": sparse}
    ours, theirs = og.LabelBinarizer(**parameters), preprocessing.LabelBinarizer(**parameters)
    made, expected = ours.fit_transform(y), theirs.fit_transform(y)
    assert ours.classes_.tolist() == theirs.classes_.tolist()
    assert sp.issparse(made) == sp.issparse(expected) == sparse
    assert made.dtype == np.int64
    np.testing.assert_array_equal(_dense(made), _dense(expected))
    back = ours.inverse_transform(made, threshold)
    np.testing.assert_array_equal(back, theirs.inverse_transform(expected, threshold))
    if threshold is None:
        assert back.tolist() == list(y)


def _dense(made: Any) -> np.ndarray:
    dense: np.ndarray = made.toarray() if sp.issparse(made) else made
    return dense


def test_scores_become_classes() -> None:
    scores = np.random.default_rng(0).normal(size=(20, 3))
    for y, given_scores in (("abc", scores), ("ab", scores[:, :1]), ("a", scores[:, :1])):
        ours, theirs = og.LabelBinarizer().fit(list(y)), preprocessing.LabelBinarizer().fit(list(y))
        for form in (np.asarray, sp.csr_array):
            found = ours.inverse_transform(form(given_scores), threshold=0)
            assert found.tolist() == theirs.inverse_transform(given_scores, threshold=0).tolist()
    with pytest.raises(DataError, match="Expected 1 columns"):
        ours.inverse_transform(scores)


def test_unknown_classes_are_none_of_those_known() -> None:
    three = og.LabelBinarizer(neg_label=-1).fit(["a", "b", "c"])
    assert three.transform(["z", "b"]).tolist() == [[-1, -1, -1], [-1, 1, -1]]
    with pytest.warns(UserWarning, match="unknown categories"):
        assert og.LabelBinarizer().fit([1, 2]).transform([3]).tolist() == [[0]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert og.LabelBinarizer().fit([1]).transform([3, 1]).tolist() == [[0], [0]]


def test_missing_is_a_class() -> None:
    binarizer = og.LabelBinarizer().fit(["b", None, "a"])
    assert binarizer.transform([None, "b"]).tolist() == [[0, 0, 1], [0, 1, 0]]
    assert binarizer.inverse_transform([[0, 0, 1], [1, 0, 0]]).tolist() == [None, "a"]


@pytest.mark.parametrize("sparse", [False, True])
def test_columns_of_every_engine(engine: EngineCase, sparse: bool, tmp_path: Path) -> None:
    rows = pa.table({"y": ["b", "a", "b"], "z": [1, 2, 3], "x": [0.5, 1.5, 2.5], "one": ["k"] * 3})
    binarizer = og.LabelBinarizer(["y", "z", "one"], pos_label=2, sparse_output=sparse)
    binarizer.fit(engine.open(rows)).save(tmp_path / "model")
    made = og.load(tmp_path / "model").transform(rows)
    assert made.to_pydict() == {
        "y_b": [2, 0, 2],
        "z_1": [2, 0, 0],
        "z_2": [0, 2, 0],
        "z_3": [0, 0, 2],
        "one_k": [0, 0, 0],
        "x": [0.5, 1.5, 2.5],
    }
    assert binarizer.inverse_transform(made).select(rows.column_names).equals(rows)


def test_what_cannot_be_is_refused() -> None:
    for wrong in ({"neg_label": 1}, {"neg_label": -1, "sparse_output": True}):
        with pytest.raises(ParameterError, match="neg_label"):
            og.LabelBinarizer(**wrong).fit(["a", "b"])
    with pytest.raises(ExportError, match="zeros and ones"):
        og.LabelBinarizer(neg_label=-1).fit(pa.table({"y": ["a", "b"]})).to_sklearn()
