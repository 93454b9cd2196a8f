"""Files of one set that store a column in different types."""

from __future__ import annotations

import decimal
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.errors import DataError, SchemaError
from outgrow.testing import EngineCase

TWO_TYPES = {
    "whole numbers of two widths": (
        pa.array([1, 2], pa.int32()),
        pa.array([3, None], pa.int64()),
        pa.int64(),
    ),
    "whole numbers that became fractions by a missing one": (
        pa.array([1, 2], pa.int64()),
        pa.array([3.0, None]),
        pa.float64(),
    ),
    "fractions of two widths": (pa.array([1.5, 2], pa.float32()), pa.array([0.5, None]), pa.float64()),
    "decimals of two lengths": (
        pa.array([decimal.Decimal("1.5"), None], pa.decimal128(5, 1)),
        pa.array([decimal.Decimal("2.25"), None], pa.decimal128(20, 2)),
        pa.decimal128(20, 2),
    ),
    "text and categories": (
        pa.array(["a", "b"]),
        pa.array(["c", None]).dictionary_encode(),
        pa.string(),
    ),
    "long text": (pa.array(["a", "b"], pa.large_string()), pa.array(["c", None]), pa.string()),
    "times of two units": (
        pa.array([datetime(2026, 1, 2), None], pa.timestamp("ms")),
        pa.array([datetime(2026, 1, 3, 4), None], pa.timestamp("ns")),
        pa.timestamp("ns"),
    ),
    "days and times": (
        pa.array([date(2026, 1, 2), None]),
        pa.array([datetime(2026, 1, 3, 4), None], pa.timestamp("us")),
        pa.timestamp("us"),
    ),
    "lists": (pa.array([[1, 2], []]), pa.array([[0.5], None]), pa.list_(pa.float64())),
    "vectors and lists": (
        pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2)),
        pa.array([[0.5], None]),
        pa.list_(pa.float64()),
    ),
}


@pytest.mark.parametrize("kind", TWO_TYPES)
@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_files_that_store_a_column_in_two_types(kind: str, ending: str, tmp_path: Path) -> None:
    one, other, wide = TWO_TYPES[kind]
    for folder, arrays in (("forth", (one, other)), ("back", (other, one))):
        (tmp_path / folder).mkdir()
        for name, array in zip("ab", arrays, strict=True):
            rows = pa.table({"x": array, "n": np.arange(len(array))})
            if ending == "parquet":
                pq.write_table(rows, tmp_path / folder / f"{name}.parquet")
            else:
                feather.write_feather(rows, tmp_path / folder / f"{name}.arrow")
        read = og.read(tmp_path / folder)
        expected = pa.concat_arrays([pa.concat_arrays([array.cast(wide)]) for array in map(_plainly, arrays)])
        found = read.to_arrow()["x"].combine_chunks()
        assert found.type == wide
        assert found.to_pylist() == expected.to_pylist()
        assert (
            read.where(og.col("n") == 0).select(["x"]).to_arrow()["x"].to_pylist()
            == expected.to_pylist()[::2]
        )


def _plainly(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


@pytest.mark.parametrize("other", [pa.array(["1"]), pa.array([True]), pa.array([b"1"]), pa.array([[1]])])
def test_files_whose_column_means_two_things(other: pa.Array, tmp_path: Path) -> None:
    for name, array in {"a": pa.array([1]), "b": other}.items():
        pq.write_table(pa.table({"x": array}), tmp_path / f"{name}.parquet")
    with pytest.raises(
        SchemaError, match=r"b\.parquet has other columns than .*a\.parquet:\n  ~ x: int64 became"
    ):
        og.read(tmp_path)


def test_files_of_two_types_are_learned_from_and_queried(engine: EngineCase, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, words = rng.integers(0, 9, 60), rng.choice(["a", "b", "c"], 60)
    whole = pa.table({"x": x.astype(np.float64), "word": words, "y": x + (words == "a")})
    narrow = whole.set_column(0, "x", pa.array(x, pa.int32()))
    narrow = narrow.set_column(1, "word", narrow["word"].combine_chunks().dictionary_encode())
    (tmp_path / "set").mkdir()
    pq.write_table(narrow.slice(0, 30), tmp_path / "set" / "a.parquet")
    pq.write_table(whole.slice(30), tmp_path / "set" / "b.parquet")
    on = engine.open(whole).engine
    model = og.Pipeline([og.OneHotEncoder(columns=["word"]), og.LinearRegression()])
    rows = og.read(tmp_path / "set", engine=on)
    assert model.fit(rows, "y").evaluate(rows, "y")["r2"] == pytest.approx(1.0)
    total = og.sql(
        "select sum(x) as x, count(distinct word) as words from rows", {"rows": rows}, engine=on
    ).to_arrow()
    assert total.to_pylist() == [{"x": float(x.sum()), "words": 3}]


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (pa.array([2**64 - 1], pa.uint64()), pa.array([-1]), "a is uint64, read as int64"),
        (pa.array([2**53 + 1]), pa.array([0.5]), "a is int64, read as double"),
    ],
)
def test_values_that_the_common_type_does_not_hold_are_named(
    one: pa.Array, other: pa.Array, said: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table({"a": one}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": other}), tmp_path / "2.parquet")
    with pytest.raises(
        DataError, match=f"1.parquet holds values that do not fit .*{said}.* read it separately"
    ):
        og.read(tmp_path).to_arrow()


@pytest.mark.parametrize(
    ("text", "said"),
    [("b,a\n1,2\n3,4\n", "its first row is another"), ("a,b\n1,2\n", "it is shorter"), ("", "another")],
)
@pytest.mark.parametrize("types", [None, {"a": "int64", "b": "int64"}], ids=["inferred", "given"])
def test_text_that_was_replaced_is_not_read_as_what_it_was(
    text: str, said: str, types: dict[str, str] | None, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    rows = og.read(path, types=types)
    assert rows.schema.names == ["a", "b"]
    path.write_text(text)
    if types and said == "it is shorter":  # nobody has looked at its rows before
        assert rows.to_arrow().to_pylist() == [{"a": 1, "b": 2}]
        return
    with pytest.raises(DataError, match=f"a.csv was replaced after these rows were opened: .*{said}"):
        rows.to_arrow()


def test_text_may_grow_behind_the_rows_that_were_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")
    rows = og.read(path)
    assert rows.schema.names == ["a", "b"]
    path.write_text("a,b\n1,2\n3,4\n")
    assert rows.to_arrow().to_pylist() == [{"a": 1, "b": 2}]


def test_a_file_that_was_replaced_by_one_of_other_types_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1.0, 2.0]}), tmp_path / "a.parquet")
    rows = og.read(tmp_path / "a.parquet")
    assert rows.schema.names == ["a"]
    pq.write_table(pa.table({"a": ["one", "two"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a.parquet (was replaced|holds values that).* Open them again"):
        rows.to_arrow()
