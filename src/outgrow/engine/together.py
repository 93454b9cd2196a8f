"""Fits side by side share scans: when all wait for a pass over the same rows, one pass serves them all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from outgrow.engine.context import FitContext, Foldable, no_rows
from outgrow.engine.outcome import Outcome, guarded
from outgrow.engine.shard import Shard

T = TypeVar("T")


def together(shard: Shard, fits: Sequence[Callable[[Shard], T]]) -> list[T]:
    """Run several fits over the same rows, with as few passes as the longest of them needs.

    Parameters
    ----------
    shard : the rows of this rank; each fit is handed them in a run of its own.
    fits : each called once, as by `side_by_side`.

    Returns
    -------
    list of what the fits return, in their order. The first error of a fit is raised once all have ended.
    """

    def on(fit: Callable[[Shard], T]) -> Callable[[FitContext], T]:
        return lambda run: fit(replace(shard, run=run))

    return side_by_side(shard.run, [on(fit) for fit in fits])


def side_by_side(base: FitContext, fits: Sequence[Callable[[FitContext], T]]) -> list[T]:
    """Run several fits whose passes are served together.

    Each fit is ordinary code on a thread of its own. Whenever all that are still running wait, their folds go
    over the rows in one pass; requests are served in the order of the fits, so all ranks do the same. What
    one fit cannot use (an `OutgrowError` of its fold, on any rank) ends that fit alone, on every rank.

    Parameters
    ----------
    base : the run that makes the passes.
    fits : each called once with a run of its own, through which it must do all its passes and what it says to
        other ranks; the same ones in the same order on every rank.

    Returns
    -------
    list of what the fits return, in their order. The first error of a fit is raised once all have ended.
    """
    alone = len(fits) == 1 and base.comm.size == 1  # nobody to share with, nor to wait for
    if alone and not base.journal.used:  # which is the same for any number of ranks
        return [fits[0](base)]
    counter = _Counter(len(fits))
    seats = [_SharedContext(base, counter) for _ in fits]
    results: list[Future[T]] = [Future() for _ in fits]

    def live(index: int) -> None:
        try:
            results[index].set_result(fits[index](seats[index]))
        except BaseException as error:
            results[index].set_exception(error)
        finally:
            counter.down()

    threads = [threading.Thread(target=live, args=(i,), daemon=True) for i in range(len(fits))]
    for thread in threads:
        thread.start()
    while any(not result.done() for result in results):
        counter.wait()
        _serve(base, [seat for seat in seats if seat.wish is not None], counter)
    for thread in threads:
        thread.join()
    return [result.result() for result in results]


@dataclass
class _PendingPass:
    """What a fit waits for: a pass over rows, or a call of its own."""

    answer: Future[Any]
    rows: Foldable | None
    work: Callable[..., Any]
    empty: Any


class _Counter:
    """How many fits are neither waiting nor done."""

    def __init__(self, running: int) -> None:
        self._running = running
        self._changed = threading.Condition()

    def down(self) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def up(self) -> None:
        with self._changed:
            self._running += 1

    def wait(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._running == 0)


class _SharedContext(FitContext):
    """The run of one of several fits: its wishes wait to be served with those of the others."""

    def __init__(self, base: FitContext, counter: _Counter) -> None:
        super().__init__(base.comm, 1, base.memory, base.stage)
        self.shared, self.reuse = True, base.reuse
        self.threads = base.threads  # libraries that bring their own threads have the machine alone in `call`
        self.wish: _PendingPass | None = None
        self._counter = counter

    def reduce(self, rows: Foldable, fold: Callable[[Any], Any], *, empty: Any = None) -> Any:
        self.passes += 1
        return self._ask(rows, fold, empty)

    def call(self, function: Callable[[], T]) -> T:
        return self._ask(None, function)

    def _ask(self, rows: Foldable | None, work: Callable[..., Any], empty: Any = None) -> Any:
        self.wish = _PendingPass(Future(), rows, work, empty)
        answer = self.wish.answer
        self._counter.down()
        return answer.result()


def _serve(run: FitContext, seats: Sequence[_SharedContext], counter: _Counter) -> None:
    wishes = [seat.wish for seat in seats if seat.wish is not None]
    groups: dict[int, list[_PendingPass]] = {}
    for wish in wishes:
        groups.setdefault(id(wish if wish.rows is None else wish.rows), []).append(wish)
    outcomes: list[tuple[_PendingPass, Any, BaseException | None]] = []
    for group in groups.values():
        outcomes += _fulfil(run, group)
    for seat in seats:
        seat.wish = None
        counter.up()
    for wish, value, error in outcomes:
        if error is None:
            wish.answer.set_result(value)
        else:
            wish.answer.set_exception(error)


def _fulfil(
    run: FitContext, group: Sequence[_PendingPass]
) -> list[tuple[_PendingPass, Any, BaseException | None]]:
    rows = group[0].rows
    try:
        if rows is None:
            return [(group[0], run.call(group[0].work), None)]
        folds = [guarded(wish.work) for wish in group]
        empty = tuple(Outcome(wish.empty) for wish in group)
        answers = run.reduce(rows, lambda item: tuple(fold(item) for fold in folds), empty=empty)
        return [
            (wish, answer.value, answer.error() or (no_rows() if answer.value is None else None))
            for wish, answer in zip(group, answers, strict=True)
        ]
    except BaseException as error:
        return [(wish, None, error) for wish in group]
