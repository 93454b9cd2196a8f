"""Checks of many estimators on an engine whose jobs are dear: what all of them ask for is done in a few.

A check runs until it asks the engine for a fit or for rows. What all checks asked for is then made together,
one job for each table, and the checks run anew, with these answers; until none asks for more.
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
    answers: list[list[Any]] = [[] for _ in checks]
    pending = list(range(len(checks)))
    while pending:
        questions: dict[int, _Question] = {}
        for number in pending:
            estimator, check = checks[number]
            try:
                check(clone(estimator), tables.case(answers[number]))
            except _Unanswered as unanswered:
                questions[number] = unanswered.question
            except Exception as error:
                outcomes[number] = error
        for number, answer in zip(questions, _answered(list(questions.values())), strict=True):
            answers[number].append(answer)
        pending = list(questions)
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


class _Tables:
    """Each table is opened once on an engine."""

    def __init__(self, engine: EngineCase) -> None:
        self._engine = engine
        self._opened: dict[bytes, Dataset] = {}

    def case(self, answers: list[Any]) -> EngineCase:
        """The engine for one run of a check, which gets these answers in turn."""
        left = iter(answers)

        def open_table(table: pa.Table) -> Dataset:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as stream:
                stream.write_table(table)
            key = sink.getvalue().to_pybytes()
            if key not in self._opened:
                self._opened[key] = self._engine.open(table)
            rows = self._opened[key]
            answering: Any = _Answering(rows.engine, left)
            return replace(rows, engine=answering)

        return EngineCase(self._engine.name, open_table)


class _Answering:
    """An engine whose fits and rows are known already, or asked for."""

    def __init__(self, engine: Engine, answers: Iterator[Any]) -> None:
        self._engine = engine
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def fit(self, fit: Callable[[Shard], Any], scan: Scan, **settings: Any) -> Any:
        return self._answer(_Question(self._engine, scan, fit))

    def map(self, scan: Scan) -> Iterator[Batch]:
        return iter(self._answer(_Question(self._engine, scan)))

    def _answer(self, question: _Question) -> Any:
        try:
            answer = next(self._answers)
        except StopIteration:
            raise _Unanswered(question) from None
        if isinstance(answer, Exception):
            raise answer
        return answer


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
