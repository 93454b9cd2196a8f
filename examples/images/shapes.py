"""Drawn shapes on parts of photographs: a task in which no pixel says anything by itself."""

from __future__ import annotations

import io
import math

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

SHAPES = ["circle", "triangle", "square", "hexagon", "star", "cross"]
_CORNERS = {"triangle": 3, "square": 4, "hexagon": 6}
_CROSS = [
    (-1, -3),
    (-1, -1),
    (-3, -1),
    (-3, 1),
    (-1, 1),
    (-1, 3),
    (1, 3),
    (1, 1),
    (3, 1),
    (3, -1),
    (1, -1),
    (1, -3),
]


def outline(shape: str) -> list[tuple[float, float]]:
    """The corners of a shape within the unit circle."""
    if shape == "cross":
        return [(x / math.sqrt(10), y / math.sqrt(10)) for x, y in _CROSS]
    corners = _CORNERS.get(shape, 10 if shape == "star" else 60)
    radii = [0.45 if shape == "star" and n % 2 else 1.0 for n in range(corners)]
    angles = [2 * math.pi * n / corners for n in range(corners)]
    return [(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


def picture(random: np.random.Generator, photo: Image.Image, shape: str, size: int) -> bytes:
    """A JPEG file: a shape of any colour, size, angle and place on a part of a photo."""
    side = int(random.integers(size, 200))
    left, top = random.integers(0, photo.width - side), random.integers(0, photo.height - side)
    image = photo.crop((left, top, left + side, top + side)).resize((2 * size, 2 * size))
    radius, turn = random.uniform(0.3, 0.6) * size, random.uniform(0, 2 * math.pi)
    x, y = random.uniform(radius, 2 * size - radius, 2)
    corners = [
        (
            x + radius * (a * math.cos(turn) - b * math.sin(turn)),
            y + radius * (a * math.sin(turn) + b * math.cos(turn)),
        )
        for a, b in outline(shape)
    ]
    ImageDraw.Draw(image).polygon(corners, fill=tuple(random.integers(0, 256, 3).tolist()))
    file = io.BytesIO()
    image.resize((size, size), Image.Resampling.LANCZOS).save(file, "jpeg", quality=90)
    return file.getvalue()


def table(rows: int, size: int = 64, seed: int = 0) -> pa.Table:
    """Pictures with their shapes: columns `image`, `label`.

    Parameters
    ----------
    rows : how many.
    size : of their sides.
    seed : another one draws others.
    """
    random = np.random.default_rng(seed)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    labels = [SHAPES[n] for n in random.integers(0, len(SHAPES), rows)]
    images = [picture(random, photos[int(random.integers(0, 2))], label, size) for label in labels]
    return pa.table({"image": images, "label": labels})
