"""Trees over sites that keep their rows: histograms that add up, and bins found by counting."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

import outgrow as og
from federations import federate, leaked
from outgrow.engine.collective import Alone
from outgrow.federation.policy import Policy
from outgrow.ml.trees.counted_bins import LEAST_ROWS, counted_cuts, places, value_at

CONSENT = Policy(allow_values=["Target"])


def rows(size: int = 420) -> pa.Table:
    random = np.random.default_rng(5)
    X = random.normal(size=(size, 3))
    X[random.random((size, 3)) < 0.05] = np.nan
    step = random.integers(0, 6, size) * 0.3701 + 1
    score = np.nan_to_num(X[:, 0]) + np.nan_to_num(X[:, 1]) * (step > 1.8)
    three = np.where(score > 0.5, "high", np.where(score > -0.5, "mid", "low"))
    columns = {"hour": X[:, 0], "wind": X[:, 1], "rain": X[:, 2], "step": step}
    return pa.table({**columns, "late": score > 0, "level": three, "delay": score})


def of(target: str, table: pa.Table) -> pa.Table:
    return table.drop([name for name in ("late", "level", "delay") if name != target])


def learned(model: Any, target: str, parts: list[pa.Table], **settings: Any) -> Any:
    found = federate(lambda site: clone(model).fit(site, target), parts, CONSENT, **settings)
    assert found.errors == {}, found.errors
    return found


BOOSTED = {"max_iter": 5, "min_samples_leaf": 5, "max_bins": 16, "max_leaf_nodes": 8}


@pytest.mark.parametrize(
    ("model", "target"),
    [
        (og.DecisionTreeClassifier(max_depth=4), "late"),
        (og.HistGradientBoostingClassifier(**BOOSTED), "level"),
        (og.RandomForestClassifier(n_estimators=4, min_samples_leaf=8, max_bins=16), "level"),
        (og.HistGradientBoostingRegressor(**BOOSTED, early_stopping=True), "delay"),
        (og.GradientBoostingClassifier(n_estimators=8, max_depth=2, subsample=0.8), "late"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_trees_are_as_good_as_those_of_all_rows(model: Any, target: str) -> None:
    whole = of(target, rows())
    train, test = whole[:300], whole[300:]
    parts = [train[:120], train[120:180], train[180:]]
    found = learned(model, target, parts)
    assert leaked(found, parts) <= ({"delay"} if target == "delay" else set()), "Target has its extremes"
    name = "r2" if target == "delay" else "accuracy"
    ours, central = (m.evaluate(test, target)[name] for m in (found.model, clone(model).fit(train, target)))
    assert ours > central - 0.05
    frame = test.to_pandas()
    assert (found.site_models[1].predict(frame) == found.model.predict(frame)).all()


def test_who_holds_which_rows_changes_no_tree() -> None:
    # as xgboost #10248 asks of its federated learning, whose bins depend on it
    whole = of("level", rows(300))
    model = og.HistGradientBoostingClassifier(max_iter=4, max_leaf_nodes=6, min_samples_leaf=5)
    one = learned(model, "level", [whole]).model
    order = np.random.default_rng(0).permutation(len(whole))
    several = learned(model, "level", [whole.take(order[:40]), whole.take(order[40:])]).model
    frame = whole.to_pandas()
    np.testing.assert_allclose(several.predict_proba(frame), one.predict_proba(frame), rtol=1e-5)
    structure = [tree["split_conditions"] for tree in _trees(one)]
    assert any(len(conditions) == 11 for conditions in structure), "six leaves"


def _trees(model: Any) -> Any:
    document = json.loads(model.booster_.save_raw("json"))
    return document["learner"]["gradient_booster"]["model"]["trees"]


def test_few_values_give_the_tree_of_all_rows() -> None:
    """Where bins can tell all values apart, splits are those of the rows in one place."""
    random = np.random.default_rng(1)
    X = random.integers(0, 5, (400, 3)).astype(float)
    late = X[:, 0] * 2 + X[:, 1] + random.normal(size=400) > 6
    table = pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "late": late})
    model = og.DecisionTreeClassifier(max_depth=4)
    found = learned(model, "late", [table[:150], table[150:]]).model
    central = clone(model).fit(table, "late")
    frame = table.to_pandas()
    np.testing.assert_allclose(found.predict_proba(frame), central.predict_proba(frame), atol=1e-6)


def test_sites_may_lack_classes_and_columns() -> None:
    whole = of("level", rows(300))
    parts = [whole[:100], whole[100:200], whole[200:]]
    parts[0] = parts[0].set_column(0, "hour", pa.array([None] * 100, pa.float64()))
    parts[1] = parts[1].filter(pa.array(np.array(parts[1]["level"]) != "high"))
    parts[2] = parts[2].filter(pa.array(np.array(parts[2]["level"]) == "low"))
    model = learned(og.DecisionTreeClassifier(max_depth=4), "level", parts).model
    together = pa.concat_tables(parts)
    central = og.DecisionTreeClassifier(max_depth=4).fit(together, "level")
    ours, theirs = (m.evaluate(together, "level")["accuracy"] for m in (model, central))
    assert ours > theirs - 0.03


def test_behind_masks_they_are_the_same() -> None:
    pytest.importorskip("cryptography")
    whole = of("late", rows(240))
    parts = [whole[:80], whole[80:160], whole[160:]]
    model = og.HistGradientBoostingClassifier(max_iter=2, max_bins=16, max_leaf_nodes=4)
    hidden, plain = learned(model, "late", parts, secure=True).model, learned(model, "late", parts).model
    frame = whole.to_pandas()
    np.testing.assert_allclose(hidden.predict_proba(frame), plain.predict_proba(frame), rtol=1e-5)


def test_what_histograms_do_not_tell_is_refused() -> None:
    whole = of("delay", rows(60))
    model = og.HistGradientBoostingRegressor(monotonic_cst=[1, 0, 0, 0], max_iter=2)
    found = federate(lambda site: clone(model).fit(site, "delay"), [whole[:30], whole[30:]], CONSENT)
    assert "know no monotonic_cst" in " ".join(map(str, found.errors.values()))


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=60),
    copies=st.integers(1, 20),
    most=st.integers(2, 12),
)
def test_bins_by_counting(values: list[float], copies: int, most: int) -> None:
    column = np.float32(values * copies)
    keys = places(column)
    assert (np.argsort(column, kind="stable") == np.argsort(keys, kind="stable")).all()
    assert [value_at(int(key)) for key in keys] == (column + np.float32(0)).tolist()
    (cuts,) = counted_cuts(Alone(), column[:, None], most, lambda X: None)
    assert (np.diff(cuts) > 0).all()
    assert len(cuts) < most
    distinct = np.unique(column)
    if copies >= LEAST_ROWS and len(distinct) <= most:
        heavy = np.searchsorted(cuts, distinct, side="right")
        assert len(set(heavy.tolist())) == len(distinct), "values of many rows are told apart"
