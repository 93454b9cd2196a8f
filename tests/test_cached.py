"""Trials that share their rows: the scores of each are those it would have alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import clone

import outgrow as og
from outgrow import errors
from outgrow.ml.selection.cached import CachedCrossValidator
from outgrow.tuning.trial import Pruned

N = 400


def table(*, classes: int = 2, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(2, N))
    key = rng.integers(0, 5, N)
    signal = x + 0.5 * key + rng.normal(size=N)
    x[rng.random(N) < 0.1] = np.nan
    labels = np.searchsorted(np.quantile(signal, np.arange(1, classes) / classes), signal)
    return pa.table(
        {
            "x": pa.array(x, from_pandas=True),
            "z": z,
            "key": pa.array([f"k{j}" for j in key]),
            "weight": rng.integers(1, 4, N).astype(np.float64),
            "y": signal,
            "label": pa.array([f"c{j}" for j in labels]),
        }
    )


def encoded(model: Any, **settings: Any) -> og.Pipeline:
    return og.Pipeline(
        [
            og.SimpleImputer(columns=og.numeric()),
            og.OneHotEncoder(columns=["key"], handle_unknown="ignore"),
            model,
        ]
    ).set_params(**settings)


BOOSTING = og.GradientBoostingClassifier(n_estimators=12, max_depth=3)
CASES: dict[str, tuple[list[Any], str, dict[str, Any]]] = {
    "linear": ([encoded(og.Ridge(alpha=a)) for a in (0.1, 10.0)], "y", {}),
    "logistic": ([encoded(og.LogisticRegression(C=c)) for c in (0.1, 10.0)], "label", {}),
    "boosting": ([encoded(og.GradientBoostingClassifier(n_estimators=n)) for n in (5, 9, 5)], "label", {}),
    "categories": ([og.GradientBoostingClassifier(n_estimators=n) for n in (5, 9, 5)], "label", {}),
    "bins": ([og.GradientBoostingRegressor(n_estimators=5, max_bins=b) for b in (8, 64, 8)], "y", {}),
    "balanced": (
        [og.GradientBoostingClassifier(n_estimators=5, class_weight=w) for w in (None, "balanced", None)],
        "label",
        {},
    ),
    "stopping": (
        [og.GradientBoostingClassifier(n_estimators=9, early_stopping=e) for e in (False, True, False)],
        "label",
        {},
    ),
    "three classes": ([encoded(og.GradientBoostingClassifier(n_estimators=5))], "label", {"classes": 3}),
    "forest": ([encoded(og.RandomForestRegressor(n_estimators=5, max_depth=d)) for d in (2, 5)], "y", {}),
    "steps": (
        [encoded(og.Ridge(), simpleimputer__strategy=s) for s in ("mean", "median", "most_frequent", "mean")]
        + [encoded(og.Ridge(), onehotencoder__max_categories=n) for n in (2, 3, 4)],
        "y",
        {},
    ),
}
FOLDS = [og.Holdout(0.3), og.KFold(3), og.GroupKFold("key", folds=2, feature=True)]


def rows(engine: og.Local | None = None, **settings: Any) -> og.Dataset:
    return og.dataset(table(**settings), engine=engine or og.Local())


def close(found: Mapping[str, float], expected: Mapping[str, float]) -> bool:
    return found.keys() == expected.keys() and all(
        found[name] == pytest.approx(expected[name], rel=1e-9, nan_ok=True) for name in found
    )


@pytest.mark.parametrize("folds", FOLDS, ids=lambda folds: type(folds).__name__)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("weight", [None, "weight"])
def test_scores_are_those_of_a_trial_alone(case: str, folds: Any, weight: str | None) -> None:
    estimators, target, made = CASES[case]
    data = rows(**made)
    unused = {"y", "label", "weight"} - {target, weight}
    data = data.select(*(name for name in data.columns if name not in unused))
    bench = CachedCrossValidator(data, target, weight, folds)
    for estimator in estimators:
        told = bench.scores(estimator)
        alone = og.cross_validate(estimator, data, target, weight, cv=folds)
        assert [fold.rows for fold in told] == [fold.rows for fold in alone.folds]
        assert all(map(close, told, alone.folds))


def test_rows_past_the_memory_wait_in_a_file() -> None:
    small = og.Local(threads=1, memory="1B")
    estimators, target, _ = CASES["steps"]
    bench = CachedCrossValidator(rows(small).drop("label"), target, None, og.KFold(3))
    roomy = CachedCrossValidator(rows().drop("label"), target, None, og.KFold(3))
    for estimator in estimators:
        assert all(map(close, bench.scores(estimator), roomy.scores(estimator)))


@pytest.mark.parametrize("model", [BOOSTING, encoded(BOOSTING)], ids=["alone", "pipeline"])
def test_what_is_told_between_rounds_is_what_so_many_rounds_score(model: Any) -> None:
    data = rows().drop("y", "weight")
    bench, told = CachedCrossValidator(data, "label", None, og.Holdout(0.3)), []
    name = "n_estimators" if model is BOOSTING else "gradientboostingclassifier__n_estimators"
    whole = bench.scores(model, lambda share, scores: told.append((share, dict(scores))))
    assert [share for share, _ in told] == [pytest.approx(rounds / 12) for rounds in (1, 2, 4, 8)]
    assert all(map(close, whole, bench.scores(model)))
    for rounds, (share, scores) in zip((1, 2, 4, 8), told, strict=True):
        (fewer,) = bench.scores(clone(model).set_params(**{name: rounds}))
        assert fewer["log_loss"] == pytest.approx(scores["log_loss"], rel=1e-5), share


def test_a_regressor_tells_of_its_offset() -> None:
    data = rows().drop("label", "weight")
    bench, told = CachedCrossValidator(data, "y", "z", og.Holdout(0.3)), []
    with pytest.raises(errors.DataError, match="negative"):
        bench.scores(og.GradientBoostingRegressor(n_estimators=9))
    bench = CachedCrossValidator(data, "y", None, og.Holdout(0.3))
    bench.scores(
        og.GradientBoostingRegressor(n_estimators=12), lambda share, scores: told.append(scores["r2"])
    )
    assert told == sorted(told)
    assert bench.scores(og.GradientBoostingRegressor(n_estimators=8))[0]["r2"] == pytest.approx(
        told[-1], rel=1e-5
    )


def test_a_trial_that_is_ended_between_rounds_spares_the_other_folds() -> None:
    data = rows().drop("y", "weight")
    bench, heard = CachedCrossValidator(data, "label", None, og.KFold(3)), []

    def end(share: float, scores: Mapping[str, float]) -> None:
        heard.append(share)
        raise Pruned

    for _ in range(2):
        with pytest.raises(Pruned):
            bench.scores(encoded(BOOSTING), end)
    assert heard == [1 / 12, 1 / 12]
    assert len(bench.scores(encoded(BOOSTING))) == 3


def test_a_trial_that_fails_leaves_the_next_ones_as_they_are() -> None:
    data = rows().drop("y", "weight")
    bench = CachedCrossValidator(data, "label", None, og.Holdout(0.3))
    with pytest.raises(errors.DataError, match="NaN"):
        bench.scores(og.Pipeline([og.OneHotEncoder(columns=["key"]), og.LogisticRegression()]))
    with pytest.raises(errors.ParameterError, match="n_estimators"):
        bench.scores(og.GradientBoostingClassifier(n_estimators=0))
    assert close(
        bench.scores(BOOSTING)[0], og.cross_validate(BOOSTING, data, "label", cv=og.Holdout(0.3)).folds[0]
    )


def test_held_out_rows_may_lack_a_class_and_may_not_be_none() -> None:
    rare = table().slice(0, 60).drop_columns(["y", "weight"])
    rare = rare.set_column(4 - 1, "label", pa.array(["a", "b"] * 29 + ["c", "c"]))
    data = og.dataset(rare, engine=og.Local())
    lacking = set()
    for seed in range(6):
        folds = og.Holdout(0.1, seed=seed)
        (expected,) = og.cross_validate(encoded(BOOSTING), data, "label", cv=folds).folds
        assert close(CachedCrossValidator(data, "label", None, folds).scores(encoded(BOOSTING))[0], expected)
        lacking.add("c" not in data.split(0.1, seed=seed)[1].to_arrow()["label"].to_pylist())
    assert True in lacking
    few = og.dataset(rare.slice(0, 3), engine=og.Local())
    with pytest.raises(errors.DataError, match="is tested on no rows"):
        CachedCrossValidator(few, "label", None, og.Holdout(1e-6)).scores(BOOSTING)
