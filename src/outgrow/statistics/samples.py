"""Samples to be compared: columns of several datasets, or those of the groups of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from outgrow.data.batch import Batch
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.ml.core.columns import Columns
from outgrow.statistics.rows import Rows, dense, key_order, open_rows
from outgrow.stats.extremes import GroupedExtremes
from outgrow.stats.grouped import GroupedMoments, Keys
from outgrow.stats.moments import check_small_squares, check_squares
from outgrow.stats.state import State

_FAR = 1e5
"""How many standard deviations from 0 numbers may lie before their means lose digits that tests need."""


@dataclass(frozen=True, eq=False)
class GroupMoments(State):
    """The moments of groups, less a `shift` of each column, of shape (columns,).

    Attributes
    ----------
    keys : of the groups.
    moments, ends : of the same groups.
    """

    keys: Keys
    moments: GroupedMoments
    ends: GroupedExtremes

    def merge(self, other: GroupMoments) -> GroupMoments:
        return GroupMoments(
            self.keys.merge(other.keys), self.moments.merge(other.moments), self.ends.merge(other.ends)
        )


@dataclass(frozen=True, eq=False)
class Samples:
    """The moments of samples, in their order.

    Attributes
    ----------
    labels : what the samples are called: their keys, or numbers from 0.
    n, mean, m2 : shape (samples, columns); means less the shift.
    shift : shape (columns,).
    """

    labels: list[Any]
    n: np.ndarray
    mean: np.ndarray
    m2: np.ndarray
    shift: np.ndarray

    @property
    def variance(self) -> np.ndarray:
        """Of shape (samples, columns), NaN where there are fewer than two values."""
        return np.where(self.n > 1, self.m2 / np.maximum(self.n - 1, 1), np.nan)


def open_samples(samples: Sequence[Any], columns: Columns, by: Any) -> list[Rows]:
    """The rows of samples: one with groups, or one for each sample.

    Parameters
    ----------
    samples : what a user gave.
    columns : of each of them.
    by : the columns that make groups of the only one, or None.

    Raises
    ------
    ParameterError
        When there is one and no groups, or several and groups.
    SchemaError
        When samples have other columns than the first.
    """
    if by is not None and len(samples) == 1:
        return [open_rows(samples[0], columns, by=by)]
    if by is not None or len(samples) < 2:
        raise ParameterError(
            f"{len(samples)} sample(s) and by={by!r}: give several samples, or one dataset with by=, the "
            "column whose values make groups."
        )
    parts = [open_rows(sample, columns) for sample in samples]
    for part in parts[1:]:
        if len(part.labels) != len(parts[0].labels) or (
            len(part.labels) > 1 and part.labels != parts[0].labels
        ):
            raise SchemaError(f"The samples have columns {list(parts[0].labels)} and {list(part.labels)}.")
    return parts


def sample_moments(parts: Sequence[Rows], learn: Callable[..., Any] | None = None) -> Samples:
    """The moments of samples.

    Parameters
    ----------
    parts : what `open_samples` gave.
    learn : called with a shard and its rows, gives their `GroupMoments` and the shift; by default those of
        the numbers as they are.
    """
    learned = [part.learn(partial(learn or group_moments, rows=part), keep=True) for part in parts]
    for part, (state, _) in zip(parts, learned, strict=True):
        check_sample_squares(part, state)
    shifts = [shift for _, shift in learned]
    stacked = [
        _ordered(part, state, number)
        for number, (part, (state, _)) in enumerate(zip(parts, learned, strict=True))
    ]
    labels = [label for names, *_ in stacked for label in names]
    n, mean, m2 = (np.concatenate([part[k] for part in stacked]) for k in (1, 2, 3))
    if len(parts) > 1:
        mean = mean + np.array(shifts) - shifts[0]  # each sample has one row of them
    return Samples(labels, n, mean, m2, shifts[0])


def _ordered(
    part: Rows, state: GroupMoments, number: int
) -> tuple[list[Any], np.ndarray, np.ndarray, np.ndarray]:
    """The moments in the order of the keys; of groups of one value exactly those of it."""
    moments, ends = state.moments, state.ends
    constant = ends.low == ends.high
    mean = np.where(constant, ends.low, moments.mean)
    m2 = np.where(constant, 0.0, moments.m2)
    if not part.by and not len(moments.hashes):
        raise DataError(f"Sample {number} has no rows. Give rows, or leave it out.")
    if not part.by:
        return [number], moments.n, mean, m2
    table, order = key_order(state.keys, part.by, missing=False)
    labels = [tuple(row.values()) if len(row) > 1 else next(iter(row.values())) for row in table.to_pylist()]
    return labels, moments.n[order], mean[order], m2[order]


def group_moments(shard: Shard, rows: Rows) -> tuple[GroupMoments, np.ndarray]:
    """The moments of groups, in one pass, and another one where numbers lie far from 0; and their shift.

    Parameters
    ----------
    shard, rows : the rows.
    """
    zero = np.zeros(len(rows.labels))
    state = shard.reduce(partial(_fold, rows=rows, shift=zero), encoded=True)
    n = state.moments.n.sum(axis=0)
    safe = np.where(n > 0, n, 1)
    centre = (state.moments.n * state.moments.mean).sum(axis=0) / safe
    spread = np.sqrt(state.moments.m2.sum(axis=0) / safe)
    if not (np.abs(centre) > _FAR * spread).any():
        return state, zero
    return shard.reduce(partial(_fold, rows=rows, shift=centre), encoded=True), centre


def _fold(batch: Batch, rows: Rows, shift: np.ndarray) -> GroupMoments:
    return grouped_state(batch, rows, dense(rows.finite(batch)).T - shift[:, None])


def grouped_state(batch: Batch, rows: Rows, X: np.ndarray) -> GroupMoments:
    """The moments of numbers by the groups of a batch.

    Parameters
    ----------
    batch : the rows.
    rows : says what their groups are.
    X : shape (columns, rows).
    """
    segments, keys = rows.grouped(batch)
    columns = X if len(segments.starts) < 2 else X[:, segments.order]
    return GroupMoments(keys, GroupedMoments.of(segments, columns), GroupedExtremes.of(segments, columns))


def check_sample_squares(part: Rows, state: GroupMoments) -> None:
    """Refuse numbers of which a test would say anything, as float64 does not hold their squares.

    Parameters
    ----------
    part : where the state is from.
    state : the moments of its numbers.

    Raises
    ------
    DataError
        When squares overflow, or become 0.
    """
    m2, ends = state.moments.m2, state.ends
    check_squares(m2.sum(axis=0), part.labels)
    varies = ends.low < ends.high
    least = np.where(varies, m2, np.inf).min(axis=0, initial=np.inf)
    check_small_squares(least, np.isfinite(least), part.labels)


def two(samples: Samples, what: str) -> None:
    """Refuse other numbers of samples than two.

    Parameters
    ----------
    samples : their moments.
    what : the test, for the message.

    Raises
    ------
    DataError
        When there are more or fewer.
    """
    if len(samples.labels) != 2:
        raise DataError(
            f"{what} compares two samples; there are {len(samples.labels)}: {samples.labels[:5]}. "
            "Choose rows of two groups, or take f_oneway."
        )
