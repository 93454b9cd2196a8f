"""Which layers of PyTorch a saved network may name, and how their arguments are read from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Any

from outgrow._optional import optional
from outgrow.errors import ArtifactError

LAYERS = frozenset(
    """
    AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d
    AdaptiveMaxPool3d AlphaDropout AvgPool1d AvgPool2d AvgPool3d BatchNorm1d BatchNorm2d BatchNorm3d
    Bilinear CELU ChannelShuffle CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d
    ConstantPad3d Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d CosineSimilarity
    Dropout Dropout1d Dropout2d Dropout3d ELU Embedding EmbeddingBag FeatureAlphaDropout Flatten Fold GELU
    GLU GRU GRUCell GroupNorm Hardshrink Hardsigmoid Hardswish Hardtanh Identity InstanceNorm1d
    InstanceNorm2d InstanceNorm3d LPPool1d LPPool2d LPPool3d LSTM LSTMCell LayerNorm LeakyReLU Linear
    LocalResponseNorm LogSigmoid LogSoftmax MaxPool1d MaxPool2d MaxPool3d Mish MultiheadAttention PReLU
    PairwiseDistance PixelShuffle PixelUnshuffle RMSNorm RNN RNNCell RReLU ReLU ReLU6 ReflectionPad1d
    ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d SELU SiLU Sigmoid
    Softmax Softmax2d Softmin Softplus Softshrink Softsign Tanh Tanhshrink Threshold TransformerDecoder
    TransformerDecoderLayer TransformerEncoder TransformerEncoderLayer Unflatten Unfold Upsample
    UpsamplingBilinear2d UpsamplingNearest2d ZeroPad1d ZeroPad2d ZeroPad3d
    """.split()  # noqa: SIM905
)
"""Classes of `torch.nn` that are built from numbers, text and each other, and do nothing else."""

CONTAINERS = frozenset({"Sequential", "ModuleList", "ModuleDict"})
"""Classes of `torch.nn` that are built from other modules."""

FUNCTIONS = frozenset(
    """
    celu elu gelu glu hardsigmoid hardswish hardtanh leaky_relu log_softmax logsigmoid mish relu relu6 selu
    sigmoid silu softmax softplus softsign tanh tanhshrink
    """.split()  # noqa: SIM905
)
"""Functions of `torch` and `torch.nn.functional` that may be arguments."""

_SKIPPED = {"device", "dtype", "_weight", "_freeze", "min_value", "max_value"}
_RECURRENT = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
_NAMES = {"LSTM": (*_RECURRENT, "proj_size"), "GRU": _RECURRENT, "RNN": (*_RECURRENT, "nonlinearity")}
"""The arguments of those whose signatures do not name them."""
MOST_LAYERS = 1_000
"""How often a layer may repeat itself: it is built that often before anything else can be checked."""

Reader = Callable[[Any], Any]


def _there(name: str) -> Reader:
    return lambda module: getattr(module, name) is not None


_ENCODER_LAYER: dict[str, Reader] = {
    "d_model": lambda module: module.self_attn.embed_dim,
    "nhead": lambda module: module.self_attn.num_heads,
    "dim_feedforward": lambda module: module.linear1.out_features,
    "dropout": lambda module: module.dropout.p,
    "layer_norm_eps": lambda module: module.norm1.eps,
    "batch_first": lambda module: module.self_attn.batch_first,
    "bias": lambda module: module.linear1.bias is not None,
}
_READERS: dict[str, dict[str, Reader]] = {
    "MultiheadAttention": {"bias": _there("in_proj_bias"), "add_bias_kv": _there("bias_k")},
    "PairwiseDistance": {"p": lambda module: module.norm},
    "TransformerDecoder": {"decoder_layer": lambda module: module.layers[0]},
    "TransformerDecoderLayer": _ENCODER_LAYER,
    "TransformerEncoder": {
        "encoder_layer": lambda module: module.layers[0],
        # where it could not use them, it said so when it was built
        "enable_nested_tensor": lambda module: module.use_nested_tensor,
    },
    "TransformerEncoderLayer": _ENCODER_LAYER,
}
"""How arguments are read that are no attributes of the same name."""


def layer_class(name: Any) -> Any:
    """The class of `torch.nn` that a saved network names.

    Raises
    ------
    ArtifactError
        When it is none of those that may be named, or this version of PyTorch has it not.
    """
    if not isinstance(name, str) or name not in LAYERS | CONTAINERS:
        raise ArtifactError(
            f"The network has a layer {name!r}, which is none of those that a saved network may name."
        )
    torch = optional("torch", "torch")
    kind = getattr(torch.nn, name, None)
    if kind is None:
        raise ArtifactError(
            f"The network has a layer {name}, which PyTorch {torch.__version__} does not know."
        )
    return kind


def is_layer(module: Any) -> bool:
    """Whether a module is one of the classes that may be named, and no subclass of it."""
    kind = type(module)
    return kind.__name__ in LAYERS | CONTAINERS and kind is getattr(
        optional("torch", "torch").nn, kind.__name__, None
    )


def argument_names(kind: Any) -> dict[str, Any]:
    """The names of a constructor's arguments, with their defaults or `Parameter.empty`.

    Parameters
    ----------
    kind : a class of `torch.nn`, or a user's.
    """
    if kind.__module__.startswith("torch.nn.") and kind.__name__ in _NAMES:
        return dict.fromkeys(_NAMES[kind.__name__], Parameter.empty)
    return {
        name: parameter.default
        for name, parameter in signature(kind).parameters.items()
        if parameter.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
        and name not in _SKIPPED
    }


def arguments_of(module: Any) -> dict[str, Any]:
    """The arguments of a layer's constructor that are not the defaults, read from the layer.

    Raises
    ------
    ArtifactError
        When one cannot be told.
    """
    name = type(module).__name__
    readers, arguments = _READERS.get(name, {}), {}
    for argument, default in argument_names(type(module)).items():
        value = readers[argument](module) if argument in readers else _attribute(module, argument)
        if argument == "bias" and value is not False:
            value = value is not None
        if not _same(value, default):
            arguments[argument] = value
    return arguments


def check_arguments(name: str, arguments: Mapping[str, Any]) -> None:
    """That a saved layer has arguments of its constructor only, and does not repeat itself without end.

    Parameters
    ----------
    name : the layer.
    arguments : what the file gives.

    Raises
    ------
    ArtifactError
        When it has others.
    """
    unknown = sorted(arguments.keys() - argument_names(layer_class(name)).keys())
    if unknown:
        raise ArtifactError(
            f"The network has {name}({', '.join(f'{argument}=...' for argument in unknown)}), which PyTorch "
            f"{optional('torch', 'torch').__version__} does not know."
        )
    repeats = arguments.get("num_layers", 1)
    if not isinstance(repeats, int) or not 1 <= repeats <= MOST_LAYERS:
        raise ArtifactError(
            f"The network has {name}(num_layers={repeats!r}); a saved one has 1 to {MOST_LAYERS:,}."
        )


def _attribute(module: Any, name: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        raise ArtifactError(
            f"A layer {type(module).__name__} does not say what its {name} was. Set it as an attribute."
        ) from None


def _same(value: Any, default: Any) -> bool:
    """Whether a value is the default, of the same type: 1 and True are different things to a constructor."""
    return default is not Parameter.empty and (
        value is default or (type(value) is type(default) and bool(value == default))
    )
