"""Columns as the values of B-splines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.interpolate import BSpline

from outgrow._optional import optional
from outgrow.data.batch import Batch
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, MissingExtraError, ParameterError
from outgrow.ml.base import WeightedTransformer
from outgrow.ml.base.expansion import Expansion
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.matrices import column_quantiles, heavy, weighted_column_quantiles
from outgrow.ml.core.parameters import ARRAY, COLUMNS, FLAG, Integer, OneOf, Unused
from outgrow.ml.core.task import Task
from outgrow.ml.core.weights import weights
from outgrow.ml.export.onnx.graph import Graph
from outgrow.ml.export.onnx.table import Column, Table
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.preprocessing.onnx import clipped
from outgrow.stats.extremes import Extremes

_WORTH = 1 << 18
"""Numbers of a batch for which compiled code is looked for."""
_TILE = 1 << 12
"""Rows whose splines are made at once, so that they stay in a cache."""


class SplineTransformer(Expansion, WeightedTransformer):
    """Replace each column by the values of B-splines, so that a linear model can follow a curve.

    A number becomes `n_knots + degree - 1` numbers, of which `degree + 1` are not zero and which add up to 1;
    periodic ones are `degree` fewer.

    Parameters
    ----------
    n_knots : how many knots, the ends among them; without effect where `knots` are given.
    columns : which columns, by name or selector; all by default.
    degree : of the polynomials.
    knots : 'uniform' from the least to the largest number, 'quantile' for knots among as many rows, or among
        as much weight where `fit` is given weights; or the knots themselves: an array of shape (n_knots,
        n_columns), or one list for all columns, rising.
    extrapolation : beyond the outer knots, 'constant' or 'linear' continues the values there, 'continue' the
        polynomials; 'periodic' begins anew; and 'error' refuses such rows.
    include_bias : keep the last spline of each column; together they add up to a column of ones.
    order : as scikit-learn has it, without effect.
    handle_missing : 'error' refuses missing values; with 'zeros' they become zeros.
    sparse_output : make one vector column, of which zeros are not stored.

    Attributes
    ----------
    knots_ : ndarray of shape (n_knots + 2 * degree, n_columns), the knots with those beyond the ends.
    bsplines_ : list of `scipy.interpolate.BSpline`, one for each column.
    n_features_out_ : how many numbers the columns become.

    Notes
    -----
    Unlike scikit-learn: with `degree=0`, numbers beyond the ends count as these.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> og.SplineTransformer(n_knots=3, degree=1).fit_transform(X).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """

    stem = "spline"
    parameters = {
        "n_knots": Integer(low=2),
        "columns": COLUMNS,
        "degree": Integer(low=0),
        "knots": OneOf("uniform", "quantile") | ARRAY,
        "extrapolation": OneOf("error", "constant", "linear", "continue", "periodic"),
        "include_bias": FLAG,
        "order": Unused(OneOf("C", "F")),
        "handle_missing": OneOf("error", "zeros"),
        "sparse_output": FLAG,
    }
    knots_: np.ndarray
    n_features_out_: int

    def __init__(
        self,
        n_knots: int = 5,
        *,
        columns: Columns = None,
        degree: int = 3,
        knots: Any = "uniform",
        extrapolation: str = "constant",
        include_bias: bool = True,
        order: str = "C",
        handle_missing: str = "error",
        sparse_output: bool = False,
    ) -> None:
        self.n_knots = n_knots
        self.columns = columns
        self.degree = degree
        self.knots = knots
        self.extrapolation = extrapolation
        self.include_bias = include_bias
        self.order = order
        self.handle_missing = handle_missing
        self.sparse_output = sparse_output

    @property
    def takes_missing(self) -> bool:  # type: ignore[override]
        """Whether missing values become zeros."""
        return self.handle_missing == "zeros"

    @property
    def learns_nothing(self) -> bool:  # type: ignore[override]
        """Whether the knots are given, so that no row is looked at."""
        return not isinstance(self.knots, str)

    def _check_parameters(self) -> None:
        count = self.n_knots if isinstance(self.knots, str) else len(self.knots)
        if self.extrapolation == "periodic" and count <= self.degree:
            raise ParameterError(
                f"Periodic splines require degree < n_knots. Got n_knots={count} and degree={self.degree}. "
                "Take more knots."
            )

    @property
    def bsplines_(self) -> list[BSpline]:
        """The splines of each column."""
        rows = self.knots_.shape[0] - self.degree - 1
        weights = np.eye(self._splines)[np.arange(rows) % self._splines]
        goes_on = self.extrapolation in ("periodic", "continue")
        return [
            BSpline.construct_fast(knots, weights, self.degree, goes_on) for knots in self.knots_.T.copy()
        ]

    @property
    def _splines(self) -> int:
        """How many splines a column has, with the last one."""
        inner = self.knots_.shape[0] - 2 * self.degree
        return inner - 1 if self.extrapolation == "periodic" else inner + self.degree - 1

    @property
    def _kept(self) -> int:
        return self._splines - 1 + self.include_bias

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        self.knots_ = self._extended(self._base_knots(shard, names, task.weight))
        self.n_features_out_ = self._kept * len(self.input_names_)

    def _base_knots(self, shard: Shard, names: list[str], weight: str | None) -> np.ndarray:
        if not isinstance(self.knots, str):
            return self._given_knots()
        if self.knots == "quantile":
            shares = np.linspace(0, 1, self.n_knots).tolist()
            missing = self.takes_missing
            if weight is None:
                return np.nan_to_num(column_quantiles(shard, names, shares, missing=missing))
            found = weighted_column_quantiles(shard, names, shares, "inverted_cdf", weight, missing=missing)
            _check_weight(np.isfinite(found))
            return np.nan_to_num(found)

        def fold(batch: Batch) -> Extremes:
            return Extremes.of(heavy(self._numbers(batch, names), weights(batch, weight)))

        ends = shard.reduce(fold, encoded=True)
        there = ends.low <= ends.high
        if weight is not None:
            _check_weight(there)
        low, high = np.where(there, ends.low, 0.0), np.where(there, ends.high, 0.0)
        return np.linspace(low, high, self.n_knots)

    def _given_knots(self) -> np.ndarray:
        width = len(self.input_names_)
        knots = np.asarray(self.knots, dtype=np.float64)
        knots = np.repeat(knots[:, None], width, axis=1) if knots.ndim == 1 else knots
        if knots.ndim != 2 or len(knots) < 2:
            raise ParameterError(
                f"Number of knots, knots.shape[0], must be >= 2; knots has the shape {knots.shape}."
            )
        if knots.shape[1] != width:
            raise ParameterError(
                f"knots.shape[1] == n_features is violated: knots are for {knots.shape[1]} columns, and "
                f"there are {width}."
            )
        if not (np.isfinite(knots).all() and (np.diff(knots, axis=0) > 0).all()):
            raise ParameterError(f"knots must be sorted without duplicates, and finite: {knots.tolist()}.")
        return knots

    def _extended(self, base: np.ndarray) -> np.ndarray:
        """The knots with `degree` more beyond each end, as far apart as those at the ends."""
        degree = self.degree
        if self.extrapolation == "periodic":
            period = base[-1] - base[0]
            return np.concatenate([base[-(degree + 1) : -1] - period, base, base[1 : degree + 1] + period])
        first, last = base[1] - base[0], base[-1] - base[-2]
        below = np.linspace(base[0] - degree * first, base[0] - first, degree)
        return np.concatenate([below, base, np.linspace(base[-1] + last, base[-1] + degree * last, degree)])

    def _labels(self, inputs: Sequence[str]) -> list[str]:
        return [f"{name}_sp_{j}" for name in inputs for j in range(self._kept)]

    def _expanded(self, X: Any) -> Any:
        return self._sparse(X) if self.sparse_output else self._dense(X)

    def _dense(self, X: np.ndarray) -> np.ndarray:
        made = np.zeros((len(X), self.n_features_out_), order="F" if X.flags.f_contiguous else "C")
        put = self._compiled(X)
        for start in range(0, len(X), _TILE):
            for j, knots in enumerate(self.knots_.T.copy()):
                x, first = X[start : start + _TILE, j], j * self._kept
                if put is not None:
                    inside, part = self._inside(x, knots), made[start : start + _TILE]
                    put(inside, knots, self.degree, first, self._splines, self._kept, part)
                    continue
                values, places = self._splines_of(x, knots)
                rows = np.arange(start, start + len(values))
                for value, place in zip(values.T, places.T, strict=True):
                    self._put(made, rows, first, place, value)
        return made

    def _compiled(self, X: np.ndarray) -> Callable[..., None] | None:
        """What makes splines of many numbers; None where it is not worth it, or cannot be."""
        inner = self.knots_[self.degree : len(self.knots_) - self.degree]
        if X.size < _WORTH or self.extrapolation == "linear" or not (np.diff(inner, axis=0) > 0).all():
            return None
        try:
            optional("numba", "fast")
        except MissingExtraError:
            return None
        from outgrow.ml.preprocessing import spline_kernels

        put: Callable[..., None] = spline_kernels.put_splines
        return put

    def _put(
        self, made: np.ndarray, rows: np.ndarray, first: int, place: np.ndarray, value: np.ndarray
    ) -> None:
        """Note one spline of each row of a column, whose numbers begin at `first`."""
        if not self.include_bias:
            stays = place < self._kept
            rows, place, value = rows[stays], place[stays], value[stays]
        if self.extrapolation == "periodic":  # where two of a row may be one
            made[rows, place + first] += value
        else:
            made[rows, place + first] = value

    def _sparse(self, X: np.ndarray) -> Any:
        parts = [self._splines_of(x, knots) for x, knots in zip(X.T, self.knots_.T.copy(), strict=True)]
        values = np.stack([values for values, _ in parts], axis=1)
        places = np.stack([where for _, where in parts], axis=1)
        stays = places < self._kept
        places += np.arange(len(parts))[None, :, None] * self._kept
        ends = np.concatenate([[0], np.cumsum(stays.sum(axis=(1, 2)))])
        made = sp.csr_array((values[stays], places[stays], ends), shape=(len(X), self.n_features_out_))
        made.sum_duplicates()
        made.eliminate_zeros()
        return made

    def _splines_of(self, x: np.ndarray, knots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The splines that may not be zero at numbers, and which; both of shape (rows, degree + 1)."""
        degree, low, high = self.degree, knots[self.degree], knots[-self.degree - 1]
        if not len(x):  # which SciPy does not take
            return np.zeros((0, degree + 1)), np.zeros((0, degree + 1), dtype=np.intp)
        missing = np.isnan(x)
        x = np.where(missing, low, x) if missing.any() else x
        inside = self._inside(x, knots)
        made = BSpline.design_matrix(inside, knots, degree, extrapolate=True)  # or it looks at each again
        values = made.data.reshape(len(x), degree + 1)
        places = made.indices.reshape(len(x), degree + 1).astype(np.intp)
        if self.extrapolation == "linear":
            beyond = x - inside
            for end, side in ((low, beyond < 0), (high, beyond > 0)):
                if side.any():
                    values[side] += beyond[side, None] * self._slopes(end, knots)[places[side]]
        values[missing] = 0.0
        return values, places % self._splines if self.extrapolation == "periodic" else places

    def _inside(self, x: np.ndarray, knots: np.ndarray) -> np.ndarray:
        """Numbers between the outer knots in the place of those beyond."""
        low, high = knots[self.degree], knots[-self.degree - 1]
        if self.extrapolation == "error" and ((x < low) | (x > high)).any():
            raise DataError(
                f"`X` contains values beyond the limits of the knots, such as "
                f"{x[(x < low) | (x > high)][0]:g}, which does not lie between {low:g} and {high:g}. Choose "
                "another extrapolation."
            )
        if self.extrapolation == "periodic":
            return low + (x - low) % (high - low) if high > low else np.full(len(x), low)
        return x if self.extrapolation == "continue" else np.clip(x, low, high)

    def _slopes(self, end: float, knots: np.ndarray) -> np.ndarray:
        """The derivatives of all splines at an outer knot, within the knots."""
        splines = BSpline.construct_fast(knots, np.eye(len(knots) - self.degree - 1), self.degree)
        return np.nan_to_num(splines(end, nu=1))

    def _to_onnx(self, table: Table) -> Table:
        if self.extrapolation == "error":
            raise refusal(self, "it refuses rows beyond the knots.", "Choose another extrapolation.")
        graph, who = table.graph, type(self).__name__
        X = graph.finite(table.matrix(self.selected_, who), who, missing=self.takes_missing)
        columns = graph.split(X, [1] * self.knots_.shape[1])
        made = [self._onnx_splines(graph, x, knots) for x, knots in zip(columns, self.knots_.T, strict=True)]
        whole = graph.join(made)
        if self.sparse_output:
            new = {self.output_name_: Column(whole, width=len(self.output_names_))}
        else:
            parts = graph.split(whole, [1] * len(self.output_names_))
            new = {name: Column(part) for name, part in zip(self.output_names_, parts, strict=True)}
        return table.replace(self.selected_, new)

    def _onnx_splines(self, graph: Graph, x: str, knots: np.ndarray) -> str:
        """All splines of a column by the recursion of Cox and de Boor."""
        degree, low, high = self.degree, knots[self.degree], knots[-self.degree - 1]
        missing = graph.cast(graph.node("IsNaN", x), "number")
        x = graph.fill(x, np.array([low]))
        inside = x
        if self.extrapolation == "periodic":
            inside = _onnx_period(graph, x, low, high)
        elif self.extrapolation != "continue":
            inside = clipped(graph, x, low, high)
        made = _onnx_recursion(graph, inside, knots, degree)
        if self.extrapolation == "linear":
            beyond = graph.node("Sub", x, inside)
            zero = graph.constant(np.zeros((1, 1)))
            for end, side in ((low, "Min"), (high, "Max")):
                slopes = graph.constant(self._slopes(end, knots)[None])
                part = graph.node("MatMul", graph.node(side, beyond, zero), slopes)
                made = graph.node("Add", made, part)
        kept = np.eye(self._splines)[np.arange(len(knots) - degree - 1) % self._splines, : self._kept]
        there = graph.node("Sub", graph.constant(np.ones((1, 1))), missing)
        return graph.node("Mul", graph.node("MatMul", made, graph.constant(kept)), there)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        if self.extrapolation == "linear" and self.degree < 2 and len(self.input_names_) > 1:
            raise refusal(
                self,
                "scikit-learn takes a wrong knot for the second column of degree 0 or 1.",
                "Take another degree or extrapolation, or a transformer for each column.",
            )
        chosen = {each: getattr(self, each) for each in ("degree", "extrapolation", "include_bias")}
        made = twin(
            "preprocessing.SplineTransformer",
            max(2, len(self.knots_) - 2 * self.degree),
            **chosen,
            handle_missing=self.handle_missing,
            sparse_output=self.sparse_output,
        )
        block = flow.block(self.selected_, name, made)
        made.fit(flow.tiny(block.labels, np.outer([0.0, 1.0], np.ones(len(block.labels)))))
        with_learned(made, self, "bsplines_", "n_features_out_")
        if self.sparse_output:
            block.makes = [(self.output_name_, len(self.output_names_))]
        else:
            block.makes = [(column, 1) for column in self.output_names_]
        block.row = self.knots_[self.degree].tolist()
        return flow.then(name, flow.beside(self.selected_, [block]))


def _check_weight(there: np.ndarray) -> None:
    """Refuse rows of which none has both a weight and a value."""
    if not there.any():
        raise DataError(
            "No row that weighs something has a value: all sample weights are zero, or all columns empty. "
            "Give at least one such row a positive weight."
        )


def _onnx_period(graph: Graph, x: str, low: float, high: float) -> str:
    """Numbers in the period from `low` to `high` in which they lie."""
    if high <= low:
        return graph.node("Add", graph.node("Mul", x, graph.constant(np.zeros((1, 1)))), _number(graph, low))
    turns = graph.node("Div", graph.node("Sub", x, _number(graph, low)), _number(graph, high - low))
    whole = graph.node("Mul", graph.node("Floor", turns), _number(graph, high - low))
    return graph.node("Sub", x, whole)


def _onnx_recursion(graph: Graph, x: str, knots: np.ndarray, degree: int) -> str:
    """The splines at numbers, of shape (rows, splines); those of the outer intervals go on beyond them."""
    last = len(knots) - degree - 2
    starts, ends = knots[:-1].copy(), knots[1:].copy()
    starts[:degree], ends[:degree] = np.inf, np.inf
    starts[last + 1 :], ends[last] = np.inf, np.inf
    if degree <= last and (ends > starts).any():
        starts[degree] = -np.inf
    above = graph.node("GreaterOrEqual", x, graph.constant(starts[None]))
    below = graph.node("Less", x, graph.constant(ends[None]))
    made = graph.cast(graph.node("And", above, below), "number")
    for order in range(1, degree + 1):
        count = len(knots) - 1 - order
        rise = _inverse(knots[order : order + count] - knots[:count])
        fall = _inverse(knots[order + 1 : order + 1 + count] - knots[1 : count + 1])
        up = graph.node("Sub", x, graph.constant(knots[None, :count]))
        down = graph.node("Sub", graph.constant(knots[None, order + 1 : order + 1 + count]), x)
        left, right = (
            graph.node("Gather", made, graph.constant(at + np.arange(count)), axis=1) for at in (0, 1)
        )
        up = graph.node("Mul", graph.node("Mul", up, graph.constant(rise[None])), left)
        down = graph.node("Mul", graph.node("Mul", down, graph.constant(fall[None])), right)
        made = graph.node("Add", up, down)
    return made


def _inverse(widths: np.ndarray) -> np.ndarray:
    """One divided by each width; 0 for none."""
    return np.where(widths > 0, 1 / np.where(widths > 0, widths, 1.0), 0.0)


def _number(graph: Graph, value: float) -> str:
    return graph.constant(np.array([[value]]))
