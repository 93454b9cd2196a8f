"""Models of several targets, each of which knows those before it, beside scikit-learn's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
import sklearn.multioutput as peer
from sklearn.linear_model import LogisticRegression, Ridge

import outgrow as og
from outgrow.errors import ExportError, ParameterError, SchemaError
from outgrow.ml.export.onnx.file import content
from outgrow.testing import EngineCase

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 3))
Y = np.cumsum(X + RNG.normal(size=(300, 3)), axis=1)
LABELS = np.column_stack([np.digitize(Y[:, 0], [-1, 1]), Y[:, 1] > 0, 5 + (Y[:, 2] > 0)]).astype(int)
WEIGHT = RNG.integers(0, 3, 300).astype(float)
ORDERS: list[Any] = [None, [2, 0, 1], "random"]


@pytest.mark.parametrize("order", ORDERS)
def test_numbers_are_those_of_scikit_learn(order: Any, tmp_path: Path) -> None:
    ours = og.RegressorChain(og.Ridge(5.0), order=order, random_state=1).fit(X, Y, sample_weight=WEIGHT)
    theirs = peer.RegressorChain(Ridge(5.0), order=order, random_state=1).fit(X, Y, sample_weight=WEIGHT)
    assert ours.order_.tolist() == list(theirs.order_)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-8)
    np.testing.assert_allclose(ours.to_sklearn().predict(X), ours.predict(X))
    ours.save(tmp_path / "model")
    np.testing.assert_array_equal(og.load(tmp_path / "model").predict(X), ours.predict(X))
    session = onnxruntime.InferenceSession(content(ours))
    feeds = {f"x{j}": X[:, [j]] for j in range(3)}
    np.testing.assert_allclose(session.run(["prediction"], feeds)[0], ours.predict(X), rtol=1e-8)


@pytest.mark.parametrize("order", ORDERS)
def test_classes_are_those_of_scikit_learn(order: Any, tmp_path: Path) -> None:
    ours = og.ClassifierChain(og.LogisticRegression(), order=order, random_state=1).fit(X, LABELS)
    theirs = peer.ClassifierChain(LogisticRegression(tol=1e-10, max_iter=1000), order=order, random_state=1)
    np.testing.assert_array_equal(ours.predict(X), theirs.fit(X, LABELS).predict(X))
    np.testing.assert_array_equal(ours.to_sklearn().predict(X), ours.predict(X))
    at = ours.order_.tolist().index(1)
    chance = theirs.estimators_[at].predict_proba(np.hstack([X, theirs.predict(X)[:, ours.order_[:at]]]))
    np.testing.assert_allclose(ours.predict_proba(X)[1], chance, atol=1e-5)
    assert ours.score(X, LABELS) == pytest.approx((theirs.predict(X) == LABELS).all(axis=1).mean())
    ours.save(tmp_path / "model")
    np.testing.assert_array_equal(og.load(tmp_path / "model").predict(X), ours.predict(X))
    with pytest.raises(ExportError, match="several targets"):
        content(ours)


def test_classes_may_be_text() -> None:
    words = np.array(["a", "b", "c", "d", "e", "f", "g"])[LABELS]
    ours = og.ClassifierChain(og.GaussianNB()).fit(X, words)
    codes = LABELS - [0, 0, 5]
    numbers = og.ClassifierChain(og.GaussianNB()).fit(X, codes)
    said = numbers.predict(X) + np.array([0, 0, 5])
    np.testing.assert_array_equal(ours.predict(X), np.array(list("abcdefg"))[said])
    with pytest.raises(ExportError, match="numbers for classes"):
        ours.to_sklearn()


def test_all_links_share_their_passes_and_sparse_rows_are_taken() -> None:
    model = og.ClassifierChain(og.LogisticRegression()).fit(X, LABELS)
    alone = max(part.n_iter_.max() for part in model.estimators_)
    assert model.fit_record_.passes <= 2 * alone + 4
    sparse = sp.csr_array(np.where(np.abs(X) > 1.5, X, 0))
    ours = og.RegressorChain(og.Ridge()).fit(sparse, Y)
    dense = og.RegressorChain(og.Ridge()).fit(sparse.toarray(), Y)
    np.testing.assert_allclose(ours.predict(sparse), dense.predict(sparse), rtol=1e-8)


def test_trees_are_links_and_one_target_is_a_chain() -> None:
    trees = og.RegressorChain(og.DecisionTreeRegressor(max_depth=4)).fit(X, Y)
    assert trees.score(X, Y) > 0.4
    one = og.RegressorChain(og.Ridge()).fit(X, Y[:, 0])
    np.testing.assert_allclose(one.predict(X), og.Ridge().fit(X, Y[:, 0]).predict(X))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ParameterError, match="invalid order"):
        og.RegressorChain(og.Ridge(), order=[0, 0, 1]).fit(X, Y)
    with pytest.raises(ParameterError, match="no regressor"):
        og.RegressorChain(og.GaussianNB()).fit(X, Y)
    with pytest.raises(ParameterError, match="no probabilities"):
        og.ClassifierChain(og.LinearSVC()).fit(X, LABELS)
    text = pd.DataFrame({"t": np.where(X[:, 0] > 0, "p", "q"), "a": Y[:, 0], "b": Y[:, 1]})
    with pytest.raises(SchemaError, match="some columns are text"):
        og.RegressorChain(og.DecisionTreeRegressor()).fit(text, ["a", "b"])


# ---- pipelines within -------------------------------------------------------------------------------------

ROWS = pd.DataFrame(
    {
        "city": np.where(np.arange(300) % 3 == 0, "rome", "oslo"),
        "size": np.random.default_rng(5).normal(size=300),
        "target0": np.random.default_rng(6).normal(size=300),  # called as a column of the chain would be
    }
)
ROWS.loc[::17, "size"] = np.nan
FIRST = ROWS["size"].fillna(0) + 3.0 * (ROWS["city"] == "rome")


def within(model: object) -> og.Pipeline:
    steps = [og.SimpleImputer(columns="size"), og.OneHotEncoder(columns=og.categorical()), model]
    return og.Pipeline(steps)


def test_pipelines_see_the_targets_before_theirs(engine: EngineCase, tmp_path: Path) -> None:
    rows = ROWS.assign(first=FIRST, second=FIRST**2)
    model = og.RegressorChain(within(og.DecisionTreeRegressor(max_depth=6, random_state=0)))
    model.fit(engine.open(pa.Table.from_pandas(rows)), ["first", "second"])
    assert list(model.estimators_[1].columns_) == ["city", "size", "target0", "target02"]
    answers = model.predict(ROWS)
    wide = ROWS.assign(target02=FIRST, second=FIRST**2)
    alone = within(og.DecisionTreeRegressor(max_depth=6, random_state=0)).fit(wide, "second")
    handed = ROWS.assign(target02=answers[:, 0])
    np.testing.assert_allclose(answers[:, 1], alone.predict(handed), rtol=1e-6)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(og.load(tmp_path / "model").predict(ROWS), answers)
    with pytest.raises(ExportError, match="pipeline within another model"):
        model.to_onnx(tmp_path / "model.onnx")


def test_pipelines_of_classifiers_in_a_chain_take_text(tmp_path: Path) -> None:
    first, second = np.where(FIRST > 1, "far", "near"), np.where(FIRST > 2, "up", "down")
    rows = ROWS.assign(first=first, second=second)
    model = og.ClassifierChain(within(og.LogisticRegression()), order=[1, 0]).fit(rows, ["first", "second"])
    assert model.evaluate(rows, ["first", "second"])["accuracy"] > 0.8
    assert "target1" in model.estimators_[1].columns_
    model.save(tmp_path / "model")
    again = og.load(tmp_path / "model").predict_proba(ROWS)
    for own, loaded in zip(model.predict_proba(ROWS), again, strict=True):
        np.testing.assert_array_equal(own, loaded)
    assert og.cross_validate(model, rows, ["first", "second"], cv=2).mean()["accuracy"] > 0.7


def test_pipelines_on_arrays_in_a_chain() -> None:
    X = np.random.default_rng(7).normal(size=(80, 3))
    y = X @ [[1.0, 0.0], [2.0, 1.0], [0.0, -1.0]]
    model = og.RegressorChain(og.Pipeline([og.StandardScaler(), og.LinearRegression()])).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, atol=1e-9)
    one = og.RegressorChain(og.Pipeline([og.StandardScaler(), og.LinearRegression()])).fit(X, y[:, 0])
    np.testing.assert_allclose(one.predict(X), y[:, 0], atol=1e-9)
