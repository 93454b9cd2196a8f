"""Plain networks as ONNX graphs, written from their structure and weights, without PyTorch.

PyTorch's own exporter takes seconds, and has to run the network; here a layer is a few nodes, written in
milliseconds wherever the saved network is. Layers that have no short equal are left to the exporter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrow.deep.layer_nodes import LAYER_WRITERS
from outgrow.deep.nodes import WRITERS, Flow, Network
from outgrow.deep.perceptron_nodes import PERCEPTRON, perceptron
from outgrow.deep.weights import checked_weights
from outgrow.errors import ArtifactError, OutgrowError
from outgrow.ml.export.onnx.graph import Graph

_DOC = "A network of outgrow."
WRITERS.update(LAYER_WRITERS)
WRITERS[PERCEPTRON] = perceptron


@dataclass(frozen=True)
class Input:
    """One input of a network.

    Attributes
    ----------
    row : the shape of a row.
    kind : 'single' for float32, 'integer' for int64.
    """

    row: tuple[int, ...]
    kind: str = "single"


def written(
    structure: Mapping[str, Any],
    weights: Mapping[str, Any],
    inputs: Sequence[Input],
    output_name: str = "output",
) -> bytes | None:
    """The ONNX file of a network.

    Parameters
    ----------
    structure : what `structure_of` gave.
    weights : what `weights_of` gave.
    inputs : what goes in; the graph calls them input_0, input_1, ...
    output_name : what the one output is called.

    Returns
    -------
    bytes or None
        None where a layer has no nodes here; `outgrow.deep.graph.onnx_of` may know it.

    Raises
    ------
    ArtifactError
        When the structure or the weights are damaged.

    Examples
    --------
    >>> from torch import nn
    >>> from outgrow.deep.structure import structure_of
    >>> from outgrow.deep.weights import weights_of
    >>> from outgrow.deep.written import Input, written
    >>> net = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 1))
    >>> len(written(structure_of(net), weights_of(net), [Input((30,))])) > 8_000
    True
    """
    arrays, aliases, types = checked_weights(weights)
    if types or any(array.dtype.kind == "f" and array.dtype != np.float32 for array in arrays.values()):
        return None
    graph = Graph()
    flows = [
        Flow(graph.input(f"input_{number}", given.kind, given.row), given.row)
        for number, given in enumerate(inputs)
    ]
    network = Network(graph, {**arrays, **{name: arrays[owner] for name, owner in aliases.items()}})
    try:
        answer = network.layer(structure, flows, "")
        if answer is None:
            return None
        graph.output(output_name, answer.tensor, "single", answer.row)
        return graph.content({}, _DOC)
    except OutgrowError:
        raise
    except Exception as error:  # the checker's own classes, and what a stranger's structure can cause
        raise ArtifactError(
            f"The network is damaged: {type(error).__name__}: {error}. Restore it from a copy."
        ) from error
