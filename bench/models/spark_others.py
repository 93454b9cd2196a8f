"""Clusters, topics, recommendations and patterns on Spark from a path, beside MLlib on the same cores."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import outgrow as og
from bench.grids.cell import Cell
from bench.models.relations import (
    BASKETS,
    BY_VALUE,
    ITEMS,
    RANK,
    RATINGS,
    USERS,
    baskets,
    confident_loss,
    graph,
    ratings,
    ratings_by_value,
    sequences,
)
from bench.models.spark import mllib
from bench.shapes.spark import beside_mllib, features
from bench.shapes.tables import Table, grouped_table, stored_table


def _clusters() -> Iterator[Cell]:
    def cost(table: Table, centres: np.ndarray) -> float:
        X = table.matrix()
        squares = (X**2).sum(axis=1)[:, None] - 2 * X @ centres.T + (centres**2).sum(axis=1)
        return float(squares.min(axis=1).sum())

    def theirs(table: Table) -> np.ndarray:
        return np.array(
            mllib("clustering", "BisectingKMeans", k=20, seed=0).fit(features(table)).clusterCenters()
        )

    yield beside_mllib(
        "bisecting k-means, 200,000 x 20, 20 clusters",
        partial(grouped_table, 200_000, 20, 20),
        lambda data: np.asarray(og.BisectingKMeans(20, random_state=0).fit(data).cluster_centers_),
        theirs,
        cost,
        slack=0.05,
        turns=1,
    )


def _mixture() -> Cell:
    def theirs(table: Table) -> Any:
        model = mllib("clustering", "GaussianMixture", k=8, maxIter=20, tol=1e-9, seed=0).fit(features(table))
        parts = model.gaussians
        means, spreads = [g.mean.toArray() for g in parts], [g.cov.toArray() for g in parts]
        return np.array(model.weights), means, spreads

    def ours(data: Any) -> Any:
        model = og.GaussianMixture(8, max_iter=20, tol=1e-9, random_state=0).fit(data)
        return model.weights_, model.means_, model.covariances_

    def judge(table: Table, found: Any) -> float:
        X = table.matrix()
        densities = [
            np.log(weight) + multivariate_normal(mean, cov, allow_singular=True).logpdf(X)
            for weight, mean, cov in zip(*found, strict=True)
        ]
        return float(-logsumexp(densities, axis=0).mean())

    make = partial(grouped_table, 100_000, 20, 8)
    name = "Gaussian mixture, 100,000 x 20, 8 components, 20 steps"
    return beside_mllib(name, make, ours, theirs, judge, slack=0.05, turns=1)


def _graph() -> Cell:
    """The share of the weight of edges that are cut."""

    def theirs(table: Table) -> Any:
        peer = mllib("clustering", "PowerIterationClustering", k=4, maxIter=20, weightCol="weight")
        return dict(map(tuple, peer.assignClusters(table.frame()).collect()))

    def ours(data: Any) -> Any:
        found = og.graph_clusters(data, 4, weight="weight", random_state=0)
        return dict(zip(*(found.column(i).to_pylist() for i in range(2)), strict=True))

    def judge(table: Table, found: Any) -> float:
        edges = graph()
        cut = [
            found[a] != found[b] for a, b in zip(*(edges[n].to_pylist() for n in ("src", "dst")), strict=True)
        ]
        return float(np.mean(cut))

    make = lambda: stored_table("models-graph", graph)  # noqa: E731
    return beside_mllib(
        "clusters of a graph, 4 of 300,000 edges", make, ours, theirs, judge, slack=0.1, turns=1
    )


def _recommendations() -> Iterator[Cell]:
    def fitted(table: Table, **how: Any) -> Any:
        frame = table.frame().selectExpr("int(user) user", "int(item) item", "float(count) rating").cache()
        model = mllib("recommendation", "ALS", rank=RANK, maxIter=10, regParam=0.1, seed=0, **how).fit(frame)
        sides = []
        for size, part in ((USERS, model.userFactors), (ITEMS, model.itemFactors)):
            side, known = np.zeros((size, RANK)), part.toPandas()
            side[known["id"]] = np.stack(known["features"])
            sides.append(side)
        return tuple(sides)

    def ours(data: Any, **how: Any) -> Any:
        model = og.ALS(RANK, users="user", items="item", random_state=0, **how).fit(data, "count")
        users, items = np.zeros((USERS, RANK)), np.zeros((ITEMS, RANK))
        users[model.users_], items[model.items_] = model.user_factors_, model.item_factors_
        return users, items

    yield beside_mllib(
        f"implicit feedback, {RATINGS:,} ratings, rank {RANK}, 10 rounds",
        lambda: stored_table("models-ratings", ratings),
        partial(ours, implicit=True),
        partial(fitted, implicitPrefs=True, alpha=1.0),
        lambda table, found: confident_loss(*found, ratings()),
        slack=0.02,
        turns=1,
    )

    def squares(table: Table, found: Any) -> float:
        made = ratings_by_value()
        user, item, rating = (made[name].to_numpy() for name in ("user", "item", "count"))
        return float(np.mean((np.einsum("ij,ij->i", found[0][user], found[1][item]) - rating) ** 2))

    yield beside_mllib(
        f"ratings, {BY_VALUE:,}, rank {RANK}, 10 rounds",
        lambda: stored_table("models-ratings-by-value", ratings_by_value),
        ours,
        fitted,
        squares,
        slack=0.02,
        turns=1,
    )


def _patterns() -> Iterator[Cell]:
    def sets(table: Table) -> int:
        frame = table.frame().selectExpr("array_distinct(basket) items").cache()
        return int(mllib("fpm", "FPGrowth", minSupport=0.01).fit(frame).freqItemsets.count())

    yield beside_mllib(
        f"frequent sets of {BASKETS:,} baskets",
        lambda: stored_table("models-baskets", baskets),
        lambda data: og.FPGrowth(0.01).fit(data).itemsets().num_rows,
        sets,
        lambda table, found: -float(found),
        turns=1,
    )

    def found(table: Table) -> int:
        frame = table.frame().selectExpr("transform(sequence, x -> array(x)) sequence").cache()
        peer = mllib("fpm", "PrefixSpan", minSupport=0.02, maxPatternLength=5)
        return int(peer.findFrequentSequentialPatterns(frame).count())

    how = {"min_support": 0.02, "max_pattern_length": 5}
    yield beside_mllib(
        "frequent sequences of 20,000",
        lambda: stored_table("models-sequences", sequences),
        lambda data: og.frequent_sequences(data, "sequence", **how).num_rows,
        found,
        lambda table, count: -float(count),
        turns=1,
    )


CELLS = (*_clusters(), _mixture(), _graph(), *_recommendations(), *_patterns())
