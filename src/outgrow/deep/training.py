"""A training from the first epoch to the last: evaluation, early stopping, snapshots, and who hears of it."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.deep.codecs.codec import Memory
from outgrow.deep.company import Kept, keep, of_the_living, one_waits
from outgrow.deep.loop import Losses, Rules, Trainer, begin_training
from outgrow.deep.minibatches import Minibatches, Rows
from outgrow.deep.replica import Replica, array_of
from outgrow.deep.several import started
from outgrow.deep.snapshot import restore_snapshot, snapshot_of
from outgrow.deep.strategies import DDP, Strategy
from outgrow.deep.strategies.parted import Parted
from outgrow.engine.context import FitContext
from outgrow.engine.events import heard
from outgrow.engine.matrix import MOMENTS
from outgrow.errors import DataError, EngineError, ParameterError, RegroupError

torch = optional("torch", "torch")

_TELL_SECONDS = 1.0
_KIND = "network"


@dataclass(frozen=True)
class Plan:
    """What is trained, and for how long.

    Attributes
    ----------
    rules : how each step goes.
    epochs : how many.
    batch_size : rows of a step, about.
    seed : of the batches, and of the rows held out.
    average : by what the running average of the parameters keeps its past at each step (Polyak and Juditsky
        1992), which is then what has been learned; None for the parameters themselves.
    held_out : the share of the rows that only judge; None for none.
    patience, tol : it ends after so many epochs in which the loss of those rows fell by less than `tol`, and
        the parameters of the best epoch stay; None to go on to the end.
    strategy : what several ranks merge, with whom and when.
    tell : hears after which share of the epochs the module is, at a few moments; or None.
    """

    rules: Rules
    epochs: int
    batch_size: int
    seed: int = 0
    average: float | None = None
    held_out: float | None = None
    patience: int | None = None
    tol: float = 0.0
    strategy: Strategy = field(default_factory=DDP)
    tell: Callable[[float], None] | None = None


@dataclass
class Progress:
    """How far a training is.

    Attributes
    ----------
    epoch, step : where it goes on: how many epochs are done, and how many steps of the next.
    loss, weight : sums over the steps of the epoch under way.
    train, validation : the mean loss of each epoch so far, before each step and after the epoch.
    best : the epoch whose loss of the rows held out was least, from 0; and the parameters after it.
    """

    epoch: int = 0
    step: int = 0
    loss: Any = 0.0
    weight: float = 0.0
    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best: int = -1
    kept: dict[str, np.ndarray] = field(default_factory=dict)
    average: np.ndarray | None = None

    def ends(self, plan: Plan) -> bool:
        """Whether the loss has not fallen for long enough."""
        if plan.patience is None or not self.validation:
            return False
        best, since = math.inf, 0
        for loss in self.validation:
            since = 0 if loss < best - plan.tol else since + 1
            best = min(best, loss)
        return since >= plan.patience


class Training:
    """Trains a replica.

    Parameters
    ----------
    run : the fit it belongs to: joins the ranks, keeps snapshots, and is told of progress.
    rows : of this rank.
    replica : what learns.
    losses : the loss of each row.
    plan : how.
    """

    def __init__(self, run: FitContext, rows: Rows, replica: Replica, losses: Losses, plan: Plan) -> None:
        self.run, self.replica, self.plan = run, replica, plan
        learned, self._watched = rows, None
        if plan.held_out is not None:
            learned, self._watched = rows.held_out(plan.held_out, plan.seed)
        counts = np.array([len(learned), 0 if self._watched is None else len(self._watched)], np.float64)
        self._rows, watched = self._combined(counts).astype(int).tolist()
        if plan.held_out is not None and not (self._rows and watched):
            raise DataError(
                f"validation_fraction={plan.held_out} leaves {self._rows} row(s) to learn from and {watched} "
                "to watch. Give more rows, another fraction, or early_stopping=False."
            )
        self._batches = Minibatches(learned, self._rows, plan.batch_size, plan.seed)
        self._ranks = started(run, replica, plan.strategy, plan.seed, len(learned))
        self.replica = replica = self._ranks.replica
        if plan.average is not None and isinstance(self._ranks.running, Parted):
            raise ParameterError(f"ema is of a whole network; {plan.strategy} keeps parts. Leave one out.")
        combine = None if run.comm.size == 1 else self._combined
        steps = self._batches.steps * plan.epochs
        self._trainer = Trainer(
            replica, losses, plan.rules, steps, self._ranks.running, combine, run.comm.rank
        )
        self._average: Any = None if plan.average is None else replica.parameters.clone()
        self._moments = {math.ceil(plan.epochs * share) for share in MOMENTS} - {plan.epochs}
        self._told = time.monotonic()
        self._elastic = run.elastic and plan.strategy.elastic and run.comm.connects
        self._buffers: list[Any] = []
        self._within: int | None = None
        self._before: Progress | None = None

    def _combined(self, state: Any) -> Any:
        return self.run.call(lambda: self.run.combine(state))

    @property
    def epsilon(self) -> float | None:
        """Of the differential privacy of what the ranks told each other; None where there is none."""
        return None if self._ranks.running is None else self._ranks.running.epsilon

    def run_to_the_end(self) -> Progress:
        """Train; the replica then is what was learned, the same on every rank."""
        with self._ranks:
            progress = self._recalled()
            try:
                with _threads(self.run.threads), torch.random.fork_rng(devices=[]):
                    while progress.epoch < self.plan.epochs and not progress.ends(self.plan):
                        self._epoch(progress)
            except EngineError:
                self._keep_for_others(progress)
                raise
            if progress.kept:
                self._put(progress.kept)
                self._ranks.join_parts()
            elif self._average is not None:
                self.replica.parameters.copy_(self._average)
                self._ranks.become_mean()
            else:
                self._ranks.become_one()
        return progress

    def _epoch(self, progress: Progress) -> None:
        began, trainer = time.perf_counter(), self._trainer
        begin_training(self.replica.module)
        for batch in self._batches.epoch(progress.epoch, progress.step):
            self._begin_step()
            loss, weight = trainer.step(batch)
            self.run.work.add(len(batch[0]))
            progress.loss, progress.weight = progress.loss + loss, progress.weight + weight
            progress.step += 1
            self._within = None
            if self._average is not None:
                self._average_in()
            if self._ranks.snapshot_is_due(self.replica.step):
                self._note(progress)
            if progress.step % 16 == 0:
                self._tell_step(progress)
            if self.replica.step % 16 == 0:
                self._let_join()
        self._before = copy.deepcopy(progress)
        loss, weight = self._ranks.over_all(float(progress.loss), progress.weight)
        progress.train.append(loss / weight if weight else math.nan)
        progress.epoch, progress.step, progress.loss, progress.weight = progress.epoch + 1, 0, 0.0, 0.0
        self._judge(progress)
        self._before = None
        self._ranks.worked(time.perf_counter() - began)
        self._tell_epoch(progress, time.perf_counter() - began)

    def _average_in(self) -> None:
        """Let the running average follow; at first faster, so that it forgets where it began."""
        assert self.plan.average is not None
        step = self.replica.step
        keep = min(self.plan.average, step / (10.0 + step))
        self._average.lerp_(self.replica.parameters, 1.0 - keep)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The averaged parameters in the module, within the block."""
        if self._average is None:
            yield
            return
        before = self.replica.parameters.clone()
        self.replica.parameters.copy_(self._average)
        try:
            yield
        finally:
            self.replica.parameters.copy_(before)

    def _judge(self, progress: Progress) -> None:
        """Look at what the ranks know together."""
        tells = self.plan.tell is not None and progress.epoch in self._moments
        if self._watched is None and not tells:
            return
        with self._averaged(), self._ranks.consensus():
            if self._watched is not None:
                loss = self._trainer.mean_loss(self._watched.all())
                best = progress.validation[progress.best] if progress.best >= 0 else math.nan
                if loss < best or math.isnan(best):
                    progress.best, progress.kept = progress.epoch - 1, self._learned()
                progress.validation.append(loss)
            if tells:
                assert self.plan.tell is not None
                self.plan.tell(progress.epoch / self.plan.epochs)

    def _learned(self) -> dict[str, np.ndarray]:
        """Parameters and buffers as they are now."""
        buffers = {f"buffer.{name}": array_of(value) for name, value in self.replica.module.named_buffers()}
        return {"parameters": self.replica.read_parameters(), **buffers}

    def _put(self, learned: dict[str, np.ndarray]) -> None:
        buffers = dict(self.replica.module.named_buffers())
        self.replica.put_parameters(learned["parameters"])
        with torch.no_grad():
            for name, value in buffers.items():
                value.copy_(torch.from_numpy(learned[f"buffer.{name}"]))

    # ---- who hears of it, and what survives --------------------------------------------------------------

    def _tell_step(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._told > _TELL_SECONDS and heard():
            steps = self._batches.steps
            rows = round(progress.step / steps * self._rows)
            done = progress.epoch * steps + progress.step
            mean = float(progress.loss) / progress.weight if progress.weight else None
            self.run.tell("step", done, steps * self.plan.epochs, rows=rows, loss=mean)
            self._told = now

    def _tell_epoch(self, progress: Progress, seconds: float) -> None:
        metrics = {"validation_loss": progress.validation[-1]} if progress.validation else {}
        metrics |= self._ranks.metrics()
        self.run.pace = self._ranks.slowest() or self.run.pace
        self.run.paces = self._ranks.paces()
        self.run.tell(
            "epoch",
            progress.epoch,
            self.plan.epochs,
            seconds=seconds,
            rows=self._rows,
            loss=progress.train[-1],
            metrics=metrics,
        )
        self._told = time.monotonic()

    # ---- ranks that leave and join -----------------------------------------------------------------------

    def _begin_step(self) -> None:
        """What a step that breaks off would leave changed."""
        if self._elastic:
            self._within = self.replica.step
            self._buffers = [buffer.clone() for buffer in self.replica.module.buffers()]

    def _let_join(self) -> None:
        """Part, all at the same step, where somebody waits to join."""
        if self._elastic and one_waits(self.run):
            raise RegroupError("Ranks part to meet anew.")

    def _keep_for_others(self, progress: Progress) -> None:
        """Keep where this rank is, after its last whole step, for those that go on."""
        if not self._elastic:
            return
        progress = progress if self._before is None else self._before
        if self._within is not None and self.replica.step == self._within:
            for buffer, before in zip(self.replica.module.buffers(), self._buffers, strict=True):
                buffer.copy_(before)
        elif self._within is not None:
            progress.step += 1  # it was taken, and then not merged
        number = 4 * self.replica.step + 2 * (self._within is None) + (progress.step == 0)
        keep(self.run, number, self._snapshot(progress, self._ranks.memory))

    def _snapshot(self, progress: Progress, memory: Memory) -> bytes:
        average = None if self._average is None else array_of(self._average)
        state = {**vars(progress), "loss": float(progress.loss), "average": average, "memory": memory}
        return snapshot_of(self.replica, state)

    def _note(self, progress: Progress) -> None:
        """Keep where the training is in the journal."""
        began = time.monotonic()
        content = self._ranks.of_all(self._snapshot(progress, self._ranks.settled()))
        self.run.journal.note(np.frombuffer(content, dtype=np.uint8), _KIND)
        self._ranks.snapshot_was_taken(time.monotonic() - began)

    def _own(self, mine: Kept | None, state: dict[str, Any]) -> None:
        """Of ranks that learn by themselves each goes on with its own parameters, and a newcomer with those
        of the furthest; what all had in common is that one's. Steps that others lack are left out.
        """
        step, memory, weight = self.replica.step, state["memory"], np.zeros(1)
        sums: dict[str, Any] = {"loss": 0.0, "weight": 0.0}
        if mine is not None and memory:
            before = restore_snapshot(self.replica, mine.content)
            weight = before["memory"].get("weight", weight)
            if (before["epoch"], before["step"] > 0) == (state["epoch"], state["step"] > 0):
                sums = {"loss": before["loss"], "weight": before["weight"]}
        self.replica.step = step
        state.update(sums)
        if "weight" in memory:
            memory["weight"] = weight

    def _recalled(self) -> Progress:
        """Where the last run of this fit was; the beginning without one."""
        content = None
        while self.run.journal.knows(_KIND):
            content = self.run.journal.recall()
        self.run.resume()
        snapshot = None if content is None else self._ranks.mine(content.tobytes())
        mine, furthest = of_the_living(self.run) if self._elastic else (None, None)
        if furthest is not None:
            snapshot = furthest.content
        if snapshot is None:
            return Progress()
        state = restore_snapshot(self.replica, snapshot)
        if furthest is not None and self._ranks.apart:
            self._own(mine, state)
        self._ranks.resume(state.pop("memory"))
        progress = Progress(**state)
        if progress.average is not None and self._average is not None:
            self._average.copy_(torch.from_numpy(np.array(progress.average)))
        progress.kept = {name: np.array(value) for name, value in progress.kept.items()}
        return progress


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many threads of torch, within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, count))
    try:
        yield
    finally:
        torch.set_num_threads(before)
