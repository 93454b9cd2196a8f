"""What to look at in a profile: columns that tell nothing, rows' names, and whatever misleads a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from outgrow.engine.profile_columns import ColumnProfile

_MISSING, _CARDINALITY, _SKEW, _ZEROS = 0.5, 100, 3.0, 0.95
"""Shares of missing values, different values, skewness and shares of one value that are worth a word."""
_UNIQUE, _ROWS = 0.99, 100
"""The share of different values of what names rows, among at least so many."""


_VARIED, _WORDS = 0.5, 4
"""The share of different values of texts, and how many words they have."""

_GRAVITY = ("leakage", "duplicate", "infinite", "constant", "missing", "one value", "identifier")
"""What is said first: what spoils a model, then what tells it nothing."""


@dataclass(frozen=True)
class ProfileFinding:
    """Something to look at.

    Attributes
    ----------
    kind : 'constant', 'duplicate', 'text', 'identifier', 'high cardinality', 'missing', 'one value',
        'skewed', 'infinite' or 'leakage'.
    columns : which it is about.
    text : the fact, and what to do.
    """

    kind: str
    columns: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {', '.join(self.columns)}: {self.text}"


def findings(
    columns: Mapping[str, ColumnProfile], rows: int, same: Sequence[tuple[str, str]]
) -> tuple[ProfileFinding, ...]:
    """What to look at, the gravest first, and of one kind in the order of the columns.

    Parameters
    ----------
    columns : what each holds.
    rows : how many there are.
    same : the pairs of columns that are equal in every row.
    """
    about = [finding for column in columns.values() for finding in _of_column(column, rows)]
    twins = [
        ProfileFinding("duplicate", pair, "the same values in every row. Leave one of them out.")
        for pair in same
    ]
    return by_gravity((*about, *twins))


def by_gravity(told: Sequence[ProfileFinding]) -> tuple[ProfileFinding, ...]:
    """Findings, the gravest kinds first.

    Parameters
    ----------
    told : in any order; those of one kind keep it.
    """
    places = {kind: place for place, kind in enumerate(_GRAVITY)}
    return tuple(sorted(told, key=lambda finding: places.get(finding.kind, len(places))))


def _of_column(column: ColumnProfile, rows: int) -> Iterator[ProfileFinding]:
    """What there is to say of one column, the gravest first; of a constant nothing else."""
    if column.count == 0:
        yield ProfileFinding("constant", (column.name,), "no values at all. Leave it out.")
        return
    if column.distinct == 1:
        gaps = f", and {column.missing:,} missing" if column.missing else ""
        yield ProfileFinding(
            "constant", (column.name,), f"one value in every row{gaps}. It tells nothing else."
        )
        return
    if _is_prose(column):
        yield ProfileFinding(
            "text",
            (column.name,),
            f"about {column.distinct:,} different texts. Take their words (og.TfidfVectorizer, "
            "og.HashingVectorizer), or leave it out.",
        )
    elif _names_rows(column):
        yield ProfileFinding(
            "identifier",
            (column.name,),
            f"about {column.distinct:,} different values in {column.count:,} rows: it names rows. Leave it "
            "out of the features; use it as a key.",
        )
    elif column.kind == "category" and (column.distinct or 0) > _CARDINALITY:
        yield ProfileFinding(
            "high cardinality",
            (column.name,),
            f"about {column.distinct:,} categories. Put rare ones together (max_categories=), or hash them.",
        )
    if column.missing > _MISSING * rows:
        yield ProfileFinding("missing", (column.name,), f"{column.missing / rows:.1%} of the rows lack it.")
    yield from _of_values(column)


def _of_values(column: ColumnProfile) -> Iterator[ProfileFinding]:
    """What the values of a column say."""
    if column.kind == "number" and not all(np.isfinite([column.min or 0.0, column.max or 0.0])):
        yield ProfileFinding("infinite", (column.name,), "infinite values. Most models refuse them.")
    elif column.skewness is not None and abs(column.skewness) > _SKEW:
        yield ProfileFinding(
            "skewed",
            (column.name,),
            f"skewness {column.skewness:.3g}. Trees do not mind; for others, take logarithms or ranks.",
        )
    if column.top and column.top[0][1] > _ZEROS * column.count:
        value, count = column.top[0]
        yield ProfileFinding(
            "one value", (column.name,), f"{count / column.count:.1%} of its values are {value!r}."
        )


def _names_rows(column: ColumnProfile) -> bool:
    """Whether (nearly) each row has a value of its own, as names and numbers of rows have."""
    whole = column.kind == "category" or "int" in column.type
    return bool(whole and column.count >= _ROWS and (column.distinct or 0) >= _UNIQUE * column.count)


def _is_prose(column: ColumnProfile) -> bool:
    """Whether its values are texts of several words, most of which come once."""
    if column.kind != "category" or (column.distinct or 0) <= max(_CARDINALITY, _VARIED * column.count):
        return False
    return float(np.median([len(value.split()) for value, _ in column.top])) >= _WORDS
