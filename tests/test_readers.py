"""Tables that are no text and no Parquet: ORC, Avro, HDF5, lakes and databases, the same rows everywhere."""

from __future__ import annotations

import datetime
import decimal
import importlib
import os
import shutil
import sqlite3
import tempfile
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as dbapi
import deltalake
import duckdb
import fastavro
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.orc as orc
import pytest
from tests.postgresql import postgresql

import outgrow as og
from outgrow.errors import (
    ColumnNotFoundError,
    DataError,
    InputNotFoundError,
    ParameterError,
    SchemaError,
)
from outgrow.testing import EngineCase

ROWS = pa.table(
    {
        "key": pa.array(range(200), pa.int64()),
        "size": pa.array([None if i % 9 == 0 else i / 4 for i in range(200)], pa.float64()),
        "town": pa.array([None if i % 11 == 0 else f"Ort {i % 7} ß" for i in range(200)]),
        "open": pa.array([i % 3 == 0 for i in range(200)]),
    }
)


def rows_of(dataset: og.Dataset) -> list[dict[str, Any]]:
    return sorted(dataset.to_arrow().to_pylist(), key=lambda row: row["key"])


# ---- writers, by format ------------------------------------------------------------------------------------


def as_orc(folder: Path) -> str:
    orc.write_table(ROWS, folder / "rows.orc")
    return str(folder / "rows.orc")


def as_avro(folder: Path) -> str:
    def optional(kind: str) -> list[str]:
        return ["null", kind]

    types = {"key": "long", "size": optional("double"), "town": optional("string"), "open": "boolean"}
    fields = [{"name": name, "type": kind} for name, kind in types.items()]
    schema = {"type": "record", "name": "row", "fields": fields}
    with (folder / "rows.avro").open("wb") as file:
        fastavro.writer(file, schema, ROWS.to_pylist(), codec="deflate")
    return str(folder / "rows.avro")


def as_delta(folder: Path) -> str:
    deltalake.write_deltalake(folder / "delta", ROWS.slice(0, 120))
    deltalake.write_deltalake(folder / "delta", ROWS.slice(120), mode="append")
    return str(folder / "delta")


def as_sqlite(folder: Path) -> str:
    with sqlite3.connect(folder / "rows.db") as connection:
        connection.execute('CREATE TABLE "the rows" (key INTEGER, size REAL, town TEXT, open BOOLEAN)')
        values = [tuple(row.values()) for row in ROWS.to_pylist()]
        connection.executemany('INSERT INTO "the rows" VALUES (?, ?, ?, ?)', values)
    connection.close()
    return f"sqlite:///{folder}/rows.db?table=the+rows"


def as_duckdb(folder: Path) -> str:
    with duckdb.connect(str(folder / "rows.duckdb")) as connection:
        connection.register("given", ROWS)
        connection.sql("CREATE TABLE flights AS SELECT * FROM given")
    return f"duckdb:///{folder}/rows.duckdb?table=flights"


LAKE = tempfile.TemporaryDirectory(prefix="outgrow-lake-")
os.environ["PYICEBERG_CATALOG__HERE__URI"] = f"sqlite:///{LAKE.name}/catalog.db"
os.environ["PYICEBERG_CATALOG__HERE__WAREHOUSE"] = f"file://{LAKE.name}"
"""Which pyiceberg reads once, when it is imported."""


def as_iceberg() -> str:
    catalog = importlib.import_module("pyiceberg.catalog").load_catalog("here")
    catalog.create_namespace("flights")
    table = catalog.create_table("flights.late", schema=ROWS.schema)
    table.append(ROWS.slice(0, 120))
    table.append(ROWS.slice(120))
    return "iceberg://here/flights.late"


WRITERS: dict[str, Callable[[Path], str]] = {
    "orc": as_orc,
    "avro": as_avro,
    "delta": as_delta,
    "sqlite": as_sqlite,
    "duckdb": as_duckdb,
}


@pytest.fixture(params=list(WRITERS))
def written(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return WRITERS[request.param](tmp_path)


def expected(path: str) -> list[dict[str, Any]]:
    found = ROWS.to_pylist()
    if path.startswith("sqlite"):
        return [{**row, "open": int(row["open"])} for row in found]
    return found


def test_rows_are_read_chosen_and_filtered(written: str) -> None:
    rows = og.read(written)
    assert rows.columns == ROWS.column_names
    assert rows_of(rows) == expected(written)
    few = rows.where(og.col("key") >= 190).select("town", "key")
    assert few.columns == ["town", "key"]
    assert rows_of(few) == [{"town": row["town"], "key": row["key"]} for row in expected(written)[190:]]
    assert rows.count() == 200
    assert rows.fingerprint()["sha256"] == og.read(written).fingerprint()["sha256"]


def test_a_model_learns_from_them_as_from_a_table(written: str) -> None:
    steps = [og.SimpleImputer(columns=["size"]), og.OneHotEncoder(columns=["town"]), og.Ridge()]
    model, peer = og.Pipeline(steps).fit(og.read(written), "key"), og.Pipeline(steps).fit(ROWS, "key")
    found = model.predict(og.read(written)).to_arrow().sort_by("key")["prediction"].to_numpy()
    np.testing.assert_allclose(found, peer.predict(ROWS)["prediction"].to_numpy(), atol=1e-9)


def test_sql_over_them(written: str) -> None:
    found = og.sql("SELECT count(*) AS n, sum(key) AS total FROM t", {"t": og.read(written)}).to_arrow()
    assert found.to_pylist() == [{"n": 200, "total": 19900}]


@pytest.mark.parametrize("format", ["delta", "avro", "orc"])
def test_ranks_read_the_pieces(format: str, engine: EngineCase, tmp_path: Path) -> None:
    rows = og.read(WRITERS[format](tmp_path), engine=engine.open(ROWS).engine)
    made = og.StandardScaler(columns=["size"]).fit(rows)
    np.testing.assert_allclose(made.mean_, [np.nanmean(ROWS["size"].to_numpy())])
    assert rows.count() == 200


# ---- Delta -------------------------------------------------------------------------------------------------


def test_versions_of_a_delta_table(tmp_path: Path) -> None:
    path = as_delta(tmp_path)
    assert og.read(f"{path}@v0").count() == 120
    assert og.read(f"delta://{path}@v1").count() == 200
    table = deltalake.DeltaTable(path)
    table.delete("key < 100")
    assert og.read(path).count() == 100  # a folder of Parquet files would still have all of them
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=1)
    assert og.read(f"{path}@{moment.isoformat()}").count() == 100
    assert og.read(path).fingerprint()["sha256"] != og.read(f"{path}@v1").fingerprint()["sha256"]
    with pytest.raises(DataError, match=r"cannot be opened: .*version"):
        og.read(f"{path}@v9")
    with pytest.raises(ParameterError, match="@best"):
        og.read(f"delta://{path}@best")
    with pytest.raises(InputNotFoundError, match="No Delta table"):
        og.read(f"delta://{tmp_path}/nothing")


def test_partitions_and_new_columns_of_a_delta_table(tmp_path: Path) -> None:
    deltalake.write_deltalake(tmp_path / "t", ROWS.slice(0, 100), partition_by=["town"])
    wider = ROWS.slice(100).append_column("new", pa.array([1.5] * 100))
    deltalake.write_deltalake(
        tmp_path / "t", wider, mode="append", schema_mode="merge", partition_by=["town"]
    )
    found = rows_of(og.read(tmp_path / "t"))
    assert [row["town"] for row in found] == ROWS["town"].to_pylist()
    assert [row["new"] for row in found] == [None] * 100 + [1.5] * 100


# ---- Iceberg -----------------------------------------------------------------------------------------------


def test_snapshots_of_an_iceberg_table() -> None:
    uri = as_iceberg()
    rows = og.read(uri)
    assert rows_of(rows) == ROWS.to_pylist()
    few = rows.where(og.col("key") >= 190).select("town", "key")
    assert rows_of(few) == [{"town": row["town"], "key": row["key"]} for row in ROWS.to_pylist()[190:]]
    assert og.StandardScaler(columns=["size"]).fit(rows).mean_.shape == (1,)
    table = importlib.import_module("pyiceberg.catalog").load_catalog("here").load_table("flights.late")
    first = table.snapshots()[0].snapshot_id
    assert og.read(f"{uri}@v{first}").count() == 120
    table.manage_snapshots().create_tag(first, "begin").commit()
    assert og.read(f"{uri}@begin").count() == 120
    assert rows.fingerprint()["sha256"] != og.read(f"{uri}@begin").fingerprint()["sha256"]
    with pytest.raises(InputNotFoundError, match="No Iceberg table"):
        og.read("iceberg://here/flights.early")
    with pytest.raises(DataError, match="Name a catalog"):
        og.read("iceberg://nowhere/flights.late")


# ---- HDF5 --------------------------------------------------------------------------------------------------


def hdf5(folder: Path) -> Path:
    images = np.arange(200 * 2 * 3).reshape(200, 2, 3).astype(np.float32)
    with h5py.File(folder / "rows.h5", "w") as file:
        file["key"] = ROWS["key"].to_numpy()
        file["town"] = [str(town) for town in ROWS["town"].to_pylist()]
        file["image"] = images
        test = np.zeros(5, dtype=[("key", "i8"), ("weight", "f4")])
        test["key"] = range(5)
        file["more/test/both"] = test
    return folder / "rows.h5"


def test_datasets_of_one_length_are_columns(tmp_path: Path) -> None:
    path = hdf5(tmp_path)
    rows = og.read(path)
    assert rows.columns == ["image", "key", "town"]
    found = rows_of(rows.select("key", "town"))
    assert [row["town"] for row in found[:3]] == ["None", "Ort 1 ß", "Ort 2 ß"]
    assert rows.where(og.col("key") == 7).count() == 1
    model = og.Ridge().fit(rows.select("image", "key"), "key")
    assert model.columns_ == {"image": "vector[6]"}
    assert rows_of(og.read(f"{path}::/more/test"))[4] == {"key": 4, "weight": 0.0}
    with pytest.raises(ColumnNotFoundError, match=r"\['/', '/more', '/more/test'\]"):
        og.read(f"{path}::/other")
    with pytest.raises(DataError, match="holds no dataset"):
        og.read(f"{path}::/more")


def test_datasets_of_several_lengths_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        file["a"], file["b"] = np.zeros(3), np.zeros(4)
    with pytest.raises(DataError, match=r"several lengths: \{'a': 3, 'b': 4\}"):
        og.read(tmp_path / "rows.h5")


@pytest.mark.parametrize("kind", [">f8", ">i4", "<f4", "f2", "i1", "?"])
def test_numbers_in_any_order_of_bytes(kind: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        file["a"], file["M"] = np.array([0, 1, 1], kind), np.ones((3, 2), kind)
    found = og.read(tmp_path / "rows.h5").to_arrow()
    assert found["a"].to_pylist() == [0, 1, 1]
    assert found.num_columns == 3


@pytest.mark.parametrize(
    "values",
    [
        {"data": np.array([np.arange(2), np.arange(3)], object), "dtype": h5py.vlen_dtype(np.int64)},
        {"data": np.array([[b"a", b"b"], [b"c", b"d"]])},
        {"data": np.array([1j, 2j])},
    ],
)
def test_datasets_that_no_column_can_hold(values: dict[str, Any], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        file.create_dataset("odd", **values)
    with pytest.raises(DataError, match=r"'odd' of .* no column can hold"):
        og.read(tmp_path / "rows.h5")


# ---- databases ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    for running in postgresql():
        yield running.uri()


def test_tables_of_postgresql(server: str) -> None:
    with dbapi.connect(server) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("late", ROWS)
        cursor.execute(
            "CREATE TABLE prices AS SELECT 7 AS key, 12.50::numeric(10, 2) AS price, DATE '2026-01-31' AS day"
        )
        connection.commit()
    assert rows_of(og.read(f"{server}&table=late")) == ROWS.to_pylist()
    found = og.read(f"{server}&query=SELECT+town,+count(*)+AS+n+FROM+late+GROUP+BY+town")
    assert found.count() == 8
    assert rows_of(og.read(f"{server}&table=public.prices")) == [
        {"key": 7, "price": 12.5, "day": datetime.date(2026, 1, 31)}
    ]
    with pytest.raises(InputNotFoundError, match=r'"early" does not exist'):
        og.read(f"{server}&table=early").count()


def test_databases_that_cannot_be_read(tmp_path: Path) -> None:
    path = as_sqlite(tmp_path)
    with pytest.raises(DataError, match="no such table"):
        og.read(path.replace("the+rows", "others"))
    with pytest.raises(InputNotFoundError, match="unable to open"):
        og.read(f"sqlite:///{tmp_path}/none.db?table=t")
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(InputNotFoundError, match="cannot be read"):
        og.read(f"duckdb:///{tmp_path}/none.duckdb?table=t")
    with pytest.raises(ParameterError, match="name a table or a query"):
        og.read(path.partition("?")[0])
    with pytest.raises(DataError, match="readonly"):
        og.read(f"sqlite:///{tmp_path}/rows.db?query=DROP+TABLE+%22the+rows%22")
    assert og.read(path).count() == 200
    with pytest.raises(DataError, match=r"postgresql://me:\*\*\*@localhost:1/x.*cannot be read"):
        og.read("postgresql://me:secret@localhost:1/x?table=t")
    with pytest.raises(ParameterError, match="types of their own"):
        og.read(path, sep=";")


def test_columns_of_sqlite_hold_what_they_hold(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "odd.db") as connection:
        connection.execute("CREATE TABLE t (a, b, c, d)")
        values = [(1, 2, "x", None), (2.5, "two", None, None), (None, 3, "y", None)]
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", values)
    connection.close()
    found = og.read(f"sqlite:///{tmp_path}/odd.db?table=t").to_arrow()
    assert found.to_pydict() == {
        "a": [1.0, 2.5, None],
        "b": ["2", "two", "3"],
        "c": ["x", None, "y"],
        "d": [None, None, None],
    }
    relative = os.path.relpath(tmp_path / "odd.db")
    assert og.read(f"sqlite:///{relative}?query=SELECT+a+FROM+t").count() == 3


# ---- Avro --------------------------------------------------------------------------------------------------


def test_logical_types_of_avro(tmp_path: Path) -> None:
    fields = {
        "day": {"type": "int", "logicalType": "date"},
        "at": {"type": "long", "logicalType": "timestamp-micros"},
        "price": {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2},
        "words": {"type": "array", "items": "string"},
        "kind": {"type": "enum", "name": "kind", "symbols": ["a", "b"]},
        "id": {"type": "string", "logicalType": "uuid"},
    }
    schema = {"type": "record", "name": "r", "fields": [{"name": n, "type": t} for n, t in fields.items()]}
    at = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)
    row = {"day": at.date(), "at": at, "price": decimal.Decimal("1.25"), "words": ["x"], "kind": "b"}
    row["id"] = uuid.UUID(int=7)
    with (tmp_path / "r.avro").open("wb") as file:
        fastavro.writer(file, schema, [row, row])
    rows = og.read(tmp_path / "r.avro")
    assert rows.schema.types == [
        pa.date32(),
        pa.timestamp("us", "UTC"),
        pa.decimal128(8, 2),
        pa.list_(pa.string()),
        pa.string(),
        pa.string(),
    ]
    assert rows.to_arrow().to_pylist() == [row | {"id": str(row["id"])}] * 2


def test_avro_that_cannot_be_columns(tmp_path: Path) -> None:
    union = {"type": "record", "name": "r", "fields": [{"name": "a", "type": ["int", "string"]}]}
    with (tmp_path / "a.avro").open("wb") as file:
        fastavro.writer(file, union, [{"a": 1}])
    with pytest.raises(DataError, match="a: a union of"):
        og.read(tmp_path / "a.avro")
    for body in (b"Obj\x01 nothing", b"a,b\n1,2\n" * 20, b"", b"Obj\x01"):
        (tmp_path / "b.avro").write_bytes(body)
        with pytest.raises(DataError, match="cannot be read"):
            og.read(tmp_path / "b.avro")
    nodes = [{"name": "v", "type": "long"}, {"name": "next", "type": ["null", "node"]}]
    with (tmp_path / "c.avro").open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "node", "fields": nodes}, [{"v": 1, "next": None}])
    with pytest.raises(DataError, match=r"next: .*Leave them out"):
        og.read(tmp_path / "c.avro")
    whole = Path(as_avro(tmp_path))
    cut = tmp_path / "cut.avro"
    cut.write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(DataError, match="cannot be read"):
        og.read(cut).count()
    other = {"type": "record", "name": "r", "fields": [{"name": "key", "type": "int"}]}
    (tmp_path / "both").mkdir()
    shutil.copy(whole, tmp_path / "both" / "a.avro")
    with (tmp_path / "both" / "b.avro").open("wb") as file:
        fastavro.writer(file, other, [{"key": 1}])
    with pytest.raises(SchemaError, match="has other columns"):
        og.read(tmp_path / "both")


@pytest.mark.parametrize("codec", ["snappy", "zstandard"])
def test_avro_as_spark_compresses_it(codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the libraries that fastavro would have for it. A changed byte is an error."""

    def written(stream: Any, content: bytes, level: Any) -> None:
        block = bytes(pa.compress(content, codec={"snappy": "snappy", "zstandard": "zstd"}[codec]))
        block += zlib.crc32(content).to_bytes(4, "big") if codec == "snappy" else b""
        stream.write(_zigzag(len(block)) + block)

    monkeypatch.setitem(importlib.import_module("fastavro._write").BLOCK_WRITERS, codec, written)
    fields = [{"name": "a", "type": ["null", "long"]}, {"name": "b", "type": "string"}]
    records = [{"a": None if i % 7 == 0 else i, "b": f"word {i % 5}"} for i in range(40_000)]
    path = tmp_path / "rows.avro"
    with path.open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "r", "fields": fields}, records, codec=codec)
    assert og.read(path).to_arrow().to_pylist() == records
    whole = path.read_bytes()
    for spoilt in (whole[:-30], whole[:700] + bytes([whole[700] ^ 255]) + whole[701:]):
        path.write_bytes(spoilt)
        with pytest.raises(DataError, match="cannot be read"):
            og.read(path).count()


def _zigzag(number: int) -> bytes:
    made, left = bytearray(), 2 * number
    while left > 0x7F:
        made.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*made, left])


def test_keys_of_folders(tmp_path: Path) -> None:
    for year in (2025, 2026):
        folder = tmp_path / "all" / f"year={year}"
        folder.mkdir(parents=True)
        as_avro(folder)
    rows = og.read(tmp_path / "all")
    assert rows.columns == [*ROWS.column_names, "year"]
    assert rows.where(og.col("year") == 2026).count() == 200


# ---- text --------------------------------------------------------------------------------------------------


def test_a_decimal_comma(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("name;price\na;1,5\nb;-2,25e1\nc;\nd;7\n")
    rows = og.read(tmp_path / "rows.csv", sep=";", decimal=",")
    assert rows.to_arrow()["price"].to_pylist() == [1.5, -22.5, None, 7.0]
    assert og.read(tmp_path / "rows.csv", sep=";").to_arrow()["price"].type == pa.string()
    with pytest.raises(ParameterError, match="also divides the cells"):
        og.read(tmp_path / "rows.csv", decimal=",")
    with pytest.raises(ParameterError, match="it is"):
        og.read(tmp_path / "rows.csv", sep=";", decimal="'")


def _zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_one_file_in_an_archive(encoding: str, tmp_path: Path) -> None:
    """As pandas reads it, with what systems put beside it; types are found as in the file itself."""
    text = "a,b\n" + "".join(f"{i},caf\xe9\n" for i in range(3000)) + "0.5,\n"
    content = {"in/": b"", "in/rows.csv": text.encode(encoding), "__MACOSX/._rows.csv": b"\0"}
    path = _zipped(tmp_path / "rows.CSV.zip", content)
    (tmp_path / "rows.csv").write_bytes(text.encode(encoding))
    read = og.read(path, encoding=encoding).to_arrow()
    assert read == og.read(tmp_path / "rows.csv", encoding=encoding).to_arrow()
    assert len(read) == 3001
    assert og.read(shutil.copy(path, tmp_path / "rows.zip"), format="csv", encoding=encoding).count() == 3001


def test_archives_that_are_not_one_file(tmp_path: Path) -> None:
    rows = b"a,b\n" + b"".join(b"%d,x%d\n" % (i, i * i % 97) for i in range(9000))
    whole = _zipped(tmp_path / "whole.csv.zip", {"rows.csv": rows}).read_bytes()
    flipped, locked = bytearray(whole), bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    locked[whole.index(b"PK\x01\x02") + 8] |= 1
    _zipped(tmp_path / "two.csv.zip", {"a.csv": rows, "b.csv": rows})
    _zipped(tmp_path / "none.csv.zip", {})
    spoilt = {"cut": whole[:-30], "no": b"a,b", "flipped": bytes(flipped), "locked": bytes(locked)}
    for name, content in spoilt.items():
        (tmp_path / f"{name}.csv.zip").write_bytes(content)
    reasons = {
        "two": "holds 2 files",
        "none": "holds no file|cannot be read",
        "locked": "needs a password",
        **dict.fromkeys(("cut", "no", "flipped"), "no zip archive that can be read"),
    }
    for name, reason in reasons.items():
        with pytest.raises(DataError, match=reason):
            og.read(tmp_path / f"{name}.csv.zip").count()


def test_types_are_saved_and_read(tmp_path: Path) -> None:
    table = pa.table(
        {
            "zip": ["01067"],
            "n": pa.array([1], pa.int16()),
            "at": pa.array([0], pa.timestamp("us", "Europe/Berlin")),
            "price": pa.array([decimal.Decimal("1.50")], pa.decimal128(6, 2)),
            "kind": pa.array(["x"]).dictionary_encode(),
        }
    )
    og.dataset(table).write_types(tmp_path / "types.json")
    (tmp_path / "rows.csv").write_text("zip,n,at,price,kind\n01067,1,1970-01-01 00:00:00Z,1.50,x\n")
    rows = og.read(tmp_path / "rows.csv", types=str(tmp_path / "types.json"))
    assert rows.schema.types == [*table.schema.types[:4], pa.string()]
    assert rows.to_arrow().select(["zip", "price"]).to_pylist() == table.select(["zip", "price"]).to_pylist()
    with pytest.raises(InputNotFoundError, match="No file of types"):
        og.read(tmp_path / "rows.csv", types=tmp_path / "none.json")
    (tmp_path / "types.json").write_text("[1]")
    with pytest.raises(ParameterError, match="holds no types"):
        og.read(tmp_path / "rows.csv", types=tmp_path / "types.json")


def test_numbers_of_json_are_text_where_types_say_so(engine: EngineCase, tmp_path: Path) -> None:
    """As codes of post are numbers to one program and text to another; digits stay as they were written."""
    lines = ['{"zip":1067,"n":1}', '{"zip":"02139","n":2.5}', "", "null", '{"zip":1.50}', '{"zip":true}']
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"column 'zip' in row 1: string, after .*types=\{'zip': 'text'\}"):
        og.read(tmp_path / "rows.jsonl").to_arrow()
    rows = og.read(tmp_path / "rows.jsonl", types={"zip": "text"}, engine=engine.open(ROWS).engine).to_arrow()
    assert sorted(map(str, rows["zip"].to_pylist())) == ["02139", "1.50", "1067", "None", "true"]
    assert rows.schema.field("n").type == pa.float64()
    for line, problem in (
        ('{"zip":[1]}', "array"),
        ('{"zip":1,"zip":2}', "zip"),
        ('{"zip":1', "a line is no JSON"),
    ):
        (tmp_path / "bad.jsonl").write_text(line)
        with pytest.raises(DataError, match=problem):
            og.read(tmp_path / "bad.jsonl", types={"zip": "text"}).to_arrow()
