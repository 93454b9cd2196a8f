"""Graphs that something else wrote, such as PyTorch: made plain, checked, and taken into a graph of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from outgrow._optional import optional
from outgrow.errors import ArtifactError, ExportError
from outgrow.ml.export.onnx.graph import IR, ML, OPSET

_TRACES = ("metadata_props", "doc_string")


def tidied(content: bytes, output_names: list[str] | None = None) -> bytes:
    """A graph without what its writer left of itself, such as paths of source files, and without functions.

    Parameters
    ----------
    content : the bytes of an ONNX file.
    output_names : what its outputs are called from now on; None keeps their names.

    Raises
    ------
    ExportError
        When it is of another version than ours, uses operators of others, or is no valid graph.
    """
    onnx = optional("onnx", "onnx")
    model = onnx.load_from_string(content)
    if model.functions:
        model = optional("onnx.inliner", "onnx").inline_local_functions(model)
    opsets = {each.domain: each.version for each in model.opset_import}
    used = {node.domain for node in _nodes(model.graph)}
    if used - {"", ML} or opsets.get("") != OPSET or model.ir_version > IR:
        raise ExportError(
            f"The network's graph uses operators of {sorted(used)} with versions {opsets}; ONNX Runtime's "
            f"own of version {OPSET} are what is kept."
        )
    for thing in _described(model):
        for field in _TRACES:
            if field in thing.DESCRIPTOR.fields_by_name:
                thing.ClearField(field)
    del model.graph.value_info[:]
    if output_names is not None:
        _call_outputs(model, output_names)
    model.producer_name, model.producer_version = "outgrow", ""
    model.graph.name = "network"
    checker = optional("onnx.checker", "onnx")
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, optional("onnx.shape_inference", "onnx").InferenceError) as error:
        raise ExportError(f"The network's graph is not valid ONNX: {error}") from error
    return bytes(model.SerializeToString())


def check_self_contained(content: bytes) -> None:
    """That a graph refers to no file and no memory: ONNX can name those in place of numbers.

    Raises
    ------
    ArtifactError
        When it does, or is no graph.
    """
    if b"location" not in content:  # without this word there is no such reference
        return
    onnx = optional("onnx", "onnx")
    try:
        model = onnx.load_from_string(content)
    except Exception as error:  # protobuf's own class, which no public module has
        raise ArtifactError(f"The network's graph is damaged: {error}. Restore it from a copy.") from error
    if any(tensor.external_data or tensor.data_location for tensor in _tensors(model)):
        raise ArtifactError("The network's graph refers to numbers outside of it, and is not opened.")


def taken_apart(content: bytes, prefix: str) -> Any:
    """The graph of a file, in which every name begins with a prefix.

    Parameters
    ----------
    content : the bytes of a file that `tidied` made.
    prefix : no other name of the graph that it goes into begins so.

    Raises
    ------
    ArtifactError
        When it refers to numbers outside of it, or is damaged.
    """
    check_self_contained(content)
    onnx = optional("onnx", "onnx")
    try:
        model = onnx.load_from_string(content)
        return optional("onnx.compose", "onnx").add_prefix(model, prefix, inplace=True).graph
    except Exception as error:  # protobuf's own class, which no public module has
        raise ArtifactError(f"The network's graph is damaged: {error}. Restore it from a copy.") from error


def _call_outputs(model: Any, names: list[str]) -> None:
    old = [output.name for output in model.graph.output]
    if len(old) != len(names):
        raise ExportError(f"The network answers {len(old)} tensors; {len(names)} were named: {names}.")
    make = optional("onnx.helper", "onnx").make_node
    for output, name in zip(model.graph.output, names, strict=True):
        if output.name != name:
            model.graph.node.append(make("Identity", [output.name], [name], name=f"{name} of the network"))
            output.name = name


def _nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and of those within it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from _nodes(inner)


def _tensors(model: Any) -> Iterator[Any]:
    """Every tensor of numbers that a file holds."""
    graphs = [model.graph]
    nodes = [*_nodes(model.graph), *(node for function in model.functions for node in _nodes(function))]
    for node in nodes:
        for attribute in node.attribute:
            yield from [attribute.t, *attribute.tensors]
            graphs += [attribute.g, *attribute.graphs]
            for sparse in [attribute.sparse_tensor, *attribute.sparse_tensors]:
                yield from [sparse.values, sparse.indices]
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from [sparse.values, sparse.indices]


def _described(model: Any) -> Iterator[Any]:
    """What its writer may have described: the model, its graphs, nodes, tensors and inputs."""
    yield model
    yield model.graph
    yield from _nodes(model.graph)
    yield from [*model.graph.input, *model.graph.output, *model.graph.initializer]
