"""The perceptron as nodes of an ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from outgrow.deep.labels import ACTIVATIONS
from outgrow.deep.nodes import Flow, Network

PERCEPTRON = "outgrow.deep.perceptron:Perceptron"
"""The name of the class, which is not imported here: it needs torch."""


def perceptron(network: Network, flows: Sequence[Flow], given: Mapping[str, Any], prefix: str) -> Flow | None:
    """The nodes of a perceptron.

    Parameters
    ----------
    network : the graph, and the weights.
    flows : the one input.
    given : its arguments.
    prefix : of the names of its weights.
    """
    (flow,) = flows
    coded = [int(column) for column, _ in given["categories"]]
    numbers = [column for column in range(given["n_features"]) if column not in coded]
    parts = [_scaled(network, flow, numbers, prefix)] if numbers else []
    parts += [
        _embedded(network, flow, column, f"{prefix}embeddings.{number}.")
        for number, column in enumerate(coded)
    ]
    values = network.node("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    width = len(numbers) + sum(
        network.weight(f"{prefix}embeddings.{number}.weight").shape[1] for number in range(len(coded))
    )
    sizes = [given["hidden"]] if isinstance(given["hidden"], int) else list(given["hidden"])
    for number, size in enumerate(sizes):
        layer = _hidden(width, size, given)
        after = network.layer(layer, [Flow(values, (width,))], f"{prefix}layers.{number}.")
        if after is None:
            return None
        added = given["residual"] and size == width
        values, width = network.node("Add", after.tensor, values) if added else after.tensor, size
    last = {"layer": "Linear", "with": {"in_features": width, "out_features": given["n_outputs"]}}
    return network.layer(last, [Flow(values, (width,))], f"{prefix}output.")


def _scaled(network: Network, flow: Flow, numbers: Sequence[int], prefix: str) -> str:
    columns = network.node("Gather", flow.tensor, np.array(numbers, dtype=np.int64), axis=1)
    centred = network.node("Sub", columns, network.weight(f"{prefix}shift"))
    return network.node("Mul", centred, network.weight(f"{prefix}scale"))


def _embedded(network: Network, flow: Flow, column: int, prefix: str) -> str:
    codes = network.node("Gather", flow.tensor, np.array(column, dtype=np.int64), axis=1)
    whole = network.graph.cast(codes, "integer")
    return network.node("Gather", network.weight(f"{prefix}weight"), whole, axis=0)


def _hidden(width: int, size: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """The structure of a hidden layer; what does nothing in a trained network is left out."""
    layers = [{"layer": "Linear", "with": {"in_features": width, "out_features": size}}]
    if given["batch_norm"]:
        layers.append({"layer": "BatchNorm1d", "with": {"num_features": size}})
    layers.append({"layer": ACTIVATIONS[given["activation"]]})
    return {"layer": "Sequential", "modules": [[str(number), layer] for number, layer in enumerate(layers)]}
