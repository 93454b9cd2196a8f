"""Items that often stand together in baskets, and rules between them."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.names import numbered
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.ml.base import Transformer
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, Integer, Number, OneOf
from outgrow.ml.core.task import Task, column_names
from outgrow.ml.fpm.eclat import Miner
from outgrow.ml.fpm.items import (
    ItemCoder,
    arrow_items,
    item_counter,
    item_type,
    list_columns,
    most_frequent,
    occurrences,
    once,
    present,
)
from outgrow.ml.fpm.placed import Prefixes, Room, placed_sets
from outgrow.ml.fpm.rules import METRICS, Implied, Itemsets, rules_of
from outgrow.stats.baskets import Baskets, BoundedBaskets
from outgrow.stats.extremes import Extremes
from outgrow.stats.quantiles import Gathered

_LEAST = Number()


class FPGrowth(Transformer):
    """Find the sets of items that often stand together in baskets, and say what else a basket should hold.

    A basket is a list of items: of text, numbers or booleans. Order and repetitions do not matter; an empty
    list is a basket, a missing one is none, and missing items are left out. Several columns of lists are one
    basket. `transform` adds, behind the baskets, the items that follow from them by rules.

    Parameters
    ----------
    min_support : the share of the baskets that must hold all items of a set.
    max_len : how many items a set has at most; None for any.
    min_confidence : of the baskets with the items on the left of a rule, the share that must hold those on
        the right, for `transform` to use the rule.
    columns : which columns, by name or selector; all of lists by default.

    Attributes
    ----------
    items_ : ndarray of the frequent items, the most frequent first, of equals the least.
    itemset_items_ : int32, the sets as numbers of items, one set after the other; smaller sets first, of
        equal size the more frequent first.
    itemset_sizes_ : int64 of shape (n_itemsets,), how many items each has.
    itemset_counts_ : float64 of shape (n_itemsets,), how many baskets hold each.
    n_baskets_ : how many baskets there are.
    output_name_ : what the new column is called: 'consequents', where that is free.

    Raises
    ------
    SchemaError
        When there is no column of lists, or several hold different types.
    DataError
        When the frequent sets are too many for memory.

    Notes
    -----
    Two passes: the frequent items, then the different baskets of these, which every task of a cluster holds;
    each finds the sets of some items. Where these baskets take too much memory, each task gets of them only
    what it needs to find the sets of some items (Li et al. 2008, "PFP"), and rows that do not fit wait in
    files. Sets and counts are exact, and the same for any partitioning. Sets are found as Zaki (2000,
    "Scalable algorithms for association mining") finds them, with baskets as bits: the name is that of Spark
    MLlib's class, for what it does, not how.

    Unlike Spark MLlib's `FPGrowth(minSupport=0.3, minConfidence=0.8, itemsCol="items",
    predictionCol="prediction")`: items may stand several times in a basket; `freqItemsets` and
    `associationRules` are the methods `itemsets()` and `association_rules()`, whose rules may have several
    items on the right. The column that `transform` adds is `consequents`.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> baskets = pa.table({"basket": [["bread", "butter"], ["bread", "butter", "jam"], ["bread"], ["jam"]]})
    >>> model = og.FPGrowth(min_support=0.5, min_confidence=0.6).fit(baskets)
    >>> model.itemsets().to_pylist()[-1]
    {'items': ['bread', 'butter'], 'count': 2, 'support': 0.5}
    >>> model.transform(baskets)["consequents"].to_pylist()
    [[], [], ['butter'], []]
    """

    parameters = {
        "min_support": Number(above=0, high=1),
        "max_len": Integer(low=1) | None,
        "min_confidence": Number(low=0, high=1),
        "columns": COLUMNS,
    }
    test_parameters: ClassVar[dict[str, Any]] = {"min_support": 0.1, "min_confidence": 0.3}
    no_exports: ClassVar[dict[str, str]] = {
        "ONNX": "lists of any length are no tensors",
        "scikit-learn": "it has no columns of lists",
    }
    takes_lists = True
    items_: np.ndarray

    def __init__(
        self,
        min_support: float = 0.5,
        *,
        max_len: int | None = None,
        min_confidence: float = 0.8,
        columns: Columns = None,
    ) -> None:
        self.min_support = min_support
        self.max_len = max_len
        self.min_confidence = min_confidence
        self.columns = columns

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        lists = list_columns("FPGrowth", shard.example, names, self.columns is not None)
        self.selected_ = lists
        self.output_name_ = numbered("consequents", {*shard.example.columns, *column_names(shard.example)})
        kind = item_type(shard.example, lists)
        count = item_counter(kind)

        budget = np.array([[float(shard.run.memory.budget)]])

        def items(batch: Batch) -> tuple[Any, np.ndarray, Extremes]:
            there = np.array([float(present(batch, lists).sum())])
            return count(*occurrences(batch, lists)), there, Extremes.of(budget)

        counts, baskets, budgets = shard.reduce(items)
        self.n_baskets_ = int(baskets[0])
        if not self.n_baskets_:
            raise DataError(f"The lists of {lists} are all missing. Choose columns of lists with items.")
        least = ceil(self.min_support * self.n_baskets_ * (1 - 1e-12))
        self.items_, weights = most_frequent(counts, kind, least)
        several = len(weights) > 1 and self.max_len != 1
        room = Room(int(budgets.low[0]), shard.run.threads, float(weights.sum()))
        found = self._found(shard, lists, least, room) if several else None
        ones: tuple[np.ndarray, ...] = (
            np.arange(len(weights), dtype=np.int32),
            np.ones(len(weights), np.int64),
            weights,
        )
        parts = ones if found is None else tuple(map(np.concatenate, zip(ones, found, strict=True)))
        sets = _by_size(parts, float(self.n_baskets_)).sorted()
        self.itemset_items_, self.itemset_sizes_, self.itemset_counts_ = sets.codes, sets.sizes, sets.weights
        self._restored()

    def _found(self, shard: Shard, lists: list[str], least: float, room: Room) -> tuple[np.ndarray, ...]:
        """The frequent sets of two and more items: all items, the sizes, and the counts."""
        coder, run = ItemCoder(self.items_), shard.run

        def baskets(batch: Batch) -> BoundedBaskets:
            codes, rows = coder.codes(batch, lists)
            return BoundedBaskets.of(_baskets(codes, rows), room.of_baskets)

        counted: Baskets | None = shard.reduce(baskets).get()
        if counted is None:
            step = Prefixes(coder, lists, room.groups(len(self.items_), run.workers))
            return placed_sets(shard, step, least, self.max_len)
        miner = Miner(counted, least, self.max_len)
        miner.prepare()
        own = range(run.comm.rank, len(self.items_), run.comm.size)
        parts = [part.flat() for part in run.map(miner.mine, own)]
        none = [(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0))]
        mine = Gathered(tuple(map(np.concatenate, zip(*none, *parts, strict=True))))
        gathered: Gathered = run.call(lambda: run.combine(mine))
        return gathered.values

    def _restored(self) -> None:
        self._coder = ItemCoder(self.items_)
        self._implied: Implied | None = None

    @property
    def _itemsets(self) -> Itemsets:
        check_is_fitted(self)
        return Itemsets(
            self.itemset_items_, self.itemset_sizes_, self.itemset_counts_, float(self.n_baskets_)
        )

    def itemsets(self) -> pa.Table:
        """The frequent sets: a table of `items`, `count` and `support`.

        Sets are sorted by size, then by how frequent they are; items in a set by how frequent they are.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> model = og.FPGrowth(min_support=0.6).fit(pa.table({"digits": [[1, 2], [2], [2, 3, 1]]}))
        >>> model.itemsets()["items"].to_pylist()
        [[2], [1], [2, 1]]
        """
        sets = self._itemsets
        return pa.table(
            {
                "items": self._lists(sets.codes, np.concatenate([[0], np.cumsum(sets.sizes)])),
                "count": sets.weights.astype(np.int64),
                "support": sets.weights / sets.baskets,
            }
        )

    def association_rules(
        self, metric: str = "confidence", min_threshold: float = 0.8, max_consequent: int | None = None
    ) -> pa.Table:
        """Rules: baskets that hold all of `antecedent` often hold all of `consequent`, too.

        Parameters
        ----------
        metric : 'support', the share of the baskets with both; 'confidence', of those with the antecedent the
            share with the consequent; 'lift', that over the share of all baskets with the consequent;
            'leverage', by how much both together are more frequent than by chance; or 'conviction', how many
            times as often the rule would fail by chance: infinite for one that never fails.
        min_threshold : what this metric must be at least.
        max_consequent : how many items the consequent has at most; 1 gives the rules of Spark MLlib.

        Returns
        -------
        A table of `antecedent`, `consequent`, all metrics, and the support of each side; the rules with the
        highest value of the metric first, of equals those of more baskets.

        Raises
        ------
        ParameterError
            When an argument cannot be.
        DataError
            When the sets have too many rules.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> baskets = pa.table({"basket": [["tea", "milk"], ["tea", "milk"], ["tea"], ["milk", "tea"]]})
        >>> model = og.FPGrowth(min_support=0.5).fit(baskets)
        >>> rules = model.association_rules("lift", min_threshold=1.0)
        >>> rules.select(["antecedent", "consequent", "confidence"]).to_pylist()
        [{'antecedent': ['milk'], 'consequent': ['tea'], 'confidence': 1.0}, \
{'antecedent': ['tea'], 'consequent': ['milk'], 'confidence': 0.75}]
        """
        OneOf(*METRICS).check("association_rules", "metric", metric)
        _LEAST.check("association_rules", "min_threshold", min_threshold)
        (Integer(low=1) | None).check("association_rules", "max_consequent", max_consequent)
        parts = list(rules_of(self._itemsets, metric, min_threshold, max_consequent))
        sides = [
            [np.zeros(0, np.int32), *(side.ravel() for side in map(_SIDES[name], parts))] for name in _SIDES
        ]
        lengths = [
            [np.zeros(0, np.int64), *(np.full(len(side), side.shape[1]) for side in map(_SIDES[name], parts))]
            for name in _SIDES
        ]
        columns: dict[str, Any] = {
            name: self._lists(np.concatenate(codes), np.concatenate([[0], np.cumsum(np.concatenate(sizes))]))
            for name, codes, sizes in zip(_SIDES, sides, lengths, strict=True)
        }
        metrics = [part.metrics() for part in parts]
        for name in METRICS:
            columns[name] = np.concatenate([np.zeros(0), *(part[name] for part in metrics)])
        columns["antecedent_support"] = np.concatenate([np.zeros(0), *(part.first for part in parts)])
        columns["consequent_support"] = np.concatenate([np.zeros(0), *(part.second for part in parts)])
        order = np.lexsort((-columns["support"], -columns[metric]))
        return pa.table(columns).take(pa.array(order))

    def _lists(self, codes: np.ndarray, ends: np.ndarray) -> pa.Array:
        """Sets of numbers as lists of items."""
        values = arrow_items(self.items_).take(pa.array(codes))
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values)

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        codes, rows = self._coder.codes(batch, names)
        implied, ends = self._rules().of(codes, rows, batch.num_rows)
        follow = self._lists(implied, ends)
        baskets = {name: batch[name] for name in names}
        return batch.replace(names[-1:], {names[-1]: baskets[names[-1]], self.output_name_: follow})

    def _rules(self) -> Implied:
        """The rules for `transform`: what follows with others follows alone, so one item on the right do."""
        if self._implied is None:
            rules = list(rules_of(self._itemsets, "confidence", self.min_confidence * (1 - 1e-12), 1))
            self._implied = Implied(rules, len(self.items_))
        return self._implied

    @classmethod
    def _test_columns(cls, random: np.random.Generator, rows: int) -> Mapping[str, Any]:
        words = np.array(["red", "green", "blue", "grey"])
        lists = {name: [words[random.random(4) < 0.5].tolist() for _ in range(rows)] for name in "ab"}
        return {**lists, "c": random.normal(size=rows)}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = tags.input_tags.string = tags.input_tags.allow_nan = True
        tags.input_tags.two_d_array = False  # but lists
        return tags


_SIDES = {"antecedent": lambda part: part.antecedent, "consequent": lambda part: part.consequent}


def _baskets(codes: np.ndarray, rows: np.ndarray) -> Baskets:
    """The baskets of two and more items, each item once, ascending."""
    first = once(codes, rows)
    codes, rows = codes[first], rows[first]
    lengths = np.bincount(rows)
    kept = lengths[rows] > 1
    ends = np.concatenate([[0], np.cumsum(lengths[lengths > 1])])
    return Baskets.of(codes[kept], ends)


def _by_size(found: tuple[np.ndarray, ...], baskets: float) -> Itemsets:
    """Sets in any order as those of a size together."""
    items, sizes, weights = found
    starts = np.cumsum(sizes) - sizes
    codes, counts, lengths = [np.zeros(0, np.int32)], [np.zeros(0)], [np.zeros(0, np.int64)]
    for size in np.unique(sizes).tolist():
        own = np.flatnonzero(sizes == size)
        codes.append(items[starts[own][:, None] + np.arange(size)].ravel())
        counts.append(weights[own])
        lengths.append(sizes[own])
    return Itemsets(np.concatenate(codes), np.concatenate(lengths), np.concatenate(counts), baskets)
