"""Names of columns that are made: none takes the place of a column that is there.

Transformers choose free names when they are fitted; wherever columns are put beside others, a name that is
taken is refused.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import overload

from outgrow.errors import ColumnNotFoundError, SchemaError

_NAMES_SHOWN, _COLUMNS_SHOWN = 5, 50


TARGET, WEIGHT = "__target__", "__weight__"
"""Columns that hold what came as arrays beside the rows."""
_ARGUMENTS = {TARGET: "y", WEIGHT: "sample_weight"}
"""What users call these."""


def called(name: str) -> str:
    """A column as a message names it: what came as an argument by the name of that.

    Parameters
    ----------
    name : of the column.

    Examples
    --------
    >>> called("late"), called("__weight__")
    ("'late'", 'sample_weight')
    """
    return _ARGUMENTS.get(name, repr(name))


def numbered(name: str, taken: Collection[str], join: str = "") -> str:
    """A name, or that with the first number behind it, from 2 on, that is not taken.

    Parameters
    ----------
    name : the name that is wanted.
    taken : names that are there.
    join : what stands between the name and the number.
    """
    candidates = chain([name], (f"{name}{join}{number}" for number in count(2)))
    return next(candidate for candidate in candidates if candidate not in taken)


def distinct(names: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """Names, each once: one that is taken, or came before, is followed by the first free number.

    Parameters
    ----------
    names : what is wanted; none that is free changes to make room for another.
    taken : names that are there already.

    Examples
    --------
    >>> distinct(["a", "b", "a", "a_2"], taken=["b"])
    ['a', 'b_2', 'a_3', 'a_2']
    """
    used = set(taken)
    if len(set(names)) == len(names) and used.isdisjoint(names):
        return list(names)
    wanted, free = set(names), list[str]()
    for name in names:
        free.append(numbered(name, used | wanted, "_") if name in used else name)
        used.add(free[-1])
    return free


@dataclass(frozen=True, eq=False)
class VectorNames(Sequence[str]):
    """The names of the columns of a vector, each made when it is asked for; equal to a tuple of them.

    Attributes
    ----------
    name : of the column of vectors.
    width : how many numbers each vector has.

    Examples
    --------
    >>> VectorNames("x", 2**20)[-2:]
    ('x_1048574', 'x_1048575')
    """

    name: str
    width: int

    def __len__(self) -> int:
        return self.width

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        chosen = range(self.width)[index]
        return f"{self.name}_{chosen}" if isinstance(chosen, int) else tuple(map(self.__getitem__, chosen))

    def __iter__(self) -> Iterator[str]:
        return (f"{self.name}_{index}" for index in range(self.width))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, VectorNames):
            return (self.name, self.width) == (other.name, other.width) or self.width == other.width == 0
        return isinstance(other, tuple) and self.width == len(other) and tuple(self) == other

    def __hash__(self) -> int:
        return hash(tuple(self))


def no_column(missing: Sequence[str], known: Sequence[str]) -> ColumnNotFoundError:
    """The error for names that are no columns, with the nearest that is.

    Parameters
    ----------
    missing : names that somebody asked for; at least one.
    known : the columns there are; of very many the first are shown.
    """
    folded = {name.lower(): name for name in reversed(known)}
    near = difflib.get_close_matches(missing[0].lower(), list(folded), n=1, cutoff=0.6)
    hint = f" Did you mean {folded[near[0]]!r}?" if near else ""
    rest = len(known) - _COLUMNS_SHOWN
    shown = f"{list(known[:_COLUMNS_SHOWN])}{f' and {rest:,} others' if rest > 0 else ''}"
    return ColumnNotFoundError(f"No column {', '.join(map(repr, missing))} among {shown}.{hint}")


def check_names(names: Sequence[str], what: str) -> None:
    """Refuse two columns of one name.

    Parameters
    ----------
    names : of the columns of one table.
    what : what has them, as the message begins.

    Raises
    ------
    SchemaError
        When a name comes twice.
    """
    if len(set(names)) == len(names):
        return
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    raise SchemaError(
        f"{what} has several columns named {_listed(twice)}. Rename them so that each name is one column."
    )


def check_free(new: Iterable[str], taken: Iterable[str], what: str, advice: str) -> None:
    """Refuse new columns whose names are taken.

    Parameters
    ----------
    new : names of columns to be put beside others.
    taken : names of columns that stay.
    what : what the new columns are, as the message begins.
    advice : a sentence that ends the message.

    Raises
    ------
    SchemaError
        When one of `new` is in `taken`.
    """
    there = set(taken)
    clash = [name for name in new if name in there]
    if clash:
        raise SchemaError(f"{what} would be called {_listed(clash)}, as columns of the rows are. {advice}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{list(names[:_NAMES_SHOWN])}{more}"
