"""QuantileRegressor beside scikit-learn's linear program over all rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import QuantileRegressor
from sklearn.metrics import mean_pinball_loss

import outgrow as og
from outgrow.engine.blocks import Block
from outgrow.errors import DataError, ExportError, ParameterError
from outgrow.ml.evaluation import split, states_of
from outgrow.ml.linear_model import quantile_regressor
from outgrow.ml.solvers import quantile_plane
from outgrow.testing import pieces_case

RNG = np.random.default_rng(2)
X = RNG.normal(size=(900, 4)) * [1, 10, 0.1, 1] + [0, 5, 0, 100]
Y = X @ [1.0, 0.2, 3.0, -0.5] + RNG.standard_t(3, 900) * (1 + 0.3 * np.abs(X[:, 0]))
WEIGHT = RNG.integers(0, 3, 900).astype(float)


def objective(model: Any, weight: Any = None) -> float:
    loss = mean_pinball_loss(
        Y, X @ model.coef_ + model.intercept_, alpha=model.quantile, sample_weight=weight
    )
    return float(loss + model.alpha * np.abs(model.coef_).sum())


@pytest.fixture(params=["one program", "smoothed first"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "smoothed first":
        monkeypatch.setattr(quantile_plane, "_FEW", 50)
        monkeypatch.setattr(quantile_plane, "_EACH", 15)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("quantile", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("alpha", [0.0, 0.03])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_minimum_is_that_of_the_program_over_all_rows(
    quantile: float, alpha: float, fit_intercept: bool
) -> None:
    given = {"quantile": quantile, "alpha": alpha, "fit_intercept": fit_intercept}
    ours = og.QuantileRegressor(**given).fit(X, Y, WEIGHT)
    theirs = QuantileRegressor(**given).fit(X, Y, WEIGHT)
    assert objective(ours, WEIGHT) <= objective(theirs, WEIGHT) * (1 + 1e-9)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-5)
    if not alpha:  # as many rows lie on the plane as it has parameters
        on = np.abs(Y - ours.predict(X))[WEIGHT > 0] < 1e-9
        assert on.sum() == 4 + fit_intercept


@pytest.mark.usefixtures("way")
def test_rows_that_tie() -> None:
    """Whole numbers and a dummy: hundreds of rows lie on the plane, and many planes are best."""
    dummy, counts = (X[:, 0] > 0).astype(float), np.round(Y - Y.min()) // 10
    model = og.QuantileRegressor(quantile=0.3, alpha=0).fit(dummy[:, None], counts)
    for value in (0.0, 1.0):
        own = counts[dummy == value]
        said = model.predict(np.array([[value]]))[0]
        assert (own < said - 1e-9).mean() <= 0.3 <= (own <= said + 1e-9).mean()


@pytest.mark.usefixtures("way")
def test_same_plane_for_any_partitioning_and_as_sparse_rows() -> None:
    table = pa.table({f"x{j}": X[:, j] for j in range(4)} | {"y": np.round(Y)})
    here = og.QuantileRegressor(quantile=0.7, alpha=0.01).fit(table, "y")
    there = og.QuantileRegressor(quantile=0.7, alpha=0.01).fit(pieces_case(5).open(table), "y")
    np.testing.assert_allclose(there.coef_, here.coef_, rtol=1e-9)
    sparse = og.QuantileRegressor(quantile=0.7, alpha=0.01).fit(sp.csr_array(X), np.round(Y))
    np.testing.assert_allclose(sparse.coef_, here.coef_, rtol=1e-6)


def test_a_quantile_without_features_and_of_one_value() -> None:
    model = og.QuantileRegressor(quantile=0.25, alpha=0).fit(np.zeros((900, 1)), Y)
    assert (model.predict(np.zeros((1, 1)))[0] > Y).mean() == pytest.approx(0.25, abs=2e-3)
    constant = og.QuantileRegressor(alpha=0).fit(X, np.full(900, 3.0))
    np.testing.assert_allclose(constant.predict(X), 3.0)


def test_metrics() -> None:
    model = og.QuantileRegressor(quantile=0.8, alpha=0).fit(X, Y)
    found = model.evaluate(X, Y, WEIGHT)
    expected = mean_pinball_loss(Y, model.predict(X), alpha=0.8, sample_weight=WEIGHT)
    assert found["pinball"] == pytest.approx(expected)
    assert model.score(X, Y) == pytest.approx(found["r2"], abs=0.1)
    scores = og.cross_validate(og.QuantileRegressor(alpha=0), X, Y, cv=og.KFold(3))
    assert scores.mean()["pinball"] > 0


def test_what_cannot_be_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantile_plane, "_MOST", 100)
    with pytest.raises(DataError, match="900 rows lie on the plane"):
        og.QuantileRegressor(alpha=0).fit(X, Y)
    monkeypatch.setattr(quantile_regressor, "WIDTH", 3)
    with pytest.raises(DataError, match="up to 3 features; there are 4"):
        og.QuantileRegressor().fit(X, Y)
    monkeypatch.undo()
    monkeypatch.setattr(quantile_plane, "_FEW", 50)
    monkeypatch.setattr(quantile_plane, "_EACH", 15)
    monkeypatch.setattr(quantile_plane, "_ROUNDS", 1)
    with pytest.warns(ConvergenceWarning, match="not proven"):
        og.QuantileRegressor(alpha=0).fit(X, Y)


@given(st.integers(0, 10_000), st.floats(0.05, 0.95), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_any_rows(seed: int, quantile: float, width: int) -> None:
    """The minimum, on rows with ties, repeated rows and columns that say the same."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(-2, 3, size=(60, width)).astype(float)
    rows = np.column_stack([rows, rows[:, 0]])
    y = rng.integers(-3, 4, size=60).astype(float)
    ours = og.QuantileRegressor(quantile=quantile, alpha=0.01).fit(rows, y)
    theirs = QuantileRegressor(quantile=quantile, alpha=0.01).fit(rows, y)

    def value(model: Any) -> float:
        loss = mean_pinball_loss(y, model.predict(rows), alpha=quantile)
        return float(loss + 0.01 * np.abs(model.coef_).sum())

    assert value(ours) <= value(theirs) + 1e-9


QUANTILES = [0.1, 0.5, 0.9]


@pytest.mark.usefixtures("way")
def test_several_quantiles_are_those_of_models_of_each() -> None:
    """Side by side they take little more than as many passes as the longest of them alone."""
    table = pandas.DataFrame(X, columns=list("abcd")).assign(y=Y, w=WEIGHT)
    model = og.QuantileRegressor(quantile=QUANTILES, alpha=0.01).fit(table, "y", sample_weight="w")
    alone = [og.QuantileRegressor(quantile=q, alpha=0.01).fit(table, "y", "w") for q in QUANTILES]
    np.testing.assert_allclose(model.coef_, [each.coef_ for each in alone], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.intercept_, [each.intercept_ for each in alone], rtol=1e-9)
    assert model.n_iter_ < sum(each.n_iter_ for each in alone)
    predicted = model.predict(table)
    np.testing.assert_allclose(predicted, np.column_stack([each.predict(table) for each in alone]))
    found = model.evaluate(table, "y", "w")
    losses = [each.evaluate(table, "y", "w")["pinball"] for each in alone]
    assert [found[f"pinball_{q}"] for q in QUANTILES] == pytest.approx(losses)
    assert found["pinball"] == pytest.approx(np.mean(losses))


def test_several_quantiles_from_end_to_end(tmp_path: Path) -> None:
    """In a pipeline, on lazy rows, saved, as ONNX, in folds and searches; the columns bear their names."""
    table = pa.table({f"x{j}": X[:, j] for j in range(4)} | {"y": Y})
    pipe = og.Pipeline([og.StandardScaler(), og.QuantileRegressor(quantile=QUANTILES, alpha=0)])
    pipe.fit(table, "y")
    lazy = pipe.predict(pieces_case(3).open(table)).to_arrow()
    names = [f"prediction_{q}" for q in QUANTILES]
    assert lazy.column_names[-3:] == names
    frame = table.to_pandas()
    expected = pipe.predict(frame)
    np.testing.assert_allclose(np.column_stack([lazy[name] for name in names]), expected)
    pipe.save(tmp_path / "quantiles")
    np.testing.assert_array_equal(og.load(tmp_path / "quantiles").predict(frame), expected)
    model = og.QuantileRegressor(quantile=QUANTILES, alpha=0)
    scores = og.cross_validate(model, table, "y", cv=og.KFold(3)).mean()
    assert 0 < scores["pinball_0.1"] < scores["pinball_0.5"]
    with pytest.raises(ExportError, match="scikit-learn's learns one quantile"):
        model.fit(X, Y).to_sklearn()
    with pytest.raises(ParameterError, match="predicts several numbers for each row, and one is taken"):
        og.BaggingRegressor(model).fit(X, Y)
    assert model.set_params(quantile=[0.5]).fit(X, Y).predict(X).shape == (900, 1)
    assert model.set_params(quantile=0.5).fit(X, Y).predict(X).shape == (900,)


@pytest.mark.parametrize("quantile", [[], [0.5, 1.0], [[0.1], [0.2]], [0.5, 0.5]])
def test_quantiles_that_cannot_be(quantile: Any) -> None:
    with pytest.raises(ParameterError, match="quantile"):
        og.QuantileRegressor(quantile=quantile).fit(X, Y)


def test_candidates_are_judged_by_their_own_quantiles() -> None:
    models = [og.QuantileRegressor(quantile=q, alpha=0).fit(X, Y) for q in QUANTILES]
    block = Block(X, Y)
    states = split(states_of(models, block, None))
    for model, state in zip(models, states, strict=True):
        loss = mean_pinball_loss(Y, model.predict(X), alpha=model.quantile)
        assert state.metrics()["pinball"] == pytest.approx(loss)
