"""Models around several others, beside scikit-learn's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sklearn.ensemble as peer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB

import outgrow as og
from outgrow.data.hashing import matrix_hash, seeded
from outgrow.errors import ParameterError, SchemaError
from outgrow.job.components import build_pipeline
from outgrow.job.model import Job
from outgrow.ml.meta.parts import SEED
from outgrow.ml.selection.many import fit_many
from outgrow.stats.strata import Strata

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4))
Y = X @ [1.0, -2.0, 0.5, 0.0] + RNG.normal(size=300)
WEIGHT = RNG.integers(1, 3, 300).astype(float)
CLASSIFIERS: list[Any] = [("line", og.LogisticRegression()), ("bells", og.GaussianNB())]
REGRESSORS: list[Any] = [("line", og.LinearRegression()), ("ridge", og.Ridge(alpha=100.0))]


def logistic() -> Any:
    return LogisticRegression(tol=1e-10, max_iter=1000)


def theirs_of(names: list[Any]) -> list[Any]:
    known = {"line": logistic(), "bells": GaussianNB()}
    return [(name, known[name]) for name, _ in names]


def labels(classes: int) -> np.ndarray:
    return np.array(["a", "b", "c"])[np.digitize(Y, [0] if classes == 2 else [-1, 1])]


def folds_of(strata: np.ndarray, count: int) -> list[Any]:
    """The folds of a fit, as scikit-learn takes them."""
    hashes = seeded(matrix_hash(X), SEED + 1)
    fold = Strata.of(strata.astype(np.uint64), hashes, 1000).part_of(hashes, count)
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(count)]


@pytest.mark.parametrize("voting", ["hard", "soft"])
@pytest.mark.parametrize("classes", [2, 3])
def test_votes_are_counted_as_in_scikit_learn(voting: str, classes: int) -> None:
    y, weights = labels(classes), [1, 2]
    ours = og.VotingClassifier(CLASSIFIERS, voting=voting, weights=weights).fit(X, y, sample_weight=WEIGHT)
    theirs = peer.VotingClassifier(theirs_of(CLASSIFIERS), voting=voting, weights=weights)
    theirs.fit(X, y, sample_weight=WEIGHT)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_array_equal(ours.to_sklearn().predict(X), theirs.predict(X))
    assert ours.evaluate(X, y)["accuracy"] == pytest.approx(theirs.score(X, y))
    assert hasattr(ours, "predict_proba") == (voting == "soft")
    if voting == "soft":
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-5, atol=1e-7)


def test_numbers_are_averaged() -> None:
    ours = og.VotingRegressor(REGRESSORS, weights=[3, 1]).fit(X, Y)
    theirs = peer.VotingRegressor([("line", LinearRegression()), ("ridge", Ridge(100.0))], weights=[3, 1])
    np.testing.assert_allclose(ours.predict(X), theirs.fit(X, Y).predict(X))
    one = og.VotingRegressor([*REGRESSORS, ("none", "drop")], weights=[1, 0, 5]).fit(X, Y)
    np.testing.assert_allclose(one.predict(X), og.LinearRegression().fit(X, Y).predict(X))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(("method", "passthrough"), [("auto", False), ("auto", True), ("predict", False)])
def test_stacks_of_classifiers_are_those_of_scikit_learn(
    classes: int, method: str, passthrough: bool
) -> None:
    y = labels(classes)
    setting: dict[str, Any] = {"stack_method": method, "passthrough": passthrough}
    ours = og.StackingClassifier(CLASSIFIERS, cv=3, **setting).fit(X, y)
    folds = folds_of(np.unique(y, return_inverse=True)[1], 3)
    theirs = peer.StackingClassifier(theirs_of(CLASSIFIERS), logistic(), cv=folds, **setting).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.to_sklearn().predict_proba(X), ours.predict_proba(X), rtol=1e-9)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y))


def test_stacks_of_regressors_are_those_of_scikit_learn(tmp_path: Path) -> None:
    ours = og.StackingRegressor(REGRESSORS, og.Ridge(), cv=4).fit(X, Y, sample_weight=WEIGHT)
    theirs = peer.StackingRegressor(
        [("line", LinearRegression()), ("ridge", Ridge(100.0))], Ridge(), cv=folds_of(np.zeros(300), 4)
    ).fit(X, Y, sample_weight=WEIGHT)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-8)
    ours.save(tmp_path / "model")
    loaded = og.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(X), ours.predict(X))
    np.testing.assert_array_equal(loaded.named_estimators_.line.coef_, ours.estimators_[0].coef_)


def test_all_folds_of_all_models_share_their_passes() -> None:
    alone = og.LogisticRegression().fit(X, labels(2)).fit_record_.passes
    models = [(f"line{k}", og.LogisticRegression(C=10.0**k)) for k in range(3)]
    model = og.StackingClassifier(models, og.GaussianNB()).fit(X, labels(2))
    assert model.fit_record_.passes <= 1 + 2 * alone + 1


def test_trees_learn_last_and_within() -> None:
    trees = og.GradientBoostingRegressor(n_estimators=5)
    model = og.StackingRegressor([("trees", trees), ("line", og.Ridge())], trees, cv=2).fit(X, Y)
    assert model.score(X, Y) > 0.3
    inside = og.StackingRegressor([("stack", model), ("line", og.Ridge())], cv=2).fit(X, Y)
    assert inside.score(X, Y) > 0.3


def test_parts_are_parameters_like_others() -> None:
    model = og.VotingClassifier(list(CLASSIFIERS), voting="soft")
    trials = fit_many(model, X, labels(2), [{"line__C": 1e-4}, {"bells": "drop"}], models=True).trials
    assert trials[0].estimators[0].estimators_[0].C == 1e-4
    assert list(trials[1].estimators[0].named_estimators_) == ["line"]


def test_a_job_names_the_models() -> None:
    within = ["GaussianNB", {"LogisticRegression": {"C": 2}}, "GaussianNB"]
    model = {
        "StackingClassifier": {"estimators": within, "final_estimator": {"LogisticRegression": {"C": 3}}}
    }
    job = Job.model_validate(
        {"name": "n", "data": {"path": "p"}, "target": "y", "model": model, "output": "o"}
    )
    stack = build_pipeline(job)[-1]
    assert [name for name, _ in stack.estimators] == ["gaussiannb", "logisticregression", "gaussiannb2"]
    assert (stack.estimators[1][1].C, stack.final_estimator.C) == (2, 3)


def test_what_cannot_be_put_together_is_refused() -> None:
    y = labels(2)
    with pytest.raises(ParameterError, match="should be a classifier"):
        og.VotingClassifier([("a", og.Ridge())]).fit(X, y)
    with pytest.raises(ParameterError, match="have no probabilities"):
        og.VotingClassifier([("a", og.LinearSVC())], voting="soft").fit(X, y)
    with pytest.raises(ParameterError, match="not unique"):
        og.VotingClassifier([("a", og.GaussianNB())] * 2).fit(X, y)
    with pytest.raises(ParameterError, match="must be equal"):
        og.VotingClassifier(CLASSIFIERS, weights=[1]).fit(X, y)
    with pytest.raises(ParameterError, match="dropped"):
        og.VotingRegressor([("a", "drop")]).fit(X, Y)
    with pytest.raises(ParameterError, match="should be a regressor"):
        og.StackingRegressor(REGRESSORS, og.GaussianNB()).fit(X, Y)
    with pytest.raises(ParameterError, match="no such method"):
        og.StackingClassifier([("a", og.LinearSVC())], stack_method="predict_proba").fit(X, y)
    table = pa.table({"a": X[:, 0], "text": ["u", "v"] * 150, "y": Y})
    trees = og.VotingRegressor([("a", og.GradientBoostingRegressor(n_estimators=2))])
    with pytest.raises(SchemaError, match="some columns are text"):
        trees.fit(table, "y")


@pytest.mark.parametrize("kind", [og.VotingClassifier, og.StackingClassifier])
def test_weights_of_classes_go_by_their_labels(kind: Any, tmp_path: Path) -> None:
    """They named numbers of classes, as in scikit-learn #18550."""
    random = np.random.default_rng(0)
    X = random.normal(size=(200, 2))
    y = np.where(X[:, 0] + random.normal(size=200) > 0, "yes", "no")
    weights = {"yes": 9.0, "no": 1.0}
    inner = og.Pipeline([og.StandardScaler(), og.LogisticRegression(class_weight=weights)])
    parts = [("plain", og.LogisticRegression(class_weight=weights)), ("steps", inner)]
    model = kind(parts[:1]).fit(X, y)
    alone = og.LogisticRegression(class_weight=weights).fit(X, y)
    np.testing.assert_allclose(model.estimators_[0].coef_, alone.coef_, rtol=1e-6)
    within = kind(parts[1:]).fit(X, y)
    np.testing.assert_array_equal(within.estimators_[0].predict_proba(X) > 0.5, alone.predict_proba(X) > 0.5)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(og.load(tmp_path / "model").predict(X), model.predict(X))
    with pytest.raises(ParameterError, match=r"names \['maybe'\]"):
        kind([("a", og.LogisticRegression(class_weight={"maybe": 2.0}))]).fit(X, y)
