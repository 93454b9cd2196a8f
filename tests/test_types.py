"""Every Arrow type through every door: one answer wherever the rows come from, or a refusal at fit."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Context, Decimal
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow.data.exact import exact
from outgrow.data.schema import kinds_of
from outgrow.serve.http.app import application
from outgrow.serve.http.deployment import Model
from outgrow.serve.http.state import Settings

ROWS = 24
WORDS, WHOLE = ["a", "bé", "c"], [10115, 53111, 80331]
LONG = [2**53, 2**53 + 1, 2**53 + 2]
TENTHS = [Decimal("0.1"), Decimal("0.7"), Decimal("12.5")]
MOMENTS = [dt.datetime(2024, 1, 31, 12), dt.datetime(1969, 2, 1), dt.datetime(2261, 3, 5, 23, 59, 59)]
TIMES = [dt.time(1), dt.time(2, 30), dt.time(23, 59)]


def column(values: list[Any], kind: pa.DataType, *, missing: bool = False) -> pa.Array:
    """The values in turn, in a type."""
    picked = [values[row % len(values)] for row in range(ROWS)]
    if missing:
        picked[5] = picked[6] = None
    return pa.array(picked, kind)


def coded(values: list[Any], kind: pa.DataType, index: pa.DataType, *, missing: bool = False) -> pa.Array:
    codes = column(list(range(len(values))), index, missing=missing)
    return pa.DictionaryArray.from_arrays(codes, pa.array(values, kind))


def encoded_runs(values: list[Any], kind: pa.DataType) -> pa.Array:
    return pa.compute.run_end_encode(column(values, kind))


NUMBERS = {
    **{
        str(kind): column([1, 2, 3], kind)
        for kind in (
            pa.int8(),
            pa.int16(),
            pa.int32(),
            pa.int64(),
            pa.uint8(),
            pa.uint16(),
            pa.uint32(),
            pa.uint64(),
        )
    },
    **{str(kind): column([0.5, 1.0, 2.0], kind) for kind in (pa.float32(), pa.float64())},
    "float16": pa.array(np.array([0.5, 1.0, 2.0] * 8, np.float16)),
    "bool": column([True, False], pa.bool_()),
    "long int64": column(LONG, pa.int64()),
    "long uint64": column([2**63, 2**63 + 1, 5], pa.uint64()),
    "missing int64": column([1, 2, 3], pa.int64(), missing=True),
    "missing float64": column([0.5, 1.0, 2.0], pa.float64(), missing=True),
    "decimal of whole": column([Decimal(value) for value in WHOLE], pa.decimal128(9, 0)),
    "decimal of negative scale": column([Decimal(1000 * value) for value in WHOLE], pa.decimal128(5, -3)),
    "decimal of long whole": column([Decimal(value) for value in LONG], pa.decimal128(38, 0)),
    "decimal of fractions": column(TENTHS, pa.decimal128(9, 2)),
    "decimal32": column(TENTHS, pa.decimal32(5, 2)),
    "decimal64": column(TENTHS, pa.decimal64(12, 2)),
    "decimal256": column(TENTHS, pa.decimal256(60, 2)),
    "runs of int64": encoded_runs([1, 2, 3], pa.int64()),
}
CATEGORIES = {
    **{str(kind): column(WORDS, kind) for kind in (pa.string(), pa.large_string(), pa.string_view())},
    "missing string": column(WORDS, pa.string(), missing=True),
    **{
        f"{kind} by {index}": coded(WORDS, kind, index)
        for kind in (pa.string(), pa.large_string(), pa.string_view())
        for index in (pa.int8(), pa.int64(), pa.uint8(), pa.uint32(), pa.uint64())
    },
    "missing string by uint8": coded(WORDS, pa.string(), pa.uint8(), missing=True),
    "null among words": pa.DictionaryArray.from_arrays(column([0, 1, 2], pa.int32()), ["a", None, "c"]),
    "word twice": pa.DictionaryArray.from_arrays(column([0, 1, 2], pa.int32()), ["a", "b", "a"]),
    "runs of string": encoded_runs(WORDS, pa.string()),
    "int64 by int8": coded(WHOLE, pa.int64(), pa.int8()),
    "uint16 by uint32": coded([1, 2, 300], pa.uint16(), pa.uint32()),
    "missing int64 by int8": coded(WHOLE, pa.int64(), pa.int8(), missing=True),
    "double by int8": coded([0.5, 1.0, 2.0], pa.float64(), pa.int8()),
    "bool by int8": coded([True, False], pa.bool_(), pa.int8()),
}
OTHERS = {
    **{
        str(kind): column(MOMENTS, kind)
        for kind in (
            pa.timestamp("s"),
            pa.timestamp("ms"),
            pa.timestamp("us"),
            pa.timestamp("ns"),
            pa.timestamp("us", "Europe/Berlin"),
            pa.date32(),
            pa.date64(),
        )
    },
    "past year 9999": pa.array([10**12, 0, 5] * 8, pa.timestamp("s")),
    "past 64 bits of us": pa.array([2**60, 0, 5] * 8, pa.timestamp("s")),
    "date by int8": coded([value.date() for value in MOMENTS], pa.date32(), pa.int8()),
    "decimal by int8": coded(TENTHS, pa.decimal128(9, 2), pa.int8()),
    "time32": column(TIMES, pa.time32("s")),
    "time64": column(TIMES, pa.time64("us")),
    "duration": column([dt.timedelta(1), dt.timedelta(2)], pa.duration("us")),
    **{
        str(kind): column([b"a", b"\xff"], kind)
        for kind in (pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int8(), pa.binary()))
    },
    "fixed binary": column([b"ab", b"cd"], pa.binary(2)),
    "null": pa.nulls(ROWS),
    "list": column([[1, 2], [3]], pa.list_(pa.int64())),
    "struct": column([{"p": 1}, {"p": 2}], pa.struct([("p", pa.int64())])),
    "map": column([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
    "vector": column([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2)),
    "month interval": column([pa.MonthDayNano([1, 2, 3])], pa.month_day_nano_interval()),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), column([b"a" * 16, b"b" * 16], pa.binary(16))),
}
TYPES = {**NUMBERS, **CATEGORIES, **OTHERS}


def table_of(values: pa.Array) -> pa.Table:
    """Rows whose class, number and key follow from the column `c`."""
    encoded = pa.compute.run_end_decode(values) if pa.types.is_run_end_encoded(values.type) else values
    place = [row % 3 for row in range(len(encoded))]
    return pa.table(
        {
            "c": values,
            "x": [float(row) for row in range(ROWS)],
            "y": [p % 2 for p in place],
            "target": [10.0 * p for p in place],
        }
    )


def encoder() -> Any:
    return og.Pipeline([og.OneHotEncoder(columns=["c"]), og.LogisticRegression()])


ROLES: dict[str, tuple[Callable[[], Any], list[str], str]] = {
    "number": (lambda: og.Ridge(), ["c", "x", "target"], "target"),
    "category": (encoder, ["c", "x", "y"], "y"),
    "tree": (lambda: og.GradientBoostingClassifier(n_estimators=1, min_child_weight=0), ["c", "x", "y"], "y"),
    "key": (
        lambda: og.PerGroup(og.LinearRegression(), by=["c"], unseen="global"),
        ["c", "x", "target"],
        "target",
    ),
    "class": (lambda: og.LogisticRegression(), ["x", "c"], "c"),
}


def roles(name: str) -> set[str]:
    """What a column of numbers or of categories may be: all but what its values rule out."""
    values = TYPES[name].to_pylist()
    fractions = name in NUMBERS and any(isinstance(v, float | Decimal) and v % 1 for v in values)
    unfit = {"class"} if None in values or fractions or name == "long uint64" else set()
    return set(ROLES) - unfit - ({"number"} if None in values or name in CATEGORIES else set())


def answers(model: Any, rows: Any) -> list[Any]:
    found = model.predict(rows)
    if isinstance(found, og.Dataset):
        found = found.to_arrow()
    if isinstance(found, pa.Table):
        found = found["prediction"].to_pylist()
    return list(found)


UNSAID = {
    "json": {"past year 9999"},
    "csv": {"past year 9999", "vector", "long uint64"},
    "spark": {"long uint64", "past 64 bits of us"},
    "duckdb": set(),
}
"""What text, Spark and DuckDB cannot say, or not so that it is read as what it was."""
if not pa.types.is_null(
    og.sql("SELECT * FROM t", {"t": pa.table({"c": pa.nulls(1)})}).schema.field("c").type
):
    UNSAID["duckdb"] |= {"null"}  # older DuckDB makes whole numbers of it


def said(values: pa.Array) -> list[Any]:
    """The values as JSON says them."""

    def word(value: Any) -> Any:
        if isinstance(value, Decimal):
            return int(value) if value.as_tuple().exponent == 0 else float(value)
        return value.isoformat() if isinstance(value, dt.date) else value

    try:
        return [word(value) for value in values.to_pylist()]
    except OverflowError:
        return values.cast(pa.string()).to_pylist()


def cell(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def rows_as_text(features: pa.Table) -> tuple[list[dict[str, Any]], str]:
    """The rows as JSON says them, and as CSV."""
    columns = {name: said(features[name].combine_chunks()) for name in features.column_names}
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    lines = [",".join(columns), *(",".join(map(cell, row.values())) for row in records)]
    return records, "\n".join(lines)


# ---- doors -------------------------------------------------------------------------------------------------


def parquet(table: pa.Table, folder: Path) -> Any:
    pq.write_table(table, folder / "rows.parquet")
    return og.read(folder / "rows.parquet")


def ipc(table: pa.Table, folder: Path) -> Any:
    pa.feather.write_feather(table, folder / "rows.arrow", compression="uncompressed")
    return og.read(folder / "rows.arrow")


def csv(table: pa.Table, folder: Path) -> Any:
    (folder / "rows.csv").write_text(rows_as_text(table)[1])
    return og.read(folder / "rows.csv")


def json_lines(table: pa.Table, folder: Path) -> Any:
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows_as_text(table)[0])))
    return og.read(folder / "rows.jsonl")


DOORS: dict[str, Callable[[pa.Table, Path], Any]] = {
    "stream": lambda table, folder: table.to_reader(),
    "dataset": lambda table, folder: og.dataset(table),
    "pandas": lambda table, folder: table.to_pandas(),
    "polars": lambda table, folder: pl.from_arrow(table),
    "duckdb": lambda table, folder: og.sql("SELECT * FROM t", {"t": table}),
    "parquet": parquet,
    "ipc": ipc,
    "csv": csv,
    "json": json_lines,
}
CANNOT = {
    "pandas": ("uuid", "by uint64", "word twice", "null among words"),
    "polars": ("uuid", "decimal256", "negative scale", "map", "month interval", "runs of"),
    "duckdb": ("decimal256", "negative scale", "vector"),
    "parquet": ("negative scale", "string_view by", "runs of", "month interval", "null among words"),
}
"""What the library behind a door cannot say."""


@pytest.mark.parametrize(("number", "name"), list(enumerate(TYPES)))
def test_one_answer_at_every_door(number: int, name: str, tmp_path: Path) -> None:
    """What was learned from a table answers alike for rows of every form, or was refused at fit.

    The models meet the doors in turn, so that over all types each meets each.
    """
    table = table_of(TYPES[name])
    models, features, expected = fitted(name), {}, {}
    assert name in OTHERS or set(models) == roles(name)
    for role, model in models.items():
        _, columns, target = ROLES[role]
        features[role] = table.select(columns).drop_columns(target)
        expected[role] = answers(model, features[role])
        model.save(tmp_path / role)
        same(answers(og.load(tmp_path / role), features[role]), expected[role], role, "load")
    if not models:
        return
    doors = [
        door
        for door in DOORS
        if not any(word in name for word in CANNOT.get(door, ())) and name not in UNSAID.get(door, ())
    ]
    for place, door in enumerate(doors):
        role = list(models)[(number + place) % len(models)]
        rows = DOORS[door](features[role], tmp_path)
        same(answers(models[role], rows), expected[role], role, door)
    make, columns, target = ROLES[role]
    door = doors[number % len(doors)]
    again = make().fit(DOORS[door](table.select(columns), tmp_path), target)
    same(answers(again, features[role]), expected[role], role, f"fit on {door}")


@cache
def fitted(name: str) -> dict[str, Any]:
    """The models that do not refuse a column of this type; several tests ask them."""
    table, found = table_of(TYPES[name]), {}
    for role, (make, columns, target) in ROLES.items():
        with suppress(og.errors.OutgrowError):
            found[role] = make().fit(table.select(columns), target)
    return found


def same(found: list[Any], expected: list[Any], role: str, door: str) -> None:
    if role in ("number", "key"):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9, err_msg=f"{role} {door}")
    else:
        assert found == expected, (role, door)


CODES, VALUES = pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]


@pytest.mark.parametrize(
    "values",
    [
        pa.UnionArray.from_sparse(CODES, VALUES),
        pa.UnionArray.from_dense(CODES, pa.array([0, 1], pa.int32()), VALUES),
    ],
)
def test_unions_are_refused(values: pa.Array) -> None:
    with pytest.raises(og.errors.SchemaError, match="'u' is a union"):
        og.dataset(pa.table({"u": values})).count()


def test_what_the_engine_of_sql_has_no_type_for() -> None:
    with pytest.raises(og.errors.DataError, match="cannot be run"):
        og.sql(
            "SELECT * FROM t", {"t": pa.table({"d": pa.array([Decimal(1)], pa.decimal256(60, 2))})}
        ).count()
    wide = pa.table({"d": pa.array([Decimal(1)], pa.decimal256(60, 2)), "e": [1]})
    with pytest.raises(og.errors.ParameterError, match="cannot be run"):
        og.SQLTransformer("SELECT *, d + 1 AS f FROM __THIS__").fit(wide)


@given(data=st.data(), precision=st.integers(1, 76))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_decimals_as_keys_are_what_they_are(data: Any, precision: int) -> None:
    """Of any type: the value itself, or refused where neither 38 digits nor float64 hold it."""
    scale = data.draw(st.integers(-3, min(12, precision - 1)))
    kind = (pa.decimal128 if precision <= 38 else pa.decimal256)(precision, scale)
    unscaled = data.draw(st.integers(-(10**precision) + 1, 10**precision - 1))
    value = Decimal(unscaled).scaleb(-scale, Context(prec=90))
    try:
        found = exact(pa.array([value, None], kind), "c").to_pylist()[0]
    except og.errors.DataError:
        assert abs(value) >= 10**38 or (scale > 0 and precision > 15)
    else:
        assert Decimal(found) == value if scale <= 0 else found == float(value)


@pytest.mark.parametrize(("number", "name"), list(enumerate(TYPES)))
def test_one_answer_in_a_stream(number: int, name: str, tmp_path: Path) -> None:
    """Files that come into a folder, each type in two forms."""
    # of a classifier of the column it is what is predicted
    models = {role: model for role, model in fitted(name).items() if role != "class"}
    forms = {"parquet": parquet, "ipc": ipc, "csv": csv, "json": json_lines}
    forms = {
        form: write
        for form, write in forms.items()
        if not any(word in name for word in CANNOT.get(form, ())) and name not in UNSAID.get(form, ())
    }
    for place in range(2 if models and forms else 0):
        role = list(models)[(number + place) % len(models)]
        form = list(forms)[(number + place) % len(forms)]
        folder = tmp_path / str(place)
        (folder / "in").mkdir(parents=True)
        _, columns, target = ROLES[role]
        features = table_of(TYPES[name]).select(columns).drop_columns(target)
        forms[form](features, folder / "in")
        models[role].save(folder / "model")
        og.score_stream(folder / "model", folder / "in", folder / "out", keep=["x"]).run_available()
        scored = og.read(folder / "out").to_arrow().sort_by("x")
        same(scored["prediction"].to_pylist(), answers(models[role], features), role, form)


# ---- Spark -------------------------------------------------------------------------------------------------


def together(role: str, speaks: Callable[[pa.Table], Any]) -> pa.Table:
    """A table with a column for each type that the role takes and `speaks` does not refuse."""
    make, columns, target = ROLES[role]
    found = {name: table_of(TYPES["bool"])[name] for name in ("x", "y", "target")}
    for number, (name, values) in enumerate(TYPES.items()):
        with suppress(Exception):  # whatever Spark, PyArrow and py4j say of a type that they have not
            assert name not in UNSAID["spark"]
            speaks(pa.table({"c": values}))
            make().fit(table_of(values).select(columns), target)
            found[f"c{number}"] = values
    return pa.table(found)


def on_all(role: str, columns: list[str]) -> tuple[Any, str]:
    """A model of that role over all columns of types, and its target."""
    if role == "category":
        return og.Pipeline([og.OneHotEncoder(columns=columns), og.LogisticRegression()]), "y"
    if role == "key":
        return og.PerGroup(og.LinearRegression(), by=columns, unseen="global"), "target"
    return og.Ridge(), "target"


@pytest.mark.parametrize("role", ["number", "category", "key"])
@pytest.mark.parametrize("way", ["frame", "path"])
def test_one_answer_on_spark(role: str, way: str, spark: Any, tmp_path: Path) -> None:
    def frame(table: pa.Table) -> Any:
        return og.dataset(spark.createDataFrame(table))

    def path(table: pa.Table) -> Any:
        pq.write_table(table, tmp_path / "rows.parquet", row_group_size=7)
        return og.read(tmp_path / "rows.parquet", engine=og.Spark(spark))

    def speaks(table: pa.Table) -> None:
        rows = door(table)
        rows.engine.table(rows.scan)
        # Spark's arrays may have any length, so vectors come back as lists, of which no number is learned
        assert kinds_of(rows.schema) == kinds_of(table.schema) or role == "category"

    door = frame if way == "frame" else path
    table = together(role, speaks)
    columns = [name for name in table.column_names if name.startswith("c")]
    assert len(columns) > 12
    model, target = on_all(role, columns)
    table = table.drop_columns({"y", "target"} - {target})
    features = table.drop_columns(target)
    expected = answers(model.fit(table, target), features)

    scored = model.predict(door(features)).to_arrow().sort_by("x")
    same(scored["prediction"].to_pylist(), expected, role, f"predict, {way}")
    again = on_all(role, columns)[0].fit(door(table), target)
    same(answers(again, features), expected, role, f"fit, {way}")


def test_what_spark_cannot_say_is_told(spark: Any, tmp_path: Path) -> None:
    pq.write_table(table_of(TYPES["long uint64"]), tmp_path / "rows.parquet")
    rows = og.read(tmp_path / "rows.parquet", engine=og.Spark(spark))
    with pytest.raises(
        og.errors.OutgrowError, match=r"Column 'c' of type uint64 .* which not all of its values fit"
    ):
        rows.to_arrow()


# ---- HTTP --------------------------------------------------------------------------------------------------


def requests(model: str, features: pa.Table, kinds: dict[str, Any]) -> dict[str, tuple[str, str, bytes]]:
    """Bodies that ask a model for the same rows: the path, the media type and the content."""
    records, text = rows_as_text(features)
    columns = {name: [row[name] for row in records] for name in features.column_names}
    split = {"columns": list(columns), "data": [list(row.values()) for row in records]}
    tensors = [
        {
            "name": name,
            "datatype": kinds[name].form.tensor,
            "shape": [ROWS, *([width] if (width := kinds[name].width) else [])],
            "data": values,
        }
        for name, values in columns.items()
    ]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, features.schema) as stream:
        stream.write_table(features)
    predict, invoke = f"/models/{model}/predict", f"/models/{model}/invocations"
    bodies = {
        "rows": (predict, {"rows": records}),
        "v2": (f"/v2/models/{model}/infer", {"inputs": tensors}),
        "split": (invoke, {"dataframe_split": split}),
        "records": (invoke, {"dataframe_records": records}),
        "instances": (invoke, {"instances": records}),
        "inputs": (invoke, {"inputs": columns}),
    }
    found = {
        name: (path, "application/json", json.dumps(body).encode()) for name, (path, body) in bodies.items()
    }
    return found | {
        "arrow": (predict, "application/vnd.apache.arrow.stream", sink.getvalue().to_pybytes()),
        "csv": (invoke, "text/csv", text.encode()),
    }


@dataclass
class Asked:
    """A model of a type, the rows it is asked about and in what role, and what the server answers."""

    role: str
    model: Any
    features: pa.Table
    responses: dict[str, httpx.Response] = field(default_factory=dict)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Asked]:
    """For each type that a model takes, the answers of one server of all these models."""
    folder, found = tmp_path_factory.mktemp("models"), {}
    for number, name in enumerate(TYPES):
        models = fitted(name)
        role = next((role for role in ("category", "key", "number") if role in models), None)
        if role is not None:
            _, columns, target = ROLES[role]
            features = table_of(TYPES[name]).select(columns).drop_columns(target)
            models[role].save(folder / f"m{number}")
            found[name] = Asked(role, models[role], features)
    asyncio.run(ask(found, folder))
    return found


async def ask(found: dict[str, Asked], folder: Path) -> None:
    paths = {name: folder / f"m{number}" for number, name in enumerate(TYPES) if name in found}
    served = {path.name: Model(str(path)) for path in paths.values()}
    transport = httpx.ASGITransport(app=application(Settings(served)))
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        for name, each in found.items():
            bodies = requests(paths[name].name, each.features, each.model.columns_)
            for form, (path, media, body) in bodies.items():
                each.responses[form] = await client.post(path, content=body, headers={"content-type": media})


def predictions(form: str, response: httpx.Response) -> list[Any]:
    if form == "arrow":
        return pa.ipc.open_stream(response.content).read_all()["prediction"].to_pylist()
    found = response.json()
    return found["outputs"][0]["data"] if form == "v2" else found["predictions"]


@pytest.mark.parametrize("name", TYPES)
def test_one_answer_in_every_request(name: str, asked: dict[str, Asked]) -> None:
    if (one := asked.get(name)) is None:
        assert name in OTHERS
        return
    expected = answers(one.model, one.features)
    for form, response in one.responses.items():
        if name not in UNSAID.get("csv" if form == "csv" else "json", ()) or form == "arrow":
            assert response.status_code == 200, (one.role, form, response.text)
            same(predictions(form, response), expected, one.role, form)
