"""Student's t tests: of one mean, of two, and of pairs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import special

from outgrow.data.batch import Batch
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.inputs import arrow_column
from outgrow.ml.core.parameters import Number, OneOf, Share
from outgrow.statistics.results import TestResult
from outgrow.statistics.rows import Rows, dense, open_rows
from outgrow.statistics.samples import (
    GroupMoments,
    check_sample_squares,
    grouped_state,
    open_samples,
    sample_moments,
    two,
)

ALTERNATIVE = OneOf("two-sided", "less", "greater")
_FAR = 1e5


@dataclass(frozen=True, eq=False, repr=False)
class TtestResult(TestResult):
    """A t test of each column; fields are numbers where one column was named.

    Attributes
    ----------
    df : degrees of freedom.
    estimate : the mean, of one sample less the mean that is tested; or the difference of two.
    standard_error : of that.
    alternative : 'two-sided', 'less' or 'greater'.
    """

    df: Any
    estimate: Any
    standard_error: Any
    popmean: float
    alternative: str

    @property
    def _shown(self) -> tuple[str, ...]:
        return ("statistic", "pvalue", "df", "estimate", "standard_error")

    def confidence_interval(self, confidence_level: float = 0.95) -> tuple[Any, Any]:
        """The ends between which the mean, or the difference of means, lies.

        Parameters
        ----------
        confidence_level : the share of samples whose intervals hold the true one.
        """
        Share(above=0, below=1).check("confidence_interval", "confidence_level", confidence_level)
        tail = (1 - confidence_level) / (2 if self.alternative == "two-sided" else 1)
        width = -special.stdtrit(self.df, tail) * self.standard_error
        middle = self.estimate + self.popmean
        low = middle - width if self.alternative != "less" else np.full_like(middle, -np.inf)
        high = middle + width if self.alternative != "greater" else np.full_like(middle, np.inf)
        return low, high


def ttest_1samp(
    data: Any, popmean: float, columns: Columns = None, *, alternative: str = "two-sided"
) -> TtestResult:
    """Whether the mean of a column is what it is said to be, as `scipy.stats.ttest_1samp`.

    Parameters
    ----------
    data : dataset, Spark DataFrame, table, or array of shape (rows, columns) or (rows,).
    popmean : the mean that is tested.
    columns : names, or a selector; by default all that hold numbers.
    alternative : 'two-sided', 'less' or 'greater': what the mean is if not that.

    Raises
    ------
    DataError
        When a value is infinite.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> result = og.stats.ttest_1samp(np.array([4.0, 5.0, 6.0, 9.0]), popmean=5)
    >>> round(result.statistic, 4), round(result.pvalue, 4)
    (0.9258, 0.4228)
    """
    ALTERNATIVE.check("ttest_1samp", "alternative", alternative)
    Number().check("ttest_1samp", "popmean", popmean)
    rows = open_rows(data, columns)
    samples = sample_moments([rows])
    estimate = samples.mean[0] + (samples.shift - popmean)
    error = np.sqrt(samples.variance[0] / samples.n[0])
    return _tested(rows, estimate, error, samples.n[0] - 1, alternative, float(popmean))


def ttest_ind(
    *samples: Any,
    columns: Columns = None,
    by: Any = None,
    equal_var: bool = True,
    alternative: str = "two-sided",
) -> TtestResult:
    """Whether two samples have the same mean, as `scipy.stats.ttest_ind`: Student's test, or Welch's.

    Parameters
    ----------
    *samples : two datasets, tables or arrays, whose columns are compared one by one; or one, with `by`.
    columns : names, or a selector; by default all that hold numbers.
    by : a column with two values, which make the samples, in their order; or an array of shape (rows,). Rows
        without one are in none.
    equal_var : whether the variances are taken to be equal. If not, this is Welch's test.
    alternative : 'two-sided', 'less' or 'greater': how the first mean compares with the second.

    Raises
    ------
    DataError
        When there are other than two samples, or a value is infinite.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> result = og.stats.ttest_ind(np.array([1.0, 2.0, 3.0]), np.array([4.0, 6.0, 9.0]), equal_var=False)
    >>> round(result.statistic, 4), round(result.pvalue, 4), round(result.df, 4)
    (-2.7716, 0.0811, 2.6162)
    """
    ALTERNATIVE.check("ttest_ind", "alternative", alternative)
    parts = open_samples(samples, columns, by)
    moments = sample_moments(parts)
    two(moments, "A t test")
    n, variance = moments.n, moments.variance
    with np.errstate(divide="ignore", invalid="ignore"):
        if equal_var:
            df = n.sum(axis=0) - 2
            pooled = moments.m2.sum(axis=0) / np.where(df > 0, df, np.nan)
            error = np.sqrt(pooled * (1 / n).sum(axis=0))
        else:
            shares = variance / n
            whole = shares.sum(axis=0)
            df = 1 / ((shares / whole) ** 2 / (n - 1)).sum(axis=0)  # squares of the shares may overflow
            df = np.where(np.isnan(df), 1.0, df)
            error = np.sqrt(whole)
    return _tested(parts[0], moments.mean[0] - moments.mean[1], error, df, alternative, 0.0)


def ttest_rel(data: Any, a: Any, b: str | None = None, *, alternative: str = "two-sided") -> TtestResult:
    """Whether two numbers of the same rows have the same mean, as `scipy.stats.ttest_rel`.

    Parameters
    ----------
    data : dataset, Spark DataFrame or table; or the first numbers as an array of shape (rows,).
    a : the name of the column of the first numbers; or the second numbers as an array.
    b : the name of the column of the second numbers.
    alternative : 'two-sided', 'less' or 'greater': how the first mean compares with the second.

    Raises
    ------
    ParameterError
        When neither two names nor two arrays are given.
    DataError
        When a value is infinite.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"before": [5.0, 7.0, 8.0, 6.0], "after": [6.0, 9.0, 8.0, 9.0]})
    >>> result = og.stats.ttest_rel(rows, "before", "after")
    >>> round(result.statistic, 4), round(result.pvalue, 4)
    (-2.3238, 0.1027)
    """
    ALTERNATIVE.check("ttest_rel", "alternative", alternative)
    if isinstance(a, str) != isinstance(b, str):
        raise ParameterError(f"a={a!r}, b={b!r}: name two columns, or give two arrays.")
    if b is None:
        data = pa.table({"a": arrow_column(np.asarray(data), "a"), "b": arrow_column(np.asarray(a), "b")})
        a, b = "a", "b"
    rows = open_rows(data, [a, b])
    state, shift = rows.learn(partial(_differences, rows=rows), keep=True)
    one = Rows(rows.dataset, rows.names, (f"{a} - {b}",), single=True)
    check_sample_squares(one, state)
    constant = state.ends.low == state.ends.high
    n = state.moments.n[0]
    mean = np.where(constant, state.ends.low, state.moments.mean)[0]
    m2 = np.where(constant, 0.0, state.moments.m2)[0]
    variance = np.where(n > 1, m2 / np.maximum(n - 1, 1), np.nan)
    return _tested(one, mean + shift, np.sqrt(variance / n), n - 1, alternative, 0.0)


def _differences(shard: Shard, rows: Rows) -> tuple[GroupMoments, np.ndarray]:
    """The moments of the differences of two columns, and their shift."""

    def fold(batch: Batch, shift: float = 0.0) -> GroupMoments:
        X = dense(rows.finite(batch))
        return grouped_state(batch, rows, (X[:, 0] - X[:, 1] - shift)[None])

    state = shard.reduce(fold, encoded=True)
    (n, mean, m2) = (part[0, 0] for part in (state.moments.n, state.moments.mean, state.moments.m2))
    if abs(mean) <= _FAR * np.sqrt(m2 / max(n, 1)):
        return state, np.zeros(1)
    return shard.reduce(partial(fold, shift=mean), encoded=True), np.array([mean])


def _tested(
    rows: Rows, estimate: np.ndarray, error: np.ndarray, df: np.ndarray, alternative: str, popmean: float
) -> TtestResult:
    with np.errstate(divide="ignore", invalid="ignore"):
        t = estimate / error
    pvalue = {
        "two-sided": 2 * special.stdtr(df, -np.abs(t)),
        "less": special.stdtr(df, t),
        "greater": special.stdtr(df, -t),
    }[alternative]
    t, p, free, middle, spread = (rows.unwrapped(part) for part in (t, pvalue, df, estimate, error))
    return TtestResult(rows.labels, t, p, free, middle, spread, popmean, alternative)
