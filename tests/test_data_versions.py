"""Versions of data: named, recorded in models and jobs, read again, and told from others by fingerprints."""

from __future__ import annotations

import datetime
import hashlib
import importlib
import json
import os
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import deltalake
import h5py
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import csv, feather, orc
from pyarrow import parquet as pq

import outgrow as og
from outgrow.data import dvc
from outgrow.data.open import named_path
from outgrow.errors import DataChangedWarning, DataError, InputNotFoundError, ParameterError
from outgrow.job.load import load_job
from outgrow.job.run import run_job

ROWS = 400
RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(ROWS, 2))
TABLE = pa.table(
    {
        "a": X[:, 0],
        "b": X[:, 1],
        "n": pa.array([None if i % 7 == 0 else i for i in range(ROWS)], pa.int32()),
        "town": pa.array([None if i % 11 == 0 else f"town {i % 5} of {'x' * (i % 20)}" for i in range(ROWS)]),
        "day": pa.array([datetime.date(2026, 1, 1) + datetime.timedelta(i % 90) for i in range(ROWS)]),
        "late": 2 * X[:, 0] - X[:, 1] + RANDOM.normal(size=ROWS),
    }
)


def as_delta(folder: Path) -> str:
    path = str(folder / "flights")
    for start in (0, 200):
        deltalake.write_deltalake(path, TABLE.slice(start, 200), mode="append")
    return path


def fitted(rows: Any) -> Any:
    return og.LinearRegression().fit(rows.select("a", "b", "late"), "late")


def test_a_model_is_trained_again_from_its_record_alone(tmp_path: Path) -> None:
    path = as_delta(tmp_path)
    model = fitted(og.read(f"delta://{path}@v0"))
    model.save(tmp_path / "model")
    deltalake.write_deltalake(path, TABLE.slice(0, 10), mode="overwrite")
    data = og.DatasetVersion.from_dict(og.load(tmp_path / "model").fit_record_.data)
    assert (data.kind, data.version, data.uri) == ("delta", 0, f"{path}@v0")
    again = fitted(og.read(data))
    assert again.coef_.tobytes() == model.coef_.tobytes()
    assert again.intercept_ == model.intercept_
    assert og.read(data).count() == 200


def test_a_job_and_its_model_say_which_version_they_read(tmp_path: Path) -> None:
    path = as_delta(tmp_path)
    job = {"name": "late", "data": {"path": f"{path}@v0", "drop": ["town", "day", "n"]}, "target": "late"}
    job |= {"model": "LinearRegression", "output": str(tmp_path / "run")}
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    run_job(load_job(tmp_path / "job.yaml"), og.Local())
    version = json.loads((tmp_path / "run" / "run.json").read_text())["version"]
    assert (version["kind"], version["version"], version["uri"]) == ("delta", 0, f"{path}@v0")
    learned = og.load(tmp_path / "run" / "model").fit_record_.data
    assert learned["uri"] == f"{path}@v0"
    assert any("hash of" in step for step in learned["steps"])


def test_versions_that_are_not_there_name_the_nearest(tmp_path: Path) -> None:
    path = as_delta(tmp_path)
    with pytest.raises(DataError, match=r"versions 0 to 1: the nearest is @v1"):
        og.read(f"{path}@v12")
    with pytest.raises(DataError, match=r"had no version on 2020-01-01.*the first, @v0, is of 20"):
        og.read(f"delta://{path}@2020-01-01")
    with pytest.raises(ParameterError, match="no time"):
        og.read(f"delta://{path}@2020-13-01")


def test_iceberg_snapshots_and_tags() -> None:
    with tempfile.TemporaryDirectory(prefix="outgrow-lake-") as folder:
        catalogs = importlib.import_module("pyiceberg.catalog")
        settings = {"uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}"}
        os.environ.update(
            {f"PYICEBERG_CATALOG__VERSIONS__{key.upper()}": value for key, value in settings.items()}
        )
        catalogs._ENV_CONFIG = importlib.import_module("pyiceberg.utils.config").Config()
        catalog = catalogs.load_catalog("versions")
        catalog.create_namespace("ns")
        table = catalog.create_table("ns.flights", schema=TABLE.schema)
        table.append(TABLE.slice(0, 100))
        first = table.current_snapshot().snapshot_id
        table.manage_snapshots().create_tag(first, "monthly").commit()
        table.append(TABLE.slice(100))
        tagged = og.read("iceberg://versions/ns.flights@monthly")
        assert tagged.version().uri == f"iceberg://versions/ns.flights@v{first}"
        assert (tagged.version().rows, tagged.count()) == (100, 100)
        assert og.read(tagged.version()).count() == 100
        assert og.read(f"iceberg://versions/ns.flights@{first}").count() == 100
        for name in ("2026-11-01", "2026-13-01", "v12", "12"):
            table.manage_snapshots().create_tag(first, name).commit()
            assert og.read(f"iceberg://versions/ns.flights@{name}").count() == 100
        with pytest.raises(ParameterError, match="no time"):
            og.read("iceberg://versions/ns.flights@2026-14-01")
        with pytest.raises(DataError, match=r"no snapshot for @monthyl.*main, monthly"):
            og.read("iceberg://versions/ns.flights@monthyl")
        with pytest.raises(DataError, match=rf"no snapshot for @v77.*@v{first}"):
            og.read("iceberg://versions/ns.flights@v77")


def git(folder: Path, *words: str) -> str:
    about = ["-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(folder), *about, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def cached(repository: Path, md5: str) -> Path:
    return repository / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]


def keep(repository: Path, data: bytes, ending: str = "") -> str:
    """The digest under which the cache of a repository has some bytes."""
    md5 = hashlib.md5(data).hexdigest() + ending
    cached(repository, md5).parent.mkdir(parents=True, exist_ok=True)
    cached(repository, md5).write_bytes(data)
    return md5


def keep_file(repository: Path, name: str, data: bytes) -> str:
    md5 = keep(repository, data)
    note = {"outs": [{"md5": md5, "size": len(data), "hash": "md5", "path": name}]}
    (repository / f"{name}.dvc").write_text(json.dumps(note))
    return md5


def keep_folder(repository: Path, name: str, files: dict[str, bytes]) -> str:
    listed = [{"md5": keep(repository, data), "relpath": below} for below, data in files.items()]
    md5 = keep(repository, json.dumps(listed).encode(), ".dir")
    note = {"outs": [{"md5": md5, "size": sum(map(len, files.values())), "path": name}]}
    (repository / f"{name}.dvc").write_text(json.dumps(note))
    return md5


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one of Git and DVC, in which the test works."""
    (tmp_path / ".dvc").mkdir()
    git(tmp_path, "init", "-q")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commit_as(repository: Path, tag: str) -> None:
    git(repository, "add", ".")
    git(repository, "commit", "-qm", tag)
    git(repository, "tag", tag)


def test_revisions_that_dvc_keeps(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    git(tmp_path, "init", "-q")
    first = keep(tmp_path, b"x,y\n1,2\n")
    for name, text in (("v1", "x,y\n1,2\n"), ("v2", "x,y\n1,2\n3,4\n")):
        md5 = keep_file(tmp_path, "rows.csv", text.encode())
        made = keep(tmp_path, json.dumps([{"md5": md5, "relpath": "k=1/part.csv"}]).encode(), ".dir")
        lock = {"stages": {"make": {"cmd": "x", "outs": [{"path": "made", "md5": made}]}}}
        (tmp_path / "dvc.lock").write_text(json.dumps(lock))
        git(tmp_path, "add", "rows.csv.dvc", "dvc.lock")
        git(tmp_path, "commit", "-qm", name)
        git(tmp_path, "tag", name)
    assert og.read(f"dvc://{tmp_path}/rows.csv").count() == 2
    old = og.read(f"dvc://{tmp_path}/rows.csv@v1")
    assert old.to_arrow().to_pylist() == [{"x": 1, "y": 2}]
    version = old.version()
    commit = git(tmp_path, "rev-parse", "v1")
    assert (version.kind, version.version) == ("dvc", commit)
    assert og.read(og.DatasetVersion.from_dict(json.loads(json.dumps(version.to_dict())))).count() == 1
    assert og.read(f"dvc://{tmp_path}/made@v2").columns == ["x", "y", "k"]
    with pytest.raises(InputNotFoundError, match=r"no revision 'v3'\. The nearest is @v"):
        og.read(f"dvc://{tmp_path}/rows.csv@v3")
    with pytest.raises(InputNotFoundError, match="DVC keeps no"):
        og.read(f"dvc://{tmp_path}/other.csv@v1")
    cached(tmp_path, first).unlink()
    with pytest.raises(InputNotFoundError, match="dvc fetch"):
        og.read(f"dvc://{tmp_path}/rows.csv@v1")


def test_a_name_that_dvc_keeps_may_hold_an_at_sign(repository: Path) -> None:
    keep_file(repository, "a@b.csv", b"x\n1\n2\n")
    commit_as(repository, "v1")
    keep_file(repository, "a@b.csv", b"x\n1\n")
    commit_as(repository, "v2")
    assert og.read("dvc://a@b.csv").count() == 1
    old = og.read("dvc://a@b.csv@v1")
    assert old.count() == og.read(old.version()).count() == 2


@pytest.mark.parametrize("revision", ["", "@v1"])
def test_what_lies_in_a_folder_that_dvc_keeps(revision: str, repository: Path) -> None:
    files = {"sub/one.csv": b"x\n1\n", "sub/two.csv": b"x\n2\n", "three.csv": b"x\n3\n"}
    keep_folder(repository, "rows", files)
    commit_as(repository, "v1")
    wanted = {"rows/sub/one.csv": [1], "rows/sub": [1, 2], "rows/sub/": [1, 2], "rows": [1, 2, 3]}
    for path, values in wanted.items():
        read = og.read(f"dvc://{path}{revision}")
        assert sorted(read.to_arrow()["x"].to_pylist()) == values
        assert og.read(read.version()).count() == len(values)
    with pytest.raises(InputNotFoundError, match=r"DVC keeps no .*four\.csv"):
        og.read(f"dvc://rows/four.csv{revision}")


def test_bytes_of_dvc_that_were_changed_are_refused(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = keep_file(repository, "rows.csv", b"x\n7\n")
    part = keep(repository, b"x\n1\n")
    listing = keep_folder(repository, "rows", {"a.csv": b"x\n1\n"})
    dos = keep(repository, b"x\n5\n")
    (repository / "dos.csv.dvc").write_text(json.dumps({"outs": [{"md5": dos, "path": "dos.csv"}]}))
    cached(repository, dos).write_bytes(b"x\r\n5\r\n")
    assert og.read("dvc://dos.csv").to_arrow()["x"].to_pylist() == [5]
    cached(repository, changed).write_bytes(b"x\n8\n")
    cached(repository, part).write_bytes(b"x\n12\n")
    for path, md5 in (("rows.csv", changed), ("rows", part)):
        with pytest.raises(DataError, match=f"other bytes than its digest {md5} says.*dvc fetch"):
            og.read(f"dvc://{path}")
    monkeypatch.setattr(dvc, "_HASHED_BYTES", 1)
    with pytest.raises(DataError, match=r"has 5 bytes of dvc://rows, and its notes say 4"):
        og.read("dvc://rows")
    cached(repository, listing).write_bytes(b"[]")
    with pytest.raises(DataError, match="other bytes than its digest"):
        og.read("dvc://rows")


PATHS = ["{name}", "./{name}", "{folder}/{name}", "{folder}/x/../{name}"]
FOLDERS = [*PATHS, "{name}/", "{folder}/{name}/"]
URI = "file://{folder}/{name}"
LAKE = [URI, "delta://{name}", "delta://{folder}/{name}", "delta://file://{folder}/{name}"]
SOURCES = {
    "rows.parquet": [*PATHS, URI],
    "rows.arrow": [*PATHS, URI],
    "rows.csv": [*PATHS, URI],
    "rows.orc": [*PATHS, URI],
    "rows.npy": [*PATHS, URI],
    "rows.h5::group": PATHS,
    "parted": [*FOLDERS, URI],
    "parted/*/*.parquet": [*PATHS, URI],
    "delta @ ü": [*FOLDERS, *LAKE, "delta://{folder}/{name}/"],
    "delta @ ü@v0": [*PATHS, *LAKE],
    "delta @ ü@2099-01-01": [*PATHS, *LAKE],
}
"""Sources by their names in a folder, and how paths of them may be written."""


def write_sources(folder: Path) -> None:
    rows = TABLE.select(["a", "late"])
    pq.write_table(rows, folder / "rows.parquet")
    feather.write_feather(rows, folder / "rows.arrow", compression="uncompressed")
    csv.write_csv(rows, folder / "rows.csv")
    orc.write_table(rows, folder / "rows.orc")
    np.save(folder / "rows.npy", X)
    with h5py.File(folder / "rows.h5", "w") as file:
        file["group/a"] = X[:, 0]
    og.write_parquet(TABLE, folder / "parted", partition_by="town")
    deltalake.write_deltalake(str(folder / "delta @ ü"), rows)


@pytest.mark.parametrize("name", SOURCES)
def test_a_record_is_read_again_however_its_path_was_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sources(tmp_path)
    seen = set()
    for form in SOURCES[name]:
        monkeypatch.chdir(tmp_path)
        read = og.read(form.format(name=name, folder=tmp_path))
        rows = read.to_arrow()
        version = og.DatasetVersion.from_dict(json.loads(json.dumps(read.version().to_dict())))
        monkeypatch.chdir("/")
        again = og.read(version)
        assert again.version().fingerprint == version.fingerprint, form
        assert again.to_arrow().equals(rows), form
        seen.add((version.kind, version.version, version.fingerprint))
    assert len(seen) == 1


def test_a_saved_model_leads_to_its_table_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    deltalake.write_deltalake("flights", TABLE.select(["a", "b", "late"]))
    og.LinearRegression().fit(og.read("flights"), "late").save("model")
    monkeypatch.chdir("/")
    data = og.DatasetVersion.from_dict(og.load(tmp_path / "model").fit_record_.data)
    assert og.read(data).count() == ROWS


@pytest.mark.parametrize("kind", ["npy", "images"])
def test_a_record_of_a_folder_is_read_as_such_a_folder(kind: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X)
    np.save(tmp_path / "b.npy", X[:, 0])
    for name in "cd":
        Image.new("RGB", (2, 2)).save(tmp_path / f"{name}.png")
    rows = og.read(tmp_path, format=kind)
    assert og.read(rows.version(), format=kind).count() == rows.count()


def test_files_that_are_not_what_was_recorded(tmp_path: Path) -> None:
    for number in range(3):
        pq.write_table(TABLE.slice(number * 100, 100), tmp_path / f"{number}.parquet")
    version = og.read(tmp_path).version()
    assert (version.rows, version.file_count, version.uri) == (300, 3, str(tmp_path))
    assert og.read(version).count() == 300
    pq.write_table(TABLE, tmp_path / "new.parquet")
    assert og.read(version).count() == 300
    with pytest.raises(DataError, match="the record was edited"):
        og.read(replace(version, fingerprint="0" * 64))
    pq.write_table(TABLE.slice(0, 50), tmp_path / "1.parquet")
    with pytest.raises(DataError, match=r"not what was recorded: changed: .*1\.parquet\."):
        og.read(version)
    (tmp_path / "1.parquet").unlink()
    with pytest.raises((DataError, InputNotFoundError), match=r"1\.parquet"):
        og.read(version)
    with pytest.raises(DataError, match="cannot be read again from a record"):
        og.read(og.dataset(TABLE).version())
    with pytest.raises(ParameterError, match="no record of a version"):
        og.DatasetVersion.from_dict({"uri": "x"})


def test_rows_that_change_during_a_fit_are_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(TABLE.select(["a", "late"]), path)

    def changed(batch: Any) -> Any:
        if batch.num_rows:
            os.utime(path, (1, 1))
        return batch

    with pytest.warns(DataChangedWarning, match="was changed while it was read"):
        model = og.LinearRegression().fit(og.read(path).map(changed), "late")
    assert model.fit_record_.data["changed"]


def test_the_strong_fingerprint_is_of_the_rows_alone(tmp_path: Path) -> None:
    strong = og.dataset(TABLE).version(strong=True).strong
    order = RANDOM.permutation(ROWS)
    mixed = TABLE.take(order).select(["town", "late", "n", "day", "b", "a"])
    mixed = mixed.set_column(2, "n", mixed["n"].cast(pa.int64()))
    for start in (0, 150):
        pq.write_table(
            mixed.slice(start, 150 if not start else 250), tmp_path / f"{start}.parquet", row_group_size=37
        )
    assert og.read(tmp_path).version(strong=True).strong == strong
    deltalake.write_deltalake(str(tmp_path / "delta"), mixed)
    assert og.read(str(tmp_path / "delta")).version(strong=True).strong == strong
    encoded = TABLE.set_column(3, "town", TABLE["town"].dictionary_encode())
    assert og.dataset(encoded).version(strong=True).strong == strong


@pytest.mark.parametrize("column", ["a", "n", "town", "day"])
def test_the_strong_fingerprint_sees_one_value(column: str) -> None:
    values = TABLE[column].to_pylist()
    values[123], values[250] = values[250], values[123]
    index = TABLE.schema.get_field_index(column)
    other = TABLE.set_column(
        index, TABLE.schema.field(column), pa.array(values, TABLE.schema.field(column).type)
    )
    before = og.dataset(TABLE).version(strong=True).strong
    assert og.dataset(other).version(strong=True).strong != before


def test_the_strong_fingerprint_tells_large_numbers_and_texts_apart() -> None:
    def strong(values: Any) -> str | None:
        return og.dataset(pa.table({"a": values})).version(strong=True).strong

    large = 2**53
    kinds: list[list[Any]] = [
        [large, 1],
        [large + 1, 1],
        [1, large],
        ["a", "b"],
        ["ab", ""],
        ["", "ab\0"],
        ["", "ab"],
    ]
    kinds += [
        ["a" * 8, "b"],
        ["a" * 9, "b"],
        [None, "ab"],
        [1.0, None],
        [0.0, 1.0],
        [[1, 2], [3]],
        [[2, 1], [3]],
    ]
    digests = [strong(values) for values in kinds]
    assert digests[0] == digests[2]
    assert digests[4] == digests[6]
    assert len(set(digests)) == len(kinds) - 2
    assert strong([-0.0]) == strong([0])
    assert strong(pa.array(["x", "yy", "zzz"]).slice(1)) == strong(["zzz", "yy"])


def test_what_a_query_read_is_named() -> None:
    version = og.sql("SELECT a FROM t WHERE a > 0", {"t": TABLE}).version()
    assert version.kind == "query"
    assert version.inputs["t"].kind == "table"
    assert og.DatasetVersion.from_dict(version.to_dict()) == version


def test_uris_are_recorded_without_their_secrets() -> None:
    _, origin = named_path("s3://key:secret@repo/main/flights")
    assert origin is not None
    assert origin.uri == "s3://repo/main/flights"
