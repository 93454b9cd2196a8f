"""Categories as columns of zeros and ones."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse as sp

from outgrow.data.batch import Batch, Matrix, matrix_columns
from outgrow.data.names import distinct, numbered
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.base import Task, Transformer, column_names
from outgrow.ml.columns import Columns
from outgrow.ml.parameters import integer, one_of
from outgrow.ml.preprocess.categories import (
    Coder,
    check_categories,
    learn_categories,
    places_of,
    rows_of,
    unknown_error,
)
from outgrow.stats.counts import ValueCounts

_NOWHERE = -1


class OneHotEncoder(Transformer):
    """Replace each column by one column of zeros and ones for each of its categories.

    The encoded columns become one sparse matrix column called `onehot`, where the first of them stood.
    Numbers compare by value: 1 and 1.0 are one category. Missing values are a category of their own, the
    last: `a_None` for text, `a_nan` for numbers. Weights are not used, as in scikit-learn. Spark MLlib needs
    a `StringIndexer` before its `OneHotEncoder`, orders categories by frequency and drops the last of them
    (`dropLast`); this one takes the columns as they are, sorts the categories and drops none, as
    scikit-learn's does.

    Parameters
    ----------
    columns : which columns, by name or selector; all by default.
    categories : 'auto' for what the data has, or for each column a list of its categories in their order
        (numbers sorted, a missing value last).
    drop : leave out a category: 'first' of every column, 'if_binary' the first of columns with two, or None.
    handle_unknown : what becomes of values that `fit` did not see: 'error'; 'ignore', zeros in all columns;
        or 'infrequent_if_exist', the infrequent category where there is one, else zeros.
    min_frequency : categories with fewer rows are put together as `<column>_infrequent_sklearn`; a whole
        number of rows, or a share of them between 0 and 1.
    max_categories : at most so many output columns for each column, `infrequent_sklearn` among them; the
        most frequent categories stay, the later of equals.
    sparse_output : one sparse matrix column; otherwise dense float64 columns.

    The output columns are called `<column>_<category>`; where that name is taken, by a column of the rows
    or by another category, the first free number follows: `a_None_2`.

    Attributes
    ----------
    categories_ : list of ndarray, the categories of each column; None or NaN last where values were missing.
    infrequent_categories_ : list of ndarray or None, those of them that were put together.
    output_name_ : the name of the sparse matrix column; `onehot2` and so on where `onehot` is taken.
    taken_names_ : list of the names that output columns would have had and that other columns have.
    drop_idx_ : ndarray of the place in `categories_` of what was left out, None for columns without; or None.

    Raises
    ------
    DataError
        At `transform`, for unknown values with `handle_unknown='error'`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> encoder = og.OneHotEncoder(sparse_output=False).fit(np.array([["b"], ["a"]]))
    >>> encoder.get_feature_names_out().tolist()
    ['x0_a', 'x0_b']
    >>> encoder.transform(np.array([["b"], ["a"]])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """

    takes_dictionaries = True
    taken_names_: list[str] = []  # noqa: RUF012 - of models that were saved before there was one

    def __init__(
        self,
        columns: Columns = None,
        *,
        categories: Any = "auto",
        drop: str | None = None,
        handle_unknown: str = "error",
        min_frequency: float | None = None,
        max_categories: int | None = None,
        sparse_output: bool = True,
    ) -> None:
        self.columns = columns
        self.categories = categories
        self.drop = drop
        self.handle_unknown = handle_unknown
        self.min_frequency = min_frequency
        self.max_categories = max_categories
        self.sparse_output = sparse_output

    def _check_parameters(self) -> None:
        check_categories(self)
        one_of(self, "drop", ("first", "if_binary", None))
        one_of(self, "handle_unknown", ("error", "ignore", "infrequent_if_exist"))
        integer(self, "max_categories", low=1, none=True)
        least = self.min_frequency
        if isinstance(least, Integral):
            integer(self, "min_frequency", low=1)
        elif least is not None and not (isinstance(least, Real) and 0 < least < 1):
            raise ParameterError(
                f"OneHotEncoder(min_frequency={least!r}): min_frequency must be a whole number of rows, "
                "a share between 0 and 1, or None."
            )

    def _learn(self, shard: Shard, names: list[str], task: Task) -> None:
        strict = self.handle_unknown == "error"
        self.categories_, counts = learn_categories(shard, names, self.categories, strict=strict)
        columns = zip(self.categories_, counts, strict=True)
        self.infrequent_categories_ = [self._infrequent(categories, each) for categories, each in columns]
        self.drop_idx_ = self._dropped()
        others = shard.example.drop(names)
        self.output_name_ = numbered("onehot", others.columns)
        taken = {*others.columns, *column_names(others)}
        self.taken_names_ = sorted(taken.intersection(self._natural_names()))
        self._restored()

    def _restored(self) -> None:
        self._coders, width = list[Coder](), 0
        for j, (name, categories) in enumerate(zip(self.selected_, self.categories_, strict=True)):
            columns, own = self._columns_of(j)
            self._coders.append(
                Coder(name, places_of(categories), np.where(columns < 0, _NOWHERE, columns + width))
            )
            width += len(own)
        self._labels = tuple(distinct(self._natural_names(), self.taken_names_))

    def _natural_names(self) -> list[str]:
        """The names of the output columns, were all of them free."""
        columns = enumerate(self.selected_)
        return [f"{name}_{label}" for j, name in columns for label in self._columns_of(j)[1]]

    def _change(self, batch: Batch, names: list[str]) -> Batch:
        hot = np.empty((batch.num_rows, len(names)), dtype=np.int32)
        for j, coder in enumerate(self._coders):
            hot[:, j], unknown = coder.encode(batch[coder.name])
            if unknown:
                self._meet_unknown(coder.name, unknown)
        if self.sparse_output:
            return batch.replace(names, {self.output_name_: Matrix(_sparse(hot, self._width), self._labels)})
        return batch.replace(names, matrix_columns(_dense(hot, self._width), self._labels))

    @property
    def _width(self) -> int:
        return len(self._labels)

    def _meet_unknown(self, name: str, values: list[Any]) -> None:
        if self.handle_unknown == "error":
            advice = "Fit on rows that have them, or pass handle_unknown='ignore'."
            raise unknown_error(name, values, "transform", advice)
        if self.drop is not None:
            warnings.warn(
                f"Found unknown categories in column {name!r} during transform. They are encoded as the "
                "infrequent category, or as all zeros, which is also what a dropped category looks like.",
                stacklevel=2,
            )

    def _infrequent(self, categories: np.ndarray, counts: ValueCounts) -> np.ndarray | None:
        """The categories to put together, chosen as scikit-learn chooses them."""
        rows = rows_of(categories, counts)
        few = rows < self._least_rows(sum(counts.counts.values()))
        if self.max_categories is not None and self.max_categories < len(rows) - few.sum() + 1:
            # stable, so that of equals the later stay frequent
            few[np.argsort(rows, kind="stable")[: len(rows) - self.max_categories + 1]] = True
        return categories[few] if few.any() else None

    def _least_rows(self, rows: float) -> float:
        if self.min_frequency is None:
            return 0.0
        share = not isinstance(self.min_frequency, Integral)
        return rows * self.min_frequency if share else float(self.min_frequency)

    def _groups(self, j: int) -> tuple[np.ndarray, list[str]]:
        """The output column of each category of column j, were none dropped, and the labels of those."""
        categories, few = self.categories_[j], self.infrequent_categories_[j]
        frequent = np.ones(len(categories), dtype=bool)
        if few is not None:
            places = places_of(categories)
            frequent[[places[word] for word in places_of(few)]] = False
        groups = np.where(frequent, np.cumsum(frequent) - 1, frequent.sum())
        labels = [str(value) for value in categories[frequent]]
        return groups, labels if few is None else [*labels, "infrequent_sklearn"]

    def _drops(self, width: int) -> bool:
        """Whether the first of `width` output columns of a column is left out."""
        return self.drop == "first" or (self.drop == "if_binary" and width == 2)

    def _dropped(self) -> np.ndarray | None:
        if self.drop is None:
            return None
        grouped = map(self._groups, range(len(self.categories_)))
        places = [int(np.argmax(g == 0)) if self._drops(len(labels)) else None for g, labels in grouped]
        return np.array(places, dtype=object)

    def _columns_of(self, j: int) -> tuple[np.ndarray, list[str]]:
        """The output column of each category of column j and of an unknown value, and the labels."""
        groups, labels = self._groups(j)
        grouped = self.infrequent_categories_[j] is not None
        joins = grouped and self.handle_unknown == "infrequent_if_exist"
        columns = np.append(groups, len(labels) - 1 if joins else _NOWHERE)
        if not self._drops(len(labels)):
            return columns, labels
        return np.maximum(columns - 1, _NOWHERE), labels[1:]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.allow_nan = True
        return tags


def _sparse(hot: np.ndarray, width: int) -> Any:
    """A CSR array with a one in each row at each of the columns in `hot`; negative ones are nowhere."""
    rows, per_row = hot.shape
    there = hot >= 0
    if there.all():
        indices, starts = hot.ravel(), np.arange(rows + 1, dtype=np.int64) * per_row
    else:
        indices, starts = hot[there], np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    starts = starts.astype(np.int32 if len(indices) < 2**31 else np.int64)
    return sp.csr_array((np.ones(len(indices)), indices, starts), shape=(rows, width))


def _dense(hot: np.ndarray, width: int) -> np.ndarray:
    out = np.zeros((len(hot), width), order="F")
    rows, columns = np.nonzero(hot >= 0)
    out[rows, hot[rows, columns]] = 1.0
    return out
