"""Trees of targets and weights of any scale, few values, many rows alike, and of processes that fork."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow.engine.collective import Alone
from outgrow.errors import DataError
from outgrow.ml.trees import forest_nodes
from outgrow.ml.trees.bagging import RowSample
from outgrow.ml.trees.plan import Draw

REGRESSORS = [
    og.GradientBoostingRegressor(n_estimators=6, l1_regularization=1e-3),
    og.GradientBoostingRegressor(n_estimators=6, subsample=0.7, early_stopping=True),
    og.RandomForestRegressor(n_estimators=6),
]
CLASSIFIERS = [og.GradientBoostingClassifier(n_estimators=6), og.RandomForestClassifier(n_estimators=6)]


def steps(rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.uniform(size=rows)
    return x[:, None], 4 + 2 * (x > 0.5) + random.normal(size=rows) * 0.2


@pytest.mark.parametrize("model", REGRESSORS, ids=str)
@given(exponent=st.integers(-290, 300), offset=st.sampled_from([0.0, 1.0, -1e3]))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_the_unit_of_the_target_changes_nothing(model: Any, exponent: int, offset: float) -> None:
    X, y = steps()
    y, unit = y + offset, 10.0**exponent
    model = type(model)(**{**model.get_params(), "n_estimators": 5})
    if hasattr(model, "l1_regularization"):
        model.l1_regularization = 0.0
    expected = model.fit(X, y).predict(X)
    found = model.fit(X, y * unit).predict(X) / unit
    assert np.corrcoef(found, expected)[0, 1] > 0.99
    assert np.allclose(found, expected, rtol=0, atol=0.05)


@pytest.mark.parametrize("model", [*REGRESSORS, *CLASSIFIERS], ids=str)
@pytest.mark.parametrize("unit", [1e-9, 1 / 400, 1e9])
def test_weights_of_any_scale_learn(model: Any, unit: float) -> None:
    X, y = steps()
    y = (y > 5).astype(int) if hasattr(model, "predict_proba") else y
    assert model.fit(X, y, sample_weight=np.full(len(y), unit)).score(X, y) > 0.6


def test_a_target_that_overflows_is_refused_with_its_ends() -> None:
    X, y = steps()
    y[:200] = 1.7e308
    y[200:] = -1.7e308
    with pytest.raises(DataError, match=r"1.7e\+308.*Scale"):
        og.GradientBoostingRegressor().fit(X, y)


def test_a_forest_sees_every_value_of_few() -> None:
    """Were rows alike drawn together, a third of the trees would not know one of two values."""
    X = np.repeat([[0.0], [1.0]], 500, axis=0)
    model = og.RandomForestClassifier(n_estimators=50).fit(X, X[:, 0].astype(int))
    assert np.allclose(model.predict_proba(np.array([[0.0], [1.0]])), np.eye(2), rtol=0, atol=1e-5)


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=300), st.floats(0.1, 0.9), st.booleans(), st.randoms()
)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_samples_follow_the_hashes_alone(
    rows: list[int], share: float, replacement: bool, random: Any
) -> None:
    draw = Draw(share, replacement)
    hashes = np.array(rows, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    order = np.array(random.sample(range(len(rows)), len(rows)))
    weights = RowSample.of(Alone(), hashes, len(rows), draw).weights(3)
    assert (
        RowSample.of(Alone(), hashes[order], len(rows), draw).weights(3).tolist() == weights[order].tolist()
    )
    assert len({(key, weight) for key, weight in zip(rows, weights.tolist(), strict=True)}) == len(set(rows))


@pytest.mark.parametrize(
    "draw", [Draw(0.632), Draw(1.0, replacement=True), Draw(3.5, replacement=True)], ids=str
)
def test_a_sample_has_its_share_of_rows(draw: Draw) -> None:
    random = np.random.default_rng(0)
    out = np.exp(-draw.share) if draw.replacement else 1 - draw.share
    for hashes in (random.integers(0, 2**63, 20_000), np.repeat(random.integers(0, 2**63, 40), 500)):
        sample = RowSample.of(Alone(), hashes.astype(np.uint64), len(hashes), draw)
        drawn = np.mean([sample.weights(tree).mean() for tree in range(30)])
        left_out = np.mean([sample.left_out(tree).mean() for tree in range(30)])
        assert drawn == pytest.approx(draw.share, rel=0.03)
        assert left_out == pytest.approx(out, abs=0.02)


def learn(model: Any, X: np.ndarray, y: np.ndarray) -> list[float]:
    learned: list[float] = model.fit(X, y).predict(X[:3]).tolist()
    return learned


def test_a_forked_child_learns_and_answers() -> None:
    X, y = steps(3000)
    model = og.GradientBoostingRegressor(n_estimators=5).fit(X, y)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        asked = [pool.apply_async(model.predict, (X[:3],)), pool.apply_async(learn, (model, X, y))]
        answers = [np.asarray(each.get(60)) for each in asked]
    assert np.allclose(answers, [model.predict(X[:3])] * 2, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "model", [*REGRESSORS[:1], og.RandomForestRegressor(n_estimators=6, max_samples=1.0)], ids=str
)
def test_zero_is_a_number_and_no_missing_value_beside_sparse_columns(model: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = random.choice([-1.0, 0.0, 1.0, np.nan], 600)
    y = np.select([x == 0, np.isnan(x)], [5.0, 50.0], x)
    table = pa.table({"x": pa.array(x, from_pandas=True), "w": random.choice(list("abcdefgh"), 600), "y": y})
    pipe = og.Pipeline(
        [og.OneHotEncoder(columns=["w"]), model.__class__(**{**model.get_params(), "n_estimators": 60})]
    )
    pipe.fit(table, "y")
    assert pipe[-1].zeros_absent_
    rows = pa.table({"x": pa.array([-1.0, 0.0, 1.0, None, 0.001]), "w": ["a"] * 5})
    answers = pipe.predict(rows)["prediction"].to_numpy()
    assert np.allclose(answers[:4], [-1, 5, 1, 50], rtol=0, atol=0.6)
    assert answers[4] == answers[1]
    pipe.save(tmp_path / "model")
    assert og.load(tmp_path / "model").predict(rows)["prediction"].to_numpy().tolist() == answers.tolist()
    pipe.to_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    inputs = {"x": rows["x"].to_numpy()[:, None], "w": np.array([["a"]] * 5)}
    assert np.allclose(session.run(["prediction"], inputs)[0].ravel(), answers, rtol=1e-6)
    assert np.allclose(pipe.to_sklearn().predict(rows.to_pandas()), answers, rtol=1e-6)


@pytest.mark.parametrize("exponent", [-40, -14, 3])
def test_poisson_boosting_learns_in_any_unit(exponent: int) -> None:
    """Second derivatives are means: penalties that count them would forbid what is far below 1."""
    random = np.random.default_rng(0)
    X = random.normal(size=(1000, 2))
    mean = np.exp(X[:, 0])
    y = random.gamma(2, mean / 2)
    unit = 2.0**exponent
    plain, scaled = (og.GradientBoostingRegressor(loss="poisson").fit(X, part) for part in (y, y * unit))
    one, other = plain.predict(X), scaled.predict(X) / unit
    assert np.corrcoef(np.log(one), np.log(mean))[0, 1] > 0.9
    assert other == pytest.approx(one, rel=0.5)
    assert np.corrcoef(np.log(other), np.log(mean))[0, 1] > 0.9


def test_forests_are_the_same_with_and_without_bins_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    X = np.where(random.uniform(size=(3000, 5)) < 0.05, np.nan, random.normal(size=(3000, 5)))
    y = np.nan_to_num(X[:, 0] - X[:, 1]) + 0.1 * random.normal(size=3000)
    for kind in (og.ExtraTreesRegressor, og.RandomForestRegressor):
        twice = kind(n_estimators=3, random_state=0).fit(X, y).booster_bytes_
        monkeypatch.setattr(forest_nodes, "MOST_TWICE", 0)
        assert kind(n_estimators=3, random_state=0).fit(X, y).booster_bytes_ == twice
        monkeypatch.undo()
