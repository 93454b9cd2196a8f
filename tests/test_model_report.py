"""Pages about models: each kind has its figures, and what they show are the rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import fisk, lognorm, weibull_min
from sklearn.metrics import silhouette_score

import outgrow as og
from outgrow.errors import ParameterError
from outgrow.inspection.figures import mixed_up
from outgrow.inspection.pairs import BINS, count_pairs, count_silhouettes
from outgrow.inspection.times import kaplan_meier
from outgrow.ml.core.inputs import open_training
from outgrow.ml.predictor import Predictor
from outgrow.testing import EngineCase

RANDOM = np.random.default_rng(0)
ROWS = pd.DataFrame({"age": RANDOM.normal(40, 12, 400), "city": RANDOM.choice(["rome", "oslo"], 400)})
ROWS["late"] = np.where(ROWS.age + RANDOM.normal(0, 9, 400) > 45, "<b>yes</b>", "no")
ROWS["price"] = 3 * ROWS.age + np.where(ROWS.city == "rome", 20, 0) + RANDOM.normal(0, 9, 400)
ROWS["left"] = (RANDOM.uniform(size=400) < 0.7).astype(float)
TEXTS = pd.DataFrame({"text": ["ball goal ball team", "vote law vote court"] * 20})


def encoded(model: Any) -> Any:
    return og.Pipeline([og.OneHotEncoder(columns=og.categorical()), model])


report_of = og.inspection.model_report


def report(name: str) -> Any:
    report = report_of
    if name == "classifier":
        rows = ROWS[["age", "city", "late"]]
        return report(encoded(og.LogisticRegression()).fit(rows, "late"), rows, "late")
    if name == "margins":
        rows = ROWS[["age", "city", "late"]]
        return report(encoded(og.LinearSVC()).fit(rows, "late"), rows, "late")
    if name == "regressor":
        rows = ROWS[["age", "city", "price"]]
        return report(encoded(og.LinearRegression()).fit(rows, "price"), rows, "price")
    if name in ("cox", "aft"):
        model = og.CoxRegression() if name == "cox" else og.AFTSurvivalRegression()
        rows = ROWS[["age", "price", "left"]].assign(price=ROWS.price.clip(lower=1))
        return report(model.fit(rows, "price", event="left"), rows, "price", event="left")
    if name == "clusters":
        return report(encoded(og.KMeans(3, random_state=0)).fit(ROWS[["age", "city"]]), ROWS[["age", "city"]])
    steps = [og.CountVectorizer(columns="text"), og.LatentDirichletAllocation(2, random_state=0)]
    return report(og.Pipeline(steps).fit(TEXTS), TEXTS)


FIGURES = {
    "classifier": ["ROC", "Precision and recall", "Calibration", "Gain", "Lift", "Confusion"],
    "margins": ["ROC", "Precision and recall", "Gain", "Lift", "Confusion"],
    "regressor": ["Observed and predicted", "Residuals", "Spread of the residuals"],
    "cox": ["Survival"],
    "aft": ["Survival"],
    "clusters": ["Silhouettes"],
    "topics": ["Topics"],
}


@pytest.mark.parametrize("name", FIGURES)
def test_each_kind_has_its_figures_on_a_page_of_its_own(name: str, tmp_path: Path) -> None:
    made = report(name)
    assert [figure.title for figure in made.figures] == FIGURES[name]
    made.save(tmp_path / "model.html")
    page = (tmp_path / "model.html").read_text()
    assert "<b>yes" not in page
    assert all(figure.title in page for figure in made.figures)
    assert not re.findall(r'(?:src|href)="(?!#)[^"]+"', page)
    assert all(np.isfinite(value) for value in made.to_dict().values())
    assert type(made).__name__ in repr(made)


@pytest.mark.parametrize("model", [og.GeneralizedLinearRegression("poisson"), og.QuantileRegressor()])
def test_models_of_other_losses_have_residuals(model: Any) -> None:
    X, y = ROWS[["age"]], np.arange(400) % 7 + 1.0
    assert [f.title for f in report_of(model.fit(X, y), X, y).figures] == FIGURES["regressor"]
    several = np.column_stack([y, y + 1])
    assert report_of(og.LinearRegression().fit(X, several), X, several).figures == []


def test_what_is_judged_by_nothing_is_refused() -> None:
    model = og.StandardScaler().fit(ROWS[["age"]])
    with pytest.raises(ParameterError, match="predicts nothing"):
        og.inspection.model_report(model, ROWS[["age"]])


@pytest.mark.parametrize("engine", ["local", "local-3-pieces", "spark-frame"], indirect=True)
def test_cells_hold_the_rows(engine: EngineCase) -> None:
    rows = pa.table({"x": np.append(RANDOM.normal(size=3000), 1e6), "w": RANDOM.integers(1, 4, 3001)})
    rows = rows.append_column("y", pa.array(2 * rows["x"].to_numpy() + RANDOM.normal(size=3001)))
    model = og.LinearRegression().fit(rows.slice(0, 2000), "y", sample_weight="w")
    pairs = count_pairs(Predictor(model), open_training(model, engine.open(rows), "y", "w", reset=False))
    y, weight = np.asarray(rows["y"]), np.asarray(rows["w"])
    predicted = np.asarray(model.predict(rows.select(["x"]).to_pandas()))
    ends = np.quantile(np.stack([y, predicted]), [0.002, 0.998], axis=1)
    np.testing.assert_allclose(pairs.edges[[0, -1]], [ends[0].min(), ends[1].max()])
    inner = [np.clip(v, pairs.edges[0], pairs.edges[-1]) for v in (predicted, y)]
    expected = np.histogram2d(*inner, bins=pairs.edges, weights=weight)[0]
    assert pairs.observed.sum() == pairs.residuals.sum() == weight.sum()
    assert np.abs(pairs.observed - expected).sum() <= 4  # a number on the edge of two cells
    assert pairs.observed.shape == (BINS, BINS)


@pytest.mark.parametrize("engine", ["local", "local-3-pieces", "spark-frame"], indirect=True)
def test_silhouettes_are_those_of_squared_distances(engine: EngineCase) -> None:
    X = np.concatenate([RANDOM.normal(1e4 + shift, 1, (60, 2)) for shift in (0, 4, 9)])
    model = og.KMeans(3, random_state=0).fit(X)
    rows = engine.open(pa.table({"x0": X[:, 0], "x1": X[:, 1]}))
    found = count_silhouettes(Predictor(model), open_training(model, rows, None, None, reset=False))
    assert found is not None
    assert found.mean == pytest.approx(silhouette_score(X, model.predict(X), metric="sqeuclidean"), rel=1e-6)
    assert found.rows.tolist() == np.bincount(model.predict(X)).tolist()


def test_one_cluster_has_no_silhouettes() -> None:
    X = RANDOM.normal(size=(50, 2))
    assert og.inspection.model_report(og.KMeans(1, random_state=0).fit(X), X).figures == []


def test_kaplan_meier_with_late_entry_and_censoring() -> None:
    time, event = np.array([2.0, 3.0, 3.0, 5.0]), np.array([1.0, 1.0, 0.0, 1.0])
    entry, weight = np.array([0.0, 0.0, 2.5, 0.0]), np.array([1.0, 2.0, 1.0, 1.0])
    times, shares = kaplan_meier(time, event, weight, entry)
    assert times.tolist() == [0, 2, 3, 5, 5]
    np.testing.assert_allclose(shares, [1, 3 / 4, 3 / 4 * 2 / 4, 0, 0])


@pytest.mark.parametrize("kind", ["weibull", "lognormal", "loglogistic"])
def test_survival_of_times_is_that_of_their_distribution(kind: str) -> None:
    X = RANDOM.normal(size=(200, 1))
    time = np.exp(X[:, 0] + 0.3 * RANDOM.normal(size=200))
    model = og.AFTSurvivalRegression(distribution=kind).fit(X, time)
    predicted, times, scale = model.predict(X[:3]), np.array([0.0, 0.5, 2.0]), model.scale_
    law = {
        "weibull": weibull_min(1 / scale, scale=predicted[:, None]),
        "lognormal": lognorm(scale, scale=predicted[:, None]),
        "loglogistic": fisk(1 / scale, scale=predicted[:, None]),
    }[kind]
    np.testing.assert_allclose(model._survival(predicted, times), law.sf(times), atol=1e-9)


def test_many_classes_are_listed_by_what_is_mixed_up() -> None:
    matrix = np.diag(np.full(12, 90.0))
    matrix[3, 7] = 30
    pairs, least = mixed_up(matrix, [f"kind {k}" for k in range(12)])
    assert re.findall(r"<td[^>]*>([^<]+)</td>", pairs.html) == ["kind 3", "kind 7", "30", "25.0 %"]
    assert re.findall(r"kind \d+", least.html)[:2] == ["kind 3", "kind 7"]
    assert mixed_up(np.eye(3), [1, 2, 3]) == []
