"""What can be done to an image: each operation is named as in torchvision or scipy.ndimage, and equals those.

An image is an array of shape (height, width, channels), of bytes until an operation makes fractions of them.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import scipy.ndimage

from outgrow._optional import optional
from outgrow.errors import DataError, ParameterError

Image = optional("PIL.Image", "images")

Shape = tuple[int | None, int | None, int]
"""Height, width and channels; None for what differs from image to image."""

RESAMPLE = {
    name.lower(): getattr(Image.Resampling, name)
    for name in ("NEAREST", "BOX", "BILINEAR", "HAMMING", "BICUBIC", "LANCZOS")
}


class Operation(ABC):
    """One change of an image; its fields are its parameters."""

    name: ClassVar[str]
    ends: ClassVar[bool] = False
    """Whether what it gives is no image any more, so that nothing can follow."""

    @abstractmethod
    def __call__(self, image: np.ndarray) -> Any:
        """The changed image."""

    def shape(self, before: Shape) -> Shape:
        """The shape of what it gives."""
        return before

    def labels(self, shape: Shape) -> list[str] | None:
        """What the numbers it ends with are called; None for numbers of no name."""
        return None

    def check(self) -> None:  # noqa: B027  many have nothing to check
        """Raise ValueError where parameters are not as they should be."""


@dataclass(frozen=True)
class Resize(Operation):
    """To (height, width), or so that the shorter side has a length; by Pillow."""

    name = "resize"
    size: Any
    resample: str = "bilinear"

    def check(self) -> None:
        if not isinstance(self.size, int):
            _check_lengths("size", self.size, 2)
        elif self.size < 1:
            raise ValueError(f"size={self.size}: a length is at least 1")
        _check_resample(self.resample)

    def shape(self, before: Shape) -> Shape:
        if not isinstance(self.size, int):
            return self.size[0], self.size[1], before[2]
        if before[0] is None or before[1] is None:
            return None, None, before[2]
        return *self._target(before[0], before[1]), before[2]

    def _target(self, height: int, width: int) -> tuple[int, int]:
        if not isinstance(self.size, int):
            return self.size[0], self.size[1]
        shorter, longer = min(height, width), max(height, width)
        other = int(self.size * longer / shorter)
        return (self.size, other) if height <= width else (other, self.size)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        height, width = self._target(*image.shape[:2])
        method = RESAMPLE[self.resample]
        return _by_pillow(image, lambda one: one.resize((width, height), method))


@dataclass(frozen=True)
class Rotate(Operation):
    """Counter-clockwise by degrees; the size stays but for multiples of 90, what comes in is black."""

    name = "rotate"
    angle: float
    resample: str = "nearest"

    def check(self) -> None:
        if not isinstance(self.angle, int | float) or not np.isfinite(self.angle):
            raise ValueError(f"angle={self.angle!r}: it is a number of degrees")
        if self.resample not in ("nearest", "bilinear", "bicubic"):
            raise ValueError(f"resample={self.resample!r}: it is 'nearest', 'bilinear' or 'bicubic'")

    def shape(self, before: Shape) -> Shape:
        return (before[1], before[0], before[2]) if self.angle % 180 == 90 else before

    def __call__(self, image: np.ndarray) -> np.ndarray:
        if self.angle % 90 == 0:
            return np.rot90(image, int(self.angle // 90))
        method = RESAMPLE[self.resample]
        return _by_pillow(image, lambda one: one.rotate(self.angle, method))


@dataclass(frozen=True)
class Crop(Operation):
    """The part of a height and width that begins so many rows and columns from the upper left."""

    name = "crop"
    top: int
    left: int
    height: int
    width: int

    def check(self) -> None:
        _check_lengths("height, width", (self.height, self.width), 2)
        _check_lengths("top, left", (self.top, self.left), 2, least=0)

    def shape(self, before: Shape) -> Shape:
        return self.height, self.width, before[2]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        bottom, right = self.top + self.height, self.left + self.width
        if bottom > image.shape[0] or right > image.shape[1]:
            raise DataError(
                f"An image of {image.shape[0]} x {image.shape[1]} has no part of "
                f"{self.height} x {self.width} at ({self.top}, {self.left}). Resize images before."
            )
        return image[self.top : bottom, self.left : right]


@dataclass(frozen=True)
class CenterCrop(Operation):
    """The part of a height and width in the middle."""

    name = "center_crop"
    height: int
    width: int

    def check(self) -> None:
        _check_lengths("height, width", (self.height, self.width), 2)

    def shape(self, before: Shape) -> Shape:
        return self.height, self.width, before[2]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        # where the middle lies between two, as torchvision chooses
        top, left = round((image.shape[0] - self.height) / 2), round((image.shape[1] - self.width) / 2)
        return Crop(max(top, 0), max(left, 0), self.height, self.width)(image)


@dataclass(frozen=True)
class Flip(Operation):
    """Left and right change places ('horizontal'), or above and below ('vertical')."""

    name = "flip"
    direction: str = "horizontal"

    def check(self) -> None:
        if self.direction not in ("horizontal", "vertical"):
            raise ValueError(f"direction={self.direction!r}: it is 'horizontal' or 'vertical'")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return image[:, ::-1] if self.direction == "horizontal" else image[::-1]


@dataclass(frozen=True)
class Grayscale(Operation):
    """One channel of luma (ITU-R 601), as Pillow's mode 'L'."""

    name = "grayscale"

    def shape(self, before: Shape) -> Shape:
        return *before[:2], 1

    def __call__(self, image: np.ndarray) -> np.ndarray:
        if image.shape[2] < 3:
            return image[..., :1]
        if image.dtype != np.uint8:
            return (image[..., :3] @ np.array([0.299, 0.587, 0.114]))[..., None]
        R, G, B = (image[..., channel].astype(np.uint32) for channel in range(3))
        return ((R * 19595 + G * 38470 + B * 7471 + 0x8000) >> 16).astype(np.uint8)[..., None]


@dataclass(frozen=True)
class Sobel(Operation):
    """How steep each channel is: the length of the gradient that `scipy.ndimage.sobel` gives."""

    name = "sobel"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return _each_channel(
            image, lambda one: np.hypot(*(scipy.ndimage.sobel(one, axis) for axis in (0, 1)))
        )


@dataclass(frozen=True)
class Laplace(Operation):
    """Where each channel bends, which is at edges: `scipy.ndimage.laplace`."""

    name = "laplace"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return _each_channel(image, scipy.ndimage.laplace)


@dataclass(frozen=True)
class Rescale(Operation):
    """Times a factor, plus an offset: `{"rescale": 0.00392156862745098}` makes shares of bytes."""

    name = "rescale"
    scale: float
    offset: float = 0.0

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return image * float(self.scale) + float(self.offset)


@dataclass(frozen=True)
class Histogram(Operation):
    """Which shares of the pixels have values in each of so many bins from 0 to 256, channel by channel."""

    name = "histogram"
    ends = True
    bins: int = 256

    def check(self) -> None:
        if not isinstance(self.bins, int) or not 1 <= self.bins <= 256:
            raise ValueError(f"bins={self.bins!r}: it is a whole number from 1 to 256")

    def shape(self, before: Shape) -> Shape:
        return 1, self.bins, before[2]

    def labels(self, shape: Shape) -> list[str]:
        return [f"{channel}_{i}" for channel in range(shape[2]) for i in range(self.bins)]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        if image.dtype != np.uint8:
            image = np.clip(np.floor(image), 0, 255).astype(np.uint8)
        pixels = image.reshape(-1, image.shape[2])
        places = pixels.astype(np.intp) * self.bins // 256
        counts = [np.bincount(places[:, channel], minlength=self.bins) for channel in range(pixels.shape[1])]
        return np.concatenate(counts) / max(len(pixels), 1)


@dataclass(frozen=True)
class Size(Operation):
    """Height, width and channels."""

    name = "size"
    ends = True

    def shape(self, before: Shape) -> Shape:
        return 1, 3, 1

    def labels(self, shape: Shape) -> list[str]:
        return ["height", "width", "channels"]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return np.array(image.shape, dtype=np.float64)


@dataclass(frozen=True)
class Encode(Operation):
    """An encoded image again, of a format such as 'png', which loses nothing, or 'jpeg'."""

    name = "encode"
    ends = True
    format: str = "png"

    def check(self) -> None:
        if self.format not in ("png", "jpeg", "webp", "bmp"):
            raise ValueError(f"format={self.format!r}: it is 'png', 'jpeg', 'webp' or 'bmp'")

    def __call__(self, image: np.ndarray) -> bytes:
        if image.dtype != np.uint8:
            image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        file = io.BytesIO()
        pixels = np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image)
        try:
            Image.fromarray(pixels).save(file, format=self.format)
        except OSError as error:
            raise DataError(
                f"An image of {image.shape[2]} channels cannot be written as {self.format!r}: {error}."
            ) from None
        return file.getvalue()


OPERATIONS: dict[str, type[Operation]] = {
    made.name: made
    for made in (
        Resize,
        Rotate,
        Crop,
        CenterCrop,
        Flip,
        Grayscale,
        Sobel,
        Laplace,
        Rescale,
        Histogram,
        Size,
        Encode,
    )
}


def operation(given: Any) -> Operation:
    """An operation as it is written: its name, or its name and parameters.

    Parameters
    ----------
    given : a name such as 'grayscale'; or a mapping of the one name to its parameters: a mapping, a list of
        them in their order, or the first alone.

    Raises
    ------
    ParameterError
        When there is no such operation, or its parameters are not as they should be.

    Examples
    --------
    >>> from outgrow.ml.images.operations import operation
    >>> operation({"crop": [0, 0, 8, 16]})
    Crop(top=0, left=0, height=8, width=16)
    >>> operation({"resize": {"size": [8, 8], "resample": "box"}})
    Resize(size=[8, 8], resample='box')
    """
    pair = next(iter(given.items())) if isinstance(given, Mapping) and len(given) == 1 else (given, {})
    name, parameters = pair
    if not isinstance(name, str) or name not in OPERATIONS:
        raise ParameterError(
            f"{given!r} is no operation on images. They are {sorted(OPERATIONS)}, each a name, or a mapping "
            "of one name to its parameters, such as {'resize': [32, 32]}."
        )
    made = OPERATIONS[name]
    try:
        result = made(**_by_name(made, parameters))
        result.check()
    except (TypeError, ValueError) as error:
        known = ", ".join(field.name for field in fields(made))  # type: ignore[arg-type]
        raise ParameterError(
            f"{given!r}: {error}. The parameters of {name!r} are: {known or 'none'}."
        ) from None
    return result


def _by_name(made: type[Operation], parameters: Any) -> dict[str, Any]:
    if isinstance(parameters, Mapping):
        return dict(parameters)
    names = [field.name for field in fields(made)]  # type: ignore[arg-type]
    whole = len(names) and names[0] == "size"  # which is itself a list
    if isinstance(parameters, Sequence) and not isinstance(parameters, str) and not whole:
        if len(parameters) > len(names):
            raise TypeError(f"{len(parameters)} parameters are given")
        return dict(zip(names, parameters, strict=False))
    if not names:
        raise TypeError(f"it takes none, and {parameters!r} is given")
    return {names[0]: parameters}


def _check_lengths(name: str, values: Any, count: int, least: int = 1) -> None:
    whole = isinstance(values, Sequence) and not isinstance(values, str) and len(values) == count
    if not whole or not all(isinstance(value, int) and value >= least for value in values):
        raise ValueError(f"{name}={values!r}: these are {count} whole numbers of at least {least}")


def _check_resample(resample: Any) -> None:
    if resample not in RESAMPLE:
        raise ValueError(f"resample={resample!r}: it is one of {sorted(RESAMPLE)}")


def _by_pillow(image: np.ndarray, change: Callable[[Any], Any]) -> np.ndarray:
    """What a change of a Pillow image gives: of bytes as one image, of fractions channel by channel."""
    if image.dtype == np.uint8 and image.shape[2] in (3, 4):
        return np.asarray(change(Image.fromarray(np.ascontiguousarray(image))))
    channels = [np.ascontiguousarray(image[..., channel]) for channel in range(image.shape[2])]
    if image.dtype != np.uint8:
        channels = [channel.astype(np.float32) for channel in channels]
    made = np.dstack([np.asarray(change(Image.fromarray(channel))) for channel in channels])
    return made if image.dtype == np.uint8 else made.astype(np.float64)


def _each_channel(image: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Fractions, each channel changed by itself: a filter over all axes would mix them."""
    channels = (image[..., channel].astype(np.float64) for channel in range(image.shape[2]))
    return np.stack([change(channel) for channel in channels], axis=2)
