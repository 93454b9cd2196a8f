"""What rows are expected to be: every type through every rule, one pass, any engine."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow.cli import main
from outgrow.data.batch import Batch
from outgrow.data.plain import plain_table
from outgrow.engine.local import Local
from outgrow.errors import (
    ColumnNotFoundError,
    DataError,
    ExpectationError,
    ExpectationWarning,
    InputNotFoundError,
    JobFileError,
    ParameterError,
    SchemaError,
)
from outgrow.expectations import expectations as bound
from outgrow.expectations import state as states
from outgrow.expectations.checker import Counting, RowChecker, bind
from outgrow.expectations.learning import LearnedColumn
from outgrow.expectations.rules import Length, Matches, Range, Required, Rule, Values, negated
from outgrow.expectations.spec import ColumnSpec, Spec, read_spec
from outgrow.job.load import load_job
from outgrow.job.run import run_job
from outgrow.job.tuning import tune_job
from outgrow.stats.state import from_tree, merge, to_tree
from outgrow.testing import EngineCase, pieces_case

DAY = datetime.date(2026, 1, 31)
MOMENT = datetime.datetime(2026, 1, 31, 12, 30)
NOW = datetime.datetime(2026, 2, 1, tzinfo=datetime.UTC)
NUMBERS: list[Any] = [1, 2, 3, None]

COLUMNS: dict[str, pa.Array] = {
    **{str(kind): pa.array(NUMBERS, kind) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())},
    **{str(kind): pa.array(NUMBERS, kind) for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())},
    **{str(kind): pa.array([1.0, 2.5, math.nan, None], kind) for kind in (pa.float32(), pa.float64())},
    "halffloat": pa.array([np.float16(1), np.float16(2.5), None]),
    "decimal128": pa.array([Decimal("1.10"), Decimal("2.50"), None], pa.decimal128(20, 2)),
    "decimal256": pa.array([Decimal("1.10"), Decimal("2.50"), None], pa.decimal256(60, 2)),
    "whole decimals": pa.array([Decimal(1), Decimal(3), None], pa.decimal128(30, 0)),
    "boolean": pa.array([True, False, None]),
    "text": pa.array(["a", "bb", "ÄÖÜ", "", None]),
    "large text": pa.array(["a", "bb", None], pa.large_string()),
    "text view": pa.array(["a", "bb", None], pa.string_view()),
    "dictionary": pa.array(["a", "bb", None, "a"]).dictionary_encode(),
    "numbers in a dictionary": pa.array([1, 2, None, 1]).dictionary_encode(),
    "binary": pa.array([b"a", b"bb", None]),
    "fixed binary": pa.array([b"ab", b"cd", None], pa.binary(2)),
    "date": pa.array([DAY, None]),
    "date64": pa.array([DAY, None], pa.date64()),
    **{f"times in {unit}": pa.array([MOMENT, None], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")},
    "times with a zone": pa.array([MOMENT, None], pa.timestamp("us", "Europe/Berlin")),
    "time of day": pa.array([datetime.time(8), None]),
    "duration": pa.array([datetime.timedelta(hours=1), None]),
    "list": pa.array([[1], [1, 2], [], None]),
    "large list": pa.array([["a"], ["b", "c"], None], pa.large_list(pa.string())),
    "struct": pa.array([{"a": 1}, None]),
    "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
    "vectors": pa.array([[1.0, 2.0], [3.0, math.nan]], pa.list_(pa.float64(), 2)),
    "nulls": pa.nulls(3),
    "one null": pa.array([None, None], pa.int64()),
    "no rows": pa.array([], pa.int64()),
}
"""A column of each type, with what it may hold that is odd."""

RULES: list[Rule] = [
    Required(),
    Range(2, None),
    Range(None, 2),
    Range(1.1, 2.4),
    Range("b", "c"),
    Range(DAY, MOMENT),
    Range("2026-02-01", None),
    Values((1, 2)),
    Values(("a",)),
    Values((True,)),
    Values((DAY,)),
    Values((2.5, Decimal("1.1"))),
    Matches("[ab]+"),
    Length(2, None),
    Length(0, 1),
]


def keeps(rule: Rule, value: Any) -> bool:
    """Whether a value keeps a rule, by plain Python."""
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    if isinstance(rule, Required):
        return not missing
    if missing:
        return True
    if isinstance(rule, Matches):
        return re.fullmatch(rule.pattern, value) is not None
    if isinstance(rule, Length):
        return (rule.low or 0) <= len(value) <= (math.inf if rule.high is None else rule.high)
    if isinstance(rule, Values):
        return any(comparable(value) == comparable(one) for one in rule.values)
    assert isinstance(rule, Range)
    low, high = comparable(rule.low, value), comparable(rule.high, value)
    value = comparable(value)
    return (low is None or value >= low) and (high is None or value <= high)


def comparable(value: Any, beside: Any = None) -> Any:
    """Numbers as decimals, moments without zones."""
    if isinstance(value, str) and isinstance(beside, datetime.date):
        value = datetime.date.fromisoformat(value)
    if isinstance(value, datetime.datetime):
        return (value.astimezone(datetime.UTC) if value.tzinfo else value).replace(tzinfo=None)
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day)
    return Decimal(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else value


def batch_of(column: pa.Array) -> Batch:
    table = plain_table(pa.table({"x": column})).combine_chunks()
    if not table.num_rows:
        return Batch.from_arrow(pa.RecordBatch.from_arrays([table["x"].combine_chunks()], names=["x"]))
    return Batch.from_arrow(table.to_batches()[0])


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("name", COLUMNS)
def test_every_type_through_every_rule(name: str, rule: Rule) -> None:
    """A rule either says why a type does not fit it, or breaks for just the rows that Python says."""
    array = COLUMNS[name]
    column = batch_of(array)["x"]
    if rule.unfit(column) is not None:
        checker, unfit = bind(Spec({"x": ColumnSpec((rule,))}), batch_of(array), {})
        assert checker == RowChecker(())
        assert list(unfit) == [("x", rule.key)]
        return
    failing = rule.failing(column)
    seen = np.zeros(len(array), dtype=bool) if failing is None else failing
    if name == "times with a zone" and isinstance(rule, Range | Values):
        return  # test_a_moment_without_a_zone_is_one_of_the_column
    assert seen.tolist() == [not keeps(rule, value) for value in array.to_pylist()]


def test_what_fits_which_type_is_written_down() -> None:
    fits = {
        type(rule).__name__: {name for name in COLUMNS if rule.unfit(batch_of(COLUMNS[name])["x"]) is None}
        for rule in RULES
        if rule in (Required(), Range(2, None), Values((True,)), Matches("[ab]+"), Length(2, None))
    }
    texts = {"text", "large text", "text view", "dictionary", "nulls"}
    lists = {"binary", "fixed binary", "list", "large list", "vectors"}
    assert fits["Required"] == set(COLUMNS)
    assert fits["Matches"] == texts
    assert fits["Length"] == texts | lists
    assert fits["Values"] == {"boolean", "nulls"}
    numbers = {name for name in COLUMNS if re.search("int|float|double|decimal|one null|no rows", name)}
    assert fits["Range"] == numbers | {"numbers in a dictionary", "nulls"}


def test_a_moment_without_a_zone_is_one_of_the_column() -> None:
    berlin = batch_of(
        pa.array([datetime.datetime(2026, 1, 30, 23, tzinfo=datetime.UTC)]).cast(
            pa.timestamp("us", "Europe/Berlin")
        )
    )["x"]  # midnight of the 31st there
    assert Range(DAY, None).failing(berlin) is None
    assert Range(None, DAY).failing(berlin) is None
    assert Range("2026-01-31T00:00:01", None).failing(berlin) is not None
    aware = datetime.datetime(2026, 1, 30, 23, tzinfo=datetime.UTC)
    assert Range(aware, aware).failing(berlin) is None
    assert Range(aware, None).unfit(batch_of(COLUMNS["times in us"])["x"]) is not None  # it has no zone


@pytest.mark.parametrize(
    ("kind", "low", "high", "values", "failing"),
    [
        (pa.int8(), -1000, 1000, [-128, 127], []),
        (pa.int8(), 200, None, [127, None], [0]),
        (pa.uint64(), None, 2**64, [2**64 - 1], []),
        (pa.uint64(), 2**63, None, [2**63 - 1, 2**63], [0]),
        (pa.int64(), None, 2**53, [2**53 + 1, 2**53], [0]),
        (pa.int64(), 0.5, 1.5, [0, 1, 2], [0, 2]),
        (pa.float32(), 0.1, 0.1, [0.1], []),
        (pa.float64(), None, 1e308, [math.inf, math.nan, 1.0], [0]),
        (pa.decimal128(5, 2), Decimal("1.005"), 1e9, [Decimal("1.00"), Decimal("1.01")], [0]),
        (pa.decimal128(38, 0), 10**37, None, [Decimal(10**37), Decimal(10**37 - 1)], [1]),
        (pa.date32(), datetime.datetime(2026, 1, 31, 12), None, [DAY, datetime.date(2026, 2, 1)], [0]),
        (pa.timestamp("s"), None, "2026-01-31T12:30:00.5", [MOMENT, MOMENT.replace(minute=31)], [1]),
    ],
)  # fmt: skip
def test_ends_of_ranges_are_exact(
    kind: pa.DataType, low: Any, high: Any, values: list[Any], failing: list[int]
) -> None:
    mask = Range(low, high).failing(batch_of(pa.array(values, kind))["x"])
    assert ([] if mask is None else np.flatnonzero(mask).tolist()) == failing


@given(
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)),
    st.none() | st.integers(-(2**65), 2**65) | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.integers(-(2**65), 2**65) | st.floats(allow_nan=False, allow_infinity=False),
)
def test_ranges_of_whole_numbers_are_those_of_python(values: list[Any], low: Any, high: Any) -> None:
    mask = Range(low, high).failing(batch_of(pa.array(values, pa.int64()))["x"])
    expected = [
        value is not None and ((low is not None and value < low) or (high is not None and value > high))
        for value in values
    ]
    assert (np.zeros(len(values), bool) if mask is None else mask).tolist() == expected


SPEC: dict[str, Any] = {
    "columns": {
        "id": {"type": "integer", "unique": True},
        "hour": {"type": "integer", "range": [0, 23], "required": True},
        "carrier": {"values": ["AA", "NO", "UA"], "matches": "[A-Z]{2}", "length": [2, 2]},
        "wind": {"type": "number", "missing": 0.2, "range": [0, None]},
        "time": {"type": "time", "newest": "2d"},
    },
    "rows": [10, 100_000],
    "unique": [["carrier", "id"]],
    "others": "refuse",
}


def flights(rows: int = 1_000, seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    start = datetime.datetime(2026, 1, 31)
    return pa.table(
        {
            "id": np.arange(rows),
            "hour": random.integers(0, 24, rows),
            "carrier": random.choice(["AA", "NO", "UA"], rows),
            "wind": pa.array(random.gamma(3.0, 4.0, rows), mask=random.random(rows) < 0.1),
            "time": pa.array([start + datetime.timedelta(minutes=int(i) % 900) for i in range(rows)]),
        }
    )


def broken_flights() -> pa.Table:
    """A thousand flights, of which some break everything that is expected."""
    table = flights()
    changes = {
        "id": [0, 0, 1, *range(3, 1_000)],
        "hour": [99, 24, None, *table["hour"].to_pylist()[3:]],
        "carrier": ["AA", "zz", "AAA", *table["carrier"].to_pylist()[3:]],
        "wind": [-1.0, *([None] * 500), *table["wind"].to_pylist()[501:]],
    }
    for name, values in changes.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    return table


def test_rows_as_expected_are_ok() -> None:
    report = og.Expectations(SPEC).check(flights(), now=NOW)
    assert report.ok, report
    assert (report.rows, report.set_aside, report.verdict, report.stopping) == (1_000, 0, "ok", [])


def test_each_expectation_is_broken_and_says_how() -> None:
    late = NOW + datetime.timedelta(days=5)
    report = og.Expectations(SPEC).check(broken_flights().append_column("more", pa.nulls(1_000)), now=late)
    observed = {(one.column, one.what): one.observed for one in report.broken}
    assert observed == {
        ("", "others"): "more",
        ("id", "unique"): "1 rows repeat another, such as 0",
        ("hour", "required"): "not in 1 of 1,000 rows (0.10%)",
        ("hour", "range"): "not in 2 of 1,000 rows (0.20%), such as 24, 99",
        ("carrier", "values"): "not in 2 of 1,000 rows (0.20%), such as AAA, zz",
        ("carrier", "matches"): "not in 2 of 1,000 rows (0.20%), such as AAA, zz",
        ("carrier", "length"): "not in 1 of 1,000 rows (0.10%), such as AAA",
        ("wind", "missing"): observed["wind", "missing"],
        ("wind", "range"): "not in 1 of 1,000 rows (0.10%), such as -1",
        ("time", "newest"): "2026-01-31 14:59:00, 5.4 days ago",
    }
    assert report.set_aside == 3
    assert len(report.stopping) == 4  # of the table; rows that fail leave


def test_the_report_is_the_same_on_every_engine(engine: EngineCase) -> None:
    here = og.Expectations(SPEC).check(broken_flights(), now=NOW)
    there = og.Expectations(SPEC).check(engine.open(broken_flights()), now=NOW)
    for mine, theirs in zip(here.results, there.results, strict=True):
        kind = replace(mine, observed=theirs.observed) if mine.what == "type" else mine  # Spark's are its own
        assert theirs == kind
    assert (there.rows, there.set_aside) == (here.rows, here.set_aside)
    good, bad = og.Expectations(SPEC).split(engine.open(broken_flights()))
    assert good.count() == 997
    assert sorted(bad.to_arrow()["reason"].to_pylist()) == [
        "hour has no value; carrier is not one of AA, NO, UA; carrier does not match [A-Z]{2}; "
        "carrier is not 2 long",
        "hour is not from 0 to 23; carrier is not one of AA, NO, UA; carrier does not match [A-Z]{2}",
        "hour is not from 0 to 23; wind is not at least 0",
    ]
    here_learned, there_learned = map(og.expectations.learn, (flights(), engine.open(flights())))
    assert there_learned.to_dict() == here_learned.to_dict()


FORTY = broken_flights().slice(0, 40)


def states_of(parts: list[pa.Table]) -> Iterator[Any]:
    spec = read_spec(SPEC)
    for part in parts:
        batch = Batch.from_arrow(part.combine_chunks().to_batches()[0]) if part.num_rows else None
        example = Batch.from_arrow(pa.RecordBatch.from_pylist([], part.schema))
        checker, _ = bind(spec, example, {})
        keep = bound.schema_aside(example)
        counting = Counting(checker, ("wind",), ("time",), (("id",), ("carrier", "id")), keep)
        yield counting.counted(example if batch is None else batch)


def plainly(state: states.CheckedRows) -> Any:
    assert state.kept is not None
    rows = (
        state.kept.table(pa.schema([]))
        if not state.kept.rows
        else state.kept.table(pa.ipc.open_stream(pa.py_buffer(state.kept.parts[0])).schema)
    )
    aside = sorted(map(str, rows.to_pylist()))
    keys = [key.in_order().tolist() for key in state.keys]
    return (state.to_dict(), state.examples, state.missing.tolist(), state.newest.tolist(), keys, aside)


@settings(max_examples=12)
@given(st.lists(st.integers(0, 40), max_size=4), st.randoms(use_true_random=False))
def test_states_keep_the_laws(cuts: list[int], random: Any) -> None:
    table = FORTY
    edges = [0, *sorted(cuts), 40]
    parts = [table.slice(a, b - a) for a, b in pairwise(edges)]
    (whole,) = states_of([table])
    shuffled = list(states_of(parts))
    random.shuffle(shuffled)
    total = None
    for state in shuffled:
        total = merge(total, from_tree(to_tree(state)))
    right = shuffled[-1]
    for state in shuffled[-2::-1]:
        right = merge(state, right)
    assert plainly(whole) == plainly(total) == plainly(right)


@settings(max_examples=20)
@given(st.lists(st.sampled_from([None, "", "é", *map(str, range(60))]), max_size=80), st.integers(0, 80))
def test_what_is_learned_of_parts_is_what_is_learned_of_all(words: list[Any], cut: int) -> None:
    array = pa.array(words, pa.string())
    parts = [LearnedColumn.of(part, "x") for part in (array[:cut], array[cut:])]
    left, right = merge(*parts), merge(*parts[::-1])
    whole = LearnedColumn.of(array, "x")
    for state in (left, right):
        assert (state.words, state.shortest, state.longest, state.missing) == (
            whole.words, whole.shortest, whole.longest, whole.missing,
        )  # fmt: skip
        assert state.distinct.estimate() == whole.distinct.estimate()


@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(
            st.integers(-(2**62), 2**62),
            st.none() | st.floats(allow_infinity=False, width=32),
            st.sampled_from(["a", "NO", "01", "é", "1e3"]),
            st.booleans(),
            st.none() | st.dates(),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_rows_keep_what_was_learned_of_them(rows: list[Any]) -> None:
    kinds = (pa.int64(), pa.float64(), pa.string(), pa.bool_(), pa.date32())
    columns = [pa.array(values, kind) for values, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    table = pa.table(columns, names=["whole", "number", "text", "flag", "day"])
    learned = og.expectations.learn(table)
    again = og.Expectations(yaml.safe_load(learned.to_yaml()))
    report = again.check(table)
    assert report.ok, f"{report}\n{learned.to_yaml()}"


def test_what_is_learned_of_every_type_can_be_written_and_holds(tmp_path: Path) -> None:
    for name, array in COLUMNS.items():
        if not len(array):
            continue
        table = pa.table({"x": array})
        path = tmp_path / f"{name}.yaml"
        og.expectations.learn(table).save(path, head="Learned.")
        report = og.Expectations(path).check(table)
        assert report.ok, f"{name}: {report}"
    with pytest.raises(DataError, match="no rows"):
        og.expectations.learn(pa.table({"x": pa.array([], pa.int64())}))


def test_keys_are_learned_of_numbers_and_texts_and_not_of_fractions() -> None:
    table = pa.table({"id": range(500), "code": [f"{i:04}" for i in range(500)], "x": np.arange(500) / 7})
    columns = og.expectations.learn(table).to_dict()["columns"]
    assert [name for name, column in columns.items() if column.get("unique")] == ["id", "code"]
    assert columns["code"]["length"] == [4, 4]
    few = og.expectations.learn(table.slice(0, 50)).to_dict()["columns"]
    assert not any(column.get("unique") for column in few.values())


# ---- keys ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in COLUMNS if "no rows" not in n])
def test_uniqueness_of_every_type(name: str) -> None:
    array = COLUMNS[name]
    report = og.Expectations({"columns": {"x": {"unique": True}}}).check(pa.table({"x": array}))
    values = [v for v in array.to_pylist() if v is not None and v == v]
    (one,) = report.results
    nested = name in ("binary", "fixed binary", "time of day", "duration", "struct", "map", "vectors")
    if nested or "list" in name:
        assert (one.verdict, "no numbers" in one.observed) == ("broken", True)
    else:
        assert (one.verdict == "ok") == (len(set(map(str, values))) == len(values)), one


@pytest.mark.parametrize("pieces", [1, 3])
def test_more_keys_than_are_held_are_placed(pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "MOST_KEYS", 100)
    expect = og.Expectations({"columns": {"id": {"unique": True}}, "unique": [["carrier", "hour"]]})
    table = broken_flights()
    report = expect.check(pieces_case(pieces).open(table))
    whole = table.select(["carrier", "hour"]).drop_null()
    repeating = whole.num_rows - whole.group_by(["carrier", "hour"]).aggregate([]).num_rows
    assert [one.observed.split(",")[0] for one in report.results] == [
        "1 rows repeat another", f"{repeating} rows repeat another",
    ]  # fmt: skip


def test_keys_that_share_a_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    from outgrow.expectations import checker, repeated

    def coarse(batch: Batch, key: tuple[str, ...]) -> np.ndarray:
        rows = checker.whole_keys(batch, key)
        return checker.key_hash(rows, key) % np.uint64(64)

    monkeypatch.setattr(checker, "hashes_of", coarse)
    monkeypatch.setattr(repeated, "hashes_of", coarse)
    words = [f"w{i}" for i in range(200)]
    expect = og.Expectations({"columns": {"x": {"unique": True}}})
    assert expect.check(pa.table({"x": words})).ok
    report = expect.check(pa.table({"x": [*words, "w7"]}))
    assert [one.observed for one in report.broken] == ["1 rows repeat another, such as w7"]


def test_values_are_in_another_table(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"code": ["AA", "UA"], "n": pa.array([1, 2], pa.int16())}), tmp_path / "c.parquet"
    )
    (tmp_path / "expect.yaml").write_text(
        "columns:\n  carrier: {references: {path: c.parquet, column: code}}\n"
        "  n: {references: {path: c.parquet}}\n"
    )
    expect = og.Expectations(tmp_path / "expect.yaml")
    table = pa.table({"carrier": ["AA", "XX", None], "n": pa.array([1.0, 2.0, 3.0])})
    assert [one.examples for one in expect.check(table).results] == [("XX",), ("3",)]
    assert expect.split(table)[1].to_arrow()["reason"].to_pylist() == [
        "carrier is not in code of c.parquet", "n is not in n of c.parquet",
    ]  # fmt: skip
    assert expect.absolute().document["columns"]["n"]["references"]["path"] == str(tmp_path / "c.parquet")
    with pytest.raises(InputNotFoundError):
        og.Expectations({"columns": {"n": {"references": {"path": "gone.parquet"}}}}).check(table)


# ---- what is written wrongly -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"colums": {}}, "did you mean 'columns'"),
        ({"columns": []}, "map names of columns"),
        ({"columns": {"a": 3}}, "must be a mapping"),
        ({"columns": {"a": {"type": "interger"}}}, "did you mean 'integer'"),
        ({"columns": {"a": {"range": [3, 1]}}}, "the least, 3, is above the largest, 1"),
        ({"columns": {"a": {"range": [3, "b"]}}}, "cannot be compared"),
        ({"columns": {"a": {"range": 3}}}, "must be .least, largest."),
        ({"columns": {"a": {"range": [math.nan, 3]}}}, "no number can be in"),
        ({"columns": {"a": {"range": [True, False]}}}, "two numbers, times or texts"),
        ({"columns": {"a": {"length": [1.5, 2]}}}, "must be whole numbers"),
        ({"columns": {"a": {"values": []}}}, "must be a list of values"),
        ({"columns": {"a": {"values": [None]}}}, "whether values may be missing"),
        ({"columns": {"a": {"matches": "(a"}}}, "no regular expression"),
        ({"columns": {"a": {"missing": 2}}}, "a share from 0 to 1"),
        ({"columns": {"a": {"newest": "soon"}}}, "no length of time"),
        ({"columns": {"a": {"references": {"column": "b"}}}}, "needs the path"),
        ({"columns": {"a": {"required": "yes"}}}, "must be true or false"),
        ({"unique": ["a", 3]}, "a list of columns"),
        ({"on_failure": "explode"}, "one of set_aside, stop, warn"),
        ({"on_failure": "stop", "at_most": 0.1}, "is for rows that are set aside"),
    ],
)
def test_what_is_written_wrongly_is_named(document: Any, text: str) -> None:
    with pytest.raises(ParameterError, match=text):
        og.Expectations(document)


def test_all_faults_are_named_at_once_and_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ParameterError) as error:
        og.Expectations({"columns": {"a": {"range": 1, "lenght": 2}}, "rows": "many"})
    assert len(str(error.value).splitlines()) == 4
    with pytest.raises(InputNotFoundError, match="outgrow expect DATA"):
        og.Expectations(tmp_path / "none.yaml")
    for text in ("[1, 2", "- 1"):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(ParameterError, match="bad"):
            og.Expectations(tmp_path / "bad.yaml")


def test_norway_is_no_false() -> None:
    """YAML reads NO as false, which is no text: that is said, rather than that rows of Norway are wrong."""
    expect = og.Expectations(yaml.safe_load("columns: {land: {values: [DE, NO]}}"))
    (one,) = expect.check(pa.table({"land": ["DE", "NO"]})).broken
    assert "False is no value of a column of type string; text stands in quotes" in one.observed


def test_columns_that_are_absent_or_of_another_type() -> None:
    expect = og.Expectations(
        {
            "columns": {
                "a": {"type": "integer", "range": [0, 1]},
                "b": {"range": [0, 1]},
                "c": {"optional": True},
            }
        }
    )
    report = expect.check(pa.table({"a": ["x"], "b": ["y"]}))
    verdicts = {(one.column, one.what): one.verdict for one in report.results}
    assert verdicts == {("a", "type"): "broken", ("a", "range"): "cannot say", ("b", "range"): "broken"}
    absent = expect.check(pa.table({"b": [0]}))
    assert [(one.column, one.what) for one in absent.broken] == [("a", "column")]
    with pytest.raises(ColumnNotFoundError, match="'a'"):
        expect.split(pa.table({"b": [0]}))
    empty = expect.check(pa.table({"a": pa.array([], pa.int8()), "b": pa.array([], pa.float32())}))
    assert (empty.ok, empty.rows) == (True, 0)


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("int16", ["integer", "number", "int16"]),
        ("double", ["number", "double", "float64"]),
        ("decimal128", ["number", "decimal128(20, 2)"]),
        ("dictionary", ["text", "string"]),
        ("date", ["date", "time", "date32[day]"]),
        ("times with a zone", ["time", "timestamp[us, tz=Europe/Berlin]"]),
        ("list", ["list", "list<item: int64>"]),
        ("vectors", ["vector"]),
        ("struct", ["struct<a: int64>"]),
        ("boolean", ["boolean", "bool"]),
        ("fixed binary", ["binary"]),
        ("nulls", ["integer", "text", "time"]),
    ],
)
def test_types_have_names(name: str, types: list[str]) -> None:
    every = ["boolean", "integer", "number", "text", "date", "time", "binary", "list", "vector", *types]
    for kind in dict.fromkeys(every):
        report = og.Expectations({"columns": {"x": {"type": kind}}}).check(pa.table({"x": COLUMNS[name]}))
        wanted = kind in types or (name == "nulls" and kind != "vector")
        assert report.ok == wanted, kind


def test_shares_may_be_percent_and_rows_may_fail_up_to_a_share() -> None:
    column = {"range": [0, 9], "at_most": "10%"}
    report = og.Expectations({"columns": {"a": column}, "at_most": "5%"}).check(pa.table({"a": range(11)}))
    assert report.ok
    assert report.stopping == ["1 of 11 rows would be set aside, and at_most is 0.05"]


def test_reports_are_written(tmp_path: Path) -> None:
    report = og.Expectations(SPEC).check(broken_flights(), now=NOW)
    for ending in ("html", "json", "csv", "parquet"):
        report.save(tmp_path / f"r.{ending}")
    page = (tmp_path / "r.html").read_text()
    assert "is from 0 to 23" in page
    assert json.loads((tmp_path / "r.json").read_text())["verdict"] == "broken"
    assert pq.read_table(tmp_path / "r.parquet").num_rows == len(report.results)


# ---- jobs ------------------------------------------------------------------------------------------------

JOB = """
name: expected
data: {path: rows.parquet, drop: [id, time]}
target: late
expect:
  columns:
    id: {unique: true}
    hour: {range: [0, 23]}
    carrier: {values: [AA, 'NO', UA]}
steps:
  - SimpleImputer: {columns: numeric}
  - OneHotEncoder: {columns: categorical}
model: LogisticRegression
output: OUTPUT
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    table = flights()
    hour = pa.array([99, 98, *table["hour"].to_pylist()[2:]])
    table = table.set_column(1, "hour", hour).append_column("late", pa.array(np.arange(1_000) % 3 == 0))
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=300)
    path = tmp_path / "job.yaml"
    path.write_text(JOB.replace("OUTPUT", str(tmp_path / "out")))
    return path


def test_a_job_sets_rows_aside_in_a_pass_it_makes_anyway(job: Path, tmp_path: Path) -> None:
    passes: list[str] = []

    def hear(event: Any) -> None:
        if event.unit == "pass" and event.step:
            passes.append(event.stage)

    with og.listen(hear):
        outcome = run_job(load_job(job), Local(), report=False)
    checked = len(passes)
    assert outcome.expectations is not None
    assert (outcome.expectations.set_aside, outcome.rows) == (2, 998)
    aside = pq.read_table(tmp_path / "out" / "set_aside")
    assert aside["hour"].to_pylist() == [99, 98]
    assert set(aside["reason"].to_pylist()) == {"hour is not from 0 to 23"}
    assert "time" not in aside.column_names  # dropped, and nothing is expected of it
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["expectations"]["set_aside"] == 2
    assert "id" not in og.load(tmp_path / "out" / "model").columns_
    plain = job.with_name("plain.yaml")
    document = yaml.safe_load(job.read_text())
    del document["expect"]
    plain.write_text(yaml.safe_dump(document))
    passes.clear()
    with og.listen(hear):
        run_job(load_job(plain, [f"output={tmp_path / 'plain'}"]), Local(), report=False)
    assert checked == len(passes) > 0


def test_a_job_stops_before_anything_is_written(job: Path, tmp_path: Path) -> None:
    for changes, text in (
        (["expect.on_failure=stop"], "hour: range"),
        (["expect.at_most=0.001"], "2 of 1,000 rows would be set aside, and at_most is 0.001"),
        (["expect.rows=[2000, null]"], "rows: at least 2,000: 1,000"),
        (["expect.columns.carrier.unique=true"], "997 rows repeat another"),
    ):
        with pytest.raises(ExpectationError, match=text):
            run_job(load_job(job, changes), Local(), report=False)
        assert not (tmp_path / "out").exists()
    with pytest.warns(ExpectationWarning, match="hour: range"):
        outcome = run_job(load_job(job, ["expect.on_failure=warn"]), Local(), report=False)
    assert outcome.rows == 1_000
    assert not (tmp_path / "out" / "set_aside").exists()


def test_a_job_names_a_file_of_expectations_and_its_record_holds_them(job: Path, tmp_path: Path) -> None:
    document = yaml.safe_load(job.read_text())
    (tmp_path / "expect.yaml").write_text(yaml.safe_dump(document["expect"]))
    job.write_text(yaml.safe_dump({**document, "expect": "expect.yaml"}))
    loaded = load_job(job)
    assert yaml.safe_load(loaded.text)["expect"] == document["expect"]
    job.write_text(JOB.replace("range: [0, 23]", "rnage: [0, 23]"))
    with pytest.raises(JobFileError, match=r"expect.columns.hour.rnage \(line 8\): unknown key 'rnage'"):
        load_job(job)


def test_what_was_checked_is_in_the_log(job: Path, tmp_path: Path) -> None:
    log = og.track.start(tmp_path / "log", sample=0)
    try:
        run_job(load_job(job), Local(), report=False)
        with pytest.raises(ExpectationError):
            run_job(load_job(job, ["expect.on_failure=stop", f"output={tmp_path / 'x'}"]), Local())
        og.Expectations(SPEC).check(flights(), now=NOW)
    finally:
        og.track.stop()
    found = [record.body for record in log.since(0, kinds=["data.checked"])]
    assert [(body["verdict"], body["set_aside"]) for body in found] == [
        ("broken", 2),
        ("broken", 0),
        ("ok", 0),
    ]


def test_a_search_leaves_the_same_rows_out(job: Path, tmp_path: Path) -> None:
    document = yaml.safe_load(job.read_text())
    document["tune"] = {"space": {"model.C": [0.1, 1.0]}, "sampler": "grid", "trials": 2}
    job.write_text(yaml.safe_dump(document))
    outcome = tune_job(load_job(job), Local())
    assert pq.read_table(Path(f"{tmp_path / 'out'}-tune") / "set_aside").num_rows == 2
    assert outcome.result.best_parameters


def test_more_rows_than_are_held_are_read_once_more(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "MOST_BYTES", 10)
    run_job(load_job(job), Local(), report=False)
    assert pq.read_table(tmp_path / "out" / "set_aside")["hour"].to_pylist() == [99, 98]


def test_the_command(job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> tuple[int, str]:
        code = 0
        try:
            main(["expect", *map(str, words)])
        except SystemExit as error:
            code = int(error.code or 0)
        return code, "".join(capsys.readouterr())

    rows, file = str(tmp_path / "rows.parquet"), str(tmp_path / "expect.yaml")
    assert run(rows)[1].startswith("# Learned from")
    assert run(rows, "-o", file)[0] == 0
    assert run(rows, "--against", file)[0] == 0
    document = yaml.safe_load(Path(file).read_text())
    document["columns"]["hour"]["range"] = [0, 23]
    Path(file).write_text(yaml.safe_dump(document))
    aside, page = str(tmp_path / "aside"), str(tmp_path / "r.html")
    code, text = run(rows, "--against", file, "--report", page, "--set-aside", aside)
    assert code == 3
    assert "2 rows to set aside" in text
    assert pq.read_table(aside).num_rows == 2
    assert Path(page).is_file()
    for wrong in ((rows, "--report", page), (rows, "--against", file, "-o", file)):
        assert run(*wrong)[0] == 2


def test_scores_leave_out_rows_that_are_not_as_expected(engine: EngineCase, tmp_path: Path) -> None:
    table = broken_flights().select(["hour", "id", "carrier"])
    model = og.LinearRegression().fit(flights().select(["hour", "id"]), "id")
    rules = {"hour": {"range": [0, 23]}, "carrier": {"length": [2, 2], "on_failure": "warn"}}
    expect = og.Expectations({"columns": rules})
    scores, errors = tmp_path / "scores", tmp_path / "errors"
    done = og.score(model, engine.open(table), scores, errors=errors, expect=expect)
    refused = pq.read_table(errors).sort_by("hour").select(["hour", "reason"]).to_pylist()
    assert (done.rows, done.refused) == (997, 3)
    assert [row["hour"] for row in refused] == [24, 99, None]
    assert refused[0]["reason"] == "hour is not from 0 to 23"
    with pytest.raises(ParameterError, match="--errors"):
        og.score(model, table, tmp_path / "more", expect=expect)
    with pytest.raises(SchemaError, match="has no order"):
        og.Expectations({"columns": {"x": {"range": [0, 1]}}}).checker(og.dataset(pa.table({"x": [True]})))


def test_words_of_rules() -> None:
    said = [negated(rule) for rule in (Required(), Range(0, 1), Values((1,)), Matches("a"), Length(2, 3))]
    assert said == [
        "has no value",
        "is not from 0 to 1",
        "is not one of 1",
        "does not match a",
        "is not from 2 to 3 long",
    ]


def test_a_rule_is_not_lost_to_a_key_that_is_there_twice(tmp_path: Path) -> None:
    path = tmp_path / "expect.yaml"
    path.write_text("columns:\n  a: {range: [0, 1]}\n  a: {required: true}\n")
    with pytest.raises(ParameterError, match="'a' is there already, on line 2; keep one of them"):
        og.Expectations(path)
    path.write_text("columns:\n  a: &whole {type: integer}\n  b: {<<: *whole, type: number}\n")
    assert og.Expectations(path).to_yaml()  # a key that is merged in is no other one
