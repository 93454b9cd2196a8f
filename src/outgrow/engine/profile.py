"""What the columns of a dataset hold, from one pass of mergeable states; and what to look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch, is_numeric
from outgrow.data.matrix import Matrix
from outgrow.data.scan import Scan, check_columns
from outgrow.engine.profile_columns import (
    QUANTILES,
    ColumnProfile,
    clipped,
    column_state,
    describe,
)
from outgrow.engine.profile_compare import Comparison, compared
from outgrow.engine.profile_findings import ProfileFinding, findings
from outgrow.engine.profile_target import Coding, TargetProfile, learn_target, target_profile
from outgrow.engine.profile_together import look_alikes, mismatches, missing_patterns, pattern_columns
from outgrow.engine.protocol import Engine
from outgrow.engine.shard import Shard
from outgrow.stats.moments import PairMoments
from outgrow.stats.state import from_tree, merge, to_tree

PATTERNS = 20
"""Combinations of missing values that are listed."""
CORRELATED = 100
"""At most this many numeric columns get a correlation matrix."""
_TILE = 8192


@dataclass(frozen=True)
class Profile:
    """What a dataset holds.

    Attributes
    ----------
    rows : how many there are.
    columns : what each holds, by name.
    numeric : the columns of numbers.
    correlation : of those, ndarray of shape (numeric, numeric); None of more than 100.
    missing_patterns : which columns lack values in the same rows, and in how many, the most frequent first.
    findings : what to look at: constant and equal columns, names of rows, many categories, skewed numbers,
        and beside a target what knows it suspiciously well.
    target : the columns beside the target; None where none was named.
    """

    rows: int
    columns: Mapping[str, ColumnProfile]
    numeric: tuple[str, ...]
    correlation: np.ndarray | None
    missing_patterns: tuple[tuple[tuple[str, ...], int], ...] = ()
    findings: tuple[ProfileFinding, ...] = ()
    target: TargetProfile | None = None

    def __getitem__(self, name: str) -> ColumnProfile:
        return self.columns[name]

    def to_arrow(self) -> pa.Table:
        """One row for each column."""
        fields = ("name", "type", "count", "missing", "distinct", "mean", "std", "skewness", "kurtosis")
        rows = [{name: getattr(column, name) for name in fields} for column in self.columns.values()]
        for row, column in zip(rows, self.columns.values(), strict=True):
            row |= {"min": _text(column.min), "max": _text(column.max)}
            row |= {f"q{p:g}": value for p, value in (column.quantiles or dict.fromkeys(QUANTILES)).items()}
            row["top"] = ", ".join(value for value, _ in column.top[:3])
        return pa.Table.from_pylist(rows)

    def __str__(self) -> str:
        heads = ("column", "type", "missing", "distinct", "mean", "std", "min", "median", "max", "top values")
        lines = [heads, *(_line(column, self.rows) for column in self.columns.values())]
        widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        told = ["", *map(str, self.findings)] if self.findings else []
        return "\n".join([f"{self.rows:,} rows, {len(self.columns)} columns", "", *text, *told])

    def compare(self, other: Profile) -> Comparison:
        """This dataset beside another one: which columns came, went, changed or moved.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> old, new = pa.table({"a": [1.0, 2.0, 3.0]}), pa.table({"a": [5.0, 6.0, 7.0]})
        >>> print(og.dataset(old).profile().compare(og.dataset(new).profile()))
        3 rows and 3 rows
        <BLANKLINE>
        moved: a: the mean went from 2 to 6, +4.00 deviations.
        """
        return compared(self.columns, other.columns, (self.rows, other.rows))


class Watch(Protocol):
    """Looks at rows in the pass that profiles them, and says which of them count."""

    def __call__(self, batch: Batch) -> tuple[Batch, Any]:
        """The rows of a batch that count, and what was seen, which merges as the results of folds do."""

    def remaining(self, seen: Any, scan: Scan) -> Scan:
        """The rows that count, once all were seen; it may raise.

        Parameters
        ----------
        seen : what was, in all batches.
        scan : all rows.
        """


def profile(engine: Engine, scan: Scan, target: str | None = None, watch: Watch | None = None) -> Profile:
    """The profile of the rows of a scan: one pass, and further ones for equal columns and a target.

    Parameters
    ----------
    engine : where the work is done.
    scan : the rows; none are kept.
    target : the column that the others are seen beside; None for none.
    watch : looks at the rows in the first pass; only those that count are profiled.
    """
    if target is not None:
        check_columns(scan.schema, [target])

    def ask(learn: Callable[[Shard], Any]) -> Any:
        return from_tree(engine.fit(lambda s: to_tree(learn(s)), scan, stage="profile", keep=False).result)

    states, pairs, patterns, seen = ask(lambda s: _states(s, watch))
    if watch is not None:
        scan = watch.remaining(seen, scan)
    example = scan.example()
    fields = {field.name: field.type for field in scan.schema}
    of_column = dict(zip(fields, states, strict=True))
    columns = {name: describe(name, fields[name], state) for name, state in of_column.items()}
    rows = states[0].rows if states else 0
    alike = look_alikes(of_column)
    differ = ask(lambda s: s.reduce(lambda batch: mismatches(batch, alike), encoded=True)) if alike else []
    same = [pair for pair, count in zip(alike, differ, strict=True) if not count]
    told = findings(columns, rows, same)
    beside = None
    if target is not None:
        coding = Coding.of(of_column, example, target)
        beside = target_profile(coding, ask(lambda s: learn_target(s, coding)))
        told = (*beside.findings(), *told)
    missing = tuple((pattern_columns(bits, list(fields)), count) for bits, count in patterns.top(PATTERNS))
    correlation = None if pairs is None else pairs.correlation()
    return Profile(rows, columns, _numeric(example), correlation, missing, told, beside)


def _states(shard: Shard, watch: Watch | None) -> Any:
    numeric = _numeric(shard.example if watch is None else watch(shard.example)[0])

    def fold(batch: Batch) -> Any:
        batch, seen = (batch, None) if watch is None else watch(batch)
        columns = tuple(column_state(column, name) for name, column in batch.columns.items())
        if not 2 <= len(numeric) <= CORRELATED:
            return columns, None, missing_patterns(batch), seen
        X = batch.matrix(numeric)
        pairs: PairMoments | None = None
        for start in range(0, len(X), _TILE):
            pairs = merge(pairs, PairMoments.of(X[start : start + _TILE]))
        return columns, pairs, missing_patterns(batch), seen

    return shard.reduce(fold, encoded=True, empty=fold(shard.example))


def _numeric(example: Batch) -> tuple[str, ...]:
    return tuple(
        name
        for name, column in example.columns.items()
        if not isinstance(column, Matrix) and is_numeric(column.type)
    )


def _text(value: Any) -> str | None:
    return None if value is None else _number(value)


def _number(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _line(column: ColumnProfile, rows: int) -> tuple[str, ...]:
    missing = f"{column.missing / rows:.1%}" if column.missing else "0"
    median = column.quantiles[0.5] if column.quantiles else None
    top = ", ".join(f"{clipped(value)} ({count:,})" for value, count in column.top[:3])
    return (
        column.name,
        column.type,
        missing,
        _number(column.distinct),
        _number(column.mean),
        _number(column.std),
        _number(column.min),
        _number(median),
        _number(column.max),
        top,
    )
