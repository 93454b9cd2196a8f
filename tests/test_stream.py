"""Streams: each row once, whatever is killed; a new version between two batches; a folder, Spark, a pipe."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.errors import InputNotFoundError, ParameterError, RowError
from outgrow.serve.pipe import score_pipe
from outgrow.serve.stream import score_files
from test_score import people
from test_serve import fitted, wait_for

HERE = Path(__file__).parent


@pytest.fixture
def store(tmp_path: Path) -> og.ModelStore:
    found = og.ModelStore(tmp_path / "store")
    found.promote(found.add(fitted()))
    found.add(fitted(seed=8))
    return found


def put(folder: Path, number: int, rows: int = 50) -> pa.Table:
    """A file that appears at once, with ids of its own."""
    folder.mkdir(exist_ok=True)
    table = people(rows, seed=number).drop_columns("late")
    table = table.set_column(0, "id", pa.array(np.arange(rows) + 1000 * number))
    draft = folder / f".{number}"
    pq.write_table(table, draft)
    draft.rename(folder / f"{number:03d}.parquet")
    return table


def results(folder: Path) -> pa.Table:
    return og.read(str(folder)).to_arrow().sort_by("id")


def ids(count: int, rows: int = 50) -> list[int]:
    return [1000 * number + row for number in range(count) for row in range(rows)]


def test_a_new_version_between_two_files(tmp_path: Path, store: og.ModelStore) -> None:
    stream = og.score_stream(store, tmp_path / "in" if put(tmp_path / "in", 0) else "", tmp_path / "out")
    assert stream.run_available() == 50
    store.promote(2)
    second = put(tmp_path / "in", 1)
    assert stream.run_available() == 50
    assert stream.run_available() == 0
    found = results(tmp_path / "out")
    assert found.column_names == ["id", "age", "place", "prediction", "model_version", "input"]
    assert found["model_version"].to_pylist() == ["1"] * 50 + ["2"] * 50
    frame = second.select(["age", "place"]).to_pandas()
    assert found["prediction"].to_pylist()[50:] == store.load(2).predict(frame).tolist()


def test_files_as_they_appear(tmp_path: Path, store: og.ModelStore) -> None:
    put(tmp_path / "in", 0)
    stream = og.score_stream(store, tmp_path / "in", tmp_path / "out", keep=["id"])
    running = threading.Thread(target=lambda: stream.run(poll=0.05))
    running.start()
    for number in range(1, 4):
        put(tmp_path / "in", number)
        wait_for((tmp_path / "out" / f"input={number:03d}.parquet").exists)
    stream.stop()
    running.join(timeout=10)
    assert results(tmp_path / "out")["id"].to_pylist() == ids(4)


def test_bad_rows_of_a_stream(tmp_path: Path, store: og.ModelStore) -> None:
    table = put(tmp_path / "in", 0)
    spoilt = table.set_column(1, "age", pa.array([np.nan] + [30.0] * 49))
    pq.write_table(spoilt, tmp_path / "in" / "000.parquet")
    with pytest.raises(RowError, match=r"Row 0 of .*000.parquet"):
        og.score_stream(store, tmp_path / "in", tmp_path / "out").run_available()
    assert not list((tmp_path / "out").glob("input=*"))
    stream = og.score_stream(store, tmp_path / "in", tmp_path / "out", errors=tmp_path / "bad")
    assert stream.run_available() == 49
    assert results(tmp_path / "bad")["id"].to_pylist() == [0]


def test_files_that_cannot_be_read_are_set_apart(tmp_path: Path, store: og.ModelStore) -> None:
    good = put(tmp_path / "in", 5).select(["id", "age", "place"])
    rows = good.to_pandas().to_csv(index=False)
    spoilt = {
        "a.parquet": (tmp_path / "in" / "005.parquet").read_bytes()[:-20],
        "b.csv.gz": b"no gzip",
        "c.csv": b"id,age,place\n1,2\n",
        "sub/d.jsonl": b'{"id": 1}\n',
        "e.csv": b"id,age,place\n1,old,sea\n",
    }
    (tmp_path / "in" / "sub").mkdir()
    for name, body in {**spoilt, "_draft.csv": b"x", ".f.csv": b"x", "g.txt": b"x", "h.CSV": b""}.items():
        (tmp_path / "in" / name).write_bytes(body)
    for name in spoilt:
        os.utime(tmp_path / "in" / name, (1, 1))
    with pytest.raises(og.errors.OutgrowError, match=r"/in/.*cannot be (read|scored)"):
        og.score_stream(store, tmp_path / "in", tmp_path / "out").run_available()
    stream = og.score_stream(store, tmp_path / "in", tmp_path / "out", errors=tmp_path / "bad")
    assert [stream.run_available() for _ in range(2)] == [50, 0]
    found = (tmp_path / "bad").glob("_unreadable/*.json")
    notes = {note.stem: json.loads(note.read_text()) for note in found}
    assert set(notes) == {name.replace("/", "%2F") for name in spoilt}
    assert all(note["reason"] for note in notes.values())
    (tmp_path / "in" / "c.csv").write_text(rows)
    (tmp_path / "in" / "h.CSV").write_text(rows)
    assert stream.run_available() == 100
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "input=005.parquet",
        "input=c.csv",
        "input=h.CSV",
    ]


def test_files_come_and_go_while_the_stream_looks(tmp_path: Path, store: og.ModelStore) -> None:
    """Drafts are renamed, and old files taken away, at a high rate: as the docs ask for."""
    (tmp_path / "in").mkdir()
    whole = people(3).drop_columns("late").to_pandas().to_csv(index=False)
    ended = threading.Event()

    def come_and_go() -> None:
        for number in range(300):
            draft = tmp_path / "in" / f".{number}.csv"
            draft.write_text(whole)
            draft.rename(tmp_path / "in" / f"{number}.csv")
            if number >= 5:
                (tmp_path / "in" / f"{number - 5}.csv").unlink()
        ended.set()

    stream = og.score_stream(store, tmp_path / "in", tmp_path / "out", keep=["id"])
    other = threading.Thread(target=come_and_go)
    other.start()
    while not ended.is_set():
        stream.run_available()
    other.join()
    stream.run_available()
    assert {f"input={number}.csv" for number in range(295, 300)} <= {
        p.name for p in (tmp_path / "out").iterdir()
    }


def test_files_of_a_folder_on_spark(spark: Any, tmp_path: Path, store: og.ModelStore) -> None:
    """Text is read as here, not as Spark's readers do; a file that cannot be read holds nobody up."""
    (tmp_path / "in [1]").mkdir()
    table = people(40).drop_columns("late").to_pandas()
    with gzip.open(tmp_path / "in [1]" / "a.CSV.gz", "wt") as file:
        file.write(table[:20].to_csv(index=False))
    (tmp_path / "in [1]" / "b.csv").write_text(table[20:].to_csv(index=False, quoting=1))
    (tmp_path / "in [1]" / "c.csv").write_text("")
    here = og.score_stream(store, tmp_path / "in [1]", tmp_path / "here")
    assert here.run_available() == 40

    def run() -> None:
        query = score_files(
            store,
            str(tmp_path / "in [1]"),
            tmp_path / "out",
            og.Spark(spark),
            errors=tmp_path / "bad",
            checkpoint=tmp_path / "checkpoint",
            trigger={"availableNow": True},
        )
        assert query.awaitTermination(120)

    run()
    assert results(tmp_path / "out")["prediction"] == results(tmp_path / "here")["prediction"]
    (tmp_path / "in [1]" / "d.csv").write_text("id,age,place\n1,2\n")
    (tmp_path / "in [1]" / "e.csv").write_text(table[:5].to_csv(index=False))
    run()
    assert len(list((tmp_path / "bad").glob("_unreadable/d.csv.json"))) == 1
    assert results(tmp_path / "out").num_rows == 45


def test_misuse_of_streams(tmp_path: Path, store: og.ModelStore) -> None:
    with pytest.raises(InputNotFoundError, match="is no folder"):
        og.score_stream(store, tmp_path / "none", tmp_path / "out")
    with pytest.raises(ParameterError, match="Spark's"):
        og.score_stream(store, tmp_path, tmp_path / "out", checkpoint=tmp_path / "c")


def run_killed(command: list[str], condition: Any) -> None:
    """Start a command, and kill it and its children when the condition holds."""
    process = subprocess.Popen(
        command, cwd=HERE, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(condition, 90)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("engine", ["local", "local[2]"])
def test_a_killed_stream_loses_and_doubles_nothing(tmp_path: Path, store: og.ModelStore, engine: str) -> None:
    count, kills = (40, 2) if engine == "local" else (6, 1)
    for number in range(count):
        put(tmp_path / "in", number)
    out = tmp_path / "out"
    words = [str(store.path), str(tmp_path / "in"), "-o", str(out), "--stream", "--engine", engine]
    words += [] if engine == "local" else ["--checkpoint", str(tmp_path / "checkpoint")]
    command = [sys.executable, "-m", "outgrow", "score", *words]
    for _ in range(kills):
        before = len(list(out.glob("*=*"))) if out.exists() else 0
        run_killed(command, lambda: out.exists() and len(list(out.glob("*=*"))) > before)  # noqa: B023
        for number in range(count, count + 3):
            put(tmp_path / "in", number)
        count += 3
    done = subprocess.run([*command, "--once"], cwd=HERE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert results(out)["id"].to_pylist() == ids(count)
    assert not list(out.glob(".*"))


def test_a_spark_stream_takes_a_new_version_up(spark: Any, tmp_path: Path, store: og.ModelStore) -> None:
    put(tmp_path / "in", 0)
    rows = spark.readStream.schema("id bigint, age double, place string").parquet(str(tmp_path / "in"))
    query = og.score_stream(
        store,
        rows,
        tmp_path / "out",
        checkpoint=tmp_path / "checkpoint",
        keep=["id"],
        trigger={"processingTime": "200 milliseconds"},
    )
    try:
        wait_for(lambda: list((tmp_path / "out").glob("batch_id=*")), 60)
        store.promote(2)
        put(tmp_path / "in", 1)
        wait_for(lambda: len(list((tmp_path / "out").glob("batch_id=*"))) == 2, 60)
    finally:
        query.stop()
    found = results(tmp_path / "out")
    assert found["id"].to_pylist() == ids(2)
    assert found["model_version"].to_pylist() == ["1"] * 50 + ["2"] * 50
    with pytest.raises(ParameterError, match="no stream"):
        og.score_stream(store, spark.range(3), tmp_path / "other")
    with pytest.raises(ParameterError, match="checkpoint"):
        og.score_stream(store, rows, tmp_path / "other")


# ---- a pipe ------------------------------------------------------------------------------------------------


def test_lines_of_json(tmp_path: Path, store: og.ModelStore) -> None:
    rows = people(30).select(["age", "place"])
    command = [sys.executable, "-m", "outgrow", "score", str(store.path), "-", "--proba"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    lines = [json.dumps(row) for row in rows.to_pylist()]
    process.stdin.write("\n".join(lines[:10]) + "\n")
    process.stdin.flush()
    first = [json.loads(process.stdout.readline()) for _ in range(10)]  # answered before the input ends
    rest = process.communicate("\n".join(lines[10:]), timeout=60)[0]
    found = first + [json.loads(line) for line in rest.splitlines()]
    expected = store.load(1).predict_proba(rows.to_pandas())
    np.testing.assert_allclose([row["probability_yes"] for row in found], expected[:, 1], rtol=1e-12)
    assert {row["model_version"] for row in found} == {"1"}


def test_a_pipe_of_arrow(store: og.ModelStore) -> None:
    rows = people(3000).drop_columns("late")
    source, sink = io.BytesIO(), io.BytesIO()
    with pa.ipc.new_stream(source, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=700)
    source.seek(0)
    assert score_pipe(str(store.path), source, sink) == 3000
    found = pa.ipc.open_stream(sink.getvalue()).read_all()
    assert found.column_names == ["id", "age", "place", "prediction", "model_version"]
    frame = rows.select(["age", "place"]).to_pandas()
    assert found["prediction"].to_pylist() == store.load(1).predict(frame).tolist()


def test_a_bad_line_is_told(store: og.ModelStore) -> None:
    for line, said in [
        (b"{", "not JSON"),
        (b'{"age": 1}', "place is missing"),
        (b'{"age": null, "place": "sea"}', "NaN"),
    ]:
        with pytest.raises(og.errors.OutgrowError, match=said):
            score_pipe(str(store.path), io.BytesIO(line), io.BytesIO())


@pytest.mark.parametrize("where", ["out", "deep/out", "."])
@pytest.mark.parametrize("which", ["output", "errors"])
def test_a_stream_does_not_read_what_it_writes(
    store: og.ModelStore, tmp_path: Path, where: str, which: str
) -> None:
    put(tmp_path / "in", 0)
    outputs: dict[str, Any] = {"output": tmp_path / "out", which: tmp_path / "in" / where}
    with pytest.raises(ParameterError, match="would read what it writes"):
        og.score_stream(store, tmp_path / "in", **outputs)
    beside = {**outputs, which: tmp_path / "in" / "_scores"}
    assert og.score_stream(store, tmp_path / "in", **beside).run_available() == 50
    assert og.score_stream(store, tmp_path / "in", **beside).run_available() == 0
