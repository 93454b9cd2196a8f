"""Rows that repeat the key of another: counted by hashes, and settled by the values themselves.

Equal keys have equal hashes, so where no hash comes twice no key does, for certain. Where one does, the rows
of up to a hundred such hashes are read once more and their values compared: two keys that share a hash are
told apart, and the answer is exact (that more than a hundred hashes of 64 bits meet is no chance). Keys past
what is held at once are placed by their hashes, which brings rows of a key together, and counted there; rows
wait in files where memory ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.data.batch import Batch
from outgrow.data.exact import readable
from outgrow.data.keys import key_values
from outgrow.engine.dataset import Dataset
from outgrow.engine.shard import Shard
from outgrow.expectations.checker import hashes_of, whole_keys
from outgrow.expectations.state import EXAMPLES, KeyHashes, RowsAside
from outgrow.stats.state import from_tree, to_tree

LOOKED_AT = 100
"""Hashes that come twice whose rows are looked at."""
_COUNT = "__outgrow_rows"


@dataclass(frozen=True)
class Repeated:
    """Rows that repeat a key.

    Attributes
    ----------
    rows : how many there are, the first of each key not counted.
    examples : some of those keys, as text.
    """

    rows: int
    examples: tuple[str, ...] = ()


def repeated_rows(keys: KeyHashes, rows: Dataset, by: tuple[str, ...]) -> Repeated:
    """The rows that repeat the key of another.

    Parameters
    ----------
    keys : the hashes of the keys.
    rows : they come from; those of earlier windows may be gone.
    by : the columns of the key.
    """
    if not keys.held:
        return _placed(rows, by)
    hashes = keys.in_order()
    again = hashes[1:][hashes[1:] == hashes[:-1]]
    if not len(again):
        return Repeated(0)
    looked_at = np.unique(again)[:LOOKED_AT]
    groups = _counted(_rows_of(rows, by, looked_at), by)
    twice = groups.filter(pc.greater(groups[_COUNT], 1))
    repeating = int(np.isin(again, looked_at).sum())
    all_there = int(pc.sum(groups[_COUNT]).as_py() or 0) == repeating + len(looked_at)
    by_chance = repeating - _more_than_one(twice) if all_there else 0
    return Repeated(len(again) - by_chance, _texts(twice, by))


def _rows_of(rows: Dataset, by: tuple[str, ...], hashes: np.ndarray) -> pa.Table:
    """The keys that have one of some hashes, in one more pass over their columns."""

    def fold(batch: Batch) -> RowsAside:
        keys = whole_keys(batch, by)
        return RowsAside.of(key_values(keys.filter(np.isin(hashes_of(keys, by), hashes)), by))

    def learn(shard: Shard) -> Any:
        return to_tree(shard.reduce(fold, encoded=True, empty=fold(shard.example)))

    scan = rows.select(*by).scan
    kept: RowsAside = from_tree(rows.engine.fit(learn, scan, stage="check", keep=False).result)
    example = key_values(whole_keys(scan.example(), by), by).schema
    return kept.table(example) if kept.held else example.empty_table()


def _placed(rows: Dataset, by: tuple[str, ...]) -> Repeated:
    """As `repeated_rows`, of keys that are placed so that those alike are in one batch."""

    def fold(batch: Batch) -> tuple[np.ndarray, RowsAside]:
        groups = _counted(pa.Table.from_batches([key_values(whole_keys(batch, by), by)]), by)
        twice = groups.filter(pc.greater(groups[_COUNT], 1))
        some = twice.select(list(by)).slice(0, EXAMPLES).combine_chunks().to_batches()
        return np.array([_more_than_one(twice)], np.int64), RowsAside.of(
            some[0] if some else key_values(whole_keys(batch.slice(0, 0), by), by)
        )

    def learn(shard: Shard) -> Any:
        placed = shard.exchange(by)
        return to_tree(placed.reduce(fold, empty=fold(placed.example)))

    scan = rows.select(*by).scan
    count, kept = from_tree(rows.engine.fit(learn, scan, stage="check", keep=False).result)
    example = key_values(whole_keys(scan.example(), by), by).schema
    return Repeated(int(count[0]), _texts(kept.table(example), by))


def _counted(keys: pa.Table, by: tuple[str, ...]) -> pa.Table:
    names = [str(position) for position in range(len(by))]
    groups = pa.table(keys.columns, names=names).group_by(names).aggregate([([], "count_all")])
    return pa.table([*(groups[name] for name in names), groups["count_all"]], names=[*by, _COUNT])


def _more_than_one(groups: pa.Table) -> int:
    return int(pc.sum(pc.subtract(groups[_COUNT], 1)).as_py() or 0)


def _texts(keys: pa.Table, by: tuple[str, ...]) -> tuple[str, ...]:
    texts = {" ".join(str(row[name]) for name in by) for row in readable(keys.select(list(by)))}
    return tuple(sorted(texts)[:EXAMPLES])
