"""What the contenders are called, and the scan all are compared with."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import outgrow as og
from bench.contest import Contender, Place, Target
from bench.spark import computed

Contestant = Callable[[Place], object]

LOCAL = "outgrow"
SPARK_PATH = "outgrow on Spark, path"
SPARK_FRAME = "outgrow on Spark, DataFrame"
SKLEARN = "scikit-learn"
SPARK_CACHED = "outgrow on Spark, DataFrame, cached before"
MLLIB = "Spark MLlib"
MLLIB_FRAME = "Spark MLlib, DataFrame"
XGBOOST = "XGBoost"
SCAN = "1 scan"


def scan(columns: list[str]) -> Contender:
    """PyArrow reading the same columns."""

    def run(place: Place) -> None:
        pq.read_table(place.path, columns=columns)

    return Contender(SCAN, run)


def of_frame(ours: Callable[[Any], object], mllib: Callable[[Place, Any], object]) -> tuple[Contender, ...]:
    """Both on a DataFrame with a computed column, ours once more where the first turn has cached it.

    Parameters
    ----------
    ours : fits on a Spark DataFrame or a dataset.
    mllib : the same on a DataFrame of the place.
    """

    def first(place: Place) -> object:
        return ours(computed(place.session, place.path))

    def further(place: Place) -> object:
        return ours(_cached(place.session, place.path))

    def peer(place: Place) -> object:
        return mllib(place, computed(place.session, place.path))

    return (
        Contender(SPARK_FRAME, first, spark=True),
        Contender(SPARK_CACHED, further, spark=True),
        Contender(MLLIB_FRAME, peer, spark=True, repeats=2),
    )


def frame_targets(path_ratio: float) -> tuple[Target, Target]:
    """What is wanted of them: a first fit may take the rows out of Spark, the next is as fast as a path.

    Parameters
    ----------
    path_ratio : how many times faster than MLlib a fit on a path has to be.
    """
    return (
        Target(SPARK_FRAME, MLLIB_FRAME, at_least=3.5),
        Target(SPARK_CACHED, MLLIB_FRAME, at_least=path_ratio),
    )


@cache
def _cached(session: Any, path: Path) -> Any:
    """The DataFrame in files, which the first turn writes."""
    return og.dataset(computed(session, path)).cache()


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
