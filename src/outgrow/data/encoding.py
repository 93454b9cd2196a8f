"""In which encoding bytes of text are: what a mark says, else what they can be; and what is no text."""

from __future__ import annotations

import codecs
import re

import numpy as np
import pyarrow as pa

from outgrow.errors import DataError

GUESS = "cp1252"
"""What text is taken for that is not UTF-8: that of western Windows, which has all text of Latin-1."""
_MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
"""What text in encodings other than UTF-8 may begin with; the first that fits counts."""
_FORMATS = {
    b"\x1f\x8b": "gzip (.csv.gz, .jsonl.gz)",
    b"BZh": "bzip2 (.csv.bz2)",
    b"\x28\xb5\x2f\xfd": "Zstandard (.csv.zst)",
    b"\x04\x22\x4d\x18": "LZ4 (.csv.lz4)",
    b"PK\x03\x04": "a zip archive (.csv.zip) or a workbook, whose sheets can be saved as CSV",
    b"\xd0\xcf\x11\xe0": "a workbook, whose sheets can be saved as CSV",
    b"PAR1": "Parquet (format='parquet')",
    b"ARROW1": "Arrow IPC (format='ipc')",
    b"ORC": "ORC (format='orc')",
    b"Obj\x01": "Avro (format='avro')",
    b"\x89HDF": "HDF5 (format='hdf5')",
}
"""What files begin with that are no text."""
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x19\x1c-\x1f\x7f]")
"""Bytes that no text has, in any encoding that keeps ASCII."""
_ABROAD = re.compile(rb"[\x80-\xff]")
_WORD = re.compile(rb"[^\s,;|\"{}:]*+")
_SHOWN = 40


class NotUtf8Error(DataError):
    """Text is not UTF-8, nor in another encoding that was named.

    Attributes
    ----------
    sample : bytes that show it.
    """

    def __init__(self, message: str, sample: bytes = b"") -> None:
        super().__init__(message)
        self.sample = sample


def marked(start: bytes) -> str | None:
    """The encoding that a byte order mark says; None for UTF-8."""
    return next((encoding for mark, encoding in _MARKS.items() if start.startswith(mark)), None)


def sniffed(start: bytes, *, whole: bool) -> str | None:
    """The encoding of a text whose first bytes these are; None for UTF-8.

    Parameters
    ----------
    start : the first bytes.
    whole : `start` is all there is; else its last character may be cut.

    Raises
    ------
    NotUtf8Error
        When it is not UTF-8, and nothing else for sure.

    Examples
    --------
    >>> sniffed("a,b\\n1,x\\n".encode("utf-16-be"), whole=True)
    'utf-16-be'
    >>> sniffed("a,b\\n1,é\\n".encode(), whole=True) is None
    True
    """
    encoding = marked(start) or _utf_16(start)
    if encoding is None:
        check_utf8(start if whole else _whole_characters(start))
    return encoding


def check_utf8(text: bytes) -> None:
    """Refuse what is not UTF-8.

    Raises
    ------
    NotUtf8Error
        Which shows where.
    """
    if text.isascii():
        return
    offsets = pa.py_buffer(np.array([0, len(text)], np.int64))
    try:
        pa.LargeStringArray.from_buffers(1, offsets, pa.py_buffer(text)).validate(full=True)
    except pa.ArrowInvalid:
        try:
            text.decode()
        except UnicodeDecodeError as error:
            sample = _word(text, error.start)
            raise NotUtf8Error(f"it holds {sample!r}, which is not UTF-8. {_NAME_IT}", sample) from None


def guessed(text: bytes) -> str:
    """The encoding of text that is not UTF-8: `GUESS`, where it can be that.

    Parameters
    ----------
    text : the first bytes, or others among which are the first that are not ASCII.

    Raises
    ------
    DataError
        When it is no text, or text of UTF-8 that is damaged.
    """
    known = next((format for mark, format in _FORMATS.items() if text.startswith(mark)), None)
    if known is not None:
        raise DataError(f"it is no text, but {known}. Name it so")
    if _CONTROL.search(text) is not None:
        raise DataError(
            f"it begins with {text[:_SHOWN]!r}, which is no text in UTF-8. Name its format= or its encoding="
        )
    first = _ABROAD.search(text)
    at = len(text) if first is None else first.start()
    try:
        text[at : at + 4].decode()
        damaged = True
    except UnicodeDecodeError as error:
        damaged = error.start > 0 or "unexpected end" in error.reason
    if damaged:
        raise DataError(f"it is UTF-8, but damaged. Write it again, or name its encoding. {_NAME_IT}")
    try:
        text.decode(GUESS)
    except UnicodeDecodeError as error:
        sample = _word(text, error.start)
        raise DataError(f"it holds {sample!r}, which is neither UTF-8 nor {GUESS}. {_NAME_IT}") from None
    return GUESS


_NAME_IT = "Name the encoding, like encoding='latin-1' or 'cp1252'"


def _utf_16(start: bytes) -> str | None:
    """UTF-16 without a mark: the upper bytes of Latin letters, digits and signs are zero."""
    zeros = np.flatnonzero(np.frombuffer(start, np.uint8) == 0)
    if 4 * len(zeros) < max(1, len(start)):
        return None
    odd = float(np.mean(zeros % 2))
    return "utf-16-le" if odd > 0.9 else "utf-16-be" if odd < 0.1 else None


def _whole_characters(start: bytes) -> bytes:
    """Bytes without those of a character of UTF-8 that is cut at their end."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    decoder.decode(start)
    rest = len(decoder.getstate()[0])
    return start[: len(start) - rest]


def _word(text: bytes, at: int) -> bytes:
    """The word around a byte, if it is not long."""
    before = re.split(rb"[\s,;|\"{}:]", text[max(0, at - _SHOWN) : at])[-1]
    after = _WORD.match(text, at, at + _SHOWN)
    return before + (after[0] if after else b"")
