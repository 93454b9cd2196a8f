"""Kernel density: how thickly rows lie at given points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.core.parameters import Number, OneOf
from outgrow.statistics.results import Result
from outgrow.statistics.rows import Rows, dense, open_rows
from outgrow.stats.moments import Moments

_TILE_VALUES = 1 << 17
_KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gaussian": lambda u: np.exp(-0.5 * u**2) / np.sqrt(2 * np.pi),
    "tophat": lambda u: 0.5 * (np.abs(u) < 1),
    "epanechnikov": lambda u: 0.75 * np.maximum(1 - u**2, 0),
    "exponential": lambda u: 0.5 * np.exp(-np.abs(u)),
    "linear": lambda u: np.maximum(1 - np.abs(u), 0),
    "cosine": lambda u: np.pi / 4 * np.where(np.abs(u) < 1, np.cos(np.pi / 2 * u), 0),
}
"""Kernels as scikit-learn calls them; each integrates to 1."""
_RULES: dict[str, Callable[[float], float]] = {
    "scott": lambda n: n ** (-1 / 5),
    "silverman": lambda n: (n * 3 / 4) ** (-1 / 5),
}


@dataclass(frozen=True, eq=False, repr=False)
class DensityResult(Result):
    """A density.

    Attributes
    ----------
    points, density : ndarrays of shape (points,).
    bandwidth : of the kernel.
    """

    points: np.ndarray
    density: np.ndarray
    bandwidth: float

    def to_arrow(self) -> pa.Table:
        """A row for each point."""
        return pa.table({self.columns[0]: self.points, "density": self.density})


def kernel_density(
    data: Any,
    points: Any,
    columns: str | None = None,
    *,
    bandwidth: float | str = 1.0,
    kernel: str = "gaussian",
    weights: Any = None,
) -> DensityResult:
    """The density of a column at given points, exactly: one pass, and one before it for a rule of bandwidth.

    Parameters
    ----------
    data : dataset, Spark DataFrame, table, or array of shape (rows,).
    points : numbers, of shape (points,).
    columns : the column; None where there is but one.
    bandwidth : of the kernel; or the rule 'scott' or 'silverman', as `scipy.stats.gaussian_kde` has them.
    kernel : 'gaussian', 'tophat', 'epanechnikov', 'exponential', 'linear' or 'cosine'.
    weights : of the rows: a column's name, or an array of shape (rows,).

    Raises
    ------
    DataError
        When the column has no values.

    Notes
    -----
    Unlike scikit-learn's `KernelDensity`: it looks at one column, and gives densities, not their logarithms.

    Unlike Spark MLlib's `KernelDensity`: rows may have weights, and the bandwidth may be found by a rule.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.stats.kernel_density(np.array([1.0, 2.0, 2.5]), [0.0, 2.0], bandwidth=0.5).density.round(4)
    array([0.0361, 0.4633])
    """
    OneOf(*_KERNELS).check("kernel_density", "kernel", kernel)
    (Number(above=0) | OneOf(*_RULES)).check("kernel_density", "bandwidth", bandwidth)
    at = np.asarray(points, dtype=np.float64)
    if at.ndim != 1 or not np.isfinite(at).all():
        raise ParameterError("points: give finite numbers, of shape (points,).")
    rows = open_rows(data, columns, weights=weights)
    if len(rows.labels) != 1:
        raise ParameterError(f"columns={columns!r}: name one of {list(rows.labels)}.")
    width, density = rows.learn(partial(_learn, rows=rows, points=at, bandwidth=bandwidth, kernel=kernel))
    return DensityResult(rows.labels, at, density, float(width[0]))


def _learn(shard: Shard, rows: Rows, points: np.ndarray, bandwidth: Any, kernel: str) -> Any:
    width = _bandwidth(shard, rows, bandwidth) if isinstance(bandwidth, str) else float(bandwidth)
    fold = partial(_fold, rows=rows, points=points, width=width, kernel=_KERNELS[kernel])
    sums = shard.reduce(fold, encoded=True)
    if not sums[-1] > 0:
        raise DataError(f"Column {rows.labels[0]!r} has no values.")
    return np.array([width]), sums[:-1] / (sums[-1] * width)


def _bandwidth(shard: Shard, rows: Rows, rule: str) -> float:
    def fold(batch: Batch) -> tuple[Moments, np.ndarray]:
        values, weight = _values(batch, rows)
        return Moments.of(values[:, None], weight), np.array([float((weight**2).sum())])

    moments, squares = shard.reduce(fold, encoded=True)
    n = moments.n[0]
    if not n > 0:
        raise DataError(f"Column {rows.labels[0]!r} has no values.")
    spread = np.sqrt(moments.m2[0] / (n - squares[0] / n)) if n**2 > squares[0] else 0.0
    if not spread > 0:
        raise DataError(f"Column {rows.labels[0]!r} does not vary, so {rule!r} finds no bandwidth. Give one.")
    return float(spread * _RULES[rule](n**2 / squares[0]))


def _values(batch: Batch, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """The values that are there, and their weights."""
    values = dense(rows.finite(batch))[:, 0]
    weight = rows.weights(batch)
    weight = np.ones(len(values)) if weight is None else weight
    present = ~np.isnan(values)
    return values[present], weight[present]


def _fold(batch: Batch, rows: Rows, points: np.ndarray, width: float, kernel: Any) -> np.ndarray:
    values, weight = _values(batch, rows)
    sums = np.zeros(len(points))
    step = max(1, _TILE_VALUES // max(1, len(points)))
    for start in range(0, len(values), step):
        part = slice(start, start + step)
        sums += weight[part] @ kernel((points - values[part, None]) / width)
    return np.append(sums, weight.sum())
