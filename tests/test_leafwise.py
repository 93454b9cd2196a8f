"""Boosting by LightGBM behind the same estimators: the same answers as LightGBM's, the same on any ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp

import outgrow as og
from outgrow.engine.collective import Tcp
from outgrow.engine.context import FitContext
from outgrow.engine.shard import Shard
from outgrow.errors import EngineError, ParameterError
from outgrow.ml.core.task import Task
from outgrow.ml.trees import leafwise
from outgrow.ml.trees.leafwise_trees import just_above
from outgrow.testing import EngineCase
from ranks import ranks

FEATURES = ["size", "age", "colour"]
SMALL: dict[str, Any] = {"n_estimators": 6, "max_leaf_nodes": 8, "learning_rate": 0.3, "grower": "lightgbm"}


def rows(count: int = 900) -> pd.DataFrame:
    """Numbers, some missing, and words, of which a few are missing, too."""
    random = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "size": random.normal(size=count).astype(np.float32).astype(np.float64),
            "age": random.integers(0, 40, count).astype(float),
            "colour": random.choice(["red", "green", "blue", "grey"], count),
        }
    )
    frame["amount"] = (
        2 * frame["size"]
        + 0.1 * frame["age"]
        + 3.0 * (frame["colour"] == "red")
        + 0.2 * random.normal(size=count)
    )
    frame.loc[::9, "size"] = np.nan
    frame.loc[::31, "colour"] = None
    frame["kind"] = np.where(frame["amount"] > 4, "large", np.where(frame["amount"] > 1, "middle", "small"))
    frame["late"] = np.where(frame["amount"] > 2, "yes", "no")
    return frame


MODELS = {
    "numbers": (lambda **more: og.GradientBoostingRegressor(**{**SMALL, **more}), "amount"),
    "huber": (lambda **more: og.GradientBoostingRegressor(loss="huber", **{**SMALL, **more}), "amount"),
    "two classes": (lambda **more: og.GradientBoostingClassifier(**{**SMALL, **more}), "late"),
    "three classes": (lambda **more: og.GradientBoostingClassifier(**{**SMALL, **more}), "kind"),
    "a sample": (
        lambda **more: og.GradientBoostingClassifier(subsample=0.6, max_features=2, **{**SMALL, **more}),
        "kind",
    ),
}


def answers(model: Any, data: Any) -> np.ndarray:
    frame = data.to_pandas() if isinstance(data, pa.Table) else data
    asked = model.predict_proba if hasattr(model, "predict_proba") else model.predict
    return np.asarray(asked(frame[FEATURES]), dtype=np.float64)


def coded(model: Any, frame: pd.DataFrame) -> np.ndarray:
    """The features as the trees see them."""
    places = {word: k + 1 for k, word in enumerate(model.categories_["colour"])}
    return np.column_stack([frame["size"], frame["age"], frame["colour"].map(places)])


@pytest.mark.parametrize("name", MODELS)
def test_what_is_stored_answers_as_lightgbm_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers, categories and missing values take the same ways through the trees."""
    grown: list[Any] = []
    keep = leafwise._Growing.grown
    monkeypatch.setattr(leafwise._Growing, "grown", lambda self: (grown.append(self), keep(self))[1])
    make, target = MODELS[name]
    frame = rows()
    model = make().fit(frame[[*FEATURES, target]], target)
    asked = np.vstack([coded(model, frame), [[np.nan, np.nan, np.nan], [1e30, -1e30, 1.0], [0.0, 0.0, 2.0]]])
    base = np.array(grown[0]._base)
    start = np.log(base / (1 - base)) if name == "two classes" else base
    expected = grown[0]._booster.predict(asked, raw_score=True) + (start if len(base) > 1 else start[0])
    found = model._sums(asked)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    assert model.score(frame[[*FEATURES, target]], target) > 0.7


def test_thresholds_keep_rows_on_their_side() -> None:
    """A number is at most a threshold of float64 just where it is below the float32 number above that."""
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(size=500), [0.0, 1e-38, -1e30, 3e38]]).astype(np.float32)
    close = np.nextafter(values.astype(np.float64), np.inf)
    thresholds = np.concatenate([values.astype(np.float64), close, -close, [1e300, -1e300]])
    above = just_above(thresholds)
    assert np.array_equal(values[:, None] <= thresholds, values[:, None] < above)


@pytest.mark.parametrize("name", ["two classes", "three classes"])
def test_every_engine_grows_the_same_trees(name: str, engine: EngineCase) -> None:
    make, target = MODELS[name]
    table = pa.Table.from_pandas(rows(300)[["age", "size", target]], preserve_index=False)
    stops = {"early_stopping": True, "validation_fraction": 0.3, "subsample": 0.7, "l2_regularization": 0.0}
    model = make(**stops).fit(engine.open(table), target)
    expected = make(**stops).fit(table, target)
    asked = rows(300)[["age", "size"]].to_numpy()
    np.testing.assert_allclose(model._sums(asked), expected._sums(asked), atol=1e-5)
    np.testing.assert_allclose(model.validation_loss_, expected.validation_loss_, rtol=1e-5)


def fitted_on(cuts: list[int], make: Any, table: pa.Table, target: str) -> list[Any]:
    """The model of each rank, of which each has the rows between two cuts."""

    def work(comm: Tcp) -> Any:
        start, stop = cuts[comm.rank], cuts[comm.rank + 1]
        scan = og.dataset(table.slice(start, stop - start)).scan
        shard = Shard.of(FitContext(comm, 1), scan.pieces(), scan.example())
        model = make()
        features = tuple(name for name in table.column_names if name != target)
        model._fit_shard(shard, Task(target, None, features))
        return model

    return ranks(len(cuts) - 1, work)


@pytest.mark.parametrize("name", MODELS)
def test_ranks_talk_through_the_collective_of_the_fit(name: str) -> None:
    """However rows lie, also if one rank has all of them."""
    make, target = MODELS[name]
    table = pa.Table.from_pandas(rows()[[*FEATURES, target]], preserve_index=False)
    expected, *_ = fitted_on([0, 450, 900], make, table, target)
    asked = coded(expected, rows())
    assert (
        np.corrcoef(np.ravel(expected._sums(asked)), np.ravel(make().fit(table, target)._sums(asked)))[0, 1]
        > 0.97
    )
    for cuts in ([0, 300, 600, 900], [0, 900, 900, 900]):
        for model in fitted_on(cuts, make, table, target):
            np.testing.assert_allclose(model._sums(asked), expected._sums(asked), atol=1e-5)
            assert model.feature_importances_ == pytest.approx(expected.feature_importances_, abs=1e-6)


def test_a_rank_that_fails_ends_the_fit_of_all() -> None:
    """LightGBM passes no error on: it is kept, and raised when it returns."""
    table = pa.Table.from_pandas(rows()[["size", "age", "amount"]], preserve_index=False)

    def work(comm: Tcp) -> Any:
        scan = og.dataset(table.slice(300 * comm.rank, 300)).scan
        shard = Shard.of(FitContext(comm, 1), scan.pieces(), scan.example())
        model = og.GradientBoostingRegressor(**{**SMALL, "n_estimators": 500})
        if comm.rank == 1:
            gather, calls = comm.gather, iter(range(40))

            def failing(message: bytes) -> list[bytes]:
                if next(calls, None) is None:
                    comm.abort("its disk is full")
                    raise OSError("the disk is full")
                return gather(message)

            comm.gather = failing  # type: ignore[method-assign]
        with pytest.raises((OSError, EngineError)) as error:
            model._fit_shard(shard, Task("amount", None, ("size", "age")))
        return str(error.value)

    found = ranks(2, work)
    assert "disk is full" in found[0]
    assert found[1] == "the disk is full"


def test_it_is_saved_exported_and_warm(tmp_path: Path) -> None:
    frame = rows()
    model = og.GradientBoostingClassifier(**SMALL).fit(frame[[*FEATURES, "kind"]], "kind")
    model.save(tmp_path / "model")
    loaded = og.load(tmp_path / "model")
    assert np.array_equal(answers(loaded, frame), answers(model, frame))
    assert not list((tmp_path / "model").glob("*.pkl"))
    numbers = og.GradientBoostingClassifier(**SMALL).fit(frame[["age", "size", "kind"]].fillna(0.0), "kind")
    X = frame[["age", "size"]].fillna(0.0)
    twin = numbers.to_sklearn()
    assert np.allclose(twin.predict_proba(X), np.asarray(numbers.predict_proba(X), dtype=float), atol=1e-6)
    warm = og.GradientBoostingRegressor(**{**SMALL, "n_estimators": 3}, warm_start=True)
    warm.fit(frame[[*FEATURES, "amount"]], "amount")
    first = answers(warm, frame)
    warm.set_params(n_estimators=6).fit(frame[[*FEATURES, "amount"]], "amount")
    whole = og.GradientBoostingRegressor(**SMALL).fit(frame[[*FEATURES, "amount"]], "amount")
    assert warm.n_iter_ == 6
    assert not np.allclose(first, answers(warm, frame))
    np.testing.assert_allclose(answers(warm, frame), answers(whole, frame), atol=1e-3)
    assert (
        warm.set_params(grower="xgboost", n_estimators=7).fit(frame[[*FEATURES, "amount"]], "amount").n_iter_
        == 7
    )


def test_constraints_hold() -> None:
    random = np.random.default_rng(3)
    X = random.normal(size=(600, 3))
    y = X[:, 0] + np.sin(3 * X[:, 0]) + X[:, 1] * X[:, 2]
    model = og.GradientBoostingRegressor(
        **{**SMALL, "n_estimators": 30}, monotonic_cst=[1, 0, 0], interaction_cst="no_interactions"
    ).fit(X, y)
    line = np.column_stack([np.linspace(-2, 2, 200), np.zeros(200), np.zeros(200)])
    assert (np.diff(model.predict(line)) >= -1e-6).all()
    for trees in model.estimators_.ravel():
        feature = trees.tree_.feature
        assert len(set(feature[feature >= 0].tolist())) <= 1


def test_zeros_of_sparse_rows_are_numbers() -> None:
    random = np.random.default_rng(5)
    X = random.poisson(0.3, (400, 12)).astype(float)
    y = X[:, 0] - X[:, 1] + 0.1 * random.normal(size=400)
    sparse = og.GradientBoostingRegressor(**SMALL).fit(sp.csr_array(X), y)
    dense = og.GradientBoostingRegressor(**SMALL).fit(X, y)
    np.testing.assert_allclose(sparse.predict(sp.csr_array(X)), dense.predict(X), atol=1e-5)


def test_weights_are_repetitions_and_constant_rows_answer_their_mean() -> None:
    frame = rows(200)
    weight = np.arange(200) % 3
    more = frame.loc[np.repeat(frame.index, weight)]
    weighed = og.GradientBoostingRegressor(**SMALL).fit(
        frame[FEATURES], frame["amount"], sample_weight=weight
    )
    repeated = og.GradientBoostingRegressor(**SMALL).fit(more[FEATURES], more["amount"])
    np.testing.assert_allclose(weighed.predict(frame[FEATURES]), repeated.predict(frame[FEATURES]), atol=1e-4)
    same = og.GradientBoostingRegressor(**SMALL).fit(np.ones((30, 2)), np.arange(30.0))
    assert same.predict(np.ones((1, 2))).tolist() == pytest.approx([14.5])


@pytest.mark.parametrize("loss", ["absolute_error", "quantile"])
def test_what_it_cannot_do_is_said(loss: str) -> None:
    with pytest.raises(ParameterError, match=r"knows no loss='absolute_error' or 'quantile'.*xgboost"):
        og.GradientBoostingRegressor(loss=loss, **SMALL).fit(np.eye(4), np.arange(4.0))
    with pytest.raises(ParameterError, match="grower"):
        og.GradientBoostingRegressor(grower="catboost").fit(np.eye(4), np.arange(4.0))


def test_the_library_is_the_one_that_was_asked() -> None:
    assert tuple(map(int, lightgbm.__version__.split(".")[:2])) >= (4, 7)


def test_values_of_shap_sum_to_the_answer() -> None:
    frame = rows()
    for name in ("numbers", "two classes"):
        made, target = MODELS[name]
        model = made().fit(frame[[*FEATURES, target]], target)
        values = og.shap_values(model, frame[FEATURES])
        said = answers(model, frame)
        expected = said if said.ndim == 1 else np.log(said[:, 1] / said[:, 0])
        np.testing.assert_allclose(values.values.sum(axis=1) + values.base, expected, atol=1e-4)
