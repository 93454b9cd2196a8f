"""Sequences that many sequences hold."""

from __future__ import annotations

from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch
from outgrow.data.kind import is_list
from outgrow.data.matrix import Matrix
from outgrow.engine.memory import describe_size
from outgrow.engine.open import dataset
from outgrow.engine.shard import Shard
from outgrow.errors import ColumnNotFoundError, DataError, SchemaError
from outgrow.ml.core.parameters import Integer, Number
from outgrow.ml.fpm.items import arrow_items, item_counter, most_frequent, value_type
from outgrow.ml.fpm.sequences import GAP, Pattern, Sequences, split_sets
from outgrow.ml.preprocessing.categories import Coder, plain
from outgrow.stats.baskets import Baskets
from outgrow.stats.quantiles import Gathered
from outgrow.stats.state import from_tree, to_tree


def frequent_sequences(
    data: Any, column: str, *, min_support: float = 0.1, max_pattern_length: int = 10
) -> pa.Table:
    """The sequences that many rows hold: their items come in this order, with others between them or not.

    Parameters
    ----------
    data : dataset, Spark DataFrame or table.
    column : of lists of items; or of lists of lists, where the items of an inner list come together. Missing
        lists are no sequences; missing items are left out, and those of a set count once.
    min_support : the share of the sequences that must hold a sequence.
    max_pattern_length : how many items a sequence that is found has at most.

    Returns
    -------
    A table of `sequence`, lists of sets of items, `count` and `support`; sequences of few items first, of as
    many the more frequent first.

    Raises
    ------
    SchemaError
        When the column holds no lists.
    DataError
        When there are no sequences, or those that are frequent, or different, are too many for memory.

    Notes
    -----
    PrefixSpan (Pei et al. 2004): two passes, for the frequent items and for the different sequences of these,
    which every task of a cluster holds; each extends some items. Counts are exact, and the same for any
    partitioning.

    Unlike Spark MLlib's `PrefixSpan(minSupport=0.1, maxPatternLength=10, maxLocalProjDBSize=32000000)`: a
    function; `freq` is `count`, and there is no limit of projected databases to set.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> visits = pa.table({"pages": [["home", "cart", "pay"], ["home", "help", "pay"], ["home", "cart"]]})
    >>> found = og.frequent_sequences(visits, "pages", min_support=0.6)
    >>> found["sequence"].to_pylist()[-2:]
    [[['home'], ['cart']], [['home'], ['pay']]]
    """
    Number(above=0, high=1).check("frequent_sequences", "min_support", min_support)
    Integer(low=1).check("frequent_sequences", "max_pattern_length", max_pattern_length)
    opened = dataset(data)
    if column not in opened.scan.schema.names:
        raise ColumnNotFoundError(f"No column {column!r} among {opened.scan.schema.names}.")
    opened = opened.select([column])

    def fit(shard: Shard) -> Any:
        return _learned(shard, column, min_support, max_pattern_length)

    items, rows, found = opened.engine.fit(fit, opened.scan, stage="sequences").result
    return _table(arrow_items(np.asarray(items)), int(rows), from_tree(found))


def _learned(shard: Shard, column: str, min_support: float, longest: int) -> Any:
    """The frequent items, how many sequences there are, and the patterns as a tree."""
    kind = _item_type(shard.example, column)
    count = item_counter(kind)

    def counted(batch: Batch) -> tuple[Any, np.ndarray]:
        items, _, rows = _occurrences(batch, column)
        return count(items, rows), np.array([float(np.asarray(_lists(batch, column).is_valid()).sum())])

    counts, total = shard.reduce(counted)
    if not total[0]:
        raise DataError(f"All sequences in {column!r} are missing. Choose a column with some.")
    least = ceil(min_support * total[0] * (1 - 1e-12))
    items, _ = most_frequent(counts, kind, least)
    patterns = Gathered((np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)))
    if len(items):
        coder = Coder(column, items, np.append(np.arange(len(items)), -1))
        held: Baskets = shard.reduce(lambda batch: _sequences(batch, column, coder)).compact()
        budget = shard.run.memory.budget
        if 12 * held.nbytes > budget:
            raise DataError(
                f"The {len(held.weights):,} different sequences of frequent items take "
                f"{describe_size(held.nbytes)}, and looking through them twelve times that, of a budget of "
                f"{describe_size(budget)}. Raise min_support or the memory of the engine."
            )
        patterns = _mined(shard, held, len(items), least, longest)
    return items, float(total[0]), to_tree(patterns)


def _mined(shard: Shard, held: Baskets, items: int, least: float, longest: int) -> Gathered:
    """The patterns as numbers, the length of each, and their weights: each rank finds some."""
    run, sequences = shard.run, Sequences(held.items, held.ends, held.weights)
    sequences.prepare()
    own = range(1 + run.comm.rank, 1 + items, run.comm.size)
    parts = [
        pair for part in run.map(lambda item: sequences.patterns(item, least, longest), own) for pair in part
    ]
    flat = np.array([number for pattern, _ in parts for number in pattern], dtype=np.int64)
    lengths = np.array([len(pattern) for pattern, _ in parts], dtype=np.int64)
    mine = Gathered((flat, lengths, np.array([weight for _, weight in parts], dtype=np.float64)))
    gathered: Gathered = run.call(lambda: run.combine(mine))
    return gathered


def _table(items: pa.Array, rows: int, found: Gathered) -> pa.Table:
    """Patterns as users know them."""
    flat, lengths, weights = found.values
    edges = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    numbers = flat.tolist()
    patterns: list[Pattern] = [tuple(numbers[a:b]) for a, b in pairwise(edges)]
    sizes = [sum(item != GAP for item in pattern) for pattern in patterns]
    order = sorted(range(len(patterns)), key=lambda at: (sizes[at], -weights[at], patterns[at]))
    sets = [one for at in order for one in split_sets(patterns[at])]
    inner = np.cumsum([0, *map(len, sets)])
    outer = np.cumsum([0, *(patterns[at].count(GAP) + 1 for at in order)])
    values = items.take(pa.array([item - 1 for one in sets for item in one], pa.int64()))
    lists = pa.ListArray.from_arrays(pa.array(inner, pa.int32()), values)
    sequences = pa.ListArray.from_arrays(pa.array(outer, pa.int32()), lists)
    counts = weights[order].astype(np.int64) if len(order) else np.zeros(0, np.int64)
    return pa.table({"sequence": sequences, "count": counts, "support": counts / rows})


def _lists(batch: Batch, column: str) -> pa.Array:
    lists = batch[column]
    if isinstance(lists, Matrix) or not (is_list(lists.type) or pa.types.is_list(lists.type)):
        raise SchemaError(f"Column {column!r} holds no lists. Choose a column of lists of items, or of sets.")
    return lists


def _item_type(example: Batch, column: str) -> pa.DataType:
    """The type of the items, as they are counted."""
    kind = _lists(example, column).type.value_type
    return value_type(kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind)


def _occurrences(batch: Batch, column: str) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """All items that are there, and the set and the row of each; sets are numbered through all rows."""
    lists = _lists(batch, column)
    sets, rows = lists.flatten(), pc.list_parent_indices(lists).to_numpy()
    if pa.types.is_list(sets.type) or pa.types.is_large_list(sets.type):
        numbers = pc.list_parent_indices(sets).to_numpy()
        items, rows = sets.flatten(), rows[numbers]
    else:
        items, numbers = sets, np.arange(len(sets))
    items = plain(items, column)
    there = np.asarray(items.is_valid())
    return items.filter(pa.array(there)), numbers[there], rows[there]


def _sequences(batch: Batch, column: str, coder: Coder) -> Baskets:
    """The sequences of frequent items, as `Sequences` takes them."""
    items, sets, rows = _occurrences(batch, column)
    codes = coder.encode(items)[0] if len(items) else np.zeros(0, np.int64)
    known = codes >= 0
    codes, sets, rows = codes[known] + 1, sets[known], rows[known]
    order = np.lexsort((codes, sets))  # sets are numbered row by row
    codes, sets, rows = codes[order], sets[order], rows[order]
    again = np.append(False, (codes[1:] == codes[:-1]) & (sets[1:] == sets[:-1]))[: len(codes)]
    codes, sets, rows = codes[~again], sets[~again], rows[~again]
    gaps = 1 + np.flatnonzero((sets[1:] != sets[:-1]) & (rows[1:] == rows[:-1]))
    lengths = np.bincount(np.concatenate([rows, rows[gaps]])) if len(rows) else np.zeros(0, np.int64)
    ends = np.concatenate([[0], np.cumsum(lengths[lengths > 0])])
    return Baskets.of(np.insert(codes, gaps, GAP), ends)
