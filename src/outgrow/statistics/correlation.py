"""How columns vary together: covariances, and the correlations of Pearson, Spearman and Kendall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import special

from outgrow.data.batch import Batch
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import Number, OneOf
from outgrow.statistics.rank_correlation import kendall, spearman
from outgrow.statistics.results import Result
from outgrow.statistics.rows import Rows, dense, open_rows, tiles
from outgrow.stats.extremes import Extremes
from outgrow.stats.moments import CoMoments, PairMoments, check_small_squares, check_squares
from outgrow.stats.state import merge

_WIDEST = 16_384
_LOST = 1e6
"""How much more a column may vary over all its rows than over those of a pair before digits are lost."""
_METHODS = OneOf("pearson", "spearman", "kendall")


@dataclass(frozen=True, eq=False, repr=False)
class _Square(Result):
    """A number for each pair of columns."""

    @property
    def _matrix(self) -> np.ndarray:
        raise NotImplementedError

    def to_arrow(self) -> pa.Table:
        """The matrix, a row and a column for each column."""
        return pa.table({"": list(self.columns), **dict(zip(self.columns, self._matrix.T, strict=True))})


@dataclass(frozen=True, eq=False, repr=False)
class Covariance(_Square):
    """Covariances.

    Attributes
    ----------
    matrix : ndarray of shape (columns, columns).
    count : the weight of the rows that have both columns, of the same shape.
    """

    matrix: np.ndarray
    count: np.ndarray

    @property
    def _matrix(self) -> np.ndarray:
        return self.matrix


@dataclass(frozen=True, eq=False, repr=False)
class Correlation(_Square):
    """Correlations.

    Attributes
    ----------
    statistic : ndarray of shape (columns, columns); NaN for a column that does not vary.
    pvalue : how likely one so far from 0 is where the two have nothing to do with each other; NaN where rows
        are weighted.
    count : the rows that have both columns.
    method : 'pearson', 'spearman' or 'kendall'.
    """

    statistic: np.ndarray
    pvalue: np.ndarray
    count: np.ndarray
    method: str

    @property
    def _matrix(self) -> np.ndarray:
        return self.statistic


def cov(
    data: Any,
    columns: Columns = None,
    *,
    fweights: Any = None,
    aweights: Any = None,
    ddof: float = 1,
) -> Covariance:
    """The covariances of columns: one pass, and another one where values are missing.

    Parameters
    ----------
    data : dataset, Spark DataFrame, table, or array of shape (rows, columns).
    columns : names, or a selector; by default all that hold numbers or vectors of them.
    fweights, aweights : how often each row counts, in whole numbers, or how important it is, as `numpy.cov`
        takes them: a column's name, or an array of shape (rows,).
    ddof : degrees of freedom that are lost.

    Raises
    ------
    ParameterError
        When both kinds of weights are given.
    DataError
        When a value is infinite, or frequencies are not whole.

    Notes
    -----
    Each pair of columns is compared over the rows that have both, as pandas does.

    Unlike Spark MLlib's `computeCovariance()`: missing values are left out, and the result has names.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.stats.cov(np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 9.0]])).matrix
    array([[ 1. ,  3.5],
           [ 3.5, 13. ]])
    """
    if fweights is not None and aweights is not None:
        raise ParameterError("fweights and aweights: give one of them.")
    Number().check("cov", "ddof", ddof)
    weights = fweights if aweights is None else aweights
    rows = replace(_opened(data, columns, weights), frequencies=aweights is None)
    pairs, squares = _pair_moments(rows)
    with np.errstate(invalid="ignore", divide="ignore"):
        lost = ddof if aweights is None else ddof * squares / pairs.n
        degrees = pairs.n - lost
        matrix = np.where(degrees > 0, pairs.products / np.where(degrees > 0, degrees, 1), np.nan)
    return Covariance(rows.labels, matrix, pairs.n)


def corr(data: Any, columns: Columns = None, method: str = "pearson", *, weights: Any = None) -> Correlation:
    """The correlations of columns.

    Parameters
    ----------
    data : dataset, Spark DataFrame, table, or array of shape (rows, columns).
    columns : names, or a selector; by default all that hold numbers or vectors of them.
    method : 'pearson' takes one pass, or two where values are missing. 'spearman', Pearson's correlation of
        ranks, takes three: ties have the mean of their ranks, and the result is exact. 'kendall' is tau-b;
        rows are brought together for it, up to about a million.
    weights : of the rows, for 'pearson': a column's name, or an array of shape (rows,).

    Raises
    ------
    ParameterError
        When weights are given for ranks.
    DataError
        When a value is infinite, which only ranks can take; or when there are too many rows for the method.

    Notes
    -----
    Each pair of columns is compared over the rows that have both, and ranked among those, as
    `scipy.stats.spearmanr(..., nan_policy="omit")` and pandas do.

    Unlike Spark MLlib's `Correlation.corr(dataset, column, method)`: columns need not be a vector, missing
    values are left out, and p-values are there.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 9.0], [4.0, 7.0]])
    >>> og.stats.corr(X, method="spearman").statistic
    array([[1. , 0.8],
           [0.8, 1. ]])
    """
    _METHODS.check("corr", "method", method)
    if weights is not None and method != "pearson":
        raise ParameterError(f"weights: method={method!r} has none. Take method='pearson'.")
    rows = _opened(data, columns, weights)
    if method == "pearson":
        return _pearson(rows)
    if method == "spearman":
        r, count = rows.learn(partial(spearman, rows=rows), keep=True)
        return Correlation(rows.labels, r, _pvalues(r, count), count, method)
    tau, pvalue, count = rows.learn(partial(kendall, rows=rows), keep=True)
    return Correlation(rows.labels, tau, pvalue, count, method)


def _opened(data: Any, columns: Columns, weights: Any) -> Rows:
    rows = open_rows(data, columns, weights=weights)
    width = len(rows.labels)
    if width > _WIDEST:
        raise DataError(
            f"{width:,} columns have {width**2:,} pairs; at most {_WIDEST:,} columns are compared. Choose."
        )
    return rows


def _pearson(rows: Rows) -> Correlation:
    pairs, _ = _pair_moments(rows)
    r = pairs.correlation()
    weighted = rows.weight is not None
    pvalue = np.full(r.shape, np.nan) if weighted else _pvalues(r, pairs.n)
    return Correlation(rows.labels, r, pvalue, pairs.n, "pearson")


def _pvalues(r: np.ndarray, count: np.ndarray) -> np.ndarray:
    """How likely correlations so far from 0 are among independent normal columns: Student's t."""
    freedom = count - 2
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(r) * np.sqrt(freedom / ((1 - r) * (1 + r)))
        p = 2 * special.stdtr(freedom, -t)
    p[(freedom == 0) & ~np.isnan(r)] = 1.0  # two points always lie on a line
    return np.where(freedom >= 0, p, np.nan)


def _pair_moments(rows: Rows) -> tuple[PairMoments, np.ndarray]:
    """The moments of all pairs of columns, and the sums of their squared weights."""

    def learn(shard: Shard) -> Any:
        joint, ends, squares = shard.reduce(partial(_joint, rows=rows), encoded=True)
        check_small_squares(np.diag(joint.products), ends.low < ends.high, rows.labels)
        if not np.isnan(joint.mean).any():
            _drop_constants(joint, ends)
            return _spread(joint), np.full(joint.products.shape, squares[0])
        pairs, squares = shard.reduce(partial(_pairs, rows=rows), encoded=True)
        check_small_squares(np.diag(pairs.products), ends.low < ends.high, rows.labels)
        doubtful = _doubtful(pairs)
        if doubtful:
            exact = shard.reduce(partial(_apart, rows=rows, problems=doubtful), encoded=True)
            for problem, (joint, ends) in zip(doubtful, exact, strict=True):
                _put(pairs, problem, joint, ends)
        return pairs, squares

    pairs, squares = rows.learn(learn, keep=True)
    check_squares(np.diag(pairs.products), rows.labels)
    return pairs, squares


def _joint(batch: Batch, rows: Rows) -> Any:
    X, weight = rows.finite(batch), rows.weights(batch)
    squares = batch.num_rows if weight is None else weight @ weight
    return CoMoments.of(X, weight), Extremes.of(X), np.array([float(squares)])


def _drop_constants(joint: CoMoments, ends: Extremes) -> None:
    """Make the products of columns of one value 0, whatever rounding made of them."""
    constant = ends.low >= ends.high
    joint.products[constant] = joint.products[:, constant] = 0.0


def _spread(joint: CoMoments) -> PairMoments:
    """Joint moments as those of each pair."""
    p = len(joint.mean)
    m2 = np.diag(joint.products)
    n, mean = np.full((p, p), joint.n), np.repeat(joint.mean[:, None], p, axis=1)
    return PairMoments(n, mean, np.repeat(m2[:, None], p, axis=1), joint.products)


def _pairs(batch: Batch, rows: Rows) -> Any:
    X, weight, state = rows.finite(batch), rows.weights(batch), None
    for part, tile in tiles(X):
        w = None if weight is None else weight[part]
        present = (~np.isnan(tile)).astype(np.float64)
        squares = present.T @ (present if w is None else present * (w**2)[:, None])
        state = merge(state, (PairMoments.of(tile, w), squares))
    return state


def _doubtful(pairs: PairMoments) -> list[tuple[int, int]]:
    """The pairs whose rows lie so near each other, beside all rows of a column, that digits were lost."""
    little = pairs.m2 * _LOST < np.diag(pairs.m2)[:, None]
    return [(i, j) for i, j in np.argwhere(little | little.T).tolist() if i <= j]


def _apart(batch: Batch, rows: Rows, problems: Sequence[tuple[int, int]]) -> Any:
    """The moments of some pairs by themselves."""
    X, weight = dense(rows.finite(batch)), rows.weights(batch)
    states = []
    for problem in problems:
        both = X[:, problem]
        present = ~np.isnan(both).any(axis=1)
        both, w = both[present], None if weight is None else weight[present]
        states.append((CoMoments.of(both, w), Extremes.of(both)))
    return tuple(states)


def _put(pairs: PairMoments, problem: tuple[int, int], joint: CoMoments | None, ends: Extremes) -> None:
    """Replace the moments of a pair."""
    if joint is not None:
        _drop_constants(joint, ends)
        i, j = problem
        pairs.products[i, j] = pairs.products[j, i] = joint.products[0, 1]
        (pairs.m2[i, j], pairs.m2[j, i]) = np.diag(joint.products)
        (pairs.mean[i, j], pairs.mean[j, i]) = joint.mean
