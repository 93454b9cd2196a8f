"""Recommendations and frequent sets."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

import outgrow as og
from bench.grids.cell import Cell

USERS, ITEMS, RATINGS, RANK = 20_000, 5_000, 1_000_000, 32
BY_VALUE = 5_000_000
BASKETS, GOODS = 100_000, 1_000


@lru_cache(1)
def ratings() -> pa.Table:
    """How often users took items, popular ones more."""
    random = np.random.default_rng(0)
    users, items = random.integers(0, USERS, RATINGS), np.minimum(random.zipf(1.2, RATINGS), ITEMS) - 1
    codes, count = np.unique(users * ITEMS + items, return_counts=True)
    columns = {"user": codes // ITEMS, "item": codes % ITEMS, "count": count.astype(np.float64)}
    return pa.table(columns)


@lru_cache(1)
def ratings_by_value() -> pa.Table:
    """What users think of items, from factors of both, with noise; pairs come once."""
    random = np.random.default_rng(2)
    pairs = np.unique(random.integers(0, USERS * ITEMS, BY_VALUE * 21 // 20))
    pairs = random.permutation(pairs)[:BY_VALUE]
    user, item = pairs // ITEMS, pairs % ITEMS
    tastes, kinds = random.standard_normal((USERS, 8)), random.standard_normal((ITEMS, 8))
    rating = (
        3 + np.einsum("ij,ij->i", tastes[user], kinds[item]) / 3 + 0.3 * random.standard_normal(len(pairs))
    )
    return pa.table({"user": user, "item": item, "count": rating})


def graph() -> pa.Table:
    """Edges of four crowds, few of them between two."""
    random = np.random.default_rng(3)
    crowd, one, other = random.integers(0, 4, 300_000), *random.integers(0, 5_000, (2, 300_000))
    ends = np.where(random.random(300_000) < 0.05, random.integers(0, 4, 300_000), crowd)
    src, dst = crowd * 5_000 + one, ends * 5_000 + other
    return pa.table({"src": src, "dst": dst, "weight": np.ones(len(src))}).filter(pa.array(src != dst))


def sequences() -> pa.Table:
    """Visits of pages, some of which lead on to others."""
    random = np.random.default_rng(4)
    lengths = random.poisson(10, 20_000) + 1
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    pages = np.minimum(random.zipf(1.3, ends[-1]), 300)
    return pa.table({"sequence": pa.ListArray.from_arrays(pa.array(ends), pa.array(pages))})


def confident_loss(users: np.ndarray, items: np.ndarray, table: pa.Table) -> float:
    """The objective of implicit feedback (Hu, Koren and Volinsky 2008) by pair, without its penalty."""
    user, item, count = (table[name].to_numpy() for name in ("user", "item", "count"))
    scores = np.einsum("ij,ij->i", users[user], items[item])
    everywhere = float(np.sum((users.T @ users) * (items.T @ items)))
    seen = float(np.sum((1 + count) * (1 - scores) ** 2 - scores**2))
    return (everywhere + seen) / (USERS * ITEMS)


def _recommendations() -> Iterator[Cell]:
    how = {"alpha": 0.1, "max_iter": 10}

    def ours(table: pa.Table) -> Any:
        model = og.ALS(RANK, implicit=True, weighted_penalty=False, users="user", items="item", **how)
        model.fit(table, "count")
        users, items = np.zeros((USERS, RANK)), np.zeros((ITEMS, RANK))
        users[model.users_], items[model.items_] = model.user_factors_, model.item_factors_
        return users, items

    def theirs(table: pa.Table) -> Any:
        import implicit

        user, item, count = (table[name].to_numpy() for name in ("user", "item", "count"))
        matrix = sp.csr_matrix((count, (user, item)), (USERS, ITEMS))
        model = implicit.cpu.als.AlternatingLeastSquares(
            RANK, regularization=0.1, alpha=1.0, iterations=10, random_state=0, num_threads=2, use_cg=True
        )
        model.fit(matrix, show_progress=False)
        return model.user_factors.astype(float), model.item_factors.astype(float)

    yield Cell(
        f"implicit feedback, {RATINGS:,} ratings, rank {RANK}, 10 rounds",
        ratings,
        ours,
        theirs,
        lambda table, factors: confident_loss(*factors, table),
        slack=0.01,
        peer="implicit",
    )


@lru_cache(1)
def baskets() -> pa.Table:
    random = np.random.default_rng(1)
    counts = random.poisson(10, BASKETS) + 1
    goods = np.minimum(random.zipf(1.3, counts.sum()), GOODS) - 1
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    names = pa.array([f"good{i}" for i in range(GOODS)])
    return pa.table({"basket": pa.ListArray.from_arrays(pa.array(ends), names.take(pa.array(goods)))})


def _sets() -> Iterator[Cell]:
    def theirs(table: pa.Table) -> int:
        import pandas as pd
        from mlxtend.frequent_patterns import fpgrowth
        from mlxtend.preprocessing import TransactionEncoder

        lists = [sorted(set(basket)) for basket in table["basket"].to_pylist()]
        encoder = TransactionEncoder()
        matrix = encoder.fit(lists).transform(lists, sparse=True)
        frame = pd.DataFrame.sparse.from_spmatrix(matrix, columns=encoder.columns_)
        return len(fpgrowth(frame, min_support=0.01))

    yield Cell(
        f"frequent sets of {BASKETS:,} baskets",
        baskets,
        lambda table: og.FPGrowth(0.01).fit(table).itemsets().num_rows,
        theirs,
        lambda table, found: -float(found),
        peer="mlxtend",
    )


CELLS = (*_recommendations(), *_sets())
