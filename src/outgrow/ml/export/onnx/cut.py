"""The part of a graph that ends at one of its tensors."""

from __future__ import annotations

from typing import Any

from outgrow._optional import optional
from outgrow.errors import ParameterError

_SHOWN = 20


def cut(content: bytes, tensor: str) -> bytes:
    """The graph whose one output is a tensor of another, without the nodes behind it.

    Parameters
    ----------
    content : the bytes of an ONNX file.
    tensor : the name of an output of one of its nodes, or of the node.

    Raises
    ------
    ParameterError
        When there is none of that name, or the bytes are no graph.
    """
    onnx = optional("onnx", "onnx")
    try:
        model = onnx.load_from_string(content)
    except Exception as error:  # of protobuf, whose classes differ from version to version
        raise ParameterError(f"{len(content)} bytes are no ONNX graph: {error}.") from None
    by_node = {node.name: node.output[0] for node in model.graph.node if node.name and node.output}
    made = {output: node for node in model.graph.node for output in node.output}
    wanted = tensor if tensor in made else by_node.get(tensor, "")
    if wanted not in made:
        raise ParameterError(
            f"layer={tensor!r}: the network has no tensor or node of that name. Its last ones are "
            f"{list(made)[-_SHOWN:]}."
        )
    nodes, weights = _needed(model.graph, made, wanted)
    known = {value.name: value for value in [*model.graph.value_info, *model.graph.output]}
    output = known.get(wanted) or onnx.ValueInfoProto(name=wanted)
    graph = onnx.helper.make_graph(
        nodes, model.graph.name or "network", list(model.graph.input), [output], weights
    )
    short = onnx.ModelProto()
    short.CopyFrom(model)
    short.graph.CopyFrom(graph)
    return bytes(short.SerializeToString())


def _needed(graph: Any, made: dict[str, Any], wanted: str) -> tuple[list[Any], list[Any]]:
    """The nodes and weights that a tensor is made of, in their order."""
    needed, waiting = {wanted}, [wanted]
    while waiting:
        node = made.get(waiting.pop())
        for name in [] if node is None else [*node.input, *_of_subgraphs(node)]:
            if name and name not in needed:
                needed.add(name)
                waiting.append(name)
    nodes = [node for node in graph.node if needed.intersection(node.output)]
    return nodes, [weight for weight in graph.initializer if weight.name in needed]


def _of_subgraphs(node: Any) -> list[str]:
    """What the branches of a node take from outside."""
    inner = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return [name for graph in inner for part in graph.node for name in [*part.input, *_of_subgraphs(part)]]
