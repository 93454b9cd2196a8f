"""Encoded images of a batch as an array of pixels of one size."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from outgrow.errors import DataError, ParameterError
from outgrow.ml.images.modes import CHANNELS


@dataclass(frozen=True)
class DecodeImage:
    """How a loader makes pixels of encoded images: uint8 of shape (rows, height, width, channels).

    Images are brought to one size by Pillow's bilinear filter, as torchvision's are.

    Parameters
    ----------
    size : height and width.
    mode : 'RGB', 'RGBA', or 'L' for one channel of gray.
    scaled : decode JPEG at the least of 1/8, 1/4, 1/2 and 1 of its size that is not below `size`, which is
        several times faster for large images and changes pixels a little.
    errors : 'raise' for bytes that are no image, or 'blank' for black pixels in their stead; what was left
        blank is in `Loader.set_aside`.
    folder : below which paths lie, where a column has paths of files in place of bytes.

    Raises
    ------
    ParameterError
        When a parameter has a value that it cannot have.

    Examples
    --------
    >>> import io, pyarrow as pa, outgrow as og
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (40, 30), "red").save(file, "jpeg")
    >>> rows = pa.table({"image": [file.getvalue()], "y": [1]})
    >>> how = og.DecodeImage((15, 20))
    >>> next(iter(og.Loader(rows, batch_size=1, images={"image": how}, format="numpy")))["image"].shape
    (1, 15, 20, 3)
    """

    size: tuple[int, int]
    mode: str = "RGB"
    scaled: bool = True
    errors: str = "raise"
    folder: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        whole = isinstance(self.size, Sequence) and len(self.size) == 2
        if not whole or not all(isinstance(side, Integral) and side > 0 for side in self.size):
            raise ParameterError(f"size={self.size!r}: give height and width in pixels, such as (224, 224).")
        if self.mode not in CHANNELS:
            raise ParameterError(f"mode={self.mode!r}: it is one of {list(CHANNELS)}.")
        if self.errors not in ("raise", "blank"):
            raise ParameterError(f"errors={self.errors!r}: it is 'raise' or 'blank'.")
        if self.folder is not None and not isinstance(self.folder, str | os.PathLike):
            raise ParameterError(f"folder={self.folder!r}: give the path of a folder.")

    def __call__(self, images: np.ndarray, names: Sequence[Any], set_aside: list[str]) -> np.ndarray:
        """The pixels of some images.

        Parameters
        ----------
        images : their bytes, or paths, or images of Spark, as objects.
        names : of each, what a message calls it.
        set_aside : takes the names of images that are left blank, with the reason.

        Raises
        ------
        DataError
            When bytes are no image, unless those are left blank.
        """
        from outgrow.ml.images.decoding import resized

        folder = None if self.folder is None else os.fspath(self.folder)
        pixels = np.zeros((len(images), *self.size, CHANNELS[self.mode]), dtype=np.uint8)
        for row, data in enumerate(images):
            try:
                pixels[row] = resized(data, self.mode, self.size, scaled=self.scaled, folder=folder)
            except DataError as error:
                if self.errors == "raise":
                    raise DataError(
                        f"The image {names[row]}: {error} To go on with black pixels, say errors='blank'."
                    ) from None
                set_aside.append(f"{names[row]}: {error}")
        return pixels


def decoders(images: Mapping[str, Any] | None) -> dict[str, DecodeImage]:
    """How the images of each field are decoded.

    Parameters
    ----------
    images : by field a `DecodeImage`, or height and width; None for no images.

    Raises
    ------
    ParameterError
        When it is anything else.
    """
    if images is not None and not isinstance(images, Mapping):
        raise ParameterError(f"images={images!r}: say it by field, such as images={{'image': (224, 224)}}.")
    made = {}
    for name, how in (images or {}).items():
        size = tuple(how) if isinstance(how, list) else how
        made[name] = how if isinstance(how, DecodeImage) else DecodeImage(size)
    return made
