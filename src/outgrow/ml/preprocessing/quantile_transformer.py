"""Columns as their ranks."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import ndtr, ndtri

from outgrow.data.matrix import is_sparse
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.matrices import column_quantiles, row_count
from outgrow.ml.core.parameters import FLAG, Integer, OneOf, Unused
from outgrow.ml.core.task import Task
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.preprocessing.columnwise import ColumnwiseScaler

_AT_THE_END = 1e-7
"""Shares this near to 0 or 1 are those, as in scikit-learn."""


class QuantileTransformer(ColumnwiseScaler):
    """Replace each number by the share of rows below it: columns become uniformly or normally distributed.

    The quantiles are exact, of all rows, found in two to four passes. Missing values stay missing.

    Parameters
    ----------
    columns : which columns, by name or selector; all by default.
    n_quantiles : how many quantiles are kept; between them shares are interpolated. At most one for each row.
    output_distribution : 'uniform' or 'normal'.
    ignore_implicit_zeros : let what sparse rows do not store count for nothing; else it counts as zeros, and
        sparse rows may hold no negative numbers, as zeros stay zeros.
    subsample, random_state, copy : as scikit-learn has them, without effect: all rows count, and input is
        never changed.

    Attributes
    ----------
    quantiles_ : ndarray of shape (n_quantiles_, n_columns).
    references_ : ndarray of shape (n_quantiles_,), the shares whose quantiles these are.
    n_quantiles_ : how many there are.

    Notes
    -----
    Unlike scikit-learn: all rows count, where it looks at 10,000.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[1.0], [2.0], [4.0], [8.0], [16.0]])
    >>> og.QuantileTransformer(n_quantiles=5).fit_transform(X).tolist()
    [[0.0], [0.25], [0.5], [0.75], [1.0]]
    """

    parameters = {
        **ColumnwiseScaler.parameters,
        "n_quantiles": Integer(low=1),
        "output_distribution": OneOf("uniform", "normal"),
        "ignore_implicit_zeros": FLAG,
        "subsample": Unused(),
        "random_state": Unused(),
    }
    test_parameters = {"n_quantiles": 50}
    exempt = {"sparse_rows_are_dense_ones": "zeros that are not stored stay zeros, as in scikit-learn"}
    no_exports = {"ONNX": "it interpolates between any number of quantiles"}
    quantiles_: np.ndarray
    references_: np.ndarray

    def __init__(
        self,
        columns: Columns = None,
        *,
        n_quantiles: int = 1000,
        output_distribution: str = "uniform",
        ignore_implicit_zeros: bool = False,
        subsample: int | None = None,
        random_state: Any = None,
        copy: bool = True,
    ) -> None:
        self.columns = columns
        self.n_quantiles = n_quantiles
        self.output_distribution = output_distribution
        self.ignore_implicit_zeros = ignore_implicit_zeros
        self.subsample = subsample
        self.random_state = random_state
        self.copy = copy

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        sparse = is_sparse(shard.example.matrix(names))
        count = (lambda batch: self._check_stored(batch.matrix(names))) if sparse else row_count
        rows = int(shard.reduce(count, encoded=True)[0])
        if self.n_quantiles > rows:
            warnings.warn(
                f"n_quantiles ({self.n_quantiles}) is greater than the total number of samples ({rows}). "
                f"n_quantiles is set to {rows}.",
                stacklevel=2,
            )
        self.n_quantiles_ = max(1, min(self.n_quantiles, rows))
        self.references_ = np.linspace(0, 1, self.n_quantiles_)
        absent = np.nan if self.ignore_implicit_zeros else 0.0
        found = column_quantiles(shard, names, self.references_.tolist(), absent=absent)
        if sparse:
            found[:, np.isnan(found[0])] = 0.0
        self.quantiles_ = np.maximum.accumulate(found)

    def _check_stored(self, X: Any) -> np.ndarray:
        """Refuse what would not stay on its side of the zeros; how many rows there are."""
        if is_sparse(X) and not self.ignore_implicit_zeros and (X.data < 0).any():
            raise DataError(
                f"QuantileTransformer only accepts non-negative sparse matrices; this one holds "
                f"{X.data.min():g}. Use ignore_implicit_zeros=True, or give dense columns."
            )
        return np.array([X.shape[0]])

    def _scaled(self, X: Any, part: slice) -> Any:
        self._check_stored(X)
        return self._each(X, part, _shares)

    def _unscaled(self, X: Any, part: slice) -> Any:
        return self._each(X, part, _values)

    def _each(self, X: Any, part: slice, change: Callable[..., np.ndarray]) -> Any:
        """Each column changed; of sparse ones what is stored."""
        normal, quantiles = self.output_distribution == "normal", self.quantiles_[:, part].T
        if is_sparse(X):
            columns = sp.csc_array(X, copy=True)
            for own, ends in zip(quantiles, pairwise(columns.indptr.tolist()), strict=True):
                stored = slice(*ends)
                columns.data[stored] = change(columns.data[stored], own, self.references_, normal)
            return columns.tocsr()
        pairs = zip(np.asarray(X).T, quantiles, strict=True)
        made = [change(x, own, self.references_, normal) for x, own in pairs]
        return np.array(made).reshape(len(made), len(X)).T

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        made = twin(
            "preprocessing.QuantileTransformer",
            n_quantiles=1,
            output_distribution=self.output_distribution,
        )
        return self._twin_in(flow, name, made, "quantiles_", "references_", "n_quantiles_")


def _shares(x: np.ndarray, quantiles: np.ndarray, references: np.ndarray, normal: bool) -> np.ndarray:
    """The share of rows below each number; of a number that many rows have, the middle of its shares."""
    lowest, highest = _ends(x, quantiles[0], quantiles[-1], normal)
    out = np.full(len(x), np.nan)
    there = ~np.isnan(x)
    some = x[there]
    below = np.interp(some, quantiles, references)
    above = np.interp(-some, -quantiles[::-1], -references[::-1])
    out[there] = 0.5 * (below - above)
    out[highest], out[lowest] = 1.0, 0.0
    if not normal:
        return out
    end = _AT_THE_END - np.spacing(1)
    return np.clip(ndtri(out), ndtri(end), ndtri(1 - end))


def _ends(x: np.ndarray, low: float, high: float, normal: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which numbers are at the lower and at the upper end; those beyond, too, where these are infinite."""
    return (x - _AT_THE_END < low, x + _AT_THE_END > high) if normal else (x == low, x == high)


def _values(x: np.ndarray, quantiles: np.ndarray, references: np.ndarray, normal: bool) -> np.ndarray:
    """The numbers below which these shares of the rows lie."""
    shares = ndtr(x) if normal else x
    lowest, highest = _ends(shares, 0.0, 1.0, normal)
    out = np.full(len(x), np.nan)
    there = ~np.isnan(shares)
    out[there] = np.interp(shares[there], references, quantiles)
    out[highest], out[lowest] = quantiles[-1], quantiles[0]
    return out
