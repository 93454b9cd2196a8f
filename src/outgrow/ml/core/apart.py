"""Vectors of which an estimator names single numbers: these become columns, the others stay vectors.

An encoder makes one sparse matrix of several columns. Whoever writes it to a table finds them by their names,
so a step that is told one of those names finds it, too, and no others are made dense for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa

from outgrow.data.batch import MAX_EXPANDED_COLUMNS, Batch
from outgrow.data.matrix import Column, Matrix
from outgrow.data.names import numbered

Apart = Mapping[str, Sequence[tuple[str, int]]]
"""Of each vector that is taken apart: what its parts are called, and how many numbers each has, in order."""


def vectors_with(example: Batch) -> dict[str, str]:
    """The vector in which each number lies that is no column, but would be one of a table."""
    return {
        name: vector
        for vector, column in example.held.items()
        if isinstance(column, Matrix) and column.width <= MAX_EXPANDED_COLUMNS
        for name in column.names
        if name not in example.columns
    }


def apart_for(
    wanted: Iterable[str], example: Batch, names: Collection[str]
) -> dict[str, list[tuple[str, int]]]:
    """How vectors come apart, so that each wanted name is that of a column.

    Parameters
    ----------
    wanted : names of columns, or of numbers in vectors.
    example : a batch that has them; it needs no rows.
    names : those columns that count.
    """
    within = {name: vector for name, vector in vectors_with(example).items() if vector in names}
    single = {name for name in wanted if name in within}
    taken = {*example.columns, *within}
    made: dict[str, list[tuple[str, int]]] = {}
    for vector in dict.fromkeys(within[name] for name in wanted if name in single):
        made[vector] = []
        for alone, run in groupby(example.held[vector].names, lambda name: name if name in single else None):
            called = alone or (numbered(vector, taken) if made[vector] else vector)
            taken.add(called)
            made[vector].append((called, len(list(run))))
    return made


@dataclass(frozen=True)
class TakenApart:
    """The step that takes vectors apart; those that came as columns stay these.

    Attributes
    ----------
    parts : as `apart_for` gives them, as tuples.
    """

    parts: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]

    @classmethod
    def of(cls, apart: Apart) -> TakenApart:
        """From what `apart_for` gives."""
        return cls(
            tuple((vector, tuple((name, width) for name, width in own)) for vector, own in apart.items())
        )

    def __call__(self, batch: Batch) -> Batch:
        for vector, own in self.parts:
            column = batch.held.get(vector)
            if isinstance(column, Matrix):
                batch = batch.replace([vector], _parts(column, own))
        return batch


def _parts(matrix: Matrix, own: Iterable[tuple[str, int]]) -> dict[str, Column]:
    made: dict[str, Column] = {}
    start = 0
    for name, width in own:
        values, names = matrix.values[:, start : start + width], matrix.names[start : start + width]
        if width == 1 and names[0] == name:
            made[name] = pa.array((values.toarray() if matrix.sparse else values)[:, 0])
        else:
            made[name] = Matrix(values, tuple(names))
        start += width
    return made
