"""A graph of lineage as SVG: columns from left to right, each thing a box, what came of what a line."""

from __future__ import annotations

import json
from html import escape

from outgrow.provenance.graph import Lineage, Node

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _EDGE = 220, 46, 70, 18, 20
_LETTERS = 30
_STYLE = """
.lineage text { font: 12px system-ui, sans-serif; fill: #1b1f24 }
.lineage .kind { font-size: 10px; fill: #57606a; letter-spacing: .04em }
.lineage rect { fill: #f6f8fa; stroke: #afb8c1 }
.lineage .source rect, .lineage .data rect { fill: #ddf4ff; stroke: #54aeff }
.lineage .model rect, .lineage .version rect { fill: #dafbe1; stroke: #4ac26b }
.lineage .alias rect { fill: #fff8c5; stroke: #d4a72c }
.lineage .predictions rect { fill: #fbefff; stroke: #c297ff }
.lineage path { fill: none; stroke: #8c959f; stroke-width: 1.2 }
@media (prefers-color-scheme: dark) {
  .lineage text { fill: #e6edf3 } .lineage .kind { fill: #9198a1 }
  .lineage g.node rect { fill: #161b22 }
}
"""


def to_svg(graph: Lineage) -> str:
    """A drawing, in one element of SVG without scripts.

    Parameters
    ----------
    graph : all or a part.
    """
    columns = graph.layers()
    tallest = max((len(column) for column in columns), default=1)
    width = 2 * _EDGE + len(columns) * (_WIDTH + _GAP_X) - _GAP_X
    height = 2 * _EDGE + tallest * (_HEIGHT + _GAP_Y) - _GAP_Y
    places: dict[str, tuple[int, int]] = {}
    for number, column in enumerate(columns):
        top = _EDGE + (tallest - len(column)) * (_HEIGHT + _GAP_Y) // 2
        for row, node in enumerate(column):
            places[node.id] = _EDGE + number * (_WIDTH + _GAP_X), top + row * (_HEIGHT + _GAP_Y)
    lines = [_line(places[before], places[after], role) for before, after, role in graph.edges]
    boxes = [_box(node, places[node.id]) for column in columns for node in column]
    size = f'viewBox="0 0 {max(width, 1)} {max(height, 1)}" width="{max(width, 1)}" height="{max(height, 1)}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="lineage" {size} role="img" aria-label="Lineage">'
    return f"{head}<style>{_STYLE}</style>{''.join(lines)}{''.join(boxes)}</svg>"


def _line(before: tuple[int, int], after: tuple[int, int], role: str) -> str:
    x0, y0 = before[0] + _WIDTH, before[1] + _HEIGHT // 2
    x1, y1 = after[0], after[1] + _HEIGHT // 2
    bend = max(20, (x1 - x0) // 2)
    curve = f"M{x0} {y0} C{x0 + bend} {y0} {x1 - bend} {y1} {x1} {y1}"
    return f'<path d="{curve}"><title>{escape(role)}</title></path>'


def _box(node: Node, corner: tuple[int, int]) -> str:
    x, y = corner
    label = node.label if len(node.label) <= _LETTERS else f"…{node.label[-_LETTERS + 1 :]}"
    about = escape(f"{node.label}\n{json.dumps(dict(node.facts), default=str)[:600]}")
    return (
        f'<g class="node {node.kind}"><title>{about}</title>'
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="7"/>'
        f'<text class="kind" x="{x + 12}" y="{y + 17}">{node.kind}</text>'
        f'<text x="{x + 12}" y="{y + 34}">{escape(label)}</text></g>'
    )
