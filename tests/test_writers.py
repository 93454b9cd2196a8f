"""Processes that write beside each other, paths that are not ours to replace, disks that are full."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow import _scratch, storage
from outgrow.errors import OutputBusyError, OutputExistsError, ParameterError


def table(count: int = 40) -> pa.Table:
    x = np.arange(float(count))
    return pa.table({"id": np.arange(count), "x": x, "y": 2 * x})


@pytest.fixture(scope="module")
def model() -> Any:
    return og.LinearRegression().fit(table().select(["x", "y"]), "y")


# ---- beside each other -------------------------------------------------------------------------------------

RACE = """
import json, sys, time, numpy as np, pyarrow as pa, outgrow as og
what, path, number, start = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
X = np.arange(10.0)[:, None]

def model(i):
    fitted = og.LinearRegression().fit(X, X[:, 0])
    fitted.intercept_ = 1000.0 * number + i
    return fitted

models = [model(i) for i in range(20)]
time.sleep(max(0.0, start - time.time()))
done, failed = [], []
for i, each in enumerate(models):
    try:
        if what == "add":
            done.append([og.ModelStore(path).add(each), each.intercept_])
        elif what == "save":
            each.save(f"{path}{i}")
            done.append([i, each.intercept_])
        elif what == "overwrite":
            each.save(path, overwrite=True)
        elif what == "load":
            for _ in range(5):
                og.load(path)
    except og.errors.OutputExistsError:
        failed.append(i)
print(json.dumps([done, failed]))
"""


def race(*what: str, path: Path) -> list[Any]:
    """Processes that begin at the same moment; what each has done, and what it was refused."""
    start = str(time.time() + 4)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, each, str(path), str(number), start],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number, each in enumerate(what, 1)
    ]
    ended = [(process, *process.communicate(timeout=300)) for process in running]
    assert all(process.returncode == 0 for process, _, _ in ended), [error for *_, error in ended]
    return [json.loads(out) for _, out, _ in ended]


def test_no_version_of_a_store_is_lost(tmp_path: Path) -> None:
    store = og.ModelStore(tmp_path / "store")
    told = [tuple(each) for done, _ in race("add", "add", path=store.path) for each in done]
    assert sorted(number for number, _ in told) == list(range(1, 41)) == store.versions
    assert {(number, store.load(number).intercept_) for number in store.versions} == set(told)


def test_one_of_two_saves_wins(tmp_path: Path) -> None:
    first, second = race("save", "save", path=tmp_path / "model")
    won = [tuple(each) for done, _ in (first, second) for each in done]
    assert sorted(i for i, _ in won) == list(range(20))
    assert len(first[1]) + len(second[1]) == 20
    assert all(og.load(f"{tmp_path / 'model'}{i}").intercept_ == intercept for i, intercept in won)


def test_readers_beside_writers_find_a_whole_model(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    for _, failed in race("overwrite", "overwrite", "load", path=tmp_path / "model"):
        assert not failed
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_second_of_two_equal_scores_is_refused(model: Any, tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "rows.parquet", row_group_size=10)
    data, refused = og.read(tmp_path / "rows.parquet"), []

    def scored_within(batch: Any) -> Any:
        if batch.num_rows and not refused:
            refused.append(None)
            with pytest.raises(OutputBusyError, match="Another process writes"):
                og.score(model, data, tmp_path / "out")
        return batch

    og.score(model, data.map(scored_within), tmp_path / "out")
    assert refused
    assert sorted(og.read(tmp_path / "out").to_arrow()["id"].to_pylist()) == list(range(40))


# ---- what is not ours --------------------------------------------------------------------------------------


def writers(model: Any) -> dict[str, Callable[[Path], Any]]:
    return {
        "save": lambda path: model.save(path, overwrite=True),
        "score": lambda path: og.score(model, table(), path, overwrite=True),
        "errors": lambda path: og.score(model, table(), path.parent / "out", errors=path, overwrite=True),
        "write": lambda path: og.write_parquet(og.dataset(table()), path, overwrite=True),
    }


@pytest.mark.parametrize("verb", ["save", "score", "errors", "write"])
def test_only_what_outgrow_wrote_is_replaced(model: Any, verb: str, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputExistsError, match="nothing that outgrow wrote"):
        writers(model)[verb](theirs)
    assert (theirs / "thesis.txt").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def test_its_like_only(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    with pytest.raises(OutputExistsError, match="a model and no table"):
        og.score(model, table(), tmp_path / "model", overwrite=True)
    og.load(tmp_path / "model")


def test_inputs_and_the_working_folder_stay(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    og.write_parquet(og.dataset(table()), tmp_path / "rows")
    with pytest.raises(OutputExistsError, match="which is read"):
        og.score(model, og.read(tmp_path / "rows"), tmp_path / "rows", overwrite=True)
    with pytest.raises(OutputExistsError, match="which is read"):
        og.write_parquet(og.read(tmp_path / "rows"), tmp_path / "rows", overwrite=True)
    with pytest.raises(ParameterError, match="overlap"):
        og.score(model, table(), tmp_path / "out", errors=tmp_path / "out" / "bad")
    monkeypatch.chdir(tmp_path / "rows")
    with pytest.raises(OutputExistsError, match="works in"):
        og.write_parquet(og.dataset(table()), "../rows", overwrite=True)
    assert og.read(tmp_path / "rows").count() == 40


READ = {
    "a folder": ("in", "in/out", False),
    "its own sub-folder": ("in", "in/k=1/out", False),
    "by a link": ("link", "in/out", False),
    "as a URI": ("file://{folder}/in", "in/out", False),
    "a pattern of all below": ("in/**/*.parquet", "in/out", False),
    "a pattern of folders": ("in/*/*.parquet", "in/out", False),
    "a pattern that does not match": ("in/k=*/*.parquet", "in/out", True),
    "a pattern of files": ("in/k=1/*.parquet", "in/k=1/out", True),
    "a file": ("in/k=1/a.parquet", "in/k=1/out", True),
    "what is left alone": ("in", "in/_out", True),
    "beside": ("in", "in-out", True),
}


@pytest.mark.parametrize("case", READ)
@pytest.mark.parametrize("verb", ["score", "errors", "write", "compact"])
def test_an_output_is_never_read_with_its_input(
    model: Any, verb: str, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "in" / "k=1"
    place.mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    pq.write_table(table(), place / "a.parquet")
    read, output, allowed = READ[case]
    read = read.format(folder=tmp_path)
    write: dict[str, Callable[[], Any]] = {
        "score": lambda: og.score(model, og.read(read), output),
        "errors": lambda: og.score(model, og.read(read), "elsewhere", errors=output),
        "write": lambda: og.write_parquet(og.read(read), output),
        "compact": lambda: og.compact(read, output),
    }
    if allowed:
        write[verb]()
        assert (tmp_path / output).is_dir()
    else:
        with pytest.raises(OutputExistsError, match=r"lies in .* which is read"):
            write[verb]()
        assert not (tmp_path / output).exists()
    assert og.read(read).count() == 40


def test_tables_of_a_query_are_not_written_over(tmp_path: Path) -> None:
    og.write_parquet(table(), tmp_path / "rows")
    rows = og.sql("SELECT * FROM t", {"t": tmp_path / "rows"})
    with pytest.raises(OutputExistsError, match="which is read"):
        og.write_parquet(rows, tmp_path / "rows", overwrite=True)
    assert og.read(tmp_path / "rows").count() == 40


@pytest.mark.parametrize("rows", [table(), table().to_pandas(), np.eye(40)])
def test_rows_of_any_kind_are_written(rows: Any, tmp_path: Path) -> None:
    assert og.write_parquet(rows, tmp_path / "out") == 40
    assert og.read(tmp_path / "out").columns == og.dataset(rows).columns


def test_a_link_stays_and_leads_to_the_new(model: Any, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "model")
    for _ in range(2):
        model.save(tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    og.load(tmp_path / "disk" / "model")


@pytest.mark.parametrize("path", ["s3://bucket/model", "with\0nul"])
def test_what_is_no_path_is_refused(
    model: Any, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match="no path"):
        model.save(path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["m[1]*?", "a" * 250, "späte Modelle", "x.new", ".hidden"])
def test_any_name(model: Any, name: str, tmp_path: Path) -> None:
    for _ in range(2):
        model.save(tmp_path / name, overwrite=True)
        og.score(
            model,
            table(),
            tmp_path / f"{name[:240]}-out",
            errors=tmp_path / f"{name[:240]}-bad",
            overwrite=True,
        )
    og.load(tmp_path / name)
    assert len(list(tmp_path.iterdir())) == 3


# ---- a full disk -------------------------------------------------------------------------------------------

FULL = """
import resource, signal, sys, warnings, pyarrow as pa, numpy as np, outgrow as og
from outgrow.engine.journal import Checkpoint
verb, folder, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
x = np.arange(5000.0)
words = [f"{i:x}" * 9 for i in range(5000)]
rows = pa.table({"id": np.arange(5000), "x": np.where(x % 100 == 7, np.nan, x), "t": words})
clean = pa.table({"x": x, "y": 2 * x})
model = og.LinearRegression().fit(clean, "y")
verbs = {
    "save": lambda: model.save(folder + "/new"),
    "add": lambda: og.ModelStore(folder + "/new").add(model),
    "score": lambda: og.score(model, rows, folder + "/new", errors=folder + "/bad"),
    "write": lambda: og.write_parquet(og.dataset(rows), folder + "/new"),
    "checkpoint": lambda: Checkpoint(folder + "/new").keep(0, bytes(9000)),
    "onnx": lambda: model.to_onnx(folder + "/new"),
}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    verbs[verb]()
except og.errors.StorageError as error:
    print("Cannot write" in str(error))
"""


@pytest.mark.parametrize(("verb", "limit"), [("save", 20), ("save", 200)])
def test_a_full_disk_is_said_and_leaves_nothing_half_written(verb: str, limit: int, tmp_path: Path) -> None:
    """A small file system would need root: a limit on the size of files makes the same system call fail."""
    command = [sys.executable, "-c", FULL, verb, str(tmp_path), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr
    seen = [path for path in tmp_path.rglob("*") if not any(part.startswith(".") for part in path.parts)]
    assert [path for path in seen if path.is_file()] == []


# ---- temporary folders -------------------------------------------------------------------------------------

ABANDON = """
import os, sys, tempfile
tempfile.tempdir = sys.argv[1]
from outgrow._scratch import temporary_folder
with temporary_folder("rows") as folder:
    (folder / "rows.arrow").write_bytes(bytes(1000))
    os._exit(9)
"""


def test_folders_of_killed_processes_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "outgrow-of-somebody-else").mkdir()
    assert subprocess.run([sys.executable, "-c", ABANDON, str(tmp_path)]).returncode == 9
    assert len(list(tmp_path.iterdir())) == 2
    with _scratch.temporary_folder("first") as first, _scratch.temporary_folder("second") as second:
        assert {path.name for path in tmp_path.iterdir()} == {
            "outgrow-of-somebody-else",
            first.name,
            second.name,
        }
    assert [path.name for path in tmp_path.iterdir()] == ["outgrow-of-somebody-else"]


def test_locks_of_killed_processes_go_and_held_ones_stay(tmp_path: Path) -> None:
    for name in (".input=1.lock", ".input=2.lock", "kept"):
        (tmp_path / name).touch()
    with (tmp_path / ".input=2.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        storage.drop_locks(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == [".input=2.lock", "kept"]
    storage.drop_locks(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    storage.drop_locks(tmp_path / "nowhere")


# ---- what is written ---------------------------------------------------------------------------------------


def test_values_that_come_again_alone_get_a_dictionary(tmp_path: Path) -> None:
    count = 3_000
    ids, sizes = [f"id {i}" for i in range(count)], ["small", "large", "huge"] * (count // 3)
    rows = pa.table(
        {
            "id": ids,
            "size": sizes,
            "price": np.random.default_rng(0).normal(size=count),
            "listed": [[size, size] for size in sizes],
            "nested": [{"size": size, "place": {"id": one}} for size, one in zip(sizes, ids, strict=True)],
            "mapped": pa.array(
                [[pair] for pair in zip(sizes, ids, strict=True)], pa.map_(pa.string(), pa.string())
            ),
            "price.raw": np.arange(count) + 0.5,
        }
    )
    og.write_parquet(og.dataset(rows), tmp_path / "out")
    assert og.read(tmp_path / "out").to_arrow().equals(rows)
    (file,) = (tmp_path / "out").glob("*.parquet")
    group = pq.ParquetFile(file).metadata.row_group(0)
    columns = [group.column(j) for j in range(group.num_columns)]
    found = {column.path_in_schema for column in columns if "RLE_DICTIONARY" in column.encodings}
    assert found == {"size", "listed.list.element", "nested.size", "mapped.key_value.key"}
