"""Rows in: formats, selections, splits, and input that cannot be used."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import fsspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from scipy.stats import chisquare

import outgrow as og
from outgrow import errors
from outgrow.data.batch import Batch
from outgrow.data.hashing import row_hash, unit
from outgrow.data.matrix import Matrix, matrix_columns
from outgrow.testing import EngineCase


@pytest.fixture
def table() -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "n": np.arange(1000),
            "x": rng.normal(size=1000),
            "word": rng.choice(["red", "green", "blue"], 1000).tolist(),
            "day": pa.array([datetime(2024, 1, 1 + i % 28) for i in range(1000)]),
        }
    )


def write(table: pa.Table, path: Path) -> str:
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=300)
    elif path.suffix == ".csv":
        pacsv.write_csv(table, path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, default=str) + "\n" for row in table.to_pylist()))
    else:
        feather.write_feather(table, path, compression="uncompressed")
    return str(path)


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl", ".arrow"])
def test_reads_format(table: pa.Table, tmp_path: Path, ending: str) -> None:
    rows = og.read(write(table, tmp_path / f"rows{ending}"))
    assert rows.count() == 1000
    assert rows.select("n", "x").to_arrow().to_pydict() == table.select(["n", "x"]).to_pydict()


def test_reads_folder_pattern_and_list(table: pa.Table, tmp_path: Path) -> None:
    for year in (2023, 2024):
        (tmp_path / f"year={year}").mkdir()
        write(table, tmp_path / f"year={year}" / "rows.parquet")
    (tmp_path / "_SUCCESS").write_text("")
    assert og.read(str(tmp_path)).where(og.col("year") == 2024).count() == 1000
    assert og.read(str(tmp_path / "*" / "*.parquet")).count() == 2000
    assert og.read([str(tmp_path / "year=2023" / "rows.parquet")]).count() == 1000


def test_reads_what_fsspec_opens(table: pa.Table) -> None:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    with fsspec.open("memory://bucket/rows.parquet", "wb") as file:
        file.write(buffer.getvalue())
    assert og.read("memory://bucket/rows.parquet").count() == 1000


@pytest.mark.parametrize(
    "convert", [pa.Table.to_pandas, pl.from_arrow, duckdb.from_arrow, lambda table: table]
)
def test_takes_any_table(table: pa.Table, convert: object) -> None:
    rows = og.dataset(convert(table))  # type: ignore[operator]
    assert rows.columns == ["n", "x", "word", "day"]
    assert rows.to_arrow()["n"].to_pylist() == list(range(1000))


def test_speaks_arrow_itself(table: pa.Table) -> None:
    assert pl.DataFrame(og.dataset(table).select("n")).height == 1000


def test_sql_joins_tables_and_files(table: pa.Table, tmp_path: Path) -> None:
    path = write(table, tmp_path / "rows.parquet")
    names = pa.table({"word": ["red"], "code": [7]})
    rows = og.sql("SELECT r.n, c.code FROM r JOIN c ON r.word = c.word ORDER BY n", {"r": path, "c": names})
    expected = [
        n for n, word in zip(table["n"].to_pylist(), table["word"].to_pylist(), strict=True) if word == "red"
    ]
    assert rows.to_arrow()["n"].to_pylist() == expected
    assert og.sql(f"SELECT count(*) AS c FROM '{path}'").to_arrow()["c"][0].as_py() == 1000


def test_selection_is_pushed_into_the_scan(table: pa.Table, tmp_path: Path) -> None:
    rows = og.read(write(table, tmp_path / "rows.parquet")).where(og.col("n") >= 900).select("n")
    piece = rows.scan.pieces()[0]
    assert piece.columns == ["n"]
    assert piece.where is not None
    assert rows.to_arrow()["n"].to_pylist() == list(range(900, 1000))


def test_split_is_the_same_everywhere(table: pa.Table, engine: EngineCase) -> None:
    rows = engine.open(table)
    train, test = rows.split(test=0.2, seed=7)
    held_out = og.dataset(table).split(test=0.2, seed=7)[1].to_arrow()["n"].to_pylist()
    assert sorted(test.to_arrow()["n"].to_pylist()) == sorted(held_out)
    assert train.count() + test.count() == 1000
    assert 150 < len(held_out) < 250


def test_split_of_a_split_is_independent(table: pa.Table) -> None:
    train, _ = og.dataset(table).split(test=0.5, seed=1)
    again, rest = train.split(test=0.5, seed=1)
    assert abs(again.count() - rest.count()) < 100


def test_split_by_key_and_by_time(table: pa.Table) -> None:
    rows = og.dataset(table)
    train, test = rows.split(test=0.5, seed=3, by="word")
    assert not set(train.to_arrow()["word"].to_pylist()) & set(test.to_arrow()["word"].to_pylist())
    early, late = rows.split(time="day", at=datetime(2024, 1, 15))
    assert (
        max(early.to_arrow()["day"].to_pylist())
        < datetime(2024, 1, 15)
        <= min(late.to_arrow()["day"].to_pylist())
    )


def test_hash_ignores_types_order_and_batches() -> None:
    small = Batch.from_arrow(pa.record_batch({"a": pa.array([1, None], pa.int8()), "b": ["x", "y"]}))
    large = Batch.from_arrow(
        pa.record_batch({"b": pa.array(["x", "y"]).dictionary_encode(), "a": [1.0, float("nan")]})
    )
    assert row_hash(small).tolist() == row_hash(large).tolist()
    assert row_hash(small).tolist() == [*row_hash(small.slice(0, 1)), *row_hash(small.slice(1, 1))]


def test_sample_head_drop_and_pandas(table: pa.Table) -> None:
    rows = og.dataset(table)
    assert 50 < rows.sample(0.1, seed=1).count() < 150
    assert rows.head(3)["n"].to_pylist() == [0, 1, 2]
    assert rows.drop("day", "word").columns == ["n", "x"]
    assert list(rows.to_pandas().columns) == rows.columns


def test_fingerprint_names_what_was_read(table: pa.Table, tmp_path: Path) -> None:
    path = write(table, tmp_path / "rows.parquet")
    first = og.read(path).fingerprint()
    assert first["source"]["files"][0]["path"] == path
    assert first == og.read(path).fingerprint()
    assert first["sha256"] != og.read(path).where(og.col("n") > 3).fingerprint()["sha256"]
    write(table.slice(1), tmp_path / "rows.parquet")
    assert first["sha256"] != og.read(path).fingerprint()["sha256"]


def test_profile(table: pa.Table, engine: EngineCase) -> None:
    rows = table.append_column("gaps", pa.array([None if i % 4 == 0 else float(i % 7) for i in range(1000)]))
    found = engine.open(rows).profile()
    assert found.rows == 1000
    assert found["gaps"].missing == 250
    assert found["gaps"].distinct == 7
    x = table["x"].to_numpy()
    np.testing.assert_allclose([found["x"].mean, found["x"].std], [x.mean(), x.std(ddof=1)])
    assert found["x"].quantiles is not None
    assert abs(found["x"].quantiles[0.5] - np.median(x)) < 0.05
    assert dict(found["word"].top) == {
        w: table["word"].to_pylist().count(w) for w in ("red", "green", "blue")
    }
    assert (found["day"].min, found["day"].max) == ("2024-01-01 00:00:00", "2024-01-28 00:00:00")
    assert found.correlation is not None
    expected = rows.select(list(found.numeric)).to_pandas().corr().to_numpy()
    np.testing.assert_allclose(found.correlation, expected, atol=1e-12)
    assert "gaps" in str(found)
    assert found.to_arrow().num_rows == 5


def test_matrix_of_columns_is_a_view() -> None:
    values = np.asfortranarray(np.random.default_rng(0).normal(size=(100, 4)))
    batch = Batch(matrix_columns(values, list("abcd")), 100)
    assert np.shares_memory(batch.matrix(), values)
    np.testing.assert_array_equal(batch.slice(10, 5).matrix(["b", "c"]), values[10:15, 1:3])
    apart = Batch({name: pa.array(values[:, j].copy()) for j, name in enumerate("ab")}, 100).matrix()
    assert (
        apart.flags.f_contiguous
    )  # columns that merely exist are copied: what lies between them is not ours


# ---- input that cannot be used ---------------------------------------------------------------------------


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(errors.InputNotFoundError, match="No data file at"):
        og.read(str(tmp_path / "nothing.parquet"))
    with pytest.raises(FileNotFoundError):
        og.read(str(tmp_path / "*.csv"))


def test_unknown_format(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("a\n1\n")
    with pytest.raises(errors.DataError, match="not known from its ending"):
        og.read(str(tmp_path / "rows.txt"))


def test_truncated_parquet(table: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write(table, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(errors.DataError, match="may be truncated"):
        og.read(str(path)).count()


def test_files_with_different_schemas(table: pa.Table, tmp_path: Path) -> None:
    write(table, tmp_path / "a.parquet")
    write(table.drop(["x"]).append_column("z", pa.array([1] * 1000)), tmp_path / "b.parquet")
    with pytest.raises(
        errors.SchemaError, match=r"(?s)b\.parquet has other columns.*- x: double.*\+ z: int64"
    ):
        og.read(str(tmp_path)).count()


def test_duplicate_columns(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(errors.SchemaError, match=r"several columns named \['a'\]"):
        og.dataset(twice)
    pq.write_table(twice, tmp_path / "rows.parquet")
    with pytest.raises(errors.SchemaError, match=r"several columns named \['a'\]"):
        og.read(str(tmp_path / "rows.parquet")).count()
    with pytest.raises(errors.SchemaError, match="several columns"):
        og.dataset(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_missing_column(table: pa.Table) -> None:
    with pytest.raises(errors.ColumnNotFoundError, match="No column 'nope' among"):
        og.dataset(table).select("nope")
    with pytest.raises(KeyError):
        og.LinearRegression().fit(table, "nope")


def test_bad_query(table: pa.Table) -> None:
    with pytest.raises(errors.DataError, match=r"(?s)cannot be run.*Tables: \['t'\]"):
        og.sql("SELECT nope FROM t", {"t": table})


@pytest.mark.parametrize("share", [0, 1, -0.5, 2, None])
def test_split_share(table: pa.Table, share: float | None) -> None:
    with pytest.raises(errors.ParameterError, match="between 0 and 1"):
        og.dataset(table).split(test=share)


def test_mixed_objects() -> None:
    frame = pd.DataFrame({"a": [1, "x", 2.5]})
    with pytest.raises(errors.DataError, match="cannot become a table"):
        og.dataset(frame)


def test_read_takes_paths_and_says_what_takes_rows(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "rows.parquet")
    assert og.read(tmp_path / "rows.parquet").count() == 2
    assert og.read([tmp_path / "rows.parquet"]).count() == 2
    with pytest.raises(errors.InputNotFoundError, match=r"A Table is no path.*og\.dataset"):
        og.read(pa.table({"a": [1]}))
    with pytest.raises(errors.InputNotFoundError, match="empty list"):
        og.read([])


def test_joined_batches_are_the_rows_of_all():
    table = pa.table(
        {
            "number": [1.0, 2.0, 3.0, None, 5.0],
            "whole": [1.5, 2.5, 3.5, 4.5, 5.5],
            "again": [0.0, 1.0, 2.0, 3.0, 4.0],
            "count": [1, 2, 3, 4, 5],
            "text": pa.array(["a", "b", None, "b", "c"]),
            "word": pa.array(["x", "y", "x", "z", "z"]).dictionary_encode(),
        }
    )
    parts = [Batch.from_arrow(table.slice(start, 2).to_batches()[0]) for start in (0, 2, 4)]
    joined = Batch.joined(parts)
    assert joined.to_arrow().to_pylist() == table.to_pylist()
    side_by_side = joined.matrix(["whole", "again"])
    assert side_by_side.base is not None, "floats without nulls lie side by side: nothing was copied"
    np.testing.assert_array_equal(side_by_side[:, 0], table["whole"])


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_joined_batches_keep_their_vectors(form):
    values = np.arange(12.0).reshape(6, 2) % 5
    parts = [Batch({"v": Matrix(form(values[start : start + 3]), ("v_0", "v_1"))}, 3) for start in (0, 3)]
    joined = Batch.joined(parts)["v"]
    assert joined.names == ("v_0", "v_1")
    np.testing.assert_array_equal(joined.values.toarray() if joined.sparse else joined.values, values)


def test_joined_words_of_different_dictionaries():
    parts = [
        Batch.from_arrow(pa.RecordBatch.from_pydict({"word": pa.array(words).dictionary_encode()}))
        for words in (["x", "y"], ["z", "x", None])
    ]
    assert Batch.joined(parts)["word"].to_pylist() == ["x", "y", "z", "x", None]


GRIDS = {
    "a range": {"a": np.arange(100_000)},
    "tiny steps": {"a": np.arange(100_000) * 1e-9},
    "a grid": {"a": np.repeat(np.arange(250), 400), "b": np.tile(np.arange(400), 250)},
    "bits": {f"bit {j}": (np.arange(2**17) >> j & 1).astype(np.int8) for j in range(17)},
    "twice the same": {"a": np.arange(100_000), "b": np.arange(100_000)},
    "opposites": {"a": np.arange(100_000), "b": -np.arange(100_000)},
    "words": {"word": [f"user-{i}" for i in range(100_000)]},
    "words and numbers": {"word": [f"u{i % 250}" for i in range(100_000)], "n": np.arange(100_000) // 250},
}


@pytest.mark.parametrize("name", sorted(GRIDS))
def test_hashes_of_regular_rows_are_as_good_as_random(name):
    rows = Batch.from_arrow(pa.RecordBatch.from_pydict(GRIDS[name]))
    shares = [unit(row_hash(rows, seed=seed)) for seed in (0, 1)]
    assert len(np.unique(shares[0])) == rows.num_rows
    for parts in (10, 1000):
        assert chisquare(np.bincount((shares[0] * parts).astype(int), minlength=parts)).pvalue > 1e-4
    both = (shares[0] * 10).astype(int) * 10 + (shares[1] * 10).astype(int)
    assert chisquare(np.bincount(both, minlength=100)).pvalue > 1e-4, "seeds give independent choices"
    neighbours = np.diff((shares[0] * 10).astype(int)) == 0
    assert neighbours.mean() == pytest.approx(0.1, abs=0.01)


# ---- names of files, queries with comments, folders by value ---------------------------------------------


@pytest.mark.parametrize(
    "name", ["sales[2024].parquet", "part[1].parquet", "run [3]/a.parquet", "a*b?.parquet"]
)
def test_names_that_look_like_patterns(tmp_path: Path, name: str) -> None:
    wanted = tmp_path / name
    wanted.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"x": [1, 2]}), wanted)
    for other in ("part1.parquet", "sales2.parquet", "aXbY.parquet"):
        pq.write_table(pa.table({"x": [9] * 9}), tmp_path / other)
    assert og.read(wanted).count() == 2
    assert og.read([wanted]).count() == 2
    if wanted.parent != tmp_path:
        assert og.read(wanted.parent).count() == 2
        assert og.read(wanted.parent / "*.parquet").count() == 2


@pytest.mark.parametrize(
    "end", ["", " -- the end", ";", "; -- the end", ";;", "\n/* the end */", "; /* a; b */ "]
)
def test_queries_that_end_in_a_comment(end: str) -> None:
    query = "SELECT a, ';' AS b FROM t -- which\nWHERE a > 1" + end
    rows = og.sql(query, {"t": pa.table({"a": [1, 2]})})
    assert rows.to_arrow().to_pylist() == [{"a": 2, "b": ";"}]


@pytest.mark.parametrize(
    "query", ["", "-- nothing", "CREATE TABLE t (a INT)", "SELECT 1; SELECT 2", "SELECT 'open"]
)
def test_what_is_no_query(query: str) -> None:
    with pytest.raises(errors.DataError, match="cannot be run"):
        og.sql(query)


def test_folders_of_many_values(tmp_path: Path) -> None:
    rows = pa.table({"customer": np.arange(1100), "x": np.arange(1100.0)})
    assert og.write_parquet(og.dataset(rows), tmp_path / "out", partition_by="customer") == 1100
    found = og.read(tmp_path / "out").to_arrow().sort_by("customer")
    assert found["customer"].to_pylist() == rows["customer"].to_pylist()


def test_columns_that_cannot_be_written(tmp_path: Path) -> None:
    spans = pa.array([(1, 2, 3)], pa.month_day_nano_interval())
    with pytest.raises(errors.DataError, match=r"\['a', 'spans'\] cannot be written"):
        og.write_parquet(og.dataset(pa.table({"a": [1], "spans": spans})), tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_pages_are_compared_with_their_checksums(tmp_path: Path) -> None:
    table = pa.table({"x": np.random.default_rng(0).normal(size=20_000)})
    og.write_parquet(og.dataset(table), tmp_path / "out")
    file = next((tmp_path / "out").glob("*.parquet"))
    whole = file.read_bytes()
    for at in range(1000, 150_000, 15_000):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        with pytest.raises(errors.DataError, match=r"parquet cannot be read"):
            og.read(file).to_arrow()


def test_links_that_lead_to_a_folder_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "rows" / name).mkdir(parents=True)
        (tmp_path / "rows" / name / "rows.csv").write_text("x\n1\n2\n")
    (tmp_path / "rows" / "a" / "up").symlink_to(tmp_path / "rows")
    (tmp_path / "rows" / "a" / "itself").symlink_to(".")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "more.csv").write_text("x\n3\n")
    (tmp_path / "rows" / "beside").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "rows" / "b")
    (tmp_path / "rows" / "gone.csv").symlink_to(tmp_path / "nowhere")
    assert sorted(og.read(tmp_path / "rows").to_arrow()["x"].to_pylist()) == [1, 1, 1, 2, 2, 2, 3]


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_conditions_on_moments_with_and_without_a_zone(zone: str | None, engine: EngineCase) -> None:
    hours = [datetime(2026, 1, 1, hour) for hour in range(24)]
    rows = engine.open(pa.table({"t": pa.array(hours, pa.timestamp("us", zone)), "n": range(24)}))
    zoned = rows.schema.field("t").type.tz is not None  # Spark gives a zone to moments without one
    noon = datetime(2026, 1, 1, 12)
    with_zone, without = noon.replace(tzinfo=UTC), noon
    fits, other = (with_zone, without) if zoned else (without, with_zone)
    assert rows.where(og.col("t") >= fits).count() == 12
    for condition in (og.col("t") >= other, og.col("t").isin([other])):
        with pytest.raises(errors.ColumnNotFoundError, match="zone"):
            rows.where(condition)
