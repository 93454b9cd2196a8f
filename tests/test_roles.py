"""What a model learns from beside features, y and weights: columns with a role of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.model_selection import cross_val_score

import outgrow as og
from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ColumnNotFoundError, DataError, ParameterError, SchemaError
from outgrow.ml.base import Regressor
from outgrow.ml.selection.many import fit_many
from outgrow.testing import EngineCase, pieces_case


class Rate(Regressor):
    """y for each unit of exposure as a linear function of the features; rows count as they were exposed."""

    roles = {"exposure": True}

    def _fit(self, view: MatrixView) -> None:
        def fold(block: Block) -> tuple[np.ndarray, np.ndarray]:
            X = np.column_stack([block.X, np.ones(len(block))])
            time = block.roles["exposure"]
            weight = 1.0 if block.weight is None else block.weight
            return (X * (time * weight)[:, None]).T @ X, X.T @ (np.asarray(block.y) * weight)

        products, target = view.reduce(fold)
        self.coef_ = np.linalg.solve(products, target)

    def _predict(self, X: Any) -> np.ndarray:
        answer: np.ndarray = X @ self.coef_[:-1] + self.coef_[-1]
        return answer


def rows(count: int = 240) -> pa.Table:
    random = np.random.default_rng(0)
    a, b, time = random.normal(size=count), random.normal(size=count), random.uniform(1, 9, count)
    claims = time * (3 + 2 * a - b + 0.1 * random.normal(size=count))
    return pa.table({"a": a, "time": time, "b": b, "claims": claims, "w": random.integers(0, 3, count)})


def expected(table: pa.Table) -> np.ndarray:
    a, b, time, y, w = (table[name].to_numpy() for name in ("a", "b", "time", "claims", "w"))
    X = np.column_stack([a, b, np.ones(len(a))])
    coef: np.ndarray = np.linalg.solve((X * (time * w)[:, None]).T @ X, X.T @ (y * w))
    return coef


def test_on_every_engine(engine: EngineCase) -> None:
    table = rows()
    model = Rate().fit(engine.open(table), "claims", sample_weight="w", exposure="time")
    assert model.features_ == ["a", "b"]
    np.testing.assert_allclose(model.coef_, expected(table), rtol=1e-9)


def test_arrays_beside_arrays_and_tables() -> None:
    table = rows()
    X = np.column_stack([table["a"], table["b"]])
    y, w, time = (table[name].to_numpy() for name in ("claims", "w", "time"))
    np.testing.assert_allclose(Rate().fit(X, y, w, exposure=time).coef_, expected(table), rtol=1e-9)
    features = table.select(["a", "b"])
    np.testing.assert_allclose(Rate().fit(features, y, w, exposure=time).coef_, expected(table), rtol=1e-9)


def test_a_pipeline_hands_them_to_its_model(tmp_path: Path) -> None:
    table = rows()
    pipe = og.Pipeline([("scale", og.StandardScaler()), ("rate", Rate())])
    pipe.fit(table, "claims", sample_weight="w", rate__exposure="time")
    assert pipe["rate"].features_ == ["a", "b"]
    new = table.select(["b", "a"])
    alone = Rate().fit(table, "claims", sample_weight="w", exposure="time").predict(new)["prediction"]
    np.testing.assert_allclose(pipe.predict(new)["prediction"], alone, rtol=1e-8)
    pipe.save(tmp_path / "rates")
    np.testing.assert_allclose(og.load(tmp_path / "rates").predict(new)["prediction"], alone, rtol=1e-8)


@pytest.mark.parametrize("pieces", [1, 4])
def test_folds_keep_them_beside_their_rows(pieces: int) -> None:
    table = rows().drop_columns(["w"])
    found = og.cross_validate(
        Rate(), pieces_case(pieces).open(table), "claims", cv=3, params={"exposure": "time"}
    )
    for model in found.estimators:
        np.testing.assert_allclose(model.coef_, [2, -1, 3], atol=0.1)
        assert model.features_ == ["a", "b"]


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({}, ParameterError, "Rate.fit needs exposure. It takes sample_weight, exposure"),
        ({"exposure": "time", "offset": "a"}, ParameterError, "does not accept the offset parameter"),
        ({"exposure": "tim"}, ColumnNotFoundError, "No column 'tim' among"),
        ({"exposure": "name"}, SchemaError, "exposure is 'name', which is not a column of numbers"),
        ({"exposure": "hole"}, DataError, "exposure contains NaN"),
        ({"exposure": np.ones(3)}, DataError, "inconsistent numbers of samples"),
    ],
)
def test_what_cannot_be_one_is_said(given: dict[str, Any], kind: type, words: str) -> None:
    table = rows()
    others = {
        "name": pa.array(["x"] * table.num_rows),
        "hole": pa.array(np.where(np.arange(table.num_rows) == 7, np.nan, 1.0), from_pandas=True),
    }
    for name in set(others).intersection(map(str, given.values())):
        table = table.append_column(name, others[name])
    with pytest.raises(kind, match=words):
        Rate().fit(table, "claims", **given)


def test_models_without_roles_take_none() -> None:
    with pytest.raises(ParameterError, match=r"Ridge.fit does not accept the exposure parameter"):
        og.Ridge().fit(rows(), "claims", exposure="time")
    with pytest.raises(ParameterError, match="does not accept the ridge__exposure parameter"):
        og.Pipeline([og.StandardScaler(), og.Ridge()]).fit(rows(), "claims", ridge__exposure="time")


def test_transformers_take_no_roles() -> None:
    with pytest.raises(ParameterError, match=r"PCA.fit does not accept the exposure parameter"):
        fit_many(og.PCA(), rows(), None, [{"n_components": 1}], params={"exposure": "time"})
    with pytest.raises(ParameterError, match=r"PCA.fit does not accept the exposure parameter"):
        og.cross_validate(og.PCA(), rows(), None, params={"exposure": "time"})


def test_what_no_step_takes_is_refused() -> None:
    pipe = og.Pipeline([("scale", og.StandardScaler()), ("rate", Rate())])
    with pytest.raises(ParameterError, match="does not accept the scale__exposure parameter"):
        pipe.fit(rows(), "claims", rate__exposure="time", scale__exposure="a")
    given = {"rate__exposure": "time", "exposure": "a"}
    with pytest.raises(ParameterError, match="are the same"):
        og.cross_validate(pipe, rows(), "claims", cv=3, params=given)


def test_names_of_a_pipeline_are_said_and_groups_have_none() -> None:
    pipe = og.Pipeline([("scale", og.StandardScaler()), ("rate", Rate())])
    with pytest.raises(ParameterError, match=r"Pipeline.fit needs rate__exposure. .*rate__exposure"):
        pipe.fit(rows(), "claims")
    short, whole = (
        pipe.fit(rows(), "claims", **{name: "time"}).model.coef_ for name in ("exposure", "rate__exposure")
    )
    np.testing.assert_array_equal(short, whole)
    with pytest.raises(ParameterError, match=r"PerGroup\(Rate\(\)\): it learns from \['exposure'\]"):
        og.PerGroup(Rate(), by=["w"]).fit(rows(), "claims")


def test_scikit_learn_routes_them() -> None:
    table = rows()
    X, y, time = table.select(["a", "b"]).to_pandas(), table["claims"].to_numpy(), table["time"].to_numpy()
    with sklearn.config_context(enable_metadata_routing=True):
        asking = Rate().set_fit_request(exposure=True, sample_weight=False)
        scores = cross_val_score(asking, X, y, params={"exposure": time}, cv=3)
        with pytest.raises(UnsetMetadataPassedError, match="exposure"):
            cross_val_score(Rate(), X, y, params={"exposure": time}, cv=3)
        with pytest.raises(TypeError, match="exposure"):
            og.Ridge().set_fit_request(exposure=True)
    expected = cross_val_score(Rate(), X, y, params={"exposure": time}, cv=3)
    np.testing.assert_allclose(scores, expected)


# ---- in searches ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("within", ["workers", "engine"])
def test_searches_of_rankers_know_the_queries(within: str) -> None:
    random = np.random.default_rng(0)
    rows = pd.DataFrame({"query": np.repeat(np.arange(40), 5), "x": random.normal(size=200)})
    rows["gain"] = (rows.groupby("query")["x"].rank() - 1).astype(int)  # of each query, not of all rows
    rows["x"] += 100.0 * rows["query"]
    model = og.GradientBoostingRanker(n_estimators=5, random_state=0)
    asked: dict[str, Any] = {
        "space": {"learning_rate": [0.1, 0.3]},
        "validation": og.GroupKFold("query", folds=2),
        "params": {"query": "query"},
    }
    result = og.tune(model, rows, "gain", trials=2, seed=0, workers=1, within=within, **asked)
    best = og.cross_validate(
        clone(model).set_params(**result.best_parameters),
        rows,
        "gain",
        cv=og.GroupKFold("query", folds=2),
        params={"query": "query"},
    )
    (metric,) = result.metrics
    assert result.best_value == pytest.approx(best.mean()[metric])
    assert "query" not in result.best_estimator.features_


def test_searches_on_arrays_know_the_events() -> None:
    X = np.random.default_rng(1).normal(size=(300, 2))
    time = np.random.default_rng(2).uniform(0.1, 9, 300)
    y = np.random.default_rng(3).poisson(time * np.exp(X[:, 0]))
    model = og.CoxRegression()
    event = (y > 0).astype(float)
    result = og.tune(model, X, time, space={"alpha": [0.1, 10.0]}, params={"event": event}, within="engine")
    again = og.CoxRegression(**result.best_parameters).fit(X, time, event=event)
    np.testing.assert_allclose(result.best_estimator.coef_, again.coef_, rtol=1e-6)


def test_searches_refuse_what_the_model_does_not_take() -> None:
    X = np.arange(20.0)[:, None]
    with pytest.raises(ParameterError, match="query"):
        og.tune(og.Ridge(), X, X[:, 0], space={"alpha": [1.0]}, params={"query": X[:, 0]})
    with pytest.raises(ParameterError, match="query"):
        og.tune(lambda p: p["x"], space={"x": [1.0]}, params={"query": X[:, 0]})
