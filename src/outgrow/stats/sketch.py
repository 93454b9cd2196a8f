"""Sketches of Apache DataSketches as states: quantiles and frequent values in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import datasketches
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.stats.state import State

KLL_SIZE = 400
"""Accuracy of quantiles: the rank of an answer is off by less than 0.7 %, with 99 % confidence."""
FREQUENT_SIZE = 12
"""At most 0.75 * 2**12 values are counted at once; rarer ones share an error bound that is reported."""


@dataclass(frozen=True, eq=False)
class QuantileSketch(State):
    """Approximate quantiles (Karnin, Lang and Liberty 2016)."""

    sketch: bytes

    @classmethod
    def of(cls, values: np.ndarray) -> QuantileSketch:
        """The sketch of float64 values, NaN left out."""
        sketch = datasketches.kll_doubles_sketch(KLL_SIZE)
        sketch.update(np.ascontiguousarray(values[~np.isnan(values)]))
        return cls(sketch.serialize())

    def merge(self, other: QuantileSketch) -> QuantileSketch:
        union = datasketches.kll_doubles_sketch.deserialize(self.sketch)
        union.merge(datasketches.kll_doubles_sketch.deserialize(other.sketch))
        return QuantileSketch(union.serialize())

    def quantiles(self, probabilities: Sequence[float]) -> list[float]:
        sketch = datasketches.kll_doubles_sketch.deserialize(self.sketch)
        if sketch.is_empty():
            return [float("nan")] * len(probabilities)
        return [float(value) for value in sketch.get_quantiles(list(probabilities))]

    def histogram(self, edges: np.ndarray) -> np.ndarray:
        """About how many values lie between neighbouring edges."""
        sketch = datasketches.kll_doubles_sketch.deserialize(self.sketch)
        if sketch.is_empty():
            return np.zeros(len(edges) - 1)
        below = np.array(sketch.get_cdf(list(edges))[:-1])
        counts = np.diff(below)
        counts[-1] += 1 - below[-1]
        counts[0] += below[0]
        return counts * sketch.n


@dataclass(frozen=True, eq=False)
class FrequentValues(State):
    """The most frequent values, as text, with bounds on their counts (Misra and Gries 1982)."""

    sketch: bytes

    @classmethod
    def of(cls, array: pa.Array) -> FrequentValues:
        pairs = pc.value_counts(array.drop_null()).to_pylist()
        return cls.counted([str(pair["values"]) for pair in pairs], [pair["counts"] for pair in pairs])

    @classmethod
    def counted(cls, values: Sequence[str], counts: Sequence[int]) -> FrequentValues:
        """The sketch of values that are counted already.

        Parameters
        ----------
        values : each once.
        counts : how often each occurs.
        """
        sketch = datasketches.frequent_strings_sketch(FREQUENT_SIZE)
        for value, count in zip(values, counts, strict=True):
            sketch.update(value, count)
        return cls(sketch.serialize())

    def merge(self, other: FrequentValues) -> FrequentValues:
        union = datasketches.frequent_strings_sketch.deserialize(self.sketch)
        union.merge(datasketches.frequent_strings_sketch.deserialize(other.sketch))
        return FrequentValues(union.serialize())

    def top(self, many: int) -> list[tuple[str, int]]:
        """The most frequent values and their estimated counts."""
        sketch = datasketches.frequent_strings_sketch.deserialize(self.sketch)
        kind = datasketches.frequent_items_error_type.NO_FALSE_NEGATIVES
        return [(item[0], int(item[1])) for item in sketch.get_frequent_items(kind)[:many]]
