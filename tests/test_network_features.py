"""Features of pretrained networks: equal to torch's own answers, for images, texts and vectors."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn

import outgrow as og
from outgrow.errors import DataError, InputNotFoundError, ParameterError, SchemaError
from outgrow.testing import EngineCase, check_estimator

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (7, 8, 6, 3), dtype=np.uint8)
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


class Conv(nn.Module):
    """A convolution with what makes training and evaluation differ, and a head that is cut off."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2), nn.BatchNorm2d(5), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(5, 2)
        self.body[1].running_mean += 0.1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).mean((2, 3)))


def normalized(pixels: np.ndarray) -> torch.Tensor:
    scaled = (pixels / 255 - np.array(MEAN)) / np.array(STD)
    return torch.from_numpy(scaled.transpose(0, 3, 1, 2).astype(np.float32))


def images(**further: Any) -> og.NetworkFeatures:
    given = {"image_size": (8, 6), "image_mean": MEAN, "image_std": STD, "batch_size": 3, **further}
    return og.NetworkFeatures(given.pop("network", None) or Conv(), **given)


def numbers(table: Any) -> np.ndarray:
    return np.column_stack([table[name].to_numpy() for name in table.column_names if name[:6] == "image_"])


ROWS = pa.table({"image": list(map(png, PIXELS)), "label": list("abababa")})


def test_features_are_what_torch_answers(engine: EngineCase) -> None:
    net = Conv().eval()
    with torch.no_grad():
        whole, body = net(normalized(PIXELS)), net.body(normalized(PIXELS))
    rows = ROWS.append_column("n", pa.array(range(7)))
    for layer, expected in ((None, whole), ("body", body.mean((2, 3))), ("body.0", None)):
        step = images(layer=layer).fit(engine.open(rows))
        made = step.transform(engine.open(rows)).to_arrow().sort_by("n")
        if expected is not None:
            np.testing.assert_allclose(numbers(made), expected, atol=1e-5)
    flat = numbers(images(layer="body", pooling=None).fit_transform(ROWS))
    np.testing.assert_allclose(flat, body.flatten(1), atol=1e-5)
    first = numbers(images(layer="body", pooling="first").fit_transform(ROWS))
    np.testing.assert_allclose(first, body[:, :, 0, 0], atol=1e-5)
    lengths = np.linalg.norm(numbers(images(layer="body", normalize=True).fit_transform(ROWS)), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)


def test_a_fit_does_not_change_the_module() -> None:
    net = Conv().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    images(network=net, layer="body").fit(ROWS)
    assert net.training
    assert net.body[3].training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not net.body._forward_hooks


def test_the_same_network_as_file_bytes_and_module(tmp_path: Path) -> None:
    given = images()
    expected = numbers(given.fit_transform(ROWS))
    (tmp_path / "net.onnx").write_bytes(given.graph_)
    for network in (given.graph_, str(tmp_path / "net.onnx"), tmp_path / "net.onnx"):
        step = og.NetworkFeatures(network, image_mean=MEAN, image_std=STD)
        np.testing.assert_allclose(numbers(step.fit_transform(ROWS)), expected, atol=1e-6)
    cut = og.NetworkFeatures(given.graph_, layer="/body/body.2/Relu", image_mean=MEAN, image_std=STD)
    body = numbers(images(layer="body").fit_transform(ROWS))
    np.testing.assert_allclose(numbers(cut.fit_transform(ROWS)), body, atol=1e-6)
    assert b"head.weight" not in cut.graph_
    (tmp_path / "net.onnx").unlink()
    with pytest.raises(InputNotFoundError, match=r"net\.onnx"):
        og.NetworkFeatures(tmp_path / "net.onnx").fit(ROWS)


def test_saved_with_a_model_and_asked_without_torch(tmp_path: Path) -> None:
    steps = [images(layer="body", columns="image"), og.StandardScaler(), og.LogisticRegression()]
    pipe = og.Pipeline(steps).fit(ROWS, "label")
    pipe.save(tmp_path / "model")
    expected = pipe.predict_proba(ROWS)["probability_a"].to_pylist()
    loaded = og.load(tmp_path / "model")
    assert loaded.predict_proba(ROWS)["probability_a"].to_pylist() == expected
    assert "<ONNX graph of" in repr(loaded)
    assert og.load(tmp_path / "model").fit(ROWS, "label").predict(ROWS) == pipe.predict(ROWS)
    code = (
        "import sys, outgrow as og, pyarrow.parquet as pq\n"
        f"rows = pq.read_table({str(tmp_path / 'rows.parquet')!r})\n"
        f"print(og.load({str(tmp_path / 'model')!r}).predict_proba(rows)['probability_a'].to_pylist())\n"
        "assert 'torch' not in sys.modules\n"
    )
    pq.write_table(ROWS, tmp_path / "rows.parquet")
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    np.testing.assert_allclose(json.loads(asked.stdout), expected, atol=1e-12)


def test_features_are_kept_for_later_sessions(tmp_path: Path) -> None:
    pq.write_table(ROWS, tmp_path / "rows.parquet")
    rows = og.read(tmp_path / "rows.parquet")
    step = images(layer="body").fit(rows)
    kept = step.transform(rows).cache(tmp_path / "kept", keep=True)
    og.LogisticRegression().fit(kept, "label")
    again = images(layer="body").fit(rows).transform(rows).cache(tmp_path / "kept", keep=True)
    assert len(list((tmp_path / "kept").glob("kept-*"))) == 1
    assert again.to_arrow().equals(kept.to_arrow())
    other = images(layer="body", image_mean=0.5).fit(rows)
    other.transform(rows).cache(tmp_path / "kept", keep=True)
    assert len(list((tmp_path / "kept").glob("kept-*"))) == 2
    with pytest.raises(ParameterError, match="cannot be told from others"):  # the files may change
        images(folder=str(tmp_path)).fit(rows).transform(rows).cache(tmp_path / "kept", keep=True)


# ---- images of many kinds ----------------------------------------------------------------------------------


def test_images_that_are_missing_or_broken() -> None:
    rows = pa.table({"image": [png(PIXELS[0]), None, b"no image"], "path": ["a.png", "b.png", "c.png"]})
    with pytest.raises(DataError, match=r"\(c\.png\): 8 bytes cannot be read"):
        images().fit_transform(rows)
    made = numbers(images(errors="missing").fit_transform(rows))
    assert np.isfinite(made[0]).all()
    assert np.isnan(made[1:]).all()
    assert images(errors="missing").fit(rows).transform(rows.slice(0, 0)).num_rows == 0


def test_images_by_path(tmp_path: Path) -> None:
    for number, pixels in enumerate(PIXELS):
        (tmp_path / f"{number}.png").write_bytes(png(pixels))
    paths = pa.table({"image": [f"{number}.png" for number in range(7)]})
    made = images(folder=str(tmp_path)).fit_transform(paths)
    np.testing.assert_array_equal(numbers(made), numbers(images().fit_transform(ROWS)))
    with pytest.raises(ParameterError, match="folder"):
        images(columns="image").fit(paths)


def channels_last(dtype: torch.dtype) -> bytes:
    """As exports of Keras are: pixels as they are, channels at the end."""

    class Last(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.to(torch.float32) * 2

    file = io.BytesIO()
    example = (torch.zeros(2, 8, 6, 3, dtype=dtype),)
    axes = {"x": {0: "n"}, "y": {0: "n"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Last(), example, file, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes=axes
        )
    return file.getvalue()


@pytest.mark.parametrize(("dtype", "scale"), [(torch.uint8, 1), (torch.float32, 255)])
def test_graphs_with_channels_last(dtype: torch.dtype, scale: int) -> None:
    made = numbers(og.NetworkFeatures(channels_last(dtype)).fit_transform(ROWS))
    np.testing.assert_allclose(made * scale, 2 * PIXELS.mean(axis=(1, 2)), rtol=1e-5)


# ---- texts -------------------------------------------------------------------------------------------------


def tokenizer() -> str:
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "red", "green", "blue", "sky", "is", "the"]
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 1), ("[SEP]", 2)])
    made.enable_padding(length=64)  # as that of all-MiniLM-L6-v2 has it
    return str(made.to_str())


class Words(nn.Module):
    """One layer of attention over tokens."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(10, 8)
        self.parts = nn.Linear(8, 24)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        query, key, value = self.parts(self.table(tokens)).chunk(3, dim=2)
        return nn.functional.scaled_dot_product_attention(query, key, value, mask[:, None, :].bool())


TEXTS = ["the sky is blue", "red", "", "the sky is blue " * 20, None, "green green", "is the sky red"]


def test_texts_do_not_hang_on_those_beside_them() -> None:
    """Padding must count in no mean, and an empty text is one."""
    rows = pa.table({"text": TEXTS})
    step = og.NetworkFeatures(Words(), tokenizer=tokenizer(), max_length=16, batch_size=4).fit(rows)
    together = np.column_stack([column.to_numpy() for column in step.transform(rows).columns])
    net, cut = Words().eval(), Tokenizer.from_str(tokenizer())
    cut.no_padding()
    cut.enable_truncation(16)
    for row, text in enumerate(TEXTS):
        if text is None:
            assert np.isnan(together[row]).all()
            continue
        ids = torch.tensor([cut.encode(text).ids])
        with torch.no_grad():
            expected = net(ids, torch.ones_like(ids))[0].mean(0)
        np.testing.assert_allclose(together[row], expected, atol=1e-5)


def test_texts_in_a_pipeline(tmp_path: Path) -> None:
    texts = ["the sky is blue", "the sky is red"] * 20
    (tmp_path / "tokenizer.json").write_text(tokenizer())
    rows = pa.table({"text": texts, "color": [text.split()[-1] for text in texts]})
    features = og.NetworkFeatures(Words(), tokenizer=tmp_path / "tokenizer.json", normalize=True)
    pipe = og.Pipeline([features, og.LogisticRegression(C=100)]).fit(rows, "color")
    assert pipe.evaluate(rows, "color")["accuracy"] == 1
    pipe.save(tmp_path / "model")
    (tmp_path / "tokenizer.json").unlink()
    assert og.load(tmp_path / "model").predict(rows).equals(pipe.predict(rows))
    with pytest.raises(InputNotFoundError, match="tokenizer"):
        features.fit(rows, "color")


# ---- vectors -----------------------------------------------------------------------------------------------


def vectors(values: np.ndarray) -> pa.Table:
    flat = pa.array(values.ravel())
    return pa.table({"v": pa.FixedSizeListArray.from_arrays(flat, values.shape[1])})


def test_vectors() -> None:
    values = RANDOM.normal(size=(9, 4))
    net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))
    step = og.NetworkFeatures(net, layer="1").fit(vectors(values))
    made = step.transform(vectors(values))
    with torch.no_grad():
        expected = net[:2](torch.from_numpy(values).float()).numpy()
    made = np.sort(np.column_stack([column.to_numpy() for column in made.columns]), axis=0)
    np.testing.assert_allclose(made, np.sort(expected, axis=0), atol=1e-6)


def test_the_checks_of_all_estimators(tmp_path: Path) -> None:
    class Mean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3))

    class Features(og.NetworkFeatures):
        @classmethod
        def _test_columns(cls, random: np.random.Generator, rows: int) -> dict[str, Any]:
            pixels = random.integers(0, 256, (3, rows, 3, 4, 3), dtype=np.uint8)
            return {name: list(map(png, part)) for name, part in zip("abc", pixels, strict=True)}

    Features(Mean(), image_size=(3, 4)).fit(ROWS).save(tmp_path / "features")
    graph = og.load(tmp_path / "features").network  # which prints as that of a loaded one
    check_estimator(Features(graph, image_size=(3, 4)))


# ---- what does not go together -----------------------------------------------------------------------------


class Fixed(nn.Module):
    """Its graph holds for as many tokens as it was written with."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 8)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.table(tokens) + torch.arange(int(tokens.shape[1]))[:, None]


@pytest.mark.parametrize(
    ("change", "kind", "reason"),
    [
        ({"layer": "tail"}, ParameterError, r"no submodule of that name. It has \['body'"),
        ({"image_size": None}, ParameterError, "any size"),
        ({"image_size": (8,)}, ParameterError, "height and width in pixels"),
        ({"image_size": (1, 1)}, ParameterError, "does not take inputs of"),
        ({"image_mean": [0.5, 0.5]}, ParameterError, "takes 3 channels"),
        ({"image_std": 0.0}, ParameterError, "positive number"),
        ({"network": b"no graph"}, ParameterError, "cannot run the graph"),
        ({"network": b"no graph", "layer": "x"}, ParameterError, "are no ONNX graph"),
        ({"network": 5}, ParameterError, "give the path of an ONNX file"),
        (
            {"network": Fixed(), "tokenizer": tokenizer()},
            ParameterError,
            "for other numbers of rows or tokens",
        ),
        ({"columns": "label"}, ParameterError, "paths of files only where the folder is named"),
        ({"tokenizer": "{}"}, ParameterError, "cannot be read"),
        ({"network": nn.Linear(4, 2)}, ParameterError, "does not take inputs of"),
        ({"network": nn.LSTM(6, 2)}, ParameterError, "is no plain graph|gives a tuple"),
    ],
)
def test_what_cannot_be(change: dict[str, Any], kind: type, reason: str) -> None:
    with pytest.raises(kind, match=reason):
        images(**change).fit(ROWS)


def test_columns_that_are_none() -> None:
    with pytest.raises(SchemaError, match=r"\{'a': 'int64'\} are none of these"):
        images().fit(pa.table({"a": [1, 2]}))
    with pytest.raises(ParameterError, match="a row of the column 5 numbers"):
        og.NetworkFeatures(images().fit(ROWS).graph_, columns="v").fit(vectors(np.zeros((2, 5))))
