"""The values that a column is given to see what a model makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch
from outgrow.data.hashing import row_hash
from outgrow.data.kind import NUMBER, Kind
from outgrow.data.matrix import Matrix
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.inspection.least_table import LeastTable
from outgrow.ml.core.matrices import column_quantiles

MOST_CATEGORIES = 1000


@dataclass(frozen=True)
class Grid:
    """Which values columns are given.

    Attributes
    ----------
    names : the columns.
    given : by column, values to take instead of those that are found.
    resolution : how many values a column of numbers gets at most.
    percentiles : between which quantiles they lie.
    """

    names: tuple[str, ...]
    given: Mapping[str, list[Any]]
    resolution: int
    percentiles: tuple[float, float]

    def values(self, shard: Shard) -> dict[str, pa.Array]:
        """The values of each column, in its type.

        Parameters
        ----------
        shard : the rows; all ranks ask together.
        """
        types = {name: _type_of(name, shard.example) for name in self.names}
        values = {
            name: _as_array(name, self.given[name], types[name]) for name in self.names if name in self.given
        }
        open_ = [name for name in self.names if name not in values]
        if not open_:
            return values
        seen = shard.reduce(lambda batch: tuple(self._seen(batch, name) for name in open_))
        wide = []
        for name, (few, count) in zip(open_, seen, strict=True):
            if Kind.of(types[name]) == NUMBER and len(few.key) >= self.resolution:
                wide.append((name, int(count[0])))
            else:
                values[name] = self._sorted(name, few, types[name])
        return values | self._spread(shard, wide, types)

    def _most(self, kind: pa.DataType) -> int:
        return self.resolution if Kind.of(kind) == NUMBER else MOST_CATEGORIES + 1

    def _seen(self, batch: Batch, name: str) -> tuple[LeastTable, np.ndarray]:
        """The different values of a column, where they are few, and how many rows have one."""
        column = _column(batch, name)
        if pa.types.is_floating(column.type):
            column = column.filter(pc.is_finite(column))
        else:
            column = column.filter(column.is_valid())
        part = Batch({name: column}, len(column))
        table = LeastTable.of(self._most(column.type), part, row_hash(part), distinct=True)
        return table, np.array([len(column)])

    def _sorted(self, name: str, few: LeastTable, kind: pa.DataType) -> pa.Array:
        if len(few.key) > MOST_CATEGORIES:
            raise ParameterError(
                f"{name!r} has more than {MOST_CATEGORIES:,} different values. Name some in custom_values."
            )
        if not len(few.key):
            raise DataError(f"{name!r} has no value. Leave it out, or name some in custom_values.")
        column = _column(few.batch, name)
        return column.take(pc.sort_indices(column)).cast(kind)

    def _spread(
        self, shard: Shard, wide: list[tuple[str, int]], types: Mapping[str, pa.DataType]
    ) -> dict[str, pa.Array]:
        """Values at equal distances between two quantiles, as SciPy's `mquantiles` finds them."""
        values = {}
        for count in sorted({count for _, count in wide}):
            names = [name for name, rows in wide if rows == count]
            ranks, share = _ranks(self.percentiles, count)
            ends = column_quantiles(shard, names, (ranks.ravel() / max(count - 1, 1)).tolist())
            low, high = ends.reshape(2, 2, len(names))
            for j, name in enumerate(names):
                first, last = low[:, j] + share * (high[:, j] - low[:, j])
                if first == last:
                    raise ParameterError(
                        f"The quantiles {self.percentiles} of {name!r} are the same, {first:g}. Give others "
                        "as percentiles, or values in custom_values."
                    )
                values[name] = pa.array(np.linspace(first, last, self.resolution))
        return values

    def packed(self, values: Mapping[str, pa.Array]) -> tuple[Any, ...]:
        """The values of all columns as states.

        Parameters
        ----------
        values : of each column.
        """
        columns = (values[name] for name in self.names)
        return tuple(
            LeastTable.of(len(part), Batch({"value": part}, len(part)), np.arange(len(part), dtype=np.uint64))
            for part in columns
        )

    def unpacked(self, packed: tuple[Any, ...]) -> dict[str, pa.Array]:
        """The values of each column.

        Parameters
        ----------
        packed : what `packed` gave.
        """
        return {name: part.batch["value"] for name, part in zip(self.names, packed, strict=True)}


def _ranks(probabilities: tuple[float, float], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Ranks from 0 below and above each quantile, shape (2, quantiles), and where between them it is."""
    p = np.array(probabilities)
    position = count * p + 0.4 + 0.2 * p
    below = np.floor(np.clip(position, 1, max(count - 1, 1)))
    share = np.clip(position - below, 0, 1)
    low = np.clip(below - 1, 0, count - 1)
    return np.stack([low, np.clip(low + 1, 0, count - 1)]), share


def _type_of(name: str, example: Batch) -> pa.DataType:
    return _column(example, name).type


def _column(batch: Batch, name: str) -> pa.Array:
    column = batch[name]
    if isinstance(column, Matrix) or pa.types.is_nested(column.type):
        raise ParameterError(
            f"{name!r} holds vectors or lists, which are not given values. Name other columns."
        )
    return column


def _as_array(name: str, values: list[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, pa.float64() if Kind.of(kind) == NUMBER else kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ParameterError(f"custom_values of {name!r}: {values[:5]} are no values of {kind}.") from error
