"""Lengths of time as users write them, in microseconds."""

from __future__ import annotations

import datetime
import re

from outgrow.errors import ParameterError

_UNITS = {"us": 1, "ms": 1_000, "s": 10**6, "min": 60 * 10**6, "h": 3_600 * 10**6, "d": 86_400 * 10**6}
_UNITS["w"] = 7 * _UNITS["d"]
_SPAN = re.compile(r"(\d{1,15})\s?(us|ms|s|min|h|d|w)")
Span = str | datetime.timedelta
"""'90s', '15min', '12h', '7d', '2w', or a timedelta."""


def microseconds_of(span: Span, name: str) -> int:
    """The length in microseconds.

    Parameters
    ----------
    span : a text or timedelta.
    name : of the parameter, for the message.

    Raises
    ------
    ParameterError
        When it is no length of time, or a negative one.
    """
    if isinstance(span, datetime.timedelta):
        length = span // datetime.timedelta(microseconds=1)
    else:
        match = _SPAN.fullmatch(span) if isinstance(span, str) else None
        length = int(match[1]) * _UNITS[match[2]] if match else -1
    if length < 0:
        raise ParameterError(
            f"{name}={span!r} is no length of time. Give one like '15min', '12h', '7d' or a timedelta."
        )
    return length


def written(microseconds: int) -> str:
    """A length of time as text, in its largest whole unit."""
    unit = next(unit for unit in ("w", "d", "h", "min", "s", "ms", "us") if microseconds % _UNITS[unit] == 0)
    return f"{microseconds // _UNITS[unit]}{unit}"
