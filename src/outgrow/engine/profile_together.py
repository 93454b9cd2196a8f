"""What columns tell together: which of their values are missing in the same rows, and which are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch, is_numeric
from outgrow.data.matrix import Matrix, numbers
from outgrow.engine.profile_columns import ColumnState
from outgrow.stats.sketch import FrequentValues

_MOST_PAIRS = 1_000
"""Pairs of columns that are compared row by row, because all else about them is the same."""


def missing_patterns(batch: Batch) -> FrequentValues:
    """How often values of the same columns are missing together.

    Each pattern is the bits of its columns as hexadecimal digits; rows that miss nothing have none.
    """
    masks = [_missing(column) for column in batch.columns.values()]
    if not any(mask is not None for mask in masks):
        return FrequentValues.counted([], [])
    none = np.zeros(batch.num_rows, dtype=bool)
    bits = np.packbits(np.array([none if mask is None else mask for mask in masks]), axis=0).T
    bits = np.ascontiguousarray(bits[bits.any(axis=1)])
    patterns, counts = np.unique(bits.view(f"V{bits.shape[1]}").ravel(), return_counts=True)
    return FrequentValues.counted([pattern.tobytes().hex() for pattern in patterns], counts.tolist())


def pattern_columns(pattern: str, names: Sequence[str]) -> tuple[str, ...]:
    """The columns that a pattern means.

    Parameters
    ----------
    pattern : hexadecimal digits, as `missing_patterns` makes them.
    names : of all columns.
    """
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(pattern), dtype=np.uint8))
    return tuple(names[j] for j in np.flatnonzero(bits[: len(names)]).tolist())


def _missing(column: Any) -> np.ndarray | None:
    """Which values are missing; None where none is."""
    if isinstance(column, Matrix):
        return None
    if not column.null_count and not pa.types.is_floating(column.type):
        return None
    mask = column.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    return mask if mask.any() else None


def look_alikes(states: Mapping[str, ColumnState]) -> list[tuple[str, str]]:
    """The pairs of columns that may be the same, as far as each tells by itself."""
    alike: dict[Any, list[str]] = {}
    for name, state in states.items():
        if state.distinct is not None and state.distinct.estimate() > 1.5:
            alike.setdefault(_signature(state), []).append(name)
    pairs = [pair for names in alike.values() for pair in combinations(names, 2)]
    return pairs[:_MOST_PAIRS]


def _signature(state: ColumnState) -> Any:
    assert state.distinct is not None
    shape = state.shape
    sums = () if shape is None else (*shape.n, *shape.mean, *shape.m2, *shape.m3)
    return state.missing, state.distinct.registers.tobytes(), sums, state.low, state.high


def mismatches(batch: Batch, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """In how many rows each pair of columns differs.

    Parameters
    ----------
    batch : the rows.
    pairs : of names.
    """
    return np.array([_differ(batch[a], batch[b]) for a, b in pairs], dtype=np.int64)


def _differ(a: pa.Array, b: pa.Array) -> int:
    if is_numeric(a.type) and is_numeric(b.type):
        x, y = (np.asarray(numbers(column), dtype=np.float64) for column in (a, b))
        return int(np.count_nonzero((x != y) & ~(np.isnan(x) & np.isnan(y))))
    a, b = (c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in (a, b))
    if a.type != b.type:
        return len(a)
    codes = pa.chunked_array([a, b]).dictionary_encode(null_encoding="encode")
    x, y = (chunk.indices.to_numpy() for chunk in codes.chunks)
    return int(np.count_nonzero(x != y))
