"""Spans of time, shares and rates as policies write them: 12h, 5%, 1/7d, 2x, 1/100000."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

import outgrow.data.spans as data_spans

_NUMBER = r"(\d+(?:\.\d+)?)"


def seconds_of(written: Any) -> float:
    """A span as seconds.

    Examples
    --------
    >>> seconds_of("1d"), seconds_of("90s"), seconds_of(5)
    (86400.0, 90.0, 5.0)
    """
    if isinstance(written, int | float) and not isinstance(written, bool) and written > 0:
        return float(written)
    return data_spans.Span.of(written).seconds


def share_of(written: Any) -> float:
    """A share: 5% or 0.05.

    Examples
    --------
    >>> share_of("5%"), share_of(0.25)
    (0.05, 0.25)
    """
    match = re.fullmatch(_NUMBER + r"\s*(%?)", str(written).strip())
    share = None if match is None else float(match[1]) / (100 if match[2] else 1)
    if share is None or not 0 <= share <= 1:
        raise ValueError(f"{written!r} is no share: write 5% or 0.05, from 0 to 100%")
    return share


def ratio_of(written: Any) -> float:
    """How many times as much: 2x.

    Examples
    --------
    >>> ratio_of("2x")
    2.0
    """
    match = re.fullmatch(_NUMBER + r"\s*x?", str(written).strip())
    if match is None or float(match[1]) <= 1:
        raise ValueError(f"{written!r} is no ratio above 1: write 2x")
    return float(match[1])


def rate_of(written: Any) -> float:
    """False alarms by looks: 1/100000.

    Examples
    --------
    >>> rate_of("1/1000")
    0.001
    """
    match = re.fullmatch(_NUMBER + r"\s*/\s*" + _NUMBER, str(written).strip())
    try:
        rate = float(match[1]) / float(match[2]) if match else float(written)
    except (TypeError, ValueError, ZeroDivisionError):
        rate = 0.0
    if not 0 < rate < 1:
        raise ValueError(f"{written!r} is no rate between 0 and 1: write 1/100000")
    return rate


def often_of(written: Any) -> tuple[int, float]:
    """How often at most: 1/7d is once in 7 days.

    Examples
    --------
    >>> often_of("2/1d")
    (2, 86400.0)
    """
    count, slash, span = str(written).partition("/") if isinstance(written, str) else ("", "", "")
    if not slash or not count.strip().isdigit() or int(count) < 1:
        raise ValueError(f"{written!r} does not say how often at most: write 1/7d, once in 7 days")
    return int(count), seconds_of(span)


def shown(seconds: float) -> str:
    """Seconds as people write them.

    Examples
    --------
    >>> shown(86400.0), shown(5400)
    ('1d', '90min')
    """
    return data_spans.length_of(round(seconds * 10**6))


Span = Annotated[float, BeforeValidator(seconds_of), PlainSerializer(shown)]
Share = Annotated[float, BeforeValidator(share_of)]
Ratio = Annotated[float, BeforeValidator(ratio_of)]
Rate = Annotated[float, BeforeValidator(rate_of)]
Often = Annotated[
    tuple[int, float],
    BeforeValidator(lambda given: tuple(given) if isinstance(given, tuple) else often_of(given)),
    PlainSerializer(lambda often: f"{often[0]}/{shown(often[1])}"),
]
