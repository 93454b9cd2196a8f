"""Networks as ONNX: written or exported, they answer what PyTorch answers, also in a pipeline."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

import outgrow as og
from outgrow.deep.graph import CHUNK_BYTES, OnnxAnswer, network_nodes, onnx_of
from outgrow.deep.nodes import WRITERS
from outgrow.deep.structure import structure_of
from outgrow.deep.weights import weights_of
from outgrow.deep.written import Input, written
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ArtifactError, DataError, ExportError
from outgrow.ml.base import Regressor
from outgrow.ml.export.onnx.answer import Answer, features
from outgrow.ml.export.onnx.graph import Graph
from outgrow.ml.export.onnx.run import feeds, run
from outgrow.ml.export.onnx.table import Table


def _written(net: nn.Module, row: tuple[int, ...], kind: str = "single") -> bytes | None:
    return written(structure_of(net), weights_of(net), [Input(row, kind)])


def _check(net: nn.Module, content: bytes, rows: torch.Tensor) -> None:
    with torch.inference_mode():
        expected = net.eval()(rows).numpy()
    np.testing.assert_allclose(OnnxAnswer(content)(rows.numpy())[0], expected, rtol=1e-5, atol=1e-5)


def _trained(net: nn.Module) -> nn.Module:
    """A network whose numbers are none of the constructors' zeros and ones."""
    torch.manual_seed(1)
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 0.9)
    return net


_IMAGES, _LINES = (3, 10, 10), (3, 12)
LAYERS: dict[str, list[tuple[nn.Module, tuple[int, ...]]]] = {
    "AdaptiveAvgPool": [(nn.AdaptiveAvgPool2d(1), _IMAGES), (nn.AdaptiveAvgPool1d((1,)), _LINES)],
    "AdaptiveMaxPool": [(nn.AdaptiveMaxPool2d((1, 1)), _IMAGES)],
    "AlphaDropout": [(nn.AlphaDropout(0.4), (5,))],
    "FeatureAlphaDropout": [(nn.FeatureAlphaDropout(0.4), _LINES)],
    "AvgPool": [
        (nn.AvgPool2d(3, 2, 1), _IMAGES),
        (nn.AvgPool2d((2, 3), padding=(1, 0), count_include_pad=False), _IMAGES),
        (nn.AvgPool1d(2), _LINES),
    ],
    "BatchNorm": [
        (nn.BatchNorm1d(5, eps=0.1), (5,)),
        (nn.BatchNorm1d(3, affine=False), _LINES),
        (nn.BatchNorm2d(3), _IMAGES),
    ],
    "CELU": [(nn.CELU(0.7), (5,))],
    "Conv": [
        (nn.Conv2d(3, 6, (3, 2), stride=(2, 1), padding=(1, 0), groups=3), _IMAGES),
        (nn.Conv2d(3, 2, (4, 3), padding="same", dilation=2, bias=False), _IMAGES),
        (nn.Conv2d(3, 2, 2, padding="valid"), _IMAGES),
        (nn.Conv1d(3, 2, 4, padding="same"), _LINES),
        (nn.Conv3d(2, 2, 2), (2, 4, 4, 4)),
    ],
    "Dropout": [(nn.Dropout(0.4), (5,)), (nn.Dropout1d(0.4), _LINES), (nn.Dropout2d(0.4), _IMAGES)],
    "ELU": [(nn.ELU(0.7), (5,))],
    "Flatten": [(nn.Flatten(), _IMAGES), (nn.Flatten(1, 3), _IMAGES)],
    "GELU": [(nn.GELU(), (5,)), (nn.GELU("tanh"), (5,))],
    "Hardsigmoid": [(nn.Hardsigmoid(), (5,))],
    "Hardswish": [(nn.Hardswish(), (5,))],
    "Hardtanh": [(nn.Hardtanh(-0.3, 0.4), (5,))],
    "Identity": [(nn.Identity(), (5,))],
    "LayerNorm": [
        (nn.LayerNorm(12, eps=0.1), _LINES),
        (nn.LayerNorm((3, 12), bias=False), _LINES),
        (nn.LayerNorm(12, elementwise_affine=False), _LINES),
    ],
    "LeakyReLU": [(nn.LeakyReLU(0.3), (5,))],
    "Linear": [(nn.Linear(5, 2, bias=False), (5,)), (nn.Linear(12, 2), _LINES)],
    "LogSigmoid": [(nn.LogSigmoid(), (5,))],
    "LogSoftmax": [(nn.LogSoftmax(-1), _LINES)],
    "MaxPool": [(nn.MaxPool2d(3, 2, 1, 2), _IMAGES), (nn.MaxPool1d(2), _LINES)],
    "Mish": [(nn.Mish(), (5,))],
    "PReLU": [(nn.PReLU(3), _IMAGES), (nn.PReLU(), (5,))],
    "ReLU": [(nn.ReLU(), (5,)), (nn.ReLU6(), (5,))],
    "SELU": [(nn.SELU(), (5,))],
    "SiLU": [(nn.SiLU(), (5,))],
    "Sigmoid": [(nn.Sigmoid(), (5,))],
    "Softmax": [(nn.Softmax(1), _LINES), (nn.Softmax(dim=-1), (5,))],
    "Softplus": [(nn.Softplus(), (5,))],
    "Softsign": [(nn.Softsign(), (5,))],
    "Tanh": [(nn.Tanh(), (5,))],
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize(
    "name", sorted(name for name in WRITERS if hasattr(nn, name) and name != "Embedding")
)
def test_a_written_layer_answers_as_pytorch_does(name: str) -> None:
    kind = getattr(nn, name)
    start = max((key for key in LAYERS if name.startswith(key)), key=len)
    samples = [(net, row) for net, row in LAYERS[start] if type(net) is kind]
    if not samples:  # of more dimensions, which differ in nothing else
        assert name in (
            "AdaptiveAvgPool3d",
            "AdaptiveMaxPool1d",
            "AdaptiveMaxPool3d",
            "AvgPool3d",
        ) or name in (
            "BatchNorm3d",
            "Dropout3d",
            "MaxPool3d",
        )
        return
    for net, row in samples:
        content = _written(_trained(net), row)
        assert content is not None
        _check(net, content, 3 * torch.randn(4, *row))


def test_layers_that_are_left_to_the_exporter() -> None:
    for net, row in (
        (nn.BatchNorm1d(3, track_running_stats=False), (3,)),
        (nn.MaxPool2d(3, ceil_mode=True), _IMAGES),
        (nn.Conv2d(3, 2, 2, padding=1, padding_mode="circular"), _IMAGES),
        (nn.AdaptiveAvgPool2d(2), _IMAGES),
        (nn.Softplus(2.0), (5,)),
        (nn.Softmax(0), (5,)),
        (nn.Flatten(2), _IMAGES),
        (nn.Sequential(nn.Linear(5, 4), nn.GLU()), (5,)),
        (nn.Linear(5, 2).double(), (5,)),
    ):
        assert _written(net, row) is None


def _image_network() -> nn.Sequential:
    block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.SiLU())
    return nn.Sequential(nn.Conv2d(3, 8, 3), block, block, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 4))


def test_networks_with_a_block_twice_and_tied_weights() -> None:
    net = _trained(_image_network())
    content = _written(net, _IMAGES)
    assert content is not None
    _check(net, content, torch.randn(4, *_IMAGES))
    tied = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 4), nn.Linear(4, 9, bias=False))
    tied[3].weight = tied[0].weight
    content = _written(tied, (3,), "integer")
    assert content is not None
    _check(tied, content, torch.randint(0, 9, (5, 3)))


class Mixed(nn.Module):
    """Numbers and codes in, two answers out."""

    def __init__(self) -> None:
        super().__init__()
        self.codes, self.body = nn.Embedding(9, 4), nn.LSTM(7, 5, batch_first=True)
        self.mean, self.spread = nn.Linear(5, 1), nn.Linear(5, 1)

    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen = torch.cat([numbers, self.codes(codes)], dim=-1).unsqueeze(1)
        last = self.body(seen)[0][:, -1]
        return self.mean(last), nn.functional.softplus(self.spread(last))


@pytest.fixture(scope="module")
def mixed() -> tuple[Mixed, bytes]:
    net = Mixed()
    example = {"numbers": torch.randn(1, 3), "codes": torch.zeros(1, dtype=torch.long)}
    return net, onnx_of(net, example, ["mean", "spread"])


def test_several_inputs_and_outputs(mixed: tuple[Mixed, bytes]) -> None:
    net, content = mixed
    assert net.training
    answer = OnnxAnswer(content)
    assert answer.output_names == ["mean", "spread"]
    numbers, codes = torch.randn(7, 3), torch.randint(0, 9, (7,))
    with torch.inference_mode():
        expected = net.eval()(numbers, codes)
    for right, left in zip(expected, answer(numbers.double().numpy(), codes.numpy()), strict=True):
        np.testing.assert_allclose(left, right.numpy(), rtol=1e-5, atol=1e-6)
    assert [x.shape for x in answer(np.empty((0, 3)), np.empty(0))] == [(0, 1), (0, 1)]
    with pytest.raises(DataError, match="takes 2 arrays, and got 1"):
        answer(numbers.numpy())
    with pytest.raises(DataError, match=r"no answer for arrays of shape \(7, 4\), \(7,\)"):
        answer(np.ones((7, 4)), codes.numpy())


def test_nothing_of_the_writer_stays(mixed: tuple[Mixed, bytes]) -> None:
    """PyTorch's exporter leaves stack traces, with paths of whoever trained the network."""
    for trace in (b"stack_trace", b".py", __file__.encode()):
        assert trace not in mixed[1]


def test_what_cannot_be_exported_says_why() -> None:
    class Counts(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2 if float(x.sum()) > 0 else x

    with pytest.raises(ExportError, match=r"Counts cannot be written as ONNX: .*Answer with PyTorch"):
        onnx_of(Counts(), [torch.ones(2, 3)])
    with pytest.raises(ExportError, match="examples of its inputs"):
        onnx_of(nn.Linear(3, 1), [])


def test_what_networks_do_besides() -> None:
    """They write into their input, answer None beside a tensor, and are compiled."""

    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
            x += 1.0
            return x * 2, None

    content = onnx_of(torch.compile(Odd(), backend="eager"), [torch.ones(2, 3)])
    assert OnnxAnswer(content)(np.ones((3, 3)))[0].tolist() == [[4.0] * 3] * 3

    class Total(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sum()

    with pytest.raises(ExportError, match="Rows come first"):
        onnx_of(Total(), [torch.ones(2, 3)])


def test_a_batch_of_fixed_size_is_refused() -> None:
    """One that was written for the rows of its example answers no others (PyTorch's issue 148886)."""

    class Fixed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.ones(2, 3) if x.shape[0] == 2 else x

    with pytest.raises(ExportError, match="written as ONNX, and the file does not run"):
        onnx_of(Fixed(), [torch.ones(2, 3)])


@pytest.fixture(scope="module")
def plain() -> tuple[nn.Sequential, bytes]:
    net = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1))
    content = _written(net, (5,))
    assert content is not None
    return net, content


def test_many_rows_go_in_chunks_and_come_back_in_order(plain: tuple[nn.Sequential, bytes]) -> None:
    net, content = plain
    rows = CHUNK_BYTES // 20 * 2 + 7
    x = torch.randn(rows, 5)
    answer = OnnxAnswer(content, threads=2)(x.numpy())[0]
    np.testing.assert_allclose(answer, net(x).detach().numpy(), rtol=1e-5, atol=1e-5)


def test_answers_are_copied_pickled_and_shared_by_threads(plain: tuple[nn.Sequential, bytes]) -> None:
    content = plain[1]
    answer = OnnxAnswer(content)
    x = np.random.default_rng(0).normal(size=(50, 5))
    expected = answer(x)[0]
    for other in (copy.deepcopy(answer), pickle.loads(pickle.dumps(answer))):
        assert (other(x)[0] == expected).all()
    fresh = OnnxAnswer(content)
    with ThreadPoolExecutor(8) as pool:
        assert all((given[0] == expected).all() for given in pool.map(lambda _: fresh(x), range(64)))


def test_an_answer_imports_no_torch(plain: tuple[nn.Sequential, bytes], tmp_path: Path) -> None:
    net, content = plain
    (tmp_path / "net").write_bytes(content)
    code = (
        "import sys, numpy, pathlib; from outgrow.deep.graph import OnnxAnswer; "
        f"content = pathlib.Path({str(tmp_path / 'net')!r}).read_bytes(); "
        "print(OnnxAnswer(content)(numpy.ones((1, 5)))[0][0, 0]); "
        "assert 'torch' not in sys.modules and 'onnx' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(net(torch.ones(1, 5)).item(), abs=1e-6)


def _with_external_numbers(path: str) -> bytes:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, 1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=path)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 1])],
        [tensor],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(model.SerializeToString())


def test_a_strangers_graph_reads_no_file(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "secret").write_bytes(b"\0\0\0\1")
    monkeypatch.chdir(tmp_path)
    for path in ("secret", str(tmp_path / "secret"), "*/_ORT_MEM_ADDR_/*"):
        with pytest.raises(ArtifactError, match="outside of it"):
            OnnxAnswer(_with_external_numbers(path))([[1.0]])
        with pytest.raises(ArtifactError, match="outside of it"):
            network_nodes(Graph(), _with_external_numbers(path), ["x"])
    for damaged in (b"", b"nothing", b"location", _with_external_numbers("x")[:-9]):
        with pytest.raises((ArtifactError, DataError)):
            OnnxAnswer(damaged)([[1.0]])


@pytest.mark.parametrize(
    "structure",
    [
        {"layer": "Linear", "with": {"in_features": 5}, "more": 1},
        {"layer": "Sequential"},
        {"layer": "Sequential", "modules": [["9", {"layer": "Linear"}]]},
        {"layer": "Sequential", "modules": [["0", {"shared": 0}]]},
        {"layer": "Conv1d", "with": {"stride": "x"}},
        [],
        None,
    ],
)
def test_a_strangers_structure_is_refused_or_left_alone(structure: Any) -> None:
    weights = {"arrays": {"weight": np.ones((3, 4), dtype=np.float32)}, "aliases": {}, "types": {}}
    with suppress(ArtifactError):
        assert written(structure, weights, [Input((5,))]) is None


class Networked(Regressor):
    """A model that ends in a network, as one with a trainer would."""

    def __init__(self, exported: bool = False) -> None:
        self.exported = exported

    def _fit(self, view: MatrixView) -> None:
        torch.manual_seed(0)
        width = view.width
        net = nn.Sequential(nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, 1))
        content = onnx_of(net, [torch.ones(2, width)]) if self.exported else _written(net, (width,))
        assert content is not None
        self.content_ = content

    def _predict(self, X: np.ndarray) -> np.ndarray:
        return OnnxAnswer(self.content_)(X)[0][:, 0].astype(np.float64)

    def _to_onnx(self, table: Table) -> Answer:
        graph = table.graph
        (answer,) = network_nodes(graph, self.content_, [features(self.features_, table, "Networked")])
        return Answer(graph.node("Squeeze", answer, graph.constant([1], np.int64)))


def _flights(rows: int = 300) -> pa.Table:
    rng = np.random.default_rng(0)
    hour = rng.integers(5, 24, rows)
    columns = {"carrier": rng.choice(["AA", "B6"], rows), "hour": hour, "wind": rng.normal(size=rows)}
    return pa.table({**columns, "delay": hour * 2.0 + rng.normal(size=rows)})


@pytest.mark.parametrize("exported", [False, True])
def test_a_pipeline_with_a_network_is_one_file(tmp_path: Path, exported: bool) -> None:
    flights = _flights()
    steps = [
        og.OneHotEncoder(columns=og.categorical(), sparse_output=False),
        og.StandardScaler(columns=og.numeric()),
        Networked(exported),
    ]
    model = og.Pipeline(steps).fit(flights, "delay")
    expected = model.predict(flights)["prediction"].to_numpy()
    model.save(tmp_path / "model")
    assert (og.load(tmp_path / "model").predict(flights)["prediction"].to_numpy() == expected).all()
    model.to_onnx(tmp_path / "one.onnx")
    content = (tmp_path / "one.onnx").read_bytes()
    found = run(content, feeds(flights, model.columns_))["prediction"]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    report = og.quantize_onnx(tmp_path / "one.onnx", tmp_path / "int8.onnx", flights, "delay")
    assert report.products == 2
    assert report.agreement > 0.95
    static = og.quantize_onnx(
        tmp_path / "one.onnx", tmp_path / "int8.onnx", flights, static=True, overwrite=True
    )
    assert static.products == 2
    assert static.agreement > 0.9
