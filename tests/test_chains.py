"""Models of several targets, each of which knows those before it, beside scikit-learn's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn.multioutput as peer
from sklearn.linear_model import LogisticRegression, Ridge

import outgrow as og
from outgrow.errors import ExportError, ParameterError, SchemaError
from outgrow.ml.export.onnx.file import content

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
