"""What people type who come from scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
import sklearn.dummy
import sklearn.impute
from sklearn.base import clone
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

import outgrow as og


@pytest.mark.parametrize("source", [np.random.RandomState, np.random.default_rng])
def test_sources_of_random_numbers_are_seeds(source: Any, tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(200, 3))
    first, second = (og.KMeans(3, random_state=source(1)).fit(X) for _ in range(2))
    np.testing.assert_array_equal(first.cluster_centers_, second.cluster_centers_)
    first.save(tmp_path / "model")
    np.testing.assert_array_equal(og.load(tmp_path / "model").predict(X), first.predict(X))


@pytest.fixture
def flights() -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"hour": random.normal(size=60), "wind": random.normal(size=60)})
    return frame.assign(carrier=list("abc") * 20, late=(frame.hour + frame.wind > 0).astype(int))


@pytest.fixture
def pipe(flights: pd.DataFrame) -> og.Pipeline:
    steps = [
        og.StandardScaler(columns=og.numeric()),
        og.OneHotEncoder(columns=["carrier"]),
        og.LogisticRegression(),
    ]
    return og.Pipeline(steps).fit(flights, "late")


def test_steps_by_name_number_and_slice(pipe: og.Pipeline, flights: pd.DataFrame) -> None:
    assert list(pipe.named_steps) == ["standardscaler", "onehotencoder", "logisticregression"]
    assert pipe.named_steps.logisticregression is pipe["logisticregression"] is pipe[-1] is list(pipe)[-1]
    assert len(pipe) == 3
    features, rest = pipe[:-1].transform(flights), pipe[1:]
    np.testing.assert_allclose(features.drop(columns="late"), pipe.transform(flights).drop(columns="late"))
    scaled = pipe[:1].transform(flights)
    np.testing.assert_array_equal(rest.predict(scaled), pipe.predict(flights))
    with pytest.raises(ValueError, match="step of 1"):
        pipe[::2]


def test_a_frame_with_its_target_is_predicted(
    pipe: og.Pipeline, flights: pd.DataFrame, tmp_path: Path
) -> None:
    expected = pipe.predict(flights.drop(columns="late"))
    pipe.save(tmp_path / "model")
    for frame in (flights, flights.assign(more="x"), flights[flights.columns[::-1]]):
        np.testing.assert_array_equal(pipe.predict(frame), expected)
        np.testing.assert_array_equal(og.load(tmp_path / "model").predict(frame), expected)
    with pytest.raises(ValueError, match="wind"):
        pipe.predict(flights.drop(columns="wind"))


def test_steps_of_scikit_learn(flights: pd.DataFrame, tmp_path: Path) -> None:
    X, y = flights[["hour", "wind"]], flights["late"]
    ours = og.Pipeline([PolynomialFeatures(2), ("scale", og.StandardScaler()), SGDClassifier(random_state=0)])
    theirs = make_pipeline(PolynomialFeatures(2), StandardScaler(), SGDClassifier(random_state=0)).fit(X, y)
    ours.fit(X, y)
    np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-9)
    assert ours.named_steps.sgdclassifier.coef_.shape == (1, 6)
    ours.save(tmp_path / "model")
    np.testing.assert_array_equal(og.load(tmp_path / "model").predict(X), theirs.predict(X))
    assert not hasattr(clone(ours)[0], "n_output_features_")


def test_a_pipeline_that_ends_in_a_foreign_model_is_evaluated(flights: pd.DataFrame) -> None:
    X, y = flights[["hour", "wind"]], flights["late"]
    ours = og.Pipeline([og.StandardScaler(), GaussianNB()]).fit(X, y)
    assert ours.score(X, y) == ours.evaluate(X, y)["accuracy"] == (ours.predict(X) == y).mean()
    scored = ours.predict(pa.table({"hour": X.hour, "wind": X.wind}))
    np.testing.assert_array_equal(scored["prediction"], ours.predict(X))
    assert cross_val_score(ours, X, y, cv=3).shape == (3,)


def test_foreign_steps_are_refused_on_a_cluster(spark: Any) -> None:
    frame = spark.createDataFrame([(float(i % 7), float(i)) for i in range(40)], ["x", "y"])
    with pytest.raises(og.errors.ParameterError, match="PolynomialFeatures is not of outgrow"):
        og.Pipeline([PolynomialFeatures(2), og.Ridge()]).fit(frame, "y")


def test_steps_that_pass_rows_through(flights: pd.DataFrame) -> None:
    X, y = flights[["hour", "wind"]].to_numpy(), flights["hour"]
    pipe = og.Pipeline([("scale", og.StandardScaler()), ("model", og.Ridge())])
    alone = og.Ridge().fit(X, y)
    for nothing in ("passthrough", None):
        np.testing.assert_allclose(pipe.set_params(scale=nothing).fit(X, y).predict(X), alone.predict(X))
    pipe.set_params(scale=og.StandardScaler(), model="passthrough")
    np.testing.assert_allclose(pipe.fit_transform(X, y), StandardScaler().fit_transform(X))


def test_weights_of_one_step(flights: pd.DataFrame) -> None:
    X, y, weight = flights[["hour", "wind"]].to_numpy(), flights["wind"] ** 2, np.arange(60.0)
    pipe = og.Pipeline([("scale", og.StandardScaler()), ("model", og.Ridge())])
    pipe.fit(X, y, model__sample_weight=weight)
    np.testing.assert_allclose(pipe["scale"].mean_, X.mean(axis=0), atol=1e-12)
    expected = og.Ridge().fit(StandardScaler().fit_transform(X), y, weight)
    np.testing.assert_allclose(pipe["model"].coef_, expected.coef_)
    pipe.fit(X, y, weight)
    np.testing.assert_allclose(pipe["scale"].mean_, np.average(X, axis=0, weights=weight))
    with pytest.raises(ValueError, match="model__sample_weight"):
        pipe.fit(X, y, model__weights=weight)


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([("a", og.Ridge()), ("a", og.Ridge())], "unique"),
        ([("a__b", og.Ridge())], "__"),
        ([("steps", og.Ridge())], "conflict"),
        ([og.Ridge(), og.Ridge()], "All intermediate steps"),
        ([og.StandardScaler(), object()], "Last step"),
    ],
)
def test_steps_that_cannot_be(steps: list[Any], told: str) -> None:
    with pytest.raises((ValueError, TypeError), match=told):
        og.Pipeline(steps).fit(np.eye(3), [1, 2, 3])


def test_clusters_of_a_pipeline() -> None:
    X = np.array([[0.0], [0.1], [9.0], [9.1]])
    labels = og.Pipeline([og.StandardScaler(), og.KMeans(2)]).fit_predict(X)
    assert labels[0] == labels[1] != labels[2] == labels[3]


def test_what_stands_for_a_missing_value() -> None:
    table = pa.table({"a": [1.0, -1.0, 4.0, None], "b": ["x", "?", "x", None], "c": [1, 2, 3, -1]})
    numbers = og.SimpleImputer(["a", "c"], missing_values=-1, add_indicator=True).fit(table)
    made = numbers.transform(table).to_pydict()
    assert made["a"] == [1.0, 2.5, 4.0, 2.5]
    assert made["c"] == [1.0, 2.0, 3.0, 2.0]
    assert made["missingindicator_a"] == [0.0, 1.0, 0.0, 1.0]
    words = og.SimpleImputer(["b"], missing_values="?", strategy="most_frequent").fit(table).transform(table)
    assert words["b"].to_pylist() == ["x"] * 4


@pytest.mark.parametrize("mark", [np.nan, -1, 0])
@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
def test_imputers_agree_on_marks(mark: float, strategy: str) -> None:
    X = np.random.default_rng(0).integers(-1, 4, size=(40, 3)).astype(float)
    X[:4, 1] = mark
    theirs = sklearn.impute.SimpleImputer(missing_values=mark, strategy=strategy, add_indicator=True)
    ours = og.SimpleImputer(missing_values=mark, strategy=strategy, add_indicator=True)
    np.testing.assert_allclose(ours.fit_transform(X), theirs.fit_transform(X))
    names = ["a", "b", "c"]
    assert ours.get_feature_names_out(names).tolist() == theirs.get_feature_names_out(names).tolist()


def test_indicators_are_saved_and_not_exported(tmp_path: Path) -> None:
    X = np.array([[1.0, 2.0], [np.nan, 3.0]])
    pipe = og.Pipeline([og.SimpleImputer(add_indicator=True), og.Ridge()]).fit(X, [0.0, 1.0])
    pipe.save(tmp_path / "model")
    np.testing.assert_array_equal(og.load(tmp_path / "model").predict(X), pipe.predict(X))
    with pytest.raises(og.errors.ExportError, match="add_indicator=True"):
        pipe.to_onnx(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "settings", [{}, {"strategy": "most_frequent"}, {"strategy": "constant", "constant": "b"}]
)
def test_dummy_classifiers_agree(settings: dict[str, Any]) -> None:
    X, y, weight = np.zeros((6, 1)), np.array(list("aabccc")), np.array([9.0, 1, 1, 1, 1, 1])
    ours = og.DummyClassifier(**settings).fit(X, y, weight)
    theirs = sklearn.dummy.DummyClassifier(**settings).fit(X, y, weight)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X))
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.to_sklearn().predict_proba(X), theirs.predict_proba(X))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"strategy": "median"},
        {"strategy": "quantile", "quantile": 0.3},
        {"strategy": "constant", "constant": 7},
    ],
)
def test_dummy_regressors_agree(settings: dict[str, Any]) -> None:
    X, y = np.zeros((7, 1)), np.random.default_rng(0).normal(size=7)
    ours, theirs = og.DummyRegressor(**settings).fit(X, y), sklearn.dummy.DummyRegressor(**settings).fit(X, y)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X))


def test_names_of_the_columns_of_an_array() -> None:
    X = np.array([["a", "u"], ["b", "v"]], dtype=object)
    encoder = og.OneHotEncoder().fit(X)
    assert encoder.get_feature_names_out(["town", "day"]).tolist() == ["town_a", "town_b", "day_u", "day_v"]
    with pytest.raises(ValueError, match="length"):
        encoder.get_feature_names_out(["town"])


@pytest.mark.parametrize(
    "step",
    [
        og.StandardScaler(),
        og.StandardScaler(with_mean=False, with_std=False),
        og.SimpleImputer(),
        og.PCA(n_components=1),
        og.OneHotEncoder(sparse_output=False),
        og.OrdinalEncoder(),
    ],
    ids=str,
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_results_are_the_callers(step: Any, order: Any) -> None:
    X = np.arange(12.0).reshape(6, 2).copy(order=order)
    before = X.copy()
    out = clone(step).fit_transform(X)
    out[:] = -1
    np.testing.assert_array_equal(X, before)


def test_sparse_results_are_the_callers() -> None:
    X = scipy.sparse.csr_array(np.eye(4))
    out = og.StandardScaler(with_mean=False, with_std=False).fit_transform(X)
    out.data[:] = -1
    np.testing.assert_array_equal(X.toarray(), np.eye(4))
