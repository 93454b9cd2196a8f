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
