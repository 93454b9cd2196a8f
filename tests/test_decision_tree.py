"""Single trees and extremely random ones: against scikit-learn's, read, pruned, exported and refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sklearn.ensemble
import sklearn.tree

import outgrow as og
from outgrow.errors import ExportError, ParameterError
from outgrow.ml.trees.quantised import least_values

RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, 40, size=(1500, 4)).astype(float)
SIGNAL = X[:, 0] * X[:, 1] + 30 * np.sin(X[:, 2]) + RANDOM.normal(size=1500) * 20
LIMITS = [
    {"max_depth": 4},
    {"max_depth": 6, "ccp_alpha": 0.003},
    {"min_samples_split": 150},
    {"max_leaf_nodes": 9},
]


def classes_of(count: int) -> np.ndarray:
    return np.digitize(SIGNAL, np.quantile(SIGNAL, np.arange(1, count) / count))


def native(model: Any) -> Any:
    """scikit-learn's own tree with the nodes of ours."""
    made = model.to_sklearn()
    return made.steps[-1][1] if hasattr(made, "steps") else made


@pytest.mark.parametrize("criterion", ["gini", "entropy"])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_classes_are_split_as_scikit_learn_splits_them(
    classes: int, criterion: str, limits: dict[str, Any]
) -> None:
    y = classes_of(classes)
    ours = og.DecisionTreeClassifier(criterion=criterion, **limits).fit(X, y)
    theirs = sklearn.tree.DecisionTreeClassifier(criterion=criterion, random_state=0, **limits).fit(X, y)
    assert ours.get_n_leaves() == theirs.get_n_leaves()
    assert ours.get_depth() == theirs.get_depth()
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    # splits that part the rows alike may be on different features
    np.testing.assert_allclose(ours.feature_importances_, theirs.feature_importances_, atol=5e-3)


@pytest.mark.parametrize(
    "limits", [*LIMITS[::2], {"max_depth": 7, "ccp_alpha": 300.0}, {"min_impurity_decrease": 150.0}], ids=str
)
def test_numbers_are_split_as_scikit_learn_splits_them(limits: dict[str, Any]) -> None:
    ours = og.DecisionTreeRegressor(**limits).fit(X, SIGNAL * 1e6)
    scaled = {
        name: value * 1e12 if name in ("ccp_alpha", "min_impurity_decrease") else value
        for name, value in limits.items()
    }
    ours = og.DecisionTreeRegressor(**scaled).fit(X, SIGNAL * 1e6)
    theirs = sklearn.tree.DecisionTreeRegressor(random_state=0, **limits).fit(X, SIGNAL)
    np.testing.assert_allclose(ours.predict(X) / 1e6, theirs.predict(X), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(ours.feature_importances_, theirs.feature_importances_, atol=1e-6)


def test_weights_are_repetitions_also_for_entropy() -> None:
    y, weight = classes_of(3), RANDOM.integers(0, 3, len(X))
    model = og.DecisionTreeClassifier(criterion="entropy", max_depth=5, min_samples_leaf=5)
    weighted = model.fit(X, y, sample_weight=weight).predict_proba(X)
    repeated = model.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight)).predict_proba(X)
    np.testing.assert_allclose(weighted, repeated, atol=1e-7)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("depth", [1, 10])
def test_the_text_is_that_of_scikit_learn_for_the_same_nodes(depth: int, weights: bool) -> None:
    table = pa.table({**{name: X[:, j] for j, name in enumerate("abcd")}, "y": classes_of(3), "z": SIGNAL})
    for model, target in ((og.DecisionTreeClassifier, "y"), (og.DecisionTreeRegressor, "z")):
        other = "z" if target == "y" else "y"
        ours = model(max_depth=4).fit(table.drop_columns([other]), target)
        theirs = sklearn.tree.export_text(
            native(ours), feature_names=list("abcd"), show_weights=weights, max_depth=depth
        )
        assert ours.export_text(max_depth=depth, show_weights=weights) == theirs


def test_nodes_paths_and_leaves_are_those_of_the_exported_tree() -> None:
    y = classes_of(4)
    holes = np.where(RANDOM.random(X.shape) < 0.1, np.nan, X)
    ours = og.DecisionTreeClassifier(max_depth=5).fit(holes, y)
    theirs = native(ours)
    np.testing.assert_array_equal(ours.apply(holes), theirs.apply(holes))
    np.testing.assert_array_equal(ours.decision_path(holes).toarray(), theirs.decision_path(holes).toarray())
    np.testing.assert_allclose(ours.predict_proba(holes), theirs.predict_proba(holes), atol=1e-6)
    assert ours.tree_.value.shape == (ours.tree_.node_count, 1, 4)
    np.testing.assert_allclose(ours.tree_.value.sum(axis=2), 1)
    np.testing.assert_array_equal(
        np.bincount(ours.apply(holes), minlength=ours.tree_.node_count)[ours.tree_.children_left < 0],
        ours.tree_.n_node_samples[ours.tree_.children_left < 0],
    )


def test_categories_and_sparse_rows_are_read_but_not_exported_to_scikit_learn() -> None:
    words = np.array(["lo", "mid", "hi"])[classes_of(3)]
    table = pa.table({"w": words, "v": X[:, 1], "y": classes_of(3) > 0})
    model = og.DecisionTreeClassifier(max_depth=2).fit(table, "y")
    left = "{hi, mid}" if "{hi, mid}" in model.export_text() else "{lo}"
    assert model.export_text().startswith(f"|--- w not in {left}\n|   |--- class: ")
    assert model.score(table, "y") == 1.0
    with pytest.raises(ExportError, match="sets of categories"):
        model.to_sklearn()
    three = og.DecisionTreeClassifier(max_depth=2).fit(
        table.append_column("three", pa.array(classes_of(3))).drop_columns(["y"]), "three"
    )
    assert len(three.trees_) == 3
    with pytest.raises(AttributeError, match="a tree for each class"):
        three.tree_  # noqa: B018
    with pytest.raises(ExportError, match="a tree of its own"):
        three.to_sklearn()
    sparse = og.Pipeline([og.OneHotEncoder(), og.DecisionTreeRegressor(max_depth=3)])
    sparse.fit(pa.table({"w": words, "z": SIGNAL}), "z")
    assert sparse.steps[-1].get_n_leaves() == 3
    with pytest.raises(ExportError, match="zeros of sparse rows"):
        sparse.to_sklearn()


def test_what_xgboost_cannot_do_is_refused_where_it_would_have_to() -> None:
    table = pa.table({"w": np.array(["a", "b"])[classes_of(2)], "y": classes_of(2)})
    for settings, name in (
        ({"criterion": "entropy"}, "entropy"),
        ({"ccp_alpha": 0.1}, "ccp_alpha"),
        ({"splitter": "random"}, "drawn at random"),
        ({"min_samples_split": 9}, "min_samples_split"),
    ):
        with pytest.raises(ParameterError, match=f"{name}.*columns of categories"):
            og.DecisionTreeClassifier(**settings).fit(table, "y")
    with pytest.raises(ParameterError, match="monotonic_cst is given"):
        og.DecisionTreeRegressor(ccp_alpha=1.0, monotonic_cst=[1, 0, 0, 0]).fit(X, SIGNAL)


def test_several_targets_have_a_tree_each() -> None:
    both = np.column_stack([SIGNAL, X[:, 3]])
    model = og.DecisionTreeRegressor(max_depth=3).fit(X, both)
    assert len(model.trees_) == 2
    alone = og.DecisionTreeRegressor(max_depth=3).fit(X, SIGNAL)
    np.testing.assert_allclose(model.predict(X)[:, 0], alone.predict(X), rtol=1e-5)
    with pytest.raises(AttributeError, match="several targets"):
        model.get_depth()
    with pytest.raises(ParameterError, match="ccp_alpha"):
        og.DecisionTreeRegressor(ccp_alpha=0.1).fit(X, both)


def test_random_thresholds_lie_evenly_between_the_least_and_the_greatest_value() -> None:
    x, y = np.array([[0.0], [1.0], [2.0], [10.0]]), np.array([0.0, 0.0, 1.0, 1.0])
    forest = og.ExtraTreesRegressor(2000, max_depth=1, random_state=0).fit(x, y)
    thresholds = np.array([tree.tree_.threshold[0] for tree in forest.estimators_]).round(1)
    shares = [(thresholds == value).mean() for value in (0.5, 1.5, 6.0)]
    np.testing.assert_allclose(shares, [0.1, 0.1, 0.8], atol=0.03)


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_extra_trees_are_as_good_as_scikit_learns(missing: float) -> None:
    rows = RANDOM.normal(size=(1600, 5))
    signal = rows[:, 0] * rows[:, 1] + np.sin(2 * rows[:, 2]) + RANDOM.normal(size=1600) * 0.3
    rows[RANDOM.random(rows.shape) < missing] = np.nan
    learn, test = slice(0, 1000), slice(1000, None)
    for ours, theirs, y in (
        (og.ExtraTreesRegressor, sklearn.ensemble.ExtraTreesRegressor, signal),
        (og.ExtraTreesClassifier, sklearn.ensemble.ExtraTreesClassifier, np.digitize(signal, [-0.5, 0.5])),
    ):
        own = ours(60, random_state=0).fit(rows[learn], y[learn])
        other = theirs(60, random_state=0).fit(rows[learn], y[learn])
        assert own.score(rows[test], y[test]) == pytest.approx(other.score(rows[test], y[test]), abs=0.04)
        np.testing.assert_allclose(own.feature_importances_, other.feature_importances_, atol=0.03)


def test_extra_trees_depend_on_values_alone() -> None:
    y = classes_of(3)
    order = RANDOM.permutation(len(X))
    for missing in (False, True):
        rows = np.where((X == 7) & missing, np.nan, X)
        model = og.ExtraTreesClassifier(3, random_state=1)
        content = model.fit(rows, y).booster_bytes_
        assert model.fit(rows[order], y[order]).booster_bytes_ == content


def test_least_values_of_bins() -> None:
    values = np.array([5, 1, 3, 9, 3], dtype=np.float32)
    np.testing.assert_array_equal(least_values(values, np.array([2, 7], np.float32)), [1, 3, 9])
    assert len(least_values(values[:0], values[:0])) == 0
