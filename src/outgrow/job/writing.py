"""Text files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from outgrow.artifact import disk_errors
from outgrow.errors import OutputExistsError


def write_text(path: str | os.PathLike[str], text: str, *, overwrite: bool = False) -> None:
    """Write a text file.

    Raises
    ------
    OutputExistsError
        When the path exists and `overwrite` is false.
    """
    target = Path(path)
    if target.exists() and (not overwrite or target.is_dir()):
        raise OutputExistsError(f"{target} exists already. Choose another path, or add --overwrite.")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(draft).chmod(0o644)
            Path(draft).replace(target)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
