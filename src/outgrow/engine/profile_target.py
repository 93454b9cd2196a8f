"""How columns go together with a target: by its classes or its numbers, and what knows it too well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch, is_categorical, is_numeric
from outgrow.data.matrix import Matrix, numbers
from outgrow.engine.profile_columns import ColumnState
from outgrow.engine.profile_findings import ProfileFinding
from outgrow.engine.shard import Shard
from outgrow.errors import SchemaError
from outgrow.stats.dependence import correlation_ratio, cramers_v
from outgrow.stats.extremes import GroupedExtremes
from outgrow.stats.grouped import GroupedMoments, Segments
from outgrow.stats.moments import CoMoments

CLASSES, VALUES = 20, 50
"""So many classes of a target, and values of a column, are told apart; the others are one."""
SUSPICIOUS = 0.95
"""Association from which on a column may have been made after the target."""
_ENOUGH = 5
"""Values of a class that by chance alone do not all lie beyond those of the others."""
OTHER, MISSING = "(other)", "(missing)"


@dataclass(frozen=True)
class TargetColumn:
    """A column beside the target.

    Attributes
    ----------
    measure : 'correlation' of two numbers, 'correlation ratio' of a number and categories, or "Cramer's V" of
        two columns of categories; from 0 to 1 but for the first.
    association : how strongly they go together; NaN where one does not vary.
    missing : the same of whether the column has a value.
    apart : of numbers beside classes, whether each class has a range of values to itself.
    groups : of numbers beside classes: from each class to the mean and the standard deviation; of categories
        beside classes: from each value to the share of each class; of categories beside a number: from each
        value to its mean and standard deviation; else empty.
    """

    name: str
    measure: str
    association: float
    missing: float
    groups: Mapping[str, tuple[float, ...]]
    apart: bool = False


@dataclass(frozen=True)
class TargetProfile:
    """The columns beside a target.

    Attributes
    ----------
    target : its name.
    classes : from each class to its rows; None of a number.
    columns : by name, those that go with it most first.
    """

    target: str
    classes: Mapping[str, int] | None
    columns: Mapping[str, TargetColumn]

    def findings(self) -> tuple[ProfileFinding, ...]:
        """Columns that know the target suspiciously well."""
        return tuple(
            ProfileFinding(
                "leakage",
                (column.name,),
                f"{what} tells {self.target!r} almost exactly ({shown}). If it is known only after the "
                "target, leave it out.",
            )
            for column in self.columns.values()
            for what, shown in _tells(column)
        )


def _tells(column: TargetColumn) -> Iterator[tuple[str, str]]:
    """What of a column tells the target, and by which measure."""
    if abs(column.association) >= SUSPICIOUS:
        yield "its value", f"{column.measure} {column.association:.3f}"
    elif column.apart:
        yield "its value", "each class has a range of values to itself"
    if abs(column.missing) >= SUSPICIOUS:
        yield "whether it is missing", f"association {column.missing:.3f}"


@dataclass(frozen=True)
class Coding:
    """What the columns' values become: places in lists of the most frequent.

    Attributes
    ----------
    values : of each column of categories, the most frequent.
    names : of all columns that are looked at, without the target.
    target : its name.
    classes : the most frequent classes of the target; None where it is a number.
    """

    values: Mapping[str, tuple[str, ...]]
    names: tuple[str, ...]
    target: str
    classes: tuple[str, ...] | None

    @classmethod
    def of(cls, states: Mapping[str, ColumnState], example: Batch, target: str) -> Coding:
        """How the columns of a dataset are looked at.

        Parameters
        ----------
        states : what the first pass told of each.
        example : a batch with their types.
        target : one of them.

        Raises
        ------
        SchemaError
            When the target is neither a number nor a category.
        """
        kinds = {
            name: column.type for name, column in example.columns.items() if not isinstance(column, Matrix)
        }
        if target not in kinds or not (is_numeric(kinds[target]) or is_categorical(kinds[target])):
            raise SchemaError(f"The target {target!r} is no column of numbers or categories.")
        few = states[target].distinct.estimate() <= CLASSES + 0.5  # type: ignore[union-attr]
        top = states[target].frequent
        classes = None
        if top is not None and (is_categorical(kinds[target]) or pa.types.is_boolean(kinds[target]) or few):
            classes = tuple(value for value, _ in top.top(CLASSES))
        values = {
            name: tuple(value for value, _ in state.frequent.top(VALUES))
            for name, state in states.items()
            if state.frequent is not None
            and (is_categorical(kinds[name]) or pa.types.is_boolean(kinds[name]))
        }
        looked = [name for name, kind in kinds.items() if is_numeric(kind) or is_categorical(kind)]
        return cls(values, tuple(name for name in looked if name != target), target, classes)

    def codes(self, batch: Batch, name: str) -> tuple[np.ndarray, int]:
        """For each row the place of its value, and how many places there are.

        Of categories those of the most frequent, then one for all others and one for missing values; of
        numbers 0 where there is one and 1 where not.

        Parameters
        ----------
        batch : the rows.
        name : of a column.
        """
        if name in self.values:
            return coded(batch[name], self.values[name]), len(self.values[name]) + 2
        missing = batch[name].is_null(nan_is_null=True).to_numpy(zero_copy_only=False)  # type: ignore[union-attr]
        return missing.astype(np.intp), 2


def coded(column: Any, values: Sequence[str]) -> np.ndarray:
    """The place of each value among some, behind them the place of others and that of missing ones.

    Parameters
    ----------
    column : an Arrow column.
    values : as text.
    """
    places = {value: code for code, value in enumerate(values)}
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    words = [places.get(str(word), len(values)) for word in encoded.dictionary.to_pylist()]
    table = np.array([*words, len(values) + 1], dtype=np.intp)
    return table[encoded.indices.cast(pa.int64()).fill_null(len(words)).to_numpy(zero_copy_only=False)]


def learn_target(shard: Shard, coding: Coding) -> Any:
    """What rows tell of the columns beside the target: one pass.

    Parameters
    ----------
    shard : the rows.
    coding : how they are looked at.
    """
    fold = _beside_number if coding.classes is None else _beside_classes
    return shard.reduce(partial(fold, coding=coding), encoded=True)


def _numeric(batch: Batch, coding: Coding) -> list[str]:
    return [name for name in coding.names if name not in coding.values]


def _beside_classes(batch: Batch, coding: Coding) -> Any:
    assert coding.classes is not None
    classes, width = coded(batch[coding.target], coding.classes), len(coding.classes) + 2
    tables = []
    for name in coding.names:
        codes, count = coding.codes(batch, name)
        tables.append(np.bincount(codes * width + classes, minlength=count * width).reshape(count, width))
    segments = Segments.of(classes.astype(np.uint64))
    columns = [_floats(batch, name)[segments.order] for name in _numeric(batch, coding)]
    matrix = np.array(columns).reshape(len(columns), batch.num_rows)
    return tuple(tables), GroupedMoments.of(segments, matrix), GroupedExtremes.of(segments, matrix)


def _beside_number(batch: Batch, coding: Coding) -> Any:
    y = _floats(batch, coding.target)
    known = ~np.isnan(y)
    batch, y = batch.filter(known), y[known]
    groups = []
    for name in coding.names:
        segments = Segments.of(coding.codes(batch, name)[0].astype(np.uint64))
        groups.append(GroupedMoments.of(segments, y[None, segments.order]))
    joint = []
    for name in _numeric(batch, coding):
        both = np.column_stack([_floats(batch, name), y])
        joint.append(CoMoments.of(both[~np.isnan(both[:, 0])]))
    return tuple(groups), tuple(joint)


def _floats(batch: Batch, name: str) -> np.ndarray:
    """The numbers of a column; infinite ones are missing."""
    values = np.array(numbers(batch[name]), dtype=np.float64)
    values[np.isinf(values)] = np.nan
    return values


def target_profile(coding: Coding, learned: Any) -> TargetProfile:
    """What the pass told.

    Parameters
    ----------
    coding : how columns were looked at.
    learned : what `learn_target` gave.
    """
    if coding.classes is None:
        columns = _of_number(coding, *learned)
        classes = None
    else:
        columns, classes = _of_classes(coding, *learned)
    ordered = sorted(columns, key=lambda column: -abs(np.nan_to_num(column.association)))
    return TargetProfile(coding.target, classes, {column.name: column for column in ordered})


def _of_classes(
    coding: Coding, tables: Sequence[np.ndarray], moments: GroupedMoments, extremes: GroupedExtremes
) -> tuple[list[TargetColumn], dict[str, int]]:
    assert coding.classes is not None
    labels = [*coding.classes, OTHER, MISSING]
    totals = tables[0].sum(axis=0) if tables else np.zeros(len(labels))
    there = moments.hashes.astype(np.intp)
    columns, number = [], 0
    for name, table in zip(coding.names, tables, strict=True):
        known = table[:, :-1]  # a row without a target tells nothing of it
        if name in coding.values:
            shares = known[:, totals[:-1] > 0] / np.maximum(known.sum(axis=1, keepdims=True), 1)
            rows = _labelled([*coding.values[name], OTHER, MISSING], known.sum(axis=1), shares)
            missing = cramers_v(np.vstack([known[:-1].sum(axis=0), known[-1]]))
            columns.append(TargetColumn(name, "Cramer's V", cramers_v(known), missing, rows))
            continue
        n, mean, m2 = (part[:, number] for part in (moments.n, moments.mean, moments.m2))
        low, high = extremes.low[:, number], extremes.high[:, number]
        number += 1
        kept = there < len(labels) - 1
        rows = {
            labels[code]: (float(mean[k]), float(np.sqrt(m2[k] / max(n[k] - 1, 1))))
            for k, code in enumerate(there.tolist())
            if n[k] > 0 and kept[k]
        }
        eta = correlation_ratio(n[kept], mean[kept], m2[kept])
        own = kept & (n > 0)
        apart = _apart(n[own], low[own], high[own])
        columns.append(TargetColumn(name, "correlation ratio", eta, cramers_v(known), rows, apart))
    return columns, {label: int(total) for label, total in zip(labels, totals, strict=True) if total}


def _apart(n: np.ndarray, low: np.ndarray, high: np.ndarray) -> bool:
    """Whether the ranges of classes do not meet, none of which has so few values that chance makes it so."""
    order = np.argsort(low)
    several = len(n) > 1 and n.min() >= _ENOUGH
    return bool(several and (low[order[1:]] > high[order[:-1]]).all())


def _of_number(
    coding: Coding, groups: Sequence[GroupedMoments], joint: Sequence[CoMoments | None]
) -> list[TargetColumn]:
    columns, number = [], 0
    for name, state in zip(coding.names, groups, strict=True):
        n, mean, m2 = (part[:, 0] for part in (state.n, state.mean, state.m2))
        if name in coding.values:
            labels = [*coding.values[name], OTHER, MISSING]
            codes = state.hashes.astype(np.intp)
            spread = np.sqrt(m2 / np.maximum(n - 1, 1))
            rows = {labels[code]: (float(mean[k]), float(spread[k])) for k, code in enumerate(codes.tolist())}
            last = codes == len(labels) - 1
            missing = correlation_ratio(*_two(n, mean, m2, last))
            columns.append(
                TargetColumn(name, "correlation ratio", correlation_ratio(n, mean, m2), missing, rows)
            )
            continue
        r = _r(joint[number])
        number += 1
        columns.append(TargetColumn(name, "correlation", r, correlation_ratio(n, mean, m2), {}))
    return columns


def _labelled(labels: Sequence[str], counts: np.ndarray, rows: np.ndarray) -> dict[str, tuple[float, ...]]:
    """The rows of values that occur."""
    return {label: tuple(rows[k].tolist()) for k, label in enumerate(labels) if counts[k]}


def _two(n: np.ndarray, mean: np.ndarray, m2: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, ...]:
    """Groups as two: those that are the last, and all others."""
    weight = np.array([n[~last].sum(), n[last].sum()])
    safe = np.maximum(weight, 1)
    middle = np.array([(n * mean)[~last].sum(), (n * mean)[last].sum()]) / safe
    apart = n * (mean - middle[last.astype(int)]) ** 2 + m2
    return weight, middle, np.array([apart[~last].sum(), apart[last].sum()])


def _r(joint: CoMoments | None) -> float:
    if joint is None:
        return float("nan")
    spread = np.sqrt(joint.products[0, 0] * joint.products[1, 1])
    return float(np.clip(joint.products[0, 1] / spread, -1, 1)) if spread > 0 else float("nan")
