"""What a look at new rows gave, for programs and in words."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field

from outgrow.monitor.kinds import Kind
from outgrow.monitor.view import Judgement


@dataclass(frozen=True)
class Watched:
    """What a look at new rows gave.

    Attributes
    ----------
    rows : how many were counted.
    files : how many files they came from.
    judged : windows that were held against the reference, in order of time.
    timeless : rows without a time, which belong to no window.
    gaps : windows between others that have no rows.
    kinds : of drift, by column.
    unread : files that could not be counted, and why; each look tries them again.
    ahead : rows of windows of a time to come, by when they begin; none is judged before.
    """

    rows: int
    files: int
    judged: tuple[Judgement, ...]
    timeless: int
    gaps: tuple[datetime.datetime, ...]
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    ahead: Mapping[datetime.datetime, int] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """'drift' if a window that was judged drifted in a way that is no season, else 'ok'."""
        return "drift" if any(self.lasting(judgement) for judgement in self.judged) else "ok"

    def lasting(self, judgement: Judgement) -> tuple[str, ...]:
        """The columns of a window that drifted, without those that do so each season."""
        kinds = self.kinds
        return tuple(c for c in judgement.drifted if kinds.get(c) is None or kinds[c].name != "periodic")

    def __str__(self) -> str:
        lines = [f"{self.rows:,} new rows of {self.files:,} file(s); {len(self.judged):,} window(s) judged."]
        lines += [str(judgement) for judgement in self.judged if judgement.verdict != "ok"]
        lines += [f"{column}: {kind.name}: {kind.because}" for column, kind in self.kinds.items()]
        if self.timeless:
            lines.append(f"{self.timeless:,} rows have no time and belong to no window.")
        lines += [f"{name} could not be counted: {because}" for name, because in self.unread.items()]
        if self.ahead:
            lines.append(
                f"{sum(self.ahead.values()):,} rows are of a time to come, from "
                f"{min(self.ahead):%Y-%m-%d %H:%M} on, and judged no sooner. Look at the clock and the time "
                "zone of who wrote them."
            )
        if self.gaps:
            times = ", ".join(f"{gap:%Y-%m-%d %H:%M}" for gap in self.gaps[:3])
            lines.append(
                f"{len(self.gaps):,} window(s) have no rows: {times}{' ...' if self.gaps[3:] else ''}."
            )
        return "\n".join(lines)
