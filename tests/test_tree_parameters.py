"""The parameters of scikit-learn's trees: losses, sizes of leaves, samples, going on, and walking through."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.metrics import make_scorer, mean_absolute_error, mean_pinball_loss
from sklearn.tree import DecisionTreeRegressor

import outgrow as og
from outgrow.errors import DataError, EngineError, ParameterError
from outgrow.ml.trees.asking import answers
from outgrow.ml.trees.quantile_leaves import leaf_quantiles
from outgrow.testing import pieces_case

FORESTS = [og.RandomForestClassifier, og.RandomForestRegressor]
BOOSTED = [
    og.GradientBoostingClassifier,
    og.GradientBoostingRegressor,
    og.HistGradientBoostingClassifier,
    og.HistGradientBoostingRegressor,
]


def rows(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, 4))
    return X, X[:, 0] + X[:, 1] * X[:, 2] + 0.5 * random.normal(size=n)


def target(model: Any, y: np.ndarray, classes: int = 2) -> np.ndarray:
    return np.digitize(y, np.quantile(y, np.arange(1, classes) / classes)) if is_classifier(model) else y


def is_classifier(model: Any) -> bool:
    return "Classifier" in (model if isinstance(model, type) else type(model)).__name__


def rounds(model: type, count: int) -> dict[str, int]:
    return {"max_iter" if "Hist" in model.__name__ else "n_estimators": count}


def raw(model: Any, X: np.ndarray) -> np.ndarray:
    found: np.ndarray = model.predict_proba(X) if is_classifier(model) else model.predict(X)
    return found


# ---- losses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [300, 2500])
def test_a_search_over_losses_gives_each_its_own_target(count: int) -> None:
    """Candidates share the bins of their rows; what they predict is centred, scaled, or as it is."""
    X, y = rows(count)
    table = pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": np.exp(y)})
    losses = ["squared_error", "poisson", "gamma", "absolute_error"]
    model = og.GradientBoostingRegressor(n_estimators=15, max_bins=32)
    found = og.tune(
        model, table, "y", space={"loss": losses}, sampler="grid", validation=2, metric="rmse", refit=False
    )
    for trial in found.trials.to_pylist():
        alone = clone(model).set_params(loss=trial["loss"])
        expected = og.cross_validate(alone, table, "y", cv=2).mean()["rmse"]
        assert trial["rmse"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("model", [og.GradientBoostingRegressor, og.HistGradientBoostingRegressor])
@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "poisson", "gamma"])
def test_each_loss_of_numbers_is_lowered(model: Any, loss: str, tmp_path: Path) -> None:
    X, y = rows()
    y = np.exp(y / 2)
    fitted = model(loss=loss, early_stopping=False, **rounds(model, 40)).fit(X, y)
    losses = fitted.train_loss_
    assert losses[-1] < 0.8 * losses[0] or losses[-1] < losses[0] - 0.1
    assert fitted.score(X, y) > 0.5
    assert loss not in ("poisson", "gamma") or (fitted.predict(X) > 0).all()
    fitted.save(tmp_path / "model")
    assert og.load(tmp_path / "model").predict(X).tolist() == fitted.predict(X).tolist()


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e12])
@pytest.mark.parametrize("loss", ["absolute_error", "huber", "quantile"])
def test_a_loss_of_distances_does_not_depend_on_the_unit(loss: str, scale: float) -> None:
    X, y = rows()
    model = og.GradientBoostingRegressor(loss=loss, n_estimators=20, max_depth=3)
    plain, scaled = model.fit(X, y).predict(X), model.fit(X, y * scale).predict(X)
    np.testing.assert_allclose(scaled / scale, plain, rtol=1e-3, atol=2e-2)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_quantiles_lie_above_so_many_rows(alpha: float) -> None:
    X, y = rows(2000)
    model = og.GradientBoostingRegressor(loss="quantile", alpha=alpha, n_estimators=50, max_depth=3).fit(X, y)
    assert (y <= model.predict(X)).mean() == pytest.approx(alpha, abs=0.05)
    constant = np.full(len(y), np.quantile(y, alpha))
    assert mean_pinball_loss(y, model.predict(X), alpha=alpha) < mean_pinball_loss(y, constant, alpha=alpha)


@pytest.mark.parametrize("loss", ["absolute_error", "quantile"])
@pytest.mark.parametrize("pieces", [2, 5])
def test_leaves_of_weighted_rows_do_not_depend_on_the_cut(loss: str, pieces: int) -> None:
    X, y = rows(600)
    weight = np.random.default_rng(3).choice([0.0, 0.5, 1.0, 3.0], 600)
    table = pa.table({"a": X[:, 0], "b": X[:, 1], "y": y, "w": weight})
    model = og.GradientBoostingRegressor(loss=loss, alpha=0.3, n_estimators=6, max_depth=3)
    whole = model.fit(table, "y", sample_weight="w").predict(table)["prediction"]
    model.fit(pieces_case(pieces).open(table), "y", sample_weight="w")
    assert model.predict(table)["prediction"].to_pylist() == whole.to_pylist()


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 0.5, 0.77, 1.0]), st.integers(1, 6))
@settings(derandomize=True, max_examples=30, deadline=None)
def test_quantiles_of_leaves_are_those_of_numpy(seed: int, share: float, leaves: int) -> None:
    random = np.random.default_rng(seed)
    leaf, rest = random.integers(0, leaves, 40), random.normal(size=40).round(1).astype(np.float32)
    weight = random.integers(0, 3, 40).astype(np.float32)
    plain = leaf_quantiles(leaf, rest, None, leaves + 1, share, lambda part: part)
    weighed = leaf_quantiles(leaf, rest, weight, leaves + 1, share, lambda part: part)
    for number in range(leaves):
        own = rest[leaf == number]
        if len(own):
            assert plain[number] == pytest.approx(np.quantile(own, share, method="weibull"), abs=1e-6)
        repeated = np.repeat(own, weight[leaf == number].astype(int))
        if share and len(repeated):
            assert weighed[number] == np.quantile(repeated, share, method="inverted_cdf")
    assert plain[leaves] == weighed[leaves] == 0


def test_huber_does_not_follow_outliers() -> None:
    X, y = rows(1000)
    spoiled = y.copy()
    spoiled[::20] += 1000
    huber = og.GradientBoostingRegressor(loss="huber", n_estimators=50).fit(X, spoiled)
    square = og.GradientBoostingRegressor(n_estimators=50).fit(X, spoiled)
    assert mean_absolute_error(y, huber.predict(X)) < 0.3 * mean_absolute_error(y, square.predict(X))


def test_the_exponential_loss_gives_probabilities() -> None:
    X, y = rows(1000)
    model = og.GradientBoostingClassifier(loss="exponential", n_estimators=40, max_depth=2)
    model.fit(X, y > 0)
    chances = model.predict_proba(X)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    np.testing.assert_allclose(chances[:, 1], 1 / (1 + np.exp(-2 * model.decision_function(X))))
    assert abs(chances[:, 1].mean() - (y > 0).mean()) < 0.02
    with pytest.raises(ParameterError, match="binary classification"):
        model.fit(X, np.digitize(y, [-0.5, 0.5]))


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        ("gamma", [1.0, 0.0, 2.0]),
        ("gamma", [1.0, -2.0, 2.0]),
        ("poisson", [1.0, -1.0, 2.0]),
        ("poisson", [0.0] * 3),
    ],
)
def test_targets_without_a_logarithm_are_refused(loss: str, y: list[float]) -> None:
    with pytest.raises(DataError, match=f"loss='{loss}' requires"):
        og.HistGradientBoostingRegressor(loss=loss).fit(np.zeros((3, 1)), y)


@given(seed=st.integers(0, 1000), k=st.integers(2, 4), hist=st.booleans(), share=st.sampled_from([0.6, 1.0]))
@settings(derandomize=True, max_examples=8, deadline=None)
def test_decisions_and_probabilities_are_one(seed: int, k: int, hist: bool, share: float) -> None:
    X, y = rows(200, seed)
    model: Any = (
        og.HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5)
        if hist
        else og.GradientBoostingClassifier(n_estimators=5, subsample=share)
    )
    model.fit(X, target(model, y, k))
    sums = model.decision_function(X)
    odds = np.exp(np.column_stack([np.zeros(len(X)), sums]) if k == 2 else sums)
    np.testing.assert_allclose(model.predict_proba(X), odds / odds.sum(axis=1, keepdims=True), atol=1e-6)
    assert [*model.staged_decision_function(X)][-1].tolist() == sums.tolist()


# ---- leaves ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [*FORESTS, og.GradientBoostingRegressor, og.HistGradientBoostingRegressor])
@pytest.mark.parametrize("least", [7, 0.1])
def test_leaves_have_enough_rows(model: Any, least: float) -> None:
    X, y = rows()
    kind = {"bootstrap": False} if model in FORESTS else {}
    fitted = model(min_samples_leaf=least, **rounds(model, 3), **kind).fit(X, target(model, y))
    for leaves in fitted.apply(X).reshape(len(X), -1).T:
        counts = np.bincount(leaves)
        assert counts[counts > 0].min() >= (least if least >= 1 else least * len(X))


@pytest.mark.parametrize("model", FORESTS + BOOSTED)
def test_trees_have_at_most_so_many_leaves_and_splits(model: Any) -> None:
    X, y = rows()
    fitted = model(max_leaf_nodes=5, max_depth=3, **rounds(model, 3)).fit(X, target(model, y))
    trees = np.ravel(np.array(fitted.estimators_, dtype=object))
    assert all(tree.get_n_leaves() <= 5 and tree.get_depth() <= 3 for tree in trees)
    assert max(tree.get_n_leaves() for tree in trees) == 5


def test_a_tree_grows_as_scikit_learns_best_first_with_least_gains() -> None:
    X, y = rows(200)
    X = np.round(X, 1)
    for limits in ({"max_leaf_nodes": 6}, {"min_impurity_decrease": 0.1}, {"min_weight_fraction_leaf": 0.2}):
        theirs = DecisionTreeRegressor(**limits).fit(X, y)
        ours = og.RandomForestRegressor(1, bootstrap=False, **limits).fit(X, y)
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-4)
        assert ours[0].get_n_leaves() == theirs.get_n_leaves()
        np.testing.assert_allclose(ours[0].predict(X), theirs.predict(X), rtol=1e-4)


@pytest.mark.parametrize(
    ("setting", "advice"),
    [
        ({"min_samples_split": 8}, "min_samples_leaf=4"),
        ({"ccp_alpha": 0.1}, "min_impurity_decrease"),
    ],
    ids=str,
)
def test_limits_that_boosting_lacks_are_refused_with_what_to_give(
    setting: dict[str, Any], advice: str
) -> None:
    with pytest.raises(ParameterError, match=advice):
        og.GradientBoostingRegressor(**setting).fit(*rows(20))


@pytest.mark.parametrize("model", FORESTS)
def test_forests_prune_and_count_the_rows_of_nodes(model: Any) -> None:
    X, y = _labelled(model)
    whole = model(n_estimators=3, bootstrap=False, random_state=0).fit(X, y)
    for setting in (
        {"min_samples_split": 40},
        {"ccp_alpha": 0.02 if y.dtype.kind == "i" else float(np.var(y)) / 20},
    ):
        fewer = model(n_estimators=3, bootstrap=False, random_state=0, **setting).fit(X, y)
        for own, full in zip(fewer, whole, strict=True):
            assert 1 < own.get_n_leaves() < full.get_n_leaves()
            if "min_samples_split" in setting:
                tree = own.tree_
                assert tree.n_node_samples[tree.children_left >= 0].min() >= 40


@pytest.mark.parametrize(
    ("setting", "advice"),
    [
        ({"max_leaf_nodes": 1}, "max_leaf_nodes=1"),
        ({"min_weight_fraction_leaf": 0.7}, "min_weight_fraction_leaf=0.7"),
    ],
    ids=str,
)
@pytest.mark.parametrize("model", [*FORESTS, og.GradientBoostingRegressor])
def test_limits_that_cannot_be_are_refused_by_name(model: Any, setting: dict[str, Any], advice: str) -> None:
    with pytest.raises(ParameterError, match=advice):
        model(**setting).fit(*rows(20))
    assert model(min_samples_split=8, min_samples_leaf=4).fit(*_labelled(model)).score(*_labelled(model)) > 0


def _labelled(model: Any) -> tuple[np.ndarray, np.ndarray]:
    X, y = rows(100)
    return X, target(model, y)


# ---- going on --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", FORESTS + BOOSTED)
def test_a_fit_that_goes_on_is_one_fit(model: Any) -> None:
    X, y = rows(300)
    y = target(model, y, 3)
    whole = model(max_features=1.0, **rounds(model, 9)).fit(X, y)
    part = model(max_features=1.0, warm_start=True, **rounds(model, 4)).fit(X, y)
    part.set_params(**rounds(model, 9)).fit(X, y)
    np.testing.assert_allclose(raw(part, X), raw(whole, X), rtol=1e-5, atol=1e-6)
    assert part.apply(X).tolist() == whole.apply(X).tolist()
    copied = pickle.loads(pickle.dumps(part)).set_params(**rounds(model, 11)).fit(X, y)
    assert copied.apply(X)[:, :9].tolist() == part.apply(X)[:, :9].tolist()
    with pytest.raises(ParameterError, match="warm_start"):
        part.set_params(**rounds(model, 3)).fit(X, y)


@pytest.mark.parametrize("model", FORESTS + BOOSTED)
def test_a_fit_does_not_go_on_over_other_features_or_classes(model: Any) -> None:
    X, y = rows(100)
    fitted = (
        model(warm_start=True, **rounds(model, 2)).fit(X, target(model, y)).set_params(**rounds(model, 3))
    )
    with pytest.raises(DataError, match="warm_start"):
        fitted.fit(X[:, :2], target(model, y))
    if is_classifier(model):
        with pytest.raises(DataError, match="classes"):
            fitted.fit(X, target(model, y) + 1)


@pytest.mark.parametrize("model", FORESTS)
def test_a_forest_that_has_all_trees_says_so(model: Any) -> None:
    X, y = rows(100)
    fitted = model(3, warm_start=True).fit(X, target(model, y))
    before = fitted.booster_bytes_
    with pytest.warns(UserWarning, match="does not fit new trees"):
        fitted.fit(X, target(model, y))
    assert fitted.booster_bytes_ == before


# ---- early stopping --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scoring", ["loss", None, "neg_mean_absolute_error", "callable"])
@pytest.mark.parametrize("share", [0.2, None])
@pytest.mark.parametrize("model", [og.GradientBoostingRegressor, og.HistGradientBoostingRegressor])
def test_boosting_stops_by_any_score(model: Any, scoring: Any, share: float | None) -> None:
    X, y = rows()
    scoring = make_scorer(mean_absolute_error, greater_is_better=False) if scoring == "callable" else scoring
    settings = {"learning_rate": 0.5, "tol": 0.01, "early_stopping": True, "n_iter_no_change": 5}
    fitted = model(scoring=scoring, validation_fraction=share, **settings, **rounds(model, 200)).fit(X, y)
    assert 0 < fitted.n_iter_ < 200
    assert len(fitted.scores_) < 200
    if "Hist" in model.__name__:
        assert len(fitted.scores_) == fitted.n_iter_ > 5
    else:
        assert np.argmax(fitted.scores_) == fitted.n_iter_ - 1


def test_scores_are_those_of_the_rows_held_out() -> None:
    X, y = rows()
    model = og.HistGradientBoostingClassifier(
        max_iter=6, early_stopping=True, scoring="accuracy", validation_fraction=0.9, min_samples_leaf=2
    ).fit(X, y > 0)
    assert model.n_iter_ == len(model.validation_score_) == 6
    right = model.validation_score_ * np.arange(330, 391)[:, None]  # whole numbers of about 360 rows
    assert (np.abs(right - right.round()) < 1e-9).all(axis=1).any()
    assert model.validation_score_.min() > 0.5


def test_n_iter_no_change_alone_stops_as_in_scikit_learn() -> None:
    X, y = rows()
    stopped = og.GradientBoostingRegressor(n_estimators=500, n_iter_no_change=3, learning_rate=0.5).fit(X, y)
    assert stopped.n_estimators_ < 500
    with pytest.raises(ParameterError, match="scoring='nobody'"):
        og.HistGradientBoostingRegressor(scoring="nobody", early_stopping=True).fit(X, y)


# ---- samples ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", FORESTS)
@pytest.mark.parametrize("k", [2, 3])
def test_rows_out_of_the_bag_score_as_new_rows_do(model: Any, k: int) -> None:
    X, y = rows(800)
    y = target(model, y, k)
    fitted = model(60, oob_score=True).fit(X[:400], y[:400])
    assert fitted.oob_score_ == pytest.approx(fitted.score(X[400:], y[400:]), abs=0.08)
    assert fitted.oob_score_ < fitted.score(X[:400], y[:400]) - 0.05
    said = fitted.oob_decision_function_ if is_classifier(model) else fitted.oob_prediction_
    assert said.shape == ((400, k) if is_classifier(model) else (400,))
    assert fitted.oob_unseen_ == 0
    later = model(20, warm_start=True).fit(X[:400], y[:400]).set_params(n_estimators=60, oob_score=True)
    if not is_classifier(model):  # those try other features for the later trees
        assert later.fit(X[:400], y[:400]).oob_score_ == pytest.approx(fitted.oob_score_, abs=1e-5)


def test_rows_out_of_the_bag_are_in_the_order_of_the_rows() -> None:
    X, y = rows(300)
    weight = (np.arange(300) % 3 > 0).astype(float)
    model = og.RandomForestRegressor(80, oob_score=True).fit(X, y, sample_weight=weight)
    assert np.isnan(model.oob_prediction_).tolist() == (weight == 0).tolist()
    assert np.corrcoef(model.oob_prediction_[weight > 0], y[weight > 0])[0, 1] > 0.6
    measured = og.RandomForestRegressor(80, oob_score=mean_absolute_error).fit(X, y).oob_score_
    assert 0 < measured < np.abs(y - y.mean()).mean()


def test_equal_rows_are_left_out_one_by_one() -> None:
    X = np.repeat(np.arange(4.0)[:, None], 200, axis=0)
    y = np.repeat([1.0, 5.0, 2.0, 7.0], 200) + np.random.default_rng(0).normal(size=800)
    model = og.RandomForestRegressor(30, oob_score=True).fit(X, y)
    assert model.oob_unseen_ == 0
    np.testing.assert_allclose(model.oob_prediction_, model.predict(X), atol=0.2)


@pytest.mark.parametrize("model", FORESTS)
def test_a_forest_draws_as_many_rows_as_it_is_told(model: Any) -> None:
    X, y = rows(1000)
    for wish, count in ((None, 1000), (1.0, 1000), (0.3, 300), (100, 100), (5000, 1000)):
        trees = model(30, max_samples=wish).fit(X, target(model, y)).estimators_
        drawn = np.mean([tree.tree_.n_node_samples[0] for tree in trees])
        assert drawn == pytest.approx(count, rel=0.06)
    with pytest.raises(ParameterError, match="bootstrap"):
        model(max_samples=0.5, bootstrap=False).fit(X, target(model, y))
    with pytest.raises(ParameterError, match="bootstrap=True"):
        model(oob_score=True, bootstrap=False).fit(X, target(model, y))


@pytest.mark.parametrize("model", [og.GradientBoostingClassifier, og.GradientBoostingRegressor])
def test_what_trees_gain_on_rows_they_did_not_see(model: Any) -> None:
    X, y = rows()
    fitted = model(subsample=0.5, n_estimators=15, max_depth=3).fit(X, target(model, y, 3))
    assert len(fitted.oob_improvement_) == len(fitted.oob_scores_) == 15
    assert fitted.oob_improvement_[0] > 0
    assert fitted.oob_scores_[-1] == fitted.oob_score_ < fitted.oob_scores_[0]
    with pytest.raises(AttributeError, match="subsample"):
        _ = model(n_estimators=2).fit(X, target(model, y)).oob_improvement_


# ---- walking through -------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("model", FORESTS)
def test_the_trees_of_a_forest_average_to_its_answers(model: Any, k: int, missing: bool) -> None:
    X, y = rows()
    X[:: 7 if missing else len(X), 1] = np.nan
    fitted = model(6, max_depth=5).fit(X, target(model, y, k))
    assert len(fitted) == len(list(fitted)) == 6
    if k == 2 or not is_classifier(model):
        said = [tree.predict_proba(X) if is_classifier(model) else tree.predict(X) for tree in fitted]
        np.testing.assert_allclose(np.mean(said, axis=0), raw(fitted, X), atol=1e-5)
        assert np.column_stack([tree.apply(X) for tree in fitted]).tolist() == fitted.apply(X).tolist()
        passed, starts = fitted.decision_path(X)
        nodes = starts[:-1] + fitted.apply(X)
        assert (passed[np.arange(len(X))[:, None], nodes].toarray() == 1).all()
        assert passed.shape == (len(X), starts[-1])


@pytest.mark.parametrize("model", BOOSTED)
def test_the_trees_of_boosting_add_up(model: Any) -> None:
    X, y = rows()
    fitted = model(**rounds(model, 5)).fit(X, target(model, y))
    added = fitted.learning_rate * sum(tree.predict(X) for tree in fitted.estimators_[:, 0])
    sums = fitted.decision_function(X) if is_classifier(model) else fitted.predict(X)
    np.testing.assert_allclose(sums - added, np.full(len(X), (sums - added).mean()), atol=1e-4)
    assert fitted.estimators_.shape == (5, fitted.n_trees_per_iteration_)


def test_trees_walk_through_categories_and_absent_zeros() -> None:
    random = np.random.default_rng(0)
    X = np.column_stack([random.integers(0, 6, 300), random.normal(size=300)]).astype(float)
    y = (X[:, 0] % 2) + 0.1 * X[:, 1]
    model = og.HistGradientBoostingRegressor(max_iter=4, categorical_features=[0]).fit(X, y)
    coded = np.column_stack([X[:, 0] + 1, X[:, 1]])
    added = 0.1 * sum(tree.predict(coded) for tree in model.estimators_[:, 0])
    np.testing.assert_allclose(model.predict(X) - added, np.full(300, model.offset_), atol=1e-5)


# ---- categories of numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [[1], [False, True], ["x1"], np.array([1])], ids=str)
def test_numbers_may_be_categories(named: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    X = np.column_stack([random.random(2000), random.integers(0, 9, 2000)])
    y = np.isin(X[:, 1], [0, 3, 4, 8])
    settings = {"max_iter": 1, "max_depth": 1, "learning_rate": 1.0}
    model = og.HistGradientBoostingClassifier(categorical_features=named, **settings).fit(X, y)
    assert model.score(X, y) == 1 > og.HistGradientBoostingClassifier(**settings).fit(X, y).score(X, y)
    assert model.is_categorical_.tolist() == [False, True]
    model.save(tmp_path / "model")
    odd = np.array([[0.5, 77.0], [0.5, np.nan], [0.5, -3.0]])
    assert len(set(og.load(tmp_path / "model").predict_proba(odd)[:, 0])) == 1
    with pytest.raises(og.errors.ExportError, match="categories"):
        model.to_sklearn()


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ([2], "integer indices"),
        ([True], "boolean mask"),
        (["no"], "x0|feature names"),
        ([0.5], "bool, int or str"),
    ],
)
def test_categories_that_are_not_there_are_refused(named: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        og.HistGradientBoostingRegressor(categorical_features=named).fit(
            *(part[:, :2] if part.ndim > 1 else part for part in rows(50))
        )


# ---- float32, and XGBoost's own errors -------------------------------------------------------------------


@pytest.mark.parametrize("model", FORESTS + BOOSTED)
def test_features_that_float32_cannot_tell_from_zero_are_refused(model: Any) -> None:
    X, y = rows(50)
    tiny = np.column_stack([X[:, 0] * 1e-60, X[:, 1]])
    with pytest.raises(DataError, match="too small for float32"):
        model(**rounds(model, 2)).fit(tiny, target(model, y))
    tiny[0, 0] = 1.0  # beside larger numbers they are as good as zero
    model(**rounds(model, 2)).fit(tiny, target(model, y))


def test_what_xgboost_raises_when_it_is_asked_is_ours() -> None:
    X, y = rows(50)
    model = og.GradientBoostingRegressor(n_estimators=2).fit(X, y)
    with pytest.raises(EngineError, match="XGBoost failed"):
        answers(model.booster_, X[:, :1])
    assert not issubclass(EngineError, xgboost.core.XGBoostError)


def test_criteria_that_trees_lack_are_refused_by_name() -> None:
    X, y = rows(50)
    for model, criterion in ((og.RandomForestRegressor, "poisson"), (og.RandomForestClassifier, "mse")):
        with pytest.raises(ParameterError, match=f"criterion='{criterion}'.*sum of squares"):
            model(criterion=criterion).fit(X, target(model, y))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        og.RandomForestRegressor(criterion="squared_error", n_estimators=2).fit(X, y)


@pytest.mark.parametrize("named", [{"columns": None}, {"columns": ["n", "k"]}], ids=str)
def test_too_many_categories_and_directions_of_categories_are_refused(named: dict[str, Any]) -> None:
    X = np.column_stack([np.arange(40.0), np.arange(40.0) % 7])
    rows: Any = X if named["columns"] is None else pd.DataFrame(X, columns=named["columns"])
    model = og.HistGradientBoostingRegressor(max_bins=5, categorical_features=[1])
    with pytest.raises(DataError, match=r"(at index 1|'k') is expected to have a cardinality <= 5"):
        model.fit(rows, X[:, 0])
    model.set_params(max_bins=9, monotonic_cst=[0, 1])
    with pytest.raises(ParameterError, match="cannot have monotonic constraints"):
        model.fit(rows, X[:, 0])
    model.set_params(monotonic_cst=[1, 0], min_samples_leaf=1)
    assert (np.diff(model.fit(rows, X[:, 0]).predict(rows)[::7]) >= 0).all()


# ---- several targets -------------------------------------------------------------------------------------


@given(targets=st.integers(1, 4), bootstrap=st.booleans(), seed=st.integers(0, 99))
@settings(derandomize=True, max_examples=6, deadline=None)
def test_a_forest_learns_several_targets_as_one_by_one(targets: int, bootstrap: bool, seed: int) -> None:
    X, y = rows(150, seed)
    Y = np.column_stack([(y * 10.0**k) ** (k % 2 + 1) for k in range(targets)])
    model = og.RandomForestRegressor(5, bootstrap=bootstrap, max_depth=4, oob_score=bootstrap)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of so few trees some rows are in every bag
        answered = model.fit(X, Y).predict(X)
        assert answered.shape == Y.shape
        assert model.n_outputs_ == targets
        for k in range(targets):
            alone = og.RandomForestRegressor(**model.get_params()).fit(X, Y[:, k])
            np.testing.assert_allclose(
                answered[:, k], alone.predict(X), rtol=1e-3, atol=np.ptp(Y[:, k]) * 1e-4
            )
    np.testing.assert_allclose(
        np.mean([np.reshape(t.predict(X), Y.shape) for t in model], axis=0),
        answered,
        rtol=1e-3,
        atol=1e-3 * np.ptp(Y),
    )


def test_a_forest_of_several_targets_is_kept_and_names_them(tmp_path: Path) -> None:
    X, y = rows(100)
    frame = pd.DataFrame(X, columns=list("abcd")).assign(first=y, second=-y)
    model = og.RandomForestRegressor(30, oob_score=True).fit(frame, ["first", "second"])
    model.save(tmp_path / "model")
    assert og.load(tmp_path / "model").predict(frame).tolist() == model.predict(frame).tolist()
    assert model.oob_prediction_.shape == (100, 2)
    assert model.evaluate(frame, ["first", "second"])["r2_second"] > 0.5
    with pytest.raises(og.errors.ExportError, match="several targets"):
        model.to_onnx(tmp_path / "model.onnx")


@pytest.mark.parametrize("kind", BOOSTED)
@pytest.mark.parametrize("pieces", [1, 3])
def test_early_stopping_holds_out_the_rows_of_a_key_together(kind: type, pieces: int) -> None:
    """What is alike within a key looks learned if some of its rows are watched, and not if all are."""
    random = np.random.default_rng(5)
    key = np.repeat(np.arange(150), 8)
    level = random.normal(size=150)[key]
    X = np.column_stack(
        [random.normal(size=150)[key] + 1e-3 * random.normal(size=len(key)) for _ in range(3)]
    )
    y = target(kind, level + 0.2 * random.normal(size=len(key)))
    names = [f"customer {k}" for k in key]
    table = pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": y, "customer": names})
    model = kind(**rounds(kind, 60), early_stopping=True, validation_fraction=0.3)
    data = pieces_case(pieces).open(table)
    apart = model.fit(data, "y", validation_by="customer").n_iter_
    assert model.features_ == ["a", "b", "c"]
    together = model.fit(pieces_case(pieces).open(table.drop_columns(["customer"])), "y").n_iter_
    assert apart < together
    with pytest.raises(ParameterError, match="does not accept the group parameter"):
        model.fit(table, "y", group="customer")
