"""The tests of Kolmogorov and Smirnov: how far apart two distribution functions are, exactly, at any size.

Values up to eight million are brought together, each different one once. Of more, exact quantiles first cut
the line into bins; the counts of a bin bound how far apart the functions are in it, and only the values of
bins that may hold the greatest distance are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.stats

from outgrow.data.batch import Batch
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.statistics.group_columns import GroupColumns
from outgrow.statistics.results import TestResult
from outgrow.statistics.rows import Rows, key_order, open_rows
from outgrow.statistics.samples import open_samples
from outgrow.statistics.t_tests import ALTERNATIVE
from outgrow.stats.number_counts import NumberCounts
from outgrow.stats.quantiles import quantiles

AT_ONCE, BINS = 1 << 23, 1 << 12
"""Values that are brought together without bins, and how many bins there are for more."""
_EXACT = 10_000
"""Values of the larger sample up to which SciPy gives the exact p-value of two."""
_ONE = np.zeros(1, dtype=np.uint64)


@dataclass(frozen=True, eq=False, repr=False)
class KstestResult(TestResult):
    """A test of each column; fields are numbers where one column was named.

    Attributes
    ----------
    statistic_location : where the functions are farthest apart.
    statistic_sign : 1 where the first is above there, -1 where it is below.
    alternative : 'two-sided', 'less' or 'greater'.
    """

    statistic_location: Any
    statistic_sign: Any
    alternative: str

    @property
    def _shown(self) -> tuple[str, ...]:
        return ("statistic", "pvalue", "statistic_location", "statistic_sign")


@dataclass(frozen=True, eq=False)
class _Sample:
    """A column of the rows of a group."""

    rows: Rows
    hashes: np.ndarray
    group: int
    column: int

    def reduce(self, shard: Shard, fold: Callable[[np.ndarray], Any]) -> Any:
        """Merge `fold(values)` over all batches; none of the values is missing."""
        index = self.group * len(self.rows.labels) + self.column

        def fold_batch(batch: Batch) -> Any:
            values = GroupColumns(batch, self.rows, self.hashes, range(index, index + 1))[:, 0]
            return fold(values[~np.isnan(values)])

        return shard.reduce(fold_batch, encoded=True)

    def learn(self, fold: Callable[[np.ndarray], Any]) -> Any:
        """One pass by itself."""
        return self.rows.learn(partial(self.reduce, fold=fold))

    def edges(self, count: float) -> np.ndarray:
        """The ends of bins of about as many values; none where all values are one bin."""
        if count <= AT_ONCE:
            return np.zeros(0)
        shares = np.linspace(0, 1, BINS + 1)[1:-1].tolist()

        def find(shard: Shard) -> np.ndarray:
            def reduce(fold: Callable[[Any], Any]) -> Any:
                return self.reduce(shard, lambda values: fold(values[:, None]))

            return quantiles(reduce, 1, shares)[0][:, 0]

        return np.unique(self.rows.learn(find, keep=True))


def kstest(
    data: Any,
    cdf: str,
    columns: str | None = None,
    *,
    args: Sequence[float] = (),
    alternative: str = "two-sided",
) -> KstestResult:
    """Whether a column follows a distribution, as `scipy.stats.kstest`: the test of Kolmogorov and Smirnov.

    Parameters
    ----------
    data : dataset, Spark DataFrame, table, or array of shape (rows, columns) or (rows,).
    cdf : the name of a continuous distribution of `scipy.stats`, such as 'norm'.
    columns : names, or a selector; by default all that hold numbers.
    args : the parameters of the distribution, in SciPy's order; location and scale come last.
    alternative : 'two-sided', 'less' or 'greater': how the column's distribution function lies to the other.

    Raises
    ------
    ParameterError
        When there is no such distribution.
    DataError
        When a column has no values.

    Notes
    -----
    Parameters that were found from the same rows make the p-value too large.

    Unlike Spark MLlib's `KolmogorovSmirnovTest.test(dataset, sampleCol, "norm", mean, sd)`: any distribution
    of SciPy is there, and the result is exact where values are equal.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> result = og.stats.kstest(np.array([-1.2, 0.3, 0.5, 1.9]), "norm")
    >>> round(result.statistic, 4), round(result.pvalue, 4)
    (0.3679, 0.5436)
    """
    ALTERNATIVE.check("kstest", "alternative", alternative)
    distribution = _distribution(cdf, args)
    rows = open_rows(data, columns)
    results = [_one(_Sample(rows, _ONE, 0, j), distribution, alternative) for j in range(len(rows.labels))]
    return _result(rows, results, alternative)


def ks_2samp(
    *samples: Any, columns: Any = None, by: Any = None, alternative: str = "two-sided"
) -> KstestResult:
    """Whether two samples follow the same distribution, as `scipy.stats.ks_2samp`.

    Parameters
    ----------
    *samples : two datasets, tables or arrays, whose columns are compared one by one; or one, with `by`.
    columns : names, or a selector; by default all that hold numbers.
    by : a column with two values, which make the samples, in their order; or an array of shape (rows,).
    alternative : 'two-sided', 'less' or 'greater': how the first distribution function lies to the second.

    Raises
    ------
    DataError
        When there are other than two samples, or one has no values.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> result = og.stats.ks_2samp(np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 4.0, 5.0, 6.0, 7.0]))
    >>> round(result.statistic, 4), round(result.pvalue, 4)
    (0.6, 0.2857)
    """
    ALTERNATIVE.check("ks_2samp", "alternative", alternative)
    parts = open_samples(samples, columns, by)
    groups = _groups(parts)
    results = []
    for j in range(len(parts[0].labels)):
        a, b = (_Sample(part, hashes, group, j) for part, hashes, group in groups)
        results.append(_two(a, b, alternative))
    return _result(parts[0], results, alternative)


def _groups(parts: Sequence[Rows]) -> list[tuple[Rows, np.ndarray, int]]:
    """The two samples: their rows, the hashes of groups there, and which they are."""
    if not parts[0].by:
        groups = [(part, _ONE, 0) for part in parts]
    else:
        (rows,) = parts
        keys = rows.learn(lambda shard: shard.reduce(lambda batch: rows.grouped(batch)[1], encoded=True))
        _, order = key_order(keys, rows.by, missing=False)
        groups = [(rows, keys.hashes, int(group)) for group in order]
    if len(groups) != 2:
        raise DataError(f"The test compares two samples; there are {len(groups)}. Choose rows of two groups.")
    return groups


def _distribution(cdf: str, args: Sequence[float]) -> Any:
    family = getattr(scipy.stats, cdf, None) if isinstance(cdf, str) else None
    if not isinstance(family, scipy.stats.rv_continuous):
        raise ParameterError(f"cdf={cdf!r}: name a continuous distribution of scipy.stats, such as 'norm'.")
    try:
        return family(*args)
    except TypeError as error:
        raise ParameterError(f"args={args!r} are no parameters of {cdf!r}: {error}.") from error


Table = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Different values, sorted; how many lie below each; and how many are no greater."""


def _binned(sample: _Sample, edges: np.ndarray) -> np.ndarray:
    """How many values are in each bin, the upper end of which belongs to it."""
    counts: np.ndarray = sample.learn(
        lambda values: np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1).astype(float)
    )
    return counts


def _table(sample: _Sample, edges: np.ndarray, counts: np.ndarray, chosen: np.ndarray) -> Table:
    """The values in some of the bins, and how many lie before each of them."""

    def fold(values: np.ndarray) -> NumberCounts:
        near = values if chosen.all() else values[chosen[np.searchsorted(edges, values)]]
        return NumberCounts.of(pa.array(near))

    table = sample.learn(fold).compact()
    ends = np.cumsum(table.weights)
    skipped = np.cumsum(np.where(chosen, 0.0, counts))[np.searchsorted(edges, table.numbers)]
    return table.numbers, skipped + ends - table.weights, skipped + ends


def _candidates(
    above: tuple[np.ndarray, np.ndarray], below: tuple[np.ndarray, np.ndarray], alternative: str
) -> np.ndarray:
    """The bins that may hold the greatest distance.

    Parameters
    ----------
    above, below : for each bin the least and the largest that the greatest distance upwards and downwards in
        it may be.
    alternative : which of them count.
    """
    chosen = np.zeros(len(above[0]), dtype=bool)
    wanted = {"two-sided": (above, below), "greater": (above,), "less": (below,)}[alternative]
    least = max(low.max() for low, _ in wanted)
    for _, high in wanted:
        chosen |= high >= least
    return chosen


def _one(sample: _Sample, distribution: Any, alternative: str) -> tuple[float, float, float, float]:
    count = _count(sample)
    edges = sample.edges(count)
    chosen = counts = np.array([count]) if not len(edges) else _binned(sample, edges)
    if len(edges):
        ends = np.append(edges, np.inf)
        begins = np.append(-np.inf, edges)
        after = np.cumsum(counts)
        before, low, high = after - counts, distribution.cdf(begins), distribution.cdf(ends)
        there = counts > 0
        above = np.where(there, after / count - high, -np.inf), np.where(there, after / count - low, -np.inf)
        below = (
            np.where(there, low - before / count, -np.inf),
            np.where(there, high - before / count, -np.inf),
        )
        chosen = _candidates(above, below, alternative)
    values, before, after = _table(sample, edges, counts, np.asarray(chosen, dtype=bool))
    shares = distribution.cdf(values)
    return _best(values, after / count - shares, shares - before / count, alternative, count)


def _best(
    values: np.ndarray, above: np.ndarray, below: np.ndarray, alternative: str, count: float
) -> tuple[float, float, float, float]:
    """Statistic, p-value, location and sign."""
    up, down = int(np.argmax(above)), int(np.argmax(below))
    upwards = alternative == "greater" or (alternative == "two-sided" and above[up] > below[down])
    at, d, sign = (up, above[up], 1.0) if upwards else (down, below[down], -1.0)
    tail = scipy.stats.kstwo.sf if alternative == "two-sided" else scipy.stats.ksone.sf
    return float(d), float(np.clip(tail(d, count), 0, 1)), float(values[at]), sign


def _two(a: _Sample, b: _Sample, alternative: str) -> tuple[float, float, float, float]:
    counts = [_count(sample) for sample in (a, b)]
    edges = np.union1d(a.edges(counts[0]), b.edges(counts[1]))
    binned = [_binned(s, edges) if len(edges) else np.array([n]) for s, n in zip((a, b), counts, strict=True)]
    after = [np.cumsum(part) / n for part, n in zip(binned, counts, strict=True)]
    before = [end - part / n for end, part, n in zip(after, binned, counts, strict=True)]
    apart = after[0] - after[1]
    chosen = _candidates((apart, after[0] - before[1]), (-apart, after[1] - before[0]), alternative)
    tables = [_table(s, edges, part, chosen) for s, part in zip((a, b), binned, strict=True)]
    if max(counts) <= _EXACT:
        whole = [np.repeat(values, (end - begin).astype(int)) for values, begin, end in tables]
        result: Any = scipy.stats.ks_2samp(whole[0], whole[1], alternative=alternative)  # type: ignore[call-overload]
        return (
            *(float(result.statistic), float(result.pvalue)),
            *(float(result.statistic_location), float(result.statistic_sign)),
        )
    return _apart(tables, edges, binned, counts, alternative)


def _apart(
    tables: Sequence[Table],
    edges: np.ndarray,
    binned: Sequence[np.ndarray],
    counts: Sequence[float],
    alternative: str,
) -> tuple[float, float, float, float]:
    """How far apart two samples are at the values that were looked at."""
    values = np.union1d(tables[0][0], tables[1][0])
    shares = [
        _share(values, table, edges, part) / n for table, part, n in zip(tables, binned, counts, strict=True)
    ]
    apart = shares[0] - shares[1]
    up, down = int(np.argmax(apart)), int(np.argmin(apart))
    upwards = alternative == "greater" or (alternative == "two-sided" and apart[up] >= -apart[down])
    at, sign = (up, 1.0) if upwards else (down, -1.0)
    d = max(0.0, sign * float(apart[at]))
    return d, _pvalue(d, counts, alternative), float(values[at]), sign


def _share(values: np.ndarray, table: Table, edges: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """How many of a sample are no greater than each value, which lies in a bin that was looked at."""
    at = np.searchsorted(table[0], values, side="right")
    bins = np.searchsorted(edges, values)
    begin = np.cumsum(counts) - counts
    return np.maximum(begin[bins], np.append(0.0, table[2])[at])


def _pvalue(d: float, counts: Sequence[float], alternative: str) -> float:
    """For large samples, as SciPy has it: Smirnov's limit, and Hodges' approximation of one side."""
    m, n = max(counts), min(counts)
    effective = m * n / (m + n)
    if alternative == "two-sided":
        return float(np.clip(scipy.stats.kstwo.sf(d, np.round(effective)), 0, 1))
    z = np.sqrt(effective) * d
    return float(np.clip(np.exp(-2 * z**2 - 2 * z * (m + 2 * n) / np.sqrt(m * n * (m + n)) / 3), 0, 1))


def _count(sample: _Sample) -> float:
    count = float(sample.learn(lambda values: np.array([float(len(values))]))[0])
    if count == 0:
        raise DataError(f"Column {sample.rows.labels[sample.column]!r} has no values to compare.")
    return count


def _result(rows: Rows, results: Sequence[tuple[float, ...]], alternative: str) -> KstestResult:
    statistic, pvalue, location, sign = (rows.unwrapped(part) for part in np.array(results).reshape(-1, 4).T)
    return KstestResult(rows.labels, statistic, pvalue, location, sign, alternative)
