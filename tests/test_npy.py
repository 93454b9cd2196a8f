"""Folders of NumPy's arrays as rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.errors import DataError, InputNotFoundError, SchemaError

RANDOM = np.random.default_rng(0)
ARRAYS = {
    "x": RANDOM.normal(size=(50, 4)),
    "image": RANDOM.integers(0, 255, (50, 2, 3), dtype=np.uint8),
    "y": np.arange(50),
    "name": np.array([f"n{i}" for i in range(50)]),
    "big": np.arange(50.0).astype(">f8"),
}


def save(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def test_arrays_are_columns(tmp_path: Path) -> None:
    rows = og.read(save(tmp_path / "rows", ARRAYS), format="npy")
    assert rows.count() == 50
    (batch,) = og.Loader(rows, batch_size=50, format="numpy", dtype={"x": "float64", "big": "float64"})
    for name, array in ARRAYS.items():
        assert np.array_equal(batch[name], array), name
    assert rows.where(og.col("y") > 47).select("name").to_arrow().to_pydict() == {"name": ["n48", "n49"]}


def test_folders_below_are_further_rows(tmp_path: Path) -> None:
    for part in range(3):
        half = {name: array[part * 10 : part * 10 + 10] for name, array in ARRAYS.items()}
        save(tmp_path / f"part-{part}", half)
    rows = og.read(tmp_path, format="npy")
    assert rows.to_arrow()["y"].to_pylist() == list(range(30))
    model = og.LogisticRegression().fit(rows.select("x", "y").where(og.col("y") < 2), "y")
    assert model.classes_.tolist() == [0, 1]


def test_one_file(tmp_path: Path) -> None:
    save(tmp_path, {"x": ARRAYS["x"]})
    assert og.read(tmp_path / "x.npy").schema.field("x").type == pa.list_(pa.float64(), 4)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="several lengths"):
        og.read(save(tmp_path / "lengths", {"x": np.zeros(3), "y": np.zeros(4)}), format="npy")
    with pytest.raises(DataError, match="type complex128"):
        og.read(save(tmp_path / "types", {"x": np.zeros(3, complex)}), format="npy")
    save(tmp_path / "objects", {"x": np.array([{}, {}])})
    with pytest.raises(DataError, match=r"x\.npy"):
        og.read(tmp_path / "objects", format="npy")
    save(tmp_path / "differ" / "a", {"x": np.zeros(3)})
    with pytest.raises(SchemaError, match="other arrays"):
        og.read(save(tmp_path / "differ" / "b", {"z": np.zeros(3)}).parent, format="npy")
    with pytest.raises(InputNotFoundError, match="npy"):
        og.read(tmp_path / "nothing", format="npy")


def test_a_file_that_is_cut_short(tmp_path: Path) -> None:
    path = save(tmp_path, {"x": np.zeros(1000)}) / "x.npy"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"x\.npy"):
        og.read(path).count()
