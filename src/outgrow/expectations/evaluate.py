"""From what was counted to what is broken."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from outgrow.data.batch import Batch
from outgrow.data.exact import moment_text
from outgrow.data.matrix import Column, Matrix
from outgrow.data.spans import Span
from outgrow.expectations.checker import Counting, keys_of
from outgrow.expectations.repeated import Repeated
from outgrow.expectations.report import CheckResult, ExpectationReport, Verdict, of_share
from outgrow.expectations.rules import value_type
from outgrow.expectations.spec import STOP, WARN, ColumnSpec, Spec, has_type
from outgrow.expectations.state import NEVER, CheckedRows

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Evaluation:
    """All that a report is made of.

    Attributes
    ----------
    spec : what is expected.
    example : a batch of the rows.
    counting : what was counted.
    unfit : why some of it could not be, by column and key.
    state : the counts.
    repeated : of each key, the rows that repeat another.
    now : the time from which ages are counted.
    """

    spec: Spec
    example: Batch
    counting: Counting
    unfit: Mapping[tuple[str, str], str]
    state: CheckedRows
    repeated: Mapping[tuple[str, ...], Repeated]
    now: datetime.datetime

    def report(self) -> ExpectationReport:
        """Each expectation with its verdict."""
        of_columns = (result for name in self.spec.columns for result in self._column(name))
        results = (*self._table(), *of_columns, *self._keys())
        return ExpectationReport(self.state.rows, self.state.aside, self.spec.at_most, results)

    # ---- the whole table -----------------------------------------------------------------------------

    def _table(self) -> Iterator[CheckResult]:
        least, most = self.spec.rows
        if (least, most) != (None, None):
            rows = self.state.rows
            fits = (least is None or rows >= least) and (most is None or rows <= most)
            ends = [f"at least {least:,}" if least is not None else "", f"at most {most:,}" if most else ""]
            yield self._whole("", "rows", " and ".join(filter(None, ends)), f"{rows:,}", fits)
        if not self.spec.others:
            others = [name for name in self.example.columns if name not in self.spec.columns]
            yield self._whole("", "others", "no further columns", ", ".join(others) or "none", not others)

    def _keys(self) -> Iterator[CheckResult]:
        for key in keys_of(self.spec)[-len(self.spec.unique) :] if self.spec.unique else ():
            yield self._unique(key, None)

    def _whole(
        self, column: str, what: str, expected: str, observed: str, fits: bool, policy: str | None = None
    ) -> CheckResult:
        warn = (policy or self.spec.on_failure) == WARN
        return CheckResult(
            column, what, expected, observed, "ok" if fits else "broken", on_failure=WARN if warn else STOP
        )

    # ---- a column ------------------------------------------------------------------------------------

    def _column(self, name: str) -> Iterator[CheckResult]:
        column = self.spec.columns[name]
        policy = column.on_failure
        if name not in self.example.columns:
            if not column.optional:
                yield self._whole(name, "column", "is there", "there is no such column", False, policy)
            return
        typed = column.type is None or has_type(self.example[name], column.type)
        if column.type is not None:
            yield self._whole(name, "type", column.type, _observed_type(self.example[name]), typed, policy)
        if column.missing is not None:
            yield self._missing(name, column)
        yield from self._rules(name, column, typed)
        if column.newest is not None:
            yield self._newest(name, column.newest, policy, typed)
        if column.unique:
            yield self._unique((name,), policy, typed)

    def _missing(self, name: str, column: ColumnSpec) -> CheckResult:
        missing = int(self.state.missing[self.counting.missing.index(name)])
        share = missing / self.state.rows if self.state.rows else 0.0
        assert column.missing is not None
        expected = f"at most {column.missing:.4g} of the rows"
        observed = f"{share:.4g} ({missing:,} rows)"
        return self._whole(name, "missing", expected, observed, share <= column.missing, column.on_failure)

    def _rules(self, name: str, column: ColumnSpec, typed: bool) -> Iterator[CheckResult]:
        policy = column.on_failure or self.spec.on_failure
        for number, check in enumerate(self.counting.checker.checks):
            if check.column == name:
                failing = int(self.state.failing[number])
                share = failing / self.state.rows if self.state.rows else 0.0
                verdict: Verdict = "ok" if failing <= column.at_most * self.state.rows else "broken"
                examples = tuple(self.state.examples[number])
                observed = of_share(failing, self.state.rows, examples)
                head = (name, check.rule.key, str(check.rule), observed, verdict)
                yield CheckResult(*head, failing, share, examples, policy, of_rows=True)
        for (unfit, key), reason in self.unfit.items():
            if unfit == name and key not in ("newest", "unique"):
                yield self._unsaid(name, key, reason, typed, column.on_failure)

    def _unsaid(self, name: str, key: str, reason: str, typed: bool, policy: str | None) -> CheckResult:
        """What cannot be checked of a column is broken, unless its type is, which says all."""
        result = self._whole(name, key, "", reason, False, policy)
        return result if typed else CheckResult(name, key, "", reason, "cannot say")

    def _newest(self, name: str, span: Span, policy: str | None, typed: bool) -> CheckResult:
        if (name, "newest") in self.unfit:
            return self._unsaid(name, "newest", self.unfit[name, "newest"], typed, policy)
        newest = int(self.state.newest[self.counting.newest.index(name)])
        age = (self.now - _EPOCH) // datetime.timedelta(microseconds=1) - newest
        fits = newest != NEVER and age <= span.seconds * 1e6
        observed = "no times" if newest == NEVER else f"{moment_text(newest)}, {_age(age)}"
        return self._whole(name, "newest", f"at most {span} old", observed, fits, policy)

    def _unique(self, key: tuple[str, ...], policy: str | None, typed: bool = True) -> CheckResult:
        name = ", ".join(key)
        if (name, "unique") in self.unfit:
            return self._unsaid(name, "unique", self.unfit[name, "unique"], typed, policy)
        repeated = self.repeated[key]
        such = f", such as {', '.join(repeated.examples)}" if repeated.examples else ""
        observed = (
            f"{repeated.rows:,} rows repeat another{such}" if repeated.rows else "no row repeats another"
        )
        return self._whole(name, "unique", "no value comes twice", observed, not repeated.rows, policy)


def _observed_type(column: Column) -> str:
    return "vector" if isinstance(column, Matrix) else str(value_type(column))


def _age(microseconds: int) -> str:
    seconds = microseconds / 1e6
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.1f} {unit} ago"
    return f"{seconds:.0f} seconds ago"
