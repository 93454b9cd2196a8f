"""Images from encoded bytes, from files, and from the structures that Spark's image source gives."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow._optional import optional
from outgrow.errors import DataError
from outgrow.ml.images.modes import CHANNELS

Image, ImageOps = optional("PIL.Image", "images"), optional("PIL.ImageOps", "images")
UnidentifiedImageError = optional("PIL", "images").UnidentifiedImageError

_ORIENTATION = 0x0112
"""The tag of EXIF that says how a camera was held."""
_LYING = 5
"""From this orientation on, height and width change places."""
_FORMATS = ("BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""Of those that Pillow reads; for some others it calls programs."""
_OPENING = Lock()
"""Filters of warnings are those of all threads."""
_MODES = {channels: mode for mode, channels in CHANNELS.items()}


def images(
    column: pa.Array,
    mode: str,
    folder: str | None,
    *,
    missing: bool = False,
    names: pa.Array | None = None,
) -> Iterator[np.ndarray | None]:
    """Each image of a column, of shape (height, width, channels); None where there is none.

    Parameters
    ----------
    column : encoded bytes, Spark's images, or paths.
    mode : of Pillow: 'L', 'RGB' or 'RGBA'.
    folder : where paths lie.
    missing : take what is no image, or a file that cannot be read, as none.
    names : of each, the file that messages name.

    Raises
    ------
    DataError
        When bytes are no image, or a file cannot be read; it names the row.
    """
    for row, value in enumerate(column):
        if not value.is_valid:
            yield None
            continue
        try:
            yield decoded(value.as_py(), mode, folder)
        except DataError as error:
            if not missing:
                name = "" if names is None else f" ({names[row]})"
                raise DataError(
                    f"Row {row} of the batch{name}: {error} Leave the row out, or say errors='missing'."
                ) from None
            yield None


def decoded(value: Any, mode: str, folder: str | None = None) -> np.ndarray:
    """An image as an array: as it is shown, of those that move the first picture.

    Parameters
    ----------
    value : bytes of a common format, such as JPEG or PNG, or a path, or an image of Spark.
    mode : to which it is converted.
    folder : where paths lie.

    Raises
    ------
    DataError
        When it is no image, is cut short, or would take more pixels than Pillow allows.
    """
    return _read_image(value, folder, lambda image: _pixels(_turned(image), mode))


def resized(
    value: Any, mode: str, size: tuple[int, int], *, scaled: bool, folder: str | None = None
) -> np.ndarray:
    """An image as an array of a size, by Pillow's bilinear filter.

    Parameters
    ----------
    value : bytes of a common format, or a path, or an image of Spark.
    mode : to which it is converted.
    size : height and width.
    scaled : a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, where that is not below `size`.
    folder : where paths lie.

    Raises
    ------
    DataError
        As `decoded`.
    """
    height, width = size

    def change(image: Any) -> np.ndarray:
        if scaled and image.format == "JPEG":
            sides = (height, width) if image.getexif().get(_ORIENTATION, 1) >= _LYING else (width, height)
            image.draft(None, sides)
        plain = _of_bytes(_turned(image)).convert(mode)
        return np.asarray(plain.resize((width, height), Image.Resampling.BILINEAR)).reshape(height, width, -1)

    return _read_image(value, folder, change)


def _turned(image: Any) -> Any:
    """An image as its camera says it is to be seen."""
    return ImageOps.exif_transpose(image) if image.getexif().get(_ORIENTATION, 1) != 1 else image


def _read_image(value: Any, folder: str | None, change: Callable[[Any], np.ndarray]) -> np.ndarray:
    """What a function makes of an image that is opened and not yet decoded."""
    if isinstance(value, Mapping):
        return change(_of_spark(value))
    data = _read(value, folder) if isinstance(value, str) else value
    if not isinstance(data, bytes):
        raise DataError("there is none.")
    try:
        with _OPENING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
        return change(image)
    except DataError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"the image is too large: {error}") from None
    except Exception as error:  # what decoders raise for bytes that are damaged, nobody lists
        reason = f"none of {', '.join(_FORMATS)}" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"{len(data)} bytes cannot be read as an image ({reason}).") from None


def _pixels(image: Any, mode: str) -> np.ndarray:
    pixels = np.asarray(image if image.mode == mode else _of_bytes(image).convert(mode))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _of_bytes(image: Any) -> Any:
    """An image with a byte a value, which Pillow cuts off at 255 where there are more."""
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA")
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if image.mode.startswith("I;16") or image.format in ("PNG", "PPM"):
        return Image.fromarray((values >> 8).astype(np.uint8))
    if values.min() < 0 or values.max() > 255 or image.mode == "F":
        raise DataError(
            f"the image has numbers from {values.min()} to {values.max()}, and nothing says which is white. "
            "Write it with 8 or 16 bits a value."
        )
    return Image.fromarray(values.astype(np.uint8))


def _of_spark(value: Mapping[str, Any]) -> Any:
    """An image of Spark's structure, whose colours are in the order of OpenCV: blue first."""
    height, width, channels = value["height"], value["width"], value["nChannels"]
    data = value["data"] or b""
    if channels not in _MODES or (height or 0) * (width or 0) * channels != len(data) or not data:
        raise DataError(
            f"{len(data)} bytes are no image of {height} x {width} pixels of {channels} channels. Spark "
            "gives such rows for files that it cannot read."
        )
    pixels = np.frombuffer(data, np.uint8).reshape(height, width, channels)
    if channels >= 3:
        pixels = pixels[..., [2, 1, 0, *range(3, channels)]]
    return Image.fromarray(pixels[..., 0] if channels == 1 else np.ascontiguousarray(pixels))


def _read(path: str, folder: str | None) -> bytes:
    if folder is None:
        raise DataError(f"{path!r} is a path where no folder is named. Say folder=, below which paths lie.")
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        raise DataError(
            f"the path {path!r} leads out of the folder {folder!r}. Give paths that are relative to it."
        )
    try:
        return (Path(folder) / pure).read_bytes()
    except OSError as error:
        raise DataError(f"the file {path!r} of the folder {folder!r} cannot be read: {error}.") from None
