"""What became of the groups, as text."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

WORST = {"rmse": -1, "log_loss": -1, "mae": -1, "accuracy": 1, "r2": 1}
"""Metrics by which groups are ranked, and whether a high (-1) or a low (1) one is bad."""

NAMES = ("rows", "status", "error", "seconds", "fold", *WORST)
"""The columns of tables of groups beside the keys, which therefore have other names."""


def worst_first(table: pa.Table, metric: str) -> pa.Table:
    """The groups that have the metric, the worst first.

    Parameters
    ----------
    table : a row a group, with a column for the metric; groups where that is missing are left out.
    metric : one of `WORST`, which says whether high or low is bad.
    """
    values = table[metric].to_numpy(zero_copy_only=False).astype(np.float64)
    order = np.argsort(WORST[metric] * values, kind="stable")
    return table.take(pa.array(order[~np.isnan(values[order])]))


def ranked_by(table: pa.Table) -> str | None:
    """The metric by which the groups of a table are ranked."""
    return next((name for name in WORST if name in table.column_names), None)


@dataclass(frozen=True, eq=False)
class GroupSummary:
    """What became of the groups.

    Attributes
    ----------
    groups : a row a group.
    by : the key columns.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from outgrow.groups.summary import GroupSummary
    >>> groups = pa.table({"shop": ["a", "b"], "rows": [3, 5], "status": ["ok", "ok"],
    ...                    "error": pa.nulls(2, pa.string()), "rmse": [0.5, 2.0]})
    >>> GroupSummary(groups, ("shop",)).worst(1)["shop"].to_pylist()
    ['b']
    """

    groups: pa.Table
    by: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many groups have each status."""
        return dict(Counter(self.groups["status"].to_pylist()))

    def worst(self, count: int = 20) -> pa.Table:
        """The groups with the worst metric."""
        metric = ranked_by(self.groups)
        return self.groups.slice(0, 0) if metric is None else worst_first(self.groups, metric).slice(0, count)

    def __repr__(self) -> str:
        rows = self.groups["rows"].to_numpy()
        statuses = ", ".join(f"{count:,} {status}" for status, count in sorted(self.counts.items()))
        lines = [f"{len(rows):,} groups of {rows.sum():,} rows: {statuses}"]
        for name in (metric for metric in WORST if metric in self.groups.column_names):
            values = self.groups[name].drop_null().to_numpy()
            if len(values):
                low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
                lines.append(f"{name:<9} median {middle:.4g}, 5 % to 95 %: {low:.4g} to {high:.4g}")
        metric = ranked_by(self.groups)
        lines += [
            f"  {self._named(row)}: {metric} {row[str(metric)]:.4g} of {row['rows']:,} rows"
            for row in self.worst(5).to_pylist()
        ]
        bad = self.groups.filter(
            pa.array([status == "failed" for status in self.groups["status"].to_pylist()])
        )
        lines += [f"  {self._named(row)}: {row['error']}" for row in bad.slice(0, 3).to_pylist()]
        return "\n".join(lines)

    def _named(self, row: dict[str, Any]) -> str:
        return " / ".join(str(row[name]) for name in self.by)
