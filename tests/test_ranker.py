"""LambdaMART: beside XGBoost, on any cut of queries, and what is said of wrong input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost

import outgrow as og
from outgrow.engine.blocks import Block
from outgrow.errors import DataError, ParameterError
from outgrow.ml.trees.ranking import _TIES
from outgrow.testing import EngineCase, pieces_case


def documents(count: int = 1200, queries: int = 30, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    X = random.normal(size=(count, 4))
    grade = np.clip(np.round(X[:, 0] + X[:, 1] * X[:, 2] + 0.7 * random.normal(size=count) + 1), 0, 4)
    names = np.array([f"query {k}" for k in range(queries)])
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    return frame.assign(grade=grade, query=names[random.integers(0, queries, count)])


FEATURES = ["a", "b", "c", "d"]


@pytest.mark.parametrize("gains", ["exponential", "linear"])
def test_xgboost_grows_the_same_trees_where_ties_come_in_the_same_order(gains: str) -> None:
    rows = documents()
    X, grade = rows[FEATURES].to_numpy(), rows["grade"].to_numpy()
    query = np.unique(rows["query"], return_inverse=True)[1]
    order = np.lexsort((grade, Block(np.asfortranarray(X)).hashes(_TIES), query))
    theirs = xgboost.XGBRanker(
        n_estimators=20,
        learning_rate=0.1,
        objective="rank:ndcg",
        lambdarank_pair_method="topk",
        ndcg_exp_gain=gains == "exponential",
        base_score=0.0,
    ).fit(X[order], grade[order], qid=query[order])
    ours = og.GradientBoostingRanker(n_estimators=20, gains=gains, min_child_weight=1.0)
    ours.fit(X, grade, query=query)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-5)


def test_queries_may_be_cut_over_workers(engine: EngineCase) -> None:
    rows = documents(600, 12)
    table = pa.Table.from_pandas(rows)
    model = og.GradientBoostingRanker(n_estimators=8, max_depth=3)
    alone = og.GradientBoostingRanker(n_estimators=8, max_depth=3)
    alone.fit(table, "grade", query="query")
    model.fit(engine.open(table), "grade", query="query")
    np.testing.assert_allclose(model.predict(rows), alone.predict(rows), atol=1e-5)
    found, expected = (
        each.evaluate(data, "grade", query="query")
        for each, data in ((model, engine.open(table)), (alone, table))
    )
    assert found["ndcg"] == pytest.approx(expected["ndcg"], abs=1e-9)
    assert model.features_ == FEATURES


def test_it_is_judged_as_the_report_on_rankings_judges() -> None:
    rows = documents()
    model = og.GradientBoostingRanker(n_estimators=20).fit(rows, "grade", query="query")
    scores = model.evaluate(rows, "grade", query="query")
    answered = rows.assign(prediction=model.predict(rows))
    report = og.stats.ranking_report(
        answered, query="query", score="prediction", label="grade", gains="exponential"
    )
    for name in ("ndcg", "ndcg@5", "map@10", "mrr", "precision@5"):
        assert scores[name] == pytest.approx(report[name], abs=1e-12)
    assert report.low["ndcg"] < scores["ndcg"] < report.high["ndcg"]
    assert model.train_loss_[-1] == pytest.approx(1 - scores["ndcg"], abs=1e-6)
    assert model.score(rows, "grade", query="query") == scores["ndcg"]


def test_it_ranks_better_than_a_regression_of_the_grades() -> None:
    """Grades of which a query's own level is most: a regression spends itself on the levels."""
    random = np.random.default_rng(3)
    query = np.repeat(np.arange(120), 15)
    level = random.normal(size=120)[query] * 3
    a, noise = random.normal(size=(2, len(query)))
    raw = level + a + 0.5 * noise
    grade = np.clip(np.round(raw - np.array([raw[query == q].mean() for q in range(120)])[query] + 2), 0, 4)
    X = np.column_stack([level + random.normal(size=len(query)), a + 0.3 * level])
    train = query < 80
    ranker = og.GradientBoostingRanker(n_estimators=60, max_depth=3)
    ranker.fit(X[train], grade[train], query=query[train])
    regressor = og.GradientBoostingRegressor(n_estimators=60, max_depth=3).fit(X[train], grade[train])
    rest = pa.table({"q": query[~train], "grade": grade[~train], "flat": np.zeros((~train).sum())})
    for name, model in (("ranker", ranker), ("regressor", regressor)):
        rest = rest.append_column(name, pa.array(model.predict(X[~train])))
    found = {
        name: og.stats.ranking_report(rest, query="q", score=name, label="grade", resamples=0)["ndcg@5"]
        for name in ("ranker", "regressor", "flat")
    }
    assert found["ranker"] > found["regressor"] - 0.01
    assert found["ranker"] > found["flat"] + 0.1


@pytest.mark.parametrize("pieces", [1, 3])
def test_early_stopping_holds_out_whole_queries(pieces: int) -> None:
    rows = documents(2000, 60)
    model = og.GradientBoostingRanker(n_estimators=200, early_stopping=True, validation_fraction=0.3)
    model.fit(pieces_case(pieces).open(pa.Table.from_pandas(rows)), "grade", query="query")
    assert 3 < model.n_estimators_ < 150
    assert len(model.validation_loss_) >= model.n_estimators_
    assert model.validation_loss_.argmin() == model.best_iteration_
    assert model.validation_loss_.min() > model.train_loss_[model.best_iteration_]


def test_folds_and_pipelines_hand_queries_on(tmp_path: Any) -> None:
    rows = documents()
    pipe = og.Pipeline([("scale", og.StandardScaler()), ("rank", og.GradientBoostingRanker(n_estimators=10))])
    folds = og.GroupKFold("query", folds=3)
    found = og.cross_validate(pipe, rows, "grade", cv=folds, params={"rank__query": "query"})
    assert 0.5 < found.mean()["ndcg@10"] < 1
    pipe.fit(rows, "grade", rank__query="query")
    assert pipe.evaluate(rows, "grade", query="query")["ndcg"] > found.mean()["ndcg"]
    pipe.save(tmp_path / "ranker")
    np.testing.assert_array_equal(og.load(tmp_path / "ranker").predict(rows), pipe.predict(rows))


def test_an_order_of_documents_that_weigh_nothing_does_not_count() -> None:
    rows = documents(400, 8)
    kept = np.random.default_rng(1).random(len(rows)) < 0.6
    model = og.GradientBoostingRanker(n_estimators=5)
    X, grade, query = rows[FEATURES].to_numpy(), rows["grade"].to_numpy(), rows["query"].to_numpy()
    part = model.fit(X[kept], grade[kept], query=query[kept]).predict(X)
    weighed = model.fit(X, grade, kept.astype(float), query=query).predict(X)
    np.testing.assert_allclose(weighed, part, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"grade": -1.0}, r"from 0 on; there are \[-1.0"),
        ({"grade": 2000.0}, "or gains='linear'"),
        ({"query": None}, "query lacks 1 value"),
    ],
)
def test_what_cannot_be_ranked_is_said(change: dict[str, Any], words: str) -> None:
    rows = documents(50, 3)
    for name, value in change.items():
        rows.loc[7, name] = value
    with pytest.raises(DataError, match=words):
        og.GradientBoostingRanker(n_estimators=2).fit(rows, "grade", query="query")


def test_a_query_that_is_not_there_is_said() -> None:
    rows = documents(50, 3)
    model = og.GradientBoostingRanker(n_estimators=2)
    with pytest.raises(ParameterError, match="does not accept the group parameter"):
        model.fit(rows, "grade", group="query")
    model.fit(rows, "grade", query="query")
    pipe = og.Pipeline([("rank", og.GradientBoostingRanker(n_estimators=2))]).fit(
        rows, "grade", query="query"
    )
    with pytest.raises(ParameterError, match=r"Pipeline\.evaluate takes"):
        pipe.evaluate(rows, "grade", group="query")


def test_queries_of_one_document_or_one_grade_teach_nothing() -> None:
    X = np.random.default_rng(0).normal(size=(40, 2))
    for query, grade in (
        (np.arange(40), X[:, 0] > 0),
        (np.zeros(40), np.ones(40)),
        (np.zeros(40), np.zeros(40)),
    ):
        model = og.GradientBoostingRanker(n_estimators=3).fit(X, grade.astype(float), query=query)
        np.testing.assert_array_equal(model.predict(X), 0.0)


@pytest.mark.parametrize("groups", [[["a", "b"], ["c"]], [[0, 1], ["c"]]])
def test_features_interact_by_name(groups: Any) -> None:
    rows = documents()
    kinds = [og.GradientBoostingRegressor(n_estimators=10), og.HistGradientBoostingRegressor(max_iter=10)]
    for model in kinds:
        rows_only = rows.drop(columns="query")
        named = model.set_params(interaction_cst=groups).fit(rows_only, "grade").predict(rows_only)
        numbered = model.set_params(interaction_cst=[[0, 1], [2]]).fit(rows_only, "grade").predict(rows_only)
        np.testing.assert_array_equal(named, numbered)
    with pytest.raises(ParameterError, match=r"names \['e'\], which are no features"):
        model.set_params(interaction_cst=[["a", "e"]]).fit(rows_only, "grade")
    with pytest.raises(ParameterError, match="A group is a list of features"):
        model.set_params(interaction_cst=["ab", "c"]).fit(rows_only, "grade")


def test_whole_numbers_past_two_to_the_53_are_different_queries() -> None:
    rows = documents(400, 8)
    codes = np.unique(rows["query"], return_inverse=True)[1]
    X, grade = rows[FEATURES].to_numpy(), rows["grade"].to_numpy()
    near = og.GradientBoostingRanker(n_estimators=5).fit(X, grade, query=codes)
    far = og.GradientBoostingRanker(n_estimators=5).fit(X, grade, query=codes + (1 << 60))
    np.testing.assert_array_equal(near.predict(X), far.predict(X))
    found = [model.evaluate(X, grade, query=codes + (1 << 60))["ndcg"] for model in (near, far)]
    assert found[0] == found[1] == pytest.approx(near.score(X, grade, query=codes))


def test_equal_scores_come_in_an_order_that_tells_nothing_of_the_features() -> None:
    """In the first round all scores tie; an order by a feature would put it into every later tree."""
    rows = documents(8000, 80)
    X, grade = rows[FEATURES].to_numpy(), rows["grade"].to_numpy()
    query = np.sort(np.unique(rows["query"], return_inverse=True)[1])
    train = query < 60
    settings: dict[str, Any] = {"n_estimators": 30, "learning_rate": 0.1}
    ours = og.GradientBoostingRanker(min_child_weight=1.0, **settings)
    ours.fit(X[train], grade[train], query=query[train])
    theirs = xgboost.XGBRanker(objective="rank:ndcg", lambdarank_pair_method="topk", **settings)
    theirs.fit(X[train], grade[train], qid=query[train])
    rest = pa.table({"q": query[~train], "grade": grade[~train]})
    for name, model in (("ours", ours), ("theirs", theirs)):
        rest = rest.append_column(name, pa.array(model.predict(X[~train]).astype(np.float64)))
    found = [
        og.stats.ranking_report(rest, query="q", score=name, label="grade", resamples=0)["ndcg@10"]
        for name in ("ours", "theirs")
    ]
    assert found[0] > found[1] - 0.02
    order = Block(np.asfortranarray(X)).hashes(_TIES).argsort()
    assert np.abs(np.corrcoef(np.column_stack([np.arange(len(X)), X[order]]).T)[0, 1:]).max() < 0.05
