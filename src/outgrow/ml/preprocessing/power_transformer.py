"""Powers that make columns look normal."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from outgrow.data.batch import Batch
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.matrices import checked_matrix
from outgrow.ml.core.parameters import FLAG, OneOf
from outgrow.ml.core.task import Task
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.preprocessing.columnwise import ColumnwiseScaler
from outgrow.ml.preprocessing.powers import (
    Outline,
    Search,
    bin_count,
    histogram,
    logarithms,
    numbers_of,
    power,
    slope_at,
    unpowered,
)
from outgrow.stats.extremes import Extremes
from outgrow.stats.moments import Moments

_MOST_PASSES = 30
_DROWNED = 1e-5
"""The share of the mean that powers differ by, below which too few of their digits are left."""


class PowerTransformer(ColumnwiseScaler):
    """Raise each column to the power that makes it look most like a normal one.

    The exponents are those of the greatest likelihood, to about ten digits, found for all columns at once in
    three or four passes, seldom more. Missing values stay missing and count for nothing. A constant
    column, and one without values, is left as it is, but for its mean.

    Parameters
    ----------
    method : 'yeo-johnson' for all numbers, or 'box-cox' for positive ones.
    columns : which columns, by name or selector; all by default.
    standardize : subtract the mean of the powers, and divide by their standard deviation.
    copy : as scikit-learn has it, without effect: input is never changed.

    Attributes
    ----------
    lambdas_ : ndarray of shape (n_columns,), the exponents.
    centers_ : ndarray of shape (n_columns,), the logarithms about which powers are computed, so that large
        exponents do not drown their differences.
    mean_, scale_ : ndarray of shape (n_columns,), of the powers about these; None without `standardize`.

    Notes
    -----
    Unlike scikit-learn: the exponents are found by the derivative of the likelihood, and to more digits;
    powers are computed about the middle of the column, so that large exponents cost no digits; a constant
    column is no error with 'box-cox'.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> transformer = og.PowerTransformer().fit(np.array([[1.0, 2.0], [3.0, 2.0], [4.0, 5.0]]))
    >>> transformer.lambdas_.round(3).tolist()
    [1.387, -3.101]
    >>> transformer.transform(np.array([[1.0, 2.0], [3.0, 2.0], [4.0, 5.0]])).round(4).tolist()
    [[-1.3162, -0.7071], [0.21, -0.7071], [1.1062, 1.4142]]
    """

    parameters = {
        **ColumnwiseScaler.parameters,
        "method": OneOf("yeo-johnson", "box-cox"),
        "standardize": FLAG,
    }
    no_exports = {"ONNX": "it has neither log1p nor expm1, without which small numbers lose their digits"}
    lambdas_: np.ndarray
    centers_: np.ndarray
    mean_: Any
    scale_: Any

    def __init__(
        self,
        method: str = "yeo-johnson",
        *,
        columns: Columns = None,
        standardize: bool = True,
        copy: bool = True,
    ) -> None:
        self.method = method
        self.columns = columns
        self.standardize = standardize
        self.copy = copy

    def _sparse_refusal(self) -> str | None:
        return (
            "PowerTransformer does not support sparse input: it would move zeros. Give dense columns, such "
            "as X.toarray()."
        )

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        plain, logs, ends = shard.reduce(lambda batch: self._outlines(batch, names), encoded=True)
        width = len(plain.n)
        apart = ends.low < ends.high  # which is all that SciPy asks of Box-Cox
        known = apart if self.method == "box-cox" else apart & plain.varies(plain.n)
        varying = np.flatnonzero(known).tolist()
        self.lambdas_, self.centers_ = np.ones(width), np.zeros(width)
        mean, variance = np.where(plain.n > 0, plain.mean, np.nan), np.zeros(width)
        if self.method == "box-cox":
            mean = mean - 1.0
        for j, search in self._searched(shard, names, varying, logs, ends).items():
            self.lambdas_[j] = search.of.as_lambda(search.exponent)
            self.centers_[j] = search.of.center
            mean[j], variance[j] = -search.mean if search.of.mirrored else search.mean, search.variance
            self._warn_of_limit(j, search)
        self.mean_ = mean if self.standardize else None
        self.scale_ = np.where(variance > 0, np.sqrt(variance), 1.0) if self.standardize else None

    def _outlines(self, batch: Batch, names: list[str]) -> tuple[Moments, Moments, Extremes]:
        X = np.asarray(checked_matrix(batch, names))
        self._check_positive(X, slice(0, X.shape[1]))
        U = logarithms(X, self.method)
        return Moments.of(X), Moments.of(U), Extremes.of(U)

    def _check_positive(self, X: np.ndarray, part: slice) -> None:
        low = np.fmin.reduce(X, axis=0, initial=np.inf) if self.method == "box-cox" else np.ones(0)
        wrong = np.flatnonzero(low <= 0)
        if len(wrong):
            raise DataError(
                "The Box-Cox transformation can only be applied to strictly positive data; column "
                f"{(part.start or 0) + wrong[0]} holds {low[wrong[0]]:g}. "
                "Use method='yeo-johnson'."
            )

    def _searched(
        self, shard: Shard, names: list[str], varying: list[int], logs: Moments, ends: Extremes
    ) -> dict[int, Search]:
        """The best exponents of the columns that vary."""
        if not varying:
            return {}
        known = np.stack([logs.n, ends.low, ends.high, logs.mean]).T.tolist()
        outlines = {j: Outline.of(known[j], self.method) for j in varying}
        fold = partial(self._histograms, names=names, outlines=outlines, bins=bin_count(len(varying)))
        bins = shard.reduce(fold, encoded=True)
        searches = {
            j: Search.start(outline, *part) for (j, outline), part in zip(outlines.items(), bins, strict=True)
        }
        for _ in range(_MOST_PASSES):
            left = {j: search for j, search in searches.items() if not search.done}
            if not left:
                break
            sums = shard.reduce(partial(self._products, names=names, searches=left), encoded=True)
            for search, products in zip(left.values(), sums, strict=True):
                search.advance(products, search.of.n)
        return searches

    def _histograms(
        self, batch: Batch, *, names: list[str], outlines: dict[int, Outline], bins: int
    ) -> np.ndarray:
        X = checked_matrix(batch, names)
        return np.stack(
            [
                histogram(self._present(X[:, j]), outline.low, outline.high, bins)
                for j, outline in outlines.items()
            ]
        )

    def _products(self, batch: Batch, *, names: list[str], searches: dict[int, Search]) -> np.ndarray:
        X = checked_matrix(batch, names)
        return np.stack([search.products(self._present(X[:, j])) for j, search in searches.items()])

    def _present(self, x: np.ndarray) -> np.ndarray:
        """The logarithms of the values there are."""
        u = logarithms(x, self.method)
        there = ~np.isnan(u)
        return u if there.all() else u[there]

    def _warn_of_limit(self, j: int, search: Search) -> None:
        outline, at = search.of, search.exponent
        nearest = min(abs(at - end) for end in (outline.least, outline.most))
        if self.method == "box-cox" and outline.limited and nearest == 0:
            warnings.warn(
                f"The optimal lambda of column {j} would let its powers overflow in float64; the returned "
                f"lambda {at:g} is the constrained optimum.",
                stacklevel=2,
            )

    def _scaled(self, X: Any, part: slice) -> np.ndarray:
        X = np.asarray(X)
        self._check_positive(X, part)
        return self._each(X, part, lambda x, j: self._power(logarithms(x, self.method), j))

    def _unscaled(self, X: Any, part: slice) -> np.ndarray:
        return self._each(np.asarray(X), part, self._unpowered)

    def _each(
        self, X: np.ndarray, part: slice, change: Callable[[np.ndarray, int], np.ndarray]
    ) -> np.ndarray:
        """Each column changed by a function of it and of its place."""
        made = np.empty(X.shape, order="F")
        for place, j in enumerate(range(*part.indices(self._width))):
            made[:, place] = change(X[:, place], j)
        return made

    def _power(self, u: np.ndarray, j: int) -> np.ndarray:
        with np.errstate(over="ignore"):  # numbers far beyond those of the fit may become infinite
            if not self.standardize:
                return power(u, self.lambdas_[j], 0.0, self.method)
            y = power(u, self.lambdas_[j], self.centers_[j], self.method)
        y -= self.mean_[j]
        y /= self.scale_[j]
        return y

    def _unpowered(self, y: np.ndarray, j: int) -> np.ndarray:
        center = self.centers_[j] if self.standardize else 0.0
        if self.standardize:
            y = y * self.scale_[j] + self.mean_[j]
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            x = numbers_of(unpowered(y, self.lambdas_[j], center, self.method), self.method)
        if np.isnan(x).sum() > np.isnan(y).sum():
            warnings.warn(
                f"Some values in column {j} of the inverse-transformed data are NaN: no number has such a "
                "power. They may lie far beyond those of the fit.",
                stacklevel=2,
            )
        return x

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        """Powers and their scaling, which it has only apart where they have a center."""
        if self.standardize:
            means, scales = self._plain_scaling()
            drowned = np.flatnonzero(scales < _DROWNED * np.abs(means)).tolist()
            if drowned:
                raise refusal(
                    self,
                    f"powers of columns {drowned} differ by less than their digits without a center.",
                    "Subtract a number from these columns first.",
                )
        powers = twin("preprocessing.PowerTransformer", self.method, standardize=False)
        scaler: Any = twin("preprocessing.StandardScaler") if self.standardize else "passthrough"
        block = flow.block(self.selected_, name, twin("pipeline.make_pipeline", powers, scaler))
        block.transformer.fit(flow.tiny(block.labels, np.outer([1.0, 2.0], np.ones(self._width))))
        block.row = [1.0] * self._width  # which Box-Cox takes
        powers.lambdas_ = self.lambdas_
        if self.standardize:
            scaler.mean_, scaler.scale_ = means, scales
            scaler.var_ = scaler.scale_**2
        return flow.then(name, flow.beside(self.selected_, [block]), list(flow.columns))

    def _plain_scaling(self) -> tuple[np.ndarray, np.ndarray]:
        """Means and scales of the powers themselves."""
        pairs = list(zip(self.lambdas_.tolist(), self.centers_.tolist(), strict=True))
        slopes = np.array([slope_at(center, exponent, self.method) for exponent, center in pairs])
        ahead = [power(np.array([center]), exponent, 0.0, self.method)[0] for exponent, center in pairs]
        return self.mean_ * slopes + np.array(ahead), self.scale_ * slopes
