"""Checks of many estimators on an engine whose jobs are dear: what all of them ask for is done in a few.

A check runs until it asks the engine for a fit or for rows. What all checks asked for is then made together,
one job for each table, and the checks run anew, with these answers; until none asks for more. An estimator
that several checks want fitted is fitted for one of them, and the others wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from sklearn.base import clone

from outgrow import errors
from outgrow.data.batch import Batch
from outgrow.data.matrix import Column
from outgrow.data.scan import Apply, Scan, Step, run_steps
from outgrow.engine.context import Unit
from outgrow.engine.dataset import Dataset
from outgrow.engine.protocol import Engine
from outgrow.engine.shard import Resident, Shard
from outgrow.errors import OutgrowError
from outgrow.ml.core.estimator import Estimator
from outgrow.testing.engines import EngineCase
from outgrow.testing.fits import Fits, table_digest

Check = Callable[[Estimator, EngineCase], None]


def run_together(checks: Sequence[tuple[Estimator, Check]], engine: EngineCase) -> list[Exception | None]:
    """Run checks on an engine in as few jobs as there are tables.

    Parameters
    ----------
    checks : estimators, not fitted, each with a check of it; the check does the same whenever it is called.
    engine : where.

    Returns
    -------
    For each check what it raised, or None where it holds.

    Examples
    --------
    >>> import outgrow as og
    >>> from outgrow.testing import ENGINE_CHECKS, pieces_case, run_together
    >>> run_together([(og.Ridge(), check) for check in ENGINE_CHECKS[:2]], pieces_case(3))
    [None, None]
    """
    tables = _Tables(engine)
    outcomes: list[Exception | None] = [None] * len(checks)
    replays = [_Replay() for _ in checks]
    pending = list(range(len(checks)))
    while pending:
        questions: dict[int, _Question] = {}
        waiting: list[int] = []
        for number in pending:
            estimator, check = checks[number]
            try:
                check(clone(estimator), tables.case(replays[number]))
            except _Unanswered as unanswered:
                questions[number] = unanswered.question
            except _Waits:
                waiting.append(number)
            except Exception as error:
                outcomes[number] = error
        for number, answer in zip(questions, _answered(list(questions.values())), strict=True):
            replays[number].answers.append(answer)
        pending = sorted([*questions, *waiting])
    return outcomes


@dataclass(frozen=True, eq=False)
class _Question:
    """What a check asks of an engine: a fit over a scan, or without one the rows of it."""

    engine: Engine
    scan: Scan
    fit: Callable[[Shard], Any] | None = None

    @property
    def group(self) -> tuple[Any, ...]:
        """Questions of one group are answered by one job."""
        steps = () if self.fit is None else tuple(step.describe() for step in self.scan.steps)
        return id(self.scan.source), self.fit is None, steps

    def alone(self) -> Any:
        """The answer, or the error in its place."""
        try:
            if self.fit is None:
                return list(self.engine.map(self.scan))
            return self.engine.fit(self.fit, self.scan)
        except Exception as error:
            return error


class _Unanswered(BaseException):
    """Ends a check whose question is still to be answered; no check takes it for an error."""

    def __init__(self, question: _Question) -> None:
        super().__init__()
        self.question = question


class _Waits(BaseException):
    """Ends a check that needs a fit which another one has begun."""


class _Replay:
    """The answers that one check got, and how many of them this run of it has taken."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.taken = 0

    def answer(self, question: _Question) -> Any:
        if self.taken == len(self.answers):
            raise _Unanswered(question)
        self.taken += 1
        answer = self.answers[self.taken - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


class _Tables:
    """Each table is opened once on an engine, and each estimator fitted once to it."""

    def __init__(self, engine: EngineCase) -> None:
        self._engine = engine
        self._opened: dict[bytes, Dataset] = {}
        self.fits = Fits(most=None)
        self.begun: dict[Any, _Replay] = {}

    def case(self, replay: _Replay) -> EngineCase:
        """The engine for one run of a check, which gets its answers in turn."""
        replay.taken = 0

        def open_table(table: pa.Table) -> Dataset:
            key = table_digest(table)
            if key not in self._opened:
                self._opened[key] = self._engine.open(table)
            rows = self._opened[key]
            answering: Any = _Answering(rows.engine, replay)
            return replace(rows, engine=answering)

        return EngineCase(self._engine.name, open_table, _SharedFits(self, replay))


class _SharedFits(Fits):
    """The fits of all checks, for one run of one of them."""

    def __init__(self, tables: _Tables, replay: _Replay) -> None:
        self._tables = tables
        self._replay = replay

    def model(self, key: Any, make: Callable[[], Any]) -> Any:
        return self._tables.fits.model(key, lambda: self._made(key, make))

    def _made(self, key: Any, make: Callable[[], Any]) -> Any:
        """What is fitted now; the answers it took are not needed again."""
        if self._tables.begun.setdefault(key, self._replay) is not self._replay:
            raise _Waits
        before = self._replay.taken
        try:
            model = make()
        except Exception:
            del self._tables.begun[key]  # the others see for themselves
            raise
        del self._replay.answers[before : self._replay.taken]
        self._replay.taken = before
        return model


class _Answering:
    """An engine whose fits and rows are known already, or asked for."""

    def __init__(self, engine: Engine, replay: _Replay) -> None:
        self._engine = engine
        self._replay = replay

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def fit(self, fit: Callable[[Shard], Any], scan: Scan, **settings: Any) -> Any:
        return self._replay.answer(_Question(self._engine, scan, fit))

    def map(self, scan: Scan) -> Iterator[Batch]:
        return iter(self._replay.answer(_Question(self._engine, scan)))


# ---- jobs --------------------------------------------------------------------------------------------------


def _answered(questions: list[_Question]) -> list[Any]:
    """The answers; where a job fails, each of its questions is put by itself."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, question in enumerate(questions):
        groups.setdefault(question.group, []).append(number)
    answers: list[Any] = [None] * len(questions)
    for numbers in groups.values():
        members = [questions[number] for number in numbers]
        try:
            made = _rows(members) if members[0].fit is None else _fits(members)
        except Exception:
            made = [member.alone() for member in members]
        for number, answer in zip(numbers, made, strict=True):
            answers[number] = answer
    return answers


def _fits(questions: list[_Question]) -> list[Any]:
    fits = [question.fit for question in questions]

    def run(shard: Shard) -> list[dict[str, Any]]:
        assert isinstance(shard.rows, Resident)
        shard.run.shared = True
        rows = _Kept(shard.run, shard.rows.pieces, shard.example)
        return [_outcome(fit, replace(shard, rows=rows)) for fit in fits]

    fitted = questions[0].engine.fit(run, questions[0].scan)
    return [
        replace(fitted, result=outcome["result"]) if "result" in outcome else _error(outcome)
        for outcome in fitted.result
    ]


class _Kept(Resident):
    """Rows that the next fit needs too, whatever this one says."""

    def last_units(self) -> Sequence[Unit]:
        return self.units()


def _outcome(fit: Any, shard: Shard) -> dict[str, Any]:
    shard.rows.matrices = {}
    try:
        return {"result": fit(shard)}
    except OutgrowError as error:
        return {"kind": type(error).__name__, "message": str(error)}


def _error(outcome: dict[str, Any]) -> Exception:
    kind: type[Exception] = getattr(errors, outcome["kind"], OutgrowError)
    return kind(outcome["message"])


def _rows(questions: list[_Question]) -> list[list[Batch]]:
    beside = _Beside(tuple(question.scan.steps for question in questions))
    source = Scan(questions[0].scan.source)
    schema = beside(source.example()).to_arrow().schema
    batches = list(questions[0].engine.map(source.then(Apply(beside, schema))))
    return [[beside.part(number, batch) for batch in batches] for number in range(len(questions))]


@dataclass(frozen=True)
class _Beside:
    """A batch after each of several runs of steps, one beside the other; the numbers of rows stay."""

    runs: tuple[tuple[Step, ...], ...]

    def __call__(self, batch: Batch) -> Batch:
        columns: dict[str, Column] = {}
        for number, steps in enumerate(self.runs):
            result = run_steps(steps, batch).to_arrow()
            columns |= {f"{number} {name}": result.column(name) for name in result.schema.names}
        return Batch(columns, batch.num_rows)

    def part(self, number: int, batch: Batch) -> Batch:
        """What one of the runs gave."""
        head = f"{number} "
        columns = {
            name.removeprefix(head): column for name, column in batch.columns.items() if name.startswith(head)
        }
        return Batch(columns, batch.num_rows)
