"""Parts of dates and times: those of pandas, in the time zone of the fit."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import SplineTransformer

import outgrow as og
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.testing import EngineCase

LEVELS = ["year", "month", "day", "hour", "minute", "second", "microsecond", "nanosecond"]
EVERYTHING = {"resolution": "nanosecond", "add_weekday": True, "add_day_of_year": True}


@given(
    st.lists(st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1)), min_size=1, max_size=8),
    st.sampled_from([None, "UTC", "Europe/Rome", "America/St_Johns", "Asia/Kathmandu"]),
)
def test_parts_are_those_of_pandas(times: list[datetime], zone: str | None) -> None:
    times = [*times, datetime(2026, 3, 29, 1, 30, 1)]  # no column of midnights
    series = pd.Series(times).astype("datetime64[ns]")
    series = series if zone is None else series.dt.tz_localize("UTC").dt.tz_convert(zone)
    made = og.DatetimeEncoder(**EVERYTHING).fit_transform(pd.DataFrame({"at": series}))
    for level in LEVELS:
        np.testing.assert_array_equal(made[f"at_{level}"], getattr(series.dt, level), err_msg=level)
    np.testing.assert_array_equal(made["at_weekday"], series.dt.day_of_week + 1)
    np.testing.assert_array_equal(made["at_day_of_year"], series.dt.day_of_year)
    np.testing.assert_allclose(made["at_total_seconds"], series.astype("int64") / 1e9, atol=1e-6)


def test_defaults_and_the_order_of_columns() -> None:
    rows = pa.table({"n": [1], "at": [datetime(2024, 12, 30, 23, 5)], "t": ["x"]})
    assert og.DatetimeEncoder().fit_transform(rows).to_pylist() == [
        {
            "n": 1,
            "at_year": 2024.0,
            "at_month": 12.0,
            "at_day": 30.0,
            "at_hour": 23.0,
            "at_total_seconds": 1735599900.0,
            "t": "x",
        }
    ]
    only = og.DatetimeEncoder(resolution=None, add_total_seconds=False, add_weekday=True)
    assert only.fit_transform(rows)["at_weekday"].to_pylist() == [1.0]
    assert only.set_params(week_start="sunday").fit_transform(rows)["at_weekday"].to_pylist() == [2.0]


def test_days_have_no_hours(engine: EngineCase) -> None:
    rows = pa.table(
        {
            "day": pa.array([date(2026, 1, 31), None, date(2025, 5, 1)]),
            "midnight": pa.array(
                [datetime(2026, 1, 31), None, datetime(2026, 2, 1)], pa.timestamp("us", "UTC")
            ),
            "at": pa.array([datetime(2026, 1, 31, 5), None, datetime(2026, 2, 1)], pa.timestamp("us", "UTC")),
        }
    )
    encoder = og.DatetimeEncoder(add_total_seconds=False).fit(engine.open(rows))
    assert encoder.parts_[0] == LEVELS[:3]
    assert encoder.parts_[1:] == [LEVELS[:3], LEVELS[:4]] or engine.name.startswith("spark")
    made = encoder.transform(rows)
    assert made["day_day"].to_pylist()[::2] == [31.0, 1.0]
    assert all(np.isnan(column.to_numpy()[1]) for column in made.columns)


def test_zones_are_those_of_the_fit(tmp_path: Path) -> None:
    rome = pa.timestamp("us", "Europe/Rome")
    at = pa.array([datetime(2026, 7, 1, 22, 30), datetime(2026, 1, 1, 22, 30)], pa.timestamp("us"))
    encoder = og.DatetimeEncoder(add_total_seconds=False).fit(pa.table({"at": at.cast(rome)}))
    encoder.save(tmp_path / "model")
    for column in (
        at.cast(rome),
        at.cast(pa.timestamp("s", "UTC")),
        at.cast(pa.timestamp("ms", "Asia/Tokyo")),
    ):
        made = og.load(tmp_path / "model").transform(pa.table({"at": column}))
        assert made["at_hour"].to_pylist() == [0.0, 23.0]
        assert made["at_day"].to_pylist() == [2.0, 1.0]
    with pytest.raises(DataError, match="not known here"):
        og.DatetimeEncoder().fit(pa.table({"at": at.cast(pa.timestamp("us", "Mars/Olympus"))}))


def test_times_without_a_zone_go_with_utc_alone() -> None:
    at = pa.array([datetime(2026, 7, 1, 22, 30), datetime(2026, 1, 1, 22, 30)], pa.timestamp("us"))
    days, zones = (
        at.cast(pa.date32()),
        {zone: at.cast(pa.timestamp("us", zone)) for zone in ("UTC", "Asia/Tokyo")},
    )
    fitted = {zone: og.DatetimeEncoder().fit(pa.table({"at": column})) for zone, column in zones.items()}
    plain = og.DatetimeEncoder().fit(pa.table({"at": at}))
    wanted = fitted["UTC"].transform(pa.table({"at": zones["UTC"]}))
    assert fitted["UTC"].transform(pa.table({"at": at})).equals(wanted)
    assert plain.transform(pa.table({"at": zones["UTC"]})).equals(wanted)
    for column in (at, days):
        with pytest.raises(SchemaError, match="zone 'Asia/Tokyo' at the fit, and now its times have none"):
            fitted["Asia/Tokyo"].transform(pa.table({"at": column}))
    with pytest.raises(SchemaError, match="without a zone at the fit, and now they are of 'Asia/Tokyo'"):
        plain.transform(pa.table({"at": zones["Asia/Tokyo"]}))


def test_periods_close() -> None:
    days = pd.date_range("2024-01-01", "2024-12-31 23:00", freq="7h")
    rows = pd.DataFrame({"at": days})
    given = {"resolution": "hour", "add_weekday": True, "add_day_of_year": True, "add_total_seconds": False}
    made = og.DatetimeEncoder(periodic_encoding="circular", **given).fit_transform(rows)
    assert list(made.columns)[:3] == ["at_year", "at_month_circular_0", "at_month_circular_1"]
    np.testing.assert_allclose(made["at_hour_circular_0"], np.sin(days.hour / 24 * 2 * np.pi))
    np.testing.assert_allclose(made["at_weekday_circular_1"], np.cos((days.dayofweek + 1) / 7 * 2 * np.pi))
    made = og.DatetimeEncoder(periodic_encoding="spline", **given).fit_transform(rows)
    for part, numbers, period, count in (
        ("hour", days.hour, 24, 12),
        ("day", days.day, 30, 4),
        ("day_of_year", days.dayofyear, 366, 12),
    ):
        knots = np.linspace(0, period, count + 1)[:, None]
        theirs = SplineTransformer(degree=3, n_knots=count + 1, knots=knots, extrapolation="periodic")
        digits = len(str(count - 1))
        names = [f"at_{part}_spline_{k:0{digits}}" for k in range(count)]
        expected = theirs.fit_transform(np.asarray(numbers, dtype=float)[:, None])
        np.testing.assert_allclose(made[names], expected, atol=1e-12)


def test_arrays_of_times_and_pipelines() -> None:
    times = np.array(["2026-01-31T05:00", "2026-02-01T07:00"], dtype="M8[us]")[:, None]
    assert og.DatetimeEncoder(add_total_seconds=False).fit_transform(times)[:, 3].tolist() == [5.0, 7.0]
    rows = pa.table({"at": times[:, 0], "y": [1.0, 2.0]})
    pipe = og.Pipeline([og.DatetimeEncoder(), og.Ridge()]).fit(rows, "y")
    assert len(pipe.predict(rows)["prediction"]) == 2


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"resolution": "week"}, ParameterError),
        ({"resolution": None, "add_total_seconds": False}, ParameterError),
        ({"columns": ["t"]}, SchemaError),
    ],
)
def test_what_cannot_be_is_refused(parameters: dict[str, Any], error: type[Exception]) -> None:
    rows = pa.table({"at": [datetime(2026, 1, 1)], "t": ["x"]})
    with pytest.raises(error):
        og.DatetimeEncoder(**parameters).fit(rows)
