"""What came of what, as a graph laid out in columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outgrow.board.api.runs import whole
from outgrow.board.sources import Sources
from outgrow.errors import ParameterError
from outgrow.provenance.graph import ALIAS, KINDS, Lineage
from outgrow.provenance.records import matching

_MOST = 150
"""Things that are drawn if nobody says how many."""


def answer(sources: Sources, query: Mapping[str, str]) -> dict[str, Any]:
    """The graph around something, or around all aliases.

    Parameters
    ----------
    sources : whose log is looked at.
    query : `what`, as of `og.lineage`: a run's id, `store@alias`, `store/3`, the path or URI of data; or the
        id of a node; `limit`, how many things at most (150), the latest ones.

    Raises
    ------
    ParameterError
        When the log has no record of it.
    """
    position = sources.log.last()
    with sources.lineage.now() as whole_graph:
        graph, what = whole_graph, query.get("what", "").strip()
        begun: list[str] = []
        if what:
            begun = [what] if what in graph.nodes else matching(graph, what)
            if not begun:
                raise ParameterError(
                    f"The log has no record of {what[:200]!r}. Give a run's id, store@alias, store/3, or the "
                    "path of data."
                )
            graph = graph.around(begun)
        elif len(graph.nodes) > _MOST:
            aliases = [name for name, node in graph.nodes.items() if node.kind == ALIAS]
            graph = graph.around(aliases) if aliases else graph
        most = min(1_000, whole(query, "limit", _MOST))
        left_out = max(0, len(graph.nodes) - most)
        shown = _latest(graph, most, begun) if left_out else graph
        return {
            **_laid_out(shown),
            "what": what,
            "begun": begun,
            "all": len(whole_graph.nodes),
            "left_out": left_out,
            "kinds": list(KINDS),
            "position": position,
        }


def _latest(graph: Lineage, most: int, begun: list[str]) -> Lineage:
    """The part of a graph that the log told last."""
    kept = {*begun, *list(graph.nodes)[-most:]}
    part = Lineage()
    part.nodes = {name: node for name, node in graph.nodes.items() if name in kept}
    for before, after, role in graph.edges:
        if before in kept and after in kept:
            part.join(before, after, role)
    return part


def _laid_out(graph: Lineage) -> dict[str, Any]:
    places = {node.id: (x, y) for x, column in enumerate(graph.layers()) for y, node in enumerate(column)}
    plain = graph.to_dict()
    nodes = [
        {**node, "column": places[node["id"]][0], "row": places[node["id"]][1]} for node in plain["nodes"]
    ]
    return {
        "nodes": nodes,
        "edges": [edge for edge in plain["edges"] if edge["from"] in places and edge["to"] in places],
    }
