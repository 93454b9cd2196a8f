"""Factors of users and items: those that least squares give, everywhere the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow.engine import exchange
from outgrow.engine.collective import Tcp
from outgrow.engine.context import FitContext
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.ml.core.task import Task
from outgrow.ml.recommendation import half_step
from outgrow.ml.recommendation.ratings import KnownKeys, first_factors
from outgrow.ml.recommendation.top import best
from outgrow.testing import EngineCase
from ranks import ranks


def rows(seed: int = 0, users: int = 30, items: int = 12, count: int = 240) -> pa.Table:
    """Ratings of about 8 items by each user, of rank 2, some pairs twice."""
    random = np.random.default_rng(seed)
    user, item = random.integers(0, users, count), random.integers(0, items, count)
    left, right = random.normal(size=(users, 2)), random.normal(size=(items, 2))
    stars = 3 + (left[user] * right[item]).sum(axis=1) + 0.1 * random.normal(size=count)
    return pa.table({"user": [f"u{u}" for u in user], "item": item * 7, "stars": stars})


def plain(table: pa.Table, model: og.ALS) -> tuple[np.ndarray, np.ndarray]:
    """The factors that one loop over users and items finds, in the words of the papers."""
    user = np.searchsorted(model.users_, np.array(table["user"].to_pylist(), dtype=object))
    item = np.searchsorted(model.items_, table["item"].to_numpy())
    stars, k = table["stars"].to_numpy(), model.n_components
    Y = first_factors(model.items_, k, 0)
    X = np.zeros((len(model.users_), k))

    def half(keys: np.ndarray, others: np.ndarray, fixed: np.ndarray, count: int) -> np.ndarray:
        made = np.zeros((count, k))
        for key in range(count):
            own = keys == key
            if model.implicit:
                plays = np.bincount(others[own], stars[own], len(fixed))
                c, p = 1 + model.confidence * np.abs(plays), plays > 0
                n = p.sum() if model.weighted_penalty else 1
                A = (fixed * c[:, None]).T @ fixed + model.alpha * n * np.eye(k)
                made[key] = np.linalg.solve(A, (fixed * c[:, None]).T @ p)
            else:
                V = fixed[others[own]]
                n = own.sum() if model.weighted_penalty else 1
                made[key] = np.linalg.solve(V.T @ V + model.alpha * n * np.eye(k), V.T @ stars[own])
        return made

    for _ in range(model.max_iter):
        X = half(user, item, Y, len(X))
        Y = half(item, user, X, len(Y))
    return X, Y


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_factors_of_the_papers(implicit: bool, weighted: bool) -> None:
    table = rows()
    model = og.ALS(3, alpha=0.2, max_iter=4, implicit=implicit, confidence=2.0, weighted_penalty=weighted)
    model.fit(table, "stars")
    X, Y = plain(table, model)
    np.testing.assert_allclose(model.user_factors_, X, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(model.item_factors_, Y, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("components", [4, 70])
def test_compiled_steps_are_those_of_numpy(
    implicit: bool, components: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = rows(count=600)
    model = og.ALS(components, max_iter=3, implicit=implicit)
    expected = model.fit(table, "stars").user_factors_
    monkeypatch.setattr(half_step, "COMPILED_FROM", 0)
    np.testing.assert_allclose(model.fit(table, "stars").user_factors_, expected, rtol=1e-7, atol=1e-9)


def test_the_objective_is_what_it_says_and_falls() -> None:
    table = rows()
    losses = [og.ALS(3, max_iter=n).fit(table, "stars").objective_ for n in (1, 3, 9)]
    assert losses == sorted(losses, reverse=True)
    model = og.ALS(3, implicit=True, confidence=3.0, max_iter=2, weighted_penalty=False).fit(table, "stars")
    plays = np.zeros((len(model.users_), len(model.items_)))
    for user, item, stars in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
        plays[model.users_.tolist().index(user), model.items_.tolist().index(item)] += stars
    errors = (1 + 3 * np.abs(plays)) * ((plays > 0) - model.user_factors_ @ model.item_factors_.T) ** 2
    penalty = 0.1 * ((model.user_factors_**2).sum() + (model.item_factors_**2).sum())
    assert model.objective_ == pytest.approx(errors.sum() + penalty)


@pytest.mark.parametrize("implicit", [False, True])
def test_conjugate_gradients_come_as_far(implicit: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many components steps are not exact, and end at about the same loss."""
    table = rows(users=60, items=90, count=2000)
    model = og.ALS(20, implicit=implicit, max_iter=15)
    loss = model.fit(table, "stars").objective_
    monkeypatch.setattr(half_step, "CG_FROM", 100)
    exact = model.fit(table, "stars").objective_
    assert loss != exact
    assert loss < 1.01 * exact


def test_every_engine(engine: EngineCase, tmp_path: Path) -> None:
    table = rows()
    expected = og.ALS(3, max_iter=3).fit(table, "stars")
    model = og.ALS(3, max_iter=3).fit(engine.open(table), "stars")
    np.testing.assert_allclose(model.item_factors_, expected.item_factors_, rtol=1e-10)
    model.save(tmp_path / "model")
    loaded = og.load(tmp_path / "model")
    assert loaded.recommend(2).equals(model.recommend(2))
    scores = model.evaluate(engine.open(table), "stars")
    assert scores["rmse"] < 1.0


@given(st.integers(0, 5))
@settings(max_examples=3)
def test_factors_at_least_zero_are_optimal(seed: int) -> None:
    """Where a factor is above 0 its slope is 0, else it points below (Karush, Kuhn and Tucker)."""
    table = rows(seed)
    model = og.ALS(3, nonnegative=True, max_iter=5, alpha=0.1).fit(table, "stars")
    Y, X = model.item_factors_, model.user_factors_
    assert min(X.min(), Y.min()) >= 0
    item = np.searchsorted(model.items_, table["item"].to_numpy())
    user = np.searchsorted(model.users_, np.array(table["user"].to_pylist(), dtype=object))
    for key in range(len(Y)):
        own = item == key
        V = X[user[own]]
        slope = V.T @ (V @ Y[key] - table["stars"].to_numpy()[own]) + 0.1 * own.sum() * Y[key]
        assert (slope[Y[key] == 0] >= -1e-6).all()
        assert np.abs(slope[Y[key] > 0]).max(initial=0) < 1e-6


def test_weights_of_zero_leave_users_out() -> None:
    table = rows().append_column("w", pa.array((np.arange(240) % 3).astype(float)))
    table = table.set_column(0, "user", pa.array(["new", *table["user"].to_pylist()[1:]]))
    model = og.ALS(2).fit(table, "stars", sample_weight="w")
    assert "new" not in model.users_.tolist()
    with pytest.raises(DataError, match="all have weight 0"):
        og.ALS(2).fit(table.set_column(3, "w", pa.array(np.zeros(240))), "stars", sample_weight="w")


def test_the_best_of_many_candidates_and_ties() -> None:
    """Of equal scores the first candidate, though only the best of some parts are looked at."""
    random = np.random.default_rng(0)
    left, right = (
        random.integers(-2, 3, (40, 3)).astype(float),
        random.integers(-2, 3, (500, 3)).astype(float),
    )
    rows_, found, scores = best(left, right, 5, threads=2)
    order = np.argsort(-(left @ right.T), axis=1, kind="stable")[:, :5]
    assert found.reshape(40, 5).tolist() == order.tolist()
    assert rows_.tolist() == np.repeat(np.arange(40), 5).tolist()
    np.testing.assert_array_equal(scores.reshape(40, 5), np.take_along_axis(left @ right.T, order, axis=1))


def test_recommendations_are_the_best_of_all() -> None:
    table = rows()
    model = og.ALS(3).fit(table, "stars")
    scores = model.user_factors_ @ model.item_factors_.T
    made = model.recommend(4)
    assert made.num_rows == 4 * len(model.users_)
    for place, user in enumerate(model.users_.tolist()):
        own = made.slice(4 * place, 4)
        assert own["user"].unique().to_pylist() == [user]
        first = np.argsort(-scores[place], kind="stable")[:4]
        assert own["item"].to_pylist() == model.items_[first].tolist()
        np.testing.assert_allclose(own["prediction"].to_numpy(), scores[place][first])
    pairs = made.drop(["prediction"])
    np.testing.assert_allclose(model.predict(pairs)["prediction"], made["prediction"])
    unseen = model.recommend(100, users=["u3", "u1"], seen=table)
    known = {(row["user"], row["item"]) for row in table.to_pylist()}
    offered = {(row["user"], row["item"]) for row in unseen.to_pylist()}
    assert not known & offered
    assert {user for user, _ in offered} == {"u3", "u1"}
    assert len(offered) == 2 * len(model.items_) - sum(user in ("u3", "u1") for user, _ in known)
    to_users = model.recommend_users(1, items=[7, 0])
    assert to_users["item"].to_pylist() == [7, 0]
    assert to_users["user"].to_pylist() == model.users_[scores[:, [1, 0]].argmax(axis=0)].tolist()


def test_cold_start() -> None:
    table = rows()
    strange = pa.table({"user": ["u1", "nobody", None], "item": [0, 0, 7]})
    model = og.ALS(2).fit(table, "stars")
    mean = table["stars"].to_numpy().mean()
    assert model.predict(strange)["prediction"].to_pylist()[1:] == pytest.approx([mean, mean])
    assert np.isnan(model.set_params(unseen="nan").predict(strange)["prediction"].to_numpy()[1:]).all()
    with pytest.raises(DataError, match=r"\['nobody', None\] of column 'user'"):
        model.set_params(unseen="error").predict(strange)
    with pytest.warns(UserWarning, match="nobody"):
        assert model.recommend(3, users=["nobody", "u1"])["user"].to_pylist() == ["u1"] * 3


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.float64(), pa.string(), pa.date32()])
def test_keys_of_any_type(kind: pa.DataType) -> None:
    keys = pa.array([1, 2, 3, 1], pa.int32()).cast(kind)
    table = pa.table({"who": keys, "what": keys, "y": [1.0, 2.0, 3.0, 1.5]})
    model = og.ALS(1, users="what", items="who", alpha=1e-6, max_iter=30).fit(table, "y")
    assert model.predict(table)["prediction"].to_numpy() == pytest.approx([1.25, 2, 3, 1.25], rel=0.01)


def test_arrays_and_no_penalty() -> None:
    """Without a penalty, users of fewer ratings than components get the shortest factors."""
    X = np.array([[0, 1], [0, 2], [1, 1]])
    model = og.ALS(4, alpha=0.0, max_iter=3).fit(X, np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(model.predict(X), [1, 2, 3], atol=1e-8)
    assert np.isfinite(model.user_factors_).all()


@pytest.mark.parametrize(
    ("parameters", "table", "error", "match"),
    [
        ({}, {"user": ["a", None], "item": [1, 2]}, DataError, "'user' has 1 missing"),
        ({}, {"user": ["a", "b"]}, SchemaError, "users= and items="),
        ({"users": "x"}, {"user": ["a", "b"], "item": [1, 2]}, SchemaError, "no column 'x'"),
        ({}, {"user": [["a"], ["b"]], "item": [1, 2]}, SchemaError, "holds no keys"),
    ],
)
def test_refusals(parameters: Any, table: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        og.ALS(2, **parameters).fit(pa.table({**table, "y": [1.0, 2.0]}), "y")


def diagonal(rows: int = 10) -> pa.Table:
    """Each user rated one item of their own."""
    return pa.table({"u": np.arange(rows), "i": np.arange(rows), "y": np.ones(rows)})


@pytest.mark.parametrize("implicit", [False, True])
def test_more_factors_than_keys_and_very_sure_counts(implicit: bool) -> None:
    """Numbers stay numbers (implicit #377, #94), also after many steps and where the penalty is lost."""
    for parameters in ({"n_components": 15}, {"max_iter": 60}, {"confidence": 1e12, "max_iter": 3}):
        model = og.ALS(**{"n_components": 3, **parameters}, implicit=implicit).fit(diagonal(), "y")
        assert np.isfinite(model.user_factors_).all()
        assert np.isfinite(model.item_factors_).all()


def test_recommendations_others_stumbled_over() -> None:
    """Never more than k, no item twice, none that is unknown (implicit #736, #507, #232, #172, #316)."""
    model = og.ALS(2).fit(diagonal(), "y")
    everything = model.recommend(100, users=[0])["i"].to_pylist()
    assert sorted(everything) == list(range(10))
    seen = pa.table({"u": [0, 0, 99, 0], "i": [3, 4, 3, 99]})
    assert set(model.recommend(100, users=[0], seen=seen)["i"].to_pylist()) == {*range(10)} - {3, 4}
    assert model.recommend(2, users=[0], seen=seen).num_rows == 2
    all_seen = pa.table({"u": np.zeros(10, int), "i": np.arange(10)})
    assert model.recommend(3, users=[0], seen=all_seen).num_rows == 0
    assert model.recommend(1, users=[3, 3])["u"].to_pylist() == [3, 3]


def test_ratings_others_stumbled_over() -> None:
    """Numbers past 32 bits as keys (SPARK-10158), no ratings (SPARK-18268), only dislikes, and one rating."""
    large = [1205640308657491975, 1205640308657491976, 5]
    table = pa.table({"u": large, "i": [2**40, 2**40 + 1, 2**40], "y": [1.0, 2.0, 3.0]})
    model = og.ALS(2).fit(table, "y")
    assert model.users_.tolist() == sorted(large)
    assert model.recommend(1, users=large[:1])["u"].to_pylist() == large[:1]
    with pytest.raises(DataError, match="no rows"):
        og.ALS(2).fit(table.slice(0, 0), "y")
    none = table.set_column(2, "y", pa.array(np.zeros(3)))
    assert og.ALS(2, implicit=True).fit(none, "y").predict(none)["prediction"].to_pylist() == [0.0] * 3
    assert og.ALS(3).fit(table.slice(0, 1), "y").recommend(2).num_rows == 1
    with pytest.raises(DataError, match="NaN"):
        og.ALS(2).fit(table.set_column(2, "y", pa.array([1.0, np.nan, 1.0])), "y")


def test_no_recommendations_of_nothing() -> None:
    model = og.ALS(2).fit(rows(), "stars")
    with pytest.raises(ParameterError, match="k must be"):
        model.recommend(0)


@pytest.mark.parametrize("implicit", [False, True])
def test_ratings_past_the_memory(implicit: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ratings that need four times the budget wait in files, and give the same factors; pairs come twice."""
    monkeypatch.setattr(exchange, "LEAST_BYTES", 1 << 10)
    table = rows(count=3000).append_column("w", pa.array(np.arange(3000) % 4 / 2))
    parameters = {"max_iter": 4, "implicit": implicit, "n_components": 3}
    expected = og.ALS(**parameters).fit(table, "stars", sample_weight="w")
    budget = 150 * int(np.count_nonzero(table["w"].to_numpy())) // 4
    small = og.dataset(table, engine=og.Local(memory=budget, threads=2))
    model = og.ALS(**parameters).fit(small, "stars", sample_weight="w")
    assert model.fit_record_.spilled > 10 * table.num_rows
    np.testing.assert_allclose(model.user_factors_, expected.user_factors_, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(model.item_factors_, expected.item_factors_, rtol=1e-8, atol=1e-10)
    assert model.objective_ == pytest.approx(expected.objective_, rel=1e-9)
    assert model.mean_ == pytest.approx(expected.mean_, rel=1e-12)


@pytest.mark.parametrize("components", [4, 20])
def test_ratings_between_ranks(components: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rank has the ratings of some users and some items; all get the same factors, also compiled."""
    table = rows(count=600)
    expected = og.ALS(components, max_iter=3).fit(table, "stars")
    monkeypatch.setattr(KnownKeys, "fit_into_memory", False)
    monkeypatch.setattr(half_step, "COMPILED_FROM", 0)

    def work(comm: Tcp) -> Any:
        scan = og.dataset(table.slice(200 * comm.rank, 200)).scan
        shard = Shard.of(FitContext(comm, 2), scan.pieces(), scan.example())
        model = og.ALS(components, max_iter=3)
        model._fit_shard(shard, Task("stars", None, ("user", "item")))
        return model

    for model in ranks(3, work):
        np.testing.assert_allclose(model.user_factors_, expected.user_factors_, rtol=1e-6, atol=1e-8)
        assert model.objective_ == pytest.approx(expected.objective_, rel=1e-8)


def test_memory_that_does_not_suffice() -> None:
    small = og.dataset(rows(), engine=og.Local(memory=1000))
    with pytest.raises(DataError, match="factors of 30 users and 12 items need about"):
        og.ALS(2).fit(small, "stars")


def test_what_should_have_been_recommended() -> None:
    """As `ranking_report` says of the recommendations; strangers count as missed."""
    table = rows()
    model = og.ALS(3).fit(table, "stars")
    pairs = pa.table({"user": ["u1", "u1", "u2", "nobody", "nobody", "u2"], "item": [0, 7, 14, 0, 7, 999]})
    made = model.evaluate_ranking(pairs, k=4)
    wanted = {(row["user"], row["item"]) for row in pairs.to_pylist()}
    ranked = model.recommend(4, users=["u1", "u2"]).to_pylist()
    flat = [(r["user"], r["prediction"], float((r["user"], r["item"]) in wanted)) for r in ranked]
    listed = {(r["user"], r["item"]) for r in ranked}
    flat += [(user, None, 1.0) for user, item in wanted if (user, item) not in listed]
    user, score, label = (list(column) for column in zip(*flat, strict=True))
    documents = pa.table({"user": user, "score": score, "label": label})
    report = og.stats.ranking_report(documents, query="user", score="score", label="label", k=4, resamples=0)
    assert made == {name: pytest.approx(report[name]) for name in made}
    assert report.queries == 3
    assert len(made) == 6
    none = model.evaluate_ranking(pairs.slice(0, 2), k=12, seen=pairs)
    assert none["hit_rate@12"] == 0.0
    with pytest.raises(SchemaError, match="no column 'item'"):
        model.recommend(1, seen=pairs.drop(["item"]))
