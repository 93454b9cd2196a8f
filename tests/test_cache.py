"""Rows that are computed once and then read from files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp

import outgrow as og
from outgrow.data.batch import Batch
from outgrow.data.matrix import Matrix
from outgrow.data.scan import Apply, Scan
from outgrow.engine.cache import CacheWriter, cached, forget
from outgrow.engine.stored_matrices import StoredMatrices
from outgrow.errors import InputNotFoundError, OutgrowError, ParameterError
from outgrow.testing import EngineCase


def table(rows: int = 300) -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "x": pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.1),
            "day": pa.array(rng.integers(0, 10, rows), pa.int32()).cast(pa.date32()),
            "word": pa.array(rng.choice(["a", "b", None], rows)),
            "y": rng.integers(0, 2, rows),
        }
    )


def paths(rows: og.Dataset) -> list[Path]:
    return [Path(file["path"]) for file in rows.fingerprint()["source"]["files"]]


def in_order(rows: og.Dataset) -> list[dict[str, Any]]:
    return sorted(rows.to_arrow().to_pylist(), key=repr)


def test_cached_rows_are_the_rows(engine: EngineCase) -> None:
    rows = engine.open(table()).where(og.col("y") == 1)
    kept = rows.cache()
    assert kept.schema == rows.schema
    assert in_order(kept) == in_order(rows)
    assert [part.count() for part in kept.split(0.3)] == [part.count() for part in rows.split(0.3)]
    kept.uncache()


def test_fits_of_cached_rows_are_those_of_the_rows(engine: EngineCase) -> None:
    rows = engine.open(table())
    kept = rows.cache()
    makers = [og.SimpleImputer(columns=["x"]), og.OneHotEncoder(columns=["word"]), og.LogisticRegression()]
    models = [og.Pipeline(makers).fit(each.drop("day"), "y") for each in (rows, kept)]
    np.testing.assert_allclose(models[0].steps[-1].coef_, models[1].steps[-1].coef_, rtol=1e-10)
    kept.uncache()


def test_files_are_written_once_and_removed_when_asked(engine: EngineCase, tmp_path: Path) -> None:
    rows = engine.open(table()).where(og.col("y") < 2)
    kept = rows.cache(tmp_path)
    assert all(path.is_relative_to(tmp_path) for path in paths(kept))
    assert paths(rows.cache(tmp_path)) == paths(kept)
    others = rows.where(og.col("y") == 1)
    assert paths(others.cache(tmp_path)) != paths(kept)
    others.uncache()
    kept.select("x").unpersist()
    assert not any(path.exists() for path in paths(kept))
    with pytest.raises(OutgrowError):
        kept.count()
    assert in_order(rows.cache(tmp_path)) == in_order(rows)
    rows.uncache()
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_functions_are_told_apart() -> None:
    rows = og.dataset(table())

    def dropped(name: str) -> og.Dataset:
        return rows.map(lambda batch: batch.drop([name]))

    first, second = dropped("x").cache(), dropped("y").cache()
    assert "x" not in first.columns
    assert "x" in second.columns
    first.uncache()
    second.uncache()


def test_no_rows(engine: EngineCase) -> None:
    kept = engine.open(table()).where(og.col("y") > 5).cache()
    assert kept.count() == 0
    assert kept.schema.names == ["x", "day", "word", "y"]
    kept.uncache()


def test_files_as_they_are_stay(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "rows.parquet")
    rows = og.read(tmp_path / "rows.parquet")
    assert paths(rows.cache()) == paths(rows)
    rows.uncache()
    assert rows.count() == 300


def test_large_pieces_become_several_files(tmp_path: Path) -> None:
    batches = [batch for start in range(0, 300, 50) for batch in table().slice(start, 50).to_batches()]
    names = CacheWriter(str(tmp_path), table().schema, StoredMatrices({}), 2_000).write(0, iter(batches))
    assert 1 < len(names) < len(batches)
    assert og.read([tmp_path / name for name in names]).to_arrow() == table()


@pytest.mark.parametrize("sparse", [False, True])
def test_vectors_stay_what_they_are(sparse: bool) -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(200, 5)) * (random.random((200, 5)) < 0.3)
    X[7] = 0.0
    y = (X[:, 0] > 0).astype(float)
    vectors = sp.csr_array(X) if sparse else X
    named = Matrix(vectors, tuple("abcde"))

    def with_vectors(batch: Batch) -> Batch:
        rows = batch["row"].to_numpy()
        return batch.with_columns({"v": Matrix(vectors[rows], named.names)})

    numbers = og.dataset(pa.table({"row": np.arange(200), "v_indices": y, "y": y}))
    example = with_vectors(numbers.scan.example())
    rows = Scan(numbers.scan.source, (Apply(with_vectors, example.schema),))
    cached_rows = cached(og.Local(), rows, None)
    try:
        found = [batch for piece in cached_rows.pieces() for batch in piece.batches()]
        assert all(batch["v"].names == named.names and batch["v"].sparse == sparse for batch in found)
        (matrix,) = [batch.matrix(["v"]) for batch in found]
        np.testing.assert_array_equal(matrix.toarray() if sparse else matrix, X)
        assert cached_rows.schema == rows.schema
        np.testing.assert_array_equal(found[0]["v_indices"].to_numpy(), y)
    finally:
        forget(og.Local(), rows)


def test_columns_of_vectors_are_cached_after_a_choice_of_rows() -> None:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6.0)), 2)
    rows = og.dataset(pa.table({"v": vectors, "y": [0, 1, 0]})).where(og.col("y") == 0)
    found = rows.cache()
    assert found.schema == rows.schema
    assert found.to_arrow() == rows.to_arrow()
    rows.uncache()


def test_a_fork_that_ends_leaves_the_files_to_its_parent(tmp_path: Path) -> None:
    code = f"""
import os, sys, outgrow as og
rows = og.sql("SELECT range AS a FROM range(10)").cache({str(tmp_path)!r})
child = os.fork()
if not child:
    rows.uncache() if sys.argv[1:] else rows.count()
    sys.exit()
os.waitpid(child, 0)
assert rows.count() == 10
"""
    for arguments in ([], ["uncache"]):
        subprocess.run([sys.executable, "-c", code, *arguments], check=True)
        assert not list(tmp_path.iterdir())


def test_the_folder_is_made(tmp_path: Path) -> None:
    rows = og.sql("SELECT range AS a FROM range(10)").cache(tmp_path / "one" / "two")
    assert rows.count() == 10
    rows.uncache()
    with pytest.raises(
        InputNotFoundError, match=r"was removed after these rows were opened\. Write it again"
    ):
        rows.count()


@pytest.mark.parametrize("keep", [False, True])
def test_what_is_no_folder_is_refused(tmp_path: Path, keep: bool) -> None:
    (tmp_path / "file").touch()
    rows = og.dataset(pa.table({"a": [1, 2]})).where(og.col("a") > 1)
    with pytest.raises(ParameterError, match=r"file is a file\. Give a folder"):
        rows.cache(tmp_path / "file", keep=keep)
    with pytest.raises(ParameterError, match="no path of a file system"):
        rows.cache("s3://bucket/rows", keep=keep)


def test_files_go_with_the_process(tmp_path: Path) -> None:
    code = f"""
import pyarrow as pa, outgrow as og
rows = og.sql("SELECT range AS a FROM range(10)").cache({str(tmp_path)!r})
assert rows.count() == 10
print(rows.fingerprint()["source"]["files"][0]["path"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    path = Path(done.stdout.strip())
    assert path.is_relative_to(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.spark
def test_a_changed_file_is_another_input(spark: Any, tmp_path: Path) -> None:
    pq.write_table(table(10), tmp_path / "rows.parquet")
    before = og.dataset(spark.read.parquet(str(tmp_path))).cache()
    pq.write_table(table(20), tmp_path / "rows.parquet")
    after = og.dataset(spark.read.parquet(str(tmp_path))).cache()
    assert (before.count(), after.count()) == (10, 20)
    before.uncache()
    after.uncache()


KEEP = """
import sys, pathlib, outgrow as og
from outgrow.engine import kept
written = []
write = kept._draft
def draft(*given):
    written.append(given)
    return write(*given)
kept._draft = draft
rows = og.read(sys.argv[1]).where(og.col("y") == 1).cache(sys.argv[2], keep=True, max_bytes="1GiB")
print(rows.count(), len(written))
"""


def kept_by_another(path: Path, folder: Path) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-c", KEEP, path, folder], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()


def test_kept_rows_are_found_by_another_session_until_the_input_changes(tmp_path: Path) -> None:
    path, folder = tmp_path / "rows.parquet", tmp_path / "kept"
    pq.write_table(table(), path)
    rows = og.read(path).where(og.col("y") == 1)
    count = str(rows.count())
    assert kept_by_another(path, folder) == [count, "1"]
    assert kept_by_another(path, folder) == [count, "0"]
    kept = rows.cache(folder, keep=True)
    assert in_order(kept) == in_order(rows)
    pq.write_table(table(500), path)
    assert kept_by_another(path, folder)[1] == "1"
    kept.uncache()
    assert len(list(folder.iterdir())) == 1  # that of the other input


def test_kept_rows_make_room_for_others_that_nobody_uses(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(table(3000), path)
    rows = [og.read(path).where(og.col("y") == y) for y in (0, 1)]
    first = rows[0].cache(tmp_path / "kept", keep=True)
    size = sum(file.stat().st_size for file in paths(first))
    second = rows[1].cache(tmp_path / "kept", keep=True, max_bytes=int(1.5 * size))
    assert in_order(first) == in_order(rows[0])  # in use
    first.uncache()
    second.uncache()
    kept_by_another(path, tmp_path / "kept")
    kept = rows[0].cache(tmp_path / "kept", keep=True, max_bytes=int(1.5 * size))
    assert [each.name for each in (tmp_path / "kept").iterdir()] == [paths(kept)[0].parent.name]
    kept.uncache()
    with pytest.raises(ParameterError, match="max_bytes=10"):
        rows[0].cache(tmp_path / "kept", keep=True, max_bytes=10)
    assert list((tmp_path / "kept").iterdir()) == []


def test_what_a_fitted_transformer_makes_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(table(), path)

    def kept(**parameters: bool) -> str:
        scaler = og.StandardScaler(columns=["x"], **parameters).fit(og.read(path))
        rows = scaler.transform(og.read(path)).cache(tmp_path / "kept", keep=True)
        return repr(rows.to_arrow()["x"].to_pylist())

    first = kept()
    assert kept() == first
    assert len(list((tmp_path / "kept").glob("kept-*"))) == 1
    assert kept(with_mean=False) != first
    assert len(list((tmp_path / "kept").glob("kept-*"))) == 2


def test_rows_that_nothing_tells_apart_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(table(), path)

    class Mine(og.StandardScaler):
        """Whose code may be another one tomorrow."""

    scaled = Mine(columns=["x"]).fit(og.read(path)).transform(og.read(path))
    with pytest.raises(ParameterError, match="Keep the rows before it"):
        scaled.cache(tmp_path / "kept", keep=True)
    with pytest.raises(ParameterError, match="in which folder"):
        og.read(path).where(og.col("y") == 1).cache(keep=True)
    with pytest.raises(ParameterError, match="keep=True"):
        og.read(path).where(og.col("y") == 1).cache(tmp_path, max_bytes=5)


@pytest.mark.spark
def test_a_dataframe_is_kept_by_its_plan_and_files(spark: Any, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(table(), path)
    frame = spark.read.parquet(str(path)).where("y = 1")
    kept = og.dataset(frame).cache(tmp_path / "kept", keep=True)
    assert in_order(kept) == in_order(og.read(path).where(og.col("y") == 1))
    same = og.dataset(spark.read.parquet(str(path)).where("y = 1")).cache(tmp_path / "kept", keep=True)
    assert paths(same) == paths(kept)
    with pytest.raises(ParameterError, match="these read no files"):
        og.dataset(spark.range(5)).cache(tmp_path / "kept", keep=True)
    kept.uncache()
