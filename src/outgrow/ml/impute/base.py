"""What transformers that look for missing values share: which values are, and the columns that say where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from numbers import Real
from typing import Any, Self

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch, is_categorical
from outgrow.data.matrix import Column, Matrix, is_sparse
from outgrow.data.names import distinct
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.base import Transformer
from outgrow.ml.core.task import Task
from outgrow.ml.impute.columns import count_missing
from outgrow.ml.impute.missing import is_nan, missing, refuse_zero, unmarked, unmarked_array


class Marking(Transformer):
    """Looks for missing values: null, NaN, and those that `missing_values` names."""

    takes_dictionaries = True
    missing_values: Any

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        y : the name of a column of X to leave out; otherwise ignored.
        """
        return super().fit(self._given(X), y)

    def transform(self, X: Any) -> Any:
        """The rows of X, changed; in the form X has."""
        return super().transform(self._given(X))

    def _given(self, X: Any) -> Any:
        refuse_zero(self._mark, is_sparse(X))
        return X if self._mark is None else unmarked_array(X, self._mark)

    @property
    def _mark(self) -> Any:
        """What stands for a missing value beside null and NaN; None for nothing."""
        value = self.missing_values
        return None if value is None or not isinstance(value, Real | str) or is_nan(value) else value

    def _unmarked(self, batch: Batch, names: Sequence[str]) -> Batch:
        """The batch with nulls where columns hold the mark."""
        return batch if self._mark is None else unmarked(batch, names=names, mark=self._mark)

    def _unmarked_shard(self, shard: Shard, names: list[str]) -> Shard:
        if self._mark is None:
            return shard
        self._check_mark(shard.example, names)
        return shard.transformed(partial(unmarked, names=names, mark=self._mark), encoded=True)

    def _check_mark(self, example: Batch, names: list[str]) -> None:
        """What stands for a missing value must be of the type of some column."""
        columns = [example[name] for name in names]
        refuse_zero(self._mark, any(isinstance(column, Matrix) and column.sparse for column in columns))
        if names and isinstance(self._mark, str) and not any(map(holds_text, columns)):
            raise ParameterError(
                "'X' and 'missing_values' types are expected to be both numerical. Columns "
                f"{names[:5]} are, and missing_values={self._mark!r} is not. Give a number, or leave it out."
            )


class Filling(Marking):
    """Fills in missing values, and may put columns behind the others that say where they were.

    Attributes
    ----------
    vectors_ : dict of the matrix columns and their widths.
    indicators_ : dict of the columns with an indicator, by the name of that.
    indicated_ : dict of the places within matrix columns that have one, by the name of the indicator.
    """

    add_indicator: bool
    vectors_: dict[str, int]
    indicators_: dict[str, str] = {}  # of models that were saved before there was one
    indicated_: dict[str, list[int]] = {}  # likewise

    def _note_vectors(self, example: Batch, names: Sequence[str]) -> None:
        self.vectors_ = {name: c.width for name in names if isinstance(c := example[name], Matrix)}

    def _by_name(self, names: Sequence[str], flat: list[Any]) -> Iterator[tuple[str, list[Any]]]:
        """Each column with its part of a list that has an entry for each number of a row."""
        at = 0
        for name in names:
            width = self.vectors_.get(name, 1)
            yield name, flat[at : at + width]
            at += width

    def _note_indicators(self, shard: Shard, names: list[str], task: Task) -> None:
        """Note which columns, and which of the columns of matrices, miss something."""
        self.indicators_ = {}
        if not (self.add_indicator and names):
            return
        holes = shard.reduce(partial(count_missing, names=names), encoded=True)
        by_name = {name: np.flatnonzero(own) for name, own in self._by_name(names, holes.tolist())}
        some = [name for name, places in by_name.items() if len(places)]
        free = distinct([f"missingindicator_{name}" for name in some], taken=task.columns)
        self.indicators_ = dict(zip(free, some, strict=True))
        self.indicated_ = {
            made: by_name[name].tolist() for made, name in self.indicators_.items() if name in self.vectors_
        }

    def _indicators(self, batch: Batch) -> Iterator[tuple[str, Column]]:
        """The columns that say where something is missing, by their names."""
        for made, name in self.indicators_.items():
            yield made, self._indicator(made, batch[name])

    def _indicator(self, made: str, column: Column) -> Column:
        holes = missing(column)
        if not isinstance(column, Matrix):
            return pa.array(holes.astype(np.float64))
        places = self.indicated_[made]
        names = tuple(f"missingindicator_{column.names[place]}" for place in places)
        return Matrix(holes[:, places].astype(np.float64), names)


def holds_text(column: Column) -> bool:
    """Whether a column holds text, or nothing at all."""
    if isinstance(column, Matrix):
        return False
    return bool(is_categorical(column.type) or pa.types.is_null(column.type))
