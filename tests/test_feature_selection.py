"""Selection of columns beside scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import feature_selection as peer

import outgrow as og
from outgrow.errors import DataError, ParameterError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 6)) + 5
LABELS = np.array(["red", "green", "blue"])[
    np.digitize(X[:, 0] + 0.3 * X[:, 3] + RNG.normal(size=300), [6, 7])
]
NUMBERS = X @ [1.0, 0, 0.2, 0, 0, -3] + RNG.normal(size=300)
COUNTS = RNG.poisson(1.0, size=(300, 6)) * (RNG.random((300, 6)) < 0.4)
CASES = [
    ("f_classif", X, LABELS),
    ("f_classif", COUNTS.astype(float), LABELS),
    ("chi2", COUNTS.astype(float), LABELS),
    ("f_regression", X, NUMBERS),
    ("r_regression", X, NUMBERS),
]


@pytest.mark.parametrize(("name", "rows", "y"), CASES, ids=[case[0] for case in CASES])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array, "table"])
def test_scores_are_those_of_scikit_learn(name: str, rows: np.ndarray, y: np.ndarray, form: Any) -> None:
    theirs = peer.SelectKBest(getattr(peer, name), k=3).fit(rows, y)
    given = pa.table({f"x{j}": rows[:, j] for j in range(6)}) if form == "table" else form(rows)
    for score_func in (name, getattr(peer, name)):
        ours = og.SelectKBest(score_func, k=3).fit(given, y)
        np.testing.assert_allclose(ours.scores_, theirs.scores_, rtol=1e-10)
        if name != "r_regression":
            np.testing.assert_allclose(ours.pvalues_, theirs.pvalues_, rtol=1e-8, atol=1e-300)
        np.testing.assert_array_equal(ours.get_support(), theirs.get_support())
        np.testing.assert_array_equal(ours.get_support(indices=True), theirs.get_support(indices=True))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_choices_are_those_of_scikit_learn(data: st.DataObject) -> None:
    width = data.draw(st.integers(1, 6))
    columns = data.draw(st.lists(st.integers(0, 5), min_size=width, max_size=width))  # some twice: ties
    rows, alpha = X[:, columns], data.draw(st.sampled_from([0.0, 1e-6, 0.05, 0.5, 1.0]))
    pairs = [
        (og.SelectKBest(k=min(2, width)), peer.SelectKBest(k=min(2, width))),
        (og.SelectPercentile(percentile=100 * alpha), peer.SelectPercentile(percentile=100 * alpha)),
        (og.SelectFpr(alpha=alpha), peer.SelectFpr(alpha=alpha)),
        (og.SelectFdr(alpha=alpha), peer.SelectFdr(alpha=alpha)),
        (og.SelectFwe(alpha=alpha), peer.SelectFwe(alpha=alpha)),
    ]
    for ours, theirs in pairs:
        expected = theirs.fit(rows, LABELS)
        np.testing.assert_array_equal(ours.fit(rows, LABELS).get_support(), expected.get_support())


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.1])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_variance_threshold(threshold: float, form: Any) -> None:
    rows = np.column_stack([X, np.zeros(300), np.full(300, 0.1), X[:, 0] * 2])
    ours, theirs = og.VarianceThreshold(threshold), peer.VarianceThreshold(threshold)
    given, expected = ours.fit_transform(form(rows)), theirs.fit_transform(form(rows))
    if sp.issparse(expected):
        given, expected = given.toarray(), expected.toarray()
    np.testing.assert_array_equal(given, expected)
    np.testing.assert_allclose(ours.variances_, theirs.variances_, rtol=1e-10, atol=1e-12)
    back = ours.inverse_transform(form(np.asarray(given)))
    back = back.toarray() if sp.issparse(back) else back
    np.testing.assert_array_equal(back, theirs.inverse_transform(expected))


def test_missing_values_count_for_nothing_in_variances() -> None:
    rows = np.array([[1.0, np.nan, 3.0], [1.0, np.nan, np.nan], [1.0, np.nan, 4.0]])
    ours = og.VarianceThreshold().fit(rows)
    assert ours.get_support().tolist() == [False, False, True]
    with pytest.raises(DataError, match=r"No feature in X meets the variance threshold 9\.00000"):
        og.VarianceThreshold(9.0).fit(rows)


def test_vectors_keep_some_of_their_numbers_and_other_columns_stay() -> None:
    vectors = pa.FixedSizeListArray.from_arrays(np.column_stack([X[:, 1], X[:, 5], X[:, 0]]).ravel(), 3)
    table = pa.table({"word": LABELS, "v": vectors, "a": X[:, 2], "y": NUMBERS})
    chosen = og.SelectKBest("f_regression", k=2, columns=["v", "a"]).fit(table, "y")
    assert chosen.get_support().tolist() == [False, True, True, False]
    made = chosen.transform(table.drop(["y"]))
    np.testing.assert_array_equal(np.column_stack(made.columns[1:]), X[:, [5, 0]])
    assert made["word"] == table["word"]


def test_what_cannot_be_chosen_by_is_refused() -> None:
    with pytest.raises(DataError, match="Input X must be non-negative"):
        og.SelectKBest("chi2").fit(X - 9, LABELS)
    with pytest.raises(ParameterError, match="r_regression has none"):
        og.SelectFpr("r_regression").fit(X, NUMBERS)
    with pytest.raises(ParameterError, match="score_func must be one of 'f_classif'"):
        og.SelectKBest("f_clasif").fit(X, LABELS)
    with pytest.raises(ParameterError, match="y"):
        og.SelectKBest().fit(X)
