"""Numbers of JSON that are to be text, as they stand there."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from outgrow.errors import DataError


class _Fraction(float):
    """A number with a fraction or an exponent that remembers how it was written."""

    written: str


def with_texts(block: bytes, names: Collection[str]) -> bytes | None:
    """Lines of JSON in which some keys have text where they had numbers, true or false.

    Parameters
    ----------
    block : whole lines of UTF-8.
    names : the keys.

    Returns
    -------
    None where there is nothing to change, or lines are no objects, or name a key twice.

    Raises
    ------
    DataError
        When a line is no JSON.
    """
    if not names:
        return None
    lines, changed = list[str](), False
    try:
        for line in filter(bytes.strip, block.splitlines()):
            row: Any = json.loads(line, parse_float=_fraction, object_pairs_hook=_each_once)
            for name in names if isinstance(row, dict) else ():
                if isinstance(row.get(name), int | float):
                    row[name], changed = _text(row[name]), True
            lines.append(json.dumps(row, ensure_ascii=False))
    except json.JSONDecodeError as error:
        raise DataError(f"a line is no JSON: {error}") from None
    except (ValueError, RecursionError):
        return None
    return "\n".join(lines).encode() if changed else None


def _text(value: float) -> str:
    return value.written if isinstance(value, _Fraction) else json.dumps(value)


def _fraction(written: str) -> float:
    value = _Fraction(written)
    value.written = written
    return value


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a key is there twice")
    return row
