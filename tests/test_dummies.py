"""Models that ignore the features: what they draw, and what they take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.dummy import DummyRegressor

import outgrow as og
from outgrow.errors import ExportError, ParameterError, ValueTypeError
from outgrow.testing import EngineCase

random = np.random.default_rng(3)
X = random.normal(size=(2000, 2))
Y = random.choice(["a", "b", "c"], p=[0.6, 0.3, 0.1], size=2000)
TABLE = pa.table({"x0": X[:, 0], "x1": X[:, 1], "y": Y})


@pytest.mark.parametrize(
    ("strategy", "shares"), [("stratified", [0.6, 0.3, 0.1]), ("uniform", [1 / 3, 1 / 3, 1 / 3])]
)
def test_classes_are_drawn_by_their_shares(strategy: str, shares: list[float]) -> None:
    model = og.DummyClassifier(strategy=strategy, random_state=1).fit(X, Y)
    drawn = model.predict(X)
    found = [np.mean(drawn == each) for each in "abc"]
    np.testing.assert_allclose(found, shares, atol=0.05)
    chances = model.predict_proba(X)
    np.testing.assert_array_equal(model.classes_[chances.argmax(axis=1)], drawn)
    np.testing.assert_array_equal(chances.max(axis=1), 1)
    other = og.DummyClassifier(strategy=strategy, random_state=2).fit(X, Y).predict(X)
    assert (other != drawn).any()
    assert model.score(X, Y) == np.mean(drawn == Y)


@pytest.mark.parametrize("strategy", ["stratified", "uniform"])
def test_the_same_row_gets_the_same_class_everywhere(engine: EngineCase, strategy: str) -> None:
    model = og.DummyClassifier(strategy=strategy).fit(engine.open(TABLE), "y")
    answered = og.dataset(model.predict(engine.open(TABLE))).to_arrow().sort_by("x0")
    alone = og.DummyClassifier(strategy=strategy).fit(X, Y)
    expected = alone.predict(X)[np.argsort(X[:, 0])]
    assert answered["prediction"].to_pylist() == expected.tolist()
    order = random.permutation(len(X))
    np.testing.assert_array_equal(alone.predict(X[order]), alone.predict(X)[order])


@pytest.mark.parametrize("strategy", ["stratified", "uniform"])
def test_what_is_drawn_follows_the_rows_as_they_came(strategy: str) -> None:
    """Whatever steps stand before: what they make of a row differs in its last bits from fit to fit."""
    random = np.random.default_rng(0)
    X, y = random.normal(size=(500, 3)), random.integers(0, 3, 500)
    dummy = og.DummyClassifier(strategy=strategy, random_state=1)
    alone = dummy.fit(X, y).predict(X)
    behind = og.Pipeline([og.StandardScaler(), og.PCA(2), dummy])
    for rows in (slice(None), slice(None, None, -1), random.permutation(500)):
        np.testing.assert_array_equal(behind.fit(X[rows], y[rows]).predict(X), alone)


@pytest.mark.parametrize("strategy", ["stratified", "uniform"])
def test_what_is_drawn_is_kept_and_not_exported(strategy: str, tmp_path: Path) -> None:
    model = og.DummyClassifier(strategy=strategy, random_state=np.random.RandomState(4)).fit(X, Y)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(og.load(tmp_path / "model").predict(X), model.predict(X))
    for export in (model.to_sklearn, lambda: model.to_onnx(tmp_path / "model.onnx")):
        with pytest.raises(ExportError, match="draws by the hashes"):
            export()


@pytest.mark.parametrize("rows", [None, np.zeros(4), np.array([[["a"]], [["b"]], [["c"]], [[None]]])])
@pytest.mark.parametrize("model", [og.DummyClassifier(), og.DummyRegressor()])
def test_rows_of_any_shape_or_none(model: Any, rows: Any) -> None:
    y = [1, 2, 2, 2]
    fitted = model.fit(rows, y)
    assert fitted.score(rows, y) == (0.75 if isinstance(model, og.DummyClassifier) else 0.0)
    if rows is not None:
        assert len(fitted.predict(rows)) == 4


@pytest.mark.parametrize(
    "parameters",
    [
        {"strategy": "mean"},
        {"strategy": "median"},
        {"strategy": "quantile", "quantile": 0.3},
        {"strategy": "constant", "constant": [1.0, -2.0, 3.0]},
    ],
)
def test_one_number_for_each_target(engine: EngineCase, parameters: dict[str, Any], tmp_path: Path) -> None:
    targets = random.normal(size=(200, 3))
    table = pa.table({"x": X[:200, 0], **{f"t{j}": targets[:, j] for j in range(3)}})
    names = ["t0", "t1", "t2"]
    model = og.DummyRegressor(**parameters).fit(engine.open(table), names)
    peer = DummyRegressor(**parameters).fit(X[:200], targets)
    np.testing.assert_allclose(model.constant_, peer.constant_[0])
    frame = table.select(["x"]).to_pandas()
    np.testing.assert_allclose(model.predict(frame), peer.predict(X[:200]))
    model.save(tmp_path / "model")
    np.testing.assert_allclose(og.load(tmp_path / "model").predict(frame), peer.predict(X[:200]))
    np.testing.assert_allclose(model.to_sklearn().predict(frame), peer.predict(X[:200]))


@pytest.mark.parametrize(
    ("model", "error", "said"),
    [
        (og.DummyRegressor(strategy="constant"), ValueTypeError, "has to be specified"),
        (og.DummyRegressor(strategy="constant", constant=[1, 2]), ParameterError, r"shape \(1, 1\)"),
        (og.DummyRegressor(strategy="quantile"), ParameterError, "specify the desired quantile"),
        (og.DummyClassifier(strategy="constant"), ParameterError, "has to be specified"),
        (og.DummyClassifier(strategy="constant", constant=[1, 2]), ParameterError, "should have shape"),
        (og.DummyClassifier(strategy="constant", constant=7), ParameterError, "Possible values"),
        (og.DummyClassifier(strategy="likely"), ParameterError, "one of 'prior'"),
    ],
)
def test_parameters_that_cannot_be(model: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        model.fit(np.zeros((3, 1)), [1, 2, 2])
