"""What happens around each round of boosting: rows are drawn, losses noted, trees kept, the end decided."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.engine.context import FitContext
from outgrow.engine.matrix import MOMENTS
from outgrow.ml.trees.bagging import RowSample, weights_of
from outgrow.ml.trees.plan import Metric, Objective, Plan, Stop
from outgrow.ml.trees.quantile_leaves import TreesAside, train_aside

_TREES = "trees"
SNAPSHOT_SECONDS = 5.0
"""How much boosting a fit may lose: after so long the trees so far go into the journal."""


@dataclass(frozen=True)
class Snapshot:
    """The trees of the first rounds, and the losses after each that the same fit noted."""

    rounds: int
    content: bytes
    losses: np.ndarray

    def booster(self) -> Any:
        """What XGBoost goes on from; None for nothing."""
        if not self.rounds:
            return None
        return optional("xgboost", "trees").Booster(model_file=bytearray(self.content))


def recalled(run: FitContext, begun: bytes | None) -> Snapshot:
    """The trees to go on from: the last snapshot in the journal, without one those of an earlier fit.

    Parameters
    ----------
    run : whose journal is read up to the last snapshot.
    begun : the trees of an earlier fit in XGBoost's UBJSON format, or None.

    Returns
    -------
    Without trees and losses where there is neither.
    """
    found = Snapshot(0, b"", np.zeros(0))
    if begun is not None:
        booster = Snapshot(1, begun, found.losses).booster()
        found = Snapshot(int(booster.num_boosted_rounds()), begun, found.losses)
    while run.journal.knows(_TREES):
        rounds, content, losses = run.journal.recall()
        found = Snapshot(int(rounds[0]), content.tobytes(), losses)
    run.resume()  # passes after the trees were made on trees that are not all in the last snapshot
    return found


def note_trees(run: FitContext, snapshot: Snapshot) -> None:
    """Keep the trees so far in the journal.

    Parameters
    ----------
    run : whose journal it is.
    snapshot : the trees.
    """
    content = np.frombuffer(snapshot.content, dtype=np.uint8)
    run.journal.note((np.array([float(snapshot.rounds)]), content, snapshot.losses), _TREES)


@dataclass
class Callbacks:
    """The callbacks of one training.

    Attributes
    ----------
    all : in the order in which they are called.
    gradients, metric : the objective and the loss that XGBoost does not have, or None.
    """

    plan: Plan
    rows: Sequence[Any]
    run: FitContext
    before: Snapshot
    all: list[Any]
    gradients: Callable[[np.ndarray, Any], Any] | None = None
    metric: Callable[[np.ndarray, Any], tuple[str, float]] | None = None
    _bag: Any = None
    _watched: list[Any] = field(default_factory=list)
    _aside: TreesAside | None = None

    @classmethod
    def of(
        cls, run: FitContext, plan: Plan, before: Snapshot, rows: Sequence[Any], sample: RowSample | None
    ) -> Callbacks:
        """Those that every training has, and those that its plan asks for.

        Parameters
        ----------
        run : hears of each round, and keeps the snapshots.
        plan : what to grow.
        before : what the training goes on from.
        rows : XGBoost's matrices of this rank: those that are learned from, then those held out, if any.
        sample : what rows weigh for each tree; None where each sees all.
        """
        made = _classes()
        resumable = plan.stop is None
        found = cls(plan, rows, run, before, [])
        found.all.append(made["rounds"](run, plan.rounds, before, resumable, found))
        if sample is not None and not plan.apart:
            found._bag = made["bag"](run, rows[0], sample, plan.loss if plan.follow else None, before.rounds)
            found.all.append(found._bag)
        if plan.gradients is not None:
            found._use(plan.gradients)
        return found

    def _use(self, gradients: Any) -> None:
        comm = self.run.comm

        def objective(sums: np.ndarray, rows: Any) -> Any:
            return gradients(rows.get_label(), sums, weights_of(rows), comm)

        def metric(sums: np.ndarray, rows: Any) -> tuple[str, float]:
            weight = weights_of(rows)
            total = comm.allreduce(
                np.array([weight @ gradients.loss(rows.get_label(), sums), weight.sum()], dtype=np.float64)
            )
            return "loss", float(total[0] / total[1])

        self.gradients, self.metric = objective, metric

    def use(self, objective: Objective, metric: Metric) -> None:
        """Learn by a loss of lists of rows.

        Parameters
        ----------
        objective, metric : what `OfLists.bound` gave.
        """

        def named(sums: np.ndarray, rows: Any) -> tuple[str, float]:
            return "loss", metric(sums, next(k for k, part in enumerate(self.rows) if part is rows))

        self.gradients, self.metric = objective, named

    def watch(self, told: Callable[[float, np.ndarray], None], rows: Any) -> None:
        """Show on the way what the trees so far answer.

        Parameters
        ----------
        told : called with the share of the rounds that is done, and the answers.
        rows : XGBoost's matrix of the rows that are watched.
        """
        self.all.append(_classes()["watched"](told, self.plan.rounds, rows, self.before.rounds))
        self._watched.append(rows)

    def stop(self, stop: Stop, judge: Callable[[np.ndarray], float] | None) -> Any:
        """End before the last round, by the scores of the last of the `rows`.

        Parameters
        ----------
        stop : when.
        judge : the score of the answers for those rows, greater is better; None for their loss.

        Returns
        -------
        The callback that decides it; its `kept` says how many rounds stay.
        """
        stopping = _classes()["stopping"](stop, judge, self.rows[-1], len(self.rows) > 1)
        self.all.append(stopping)
        return stopping

    def train(self, parameters: Mapping[str, Any], objective: Any, losses: Sequence[tuple[Any, str]]) -> Any:
        """Grow the trees; all callbacks are there.

        Parameters
        ----------
        parameters : XGBoost's.
        objective : what gives the derivatives, or None for XGBoost's own.
        losses : the rows whose losses are noted, and their names.

        Returns
        -------
        The booster with all trees, and the losses.
        """
        xgb = optional("xgboost", "trees")
        rounds, begun = self.plan.rounds - self.before.rounds, self.before.booster()
        if self.plan.leaves is not None:
            container = xgb.callback.CallbackContainer(self.all, metric=self.metric, output_margin=True)
            rows = [*self.rows, *self._watched]
            self._aside = TreesAside(self.plan.leaves, parameters, rows, self.run.comm)
            booster = train_aside(rounds, self._aside, container, objective, losses, begun)
            return booster, container.history
        history: dict[str, dict[str, list[float]]] = {}
        booster = xgb.train(
            parameters,
            self.rows[0],
            rounds,
            evals=losses,
            evals_result=history,
            callbacks=self.all,
            custom_metric=self.metric,
            verbose_eval=False,
            xgb_model=begun,
            obj=objective,
        )
        return booster, history

    def whole(self, booster: Any) -> Any:
        """The booster with all trees so far.

        Parameters
        ----------
        booster : what a callback sees.
        """
        return booster if self._aside is None else self._aside.whole()

    @property
    def out_of_bag(self) -> np.ndarray:
        """The losses of the rows that each tree did not see, before and after it."""
        return np.array([] if self._bag is None else self._bag.losses, dtype=np.float64).reshape(-1, 2)


class _Rounds:
    """Tells of each round, and keeps the trees so far in the journal."""

    def __init__(
        self, run: FitContext, total: int, before: Snapshot, resumable: bool, trees: Callbacks
    ) -> None:
        super().__init__()
        self._run, self._total, self._before = run, total, before
        self._resumable, self._trees = resumable, trees
        self._kept = time.monotonic()

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Tell of the round; False lets the training go on.

        Parameters
        ----------
        model : the booster so far.
        epoch : the round, counted from where this training went on.
        evals_log : the losses of this training, by name of the rows and of the metric.
        """
        losses, done = losses_of(evals_log, "train"), self._before.rounds + epoch + 1
        self._run.tell("round", done, self._total, loss=float(losses[-1]) if len(losses) else None)
        if self._resumable and time.monotonic() - self._kept > SNAPSHOT_SECONDS:
            self._keep(model, done, np.concatenate([self._before.losses, losses]))
        return False

    def _keep(self, model: Any, done: int, losses: np.ndarray) -> None:
        note_trees(self._run, Snapshot(done, self._trees.whole(model).save_raw("ubj"), losses))
        self._kept = time.monotonic()


class _Bag:
    """Each round sees its own sample of the rows; what it gains on the others is noted."""

    def __init__(self, run: FitContext, rows: Any, sample: RowSample, loss: Any, first: int) -> None:
        super().__init__()
        self._run, self._rows, self._sample, self._loss, self._first = run, rows, sample, loss, first
        self._weight, self._out = weights_of(rows), np.zeros(0)
        self.losses: list[tuple[float, float]] = []
        self._before = 0.0

    def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Weigh the rows for the next tree; False lets the training go on.

        Parameters
        ----------
        model : the booster so far.
        epoch : the round, counted from where this training went on; says which tree is next.
        evals_log : not used.
        """
        number = self._first + epoch
        self._rows.set_weight(self._weight * self._sample.weights(number))
        if self._loss is not None:
            self._out = self._weight * self._sample.left_out(number)
            self._before = self._mean(model)
        return False

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Note the loss of the rows that the tree did not see; False lets the training go on.

        Parameters
        ----------
        model : the booster so far.
        epoch : the round, counted from where this training went on; not used.
        evals_log : not used.
        """
        if self._loss is not None:
            self.losses.append((self._before, self._mean(model)))
        return False

    def _mean(self, model: Any) -> float:
        sums = model.predict(self._rows, output_margin=True)
        lost = self._loss(self._rows.get_label(), sums)
        total = self._run.combine(np.array([self._out @ lost, self._out.sum()], dtype=np.float64))
        return float(total[0] / total[1]) if total[1] > 0 else math.nan

    def after_training(self, model: Any) -> Any:
        self._rows.set_weight(self._weight)
        return model


class _Watched:
    """Shows on the way what the trees so far answer; XGBoost computes only what the new ones add."""

    def __init__(self, told: Callable[[float, np.ndarray], None], total: int, rows: Any, first: int) -> None:
        super().__init__()
        self._told, self._total, self._rows, self._first = told, total, rows, first
        self._moments = {math.ceil(total * share) for share in MOMENTS} - {total}

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Show the answers, if it is one of the moments; False lets the training go on.

        Parameters
        ----------
        model : the booster so far.
        epoch : the round, counted from where this training went on.
        evals_log : not used.
        """
        done = self._first + epoch + 1
        if done in self._moments:
            self._told(done / self._total, model.predict(self._rows).astype(np.float64))
        return False


class _Stopping:
    """Ends the training when the scores of the watched rows no longer rise."""

    def __init__(self, stop: Stop, judge: Any, rows: Any, held_out: bool) -> None:
        super().__init__()
        self._stop, self._judge, self._rows = stop, judge, rows
        self._name = "validation" if held_out else "train"
        self.scores = stop.before

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Note the score; True ends the training.

        Parameters
        ----------
        model : the booster so far.
        epoch : the round, counted from where this training went on; not used.
        evals_log : the losses of this training, by name of the rows and of the metric.
        """
        self.scores = np.append(self.scores, self._score(model, evals_log))
        return self._stop.reached(self.scores)

    def _score(self, model: Any, evals_log: Any) -> float:
        if self._judge is None:
            return -float(losses_of(evals_log, self._name)[-1])
        return float(self._judge(model.predict(self._rows).astype(np.float64)))

    def kept(self, rounds: int) -> int:
        """How many of the rounds stay."""
        best = rounds - len(self.scores) + int(np.argmax(self.scores)) + 1 if len(self.scores) else rounds
        return best if self._stop.keep_best else rounds


@lru_cache(1)
def _classes() -> dict[str, type]:
    """The classes of the callbacks, made when they are first needed, as they derive from XGBoost's."""
    base = optional("xgboost", "trees").callback.TrainingCallback
    kinds = {"rounds": _Rounds, "bag": _Bag, "watched": _Watched, "stopping": _Stopping}
    return {name: type(kind.__name__, (kind, base), {}) for name, kind in kinds.items()}


def losses_of(history: Mapping[str, Mapping[str, list[float]]], name: str) -> np.ndarray:
    """The losses of some rows after each round.

    Parameters
    ----------
    history : XGBoost's, by name of the rows and of the metric; of several metrics the last counts.
    name : of the rows: 'train' or 'validation'.

    Returns
    -------
    Of shape (rounds,); empty where nothing was noted.
    """
    *_, losses = [*history.get(name, {}).values()] or [[]]
    return np.array(losses)
