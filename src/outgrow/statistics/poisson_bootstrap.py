"""Bootstrap intervals in one pass: each row is in each resample as often as a Poisson number says.

Chamandy, Muralidharan, Najmi and Naidu, "Estimating uncertainty for massive data streams" (2012). The numbers
follow from the values of the row, so that they do not depend on where it lies. Equal rows cannot be told
apart, so m of them get one number together, whose mean is m, and each an m-th of it; for that a first pass
counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import special
from scipy.stats import poisson

from outgrow.data.batch import Batch
from outgrow.data.hashing import mix, row_hash
from outgrow.data.keys import key_hash
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import Integer, OneOf, Share
from outgrow.statistics.results import Result
from outgrow.statistics.rows import Rows, dense, open_rows
from outgrow.stats.counts import DistinctCount
from outgrow.stats.moments import Moments, check_squares
from outgrow.stats.number_counts import NumberCounts
from outgrow.stats.state import merge

_TILE_ROWS, _TOGETHER = 2_048, 128
"""Rows, and resamples, whose weights are made at once."""
_LEVELS, _FEW = 1 << 16, 32
"""How finely the numbers are drawn, and of how many equal rows exactly."""
_MOST = 1 << 26
"""Different rows that are counted, 16 bytes each."""

Statistic = tuple[Callable[[np.ndarray, np.ndarray], Any], Callable[[Any], Any]]
"""What makes a mergeable state of a matrix and the weights of its rows, and what reads a result from it."""


@dataclass(frozen=True)
class _Sums:
    """A statistic that sums over rows tell, so that all resamples are one product of matrices.

    Attributes
    ----------
    power : whether it needs sums of the numbers (1), of their squares too (2), or of all products (3).
    read : gives the statistic of each resample from its weight, of shape (resamples, 1), the sums of numbers
        less their mean and those of squares or products, of shape (resamples, ...), and that mean.
    """

    power: int
    read: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]

    def terms(self, X: np.ndarray) -> np.ndarray:
        """What is summed up of rows, of shape (rows, terms)."""
        parts = [np.ones((len(X), 1)), X]
        if self.power == 2:
            parts.append(X**2)
        elif self.power == 3:
            i, j = np.triu_indices(X.shape[1])
            parts.append(X[:, i] * X[:, j])
        return np.hstack(parts)

    def result(self, sums: np.ndarray, centre: np.ndarray) -> np.ndarray:
        """The statistic of each resample, from its sums."""
        p = len(centre)
        rest = sums[:, 1 + p :]
        if self.power == 3:
            i, j = np.triu_indices(p)
            square = np.empty((len(sums), p, p))
            square[:, i, j] = square[:, j, i] = rest
            rest = square
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.read(sums[:, :1], sums[:, 1 : 1 + p], rest, centre)


def _variance(n: np.ndarray, total: np.ndarray, squares: np.ndarray, _: np.ndarray) -> np.ndarray:
    return np.where(n > 1, np.maximum(squares - total**2 / n, 0) / (n - 1), np.nan)


def _covariance(n: np.ndarray, total: np.ndarray, products: np.ndarray, _: np.ndarray) -> np.ndarray:
    n = n[:, :, None]
    return (products - total[:, :, None] * total[:, None, :] / n) / (n - 1)


def _correlation(n: np.ndarray, total: np.ndarray, products: np.ndarray, _: np.ndarray) -> np.ndarray:
    joint = _covariance(n, total, products, _)
    spread = np.sqrt(np.diagonal(joint, axis1=1, axis2=2))
    return np.clip(joint / (spread[:, :, None] * spread[:, None, :]), -1, 1)


_SUMS = {
    "mean": _Sums(1, lambda n, total, _, centre: centre + total / n),
    "sum": _Sums(1, lambda n, total, _, centre: total + n * centre),
    "var": _Sums(2, _variance),
    "std": _Sums(2, lambda *sums: np.sqrt(_variance(*sums))),
    "cov": _Sums(3, _covariance),
    "corr": _Sums(3, _correlation),
}


@dataclass(frozen=True, eq=False, repr=False)
class BootstrapResult(Result):
    """What a statistic is, and how far it may be off; all fields but the first have its shape.

    Attributes
    ----------
    statistic : of the rows themselves.
    low, high : the ends of the confidence interval.
    standard_error : the standard deviation of the resamples' statistics.
    bootstrap_distribution : those, of shape (resamples, ...).
    """

    statistic: Any
    low: Any
    high: Any
    standard_error: Any
    bootstrap_distribution: np.ndarray

    @property
    def confidence_interval(self) -> tuple[Any, Any]:
        """Its ends."""
        return self.low, self.high

    def to_arrow(self) -> pa.Table:
        """A row for each number of the statistic."""
        fields = ("statistic", "low", "high", "standard_error")
        values = {name: np.ravel(np.asarray(getattr(self, name))) for name in fields}
        count = len(values["statistic"])
        names = list(self.columns) if count == len(self.columns) else [str(j) for j in range(count)]
        return pa.table({"column": names, **values})


def bootstrap(
    data: Any,
    statistic: str | Statistic = "mean",
    columns: Columns = None,
    *,
    key: str | Sequence[str] | None = None,
    n_resamples: int = 999,
    confidence_level: float = 0.95,
    method: str = "percentile",
    random_state: int = 0,
) -> BootstrapResult:
    """How far a statistic may be off, by resampling: three passes, whatever the number of resamples.

    Parameters
    ----------
    data : dataset, Spark DataFrame, table, or array of shape (rows, columns) or (rows,).
    statistic : 'mean', 'sum', 'var', 'std', 'cov' or 'corr'; or two functions: the first makes a state, or an
        array that is added up, of a matrix and the weights of its rows; the second makes a number or an array
        of all rows' state.
    columns : names, or a selector; by default all that hold numbers. Rows that lack one are left out.
    key : columns whose values say which rows are drawn together, such as those of a customer. By
        default each row is drawn by itself.
    n_resamples : how many.
    confidence_level : the share of intervals that hold the true value.
    method : 'percentile', or 'basic', which mirrors it.
    random_state : another gives other resamples.

    Raises
    ------
    DataError
        When there are no rows, or more different ones than are counted.

    Notes
    -----
    Unlike SciPy's `bootstrap`: the size of a resample varies about the number of rows, which makes no
    difference but in small data or sums; the same rows give the same resamples on any engine.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> x = np.random.default_rng(0).normal(size=1_000)
    >>> result = og.stats.bootstrap(x, "mean")
    >>> round(float(result.standard_error), 3), result.low < 0 < result.high
    (0.031, True)
    """
    pair = isinstance(statistic, tuple) and len(statistic) == 2 and all(map(callable, statistic))
    if not pair and statistic not in _SUMS:
        raise ParameterError(
            f"bootstrap(statistic={statistic!r}): give {', '.join(map(repr, _SUMS))}, or two functions."
        )
    Integer(low=2).check("bootstrap", "n_resamples", n_resamples)
    Integer(low=0).check("bootstrap", "random_state", random_state)
    Share(above=0, below=1).check("bootstrap", "confidence_level", confidence_level)
    OneOf("percentile", "basic").check("bootstrap", "method", method)
    rows = open_rows(data, columns, by=key)
    learn = partial(_learn, rows=rows, statistic=statistic, seeds=range(n_resamples), salt=random_state)
    values = rows.learn(learn, keep=True)
    whole, resampled = values[0], values[1:]
    tail = (1 - confidence_level) / 2
    low, high = np.nanquantile(resampled, [tail, 1 - tail], axis=0)
    if method == "basic":
        low, high = 2 * whole - high, 2 * whole - low
    with np.errstate(over="ignore"):
        error = np.nanstd(resampled, axis=0, ddof=1)
    if rows.single and whole.shape == (1,):
        whole, low, high, error, resampled = (
            *(part[0].item() for part in (whole, low, high, error)),
            resampled[:, 0],
        )
    return BootstrapResult(rows.labels, whole, low, high, error, resampled)


def _learn(shard: Shard, rows: Rows, statistic: str | Statistic, seeds: range, salt: int) -> np.ndarray:
    """The statistic of all rows, and behind it those of the resamples."""
    counted, moments = _equal_rows(shard, rows)
    draw = partial(_weights, equal=None if rows.by else counted, seeds=seeds, salt=salt)
    if isinstance(statistic, str):
        sums, centre = _SUMS[statistic], moments.mean
        power = sums.power > 1
        check_squares(moments.m2 if power else moments.mean, rows.labels, small=power)
        return sums.result(
            shard.reduce(partial(_summed, rows=rows, draw=draw, sums=sums, centre=centre), encoded=True),
            centre,
        )
    make, read = statistic
    states = shard.reduce(partial(_made, rows=rows, draw=draw, make=make), encoded=True)
    return np.array([np.asarray(read(state), dtype=np.float64) for state in states])


Draw = Callable[[np.ndarray], Iterator[tuple[int, np.ndarray]]]
"""Gives the weights of rows with some hashes in resamples, and which is the first of those."""


def _summed(batch: Batch, rows: Rows, draw: Draw, sums: _Sums, centre: np.ndarray) -> np.ndarray | None:
    total: np.ndarray | None = None
    for X, hashes in _tiles(batch, rows):
        terms = sums.terms(X - centre)
        drawn = [weights @ terms for _, weights in draw(hashes)]
        total = merge(total, np.vstack([terms.sum(axis=0), *drawn]))
    return total


def _made(batch: Batch, rows: Rows, draw: Draw, make: Callable[..., Any]) -> tuple[Any, ...] | None:
    total: tuple[Any, ...] | None = None
    for X, hashes in _tiles(batch, rows):
        states = [make(X, np.ones(len(X)))]
        for _, weights in draw(hashes):
            states += [make(X[weight > 0], weight[weight > 0]) for weight in weights]
        total = merge(total, tuple(states))
    return total


def _tiles(batch: Batch, rows: Rows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The complete rows of a batch, some at a time, and their hashes."""
    X, hashes = _hashed(batch, rows)
    for start in range(0, len(X), _TILE_ROWS):
        part = slice(start, start + _TILE_ROWS)
        yield X[part], hashes[part]


def _hashed(batch: Batch, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """The rows that have all columns, and their hashes."""
    X = dense(rows.finite(batch))
    hashes = key_hash(batch, rows.by) if rows.by else row_hash(batch, rows.names)
    whole = ~np.isnan(X).any(axis=1)
    return (X, hashes) if whole.all() else (X[whole], hashes[whole])


def _equal_rows(shard: Shard, rows: Rows) -> tuple[NumberCounts, Moments]:
    """How often each different hash occurs, and the moments of the complete rows."""
    total = shard.reduce(lambda batch: np.array([float(batch.num_rows)]), encoded=True)
    if total[0] > _MOST:
        different = shard.reduce(
            lambda b: DistinctCount.of(mix(_hashed(b, rows)[1])), encoded=True
        ).estimate()
        if different > _MOST:
            raise DataError(
                f"About {different:,.0f} different rows are more than {_MOST:,} that are counted. Name "
                "a key= with fewer values, whose rows are then drawn together."
            )

    def fold(batch: Batch) -> tuple[NumberCounts, Moments]:
        X, hashes = _hashed(batch, rows)
        return NumberCounts.of(pa.array(hashes)), Moments.of(X)

    counted, moments = shard.reduce(fold, encoded=True)
    if not len(counted.numbers):
        raise DataError("No row has all columns, so there is nothing to draw from.")
    return counted.compact(), moments


def _weights(
    hashes: np.ndarray, equal: NumberCounts | None, seeds: range, salt: int
) -> Iterator[tuple[int, np.ndarray]]:
    """The weights of rows in resamples: which is the first of some, and theirs, of shape (resamples, rows).

    Four numbers of 16 bits are drawn from each hash of a row.
    """
    multiples = None if equal is None else equal.weights[np.searchsorted(equal.numbers, hashes)]
    if multiples is not None and (multiples == 1).all():
        multiples = None
    salted = hashes ^ mix(np.array([salt], dtype=np.uint64))
    for first in range(0, len(seeds), _TOGETHER):
        count = min(_TOGETHER, len(seeds) - first)
        steps = mix(np.arange(first, first + count, 4, dtype=np.uint64) + np.uint64(1))
        drawn = mix((salted[None] ^ steps[:, None]).ravel()).reshape(len(steps), len(hashes), 1)
        levels = np.moveaxis(drawn.view(np.uint16), 2, 1).reshape(-1, len(hashes))[:count]
        yield first, _drawn(levels, multiples)


def _drawn(levels: np.ndarray, multiples: np.ndarray | None) -> np.ndarray:
    """Poisson numbers of these levels; of equal rows the share of each in that of all."""
    if multiples is None:
        return _table(1)[levels]
    weights = np.empty(levels.shape)
    for count in np.unique(multiples[multiples <= _FEW]).tolist():
        at = multiples == count
        weights[:, at] = _table(int(count))[levels[:, at]] / count
    at = multiples > _FEW
    many, z = multiples[at], _normal()[levels[:, at]]
    near = np.rint(many + np.sqrt(many) * z + (z**2 - 1) / 6)  # as Cornish and Fisher expand the quantiles
    weights[:, at] = np.maximum(near, 0) / many
    return weights


@cache
def _table(mean: int) -> np.ndarray:
    """The Poisson number of each level."""
    table: np.ndarray = poisson.ppf((np.arange(_LEVELS) + 0.5) / _LEVELS, mean)
    return table


@cache
def _normal() -> np.ndarray:
    """The normal number of each level."""
    return np.asarray(special.ndtri((np.arange(_LEVELS) + 0.5) / _LEVELS))
