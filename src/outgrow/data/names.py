"""Names of columns that are made: none takes the place of a column that is there.

Transformers choose free names when they are fitted; wherever columns are put beside others, a name that is
taken is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import chain, count

from outgrow.errors import SchemaError

_NAMES_SHOWN = 5


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
