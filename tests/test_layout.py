"""How files lie, and small files written as large ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import deltalake
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.cli import main
from outgrow.compaction import compact as compacting
from outgrow.compaction import survey as surveying
from outgrow.errors import DataError, OutputExistsError, ParameterError, SchemaError

RANDOM = np.random.default_rng(3)


def small_files(folder: Path, count: int = 60, rows: int = 50, town: str | None = None) -> pa.Table:
    where = folder if town is None else folder / f"town={town}"
    where.mkdir(parents=True, exist_ok=True)
    tables = []
    for number in range(count):
        first = len(tables) * rows
        table = pa.table({"row": range(first, first + rows), "x": RANDOM.normal(size=rows)})
        pq.write_table(table, where / f"{number:04d}.parquet")
        tables.append(table)
    return pa.concat_tables(tables)


def test_small_files_are_named_and_mended(tmp_path: Path) -> None:
    table = small_files(tmp_path / "rows")
    layout = og.layout(tmp_path / "rows", cores=2)
    (finding,) = layout.findings
    assert (finding.what, layout.files, layout.rows, layout.file_sizes[0]) == ("small files", 60, 3000, 60)
    assert finding.before is not None
    assert finding.after is not None
    assert finding.after < finding.before
    assert layout.seconds == pytest.approx(60 * layout.open_seconds + layout.decoded / 400e6 / 2)
    done = og.compact(tmp_path / "rows", tmp_path / "few")
    assert (done.rows, done.files_before, done.files) == (3000, 60, 1)
    assert og.read(tmp_path / "few").to_arrow().equals(table)
    assert not og.layout(tmp_path / "few", cores=2).findings


def test_folders_and_order_stay_and_large_files_are_copied(tmp_path: Path) -> None:
    tables = {town: small_files(tmp_path / "rows", 5, town=town) for town in ("Oslo", "Rom")}
    large = pa.table({"row": range(10_000), "x": RANDOM.normal(size=10_000)})
    pq.write_table(large, tmp_path / "rows" / "town=Rom" / "0002b.parquet")
    done = og.compact(tmp_path / "rows", tmp_path / "few", target=50_000)
    assert (done.files, done.copied) == (4, 1)
    assert og.read(tmp_path / "few").to_arrow().equals(og.read(tmp_path / "rows").to_arrow())
    oslo = pq.ParquetDataset(tmp_path / "few" / "town=Oslo", partitioning=None).read()
    assert oslo.equals(tables["Oslo"])
    strong = [og.read(tmp_path / name).version(strong=True).strong for name in ("rows", "few")]
    assert strong[0] == strong[1]


def test_row_groups_are_written_within_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_files(tmp_path / "rows")
    monkeypatch.setattr(compacting, "GROUP_BYTES", 10_000)
    og.compact(tmp_path / "rows", tmp_path / "few")
    metadata = pq.read_metadata(tmp_path / "few" / "part-000000.parquet")
    assert metadata.num_row_groups == 5
    assert metadata.row_group(0).num_rows == 650


def test_files_of_several_types_become_the_widest(tmp_path: Path) -> None:
    rows, few = tmp_path / "rows", tmp_path / "few"
    rows.mkdir()
    narrow = pa.schema([pa.field("a", pa.int32(), nullable=False), pa.field("b", pa.null())])
    pq.write_table(pa.table([[1, 2], [None, None]], narrow), rows / "0.parquet")
    pq.write_table(pa.table({"b": ["x", None], "a": [2**40, None]}), rows / "1.parquet")
    pq.write_table(
        pa.table({"a": pa.array([3.5]), "b": pa.array(["y"], pa.large_string())}), rows / "2.parquet"
    )
    assert og.compact(rows, few).files == 1
    before, after = (og.read(path).to_arrow() for path in (rows, few))
    assert after.equals(before)
    assert after["a"].to_pylist() == [1.0, 2.0, float(2**40), None, 3.5]


@pytest.mark.parametrize(
    "names",
    [
        ["a", "b/x", "c"],
        ["k=1/a", "k=1-b/a", "k=1/b"],
        ["k=1/a", "k=1/sub/y", "k=1/z", "k=2/a"],
        ["a", "b/a", "b/c/x", "b/d", "e"],
    ],
)
@pytest.mark.parametrize("target", [1 << 10, 128 << 20])
def test_no_row_is_lost_where_a_folder_stands_between_files(
    names: list[str], target: int, tmp_path: Path
) -> None:
    rows, few = tmp_path / "rows", tmp_path / "few"
    for number, name in enumerate(names):
        (rows / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"x": [number] * 100}), rows / f"{name}.parquet")
    done = og.compact(rows, few, target=target)
    assert done.rows == 100 * len(names)
    assert done.files == len(list(few.rglob("*.parquet")))
    for folder in {(rows / name).parent for name in names}:
        before, after = (
            [
                row
                for file in sorted(place.glob("*.parquet"))
                for row in pq.ParquetFile(file).read()["x"].to_pylist()
            ]
            for place in (folder, few / folder.relative_to(rows))
        )
        assert after == before
    assert og.read(few).count() == og.read(rows).count() == done.rows


def test_nothing_is_published_that_has_other_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, few = tmp_path / "rows", tmp_path / "few"
    small_files(rows, 4)
    parts = compacting._parts
    monkeypatch.setattr(compacting, "_parts", lambda *given: [*parts(*given)] * 2)
    with pytest.raises(FileExistsError):
        og.compact(rows, few)
    read = compacting._groups
    monkeypatch.setattr(compacting, "_parts", parts)
    monkeypatch.setattr(compacting, "_groups", lambda *given: (table.slice(1) for table in read(*given)))
    with pytest.raises(DataError, match="has 200 rows by its footers, and of what was written 199"):
        og.compact(rows, few)
    assert not few.exists()


def test_whole_numbers_that_floats_do_not_hold_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [2**60 + 1]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"a": [0.5]}), tmp_path / "1.parquet")
    with pytest.raises(SchemaError, match=r"0\.parquet holds column 'a' as int64; .* becomes double, which"):
        og.compact(tmp_path, tmp_path.with_name(f"{tmp_path.name}-few"))


@pytest.mark.parametrize("verb", [og.layout, lambda rows: og.compact(rows, "few")])
def test_rows_in_memory_have_no_layout(verb: Any) -> None:
    with pytest.raises(ParameterError, match=r"A Table has no files: .*og\.write_parquet"):
        verb(pa.table({"a": [1]}))


def test_groups_and_skew_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(
        pa.table({"x": RANDOM.normal(size=20_000)}), tmp_path / "one.parquet", row_group_size=1_000
    )
    assert [finding.what for finding in og.layout(tmp_path).findings] == ["small row groups"]
    monkeypatch.setattr(surveying, "_HUGE_BYTES", 5_000)
    assert "huge row groups" in [finding.what for finding in og.layout(tmp_path).findings]
    monkeypatch.setattr(surveying, "_SMALL_BYTES", 1_000)
    whats = {finding.what: finding for finding in og.layout(tmp_path, cores=64).findings}
    assert "repartition(64)" in whats["few row groups"].advice
    for town, count in zip("abcd", (1, 1, 1, 9), strict=True):
        small_files(tmp_path / "skewed", count, town=town)
    (skew,) = [item for item in og.layout(tmp_path / "skewed", cores=4).findings if "skewed" in item.what]
    assert "town=d" in skew.text
    assert "9.0 times" in skew.text
    assert skew.before is not None
    assert skew.after is not None
    assert skew.before == pytest.approx(skew.after * 4 * 9 / 12, rel=0.01)


def test_a_delta_table_gets_a_new_version(tmp_path: Path) -> None:
    path = str(tmp_path / "t")
    for start in range(4):
        deltalake.write_deltalake(path, pa.table({"a": [start]}), mode="append")
    assert og.layout(path).files == 4
    done = og.compact(path)
    assert (done.rows, done.files_before, done.files, done.version) == (4, 4, 1, 4)
    assert sorted(og.read(path).to_arrow()["a"].to_pylist()) == [0, 1, 2, 3]
    assert og.read(f"{path}@v3").version().file_count == 4
    with pytest.raises(ParameterError, match="in place"):
        og.compact(path, tmp_path / "out")


def test_a_delta_table_in_folders_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = pa.table({"x": [0, 1], "k": ["a b/ü%", None]})
    for _ in range(2):
        deltalake.write_deltalake("dé l", table, partition_by=["k"], mode="append")
    for path in ("dé l", tmp_path / "dé l"):
        seen = og.layout(path)
        assert (seen.files, seen.rows) == (4, 4)
    assert og.compact("dé l").files == 2
    assert og.layout("dé l").rows == og.read("dé l").count() == 4


def test_what_cannot_be_compacted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, out = tmp_path / "rows", tmp_path / "out"
    small_files(rows, 3)
    with pytest.raises(OutputExistsError, match=r"holds .*0000\.parquet, which is read"):
        og.compact(rows, rows)
    with pytest.raises(OutputExistsError, match="which is read"):
        og.compact(rows, tmp_path, overwrite=True)
    with pytest.raises(OutputExistsError, match=r"rows/few lies in .*rows, which is read"):
        og.compact(rows, rows / "few")
    with pytest.raises(ParameterError, match="say which folder"):
        og.compact(rows)
    pq.write_table(pa.table({"row": ["a"]}), rows / "0003.parquet")
    with pytest.raises(SchemaError, match=r"0003\.parquet has other columns"):
        og.compact(rows, out)
    (rows / "0003.parquet").unlink()
    read = compacting._groups

    def meanwhile(*arguments: Any) -> Any:
        yield from read(*arguments)
        pq.write_table(pa.table({"row": [1], "x": [0.5]}), rows / "0001.parquet")

    monkeypatch.setattr(compacting, "_groups", meanwhile)
    with pytest.raises(DataError, match="has changed while it was read"):
        og.compact(rows, out)
    (rows / "0001.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(DataError, match=r"0001\.parquet cannot be read"):
        og.compact(rows, out)
    assert not out.exists()
    (tmp_path / "rows.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match="layouts are of Parquet"):
        og.layout(tmp_path / "rows.csv")


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_files(tmp_path / "rows")
    for words in (["layout", "--json"], ["layout"], ["compact", "-o", str(tmp_path / "few")]):
        with pytest.raises(SystemExit) as ended:
            main([words[0], str(tmp_path / "rows"), *words[1:]])
        assert ended.value.code == 0
        text = capsys.readouterr().out
        if "--json" in words:
            assert json.loads(text)["files"] == 60
        else:
            assert ("60 files" in text) or ("60 files became 1" in text)
