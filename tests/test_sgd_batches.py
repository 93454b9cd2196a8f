"""Steps of stochastic gradient descent, batch after batch, beside scikit-learn's."""

from __future__ import annotations

import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
from sklearn import linear_model
from sklearn.datasets import make_classification

import outgrow as og
from outgrow.errors import DataError, ParameterError
from outgrow.testing import EngineCase

RATES = ["optimal", "invscaling", "constant", "adaptive"]
ROWS, SIZE = 240, 60


def rows(classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    X, y = make_classification(
        ROWS, 5, n_informative=4, n_redundant=0, n_classes=classes, flip_y=0.1, random_state=1
    )
    return X, np.array(["a", "b", "c"])[y]


def learned(model: Any, X: Any, y: np.ndarray, size: int = SIZE, **given: Any) -> Any:
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    for start in range(0, len(y), size):
        part = slice(start, start + size)
        model.partial_fit(X[part], y[part], sample_weight=weight[part], **given)
    return model


def close(ours: Any, theirs: Any, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(np.ravel(ours.coef_), np.ravel(theirs.coef_), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(np.ravel(ours.intercept_), np.ravel(theirs.intercept_), atol=tolerance)
    assert ours.t_ == theirs.t_


@pytest.mark.parametrize("loss", ["log_loss", "hinge", "squared_hinge", "modified_huber"])
@pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet", None])
def test_classifier_takes_the_steps_of_scikit_learn(loss: str, penalty: str | None) -> None:
    for rate, classes in product(RATES, [2, 3]):
        X, y = rows(classes)
        settings = {
            "loss": loss,
            "penalty": penalty,
            "alpha": 0.01,
            "learning_rate": rate,
            "eta0": 0.01,
            "shuffle": False,
            "class_weight": {"a": 2.0},
        }
        # where first steps are long, what rounding changes grows
        tolerance = 1e-4 if rate == "optimal" else 1e-9
        theirs = learned(linear_model.SGDClassifier(**settings), X, y, classes=np.unique(y))
        ours = learned(og.SGDClassifier(**settings), X, y, classes=np.unique(y))
        close(ours, theirs, tolerance)
        assert (ours.predict(X) == theirs.predict(X)).mean() > 0.99


@pytest.mark.parametrize(
    "loss", ["squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"]
)
def test_regressor_takes_the_steps_of_scikit_learn(loss: str) -> None:
    X, _ = rows()
    y = X @ np.arange(5.0) + np.random.default_rng(0).normal(size=ROWS)
    for rate, penalty in product(RATES[1:], ["l2", "l1", "elasticnet", None]):
        settings = {"penalty": penalty, "alpha": 0.01, "learning_rate": rate, "shuffle": False}
        theirs = learned(linear_model.SGDRegressor(loss, **settings), X, y)
        close(learned(og.SGDRegressor(loss, **settings), X, y), theirs)


@pytest.mark.parametrize("average", [True, 30, 10_000])
def test_mean_of_one_batch_is_that_of_scikit_learn(average: bool | int) -> None:
    X, y = rows(3)
    settings = {"average": average, "shuffle": False, "alpha": 0.01, "learning_rate": "invscaling"}
    theirs = learned(linear_model.SGDClassifier("log_loss", **settings), X, y, ROWS, classes=np.unique(y))
    close(learned(og.SGDClassifier(**settings), X, y, ROWS, classes=np.unique(y)), theirs)


@pytest.mark.parametrize("penalty", ["l2", "l1"])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_mean_is_that_of_the_steps(form: Any, penalty: str) -> None:
    """In scikit-learn a later batch begins at an old intercept, and the absolute penalty changes the past."""
    X, y = rows()
    X = np.where(np.abs(X) < 1, 0.0, X)
    settings: dict[str, Any] = {
        "penalty": penalty,
        "alpha": 0.01,
        "shuffle": False,
        "learning_rate": "constant",
        "eta0": 0.1,
    }
    one = og.SGDClassifier(**settings)
    path = []
    for i in range(ROWS):
        one.partial_fit(X[i : i + 1], y[i : i + 1], classes=["a", "b"])
        path.append(np.append(one.coef_[0], one.intercept_))
    averaged = og.SGDClassifier(**settings, average=100)
    for start in range(0, ROWS, SIZE):
        part = slice(start, start + SIZE)
        averaged.partial_fit(form(X[part]), y[part], classes=["a", "b"])
    last = np.append(averaged.standard_coef_, averaged.standard_intercept_)
    # what the absolute penalty had yet to take of a coefficient is forgotten with each batch
    tolerance = 1e-9 if penalty == "l2" else 0.05
    np.testing.assert_allclose(last, path[-1], atol=tolerance)
    mean = np.append(averaged.coef_[0], averaged.intercept_)
    np.testing.assert_allclose(mean, np.mean(path[99:], axis=0), atol=tolerance)
    assert np.abs(mean - last).max() > 1e-3


@pytest.mark.parametrize("penalty", ["l2", "l1", None])
@pytest.mark.parametrize("average", [False, 50])
def test_sparse_rows_teach_what_dense_ones_do(penalty: str | None, average: bool | int) -> None:
    X, y = rows(3)
    X = np.where(np.abs(X) < 1, 0.0, X)
    # so strong a penalty makes the common factor of sparse coefficients vanish
    for alpha in (0.01, 5.0):
        settings = {"penalty": penalty, "alpha": alpha, "average": average, "learning_rate": "invscaling"}
        dense = learned(og.SGDClassifier(**settings, eta0=0.3), X, y, classes=list("abc"))
        sparse = learned(og.SGDClassifier(**settings, eta0=0.3), sp.csr_array(X), y, classes=list("abc"))
        if penalty == "l1" and average:  # a coefficient that no row of the time had is penalised later
            np.testing.assert_allclose(sparse.coef_, dense.coef_, atol=0.05)
        else:
            close(sparse, dense)


def test_batch_teaches_the_same_wherever_its_rows_lie(engine: EngineCase) -> None:
    X, y = rows(3)
    weight = np.where(np.arange(ROWS) % 7 == 0, 0.0, 1.5)
    table = pa.table({**{f"x{j}": X[:, j] for j in range(5)}, "y": y, "w": weight})
    kept = weight > 0
    model = og.SGDClassifier(alpha=0.01, average=True)
    for start in (0, ROWS // 2):
        part = slice(start, start + ROWS // 2)
        batch = table.slice(start, ROWS // 2)
        model.partial_fit(engine.open(batch), "y", classes=["a", "b", "c"], sample_weight="w")
    alone = og.SGDClassifier(alpha=0.01, average=True)
    for start in (0, ROWS // 2):
        part = np.flatnonzero(kept[start : start + ROWS // 2]) + start
        alone.partial_fit(X[part], y[part], classes=["a", "b", "c"], sample_weight=weight[part])
    np.testing.assert_allclose(model.coef_, alone.coef_, rtol=1e-12)
    np.testing.assert_allclose(model.intercept_, alone.intercept_, rtol=1e-12)
    assert model.t_ == alone.t_ == 1 + kept.sum()


def test_saved_model_goes_on_where_it_stopped(tmp_path: Path) -> None:
    X, y = rows()
    stays = og.SGDClassifier(alpha=0.01, average=50)
    goes = og.SGDClassifier(alpha=0.01, average=50)
    for start in range(0, ROWS, SIZE):
        part = slice(start, start + SIZE)
        for model in (stays, goes):
            model.partial_fit(X[part], y[part], classes=["a", "b"])
        goes.save(tmp_path / str(start))
        goes = og.load(tmp_path / str(start))
    close(goes, stays, 0)
    np.testing.assert_array_equal(goes.standard_coef_, stays.standard_coef_)


def test_steps_go_on_from_the_minimum_that_fit_found() -> None:
    X, y = rows()
    model = og.SGDClassifier(alpha=0.01, average=True).fit(X, y)
    assert model.t_ == 1 + ROWS
    found = model.coef_.copy()
    model.partial_fit(X[:10], y[:10])
    assert 0 < np.abs(model.coef_ - found).max() < 0.1
    assert model.t_ == 11 + ROWS
    np.testing.assert_allclose(model.fit(X, y).coef_, found)
    assert not hasattr(model, "standard_coef_")
    for number in og.SGDRegressor().fit(X, X[:, 0]).partial_fit(X, X[:, 0]).coef_[:1]:
        assert number == pytest.approx(1, abs=0.01)


def test_stream_comes_near_the_minimum() -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(20_000, 4))
    y = np.where(random.random(20_000) < 1 / (1 + np.exp(-X @ np.arange(4.0))), "yes", "no")
    settings = {"alpha": 1e-3, "average": 1_000}
    stream = og.SGDClassifier(**settings)
    for start in range(0, 20_000, 500):
        part = slice(start, start + 500)
        stream.partial_fit(X[part], y[part], classes=["no", "yes"])
    whole = og.SGDClassifier(**settings).fit(X, y)
    losses = [model.evaluate(X, y)["log_loss"] for model in (stream, whole)]
    assert losses[0] < 1.005 * losses[1]


def test_frames_with_names_and_a_class_that_comes_late() -> None:
    X, y = rows(3)
    frame = pd.DataFrame(X, columns=[f"column {j}" for j in range(5)]).assign(kind=y)
    first = frame[frame.kind != "c"]
    model = og.SGDClassifier(alpha=0.01).partial_fit(first, "kind", classes=["a", "b", "c"])
    assert set(model.predict(frame)) <= {"a", "b"}
    model.partial_fit(frame.iloc[::-1], "kind")
    assert set(model.predict(frame)) == {"a", "b", "c"}
    one = model.coef_.copy()
    with pytest.raises(DataError, match=r"\['d'\]"):
        model.partial_fit(frame.assign(kind="d"), "kind")
    np.testing.assert_array_equal(model.coef_, one)
    single = og.SGDClassifier().partial_fit(frame[frame.kind == "a"], "kind", classes=["a", "b", "c"])
    assert single.classes_.tolist() == ["a", "b", "c"]


def test_order_is_by_hashes_or_as_the_rows_come() -> None:
    X, y = rows()
    turned = slice(None, None, -1)
    shuffled = [og.SGDClassifier().partial_fit(X[o], y[o], classes=["a", "b"]) for o in (slice(None), turned)]
    close(*shuffled, 0)
    other = og.SGDClassifier(random_state=1).partial_fit(X, y, classes=["a", "b"])
    assert np.abs(other.coef_ - shuffled[0].coef_).max() > 0
    kept = [
        og.SGDClassifier(shuffle=False).partial_fit(X[o], y[o], classes=["a", "b"])
        for o in (slice(None), turned)
    ]
    assert np.abs(kept[0].coef_ - kept[1].coef_).max() > 0


def test_float32_stays() -> None:
    X, y = rows()
    single = learned(og.SGDClassifier(alpha=0.1), X.astype(np.float32), y, classes=["a", "b"])
    double = learned(og.SGDClassifier(alpha=0.1), X, y, classes=["a", "b"])
    assert single.coef_.dtype == np.float32
    np.testing.assert_allclose(single.evaluate(X, y)["log_loss"], double.evaluate(X, y)["log_loss"], rtol=0.5)


@pytest.mark.parametrize(
    ("settings", "given", "message"),
    [
        ({}, {}, "classes must be passed on the first call"),
        ({}, {"classes": ["a"]}, "greater than one"),
        ({"class_weight": "balanced"}, {"classes": ["a", "b"]}, "'balanced' is not supported"),
        ({"early_stopping": True}, {"classes": ["a", "b"]}, "early_stopping should be False"),
        ({"alpha": 0}, {"classes": ["a", "b"]}, "alpha must be > 0"),
        ({"eta0": 0, "learning_rate": "constant"}, {"classes": ["a", "b"]}, "eta0 must be > 0"),
        ({"learning_rate": "pa1"}, {"classes": ["a", "b"]}, "learning_rate must be one of"),
    ],
)
def test_what_does_not_go_with_steps_is_refused(
    settings: dict[str, Any], given: dict[str, Any], message: str
) -> None:
    X, y = rows()
    with pytest.raises(ParameterError, match=message):
        og.SGDClassifier(**settings).partial_fit(X, y, **given)


def test_steps_beyond_all_numbers_are_refused_and_leave_the_model() -> None:
    X, y = rows()
    model = og.SGDRegressor().partial_fit(X, X[:, 0])
    before = model.coef_.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match="StandardScaler"):
            model.partial_fit(1e200 * X, X[:, 0])
    np.testing.assert_array_equal(model.coef_, before)
    with pytest.raises(ParameterError, match="not the same as on last call"):
        og.SGDClassifier().fit(X, y).partial_fit(X, y, classes=["a", "z"])


def test_batch_past_the_memory_is_refused() -> None:
    X, _ = rows()
    table = pa.table({f"x{j}": np.tile(X[:, j], 40_000) for j in range(5)})
    data = og.dataset(table, engine=og.Local(memory="300MiB"))
    with pytest.raises(DataError, match="smaller batches"):
        og.SGDRegressor().partial_fit(data, "x0")


def test_situations_of_reported_faults() -> None:
    """scikit-learn #5246, #33436, #3040, #18320 and #7714."""
    X, y = [[1.0, 0, 0], [0, 1, 0]], ["a", "b"]
    model = og.SGDClassifier(average=10)
    for _ in range(8):  # the second call failed where one of three classes had no rows
        model.partial_fit(X, y, classes=["a", "b", "c"])
    assert model.coef_.shape == (3, 3)
    assert model.predict(X).tolist() == y
    before, steps = model.coef_.copy(), model.t_
    with pytest.raises(DataError, match="weights are zero"):  # went on counting steps
        model.partial_fit(X, y, sample_weight=[0.0, 0.0])
    np.testing.assert_array_equal(model.coef_, before)
    assert model.t_ == steps
    wide = np.array([[1e4, 1.0], [2e4, 3.0], [-1e4, 2.0], [-3e4, 1.0]])
    steep = og.SGDClassifier("squared_hinge", alpha=0.01, learning_rate="invscaling", eta0=10.0)
    for _ in range(30):  # overflowed where strong penalties and long steps met
        steep.partial_fit(wide, [1, 1, 0, 0], classes=[0, 1])
    assert np.isfinite(steep.coef_).all()
    model = og.LinearSVC(loss="hinge", dual=False).fit(X, y)  # liblinear has no primal solver of the hinge
    assert model.predict(X).tolist() == y
