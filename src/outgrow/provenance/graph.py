"""The graph of what came of what, and its parts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

SOURCE, DATA, RUN, MODEL = "source", "data", "run", "model"
VERSION, ALIAS, PREDICTIONS = "version", "alias", "predictions"
KINDS = (SOURCE, DATA, RUN, MODEL, VERSION, ALIAS, PREDICTIONS)
"""What nodes are, in the order in which one comes of the other."""


@dataclass(frozen=True)
class Node:
    """One thing in a graph.

    Attributes
    ----------
    id : its kind, and what tells it from others of the kind.
    kind : one of `KINDS`.
    label : what people call it.
    facts : what is known of it, as JSON has it.
    """

    id: str
    kind: str
    label: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class Lineage:
    """What came of what: sources, versions of data, runs, models, their versions and aliases, predictions.

    `str` gives text, `to_dict` JSON, `to_openlineage` events, `to_svg` a drawing.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self._above: dict[str, dict[str, str]] = {}

    def add(self, kind: str, key: str, label: str, facts: Mapping[str, Any] | None = None) -> str:
        """Add a node, or facts to it; its id.

        Parameters
        ----------
        kind, label, facts : as of `Node`.
        key : what tells it from others of its kind.
        """
        name = f"{kind}:{key}"
        known = self.nodes.get(name)
        news = {key: value for key, value in (facts or {}).items() if value is not None}
        merged = news if known is None else {**known.facts, **news}
        self.nodes[name] = Node(name, kind, label or (known.label if known else key), merged)
        return name

    def join(self, before: str, after: str, role: str = "") -> None:
        """Say that one thing came of another.

        Parameters
        ----------
        before, after : ids of nodes.
        role : what it was for: 'training', 'scoring'.
        """
        if before != after:
            self._above.setdefault(after, {}).setdefault(before, role)

    def part(self, name: str) -> None:
        """Forget what a node came of, such as an alias that moves."""
        self._above.pop(name, None)

    @property
    def edges(self) -> list[tuple[str, str, str]]:
        """(before, after, role) of all that came of one another."""
        return [(before, after, role) for after, many in self._above.items() for before, role in many.items()]

    def around(self, names: Iterable[str]) -> Self:
        """The part of the graph that some nodes came of, or that came of them.

        Parameters
        ----------
        names : ids of nodes.
        """
        kept: set[str] = set()
        for name in names:
            kept |= {name} | self._reached(name, self._above_of) | self._below(name)
        part = type(self)()
        part.nodes = {name: node for name, node in self.nodes.items() if name in kept}
        for before, after, role in self.edges:
            if before in kept and after in kept:
                part.join(before, after, role)
        return part

    def layers(self) -> list[list[Node]]:
        """The nodes in columns: each stands behind all it came of."""
        depth: dict[str, int] = {}

        def of(name: str) -> int:
            if name not in depth:
                depth[name] = 0  # which ends a circle, as of a store that was copied over itself
                depth[name] = 1 + max((of(before) for before in self._above_of(name)), default=-1)
            return depth[name]

        for name in self.nodes:
            of(name)
        columns: list[list[Node]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
        for name, node in self.nodes.items():
            columns[depth[name]].append(node)
        return [sorted(column, key=lambda node: (KINDS.index(node.kind), node.id)) for column in columns]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "nodes": [vars(node) | {"facts": dict(node.facts)} for node in self.nodes.values()],
            "edges": [{"from": before, "to": after, "role": role} for before, after, role in self.edges],
        }

    def __str__(self) -> str:
        lines = []
        for node in (node for column in self.layers() for node in column):
            above = [
                self.nodes[before].label + (f" ({role})" if role else "")
                for before, role in self._above.get(node.id, {}).items()
                if before in self.nodes
            ]
            origin = f"  <- {', '.join(above)}" if above else ""
            lines.append(f"{node.kind:<12} {node.label}{origin}")
        return "\n".join(lines)

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), indent=1, default=str)

    def _above_of(self, name: str) -> Iterator[str]:
        return (before for before in self._above.get(name, {}) if before in self.nodes)

    def _below(self, name: str) -> set[str]:
        after: dict[str, list[str]] = {}
        for before, behind, _ in self.edges:
            after.setdefault(before, []).append(behind)
        return self._reached(name, lambda node: iter(after.get(node, ())))

    @staticmethod
    def _reached(name: str, steps: Any) -> set[str]:
        reached: set[str] = set()
        waiting = [name]
        while waiting:
            for other in steps(waiting.pop()):
                if other not in reached:
                    reached.add(other)
                    waiting.append(other)
        return reached
