"""Lists of classes as zeros and ones, and back: scikit-learn's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import preprocessing

import outgrow as og
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.testing import EngineCase


@given(st.lists(st.lists(st.sampled_from(["x", "y", "z z", "ü"]), max_size=4), min_size=1, max_size=8))
@settings(max_examples=20)
def test_numbers_of_scikit_learn(rows: list[list[str]]) -> None:
    rows = [*rows, ["y"]]
    theirs = preprocessing.MultiLabelBinarizer().fit(rows)
    table = pa.table({"l": pa.array(rows, pa.list_(pa.string()))})
    ours = og.MultiLabelBinarizer().fit(table)
    assert ours.classes_[0].tolist() == theirs.classes_.tolist()
    made = ours.transform(table)
    np.testing.assert_array_equal(np.column_stack(made.columns), theirs.transform(rows))
    assert ours.inverse_transform(made)["l"].to_pylist() == [sorted(set(row)) for row in rows]


@pytest.mark.parametrize("sparse", [True, False])
def test_every_engine(engine: EngineCase, sparse: bool, tmp_path: Path) -> None:
    lists = [[3, 1], [], None, [2, 2], [1, None]]
    table = pa.table({"l": pa.array(lists, pa.list_(pa.int64())), "x": range(5)})
    encoder = og.MultiLabelBinarizer(sparse_output=sparse).fit(engine.open(table))
    encoder.save(tmp_path / "model")
    made = og.load(tmp_path / "model").transform(table)
    assert made.column_names == ["l_1", "l_2", "l_3", "x"]
    assert [list(row.values())[:3] for row in made.to_pylist()] == [
        [1, 0, 1],
        [0, 0, 0],
        [0, 0, 0],
        [0, 1, 0],
        [1, 0, 0],
    ]
    pipe = og.Pipeline([og.MultiLabelBinarizer(sparse_output=sparse), og.Ridge()])
    assert len(pipe.fit(engine.open(table), "x").predict(table)["prediction"]) == 5


def test_arrays_of_lists_and_back() -> None:
    rows = np.empty((2, 1), dtype=object)
    rows[:, 0] = [["a", "b"], ["b"]]
    encoder = og.MultiLabelBinarizer(sparse_output=True).fit(rows)
    made = encoder.transform(rows)
    assert sp.issparse(made)
    assert made.toarray().tolist() == [[1, 1], [0, 1]]
    assert encoder.inverse_transform(made)[:, 0].tolist() == [["a", "b"], ["b"]]
    with pytest.raises(DataError, match="only 0s and 1s"):
        encoder.inverse_transform([[0.0, 2.0]])
    with pytest.raises(DataError, match="for 2 classes"):
        encoder.inverse_transform([[0.0]])


def test_given_classes_and_strange_ones() -> None:
    table = pa.table({"l": [["a", "c"], ["b"]]})
    encoder = og.MultiLabelBinarizer(classes=["c", "a"]).fit(table)
    with pytest.warns(UserWarning, match=r"\['b'\] will be ignored"):
        assert [list(row.values()) for row in encoder.transform(table).to_pylist()] == [[1, 1], [0, 0]]


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"classes": ["a", "a"], "columns": "l"}, ParameterError),
        ({"classes": ["a"], "columns": ["l", "m"]}, ParameterError),
        ({"columns": "x"}, SchemaError),
    ],
)
def test_what_cannot_be_is_refused(parameters: dict[str, Any], error: type[Exception]) -> None:
    table = pa.table({"l": [["a"]], "m": [["a"]], "x": [1]})
    with pytest.raises(error):
        og.MultiLabelBinarizer(**parameters).fit(table)


def test_without_a_class_there_is_nothing_to_say() -> None:
    table = pa.table({"l": pa.array([[], None], pa.list_(pa.string()))})
    with pytest.raises(DataError, match="hold no class"):
        og.MultiLabelBinarizer().fit(table)


@pytest.mark.parametrize("model", [og.MultiOutputClassifier(og.GaussianNB()), og.KNeighborsClassifier(3)])
def test_rows_of_several_labels_are_learned_as_their_columns_are(model: Any) -> None:
    x = np.random.default_rng(0).normal(size=(90, 2))
    tags = [[word for word, value in zip("pq", row, strict=True) if value > 0] for row in x]
    table = pa.table({"a": x[:, 0], "b": x[:, 1], "tags": tags})
    lists = model.fit(table, "tags").evaluate(table, "tags")["accuracy"]
    made = og.MultiLabelBinarizer(columns=["tags"]).fit(table).transform(table)
    names = ["tags_p", "tags_q"]
    model.fit(made, names)
    assert model.evaluate(made, names)["accuracy"] == lists > 0.8
