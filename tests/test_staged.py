"""Rows of Spark DataFrames on their way to the ranks of a fit, in files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.data.scan import Scan
from outgrow.engine.spark.batches import batch_properties
from outgrow.engine.spark.files import as_files
from outgrow.engine.spark.frames import FrameSource, StreamPiece
from outgrow.engine.spark.staged import StagedPiece, StagedSource, StageWriter, staged
from outgrow.engine.spark.supervise import is_connect
from outgrow.engine.spark.vectors import VectorColumn
from outgrow.errors import DataError, InputNotFoundError, RankLostWarning, SchemaError

pytestmark = pytest.mark.spark
BYTES = "spark.sql.execution.arrow.maxBytesPerBatch"
RECORDS = "spark.sql.execution.arrow.maxRecordsPerBatch"


def table(rows: int = 200) -> pa.Table:
    rng = np.random.default_rng(0)
    x = rng.normal(size=rows)
    return pa.table({"x": x, "word": rng.choice(["a", "b"], rows), "y": (x > 0).astype(int)})


def left_in(folder: Path) -> list[Path]:
    return list(folder.glob("outgrow-rows-*"))


@pytest.fixture
def engine(spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> og.Spark:
    """An engine that knows a folder which all tasks reach, whatever the cluster."""
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(tmp_path))
    return og.Spark(spark, checkpoint=tmp_path)


def coefficients(rows: Any) -> np.ndarray:
    return np.asarray(og.LogisticRegression().fit(rows, "y").coef_)


def test_ranks_map_files_that_go_with_the_fit(engine: og.Spark, tmp_path: Path) -> None:
    rows = og.dataset(engine.session.createDataFrame(table()), engine=engine).drop("word")
    seen: list[Path] = []
    with og.listen(lambda event: seen.extend(left_in(tmp_path))):
        np.testing.assert_allclose(coefficients(rows), coefficients(table().drop(["word"])), rtol=1e-9)
    assert seen
    assert not left_in(tmp_path)


def test_files_go_when_the_fit_fails(engine: og.Spark, tmp_path: Path) -> None:
    rows = og.dataset(engine.session.createDataFrame(table()), engine=engine)
    with pytest.raises(SchemaError, match="no such word"):
        rows.engine.fit(_refuse, rows.scan)
    assert not left_in(tmp_path)


def _refuse(shard: Any) -> None:
    shard.reduce(lambda batch: np.zeros(1))
    raise SchemaError("no such word")


def test_without_the_folder_rows_come_by_a_shuffle(
    engine: og.Spark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(tmp_path / "gone"))
    engine.checkpoint = None
    rows = og.dataset(engine.session.createDataFrame(table()), engine=engine)
    notes: list[str] = []
    with og.listen(lambda event: notes.append(event.note or "")):
        assert rows.count() == 200
    if engine.shared_folder is not None:
        assert any("by a shuffle instead" in note for note in notes)


def test_a_worker_that_dies_while_it_writes_costs_no_fit(engine: og.Spark, tmp_path: Path) -> None:
    marker = str(tmp_path / "died")

    def deadly(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            yield from batches
        else:
            os._exit(1)

    frame = engine.session.createDataFrame(table()).repartition(2)
    rows = og.dataset(frame.mapInArrow(deadly, frame.schema), engine=engine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankLostWarning)
        assert rows.count() == 200
    assert os.path.exists(marker)
    assert not left_in(tmp_path)


def test_columns_of_vectors_are_cached(engine: og.Spark, tmp_path: Path) -> None:
    from pyspark.ml.linalg import Vectors

    random = np.random.default_rng(0)
    y = random.integers(0, 2, 60)
    rows = [
        (Vectors.dense([float(label), 1.0, at]), Vectors.sparse(4, {at % 4: 1.0 + label}), int(label))
        for at, label in enumerate(y)
    ]
    frame = engine.session.createDataFrame(rows, ["dense", "sparse", "y"]).repartition(2)
    given = og.dataset(frame, engine=engine)
    first = coefficients(given)
    found = given.cache(tmp_path)
    assert found.scan.example()["sparse"].sparse
    assert found.schema == given.schema
    np.testing.assert_allclose(coefficients(found), first, rtol=1e-9)
    np.testing.assert_allclose(coefficients(og.dataset(frame, engine=engine)), first, rtol=1e-9)
    given.uncache()


def test_rows_of_one_size_come_in_batches_of_the_bytes_that_the_session_says(engine: og.Spark) -> None:
    session = engine.session
    frame = session.createDataFrame(table(1000)).repartition(1)
    numbers = FrameSource(frame.drop("word"))
    session.conf.set(BYTES, 1600)
    try:
        found = batch_properties(numbers)
    finally:
        session.conf.unset(BYTES)
    sizes = list(engine.each_piece(Scan(numbers), _sizes, stage="sizes"))
    assert is_connect(session) or found == {RECORDS: "94", BYTES: str(2**31 - 1)}
    assert sum(sizes[0]) == 1000


def test_rows_of_many_sizes_and_those_that_other_functions_get_keep_their_limit(engine: og.Spark) -> None:
    frame = engine.session.createDataFrame(table())
    assert batch_properties(FrameSource(frame)) == {}
    numbers = frame.drop("word")
    handed = numbers.mapInArrow(lambda batches: batches, numbers.schema)
    assert batch_properties(FrameSource(handed)) == {}


def _sizes(number: int, part: StreamPiece) -> list[int]:
    return [batch.num_rows for batch in part.rows]


def test_a_dataframe_that_is_cached_is_computed_once(engine: og.Spark, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    frame = (
        engine.session.createDataFrame(table())
        .drop("word")
        .mapInArrow(_noted(str(runs)), "x double, y bigint")
    )
    rows = og.dataset(frame, engine=engine)
    rows.cache(tmp_path)
    computed = len(list(runs.iterdir()))
    first = coefficients(rows)
    assert rows.where(og.col("y") == 1).count() == int(table()["y"].to_numpy().sum())
    assert len(list(runs.iterdir())) == computed
    rows.uncache()
    np.testing.assert_allclose(coefficients(rows), first, rtol=1e-9)
    assert len(list(runs.iterdir())) > computed


def _noted(folder: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Batches as they are; whoever runs it over some leaves a file."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            Path(folder, os.urandom(8).hex()).touch()
            yield batch

    return run


def test_pieces_choose_columns_and_rows(tmp_path: Path) -> None:
    given = table().to_batches()
    [(path, size)] = StageWriter(str(tmp_path))(3, StreamPiece(iter([given[0].slice(0, 0), *given]), (), {}))
    piece = StagedPiece(path, size, {})
    assert size > table().nbytes
    [whole] = piece.batches(None, None)
    assert whole.to_arrow() == given[0]
    [some] = piece.batches(["y"], pc.field("word") == "a")
    assert some.to_arrow() == given[0].filter(pc.field("word") == "a").select(["y"])


def test_vectors_are_those_that_spark_hands_over(tmp_path: Path) -> None:
    kind = pa.struct(
        {
            "type": pa.int8(),
            "size": pa.int32(),
            "indices": pa.list_(pa.int32()),
            "values": pa.list_(pa.float64()),
        }
    )
    stored = [
        {"type": 1, "size": None, "indices": None, "values": [1.0, 2.0]},
        {"type": 0, "size": 2, "indices": [1], "values": [3.0]},
    ]
    batch = pa.record_batch({"v": pa.array(stored, kind), "x": [1, 2]})
    [(path, size)] = StageWriter(str(tmp_path))(0, StreamPiece(iter([batch]), (), {}))
    piece = StagedPiece(path, size, {"v": VectorColumn(2, sparse=False)})
    [found] = piece.batches(None, pc.field("x") == 2)
    np.testing.assert_array_equal(found.matrix(["v"]), [[0.0, 3.0]])
    [plain] = piece.batches(["x"], None)
    assert list(plain.columns) == ["x"]


def test_no_rows_make_no_file(tmp_path: Path) -> None:
    assert (
        StageWriter(str(tmp_path))(0, StreamPiece(iter([table().to_batches()[0].slice(0, 0)]), (), {})) == []
    )
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_gone_or_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.arrow"
    with pytest.raises(InputNotFoundError, match=r"rows\.arrow is not there"):
        list(StagedPiece(str(path), 0, {}).batches(None, None))
    path.write_bytes(b"no Arrow file at all")
    with pytest.raises(DataError, match=r"rows\.arrow cannot be read"):
        list(StagedPiece(str(path), 0, {}).batches(None, None))


def test_only_the_columns_that_are_read_are_written(engine: og.Spark, tmp_path: Path) -> None:
    frame = engine.session.createDataFrame(table()).withColumnRenamed("word", "a.`word")
    scan = Scan(FrameSource(frame)).select(["y", "a.`word"])

    def write(rows: Scan, writer: StageWriter) -> Iterator[list[tuple[str, int]]]:
        return engine.each_piece(rows, writer, stage="write")

    with staged(scan, "fit", str(tmp_path), write) as found:
        assert isinstance(found.source, StagedSource)
        assert found.source.schema.names == ["y", "a.`word"]
        batches = [batch.to_arrow() for piece in found.pieces() for batch in piece.batches()]
        counted = pa.Table.from_batches(batches)["a.`word"].value_counts().to_pylist()
    assert sorted(map(str, counted)) == sorted(map(str, table()["word"].value_counts().to_pylist()))


def parquet(folder: Path, files: int = 2) -> Path:
    folder.mkdir()
    for number in range(files):
        pq.write_table(table(50 * (number + 1)), folder / f"{number}.parquet")
    return folder


READS: dict[str, Callable[[Any, Path], Any]] = {
    "folder": lambda spark, at: spark.read.parquet(str(at)),
    "one file": lambda spark, at: spark.read.parquet(str(at / "0.parquet")),
    "some files": lambda spark, at: spark.read.parquet(str(at / "0.parquet"), str(at / "1.parquet")),
    "selection": lambda spark, at: spark.read.parquet(str(at)).select("y", "x"),
}
OTHERS: dict[str, Callable[[Any], Any]] = {
    "renamed": lambda frame: frame.withColumnRenamed("x", "z"),
    "names exchanged": lambda frame: frame.select(frame.x.alias("y"), frame.y.alias("x")),
    "other names": lambda frame: frame.toDF("y", "word", "x"),
    "condition": lambda frame: frame.where("x > 0"),
    "limit": lambda frame: frame.limit(5),
    "sample": lambda frame: frame.sample(0.5, seed=1),
    "computed": lambda frame: frame.withColumn("x", frame.x + 1),
    "cast": lambda frame: frame.select(frame.y.cast("double").alias("y")),
    "union": lambda frame: frame.union(frame),
    "of memory": lambda frame: frame.sparkSession.createDataFrame(frame.toArrow()),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
def test_a_dataframe_that_is_files_is_read_as_files(spark: Any, tmp_path: Path, read: Any) -> None:
    frame = read(spark, parquet(tmp_path / "rows"))
    scan = as_files(Scan(FrameSource(frame)))
    assert scan.source.has_pieces != is_connect(spark)
    rows = og.dataset(frame)
    found = rows.engine.fit(_sums, scan).result
    np.testing.assert_allclose(found, [frame.toArrow()[name].to_numpy().sum() for name in ("x", "y")])


def _sums(shard: Any) -> np.ndarray:
    return np.asarray(shard.reduce(lambda batch: batch.matrix(["x", "y"]).sum(axis=0)))


def test_other_dataframes_are_not_taken_for_files(spark: Any, tmp_path: Path) -> None:
    folder = parquet(tmp_path / "rows")
    frame = spark.read.parquet(str(folder))
    frames = {name: change(frame) for name, change in OTHERS.items()}
    frames["schema"] = spark.read.schema("x double, y bigint").parquet(str(folder))
    frames["pattern"] = spark.read.option("pathGlobFilter", "1*").parquet(str(folder))
    frames["keys"] = spark.read.parquet(str(parquet(tmp_path / "key=1")))
    frames["persisted"] = spark.read.parquet(str(parquet(tmp_path / "persisted"))).persist()
    taken = [name for name, each in frames.items() if as_files(Scan(FrameSource(each))).source.has_pieces]
    frames["persisted"].unpersist()
    assert taken == []


def _vectors(spark: Any, folder: Path, *, missing: bool = False) -> Any:
    """Files with a column of vectors, some dense and some sparse, as Spark writes them."""
    linalg = pytest.importorskip("pyspark.ml.linalg")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(60):
        x = rng.normal(size=6) * (rng.random(6) < 0.2)
        dense = linalg.Vectors.dense(x)
        sparse = linalg.Vectors.sparse(6, np.flatnonzero(x).tolist(), x[x != 0].tolist())
        rows.append((number, sparse if number % 3 else dense, float(x.sum()), number % 2))
    rows += [(60, None, 0.0, 0)] * missing
    struct = spark.createDataFrame(rows[:60], ["id", "v", "total", "y"]).schema
    struct["v"].nullable = True
    spark.createDataFrame(rows, struct).repartition(3).write.parquet(str(folder))
    return spark.read.parquet(str(folder))


def test_vectors_in_files_are_read_as_spark_reads_them(spark: Any, tmp_path: Path) -> None:
    frame = _vectors(spark, tmp_path / "rows")
    source = FrameSource(frame)
    scan = as_files(Scan(source))
    assert scan.source.has_pieces != is_connect(spark)
    assert source.vectors == {"v": VectorColumn(6, sparse=True)}
    handed = og.dataset(frame.where("id >= 0"))
    assert not as_files(handed.scan).source.has_pieces
    both = [
        _vector_sums(rows.engine, each) for rows, each in ((og.dataset(frame), scan), (handed, handed.scan))
    ]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-12)
    models = [
        og.LogisticRegression().fit(rows.select(["v", "y"]), "y") for rows in (og.dataset(frame), handed)
    ]
    np.testing.assert_allclose(models[0].coef_, models[1].coef_, rtol=1e-6)
    some = og.dataset(frame).where(pc.field("total") > 0)
    assert some.count() == frame.where("total > 0").count()
    found = _vector_sums(some.engine, as_files(some.scan))
    np.testing.assert_allclose(found.sum(), some.to_arrow()["total"].to_numpy().sum())


def _vector_sums(engine: Any, scan: Scan) -> np.ndarray:
    return np.asarray(
        engine.fit(lambda shard: shard.reduce(lambda b: b.matrix(["v"]).sum(axis=0)), scan).result
    )


def test_missing_vectors_in_files_are_refused(spark: Any, tmp_path: Path) -> None:
    frame = _vectors(spark, tmp_path / "rows", missing=True)
    with pytest.raises(SchemaError, match="'v' holds vectors and 1 nulls"):
        og.LogisticRegression().fit(og.dataset(frame).select(["v", "y"]), "y")
