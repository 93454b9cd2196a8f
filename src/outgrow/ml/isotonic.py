"""Isotonic regression: the best function that never falls."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import numpy as np
from scipy.optimize import isotonic_regression

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.engine.open import is_table
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import Regressor
from outgrow.ml.core.candidates import Candidate, learn_apart, usable
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.joint import dense
from outgrow.ml.core.parameters import FLAG, Integer, Number, OneOf
from outgrow.ml.export.onnx.answer import Answer, features
from outgrow.ml.export.onnx.graph import Graph
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin
from outgrow.stats.number_sums import NumberSums

AUTO = "auto"
MOST_EXPORTED = 10_000
"""Thresholds of a graph of ONNX, which compares each row with all of them."""


class IsotonicRegression(Regressor):
    """Fit the function of one column that never falls, or never rises, with the least squared error.

    One pass sums y for each different number of the column, so memory grows with how many there are; rows of
    the same number count with their weighted mean. Between numbers the function is linear.

    Parameters
    ----------
    y_min, y_max : limits of what is predicted; None for none.
    increasing : whether the function rises; 'auto' as the sign of Spearman's correlation says, in a second
        pass.
    out_of_bounds : what is predicted beyond the numbers of the fit: 'nan', 'clip' for the value at the nearer
        end, or 'raise'.
    feature_index : which of several features counts; None where there is one.

    Attributes
    ----------
    X_min_, X_max_ : the least and the largest number that has weight.
    X_thresholds_, y_thresholds_ : ndarray of shape (n_thresholds,), between which the function is linear.
    increasing_ : whether it rises.

    Notes
    -----
    Unlike scikit-learn: numbers count as the same only if they are (there also within 1e-15, or 1e-6 of
    float32); `feature_index` chooses one of several columns; `predict` is the only name
    of what it answers, there is no `transform`.

    Unlike Spark MLlib's `IsotonicRegression(isotonic=True, featureIndex=0)`: `increasing` and
    `feature_index`; `out_of_bounds='clip'` is what MLlib does; 'auto', `y_min` and `y_max` are new.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> x, y = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 5.0])
    >>> og.IsotonicRegression().fit(x, y).predict(np.array([1.0, 2.5, 3.5])).tolist()
    [1.0, 2.5, 3.75]
    """

    expected_failed_checks = dict.fromkeys(
        ("check_fit1d", "check_fit2d_predict1d"),
        "it takes arrays of one dimension, as scikit-learn's own does",
    )
    test_parameters = {"feature_index": 0, "out_of_bounds": "clip"}
    shared_fit_parameters = ("y_min", "y_max", "increasing", "out_of_bounds")
    parameters = {
        "y_min": Number() | None,
        "y_max": Number() | None,
        "increasing": FLAG | OneOf(AUTO),
        "out_of_bounds": OneOf("nan", "clip", "raise"),
        "feature_index": Integer(low=0) | None,
    }
    X_thresholds_: np.ndarray
    y_thresholds_: np.ndarray
    increasing_: bool

    def __init__(
        self,
        *,
        y_min: float | None = None,
        y_max: float | None = None,
        increasing: bool | str = True,
        out_of_bounds: str = "nan",
        feature_index: int | None = None,
    ) -> None:
        self.y_min = y_min
        self.y_max = y_max
        self.increasing = increasing
        self.out_of_bounds = out_of_bounds
        self.feature_index = feature_index

    def _check_parameters(self) -> None:
        if self.y_min is not None and self.y_max is not None and self.y_min > self.y_max:
            raise ParameterError(
                f"IsotonicRegression(y_min={self.y_min}, y_max={self.y_max}): y_min must not be above y_max."
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # of several columns it looks at one
        return tags

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, **roles: Any) -> Self:
        """Learn from rows, as other models do.

        Parameters
        ----------
        X : as for other models, or an array of shape (rows,).
        y, sample_weight, **roles : as for other models.
        """
        return super().fit(_column(X), y, sample_weight, **roles)

    def _respond(self, X: Any, method: str, through: Any = None) -> Any:
        return super()._respond(_column(X), method, through)

    # ---- learn -------------------------------------------------------------------------------------------

    def _fit(self, view: MatrixView) -> None:
        if self.increasing != AUTO:
            self._learn(view.reduce(self._sums), bool(self.increasing))
            return
        sums, heights = view.reduce(self._both_sums)
        self._learn(sums, self._rises(view, sums, heights))

    @classmethod
    def _fit_many(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        chosen = usable(rows, candidates)
        plain = [one for one in chosen if one.model.increasing != AUTO]
        if plain:
            sums = rows.each(plain[0].model._sums)
            for one in plain:
                one.attempt(partial(one.model._learn, sums[one.fold], bool(one.model.increasing)))
        learn_apart(rows, [one for one in chosen if one not in plain])

    def _sums(self, block: Block) -> NumberSums:
        """The weight and the weighted y of each number, and of 'auto' how many rows it has."""
        y = np.asarray(block.y)
        weight = np.ones(len(y)) if block.weight is None else block.weight
        rows = [np.ones(len(y))] * (self.increasing == AUTO)
        return NumberSums.of(self._feature(block.X), np.column_stack([weight, weight * y, *rows]))

    def _both_sums(self, block: Block) -> tuple[NumberSums, NumberSums]:
        """The sums of each number, and how many rows each y has."""
        y = np.asarray(block.y)
        return self._sums(block), NumberSums.of(y, np.ones((len(y), 1)))

    def _feature(self, X: Any) -> np.ndarray:
        """The one column that counts."""
        width = X.shape[1]
        if self.feature_index is None and width != 1:
            raise DataError(
                "Isotonic regression input X should be a 1d array or 2d array with 1 feature; there are "
                f"{width}. Give one column, or say by feature_index which of them counts."
            )
        if self.feature_index is not None and self.feature_index >= width:
            raise ParameterError(
                f"IsotonicRegression(feature_index={self.feature_index}): there are {width} features, "
                "counted from 0."
            )
        column = X[:, [self.feature_index or 0]]
        return dense(column)[:, 0]

    def _rises(self, view: MatrixView, sums: NumberSums, heights: NumberSums) -> bool:
        """Whether y rises with the column, by the correlation of their ranks."""
        middle = (view.rows + 1) / 2
        across, up = sums.midranks() - middle, heights.midranks() - middle

        def fold(block: Block) -> np.ndarray:
            x, y = self._feature(block.X), np.asarray(block.y)
            ranks = across[np.searchsorted(sums.numbers, x)], up[np.searchsorted(heights.numbers, y)]
            return np.array([ranks[0] @ ranks[1]])

        spread = math.sqrt(float(sums.sums[:, -1] @ across**2) * float(heights.sums[:, -1] @ up**2))
        rho = float(view.reduce(fold)[0]) / spread if spread > 0 else math.nan
        _warn_of_doubt(rho, view.rows)
        return rho >= 0

    def _learn(self, sums: NumberSums, increasing: bool) -> None:
        kept = sums.sums[:, 0] > 0
        x, weight = sums.numbers[kept], sums.sums[kept, 0]
        heights = isotonic_regression(sums.sums[kept, 1] / weight, weights=weight, increasing=increasing).x
        if self.y_min is not None or self.y_max is not None:
            heights = np.clip(heights, self.y_min, self.y_max)
        turns = np.ones(len(x), dtype=bool)
        turns[1:-1] = (heights[1:-1] != heights[:-2]) | (heights[1:-1] != heights[2:])
        self.X_thresholds_, self.y_thresholds_ = x[turns], heights[turns]
        self.increasing_ = increasing
        self.X_min_, self.X_max_ = float(x[0]), float(x[-1])

    # ---- answer ------------------------------------------------------------------------------------------

    def _predict(self, X: Any) -> np.ndarray:
        x = self._feature(X)
        beyond = (x < self.X_min_) | (x > self.X_max_)
        alone = len(self.X_thresholds_) == 1  # which scikit-learn predicts everywhere
        if self.out_of_bounds == "raise" and beyond.any() and not alone:
            raise DataError(
                f"{int(beyond.sum())} value(s) lie outside of the numbers of the fit, {self.X_min_:g} to "
                f"{self.X_max_:g}; the first is {x[beyond][0]:g}. Choose out_of_bounds='clip' or 'nan'."
            )
        found = self._heights(x)
        return np.where(beyond, np.nan, found) if self.out_of_bounds == "nan" and not alone else found

    def _heights(self, x: np.ndarray) -> np.ndarray:
        """The function at numbers; beyond its ends, at the nearer one.

        By shares of the way from one threshold to the next: a slope between very near ones is infinite.
        """
        known, heights = self.X_thresholds_, self.y_thresholds_
        if len(known) == 1:
            return np.full(len(x), heights[0])
        inside = np.clip(x, self.X_min_, self.X_max_)
        piece = np.searchsorted(known[1:-1], inside, side="right")
        share = (inside - known[piece]) / np.diff(known)[piece]
        return np.asarray(heights[piece] + share * np.diff(heights)[piece])

    # ---- export ------------------------------------------------------------------------------------------

    def _to_onnx(self, table: Table) -> Answer:
        graph = table.graph
        X = features(self.features_, table, type(self).__name__)
        column = graph.node("Gather", X, graph.constant([self.feature_index or 0]), axis=1)
        inside = self._inside_in_onnx(graph, column)
        heights = self._heights_in_onnx(graph, inside)
        if self.out_of_bounds != "clip" and len(self.X_thresholds_) > 1:
            beyond = graph.node("Not", graph.node("Equal", inside, column))
            if self.out_of_bounds == "nan":
                heights = graph.node("Where", beyond, graph.constant(np.nan), heights)
            else:
                heights = graph.refuse(beyond, heights, "IsotonicRegression: a value outside of the fit")
        return Answer(graph.node("Squeeze", heights, graph.constant([1], np.int64)))

    def _inside_in_onnx(self, graph: Graph, column: str) -> str:
        """The numbers of a column, of shape (rows, 1), moved to within those of the fit.

        Raises
        ------
        ExportError
            When there are too many thresholds for a graph.
        """
        if len(self.X_thresholds_) > MOST_EXPORTED:
            fact = f"it has {len(self.X_thresholds_)} thresholds, and each row is compared with all of them."
            raise refusal(self, fact, f"Round the column: up to {MOST_EXPORTED} are exported.")
        low, high = graph.constant(self.X_min_), graph.constant(self.X_max_)
        return graph.node("Max", graph.node("Min", column, high), low)

    def _heights_in_onnx(self, graph: Graph, inside: str) -> str:
        """The function at numbers within those of the fit, of shape (rows, 1)."""
        x, y = self.X_thresholds_, self.y_thresholds_
        if len(x) == 1:
            return graph.node("Add", graph.node("Mul", inside, graph.constant(0.0)), graph.constant(y[0]))
        passed = graph.node("GreaterOrEqual", inside, graph.constant(x[None, 1:-1]))
        piece = graph.node(
            "ReduceSum", graph.cast(passed, "integer"), graph.constant([1], np.int64), keepdims=1
        )
        along = graph.node("Sub", inside, graph.node("Gather", graph.constant(x[:-1]), piece))
        share = graph.node("Div", along, graph.node("Gather", graph.constant(np.diff(x)), piece))
        rise = graph.node("Mul", share, graph.node("Gather", graph.constant(np.diff(y)), piece))
        return graph.node("Add", rise, graph.node("Gather", graph.constant(y[:-1]), piece))

    def _used_features(self) -> list[str]:
        alone = self.feature_index is None or len(self.features_) == 1
        return self.features_ if alone else [self.features_[self.feature_index or 0]]

    def _sklearn_model(self) -> Any:
        """Fitted on the thresholds, which are monotonic already."""
        names = ("y_min", "y_max", "out_of_bounds")
        made = twin("isotonic.IsotonicRegression", **{name: getattr(self, name) for name in names})
        made.set_params(increasing=self.increasing_)
        made.fit(self.X_thresholds_, self.y_thresholds_)
        return made.set_params(increasing=self.increasing)


def _column(X: Any) -> Any:
    """X with a column, where it is an array of numbers alone."""
    if is_table(X) or is_sparse(X) or X is None:
        return X
    values = np.asarray(X)
    return values.reshape(-1, 1) if values.ndim == 1 else X


def _warn_of_doubt(rho: float, rows: int) -> None:
    """Warn where the 95 % interval of Spearman's correlation (by Fisher's transformation) holds zero."""
    if rows <= 3 or not abs(rho) < 1:
        return
    middle, width = math.atanh(rho), 1.96 / math.sqrt(rows - 3)
    if np.sign(math.tanh(middle - width)) != np.sign(math.tanh(middle + width)):
        warnings.warn(
            "Confidence interval of the Spearman correlation coefficient spans zero. Determination of "
            "``increasing`` may be suspect. Set increasing=True or False.",
            stacklevel=2,
        )
