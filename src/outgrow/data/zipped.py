"""A file of text in a zip archive, as programs for the desktop send them."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from outgrow.errors import DataError

_ENCRYPTED = 1
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, pa.ArrowInvalid)


class Unzipped(io.BufferedIOBase):
    """The bytes of the one file that an archive holds, read as a stream.

    Parameters
    ----------
    raw : the archive, from whose middle can be read. It is closed with this.

    Raises
    ------
    DataError
        When it is no archive, or holds no file, several, or one that needs a password.
    """

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._stream: Any = io.BytesIO()
        try:
            with _broken_said():
                archive = zipfile.ZipFile(raw)
                self._stream = archive.open(_only_file(archive))
        except BaseException:
            self.close()
            raise

    def read(self, size: int | None = -1) -> bytes:
        """So many bytes, or those that are left."""
        with _broken_said():
            return self._stream.read(-1 if size is None else size)

    read1 = read

    def readable(self) -> bool:
        """It can be read."""
        return True

    def close(self) -> None:
        """Close the archive."""
        if not self.closed:
            self._stream.close()
            self._raw.close()
        super().close()


class _broken_said:  # noqa: N801 (a context manager, used like a function)
    """What is wrong with an archive is an error of ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        if isinstance(error, _BROKEN):
            raise DataError(f"it is no zip archive that can be read: {error}. Write it again.") from error


def _only_file(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The file in it, beside folders and what systems put there for themselves."""
    files = [info for info in archive.infolist() if not info.is_dir() and not _is_note(info.filename)]
    if len(files) != 1:
        names = [info.filename for info in files]
        held = f"{len(files)} files, such as {names[:3]}" if files else "no file"
        raise DataError(f"the archive holds {held}. Unpack it, or make an archive of one file.")
    if files[0].flag_bits & _ENCRYPTED:
        raise DataError("the archive needs a password. Unpack it.")
    return files[0]


def _is_note(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and (parts[0] == "__MACOSX" or parts[-1].startswith("."))
