"""Boosting on few rows by our own kernels: the trees are those of XGBoost."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

import outgrow as og
from outgrow.data.batch import Batch
from outgrow.engine.context import FitContext
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.groups import learning
from outgrow.groups.group_estimator import OneBatch
from outgrow.groups.payload import expanded, squeezed
from outgrow.ml.core.task import Task
from outgrow.ml.trees import few_rows
from outgrow.ml.trees.asking import restored


def learn(model, X, y, weight=None, *, many):
    """A fitted copy of a model; with `many`, as one of many fits."""
    names = [f"x{j}" for j in range(X.shape[1])]
    columns = {name: pa.array(X[:, j]) for j, name in enumerate(names)} | {"y": pa.array(y)}
    if weight is not None:
        columns["weight"] = pa.array(weight)
    batch = Batch.from_arrow(pa.RecordBatch.from_pydict(columns))
    fitted = clone(model)
    fitted._expect(dict.fromkeys(names, "double"))
    run = FitContext()
    run.many = many
    task = Task("y", None if weight is None else "weight", tuple(names))
    fitted._fit_shard(Shard.of(run, [OneBatch(batch)], batch.slice(0, 0)), task)
    return fitted


def rows(seed, count, width, *, missing=False, rounded=False):
    random = np.random.default_rng(seed)
    X = random.normal(size=(count, width))
    signal = X.sum(axis=1) + np.abs(X[:, 0]) + 0.5 * random.normal(size=count)
    if rounded:
        X = np.round(X, 1)
    if missing:
        X[random.random(X.shape) < 0.2] = np.nan
    return X, signal


def document(model):
    """What the model's booster says of itself."""
    return json.loads(restored(model.booster_bytes_).save_raw("json"))["learner"]


@pytest.fixture
def grown(monkeypatch):
    """The numbers of rows on which our kernels grew trees."""
    counts, grow = [], few_rows.grow
    monkeypatch.setattr(few_rows, "grow", lambda view, plan: (counts.append(view.rows), grow(view, plan))[1])
    return counts


KINDS = {
    "numbers": (og.GradientBoostingRegressor, lambda signal: signal),
    "two classes": (og.GradientBoostingClassifier, lambda signal: np.where(signal > 0.5, "high", "low")),
    "three classes": (og.GradientBoostingClassifier, lambda signal: np.digitize(signal, [-1.0, 1.0])),
}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(20, 600),
    width=st.integers(1, 6),
    missing=st.booleans(),
    rounded=st.booleans(),
    weighted=st.booleans(),
    depth=st.sampled_from([1, 3, 6, None]),
    bins=st.sampled_from([80, 256]),
    l1=st.sampled_from([0.0, 0.5]),
    child=st.sampled_from([0.0, 1.0, 5.0]),
)
def test_the_trees_are_those_of_xgboost(
    kind, seed, count, width, missing, rounded, weighted, depth, bins, l1, child
):
    X, signal = rows(seed, count, width, missing=missing, rounded=rounded)
    weight = np.random.default_rng(seed).random(count) if weighted else None
    make, target = KINDS[kind]
    y = target(signal)
    if kind != "numbers" and len(np.unique(y)) < 2:
        return
    model = make(n_estimators=8, max_depth=depth, max_bins=bins, l1_regularization=l1, min_child_weight=child)
    ours, theirs = (learn(model, X, y, weight, many=many) for many in (True, False))
    # where two splits gain the same but for the last bit of float32, either may be taken
    off = np.abs(ours._ask(X) - theirs._ask(X)).reshape(count, -1).max(axis=1)
    assert (off < 1e-5).mean() > 0.9
    assert np.median(off) < 1e-6


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_booster_says_the_same_of_itself(kind, grown):
    X, signal = rows(1, 300, 4)
    make, target = KINDS[kind]
    model = make(n_estimators=5, max_depth=3)
    ours, theirs = (document(learn(model, X, target(signal), many=many)) for many in (True, False))
    assert grown == [300]
    trees = [booster["gradient_booster"]["model"].pop("trees") for booster in (ours, theirs)]
    base = [
        np.array(json.loads(booster["learner_model_param"].pop("base_score"))) for booster in (ours, theirs)
    ]
    assert ours == theirs
    np.testing.assert_allclose(*base, rtol=1e-5, atol=1e-6)
    for own, other in zip(*trees, strict=True):
        for name in ("loss_changes", "split_conditions", "base_weights", "sum_hessian"):
            np.testing.assert_allclose(own.pop(name), other.pop(name), rtol=1e-4, atol=1e-5)
        assert own == other


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_is_learned_beside_the_trees(kind):
    X, signal = rows(2, 200, 3)
    make, target = KINDS[kind]
    ours, theirs = (learn(make(n_estimators=6), X, target(signal), many=many) for many in (True, False))
    assert ours.n_iter_ == theirs.n_iter_ == 6
    np.testing.assert_allclose(ours.feature_importances_, theirs.feature_importances_, rtol=1e-4)
    assert set(ours._learned()) == set(theirs._learned())


def test_weights_of_classes():
    X, signal = rows(3, 200, 3)
    model = og.GradientBoostingClassifier(n_estimators=6, class_weight={"high": 5.0, "low": 0.5})
    y = KINDS["two classes"][1](signal)
    ours, theirs = (learn(model, X, y, many=many) for many in (True, False))
    np.testing.assert_allclose(ours._ask(X), theirs._ask(X), atol=1e-6)


def test_rows_that_weigh_nothing_are_left_out():
    X, signal = rows(4, 200, 3)
    weight = (np.arange(200) % 2).astype(float)
    model = og.GradientBoostingRegressor(n_estimators=6)
    ours = learn(model, X, signal, weight, many=True)
    half = learn(model, X[1::2], signal[1::2], many=True)
    np.testing.assert_allclose(ours._ask(X), half._ask(X), atol=1e-6)


@pytest.mark.parametrize(
    "X",
    [np.zeros((50, 2)), np.full((50, 2), np.nan), np.arange(2.0)[:, None], np.ones((1, 1))],
    ids=["constant", "all missing", "two rows", "one row"],
)
def test_rows_without_much_to_say(X):
    y = np.arange(len(X), dtype=float)
    model = og.GradientBoostingRegressor(n_estimators=4, min_child_weight=0.0)
    ours, theirs = (learn(model, X, y, many=many)._ask(X) for many in (True, False))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


OTHERS = {
    "samples of the rows": og.GradientBoostingRegressor(n_estimators=3, subsample=0.5),
    "samples of the features": og.GradientBoostingRegressor(n_estimators=3, max_features=0.5),
    "early stopping": og.GradientBoostingRegressor(n_estimators=3, early_stopping=True),
    "many rows a bin": og.GradientBoostingRegressor(n_estimators=3, max_bins=16),
    "forest": og.RandomForestRegressor(n_estimators=3),
}


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_what_only_xgboost_does_it_does(name, grown):
    X, y = rows(5, 300, 3)
    ours, theirs = (learn(OTHERS[name], X, y, many=many) for many in (True, False))
    assert not grown
    np.testing.assert_array_equal(ours._ask(X), theirs._ask(X))


@pytest.mark.parametrize("many", [True, False])
def test_a_value_beyond_float32_is_refused(many):
    X, y = rows(6, 50, 2)
    X[3, 1] = 1e39
    with pytest.raises(DataError, match="too large for float32"):
        learn(og.GradientBoostingRegressor(), X, y, many=many)


def grouped(groups, count):
    X, y = rows(7, groups * count, 3)
    table = pa.table({"shop": np.repeat(np.arange(groups), count), "y": y})
    for j in range(3):
        table = table.append_column(f"x{j}", pa.array(X[:, j]))
    return table


def test_models_by_key_are_those_that_each_group_gives_alone(tmp_path):
    table = grouped(learning.MANY_FITS, 30)
    inner = og.GradientBoostingRegressor(n_estimators=5, min_child_weight=0.0)
    model = og.PerGroup(inner, by=["shop"]).fit(table, "y")
    assert set(model.groups_["status"].to_pylist()) == {"ok"}
    model.save(tmp_path / "models")
    answers = og.load(tmp_path / "models").predict(table)["prediction"]
    for shop in range(5):
        own = table.slice(30 * shop, 30).drop_columns("shop")
        alone = clone(inner).fit(own, "y").predict(own)["prediction"]
        np.testing.assert_allclose(answers[30 * shop : 30 * shop + 30], alone, atol=1e-5)


def test_trees_of_many_keys_take_little_room():
    model = og.PerGroup(og.GradientBoostingRegressor(n_estimators=30, max_depth=4), by=["shop"])
    models = model.fit(grouped(3, 200), "y")._router.models
    alone = len(model.model_of(0).booster_bytes_)
    assert len(models.payload) / 3 < 0.35 * alone


@pytest.mark.parametrize("payload", [b"x", b"y" * 4096, bytes(range(256)) * 100])
def test_payloads_come_back(payload):
    assert expanded(squeezed(payload)) == payload
    assert len(squeezed(payload)) <= len(payload)


def test_few_models_by_key_are_not_worth_compiling_for(grown):
    og.PerGroup(og.GradientBoostingRegressor(n_estimators=2), by=["shop"]).fit(grouped(5, 30), "y")
    assert not grown


def test_many_models_by_key_are(grown, monkeypatch):
    monkeypatch.setattr(learning, "MANY_FITS", 5)
    og.PerGroup(og.GradientBoostingRegressor(n_estimators=2), by=["shop"]).fit(grouped(5, 30), "y")
    assert grown == [30] * 5
