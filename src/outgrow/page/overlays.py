"""Two distributions in one small picture: what was, as an area, and what is, as a line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import escape

_LABEL = 18
"""Letters of a category that are shown."""


def _points(heights: np.ndarray, width: float, height: float) -> list[tuple[str, str]]:
    step = width / max(1, len(heights))
    return [
        (f"{(i + 0.5) * step:.0f}", f"{height - value * height:.0f}")
        for i, value in enumerate(heights.tolist())
    ]


def _scaled(before: np.ndarray, now: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = before / max(before.sum(), 1e-300), now / max(now.sum(), 1e-300)
    top = max(float(a.max(initial=0.0)), float(b.max(initial=0.0)), 1e-300)
    return a / top, b / top


def spark_pair(before: np.ndarray, now: np.ndarray, width: int = 112, height: int = 24) -> str:
    """Both in the cell of a table.

    Parameters
    ----------
    before, now : counts of the same bins.
    width, height : of the picture, in pixels.
    """
    a, b = _scaled(before, now)
    area = "".join(f"L{x} {y}" for x, y in _points(a, width, height - 2))
    line = "M" + "L".join(f"{x} {y}" for x, y in _points(b, width, height - 2))
    return (
        f'<svg class="pair" viewBox="0 -2 {width} {height}" width="{width}" height="{height}">'
        f'<path class="was" d="M0 {height - 2}{area}L{width} {height - 2}z"/>'
        f'<path class="is" d="{line}"/></svg>'
    )


def overlay(before: np.ndarray, now: np.ndarray, labels: Sequence[str], name: str) -> str:
    """Both as steps above an axis with a few labels.

    Parameters
    ----------
    before, now : counts of the same bins.
    labels : of the ends and the middle of the axis, from left to right.
    name : what is shown, for those who hear the page.
    """
    width, height = 340, 120
    a, b = _scaled(before, now)
    step = width / len(a)

    def steps(heights: np.ndarray) -> str:
        return "".join(
            f"{'M' if i == 0 else 'L'}{i * step:.1f} {height - h * height:.1f}H{(i + 1) * step:.1f}"
            for i, h in enumerate(heights.tolist())
        )

    anchors = ["start", *["middle"] * (len(labels) - 2), "end"]
    at = np.linspace(0, width, len(labels)).tolist()
    texts = "".join(
        f'<text x="{x:.0f}" y="{height + 16}" text-anchor="{anchor}">{escape(label)}</text>'
        for x, anchor, label in zip(at, anchors, labels, strict=True)
    )
    return (
        f'<svg class="overlay" viewBox="0 -4 {width} {height + 26}" role="img" '
        f'aria-label="{escape(name)}: the reference and the window">'
        f'<path class="was" d="{steps(a)}V{height}H0z"/><path class="is" d="{steps(b)}"/>'
        f'<path class="axis" d="M0 {height}H{width}"/>{texts}</svg>'
    )


def paired_bars(labels: Sequence[str], before: Sequence[float], now: Sequence[float], name: str) -> str:
    """The shares of categories, two bars each.

    Parameters
    ----------
    labels : of the categories.
    before, now : their shares.
    name : what is shown, for those who hear the page.
    """
    line, left, width = 25, 118, 340
    top = max([*before, *now, 1e-12])
    rows = []
    for i, (label, a, b) in enumerate(zip(labels, before, now, strict=True)):
        y = i * line
        short = label if len(label) <= _LABEL else label[: _LABEL - 1] + "…"
        wide, thin = (max(1.0, share / top * (width - left - 42)) for share in (a, b))
        rows.append(
            f'<text class="ink" x="{left - 8}" y="{y + 15}" text-anchor="end">{escape(short)}</text>'
            f'<rect class="was" x="{left}" y="{y + 3}" width="{wide:.1f}" height="7" rx="1.5"/>'
            f'<rect class="now" x="{left}" y="{y + 11}" width="{thin:.1f}" height="7" rx="1.5"/>'
            f'<text x="{left + max(wide, thin) + 6:.1f}" y="{y + 15}">{b:.1%}</text>'
        )
    return (
        f'<svg class="overlay" viewBox="0 0 {width} {len(labels) * line + 4}" role="img" '
        f'aria-label="{escape(name)}: the reference and the window">{"".join(rows)}</svg>'
    )
