"""Networks as JSON and arrays: every layer comes back, and a stranger's file runs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import outgrow as og
from outgrow import artifact
from outgrow.deep.layers import CONTAINERS, LAYERS
from outgrow.deep.structure import module_of, register, structure_of
from outgrow.deep.weights import load_weights, weights_of
from outgrow.errors import ArtifactError, ParameterError

_OF_SIZE = {"1d": (4, 8), "2d": (4, 8, 8), "3d": (4, 8, 8, 8)}
_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "Bilinear": (3, 4, 5),
    "ChannelShuffle": (2,),
    "CosineSimilarity": (1, 1e-6),
    "Embedding": (7, 4, 2),
    "EmbeddingBag": (7, 4),
    "Flatten": (1, 2),
    "Fold": ((4, 5), (2, 2)),
    "GRUCell": (4, 3, False),
    "GroupNorm": (2, 4),
    "LSTMCell": (4, 3),
    "LayerNorm": (8,),
    "LeakyReLU": (0.3,),
    "Linear": (8, 3, False),
    "LocalResponseNorm": (2,),
    "LogSoftmax": (1,),
    "MultiheadAttention": (8, 2),
    "PReLU": (4,),
    "PairwiseDistance": (1.0,),
    "PixelShuffle": (2,),
    "PixelUnshuffle": (2,),
    "RMSNorm": (8,),
    "RNNCell": (4, 3, True, "relu"),
    "Softmax": (1,),
    "Softmin": (1,),
    "Threshold": (0.1, 20.0),
    "TransformerDecoderLayer": (8, 2, 16),
    "TransformerEncoderLayer": (8, 2, 16, 0.2, "gelu", 1e-4, True, True, False),
    "Unflatten": (1, (2, 2)),
    "Unfold": ((2, 3),),
    "Upsample": (None, 2, "nearest"),
    "UpsamplingBilinear2d": (None, 2),
    "UpsamplingNearest2d": (None, 2),
}
_BY_START: dict[str, tuple[Any, ...]] = {
    "AdaptiveAvg": (2,),
    "AdaptiveMax": (2,),
    "AvgPool": (2, 1),
    "BatchNorm": (4, 1e-3, None),
    "CircularPad": (1,),
    "ConstantPad": (1, 0.5),
    "ConvTranspose": (4, 2, 3, 2, 1, 1),
    "Conv": (4, 6, 3, 1, "same", 1, 2, False),
    "Dropout": (0.3,),
    "GRU": (8, 3, 2),
    "InstanceNorm": (4, 1e-4, 0.1, True),
    "LPPool": (2.0, 2),
    "LSTM": (8, 3, 2, False, True, 0.1, True, 2),
    "MaxPool": (2, 1, 1, 1, False, True),
    "RNN": (8, 3),
    "ReflectionPad": (1,),
    "ReplicationPad": (1,),
    "ZeroPad": (1,),
}
_ROWS: dict[str, Any] = {
    "Bilinear": [(2, 3), (2, 4)],
    "CosineSimilarity": [(2, 4), (2, 4)],
    "Fold": [(2, 12, 12)],
    "GRUCell": [(2, 4)],
    "LSTMCell": [(2, 4)],
    "MultiheadAttention": [(2, 3, 8)] * 3,
    "PairwiseDistance": [(2, 4), (2, 4)],
    "RNNCell": [(2, 4)],
    "TransformerDecoder": [(2, 3, 8)] * 2,
    "TransformerDecoderLayer": [(2, 3, 8)] * 2,
}


def _sample(name: str) -> tuple[nn.Module, list[torch.Tensor]]:
    """A layer of a kind with arguments that are not all the defaults, and rows for it."""
    if name in ("TransformerEncoder", "TransformerDecoder"):
        inner = getattr(nn, f"{name}Layer")(8, 2, 16, batch_first=True)
        return getattr(nn, name)(inner, 2, nn.LayerNorm(8)), _rows(name)
    start = max((key for key in _BY_START if name.startswith(key)), key=len, default="")
    layer = getattr(nn, name)(*_ARGUMENTS.get(name, _BY_START.get(start, ())))
    return layer, _rows(name)


def _rows(name: str) -> list[torch.Tensor]:
    torch.manual_seed(0)
    if name in ("Embedding", "EmbeddingBag"):
        return [torch.randint(0, 7, (2, 3))]
    shape = (2, *_OF_SIZE.get(name[-2:], (4, 8)))
    if name in ("PixelShuffle", "PixelUnshuffle", "Softmax2d", "Unfold", "Upsample", "ChannelShuffle"):
        shape = (2, 4, 8, 8)
    return [torch.randn(given) for given in _ROWS.get(name, [shape])]


def _stored(tree: Any) -> Any:
    """A tree as it comes out of a file."""
    return artifact.unpack(artifact.pack(tree))


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("name", sorted(LAYERS))
def test_every_layer_comes_back(name: str) -> None:
    layer, rows = _sample(name)
    for weight in layer.parameters():
        nn.init.normal_(weight)
    structure = structure_of(layer, inputs=rows)
    again = module_of(_stored(structure), _stored(weights_of(layer)))
    assert repr(again) == repr(layer)
    assert not again.training
    json.dumps(structure, allow_nan=False)
    old, new = layer.eval()(*rows), again(*rows)
    for left, right in zip(*[a if isinstance(a, tuple) else [a] for a in (old, new)], strict=True):
        pairs = zip(left, right, strict=True) if isinstance(left, tuple) else [(left, right)]
        assert all(torch.equal(one, two) for one, two in pairs)


def test_layers_left_out_are_those_that_hold_more_than_numbers() -> None:
    ours = LAYERS | CONTAINERS
    others = {
        name
        for name, kind in vars(nn).items()
        if isinstance(kind, type) and issubclass(kind, nn.Module) and name not in ours
    }
    known = "Container Module RNNBase RNNCellBase DataParallel ParameterDict ParameterList"
    known += " SyncBatchNorm Transformer"
    odd = "AdaptiveLogSoftmaxWithLoss CrossMapLRN2d FractionalMaxPool2d FractionalMaxPool3d"
    left = {
        n for n in others if not n.startswith(("Lazy", "MaxUnpool")) and not n.endswith(("Loss", "Loss2d"))
    }
    assert left <= {*known.split(), *odd.split()}


class Net(nn.Module):
    def __init__(self, hidden: int = 8, nonlin: Any = functional.relu, norm: type = nn.LayerNorm) -> None:
        super().__init__()
        self.hidden, self.nonlin, self.norm = hidden, nonlin, norm
        self.first, self.second = nn.Linear(3, hidden), nn.Linear(hidden, 2)
        self.scaled = norm(hidden)
        self.register_buffer("offset", torch.arange(2.0), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.scaled(self.nonlin(self.first(x)))) + self.offset


class Wrapped(nn.Module):
    def __init__(self, body: nn.Module, scale: float, names: dict[str, Any]) -> None:
        super().__init__()
        self.body, self.scale, self.names = body, scale, names

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * self.body(x)


def test_a_class_of_a_user() -> None:
    rows = torch.randn(4, 3)
    inner = nn.Sequential(Net(5, torch.tanh), nn.ReLU(), nn.Linear(2, 2))
    net = Wrapped(inner, float("inf"), {"a": [1, (2, None)]})
    again = module_of(_stored(structure_of(net)), _stored(weights_of(net)))
    assert again.names == {"a": [1, (2, None)]}
    assert again.body[0].nonlin is torch.tanh
    assert torch.equal(again.body(rows), net.body(rows))


def test_classes_are_given_or_known() -> None:
    class Local(nn.Linear):
        pass

    structure, weights = structure_of(Local(2, 1)), weights_of(Local(2, 1))
    with pytest.raises(
        ArtifactError, match=r"Local', which is not known here. Import the module that defines"
    ):
        module_of(structure, weights)
    assert isinstance(module_of(structure, weights, [Local]), Local)
    moved = {**structure, "class": "__main__:Local"}  # a notebook's class that went into a module
    assert isinstance(module_of(moved, weights, [Local]), Local)
    register(Local)
    assert isinstance(module_of(structure, weights), Local)


def test_given_arguments_and_those_that_are_not_kept() -> None:
    class Forgets(nn.Module):
        def __init__(self, hidden: int = 4) -> None:
            super().__init__()
            self.layer = nn.Linear(2, hidden)

    with pytest.raises(ArtifactError, match=r"does not keep the argument 'hidden'.*self.hidden = hidden"):
        structure_of(Forgets(5))
    assert structure_of(Forgets(5), {"hidden": 5})["arguments"] == {"hidden": 5}
    with pytest.raises(ArtifactError, match="shape"):
        structure_of(Forgets(5), {"hidden": 6})


def test_what_changed_after_it_was_built_is_seen() -> None:
    net = Net()
    net.scaled = nn.Identity()
    with pytest.raises(ArtifactError, match="cannot be built again"):
        structure_of(net)
    net = Net(8, functional.relu)
    net.first.forward = net.second.forward  # as Accelerate does
    with pytest.raises(ArtifactError, match="forward of a Linear was replaced"):
        structure_of(nn.Sequential(net.first))

    class Draws(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.offset = torch.rand(1)  # no buffer

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.offset

    with pytest.raises(ArtifactError, match="answers something else"):
        structure_of(Draws(), inputs=[torch.zeros(2, 1)])


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), "parametrization"),
        (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2)), "parametrization"),
        (lambda: nn.LazyLinear(2), "has not seen data"),
        (lambda: torch.compile(nn.Linear(2, 2), backend="eager"), "compiled"),
        (nn.CrossEntropyLoss, "none of the layers"),
        (lambda: nn.Linear, "is no torch.nn.Module"),
        (lambda: Wrapped(nn.Identity(), object(), {}), "scale=.*cannot be saved"),
    ],
)
def test_what_cannot_be_written_says_why(make: Any, why: str) -> None:
    with pytest.raises(ArtifactError, match=why):
        structure_of(make())


def test_a_hook_is_no_part_of_a_file() -> None:
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda module, rows, answer: answer + 1)
    with pytest.raises(ArtifactError, match="hooks"):
        structure_of(nn.Sequential(layer))


def test_a_layer_twice_stays_one_and_tied_weights_stay_tied() -> None:
    layer = nn.Linear(3, 3)
    net = nn.Sequential(nn.Embedding(5, 3), layer, nn.ReLU(), layer, nn.Linear(3, 5, bias=False))
    net[4].weight = net[0].weight
    weights = _stored(weights_of(net))
    assert len(weights["arrays"]) == 3
    again = module_of(_stored(structure_of(net)), weights)
    assert again[1] is again[3]
    assert again[4].weight is again[0].weight
    assert len(list(again.parameters())) == 3
    new = module_of(_stored(structure_of(net)))
    assert new[4].weight is new[0].weight


def test_views_of_one_vector_are_saved_apart() -> None:
    """A trainer keeps all parameters in one vector; safetensors' own functions refuse such."""
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    with torch.no_grad():
        flat = nn.utils.parameters_to_vector(net.parameters())
    nn.utils.vector_to_parameters(flat, net.parameters())
    weights = weights_of(net)
    assert weights["aliases"] == {}
    again = module_of(structure_of(net), weights)
    assert torch.equal(nn.utils.parameters_to_vector(again.parameters()), flat)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_types_come_back(dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).to(dtype)
    net[0].weight.requires_grad_(False)
    again = module_of(structure_of(net), _stored(weights_of(net)))
    for name, tensor in net.state_dict().items():
        assert again.state_dict()[name].dtype == tensor.dtype
        assert torch.equal(again.state_dict()[name], tensor)


def test_loading_leaves_the_random_numbers_alone_and_copies() -> None:
    net = nn.Sequential(Net(), nn.Linear(2, 1))
    structure, weights = structure_of(net), weights_of(net)
    before = torch.random.get_rng_state()
    again = module_of(structure, weights)
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.no_grad():
        again[1].weight.fill_(7.0)
    assert not (weights["arrays"]["1.weight"] == 7).any()


_LINEAR = {"layer": "Linear", "with": {"in_features": 2, "out_features": 1}}


def _deep(levels: int) -> Any:
    node: Any = _LINEAR
    for _ in range(levels):
        node = {"layer": "Sequential", "modules": [["0", node]]}
    return node


@pytest.mark.parametrize(
    "structure",
    [
        {"layer": "Module"},
        {"layer": "os:system"},
        {"layer": "__class__"},
        {"layer": ["Linear"]},
        {"layer": "Linear"},
        {"layer": "Linear", "with": [2, 1]},
        {"layer": "Linear", "with": {"in_features": 2, "out_features": 1, "device": "cuda"}},
        {"layer": "Linear", "with": {"in_features": "2", "out_features": 1}},
        {"layer": "Linear", "with": {"in_features": 10**12, "out_features": 10**12}},
        {"layer": "Linear", "with": {"in_features": 10**6, "out_features": 10**6}},
        {"layer": "Linear", "with": {"in_features": float("nan"), "out_features": 1}},
        {"layer": "Linear", "with": {"in_features": {"function": "os.system"}, "out_features": 1}},
        {"layer": "Linear", "with": {"in_features": {"type": "Module"}, "out_features": 1}},
        {"layer": "LSTM", "with": {"input_size": 1, "hidden_size": 1, "num_layers": 10**9}},
        {"layer": "Sequential", "modules": [["0", {"shared": 0}]]},
        {"layer": "Sequential", "modules": [["0", {"shared": 7}]]},
        {"layer": "Sequential", "modules": [["a.b", _LINEAR]]},
        {"layer": "Sequential", "modules": {"0": _LINEAR}},
        {"class": "os:system", "arguments": {"command": "touch ran"}},
        {"class": "subprocess:Popen", "arguments": {"args": ["touch", "ran"]}},
        {"class": "torch.nn:Linear", "arguments": {"in_features": 2, "out_features": 1}},
        {"class": "torch.fx.graph_module:GraphModule", "arguments": {"root": {"map": []}, "graph": "x"}},
        {"class": f"{__name__}:nn.Linear", "arguments": {"in_features": 2, "out_features": 1}},
        {"class": "never_imported_module:Net", "arguments": {}},
        {"class": "outgrow.deep.nothing:Net", "arguments": {}},
        {"class": f"{__name__}:Net", "arguments": {"hidden": -3}},
        {"class": 3, "arguments": {}},
        {"class": f"{__name__}:Net"},
        _deep(500),
        [],
        "Linear",
        None,
    ],
)
def test_a_strangers_structure_is_refused(structure: Any, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError):
        module_of(structure, weights_of(nn.Linear(2, 1)))
    assert not list(tmp_path.iterdir())
    assert "never_imported_module" not in sys.modules


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("os:system", {"command": "touch ran"}),
        ("subprocess:getoutput", {"cmd": "touch ran"}),
        ("subprocess:Popen", {"args": ["touch", "ran"]}),
        ("builtins:eval", {}),
        ("torch.nn:modules.module.torch.hub.load", {"repo_or_dir": "a/b"}),
        ("torch.nn:Module", {}),
        ("torch.hub:load", {"repo_or_dir": "a/b"}),
        ("torch.nn.modules.linear:Linear", {"in_features": 2, "out_features": 2}),
        (f"{__name__}:nn.Linear", {"in_features": 2, "out_features": 2}),
        ("never_imported_module:Net", {}),
    ],
)
def test_a_model_of_a_stranger_calls_nothing(
    name: str, arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is imported already is no leave to call it: `os` always is."""
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(40, 2))
    og.TorchClassifier(module=Flat, max_epochs=1).fit(rows, rows[:, 0] > 0).save("good")
    tree = artifact.read("good")
    parameters, learned = tree["estimator"]["parameters"], tree["estimator"]["learned"]
    learned.pop("graph_", None)
    parameters["module"] = {"value": name}
    parameters.update({f"module__{key}": {"value": value} for key, value in arguments.items()})
    artifact.write("evil", tree)
    model = og.load("evil")
    for ask in (model.predict, lambda rows: model.module_):
        with pytest.raises(ArtifactError):
            ask(rows)
    assert {path.name for path in tmp_path.iterdir()} == {"good", "evil"}


def test_a_name_stands_for_a_class_of_modules() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 2))
    with pytest.raises(ParameterError, match="stands for a class of modules"):
        og.TorchClassifier(module="os:getcwd").fit(rows, rows[:, 0] > 0)


def test_whoever_loads_gives_classes(tmp_path: Path) -> None:
    """A class that is gone, as that of a notebook, is given under its name from wherever it is now."""

    def defined() -> type:
        class OfNotebook(nn.Linear):
            def __init__(self, in_features: int, out_features: int) -> None:
                super().__init__(in_features, out_features)

        OfNotebook.__qualname__, OfNotebook.__module__ = "OfNotebook", "__main__"
        return OfNotebook

    rows = np.random.default_rng(0).normal(size=(40, 2))
    model = og.TorchClassifier(module=defined(), max_epochs=1).fit(rows, rows[:, 0] > 0)
    model.save(tmp_path / "model")
    with pytest.raises(ArtifactError, match=r"or give the class: og.load\(path, modules=\[OfNotebook\]\)"):
        _ = og.load(tmp_path / "model").module_
    with pytest.raises(ParameterError, match="is no class"):
        og.load(tmp_path / "model", modules=[nn.Linear(2, 2)])  # type: ignore[list-item]
    kind = defined()
    kind.__module__ = "now.in.a.module"
    again = og.load(tmp_path / "model", modules=[kind])
    assert type(again.module_) is kind
    np.testing.assert_allclose(again.predict_proba(rows), model.predict_proba(rows), atol=1e-6)


class Flat(nn.Linear):
    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)


def _changed(part: str, change: Any) -> Any:
    weights = weights_of(nn.Linear(2, 1))
    return {**weights, part: change(weights[part])}


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        (_changed("arrays", lambda a: {"weight": a["weight"]}), "lacks 1 weights: bias"),
        (_changed("arrays", lambda a: {**a, "more": a["bias"]}), "no room for 1 weights: more"),
        (_changed("arrays", lambda a: {**a, "weight": a["weight"].T}), r"shape \(2, 1\).*\(1, 2\)"),
        (_changed("arrays", lambda a: {**a, "weight": a["weight"].astype(int)}), "int64"),
        (_changed("arrays", lambda a: {**a, "weight": [[1.0, 2.0]]}), "no array of numbers"),
        (_changed("arrays", lambda a: {**a, "weight": a["weight"].astype(object)}), "no array of numbers"),
        (_changed("aliases", lambda a: {"more": "nothing"}), "is to be 'nothing'"),
        (_changed("aliases", lambda a: {"weight": "bias"}), "is to be 'bias'"),
        (_changed("types", lambda a: {"weight": "load"}), "type 'load'"),
        (_changed("arrays", lambda a: None), "form"),
        (None, "form"),
    ],
)
def test_a_strangers_weights_are_refused(weights: Any, why: str) -> None:
    with pytest.raises(ArtifactError, match=why):
        load_weights(nn.Linear(2, 1), weights)


def test_no_memory_is_taken_before_shapes_are_known() -> None:
    """A layer of 4 TB is refused by the shape of the weights that come with it, in no time."""
    huge = {"layer": "Linear", "with": {"in_features": 10**6, "out_features": 10**6}}
    with pytest.raises(ArtifactError, match=r"has shape \(1, 2\), and has to have \(1000000, 1000000\)"):
        module_of(huge, weights_of(nn.Linear(2, 1)))


def test_loading_says_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 3, 8), 1)
    structure, weights = structure_of(encoder), weights_of(encoder)
    assert isinstance(module_of(structure, weights), nn.TransformerEncoder)


def test_modules_need_no_torch_to_be_imported() -> None:
    code = "import sys, outgrow.deep.structure, outgrow.deep.weights; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_weights_are_numpy() -> None:
    weights = weights_of(nn.BatchNorm1d(2))
    assert {name: array.dtype.kind for name, array in weights["arrays"].items()} == {
        "weight": "f",
        "bias": "f",
        "running_mean": "f",
        "running_var": "f",
        "num_batches_tracked": "i",
    }
    assert weights["arrays"]["running_var"].tolist() == np.ones(2).tolist()
