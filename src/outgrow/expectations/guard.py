"""Expectations in a pass that others make: rows are counted, set aside, or work is stopped."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from outgrow.data.batch import Batch
from outgrow.data.scan import Scan
from outgrow.engine.dataset import Dataset
from outgrow.engine.write import write_parquet
from outgrow.errors import ExpectationError, ExpectationWarning
from outgrow.expectations.checker import Counting, schema_aside
from outgrow.expectations.expectations import Checking, Expectations
from outgrow.expectations.report import ExpectationReport
from outgrow.expectations.state import CheckedRows

_SHOWN = 10


class Guard:
    """Checks rows in a pass over them, and keeps those that are set aside.

    Parameters
    ----------
    expectations : what is expected.
    rows : of which.
    drop : columns of them that do not remain.

    Attributes
    ----------
    report : what came of it, after the pass; None before.
    rows : those that remain, after the pass.
    """

    def __init__(self, expectations: Expectations, rows: Dataset, drop: Sequence[str] = ()) -> None:
        self._checking = Checking.of(expectations, rows, keep=True)
        self._seen: CheckedRows | None = None
        self.report: ExpectationReport | None = None
        self.drop = [name for name in drop if name in rows.columns]
        self.rows = rows

    @property
    def watch(self) -> Watching:
        """What looks at each batch of the pass."""
        return Watching(self)

    @property
    def counting(self) -> Counting:
        """The fold of the pass."""
        return self._checking.counting

    def count(self) -> CheckedRows:
        """A pass of its own, where none is made anyway."""
        return self._checking.count()

    def settle(self, seen: CheckedRows) -> Dataset:
        """The rows that remain; with a warning for what is broken and only warns.

        Raises
        ------
        ExpectationError
            When work must not go on with these rows.
        """
        self._seen = seen
        self.report = report = self._checking.report(seen)
        if report.stopping:
            raise ExpectationError(
                f"The rows are not what was expected, and nothing was written:\n{_listed(report.stopping)}\n"
                "Correct the rows, or the expectations (on_failure, at_most)."
            )
        if report.warning:
            text = f"The rows are not what was expected:\n{_listed(report.warning)}"
            warnings.warn(text, ExpectationWarning, stacklevel=2)
        rows = self._checking.passing() if report.set_aside else self.rows
        self.rows = rows.drop(*self.drop) if self.drop else rows
        return self.rows

    def write_aside(self, folder: Path) -> int:
        """Write the rows that were set aside, with the column `reason`; without any, nothing.

        Parameters
        ----------
        folder : that becomes one of Parquet files.
        """
        assert self._seen is not None, "the pass comes first"
        kept = self._seen.kept
        assert kept is not None
        if kept.rows and kept.held:
            folder.mkdir()
            schema = schema_aside(self._checking.rows.scan.example())
            pq.write_table(kept.table(schema), folder / "part-0.parquet")
        elif kept.rows:
            write_parquet(self._checking.failing(), folder)
        return kept.rows


class Watching:
    """A guard as what a profile takes; tasks elsewhere get its fold alone.

    Parameters
    ----------
    guard : that is told what was seen.
    """

    def __init__(self, guard: Guard) -> None:
        self.counting, self.drop = guard.counting, guard.drop
        self._guard: Guard | None = guard

    def __call__(self, batch: Batch) -> tuple[Batch, CheckedRows]:
        rows, seen = self.counting(batch)
        return rows.drop(self.drop), seen

    def remaining(self, seen: CheckedRows, scan: Scan) -> Scan:
        """As of `outgrow.engine.profile.Watch`.

        Parameters
        ----------
        seen, scan : as it gets them.
        """
        assert self._guard is not None, "only where the pass began"
        return self._guard.settle(seen).scan

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_guard": None}


def _listed(lines: list[str]) -> str:
    more = [f"  ... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n".join([*(f"  - {line}" for line in lines[:_SHOWN]), *more])
