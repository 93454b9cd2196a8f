"""How a column that is in order goes together with itself, some rows later."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.fft
from scipy import special

from outgrow.data.batch import Batch, is_numeric
from outgrow.data.exact import microseconds
from outgrow.data.matrix import Matrix, numbers
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.ml.core.parameters import Integer, Share
from outgrow.statistics.results import Result
from outgrow.statistics.rows import Rows, dense, open_rows
from outgrow.stats.quantiles import Gathered

_MOST_ROWS = 1 << 25


@dataclass(frozen=True, eq=False, repr=False)
class AcfResult(Result):
    """Autocorrelations, one for each lag from 0.

    Attributes
    ----------
    acf : ndarray of shape (nlags + 1,).
    low, high : the ends of the confidence intervals (Bartlett's formula).
    qstat, pvalue : of the test of Ljung and Box that all up to a lag are 0; NaN for lag 0.
    count : how many values there are.
    """

    acf: np.ndarray
    low: np.ndarray
    high: np.ndarray
    qstat: np.ndarray
    pvalue: np.ndarray
    count: int

    def to_arrow(self) -> pa.Table:
        """A row for each lag."""
        fields = {name: getattr(self, name) for name in ("acf", "low", "high", "qstat", "pvalue")}
        return pa.table({"lag": np.arange(len(self.acf)), **fields})


def acf(
    data: Any, column: str, order: str, *, nlags: int | None = None, confidence_level: float = 0.95
) -> AcfResult:
    """The autocorrelation of a column whose rows are in order, as `statsmodels.tsa.stattools.acf`.

    Parameters
    ----------
    data : dataset, Spark DataFrame, table, or array of shape (rows, columns).
    column : of numbers. A row without a value keeps its turn, and the pairs that it would be in are left out
        (`missing='conservative'` in statsmodels).
    order : the column by which rows are in order: numbers or times, each once. Rows without one are left out.
    nlags : the largest lag; by default 10 log10(rows), and less than all rows.
    confidence_level : the share of intervals that hold the true autocorrelation.

    Raises
    ------
    DataError
        When rows have the same turn, there are none, or more than 33 million.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"day": [3, 1, 2, 4, 5], "x": [2.0, 1.0, 4.0, 5.0, 3.0]})
    >>> og.stats.acf(rows, "x", "day", nlags=2).acf
    array([ 1. , -0.5,  0.4])
    """
    (Integer(low=0) | None).check("acf", "nlags", nlags)
    Share(above=0, below=1).check("acf", "confidence_level", confidence_level)
    rows = open_rows(data, column)
    if len(rows.labels) != 1:
        raise ParameterError(f"column={column!r} has {len(rows.labels)} columns; name one.")
    values = _in_order(open_rows(data, [column, order], numeric=False), column, order)
    lags = min(int(10 * np.log10(len(values))), len(values) - 1) if nlags is None else nlags
    if lags >= len(values):
        raise ParameterError(
            f"nlags={nlags}: there are {len(values)} rows; the largest lag is less than that."
        )
    r = _autocorrelation(values, lags)
    count = int(np.count_nonzero(~np.isnan(values)))
    spread = np.concatenate([[0.0], np.full(min(lags, 1), 1.0), 1 + 2 * np.cumsum(r[1:lags] ** 2)])
    with np.errstate(invalid="ignore", divide="ignore"):
        width = special.ndtri((1 + confidence_level) / 2) * np.sqrt(spread / count)
        q = count * (count + 2) * np.cumsum(r[1:] ** 2 / (count - np.arange(1, lags + 1)))
    pvalue = special.chdtrc(np.arange(1, lags + 1), q)
    return AcfResult(
        (column,), r, r - width, r + width, np.append(np.nan, q), np.append(np.nan, pvalue), count
    )


def _in_order(rows: Rows, column: str, order: str) -> np.ndarray:
    """The values of a column by the turns of its rows."""

    def learn(shard: Shard) -> Gathered:
        count = int(shard.reduce(lambda batch: np.array([batch.num_rows]), encoded=True)[0])
        if count > _MOST_ROWS:
            raise DataError(
                f"Rows in order must be in one place: {count:,} rows are more than {_MOST_ROWS:,}. "
                "Choose some with where(), or means of longer spans."
            )
        state: Gathered = shard.reduce(partial(_fold, column=column, order=order), encoded=True)
        return state

    values, turns = rows.learn(learn).values
    by_turn = np.argsort(turns)
    turns = turns[by_turn]
    same = np.count_nonzero(turns[1:] == turns[:-1])
    if same:
        raise DataError(
            f"{same:,} rows have the same {order!r} as another, so they are in no order. Choose those of one "
            "key, or sum them up first."
        )
    if not len(turns):
        raise DataError(f"No row has a value of {order!r}.")
    return values[by_turn]


def _fold(batch: Batch, column: str, order: str) -> Gathered:
    turns = batch[order]
    if isinstance(turns, Matrix) or not (
        is_numeric(turns.type) or pa.types.is_date(turns.type) or pa.types.is_timestamp(turns.type)
    ):
        raise SchemaError(f"The order {order!r} is no column of numbers or times.")
    if not is_numeric(turns.type):
        turns = microseconds(turns, order)
    values = dense(batch.matrix([column]))[:, 0].astype(np.float64)
    there = ~np.asarray(turns.is_null(nan_is_null=True))
    exact = turns.filter(pa.array(there))
    kept = exact.to_numpy(zero_copy_only=False) if pa.types.is_integer(exact.type) else numbers(exact)
    return Gathered((values[there], np.asarray(kept)))


def _autocorrelation(values: np.ndarray, lags: int) -> np.ndarray:
    present = ~np.isnan(values)
    if np.isinf(values).any():
        raise DataError("Infinite values have no mean. Drop those rows, or make them missing.")
    largest = np.abs(values[present]).max(initial=0.0)
    values = values / (largest or 1.0)  # so that no square overflows, or becomes 0
    apart = np.where(present, values - values[present].mean() if present.any() else 0.0, 0.0)
    apart /= np.abs(apart).max(initial=0.0) or 1.0
    size = scipy.fft.next_fast_len(2 * len(apart), real=True)
    power = np.abs(scipy.fft.rfft(apart, size)) ** 2
    sums = scipy.fft.irfft(power, size)[: lags + 1]
    varies = np.ptp(values[present]) > 0 if present.any() else False
    return sums / sums[0] if varies else np.full(lags + 1, np.nan)
