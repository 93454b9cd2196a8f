"""Pipelines beyond a chain of our own steps: inner pipelines, and steps that scikit-learn's Pipeline runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, average_precision_score, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import outgrow as og
from outgrow import errors

DOCUMENTS = ["rain and fog", "sun", "fog again", "sun and sea", "rain", "sea"]
WET = np.array([1, 0, 1, 0, 1, 0])


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    found = pd.DataFrame({"wind": rng.normal(size=80), "hour": rng.normal(size=80), "rain": rng.random(80)})
    found.loc[::9, "wind"] = np.nan
    return found.assign(late=(found["hour"] + found["rain"] > 0.4).astype(int))


def inner() -> og.Pipeline:
    return og.Pipeline([og.SimpleImputer(), og.StandardScaler()])


def nested() -> og.Pipeline:
    return og.Pipeline([("prepare", inner()), ("model", og.Pipeline([og.LogisticRegression()]))])


def flat() -> og.Pipeline:
    return og.Pipeline([og.SimpleImputer(), og.StandardScaler(), og.LogisticRegression()])


def test_a_pipeline_of_pipelines_is_one_fit(frame: pd.DataFrame, tmp_path: Path) -> None:
    X = frame.drop(columns="late")
    found, expected = nested().fit(frame, "late"), flat().fit(frame, "late")
    np.testing.assert_array_equal(found.predict_proba(X), expected.predict_proba(X))
    assert found.evaluate(frame, "late") == expected.evaluate(frame, "late")
    np.testing.assert_array_equal(found["prepare"].transform(X), expected[:2].transform(X))
    np.testing.assert_array_equal(found["model"].predict(found["prepare"].transform(X)), found.predict(X))
    found.save(tmp_path / "model")
    again = og.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(X), found.predict_proba(X))
    np.testing.assert_array_equal(again["prepare"].transform(X), found["prepare"].transform(X))
    np.testing.assert_allclose(found.to_sklearn().predict_proba(X), found.predict_proba(X))
    some = og.Pipeline(
        [("prepare", og.Pipeline([og.SimpleImputer(columns=["wind"])])), og.LogisticRegression()]
    )
    some.fit(frame, "late")
    np.testing.assert_allclose(some.to_sklearn().predict_proba(X), some.predict_proba(X))
    assert og.dataset(frame).columns == list(frame)
    assert found.predict(og.dataset(frame)).to_arrow()["prediction"].to_pylist() == found.predict(X).tolist()


def test_inner_pipelines_have_parameters_and_weights(frame: pd.DataFrame) -> None:
    X, y, weight = frame.drop(columns="late"), frame["late"], np.arange(80.0)
    search = GridSearchCV(nested(), {"model__logisticregression__C": [0.01, 10.0]}, cv=og.KFold(3)).fit(X, y)
    assert set(search.best_params_) == {"model__logisticregression__C"}
    weighed = nested().fit(X, y, model__logisticregression__sample_weight=weight)
    expected = flat().fit(X, y, logisticregression__sample_weight=weight)
    np.testing.assert_array_equal(weighed.predict_proba(X), expected.predict_proba(X))
    changed = nested().set_params(prepare__simpleimputer__strategy="median", prepare=inner())
    assert changed["prepare"]["simpleimputer"].strategy == "median"


def test_documents_go_through_scikit_learns_pipeline() -> None:
    ours = og.Pipeline([TfidfVectorizer(), og.LogisticRegression()]).fit(DOCUMENTS, WET)
    theirs = make_pipeline(TfidfVectorizer(), og.LogisticRegression()).fit(DOCUMENTS, WET)
    np.testing.assert_array_equal(ours.predict_proba(DOCUMENTS), theirs.predict_proba(DOCUMENTS))
    assert ours.score(DOCUMENTS, WET) == theirs.score(DOCUMENTS, WET)
    assert ours[:-1].get_feature_names_out().tolist() == theirs[:-1].get_feature_names_out().tolist()
    series = og.Pipeline([TfidfVectorizer(), og.LogisticRegression()]).fit(pd.Series(DOCUMENTS), WET)
    np.testing.assert_array_equal(series.predict(pd.Series(DOCUMENTS)), ours.predict(DOCUMENTS))
    assert hasattr(clone(ours), "steps")
    assert not hasattr(clone(ours), "fitted_")


class Parting(TransformerMixin, BaseEstimator):
    """It transforms and predicts, and learns with a parameter of its own."""

    def fit(self, X: Any, y: Any = None, *, shift: float = 0.0) -> None:
        self.shift_ = shift

    def transform(self, X: Any) -> Any:
        return np.asarray(X) + self.shift_

    def predict(self, X: Any, *, times: float = 1.0) -> Any:
        return times * np.asarray(X).sum(axis=1)


def test_steps_of_no_known_kind_and_their_parameters() -> None:
    X = np.arange(6.0).reshape(3, 2)
    pipe = og.Pipeline([("scale", og.StandardScaler()), ("part", Parting())]).fit(X, part__shift=2.0)
    scaled = StandardScaler().fit_transform(X)
    np.testing.assert_allclose(pipe.transform(X), scaled + 2.0)
    np.testing.assert_allclose(pipe.predict(X, times=3.0), 3.0 * scaled.sum(axis=1))
    middle = og.Pipeline([KMeans(2, n_init=1, random_state=0), og.LinearRegression()]).fit(X, X[:, 0])
    assert middle.score(X, X[:, 0]) > 0.5
    novel = og.Pipeline([StandardScaler(), LocalOutlierFactor(n_neighbors=1, novelty=True)]).fit(X)
    assert novel.score_samples(X).shape == (3,)


def test_what_scikit_learn_ran_says_what_it_cannot(frame: pd.DataFrame, tmp_path: Path) -> None:
    X = frame[["hour", "rain"]]
    pipe = og.Pipeline([("part", Parting())]).fit(X)
    asked = [
        lambda: pipe.save(tmp_path / "model"),
        lambda: pipe.to_onnx(tmp_path / "model.onnx"),
        lambda: pipe.predict(og.dataset(X)),
        lambda: pipe.transform(og.dataset(X)),
    ]
    for ask in asked:
        with pytest.raises(errors.ParameterError, match="fitted in memory by scikit-learn's Pipeline"):
            ask()
    assert not list(tmp_path.iterdir())
    with pytest.raises(errors.ParameterError, match=r"\['part'\].*rows in memory"):
        og.Pipeline([("part", Parting())]).fit(og.dataset(X))


def test_the_first_step_of_scikit_learn_knows_the_names(frame: pd.DataFrame, tmp_path: Path) -> None:
    X, y = frame[["hour", "rain"]], frame["late"]
    select = ColumnTransformer([("scaled", StandardScaler(), ["rain"])], remainder="passthrough")
    ours = og.Pipeline([select, LogisticRegression()]).fit(X, y)
    theirs = make_pipeline(clone(select), LogisticRegression()).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X))
    assert ours[0].feature_names_in_.tolist() == ["hour", "rain"]
    assert not hasattr(ours[1], "feature_names_in_")
    ours.save(tmp_path / "model")
    np.testing.assert_allclose(og.load(tmp_path / "model").predict_proba(X), theirs.predict_proba(X))
    found = og.cross_validate(og.Pipeline([select, og.LogisticRegression()]), frame[list(X)], y, cv=2)
    assert len(found.folds) == 2
    bare = og.Pipeline([StandardScaler(), LogisticRegression()]).fit(X.to_numpy(), y)
    assert not hasattr(bare[0], "feature_names_in_")


def test_steps_of_scikit_learn_are_called_by_their_names(frame: pd.DataFrame, tmp_path: Path) -> None:
    pipe, heard = og.Pipeline([og.StandardScaler(), StandardScaler(), og.LogisticRegression()]), []
    with og.listen(heard.append):
        pipe.fit(frame[["hour", "rain"]], frame["late"])
    assert heard
    assert not any("Foreign" in event.stage for event in heard)
    for export in (pipe.to_sklearn, lambda: pipe.to_onnx(tmp_path / "model.onnx")):
        with pytest.raises(errors.ExportError, match="StandardScaler cannot be exported"):
            export()


class OwnForest(RandomForestClassifier):
    """Of a module that no skops trusts."""


def test_what_could_not_be_loaded_is_not_saved(frame: pd.DataFrame, tmp_path: Path) -> None:
    pipe = og.Pipeline([og.StandardScaler(), OwnForest(2)])
    pipe.fit(frame[["hour", "rain"]], frame["late"])
    with pytest.raises(errors.ArtifactError, match="It was not saved"):
        pipe.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_pipeline_can_be_fitted_either_way_in_turn(frame: pd.DataFrame) -> None:
    X, y = frame[["hour", "rain"]], frame["late"]
    pipe = og.Pipeline([("best", SelectKBest(k=1)), ("model", LogisticRegression())])
    batches = pipe.fit(X, y).predict_proba(X)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = pipe.fit(X, y).predict_proba(X)
    np.testing.assert_allclose(routed, batches)
    assert pipe.fit(X, y).evaluate(og.dataset(frame), "late")["accuracy"] > 0.5


def test_weights_are_routed(frame: pd.DataFrame) -> None:
    X, y, weight = frame[["hour", "rain"]], frame["late"], np.arange(80.0)
    expected = og.Pipeline([StandardScaler(), LogisticRegression()]).fit(X, y, weight).predict_proba(X)
    with sklearn.config_context(enable_metadata_routing=True):
        scale = StandardScaler().set_fit_request(sample_weight=True)
        model = LogisticRegression().set_fit_request(sample_weight=True)
        routed = og.Pipeline([scale, model]).fit(X, y, sample_weight=weight).predict_proba(X)
    np.testing.assert_allclose(routed, expected)


def test_names_out_are_those_of_the_input(frame: pd.DataFrame) -> None:
    X, y = frame[["hour", "rain"]], frame["late"]
    pipe = og.Pipeline([SelectKBest(k=1), og.StandardScaler(), og.LogisticRegression()]).fit(X, y)
    assert pipe[:-1].get_feature_names_out().tolist() == ["hour"]
    bare = og.Pipeline([og.StandardScaler(), og.LogisticRegression()]).fit(X.to_numpy(), y)
    assert bare[:-1].get_feature_names_out(["a", "b"]).tolist() == ["a", "b"]
    with pytest.raises(errors.ParameterError, match="length"):
        bare.get_feature_names_out(["a"])


@pytest.mark.parametrize("form", ["pandas", "polars"])
def test_results_have_the_form_that_was_asked_for(frame: pd.DataFrame, form: str) -> None:
    X = frame[["hour", "rain"]].to_numpy()
    pipe = og.Pipeline([og.StandardScaler(), og.PCA(1)])
    plain = pipe.fit(X).transform(X)
    assert isinstance(plain, np.ndarray)
    asked = clone(clone(pipe).set_output(transform=form))
    for made in (asked.fit(X).transform(X), asked.fit_transform(X), asked[:2].transform(X)):
        assert type(made).__module__.startswith(form)
        assert list(made.columns) == ["pca0"]
        np.testing.assert_array_equal(made.to_numpy(), plain)
    with sklearn.config_context(transform_output=form):
        assert type(pipe.transform(X)).__module__.startswith(form)
    assert isinstance(asked.transform(og.dataset(pd.DataFrame(X, columns=["x0", "x1"]))), og.Dataset)
    assert isinstance(asked.set_output(transform="default").transform(X), np.ndarray)


def test_what_a_notebook_shows_names_the_steps() -> None:
    assert "SimpleImputer" in flat()._repr_mimebundle_()["text/html"]


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([("scale", og.StandardScaler), ("model", og.Ridge())], "got estimator class instead"),
        ([(1, og.Ridge())], "Names of steps are text"),
        ([("model", ())], "Last step of Pipeline should implement fit"),
    ],
)
def test_what_is_no_step(steps: list[Any], says: str) -> None:
    with pytest.raises(errors.ValueTypeError, match=says):
        og.Pipeline(steps).fit([[1.0], [2.0]], [1, 2])


def test_a_foreign_classifier_of_margins_is_judged_and_served(tmp_path: Path) -> None:
    """One without probabilities: margins order the rows, and what needs probabilities is refused by name."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(300, 3))
    y = np.where(X @ [1.0, -2.0, 0.5] + rng.normal(size=300) > 0, "yes", "no")
    pipe = og.Pipeline([og.StandardScaler(), LinearSVC()]).fit(X, y)
    margins = pipe.decision_function(X)
    metrics = pipe.evaluate(X, y)
    assert metrics["accuracy"] == pytest.approx(accuracy_score(y, pipe.predict(X)))
    assert metrics["roc_auc"] == pytest.approx(roc_auc_score(y == "yes", margins))
    assert metrics["pr_auc"] == pytest.approx(average_precision_score(y == "yes", margins))
    assert "log_loss" not in metrics
    assert not hasattr(pipe, "predict_proba")
    mean = og.cross_validate(og.Pipeline([og.StandardScaler(), LinearSVC()]), X, y).mean()
    assert mean["accuracy"] > 0.7
    pipe.save(tmp_path / "model")
    np.testing.assert_array_equal(og.load(tmp_path / "model").decision_function(X), margins)
    with pytest.raises(errors.ParameterError, match="has no probabilities"):
        og.score(tmp_path / "model", og.dataset(X), tmp_path / "scores", probabilities=True)


@pytest.mark.parametrize("inner", [False, True])
def test_one_object_is_no_two_steps(inner: bool) -> None:
    scale = og.StandardScaler()
    first = og.Pipeline([("scale", scale)]) if inner else scale
    model = og.Pipeline([("first", first), ("again", scale), ("fit", og.LinearRegression())])
    with pytest.raises(errors.ParameterError, match=r"The steps 'first.*' and 'again' are one object"):
        model.fit(np.eye(3), [1, 2, 3])
    model.set_params(again=clone(scale)).fit(np.eye(3), [1, 2, 3])
    np.testing.assert_allclose(model.predict(np.eye(3)), [1, 2, 3])
    og.Pipeline([("a", "passthrough"), ("b", "passthrough"), ("c", scale)]).fit(np.eye(3))
