"""Lags and rolling statistics: those of pandas, and never a look ahead."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.errors import ColumnNotFoundError, DataError, ParameterError, SchemaError
from outgrow.testing import EngineCase

RNG = np.random.default_rng(5)
FRAME = pd.DataFrame(
    {
        "shop": RNG.choice(["a", "b", "c"], 60),
        "at": RNG.choice(pd.date_range("2026-03-20", periods=900, freq="47min"), 60, replace=False),
        "sold": RNG.integers(0, 50, 60).astype(float),
        "row": np.arange(60),
    }
)
FRAME.loc[::11, "sold"] = np.nan
FRAME["at"] = FRAME["at"].astype("datetime64[us]")  # Spark reads no nanoseconds
SORTED = FRAME.sort_values("at").reset_index(drop=True)


def _made(rows: Any) -> pd.DataFrame:
    return rows.to_pandas().sort_values("at").reset_index(drop=True)


def test_lags_are_those_of_pandas(engine: EngineCase) -> None:
    rows = engine.open(pa.Table.from_pandas(FRAME))
    made = _made(og.lag_features(rows, by="shop", time="at", columns=["sold", "row"], lags=[1, 3]))
    assert list(made.columns[4:]) == ["sold_lag_1", "sold_lag_3", "row_lag_1", "row_lag_3"]
    for lag in (1, 3):
        expected = SORTED.groupby("shop")["sold"].shift(lag)
        np.testing.assert_array_equal(made[f"sold_lag_{lag}"].astype(float), expected)


@pytest.mark.parametrize("closed", ["left", "right"])
def test_windows_are_those_of_pandas(engine: EngineCase, closed: str) -> None:
    rows, windows = engine.open(pa.Table.from_pandas(FRAME)), [3, "30h", "2d", "1w"]
    told = {"by": "shop", "time": "at", "columns": "sold", "windows": windows, "closed": closed}
    statistics = ["mean", "sum", "min", "max", "std", "count"]
    made = _made(og.rolling_features(rows, **told, statistics=statistics))
    for window, statistic in product(windows, statistics):
        span = window if isinstance(window, int) else pd.Timedelta(window.replace("w", "W"))
        rolling = SORTED.set_index("at").groupby("shop")["sold"].rolling(span, min_periods=1, closed=closed)
        theirs = getattr(rolling, statistic)().reset_index()
        expected = SORTED[["shop", "at"]].merge(theirs, on=["shop", "at"])["sold"]
        found = made[f"sold_{statistic}_{window}"].astype(float)
        if statistic == "count":
            expected = expected.fillna(0)
        np.testing.assert_allclose(found, expected, atol=1e-9, err_msg=f"{statistic} {window}")


def test_what_comes_later_changes_nothing() -> None:
    told = {"by": "shop", "time": "at", "columns": "sold", "windows": ["2d", 4]}
    before = _made(og.rolling_features(SORTED, **told))
    changed = SORTED.assign(sold=SORTED["sold"].where(SORTED.index < 40, 1e6))
    after = _made(og.rolling_features(changed, **told))
    pd.testing.assert_frame_equal(before.iloc[:41, 4:], after.iloc[:41, 4:])
    assert not before.iloc[41:, 4:].equals(after.iloc[41:, 4:])


def test_rows_of_one_time_do_not_see_each_other() -> None:
    rows = pa.table({"k": ["a"] * 3, "day": pa.array([0, 0, 1], pa.date32()), "x": [1.0, 5.0, 9.0]})
    made = og.rolling_features(rows, by="k", time="day", columns="x", windows="7d", statistics="sum")
    assert sorted(made.to_arrow()["x_sum_7d"].to_pylist(), key=str) == [6.0, None, None]


def test_zones_and_several_keys() -> None:
    at = pa.array(pd.to_datetime(["2026-03-28 12:00", "2026-03-29 12:00"])).cast(
        pa.timestamp("us", "Europe/Rome")
    )
    rows = pa.table({"k": ["a", "a"], "x y": [1, 1], "at": at, 'q"': [1.5, 2.5]})
    made = og.rolling_features(rows, by=["k", "x y"], time="at", columns='q"', windows="1d").to_arrow()
    assert made['q"_mean_1d'].to_pylist() == [None, 1.5]


def test_min_periods() -> None:
    rows = pa.table({"k": ["a"] * 4, "t": [1, 2, 3, 4], "x": [True, False, True, True]})
    made = og.rolling_features(rows, by="k", time="t", columns="x", windows=3, min_periods=2).to_arrow()
    assert made.sort_by("t")["x_mean_3"].to_pylist() == [None, None, 0.5, pytest.approx(2 / 3)]


ROWS = pa.table({"k": ["a", "a"], "t": [1, 1], "x": [1.0, 2.0], "w": ["p", "q"]})
TOLD: dict[str, Any] = {"by": "k", "time": "t", "columns": "x"}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"lags": 0}, ParameterError, "at least 1"),
        ({"lags": [-1]}, ParameterError, "at least 1"),
        ({"by": "z"}, ColumnNotFoundError, "z"),
        ({"by": []}, ParameterError, "at least one column"),
        ({"time": "w"}, SchemaError, "order rows"),
        ({}, DataError, "Two rows of a key have one time"),
    ],
)
def test_lags_that_cannot_be(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        og.lag_features(ROWS, **{**TOLD, **change})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"windows": "3 months"}, ParameterError, "no fixed length of time"),
        ({"windows": 0}, ParameterError, "neither a number of rows"),
        ({"windows": "3d"}, SchemaError, "holds numbers"),
        ({"statistics": "mode"}, ParameterError, "give some of"),
        ({"closed": "both"}, ParameterError, "'left' ends"),
        ({"min_periods": 0}, ParameterError, "at least 1"),
        ({"columns": "w"}, SchemaError, "Statistics are of numbers"),
        ({}, DataError, "nothing tells which came first"),
    ],
)
def test_windows_that_cannot_be(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        og.rolling_features(ROWS, **{**TOLD, "windows": 2, **change})


def test_a_row_without_a_time_is_refused() -> None:
    with pytest.raises(DataError, match="1 rows have no 't'"):
        og.lag_features(ROWS.set_column(1, "t", pa.array([1, None])), **TOLD)


def _windows(frame: pd.DataFrame, length: int, step: int, max_gap: pd.Timedelta | None) -> list[list[int]]:
    """Windows of rows by their numbers, by hand."""
    made = []
    for _, rows in frame.sort_values("at").groupby("shop"):
        for end in range(length, len(rows) + 1, step):
            part = rows.iloc[end - length : end]
            if max_gap is None or length == 1 or part["at"].diff().max() <= max_gap:
                made.append(part["row"].tolist())
    return sorted(made)


@pytest.mark.parametrize(
    ("length", "step", "max_gap"), [(1, 1, None), (3, 1, None), (4, 4, None), (2, 1, "20h"), (3, 2, "2d")]
)
def test_sequences_are_all_there_are(engine: EngineCase, length: int, step: int, max_gap: str | None) -> None:
    rows = engine.open(pa.Table.from_pandas(FRAME))
    options = {"length": length, "step": step, "max_gap": max_gap}
    made = og.sequences(rows, by="shop", time="at", columns=["row", "sold"], **options).to_arrow().to_pylist()
    wanted = _windows(FRAME, length, step, None if max_gap is None else pd.Timedelta(max_gap))
    assert sorted(row["row"] for row in made) == wanted
    sold = FRAME.set_index("row")["sold"].replace({np.nan: None})
    for row in made:
        values = [None if value is None or np.isnan(value) else value for value in row["sold"]]
        assert values == [None if pd.isna(sold[number]) else sold[number] for number in row["row"]]


def test_sequences_of_numbers_of_time() -> None:
    rows = pa.table({"k": [1, 1, 1, 1], "t": [0, 1, 5, 6], "v": [1, 2, 3, 4]})
    made = og.sequences(rows, by="k", time="t", columns="v", length=2, max_gap=2).to_arrow()
    assert sorted(made["v"].to_pylist()) == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length=0"),
        ({"length": 2, "step": 0}, "step=0"),
        ({"length": 2, "max_gap": 3}, "max_gap=3"),
        ({"length": 2, "columns": ["shop"]}, "cannot be lists"),
    ],
)
def test_sequences_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        og.sequences(FRAME, **{"by": "shop", "time": "at", "columns": "row", **options})
