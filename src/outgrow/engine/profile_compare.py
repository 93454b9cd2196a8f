"""Two profiles side by side: which columns came, went, changed or moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.engine.profile_columns import ColumnProfile
from outgrow.engine.profile_findings import ProfileFinding

_MOVED, _SHARES, _GAPS = 0.25, 0.1, 0.05
"""Standard deviations of a mean, and shares of frequent values and of missing ones, whose change is told."""


@dataclass(frozen=True)
class ColumnComparison:
    """A column in two datasets.

    Attributes
    ----------
    left, right : what it holds there; None where it is not.
    moved : the difference of the means in standard deviations of the left; None of what has none.
    shares : half the summed differences of the shares of the values that are most frequent on either side,
        from 0 to 1; None of what has none.
    gaps : the share of missing values on the right less that on the left.
    """

    name: str
    left: ColumnProfile | None
    right: ColumnProfile | None
    moved: float | None
    shares: float | None
    gaps: float


@dataclass(frozen=True)
class Comparison:
    """Two datasets.

    Attributes
    ----------
    rows : of the left and the right one.
    columns : by name, in the order of the left, new ones behind.
    """

    rows: tuple[int, int]
    columns: Mapping[str, ColumnComparison]

    @property
    def findings(self) -> tuple[ProfileFinding, ...]:
        """What changed enough to be told."""
        return tuple(finding for column in self.columns.values() for finding in _findings(column))

    def to_arrow(self) -> pa.Table:
        """A row for each column."""
        return pa.Table.from_pylist([_row(column, self.rows) for column in self.columns.values()], _SCHEMA)

    def __str__(self) -> str:
        told = "\n".join(map(str, self.findings)) or "Nothing changed enough to be told."
        return f"{self.rows[0]:,} rows and {self.rows[1]:,} rows\n\n{told}"


_NUMBERS = ("missing", "distinct", "mean", "std")
_SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        *((f"type_{side}", pa.string()) for side in ("left", "right")),
        *((f"{name}_{side}", pa.float64()) for name in _NUMBERS for side in ("left", "right")),
        *((name, pa.float64()) for name in ("moved", "shares", "gaps")),
    ]
)


def _row(column: ColumnComparison, rows: tuple[int, int]) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(column, name) for name in ("name", "moved", "shares", "gaps")}
    for side in ("left", "right"):
        profile = getattr(column, side)
        row[f"type_{side}"] = None if profile is None else profile.type
        row |= {f"{name}_{side}": None if profile is None else getattr(profile, name) for name in _NUMBERS}
    return row


def compared(
    left: Mapping[str, ColumnProfile], right: Mapping[str, ColumnProfile], rows: tuple[int, int]
) -> Comparison:
    """The columns of two datasets.

    Parameters
    ----------
    left, right : what they hold.
    rows : of both.
    """
    names = dict.fromkeys([*left, *right])
    return Comparison(rows, {name: _column(name, left.get(name), right.get(name)) for name in names})


def _column(name: str, left: ColumnProfile | None, right: ColumnProfile | None) -> ColumnComparison:
    if left is None or right is None:
        return ColumnComparison(name, left, right, None, None, 0.0)
    return ColumnComparison(
        name, left, right, _moved(left, right), _shares(left, right), _gap(right) - _gap(left)
    )


def _gap(column: ColumnProfile) -> float:
    return column.missing / max(column.count + column.missing, 1)


def _moved(left: ColumnProfile, right: ColumnProfile) -> float | None:
    if left.mean is None or right.mean is None:
        return None
    step = right.mean - left.mean
    if not np.isfinite(step):
        return None
    return step / left.std if left.std else 0.0 if step == 0 else float(np.copysign(np.inf, step))


def _shares(left: ColumnProfile, right: ColumnProfile) -> float | None:
    if not left.top or not right.top:
        return None
    a, b = ({value: n / column.count for value, n in column.top} for column in (left, right))
    apart = sum(abs(a.get(value, 0.0) - b.get(value, 0.0)) for value in {*a, *b})
    return min(1.0, apart / 2)


def _findings(column: ColumnComparison) -> list[ProfileFinding]:
    name, left, right = (column.name,), column.left, column.right
    if left is None or right is None:
        return [ProfileFinding("gone" if right is None else "new", name, "it is on one side only.")]
    told = []
    if left.kind != right.kind:
        told.append(ProfileFinding("type", name, f"{left.type} on the left, {right.type} on the right."))
    if abs(column.gaps) > _GAPS:
        told.append(
            ProfileFinding("missing", name, f"missing in {_gap(left):.1%} and {_gap(right):.1%} of the rows.")
        )
    if column.moved is not None and abs(column.moved) > _MOVED:
        text = f"the mean went from {left.mean:.4g} to {right.mean:.4g}, {column.moved:+.2f} deviations."
        told.append(ProfileFinding("moved", name, text))
    elif column.shares is not None and left.kind == "category" and column.shares > _SHARES:
        told.append(
            ProfileFinding(
                "shares", name, f"the shares of its frequent values differ by {column.shares:.1%}."
            )
        )
    return told
