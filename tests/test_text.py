"""Text as columns: one answer through every door, whatever the cells hold and however the file is cut."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import warnings
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow import errors
from outgrow.cli import main
from outgrow.data.infer import read_text
from outgrow.data.json_lines import JsonLines
from outgrow.data.text import Csv, TextOptions
from outgrow.data.text_source import TextFile
from outgrow.serve.http.app import application
from outgrow.serve.http.deployment import Model
from outgrow.serve.http.state import Settings

CELLS = st.one_of(
    st.text(st.sampled_from("ab\",;\n\r 'é0"), max_size=8),
    st.sampled_from(["", "NA", "null", "1", "2.5", "-3e4", "2024-01-02", "true", '"', '""', "007", " 1"]),
)

HEADS = [b"", b"PAR1", b"ARROW1\0\0", b"\x1f\x8b\x08\0", b"BZh9", b"a,b\n", b'{"a":', b"\xff\xfe"]
VALUES = ["", "NA", "1", "2.5", "x", "2024-01-02", "2024-01-02 03:04:05", "true"]


def written(rows: list[list[str]]) -> bytes:
    return "".join(",".join(map(quoted, row)) + "\n" for row in rows).encode()


def quoted(cell: str) -> str:
    doubled = cell.replace('"', '""')
    return f'"{doubled}"' if set(cell) & set('",\n\r') else cell


def read(path: Path, text: str | bytes, **options: Any) -> pa.Table:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return og.read(path, **options).to_arrow()


# ---- rows and cells ----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    rows=st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=12), size=st.integers(1, 40)
)
def test_rows_are_whole_however_a_file_is_cut(
    rows: list[list[str]], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "rows.csv"
    path.write_bytes(written([["x", "y"], *rows]))
    types = dict.fromkeys("xy", pa.string())
    file = TextFile.opened(pafs.LocalFileSystem(), str(path), Csv(TextOptions(types)))
    blocks = list(file.blocks(size))
    assert [at for at, _ in blocks] == [
        file.start + sum(len(b) for _, b in blocks[:i]) for i in range(len(blocks))
    ]
    found = [row for _, block in blocks for row in file.parse(block, 0, types, ["x", "y"]).to_pylist()]
    assert found == [{"x": row[0] or None, "y": row[1] or None} for row in rows]


@pytest.mark.parametrize(
    "text", ['5" pipe,1\n6" pipe,2\n', 'a"b"c,1\n"x\n"",y",2\nd",3\n', '"a"b,1\n\'",2\n']
)
def test_quotes_within_cells_that_are_not_quoted(text: str) -> None:
    dialect, body = Csv(), text.encode()
    whole = dialect.parse(body, ["x", "y"], {})
    first = dialect.cut(body[: body.rindex(b"\n", 0, -1) + 2])
    parts = [dialect.parse(part, ["x", "y"], {}) for part in (body[:first], body[first:])]
    assert pa.concat_tables(parts).to_pylist() == whole.to_pylist()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(cells=st.lists(st.sampled_from(VALUES), min_size=1, max_size=6), at=st.integers(0, 6))
def test_types_hold_all_values_whoever_comes_first(
    cells: list[str], at: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two files, cut anywhere, are read as one is; and values are those of the text."""
    folder = tmp_path_factory.mktemp("types")
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    rows = [["n", cell] for cell in cells]
    (folder / "one" / "a.csv").write_bytes(written([["k", "x"], *rows]))
    (folder / "two" / "a.csv").write_bytes(written([["k", "x"], *rows[:at]]))
    (folder / "two" / "b.csv").write_bytes(written([["k", "x"], *rows[at:]]))
    one, two = (og.read(folder / name).to_arrow() for name in ("one", "two"))
    assert one.schema == two.schema
    assert one.to_pylist() == two.to_pylist()
    if pa.types.is_string(one["x"].type):
        assert one["x"].to_pylist() == [cell or None for cell in cells]
    else:
        assert [value is None for value in one["x"].to_pylist()] == [cell in ("", "NA") for cell in cells]


def test_what_pandas_and_duckdb_agree_on(tmp_path: Path) -> None:
    text = 'city,x,y\nBonn,1.5,1\n,2.5,0\n"",,1\n"a\nb",4,\n'
    found = read(tmp_path / "rows.csv", text)
    theirs = pd.read_csv(tmp_path / "rows.csv")
    assert found.to_pylist() == duckdb.sql(f"FROM '{tmp_path / 'rows.csv'}'").to_arrow_table().to_pylist()
    assert found["city"].to_pylist() == [None if pd.isna(value) else value for value in theirs["city"]]


def test_words_for_what_is_missing(tmp_path: Path) -> None:
    text = "country,x,only\nNA,NA,NA\nnull,1,\n-,null,\n"
    found = read(tmp_path / "rows.csv", text)
    assert found.to_pydict() == {
        "country": ["NA", "null", "-"],
        "x": [None, 1, None],
        "only": ["NA", None, None],
    }
    found = read(tmp_path / "rows.csv", text, na_values=["-", "NA"])
    assert found["country"].to_pylist() == [None, "null", None]
    assert found["only"].null_count == 3


def test_beyond_the_first_block(tmp_path: Path) -> None:
    n = 300_000
    ints = "id,x,late\n" + "".join(f"{i},{i % 10},\n" for i in range(n)) + f"{n},2.5,7\n"
    found = read(tmp_path / "rows.csv", ints)
    assert [str(kind) for kind in found.schema.types] == ["int64", "double", "int64"]
    assert found["id"].to_pylist() == list(range(n + 1))
    assert (found["x"].to_pylist()[-1], found["late"].to_pylist()[-1], found["late"].null_count) == (
        2.5,
        7,
        n,
    )
    quoted = read(tmp_path / "rows.csv", 't,x\n"' + "line\n" * 2_000_000 + '",1\nend,2\n')
    assert quoted["x"].to_pylist() == [1, 2]
    assert len(quoted["t"][0].as_py()) == 10_000_000


@pytest.mark.parametrize("codes", [["12345678901234567890", "12345678901234567891"], ["0x1F", "31"]])
def test_codes_are_no_numbers(tmp_path: Path, codes: list[str]) -> None:
    found = read(tmp_path / "rows.csv", "code,x\n" + "".join(f"{code},1e300\n" for code in codes))
    assert found.to_pydict() == {"code": codes, "x": [1e300] * 2}
    found = read(tmp_path / "rows.csv", "code\n" + "1\n" * 2_000_000 + codes[0] + "\n")
    assert found["code"].to_pylist()[-2:] == ["1", codes[0]]
    assert read(tmp_path / "rows.csv", "code\n1e30\n", types={"code": "number"})["code"].to_pylist() == [1e30]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("compressed", [False, True])
def test_encodings(tmp_path: Path, encoding: str, compressed: bool) -> None:
    rows = [{"städt": "Köln", "x": number} for number in range(30_000)]
    body = ("städt,x\n" + "".join(f"{row['städt']},{row['x']}\n" for row in rows)).encode(encoding)
    path = tmp_path / ("rows.CSV.gz" if compressed else "rows.CSV")
    path.write_bytes(gzip.compress(body, 1) if compressed else body)
    marked = encoding in ("utf-8-sig", "utf-16", "utf-32")
    assert og.read(path, encoding=encoding).to_arrow().to_pylist() == rows
    if marked:
        assert og.read(path).to_arrow().to_pylist() == rows
        return
    with pytest.warns(errors.EncodingGuessedWarning, match=r"rows\.CSV.*'städt'.*encoding='cp1252'"):
        assert og.read(path).to_arrow().to_pylist() == rows


def test_types_of_the_user(tmp_path: Path) -> None:
    text = "zip;x;when\n01067;1;2024-01-02\n;NA;\n"
    kinds = {"zip": "text", "x": float, "when": pa.timestamp("ms")}
    found = read(tmp_path / "rows.csv", text, sep=";", types=kinds)
    assert [str(kind) for kind in found.schema.types] == ["string", "double", "timestamp[ms]"]
    assert found["zip"].to_pylist() == ["01067", None]
    with pytest.raises(errors.DataError, match=r"rows\.csv cannot be read: column 'when' in row 0"):
        read(tmp_path / "rows.csv", text, sep=";", types={"when": "number"})
    with pytest.raises(errors.ColumnNotFoundError, match="zap"):
        read(tmp_path / "rows.csv", text, sep=";", types={"zap": "text"})
    for wrong in ({"types": {"x": "nmber"}}, {"sep": ";;"}, {"encoding": "latin-99"}, {"format": "xml"}):
        with pytest.raises(errors.ParameterError):
            og.read(tmp_path / "rows.csv", **wrong)  # type: ignore[arg-type]
    pq.write_table(pa.table({"a": [1]}), tmp_path / "rows.parquet")
    with pytest.raises(errors.ParameterError, match="how text is read"):
        og.read(tmp_path / "rows.parquet", types={"a": "text"})


def test_files_without_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(errors.DataError, match=r"a\.csv is empty"):
        og.read(tmp_path).count()
    (tmp_path / "b.csv").write_text("x,y\n")
    assert og.read(tmp_path).count() == 0
    (tmp_path / "c.csv").write_text("x,y\n1,b\n")
    (tmp_path / "d.csv").write_text("x,y")
    (tmp_path / "_draft.csv").write_text("z\n")
    assert og.read(tmp_path).to_arrow().to_pylist() == [{"x": 1, "y": "b"}]
    (tmp_path / "e.csv").write_text("x,z\n1,b\n")
    with pytest.raises(errors.SchemaError, match=r"(?s)e\.csv has other columns.*- y.*\+ z"):
        og.read(tmp_path).count()


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    rows=st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=6),
    kept=st.floats(0, 1),
    typed=st.booleans(),
)
def test_a_file_that_ends_within_a_cell_is_refused(
    rows: list[list[str]], kept: float, typed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What follows an open quote would be one cell, and the rows in it lost."""
    body = written(rows)
    part = b"x,y\n" + body[: round(kept * len(body))].decode("utf-8", "ignore").encode()
    path = tmp_path_factory.mktemp("cut") / "rows.csv"
    path.write_bytes(part)
    rest = io.StringIO(part.decode("utf-8", "ignore"), newline="")
    try:
        list(csv.reader(rest, strict=True))
    except csv.Error:
        types = dict.fromkeys("xy", pa.string()) if typed else {}
        with pytest.raises(errors.DataError, match=r"rows\.csv cannot be read.* is not closed"):
            og.read(path, types=types).to_arrow()
        with pytest.raises(errors.DataError, match="is not closed"):
            read_text(part, Csv())


def test_types_and_marks_as_numpy_and_pandas_say_them(tmp_path: Path) -> None:
    text = "a,b,c,d\n1,2,-999,x\n-999,3,4,-\n"
    kinds = {"a": np.float32, "b": "float", "c": np.dtype("i2"), "d": "str"}
    found = read(tmp_path / "rows.csv", text, types=kinds, na_values=[-999, "-"])
    assert [str(kind) for kind in found.schema.types] == ["float", "double", "int16", "string"]
    assert found.to_pylist() == [
        {"a": 1.0, "b": 2.0, "c": None, "d": "x"},
        {"a": None, "b": 3.0, "c": 4, "d": None},
    ]
    assert read(tmp_path / "rows.csv", text, na_values=-999)["c"].to_pylist() == [None, 4]
    for wrong in (object, 3, np.dtype("V4"), ["text"]):
        with pytest.raises(errors.ParameterError, match="types="):
            og.read(tmp_path / "rows.csv", types={"a": wrong})


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("rows.csv", b"a,b\n1,2\n3\n", r"row 1: expected 2 columns, got 1"),
        ("rows.csv", b"a;b\n1,5;x\n", r"one name, 'a;b'.*sep=';'"),
        ("rows.csv", b"a\n1,5;x\n", r"expected 1 columns, got 2.*sep="),
        ("rows.tsv", b"a,b\n1,2\n", r"one name, 'a,b'.*sep=','"),
        ("rows.csv", b"sep=;\na;b\n1;2\n", r"first line says that ';'.*sep=';'"),
        ("rows.csv", b'a,b\n1,"say \\"x\\""\n', "not doubled.*Spark"),
        ("rows.csv", b'a,b\n"ends \\"",1\n"x",2\n', "not doubled.*Spark"),
        ("rows.csv", b"\0a,b\n1,2\n", "no text in UTF-8.*encoding"),
        ("rows.csv", b"a\n" + bytes(range(128, 160)), "neither UTF-8 nor cp1252.*encoding"),
        ("rows.csv", "a\nü\n".encode() + b"\xfc\n", "damaged"),
        ("rows.csv", b"\x1f\x8b\x08\0\0\0", "no text, but gzip"),
        ("rows.csv", b"PAR1\x15\x04\xf0\0PAR1", "no text, but Parquet"),
        ("rows.csv", b"PK\x03\x04\xf0\x9f", "a workbook"),
        ("rows.jsonl", b"a\x01\xf0", "no text in UTF-8"),
        ("rows.jsonl", b'{"a": ' * 2_000 + b"1" + b"}" * 2_000, "2,000 levels"),
        ("rows.jsonl", b'{"a": ' * 200_000 + b"1" + b"}" * 200_000, "200,000 levels"),
        ("rows.jsonl", b"1\n2\n", "cannot be read"),
        ("rows.jsonl", b'{"a": "\\ud83d"}\n', "surrogate"),
        ("rows.csv", b"a,a\n1,2\n", r"several columns named \['a'\]"),
        ("rows.csv.gz", b"a,b\n1,2\n", "cannot be read"),
        ("rows.jsonl", b'[{"a": 1}, 2]', "row 1 of the array is"),
        ("rows.jsonl", b'{"a": 1}\n{"a": "x"}\n', "cannot be read"),
        ("rows.jsonl", b'{"a": 1}\n{"a": ', "cannot be read"),
        ("rows.csv", b"\xff\xfea", "encoding"),
    ],
)
def test_text_that_cannot_be_read(tmp_path: Path, name: str, body: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(body)
    with pytest.raises(errors.OutgrowError, match=rf"rows\..*{said}"):
        og.read(tmp_path / name).to_arrow()


def test_lines_of_json_whose_types_change(tmp_path: Path) -> None:
    lines = ['{"a": 1, "t": "2024-01-02"}'] * 200_000 + ['{"a": 2.5, "t": "x", "b": [1]}']
    found = read(tmp_path / "rows.jsonl", "\n".join(lines))
    assert [str(kind) for kind in found.schema.types] == ["double", "string", "list<item: int64>"]
    assert found["t"].to_pylist()[::200_000] == ["2024-01-02", "x"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["18446744073709551617", "3", "-1", "null"], "decimal128(38, 0)"),
        (["18446744073709551617", "18446744073709551618"], "decimal128(38, 0)"),
        (["9" * 38, "1"], "decimal128(38, 0)"),
        (["18446744073709551617", "0.5"], "double"),
        (["9" * 39, "1"], "double"),
        (["9223372036854775807", "-9223372036854775808"], "int64"),
    ],
)
def test_whole_numbers_in_json_stay_what_they_are(tmp_path: Path, values: list[str], kind: str) -> None:
    lines = [f'{{"id": {value}, "b": 1}}' for value in values]
    found = read(tmp_path / "rows.jsonl", "\n".join(lines))
    assert str(found.schema.field("id").type) == kind
    given = [None if value == "null" else Decimal(value) for value in values]
    if kind != "double":
        assert found["id"].to_pylist() == given
    filler = ['{"id": 7, "b": 1}'] * 400_000  # more than one block
    spread = read(tmp_path / "more.jsonl", "\n".join([*lines[:1], *filler, *lines[1:]]))
    assert str(spread.schema.field("id").type) == kind


@settings(max_examples=80, deadline=None, derandomize=True)
@given(body=st.binary(max_size=60), kind=st.sampled_from([Csv(), JsonLines()]))
def test_any_bytes_are_a_table_or_an_error_of_ours(body: bytes, kind: Any) -> None:
    with suppress(errors.OutgrowError):
        assert isinstance(read_text(body, kind), pa.Table)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    ending=st.sampled_from(["parquet", "arrow", "feather", "csv", "csv.gz", "TSV", "jsonl.bz2", "json"]),
    head=st.sampled_from(
        [b"", b"PAR1", b"ARROW1\0\0", b"\x1f\x8b\x08\0", b"BZh9", b"a,b\n", b'{"a":', b"\xff\xfe"]
    ),
    body=st.binary(max_size=40),
)
def test_any_file_is_rows_or_an_error_of_ours(
    ending: str, head: bytes, body: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / f"rows[1].{ending}"
    path.write_bytes(head + body)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.EncodingGuessedWarning)
        with suppress(errors.OutgrowError):
            assert isinstance(og.read(path).to_arrow(), pa.Table)


def test_options_for_text_on_the_command_line_and_in_jobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "zip;x;late\n" + "".join(f"0{i % 3};{'-' if i % 4 == 0 else i};{i % 2}\n" for i in range(40))
    (tmp_path / "städte.csv").write_text(text + "é;1;1\n", encoding="latin-1")
    words = ["--sep", ";", "--encoding", "latin-1", "--type", "zip=text", "--na-value", "-"]
    with pytest.raises(SystemExit, match="0"):
        main(["profile", str(tmp_path / "städte.csv"), *words])
    assert "zip" in capsys.readouterr().out
    (tmp_path / "job.yaml").write_text(
        "name: towns\n"
        "data:\n  path: städte.csv\n"
        "  read: {sep: ';', encoding: latin-1, types: {zip: text}, na_values: ['-']}\n"
        "target: late\n"
        "steps: [{SimpleImputer: {columns: numeric}}, {OneHotEncoder: {handle_unknown: ignore}}]\n"
        "model: LogisticRegression\n"
        f"output: {tmp_path / 'out'}\n"
    )
    with pytest.raises(SystemExit, match="0"):
        main(["run", str(tmp_path / "job.yaml")])
    assert og.load(tmp_path / "out" / "model").columns_ == {"zip": "category", "x": "number"}


# ---- folders whose names are columns -----------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_keys_of_folders_that_are_columns_too(tmp_path: Path, ending: str) -> None:
    for year in (2024, 2025):
        (tmp_path / f"year={year}").mkdir()
        table = pa.table({"year": [1999, year], "x": [1.0, 2.0]})
        path = tmp_path / f"year={year}" / f"rows.{ending}"
        pq.write_table(table, path) if ending == "parquet" else table.to_pandas().to_csv(path, index=False)
    found = og.read(tmp_path).to_arrow()
    assert found.column_names == ["year", "x"]
    assert found["year"].to_pylist() == [2024, 2024, 2025, 2025]
    assert og.read(tmp_path).where(og.col("year") == 2025).select("x").to_arrow()["x"].to_pylist() == [
        1.0,
        2.0,
    ]
    (tmp_path / "year=x").mkdir()
    pq.write_table(pa.table({"year": [1], "x": [1.0]}), tmp_path / "year=x" / "rows.parquet")
    if ending == "parquet":
        with pytest.raises(errors.SchemaError, match="year=x"):
            og.read(tmp_path).count()


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_types_of_keys(tmp_path: Path, ending: str) -> None:
    for key in ("007", "a%2Fb", "__HIVE_DEFAULT_PARTITION__"):
        (tmp_path / f"k={key}").mkdir()
        table = pa.table({"x": [1]})
        path = tmp_path / f"k={key}" / f"rows.{ending}"
        pq.write_table(table, path) if ending == "parquet" else path.write_text("x\n1\n")
    assert sorted(og.read(tmp_path).to_arrow()["k"].to_pylist(), key=str) == ["007", None, "a/b"]
    assert og.read(tmp_path / "k=007").to_arrow()["k"].to_pylist() == [7]
    assert og.read(tmp_path / "k=007", types={"k": "text"}).to_arrow()["k"].to_pylist() == ["007"]


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_keys_that_only_some_folders_have(tmp_path: Path, ending: str) -> None:
    for name in ("a=1", "b=x"):
        (tmp_path / name).mkdir()
        path = tmp_path / name / f"rows.{ending}"
        pq.write_table(pa.table({"x": [1]}), path) if ending == "parquet" else path.write_text("x\n1\n")
    found = og.read(tmp_path).to_arrow()
    assert found.to_pylist() == [{"x": 1, "a": 1, "b": None}, {"x": 1, "a": None, "b": "x"}]


def test_a_column_that_is_empty_in_some_files(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": pa.nulls(2), "y": [1, 2]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": [1.5], "y": [3]}), tmp_path / "b.parquet")
    pq.write_table(pa.table({"x": pa.nulls(1), "y": [4]}), tmp_path / "c.parquet")
    assert og.read(tmp_path).to_arrow()["x"].to_pylist() == [None, None, 1.5, None]
    pq.write_table(pa.table({"x": ["a"], "y": [4]}), tmp_path / "d.parquet")
    with pytest.raises(errors.SchemaError, match=r"d\.parquet has other columns"):
        og.read(tmp_path).to_arrow()


# ---- one text through every door ---------------------------------------------------------------------------


def trained(folder: Path) -> Any:
    """A model that learned a code of digits as text, numbers, and words such as NA."""
    rng = np.random.default_rng(3)
    codes, words = np.array(["007", "7", "NA", "x"])[rng.integers(0, 4, 400)], rng.choice(["a", "NA"], 400)
    x = rng.normal(size=400)
    y = (codes == "007") * 2.0 + (words == "NA") + x
    steps = [og.SimpleImputer(columns=["x"]), og.OneHotEncoder(handle_unknown="ignore"), og.Ridge(alpha=1e-6)]
    model = og.Pipeline(steps).fit(pa.table({"code": codes, "word": words, "x": x, "y": y}), "y")
    model.save(folder / "model")
    return model


TEXTS = [
    "code,word,x\n007,NA,1\n7,a,\n,NA,NA\n",
    "x,word,code,more\n1.5,NA,007,1\n,,7,2\n",
    'word,code,x\n"NA","007","1"\n"a","","null"\n',
    "code,word,x\n7,,1\n007,,2\n",
    'code,word,x\n"a\nb",NA,true\n7,a,false\n',
]


def served(folder: Path, text: str) -> list[float]:
    async def ask() -> list[float]:
        app = application(Settings({"m": Model(str(folder / "model"))}))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://t") as client:
            answer = await client.post("/invocations", content=text, headers={"content-type": "text/csv"})
            assert answer.status_code == 200, answer.text
            return list(answer.json()["predictions"])

    return asyncio.run(ask())


def scores(folder: Path) -> list[float]:
    return list(og.read(folder).to_arrow()["prediction"].to_pylist())


@pytest.mark.parametrize("text", TEXTS)
def test_one_answer_through_every_door(tmp_path: Path, text: str) -> None:
    model = trained(tmp_path)
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "ask.csv"
    path.write_text(text)
    frame = pd.read_csv(
        path,
        dtype={"code": str, "word": str},
        keep_default_na=False,
        na_values={"code": [""], "word": [""], "x": ["", "NA", "null"]},
    )
    expected = model.predict(frame[["code", "word", "x"]].assign(x=frame["x"].astype(float)))
    answers = {
        "predict": model.predict(og.read(path)).to_arrow()["prediction"].to_pylist(),
        "http": served(tmp_path, text),
    }
    og.score(model, og.read(path), tmp_path / "scored")
    answers["score"] = scores(tmp_path / "scored")
    words = ["score", str(tmp_path / "model"), str(path), "-o", str(tmp_path / "commanded")]
    with pytest.raises(SystemExit, match="0"):
        main(words)
    answers["command"] = scores(tmp_path / "commanded")
    og.score_stream(tmp_path / "model", tmp_path / "in", tmp_path / "streamed").run_available()
    answers["stream"] = scores(tmp_path / "streamed")
    for door, found in answers.items():
        np.testing.assert_allclose(found, expected, rtol=1e-12, err_msg=door)
