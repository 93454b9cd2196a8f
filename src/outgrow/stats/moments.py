"""Counts, means and squares about the mean, merged as Chan, Golub and LeVeque (1979) do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.errors import DataError
from outgrow.stats.state import State

_SMALL = 1e-3
_quiet = np.errstate(over="ignore", invalid="ignore")
"""Squares that overflow are infinite in the state; `check_squares` refuses them where it is read."""


_LEAST = np.finfo(np.float64).tiny / np.finfo(np.float64).eps
"""Sums of squares below this have lost digits, or all of them."""
_CLOSE = 1e-140
"""Values less far apart may have squares of their distances that are below that."""
_MARK = np.finfo(np.float64).smallest_subnormal
"""The least sum of squares of a column that varies, where its squares are none in float64."""
_ROUNDING = 16 * np.finfo(np.float64).eps
"""Of a mean: how far rounding may put the means of equal values apart."""


def check_squares(squares: np.ndarray, names: Sequence[str] | None = None, *, small: bool = True) -> None:
    """Refuse columns whose squares are too large for float64, or too small.

    Parameters
    ----------
    squares : ndarray of shape (columns,), the sums of squares of each: 0 where a column does not vary.
    names : what the columns are called, if they have names of their own.
    small : whether to look for the second.

    Raises
    ------
    DataError
        When one of them is not finite, or so small that digits are lost.
    """
    finite = np.isfinite(squares)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise DataError(
            f"The squares of {len(bad)} column(s) overflow float64: {_called(bad, squares, names)}. Values "
            "past about 1e150 cannot be squared and summed; divide these columns, or leave them out."
        )
    if small:
        check_small_squares(squares, squares > 0, names)


def check_small_squares(squares: np.ndarray, varies: np.ndarray, names: Sequence[str] | None = None) -> None:
    """Refuse columns that vary by so little that float64 does not hold the squares.

    Parameters
    ----------
    squares : ndarray of shape (columns,), the sums of squares about the mean of each.
    varies : bool of the same shape, whether there are different values.
    names : what the columns are called, if they have names of their own.

    Raises
    ------
    DataError
        When a column varies and its squares are none, or have lost digits.
    """
    bad = np.flatnonzero(varies & (squares < _LEAST))
    if len(bad):
        raise DataError(
            f"The squares of {len(bad)} column(s) are too small for float64: {_called(bad, squares, names)}. "
            "Values that differ by less than about 1e-145 cannot be squared; multiply these columns, or "
            "leave them out."
        )


def squares_about_zero(n: Any, mean: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Sums of squares about zero, from those about the mean: 0 of columns of zeros alone.

    Parameters
    ----------
    n : summed weight of the rows.
    mean, squares : ndarrays of shape (columns,).
    """
    with np.errstate(over="ignore"):
        return np.maximum(squares + n * mean**2, np.where(mean != 0, _MARK, 0.0))


def _marked(squares: np.ndarray, X: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Sums of squares of columns, where they are none: 0 of equal values, `_MARK` of others.

    Parameters
    ----------
    squares : ndarray of shape (columns,).
    X, weight : whose squares they are; rows that weigh nothing tell nothing.
    """
    near = np.flatnonzero(squares < _LEAST)
    if not len(near):
        return squares
    rows = X if weight is None or (weight > 0).all() else X[weight > 0]
    values = np.asarray(rows[:, near], dtype=np.float64)
    apart = np.fmax.reduce(values, initial=-np.inf) - np.fmin.reduce(values, initial=np.inf)
    marked = squares.copy()
    marked[near] = np.where((apart > 0) & (apart < _CLOSE), np.maximum(squares[near], _MARK), squares[near])
    marked[near[apart == 0]] = 0.0
    return marked


def _between(step: np.ndarray, mean: np.ndarray, factor: Any) -> np.ndarray:
    """What two parts of columns, whose means are `step` apart, add to the sums of squares of each."""
    squares = np.asarray(step**2 * factor)
    near = (squares < _LEAST) & (step != 0) & (np.asarray(factor) > 0)
    if near.any():
        apart = np.abs(step) > _ROUNDING * np.abs(mean)
        squares = np.where(near, np.where(apart, np.maximum(squares, _MARK), 0.0), squares)
    return squares


def _called(bad: np.ndarray, squares: np.ndarray, names: Sequence[str] | None) -> list[Any]:
    """The first of some columns, by name or by place."""
    if names is None or len(names) != len(squares):
        return list(bad[:5].tolist())
    return [names[j] for j in bad[:5]]


_SHORT, _CHUNK = 8_192, 1 << 15
"""Rows up to which many columns are worked on at once, and so many numbers, which stay in the caches."""


@dataclass(frozen=True, eq=False)
class Moments(State):
    """For each column: weight of its values (`n`), their mean, squares about it (`m2`); NaN is no value."""

    n: np.ndarray
    mean: np.ndarray
    m2: np.ndarray

    @classmethod
    @_quiet
    def of(cls, X: Any, weight: np.ndarray | None = None) -> Moments:
        """The moments of the columns of a matrix.

        Parameters
        ----------
        X : shape (rows, columns), dense or CSR; NaN is no value, and what CSR does not store is 0.
        weight : shape (rows,); None where each row counts once.
        """
        if _is_sparse(X):
            return cls._of_sparse(X, weight)
        if X.shape[0] <= _SHORT:
            n, mean, squares = _short_moments(X, weight)
            if not np.isnan(mean).any():
                return cls(n, mean, _marked(squares, X, weight))
        columns = [_column_moments(X[:, j], weight) for j in range(X.shape[1])]
        table = np.array(columns, dtype=np.float64).reshape(-1, 3)
        n, mean, squares = table.T.copy()
        return cls(n, mean, _marked(squares, X, weight))

    @classmethod
    def _of_sparse(cls, X: Any, weight: np.ndarray | None) -> Moments:
        if weight is None and X.format == "csr" and X.has_canonical_format and not np.isnan(X.data.sum()):
            return cls._of_stored(X)
        rows = np.ones(X.shape[0]) if weight is None else weight
        csc = X.tocsc()
        csc.sum_duplicates()
        w = rows[csc.indices]
        column = np.repeat(np.arange(X.shape[1]), np.diff(csc.indptr))
        missing = np.isnan(csc.data)
        width = X.shape[1]
        zeros = _weight_of_zeros(csc, column, rows)
        values, w = np.where(missing, 0.0, csc.data), np.where(missing, 0.0, w)
        n = np.bincount(column, w, width) + zeros
        mean = np.bincount(column, w * values, width) / np.where(n > 0, n, 1)
        apart = values - mean[column]
        rest = np.bincount(column, w * apart, width) - zeros * mean  # what rounding left of the mean
        m2 = np.bincount(column, w * apart**2, width) + zeros * mean**2
        step = rest / np.where(n > 0, n, 1)
        return cls(n, mean + step, _marked_stored(np.maximum(m2 - rest * step, 0.0), csc, weight))

    @classmethod
    def _of_stored(cls, csr: Any) -> Moments:
        """The same, to the last bit, of rows that count once and have all of their values."""
        rows, width = csr.shape
        column = csr.indices.astype(np.intp)
        zeros = float(rows) - np.bincount(column, minlength=width)
        n = np.full(width, float(rows))
        mean = np.bincount(column, csr.data, width) / max(rows, 1)
        apart = csr.data - mean[column]
        rest = np.bincount(column, apart, width) - zeros * mean
        m2 = np.bincount(column, apart**2, width) + zeros * mean**2
        step = rest / max(rows, 1)
        return cls(n, mean + step, _marked_stored(np.maximum(m2 - rest * step, 0.0), csr, None))

    @_quiet
    def merge(self, other: Moments) -> Moments:
        n = self.n + other.n
        share = other.n / np.where(n > 0, n, 1)
        step = other.mean - self.mean
        between = _between(step, self.mean, self.n * share)
        return Moments(n, self.mean + step * share, self.m2 + other.m2 + between)

    def variance(self, ddof: float = 0.0) -> np.ndarray:
        """Variance of each column, NaN where it has no more than `ddof` values."""
        degrees = self.n - ddof
        return np.where(degrees > 0, self.m2 / np.where(degrees > 0, degrees, 1), np.nan)

    def varies(self, rows: Any) -> np.ndarray:
        """Which columns vary more than their sums are rounded, as scikit-learn tells.

        Parameters
        ----------
        rows : how many rows there are, of all columns or of each.
        """
        variance, rounding = self.variance(), rows * np.finfo(np.float64).eps
        with np.errstate(over="ignore"):
            return np.asarray(variance > rounding * variance + (rounding * self.mean) ** 2)


@dataclass(frozen=True, eq=False)
class CoMoments(State):
    """Of rows without missing values: weight `n`, mean of shape (p,), products about it of shape (p, p)."""

    n: float
    mean: np.ndarray
    products: np.ndarray

    @classmethod
    @_quiet
    def of(
        cls,
        X: Any,
        weight: np.ndarray | None = None,
        tile: int = 4096,
        *,
        beside: np.ndarray | None = None,
    ) -> CoMoments | None:
        """The joint moments of the columns of a matrix.

        Parameters
        ----------
        X : shape (rows, p), dense or CSR, without NaN.
        weight : shape (rows,); None where each row counts once.
        tile : rows at once, so that the centred copy stays in the cache.
        beside : shape (rows, q), dense, more columns, which follow those of X; None for no more.

        Returns
        -------
        None where there are no rows.
        """
        total: CoMoments | None = None
        for start in range(0, X.shape[0], tile):
            rows = slice(start, start + tile)
            part = X[rows]
            if _is_sparse(part):
                part = part.toarray(order="F")
            parts = [part] if beside is None else [part, beside[rows]]
            state = cls._of_tile(parts, None if weight is None else weight[rows])
            total = state if total is None else total.merge(state)
        return total

    @classmethod
    def _of_tile(cls, parts: Sequence[np.ndarray], weight: np.ndarray | None) -> CoMoments:
        rows, width = parts[0].shape[0], sum(part.shape[1] for part in parts)
        n = float(rows if weight is None else weight.sum())
        mean = np.zeros(width)
        if n == 0.0:
            return cls(0.0, mean, np.zeros((width, width)))
        by_rows = parts[0].flags.c_contiguous
        centred = np.empty((rows, width), order="C" if by_rows else "F")
        ones = np.ones(rows) if weight is None and by_rows else weight
        start = 0
        for part in parts:
            columns = slice(start, start := start + part.shape[1])
            total = np.add.reduce(part, axis=0, dtype=np.float64) if ones is None else ones @ part
            mean[columns] = total / n
            np.subtract(part, mean[columns], out=centred[:, columns])
        if weight is not None:
            centred *= np.sqrt(weight)[:, None]
        products = centred.T @ centred
        start = 0
        for part in parts:
            diagonal = np.arange(start, start := start + part.shape[1])
            products[diagonal, diagonal] = _marked(products[diagonal, diagonal], part, weight)
        return cls(n, mean, products)

    @_quiet
    def merge(self, other: CoMoments) -> CoMoments:
        n = self.n + other.n
        if n == 0.0:
            return self
        step = other.mean - self.mean
        factor = self.n * other.n / n
        products = np.outer(step, step)
        products *= factor
        products[np.diag_indices(len(step))] = _between(step, self.mean, factor)
        products += self.products
        products += other.products
        return CoMoments(n, self.mean + step * (other.n / n), products)


@dataclass(frozen=True, eq=False)
class PairMoments(State):
    """`CoMoments` where values are missing: each pair of columns over the rows that have both.

    All fields have shape (p, p): entry i, j of `mean` and `m2` is that of column i where column j is present;
    `n` are weights.
    """

    n: np.ndarray
    mean: np.ndarray
    m2: np.ndarray
    products: np.ndarray

    @classmethod
    @_quiet
    def of(cls, X: np.ndarray, weight: np.ndarray | None = None) -> PairMoments:
        """The pairwise moments of the columns of a matrix.

        Parameters
        ----------
        X : shape (rows, p), dense; NaN is missing.
        weight : shape (rows,); None where each row counts once.
        """
        present = (~np.isnan(X)).astype(np.float64)
        weighed = present if weight is None else present * weight[:, None]
        n = present.T @ weighed
        total = np.diag(n)
        filled = np.where(present > 0, X, 0.0)
        centre = (filled * weighed).sum(axis=0) / np.where(total > 0, total, 1)
        filled = (filled - centre) * present
        safe = np.where(n > 0, n, 1)
        sums = filled.T @ weighed
        m2 = (filled**2).T @ weighed - sums**2 / safe
        products = filled.T @ (filled if weight is None else filled * weight[:, None]) - sums * sums.T / safe
        return cls(n, centre[:, None] + sums / safe, np.maximum(m2, 0), products)

    @_quiet
    def merge(self, other: PairMoments) -> PairMoments:
        n = self.n + other.n
        safe = np.where(n > 0, n, 1)
        step = other.mean - self.mean
        cross = self.n * other.n / safe
        return PairMoments(
            n,
            self.mean + step * (other.n / safe),
            self.m2 + other.m2 + step**2 * cross,
            self.products + other.products + step * step.T * cross,
        )

    @_quiet
    def correlation(self) -> np.ndarray:
        """Pearson's correlation of each pair, NaN where a column does not vary."""
        scale = np.sqrt(self.m2) * np.sqrt(self.m2.T)  # the product itself may overflow
        ratio = self.products / np.where(scale > 0, scale, np.nan)
        return np.clip(ratio, -1, 1)


@dataclass(frozen=True, eq=False)
class ShapeMoments(State):
    """For each column: count, mean, and second to fourth powers about it; NaN is no value (Pébay 2008)."""

    n: np.ndarray
    mean: np.ndarray
    m2: np.ndarray
    m3: np.ndarray
    m4: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    @_quiet
    def of(cls, X: np.ndarray) -> ShapeMoments:
        columns = [_column_shape(X[:, j]) for j in range(X.shape[1])]
        return cls(*np.array(columns, dtype=np.float64).reshape(-1, 7).T.copy())

    @_quiet
    def merge(self, other: ShapeMoments) -> ShapeMoments:
        a, b = self, other
        n = a.n + b.n
        safe = np.where(n > 0, n, 1)
        d = b.mean - a.mean
        m2 = a.m2 + b.m2 + d**2 * a.n * b.n / safe
        m3 = a.m3 + b.m3 + d**3 * a.n * b.n * (a.n - b.n) / safe**2 + 3 * d * (a.n * b.m2 - b.n * a.m2) / safe
        m4 = (
            a.m4
            + b.m4
            + d**4 * a.n * b.n * (a.n**2 - a.n * b.n + b.n**2) / safe**3
            + 6 * d**2 * (a.n**2 * b.m2 + b.n**2 * a.m2) / safe**2
            + 4 * d * (a.n * b.m3 - b.n * a.m3) / safe
        )
        mean = a.mean + d * b.n / safe
        return ShapeMoments(n, mean, m2, m3, m4, np.minimum(a.low, b.low), np.maximum(a.high, b.high))

    def std(self, ddof: int = 1) -> np.ndarray:
        return np.sqrt(np.where(self.n > ddof, self.m2 / np.maximum(self.n - ddof, 1), np.nan))

    @_quiet
    def skewness(self) -> np.ndarray:
        """Fisher's moment coefficient, as `scipy.stats.skew`."""
        scale = np.where(self.m2 > 0, self.m2, np.nan)
        return np.sqrt(self.n) * self.m3 / scale**1.5

    @_quiet
    def kurtosis(self) -> np.ndarray:
        """Excess kurtosis, as `scipy.stats.kurtosis`."""
        scale = np.where(self.m2 > 0, self.m2, np.nan)
        return self.n * self.m4 / scale**2 - 3


def _is_sparse(X: Any) -> bool:
    return bool(sp.issparse(X))


def _marked_stored(squares: np.ndarray, matrix: Any, weight: np.ndarray | None) -> np.ndarray:
    """As `_marked`, of a CSR or CSC array; columns are looked at where numbers that small are stored."""
    values = np.abs(matrix.data)
    if not ((values > 0) & (values < _CLOSE)).any():
        return squares
    stored = np.asarray(abs(matrix).max(axis=0).todense()).ravel()
    near = np.flatnonzero((squares < _LEAST) & (stored > 0))
    marked = squares.copy()
    marked[near] = _marked(squares[near], matrix[:, near].toarray(), weight)
    return marked


def _weight_of_zeros(csc: Any, column: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """What the rows weigh that are not stored in each column.

    What is small beside the weight of all rows is summed by itself: a difference would be that of roundings.
    """
    stored = np.diff(csc.indptr)
    zeros = rows.sum() - np.bincount(column, rows[csc.indices], len(stored))
    zeros[stored == len(rows)] = 0.0
    small = (zeros < _SMALL * rows.sum()) & (stored < len(rows))
    for j in np.flatnonzero(small):
        outside = np.ones(len(rows), dtype=bool)
        outside[csc.indices[csc.indptr[j] : csc.indptr[j + 1]]] = False
        zeros[j] = rows[outside].sum()
    return zeros


def _short_moments(X: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weight, mean and squares about it of many columns at once; NaN where a value is missing."""
    n = float(X.shape[0] if weight is None else weight.sum())
    if n == 0.0:
        return tuple(np.zeros((3, X.shape[1])))  # type: ignore[return-value]
    mean, squares = np.empty((2, X.shape[1]))
    step = max(1, _CHUNK // X.shape[0])
    for start in range(0, X.shape[1], step):
        some = slice(start, start + step)
        columns = X.T[some]
        total = columns.sum(axis=1, dtype=np.float64) if weight is None else columns @ weight
        mean[some] = total / n
        apart = columns - mean[some, None]
        squares[some] = (apart * (apart if weight is None else apart * weight)).sum(axis=1)
    return np.full(X.shape[1], n), mean, squares


def _column_moments(x: np.ndarray, weight: np.ndarray | None) -> tuple[float, float, float]:
    total = float(x.sum(dtype=np.float64) if weight is None else weight @ x)
    if np.isnan(total):
        present = ~np.isnan(x)
        x = x[present]
        weight = None if weight is None else weight[present]
        total = float(x.sum(dtype=np.float64) if weight is None else weight @ x)
    n = float(len(x) if weight is None else weight.sum())
    if n == 0.0:
        return 0.0, 0.0, 0.0
    mean = total / n
    apart = x - mean
    return n, mean, float(apart @ apart if weight is None else (weight * apart) @ apart)


def _column_shape(x: np.ndarray) -> tuple[float, ...]:
    present = ~np.isnan(x)
    if not present.all():
        x = x[present]
    if len(x) == 0:
        return 0.0, 0.0, 0.0, 0.0, 0.0, np.inf, -np.inf
    rough = float(x.mean(dtype=np.float64))
    apart = x - rough
    rest = float(apart.mean())  # what rounding left of the mean, which far from 0 is much of a third power
    apart -= rest
    square = apart * apart
    return (
        float(len(x)),
        rough + rest,
        float(square.sum()),
        float(square @ apart),
        float(square @ square),
        float(x.min()),
        float(x.max()),
    )
