"""Classes as whole numbers: scikit-learn's, for a y and for columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn import preprocessing

import outgrow as og
from outgrow.errors import DataError, ExportError
from outgrow.testing import EngineCase


@pytest.mark.parametrize(
    "y",
    [
        ["b", "a", "b"],
        [3, 1, 3],
        [2.5, -1.0, 2.5],
        [True, False, True],
        np.array(["b", "a", "b"], dtype=object),
        pd.Series(["b", "a", "b"]),
        pd.Series(["b", "a", "b"], dtype="category"),
    ],
    ids=repr,
)
def test_numbers_of_scikit_learn(y: Any, tmp_path: Path) -> None:
    ours, theirs = og.LabelEncoder().fit(y), preprocessing.LabelEncoder().fit(y)
    assert ours.classes_.tolist() == theirs.classes_.tolist()
    ours.save(tmp_path / "model")
    made = og.load(tmp_path / "model").transform(y)
    np.testing.assert_array_equal(made, theirs.transform(y))
    assert made.dtype == np.int64
    np.testing.assert_array_equal(ours.inverse_transform(made), theirs.inverse_transform(made))
    np.testing.assert_array_equal(og.LabelEncoder().fit_transform(y), made)


def test_columns_of_every_engine(engine: EngineCase) -> None:
    rows = pa.table({"y": ["b", "a", "b"], "x": [1, 2, 3]})
    encoder = og.LabelEncoder("y").fit(engine.open(rows))
    made = encoder.transform(rows)
    assert made["y"].to_pylist() == [1, 0, 1]
    assert made.schema.field("y").type == pa.int64()
    assert encoder.inverse_transform(made).equals(rows)


def test_strange_classes_are_refused() -> None:
    encoder = og.LabelEncoder().fit(["a", "b"])
    with pytest.raises(DataError, match="'c'"):
        encoder.transform(["c"])
    with pytest.raises(DataError, match="no category"):
        encoder.inverse_transform([2])


def test_a_missing_class_is_the_last() -> None:
    encoder = og.LabelEncoder().fit(["b", None, "a"])
    assert encoder.transform(["a", None]).tolist() == [0, 2]
    assert encoder.inverse_transform([2, 0]).tolist() == [None, "a"]
    with pytest.raises(ExportError, match="missing values"):
        encoder.to_sklearn()
