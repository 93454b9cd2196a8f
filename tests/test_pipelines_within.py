"""Pipelines as the models within others: each fold, copy or class learns all of their steps."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import clone

import outgrow as og
from conftest import EngineCase
from outgrow.data.batch import Batch
from outgrow.errors import ExportError, ParameterError, SchemaError
from outgrow.ml.meta.whole_pipeline import _moments, _times

ROWS = 400


def people() -> pa.Table:
    """Columns of all kinds, some of them missing, and two things to predict."""
    random = np.random.default_rng(0)
    age, town = random.normal(40, 12, ROWS), random.choice(["Rome", "Oslo", "Bonn"], ROWS)
    member, visits = random.random(ROWS) < 0.5, random.integers(0, 9, ROWS)
    day = [datetime.date(2026, 1, 1) + datetime.timedelta(days=int(d)) for d in random.integers(0, 99, ROWS)]
    score = 0.1 * (age - 40) + (town == "Oslo") + member + 0.2 * visits + random.normal(size=ROWS)
    kind = np.select([score < 0, score < 1.5], ["low", "some"], "much")
    holes = random.random((3, ROWS)) < 0.05
    return pa.table(
        {
            "age": pa.array(age, mask=holes[0]),
            "town": pa.array(town, mask=holes[1]),
            "member": pa.array(member),
            "visits": pa.array(visits, mask=holes[2]),
            "day": pa.array(day),
            "kind": kind,
            "late": score > 1,
            "score": score,
        }
    )


def around(model: Any) -> og.Pipeline:
    """Steps that need text, days and gaps as they are, before a model."""
    return og.Pipeline(
        [
            og.DatetimeEncoder("day", resolution="month"),
            og.SimpleImputer(["age", "visits"]),
            og.OneHotEncoder(["town", "member"], handle_unknown="ignore"),
            og.StandardScaler(og.numeric()),
            model,
        ]
    )


def without(*names: str) -> pa.Table:
    return people().drop_columns(list(names))


CLASSES = og.LogisticRegression()
CASES: dict[str, tuple[Any, str, tuple[str, ...]]] = {
    "calibrated": (og.CalibratedClassifierCV(around(CLASSES), cv=3), "late", ("kind", "score")),
    "isotonic, of one": (
        og.CalibratedClassifierCV(around(og.LinearSVC()), method="isotonic", cv=3, ensemble=False),
        "kind",
        ("late", "score"),
    ),
    "tuned": (og.TunedThresholdClassifierCV(around(CLASSES), cv=3), "late", ("kind", "score")),
    "fixed": (og.FixedThresholdClassifier(around(CLASSES), threshold=0.3), "late", ("kind", "score")),
    "one against the rest": (og.OneVsRestClassifier(around(CLASSES)), "kind", ("late", "score")),
    "one against one": (og.OneVsOneClassifier(around(CLASSES)), "kind", ("late", "score")),
    "votes": (
        og.VotingClassifier([("a", around(CLASSES)), ("b", around(og.GaussianNB()))], voting="soft"),
        "kind",
        ("late", "score"),
    ),
    "means": (
        og.VotingRegressor([("a", around(og.Ridge())), ("b", around(og.Ridge(10.0)))]),
        "score",
        ("kind", "late"),
    ),
    "stacked": (
        og.StackingClassifier([("a", around(CLASSES)), ("b", around(og.GaussianNB()))], cv=3),
        "kind",
        ("late", "score"),
    ),
    "bags": (og.BaggingRegressor(around(og.Ridge()), n_estimators=3), "score", ("kind", "late")),
}


@pytest.mark.parametrize("name", CASES)
def test_columns_of_all_kinds(name: str, tmp_path: Path) -> None:
    model, target, others = CASES[name]
    rows = without(*others)
    fitted = clone(model).fit(rows, target)
    metric = "r2" if target == "score" else "accuracy"
    assert fitted.evaluate(rows, target)[metric] > 0.5
    answers = fitted.predict(rows)["prediction"]
    fitted.save(tmp_path / "model")
    assert og.load(tmp_path / "model").predict(rows)["prediction"].equals(answers)
    new = rows.slice(0, 5).set_column(1, "town", pa.array(["Paris", None, "Rome", "Oslo", "Bonn"]))
    assert len(fitted.predict(new)["prediction"]) == 5  # a town that nobody has seen


@pytest.mark.parametrize("name", ["calibrated", "stacked", "bags"])
def test_the_same_on_every_engine(engine: EngineCase, name: str) -> None:
    model, target, others = CASES[name]
    rows = without(*others)
    method = "predict" if target == "score" else "predict_proba"
    here = getattr(model.fit(rows, target), method)(rows.to_pandas())
    there = getattr(model.fit(engine.open(rows), target), method)(rows.to_pandas())
    np.testing.assert_allclose(there, here, rtol=1e-7, atol=1e-9)


NUMBERS = np.random.default_rng(1).normal(size=(300, 4))
SIDES = (NUMBERS @ [1.0, -1.0, 0.5, 0.0] + np.random.default_rng(2).normal(size=300) > 0).astype(int)


@pytest.mark.parametrize(
    "made",
    [
        lambda inner: og.CalibratedClassifierCV(inner(og.LinearSVC()), cv=3),
        lambda inner: og.TunedThresholdClassifierCV(inner(CLASSES), cv=3),
        lambda inner: og.StackingClassifier([("a", inner(CLASSES)), ("b", inner(og.GaussianNB()))], cv=3),
        lambda inner: og.BaggingClassifier(inner(CLASSES), n_estimators=3),
        lambda inner: og.MultiOutputClassifier(inner(CLASSES)),
    ],
)
def test_a_pipeline_of_a_model_alone_is_that_model(made: Any) -> None:
    y = np.column_stack([SIDES, 1 - SIDES]) if "MultiOutput" in repr(made(lambda m: m)) else SIDES
    weight = np.random.default_rng(3).integers(0, 3, 300).astype(float)
    plain = made(lambda model: model).fit(NUMBERS, y, weight)
    piped = made(lambda model: og.Pipeline([model])).fit(NUMBERS, y, weight)
    np.testing.assert_allclose(piped.predict_proba(NUMBERS), plain.predict_proba(NUMBERS), rtol=1e-9)


def test_steps_learn_from_the_rows_of_their_fold() -> None:
    """A scaler before the outer model has seen the rows that judge; one within it has not."""
    model = og.CalibratedClassifierCV(og.Pipeline([og.StandardScaler(), CLASSES]), cv=3).fit(NUMBERS, SIDES)
    means = np.array([pipe[0].mean_ for pipe in model.estimators_])
    assert (np.abs(means - NUMBERS.mean(axis=0)).max(axis=1) > 1e-3).all()
    np.testing.assert_allclose(means.mean(axis=0), NUMBERS.mean(axis=0), atol=0.02)


@pytest.mark.parametrize(
    "made",
    [
        lambda pipe: og.CalibratedClassifierCV(pipe, cv="prefit"),
        lambda pipe: og.TunedThresholdClassifierCV(pipe, cv="prefit", refit=False),
    ],
)
def test_a_fitted_pipeline(made: Any, tmp_path: Path) -> None:
    rows = without("kind", "score")
    pipe = around(CLASSES).fit(rows, "late")
    model = made(pipe).fit(rows, "late")
    answers = model.predict_proba(rows.to_pandas())
    assert np.corrcoef(answers[:, 1], pipe.predict_proba(rows.to_pandas())[:, 1])[0, 1] > 0.99
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(og.load(tmp_path / "model").predict_proba(rows.to_pandas()), answers)


def test_one_pipeline_in_another() -> None:
    rows = without("kind", "score")
    inner = og.CalibratedClassifierCV(around(CLASSES), cv=2)
    outer = og.StackingClassifier(
        [("a", og.Pipeline([og.SimpleImputer("age"), inner])), ("b", around(CLASSES))]
    )
    assert outer.fit(rows, "late").evaluate(rows, "late")["roc_auc"] > 0.8


def test_targets_that_encoders_learn_from() -> None:
    rows = without("kind", "score").drop_columns(["day", "visits", "age"])
    pipe = og.Pipeline([og.TargetEncoder(["town", "member"]), CLASSES])
    model = og.CalibratedClassifierCV(pipe, cv=3).fit(rows, "late")
    assert model.evaluate(rows, "late")["roc_auc"] > 0.6


@pytest.mark.parametrize(
    "kind",
    [pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ns", "Europe/Rome"), pa.timestamp("us")],
)
def test_moments_come_back(kind: pa.DataType) -> None:
    moments = pa.array([datetime.datetime(2026, 5, 1), None, datetime.datetime(1931, 2, 3)]).cast(kind)
    batch = Batch.from_arrow(pa.record_batch({"at": moments}))
    codes = _moments(batch, "at").to_numpy(zero_copy_only=False)
    assert _times(codes, batch["at"].type).equals(batch["at"])


def test_what_cannot_be(tmp_path: Path) -> None:
    model = og.FixedThresholdClassifier(og.Pipeline([og.StandardScaler(), CLASSES])).fit(NUMBERS, SIDES)
    for export in (model.to_sklearn, lambda: model.to_onnx(tmp_path / "model.onnx")):
        with pytest.raises(ExportError, match="pipeline within another model"):
            export()
    rows = without("kind", "late")
    with pytest.raises(ParameterError, match="passthrough"):
        og.StackingRegressor([("a", around(og.Ridge()))], passthrough=True).fit(rows, "score")
    with pytest.raises(ParameterError, match="max_features"):
        og.BaggingRegressor(around(og.Ridge()), max_features=0.5).fit(rows, "score")
    with pytest.raises(ParameterError, match="no model"):
        og.VotingRegressor([("a", og.Pipeline([og.StandardScaler()]))]).fit(rows, "score")
    with pytest.raises(SchemaError, match="in a pipeline with each"):
        og.VotingRegressor([("a", around(og.Ridge())), ("b", og.Ridge())]).fit(rows, "score")
    words = rows.append_column("words", pa.array([["a", "b"]] * ROWS))
    with pytest.raises(SchemaError, match=r"words.*no pipeline within another model"):
        og.BaggingRegressor(around(og.Ridge())).fit(words, "score")
