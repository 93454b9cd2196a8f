"""How good predictions were, with labels that came later, by version, slice and window of time."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.base import is_classifier

from outgrow.data.spans import Span, as_times, moment
from outgrow.engine.dataset import Dataset
from outgrow.engine.open import dataset
from outgrow.engine.reading import read
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import PREDICTION, VERSION
from outgrow.ml.persistence import load
from outgrow.ml.predictor import Predictor
from outgrow.monitor.business import check_condition, statements
from outgrow.monitor.labels import (
    NO_TIME,
    Met,
    TrueValues,
    check_columns,
    class_places,
    class_text,
    named_classes,
    strangers,
    texts_of_labels,
)
from outgrow.monitor.pairs import EVERYTHING, MET, Group, PairFold, PairState, Problem
from outgrow.monitor.quality_table import as_table, described
from outgrow.stats.e_detector import EDetector, ErrorCounts
from outgrow.stats.state import from_tree, merge

CHANCES = "probability_"
ROLE = "role"


@dataclass(frozen=True)
class LabelCounts:
    """What became of the labels.

    Attributes
    ----------
    labels : keys with a label.
    met : those whose row was scored.
    unknown : those of rows that nobody scored.
    twice : labels that came again with the same value.
    contradicted : labels that came again with another value: the latest counts, or none if none is later.
    without_key : labels whose key has a missing value.
    """

    labels: int
    met: int
    unknown: int
    twice: int
    contradicted: int
    without_key: int


@dataclass(frozen=True)
class Alarm:
    """Errors that grew.

    Attributes
    ----------
    group : of which rows; its window is the one at whose end it was noticed.
    baseline : the mean error that is no alarm.
    error : the mean error of the window.
    evidence : log10 of the evidence, which had to reach -log10(false_alarms).
    rows : how many labels it took.
    """

    group: Group
    baseline: float
    error: float
    evidence: float
    rows: int


@dataclass(frozen=True, eq=False)
class Quality:
    """The quality of predictions by version, role, slice and window; printed, a table.

    Attributes
    ----------
    states : `PairState` by group.
    problem : classes, and which error is watched.
    labels : what became of the labels; None before there are any.
    window : the length of the windows; None where there is one.
    baseline : the mean error that is no alarm; None where none is watched.
    false_alarms : at most so many a row.
    notes : what else there is to know, a sentence each.
    """

    states: Mapping[Group, PairState]
    problem: Problem
    labels: LabelCounts | None = None
    window: Span | None = None
    baseline: float | None = None
    false_alarms: float = 1e-5
    notes: tuple[str, ...] = field(default=())

    def to_arrow(self) -> pa.Table:
        """One row for each version, role, slice and window: counts, metrics, estimates, business metrics."""
        return as_table(self.states, self.problem)

    def over(self, window: str | Span | None = None, *, slices: bool = True) -> Quality:
        """The same in longer windows, without looking at rows: states merge.

        Parameters
        ----------
        window : '1d', '1mo', ...; None for all time.
        slices : whether to keep them; else only all rows.

        Raises
        ------
        ParameterError
            When a window that there is would lie in two of the longer ones.
        """
        span = None if window is None else Span.of(window)
        if span is not None and (self.window is None or not span.nests(self.window)):
            have = "has no windows" if self.window is None else f"has windows of {self.window}"
            raise ParameterError(
                f"The quality {have}, which do not add up to windows of {span}. Choose a length that they "
                f"fill, or call og.quality(..., window='{span}')."
            )
        states: dict[Group, Any] = {}
        for group, state in self.states.items():
            if slices or group.slice == EVERYTHING:
                wider = group._replace(start=_floored(group, span))
                states[wider] = state if wider not in states else states[wider].merge(state)
        return replace(self, states=states, window=span)

    def errors(self) -> ErrorCounts:
        """The errors of all rows with a label, such as a baseline for others."""
        total = None
        for group, state in self.states.items():
            if group.slice == EVERYTHING and state.errors is not None:
                total = merge(total, state.errors)
        return ErrorCounts.of(np.zeros(0)) if total is None else total

    def alarms(self) -> list[Alarm]:
        """Versions and slices whose errors grew past the baseline.

        Each has an e-detector over its windows, in order of time. All together ring falsely at most
        `false_alarms` times a row on average: each has its part of that.
        """
        if self.baseline is None:
            return []
        series: dict[Group, list[tuple[Group, ErrorCounts]]] = {}
        for group, state in sorted(self.states.items(), key=_in_time):
            if state.errors is not None:
                series.setdefault(group._replace(start=None), []).append((group, state.errors))
        alarms = []
        for windows in series.values():
            detector = EDetector(self.baseline, self.false_alarms / len(series))
            for group, errors in windows:
                detector = detector.update_window(errors)
                if detector.alarm is not None:
                    alarms.append(Alarm(group, self.baseline, errors.mean, detector.evidence, detector.alarm))
                    break
        return alarms

    def __str__(self) -> str:
        return described(self)

    __repr__ = __str__


def quality(
    predictions: Any,
    labels: Any = None,
    *,
    on: str | Sequence[str] = (),
    label: str = "label",
    times: str | tuple[str, str] | None = None,
    within: str | None = None,
    until: Any = None,
    window: str | None = None,
    slices: Sequence[str] | Mapping[str, Any] = (),
    business: Mapping[str, Any] | None = None,
    error: str | None = None,
    scale: float | None = None,
    baseline: float | Quality | None = None,
    false_alarms: float = 1e-5,
    model: Any = None,
    classes: Sequence[Any] | None = None,
) -> Quality:
    """How good predictions were, once their labels came; and before that, what their probabilities promise.

    One pass over the predictions, here or on Spark; the labels are held in memory. Without labels, and for
    rows that wait for one, the quality is an estimate from the probabilities (`estimated_...`): it holds if
    they are calibrated and the same rows still have the same labels.

    Parameters
    ----------
    predictions : what `og.score` or the server's log wrote: a path, dataset or table with `prediction`,
        perhaps `probability_<class>`, `model_version` (or `version`) and `role`.
    labels : a path, dataset or table with the columns `on` and `label`; None where there are none yet.
    on : the columns that say which label belongs to which prediction.
    label : the column of `labels` with the true value.
    times : the columns that say when a prediction, and when its label, was made; or only the first.
    within : how long after its prediction a label may come, such as '12h'; later ones are counted apart.
    until : the time up to which labels are there; by default the latest time in either table. Rows older than
        `within` at that time will not get a label, younger ones wait.
    window : the length of the windows of time, such as '1h' or '1d', by the time of the prediction.
    slices : columns of the predictions, each value of which is judged apart; or conditions by name, such as
        `{"old": og.col("age") > 60}`.
    business : expressions over predictions and labels by name, in SQL or of `og.col`, which are summed:
        `{"cost": "5 * (prediction = 'yes' and label = 'no')::int"}`.
    error : the error in [0, 1] that is watched: "brier" (half the squared distance of the probabilities),
        "wrong" (0 or 1), or for numbers "absolute", as a part of `scale`. By default the first there can be.
    scale : the absolute error of a regression that counts as 1.
    baseline : the mean error that is no alarm, or the quality of other rows, whose upper bound (99 %) is it.
    false_alarms : at most so many a row on average, whatever the errors' distribution.
    model : the model, or its path, which says what the classes are; else the columns say it.
    classes : the same by hand.

    Raises
    ------
    ColumnNotFoundError
        When a table lacks a column.
    SchemaError
        When keys have other types in the two tables, or times are none.
    ParameterError
        When the baseline is no mean error, or of errors that are not watched.
    DataError
        When there are no rows, the predictions' classes cannot be told, or labels are none of them: `True`,
        true and a boolean are one class, so are 1, 1.0 and '1', and no other two.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> scores = pa.table({"id": [1, 2, 3, 4], "prediction": ["no", "yes", "no", "no"]})
    >>> truth = pa.table({"id": [1, 2, 3, 9], "late": ["no", "no", "no", "yes"]})
    >>> quality = og.quality(scores, truth, on="id", label="late")
    >>> quality.to_arrow().select(["rows", "labelled", "accuracy"]).to_pylist()
    [{'rows': 4, 'labelled': 3, 'accuracy': 0.6666666666666666}]
    >>> quality.labels.unknown
    1
    """
    data = _rows(predictions)
    check_columns(data.schema, [PREDICTION], "The predictions")
    made, seen = (times, None) if isinstance(times, str) or times is None else times
    keys = (on,) if isinstance(on, str) else tuple(on)
    span = None if window is None else Span.of(window)
    limit = None if within is None else Span.of(within)
    if made is None and not (span is limit is None):
        raise ParameterError(
            "A window and within need times: the column that says when a prediction was made."
        )
    check_columns(data.schema, [*keys, *([made] if made else [])], "The predictions")
    known = None if labels is None else _true_values(_rows(labels), keys, label, seen)
    if known is not None:
        known.check_types(data.schema)
    made_of = statements(business, data.schema, label, None if known is None else known.values.type)
    shown = _problem(data, known, error, scale, made_of, model, classes)
    bound, rate = _baseline(baseline, shown), _false_alarms(false_alarms)
    notes = _strange(known, shown)
    fold = PairFold(
        shown,
        known,
        label,
        next((name for name in (VERSION, "version") if name in data.columns), None),
        ROLE if ROLE in data.columns else None,
        made,
        _slices(data, slices),
        span,
        limit,
        _until(data, made, known, until),
    )
    states, met = _folded(data, fold, keys)
    counts = None if known is None else _label_counts(known, met)
    return Quality(states, shown, counts, span, bound, rate, notes)


def _rows(data: Any) -> Dataset:
    return read(data) if isinstance(data, str | os.PathLike) else dataset(data)


def _true_values(data: Dataset, keys: tuple[str, ...], label: str, time: str | None) -> TrueValues:
    if not keys:
        raise ParameterError("Labels need on=...: the columns that say to which prediction each belongs.")
    names = [*keys, label, *([time] if time else [])]
    check_columns(data.schema, names, "The labels")
    return TrueValues.of(data.select(names).to_arrow(), keys, label, time)


def _slices(data: Dataset, slices: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    named = {slices: slices} if isinstance(slices, str) else slices
    if not isinstance(named, Mapping):
        named = {name: name for name in named}
    check_columns(data.schema, [what for what in named.values() if isinstance(what, str)], "The predictions")
    wrong = {name: what for name, what in named.items() if not isinstance(what, str | pc.Expression)}
    if wrong:
        raise ParameterError(f"Slices are columns or conditions like og.col('age') > 60, not {wrong}.")
    for name, what in named.items():
        if isinstance(what, pc.Expression):
            check_condition(name, what, data.schema)
    return dict(named)


def _problem(
    data: Dataset,
    known: TrueValues | None,
    error: str | None,
    scale: float | None,
    business: Mapping[str, Any],
    model: Any,
    classes: Sequence[Any] | None,
) -> Problem:
    chances = [name for name in data.columns if name.startswith(CHANCES)]
    if model is not None:
        predictor = Predictor(load(model) if isinstance(model, str | os.PathLike) else model)
        if is_classifier(predictor.model):
            classes = tuple(predictor.classes or ())
            named = predictor.names("predict_proba") if predictor.gives("predict_proba") else []
            chances = named if set(named) <= set(data.columns) else []
    texts = None if classes is None else tuple(class_text(value) for value in classes)
    if texts is None and chances:
        texts = tuple(name.removeprefix(CHANCES) for name in chances)
    if texts is None and _is_class(data, known):
        texts = _seen(data, known)
    if texts is not None and len(chances) not in (0, len(texts)):
        raise DataError(f"There are {len(texts)} classes and {len(chances)} columns {CHANCES}...: {chances}.")
    allowed = ["absolute"] if texts is None else ["brier", "wrong"][0 if chances else 1 :]
    if error is not None and error not in allowed:
        raise ParameterError(f"error={error!r} is not to be had here; {' and '.join(map(repr, allowed))} is.")
    if texts is None and (error is not None) and not (scale or 0) > 0:
        raise ParameterError("error='absolute' needs scale=...: the absolute error that counts as 1.")
    watched = error or (None if texts is None and scale is None else allowed[0])
    return Problem(texts, tuple(chances), watched, float(scale or 1.0), business)


def _is_class(data: Dataset, known: TrueValues | None) -> bool:
    kinds = [data.schema.field(PREDICTION).type, *([] if known is None else [known.values.type])]
    return any(
        not (pa.types.is_integer(k) or pa.types.is_floating(k) or pa.types.is_decimal(k)) for k in kinds
    )


def _seen(data: Dataset, known: TrueValues | None) -> tuple[str, ...]:
    """The classes that were answered, or are labels, in order."""
    answered: set[str] = set()
    scan = data.select(PREDICTION)
    for part in scan.engine.each_piece(scan.scan, _classes_of, stage="quality"):
        answered |= set(part["classes"])
    texts = sorted(answered)
    labels = pa.array([], pa.string()) if known is None else texts_of_labels(known.values).drop_null()
    places = class_places(labels, texts)
    if answered and len(labels) and (places < 0).all():
        raise DataError(
            f"No label is a class that was predicted: labels {named_classes(labels)}, predictions "
            f"{named_classes(pa.array(texts, pa.string()))}. Write both alike; or give classes=[...], all "
            "that there are."
        )
    answered |= set(pc.unique(labels.filter(pa.array(places < 0))).to_pylist())
    if not answered:
        raise DataError("The predictions have no rows, and so no classes. Give model=... or classes=....")
    return tuple(sorted(answered))


def _classes_of(_: int, piece: Any) -> dict[str, Any]:
    texts: set[str] = set()
    for batch in piece.batches():
        texts |= set(pc.unique(batch[PREDICTION]).cast(pa.string()).drop_null().to_pylist())
    return {"classes": sorted(texts)}


def _strange(known: TrueValues | None, problem: Problem) -> tuple[str, ...]:
    """What there is to know of labels of no known class."""
    if known is None or problem.classes is None:
        return ()
    sentence = strangers(known.values, problem.codes(known.values), problem.classes)
    return () if sentence is None else (sentence,)


def _baseline(given: Any, problem: Problem) -> float | None:
    """The mean error that is no alarm; a bound that can have no effect is refused."""
    if given is None:
        return None
    if problem.error is None:
        raise ParameterError(
            "baseline has no effect: predictions and labels are numbers, and their errors have no bound. "
            "Give classes=[...] if they are classes, or scale=..., the absolute error that counts as 1."
        )
    if isinstance(given, Quality):
        errors = given.errors()
        if not errors.rows:
            raise ParameterError(
                "baseline is a quality without labels that count, and says nothing of errors. Give one with "
                "labels, or a number."
            )
        return errors.upper()
    if isinstance(given, bool) or not isinstance(given, Real) or not 0 <= float(given) < 1:
        raise ParameterError(f"baseline={given!r} is no mean error. Give a number from 0 to below 1.")
    return float(given)


def _false_alarms(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, Real) or not 0 < float(given) < 1:
        raise ParameterError(
            f"false_alarms={given!r} is no rate of alarms a row. Give a number between 0 and 1, like 1e-5."
        )
    return float(given)


def _until(data: Dataset, made: str | None, known: TrueValues | None, until: Any) -> int:
    """In microseconds since 1970."""
    if until is not None:
        return round(moment(until).timestamp() * 1e6)
    latest = NO_TIME if known is None or len(known) == 0 else int(known.times.max())
    if made is not None:
        scan = data.select(made)
        for part in scan.engine.each_piece(scan.scan, _Latest(made), stage="quality"):
            latest = max(latest, part["latest"])
    return latest


@dataclass(frozen=True)
class _Latest:
    name: str

    def __call__(self, _: int, piece: Any) -> dict[str, Any]:
        latest = NO_TIME
        for batch in piece.batches():
            last = pc.max(as_times(batch[self.name], self.name)).cast(pa.int64()).as_py()
            latest = latest if last is None else max(latest, last)
        return {"latest": int(latest)}


def _folded(data: Dataset, fold: PairFold, keys: Sequence[str]) -> tuple[dict[Group, Any], Met | None]:
    columns = [fold.version, fold.role, fold.time]
    if not fold.problem.business and not any(isinstance(w, pc.Expression) for w in fold.slices.values()):
        needed = [*keys, PREDICTION, *fold.problem.chances, *fold.slices, *[c for c in columns if c]]
        data = data.select(list(dict.fromkeys(needed)))
    states: dict[Group, Any] = {}
    met: Any = None
    for part in data.engine.each_piece(data.scan, fold, stage="quality"):
        for group, tree in zip(part["groups"], part["states"], strict=True):
            key = Group(*group)
            states[key] = merge(states.get(key), from_tree(tree))
        met = merge(met, None if part[MET] is None else from_tree(part[MET]))
    return states, met


def _label_counts(known: TrueValues, met: Met | None) -> LabelCounts:
    count = 0 if met is None else met.count
    return LabelCounts(
        len(known), count, len(known) - count, known.twice, known.contradicted, known.without_key
    )


def _floored(group: Group, span: Span | None) -> int | None:
    if span is None or group.time is None:
        return None
    return int(span.floor(pa.array([group.time], pa.timestamp("us", "UTC")))[0].value)


def _in_time(item: tuple[Group, PairState]) -> tuple[bool, float]:
    start = item[0].start
    return start is None, -math.inf if start is None else start
