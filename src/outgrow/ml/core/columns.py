"""Which columns an estimator works on: names, or a selector that looks at names and types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from outgrow.data.batch import Batch, is_categorical, is_numeric
from outgrow.data.matrix import Matrix
from outgrow.errors import ColumnNotFoundError, SchemaError


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
        return [name for name in names if re.search(self.pattern, name)]

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
    """All columns in whose name the regular expression is found.

    Examples
    --------
    >>> import outgrow as og
    >>> og.matching("_delay$")
    matching('_delay$')
    """
    re.compile(pattern)
    return _Matching(pattern)


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
    """
    if columns is None:
        return list(names)
    if callable(columns):
        return columns(example, names)
    wanted = [columns] if isinstance(columns, str) else list(columns)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ColumnNotFoundError(f"No column {', '.join(map(repr, missing))} among {list(names)}.")
    return wanted


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
        )
