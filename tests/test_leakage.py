"""Leaks that public reports tell of are found, and joins that are right are not blamed."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.errors import DataError, ParameterError
from outgrow.features import Entity, Source

RNG = np.random.default_rng(2)
DAYS = pd.date_range("2026-01-01", periods=40, freq="D")
SALES = pd.DataFrame(
    {"shop": RNG.choice(["a", "b"], 80), "day": np.repeat(DAYS, 2), "sold": RNG.integers(0, 9, 80)}
)
SALES["written"] = SALES["day"] + pd.to_timedelta(RNG.integers(0, 5, 80), "D")
ASKED = pd.DataFrame(
    {
        "shop": RNG.choice(["a", "b"], 30),
        "event_timestamp": RNG.choice(DAYS, 30),
        "late": RNG.integers(0, 2, 30),
    }
)
AS_OF = """
SELECT asked.*, s.sold FROM asked ASOF LEFT JOIN (
    SELECT shop, day, MAX(sold) AS sold FROM sales GROUP BY shop, day
) s ON asked.shop = s.shop AND asked.event_timestamp >= s.day
"""
MEAN = "SELECT asked.*, (SELECT AVG(sold) FROM sales s WHERE s.shop = asked.shop {}) AS mean FROM asked"


def leaks(make: Any, times: Any = "day") -> dict[str | None, str]:
    report = og.check_leakage(make, ASKED, {"sales": SALES}, times={"sales": times}, moments=3)
    return {leak.column: leak.how for leak in report.leaks}


def test_a_join_as_of_the_time_of_the_row_does_not_leak() -> None:
    assert leaks(AS_OF) == {}


def test_the_same_join_leaks_by_rows_that_were_written_later() -> None:
    # Feast #6615: a backfill with an early event time
    assert set(leaks(AS_OF, times=["day", "written"])) == {"sold"}


@pytest.mark.parametrize("condition", ["", "AND s.day <= asked.event_timestamp + INTERVAL 1 DAY"])
def test_means_over_what_comes_later_leak(condition: str) -> None:
    assert set(leaks(MEAN.format(condition))) == {"mean"}
    assert leaks(MEAN.format("AND s.day < asked.event_timestamp")) == {}


def test_a_maximum_leaks_though_no_row_that_comes_later_is_greater_today() -> None:
    falling = SALES.assign(sold=-np.arange(80))
    query = MEAN.replace("AVG", "MAX").format("")
    report = og.check_leakage(query, ASKED[5:], {"sales": falling}, times={"sales": "day"})
    assert [(leak.column, leak.how) for leak in report.leaks] == [("mean", "changed")]


def test_rows_that_a_join_drops_by_what_comes_later_leak() -> None:
    query = "SELECT asked.* FROM asked WHERE shop IN (SELECT shop FROM sales WHERE day > '2026-02-08')"
    late = SALES[(SALES["day"] < "2026-02-08") | (SALES["shop"] == "a")]
    report = og.check_leakage(query, ASKED, {"sales": late}, times={"sales": "day"})
    assert report.leaks[0].column is None
    with pytest.raises(DataError, match="the rows themselves"):
        report.raise_for_leaks()


def test_functions_are_checked_and_what_is_not_is_named() -> None:
    def make(asked: og.Dataset, tables: Any) -> Any:
        sales, rows = tables["sales"].to_pandas(), asked.to_pandas()
        return rows.assign(total=rows["shop"].map(sales.groupby("shop")["sold"].sum()).astype(float))

    assert set(leaks(make)) == {"total"}
    report = og.check_leakage(make, ASKED, {"sales": SALES})
    assert report.unchecked == ("sales",)
    assert "Not checked, as no time is given for them: sales." in str(report)


def test_views_are_checked_before_their_queries() -> None:
    def view(query: str | None) -> og.FeatureView:
        return og.FeatureView("sales", [Entity("shop")], Source(SALES, "day", "written", query=query))

    assert not og.check_leakage(view(None), ASKED, moments=2).leaks
    query = "SELECT shop, day, written, AVG(sold) OVER (PARTITION BY shop) AS mean FROM rows"
    assert [leak.column for leak in og.check_leakage(view(query), ASKED, moments=2).leaks] == ["sales__mean"]


def test_what_changes_by_itself_cannot_be_checked() -> None:
    with pytest.raises(DataError, match="Two runs on the same tables give different 'r'"):
        leaks("SELECT asked.*, RANDOM() AS r FROM asked")
    with pytest.raises(ParameterError, match="times names"):
        og.check_leakage("SELECT * FROM asked", ASKED, {}, times={"sales": "day"})
    nothing = pa.table({"event_timestamp": pa.array([], pa.timestamp("us"))})
    with pytest.raises(ParameterError, match="0 times of labels"):
        og.check_leakage("SELECT * FROM asked", nothing)


def test_dates_and_times_of_a_zone_are_moments_in_utc() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=2))
    rows = pa.table({"k": [1], "at": [datetime.datetime(2026, 1, 2, 1, tzinfo=zone)], "x": [1.0]})
    asked = pa.table({"k": [1, 1], "event_timestamp": [datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)]})
    query = "SELECT asked.*, (SELECT MAX(x) FROM rows) AS x FROM asked"
    report = og.check_leakage(query, asked, {"rows": rows}, times={"rows": "at"})
    assert [(leak.column, leak.rows) for leak in report.leaks] == [("x", 1)]


LEAKY = {
    "a mean of all labels of the shop": "SELECT *, AVG(label) OVER (PARTITION BY shop) AS m FROM asked",
    "the next label": """
        SELECT *, LEAD(label) OVER (PARTITION BY shop ORDER BY event_timestamp) AS m FROM asked""",
    "a self join without its time": """
        WITH means AS (SELECT shop, AVG(label) AS m FROM asked GROUP BY shop)
        SELECT asked.*, means.m FROM asked JOIN means USING (shop)""",
    "a view within a view": """
        WITH daily AS (SELECT shop, day, SUM(sold) AS sold FROM sales GROUP BY ALL),
        best AS (SELECT shop, MAX(sold) AS m FROM daily GROUP BY shop)
        SELECT asked.*, best.m FROM asked LEFT JOIN best USING (shop)""",
    "a frame that looks ahead": """
        SELECT asked.*, s.m FROM asked ASOF LEFT JOIN (
            SELECT shop, day, AVG(sold) OVER (
                PARTITION BY shop ORDER BY day ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS m FROM sales
        ) AS s ON asked.shop = s.shop AND asked.event_timestamp >= s.day""",
}
HONEST = {
    "labels of before": """
        SELECT *, AVG(label) OVER (PARTITION BY shop ORDER BY event_timestamp
            RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE GROUP) AS m FROM asked""",
    "a self join with its time": """
        SELECT a.*, (SELECT SUM(b.label) FROM asked b
            WHERE b.shop = a.shop AND b.event_timestamp < a.event_timestamp) AS m FROM asked a""",
    "an as-of join with equal times": """
        SELECT asked.*, s.sold AS m FROM asked ASOF LEFT JOIN (
            SELECT shop, day, MAX(sold) AS sold FROM sales GROUP BY ALL) AS s
        ON asked.shop = s.shop AND asked.event_timestamp >= s.day""",
}


@pytest.mark.parametrize("name", [*LEAKY, *HONEST])
def test_any_query_is_looked_through(name: str) -> None:
    days = [datetime.datetime(2026, 1, n) for n in (1, 2, 2, 3, 4, 5)]
    shops = ["a", "a", "b", None, "a", "é'\""]
    sales = pa.table({"shop": shops, "day": days, "sold": [3, 1, 4, 1, 5, 9]})
    asked = pa.table({"shop": shops, "event_timestamp": days, "label": [0, 1, 1, 0, 0, 1]})
    query = {**LEAKY, **HONEST}[name]
    report = og.check_leakage(query, asked, {"sales": sales}, times={"sales": "day"}, moments=2)
    assert [leak.column for leak in report.leaks] == (["m"] if name in LEAKY else [])
