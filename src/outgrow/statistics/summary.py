"""Each column summed up: Spark's Summarizer in one pass, and exact quantiles in a few more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import Share
from outgrow.statistics.group_columns import group_quantiles
from outgrow.statistics.results import Result
from outgrow.statistics.rows import Rows, dense, key_order, one_group, open_rows, tiles
from outgrow.stats.grouped import Keys
from outgrow.stats.state import merge
from outgrow.stats.summaries import SUMS, GroupedSummary


@dataclass(frozen=True, eq=False, repr=False)
class Summary(Result):
    """What numbers sum up to: all fields of shape (columns,), or (groups, columns) where there are groups.

    Attributes
    ----------
    groups : the keys of the groups, in the order of the other fields; None where there are none.
    count, missing : rows with and without a value; those of weight 0 are neither.
    nonzeros : values that are not zero.
    weight_sum : the weights of the values.
    sum, mean, variance, std : weighted where there are weights.
    min, max : the least and the largest value.
    norm_l1, norm_l2 : the weighted sum of absolute values, and the root of that of squares.
    skewness, kurtosis : as `scipy.stats.skew` and `kurtosis` (0 for a normal distribution).
    quantiles : by probability.
    """

    groups: pa.Table | None
    count: np.ndarray
    missing: np.ndarray
    nonzeros: np.ndarray
    weight_sum: np.ndarray
    sum: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    std: np.ndarray
    min: np.ndarray
    max: np.ndarray
    norm_l1: np.ndarray
    norm_l2: np.ndarray
    skewness: np.ndarray
    kurtosis: np.ndarray
    quantiles: dict[float, np.ndarray]

    def to_arrow(self) -> pa.Table:
        """A row for each column, or for each group and column."""
        groups = 1 if self.groups is None else self.groups.num_rows
        keys: dict[str, Any] = {}
        if self.groups is not None:
            rows = pa.array(np.repeat(np.arange(groups), len(self.columns)))
            keys = {name: self.groups[name].take(rows) for name in self.groups.column_names}
        numbers = {name: np.ravel(getattr(self, name)) for name in _FIELDS}
        numbers |= {f"q{p:g}": np.ravel(values) for p, values in self.quantiles.items()}
        return pa.table({**keys, "column": list(self.columns) * groups, **numbers})


_FREQUENCIES, _IMPORTANCE, NOTHING = "one", "share", "none"
_FIELDS = (
    *("count", "missing", "nonzeros", "weight_sum", "sum", "mean", "variance", "std", "min", "max"),
    *("norm_l1", "norm_l2", "skewness", "kurtosis"),
)


def summarize(
    data: Any,
    columns: Columns = None,
    *,
    by: Any = None,
    fweights: Any = None,
    aweights: Any = None,
    quantiles: Sequence[float] = (),
) -> Summary:
    """Counts, means, spreads, extremes, norms and shapes of columns, in one pass.

    Parameters
    ----------
    data : dataset, Spark DataFrame, table, or array of shape (rows, columns) or (rows,).
    columns : names, or a selector; by default all that hold numbers or vectors of them.
    by : columns whose values make groups: a name, several, or an array of shape (rows,). A missing key is a
        group of its own.
    fweights : how often each row counts, in whole numbers: a column's name, or an array of shape (rows,).
        Rows that weigh 0 are not there.
    aweights : the importance of each row, as `numpy.cov` calls it; only the variance differs. Spark's
        Summarizer weighs so.
    quantiles : probabilities of exact quantiles, for which two or three further passes are taken; as
        `numpy.quantile` finds them by default, and weighted ones by its method 'inverted_cdf'.

    Raises
    ------
    ParameterError
        When both kinds of weights are given, or a probability lies outside [0, 1].
    DataError
        When there are no rows, or frequencies are not whole.

    Notes
    -----
    Infinite values make the moments of their column infinite or NaN.

    Unlike Spark MLlib's `Summarizer.metrics(...)`: all metrics are there at once, missing values are left
    out, and quantiles, skewness and kurtosis are among them.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> summary = og.stats.summarize(np.array([[1.0, 0.0], [3.0, 5.0]]), quantiles=[0.5])
    >>> summary.mean, summary.nonzeros, summary.quantiles[0.5]
    (array([2. , 2.5]), array([2, 1]), array([2. , 2.5]))
    """
    if fweights is not None and aweights is not None:
        raise ParameterError("fweights and aweights: give one of them.")
    for probability in quantiles:
        (Share(low=0, high=1) | 0 | 1).check("summarize", "quantiles", probability)
    weights = fweights if aweights is None else aweights
    rows = replace(open_rows(data, columns, by=by, weights=weights), frequencies=aweights is None)
    return summary_of(rows, list(quantiles), _FREQUENCIES if aweights is None else _IMPORTANCE)


def summary_of(rows: Rows, quantiles: list[float], lost: str) -> Summary:
    """`summarize`, of rows that are opened.

    Parameters
    ----------
    rows : which of their columns are what.
    quantiles : probabilities.
    lost : by which degrees of freedom a variance has fewer than its rows weigh: 'one' where weights say how
        often each is there, 'share' where they say how important it is, or 'none'.
    """
    keys, state, some = rows.learn(partial(_learn, rows=rows, probabilities=quantiles), keep=bool(quantiles))
    if not len(state.hashes):
        raise DataError("There are no rows to sum up, or all of them weigh 0.")
    fields = _fields(state, some, quantiles, lost)
    if not rows.by:
        return Summary(rows.labels, None, **_taken(fields, 0))
    groups, order = key_order(keys, rows.by, missing=True)
    return Summary(rows.labels, groups, **_taken(fields, order))


def _learn(shard: Shard, rows: Rows, probabilities: list[float]) -> Any:
    keys, state = shard.reduce(partial(_fold, rows=rows), encoded=True, large=bool(rows.by))
    if not probabilities:
        return keys, state, None
    return keys, state, group_quantiles(shard, rows, state.hashes, probabilities)


def _fold(batch: Batch, rows: Rows) -> tuple[Keys, GroupedSummary]:
    weight = rows.weights(batch)
    if weight is not None and (weight == 0).any():
        batch, weight = batch.filter(weight > 0), weight[weight > 0]
    X = batch.matrix(rows.names)
    segments, keys = rows.grouped(batch)
    if rows.by or not batch.num_rows:
        order = segments.order
        return keys, GroupedSummary.of(
            segments, dense(X).T[:, order], None if weight is None else weight[order]
        )
    state: Any = None
    for part, tile in tiles(X):
        one = GroupedSummary.of(one_group(len(tile)), tile.T, None if weight is None else weight[part])
        state = merge(state, one)
    return keys, state


def _fields(
    state: GroupedSummary, some: np.ndarray | None, probabilities: list[float], lost: str
) -> dict[str, Any]:
    """The fields of a summary, of shape (groups, columns)."""
    shape, sums = state.shape, dict(zip(SUMS, np.moveaxis(state.sums, -1, 0), strict=True))
    n, there = shape.n, shape.n > 0
    m2 = np.where(shape.low == shape.high, 0.0, shape.m2)  # of one value, whatever rounding makes of it
    varies = np.where(m2 > 0, m2, np.nan)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        less = {_FREQUENCIES: 1.0, _IMPORTANCE: sums["weight_squares"] / n, NOTHING: 0.0}[lost]
        degrees = n - less
        variance = np.where(degrees > 0, m2 / np.where(degrees > 0, degrees, 1), np.nan)
        skewness, kurtosis = np.sqrt(n) * shape.m3 / varies**1.5, n * shape.m4 / varies**2 - 3
    return {
        "count": sums["count"].astype(np.int64),
        "missing": (sums["rows"] - sums["count"]).astype(np.int64),
        "nonzeros": sums["nonzeros"].astype(np.int64),
        "weight_sum": n,
        "sum": sums["sum"],
        "mean": np.where(there, shape.mean, np.nan),
        "variance": variance,
        "std": np.sqrt(variance),
        "min": np.where(there, shape.low, np.nan),
        "max": np.where(there, shape.high, np.nan),
        "norm_l1": sums["norm_l1"],
        "norm_l2": np.sqrt(sums["squares"]),
        "skewness": skewness,
        "kurtosis": kurtosis,
        "quantiles": {} if some is None else {p: some[:, :, k] for k, p in enumerate(probabilities)},
    }


def _taken(fields: dict[str, Any], groups: Any) -> dict[str, Any]:
    """The fields of some groups."""
    return {
        name: {p: part[groups] for p, part in values.items()} if name == "quantiles" else values[groups]
        for name, values in fields.items()
    }
