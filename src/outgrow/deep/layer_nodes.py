"""The layers of PyTorch that have a short equal in ONNX, as nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from outgrow.deep.nodes import Flow, Network, Writer


def _one(operator: str, **fixed: Any) -> Writer:
    """A layer that is one operator on one input, of the same shape."""

    def write(network: Network, flows: Sequence[Flow], arguments: Mapping[str, Any], prefix: str) -> Flow:
        (flow,) = flows
        return replace(flow, tensor=network.node(operator, flow.tensor, **fixed))

    return write


def _with_alpha(operator: str, argument: str, default: float) -> Writer:
    def write(network: Network, flows: Sequence[Flow], arguments: Mapping[str, Any], prefix: str) -> Flow:
        (flow,) = flows
        alpha = float(arguments.get(argument, default))
        return replace(flow, tensor=network.node(operator, flow.tensor, alpha=alpha))

    return write


def _same(network: Network, flows: Sequence[Flow], arguments: Mapping[str, Any], prefix: str) -> Flow:
    """Layers that do nothing once a network is trained."""
    (flow,) = flows
    return flow


def linear(network: Network, flows: Sequence[Flow], arguments: Mapping[str, Any], prefix: str) -> Flow:
    """A `torch.nn.Linear`, as a product and a sum.

    Parameters
    ----------
    network : gets the nodes.
    flows : the one input.
    arguments : of the layer, those that are not the defaults.
    prefix : what the names of its weights begin with.
    """
    (flow,) = flows
    weight = network.weight(f"{prefix}weight")
    tensor = network.node("MatMul", flow.tensor, weight.T)
    if arguments.get("bias", True):
        tensor = network.node("Add", tensor, network.weight(f"{prefix}bias"))
    return Flow(tensor, (*flow.row[:-1], weight.shape[0]))


def _clip(low: float, high: float) -> Writer:
    def write(network: Network, flows: Sequence[Flow], arguments: Mapping[str, Any], prefix: str) -> Flow:
        (flow,) = flows
        ends = [np.float32(arguments.get(key, end)) for key, end in (("min_val", low), ("max_val", high))]
        return replace(flow, tensor=network.node("Clip", flow.tensor, *map(np.asarray, ends)))

    return write


def _gelu(network: Network, flows: Sequence[Flow], arguments: Mapping[str, Any], prefix: str) -> Flow:
    (flow,) = flows
    return replace(
        flow, tensor=network.node("Gelu", flow.tensor, approximate=arguments.get("approximate", "none"))
    )


def _silu(network: Network, flows: Sequence[Flow], arguments: Mapping[str, Any], prefix: str) -> Flow:
    (flow,) = flows
    return replace(flow, tensor=network.node("Mul", flow.tensor, network.node("Sigmoid", flow.tensor)))


def _softplus(
    network: Network, flows: Sequence[Flow], arguments: Mapping[str, Any], prefix: str
) -> Flow | None:
    (flow,) = flows
    return None if arguments else replace(flow, tensor=network.node("Softplus", flow.tensor))


def _log_sigmoid(network: Network, flows: Sequence[Flow], arguments: Mapping[str, Any], prefix: str) -> Flow:
    (flow,) = flows
    softplus = network.node("Softplus", network.node("Neg", flow.tensor))
    return replace(flow, tensor=network.node("Neg", softplus))


def _softmax(operator: str) -> Writer:
    def write(
        network: Network, flows: Sequence[Flow], arguments: Mapping[str, Any], prefix: str
    ) -> Flow | None:
        (flow,) = flows
        axis = arguments.get("dim")
        if axis is None or axis in (0, -1 - len(flow.row)):  # over the rows
            return None
        return replace(flow, tensor=network.node(operator, flow.tensor, axis=axis))

    return write


def _prelu(network: Network, flows: Sequence[Flow], arguments: Mapping[str, Any], prefix: str) -> Flow:
    (flow,) = flows
    slope = network.weight(f"{prefix}weight").reshape(-1, *[1] * (len(flow.row) - 1))
    return replace(flow, tensor=network.node("PRelu", flow.tensor, slope))


def batch_norm(
    network: Network, flows: Sequence[Flow], arguments: Mapping[str, Any], prefix: str
) -> Flow | None:
    """A `torch.nn.BatchNorm1d` or of more dimensions; None for one that keeps no statistics.

    Parameters
    ----------
    network : gets the nodes.
    flows : the one input.
    arguments : of the layer, those that are not the defaults.
    prefix : what the names of its weights begin with.
    """
    (flow,) = flows
    if not arguments.get("track_running_stats", True):
        return None
    mean, variance = network.weight(f"{prefix}running_mean"), network.weight(f"{prefix}running_var")
    affine = arguments.get("affine", True)
    scale = network.weight(f"{prefix}weight") if affine else np.ones_like(mean)
    offset = (
        network.weight(f"{prefix}bias") if affine and arguments.get("bias", True) else np.zeros_like(mean)
    )
    epsilon = float(arguments.get("eps", 1e-5))
    return replace(
        flow,
        tensor=network.node(
            "BatchNormalization", flow.tensor, scale, offset, mean, variance, epsilon=epsilon
        ),
    )


def _layer_norm(network: Network, flows: Sequence[Flow], arguments: Mapping[str, Any], prefix: str) -> Flow:
    (flow,) = flows
    shape = arguments["normalized_shape"]
    shape = (shape,) if isinstance(shape, int) else shape
    affine = arguments.get("elementwise_affine", True)
    given = [network.weight(f"{prefix}weight") if affine else np.ones(shape, dtype=np.float32)]
    if affine and arguments.get("bias", True):
        given.append(network.weight(f"{prefix}bias"))
    epsilon = float(arguments.get("eps", 1e-5))
    tensor = network.node("LayerNormalization", flow.tensor, *given, axis=-len(shape), epsilon=epsilon)
    return replace(flow, tensor=tensor)


def _flatten(
    network: Network, flows: Sequence[Flow], arguments: Mapping[str, Any], prefix: str
) -> Flow | None:
    (flow,) = flows
    if arguments.get("start_dim", 1) != 1 or arguments.get("end_dim", -1) not in (-1, len(flow.row)):
        return None
    width: int | None = 1
    for size in flow.row:
        width = None if size is None or width is None else width * size
    return Flow(network.node("Flatten", flow.tensor, axis=1), (width,))


def _embedding(
    network: Network, flows: Sequence[Flow], arguments: Mapping[str, Any], prefix: str
) -> Flow | None:
    (flow,) = flows
    if arguments.get("max_norm") is not None:
        return None
    table = network.weight(f"{prefix}weight")
    gathered = network.node("Gather", table, network.graph.cast(flow.tensor, "integer"), axis=0)
    return Flow(gathered, (*flow.row, table.shape[1]))


def _convolution(dimensions: int) -> Writer:
    def write(
        network: Network, flows: Sequence[Flow], arguments: Mapping[str, Any], prefix: str
    ) -> Flow | None:
        (flow,) = flows
        if arguments.get("padding_mode", "zeros") != "zeros" or len(flow.row) != dimensions + 1:
            return None
        weight = network.weight(f"{prefix}weight")
        given = [weight, network.weight(f"{prefix}bias")] if arguments.get("bias", True) else [weight]
        dilations = _several(arguments.get("dilation", 1), dimensions)
        tensor = network.node(
            "Conv",
            flow.tensor,
            *given,
            kernel_shape=list(weight.shape[2:]),
            strides=_several(arguments.get("stride", 1), dimensions),
            pads=_pads(arguments.get("padding", 0), weight.shape[2:], dilations),
            dilations=dilations,
            group=arguments.get("groups", 1),
        )
        return Flow(tensor, (weight.shape[0], *[None] * dimensions))

    return write


def _pooling(operator: str, dimensions: int) -> Writer:
    def write(
        network: Network, flows: Sequence[Flow], arguments: Mapping[str, Any], prefix: str
    ) -> Flow | None:
        (flow,) = flows
        odd = any(arguments.get(key) for key in ("ceil_mode", "return_indices", "divisor_override"))
        if odd or len(flow.row) != dimensions + 1:
            return None
        kernel = _several(arguments["kernel_size"], dimensions)
        stride = arguments.get("stride")
        attributes: dict[str, Any] = {
            "kernel_shape": kernel,
            "strides": kernel if stride is None else _several(stride, dimensions),
            "pads": _several(arguments.get("padding", 0), dimensions) * 2,
        }
        if operator == "MaxPool":
            attributes["dilations"] = _several(arguments.get("dilation", 1), dimensions)
        else:
            attributes["count_include_pad"] = int(arguments.get("count_include_pad", True))
        return Flow(network.node(operator, flow.tensor, **attributes), (flow.row[0], *[None] * dimensions))

    return write


def _to_one(operator: str, dimensions: int) -> Writer:
    """Adaptive pooling to one number a channel."""

    def write(
        network: Network, flows: Sequence[Flow], arguments: Mapping[str, Any], prefix: str
    ) -> Flow | None:
        (flow,) = flows
        size = arguments["output_size"]
        ones = _several(size, dimensions) == [1] * dimensions
        if not ones or len(flow.row) != dimensions + 1 or arguments.get("return_indices"):
            return None
        return Flow(network.node(operator, flow.tensor), (flow.row[0], *[1] * dimensions))

    return write


def _several(value: Any, dimensions: int) -> list[Any]:
    return list(value) if isinstance(value, tuple | list) else [value] * dimensions


def _pads(padding: Any, kernel: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """Before each axis, then behind each; 'same' puts the odd one behind."""
    if padding == "valid":
        padding = 0
    if padding != "same":
        return _several(padding, len(kernel)) * 2
    whole = [dilation * (size - 1) for dilation, size in zip(dilations, kernel, strict=True)]
    return [size // 2 for size in whole] + [size - size // 2 for size in whole]


LAYER_WRITERS: dict[str, Writer] = {
    **dict.fromkeys(
        "Identity Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout".split(),  # noqa: SIM905
        _same,
    ),
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"), batch_norm),
    "CELU": _with_alpha("Celu", "alpha", 1.0),
    "ELU": _with_alpha("Elu", "alpha", 1.0),
    "Embedding": _embedding,
    "Flatten": _flatten,
    "GELU": _gelu,
    "Hardsigmoid": _one("HardSigmoid", alpha=1 / 6, beta=0.5),
    "Hardswish": _one("HardSwish"),
    "Hardtanh": _clip(-1.0, 1.0),
    "LayerNorm": _layer_norm,
    "LeakyReLU": _with_alpha("LeakyRelu", "negative_slope", 0.01),
    "Linear": linear,
    "LogSigmoid": _log_sigmoid,
    "LogSoftmax": _softmax("LogSoftmax"),
    "Mish": _one("Mish"),
    "PReLU": _prelu,
    "ReLU": _one("Relu"),
    "ReLU6": _clip(0.0, 6.0),
    "SELU": _one("Selu"),
    "SiLU": _silu,
    "Sigmoid": _one("Sigmoid"),
    "Softmax": _softmax("Softmax"),
    "Softplus": _softplus,
    "Softsign": _one("Softsign"),
    "Tanh": _one("Tanh"),
    **{f"Conv{n}d": _convolution(n) for n in (1, 2, 3)},
    **{f"MaxPool{n}d": _pooling("MaxPool", n) for n in (1, 2, 3)},
    **{f"AvgPool{n}d": _pooling("AveragePool", n) for n in (1, 2, 3)},
    **{f"AdaptiveAvgPool{n}d": _to_one("GlobalAveragePool", n) for n in (1, 2, 3)},
    **{f"AdaptiveMaxPool{n}d": _to_one("GlobalMaxPool", n) for n in (1, 2, 3)},
}
