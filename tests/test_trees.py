"""Trees: against scikit-learn, against XGBoost itself, and on two ranks."""

from __future__ import annotations

import multiprocessing
import socket
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
import xgboost
from sklearn.datasets import make_classification, make_friedman1
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.ensemble import RandomForestClassifier as TheirForestClassifier
from sklearn.ensemble import RandomForestRegressor as TheirForestRegressor
from sklearn.metrics import r2_score

import outgrow as og
from outgrow.data.scan import Scan
from outgrow.data.source import TableSource
from outgrow.engine.collective import Tcp
from outgrow.engine.context import FitContext
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.core.task import Task
from outgrow.ml.trees.gradient_boosting import GradientBoostingClassifier, GradientBoostingRegressor
from outgrow.ml.trees.random_forest import RandomForestClassifier, RandomForestRegressor
from outgrow.testing.clusters import free_port

ALL = [
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
]


def classes(n=2000, k=2, seed=0):
    X, y = make_classification(n, 12, n_informative=6, n_classes=k, random_state=seed)
    return X, y


def numbers(n=2000, seed=0):
    return make_friedman1(n, 8, noise=0.5, random_state=seed)


def halves(X, y):
    half = len(y) // 2
    return X[:half], y[:half], X[half:], y[half:]


def brier(shares, y):
    return ((shares - np.eye(shares.shape[1])[y]) ** 2).sum(axis=1).mean()


def answer(model, X):
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


# ---- quality ---------------------------------------------------------------------------------------------

LIKE_OURS = {"max_depth": 6, "max_leaf_nodes": None, "min_samples_leaf": 1, "l2_regularization": 1.0}


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            GradientBoostingClassifier(),
            HistGradientBoostingClassifier(**LIKE_OURS),
        ),
        (
            RandomForestClassifier(n_estimators=50, random_state=0),
            TheirForestClassifier(n_estimators=50, random_state=0),
        ),
    ],
)
def test_classifiers_are_as_good_as_scikit_learns(ours, theirs, k):
    X, y, X2, y2 = halves(*classes(k=k))
    ours, theirs = (brier(model.fit(X, y).predict_proba(X2), y2) for model in (ours, theirs))
    assert ours <= theirs + 0.025


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (GradientBoostingRegressor(n_estimators=30), HistGradientBoostingRegressor(max_iter=30, **LIKE_OURS)),
        (
            RandomForestRegressor(n_estimators=50, random_state=0),
            TheirForestRegressor(n_estimators=50, random_state=0),
        ),
    ],
)
def test_regressors_are_as_good_as_scikit_learns(ours, theirs):
    X, y, X2, y2 = halves(*numbers())
    score = r2_score(y2, ours.fit(X, y).predict(X2))
    assert score >= r2_score(y2, theirs.fit(X, y).predict(X2)) - 0.02


def test_many_classes_come_as_far_in_as_many_rounds_as_scikit_learns():
    """XGBoost counts twice the second derivatives of several classes, so its steps are half as long."""
    X, y, *_ = halves(*classes(k=5))
    settings = {"max_iter": 12, "early_stopping": False, "max_leaf_nodes": 7, "l2_regularization": 2.0}
    left = []
    for kind in (og.HistGradientBoostingClassifier, HistGradientBoostingClassifier):
        shares = kind(**settings).fit(X, y).predict_proba(X)
        left.append(-np.log(shares[np.arange(len(y)), y]).mean())
    assert left[0] == pytest.approx(left[1], rel=0.02)


PLAIN = {
    "max_depth": 4,
    "learning_rate": 0.2,
    "min_child_weight": 1,
    "lambda": 1,
    "max_bin": 256,
    "tree_method": "hist",
}


@pytest.mark.parametrize("k", [2, 3])
def test_boosting_equals_xgboost_classes(k):
    X, y = classes(k=k)
    objective = (
        {"objective": "binary:logistic"} if k == 2 else {"objective": "multi:softprob", "num_class": k}
    )
    plain = xgboost.train({**PLAIN, **objective}, xgboost.QuantileDMatrix(X, y), 20).inplace_predict(X)
    ours = GradientBoostingClassifier(
        n_estimators=20, max_depth=4, learning_rate=0.2, min_child_weight=1
    ).fit(X, y)
    np.testing.assert_allclose(
        ours.predict_proba(X)[:, 1 if k == 2 else slice(None)], plain, rtol=0, atol=1e-5
    )


def test_boosting_equals_xgboost_numbers():
    X, y = numbers()
    plain = xgboost.train(PLAIN, xgboost.QuantileDMatrix(X, y), 20).inplace_predict(X)
    ours = GradientBoostingRegressor(n_estimators=20, max_depth=4, learning_rate=0.2).fit(X, y)
    np.testing.assert_allclose(ours.predict(X), plain, rtol=0, atol=1e-4)


def test_targets_far_from_zero_keep_their_digits():
    X, y = numbers(500)
    near = GradientBoostingRegressor(n_estimators=20).fit(X, y).predict(X)
    far = GradientBoostingRegressor(n_estimators=20).fit(X, y + 1e9).predict(X)
    np.testing.assert_allclose(far - 1e9, near, atol=1e-3)


def test_a_forest_of_one_tree_on_all_rows_gives_class_shares():
    X, y = np.array([[0.0], [0.0], [0.0], [1.0]]), np.array([0, 0, 1, 1])
    model = RandomForestClassifier(n_estimators=1, bootstrap=False).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), [[2 / 3, 1 / 3]] * 3 + [[0, 1]], atol=1e-6)


# ---- what rows may be ------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ALL)
def test_missing_numbers_are_learned_from(model):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = (rng.random(400) < 0.5).astype(int)
    X[y == 1, 1] = np.nan
    fitted = model(n_estimators=20, max_features=1.0).fit(X, y)
    assert fitted.score(X, y) > 0.95
    np.testing.assert_allclose(fitted.feature_importances_.sum(), 1)
    assert np.argmax(fitted.feature_importances_) == 1


@pytest.mark.parametrize("model", ALL)
@pytest.mark.parametrize("kind", ["text", "dictionary"])
def test_text_columns_are_categories(model, kind):
    rng = np.random.default_rng(0)
    letters = rng.choice(list("abcdefgh"), 600)
    y = np.isin(letters, list("aceg")).astype(int)
    column = pa.array([None if i % 50 == 0 else letter for i, letter in enumerate(letters)])
    column = column.dictionary_encode() if kind == "dictionary" else column
    table = pa.table({"n": rng.normal(size=600), "letter": column, "gone": pa.nulls(600), "y": y})
    fitted = model(n_estimators=20, max_features=1.0).fit(table, "y")
    assert fitted.categories_ == {"letter": list("abcdefgh"), "gone": []}
    assert fitted.evaluate(table, "y")["accuracy" if hasattr(fitted, "classes_") else "r2"] > 0.9
    new = pa.table({"n": [0.0, 0.0], "letter": pa.array(["unseen", None]), "gone": pa.nulls(2)})
    first, second = fitted.predict(new)["prediction"].to_pylist()
    assert first == second


def test_categories_equal_those_of_xgboost():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"a": pd.Categorical(rng.choice(list("abcdefghij"), 800)), "b": rng.normal(size=800)}
    )
    y = frame["a"].cat.codes.to_numpy() % 3 + frame["b"].to_numpy()
    matrix = xgboost.QuantileDMatrix(frame, y, enable_categorical=True)
    plain = xgboost.train({**PLAIN, "learning_rate": 0.1}, matrix, 20).predict(matrix)
    ours = GradientBoostingRegressor(n_estimators=20, max_depth=4).fit(
        frame.assign(a=frame["a"].astype(str)), y
    )
    np.testing.assert_allclose(ours.predict(frame.assign(a=frame["a"].astype(str))), plain, atol=1e-4)


@pytest.mark.parametrize("model", ALL)
def test_sparse_rows_learn_and_answer_as_dense_ones(model):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 30, 900)
    dense = np.eye(30)[codes]
    y = (codes % 3 == 0).astype(int)
    fitted = model(n_estimators=50, max_depth=12).fit(sp.csr_array(dense), y)
    assert fitted.zeros_absent_
    assert fitted.score(sp.csr_array(dense), y) > 0.85
    stored = sp.csr_array((np.r_[dense[0], 0.0], np.r_[np.arange(30), 3], [0, 31]), shape=(1, 30))
    np.testing.assert_array_equal(answer(fitted, dense), answer(fitted, sp.csr_array(dense)))
    np.testing.assert_array_equal(answer(fitted, stored), answer(fitted, dense[:1]))
    other = model(n_estimators=5).fit(dense, y)
    np.testing.assert_array_equal(answer(other, dense), answer(other, sp.csr_array(dense)))


def test_categories_beside_a_sparse_vector():
    rng = np.random.default_rng(0)
    table = pa.table({"one": rng.choice(list("abc"), 300), "two": rng.choice(list("xyz"), 300)})
    table = table.append_column("y", pa.array((np.array(table["two"].to_pylist()) == "x").astype(int)))
    pipe = og.Pipeline([og.OneHotEncoder(columns=["one"]), GradientBoostingClassifier(n_estimators=10)])
    assert pipe.fit(table, "y").evaluate(table, "y")["accuracy"] == 1.0
    assert pipe.model.n_features_ == 4


@pytest.mark.parametrize("model", ALL)
def test_no_rows_are_answered_with_none(model):
    X, y = classes(100)
    fitted = model(n_estimators=2).fit(pa.table({**{f"x{j}": X[:, j] for j in range(12)}, "y": y}), "y")
    empty = pa.table({f"x{j}": pa.array([], pa.float64()) for j in range(12)})
    assert fitted.predict(empty).num_rows == 0


# ---- weights ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        GradientBoostingClassifier(n_estimators=10),
        GradientBoostingRegressor(n_estimators=10),
        RandomForestClassifier(n_estimators=1, bootstrap=False, max_features=None),
        RandomForestRegressor(n_estimators=1, bootstrap=False),
    ],
)
def test_a_row_of_weight_two_counts_as_two_rows_and_of_weight_zero_as_none(model):
    X, y = classes(200)
    weight = np.arange(200) % 3
    weighed = answer(model.fit(X, y, sample_weight=weight.astype(float)), X)
    repeated = answer(model.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight)), X)
    np.testing.assert_allclose(weighed, repeated, atol=1e-5)


@pytest.mark.parametrize("model", [GradientBoostingClassifier, RandomForestClassifier])
def test_class_weight_is_a_weight_of_rows(model):
    X, y = classes(300)
    by_class = model(n_estimators=5, class_weight={0: 1.0, 1: 3.0}, max_depth=3).fit(X, y)
    by_row = model(n_estimators=5, max_depth=3).fit(X, y, sample_weight=np.where(y == 1, 3.0, 1.0))
    np.testing.assert_array_equal(by_class.predict_proba(X), by_row.predict_proba(X))
    rare = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:15]]
    balanced = model(n_estimators=5, class_weight="balanced", max_depth=3).fit(X[rare], y[rare])
    plain = model(n_estimators=5, max_depth=3).fit(X[rare], y[rare])
    assert balanced.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean()


# ---- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [GradientBoostingClassifier, RandomForestClassifier])
def test_one_class_is_refused(model):
    with pytest.raises(DataError, match="only one class"):
        model().fit(np.ones((4, 1)), np.zeros(4))
    with pytest.raises(DataError, match="only one class"):
        model().fit(np.ones((4, 1)), np.array([0, 1, 1, 1]), sample_weight=np.array([0.0, 1, 1, 1]))


@pytest.mark.parametrize("model", [GradientBoostingRegressor, RandomForestRegressor])
def test_rows_without_weight_are_refused(model):
    with pytest.raises(DataError, match="weights are zero"):
        model().fit(np.ones((2, 1)), np.ones(2), sample_weight=np.zeros(2))


def test_values_beyond_float32_are_refused():
    with pytest.raises(DataError, match="float32"):
        GradientBoostingRegressor().fit(np.array([[1e39], [1.0]]), np.array([0.0, 1.0]))


@pytest.mark.parametrize(
    ("model", "parameter", "value"),
    [
        (GradientBoostingClassifier, "n_estimators", 0),
        (GradientBoostingClassifier, "learning_rate", 0),
        (GradientBoostingRegressor, "max_features", 1.5),
        (GradientBoostingRegressor, "subsample", 0.0),
        (GradientBoostingRegressor, "max_bins", 1),
        (RandomForestClassifier, "max_features", "all"),
        (RandomForestClassifier, "max_samples", -1.0),
        (RandomForestClassifier, "criterion", "mse"),
        (RandomForestRegressor, "ccp_alpha", -0.5),
        (RandomForestRegressor, "min_samples_split", 1),
        (RandomForestRegressor, "random_state", -1),
    ],
)
def test_impossible_parameters_are_refused(model, parameter, value):
    with pytest.raises(ParameterError, match=f"{parameter}={value!r}"):
        model(**{parameter: value}).fit(np.ones((4, 1)), np.array([0, 1, 0, 1]))


# ---- early stopping, progress, importances ---------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3])
def test_early_stopping_keeps_the_best_rounds(k):
    X, y = classes(1000, k)
    settings = {"n_estimators": 300, "learning_rate": 0.5, "n_iter_no_change": 5}
    model = GradientBoostingClassifier(early_stopping=True, validation_fraction=0.3, **settings).fit(X, y)
    assert len(model.train_loss_) == len(model.validation_loss_) == model.n_iter_ + 5 < 300
    assert np.argmin(model.validation_loss_) == model.best_iteration_ == model.n_iter_ - 1
    assert model.booster_.num_boosted_rounds() == model.n_iter_


def test_early_stopping_does_not_depend_on_the_order_of_rows():
    X, y = numbers(600)
    order = np.random.default_rng(1).permutation(600)
    model = GradientBoostingRegressor(early_stopping=True, learning_rate=0.3)
    losses = model.fit(X, y).validation_loss_
    np.testing.assert_allclose(model.fit(X[order], y[order]).validation_loss_, losses, rtol=1e-4)


def test_early_stopping_needs_rows_on_both_sides():
    with pytest.raises(DataError, match="validation_fraction"):
        GradientBoostingRegressor(early_stopping=True).fit(np.ones((4, 1)), np.arange(4.0))


def test_rounds_are_told_with_their_loss():
    X, y = classes(200)
    seen = []
    with og.listen(seen.append):
        model = GradientBoostingClassifier(n_estimators=7).fit(X, y)
    rounds = [event for event in seen if event.unit == "round"]
    assert [event.step for event in rounds] == list(range(1, 8))
    assert [event.loss for event in rounds] == model.train_loss_.tolist()
    assert rounds[-1].total == 7
    assert model.fit(X, y).train_loss_.tolist() == [event.loss for event in rounds]


@pytest.mark.parametrize("model", ALL)
def test_importances_are_shares_and_zero_where_unused(model):
    X, y = classes(300)
    X = np.column_stack([X, np.zeros(300)])
    shares = model(n_estimators=5, random_state=0).fit(X, y).feature_importances_
    assert shares[-1] == 0
    np.testing.assert_allclose(shares.sum(), 1)
    nothing = model(n_estimators=2).fit(np.ones((10, 2)), np.arange(10) % 2)
    np.testing.assert_array_equal(nothing.feature_importances_, [0, 0])


# ---- the same model --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ALL)
def test_a_loaded_model_answers_the_same_bits(model, tmp_path):
    rng = np.random.default_rng(0)
    table = pa.table({"n": rng.normal(size=300), "c": rng.choice(list("abcde"), 300)})
    y = (rng.random(300) < 0.5).astype(int)
    fitted = model(n_estimators=5).fit(table.append_column("y", pa.array(y)), "y")
    fitted.save(tmp_path / "model")
    loaded = og.load(tmp_path / "model")
    assert loaded.predict(table).equals(fitted.predict(table))
    assert loaded.categories_ == fitted.categories_
    np.testing.assert_array_equal(loaded.feature_importances_, fitted.feature_importances_)


@pytest.mark.parametrize("model", ALL)
def test_the_same_seed_grows_the_same_trees(model):
    X, y = classes(300)
    sampled = {"subsample": 0.5} if "subsample" in model().get_params() else {}
    grow = lambda seed: model(n_estimators=5, max_features="sqrt", random_state=seed, **sampled).fit(X, y)  # noqa: E731
    assert grow(1).booster_bytes_ == grow(1).booster_bytes_
    assert grow(1).booster_bytes_ != grow(2).booster_bytes_


def test_many_threads_may_ask_and_large_batches_are_answered_as_small_ones():
    X, y = classes(20_000)
    model = GradientBoostingClassifier(n_estimators=10).fit(X[:1000], y[:1000])
    whole = model.predict_proba(X)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(model.predict_proba, np.array_split(X, 100)))
    np.testing.assert_array_equal(np.concatenate(parts), whole)


# ---- two ranks -------------------------------------------------------------------------------------------


def table_of_ranks(rank, empty):
    X, y = classes(1200, 3)
    letters = np.where(X[:, 0] > 0, "b", "a")
    table = pa.table({**{f"x{j}": X[:, j] for j in range(12)}, "c": letters, "y": y})
    if empty:
        return table if rank == 0 else table.slice(0, 0)
    return table.slice(0, 500) if rank == 0 else table.slice(500)


def live(rank, port, estimator, empty):
    comm = Tcp(rank, 2, {1 - rank: met(rank, port)}, 60.0)
    run = FitContext(comm=comm)
    scan = Scan(TableSource(table_of_ranks(rank, empty)))
    shard = Shard.of(run, scan.pieces(), scan.example())
    names = tuple(name for name in scan.schema.names if name != "y")
    estimator._fit_shard(shard, Task("y", None, names))
    comm.close()
    return estimator._learned()


def met(rank, port):
    """The connection to the other rank."""
    if rank == 0:
        with socket.create_server(("127.0.0.1", port)) as server:
            return server.accept()[0]
    until = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            assert time.monotonic() < until, "the other rank has not started"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def processes():
    """Two processes, which are ranks of one fit after the other, as those of Spark are."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def two_ranks(processes, estimator, empty):
    port = free_port()
    ranks = [processes.submit(live, rank, port, estimator, empty) for rank in (0, 1)]
    return [rank.result(timeout=120) for rank in ranks]


@pytest.mark.parametrize("empty", [False, True], ids=["halves", "one rank without rows"])
@pytest.mark.parametrize(
    "estimator",
    [
        GradientBoostingClassifier(n_estimators=30, early_stopping=True, max_depth=3),
        GradientBoostingRegressor(n_estimators=30, max_depth=3),
        RandomForestClassifier(n_estimators=20, oob_score=True),
        GradientBoostingRegressor(loss="huber", n_estimators=30, max_depth=3, subsample=0.7),
        og.HistGradientBoostingClassifier(early_stopping=True, scoring="accuracy", max_iter=20),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_two_ranks_grow_one_model(estimator, empty, processes):
    learned = two_ranks(processes, estimator, empty)
    assert learned[0]["booster_bytes_"] == learned[1]["booster_bytes_"]
    assert learned[0]["categories_"] == learned[1]["categories_"] == {"c": ["a", "b"]}
    together = type(estimator)(**estimator.get_params())
    table = pa.concat_tables([table_of_ranks(0, empty), table_of_ranks(1, empty)])
    alone = type(estimator)(**estimator.get_params()).fit(table, "y")
    together.columns_ = alone.columns_
    together._restore(learned[0])
    for name in ("oob_score_", "train_loss_", "validation_loss_", "scores_", "out_of_bag_"):
        if name in learned[0]:
            np.testing.assert_array_equal(learned[0][name], learned[1][name])
            np.testing.assert_allclose(learned[0][name], getattr(alone, name), rtol=0.2, atol=0.1)
    metric = "accuracy" if hasattr(alone, "classes_") else "r2"
    assert together.evaluate(table, "y")[metric] == pytest.approx(
        alone.evaluate(table, "y")[metric], abs=0.03
    )


def test_no_rows_have_shares_of_every_class():
    """Of a table, the columns of the answer are asked for before any row is read."""
    random = np.random.default_rng(0)
    table = pa.table({"a": random.normal(size=90), "y": np.repeat(["x", "y", "z"], 30)})
    kinds = (og.GradientBoostingClassifier, og.HistGradientBoostingClassifier)
    for model in (
        kind(**rounds) for kind, rounds in zip(kinds, ({"n_estimators": 2}, {"max_iter": 2}), strict=True)
    ):
        model.fit(table, "y")
        assert model.predict_proba(table).column_names[2:] == [f"probability_{name}" for name in "xyz"]
        none = table.slice(0, 0)
        assert model.predict_proba(none).column_names[2:] == [f"probability_{name}" for name in "xyz"]
        assert model._predict_proba(np.zeros((0, 1))).shape == (0, 3)
        assert model._decision_function(np.zeros((0, 1))).shape == (0, 3)
