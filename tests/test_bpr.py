"""Bayesian personalised ranking: the steps of the paper, everywhere the same, and how good they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

import outgrow as og
from outgrow.errors import DataError
from outgrow.ml.recommendation import liked_pairs
from outgrow.ml.recommendation.liked_pairs import LikedPairs, Ranking, in_batches
from outgrow.testing import EngineCase


def clicks(seed: int = 0, users: int = 60, items: int = 40, count: int = 3000) -> pa.Table:
    """Users of four kinds, who mostly click on items of their own kind; some pairs come twice."""
    random = np.random.default_rng(seed)
    user, item = random.integers(0, users, count), random.integers(0, items, count)
    kept = (user % 4 == item % 4) | (random.random(count) < 0.1)
    return pa.table(
        {"user": [f"u{number}" for number in user[kept]], "item": item[kept], "n": np.ones(kept.sum())}
    )


def some_pairs() -> LikedPairs:
    random = np.random.default_rng(1)
    return LikedPairs.of(random.integers(0, 50, 900), random.integers(0, 30, 900), (50, 30))


def test_drawn_pairs_are_liked_and_others_are_not() -> None:
    pairs = some_pairs()
    liked = set(zip(pairs.users.tolist(), pairs.items.tolist(), strict=True))
    users, items, others = pairs.drawn(0, 0)
    assert len(users) == len(liked)
    assert set(zip(users.tolist(), items.tolist(), strict=True)) <= liked
    assert not set(zip(users.tolist(), others.tolist(), strict=True)) & liked
    drawn = {tuple(pairs.drawn(seed, turn)[2].tolist()) for seed in range(3) for turn in range(3)}
    assert len(drawn) == 9
    shares = np.bincount(np.concatenate([pairs.drawn(0, turn)[0] for turn in range(200)])) / 200
    np.testing.assert_allclose(shares, np.diff(pairs.ends), atol=2)


def test_steps_follow_the_gradient_of_the_paper() -> None:
    """A batch of one triple moves its factors along the slope of ln sigma(x_ui - x_uj) less the penalty."""
    random = np.random.default_rng(0)
    users, items = random.normal(size=(3, 5)), random.normal(size=(4, 5))
    users[:, -1] = 1
    before = users.copy(), items.copy()

    def objective(changed: np.ndarray) -> float:
        p, q, r = changed[:4], changed[4:9], changed[9:]
        ahead = np.append(p, 1.0) @ (q - r)
        return float(-np.log1p(np.exp(-ahead)) - 0.1 / 2 * (changed @ changed))

    start = np.concatenate([users[1, :-1], items[2], items[0]])
    slope = np.array([(objective(start + e) - objective(start - e)) / 2e-6 for e in 1e-6 * np.eye(14)])
    triple = (np.array([1], np.int32), np.array([2], np.int32), np.array([0], np.int32))
    loss = in_batches(*triple, 16, 0.3, 0.1, users, items)
    moved = np.concatenate([users[1, :-1], items[2], items[0]]) - start
    np.testing.assert_allclose(moved, 0.3 * slope, rtol=1e-6)
    assert loss == pytest.approx(np.log1p(np.exp(-before[0][1] @ (before[1][2] - before[1][0]))))
    assert (users[[0, 2]] == before[0][[0, 2]]).all()
    assert users[1, -1] == 1


def test_compiled_steps_are_those_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    random, pairs, told = np.random.default_rng(0), some_pairs(), []
    start = 0.1 * random.normal(size=(50, 6)), 0.1 * random.normal(size=(30, 6))
    found = []
    for least in (1 << 40, 0):
        monkeypatch.setattr(liked_pairs, "COMPILED_FROM", least)
        users, items = start[0].copy(), start[1].copy()
        loss = Ranking(0.01, 0.1, 5, 7).learned(pairs, users, items, lambda *step: told.append(step))
        found.append((users, items, loss))
    for numpy, compiled in zip(*found, strict=True):
        np.testing.assert_allclose(compiled, numpy, rtol=1e-9, atol=1e-12)
    assert len(told) == 10


def test_every_engine(engine: EngineCase, tmp_path: Path) -> None:
    """Also in another order, with pairs several times, and after saving."""
    table = clicks(count=600)
    expected = og.BPR(3, max_iter=3).fit(table, "n")
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(table.num_rows), 2))
    model = og.BPR(3, max_iter=3).fit(engine.open(table.take(order)), "n")
    np.testing.assert_allclose(model.user_factors_, expected.user_factors_, rtol=1e-12)
    np.testing.assert_allclose(model.item_factors_, expected.item_factors_, rtol=1e-12)
    model.save(tmp_path / "model")
    loaded = og.load(tmp_path / "model")
    assert loaded.recommend(2).equals(expected.recommend(2))
    assert loaded.evaluate(engine.open(table), "n")["auc"] == pytest.approx(expected.score(table, "n"))


def test_auc_is_that_of_pairs() -> None:
    table = clicks(count=900)
    train, test = table.slice(0, 200), table.slice(200)
    model = og.BPR(4, max_iter=20).fit(train, "n")
    liked = sp.csr_array((np.ones(len(model.liked_items_)), model.liked_items_, model.liked_ends_))
    shares = []
    for row in test.to_pylist():
        user = np.flatnonzero(model.users_ == row["user"])
        if not len(user):
            shares.append(0.5)
            continue
        scores = model.item_factors_ @ model.user_factors_[user[0]] + model.item_biases_
        own = int(np.flatnonzero(model.items_ == row["item"])[0])  # all items are known
        others = sorted(set(range(len(scores))) - {own, *liked[[user[0]]].indices.tolist()})
        shares.append(np.mean(scores[others] < scores[own]) if others else 0.5)
    assert model.evaluate(test, "n")["auc"] == pytest.approx(np.mean(shares))
    none = test.set_column(2, "n", pa.array(np.zeros(test.num_rows)))
    with pytest.raises(DataError, match="none says what was liked"):
        model.evaluate(none, "n")


def tastes(users: int = 300, items: int = 150, each: int = 20) -> pa.Table:
    """Items that users chose by six tastes, and by how much all like them."""
    random = np.random.default_rng(0)
    scores = 0.7 * random.normal(size=(users, 6)) @ random.normal(size=(6, items)) + random.normal(size=items)
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    chosen = np.concatenate([random.choice(items, each, replace=False, p=share) for share in shares])
    return pa.table({"user": np.repeat(np.arange(users), each), "item": chosen, "n": np.ones(users * each)})


def of_tastes() -> tuple[Any, Callable[[], float]]:
    """A model of part of the pairs, and what ranks those held out."""
    train, test = og.dataset(tastes()).split(test=0.2, seed=1)
    model = og.BPR(8).fit(train, "n")

    def quality() -> float:
        model._restored()
        return float(model.evaluate_ranking(test, k=10, seen=train)["ndcg@10"])

    return model, quality


def test_held_out_pairs_come_before_what_most_liked() -> None:
    model, quality = of_tastes()
    found = quality()
    model.user_factors_ = np.zeros_like(model.user_factors_)
    model.item_biases_ = np.bincount(model.liked_items_, minlength=len(model.items_)).astype(float)
    assert found > 1.5 * quality()


def test_held_out_pairs_come_as_far_up_as_implicit_puts_them() -> None:
    peer = pytest.importorskip("implicit.bpr")  # of the extra `peers`, which the tests do without
    model, quality = of_tastes()
    found, shape = quality(), (len(model.users_), len(model.items_))
    ones = np.ones(len(model.liked_items_), np.float32)
    liked = sp.csr_matrix((ones, model.liked_items_, model.liked_ends_), shape=shape)
    theirs = peer.BayesianPersonalizedRanking(
        factors=8, learning_rate=0.05, iterations=30, random_state=0, num_threads=1
    )
    theirs.fit(liked, show_progress=False)
    users, items = theirs.user_factors.astype(float), theirs.item_factors.astype(float)
    model.user_factors_, model.item_factors_, model.item_biases_ = users[:, :-1], items[:, :-1], items[:, -1]
    assert found > 0.95 * quality()


def test_pairs_not_liked_and_new_users() -> None:
    """Rows with y of 0 name users and items, and say nothing else; new users get what most like."""
    table = clicks(count=600)
    more = pa.table({"user": ["shy"], "item": [1000], "n": [0.0]})
    model = og.BPR(3, max_iter=5).fit(pa.concat_tables([table, more]), "n")
    assert "shy" in model.users_.tolist()
    strange = pa.table({"user": ["nobody", "nobody", "u1"], "item": [0, 1, 99]})
    biases = dict(zip(model.items_.tolist(), model.item_biases_.tolist(), strict=True))
    assert model.predict(strange)["prediction"].to_pylist() == [biases[0], biases[1], 0.0]
    assert np.isnan(model.set_params(unseen="nan").predict(strange)["prediction"].to_numpy()).all()
    with pytest.raises(DataError, match=r"\['nobody', 'nobody'.* of column 'user' and \[99\]"):
        model.set_params(unseen="error").predict(strange)
    nothing = og.BPR(2).fit(table.set_column(2, "n", pa.array(np.zeros(table.num_rows))), "n")
    assert np.isnan(nothing.objective_)
    everything = og.BPR(2, max_iter=2).fit(pa.table({"u": [1, 1], "i": [1, 2], "n": [1.0, 1.0]}), "n")
    assert np.isfinite(everything.item_factors_).all()
    assert everything.score(pa.table({"u": [1], "i": [1], "n": [1.0]}), "n") == 0.5


def test_memory_that_does_not_suffice() -> None:
    small = og.dataset(clicks(), engine=og.Local(memory=1000))
    with pytest.raises(DataError, match="ratings need about"):
        og.BPR(2).fit(small, "n")
