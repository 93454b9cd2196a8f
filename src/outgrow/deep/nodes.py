"""A graph while the layers of a network are written into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrow.ml.export.onnx.graph import Graph

Row = tuple[int | None, ...]
"""The shape of a row; None where the graph does not say."""


@dataclass(frozen=True)
class Flow:
    """What flows between layers.

    Attributes
    ----------
    tensor : its name in the graph.
    row : its shape without the rows.
    """

    tensor: str
    row: Row


Writer = Callable[["Network", Sequence[Flow], Mapping[str, Any], str], Flow | None]
"""Nodes of a layer: what takes a network, its inputs, arguments and the prefix of its weights' names."""
WRITERS: dict[str, Writer] = {}
"""By the names of layers, and of registered classes as `package.module:Name`."""


class Network:
    """A graph while layers are written into it.

    Parameters
    ----------
    graph : gets the nodes.
    arrays : the weights by name.
    """

    def __init__(self, graph: Graph, arrays: Mapping[str, np.ndarray]) -> None:
        self.graph = graph
        self._arrays = arrays
        self._structures: list[Mapping[str, Any]] = []

    def layer(self, structure: Mapping[str, Any], flows: Sequence[Flow], prefix: str) -> Flow | None:
        """What a layer makes of its inputs; None where there are no nodes for it.

        Parameters
        ----------
        structure : of the layer.
        flows : its inputs.
        prefix : what the names of its weights begin with, such as '2.'; '' for the whole network.
        """
        if "shared" in structure:
            structure = self._structures[structure["shared"]]
        else:
            self._structures.append(structure)
        if structure.get("layer") == "Sequential":
            return self._sequential(structure["modules"], flows, prefix)
        name = structure.get("layer", structure.get("class"))
        writer = WRITERS.get(str(name))
        given = structure.get("with", structure.get("arguments", {}))
        try:
            arguments = {key: _plain(value) for key, value in given.items()}
        except _MoreThanNumbersError:
            return None
        return None if writer is None else writer(self, flows, arguments, prefix)

    def _sequential(self, modules: Any, flows: Sequence[Flow], prefix: str) -> Flow | None:
        for name, structure in modules:
            answer = self.layer(structure, flows, f"{prefix}{name}.")
            if answer is None:
                return None
            flows = [answer]
        return flows[0] if len(flows) == 1 else None

    def weight(self, name: str) -> np.ndarray:
        """A weight by its name."""
        return self._arrays[name]

    def node(self, operator: str, *tensors: str | np.ndarray, **attributes: Any) -> str:
        """A node; arrays among its inputs become constants.

        Parameters
        ----------
        operator : ONNX's name for it.
        *tensors : names of tensors, or arrays.
        **attributes : of the operator.
        """
        names = [given if isinstance(given, str) else self.graph.constant(given) for given in tensors]
        return self.graph.node(operator, *names, **attributes)


class _MoreThanNumbersError(Exception):
    """An argument is a module, a class or a function."""


def _plain(value: Any) -> Any:
    """Arguments without the marks of tuples."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        if value.keys() != {"tuple"}:
            raise _MoreThanNumbersError
        return tuple(_plain(item) for item in value["tuple"])
    return value
