"""Text files that appear whole or not at all."""

from __future__ import annotations

import os

from outgrow.storage import write_file


def write_text(path: str | os.PathLike[str], text: str, *, overwrite: bool = False) -> None:
    """Write a text file.

    Parameters
    ----------
    path : the file.
    text : written in UTF-8.
    overwrite : replace a file that exists.

    Raises
    ------
    OutputExistsError
        When the path exists and `overwrite` is false.
    """
    write_file(path, text.encode(), overwrite=overwrite)
