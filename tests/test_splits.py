"""Splits: nothing is lost, whatever the column holds and however the moment is given."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrow as og
from outgrow import errors
from outgrow.engine.local import Local
from outgrow.job.load import load_job
from outgrow.job.run import run_job

NOON = datetime.datetime(2026, 3, 1, 12, 0, 0)
MOMENTS = [NOON + datetime.timedelta(hours=h) for h in (-30, -13, -12, -1, 0, 1, 12, 500)]
TIMES = [
    pa.date32(),
    pa.date64(),
    pa.timestamp("s"),
    pa.timestamp("ms"),
    pa.timestamp("us"),
    pa.timestamp("ns"),
    pa.timestamp("us", "UTC"),
    pa.timestamp("us", "America/New_York"),
    pa.timestamp("ms", "+05:30"),
]
FORMS = {
    "text": str,
    "datetime": lambda at: at,
    "pandas": pd.Timestamp,
    "numpy": lambda at: np.datetime64(at, "us"),
    "arrow": lambda at: pa.scalar(at, pa.timestamp("us")),
}


def clock(kind: pa.DataType, moment: datetime.datetime) -> pa.Scalar:
    """A moment on the clock of a column's time zone, as the column holds it."""
    plain = pa.scalar(moment, pa.timestamp("us"))
    if getattr(kind, "tz", None) is None:
        return plain.cast(kind, safe=False) if not pa.types.is_date(kind) else pa.scalar(moment.date(), kind)
    return pa.compute.assume_timezone(plain, kind.tz).cast(kind)


def parts(rows: pa.Table, at: Any) -> tuple[list[int], list[int]]:
    early, later = og.dataset(rows).split(time="t", at=at)
    return tuple(part.to_arrow()["i"].to_pylist() for part in (early, later))  # type: ignore[return-value]


@pytest.mark.parametrize("kind", TIMES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_a_moment_parts_the_rows_in_any_form(kind: pa.DataType, form: str) -> None:
    values = [None, *(clock(kind, moment).as_py() for moment in MOMENTS)]
    rows = pa.table({"t": pa.array(values, kind), "i": range(len(values))})
    early, later = parts(rows, FORMS[form](NOON))
    midnight = NOON.replace(hour=0)
    days = [moment.replace(hour=0) if pa.types.is_date(kind) else moment for moment in MOMENTS]
    expected = [i for i, moment in enumerate(days, 1) if moment < NOON]
    assert early == expected
    assert sorted(early + later) == list(range(len(values)))
    assert 0 in later
    assert parts(rows, NOON.date()) == parts(rows, midnight) == parts(rows, np.datetime64("2026-03-01"))


def test_moments_with_a_zone_meet_columns_with_one() -> None:
    kind = pa.timestamp("us", "America/New_York")
    rows = pa.table({"t": pa.array([NOON, NOON + datetime.timedelta(hours=6)], kind), "i": [0, 1]})
    at = datetime.datetime(2026, 3, 1, 14, tzinfo=datetime.UTC)
    assert parts(rows, at) == parts(rows, "2026-03-01T14:00:00Z") == ([0], [1])
    assert parts(rows, "2026-03-01 09:00:00") == ([0], [1])


def test_a_moment_finer_than_the_column_rounds_up() -> None:
    rows = pa.table({"t": pa.array([1, 2, 3], pa.timestamp("s")), "i": [0, 1, 2]})
    assert parts(rows, np.datetime64(1_500_000_000, "ns")) == ([0], [1, 2])
    assert parts(rows, np.datetime64(2, "s")) == ([0], [1, 2])


@given(
    values=st.lists(st.one_of(st.none(), st.integers(-9, 9), st.just(float("nan"))), min_size=1, max_size=30),
    at=st.one_of(st.integers(-9, 9), st.floats(-9, 9), st.just(np.float32(2.5)), st.just(Decimal("1.5"))),
    whole=st.booleans(),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_numbers_and_what_is_missing(values: list[Any], at: Any, whole: bool) -> None:
    if whole:
        values = [None if value != value else value for value in values]
    column = pa.array(values, pa.int32() if whole else pa.float64())
    early, later = parts(pa.table({"t": column, "i": range(len(values))}), at)
    assert early == [i for i, v in enumerate(values) if v is not None and v == v and v < at]
    assert sorted(early + later) == list(range(len(values)))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_text_is_compared_as_text(kind: pa.DataType) -> None:
    column = pa.array(["2026-01-30", None, "2026-02-01"]).cast(kind)
    assert parts(pa.table({"t": column, "i": [0, 1, 2]}), "2026-02-01") == ([0], [1, 2])


@pytest.mark.parametrize(
    ("kind", "at"),
    [
        (pa.timestamp("us"), None),
        (pa.timestamp("us"), 3),
        (pa.timestamp("us"), "soon"),
        (pa.date32(), ""),
        (pa.timestamp("us"), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)),
        (pa.date32(), True),
        (pa.timestamp("us"), np.datetime64("NaT")),
        (pa.timestamp("us"), pd.NaT),
        (pa.timestamp("us"), []),
        (pa.timestamp("ns"), "9999-12-31"),
        (pa.int64(), "3"),
        (pa.int64(), float("nan")),
        (pa.int64(), None),
        (pa.int64(), 2**70),
        (pa.float64(), NOON),
        (pa.string(), NOON),
        (pa.string(), 3),
    ],
    ids=str,
)
def test_a_moment_of_another_kind_is_refused(kind: pa.DataType, at: Any) -> None:
    rows = og.dataset(pa.table({"t": pa.array([None], kind)}))
    with pytest.raises(errors.ParameterError, match="at="):
        rows.split(time="t", at=at)


def test_columns_that_order_nothing_are_refused() -> None:
    for column in (pa.array([True]), pa.array([b"x"]), pa.array([[1.0]], pa.list_(pa.float64()))):
        with pytest.raises(errors.SchemaError, match="numbers, times or text"):
            og.dataset(pa.table({"t": column})).split(time="t", at=1)


@pytest.mark.parametrize("key", [["a", None, "a", None, "b"], [1.0, None, 1.0, float("nan"), 2.0]])
def test_a_split_by_key_keeps_rows_without_one(key: list[Any]) -> None:
    rows = pa.table({"key": pa.array(key * 20), "i": range(100)})
    train, test = (part.to_arrow()["i"].to_pylist() for part in og.dataset(rows).split(test=0.5, by="key"))
    assert sorted(train + test) == list(range(100))
    assert all((number + 5) % 100 in train for number in train)


def job(tmp_path: Path, split: dict[str, Any], drop: list[str], model: str, **more: Any) -> Any:
    n = 400
    x = np.random.default_rng(0).normal(size=n)
    late = (x + np.random.default_rng(1).normal(size=n) > 0).astype(int)
    days = [datetime.datetime(2026, 1, 1) + datetime.timedelta(hours=i) for i in range(n)]
    shop = pa.array([f"s{i % 7}" for i in range(n)])
    pq.write_table(pa.table({"day": days, "shop": shop, "x": x, "late": late}), tmp_path / "rows.parquet")
    text = {
        "name": "t",
        "data": {"path": "rows.parquet", "drop": drop},
        "target": "late",
        "split": split,
        "model": model,
        "output": str(tmp_path / "out"),
        **more,
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(text))
    return load_job(tmp_path / "job.yaml")


@pytest.mark.parametrize(
    ("split", "drop"),
    [
        ({"time": "day", "at": "2026-01-12"}, ["shop"]),
        ({"time": "day", "at": datetime.date(2026, 1, 12)}, ["shop"]),
        ({"time": "day", "at": datetime.datetime(2026, 1, 12)}, ["shop", "day"]),
        ({"by": "shop", "test": 0.3}, ["day"]),
        ({"by": ["shop", "day"], "test": 0.3}, []),
    ],
    ids=str,
)
def test_a_job_learns_nothing_of_the_columns_of_its_split(
    tmp_path: Path, split: dict[str, Any], drop: list[str]
) -> None:
    outcome = run_job(job(tmp_path, split, drop, "LogisticRegression"), Local())
    assert outcome.train_rows + outcome.test_rows == 400
    assert list(og.load(tmp_path / "out" / "model").columns_) == ["x"]


def test_a_job_may_learn_from_the_column_of_its_split(tmp_path: Path) -> None:
    split = {"by": "shop", "test": 0.3, "feature": True}
    loaded = job(
        tmp_path,
        split,
        ["day"],
        "LogisticRegression",
        steps=[{"OneHotEncoder": {"columns": "shop", "handle_unknown": "ignore"}}],
    )
    run_job(loaded, Local())
    assert list(og.load(tmp_path / "out" / "model").columns_) == ["shop", "x"]
