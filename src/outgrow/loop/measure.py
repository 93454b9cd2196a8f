"""What the gate looks at: both models on the same rows, and the candidate's size, speed and columns."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.engine.dataset import Dataset
from outgrow.errors import ColumnNotFoundError
from outgrow.inspection.row_losses import OF_NUMBERS, codes, losses
from outgrow.job.model import unknown
from outgrow.loop.policy import Gate
from outgrow.ml.core.task import promised_example
from outgrow.ml.predictor import Predictor
from outgrow.stats.paired import GroupOutcomes, PairedDifferences
from outgrow.stats.state import from_tree, merge, to_tree

ALL, CHAMPION, CANDIDATE, WATCHED = "", "champion", "candidate", "watched"
_ROUNDS, _CALLS, _MOST_SLICES = 3, 100, 1_000


@dataclass(frozen=True)
class Comparison:
    """A fold of labelled rows: what two models lose on each, by slice, and whom they prefer.

    Attributes
    ----------
    champion, candidate : the models.
    label : the column of the true values.
    metric : as policies name it.
    slices : columns whose values are slices.
    group, positive : the column of groups of people, and the class that is wished for; None for none.
    watched : the error by which the candidate's quality is watched, should it be promoted; None for none.
    """

    champion: Predictor
    candidate: Predictor
    label: str
    metric: str
    slices: tuple[str, ...] = ()
    group: str | None = None
    positive: Any = None
    watched: str | None = None

    def __call__(self, number: int, piece: Any) -> tuple[int, Any]:
        """The states of a piece, as they travel, with its number."""
        total: Any = None
        for batch in piece.batches():
            total = merge(total, self.states(batch))
        return number, None if total is None else to_tree(total)

    def states(self, batch: Batch) -> Any:
        """The differences by slice (champion less candidate), the losses of both, labels, groups."""
        table = batch.to_arrow()
        labels = _whole(table[self.label])
        old, _ = losses(self.champion, batch, labels, self.metric)
        new, chosen = losses(self.candidate, batch, labels, self.metric)
        slices = {ALL: np.ones(len(old), dtype=bool)}
        for column in self.slices:
            slices |= _values(table, column)
        paired = PairedDifferences.of(old - new, slices)
        losses_of = PairedDifferences.of(old, {CHAMPION: slices[ALL]}).merge(
            PairedDifferences.of(new, {CANDIDATE: slices[ALL]})
        )
        if self.watched is not None:
            errors, _ = losses(self.candidate, batch, labels, self.watched)
            losses_of = losses_of.merge(PairedDifferences.of(errors, {WATCHED: slices[ALL]}))
        if self.metric in OF_NUMBERS:
            truth = labels.cast(pa.float64()).to_numpy(zero_copy_only=False)
            known = np.array([len(truth), truth.sum(), truth @ truth])
            return paired, losses_of, known, _groups(np.array([]), np.array([]), np.array([]))
        classes = self.candidate.classes or []
        codes_of = codes(labels, classes)
        known = np.bincount(codes_of + 1, minlength=len(classes) + 1).astype(np.float64)
        return paired, losses_of, known, self._outcomes(table, codes_of, chosen, classes)

    def _outcomes(
        self, table: Any, codes_of: np.ndarray, chosen: np.ndarray, classes: list[Any]
    ) -> GroupOutcomes:
        if self.group is None:
            return _groups(np.array([]), np.array([]), np.array([]))
        wished = len(classes) - 1
        if self.positive is not None:
            (wished,) = codes(pa.array([self.positive]), classes)
        known = codes_of >= 0
        groups = np.array(_texts(table, self.group), dtype=object)
        return _groups(groups[known], codes_of[known] == wished, chosen[known] == wished)


def _groups(groups: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> GroupOutcomes:
    if not len(groups):
        return GroupOutcomes((), np.zeros((0, 2, 2)))
    return GroupOutcomes.of(groups, truth, predicted)


def _values(table: Any, column: str) -> dict[str, np.ndarray]:
    texts = np.array(_texts(table, column), dtype=object)
    names, index = np.unique(texts.astype(str), return_inverse=True)
    return {
        f"{column}={name}": index == codes_of for codes_of, name in enumerate(names[:_MOST_SLICES].tolist())
    }


def _texts(table: Any, column: str) -> list[str]:
    return [str(value) if value is not None else "missing" for value in table[column].to_pylist()]


def _whole(column: Any) -> Any:
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return whole.dictionary_decode() if pa.types.is_dictionary(whole.type) else whole


def compare(rows: Dataset, comparison: Comparison) -> Any:
    """The states of all rows; None of no rows.

    Parameters
    ----------
    rows : with the columns of both models, and the label.
    comparison : what is folded.

    Raises
    ------
    ColumnNotFoundError
        When a column is not there.
    """
    needed = {"gate.slices.by": comparison.slices, "gate.fair.by": filter(None, [comparison.group])}
    needed |= {"the champion": comparison.champion.columns, "the candidate": comparison.candidate.columns}
    for what, names in needed.items():
        for name in names:
            if name not in rows.columns:
                raise ColumnNotFoundError(f"{what}: {unknown(name, rows.columns, 'column')}")
    parts = dict(rows.engine.each_piece(rows.scan, comparison, stage="gate"))
    total: Any = None
    for number in sorted(parts):
        if parts[number] is not None:
            total = merge(total, from_tree(parts[number]))
    return total


def evidence(
    gate: Gate, states: Any, champion: Predictor, candidate: Predictor, folder: Path
) -> dict[str, Any]:
    """All that the gate judges by, as JSON.

    Parameters
    ----------
    gate : what is asked.
    states : as `compare` made them; None of no rows.
    champion, candidate : the models.
    folder : where the candidate is saved.
    """
    facts: dict[str, Any] = {"rows": 0, "metric": gate.better.metric}
    if states is not None:
        paired, losses_of, known, outcomes = states
        facts |= _losses(gate, paired, losses_of)
        facts["baseline_loss"] = baseline(gate.better.metric, known)
        if gate.slices is not None:
            facts["slices"] = {
                name: list(paired.sums[index]) for index, name in enumerate(paired.slices) if name != ALL
            }
        if gate.fair is not None:
            facts["groups"] = outcomes.rows()
            facts["fair"] = outcomes.differences(gate.fair.least_rows)
    if gate.also.latency_p99_ms is not None:
        facts["latency_p99_ms"] = latency(candidate)
    if gate.also.size_mb is not None:
        facts["size_mb"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    if gate.also.model_schema is not None:
        facts["schema"] = schema_changes(champion, candidate)
    return facts


def _losses(gate: Gate, paired: PairedDifferences, losses_of: PairedDifferences) -> dict[str, Any]:
    whole = paired.slice(ALL)
    low, high = whole.interval(gate.better.confidence)
    return {
        "rows": whole.rows,
        "champion_loss": losses_of.slice(CHAMPION).mean,
        "candidate_loss": losses_of.slice(CANDIDATE).mean,
        "watched_error": losses_of.slice(WATCHED).mean,
        "better_by": whole.mean,
        "better_low": low,
        "better_high": high,
    }


def baseline(metric: str, known: np.ndarray) -> float:
    """The least loss that one answer for all these rows can have.

    Parameters
    ----------
    metric : as policies name it.
    known : rows, sum and sum of squares of numbers; or how many rows are strangers, and of each class.
    """
    if metric == "mae":
        return math.nan  # needs the median
    if metric == "mse":
        rows, total, squares = known
        return float(squares / rows - (total / rows) ** 2)
    shares = known / known.sum()
    if metric == "error_rate":
        return float(1 - shares[1:].max())
    if metric == "brier":
        return float((1 - (shares[1:] ** 2).sum()) / 2)
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())


def latency(predictor: Predictor) -> float:
    """Milliseconds within which 99 of 100 predictions of one row are made, in this process."""
    row = promised_example(predictor.columns)
    chances = predictor.classes is not None and predictor.gives("predict_proba")
    spent = np.zeros((_ROUNDS, _CALLS))
    for at in np.ndindex(spent.shape):
        began = time.perf_counter()
        predictor.scores(row, probabilities=chances)
        spent[at] = time.perf_counter() - began
    return float(
        np.quantile(spent, 0.99, axis=1).min() * 1000
    )  # what else the machine does is not the model's


def schema_changes(champion: Predictor, candidate: Predictor) -> list[str]:
    """How what a candidate takes and answers differs from the champion's.

    Parameters
    ----------
    champion, candidate : the models.
    """
    old, new = champion.columns, candidate.columns
    changes = [f"column {name} is gone" for name in old if name not in new]
    changes += [f"column {name} is new" for name in new if name not in old]
    changes += [f"column {n} is {new[n]}, not {old[n]}" for n in old if n in new and new[n] != old[n]]
    if champion.classes != candidate.classes:
        changes.append(f"the classes are {candidate.classes}, not {champion.classes}")
    return changes
