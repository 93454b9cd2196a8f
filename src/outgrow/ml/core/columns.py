"""Which columns an estimator works on: names, or a selector that looks at names and types."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Protocol

import numpy as np

from outgrow.data.batch import Batch, is_categorical, is_numeric
from outgrow.data.hashing import value_hash
from outgrow.data.kind import is_list
from outgrow.data.matrix import Matrix
from outgrow.engine.checks import what_lists_need
from outgrow.engine.shard import Shard
from outgrow.errors import ColumnNotFoundError, ParameterError, SchemaError
from outgrow.stats.counts import FewDistinct

_FIRST = 1 << 12
"""Rows that mostly tell whether a column has many values."""


class Selector(Protocol):
    """Chooses columns of a batch by name and type."""

    def __call__(self, example: Batch, names: Sequence[str]) -> list[str]: ...


Columns = Selector | Sequence[str] | str | None


@dataclass(frozen=True)
class _Numeric:
    def __call__(self, example: Batch, names: Sequence[str]) -> list[str]:
        return [name for name in names if not isinstance(c := example[name], Matrix) and is_numeric(c.type)]

    def __repr__(self) -> str:
        return "numeric()"


@dataclass(frozen=True)
class _Categorical:
    def __call__(self, example: Batch, names: Sequence[str]) -> list[str]:
        return [
            name for name in names if not isinstance(c := example[name], Matrix) and is_categorical(c.type)
        ]

    def __repr__(self) -> str:
        return "categorical()"


@dataclass(frozen=True)
class _Matching:
    pattern: str

    def __call__(self, example: Batch, names: Sequence[str]) -> list[str]:
        return [found for name in names for found in self._within(name, example)]

    def _within(self, name: str, example: Batch) -> list[str]:
        """The column; or of a vector the numbers that match, where these are some of them."""
        column = example.held.get(name)
        numbers = [each for each in column.names if self._is(each)] if isinstance(column, Matrix) else []
        if self._is(name) or (isinstance(column, Matrix) and len(numbers) == column.width):
            return [name]
        return numbers

    def _is(self, name: str) -> bool:
        return re.search(self.pattern, name) is not None

    def __repr__(self) -> str:
        return f"matching({self.pattern!r})"


def numeric() -> Selector:
    """All columns of numbers (and booleans) that the step receives.

    Examples
    --------
    >>> import outgrow as og
    >>> og.StandardScaler(columns=og.numeric())
    StandardScaler(columns=numeric())
    """
    return _Numeric()


def categorical() -> Selector:
    """All columns of text and categories that the step receives.

    Examples
    --------
    >>> import outgrow as og
    >>> og.OneHotEncoder(columns=og.categorical(), max_categories=20)
    OneHotEncoder(columns=categorical(), max_categories=20)
    """
    return _Categorical()


def matching(pattern: str) -> Selector:
    """All columns in whose name the regular expression is found, and such numbers of vectors.

    Examples
    --------
    >>> import outgrow as og
    >>> og.matching("_delay$")
    matching('_delay$')
    """
    re.compile(pattern)
    return _Matching(pattern)


@dataclass(frozen=True)
class FewValues:
    """The selector of `few_values`, which needs a pass over the rows."""

    most: int

    def __call__(self, example: Batch, names: Sequence[str]) -> list[str]:
        raise AssertionError(f"which of {names} have few values the rows tell, not {example}")

    def among(self, shard: Shard, names: Sequence[str]) -> list[str]:
        """The columns of a shard that have few values, from one pass.

        Parameters
        ----------
        shard : the rows; all ranks ask together.
        names : the columns to choose from.
        """
        types = shard.example.arrow_types(names)
        single = [name for name in names if name not in types or not is_list(types[name])]
        single = [name for name in single if not isinstance(shard.example.held.get(name), Matrix)]

        def fold(batch: Batch) -> tuple[FewDistinct, ...]:
            return tuple(self._distinct(batch[name], name) for name in single)

        found = shard.reduce(fold, encoded=True) if single else ()
        return [name for name, each in zip(single, found, strict=True) if len(each.hashes) <= self.most]

    def _distinct(self, column: Any, name: str) -> FewDistinct:
        first = FewDistinct.of(self._hashes(column[:_FIRST], name), self.most)
        many = len(column) <= _FIRST or len(first.hashes) > self.most
        return first if many else FewDistinct.of(self._hashes(column, name), self.most)

    def _hashes(self, column: Any, name: str) -> np.ndarray:
        return value_hash(column.unique().drop_null(), name)

    def __repr__(self) -> str:
        return f"few_values({self.most})"


def few_values(most: int = 20) -> Selector:
    """All columns that have at most so many different values; a missing value is none.

    Unlike other selectors it looks at the rows of the fit, in a pass of its own. With `OrdinalEncoder` it
    does what Spark MLlib's `VectorIndexer(maxCategories=20)` does.

    Parameters
    ----------
    most : how many, at least 1.

    Raises
    ------
    ParameterError
        When it is no whole number of at least 1.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"size": [3, 1, 3, 1], "price": [1.5, 2.0, 2.5, 3.0]})
    >>> og.OrdinalEncoder(columns=og.few_values(2)).fit_transform(rows).to_pydict()
    {'size': [1.0, 0.0, 1.0, 0.0], 'price': [1.5, 2.0, 2.5, 3.0]}
    """
    if not isinstance(most, Integral) or isinstance(most, bool) or most < 1:
        raise ParameterError(f"few_values({most!r}): give a whole number of at least 1.")
    return FewValues(int(most))


def chosen(columns: Columns, shard: Shard, names: Sequence[str]) -> list[str]:
    """The names that `columns` means among `names`, where it may take a look at the rows.

    Parameters
    ----------
    columns, names : as for `resolve`.
    shard : the rows; all ranks ask together.
    """
    if isinstance(columns, FewValues):
        return columns.among(shard, names)
    return resolve(columns, shard.example, names)


def named(columns: Columns, example: Batch, names: Sequence[str]) -> list[str]:
    """The names of columns, or of numbers in vectors, that `columns` means, whether they are there or not.

    Parameters
    ----------
    columns, example, names : as for `resolve`; what needs a look at the rows names none.
    """
    if columns is None or isinstance(columns, FewValues):
        return []
    given = columns(example, names) if callable(columns) else columns
    given = [given] if isinstance(given, str) else given
    return [name for name in given if isinstance(name, str)] if isinstance(given, Iterable) else []


def resolve(columns: Columns, example: Batch, names: Sequence[str]) -> list[str]:
    """The names that `columns` means among `names`; all of them for None.

    Parameters
    ----------
    columns : what a transformer was told: a name, several, or a selector such as `numeric()`.
    example : a batch that shows the types of the columns; it needs no rows.
    names : the columns that reach the transformer, without target and weights.

    Raises
    ------
    ColumnNotFoundError
        When a named column does not exist.
    ParameterError
        When a column is named several times, or a selector gives no names.
    """
    if columns is None:
        return list(names)
    given = columns(example, names) if callable(columns) else columns
    wanted = [given] if isinstance(given, str) else list(_names_of(given, columns))
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ColumnNotFoundError(
            f"No column {', '.join(map(repr, missing))} among {list(names)}."
            f"{_in_vectors(missing, example, names)}"
        )
    twice = [name for name, count in Counter(wanted).items() if count > 1]
    if twice:
        raise ParameterError(f"columns={columns!r} name {twice} several times. Name each column once.")
    return wanted


def _in_vectors(missing: Iterable[str], example: Batch, names: Sequence[str]) -> str:
    """What to do about names that are there, but within vectors."""
    for name in missing:
        for vector in names:
            if isinstance(column := example.held.get(vector), Matrix) and name in column.names:
                return (
                    f" {name!r} is a number of the vectors {vector!r}, which are taken whole here: name "
                    f"{vector!r}, or make columns of it before, as OneHotEncoder(sparse_output=False) does."
                )
    return ""


def _names_of(given: Any, columns: Any) -> Iterable[str]:
    if not isinstance(given, Iterable):
        raise ParameterError(f"columns={columns!r} chose {given!r}, which is no list of names of columns.")
    return given


def require_numeric(example: Batch, names: Sequence[str], who: str) -> None:
    """Refuse text where numbers are needed.

    Parameters
    ----------
    example : a batch that shows the types of the columns; it needs no rows.
    names : the columns that must be numbers or vectors of them.
    who : the class that needs them, for the message.

    Raises
    ------
    SchemaError
        When a column is neither.
    """
    text = [name for name, kind in example.arrow_types(names).items() if not is_numeric(kind)]
    if text:
        raise SchemaError(
            f"{who} works on numbers; {text} are not. Choose columns=og.numeric(), or encode these first."
            f"{what_lists_need(example, text)}"
        )
