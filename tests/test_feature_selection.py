"""Selection of columns beside scikit-learn's."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import feature_selection as peer

import outgrow as og
from outgrow.data.hashing import column_hash, matrix_hash, mix, seeded
from outgrow.engine.shard import Shard
from outgrow.engine.together import together
from outgrow.errors import ColumnNotFoundError, DataError, ParameterError
from outgrow.ml.core.task import Task
from outgrow.ml.feature_selection import mutual_information
from outgrow.ml.feature_selection.neighbour_information import of_numbers, of_numbers_and_classes

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


# ---- slices ------------------------------------------------------------------------------------------------


def test_numbers_of_vectors_are_kept_by_place_and_name() -> None:
    vectors = pa.FixedSizeListArray.from_arrays(X[:, :4].ravel(), 4)
    table = pa.table({"word": LABELS, "v": vectors, "a": X[:, 4], "b": X[:, 5]})
    slicer = og.VectorSlicer([3, 0], names=["v_1", "b"], columns=["v", "a", "b"])
    made = slicer.fit(table).transform(table)
    assert made.column_names == ["word", "v_0", "v_1", "v_3", "b"]
    np.testing.assert_array_equal(np.column_stack(made.columns[1:]), X[:, [0, 1, 3, 5]])
    named = og.Pipeline([og.OneHotEncoder(columns="word"), og.VectorSlicer(names=["word_red", "a"])])
    assert named.fit(table).transform(table).column_names == ["word_red", "a"]
    sliced = og.VectorSlicer([1]).fit_transform(sp.csr_array(COUNTS.astype(float)))
    np.testing.assert_array_equal(sliced.toarray(), COUNTS[:, [1]])


def test_slices_that_are_not_there_are_refused() -> None:
    with pytest.raises(ParameterError, match="no place 6 among 6"):
        og.VectorSlicer([6]).fit(X)
    with pytest.raises(ColumnNotFoundError, match="No number 'x9'"):
        og.VectorSlicer(names=["x9"]).fit(X)
    with pytest.raises(ParameterError, match="keeps nothing"):
        og.VectorSlicer([]).fit(X)
    with pytest.raises(ParameterError, match="indices must be"):
        og.VectorSlicer([-1]).fit(X)


def test_selections_side_by_side_share_one_pass() -> None:
    table = pa.table({**{f"x{j}": COUNTS[:, j].astype(float) for j in range(6)}, "y": LABELS})
    rows, task = og.dataset(table), Task("y", None, tuple(f"x{j}" for j in range(6)))
    choices = [og.SelectKBest(k=2), og.SelectKBest("chi2", k=2), og.VarianceThreshold()]

    def fit(shard: Shard) -> int:
        together(shard, [lambda part, one=one: one._fit_shard(part, task) for one in choices])
        return shard.run.passes

    assert rows.engine.fit(fit, rows.scan, stage="fit").result == 1
    expected = peer.SelectKBest(peer.chi2, k=2).fit(COUNTS, LABELS)
    np.testing.assert_array_equal(choices[1].support_, expected.get_support())


# ---- mutual information ------------------------------------------------------------------------------------


@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("form", [np.asarray, "table", "part"])
def test_mutual_information_is_that_of_scikit_learn(
    regression: bool, form: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    y = NUMBERS if regression else LABELS
    function = peer.mutual_info_regression if regression else peer.mutual_info_classif
    bits = NUMBERS.view(np.uint64) if regression else column_hash(pa.array(LABELS), "y")
    order = np.argsort(seeded(matrix_hash(X) + mix(bits), 0))
    if form == "part":
        monkeypatch.setattr(mutual_information, "MOST_ROWS", 90)
        order = order[:90]
    given = pa.table({f"x{j}": X[:, j] for j in range(6)}) if form == "table" else X
    ours = og.SelectKBest(function, k=2).fit(given, y)
    expected = [float(function(X[order][:, [j]], y[order], random_state=0)[0]) for j in range(6)]
    np.testing.assert_allclose(ours.scores_, expected, rtol=1e-12)
    assert ours.pvalues_ is None
    if form != "part":
        np.testing.assert_allclose(ours.scores_, function(X, y, random_state=0), atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e-300, 1e300])
def test_mutual_information_does_not_depend_on_the_scale(scale: float) -> None:
    x, y, labels = X[:, 0].round(1), NUMBERS * scale, LABELS
    for function, other in ((of_numbers, y), (of_numbers_and_classes, labels)):
        assert function(x * scale, other) == pytest.approx(function(x, other), abs=1e-9)


def test_mutual_information_leaves_the_filters_of_warnings_alone() -> None:
    columns = [X[:60, j % 6] for j in range(200)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filters, kept = warnings.filters, list(warnings.filters)
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda x: of_numbers(x, NUMBERS[:60]), columns))
            list(threads.map(lambda x: of_numbers_and_classes(x, LABELS[:60]), columns))
        assert warnings.filters is filters
        assert filters == kept


def test_mutual_information_of_too_few_rows() -> None:
    with pytest.raises(DataError, match="3 nearest neighbours of each row, and there are n_samples = 3"):
        og.SelectKBest("mutual_info_regression", k=1).fit(X[:3], NUMBERS[:3])


def test_sparse_columns_are_discrete_as_in_scikit_learn() -> None:
    rows = sp.csr_array(COUNTS.astype(float))
    for function, y in ((peer.mutual_info_classif, LABELS), (peer.mutual_info_regression, NUMBERS)):
        ours = og.SelectKBest(function, k=2).fit(rows, y)
        np.testing.assert_allclose(ours.scores_, function(rows, y, random_state=0), atol=1e-3)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_binned_information_is_near_the_true_one(form: Any) -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(20_000, 3))
    y = rows[:, 0] + rng.normal(size=20_000)
    ours = og.SelectKBest("mutual_info_regression_binned", k=1).fit(form(rows), y)
    np.testing.assert_allclose(ours.scores_, [0.5 * np.log(2), 0, 0], atol=0.03)
    classes = (rows[:, 0] > 0).astype(int)
    ours = og.SelectKBest("mutual_info_classif_binned", k=1).fit(form(rows), classes)
    np.testing.assert_allclose(ours.scores_, [np.log(2), 0, 0], atol=0.01)


def test_constant_columns_tell_nothing_of_rare_classes() -> None:
    rows, y = np.ones((5_000, 1)), np.arange(5_000) < 5
    assert og.SelectKBest("mutual_info_classif", k=1).fit(rows, y).scores_.tolist() == [0]
    assert og.SelectKBest("mutual_info_classif_binned", k=1).fit(rows, y).scores_.tolist() == [0]


def test_binned_information_of_discrete_columns_is_exact_but_for_chance() -> None:
    rows = np.repeat(np.minimum(COUNTS, 2).astype(float), 20, axis=0)
    y = np.repeat(LABELS, 20)
    ours = og.SelectKBest("mutual_info_classif_binned", k=1).fit(rows, y)
    theirs = peer.mutual_info_classif(rows, y, discrete_features=True)
    np.testing.assert_allclose(ours.scores_, theirs, atol=0.002)
    with pytest.raises(ParameterError, match="mutual_info_classif has none"):
        og.SelectFdr("mutual_info_classif").fit(X, LABELS)
