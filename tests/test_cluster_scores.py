"""Scores of clusters are scikit-learn's, with weights as repeated rows, on every engine."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

import outgrow as og
from outgrow.errors import DataError
from outgrow.testing import EngineCase

AGREEMENT = {
    "rand": metrics.rand_score,
    "adjusted_rand": metrics.adjusted_rand_score,
    "mutual_info": metrics.mutual_info_score,
    "normalized_mutual_info": metrics.normalized_mutual_info_score,
    "adjusted_mutual_info": metrics.adjusted_mutual_info_score,
    "homogeneity": metrics.homogeneity_score,
    "completeness": metrics.completeness_score,
    "v_measure": metrics.v_measure_score,
    "fowlkes_mallows": metrics.fowlkes_mallows_score,
}


def agreement(truth: np.ndarray, labels: np.ndarray, **how: object) -> og.stats.cluster_agreement:
    return og.stats.cluster_agreement(pa.table({"truth": truth, "labels": labels}), "truth", "labels", **how)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 9), st.integers(2, 60))
def test_agreement_is_scikit_learns(seed: int, classes: int, clusters: int, count: int) -> None:
    random = np.random.default_rng(seed)
    truth, labels = random.integers(0, classes, count), random.integers(0, clusters, count)
    found = agreement(truth, labels)
    for name, score in AGREEMENT.items():
        assert getattr(found, name) == pytest.approx(score(truth, labels), abs=1e-10), name
    same = agreement(truth, 10 - truth)
    assert [getattr(same, name) for name in AGREEMENT if "mutual" not in name][:5] == pytest.approx([1] * 5)
    assert same.purity == 1


def test_many_rows_are_adjusted_for_chance() -> None:
    """Where scikit-learn sums over every count there could be."""
    random = np.random.default_rng(1)
    truth, labels = random.integers(0, 5, 100_000), random.integers(0, 7, 100_000)
    found = agreement(truth, labels)
    assert found.adjusted_mutual_info == pytest.approx(
        metrics.adjusted_mutual_info_score(truth, labels), abs=1e-9
    )
    assert agreement(truth[:9], labels[:9], weights=np.full(9, 1e8)).adjusted_mutual_info <= 1


def test_scores_are_scikit_learns_on_every_engine(engine: EngineCase) -> None:
    random = np.random.default_rng(2)
    kind = random.integers(0, 4, 300)
    X = 1e6 + 5 * random.standard_normal((4, 3))[kind] + random.standard_normal((300, 3))
    near, weight = X - 1e6, random.integers(0, 3, 300)  # far from zero theirs lose digits
    table = pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "kind": kind, "w": weight, "other": kind % 2})
    found = og.stats.cluster_scores(engine.open(table), ["a", "b", "c"], by="kind")
    assert found.calinski_harabasz == pytest.approx(metrics.calinski_harabasz_score(near, kind), rel=1e-9)
    assert found.davies_bouldin == pytest.approx(metrics.davies_bouldin_score(near, kind), rel=1e-9)
    assert (found.clusters, found.rows) == (4, 300)
    many, repeated = np.repeat(near, weight, axis=0), np.repeat(kind, weight)
    weighted = og.stats.cluster_scores(engine.open(table), ["a", "b", "c"], by="kind", weights="w")
    assert weighted.calinski_harabasz == pytest.approx(metrics.calinski_harabasz_score(many, repeated))
    assert weighted.davies_bouldin == pytest.approx(metrics.davies_bouldin_score(many, repeated))
    both = og.stats.cluster_agreement(engine.open(table), "kind", "other", weights="w")
    assert both.v_measure == pytest.approx(metrics.v_measure_score(repeated, repeated % 2))
    assert both.purity == pytest.approx(
        np.bincount(repeated)[[0, 1, 2, 3]].reshape(2, 2).max(axis=0).sum() / weight.sum()
    )


def test_what_cannot_be_scored() -> None:
    X = np.array([[0.0], [0.0], [1.0], [1.0]])
    assert og.stats.cluster_scores(X, by=np.array([0, 0, 1, 1])).davies_bouldin == 0
    assert og.stats.cluster_scores(X, by=np.array([0, 0, 1, 1])).calinski_harabasz == 1
    for labels in ([0, 0, 0, 0], [0, 1, 2, 3]):
        with pytest.raises(DataError, match=r"clusters of 4 rows; between 2 and rows - 1"):
            og.stats.cluster_scores(X, by=np.array(labels))
    with pytest.raises(DataError, match="Values are missing"):
        og.stats.cluster_scores(np.array([[0.0], [np.nan], [2.0]]), by=np.array([0, 0, 1]))
    assert np.isnan(agreement(np.arange(2), np.arange(2), weights=np.array([0.5, 1.5])).adjusted_mutual_info)
    with pytest.raises(DataError, match="No row has both"):
        agreement(pa.array([None, 1]), pa.array([1, None]))
