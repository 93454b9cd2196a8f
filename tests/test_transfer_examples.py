"""The networks of the examples on transfer learning: real weights answer as they should."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import nn

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def lite(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXAMPLES / "images")
    import efficientnet_lite

    yield efficientnet_lite
    sys.modules.pop("efficientnet_lite")


def test_the_temple_is_a_stupa_and_the_tail_goes_on_where_the_trunk_ends(lite: Any, tmp_path: Path) -> None:
    network = lite.pretrained(tmp_path)
    temple = Image.fromarray(load_sample_images().images[0]).resize((96, 96), Image.Resampling.BICUBIC)
    pixels = np.asarray(temple, dtype=np.float32).transpose(2, 0, 1)[None] / 255
    x = torch.from_numpy((pixels - np.float32(lite.MEAN)) / np.float32(lite.STD))
    with torch.no_grad():
        assert network(x).softmax(1)[0, 832] > 0.9  # 'stupa, tope' of ImageNet
        tail = lite.pretrained_tail(network, 1000).eval()
        tail.classifier.load_state_dict(network.classifier.state_dict())
        trunk = network.blocks[: lite.FROZEN](network.stem(x))
        torch.testing.assert_close(tail(trunk), network(x))
    assert trunk.shape == (1, lite.TRUNK_CHANNELS, 3, 3)
    assert torch.equal(lite.pretrained(tmp_path)(x), network(x))  # of the safetensors


def test_drawn_shapes_are_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES / "images")
    import shapes

    rows = shapes.table(12, seed=3)
    assert rows.equals(shapes.table(12, seed=3))
    assert set(rows["label"].to_pylist()) <= set(shapes.SHAPES)
    assert all(np.hypot(*corner) <= 1 + 1e-9 for shape in shapes.SHAPES for corner in shapes.outline(shape))


def test_layers_of_minilm_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES / "text")
    import minilm

    torch.manual_seed(0)
    layer = minilm.Layer(8, 2).eval()
    peer = nn.TransformerEncoderLayer(8, 2, 32, 0.0, "gelu", layer_norm_eps=1e-12, batch_first=True).eval()
    attention, parts = peer.self_attn, (layer.query, layer.key, layer.value)
    attention.in_proj_weight.data = torch.cat([part.weight.data for part in parts])
    attention.in_proj_bias.data = torch.cat([part.bias.data for part in parts])
    for ours, theirs in (
        (layer.out, attention.out_proj),
        (layer.norm, peer.norm1),
        (layer.up, peer.linear1),
        (layer.down, peer.linear2),
        (layer.last_norm, peer.norm2),
    ):
        theirs.load_state_dict(ours.state_dict())
    x, mask = torch.randn(3, 5, 8), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]).bool()
    with torch.no_grad():
        given = layer(x, mask[:, None, None, :])
        expected = peer(x, src_key_padding_mask=~mask)
    torch.testing.assert_close(given[mask], expected[mask], atol=1e-5, rtol=1e-4)
