"""Multilayer perceptrons that learn by batches: scikit-learn's steps, any partitioning, early stopping."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
import sklearn.neural_network
from sklearn.exceptions import ConvergenceWarning

import outgrow as og
from outgrow.errors import DataError
from outgrow.ml.neural_network.network import Network
from outgrow.testing import EngineCase, check_estimator, local_case

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(400, 4))
SIGNAL = X[:, 0] * X[:, 1] + np.sin(X[:, 2])
WEIGHT = RANDOM.integers(1, 4, len(X)).astype(float)
RULES: list[dict[str, Any]] = [
    {"solver": "adam", "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-6},
    {"solver": "sgd"},
    {"solver": "sgd", "nesterovs_momentum": False, "momentum": 0.5, "learning_rate": "invscaling"},
    {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2},
]


def quietly(model: Any, *rows: Any, **more: Any) -> Any:
    """A fit that may end before it converged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(*rows, **more)


def begun(kind: Any, model: Any, y: Any, weight: Any) -> Any:
    """scikit-learn's model that has begun where ours does."""
    theirs = quietly(kind(**model._shared(), random_state=0).set_params(max_iter=1), X, y)
    sizes = (X.shape[1], *model.hidden_layer_sizes, theirs.n_outputs_)
    shape = Network(sizes, model.activation)
    weights, constants = shape.unpack(shape.start(0))
    theirs.coefs_, theirs.intercepts_ = [w.copy() for w in weights], [c.copy() for c in constants]
    theirs.loss_curve_, theirs.best_loss_, theirs._no_improvement_count, theirs.t_ = [], np.inf, 0, 0
    return quietly(theirs.set_params(max_iter=model.max_iter, warm_start=True), X, y, sample_weight=weight)


@pytest.mark.parametrize("rules", RULES, ids=["adam", "nesterov", "invscaling", "adaptive"])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_steps_of_all_rows_are_those_of_scikit_learn(rules: dict[str, Any], classes: int) -> None:
    settings = {"hidden_layer_sizes": (6, 3), "alpha": 0.5, "max_iter": 30, "learning_rate_init": 0.02}
    settings |= {"batch_size": len(X), **rules}
    if classes:
        y: Any = np.digitize(SIGNAL, np.quantile(SIGNAL, np.arange(1, classes) / classes))
        ours, theirs, method = og.MLPClassifier(**settings), "MLPClassifier", "predict_proba"
    else:
        y, ours, theirs, method = SIGNAL, og.MLPRegressor(**settings), "MLPRegressor", "predict"
    other = begun(getattr(sklearn.neural_network, theirs), ours, y, WEIGHT)
    quietly(ours, X, y, sample_weight=WEIGHT)
    np.testing.assert_allclose(ours.loss_curve_, other.loss_curve_, rtol=1e-6)
    np.testing.assert_allclose(getattr(ours, method)(X), getattr(other, method)(X), atol=1e-6)
    assert ours.n_iter_ == other.n_iter_
    assert ours.best_loss_ == pytest.approx(other.best_loss_)
    exported = ours.to_sklearn()
    assert exported.loss_curve_ == ours.loss_curve_
    np.testing.assert_allclose(getattr(exported, method)(X), getattr(ours, method)(X), atol=1e-12)


def test_batches_do_not_depend_on_where_rows_are(engine: EngineCase) -> None:
    rows = np.vstack([X, X[:20]])  # equal rows, too, belong to steps of their own
    columns = {name: rows[:, place] for place, name in enumerate("abcd")}
    table = pa.table({**columns, "y": np.where(rows[:, 0] * rows[:, 1] > 0, "late", "in time")})
    settings: dict[str, Any] = {"solver": "adam", "max_iter": 4, "batch_size": 64, "early_stopping": True}
    models = [
        quietly(og.MLPClassifier((5,), **settings), case.open(part), "y")
        for case, part in (
            (local_case(), table),
            (engine, table.take(np.random.default_rng(1).permutation(len(table)))),
        )
    ]
    one, other = (model.predict_proba(table.drop_columns("y")) for model in models)
    np.testing.assert_allclose(other, one, rtol=1e-9)
    np.testing.assert_allclose(models[1].validation_scores_, models[0].validation_scores_)


def test_minibatches_come_to_where_those_of_scikit_learn_do() -> None:
    y = (SIGNAL > 0).astype(int)
    settings: dict[str, Any] = {
        "solver": "adam",
        "max_iter": 60,
        "batch_size": 50,
        "learning_rate_init": 0.01,
    }
    ours = quietly(og.MLPClassifier((20,), **settings), X, y)
    theirs = quietly(sklearn.neural_network.MLPClassifier((20,), **settings, random_state=0), X, y)
    assert ours.loss_ == pytest.approx(theirs.loss_, abs=0.03)
    sparse = quietly(og.MLPClassifier((20,), **settings), sp.csr_array(X), y)
    np.testing.assert_allclose(sparse.predict_proba(X), ours.predict_proba(X), rtol=1e-6)
    single = quietly(og.MLPClassifier((20,), **settings), X.astype(np.float32), y)
    assert single.loss_ == pytest.approx(theirs.loss_, abs=0.03)


def test_the_best_epoch_stays_and_a_score_that_falls_ends_it() -> None:
    y = np.column_stack([SIGNAL, -X[:, 3]])
    rules: dict[str, Any] = {"solver": "adam", "learning_rate_init": 0.05, "early_stopping": True}
    model = og.MLPRegressor(
        hidden_layer_sizes=(40,), **rules, n_iter_no_change=4, validation_fraction=0.3, max_iter=500
    ).fit(X, y)
    scores = model.validation_scores_
    assert model.best_validation_score_ == max(scores) > 0.8
    assert model.n_iter_ == len(scores) == len(model.loss_curve_) < 500
    assert np.argmax(scores) < len(scores) - 1
    assert model.best_loss_ is None
    again = og.MLPRegressor(
        hidden_layer_sizes=(40,), **rules, validation_fraction=0.3, max_iter=int(np.argmax(scores)) + 1
    )
    np.testing.assert_allclose(quietly(again, X, y).predict(X), model.predict(X), rtol=1e-12)
    with pytest.raises(DataError, match="to learn from and 0 to watch"):
        og.MLPRegressor(**rules, validation_fraction=1e-9).fit(X, SIGNAL)


def test_a_learning_that_fails_says_why() -> None:
    with pytest.raises(DataError, match=r"no number any more in epoch \d.*learning_rate_init"):
        og.MLPRegressor(solver="sgd", activation="identity", learning_rate_init=1e9).fit(X, SIGNAL)
    with pytest.warns(ConvergenceWarning, match=r"2 epochs ended before.*Raise max_iter"):
        og.MLPRegressor("poisson", (3,), solver="adam", max_iter=2).fit(X, RANDOM.poisson(2.0, len(X)))


def test_rows_larger_than_memory_are_refused() -> None:
    small = og.dataset(pa.table({"a": X[:, 0], "y": SIGNAL}), engine=og.Local(memory=1000))
    with pytest.raises(DataError, match=r"holds all rows in memory.*solver='lbfgs'"):
        og.MLPRegressor(solver="adam").fit(small, "y")


def test_in_a_pipeline_of_named_columns_saved_and_loaded(tmp_path: Any) -> None:
    frame = pd.DataFrame(X, columns=list("abcd")).assign(late=np.where(SIGNAL > 0, "yes", "no"))
    model = og.MLPClassifier((8,), solver="adam", learning_rate_init=0.02, max_iter=80)
    pipeline = quietly(og.Pipeline([("scale", og.StandardScaler()), ("net", model)]), frame, "late")
    pipeline.save(str(tmp_path / "model"))
    loaded = og.load(str(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.predict_proba(frame), pipeline.predict_proba(frame))
    assert pipeline.evaluate(frame, "late")["accuracy"] > 0.85


@pytest.mark.parametrize(
    "model",
    [
        og.MLPClassifier((4,), solver="adam", max_iter=2),
        og.MLPRegressor(hidden_layer_sizes=(4,), solver="sgd", max_iter=2),
    ],
    ids=["adam", "sgd"],
)
def test_the_kit(model: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        check_estimator(model)
