"""The work of cross-validation: settings are learnt on every fold, and scored on the rows held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import clone

from outgrow import errors
from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.engine.shard import Shard
from outgrow.engine.together import together
from outgrow.errors import DataError, OutgrowError
from outgrow.ml.core.candidates import Candidate
from outgrow.ml.core.task import Task, kinds_of
from outgrow.ml.evaluation import Scores, as_scores, many_scorer, split, states_of
from outgrow.ml.pipeline import Pipeline
from outgrow.ml.selection.folds import Folds
from outgrow.ml.steps import learn_steps, steps_of, through
from outgrow.stats.scores import BINS, CALIBRATION_BINS, EXACT_ROWS
from outgrow.stats.state import from_tree, merge, to_tree

LEAST_BINS = 100
"""For each bin of the calibration, where there are too many scores to be kept."""

_PROMISES = ("columns_", "n_features_in_", "feature_names_in_")
"""What a model in a fold notes of the columns, which are known from before."""

_FAILURES = (OutgrowError, ValueError, ArithmeticError)
"""What ends one candidate, or those that share a step, and not the others."""


@dataclass
class Chain:
    """Settings with the same steps before the model.

    Attributes
    ----------
    before : those steps, not fitted.
    lasts : the model of each setting, by its place among the settings.
    groups : places of settings that are learnt together.
    """

    before: list[Any]
    lasts: dict[int, Any]
    groups: list[list[int]]


@dataclass(eq=False)
class _Fold:
    """A chain in one fold: its steps and models as they are learnt, and what goes wrong.

    Attributes
    ----------
    train, test : the places it learns from and is tested on; None for the fold of all rows.
    rows : how many rows it is tested on, once they are counted.
    scores : the state of each setting's metrics, by its place.
    """

    train: np.ndarray
    test: np.ndarray | None
    before: list[Any]
    lasts: dict[int, Any]
    rows: int = 0
    failed: dict[int, Exception] = field(default_factory=dict)
    scores: dict[int, Any] = field(default_factory=dict)

    def learn_steps(self, shard: Shard, task: Task) -> Shard:
        """Learn the steps before the models; the rows as they reach the models."""
        return learn_steps(self.before, shard.subset(self.train), task)

    def held_out(self, shard: Shard) -> Shard:
        """The rows to be tested on as they reach the models."""
        assert self.test is not None
        return through(self.before, shard.subset(self.test))

    def count(self, at: np.ndarray) -> None:
        """Note how many rows it is tested on, from those at each place."""
        self.rows = 0 if self.test is None else int(at[self.test].sum())

    def alive(self, places: Sequence[int]) -> list[int]:
        return [place for place in places if place not in self.failed]

    def fail(self, error: Exception, places: Sequence[int] | None = None) -> None:
        """Those of the places (of all, by default) that have not failed before fail with this."""
        for place in self.alive(list(self.lasts) if places is None else places):
            self.failed[place] = error

    def note(self, group: Sequence[int], candidates: Sequence[Candidate]) -> None:
        """Note the failures among the candidates of a group."""
        for place, candidate in zip(group, candidates, strict=True):
            if candidate.error is not None:
                self.fail(candidate.error, [place])

    def check_tested(self) -> None:
        if not self.rows:
            raise DataError(
                "A fold has no rows to be tested on: equal rows share a fold. Use fewer folds, or more rows."
            )

    def told(self, place: int, *, models: bool) -> dict[str, Any]:
        """What came of a setting, as an artifact can store it."""
        if place in self.failed:
            error = self.failed[place]
            return {"error": type(error).__name__, "message": str(error)}
        told = {} if self.test is None else {"scores": to_tree(self.scores[place]), "rows": self.rows}
        last = self.lasts[place]
        told["classes"] = getattr(last, "classes_", None)
        if models:
            told["learned"] = [step._learned() for step in (*self.before, last)]
        return told


@dataclass
class Job:
    """All of the work, as every rank does it."""

    chains: list[Chain]
    task: Task
    folds: Folds
    refit: bool
    models: bool

    def run(self, shard: Shard) -> dict[str, Any]:
        needed = self.task.roles.values()
        hidden = [name for name in self.folds.hidden if name not in needed]
        placed = shard.placed(self.folds.placing(shard, self.task.target), hidden=hidden)
        found: dict[str, list[dict[str, Any]]] = {}
        for chain in self.chains:
            folds = self._begin(chain)
            together(placed, self._works(placed, chain, folds))
            placed.forget_matrices()
            for place in chain.lasts:
                found[str(place)] = [
                    fold.told(place, models=self.models or fold.test is None) for fold in folds
                ]
        return {"trials": found, "passes": shard.run.passes}

    def _begin(self, chain: Chain) -> list[_Fold]:
        choices: list[tuple[np.ndarray, np.ndarray | None]] = [
            (self.folds.train_places(k), self.folds.test_places(k)) for k in range(self.folds.count)
        ]
        if self.refit:
            choices.append((np.ones_like(choices[0][0]), None))
        return [
            _Fold(
                train,
                test,
                [clone(step) for step in chain.before],
                {place: clone(last) for place, last in chain.lasts.items()},
            )
            for train, test in choices
        ]

    def _works(self, placed: Shard, chain: Chain, folds: list[_Fold]) -> list[Callable[[Shard], None]]:
        """What is done side by side: each fold; or, where no step tells their rows apart, each group."""
        if chain.before or any(chain.lasts[group[0]].shared_fit_parameters is None for group in chain.groups):
            at = placed.count_places(len(folds[0].train))
            for fold in folds:
                fold.count(at)
            bins = _bins(chain, folds)
            return [_FoldWork(chain, fold, self.task, bins).run for fold in folds]
        alone = len(self.chains) == len(chain.groups) == 1
        return [_GroupWork(chain, group, folds, self.task, alone).run for group in chain.groups]


def _bins(chain: Chain, folds: Sequence[_Fold]) -> int | None:
    """In how many bins scores are counted; None where those of one setting, or few, are kept."""
    settings = sum(map(len, chain.groups))
    if settings == 1 or sum(fold.rows for fold in folds) * settings <= EXACT_ROWS:
        return None
    share = len(chain.lasts) * len(folds)
    return CALIBRATION_BINS * max(LEAST_BINS, BINS // CALIBRATION_BINS // share)


@dataclass
class _FoldWork:
    """One fold of a chain by itself: its steps, then its groups, then the rows it is tested on."""

    chain: Chain
    fold: _Fold
    task: Task
    bins: int | None

    def run(self, shard: Shard) -> None:
        try:
            part = self.fold.learn_steps(shard, self.task)
        except _FAILURES as error:
            self.fold.fail(error)
            return
        for group in self.chain.groups:
            self._fit(part, group)
        groups = [alive for group in self.chain.groups if (alive := self.fold.alive(group))]
        if self.fold.test is not None and groups:
            self._score(shard, groups)

    def _fit(self, part: Shard, group: list[int]) -> None:
        models = [self.fold.lasts[place] for place in group]
        candidates = [Candidate(model, 0) for model in models]
        for model in models:
            model._expect(kinds_of(part.example, self.task))
        try:
            if models[0].shared_fit_parameters is None:
                models[0]._fit_shard(part, self.task, last=False)
            else:
                specs = [model._expect_features(part, self.task) for model in models]
                models[0]._fit_many(FoldedView.whole(part.matrix(specs[0])), candidates)
        except _FAILURES as error:
            self.fold.fail(error, group)
        self.fold.note(group, candidates)

    def _score(self, shard: Shard, groups: list[list[int]]) -> None:
        models = [[self.fold.lasts[place] for place in group] for group in groups]
        try:
            self.fold.check_tested()
            scored = self.fold.held_out(shard).reduce(many_scorer(models, self.task, self.bins))
        except _FAILURES as error:
            self.fold.fail(error)
            return
        for group, found in zip(groups, scored[0], strict=True):
            self.fold.scores.update(zip(group, split(found), strict=True))


@dataclass
class _GroupWork:
    """One group in all folds, on one matrix.

    Attributes
    ----------
    alone : whether nobody else needs the rows from which the matrix is made.
    """

    chain: Chain
    group: list[int]
    folds: list[_Fold]
    task: Task
    alone: bool

    def run(self, shard: Shard) -> None:
        try:
            rows = self._fit(shard)
            self._score(rows)
        except _FAILURES as error:
            for fold in self.folds:
                fold.fail(error, self.group)

    def _fit(self, shard: Shard) -> FoldedView:
        models = [fold.lasts[place] for fold in self.folds for place in self.group]
        kinds = kinds_of(shard.example, self.task)
        for model in models:
            model._expect(kinds)
            spec = model._expect_features(shard, self.task)
        train = np.stack([fold.train for fold in self.folds], axis=1)
        rows = FoldedView.of(shard.matrix(spec, last=self.alone), train)
        assert rows.at is not None
        for fold in self.folds:
            fold.count(rows.at)
        candidates = [
            Candidate(fold.lasts[place], k) for k, fold in enumerate(self.folds) for place in self.group
        ]
        models[0]._fit_many(rows, candidates)
        for k, fold in enumerate(self.folds):
            fold.note(self.group, candidates[k * len(self.group) : (k + 1) * len(self.group)])
        return rows

    def _score(self, rows: FoldedView) -> None:
        for fold in self.folds:
            if fold.test is not None:
                try:
                    fold.check_tested()
                except DataError as error:
                    fold.fail(error, self.group)
        alive = [
            (fold, places)
            for fold in self.folds
            if fold.test is not None and (places := fold.alive(self.group))
        ]
        if not alive:
            return
        models = [[fold.lasts[place] for place in places] for fold, places in alive]
        tests, bins = [fold.test for fold, _ in alive], _bins(self.chain, self.folds)

        def score(block: Block) -> tuple[Any, ...]:
            found: list[Any] = [None] * len(alive)
            for place, part in rows.parts(block):
                for i, test in enumerate(tests):
                    if test is not None and test[place]:
                        found[i] = merge(found[i], states_of(models[i], part, bins))
            return tuple(found)

        for (fold, places), states in zip(alive, rows.reduce(score), strict=True):
            fold.scores.update(zip(places, split(states), strict=True))


def take_learned(estimator: Any, promised: dict[str, Any], learned: list[dict[str, Any]]) -> None:
    """Give an estimator what its steps have learned in a fold.

    Parameters
    ----------
    estimator : a model, or a pipeline that ends in one.
    promised : what it promises to later calls, such as its columns.
    learned : of each step, as `Job.run` tells.
    """
    own = {name: value for name, value in learned[0].items() if name not in _PROMISES}
    estimator._restore({**({"steps_": learned} if isinstance(estimator, Pipeline) else own), **promised})


def failure(part: dict[str, Any]) -> Exception | None:
    """What went wrong in a fold, of what `Job.run` tells; None where nothing did."""
    if "error" not in part:
        return None
    kind: type[Exception] = getattr(errors, part["error"], OutgrowError)
    return kind(part["message"])


def scores_of(estimator: Any, part: dict[str, Any]) -> Scores:
    """The scores of a fold.

    Parameters
    ----------
    estimator : the model, or pipeline, that was scored; a fitted one says what several targets are called.
    part : what `Job.run` tells of the fold.
    """
    return as_scores(steps_of(estimator)[-1], from_tree(part["scores"]), part["rows"], part["classes"])
