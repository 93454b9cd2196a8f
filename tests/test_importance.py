"""Selection by models beside scikit-learn's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
import sklearn.ensemble
import sklearn.linear_model
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import feature_selection as peer
from sklearn.base import clone

import outgrow as og
from outgrow.engine.context import FitContext
from outgrow.errors import ParameterError
from outgrow.ml.importance.select_from_model import _scaled

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 8)) * np.linspace(0.5, 2, 8)
Y = X @ [3.0, 0, 1, 0, 0.5, 0, 0, -2] + RNG.normal(size=240)
LABELS = np.array(["a", "b", "c"])[np.digitize(Y, [-2, 2])]
FORMS: list[Any] = [np.asarray, sp.csr_array, "table"]


def given_as(form: Any, rows: np.ndarray = X) -> Any:
    if form != "table":
        return form(rows)
    return pa.table({f"x{j}": rows[:, j] for j in range(rows.shape[1])})


def passes_of(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts passes from now on."""
    made: list[int] = []
    reduce = FitContext.reduce

    def counted(self: FitContext, *args: Any, **kwargs: Any) -> Any:
        made.append(1)
        return reduce(self, *args, **kwargs)

    monkeypatch.setattr(FitContext, "reduce", counted)
    return made


# ---- SelectFromModel ---------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    threshold=st.sampled_from([None, "mean", "median", "1.25*mean", " 0.5 * median ", 0.7, -np.inf]),
    most=st.sampled_from([None, 0, 1, 3, 20]),
    order=st.sampled_from([1, 2, np.inf]),
    classes=st.booleans(),
)
def test_models_choose_as_in_scikit_learn(threshold: Any, most: Any, order: Any, classes: bool) -> None:
    setting = {"threshold": threshold, "max_features": most, "norm_order": order}
    ours_of = og.LogisticRegression() if classes else og.Ridge()
    theirs_of = sklearn.linear_model.LogisticRegression(tol=1e-8) if classes else sklearn.linear_model.Ridge()
    y = LABELS if classes else Y
    ours = og.SelectFromModel(ours_of, **setting).fit(X, y)
    theirs = peer.SelectFromModel(theirs_of, **setting).fit(X, y)
    np.testing.assert_array_equal(ours.get_support(), theirs.get_support())
    assert ours.threshold_ == pytest.approx(theirs.threshold_, rel=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_absolute_penalties_leave_out_what_has_no_coefficient(form: Any) -> None:
    ours = og.SelectFromModel(og.ElasticNet(alpha=0.5, l1_ratio=1.0)).fit(given_as(form), Y)
    theirs = peer.SelectFromModel(sklearn.linear_model.Lasso(alpha=0.5)).fit(X, Y)
    assert ours.threshold_ == 1e-5
    np.testing.assert_array_equal(ours.get_support(), theirs.get_support())


@pytest.mark.parametrize("form", [np.asarray, "table"])
def test_trees_of_scikit_learn_choose_too(form: Any, tmp_path: Path) -> None:
    forest = sklearn.ensemble.RandomForestRegressor(10, random_state=0)
    ours = og.SelectFromModel(forest).fit(given_as(form), Y)
    theirs = peer.SelectFromModel(forest).fit(X, Y)
    np.testing.assert_array_equal(ours.get_support(), theirs.get_support())
    np.testing.assert_allclose(ours.estimator_.feature_importances_, ours.importances_)
    linear = og.SelectFromModel(sklearn.linear_model.Ridge()).fit(given_as(form), Y)
    linear.save(tmp_path / "chosen")
    loaded = og.load(tmp_path / "chosen")
    np.testing.assert_allclose(np.abs(loaded.estimator_.coef_), linear.importances_)
    np.testing.assert_array_equal(loaded.get_support(), linear.get_support())


def test_weights_and_parts_of_pipelines_count() -> None:
    weight = RNG.integers(0, 3, len(X)).astype(float)
    inner = og.Pipeline([og.StandardScaler(), og.LinearRegression()])
    getter = "named_steps.linearregression.coef_"
    ours = og.SelectFromModel(og.LinearRegression()).fit(X, Y, sample_weight=weight)
    expected = np.abs(sklearn.linear_model.LinearRegression().fit(X, Y, weight).coef_)
    np.testing.assert_allclose(ours.importances_, expected)
    scaled = og.SelectFromModel(inner, importance_getter=getter).fit(X, Y)
    expected = np.abs(sklearn.linear_model.LinearRegression().fit((X - X.mean(0)) / X.std(0), Y).coef_)
    np.testing.assert_allclose(scaled.importances_, expected)
    assert scaled.estimator_.predict(X).shape == (240,)


def test_fitted_models_need_no_rows(tmp_path: Path) -> None:
    model = og.Ridge().fit(X, Y)
    ours = og.SelectFromModel(model, prefit=True)
    pipe = og.Pipeline([ours, og.LinearRegression()]).fit(X, Y)
    expected = peer.SelectFromModel(sklearn.linear_model.Ridge().fit(X, Y), prefit=True).fit(X)
    np.testing.assert_array_equal(pipe[0].get_support(), expected.get_support())
    pipe.save(tmp_path / "model")
    np.testing.assert_array_equal(og.load(tmp_path / "model").predict(X), pipe.predict(X))
    with pytest.raises(ValueError, match="not fitted"):
        og.SelectFromModel(og.Ridge(), prefit=True).fit(X, Y)
    with pytest.raises(ParameterError, match="8 importances, and there are 3 columns"):
        og.SelectFromModel(model, prefit=True).fit(X[:, :3], Y)


def test_what_cannot_choose_is_refused() -> None:
    with pytest.raises(ParameterError, match="KNeighborsRegressor has no coef_ or feature_importances_"):
        og.SelectFromModel(sklearn.neighbors.KNeighborsRegressor()).fit(X, Y)
    for words in ("mode", "2*mode", "*mean", "two*mean", "mean*2"):
        assert _scaled(words) is None
        with pytest.raises(ParameterError, match="threshold must be"):
            og.SelectFromModel(og.Ridge(), threshold=words).fit(X, Y)
    with pytest.raises(ParameterError, match="estimator must be"):
        og.SelectFromModel("ridge").fit(X, Y)
    with pytest.raises(ParameterError, match="alpha must be"):
        og.SelectFromModel(og.Ridge(alpha=-1)).fit(X, Y)


def test_other_columns_stay_and_the_model_does_not_see_them() -> None:
    table = given_as("table").append_column("word", pa.array(LABELS)).append_column("y", pa.array(Y))
    ours = og.SelectFromModel(og.Ridge(), columns=["x0", "x1", "x2"]).fit(table, "y")
    assert ours.estimator_.features_ == ["x0", "x1", "x2"]
    assert ours.transform(table.drop(["y"])).column_names == ["x0", *[f"x{j}" for j in range(3, 8)], "word"]


# ---- RFE ---------------------------------------------------------------------------------------------------

MODELS = [
    (og.LinearRegression(), sklearn.linear_model.LinearRegression(), False),
    (og.Ridge(5.0), sklearn.linear_model.Ridge(5.0), False),
    (og.Ridge(5.0, fit_intercept=False), sklearn.linear_model.Ridge(5.0, fit_intercept=False), False),
    (og.LogisticRegression(), sklearn.linear_model.LogisticRegression(tol=1e-8), True),
]


@pytest.mark.parametrize(("ours_of", "theirs_of", "classes"), MODELS, ids=lambda v: type(v).__name__)
@pytest.mark.parametrize(("goal", "step"), [(None, 1), (1, 3), (0.3, 0.25), (5, 2), (8, 1)])
def test_ranks_are_those_of_scikit_learn(
    ours_of: Any, theirs_of: Any, classes: bool, goal: Any, step: Any
) -> None:
    y = LABELS if classes else Y
    ours = og.RFE(ours_of, n_features_to_select=goal, step=step).fit(X, y)
    theirs = peer.RFE(theirs_of, n_features_to_select=goal, step=step).fit(X, y)
    np.testing.assert_array_equal(ours.ranking_, theirs.ranking_)
    assert ours.n_features_ == theirs.n_features_
    np.testing.assert_allclose(ours.estimator_.coef_, theirs.estimator_.coef_, atol=1e-4)
    np.testing.assert_array_equal(ours.transform(X), theirs.transform(X))
    answers = ours.estimator_.predict(ours.transform(X))
    alone = clone(ours_of).fit(theirs.transform(X), y).predict(theirs.transform(X))
    if classes:
        np.testing.assert_array_equal(answers, alone)
    else:
        np.testing.assert_allclose(answers, alone, rtol=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_rows_give_the_same_ranks(form: Any) -> None:
    expected = peer.RFE(sklearn.linear_model.Ridge()).fit(X, Y).ranking_
    np.testing.assert_array_equal(og.RFE(og.Ridge()).fit(given_as(form), Y).ranking_, expected)
    forest = sklearn.ensemble.RandomForestRegressor(5, random_state=0)
    if form is np.asarray:
        expected = peer.RFE(forest, step=3).fit(X, Y).ranking_
        np.testing.assert_array_equal(og.RFE(forest, step=3).fit(X, Y).ranking_, expected)


@pytest.mark.parametrize(
    "model",
    [
        og.RandomForestClassifier(5, random_state=0),
        og.HistGradientBoostingRegressor(max_iter=5),
        og.ElasticNet(alpha=0.1),
        og.LinearSVC(),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_models_learn_from_some_columns_as_from_those_alone(model: Any, form: Any) -> None:
    y = LABELS if hasattr(model, "predict_proba") or isinstance(model, og.LinearSVC) else Y
    ours = og.RFE(model, n_features_to_select=3, step=5).fit(form(X), y)
    alone = clone(model).fit(ours.transform(form(X)), y)
    for name in ("coef_", "feature_importances_"):
        if hasattr(alone, name):
            np.testing.assert_allclose(getattr(ours.estimator_, name), getattr(alone, name), atol=1e-6)
    answers = ours.estimator_.predict(ours.transform(form(X)))
    if y is LABELS:
        np.testing.assert_array_equal(answers, alone.predict(ours.transform(form(X))))
    else:
        np.testing.assert_allclose(answers, alone.predict(ours.transform(form(X))), atol=1e-6)


def test_least_squares_learns_all_rounds_from_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = passes_of(monkeypatch)
    og.RFE(og.LinearRegression(), n_features_to_select=1).fit(X, Y)
    assert len(passes) == 1


def test_columns_that_depend_on_others_are_solved_from_the_rows() -> None:
    rows = np.column_stack([X, X[:, 0] + X[:, 1], np.ones(240)])
    ours = og.RFE(og.LinearRegression(), n_features_to_select=3).fit(rows, Y)
    assert ours.get_support().sum() == 3
    expected = sklearn.linear_model.LinearRegression().fit(rows[:, ours.get_support()], Y)
    np.testing.assert_allclose(ours.estimator_.coef_, expected.coef_)


def test_vectors_are_eliminated_by_their_numbers() -> None:
    vectors = pa.FixedSizeListArray.from_arrays(X[:, :5].ravel(), 5)
    table = pa.table({"v": vectors, "a": X[:, 5], "b": X[:, 6], "c": X[:, 7], "y": Y})
    ours = og.RFE(og.LinearRegression(), n_features_to_select=2).fit(table, "y")
    expected = peer.RFE(sklearn.linear_model.LinearRegression(), n_features_to_select=2).fit(X, Y)
    np.testing.assert_array_equal(ours.ranking_, expected.ranking_)
    with pytest.raises(ParameterError, match="there are 8 columns"):
        og.RFE(og.Ridge(), n_features_to_select=9).fit(X, Y)


@pytest.mark.parametrize("model", [og.Ridge(), og.LogisticRegression()])
def test_weights_are_repeated_rows(model: Any) -> None:
    weight = RNG.integers(0, 3, len(X))
    y = Y if isinstance(model, og.Ridge) else LABELS
    weighted = og.RFE(model, n_features_to_select=1).fit(X, y, sample_weight=weight.astype(float))
    repeated = og.RFE(model, n_features_to_select=1).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_array_equal(weighted.ranking_, repeated.ranking_)


# ---- RFECV -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "y"), [(og.LinearRegression(), Y), (og.LogisticRegression(), LABELS)])
def test_numbers_of_columns_are_judged_on_rows_held_out(model: Any, y: np.ndarray) -> None:
    ours = og.RFECV(model, step=2).fit(X, y)
    found = ours.cv_results_
    assert found["n_features"].tolist() == [1, 2, 4, 6, 8]
    assert ours.n_features_ == found["n_features"][np.argmax(found["mean_test_score"])]
    splits = np.array([found[f"split{k}_test_score"] for k in range(5)])
    np.testing.assert_allclose(found["mean_test_score"], splits.mean(axis=0))
    np.testing.assert_allclose(found["std_test_score"], splits.std(axis=0))
    alone = og.RFE(model, n_features_to_select=ours.n_features_, step=2).fit(X, y)
    np.testing.assert_array_equal(ours.ranking_, alone.ranking_)
    np.testing.assert_allclose(ours.estimator_.coef_, alone.estimator_.coef_, atol=1e-6)


def test_folds_are_the_hashes_of_rows() -> None:
    from outgrow.data.hashing import matrix_hash, seeded, unit

    place = (unit(seeded(matrix_hash(X), 0)) * 3).astype(int)
    ours = og.RFECV(og.Ridge(), cv=3, min_features_to_select=8).fit(X, Y)
    for k in range(3):
        model = sklearn.linear_model.Ridge().fit(X[place != k], Y[place != k])
        expected = model.score(X[place == k], Y[place == k])
        assert ours.cv_results_[f"split{k}_test_score"].tolist() == [pytest.approx(expected)]


def test_folds_share_their_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = passes_of(monkeypatch)
    og.RFECV(og.Ridge(), cv=5).fit(X, Y)
    assert len(passes) == 2  # the products of all folds and all rows, and the scores of all rounds


def test_smaller_losses_are_better() -> None:
    by_loss = og.RFECV(og.LinearRegression(), scoring="mse").fit(X, Y)
    scores = by_loss.cv_results_["mean_test_score"]
    assert by_loss.n_features_ == by_loss.cv_results_["n_features"][np.argmin(scores)]
    with pytest.raises(ParameterError, match="is scored by"):
        og.RFECV(og.LinearRegression(), scoring="accuracy").fit(X, Y)
    with pytest.raises(ParameterError, match="holds rows out from models of outgrow"):
        og.RFECV(sklearn.linear_model.Ridge()).fit(X, Y)


def test_elimination_behind_other_steps_and_in_cross_validation() -> None:
    pipe = og.Pipeline([og.StandardScaler(), og.RFECV(og.Ridge(), cv=3), og.LinearRegression()])
    assert pipe.fit(X, Y).score(X, Y) > 0.9
    assert og.cross_validate(pipe, X, Y, cv=3).mean()["r2"] > 0.9
    plain = og.RFECV(og.Ridge(), cv=3).fit(pipe[:1].transform(X), Y)
    assert pipe[1].n_features_ >= plain.n_features_ - 2
