"""Who rated what, and how: keys as numbers, all ratings in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from outgrow.data.batch import Batch
from outgrow.data.exact import exact_type
from outgrow.data.hashing import column_hash, seeded, unit
from outgrow.data.kind import is_list, is_time
from outgrow.data.matrix import Matrix
from outgrow.engine.blocks import MatrixSpec, build_blocks
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, SchemaError
from outgrow.ml.core.task import Task
from outgrow.ml.preprocessing.categories import Coder, counting, plain, sorted_values
from outgrow.stats.extremes import Extremes
from outgrow.stats.quantiles import Gathered

_BYTES = 150
"""About what a rating takes while factors are learned: read, gathered, sorted by user and by item."""


@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings of items by users.

    Attributes
    ----------
    keys : the users and the items, each an ndarray of shape (keys,), sorted.
    places : of each rating the user and the item, int of shape (ratings,).
    values, weights : float64 of shape (ratings,).
    """

    keys: tuple[np.ndarray, np.ndarray]
    places: tuple[np.ndarray, np.ndarray]
    values: np.ndarray
    weights: np.ndarray

    def matrix(self, values: np.ndarray) -> Any:
        """A value for each rating as a CSR array of shape (users, items); those of a pair are added."""
        shape = (len(self.keys[0]), len(self.keys[1]))
        made = sp.csr_array((values, self.places), shape=shape)
        made.sum_duplicates()
        return made


def key_type(example: Batch, name: str) -> pa.DataType:
    """The type of the keys in a column, as they are counted.

    Parameters
    ----------
    example : a batch that shows the types of the columns.
    name : of the column.

    Raises
    ------
    SchemaError
        When the column holds vectors or lists.
    """
    column = example[name]
    if isinstance(column, Matrix) or is_list(column.type):
        raise SchemaError(
            f"Column {name!r} holds no keys but vectors or lists. Name columns of single values."
        )
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return pa.string() if is_time(kind) or pa.types.is_null(kind) else exact_type(kind)


class KeyCoder:
    """Finds the number of each key.

    Parameters
    ----------
    name : of the column.
    keys : the known keys, sorted.
    """

    def __init__(self, name: str, keys: np.ndarray) -> None:
        self._name = name
        self._coder = Coder(name, keys, np.append(np.arange(len(keys)), -1)) if len(keys) else None

    def codes(self, batch: Batch) -> np.ndarray:
        """The numbers of the keys in a batch, -1 for those that are not known or missing."""
        return self.codes_of(batch[self._name])

    def codes_of(self, column: Any) -> np.ndarray:
        """The same of a column by itself."""
        if self._coder is None or not len(column):
            return np.full(len(column), -1)
        return self._coder.encode(column)[0]


@dataclass(frozen=True, eq=False)
class KnownKeys:
    """The users and the items of all ratings that count.

    Attributes
    ----------
    names : the columns of users and of items.
    spec : says which columns are y and weights.
    keys : ndarrays of shape (keys,), sorted.
    rows : how many ratings count.
    coders : find the number of each key.
    budget : the least of the memory budgets of all ranks, in bytes.
    """

    names: Sequence[str]
    spec: MatrixSpec
    keys: tuple[np.ndarray, np.ndarray]
    rows: int
    coders: tuple[KeyCoder, KeyCoder]
    budget: int

    @classmethod
    def of(cls, shard: Shard, names: Sequence[str], task: Task) -> KnownKeys:
        """One pass.

        Parameters
        ----------
        shard : the rows.
        names : the columns of users and of items.
        task : says which columns are y and weights.

        Raises
        ------
        DataError
            When keys are missing, or no rating counts.
        """
        spec = MatrixSpec((), task.target, task.weight)
        kinds = [key_type(shard.example, name) for name in names]
        counters = [counting(kind, False) for kind in kinds]
        budget = np.array([[float(shard.run.memory.budget)]])

        def counted(batch: Batch) -> tuple[Any, ...]:
            kept = _used(batch, spec, names)
            keys = [plain(kept[name], name) for name in names]
            pairs = zip(counters, keys, strict=True)
            found = (count(column) for count, column in pairs)
            return (*found, np.array([float(kept.num_rows)]), Extremes.of(budget))

        *counts, rows, budgets = shard.reduce(counted)
        if not rows[0]:
            raise DataError(
                "There are no ratings that count: all have weight 0. Give at least one some weight."
            )
        users, items = (sorted_values(found, kind) for found, kind in zip(counts, kinds, strict=True))
        coders = (KeyCoder(names[0], users), KeyCoder(names[1], items))
        return cls(names, spec, (users, items), int(rows[0]), coders, int(budgets.low[0]))

    @property
    def needed(self) -> int:
        """About how many bytes all ratings take in a task."""
        return _BYTES * self.rows

    @property
    def fit_into_memory(self) -> bool:
        """Whether each task can hold all ratings."""
        return self.needed <= self.budget

    def coded(self, batch: Batch) -> tuple[np.ndarray, ...]:
        """Of the ratings of a batch the users and the items as numbers, the values and the weights."""
        kept = _used(batch, self.spec, self.names)
        if not kept.num_rows:
            return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0), np.zeros(0)
        (block,) = build_blocks(kept, self.spec)
        weight = np.ones(kept.num_rows) if block.weight is None else block.weight
        users, items = (coder.codes(kept).astype(np.int32) for coder in self.coders)
        return users, items, np.asarray(block.y, dtype=np.float64), weight.astype(np.float64)

    def gathered(self, shard: Shard) -> Ratings:
        """All ratings, on every rank: one pass."""
        found: Gathered = shard.reduce(lambda batch: Gathered(self.coded(batch)))
        user, item, values, weights = found.values
        return Ratings(self.keys, (user, item), values, weights)


def _used(batch: Batch, spec: MatrixSpec, names: Sequence[str]) -> Batch:
    """The rows that count, all of which must have keys."""
    if spec.weight is not None and batch.num_rows:
        (block,) = build_blocks(batch, spec)
        if block.weight is not None and not block.weight.all():
            batch = batch.filter(block.weight > 0)
    for name in names:
        column = plain(batch[name], name)
        gone = int(np.count_nonzero(column.is_null(nan_is_null=True)))
        if gone:
            raise DataError(
                f"Column {name!r} has {gone:,} missing keys in a batch of {batch.num_rows:,} rows: of whom "
                "these ratings are is not known. Leave those rows out."
            )
    return batch


def first_factors(keys: np.ndarray, components: int, seed: int) -> np.ndarray:
    """Random factors of shape (keys, components) that follow from each key alone.

    Parameters
    ----------
    keys : any values.
    components : how many numbers each gets.
    seed : another one gives others.
    """
    hashes = column_hash(pa.array(keys.tolist()), "keys")
    columns = [unit(seeded(hashes, seed * 4096 + component)) for component in range(components)]
    return np.sqrt(12.0) * (np.column_stack(columns) - 0.5) / np.sqrt(components)
