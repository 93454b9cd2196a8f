"""Columns of images: each operation equal to Pillow's or SciPy's, from bytes, paths and Spark's images."""

from __future__ import annotations

import asyncio
import base64
import io
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter, ImageOps
from sklearn.datasets import load_digits, load_sample_images

import outgrow as og
from outgrow.errors import DataError, InputNotFoundError, ParameterError, SchemaError
from outgrow.serve.http.app import application
from outgrow.serve.http.deployment import Model
from outgrow.serve.http.state import Settings
from outgrow.testing import EngineCase

PHOTOS = [Image.fromarray(photo).resize((60, 41)) for photo in load_sample_images().images]


def encoded(image: Image.Image, format: str = "png", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def photos(format: str = "png") -> pa.Table:
    return pa.table({"photo": [encoded(photo, format) for photo in PHOTOS]})


def pixels(table: pa.Table, operations: list[Any], **parameters: Any) -> np.ndarray:
    made = og.ImageTransformer(operations, **parameters).fit_transform(table)
    return np.column_stack([column.to_numpy() for column in made.columns])


def flat(images: list[Any]) -> np.ndarray:
    return np.array([np.asarray(image, dtype=np.float64).ravel() for image in images])


@pytest.mark.parametrize(
    ("given_operation", "peer"),
    [
        ({"resize": [20, 33]}, lambda one: one.resize((33, 20), Image.Resampling.BILINEAR)),
        (
            {"resize": {"size": [50, 66], "resample": "lanczos"}},
            lambda one: one.resize((66, 50), Image.Resampling.LANCZOS),
        ),
        ({"resize": 20}, lambda one: one.resize((29, 20), Image.Resampling.BILINEAR)),
        ({"crop": [3, 5, 10, 20]}, lambda one: one.crop((5, 3, 25, 13))),
        ({"center_crop": [11, 20]}, lambda one: one.crop((20, 15, 40, 26))),
        ("flip", ImageOps.mirror),
        ({"flip": "vertical"}, ImageOps.flip),
        ({"rotate": 90}, lambda one: one.transpose(Image.Transpose.ROTATE_90)),
        ({"rotate": -90}, lambda one: one.transpose(Image.Transpose.ROTATE_270)),
        ({"rotate": 17}, lambda one: one.rotate(17)),
        (
            {"rotate": {"angle": 17.5, "resample": "bicubic"}},
            lambda one: one.rotate(17.5, Image.Resampling.BICUBIC),
        ),
        ("grayscale", lambda one: one.convert("L")),
        ({"rescale": [0.5, -3]}, lambda one: np.asarray(one) * 0.5 - 3),
    ],
)
def test_an_operation_is_that_of_pillow(given_operation: Any, peer: Any) -> None:
    np.testing.assert_array_equal(pixels(photos(), [given_operation]), flat([peer(one) for one in PHOTOS]))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("filter", ["sobel", "laplace"])
def test_filters_are_those_of_scipy(filter: str, mode: str) -> None:
    def peer(channel: np.ndarray) -> np.ndarray:
        if filter == "laplace":
            return scipy.ndimage.laplace(channel)
        return np.hypot(scipy.ndimage.sobel(channel, 0), scipy.ndimage.sobel(channel, 1))

    expected = []
    for one in PHOTOS:
        channels = np.atleast_3d(np.asarray(one.convert(mode), dtype=np.float64))
        expected.append(np.dstack([peer(channels[..., k]) for k in range(channels.shape[2])]))
    np.testing.assert_array_equal(pixels(photos(), [filter], mode=mode), flat(expected))


def test_operations_go_on_with_fractions() -> None:
    made = pixels(photos(), ["sobel", {"resize": [4, 4]}, "grayscale"], mode="L")
    edges = [
        np.hypot(*(scipy.ndimage.sobel(np.asarray(one.convert("L"), float), k) for k in (0, 1)))
        for one in PHOTOS
    ]
    small = [
        Image.fromarray(one.astype(np.float32)).resize((4, 4), Image.Resampling.BILINEAR) for one in edges
    ]
    np.testing.assert_array_equal(made, flat(small))


@pytest.mark.parametrize("bins", [256, 16, 7])
def test_histograms_are_shares_of_pixels(bins: int) -> None:
    made = og.ImageTransformer([{"histogram": bins}]).fit_transform(photos())
    for row, photo in enumerate(PHOTOS):
        for channel in range(3):
            levels = np.asarray(photo)[..., channel].ravel()
            counts = np.bincount(levels.astype(int) * bins // 256, minlength=bins)
            names = [f"photo_{channel}_{i}" for i in range(bins)]
            shares = [made[name][row].as_py() for name in names]
            np.testing.assert_allclose(shares, counts / levels.size, rtol=1e-15)
    if bins == 256:
        whole = pixels(photos(), ["histogram"])[0] * 60 * 41
        np.testing.assert_allclose(whole, PHOTOS[0].histogram(), atol=1e-9)


def test_sizes_and_bytes_again() -> None:
    table = pa.table({"photo": [encoded(PHOTOS[0]), encoded(PHOTOS[1].resize((5, 8)))], "y": [1, 2]})
    sizes = og.ImageTransformer(["size"]).fit_transform(table)
    assert sizes.to_pylist()[1] == {"photo_height": 8.0, "photo_width": 5.0, "photo_channels": 3.0, "y": 2}
    again = og.ImageTransformer([{"center_crop": [6, 4]}, {"encode": "png"}]).fit_transform(table)
    assert again.schema.field("photo").type == pa.binary()
    image = Image.open(io.BytesIO(again["photo"][0].as_py()))
    np.testing.assert_array_equal(np.asarray(image), np.asarray(PHOTOS[0].crop((28, 18, 32, 24))))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_images_of_any_size_and_mode(data: st.DataObject) -> None:
    """Palettes, one bit, sixteen bits, alpha: what Pillow makes of them in the mode that is asked for."""
    source = data.draw(st.sampled_from(["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I;16"]))
    height, width = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    mode = data.draw(st.sampled_from(["L", "RGB", "RGBA"]))
    numbers = np.random.default_rng(height * 10 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    gray, format = numbers[..., 0], "tiff" if source == "CMYK" else "png"
    image = Image.fromarray(gray * np.uint16(257) if source == "I;16" else numbers)
    image = image if source == "I;16" else image.convert(source)
    read = Image.fromarray(gray) if source == "I;16" else Image.open(io.BytesIO(encoded(image, format)))
    made = pixels(pa.table({"photo": [encoded(image, format)]}), [], mode=mode)
    np.testing.assert_array_equal(made, flat([read.convert(mode)]))


# ---- where images come from --------------------------------------------------------------------------------


def spark_images() -> pa.Table:
    """The rows of Spark's image source, blue first."""
    rows = [
        {
            "origin": f"file:/photos/{place}.png",
            "height": photo.height,
            "width": photo.width,
            "nChannels": 3,
            "mode": 16,
            "data": np.asarray(photo)[..., ::-1].tobytes(),
        }
        for place, photo in enumerate(PHOTOS)
    ]
    kinds = {"height": pa.int32(), "width": pa.int32(), "nChannels": pa.int32(), "mode": pa.int32()}
    fields = [("origin", pa.string()), *kinds.items(), ("data", pa.binary())]
    return pa.table({"photo": pa.array(rows, pa.struct(fields))})


def test_images_of_spark_and_paths(tmp_path: Path) -> None:
    expected = flat(PHOTOS)
    np.testing.assert_array_equal(pixels(spark_images(), []), expected)
    for place, photo in enumerate(PHOTOS):
        photo.save(tmp_path / f"{place}.png")
    table = pa.table({"photo": ["0.png", "1.png"]})
    np.testing.assert_array_equal(pixels(table, [], columns="photo", folder=str(tmp_path)), expected)
    with pytest.raises(ParameterError, match="Give folder="):
        og.ImageTransformer([], columns="photo").fit(table)
    for path in ("../secret.png", "/etc/passwd"):
        with pytest.raises(DataError, match="leads out of the folder"):
            pixels(pa.table({"photo": [path]}), [], columns="photo", folder=str(tmp_path))
    with pytest.raises(DataError, match=r"Row 0.*'2\.png'.*cannot be read"):
        pixels(pa.table({"photo": ["2.png"]}), [], columns="photo", folder=str(tmp_path))


def test_no_image_and_broken_images() -> None:
    good = encoded(PHOTOS[0])
    missing = pixels(pa.table({"photo": [good, None]}), [{"resize": [2, 2]}])
    assert np.isfinite(missing[0]).all()
    assert np.isnan(missing[1]).all()
    for broken in (b"", b"no image", good[: len(good) // 2]):
        table = pa.table({"photo": [good, broken]})
        with pytest.raises(DataError, match=rf"Row 1 of the batch: {len(broken)} bytes cannot be read"):
            pixels(table, [{"resize": [2, 2]}])
        assert np.isnan(pixels(table, [{"resize": [2, 2]}], errors="missing")[1]).all()


def test_files_that_hold_no_image_are_named(tmp_path: Path) -> None:
    for name, data in (("a.png", encoded(PHOTOS[0])), ("b.png", b"no image")):
        (tmp_path / name).write_bytes(data)
    steps = [{"resize": [2, 2]}]
    wanted = r"\(b\.png\): 8 bytes cannot be read as an image \(none of BMP, GIF.*errors='missing'"
    with pytest.raises(DataError, match=wanted):
        og.ImageTransformer(steps).fit_transform(og.read(tmp_path, format="images")).to_arrow()
    by_path = og.ImageTransformer(steps, columns="photo", folder=str(tmp_path))
    with pytest.raises(DataError, match=wanted):
        by_path.fit_transform(pa.table({"photo": ["a.png", "b.png"]}))


def test_an_image_that_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    with pytest.raises(DataError, match="the image is too large"):
        pixels(photos(), [{"resize": [2, 2]}])


def test_images_of_several_sizes_are_refused() -> None:
    table = pa.table({"photo": [encoded(PHOTOS[0]), encoded(PHOTOS[1].resize((5, 8)))]})
    with pytest.raises(DataError, match=r"heights 8 to 41, widths 5 to 60.*resize"):
        og.ImageTransformer().fit(table)
    step = og.ImageTransformer().fit(photos())
    with pytest.raises(DataError, match=r"shape \(8, 5, 3\).*those of the fit \(41, 60, 3\)"):
        step.transform(table.slice(1))
    with pytest.raises(DataError, match="no part of 9 x 9"):
        og.ImageTransformer([{"center_crop": [9, 9]}]).fit_transform(table)
    with pytest.raises(DataError, match="has no image"):
        og.ImageTransformer().fit(pa.table({"photo": pa.array([None], pa.binary())}))


@pytest.mark.parametrize(
    ("operations", "reason"),
    [
        (["blur"], "'blur' is no operation on images"),
        ([{"resize": [3, 3], "crop": []}], "is no operation"),
        ([{"resize": [3]}], "these are 2 whole numbers of at least 1"),
        ([{"resize": {"size": 3, "resample": "best"}}], "it is one of"),
        ([{"resize": {"length": 3}}], "The parameters of 'resize' are: size, resample"),
        ([{"crop": [0, 0, 1]}], "missing 1 required positional argument"),
        ([{"crop": [-1, 0, 1, 1]}], "of at least 0"),
        ([{"flip": "up"}], "'horizontal' or 'vertical'"),
        ([{"rotate": "left"}], "a number of degrees"),
        ([{"grayscale": 3}], "it takes none"),
        ([{"histogram": 0}], "from 1 to 256"),
        ([{"encode": "gif2"}], "'png', 'jpeg'"),
        (["size", "flip"], "'size' gives no image"),
        ("flip", "give a list of operations"),
    ],
)
def test_operations_that_are_none(operations: Any, reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        og.ImageTransformer(operations).fit(photos())


def test_columns_that_hold_no_images() -> None:
    table = pa.table({"photo": [encoded(PHOTOS[0])], "n": [1.0], "photo_0": [5]})
    with pytest.raises(SchemaError, match=r"\['n'\] are none"):
        og.ImageTransformer(columns=["photo", "n"]).fit(table)
    made = og.ImageTransformer([{"resize": [1, 2]}], mode="L").fit_transform(table)
    assert made.column_names == ["photo_0_2", "photo_1", "n", "photo_0"]


def test_a_folder_of_images(tmp_path: Path) -> None:
    for label, photo in zip(["flower", "temple"], PHOTOS, strict=True):
        (tmp_path / label).mkdir()
        photo.save(tmp_path / label / "one.PNG")
        (tmp_path / label / "notes.txt").write_text("no image")
    rows = og.read(tmp_path, format="images")
    assert rows.select("path", "label").to_arrow().to_pylist() == [
        {"path": "flower/one.PNG", "label": "flower"},
        {"path": "temple/one.PNG", "label": "temple"},
    ]
    np.testing.assert_array_equal(pixels(rows.select("image").to_arrow(), []), flat(PHOTOS))
    assert rows.where(og.col("label") == "temple").count() == 1
    with pytest.raises(InputNotFoundError, match=r"ends in \.jpg"):
        og.read(tmp_path / "none", format="images")
    (tmp_path / "temple" / "one.PNG").unlink()
    with pytest.raises(InputNotFoundError, match="is not there any more"):
        rows.count() and rows.to_arrow()


# ---- in a pipeline -----------------------------------------------------------------------------------------


def digits(rows: int = 300) -> pa.Table:
    data = load_digits()
    images = [Image.fromarray((16 * image).astype(np.uint8).clip(0, 255)) for image in data.images[:rows]]
    return pa.table({"image": [encoded(image) for image in images], "digit": data.target[:rows]})


def pipeline() -> og.Pipeline:
    steps = [{"resize": [12, 12]}, {"rescale": 1 / 255}]
    return og.Pipeline([og.ImageTransformer(steps, mode="L"), og.LogisticRegression(C=10.0)])


def test_digits_on_every_engine_and_saved(engine: EngineCase, tmp_path: Path) -> None:
    table = digits()
    pipe = pipeline().fit(engine.open(table), "digit")
    assert pipe.columns_ == {"image": "binary"}
    assert pipe.evaluate(engine.open(table), "digit")["accuracy"] > 0.97
    pipe.save(tmp_path / "digits")
    loaded = og.load(tmp_path / "digits")
    np.testing.assert_allclose(
        np.sort(loaded.predict_proba(engine.open(table)).to_arrow()["probability_3"].to_numpy()),
        np.sort(pipeline().fit(table, "digit").predict_proba(table)["probability_3"].to_numpy()),
        atol=1e-9,
    )


def test_the_server_takes_images(tmp_path: Path) -> None:
    table = digits(100)
    pipe = pipeline().fit(table, "digit")
    pipe.save(tmp_path / "digits", input_example=table)
    app = application(Settings({"digits": Model(str(tmp_path / "digits"))}))

    async def ask(path: str, body: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.post(path, json=body)

    texts = [base64.b64encode(image).decode() for image in table["image"].to_pylist()]
    expected = pipe.predict(table)["prediction"].to_pylist()
    rows = [{"image": text} for text in texts]
    assert asyncio.run(ask("/predict", {"rows": rows})).json()["predictions"] == expected
    tensor = {"name": "image", "shape": [100], "datatype": "BYTES", "data": texts}
    answered = asyncio.run(ask("/v2/models/digits/infer", {"inputs": [tensor]})).json()
    assert answered["outputs"][0]["data"] == expected
    refused = asyncio.run(ask("/predict", {"rows": [{"image": "no base64!"}]}))
    assert refused.status_code == 422
    assert "'image'" in refused.text


def test_the_filter_of_pillow_finds_the_same_edges() -> None:
    """Pillow's kernel of edges is -1 around 8, SciPy's Laplace -1 around 4: they agree where edges are."""
    gray = [one.convert("L") for one in PHOTOS]
    kernel = ImageFilter.Kernel((3, 3), [0, 1, 0, 1, -4, 1, 0, 1, 0], scale=1, offset=0)
    made = pixels(photos(), ["grayscale", "laplace"]).reshape(-1, 41, 60)
    for ours, photo in zip(made, gray, strict=True):
        peer = np.asarray(photo.filter(kernel), dtype=float)[1:-1, 1:-1]
        np.testing.assert_array_equal(np.clip(ours, 0, 255)[1:-1, 1:-1], peer)


# ---- what people's files are like --------------------------------------------------------------------------


def one(data: bytes, mode: str = "RGB", **parameters: Any) -> np.ndarray:
    """The pixels of one image, in shape (height, width, channels)."""
    rows = pa.table({"photo": [data]})
    model = og.ImageTransformer([], mode=mode, **parameters).fit(rows)
    made = model.transform(rows)
    return np.array([column[0].as_py() for column in made.columns]).reshape(model.shapes_["photo"])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_images_are_turned_as_their_camera_says(orientation: int, format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    flags = {"lossless": True} if format == "webp" else {"quality": 100} if format == "jpeg" else {}
    data = encoded(PHOTOS[0], format, exif=exif, **flags)
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(one(data), np.asarray(shown))
    sideways = orientation >= 5
    assert one(data).shape == ((60, 41, 3) if sideways else (41, 60, 3))


GRAY = np.arange(0, 65_536, 256, dtype=np.uint16).reshape(16, 16)


@pytest.mark.parametrize("format", ["png", "tiff", "ppm"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_sixteen_bits_are_not_cut_off(format: str, mode: str) -> None:
    found = one(encoded(Image.fromarray(GRAY), format), mode)
    np.testing.assert_array_equal(found, np.repeat(GRAY[..., None] >> 8, found.shape[-1], axis=-1))


def test_numbers_that_no_byte_holds_are_refused() -> None:
    for values in (np.array([[0, 70_000]], np.int32), np.array([[0.25, 0.5]], np.float32)):
        with pytest.raises(DataError, match="nothing says which is white"):
            one(encoded(Image.fromarray(values), "tiff"))
    np.testing.assert_array_equal(
        one(encoded(Image.fromarray(np.array([[0, 255]], np.int32)), "tiff"), "L")[..., 0], [[0, 255]]
    )


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_modes_side_by_side(mode: str) -> None:
    """Gray, coloured, transparent and printed images make numbers of one length."""
    odd = encoded(PHOTOS[1].convert(mode), "tiff" if mode == "CMYK" else "png")
    rows = pa.table({"photo": [encoded(PHOTOS[0]), odd]})
    found = og.ImageTransformer().fit_transform(rows)
    assert found.num_columns == 41 * 60 * 3
    expected = np.asarray(Image.open(io.BytesIO(odd)).convert("RGB"))
    np.testing.assert_array_equal([column[1].as_py() for column in found.columns], expected.ravel())


def test_palettes_with_transparent_colours() -> None:
    palette = PHOTOS[0].quantize(8)
    for transparency in (3, bytes([0, 255, 128, 255])):
        data = encoded(palette, transparency=transparency)
        expected = Image.open(io.BytesIO(data)).convert("RGBA")
        np.testing.assert_array_equal(one(data, "RGBA"), np.asarray(expected))
        np.testing.assert_array_equal(one(data), np.asarray(expected)[..., :3])


def test_the_first_picture_of_those_that_move() -> None:
    file = io.BytesIO()
    PHOTOS[0].save(file, "gif", save_all=True, append_images=[PHOTOS[1]] * 3)
    expected = Image.open(io.BytesIO(file.getvalue())).convert("RGB")
    np.testing.assert_array_equal(one(file.getvalue()), np.asarray(expected))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    format=st.sampled_from(["png", "jpeg", "gif", "bmp", "tiff", "webp", "ppm", "tga", "ico"]),
    at=st.floats(0, 1),
    byte=st.integers(0, 255),
    cut=st.booleans(),
)
def test_damaged_images_are_numbers_or_an_error_of_ours(format: str, at: float, byte: int, cut: bool) -> None:
    whole = bytearray(encoded(PHOTOS[0].resize((12, 9)), format))
    where = round(at * (len(whole) - 1))
    whole[where] = byte
    table = pa.table({"photo": [bytes(whole[:where] if cut else whole)]})
    with suppress(DataError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, on what it could still read
        pixels(table, [{"resize": [3, 3]}])


def test_formats_for_which_programs_would_be_called_are_refused() -> None:
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n%%EndComments\n"
    with pytest.raises(DataError, match="cannot be read as an image"):
        pixels(pa.table({"photo": [postscript]}), [])


def test_which_files_of_a_folder_are_images(tmp_path: Path) -> None:
    wrong = {"a.png": "jpeg", "B.JPG": "png", "c.JPEG": "gif", "d.jfif": "jpeg"}
    for name, format in wrong.items():  # the bytes say what they are, and no ending
        (tmp_path / name).write_bytes(encoded(PHOTOS[0], format))
    for name in (".a.png", "._a.png", "Thumbs.db", "notes.txt", ".DS_Store"):
        (tmp_path / name).write_bytes(b"no image")
    rows = og.read(tmp_path, format="images")
    assert rows.to_arrow()["path"].to_pylist() == ["B.JPG", "a.png", "c.JPEG", "d.jfif"]
    assert pixels(rows.select("image").to_arrow(), [{"resize": [2, 2]}]).shape == (4, 12)


def test_rows_that_spark_could_not_read() -> None:
    kind = pa.struct(
        {"height": pa.int32(), "width": pa.int32(), "nChannels": pa.int32(), "data": pa.binary()}
    )
    for row in ((-1, -1, -1, b""), (2, 2, 3, None), (None, None, 3, b"abc"), (0, 0, 3, b"")):
        table = pa.table({"image": pa.array([dict(zip(kind.names, row, strict=True))], kind)})
        with pytest.raises(DataError, match="are no image of"):
            pixels(table, [{"resize": [2, 2]}])
