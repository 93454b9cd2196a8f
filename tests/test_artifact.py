"""A saved model: whole, checked, and free of anything that could be run."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import outgrow as og
from outgrow import artifact, errors


@pytest.fixture
def model() -> Any:
    rng = np.random.default_rng(0)
    table = pa.table(
        {"a": rng.normal(size=60), "w": rng.choice(["x", "y"], 60).tolist(), "late": np.arange(60) % 2}
    )
    steps = [
        og.StandardScaler(columns=og.numeric()),
        og.OneHotEncoder(columns=og.categorical()),
        og.LogisticRegression(),
    ]
    return og.Pipeline(steps).fit(table, "late")


LOAD = """
import sys, pyarrow as pa, outgrow as og
model = og.load(sys.argv[1])
print(model.predict_proba(pa.table({"a": [0.5], "w": ["x"]}))["probability_1"][0].as_py())
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"pyspark", "xgboost", "duckdb", "pandas"}))
"""


def test_loads_in_a_fresh_process_without_extras(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path / "model")], capture_output=True, text=True, check=True
    )
    share, extras = done.stdout.split("\n")[:2]
    assert float(share) == model.predict_proba(pa.table({"a": [0.5], "w": ["x"]}))["probability_1"][0].as_py()
    assert "pyspark" not in extras
    assert "xgboost" not in extras


def test_says_what_it_is(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    document = json.loads((tmp_path / "model" / "model.json").read_text())
    assert document["format"] == 2
    assert document["content"]["schema"] == {"a": "number", "w": "category"}
    assert set(document["content"]["libraries"]) >= {"outgrow", "numpy", "pyarrow"}
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "arrays.safetensors",
        "model.json",
    ]


def test_steps_of_a_fitted_pipeline_stand_alone(model: Any) -> None:
    scaled = model[0].transform(pa.table({"a": [0.0], "w": ["x"]}))
    assert scaled.column_names == ["a", "w"]
    assert list(model[1].get_feature_names_out()) == ["a", "w_x", "w_y"]


@pytest.mark.parametrize("name", ["model.json", "arrays.safetensors"])
def test_damage_is_refused(model: Any, tmp_path: Path, name: str) -> None:
    model.save(tmp_path / "model")
    path = tmp_path / "model" / name
    body = bytearray(path.read_bytes())
    body[-20] = body[-20] ^ 1
    path.write_bytes(bytes(body))
    with pytest.raises(errors.ArtifactError, match="damaged"):
        og.load(tmp_path / "model")


def test_truncated_missing_newer_and_unknown(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    text = path.read_text()
    path.write_text(text[:100])
    with pytest.raises(errors.ArtifactError, match="damaged"):
        og.load(tmp_path / "model")
    path.write_text(text.replace('"format": 2', '"format": 99'))
    with pytest.raises(errors.ArtifactError, match=r"format 99; this outgrow reads up to 2\. Upgrade"):
        og.load(tmp_path / "model")
    with pytest.raises(errors.ArtifactError, match="not a saved model"):
        og.load(tmp_path / "nothing")
    tree = artifact.unpack(artifact.pack({"estimator": {"class": "Nope", "parameters": {}, "learned": {}}}))
    artifact.write(tmp_path / "other", tree)
    with pytest.raises(errors.ArtifactError, match="has a Nope, which is not known"):
        og.load(tmp_path / "other")


def test_existing_path_is_kept(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    before = (tmp_path / "model" / "model.json").read_text()
    with pytest.raises(errors.OutputExistsError, match=r"exists already.*overwrite=True"):
        og.Ridge().fit(np.eye(3), np.arange(3.0)).save(tmp_path / "model")
    assert (tmp_path / "model" / "model.json").read_text() == before
    og.Ridge().fit(np.eye(3), np.arange(3.0)).save(tmp_path / "model", overwrite=True)
    assert isinstance(og.load(tmp_path / "model"), og.Ridge)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_full_disk_leaves_nothing(model: Any, tmp_path: Path) -> None:
    """A small file system would need root: a limit on the size of files makes the same system call fail."""
    code = (
        "import resource, signal, sys, outgrow as og\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "model = og.load(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try:\n    model.save(sys.argv[2])\n"
        "except og.errors.StorageError as error:\n    print(error.errno, error)\n"
    )
    model.save(tmp_path / "model")
    command = [sys.executable, "-c", code, str(tmp_path / "model"), str(tmp_path / "copy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(errno.EFBIG))
    assert "Free space or choose another path" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_unfitted_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not fitted"):
        og.Ridge().save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


leaves = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text() | st.binary()
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(trees)
def test_any_tree_survives(tree: Any) -> None:
    assert repr(artifact.unpack(artifact.pack(tree))) == repr(tree)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(3),
        np.eye(2, dtype=np.float32),
        np.array([], dtype=np.uint64),
        np.array(["a", "b"]),
        np.array(["a", None], dtype=object),
        np.array([True, False]),
    ],
    ids=str,
)
def test_arrays_survive(array: np.ndarray) -> None:
    found = artifact.unpack(artifact.pack({"x": array}))["x"]
    assert found.dtype.kind == array.dtype.kind
    np.testing.assert_array_equal(found, array)


def test_keeps_an_example_only_when_asked(model: Any, tmp_path: Path) -> None:
    rows = pa.table({"late": [1, 0], "w": ["y", "x"], "a": [0.25, 1.0]})
    model.save(tmp_path / "without")
    model.save(tmp_path / "with", input_example=rows)
    assert not hasattr(og.load(tmp_path / "without"), "input_example_")
    again = og.load(tmp_path / "with")
    again.save(tmp_path / "again")
    assert og.load(tmp_path / "again").input_example_ == {"a": 0.25, "w": "y"}
    again.fit(pa.table({"b": [1.0, 2.0], "late": [0, 1]}), "late")
    assert not hasattr(again, "input_example_")  # it was a row of other columns


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (pa.table({"a": [1.0]}), "w: category"),
        (pa.table({"a": pa.array([], pa.float64()), "w": pa.array([], pa.string())}), "no row"),
    ],
)
def test_an_example_that_is_none_is_refused(model: Any, rows: pa.Table, said: str, tmp_path: Path) -> None:
    with pytest.raises(errors.OutgrowError, match=said):
        model.save(tmp_path / "model", input_example=rows)
    assert not (tmp_path / "model").exists()


# ---- models of before ------------------------------------------------------------------------------------

FORMAT_1 = Path(__file__).parent / "models_format_1"


@pytest.mark.parametrize("name", ["pipeline", "boosting", "per_group"])
def test_models_of_the_first_format_answer_as_they_did(name: str) -> None:
    model = og.load(FORMAT_1 / name)
    rows = pq.read_table(FORMAT_1 / "rows.parquet")
    answers = json.loads((FORMAT_1 / "answers.json").read_text())[name]
    made = model.predict(rows) if name == "per_group" else model.predict_proba(rows)
    for column, expected in answers.items():
        np.testing.assert_allclose(made[column].to_numpy(), expected, rtol=1e-9)


def test_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(errors.ArtifactError, match=r"model\.pkl is not a saved model: it is a file"):
        og.load(tmp_path / "model.pkl")


def test_arrays_that_stand_in_a_tree_twice_are_stored_once() -> None:
    """As those of a pipeline do, which has its steps as parameters and what they learned."""
    array, graph = np.arange(1000.0), b"graph" * 1000
    tree = {"a": array, "b": [array, graph], "c": {"d": graph}}
    stored, arrays = artifact.split(tree)
    assert [values.nbytes for values in arrays.values()] == [8000, 5000]
    again = artifact.join(stored, arrays)
    assert again["c"]["d"] == graph
    assert np.array_equal(again["b"][0], array)
