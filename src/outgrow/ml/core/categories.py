"""Columns of text as categories: their values, learned in one pass, and whole numbers in their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch, is_categorical
from outgrow.data.dictionaries import not_null, places_among
from outgrow.data.matrix import Column, Matrix
from outgrow.engine.shard import Shard
from outgrow.stats.counts import ValueCounts


def is_text(column: Column) -> bool:
    """Whether a column's values are words, or missing throughout."""
    return not isinstance(column, Matrix) and (is_categorical(column.type) or pa.types.is_null(column.type))


def learned_categories(shard: Shard, names: Sequence[str]) -> dict[str, list[Any]]:
    """The values of each of some columns, sorted, from one pass.

    Parameters
    ----------
    shard : the rows.
    names : of columns of text.
    """
    counts = shard.reduce(
        lambda batch: tuple(ValueCounts.of(_plain(batch, name)) for name in names), encoded=True
    )
    return {name: count.values() for name, count in zip(names, counts, strict=True)}


def codes(column: Column, values: list[Any]) -> pa.Array:
    """1, 2, ... for the values in their order, NaN for others; never 0, which sparse rows drop.

    Parameters
    ----------
    column : of text.
    values : those that were learned.
    """
    if isinstance(column, Matrix):
        return pa.array(np.full(len(column), np.nan))
    return places_among(column, values, first=1)


def _plain(batch: Batch, name: str) -> pa.Array:
    column = batch[name]
    assert not isinstance(column, Matrix)
    return not_null(column)
