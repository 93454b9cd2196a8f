"""How strongly columns of any types go together: numbers, categories, and one with the other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch, is_categorical, is_numeric
from outgrow.data.matrix import Matrix
from outgrow.engine.profile_target import MISSING, OTHER, coded
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, SchemaError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import Integer
from outgrow.statistics.correlation import corr
from outgrow.statistics.results import Result
from outgrow.statistics.rows import Rows, open_rows
from outgrow.stats.dependence import correlation_ratio, cramers_v
from outgrow.stats.grouped import GroupedMoments, Segments
from outgrow.stats.sketch import FrequentValues

_MOST_COLUMNS = 256


@dataclass(frozen=True, eq=False, repr=False)
class AssociationResult(Result):
    """How strongly columns go together.

    Attributes
    ----------
    statistic : ndarray of shape (columns, columns), from 0 to 1, of two numbers from -1: Pearson's
        correlation of two numbers, the correlation ratio of a number and categories, Cramer's V of
        categories; NaN where one does not vary.
    categories : the columns that are categories.
    """

    statistic: np.ndarray
    categories: tuple[str, ...]

    def to_arrow(self) -> pa.Table:
        """The matrix, a row and a column for each column."""
        return pa.table({"": list(self.columns), **dict(zip(self.columns, self.statistic.T, strict=True))})


def association(data: Any, columns: Columns = None, *, max_categories: int = 50) -> AssociationResult:
    """How strongly columns of any types go together: two or three passes.

    Parameters
    ----------
    data : dataset, Spark DataFrame or table.
    columns : names, or a selector; by default all numbers, booleans and text. Booleans and text are
        categories.
    max_categories : the most frequent of them, so many, are told apart; the others are one.

    Raises
    ------
    DataError
        When there are more than 256 columns, or a number is infinite.
    SchemaError
        When a named column is neither a number nor a category.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"sky": ["clear", "fog", "fog", "clear"], "delay": [1.0, 7.0, 9.0, 3.0]})
    >>> og.stats.association(rows).statistic.round(3)
    array([[1.   , 0.949],
           [0.949, 1.   ]])
    """
    Integer(low=2).check("association", "max_categories", max_categories)
    rows = open_rows(data, columns, numeric=False)
    example = rows.dataset.scan.example()
    numeric, names = _kinds(rows, example, named=columns is not None)
    both = [*numeric, *names]
    if len(both) > _MOST_COLUMNS:
        raise DataError(f"{len(both):,} columns; at most {_MOST_COLUMNS} are compared. Choose some.")
    order = [name for name in rows.names if name in both]
    rows = open_rows(rows.dataset, order, numeric=False)
    square = np.full((len(order), len(order)), np.nan)
    if numeric:
        at = [order.index(name) for name in numeric]
        square[np.ix_(at, at)] = corr(rows.dataset, numeric).statistic
    if names:
        learn = partial(_learn, rows=rows, numeric=numeric, names=names, many=max_categories)
        tables, moments = rows.learn(learn, keep=True)
        for (a, b), table in zip(_pairs(names), tables, strict=True):
            i, j = order.index(a), order.index(b)
            square[i, j] = square[j, i] = cramers_v(table)
        for name, state in zip(names, moments, strict=True):
            for k, number in enumerate(numeric):
                i, j = order.index(name), order.index(number)
                square[i, j] = square[j, i] = correlation_ratio(
                    *(p[:, k] for p in (state.n, state.mean, state.m2))
                )
    return AssociationResult(tuple(order), square, tuple(names))


def _kinds(rows: Rows, example: Batch, *, named: bool) -> tuple[list[str], list[str]]:
    """The columns that are numbers, and those that are categories."""
    numeric, names, others = list[str](), list[str](), list[str]()
    for name in rows.names:
        column = example[name]
        kind = None if isinstance(column, Matrix) else column.type
        if kind is not None and (is_categorical(kind) or pa.types.is_boolean(kind)):
            names.append(name)
        else:
            (numeric if kind is not None and is_numeric(kind) else others).append(name)
    if named and others:
        raise SchemaError(f"Columns that are neither numbers nor categories: {others}. Leave them out.")
    return numeric, names


def _pairs(names: list[str]) -> list[tuple[str, str]]:
    """Each column with itself, which says whether it varies, and with the others."""
    return [*((name, name) for name in names), *combinations(names, 2)]


def _learn(shard: Shard, rows: Rows, numeric: list[str], names: list[str], many: int) -> Any:
    """The tables of each pair of columns of categories, and the moments of numbers by each."""
    sketches = shard.reduce(partial(_frequent, names=names), encoded=True)
    values = {name: [v for v, _ in s.top(many)] for name, s in zip(names, sketches, strict=True)}
    return shard.reduce(partial(_fold, rows=rows, numeric=numeric, values=values), encoded=True)


def _frequent(batch: Batch, names: list[str]) -> tuple[FrequentValues, ...]:
    columns: list[Any] = [batch[name] for name in names]
    return tuple(
        FrequentValues.of(c.dictionary_decode() if pa.types.is_dictionary(c.type) else c) for c in columns
    )


def _fold(batch: Batch, rows: Rows, numeric: list[str], values: dict[str, list[str]]) -> Any:
    codes = {name: coded(batch[name], some) for name, some in values.items()}
    widths = {name: len([*some, OTHER, MISSING]) for name, some in values.items()}
    tables = []
    for a, b in _pairs(list(values)):
        counts = np.bincount(codes[a] * widths[b] + codes[b], minlength=widths[a] * widths[b])
        tables.append(counts.reshape(widths[a], widths[b])[:-1, :-1])  # rows that lack neither
    X = batch.matrix(numeric) if numeric else np.empty((batch.num_rows, 0))
    moments = []
    for name in values:
        there = codes[name] < widths[name] - 1
        segments = Segments.of(codes[name][there].astype(np.uint64))
        moments.append(GroupedMoments.of(segments, X.T[:, there][:, segments.order]))
    return tuple(tables), tuple(moments)
