"""Strategies, codecs and merges as words: what job files say, and what a saved model remembers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from outgrow.deep import codecs, strategies
from outgrow.deep.codecs import Codec
from outgrow.deep.strategies import Strategy
from outgrow.errors import ParameterError
from outgrow.stats import robust

_SNAKE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_MERGES = {kind.__name__: kind for kind in (robust.Mean, robust.Median, robust.TrimmedMean, robust.Krum)}


def _word(name: str) -> str:
    """The name of a class as job files write it.

    Examples
    --------
    >>> [_word(name) for name in ("DDP", "LocalSGD", "PowerSGD", "TopK", "DiLoCo", "ParameterServer")]
    ['ddp', 'local_sgd', 'power_sgd', 'top_k', 'diloco', 'parameter_server']
    """
    return {"DiLoCo": "diloco"}.get(name, _SNAKE.sub("_", name).lower())


_KINDS: dict[str, dict[str, Any]] = {
    "strategy": {_word(name): getattr(strategies, name) for name in strategies.__all__ if name != "Strategy"},
    "codec": {_word(name): getattr(codecs, name) for name in codecs.__all__ if name != "Codec"},
    "merge": {_word(name): kind for name, kind in _MERGES.items()},
}


def strategy_of(value: Any) -> Strategy:
    """A strategy by its name, or as it is.

    Parameters
    ----------
    value : a strategy; its name, such as 'local_sgd'; or a mapping of `name` and parameters, such as
        `{"name": "diloco", "every": 50, "codec": {"name": "top_k", "share": 0.01}}`.

    Raises
    ------
    ParameterError
        When there is none of that name, or it does not take these parameters.

    Examples
    --------
    >>> from outgrow.deep.strategy_words import strategy_of
    >>> strategy_of({"name": "diloco", "every": 50, "codec": "int8"})
    DiLoCo(every=50, outer_lr=0.7, outer_momentum=0.9, codec=Int8())
    """
    strategy: Strategy = _made("strategy", value)
    return strategy


def words_of(value: Any) -> Any:
    """A strategy as a mapping of plain values, which `strategy_of` takes; other values are themselves.

    Parameters
    ----------
    value : a strategy, a codec, a merge, or a number.

    Examples
    --------
    >>> import outgrow as og
    >>> from outgrow.deep.strategy_words import words_of
    >>> words_of(og.LocalSGD(every=8, codec=og.TopK(0.1)))
    {'name': 'local_sgd', 'every': 8, 'codec': {'name': 'top_k', 'share': 0.1}}
    """
    if not any(type(value) in kinds.values() for kinds in _KINDS.values()):
        return value
    words = {
        field.name: words_of(getattr(value, field.name))
        for field in fields(value)
        if field.default is MISSING or getattr(value, field.name) != field.default
    }
    return {"name": _word(type(value).__name__), **words}


def is_strategy(value: Any) -> bool:
    """Whether `strategy_of` takes a value.

    Parameters
    ----------
    value : anything.
    """
    return isinstance(value, str | Mapping | Strategy)


def _made(role: str, value: Any) -> Any:
    if value is None or isinstance(value, Codec | Strategy) or hasattr(value, "merge"):
        return value
    if not isinstance(value, str | Mapping):
        raise ParameterError(f"{role}={value!r}: a name or a mapping; there are {sorted(_KINDS[role])}.")
    words = {"name": value} if isinstance(value, str) else dict(value)
    name, kinds = words.pop("name", None), _KINDS[role]
    if name not in kinds:
        raise ParameterError(f"{role}={value!r}: there are {sorted(kinds)}.")
    known = [field.name for field in fields(kinds[name])]
    unknown = sorted(set(words) - set(known))
    if unknown:
        raise ParameterError(f"{role} {name!r} has no {unknown[0]!r}; it takes {known}.")
    given = {key: _made(key, item) if key in ("codec", "merge") else item for key, item in words.items()}
    return kinds[name](**given)
