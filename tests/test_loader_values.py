"""og.Loader: numbers come as they are stored or not at all, and what makes no sense is refused at once."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import outgrow as og
from outgrow.errors import DataError, ParameterError, SchemaError

HELD = [
    ([2.0, 3.0], "uint8"),
    ([-(2.0**63), 2.0**62], "int64"),
    ([0.0, 1.0], "bool"),
    ([255, 0], "uint8"),
    ([2**24, -(2**24)], "float32"),
    ([1.1, float("nan")], "float16"),
]
CHANGED = [
    ([1.5], "int64", "1.5, which int64 cannot hold exactly. Say dtype={'x': 'float64'}"),
    ([float("nan")], "int64", "nan, which int64"),
    ([float("inf")], "int8", "inf, which int8"),
    ([256.0], "uint8", "256.0, which uint8"),
    ([2.0**63], "int64", "9.2233720368547"),
    ([2.0], "bool", "2.0, which bool"),
    ([300], "uint8", "300, which uint8 cannot hold exactly. Say dtype={'x': 'int64'}"),
    ([2**24 + 1], "float32", "16777217, which float32 cannot hold exactly. Say dtype={'x': 'float64'}"),
    ([2**60 + 1], "float32", "Say dtype={'x': 'int64'}"),
    ([1e300], "float32", "too large for float32"),
]


def columns(values: list[Any]) -> dict[str, pa.Array]:
    """The same numbers as a column, as a list in one row, and as a vector."""
    plain = pa.array(values)
    return {
        "column": plain,
        "list": pa.array([values], pa.list_(plain.type)),
        "lists of lists": pa.array([[values]], pa.list_(pa.list_(plain.type))),
        "vector": pa.array([values], pa.list_(plain.type, len(values))),
    }


def first(rows: Any, **options: Any) -> dict[str, Any]:
    return next(iter(og.Loader(rows, **{"batch_size": 4, "format": "numpy", **options})))


@pytest.mark.parametrize("form", ["column", "list", "lists of lists", "vector"])
@pytest.mark.parametrize(("values", "dtype"), HELD)
def test_a_dtype_that_holds_the_numbers(form: str, values: list[Any], dtype: str) -> None:
    numbers = first(pa.table({"x": columns(values)[form]}), dtype=dtype)["x"]
    np.testing.assert_array_equal(numbers.ravel(), np.array(values, dtype))
    assert numbers.dtype == dtype


@pytest.mark.parametrize("form", ["column", "list", "lists of lists", "vector"])
@pytest.mark.parametrize(("values", "dtype", "message"), CHANGED)
def test_a_dtype_that_would_change_them(form: str, values: list[Any], dtype: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        first(pa.table({"x": columns(values)[form]}), dtype=dtype)
    assert message in str(caught.value)


def test_the_advice_holds_the_number() -> None:
    rows = pa.table({"x": pa.array([2**63 + 1], pa.uint64())})
    with pytest.raises(DataError, match=r"Say dtype=\{'x': 'uint64'\}"):
        first(rows)
    assert first(rows, dtype="uint64")["x"].tolist() == [2**63 + 1]


@pytest.mark.parametrize("permutation", [[1, 0, 2], [2, 0, 1], [2, 1, 0]])
def test_tensors_whose_axes_are_stored_in_another_order(permutation: list[int], tmp_path: Any) -> None:
    stored = np.arange(48, dtype=np.int32).reshape(2, 2, 3, 4)
    kind = pa.fixed_shape_tensor(pa.int32(), [2, 3, 4], permutation=permutation)
    flat = pa.array(stored.reshape(2, 24).tolist(), pa.list_(pa.int32(), 24))
    pq.write_table(pa.table({"x": pa.ExtensionArray.from_storage(kind, flat)}), tmp_path / "rows.parquet")
    # as Arrow's specification has it: axis i is axis permutation[i] of what is stored
    expected = stored.transpose(0, *(axis + 1 for axis in permutation))
    np.testing.assert_array_equal(first(tmp_path / "rows.parquet")["x"], expected)


@pytest.mark.parametrize("moment", [datetime.time(1), datetime.timedelta(days=1)])
def test_times_of_day_and_durations_are_no_tensors(moment: Any) -> None:
    with pytest.raises(SchemaError, match=r"holds times .* Make numbers of it, such as with Dataset\.map"):
        og.Loader(pa.table({"x": [moment]}), batch_size=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": 3}, r"columns=3: give names of columns.* There are \['x'\]"),
        ({"columns": [0]}, r"columns=\[0\]"),
        ({"columns": {"field": 0}}, "columns=0"),
        ({"seed": 2**64}, "below 2"),
        ({"transform": 3}, "transform=3: give a function"),
        ({"transform": og.LogisticRegression()}, "a fitted transformer or pipeline"),
        ({"images": (4, 4)}, "say it by field"),
        ({"format": "torch", "device": "nowhere"}, "device='nowhere'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_row_is_read(options: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        og.Loader(pa.table({"x": [1]}), **{"batch_size": 1, "format": "numpy", **options})


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU")
def test_memory_for_a_gpu_that_is_not_there() -> None:
    with pytest.raises(ParameterError, match="no GPU that could copy"):
        og.Loader(pa.table({"x": [1]}), batch_size=1, pin_memory=True)
    with pytest.raises(ParameterError, match="device='cuda'"):
        og.Loader(pa.table({"x": [1]}), batch_size=1, device="cuda")


@pytest.mark.parametrize(
    "changes", [{"step": -1}, {"step": 99}, {"step": "1"}, {"epoch": None}, {"epoch": -1}]
)
def test_a_damaged_state_is_refused(changes: dict[str, Any]) -> None:
    loader = og.Loader(pa.table({"x": range(10)}), batch_size=4, format="numpy")
    with pytest.raises(DataError, match="state"):
        loader.load_state_dict({**loader.state_dict(), **changes})
    with pytest.raises(DataError, match="no state of a loader"):
        loader.load_state_dict(None)  # type: ignore[arg-type]
    assert len(list(loader)) == 3


def test_epochs_are_counted_from_zero() -> None:
    loader = og.Loader(pa.table({"x": range(10)}), batch_size=4, shuffle=True, format="numpy")
    with pytest.raises(ParameterError, match="epoch=-1"):
        loader.set_epoch(-1)


def test_sizes_of_images_may_be_numbers_of_numpy() -> None:
    height, width = np.array([4, 6])
    assert og.DecodeImage((height, width)).size == (4, 6)
