"""SHAP values: beside a reckoning of their definition, what they add up to, and in tables."""

from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sklearn.linear_model

import outgrow as og
from outgrow.errors import ParameterError
from outgrow.testing import EngineCase

FEATURES = ["a", "b", "c"]


def rows(count: int = 300, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    X = random.normal(size=(count, 3))
    frame = pd.DataFrame(X, columns=FEATURES)
    number = X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * random.normal(size=count)
    kinds = np.array(["low", "middle", "high"])[np.digitize(number, [-0.5, 0.5])]
    return frame.assign(y=number, late=np.where(number > 0, "yes", "no"), kind=kinds)


def along(tree: Any, x: np.ndarray, known: tuple[int, ...], node: int = 0) -> float:
    """What a tree answers where only some features are known: both ways by their rows elsewhere."""
    left, right = tree.children_left[node], tree.children_right[node]
    if left < 0:
        return float(tree.value[node].ravel()[0])
    feature = tree.feature[node]
    if feature in known:
        return along(tree, x, known, left if np.float32(x[feature]) <= tree.threshold[node] else right)
    weight = tree.weighted_n_node_samples
    parts = [weight[child] * along(tree, x, known, child) for child in (left, right)]
    return float(sum(parts) / (weight[left] + weight[right]))


def test_they_are_what_their_definition_says() -> None:
    table = rows(200)
    X = table[FEATURES].to_numpy()
    model = og.DecisionTreeRegressor(max_depth=4).fit(X, table["y"].to_numpy())
    found = og.shap_values(model, X[:3])
    tree = model.tree_
    for row, values in zip(X[:3], found.values, strict=True):
        for j in range(3):
            others = [k for k in range(3) if k != j]
            exact = 0.0
            for size in range(3):
                share = factorial(size) * factorial(2 - size) / factorial(3)
                for known in combinations(others, size):
                    exact += share * (along(tree, row, (*known, j)) - along(tree, row, known))
            assert values[j] == pytest.approx(exact * float(model.scale_), abs=1e-5)


@pytest.mark.parametrize(
    ("model", "target", "method"),
    [
        (og.GradientBoostingRegressor(n_estimators=8), "y", "predict"),
        (og.HistGradientBoostingRegressor(max_iter=8, loss="absolute_error"), "y", "predict"),
        (og.RandomForestRegressor(n_estimators=5), "y", "predict"),
        (og.ExtraTreesRegressor(n_estimators=5), "y", "predict"),
        (og.DecisionTreeRegressor(), "y", "predict"),
        (og.GradientBoostingClassifier(n_estimators=8), "late", "decision_function"),
        (og.GradientBoostingClassifier(n_estimators=8), "kind", "decision_function"),
        (og.RandomForestClassifier(n_estimators=5), "late", "predict_proba"),
        (og.RandomForestClassifier(n_estimators=5), "kind", "predict_proba"),
        (og.DecisionTreeClassifier(max_depth=4), "kind", "predict_proba"),
        (og.GradientBoostingRanker(n_estimators=5), "grade", "predict"),
        (og.LinearRegression(), "y", "predict"),
        (og.Ridge(), "y", "predict"),
        (og.HuberRegressor(), "y", "predict"),
        (og.LogisticRegression(), "late", "decision_function"),
        (og.LogisticRegression(), "kind", "decision_function"),
        (og.LinearSVC(), "late", "decision_function"),
        (og.PoissonRegressor(), "grade", "logarithm"),
        (og.GradientBoostingRegressor(loss="poisson", n_estimators=8), "grade", "logarithm"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_they_add_up_to_the_answer(model: Any, target: str, method: str) -> None:
    table = rows()
    table["grade"] = np.clip(np.round(table["y"] + 1), 0, 4)
    X, y = table[FEATURES], table[target]
    model.fit(X, y)
    found = og.shap_values(model, X)
    assert found.features == FEATURES
    expected = np.log(model.predict(X)) if method == "logarithm" else getattr(model, method)(X)
    if method == "predict_proba" and expected.shape[1] == 2:
        expected = expected[:, 1]
    np.testing.assert_allclose(found.values.sum(axis=1) + found.base, expected, rtol=1e-4, atol=1e-4)
    assert (found.outputs is None) == (expected.ndim == 1)
    assert next(iter(found.importances)) in FEATURES


def test_a_linear_model_begins_at_the_mean_of_its_background() -> None:
    table = rows()
    model = og.LinearRegression().fit(table[FEATURES], table["y"])
    background = table[FEATURES].iloc[:50]
    found = og.shap_values(model, table[FEATURES].iloc[50:60], background=background)
    coef = sklearn.linear_model.LinearRegression().fit(table[FEATURES], table["y"]).coef_
    expected = (table[FEATURES].iloc[50:60] - background.mean()).to_numpy() * coef
    np.testing.assert_allclose(found.values, expected, atol=1e-8)
    assert found.base == pytest.approx(model.predict(background).mean())


def test_tables_get_columns_on_every_engine(engine: EngineCase) -> None:
    table = rows(200)
    boosted = og.GradientBoostingClassifier(n_estimators=5).fit(table[FEATURES], table["kind"])
    linear = og.LinearRegression().fit(table[FEATURES], table["y"])
    data = engine.open(pa.Table.from_pandas(table[["a", "b", "c"]].assign(row=np.arange(200.0))))
    for model, stem in ((boosted, "shap_high_"), (linear, "shap_")):
        beside = og.shap_values(model, data)
        found = og.dataset(beside).to_arrow().to_pandas().sort_values("row")
        alone = og.shap_values(model, table[FEATURES]).to_pandas()
        assert [*found.columns] == ["a", "b", "c", "row", *alone.columns]
        assert f"{stem}base" in found.columns
        np.testing.assert_allclose(found[alone.columns], alone, atol=1e-6)


def test_of_pipelines_the_features_that_reach_the_model_have_names() -> None:
    random = np.random.default_rng(0)
    table = rows().assign(city=random.choice(["Bern", "Rome"], 300))[["a", "city", "y"]]
    linear = og.Pipeline([og.OneHotEncoder(columns=["city"]), og.LinearRegression()]).fit(table, "y")
    found = og.shap_values(linear, table)
    assert found.features == ["a", "city_Bern", "city_Rome"]
    np.testing.assert_allclose(found.values.sum(axis=1) + found.base, linear.predict(table), atol=1e-8)
    trees = og.GradientBoostingRegressor(n_estimators=5).fit(table, "y")
    text = og.shap_values(trees, table)
    assert text.features == ["a", "city"]
    np.testing.assert_allclose(text.values.sum(axis=1) + text.base, trees.predict(table), atol=1e-5)


def test_missing_and_sparse_numbers_have_values_too() -> None:
    table = rows()
    X = table[FEATURES].to_numpy().copy()
    X[::7, 0] = np.nan
    model = og.GradientBoostingRegressor(n_estimators=5).fit(X, table["y"].to_numpy())
    found = og.shap_values(model, X)
    np.testing.assert_allclose(found.values.sum(axis=1) + found.base, model.predict(X), atol=1e-5)
    far = og.GradientBoostingRegressor(n_estimators=5).fit(X, table["y"].to_numpy() * 1e9 + 1e12)
    large = og.shap_values(far, X)
    np.testing.assert_allclose(large.values / 1e9, found.values, atol=1e-3)
    assert "ShapValues of 300 rows" in repr(large)


def test_what_has_none_is_said() -> None:
    table = rows(60)
    neighbours = og.KNeighborsRegressor().fit(table[FEATURES], table["y"])
    with pytest.raises(ParameterError, match="KNeighborsRegressor is no sum of trees or of columns"):
        og.shap_values(neighbours, table[FEATURES])
    linear = og.LinearRegression().fit(table[FEATURES], table["y"])
    with pytest.raises(ParameterError, match="X has one row"):
        og.shap_values(linear, table[FEATURES].head(1))
    trees = og.RandomForestRegressor(n_estimators=2).fit(table[FEATURES], table["y"])
    with pytest.raises(ParameterError, match="takes no background"):
        og.shap_values(trees, table[FEATURES], background=table[FEATURES])
