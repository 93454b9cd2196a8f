"""One JSON array of objects, as pandas and JavaScript write rows, as a stream of JSON lines."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

from outgrow.errors import DataError

_CHUNK_BYTES = 1 << 20
_LONGEST_WORD = 16
"""Of what is one piece of JSON beside text: a parser points to its beginning."""
_MARK = "\ufeff"
_BETWEEN = re.compile(r"[ \t\r\n]*")
_BREAKS = str.maketrans("\r\n", "  ")
"""Breaks of lines within a value are space between its parts: in text they are escaped."""


def is_array(start: bytes) -> bool:
    """Whether a file of JSON that begins so is an array, and not lines of objects.

    Parameters
    ----------
    start : its first bytes, in UTF-8.
    """
    return start.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"["


class ArrayLines:
    """The objects of an array, a line each, in the memory of a few of them.

    Parameters
    ----------
    raw : a stream of the bytes of the array, in UTF-8.

    Examples
    --------
    >>> import io
    >>> from outgrow.data.json_arrays import ArrayLines
    >>> ArrayLines(io.BytesIO(b'[{"a": 1}, {"a": 2}]')).read(100)
    b'{"a": 1}\\n{"a": 2}\\n'
    """

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._text_of = codecs.getincrementaldecoder("utf-8")().decode
        self._decode = json.JSONDecoder().raw_decode
        self._text, self._at, self._more = "", 0, True
        self._rows = 0
        self._lines: list[bytes] = []
        self._ended = False

    def read(self, size: int) -> bytes:
        """So many bytes of the lines, or fewer where there are no more.

        Parameters
        ----------
        size : of bytes.

        Raises
        ------
        DataError
            When the array holds something else than objects, is cut off, or something stands behind it.
        """
        length = sum(map(len, self._lines))
        while length < size and not self._ended:
            line = self._next()
            length += len(line)
            self._lines.append(line)
        ready = b"".join(self._lines)
        self._lines = [ready[size:]]
        return ready[:size]

    def __enter__(self) -> ArrayLines:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.__exit__(None, None, None)

    def _next(self) -> bytes:
        """The next object as a line; nothing at the end."""
        sign = self._sign()
        begins = sign == ("," if self._rows else "[")
        if begins:
            self._at += 1
            sign = self._sign()
        if sign == "]" and begins == (self._rows == 0):  # of an empty array, or behind the last row
            return self._end()
        if not begins:
            raise DataError(f"behind row {self._rows - 1} of the array stands {self._here()}, no comma")
        if sign != "{":
            raise DataError(f"row {self._rows} of the array is {self._here()}, no object")
        return self._object()

    def _object(self) -> bytes:
        while True:
            try:
                _, end = self._decode(self._text, self._at)
                break
            except json.JSONDecodeError as error:
                if self._is_cut(error) and self._filled():
                    continue
                here = self._text[error.pos :][:20]
                raise DataError(
                    f"row {self._rows} of the array is no JSON: {error.msg}, at {here!r}"
                ) from None
            except RecursionError:
                raise DataError(f"row {self._rows} of the array nests too many levels. Flatten it") from None
        line = self._text[self._at : end].translate(_BREAKS) + "\n"
        self._at, self._rows = end, self._rows + 1
        return line.encode()

    def _is_cut(self, error: json.JSONDecodeError) -> bool:
        """Whether it may be that only the end of the row was not read yet."""
        return error.msg.startswith("Unterminated") or error.pos > len(self._text) - _LONGEST_WORD

    def _end(self) -> bytes:
        self._at += 1
        if self._sign():
            raise DataError(f"behind the array stands {self._here()}. Leave one array, or write JSON lines")
        self._ended = True
        return b""

    def _sign(self) -> str:
        """The next character that is no space; nothing at the end."""
        while True:
            self._at = _BETWEEN.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text) or not self._filled():
                return self._text[self._at : self._at + 1]

    def _filled(self) -> bool:
        """Whether more was read: as much again as waits, so that a long row is not looked at too often."""
        if not self._more:
            return False
        rest = self._text[self._at :]
        block = self._raw.read(max(_CHUNK_BYTES, len(rest)))
        self._more = bool(block)
        first = not self._text and self._rows == 0
        new = self._text_of(block, final=not block)
        self._text, self._at = rest + (new.removeprefix(_MARK) if first else new), 0
        return True

    def _here(self) -> str:
        return repr(self._text[self._at : self._at + 20]) if self._sign() else "nothing"
