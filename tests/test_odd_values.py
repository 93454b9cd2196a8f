"""Columns and targets of odd values: a fit gives a model or one of our errors, never one from below."""

from __future__ import annotations

import datetime as dt
import shlex
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

import outgrow as og

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of what is left out, or does not converge
N = 30
COLUMNS: dict[str, Any] = {
    "missing": np.full(N, np.nan),
    "infinite": np.where(np.arange(N) == 3, np.inf, 1.0),
    "large": np.linspace(-1e200, 1e200, N),
    "mixed": pd.Series([1, "a", None] * 10, dtype=object),
    "objects": pd.Series([object()] * N, dtype=object),
    "lists": pd.Series([[1, 2]] * N),
    "nested": pd.Series([{"a": 1}] * N),
    "NA": pd.array([1, None] * 15, dtype="Int64"),
    "text NA": pd.array(["a", pd.NA] * 15, dtype="string"),
    "categories": pd.Categorical(["a", "b"] * 15),
    "flags": np.arange(N) % 2 == 0,
    "periods": pd.period_range("2020", periods=N, freq="M"),
    "intervals": pd.interval_range(0, N, periods=N),
    "spans": pd.to_timedelta(np.arange(N), unit="h"),
    "zone": pd.date_range("2020", periods=N, tz="Europe/Paris"),
    "late": pd.Series([dt.datetime(9999, 12, 31, 23, 59)] * N),
    "hours": pd.Series([dt.time(1, 2)] * N),
    "past 64 bits": pd.Series([2**70] * N, dtype=object),
    "unsigned": np.full(N, 2**64 - 1, dtype=np.uint64),
    "decimals": pd.Series([Decimal("1.5")] * N),
    "complex": np.ones(N) * 1j,
    "bytes": pd.Series([b"\xff\x00"] * N),
    "long": pd.Series(["x" * 100_000] * N),
    "no unicode": pd.Series(["\ud800"] * N, dtype=object),
    "nul": pd.Series(["a\0b", "c"] * 15),
    "constant": np.ones(N),
    "nothing": pd.Series([None] * N, dtype=object),
}
MODELS: list[Any] = [
    og.Pipeline(
        [
            og.SimpleImputer(columns=og.numeric()),
            og.OneHotEncoder(columns=og.categorical()),
            og.Ridge(),
        ]
    ),
    og.GradientBoostingRegressor(n_estimators=2),
]


USED = {
    ("feature", 0): "missing NA 'text NA' categories flags intervals unsigned decimals long nul constant",
    (
        "feature",
        1,
    ): "missing NA 'text NA' categories flags intervals unsigned decimals long nul constant nothing",
    ("target", 0): "flags unsigned decimals constant",
    ("target", 1): "flags unsigned decimals constant large",
}
"""What each model learns from, in which place; it refuses all others when it is fitted, and only then."""


def used_or_refused(model: Any, name: str, role: str, place: int, table: pd.DataFrame, y: Any) -> None:
    if name not in shlex.split(USED[role, place]):
        with pytest.raises(og.errors.OutgrowError):
            model.fit(table, y)
        return
    model.fit(table, y)
    for rows in (table, table.iloc[:0], table.iloc[:1]):
        assert len(model.predict(rows)) == len(rows)
    assert model.evaluate(table, y)["rmse"] >= 0


@pytest.mark.parametrize("place", range(len(MODELS)))
@pytest.mark.parametrize("name", COLUMNS)
def test_columns_are_used_or_refused(name: str, place: int) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=N), "c": rng.choice(["x", "y"], N), "z": COLUMNS[name]})
    used_or_refused(MODELS[place], name, "feature", place, table, rng.normal(size=N))


@pytest.mark.parametrize("place", range(len(MODELS)))
@pytest.mark.parametrize("name", COLUMNS)
def test_targets_are_used_or_refused(name: str, place: int) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=N), "z": COLUMNS[name]})
    used_or_refused(MODELS[place], name, "target", place, table, "z")
