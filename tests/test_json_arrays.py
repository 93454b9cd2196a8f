"""Files that are one JSON array of objects give what the same objects give as lines."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import outgrow as og
from outgrow.data.json_arrays import ArrayLines
from outgrow.errors import DataError

ROWS: list[dict[str, Any]] = [
    {"id": 2**60 + 1, "x": 1.5, "name": "a ] } , [", "at": "2024-01-02 03:04:05", "in": {"a": [1, 2]}},
    {"id": 7, "x": None, "name": 'quoted " and \\ and \n', "at": None, "in": {"a": []}},
    {"id": None, "x": -2e300, "name": "Zürich \u2028", "at": "2024-01-03 00:00:00", "in": None},
]
WAYS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "compact": lambda rows: json.dumps(rows, separators=(",", ":")).encode(),
    "pretty": lambda rows: json.dumps(rows, indent=4).encode(),
    "not escaped": lambda rows: json.dumps(rows, ensure_ascii=False).encode(),
    "lines of Windows": lambda rows: json.dumps(rows, indent=1).replace("\n", "\r\n").encode(),
    "with a mark": lambda rows: b"\xef\xbb\xbf \n" + json.dumps(rows).encode(),
    "UTF-16": lambda rows: json.dumps(rows, ensure_ascii=False).encode("utf-16"),
}


def lines(path: Path, rows: list[dict[str, Any]]) -> pa.Table:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return og.read(path).to_arrow()


@pytest.mark.parametrize("ending", [".json", ".json.gz", ".jsonl"])
@pytest.mark.parametrize("way", WAYS)
def test_an_array_is_read_as_its_lines_are(tmp_path: Path, way: str, ending: str) -> None:
    body = WAYS[way](ROWS)
    (tmp_path / f"rows{ending}").write_bytes(gzip.compress(body) if ending.endswith("gz") else body)
    assert og.read(tmp_path / f"rows{ending}").to_arrow() == lines(tmp_path / "others.jsonl", ROWS)


def test_what_pandas_writes(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS).drop(columns="id")
    frame.to_json(tmp_path / "rows.json", orient="records", indent=2)
    frame.to_json(tmp_path / "others.jsonl", orient="records", lines=True)
    assert og.read(tmp_path / "rows.json").to_arrow() == og.read(tmp_path / "others.jsonl").to_arrow()


def test_a_row_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    rows = [{"x": 1, "text": "é" * 3_000_000}, {"x": 2, "text": "[{"}] * 3
    (tmp_path / "rows.json").write_text(json.dumps(rows, indent=1))
    assert og.read(tmp_path / "rows.json").to_arrow() == lines(tmp_path / "others.jsonl", rows)


def test_many_rows_give_one_type_and_go_to_a_model(tmp_path: Path) -> None:
    rows = [{"x": i % 7, "y": i % 2} for i in range(60_000)] + [{"x": 0.5, "y": 1}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    found = og.read(tmp_path / "rows.json")
    assert found.schema.field("x").type == pa.float64()
    assert found.count() == 60_001
    assert og.LogisticRegression().fit(found, "y").n_features_in_ == 1


def test_arrays_and_lines_in_one_folder_and_no_rows(tmp_path: Path) -> None:
    (tmp_path / "0.json").write_text('[{"a": 1}]')
    (tmp_path / "1.json").write_text('{"a": 2}\n')
    (tmp_path / "2.json").write_text(" [ ] ")
    assert og.read(tmp_path).to_arrow()["a"].to_pylist() == [1, 2]
    with pytest.raises(DataError, match=r"2\.json is empty"):
        og.read(tmp_path / "2.json").to_arrow()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('[{"a": 1}', "behind row 0 of the array stands nothing, no comma"),
        ('[{"a": 1} {"a": 2}]', r"behind row 0 of the array stands '\{\"a\": 2\}\]', no comma"),
        ('[{"a": 1}, ]', r"row 1 of the array is '\]', no object"),
        ('[{"a": 1}, 5]', "row 1 of the array is '5]', no object"),
        ("[[1, 2], [3, 4]]", "row 0 of the array is '.1, 2., .3, 4..', no object"),
        ("[", "row 0 of the array is nothing, no object"),
        ('[{"a": 1}, {"a": "x', "row 1 of the array is no JSON: Unterminated string"),
        ('[{"a": 1}, {"a" 2}]' + " " * 99, "row 1 of the array is no JSON: Expecting ':'"),
        ('[{"a": 1}] [{"a": 2}]', "behind the array stands"),
        ("[" + '{"a": ' * 100_000 + "1" + "}" * 100_000 + "]", "levels"),
        ('[{"a": 1}, {"a": "x"}]', "column 'a' in row 1: string, after values that are number"),
        ('[{"a": "\\ud83d"}]', "surrogate"),
    ],
)
def test_arrays_that_cannot_be_read(tmp_path: Path, body: str, said: str) -> None:
    (tmp_path / "rows.json").write_text(body)
    with pytest.raises(DataError, match=rf"rows\.json cannot be read: .*{said}"):
        og.read(tmp_path / "rows.json").to_arrow()


class Trickle:
    """A stream that gives few bytes at once, wherever characters and words end."""

    def __init__(self, body: bytes, step: int) -> None:
        self.body, self.step = body, step

    def read(self, _: int) -> bytes:
        part, self.body = self.body[: self.step], self.body[self.step :]
        return part


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    rows=st.lists(st.dictionaries(st.text(), values, max_size=4), max_size=5),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
    step=st.integers(1, 40),
    size=st.integers(1, 60),
)
def test_wherever_an_array_is_cut(
    rows: list[dict[str, Any]], indent: int | None, ascii_only: bool, step: int, size: int
) -> None:
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    stream = ArrayLines(Trickle(text.encode("utf-8", "surrogatepass"), step))
    body = b""
    try:
        while part := stream.read(size):
            assert len(part) <= size
            body += part
    except UnicodeError:
        assert not ascii_only  # half a character of two words is no UTF-8
        return
    found = [json.loads(line) for line in body.split(b"\n")[:-1]]
    assert found == rows
