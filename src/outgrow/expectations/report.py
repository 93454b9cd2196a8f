"""What came of checking rows: each expectation with what was seen, as text, table, JSON or page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from outgrow._version import __version__
from outgrow.expectations.spec import STOP, WARN
from outgrow.page.render import render
from outgrow.page.tabular import Tabular, text_table

Verdict = Literal["ok", "broken", "cannot say"]
ORDER: dict[Verdict, int] = {"broken": 0, "cannot say": 1, "ok": 2}
TEMPLATES = Path(__file__).parent / "templates"
_PRINTED = ("verdict", "column", "what", "expected", "observed")


@dataclass(frozen=True)
class CheckResult:
    """One expectation, and whether the rows keep it.

    Attributes
    ----------
    column : it is of; several by commas, empty for the whole table.
    what : its key in the file: 'type', 'range', 'unique', ...
    expected, observed : in words.
    verdict : 'ok', 'broken', or 'cannot say' where the column's type is another one anyway.
    failing : rows that break it; 0 where it is one of the whole table.
    share : those among all rows.
    examples : values that break it.
    on_failure : what becomes of rows that break it, or 'stop' or 'warn' of the whole table.
    of_rows : whether it is one of each row.
    """

    column: str
    what: str
    expected: str
    observed: str
    verdict: Verdict
    failing: int = 0
    share: float = 0.0
    examples: tuple[str, ...] = ()
    on_failure: str = STOP
    of_rows: bool = False

    def __str__(self) -> str:
        subject = f"{self.column}: " if self.column else ""
        return f"{subject}{self.what}: {self.expected}: {self.observed}"


@dataclass(frozen=True, repr=False, eq=False)
class ExpectationReport(Tabular):
    """What came of checking rows.

    Attributes
    ----------
    rows : how many there are.
    set_aside : how many break a rule for which rows are set aside.
    at_most : the share of rows that may be.
    results : each expectation, in the order of the file.
    name : of the rows.
    """

    rows: int
    set_aside: int
    at_most: float
    results: tuple[CheckResult, ...]
    name: str = "rows"

    @property
    def ok(self) -> bool:
        """Whether no expectation is broken."""
        return not self.broken

    @property
    def verdict(self) -> Verdict:
        """'broken' if an expectation is, else 'ok'."""
        return "ok" if self.ok else "broken"

    @property
    def broken(self) -> tuple[CheckResult, ...]:
        """The expectations that are broken."""
        return tuple(result for result in self.results if result.verdict == "broken")

    @property
    def stopping(self) -> list[str]:
        """Why work must not go on with these rows, in words; empty where it may."""
        stops = [str(one) for one in self.broken if one.on_failure == STOP]
        if self.set_aside > self.at_most * self.rows:
            share = f"{self.set_aside:,} of {self.rows:,} rows would be set aside"
            stops.append(f"{share}, and at_most is {self.at_most:.3g}")
        return stops

    @property
    def warning(self) -> list[str]:
        """What is broken that only warns, in words."""
        return [str(one) for one in self.broken if one.on_failure == WARN]

    def to_arrow(self) -> pa.Table:
        """One row for each expectation."""
        lines = [{**asdict(result), "examples": ", ".join(result.examples)} for result in self.results]
        return pa.Table.from_pylist(lines, _SCHEMA)

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        head = {"verdict": self.verdict, "rows": self.rows, "set_aside": self.set_aside}
        return {**head, "at_most": self.at_most, "results": self.to_arrow().to_pylist()}

    def to_html(self) -> str:
        """All of it as one HTML page that needs no network."""
        return render(
            TEMPLATES,
            "expectations.html.j2",
            title=f"Expectations of {self.name}",
            report=self,
            results=self.by_gravity,
            libraries={"outgrow": __version__},
            began=datetime.now(UTC),
        )

    @property
    def by_gravity(self) -> list[CheckResult]:
        """What is broken first; else in the order of the file."""
        return sorted(self.results, key=lambda result: ORDER[result.verdict])

    @property
    def _title(self) -> str:
        count, broken = len(self.results), len(self.broken)
        unsaid = sum(result.verdict == "cannot say" for result in self.results)
        more = f", {unsaid} cannot be said" if unsaid else ""
        head = f"{broken} of {count} expectations broken" if broken else f"all {count} expectations hold"
        aside = f"; {self.set_aside:,} rows to set aside" if self.set_aside else ""
        return f"{self.verdict}: {head}{more} in {self.rows:,} rows{aside}"

    def _printed(self) -> pa.Table:
        shown = [result for result in self.by_gravity if self.ok or result.verdict != "ok"]
        lines = [{name: getattr(result, name) for name in _PRINTED} for result in shown]
        return pa.Table.from_pylist(lines, pa.schema([(name, pa.string()) for name in _PRINTED]))

    def __str__(self) -> str:
        table = self._printed()
        return f"{self._title}\n\n{text_table(table.column_names, table.to_pylist())}"


def of_share(failing: int, rows: int, examples: Sequence[str]) -> str:
    """How many rows fail, in words.

    Parameters
    ----------
    failing, rows : how many of how many.
    examples : values of some of them.
    """
    if not failing:
        return "all rows"
    such = f", such as {', '.join(examples)}" if examples else ""
    return f"not in {failing:,} of {rows:,} rows ({failing / rows:.2%}){such}"


_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("column", "what", "expected", "observed", "verdict")),
        ("failing", pa.int64()),
        ("share", pa.float64()),
        *((name, pa.string()) for name in ("examples", "on_failure")),
        ("of_rows", pa.bool_()),
    ]
)
