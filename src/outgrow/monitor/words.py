"""Changes in words."""

from __future__ import annotations

import numpy as np

from outgrow.data.exact import moment_text
from outgrow.page import format as say
from outgrow.stats.grids import TextGrid

_SEEN = 0.005
"""Standard deviations that are not rounded away."""


def moved_numbers(kind: str, before: tuple[float, float], now: tuple[float, float]) -> str:
    """How the mean and the spread of numbers changed.

    Parameters
    ----------
    kind : the type of the values, as Arrow calls it.
    before, now : mean and standard deviation.
    """
    (mean, deviation), (mean_now, deviation_now) = before, now
    if kind == "bool":
        return f"True in {share_text(mean)} of the rows before, and in {share_text(mean_now)} now."
    a, b = value_text(kind, mean), value_text(kind, mean_now)
    if a == b and deviation and abs(mean_now - mean) >= _SEEN * deviation:
        return f"The mean moved by {(mean_now - mean) / deviation:+.2f} standard deviations; it is {b}."
    if a == b and deviation:
        spread = f"{say.number(deviation)} to {say.number(deviation_now)}"
        return f"The mean stays at {a}; the standard deviation went from {spread}."
    steps = f", {(mean_now - mean) / deviation:+.2f} standard deviations" if deviation > 0 else ""
    return f"The mean went from {a} to {b}{steps}."


def value_text(kind: str, value: float) -> str:
    """A number of a column as people read it; times as dates.

    Parameters
    ----------
    kind : the type of the values, as Arrow calls it.
    value : the number that stands for it.
    """
    if not np.isfinite(value):
        return str(value)
    if kind.startswith(("date", "timestamp")):
        return moment_text(round(value))[:19]
    if kind.startswith(("time", "duration")):
        return f"{value / 1e6:,.4g} s"
    return say.number(value)


def moved_categories(grid: TextGrid, before: np.ndarray, now: np.ndarray) -> str:
    """Which category's share changed most.

    Parameters
    ----------
    grid : of the column.
    before, now : counts of its cells; of coarse windows the rarer ones together.
    """
    a, b = before / before.sum(), now / now.sum()
    index = int(np.argmax(np.abs(a - b)))
    known = index < len(grid.texts) and (len(before) == grid.size or index < len(before) - 2)
    others = "What is new" if grid.complete and index == len(before) - 1 else "What is not frequent"
    name = repr(grid.texts[index]) if known else others
    return f"{name} went from {share_text(float(a[index]))} of the values to {share_text(float(b[index]))}."


def share_text(value: float) -> str:
    """A share as a percentage."""
    return say.share(value)
