"""Arrow IPC of strangers: what is damaged is refused, and nothing is made of it that was not declared."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import outgrow as og
from broken import damaged
from outgrow import errors
from outgrow.data.ipc import decoded_bytes, stream_batches, stream_table

ROWS = 120


def _table() -> pa.Table:
    start = dt.datetime(2020, 1, 1)
    return pa.table(
        {
            "whole": pa.array([k % 9 for k in range(ROWS)]),
            "real": np.linspace(-1, 1, ROWS),
            "text": [f"w{k % 7}" if k % 11 else None for k in range(ROWS)],
            "word": pa.array([f"c{k % 5}" for k in range(ROWS)]).dictionary_encode(),
            "view": pa.array(["y" * (k % 40) for k in range(ROWS)], pa.string_view()),
            "flag": [k % 3 == 0 for k in range(ROWS)],
            "time": [start + dt.timedelta(hours=k) for k in range(ROWS)],
            "list": [[1.0, 2.0] if k % 2 else [] for k in range(ROWS)],
            "runs": pa.RunEndEncodedArray.from_arrays(pa.array([60, ROWS], pa.int32()), pa.array(["p", "q"])),
        }
    )


def _stream(table: pa.Table, compression: str | None = None, rows: int = 50) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression, emit_dictionary_deltas=True)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
def test_what_was_written_comes_back(compression: str | None) -> None:
    table = _table()
    content = _stream(table, compression)
    assert stream_table(content, limit=1 << 20).equals(table)
    assert pa.Table.from_batches(stream_batches(content)).equals(table)


@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
def test_damaged_streams_are_refused_or_whole(compression: str | None) -> None:
    content, refused = _stream(_table(), compression), list[str]()
    for seed in range(400):
        try:
            found = stream_table(damaged(content, seed), limit=1 << 20)
            found.select([name for name in found.column_names if name != "time"]).validate(full=True)
        except errors.DataError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert max(map(len, refused)) < 400


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("files")
    contents = []
    for compression in (None, "zstd", "lz4"):
        table, path = _table().select(["whole", "real", "text", "word", "flag"]), folder / "rows.arrow"
        with pa.ipc.new_file(
            path, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)
        ) as w:
            w.write_table(table, max_chunksize=50)
        contents.append(path.read_bytes())
    return contents


def test_damaged_files_are_read_or_refused(files: list[bytes], tmp_path: Path) -> None:
    path, refused = tmp_path / "rows.arrow", 0
    for seed in range(240):
        path.write_bytes(damaged(files[seed % len(files)], seed))
        try:
            rows = og.read(path)
            rows.where(pa.compute.field(rows.columns[1]) > 0).count()
            og.OneHotEncoder(columns=og.categorical()).fit(rows)
        except errors.OutgrowError:
            refused += 1
    assert refused > 60


def _declares(rows: int, columns: dict[str, pa.DataType]) -> bytes:
    """A stream of one batch that says that it has so many rows, and holds none of their bytes."""
    empty = _stream(pa.table({name: pa.nulls(77, kind) for name, kind in columns.items()}), rows=77)
    return empty.replace((77).to_bytes(8, "little"), rows.to_bytes(8, "little"))


def _deltas(words: int, times: int) -> bytes:
    """A dictionary that grows by a word with each batch: Arrow makes a new one each time."""
    first = [f"{k:020d}" for k in range(words)]
    schema = pa.schema([("word", pa.dictionary(pa.int32(), pa.string()))])
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    with pa.ipc.new_stream(sink, schema, options=options) as writer:
        for time in range(times):
            known = pa.array([*first, *(f"new {k}" for k in range(time))])
            column = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), known)
            writer.write_batch(pa.record_batch([column], schema=schema))
    return sink.getvalue().to_pybytes()


def _views() -> bytes:
    """Rows that share one long text."""
    _, view, text = pa.array(["x" * 100_000], pa.string_view()).buffers()
    same = pa.py_buffer(view.to_pybytes()[:16] * 1000)
    column = pa.Array.from_buffers(pa.string_view(), 1000, [None, same, text])
    return _stream(pa.table({"text": column}), rows=1000)


LARGE: dict[str, Any] = {
    "compressed": lambda: _stream(pa.table({"x": np.zeros(4_000_000)}), "zstd", rows=4_000_000),
    "nulls": lambda: _declares(1 << 40, {"x": pa.null()}),
    "dictionary": lambda: _stream(
        pa.table(
            {
                "x": pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, np.int8)), ["x" * 100_000]),
            }
        ),
        rows=1000,
    ),
    "deltas": lambda: _deltas(2000, 500),
    "views": _views,
    "runs": lambda: _stream(
        pa.table(
            {
                "x": pa.RunEndEncodedArray.from_arrays(pa.array([1 << 24], pa.int32()), pa.array(["p"])),
            }
        ),
        rows=1 << 24,
    ),
}


@pytest.mark.parametrize("kind", LARGE)
def test_no_more_is_made_than_may_be(kind: str) -> None:
    body, limit = LARGE[kind](), 16 << 20
    assert len(body) < limit / 16
    before = pa.total_allocated_bytes()
    with pytest.raises(errors.DataError, match=f"at most {limit} may be made"):
        stream_table(body, limit=limit)
    assert pa.total_allocated_bytes() - before < limit


def test_sizes_are_known_before_anything_is_decoded() -> None:
    assert decoded_bytes(LARGE["compressed"]()) >= 32_000_000
    table = pa.table({"x": np.arange(1000.0), "y": np.arange(1000)})
    assert 16_000 <= decoded_bytes(_stream(table)) < 20_000


def test_what_is_no_stream_is_said() -> None:
    for body in (b"", b"{}", b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\x00\x00\x00\x7f" + b"x" * 100):
        with pytest.raises(errors.DataError, match="not a whole Arrow IPC stream"):
            stream_table(body, limit=1000)
