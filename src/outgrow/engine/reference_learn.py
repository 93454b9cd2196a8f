"""The two passes that make a reference: what there is, then how often it lies in each cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from outgrow.data.batch import Batch
from outgrow.data.keys import words_hash
from outgrow.data.measured import Measure, as_words, measures, words_of
from outgrow.engine.reference_plan import Answers, Axis, Counting, Entry, Plan, Role, Seen, numbers_of
from outgrow.engine.shard import Shard
from outgrow.stats.grid_counts import GridCounts
from outgrow.stats.grids import HEADS, MISSING, Grid, NoGrid, TextGrid, number_grid
from outgrow.stats.number_sample import NumberSample, NumberSampler
from outgrow.stats.state import to_tree
from outgrow.stats.text_tally import Buckets, TextTally

MOST_SLICES = 50
"""Values of a column of slices that are counted by themselves, the most frequent ones."""
FREQUENT = 1 / 2_048
"""The share of the rows from which a text has a cell of its own, where there are too many to know all."""
JOINT_PARTS = 10
_CANDIDATES = 1 << 22
"""Texts that may turn out to be frequent, at most; there are that few but for hashes made to collide."""


@dataclass(frozen=True, eq=False)
class Looking:
    """The fold of the first pass: samples of numbers, tallies of texts.

    Attributes
    ----------
    measures : what is looked at, with its role.
    by : columns of slices.
    answers : the model's predictions; None for none.
    """

    measures: tuple[tuple[Measure, Role], ...]
    by: tuple[str, ...]
    answers: Answers | None

    def __call__(self, batches: Iterator[Batch]) -> Any:
        fresh: dict[str, type[Any]] = {"number": NumberSampler, "category": _Tallier}
        learners = [fresh[m.sort]() if m.sort in fresh else None for m, _ in self.measures]
        by = [_Tallier() for _ in self.by]
        for batch in batches:
            seen = Seen.of(batch, self.answers)
            for (measure, role), learner in zip(self.measures, learners, strict=True):
                rows = seen.batch_of(role)
                if isinstance(learner, NumberSampler):
                    learner.add(numbers_of(rows, measure))
                elif learner is not None:
                    learner.add(*words_of(rows, measure))
            for name, tallier in zip(self.by, by, strict=True):
                words, codes = as_words(batch, name)
                there = codes[codes >= 0]
                tallier.add(words, np.bincount(there, minlength=len(words)), len(codes) - len(there))
        states = [None if learner is None else learner.state() for learner in learners]
        return tuple(states), tuple(tallier.state() for tallier in by)


class _Tallier:
    """Makes a `TextTally` of many batches."""

    def __init__(self) -> None:
        self.tally = TextTally.of(np.zeros(0, np.uint64), np.zeros(0, np.int64), [])

    def add(self, words: Any, counts: np.ndarray, missing: int) -> None:
        """Take texts in, with their counts, and missing values."""
        there = np.flatnonzero(counts)
        hashes, counts = words_hash(words), counts.astype(np.int64)
        if self.tally.complete and len(there) <= len(self.tally.texts) + self.tally.most:
            texts = words.to_pylist()
            self.tally = self.tally.merge(TextTally.of(hashes, counts, texts, missing))
        else:
            self.tally = self.tally.merge(TextTally.bucketed(hashes, counts, missing))

    def state(self) -> TextTally:
        """What was taken in."""
        return self.tally


@dataclass(frozen=True, eq=False)
class Candidates:
    """Texts of a measure that may be frequent, counted in the second pass.

    Attributes
    ----------
    entry : the place of the measure among the entries.
    buckets : which are full.
    """

    entry: int
    buckets: Buckets

    def tally(self, batch: Batch, measure: Measure) -> TextTally:
        """The counts of those in a batch.

        Parameters
        ----------
        batch : the rows.
        measure : that is meant.
        """
        words, counts, missing = words_of(batch, measure)
        hashes = words_hash(words)
        near = np.flatnonzero(self.buckets.holds(hashes))
        texts = words.take(near).to_pylist()
        return TextTally.of(hashes[near], counts[near], texts, missing, _CANDIDATES)


@dataclass(frozen=True, eq=False)
class CountingBoth:
    """The fold of the second pass: all counts, and those of texts that may be frequent."""

    counting: Counting
    candidates: tuple[Candidates, ...]

    def __call__(self, batches: Iterator[Batch]) -> Any:
        tallies = [TextTally.of(np.zeros(0, np.uint64), np.zeros(0, np.int64), [], 0, _CANDIDATES)] * len(
            self.candidates
        )

        def watched() -> Iterator[Batch]:
            for batch in batches:
                seen = Seen.of(batch, self.counting.answers) if self.candidates else None
                for number, candidate in enumerate(self.candidates):
                    entry = self.counting.plan.entries[candidate.entry]
                    assert seen is not None
                    rows = seen.batch_of(entry.role)
                    tallies[number] = tallies[number].merge(candidate.tally(rows, entry.measure))
                yield batch

        counts = self.counting(watched())
        return counts, tuple(tallies)


@dataclass(frozen=True, eq=False)
class Learning:
    """The two passes over a shard; what it gives can be stored.

    Attributes
    ----------
    by : columns of slices.
    target : the column of the label; None for none.
    answers : the model's predictions; None for none.
    """

    by: tuple[str, ...]
    target: str | None
    answers: Answers | None

    def __call__(self, shard: Shard) -> Any:
        looked_at = tuple(self._measures(shard.example))
        looking = Looking(looked_at, self.by, self.answers)
        nothing = looking(iter(()))
        states, by = shard.reduce_units(looking, encoded=True, empty=nothing)
        entries = tuple(
            Entry(measure, role, _grid(measure, state))
            for (measure, role), state in zip(looked_at, states, strict=True)
        )
        plan = Plan(entries, _slices(self.by, by), self._joint(entries, states))
        candidates = tuple(
            Candidates(index, state.full(FREQUENT))
            for index, state in enumerate(states)
            if isinstance(state, TextTally) and not state.complete
        )
        both = CountingBoth(Counting.over(plan, shard.example, self.answers), candidates)
        counts, tallies = shard.reduce_units(both, encoded=True, empty=both(iter(())))
        plan, counts = with_frequent(plan, counts, candidates, tallies)
        return {"plan": plan.to_tree(), "counts": to_tree(counts)}

    def _measures(self, example: Batch) -> Iterator[tuple[Measure, Role]]:
        seen = Seen.of(example, self.answers)
        for measure in measures(example):
            yield measure, "target" if measure.column == self.target else "column"
        if seen.answers is not None:
            yield from ((measure, "prediction") for measure in measures(seen.answers))

    def _joint(self, entries: Sequence[Entry], states: Sequence[Any]) -> tuple[Axis, Axis] | None:
        label = next((i for i, entry in enumerate(entries) if entry.role == "target"), None)
        predictions = [i for i, entry in enumerate(entries) if entry.role == "prediction"]
        if label is None or not predictions:
            return None
        # of two classes the probability of the second says more than which is likelier
        chosen = predictions[-1] if len(predictions) == 2 else predictions[0]
        axes = [_axis(index, states[index]) for index in (label, chosen)]
        return None if axes[0] is None or axes[1] is None else (axes[0], axes[1])


def _axis(index: int, state: Any) -> Axis | None:
    if isinstance(state, TextTally):
        if not state.complete:
            return None
        return Axis(index, None, tuple(text for text, _ in state.by_count()[: JOINT_PARTS - 1]))
    if not isinstance(state, NumberSample) or not len(state.numbers):
        return None
    numbers = state.sorted()
    if len(numbers) <= JOINT_PARTS:
        return Axis(index, numbers[1:])
    cuts = np.linspace(0, len(numbers), JOINT_PARTS + 1)[1:-1].astype(np.intp)
    return Axis(index, numbers[cuts])


def _grid(measure: Measure, state: Any) -> Grid:
    if measure.sort == "number":
        return number_grid(state)
    if measure.sort == "category":
        texts = tuple(text for text, _ in state.by_count()) if state.complete else ()
        return TextGrid(texts, state.complete)
    return NoGrid()


def _slices(by: Sequence[str], tallies: Sequence[TextTally]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, text)
        for name, tally in zip(by, tallies, strict=True)
        for text, _ in tally.by_count()[:MOST_SLICES]
    )


def with_frequent(
    plan: Plan, counts: GridCounts, candidates: Sequence[Candidates], tallies: Sequence[TextTally]
) -> tuple[Plan, GridCounts]:
    """The plan and counts in which texts that are frequent have a cell.

    Parameters
    ----------
    plan : of the second pass, in which those texts are among all others.
    counts : what it counted.
    candidates : which measures are concerned.
    tallies : what was counted for each of them.
    """
    if not candidates:
        return plan, counts
    entries = list(plan.entries)
    vectors = [plan.vector(counts, index) for index in range(len(entries))]
    for candidate, tally in zip(candidates, tallies, strict=True):
        index = candidate.entry
        others = int(vectors[index][HEADS])
        pairs = [(text, count) for text, count in tally.by_count() if count >= max(1.0, FREQUENT * others)]
        entries[index] = replace(entries[index], grid=TextGrid(tuple(text for text, _ in pairs), False))
        known = np.array([count for _, count in pairs], dtype=np.int64)
        head = np.zeros(HEADS, dtype=np.int64)
        head[MISSING] = vectors[index][MISSING]
        vectors[index] = np.concatenate([head, known, [others - known.sum()]])
    final = replace(plan, entries=tuple(entries))
    return final, replace(counts, grids=final.digest, counts=np.concatenate(vectors))
