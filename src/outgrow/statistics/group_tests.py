"""Whether groups have the same mean, or the same variance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import special

from outgrow.data.batch import Batch
from outgrow.engine.shard import Shard
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import OneOf
from outgrow.statistics.group_columns import group_quantiles
from outgrow.statistics.results import TestResult
from outgrow.statistics.rows import Rows, dense
from outgrow.statistics.samples import (
    GroupMoments,
    Samples,
    group_moments,
    grouped_state,
    open_samples,
    sample_moments,
    two,
)
from outgrow.statistics.t_tests import ALTERNATIVE

_quiet = np.errstate(divide="ignore", invalid="ignore")


@dataclass(frozen=True, eq=False, repr=False)
class GroupTestResult(TestResult):
    """A test of groups for each column; fields are numbers where one column was named.

    Attributes
    ----------
    df : the degrees of freedom between the groups.
    df_within : those within them; NaN where the test has none.
    groups : what the samples are called: their keys, or numbers from 0.
    """

    df: Any
    df_within: Any
    groups: list[Any]

    @property
    def _shown(self) -> tuple[str, ...]:
        return ("statistic", "pvalue", "df", "df_within")


def f_oneway(
    *samples: Any, columns: Columns = None, by: Any = None, equal_var: bool = True
) -> GroupTestResult:
    """Whether groups have the same mean: one-way analysis of variance, as `scipy.stats.f_oneway`.

    Parameters
    ----------
    *samples : datasets, tables or arrays, whose columns are compared one by one; or one, with `by`.
    columns : names, or a selector; by default all that hold numbers.
    by : the column whose values make groups; or an array of shape (rows,). Rows without one are in none.
    equal_var : whether the variances are taken to be equal. If not, this is Welch's test.

    Raises
    ------
    DataError
        When a value is infinite.

    Notes
    -----
    Unlike Spark MLlib's `ANOVATest` (Scala only): `columns` are names, and the label is `by`.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"x": [1.0, 2.0, 3.0, 2.0, 4.0, 6.0], "key": ["a", "a", "a", "b", "b", "b"]})
    >>> result = og.stats.f_oneway(rows, columns="x", by="key")
    >>> round(result.statistic, 4), round(result.pvalue, 4)
    (2.4, 0.1963)
    """
    parts = open_samples(samples, columns, by)
    moments = sample_moments(parts)
    return _analysed(parts[0], moments) if equal_var else _welch(parts[0], moments)


def levene(*samples: Any, columns: Columns = None, by: Any = None, center: str = "median") -> GroupTestResult:
    """Whether groups have the same variance, also where they are not normal, as `scipy.stats.levene`.

    Two passes with the means of the groups; with their medians, which is the test of Brown and Forsythe, two
    or three more.

    Parameters
    ----------
    *samples : datasets, tables or arrays, whose columns are compared one by one; or one, with `by`.
    columns : names, or a selector; by default all that hold numbers.
    by : the column whose values make groups; or an array of shape (rows,). Rows without one are in none.
    center : 'median', or 'mean' as Levene had it.

    Raises
    ------
    DataError
        When a value is infinite, or there are too many groups for exact medians.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> result = og.stats.levene(np.array([1.0, 2.0, 4.0, 8.0]), np.array([3.0, 3.5, 4.0, 4.5]))
    >>> round(result.statistic, 4), round(result.pvalue, 4)
    (3.3409, 0.1173)
    """
    OneOf("median", "mean").check("levene", "center", center)
    parts = open_samples(samples, columns, by)
    return _analysed(parts[0], sample_moments(parts, partial(_distances, median=center == "median")))


@_quiet
def bartlett(*samples: Any, columns: Columns = None, by: Any = None) -> GroupTestResult:
    """Whether normal groups have the same variance, as `scipy.stats.bartlett`.

    Parameters
    ----------
    *samples : datasets, tables or arrays, whose columns are compared one by one; or one, with `by`.
    columns : names, or a selector; by default all that hold numbers.
    by : the column whose values make groups; or an array of shape (rows,). Rows without one are in none.

    Raises
    ------
    DataError
        When a value is infinite.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> result = og.stats.bartlett(np.array([1.0, 2.0, 4.0, 8.0]), np.array([3.0, 3.5, 4.0, 4.5]))
    >>> round(result.statistic, 4), round(result.pvalue, 4)
    (4.7168, 0.0299)
    """
    parts = open_samples(samples, columns, by)
    moments = sample_moments(parts)
    n, k, total = _counts(moments)
    free = np.where(n > 0, n - 1, 0)
    pooled = moments.m2.sum(axis=0) / (total - k)
    spread = np.where(n > 0, free * np.log(moments.variance), 0).sum(axis=0)
    top = (total - k) * np.log(pooled) - spread
    below = np.where(n > 0, 1 / free, 0).sum(axis=0) - 1 / (total - k)
    statistic = top / (1 + below / (3 * (k - 1)))
    return _result(parts[0], moments, statistic, special.chdtrc(k - 1, statistic), k - 1, k * np.nan)


@_quiet
def var_test(
    *samples: Any, columns: Columns = None, by: Any = None, alternative: str = "two-sided"
) -> GroupTestResult:
    """Whether two normal samples have the same variance: the F test, as R's `var.test`.

    Parameters
    ----------
    *samples : two datasets, tables or arrays, whose columns are compared one by one; or one, with `by`.
    columns : names, or a selector; by default all that hold numbers.
    by : a column with two values, which make the samples; or an array of shape (rows,).
    alternative : 'two-sided', 'less' or 'greater': how the first variance compares with the second.

    Raises
    ------
    DataError
        When there are other than two samples, or a value is infinite.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> result = og.stats.var_test(np.array([1.0, 2.0, 4.0, 8.0]), np.array([3.0, 3.5, 4.0, 4.5]))
    >>> round(result.statistic, 4), round(result.pvalue, 4)
    (23.0, 0.0285)
    """
    ALTERNATIVE.check("var_test", "alternative", alternative)
    parts = open_samples(samples, columns, by)
    moments = sample_moments(parts)
    two(moments, "An F test of variances")
    df = moments.n - 1
    f = moments.variance[0] / moments.variance[1]
    less, greater = special.fdtr(df[0], df[1], f), special.fdtrc(df[0], df[1], f)
    pvalue = {"two-sided": np.minimum(1, 2 * np.minimum(less, greater)), "less": less, "greater": greater}
    return _result(parts[0], moments, f, pvalue[alternative], df[0], df[1])


def _counts(samples: Samples) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The values of each sample, and of each column how many samples have some, and all values."""
    return samples.n, (samples.n > 0).sum(axis=0), samples.n.sum(axis=0)


@_quiet
def _analysed(rows: Rows, samples: Samples) -> GroupTestResult:
    """Variance between samples by that within them."""
    n, k, total = _counts(samples)
    middle = (n * samples.mean).sum(axis=0) / total
    apart = np.where(n > 0, samples.mean - middle, 0)
    apart[:, (apart == 0).all(axis=0) | _same(samples)] = 0.0
    between = (n * apart**2).sum(axis=0) / (k - 1)
    f = between / (samples.m2.sum(axis=0) / (total - k))
    return _result(rows, samples, f, special.fdtrc(k - 1, total - k, f), k - 1, total - k)


def _same(samples: Samples) -> np.ndarray:
    """The columns whose samples have the same mean to the bit."""
    low = np.where(samples.n > 0, samples.mean, np.inf).min(axis=0)
    return low == np.where(samples.n > 0, samples.mean, -np.inf).max(axis=0)


@_quiet
def _welch(rows: Rows, samples: Samples) -> GroupTestResult:
    n, k, _ = _counts(samples)
    w = np.where(n > 0, n / samples.variance, 0)
    share = w / w.sum(axis=0)
    apart = np.where(n > 0, samples.mean - (share * samples.mean).sum(axis=0), 0)
    rest = np.where(n > 0, (1 - share) ** 2 / (n - 1), 0).sum(axis=0)
    f = (w * apart**2).sum(axis=0) / (k - 1) / (1 + 2 * (k - 2) / (k**2 - 1) * rest)
    df = (k**2 - 1) / (3 * rest)
    return _result(rows, samples, f, special.fdtrc(k - 1, df, f), k - 1, df)


def _result(
    rows: Rows,
    samples: Samples,
    statistic: np.ndarray,
    pvalue: np.ndarray,
    df: np.ndarray,
    within: np.ndarray,
) -> GroupTestResult:
    parts = (rows.unwrapped(part) for part in (statistic, pvalue, df, within))
    statistic, pvalue, df, within = parts
    return GroupTestResult(rows.labels, statistic, pvalue, df, within, samples.labels)


def _distances(shard: Shard, rows: Rows, median: bool) -> tuple[GroupMoments, np.ndarray]:
    """The moments of how far numbers lie from the middle of their group."""
    state, shift = group_moments(shard, rows)
    hashes, middles = state.moments.hashes, state.moments.mean + shift
    if median:
        middles = group_quantiles(shard, rows, hashes, [0.5])[:, :, 0]

    def fold(batch: Batch) -> GroupMoments:
        X = dense(batch.matrix(rows.names)).T
        segments, _ = rows.grouped(batch)
        middle = np.empty(X.shape)
        middle[:, segments.order] = segments.spread(middles[np.searchsorted(hashes, segments.hashes)].T)
        return grouped_state(batch, rows, np.abs(X - middle))

    return shard.reduce(fold, encoded=True), np.zeros(len(rows.labels))
