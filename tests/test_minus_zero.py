"""-0.0 equals 0.0: no class, key or cell of its own, though Arrow's dictionaries keep the two apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.testing import EngineCase

VALUES = np.array([0.0, -0.0, 1.0, -0.0, 1.0, 0.0] * 10)


def _table() -> pa.Table:
    a = np.random.default_rng(0).normal(size=len(VALUES))
    return pa.table({"a": a, "zero": VALUES, "word": ["p", "q", "r"] * 20})


@pytest.mark.parametrize(
    "model",
    [
        og.LogisticRegression(),
        og.GaussianNB(),
        og.DecisionTreeClassifier(),
        og.RandomForestClassifier(n_estimators=2, random_state=0),
    ],
    ids=repr,
)
def test_it_is_no_class_of_its_own(model: Any) -> None:
    X = _table().select(["a"]).to_pandas()
    model.fit(X, VALUES)
    assert model.classes_.tolist() == [0.0, 1.0]
    assert not np.signbit(model.classes_).any()
    expected = model.predict_proba(X)
    np.testing.assert_array_equal(model.fit(X, np.abs(VALUES)).predict_proba(X), expected)


def test_it_is_no_class_of_its_own_on_any_engine(engine: EngineCase) -> None:
    rows = engine.open(_table().select(["a", "zero"]))
    assert og.LogisticRegression().fit(rows, "zero").classes_.tolist() == [0.0, 1.0]


def test_evaluation_takes_it_for_zero() -> None:
    rows = _table().select(["a", "zero"])
    model = og.LogisticRegression().fit(rows, "zero")
    plain = rows.set_column(1, "zero", pa.array(np.abs(VALUES)))
    assert model.evaluate(rows, "zero") == model.evaluate(plain, "zero")


def test_tables_of_counts_have_one_row_for_both() -> None:
    table = _table()
    counts = og.stats.crosstab(table, "zero", "word")
    expected = pd.crosstab(table["zero"].to_pandas().abs(), table["word"].to_pandas())
    np.testing.assert_array_equal(counts.count, expected.to_numpy())
    assert og.stats.chi2_contingency(table, "zero", "word").dof == 2
