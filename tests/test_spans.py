"""Lengths of time: one rule for windows, delays, policies and expectations."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import outgrow as og
from outgrow.data.spans import Span, length_of, microseconds_of, moment
from outgrow.errors import ParameterError
from outgrow.expectations.spec import read_spec
from outgrow.loop.spans import seconds_of

LONGER = ["1h", "2h", "5h", "36h", "1d", "2d", "7d", "1w", "2w", "1mo", "3mo", "5mo", "1y", "3y"]
SHORTER = ["10min", "1h", "7h", "1d", "2d", "1w", "1mo", "2mo", "1y"]
DAY = 86_400 * 10**6
ROWS = pa.table({"key": [1], "at": [datetime.datetime(2026, 1, 1)], "x": [1.0]})
DOORS: dict[str, Callable[[str], object]] = {
    "windows of monitors": Span.of,
    "policies": seconds_of,
    "expectations": lambda text: read_spec({"columns": {"at": {"newest": text}}}),
    "rolling windows": lambda text: og.rolling_features(ROWS, by="key", time="at", columns="x", windows=text),
    "feature windows": lambda text: og.features.Aggregation("sum", text, "x"),
    "delays": lambda text: og.features.Source(ROWS, "at", delay=text),
}


@given(st.integers(0, 2**50))
def test_a_length_is_read_back(microseconds: int) -> None:
    assert microseconds_of(length_of(microseconds), "length") == microseconds
    assert microseconds_of(datetime.timedelta(microseconds=microseconds), "length") == microseconds


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("90s", 90 * 10**6),
        ("1.5h", 90 * 60 * 10**6),
        ("15m", 15 * 60 * 10**6),
        ("15 minutes", 15 * 60 * 10**6),
        ("day", DAY),
        ("2W", 14 * DAY),
        ("250ms", 250_000),
        ("0s", 0),
    ],
)
def test_lengths_are_read(text: str, microseconds: int) -> None:
    assert microseconds_of(text, "length") == microseconds


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("text", ["90s", "1.5h", "15m", "15min", "12 hours", "7d", "2w", "250ms"])
def test_every_door_reads_them(door: str, text: str) -> None:
    DOORS[door](text)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("text", ["soon", "-1d", "1.5", "1.00000001ms", "9" * 18 + "d", "1e3s", "٣d d"])
def test_every_door_refuses_the_same(door: str, text: str) -> None:
    with pytest.raises((ParameterError, ValueError), match=r"time"):
        DOORS[door](text)


def test_months_are_of_no_fixed_length() -> None:
    assert Span.of("1mo").end(datetime.datetime(2026, 2, 1)) == datetime.datetime(2026, 3, 1)
    with pytest.raises(ParameterError, match="delay='1mo' is no fixed length of time"):
        og.features.Source(ROWS, "at", delay="1mo")


@pytest.mark.parametrize(
    ("longer", "shorter", "fits"),
    [
        ("1h", "1h", True),
        ("1d", "1h", True),
        ("1d", "90min", True),
        ("30min", "1h", False),
        ("90min", "1h", False),
        ("1w", "1d", True),
        ("1w", "2d", False),  # weeks begin on Mondays, and pairs of days are counted from 1970
        ("1w", "7d", False),
        ("2w", "1w", True),
        ("1mo", "1d", True),
        ("1mo", "2d", False),
        ("1mo", "1w", False),
        ("1y", "12mo", True),
        ("1y", "5mo", False),
        ("1y", "6h", True),
        ("365d", "1mo", False),
    ],
)
def test_a_length_says_whether_shorter_windows_fit(longer: str, shorter: str, fits: bool) -> None:
    assert Span.of(longer).nests(Span.of(shorter)) is fits


@given(st.sampled_from(LONGER), st.data())
def test_where_they_fit_a_window_ends_in_the_longer_one_it_begins_in(text: str, data: st.DataObject) -> None:
    longer = Span.of(text)
    shorter = Span.of(data.draw(st.sampled_from(SHORTER)))
    days = st.integers(-20_000, 40_000)
    at = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(
        days=data.draw(days), hours=5
    )
    (start,) = shorter.floor(pa.array([at], pa.timestamp("us", "UTC"))).to_pylist()
    last = shorter.end(start) - datetime.timedelta(microseconds=1)
    first_in, last_in = longer.floor(pa.array([start, last], pa.timestamp("us", "UTC"))).to_pylist()
    assert first_in == last_in or not longer.nests(shorter)


@pytest.mark.parametrize(
    "when",
    [
        "2026-11-27",
        " 2026-11-27T01:00+01:00 ",
        "2026-11-27T00:00:00Z",
        datetime.date(2026, 11, 27),
        datetime.datetime(2026, 11, 27),
        datetime.datetime(2026, 11, 26, 22, tzinfo=datetime.timezone(-datetime.timedelta(hours=2))),
        np.datetime64("2026-11-27"),
        np.datetime64("2026-11-27T00:00:00.000000000"),
        pd.Timestamp("2026-11-27"),
        pd.Timestamp("2026-11-27T09:00", tz="Asia/Tokyo"),
    ],
)
def test_a_moment_is_read_however_it_is_given(when: Any) -> None:
    assert moment(when) == datetime.datetime(2026, 11, 27, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    "when",
    [
        *(
            "soon",
            "",
            1_767_225_600,
            1.5,
            True,
            None,
            float("nan"),
            pd.NaT,
            np.datetime64("NaT"),
            [1],
            b"2026",
        ),
        *(datetime.timedelta(1), datetime.time(1), np.datetime64(10**6, "Y"), "9999-12-31T23:00-05:00"),
    ],
)
def test_what_is_no_moment_is_said(when: Any) -> None:
    with pytest.raises(ParameterError, match=r"^at=.* is no time\. Give a date or a datetime, or write"):
        moment(when, "at")


@pytest.mark.parametrize("length", ["1h", "1d", "1w", "1mo", "1y"])
def test_the_last_window_ends_where_time_does(length: str) -> None:
    """9999-12-31 stands for no end in many a table."""
    span, last = Span.of(length), moment("9999-12-31")
    (start,) = span.floor(pa.array([last], pa.timestamp("us", "UTC"))).to_pylist()
    assert start <= last < span.end(start)
