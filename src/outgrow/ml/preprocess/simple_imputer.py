"""Filling in missing values."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch, Column, Matrix, is_categorical, is_numeric, matrix_columns, numbers
from outgrow.data.names import distinct
from outgrow.engine.checks import check_finite
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError, SchemaError
from outgrow.ml.base import Transformer
from outgrow.ml.columns import Columns, require_numeric
from outgrow.ml.grouped import GroupBlock, GroupView, Stacked
from outgrow.ml.parameters import one_of
from outgrow.ml.task import Task
from outgrow.stats.counts import ValueCounts
from outgrow.stats.grouped import GroupedMoments
from outgrow.stats.moments import Moments
from outgrow.stats.quantiles import quantiles

R = TypeVar("R")

_TEXT = "missing_value"


class SimpleImputer(Transformer):
    """Replace missing values by a statistic of their column, or by a constant.

    Null and NaN are missing, and `missing_values` with them. Columns of numbers and booleans become float64,
    whether or not something is missing; text stays text. Weights are not used, as in scikit-learn. Spark
    MLlib's `Imputer(missingValue=...)` takes numbers only, and its median is approximate; this is exact.

    Parameters
    ----------
    columns : which columns, by name or selector; all by default.
    missing_values : a number or a text that stands for a missing value, beside null and NaN.
    strategy : 'mean' or 'median' for numbers; 'most_frequent' (the smallest of equals) or 'constant' for
        numbers and text.
    fill_value : the constant; by default 0 for numbers and 'missing_value' for text.
    keep_empty_features : keep columns in which `fit` saw no value, filled with the constant or else with its
        default. Without it `transform` leaves them out, with a warning.
    add_indicator : put a column `missingindicator_<column>` behind the others for each column in which `fit`
        met a missing value: 1 where it is missing, else 0.
    copy : as scikit-learn has it; it changes nothing here, where input is never changed.

    Attributes
    ----------
    statistics_ : ndarray of shape (n_columns,), what is filled in; NaN for columns that are left out. The
        columns of a matrix count each.
    text_ : list of the columns of text.
    vectors_ : dict of the matrix columns and their widths.
    indicators_ : dict of the columns with an indicator, by the name of that.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.SimpleImputer().fit_transform(np.array([[1.0], [np.nan], [3.0]])).tolist()
    [[1.0], [2.0], [3.0]]
    >>> imputer = og.SimpleImputer(missing_values=-1, add_indicator=True)
    >>> imputer.fit_transform(np.array([[1.0], [-1.0], [3.0]])).tolist()
    [[1.0, 0.0], [2.0, 1.0], [3.0, 0.0]]
    """

    takes_dictionaries = True
    without_effect = ("copy",)

    def __init__(
        self,
        columns: Columns = None,
        *,
        missing_values: Any = np.nan,
        strategy: str = "mean",
        fill_value: Any = None,
        copy: bool = True,
        add_indicator: bool = False,
        keep_empty_features: bool = False,
    ) -> None:
        self.columns = columns
        self.missing_values = missing_values
        self.strategy = strategy
        self.fill_value = fill_value
        self.copy = copy
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features

    def _check_parameters(self) -> None:
        one_of(self, "strategy", ("mean", "median", "most_frequent", "constant"))

    def _group_form(self) -> GroupedFilling | None:
        return GroupedFilling() if self.strategy == "mean" and not self.marks else None

    @property
    def marks(self) -> bool:
        """Whether it does more than fill in what is null or NaN: it looks for a mark, or makes indicators."""
        return self._mark is not None or self.add_indicator

    @property
    def _mark(self) -> Any:
        """What stands for a missing value beside null and NaN; None for nothing."""
        value = self.missing_values
        return None if value is None or not isinstance(value, Real | str) or _is_nan(value) else value

    def _learn(self, shard: Shard, names: list[str], task: Task) -> None:
        if self._mark is not None:
            shard = shard.transformed(partial(_unmarked, names=names, mark=self._mark), encoded=True)
        example = shard.example
        _refuse_sparse(example, names)
        takes_text = self.strategy in ("most_frequent", "constant")
        if not takes_text:
            require_numeric(example, [name for name in names if not _is_null(example, name)], "SimpleImputer")
        self.text_ = [name for name in names if takes_text and _is_text(example, name)]
        self.vectors_ = {name: c.width for name in names if isinstance(c := example[name], Matrix)}
        numeric = [name for name in names if name not in self.text_]
        if self.strategy == "constant":
            self._check_fill_value(numeric)
        found = self._found(shard, numeric) if names else []
        values = dict(self._by_name([*numeric, *self.text_], found))
        ordered = [value for name in names for value in values[name]]
        self.statistics_ = np.array(ordered, dtype=object if self.text_ else np.float64)
        self.indicators_ = self._indicated(shard, names, task) if self.add_indicator and names else {}
        self._restored()

    def _indicated(self, shard: Shard, names: list[str], task: Task) -> dict[str, str]:
        """The columns that miss something, by the names of their indicators."""
        missing = shard.reduce(
            lambda batch: np.array([np.count_nonzero(_missing(batch[name])) for name in names]), encoded=True
        )
        some = [name for name, count in zip(names, missing.tolist(), strict=True) if count]
        free = distinct([f"missingindicator_{name}" for name in some], taken=task.columns)
        return dict(zip(free, some, strict=True))

    def _restored(self) -> None:
        self._indicators: dict[str, str] = getattr(self, "indicators_", {})  # earlier models have none
        values = dict(self._by_name(self.selected_, self.statistics_.tolist()))
        empty = {name for name, own in values.items() if name not in self.vectors_ and _is_nan(own[0])}
        kept = {name: own for name, own in values.items() if name not in empty}
        self._gone = [name for name in values if name in empty]
        self._words = {name: own[0] for name, own in kept.items() if name in self.text_}
        self._vectors = {name: np.array(own) for name, own in kept.items() if name in self.vectors_}
        self._names = [name for name in kept if name not in self._words and name not in self._vectors]
        self._values = np.array([kept[name][0] for name in self._names], dtype=np.float64)

    def _change(self, batch: Batch, names: list[str]) -> Batch:
        if self._mark is not None:
            batch = _unmarked(batch, names=names, mark=self._mark)
        new: dict[str, Any] = {
            made: pa.array(_missing(batch[name]).astype(np.float64))
            for made, name in self._indicators.items()
        }
        if self._names:
            new |= matrix_columns(_filled(batch.matrix(self._names), self._values), self._names)
        for name, word in self._words.items():
            new[name] = pc.fill_null(_as_text(batch[name]), word)
        for name, values in self._vectors.items():
            new[name] = _filled_vectors(batch, name, values)
        if batch.num_rows:
            self._warn_of_empty()
        return batch.with_columns(new).drop(self._gone)

    def _found(self, shard: Shard, numeric: list[str]) -> list[Any]:
        """The statistics of the columns of numbers, then those of the columns of text."""
        width = shard.example.matrix(numeric).shape[1] if numeric else 0
        found = getattr(self, f"_{self.strategy}")(shard, numeric, width)
        if not self.keep_empty_features:
            return list(found)
        return [self._constant_at(j < width) if _is_nan(value) else value for j, value in enumerate(found)]

    def _mean(self, shard: Shard, numeric: list[str], width: int) -> list[float]:
        moments = shard.reduce(lambda batch: Moments.of(_matrix(batch, numeric)), encoded=True)
        return np.where(moments.n > 0, moments.mean, np.nan).tolist()

    def _median(self, shard: Shard, numeric: list[str], width: int) -> list[float]:
        def reduce(fold: Callable[[np.ndarray], R]) -> R:
            return shard.reduce(lambda batch: fold(_matrix(batch, numeric)), encoded=True)

        return quantiles(reduce, width, [0.5])[0][0].tolist()

    def _most_frequent(self, shard: Shard, numeric: list[str], width: int) -> list[Any]:
        text = self.text_
        counts = shard.reduce(
            lambda batch: tuple(map(ValueCounts.of, _each(batch, numeric, text))), encoded=True
        )
        most = [each.most_frequent() for each in counts]
        return [np.nan if value is None else value for value in most]

    def _constant(self, shard: Shard, numeric: list[str], width: int) -> list[Any]:
        text = self.text_
        present = shard.reduce(
            lambda batch: np.array(list(map(_present, _each(batch, numeric, text)))), encoded=True
        )
        return [self._constant_at(j < width) if n else np.nan for j, n in enumerate(present.tolist())]

    def _constant_at(self, numeric: bool) -> Any:
        if self.strategy == "constant" and self.fill_value is not None:
            return self.fill_value
        return 0.0 if numeric else _TEXT

    def _check_fill_value(self, numeric: list[str]) -> None:
        if self.fill_value is None:
            return
        for names, kind, expected in ((numeric, Real, "numbers"), (self.text_, str, "text")):
            if names and not isinstance(self.fill_value, kind):
                raise ParameterError(
                    f"fill_value={self.fill_value!r} cannot be put into columns {names}, which hold "
                    f"{expected}. Give these columns a SimpleImputer of their own."
                )

    def _by_name(self, names: list[str], flat: list[Any]) -> Iterator[tuple[str, list[Any]]]:
        at = 0
        for name in names:
            width = self.vectors_.get(name, 1)
            yield name, flat[at : at + width]
            at += width

    def _warn_of_empty(self) -> None:
        parts = [f"{name}[{j}]" for name, own in self._vectors.items() for j in np.flatnonzero(np.isnan(own))]
        if self._gone or parts:
            warnings.warn(
                f"Skipping features without any observed values: {[*self._gone, *parts]}. At least one "
                f"non-missing value is needed for imputation with strategy={self.strategy!r}.",
                stacklevel=2,
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = self.strategy in ("most_frequent", "constant")
        return tags


@dataclass(frozen=True)
class GroupedFilling:
    """The means of each group. A column of which a group has no value is 0 there, and so has no effect."""

    missing = True

    def learn(self, view: GroupView) -> Stacked:
        moments = view.reduce(_grouped_moments)
        return {"statistics_": np.where(moments.n > 0, moments.mean, 0.0)}

    def apply(self, X: np.ndarray, learned: Stacked, place: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(X), learned["statistics_"][place], X)

    def beside(self) -> dict[str, Any]:
        return {"text_": [], "vectors_": {}, "indicators_": {}}


def _grouped_moments(block: GroupBlock) -> GroupedMoments:
    return GroupedMoments.of(block.segments, block.features)


def _refuse_sparse(example: Batch, names: list[str]) -> None:
    sparse = [name for name in names if isinstance(c := example[name], Matrix) and c.sparse]
    if sparse:
        raise ParameterError(
            f"SimpleImputer does not take sparse matrices, and {sparse} are. Impute before the step that "
            "makes them, or name other columns."
        )


def _unmarked(batch: Batch, *, names: list[str], mark: Any) -> Batch:
    """The batch with nulls where a column holds the mark."""
    return batch.with_columns({name: _without(batch[name], mark) for name in names})


def _without(column: Column, mark: Any) -> Column:
    if isinstance(column, Matrix):
        if not isinstance(mark, Real):
            return column
        values = column.values.astype(np.float64)
        return Matrix(np.where(values == mark, np.nan, values), column.names)
    if is_numeric(column.type) != isinstance(mark, Real) or pa.types.is_null(column.type):
        return column
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    plain = numbers(column) if isinstance(mark, Real) else None
    gone = pa.array(plain == mark) if plain is not None else pc.equal(column, pa.scalar(mark, column.type))
    return pc.if_else(pc.fill_null(gone, False), pa.scalar(None, column.type), column)


def _missing(column: Column) -> np.ndarray:
    """Whether a value is missing, or any of a vector."""
    if isinstance(column, Matrix):
        return np.isnan(column.values).any(axis=1)
    return column.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)


def _is_null(example: Batch, name: str) -> bool:
    column = example[name]
    return not isinstance(column, Matrix) and pa.types.is_null(column.type)


def _is_text(example: Batch, name: str) -> bool:
    column = example[name]
    if isinstance(column, Matrix) or is_numeric(column.type):
        return False
    if is_categorical(column.type) or pa.types.is_null(column.type):
        return True
    raise SchemaError(f"Column {name!r} is of type {column.type}; SimpleImputer takes numbers and text.")


def _is_nan(value: Any) -> bool:
    return bool(value != value)


def _matrix(batch: Batch, names: list[str]) -> np.ndarray:
    X = batch.matrix(names)
    check_finite(X, "X", missing=True)
    return X


def _each(batch: Batch, numeric: list[str], text: list[str]) -> Iterator[pa.Array]:
    """The columns of numbers one by one, missing values as nulls, then those of text."""
    if numeric:
        X = _matrix(batch, numeric)
        yield from (pa.array(X[:, j], from_pandas=True) for j in range(X.shape[1]))
    yield from (_words(batch[name]) for name in text)


def _words(column: Column) -> pa.Array:
    """A column of text, as a dictionary where it is one."""
    assert not isinstance(column, Matrix)
    return column if pa.types.is_dictionary(column.type) else _as_text(column)


def _present(column: pa.Array) -> int:
    return len(column) - column.null_count


def _as_text(column: Column) -> pa.Array:
    assert not isinstance(column, Matrix)
    return column.cast(pa.string())


def _filled(X: np.ndarray, values: np.ndarray) -> np.ndarray:
    """X with `values` of shape (columns,) where it is NaN; X itself where nothing is."""
    with np.errstate(all="ignore"):
        sums = X.sum(axis=0)
    if np.isfinite(sums).all():
        return X
    check_finite(X, "X", missing=True)
    X = X.copy(order="F")
    for j in np.flatnonzero(np.isnan(sums)):
        column = X[:, j]
        column[np.isnan(column)] = values[j]
    return X


def _filled_vectors(batch: Batch, name: str, values: np.ndarray) -> Matrix:
    column, kept = batch[name], ~np.isnan(values)
    assert isinstance(column, Matrix)
    names = tuple(n for n, keep in zip(column.names, kept, strict=True) if keep)
    X = batch.matrix([name])
    return Matrix(_filled(X if kept.all() else X[:, kept], values[kept]), names)
