"""Numbers as bins."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.batch import Batch
from outgrow.data.matrix import is_sparse
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import InvertibleTransformer, WeightedTransformer
from outgrow.ml.base.expansion import Expansion
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.matrices import checked_matrix, column_quantiles, heavy, weighted_column_quantiles
from outgrow.ml.core.parameters import COLUMNS, Integer, Number, OneOf, Such, Unused
from outgrow.ml.core.task import Task
from outgrow.ml.core.weights import weights
from outgrow.ml.export.onnx.graph import Graph
from outgrow.ml.export.onnx.table import Column, Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.stats.extremes import Extremes
from outgrow.stats.moments import Moments

_NARROW = 1e-8
"""Bins no wider than this are left out, as in scikit-learn, but for those of one width."""
_COUNT, _EDGE = Integer(low=2, high=10_000_000), Number()
_STEPS, _SLACK = 300, 1e-4
"""Of Lloyd's algorithm: the most steps, and the share of the variance by which centers move at the end."""


def _is_listed(value: Any) -> bool:
    return isinstance(value, list | tuple | np.ndarray)


def _are_counts(value: Any) -> bool:
    numbers = list(value) if _is_listed(value) else [value]
    return bool(numbers) and all(number in _COUNT for number in numbers)


def _are_edges(value: Any) -> bool:
    if not _is_listed(value) or not len(value):
        return False
    return all(map(_is_rising, value)) if all(map(_is_listed, value)) else _is_rising(value)


def _is_rising(edges: Any) -> bool:
    if not _is_listed(edges) or len(edges) < 3 or not all(edge in _EDGE for edge in edges):
        return False
    return all(low < high for low, high in pairwise(edges))


class KBinsDiscretizer(Expansion, InvertibleTransformer, WeightedTransformer):
    """Cut each column into bins, and give the bin of each row.

    Quantiles are exact, of all rows. A number beyond the outer edges is in the outer bin.

    Parameters
    ----------
    n_bins : how many bins, one number or one for each number of a row.
    columns : which columns, by name or selector; all by default.
    encode : 'onehot' for a sparse column of zeros and ones for each bin, 'onehot-dense' for dense ones,
        'ordinal' for the number of the bin, in columns that keep their names.
    strategy : 'quantile' for bins of about as many rows, 'uniform' for bins of one width, 'kmeans' for bins
        whose rows are nearest to one center.
    quantile_method : which quantile lies between two values: 'averaged_inverted_cdf' or 'linear', which
        heeds no weights.
    dtype, subsample, random_state : as scikit-learn has them, without effect: all rows count.
    bin_edges : the edges of bins, rather than learn them: a list of rising numbers for all columns, or one
        for each, of which the outer ones may be infinite; `n_bins`, `strategy` then count for nothing.
    handle_missing : 'error', or 'bin' for a bin of their own, the last of each column.

    Attributes
    ----------
    bin_edges_ : ndarray of n_columns ndarrays, the edges of the bins of each column.
    n_bins_ : ndarray of shape (n_columns,), how many bins there are.

    Notes
    -----
    Unlike scikit-learn: all rows count, where it looks at 200,000; `bin_edges` and `handle_missing`.

    Unlike Spark MLlib's `QuantileDiscretizer(numBuckets=2, relativeError=0.001, handleInvalid="error")`: 5
    bins by default, exact, and as zeros and ones; `handleInvalid="keep"` is `handle_missing="bin"`.

    Unlike Spark MLlib's `Bucketizer(splits)`: edges are `bin_edges`, a list for each column, and
    `encode="ordinal"` gives the numbers of the bins.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[1.0], [2.0], [3.0], [40.0]])
    >>> og.KBinsDiscretizer(2, encode="ordinal").fit_transform(X).tolist()
    [[0.0], [0.0], [1.0], [1.0]]
    >>> og.KBinsDiscretizer(encode="ordinal", bin_edges=[0, 2.5, 10, 100]).fit_transform(X).tolist()
    [[0.0], [0.0], [1.0], [2.0]]
    """

    stem = "bins"
    parameters = {
        "n_bins": Such("a whole number from 2 to 10,000,000, or an array of them", _are_counts),
        "columns": COLUMNS,
        "encode": OneOf("onehot", "onehot-dense", "ordinal"),
        "strategy": OneOf("quantile", "uniform", "kmeans"),
        "quantile_method": OneOf("averaged_inverted_cdf", "linear"),
        "dtype": Unused(),
        "subsample": Unused(),
        "random_state": Unused(),
        "bin_edges": Such("a list of at least three rising numbers, or a list of such lists", _are_edges)
        | None,
        "handle_missing": OneOf("error", "bin"),
    }
    edges_: list[np.ndarray]

    def __init__(
        self,
        n_bins: Any = 5,
        *,
        columns: Columns = None,
        encode: str = "onehot",
        strategy: str = "quantile",
        quantile_method: str = "averaged_inverted_cdf",
        dtype: Any = None,
        subsample: int | None = None,
        random_state: Any = None,
        bin_edges: Any = None,
        handle_missing: str = "error",
    ) -> None:
        self.n_bins = n_bins
        self.columns = columns
        self.encode = encode
        self.strategy = strategy
        self.quantile_method = quantile_method
        self.dtype = dtype
        self.subsample = subsample
        self.random_state = random_state
        self.bin_edges = bin_edges
        self.handle_missing = handle_missing

    @property
    def takes_missing(self) -> bool:  # type: ignore[override]
        """Whether missing values have a bin."""
        return self.handle_missing == "bin"

    @property
    def bin_edges_(self) -> np.ndarray:
        """The edges of each column."""
        out = np.empty(len(self.edges_), dtype=object)
        out[:] = self.edges_
        return out

    @property
    def n_bins_(self) -> np.ndarray:
        """How many bins each column has."""
        return np.array([len(edges) - 1 for edges in self.edges_])

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        if self.bin_edges is not None:
            self.edges_ = self._given()
            return
        weight = task.weight
        if weight is not None and (self.strategy, self.quantile_method) == ("quantile", "linear"):
            raise ParameterError(
                "KBinsDiscretizer(quantile_method='linear') heeds no weights. With sample_weight, take "
                "quantile_method='averaged_inverted_cdf', or another strategy."
            )

        def fold(batch: Batch) -> Extremes:
            return Extremes.of(heavy(self._numbers(batch, names), weights(batch, weight)))

        extremes = shard.reduce(fold, encoded=True)
        empty = [
            label for label, low in zip(self.input_names_, extremes.low, strict=True) if np.isposinf(low)
        ]
        if empty:
            raise DataError(
                f"Columns {empty[:5]} have no values to cut into bins, or none in rows of which the sample "
                "weight is above zero. Leave them out."
            )
        counts = self._counts()
        edges = getattr(self, f"_{self.strategy}")(shard, names, counts, extremes, weight)
        ends = zip(self.input_names_, edges, extremes.low, extremes.high, strict=True)
        least = (
            -np.inf if self.strategy == "uniform" else _NARROW
        )  # whose bins are as wide as its numbers ask
        self.edges_ = [_cleared(label, own, low, high, least) for label, own, low, high in ends]

    def _given(self) -> list[np.ndarray]:
        one = not np.ndim(self.bin_edges[0])
        lists = [self.bin_edges] * len(self.input_names_) if one else list(self.bin_edges)
        if len(lists) != len(self.input_names_):
            raise ParameterError(
                f"bin_edges has {len(lists)} lists, and there are {len(self.input_names_)} columns. Give one "
                "for each, or one list of numbers."
            )
        return [np.asarray(edges, dtype=np.float64) for edges in lists]

    def _counts(self) -> np.ndarray:
        width = len(self.input_names_)
        if np.ndim(self.n_bins) and len(self.n_bins) != width:
            raise ParameterError(
                f"n_bins must be a scalar or array of shape (n_features,); it has {len(self.n_bins)} entries "
                f"for {width} columns. Give one for each, or one number."
            )
        return np.broadcast_to(np.asarray(self.n_bins), width)

    def _uniform(
        self, shard: Shard, names: list[str], counts: np.ndarray, extremes: Extremes, weight: str | None
    ) -> list[np.ndarray]:
        ends = zip(extremes.low, extremes.high, counts, strict=True)
        return [np.linspace(low, high, count + 1) for low, high, count in ends]

    def _quantile(
        self, shard: Shard, names: list[str], counts: np.ndarray, extremes: Extremes, weight: str | None
    ) -> list[np.ndarray]:
        shares = sorted({share for count in set(counts.tolist()) for share in _shares(count)})
        found = (
            column_quantiles(shard, names, shares, self.quantile_method)
            if weight is None
            else weighted_column_quantiles(shard, names, shares, self.quantile_method, weight)
        )
        return [found[np.searchsorted(shares, _shares(count)), j] for j, count in enumerate(counts.tolist())]

    def _kmeans(
        self, shard: Shard, names: list[str], counts: np.ndarray, extremes: Extremes, weight: str | None
    ) -> list[np.ndarray]:
        """Lloyd's algorithm on each column alone, all columns in the same passes."""
        start = self._uniform(shard, names, counts, extremes, weight)
        centers = [(edges[1:] + edges[:-1]) / 2 for edges in start]
        variances = shard.reduce(
            lambda batch: Moments.of(checked_matrix(batch, names), weights(batch, weight)), encoded=True
        ).variance()
        for _ in range(_STEPS):
            inner = [(own[1:] + own[:-1]) / 2 for own in centers]
            fold = partial(_sums, names=names, inner=inner, weight=weight)
            sums = np.split(shard.reduce(fold, encoded=True), np.cumsum(counts)[:-1])
            moved = [
                np.where(part[:, 1] > 0, part[:, 0] / np.where(part[:, 1] > 0, part[:, 1], 1.0), own)
                for part, own in zip(sums, centers, strict=True)
            ]
            steps = [((new - old) ** 2).sum() for new, old in zip(moved, centers, strict=True)]
            centers = [np.sort(own) for own in moved]
            if (np.array(steps) <= _SLACK * variances).all():
                break
        inner = [(own[1:] + own[:-1]) / 2 for own in centers]
        ends = zip(extremes.low, inner, extremes.high, strict=True)
        return [np.concatenate([[low], own, [high]]) for low, own, high in ends]

    def _labels(self, inputs: Sequence[str]) -> list[str]:
        if self.encode == "ordinal":
            return list(inputs)
        pairs = zip(inputs, self._widths, strict=True)
        return [f"{name}_{float(bin)}" for name, width in pairs for bin in range(width)]

    @property
    def _widths(self) -> np.ndarray:
        """How many numbers each column becomes."""
        return self.n_bins_ + (self.handle_missing == "bin")

    def _codes(self, X: np.ndarray) -> np.ndarray:
        codes = np.empty(X.shape, dtype=np.int64, order="F")
        for j, edges in enumerate(self.edges_):
            codes[:, j] = np.searchsorted(edges[1:-1], X[:, j], side="right")
            missing = np.isnan(X[:, j])
            if missing.any():
                codes[missing, j] = len(edges) - 1
        return codes

    def _expanded(self, X: Any) -> Any:
        codes = self._codes(np.asarray(X))
        if self.encode == "ordinal":
            return codes.astype(np.float64)
        widths = self._widths
        places = codes + (np.cumsum(widths) - widths)
        ends = np.arange(0, places.size + 1, places.shape[1])
        shape = (len(places), int(widths.sum()))
        hot = sp.csr_array((np.ones(places.size), np.ascontiguousarray(places).ravel(), ends), shape=shape)
        return hot if self.encode == "onehot" else hot.toarray(order="F")

    def _to_onnx(self, table: Table) -> Table:
        graph, who, missing = table.graph, type(self).__name__, self.handle_missing == "bin"
        X = graph.finite(table.matrix(self.selected_, who), who, missing=missing)
        columns = graph.split(X, [1] * len(self.edges_))
        made = [_onnx_bins(graph, x, edges, missing) for x, edges in zip(columns, self.edges_, strict=True)]
        if self.encode == "ordinal":
            made = [_onnx_codes(graph, hot, width) for hot, width in zip(made, self._widths, strict=True)]
        whole = graph.join(made)
        if self.encode == "onehot":
            new = {self.output_name_: Column(whole, width=len(self.output_names_))}
        else:
            parts = graph.split(whole, [1] * len(self.output_names_))
            new = {name: Column(part) for name, part in zip(self.output_names_, parts, strict=True)}
        return table.replace(self.selected_, new)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        if self.handle_missing == "bin":
            raise refusal(self, "missing values have a bin.", "Impute them, and use handle_missing='error'.")
        counts = self.n_bins_
        made = twin(
            "preprocessing.KBinsDiscretizer",
            np.maximum(counts, 2),
            encode=self.encode,
            strategy="uniform",
            quantile_method="averaged_inverted_cdf",
            subsample=None,
        )
        block = flow.block(self.selected_, name, made)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # columns of one bin are constant in these rows, too
            made.fit(flow.tiny(block.labels, np.stack([np.zeros(len(counts)), (counts > 1).astype(float)])))
        made.bin_edges_ = self.bin_edges_
        if self.encode == "onehot":
            block.makes = [(self.output_name_, len(self.output_names_))]
        else:
            block.makes = [(column, 1) for column in self.output_names_]
        return flow.then(name, flow.beside(self.selected_, [block]))

    def _revert(self, batch: Batch) -> Batch:
        """The middle of the bin of each row; of a bin for missing values, NaN."""
        made = [self.output_name_] if self.output_name_ in batch.columns else self.output_names_
        return batch.replace_numbers(made, self._middles(batch.matrix(made)), self.input_names_)

    def _middles(self, X: Any) -> np.ndarray:
        if self.encode == "ordinal":
            codes = np.asarray(X).astype(np.int64)
        else:
            dense = X.toarray() if is_sparse(X) else np.asarray(X)
            parts = np.split(dense, np.cumsum(self._widths)[:-1], axis=1)
            codes = np.column_stack([part.argmax(axis=1) for part in parts])
        middles = [np.append((edges[1:] + edges[:-1]) / 2, np.nan) for edges in self.edges_]
        return np.column_stack([own[codes[:, j]] for j, own in enumerate(middles)])


def _shares(count: int) -> list[float]:
    return (np.linspace(0, 100, count + 1) / 100).tolist()


def _cleared(label: str, edges: np.ndarray, low: float, high: float, least: float) -> np.ndarray:
    """The edges without bins that are too narrow; of a constant column, one bin for all numbers."""
    if low == high:
        warnings.warn(f"Feature {label} is constant and will be replaced with 0.", stacklevel=2)
        return np.array([-np.inf, np.inf])
    wide = np.append(True, np.diff(edges) > least)
    if not wide.all():
        warnings.warn(
            f"Bins whose width are too small (i.e., <= {_NARROW:g}) in feature {label} are removed. Consider "
            "decreasing the number of bins.",
            stacklevel=2,
        )
    return edges[wide]


def _onnx_bins(graph: Graph, x: str, edges: np.ndarray, missing: bool) -> str:
    """Zeros and ones for the bins of a column: a tensor of shape (rows, bins)."""
    if len(edges) == 2:
        hot = graph.repeat(np.ones(1), x)
    else:
        above = graph.cast(graph.node("GreaterOrEqual", x, graph.constant(edges[None, 1:-1])), "number")
        before = graph.node("Concat", graph.repeat(np.ones(1), x), above, axis=1)
        hot = graph.node("Sub", before, graph.node("Concat", above, graph.repeat(np.zeros(1), x), axis=1))
    if not missing:
        return hot
    hole = graph.cast(graph.node("IsNaN", x), "number")
    there = graph.node("Mul", hot, graph.node("Sub", graph.constant(np.ones((1, 1))), hole))
    return graph.node("Concat", there, hole, axis=1)


def _onnx_codes(graph: Graph, hot: str, width: int) -> str:
    return graph.node("MatMul", hot, graph.constant(np.arange(width, dtype=np.float64)[:, None]))


def _sums(batch: Batch, names: list[str], inner: Sequence[np.ndarray], weight: str | None) -> np.ndarray:
    """The weighted sum of the values of each bin of each column, and their weight, of shape (bins, 2)."""
    X, parts, w = checked_matrix(batch, names), [], weights(batch, weight)
    for j, edges in enumerate(inner):
        there = ~np.isnan(X[:, j])
        x, own = X[there, j], None if w is None else w[there]
        codes = np.searchsorted(edges, x, side="right")
        size = len(edges) + 1
        products = x if own is None else x * own
        parts.append(np.column_stack([np.bincount(codes, products, size), np.bincount(codes, own, size)]))
    return np.concatenate(parts)
