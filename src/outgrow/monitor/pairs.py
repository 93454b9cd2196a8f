"""What predictions and labels that met them say, by version, role, slice and window: states that merge."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch
from outgrow.data.spans import Span, as_times, microseconds
from outgrow.ml.base import PREDICTION
from outgrow.monitor.business import projected
from outgrow.monitor.labels import NO_TIME, Met, TrueValues, class_places
from outgrow.stats.e_detector import ErrorCounts
from outgrow.stats.estimated import EstimatedClassification
from outgrow.stats.scores import ClassificationState, RegressionState
from outgrow.stats.state import State, merge, to_tree

MET = "\x00met"
"""Under this name the fold says which labels met a prediction."""
COUNTS = ("rows", "labelled", "not_counted", "late", "waiting", "never", "early")
EVERYTHING = ""
"""The slice of all rows."""


class Group(NamedTuple):
    """Rows that are judged together.

    Attributes
    ----------
    version, role : of the model that answered; "" where the table does not say.
    slice : "column=value", or "" for all rows.
    start : the beginning of the window, in microseconds since 1970; None for all time.
    """

    version: str
    role: str
    slice: str
    start: int | None

    @property
    def time(self) -> datetime.datetime | None:
        """The beginning of the window."""
        if self.start is None:
            return None
        return datetime.datetime.fromtimestamp(0, datetime.UTC) + datetime.timedelta(microseconds=self.start)


@dataclass(frozen=True, eq=False)
class PairState(State):
    """Predictions of a group, and the labels that met them.

    Attributes
    ----------
    scores : what the metrics need, of rows with a label; None where there are none.
    errors : how often each error in [0, 1] was made; None where errors have no bound.
    estimate : what the probabilities promise, of all rows; None without probabilities.
    counts : int64 ndarray by `COUNTS`: all rows, labels that count, labels that are missing or of an unknown
        class, labels that came too late, rows that wait for one, rows that will not get one, and labels that
        are older than their prediction.
    lag : float64 ndarray, the summed seconds between predictions and their labels, and of how many.
    business : float64 ndarray of shape (expressions, 3): rows, sum and sum of squares of each.
    """

    scores: ClassificationState | RegressionState | None
    errors: ErrorCounts | None
    estimate: EstimatedClassification | None
    counts: np.ndarray
    lag: np.ndarray
    business: np.ndarray

    def merge(self, other: PairState) -> PairState:
        return PairState(
            merge(self.scores, other.scores),
            merge(self.errors, other.errors),
            merge(self.estimate, other.estimate),
            self.counts + other.counts,
            self.lag + other.lag,
            self.business + other.business,
        )


@dataclass(frozen=True)
class Problem:
    """What kind of answers are judged, and how.

    Attributes
    ----------
    classes : as text; None of a regression.
    chances : the columns of the probabilities, one a class; empty where there are none.
    error : "brier", "wrong" or "absolute"; what the errors in [0, 1] are. None for none.
    scale : the absolute error that counts as 1.
    business : expressions over predictions and labels by name.
    """

    classes: tuple[str, ...] | None
    chances: tuple[str, ...]
    error: str | None
    scale: float
    business: Mapping[str, Any]

    def codes(self, values: pa.Array) -> np.ndarray:
        """The index of the class of each value; -1 where it is none."""
        assert self.classes is not None
        return class_places(values, self.classes)

    def known(self, labels: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """True values as numbers, and which of them count."""
        if self.classes is not None:
            codes = self.codes(labels)
            return codes, codes >= 0
        values = labels.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return values, np.isfinite(values)

    def scores(self, truth: np.ndarray, predicted: np.ndarray, p: np.ndarray | None) -> tuple[Any, Any]:
        """The state of the metrics, and the error of each row or None.

        Parameters
        ----------
        truth, predicted : of rows that count, as `known` gives them.
        p : their probabilities, if there are any.
        """
        if self.classes is None:
            state = RegressionState.of(truth, predicted)
            return state, (np.minimum(np.abs(truth - predicted) / self.scale, 1.0) if self.error else None)
        classes = len(self.classes)
        one = np.eye(classes)[predicted] if p is None else p
        # what was answered counts, also where a threshold other than 1/2 chose it
        table = np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)
        judged = replace(ClassificationState.of(truth, one), confusion=table.astype(np.float64))
        if self.error == "brier":
            shares = one / one.sum(axis=1, keepdims=True)
            apart = ((shares - np.eye(classes)[truth]) ** 2).sum(axis=1) / 2
            return judged, np.clip(apart, 0.0, 1.0)
        return judged, (truth != predicted).astype(np.float64)


@dataclass(frozen=True)
class PairFold:
    """Folds predictions into states by group; a function that is sent to the rows.

    Attributes
    ----------
    problem : what is judged.
    labels : None before there are any.
    label : under this name expressions see them.
    version, role, time : columns of the predictions; None where there is none.
    slices : columns, and conditions by name.
    window, within : of time; None for all of it, and for as long as it takes.
    until : the time up to which labels are there, in microseconds since 1970.
    """

    problem: Problem
    labels: TrueValues | None
    label: str
    version: str | None
    role: str | None
    time: str | None
    slices: Mapping[str, Any]
    window: Span | None
    within: Span | None
    until: int

    def __call__(self, _: int, piece: Any) -> dict[str, Any]:
        """The states of a piece, as an artifact can store them."""
        states: dict[Group, Any] = {}
        met = None if self.labels is None else Met.of(np.zeros(0, np.intp), len(self.labels))
        for batch in piece.batches():
            if batch.num_rows == 0:
                continue
            places = np.full(batch.num_rows, -1) if self.labels is None else self.labels.find(batch)
            if met is not None:
                met = met.merge(Met.of(places[places >= 0], len(self.labels or ())))
            for group, state in self.states(batch, places):
                states[group] = merge(states.get(group), state)
        return {
            "groups": [list(group) for group in states],
            "states": [to_tree(state) for state in states.values()],
            MET: None if met is None else to_tree(met),
        }

    def states(self, batch: Batch, places: np.ndarray) -> Iterator[tuple[Group, PairState]]:
        """By group.

        Parameters
        ----------
        batch : rows with predictions.
        places : where the label of each is; -1 for none.
        """
        rows = batch.to_arrow()
        rows = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        made = np.full(len(rows), NO_TIME)
        starts: Any = None
        if self.time is not None:
            times = as_times(rows[self.time].combine_chunks(), self.time)
            made = microseconds(times)
            starts = None if self.window is None else microseconds(self.window.floor(times))
        work = self._work(rows, places, made)
        keys = [texts_of(rows, self.version), texts_of(rows, self.role), starts]
        for (version, role, start), chosen in parted(keys, np.arange(len(rows))):
            moment = None if start is None or start == NO_TIME else int(start)
            yield Group(version or "", role or "", EVERYTHING, moment), work.state(chosen)
            for name, values in work.slices.items():
                for (value,), some in parted([values[chosen]], chosen):
                    if value is not None:
                        yield Group(version or "", role or "", f"{name}={value}", moment), work.state(some)

    def _work(self, rows: pa.Table, places: np.ndarray, made: np.ndarray) -> _Work:
        problem, slices = self.problem, {}
        for name, what in self.slices.items():
            values = projected(rows, what) if isinstance(what, pc.Expression) else rows[name]
            slices[name] = _labelled(values)
        met, seen = places >= 0, np.full(len(rows), NO_TIME)
        truth, known = np.zeros(len(rows), np.intp), np.zeros(len(rows), bool)
        labels = None
        if self.labels is not None and len(self.labels):
            labels = self.labels.values.take(pa.array(places, mask=~met))
            truth, known = problem.known(labels)
            seen = np.where(met, self.labels.times[places], NO_TIME)
        timed = (seen != NO_TIME) & (made != NO_TIME)
        elapsed = np.where(timed, seen - made, 0) / 1e6
        waited = np.where(made == NO_TIME, 0.0, (self.until - made) / 1e6)
        limit = math.inf if self.within is None else self.within.seconds
        predicted, usable = problem.known(rows[PREDICTION].combine_chunks())
        p = None
        if problem.chances:
            p = np.column_stack([rows[name].cast(pa.float64()).to_numpy() for name in problem.chances])
            usable = usable & np.isfinite(p).all(axis=1) & (p.sum(axis=1) > 0)
        late = elapsed > limit
        counted = met & ~late & known & usable
        flags = {
            "rows": np.ones(len(rows), bool),
            "labelled": counted,
            "not_counted": met & ~late & ~counted,
            "late": late,
            "waiting": ~met & (waited <= limit),
            "never": ~met & (waited > limit),
            "early": elapsed < 0,
        }
        numbers = np.column_stack([flags[name] for name in COUNTS])
        business = _business(problem, rows, labels, counted, self.label)
        return _Work(problem, slices, numbers, truth, predicted, p, elapsed, timed, business)


@dataclass(frozen=True)
class _Work:
    """The rows of a batch beside their labels, each an array with a line for each row."""

    problem: Problem
    slices: Mapping[str, np.ndarray]
    numbers: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    p: np.ndarray | None
    elapsed: np.ndarray
    timed: np.ndarray
    business: np.ndarray

    def state(self, chosen: np.ndarray) -> PairState:
        """The state of some rows."""
        numbers = self.numbers[chosen]
        counted = chosen[numbers[:, COUNTS.index("labelled")]]
        scores, errors = None, None
        if len(counted):
            p = None if self.p is None else self.p[counted]
            scores, made = self.problem.scores(self.truth[counted], self.predicted[counted], p)
            errors = None if made is None else ErrorCounts.of(made)
        timed = counted[self.timed[counted]]
        values = self.business[counted]
        there = np.isfinite(values)
        filled = np.where(there, values, 0.0)
        return PairState(
            scores,
            errors,
            None if self.p is None else EstimatedClassification.of(self.p[chosen]),
            numbers.sum(axis=0),
            np.array([self.elapsed[timed].sum(), len(timed)], dtype=np.float64),
            np.stack([there.sum(axis=0), filled.sum(axis=0), (filled**2).sum(axis=0)], axis=1),
        )


def _business(
    problem: Problem, rows: pa.Table, labels: pa.Array | None, counted: np.ndarray, label: str
) -> np.ndarray:
    """The values of the expressions, of shape (rows, expressions); NaN where there is none."""
    values = np.full((len(rows), len(problem.business)), np.nan)
    if labels is None or not counted.any() or not problem.business:
        return values
    pairs = rows.append_column(label, labels).filter(pa.array(counted))
    for column, what in enumerate(problem.business.values()):
        values[counted, column] = projected(pairs, what).cast(pa.float64()).to_numpy()
    return values


def texts_of(rows: Any, name: str | None) -> np.ndarray | None:
    """The values of a column as text; None where there is no such column.

    Parameters
    ----------
    rows : a table or batch.
    name : of the column.
    """
    return None if name is None else _labelled(rows[name])


def _labelled(values: Any) -> np.ndarray:
    return np.asarray(values.cast(pa.string()).to_pandas(), dtype=object)


def parted(keys: list[Any], rows: np.ndarray) -> Iterator[tuple[tuple[Any, ...], np.ndarray]]:
    """Rows by equal keys; a key that is None is None for all rows.

    Parameters
    ----------
    keys : arrays with a value for each row.
    rows : the numbers of the rows.
    """
    codes, values = np.zeros(len(rows), np.int64), []
    for key in keys:
        if key is None:
            values.append([None])
            continue
        encoded = pa.array(key, from_pandas=True).dictionary_encode()
        kinds = [*encoded.dictionary.to_pylist(), None]
        indices = encoded.indices.fill_null(len(kinds) - 1).to_numpy(zero_copy_only=False)
        codes = codes * len(kinds) + indices
        values.append(kinds)
    order = np.argsort(codes, kind="stable")
    ends = np.flatnonzero(np.diff(codes[order])) + 1
    for part in np.split(order, ends):
        code = int(codes[part[0]])
        picked: list[Any] = []
        for kinds in reversed(values):
            picked.append(kinds[code % len(kinds)])
            code //= len(kinds)
        yield tuple(reversed(picked)), rows[part]
