"""Filling in missing values by rows that are near."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.hashing import seeded, source_hash
from outgrow.data.matrix import Column, Matrix, is_sparse, matrix_columns
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.core.columns import Columns, require_numeric
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.matrices import checked_matrix
from outgrow.ml.core.parameters import (
    COLUMNS,
    FLAG,
    FUNCTION,
    RANDOM_STATE,
    Integer,
    OneOf,
    Unused,
    described,
    seed,
)
from outgrow.ml.core.task import Task, column_names
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.impute.base import Filling
from outgrow.stats.least_rows import LeastRows
from outgrow.stats.moments import Moments, check_squares

_PLACE_BITS = np.uint64(20)
_MOST_DONORS = 1 << 20
_ROUNDING = 1e-14
"""The share of the squares that a difference of them may be off: rows as near as that are equal."""
_TILE = 1 << 22
"""Distances that are held at once."""


class KNNImputer(Filling):
    """Replace missing values by the mean of the nearest rows that have them.

    Rows are as near as the numbers that both have say. The rows that lend their values (donors) are all, up
    to `max_donors`, and of more those of the least hash, so they are the same on every engine. Where no donor
    has both a value and a number in common, the mean of the column stands in.

    Parameters
    ----------
    columns : which columns, by name or selector; all by default.
    missing_values : a number that stands for a missing value, beside null and NaN.
    n_neighbors : how many donors lend their values.
    weights : 'uniform', or 'distance' for weights of one divided by the distance; or a function that makes
        weights of an array of distances of shape (rows, n_neighbors), in which NaN is no donor. Which
        functions a saved model may have, `FunctionTransformer` says.
    metric : 'nan_euclidean'.
    copy : as scikit-learn has it, without effect: input is never changed.
    add_indicator : put a column `missingindicator_<column>` behind the others for each column in which `fit`
        met a missing value: 1 where it is missing, else 0.
    keep_empty_features : keep columns in which `fit` saw no value, filled with 0; without it `transform`
        leaves them out.
    max_donors : the most rows that lend their values. Filling in takes time in proportion to it.
    random_state : another number chooses other donors, where there are more rows; None is 0.

    Attributes
    ----------
    donors_ : ndarray of shape (n_donors, n_columns), with missing values as NaN.
    statistics_ : ndarray of shape (n_columns,), the means of all rows.
    n_rows_ : how many rows had a value.
    vectors_, indicators_, indicated_ : as `SimpleImputer` has them.

    Notes
    -----
    Unlike scikit-learn: at most `max_donors` rows lend their values, where it asks all, and takes time in
    proportion to their square; of donors that are as far as each other, the least hash decides.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[1.0, 2.0], [3.0, 4.0], [np.nan, 6.0], [8.0, 8.0]])
    >>> og.KNNImputer(n_neighbors=2).fit_transform(X).tolist()
    [[1.0, 2.0], [3.0, 4.0], [5.5, 6.0], [8.0, 8.0]]
    """

    parameters = {
        "columns": COLUMNS,
        "missing_values": described("a number, NaN or None"),
        "n_neighbors": Integer(low=1),
        "weights": OneOf("uniform", "distance") | FUNCTION,
        "metric": OneOf("nan_euclidean"),
        "copy": Unused(),
        "add_indicator": FLAG,
        "keep_empty_features": FLAG,
        "max_donors": Integer(low=1, high=_MOST_DONORS),
        "random_state": RANDOM_STATE,
    }
    no_exports = {"ONNX": "it looks at all donors for each row"}
    donors_: np.ndarray
    statistics_: np.ndarray
    n_rows_: int

    def __init__(
        self,
        columns: Columns = None,
        *,
        missing_values: Any = np.nan,
        n_neighbors: int = 5,
        weights: str | Callable[[np.ndarray], np.ndarray] = "uniform",
        metric: str = "nan_euclidean",
        copy: bool = True,
        add_indicator: bool = False,
        keep_empty_features: bool = False,
        max_donors: int = 20_000,
        random_state: Any = None,
    ) -> None:
        self.columns = columns
        self.missing_values = missing_values
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.metric = metric
        self.copy = copy
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
        self.max_donors = max_donors
        self.random_state = random_state

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        who = type(self).__name__
        require_numeric(shard.example, names, who)
        if not names:
            raise DataError(f"{who} has no columns to work on. Name some that are there, and hold values.")
        if is_sparse(shard.example.matrix(names)):
            raise ParameterError(f"{who} does not support sparse input. Give dense columns.")
        shard = self._unmarked_shard(shard, names)
        self._note_vectors(shard.example, names)
        number = seed(self.random_state)

        def fold(batch: Batch) -> tuple[LeastRows, Moments, np.ndarray]:
            X = checked_matrix(batch, names)
            some = ~np.isnan(X).all(axis=1)
            key = seeded(source_hash(batch, names), number)
            rows = LeastRows.of(self.max_donors, X[some], key[some])
            return rows, Moments.of(X), np.array([some.sum()])

        donors, moments, rows = shard.reduce(fold, encoded=True)
        check_squares(moments.m2, names)
        self.donors_, self.n_rows_ = np.ascontiguousarray(donors.rows), int(rows[0])
        self.statistics_ = np.where(moments.n > 0, moments.mean, np.nan)
        self._note_indicators(shard, names, task)
        self._restored()

    def _restored(self) -> None:
        self._made_tables: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    @property
    def _tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which numbers of donors are there, their squares summed, and what distances are products with; a
        fit alone does not make them."""
        if not self._made_tables:
            there = ~np.isnan(self.donors_)
            centred = np.where(there, self.donors_ - np.nan_to_num(self.statistics_), 0.0)
            own = there.astype(np.float64)
            squares = np.concatenate([own, -2 * centred, centred**2], axis=1).T.copy()
            self._made_tables.append((own, (centred**2).sum(axis=1), squares))
        return self._made_tables[0]

    @property
    def _kept(self) -> np.ndarray:
        """Which numbers of a row are kept."""
        return ~np.isnan(self.statistics_) | self.keep_empty_features

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        batch = self._unmarked(batch, names)
        new: dict[str, Column] = dict(self._indicators(batch))
        made, kept, at = self._filled(np.asarray(checked_matrix(batch, names))), self._kept, 0
        gone = []
        for name in names:
            part = np.arange(at, at + self.vectors_.get(name, 1))
            at, part = at + len(part), part[kept[part]]
            if not len(part):
                gone.append(name)
            elif name in self.vectors_:
                labels = column_names(batch.select([name]))[part - (at - self.vectors_[name])]
                new[name] = Matrix(made[:, part], tuple(labels))
            else:
                new |= matrix_columns(made[:, part], [name])
        return batch.with_columns(new).drop(gone)

    def _filled(self, X: np.ndarray) -> np.ndarray:
        """A matrix in which nothing is missing but what never was there."""
        holes = np.isnan(X)
        fillable = ~np.isnan(self.statistics_)
        made = np.where(holes & ~fillable, 0.0, X)
        some = np.flatnonzero((holes & fillable).any(axis=1))
        step = max(1, _TILE // max(1, len(self.donors_)))
        for start in range(0, len(some), step):
            rows = some[start : start + step]
            distances = self._distances(X[rows])
            for j in np.flatnonzero(holes[rows].any(axis=0) & fillable).tolist():
                wanting = holes[rows, j]
                made[rows[wanting], j] = self._lent(distances[wanting], j)
        return made

    def _distances(self, X: np.ndarray) -> np.ndarray:
        """Squared distances from donors, scaled up for numbers that one of both lacks."""
        there = ~np.isnan(X)
        centred = np.where(there, X - np.nan_to_num(self.statistics_), 0.0)
        own = there.astype(np.float64)
        donors, norms, tables = self._tables
        squares = np.concatenate([centred**2, centred, own], axis=1) @ tables
        common = own @ donors.T
        rounding = _ROUNDING * ((centred**2).sum(axis=1)[:, None] + norms)
        squares[squares <= rounding] = 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            squares *= X.shape[1] / common
        squares[common == 0] = np.inf
        return squares

    def _lent(self, squares: np.ndarray, j: int) -> np.ndarray:
        """What the nearest donors of each row lend it for a column."""
        able = np.flatnonzero(self._tables[0][:, j])
        out = np.full(len(squares), self.statistics_[j])
        if not len(able):
            return out
        near = _nearest(squares[:, able], min(self.n_neighbors, len(able)))
        distances = np.sqrt(np.take_along_axis(squares, able[near], axis=1))
        weights = self._weights(distances)
        total = weights.sum(axis=1)
        lent = (weights * self.donors_[able[near], j]).sum(axis=1)
        known = np.isfinite(distances).any(axis=1)
        out[known] = lent[known] / total[known]
        return out

    def _weights(self, distances: np.ndarray) -> np.ndarray:
        absent = np.isinf(distances)
        if callable(self.weights):
            made = np.array(self.weights(np.where(absent, np.nan, distances)), dtype=np.float64)
            return np.where(absent | np.isnan(made), 0.0, made)
        if self.weights == "uniform":
            return (~absent).astype(np.float64)
        same = distances == 0
        with np.errstate(divide="ignore"):
            return np.where(same.any(axis=1, keepdims=True), same.astype(np.float64), 1 / distances)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        if self.n_rows_ > len(self.donors_) or self._mark is not None or self.add_indicator:
            raise refusal(
                self,
                f"it has {len(self.donors_)} of {self.n_rows_} rows as donors, "
                f"missing_values={self.missing_values!r}, add_indicator={self.add_indicator}.",
                "Take as many donors as rows, and leave the others out.",
            )
        made = twin(
            "impute.KNNImputer",
            n_neighbors=self.n_neighbors,
            weights=self.weights,
            keep_empty_features=self.keep_empty_features,
        )
        block = flow.block(self.selected_, name, made)
        made.fit(flow.tiny(block.labels, self.donors_))
        kept = [column for column, keep in zip(self.selected_, self._kept, strict=True) if keep]
        block.makes = [(column, 1) for column in kept]
        order = [column for column in flow.columns if column in kept or column not in self.selected_]
        return flow.then(name, flow.beside(self.selected_, [block]), order)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that `transform` gives; `input_features` are those of an array's columns."""
        check_is_fitted(self)
        return super().get_feature_names_out(input_features)


def _nearest(squares: np.ndarray, count: int) -> np.ndarray:
    """The places of the least numbers of each row; of those that are equal but for rounding, the first."""
    low = (np.uint64(1) << _PLACE_BITS) - np.uint64(1)
    places = np.arange(squares.shape[1], dtype=np.uint64)
    half = np.uint64(1) << (_PLACE_BITS - np.uint64(1))
    keys = ((np.ascontiguousarray(squares).view(np.uint64) + half) & ~low) | places
    least = np.partition(keys, count - 1, axis=1)[:, :count] if count < squares.shape[1] else keys
    return (np.sort(least, axis=1) & low).astype(np.intp)
