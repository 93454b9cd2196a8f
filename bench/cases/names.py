"""What the contenders are called, and the scan all are compared with."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow.parquet as pq

from bench.contest import Contender, Place

Contestant = Callable[[Place], object]

LOCAL = "outgrow"
SPARK_PATH = "outgrow on Spark, path"
SPARK_FRAME = "outgrow on Spark, DataFrame"
SKLEARN = "scikit-learn"
MLLIB = "Spark MLlib"
XGBOOST = "XGBoost"
SCAN = "1 scan"


def scan(columns: list[str]) -> Contender:
    """PyArrow reading the same columns."""

    def run(place: Place) -> None:
        pq.read_table(place.path, columns=columns)

    return Contender(SCAN, run)


def contenders(
    local: Contestant,
    spark_path: Contestant,
    sklearn: Contestant,
    mllib: Contestant,
    columns: list[str],
    *more: Contender,
) -> tuple[Contender, ...]:
    """The usual five."""
    return (
        scan(columns),
        Contender(LOCAL, local),
        Contender(SKLEARN, sklearn),
        Contender(SPARK_PATH, spark_path, spark=True),
        *more,
        Contender(MLLIB, mllib, spark=True, repeats=2),
    )
