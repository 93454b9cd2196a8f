"""Metrics of rankings: scikit-learn's and Spark's, by query, with intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

import outgrow as og
from outgrow.errors import DataError, ParameterError
from outgrow.testing import EngineCase


def report(table: pa.Table, **more: Any) -> Any:
    return og.stats.ranking_report(table, query="q", score="score", label="label", **{"resamples": 0, **more})


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=8),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 9),
    st.booleans(),
)
@settings(max_examples=60)
def test_ndcg_of_scikit_learn(queries: list[list[tuple[int, int]]], k: int, exponential: bool) -> None:
    """With ties, and queries without anything relevant."""
    rows = [(f"q{at}", *pair) for at, query in enumerate(queries) for pair in query]
    q, score, label = (list(column) for column in zip(*rows, strict=True))
    table = pa.table({"q": q, "score": score, "label": label}).take(
        np.random.default_rng(0).permutation(len(q))
    )
    made = report(table, k=k, gains="exponential" if exponential else "linear")
    for cut in (k, None):
        expected = []
        for query in queries:
            gain = np.array([[pair[1] for pair in query]], dtype=float)
            gain = 2**gain - 1 if exponential else gain
            expected.append(ndcg_score(gain, [[pair[0] for pair in query]], k=cut))
        assert made["ndcg" if cut is None else f"ndcg@{k}"] == pytest.approx(np.mean(expected), abs=1e-12)


def ranked(*queries: tuple[list[int], list[int]]) -> pa.Table:
    """Lists of recommendations beside lists of what is relevant, as rows."""
    rows = []
    for at, (recommended, relevant) in enumerate(queries):
        rows += [(at, -float(place), int(one in relevant)) for place, one in enumerate(recommended)]
        rows += [(at, None, 1) for one in relevant if one not in recommended]
    q, score, label = (list(column) for column in zip(*rows, strict=True))
    return pa.table({"q": q, "score": pa.array(score, pa.float64()), "label": label})


def test_numbers_of_spark() -> None:
    """The example of pyspark.mllib.evaluation.RankingMetrics, and the numbers it shows."""
    first = [1, 6, 2, 7, 8, 3, 9, 10, 4, 5], [1, 2, 3, 4, 5]
    second = [4, 1, 5, 6, 2, 7, 3, 8, 9, 10], [1, 2, 3]
    third = [1, 2, 3, 4, 5], list[int]()
    made = report(ranked(first, second, third), k=[1, 2, 3, 5, 10, 15])
    assert made["precision@1"] == pytest.approx(1 / 3)
    assert made["precision@5"] == pytest.approx(0.8 / 3)
    assert made["precision@15"] == pytest.approx(8 / 15 / 3)
    assert made["map"] == pytest.approx(0.3550264550264)
    assert made["map@1"] == pytest.approx(1 / 3)
    assert made["map@2"] == pytest.approx(0.25)
    assert made["ndcg@3"] == pytest.approx(0.33333333, abs=1e-2)
    assert made["ndcg@10"] == pytest.approx(0.48761282, abs=1e-2)
    assert made["recall@1"] == pytest.approx(0.2 / 3)
    assert made["recall@15"] == pytest.approx(2 / 3)
    assert made.queries == 3
    assert made.without_relevant == 1


def test_relevant_documents_that_are_not_ranked_count() -> None:
    made = report(ranked(([1, 2], [2, 9, 8])), k=2)
    assert made["recall@2"] == pytest.approx(1 / 3)
    assert made["map"] == pytest.approx(1 / 6)
    assert made["map@2"] == pytest.approx(1 / 4)
    assert made["mrr"] == made["precision@2"] == 0.5
    assert made["hit_rate@2"] == 1.0
    ideal = 1 + 1 / np.log2(3)
    assert made["ndcg@2"] == pytest.approx(1 / np.log2(3) / ideal)


def test_map_of_scikit_learn_and_the_first_relevant() -> None:
    random = np.random.default_rng(0)
    q, score, label = random.integers(0, 30, 900), random.random(900), random.integers(0, 2, 900)
    made = report(pa.table({"q": q, "score": score, "label": label}))
    each = [average_precision_score(label[q == one], score[q == one]) for one in range(30)]
    assert made["map"] == pytest.approx(np.mean(each), rel=1e-12)
    first = [label[q == one][np.argsort(-score[q == one])].argmax() for one in range(30)]
    assert made["mrr"] == pytest.approx(np.mean(1 / (1 + np.array(first))))
    np.testing.assert_allclose(made.per_query["map"], each)
    assert made.per_query["q"].to_pylist() == list(range(30))


def test_equal_scores_gain_nothing() -> None:
    made = report(pa.table({"q": [0] * 4, "score": [1.0] * 4, "label": [1, 0, 0, 0]}), k=2)
    assert made["mrr"] == made["map"] == 0.25
    assert made["hit_rate@2"] == 0.0
    assert made["precision@2"] == 0.25


def test_every_engine(engine: EngineCase) -> None:
    random = np.random.default_rng(1)
    table = pa.table(
        {
            "user": [f"u{number}" for number in random.integers(0, 20, 400)],
            "day": random.integers(0, 2, 400),
            "s": random.integers(0, 9, 400),
            "y": random.integers(0, 3, 400).astype(float),
        }
    )
    names = {"query": ["user", "day"], "score": "s", "label": "y", "resamples": 50}
    here, there = (og.stats.ranking_report(rows, **names) for rows in (table, engine.open(table)))
    assert there.to_arrow().equals(here.to_arrow())
    assert there.per_query.equals(here.per_query)
    assert there.per_query.column_names[:2] == ["user", "day"]


def test_intervals_are_those_of_resampled_queries() -> None:
    random = np.random.default_rng(2)
    hits = random.random(400) < 0.3
    table = pa.table({"q": np.arange(400), "score": np.ones(400), "label": hits.astype(int)})
    made = report(table, k=1, resamples=2000)
    spread = 1.96 * np.sqrt(hits.mean() * (1 - hits.mean()) / 400)
    assert made.low["hit_rate@1"] == pytest.approx(hits.mean() - spread, abs=0.01)
    assert made.high["hit_rate@1"] == pytest.approx(hits.mean() + spread, abs=0.01)
    assert "hit_rate@1" in repr(made)


def test_refusals() -> None:
    table = pa.table({"q": [0, 0], "score": [1.0, 2.0], "label": [1.0, -1.0]})
    with pytest.raises(DataError, match=r"numbers from 0 on, and there are \[-1"):
        report(table)
    with pytest.raises(ParameterError, match="k must be"):
        report(table, k=0)
    with pytest.raises(ParameterError, match="two columns"):
        og.stats.ranking_report(table, query="q", score="label", label="label")
    with pytest.raises(DataError, match="no rows"):
        report(table.slice(0, 0))
