"""Which columns hold images, and in which files these are; it needs no Pillow."""

from __future__ import annotations

import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.errors import ParameterError

_SPARK = {"height", "width", "nChannels", "data"}


def holds_images(type: pa.DataType) -> bool:
    """Whether a column of this type may hold images: bytes, or Spark's structure of them."""
    return bool(pa.types.is_binary(type)) or is_spark_image(type)


def is_spark_image(type: pa.DataType) -> bool:
    """Whether this is the type that Spark's `image` source gives."""
    return bool(pa.types.is_struct(type)) and {field.name for field in type} >= _SPARK


def file_names(batch: Batch, column: str) -> pa.Array | None:
    """What messages call the images of a column: themselves where they are paths, or the `path` beside them.

    Parameters
    ----------
    batch : the rows.
    column : of images.
    """
    for name in (column, "path"):
        values = batch.columns.get(name)
        if isinstance(values, pa.Array) and pa.types.is_string(values.type):
            return values
    return None


def check_folder(who: str, names: list[str], folder: str | None) -> None:
    """Refuse columns of text where no folder is named that paths could lie in.

    Parameters
    ----------
    who : the estimator.
    names : the columns of text.
    folder : where paths lie.

    Raises
    ------
    ParameterError
        When there are such columns, and no folder.
    """
    if names and folder is None:
        raise ParameterError(
            f"{who}(columns={names}): these hold text, which are paths of files only where the folder is "
            "named that they lie in. Give folder=, or columns of bytes."
        )
