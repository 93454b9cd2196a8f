"""Clusters without rows: where they go, what is said of them, and that no cut of the rows changes it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

import outgrow as og
from outgrow.errors import ParameterError

FAR = np.array([[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [1.0, 1.0]])


def test_an_empty_cluster_takes_the_farthest_row_from_its_cluster() -> None:
    start = np.array([[0.5, 0.5], [3.0, 3.0]])
    ours, theirs = (each(2, init=start, n_init=1).fit(FAR) for each in (og.KMeans, KMeans))
    assert ours.n_iter_ == theirs.n_iter_ == 3
    assert ours.inertia_ == pytest.approx(theirs.inertia_)
    assert ours.cluster_sizes_.tolist() == [2, 2]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@settings(deadline=None, max_examples=25, derandomize=True)
@given(arrays(np.float64, (9, 2), elements=st.sampled_from([0.0, 0.1, 1.0, 7.0])), st.integers(1, 8))
def test_far_starts_end_alike_for_any_cut(rows: np.ndarray, cut: int) -> None:
    start = np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 60.0], [70.0, 70.0]])
    columns = [pa.chunked_array([column[:cut], column[cut:]]) for column in rows.T]
    whole = og.KMeans(4, init=start).fit(pa.table({"x0": rows[:, 0], "x1": rows[:, 1]}))
    parts = og.KMeans(4, init=start).fit(pa.table(dict(zip(["x0", "x1"], columns, strict=True))))
    np.testing.assert_allclose(parts.cluster_centers_, whole.cluster_centers_, atol=1e-12)
    assert parts.cluster_sizes_.tolist() == whole.cluster_sizes_.tolist()
    assert whole.cluster_sizes_.sum() == len(rows)
    assert np.count_nonzero(whole.cluster_sizes_) == min(4, len(np.unique(rows, axis=0)))


def test_fewer_distinct_rows_than_clusters_are_said() -> None:
    rows = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    with pytest.warns(
        ConvergenceWarning, match=r"distinct clusters \(3\) found smaller than n_clusters \(4\)"
    ):
        model = og.KMeans(4, random_state=0).fit(rows)
    assert model.inertia_ == 0.0
    assert sorted(model.cluster_sizes_) == [0, 1, 1, 2]


def test_weighted_rows_that_move_take_their_weight_along() -> None:
    rows, weight = np.array([[0.0], [1.0], [10.0]]), np.array([3.0, 1.0, 2.0])
    model = og.KMeans(2, init=np.array([[1.0], [90.0]])).fit(rows, sample_weight=weight)
    assert model.cluster_centers_.ravel().tolist() == [0.25, 10.0]
    assert model.cluster_sizes_.tolist() == [2, 1]


def test_centers_of_another_shape_and_more_than_one_start() -> None:
    for start, message in ((FAR[:1], "number of clusters"), (FAR[:2, :1], "number of features")):
        with pytest.raises(ParameterError, match=message):
            og.KMeans(2, init=start).fit(FAR)
    with pytest.warns(RuntimeWarning, match="only one init in KMeans instead of n_init=10"):
        og.KMeans(2, init=FAR[:2], n_init=10).fit(FAR)
