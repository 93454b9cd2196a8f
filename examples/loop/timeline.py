"""The timeline of a loop, drawn from its log alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import outgrow as og

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1200, 560, 64, 28, 118, 410
COLOURS = ("#2563a8", "#0f8a6d", "#b4472f", "#8457a8", "#a0761a")
INK, FAINT, GRID = "#1b2733", "#62707d", "#e6eaee"
WORDS = {
    "retrain": ("train", "#5b6b79"),
    "reject": ("stopped", "#b4472f"),
    "shadow": ("shadow", "#8457a8"),
    "canary": ("canary", "#a0761a"),
    "promote": ("promoted", "#0f8a6d"),
    "rollback": ("rolled back", "#b4472f"),
    "withdraw": ("withdrawn", "#b4472f"),
}
ACTS = ((48, 99, "work is lost for good"), (60, 64, "a boom that ends"))
LIES = 55
END = 'text-anchor="end"'
REAL_SHARE = 0.44
"""Of the width, for the years in which nothing happens."""


def draw(folder: Path, picture: Path, *, real: int, start: float, month: float) -> None:
    """Write the picture.

    Parameters
    ----------
    folder : of the run.
    picture : the SVG file to write.
    real : how many months are of real data.
    start, month : seconds, of the first month and of each.
    """
    records = list(og.EventLog(folder / "ops.db").since(0, subject="store"))
    load = json.loads((folder / "load.json").read_text())
    quality = [r.body for r in records if r.kind == "finding" and r.body["about"] == "quality"]
    points = [
        ((b["since"] - start) / month + 0.5, b["error"], b["version"]) for b in quality if b.get("rows")
    ]
    decisions = [r.body for r in records if r.kind == "decision" and r.body["action"] != "wait"]
    months = round(max(x for x, _, _ in points) + 0.5)
    canvas = _Canvas(months, real, max(y for _, y, _ in points))
    canvas.frame(real)
    for begin, end, text in ACTS:
        canvas.act(begin, min(end, months), text)
    canvas.errors(points)
    lie = next(point for point in points if int(point[0]) == LIES)
    canvas.text(canvas.x(lie[0]) - 12, canvas.y(lie[1]) + 5, "the labels of a month lie", 12, "#8a5a00", END)
    for body in decisions:
        canvas.decision((body["now"] - start) / month, body)
    trained = sum(b["action"] == "retrain" and (b["now"] - start) / month <= real + 0.5 for b in decisions)
    requests = sum(load["answers"].values())
    canvas.title(
        f"Four real years without decay: {trained} trainings. "
        "Then drift, labels that lie, and a candidate that turns bad live.",
        f"{len(decisions)} decisions from one log · {requests:,} requests meanwhile, {load['failed']} failed",
    )
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_text(canvas.svg())


class _Canvas:
    def __init__(self, months: int, real: int, highest: float) -> None:
        self.months, self.real, self.highest = months, real, highest * 1.12
        self.parts: list[str] = []
        self._ends = [-99.0] * 6

    def x(self, month: float) -> float:
        if month <= self.real:
            share = REAL_SHARE * month / self.real
        else:
            share = REAL_SHARE + (1 - REAL_SHARE) * (month - self.real) / (self.months - self.real)
        return LEFT + (WIDTH - LEFT - RIGHT) * share

    def y(self, error: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * error / self.highest

    def text(self, x: float, y: float, text: str, size: int = 13, fill: str = INK, more: str = "") -> None:
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" {more}>{escape(text)}</text>'
        )

    def title(self, first: str, second: str) -> None:
        self.text(LEFT, 38, first, 17, more='font-weight="600"')
        self.text(LEFT, 62, second, 14, FAINT)

    def frame(self, real: int) -> None:
        """Years, the scale of the error, and where the real data end."""
        steps = [k / 10 for k in range(1, 10) if k / 10 < self.highest]
        for error in (0.0, *steps):
            y = self.y(error)
            self.parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
            self.text(LEFT - 8, y + 4, f"{error:.1f}", 12, FAINT, END)
        self.text(LEFT, TOP - 12, "Brier score of the version that answers, by month", 12, FAINT)
        for year in range(self.months // 12 + 1):
            x = self.x(12 * year)
            self.parts.append(f'<path d="M{x:.1f} {BOTTOM}v6" stroke="{FAINT}"/>')
            if 12 * year < self.months:
                self.text(
                    self.x(12 * year + 6), BOTTOM + 20, str(2015 + year), 13, FAINT, 'text-anchor="middle"'
                )
        x = self.x(real)
        self.parts.append(f'<path d="M{x:.1f} {TOP - 4}V{BOTTOM}" stroke="{FAINT}" stroke-dasharray="3 4"/>')
        self.text(x - 8, TOP + 14, "real people, as they were", 12, FAINT, END)

    def act(self, begin: float, end: float, text: str) -> None:
        x, width = self.x(begin), self.x(end) - self.x(begin)
        size = f'x="{x:.1f}" y="{TOP}" width="{width:.1f}" height="{BOTTOM - TOP}"'
        self.parts.append(f'<rect {size} fill="#f4b860" opacity=".14"/>')
        self.text(x + 8, TOP + 14, text, 12, "#8a5a00")

    def errors(self, points: Sequence[tuple[float, float, int]]) -> None:
        """A line and a dot for each month, in the colour of the version."""
        for (x, y, version), (x_next, y_next, _) in pairwise(points):
            line = f"M{self.x(x):.1f} {self.y(y):.1f}L{self.x(x_next):.1f} {self.y(y_next):.1f}"
            self.parts.append(
                f'<path d="{line}" stroke="{_colour(version)}" stroke-width="2" opacity=".55"/>'
            )
        for x, y, version in points:
            dot = f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="3.6" fill="{_colour(version)}"/>'
            self.parts.append(dot)
        for version in dict.fromkeys(version for _, _, version in points):
            x, y, _ = next(point for point in points if point[2] == version)
            self.text(
                self.x(x) + 2, self.y(y) + 22, f"version {version}", 12, _colour(version), 'font-weight="600"'
            )

    def decision(self, month: float, body: dict[str, Any]) -> None:
        """A mark below the years, its word in the first row where there is room."""
        word, colour = WORDS.get(body.get("role") or body["action"], (None, INK))
        if word is None:
            return
        version = body.get("version") if body["action"] != "rollback" else body["from"]
        label = word if version is None else f"{word} {version}"
        x, width = self.x(month), 7.2 * len(label) + 14
        row = next(k for k, end in enumerate(self._ends) if end < x - width)
        self._ends[row] = x + 4
        y = BOTTOM + 44 + 18 * row
        self.parts.append(f'<path d="M{x:.1f} {BOTTOM}V{y - 4:.1f}" stroke="{colour}" opacity=".35"/>')
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y - 4:.1f}" r="4" fill="{colour}"/>')
        self.text(x - 9, y, label, 13, colour, END)

    def svg(self) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" fill="none">'
        )
        card = f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#ffffff"/>'
        return "\n".join([head, card, *self.parts, "</svg>"]) + "\n"


def _colour(version: int) -> str:
    return COLOURS[(version - 1) % len(COLOURS)]
