"""Figures as SVG text that takes its colours from the page, light or dark."""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, MUTED, GRID = "#010101", "#020202", "#030303"
SERIES = ("#040404", "#050505", "#060606", "#070707", "#080808", "#090909")
POSITIVE, NEGATIVE = SERIES[0], SERIES[1]
_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--line"} | {
    color: f"--series-{number}" for number, color in enumerate(SERIES, 1)
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.8,
}


class Canvas:
    """One figure with one pair of axes; `with Canvas("roc") as axes:` then `svg`.

    Parameters
    ----------
    name : a word that no other figure of the page has; it keeps their inner references apart.
    width, height : in inches of 96 CSS pixels, roughly as it is shown on a page.
    """

    def __init__(self, name: str, width: float = 4.0, height: float = 3.1) -> None:
        self._name, self._size = name, (width, height)
        self.svg = ""

    def __enter__(self) -> Any:
        self._context = matplotlib.rc_context({**_STYLE, "svg.hashsalt": self._name})
        self._context.__enter__()
        self._figure = Figure(figsize=self._size, layout="constrained")
        FigureCanvasAgg(self._figure)
        self._figure.patch.set_alpha(0)
        return self._figure.add_subplot()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if kind is None:
                self.svg = self._draw()
        finally:
            self._context.__exit__(kind, error, trace)

    def _draw(self) -> str:
        buffer = io.StringIO()
        self._figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        text = buffer.getvalue()
        text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
        text = re.sub(
            r'<svg([^>]*?) (width|height)="[^"]*"',
            r"<svg\1",
            re.sub(r'<svg([^>]*?) (width|height)="[^"]*"', r"<svg\1", text, count=1),
            count=1,
        )
        text = re.sub(r'\bid="', f'id="{self._name}-', text)
        text = re.sub(r'(url\(|href=")#', rf"\1#{self._name}-", text)
        text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", text)
        for color, variable in _VARIABLES.items():
            text = text.replace(color, f"var({variable})")
        return text
