"""Clusters of the nodes of a graph, which is given as a list of its edges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from scipy.sparse.linalg import eigsh

from outgrow.data.batch import Batch
from outgrow.data.hashing import seeded, unit
from outgrow.data.keys import in_order, key_codes, key_column, key_values
from outgrow.data.scan import check_columns
from outgrow.engine.checks import number_column
from outgrow.engine.open import dataset
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, SchemaError
from outgrow.ml.cluster.kmeans import KMeans
from outgrow.ml.core.parameters import RANDOM_STATE, Integer, OneOf, seed
from outgrow.stats.grouped import Keys
from outgrow.stats.state import State, from_tree, to_tree

MOST_EDGES = 1 << 26
"""Edges that are brought together."""
_NODE = "node"
_DENSE = 500
"""Up to so many nodes all eigenvectors are computed."""
_STILL = 1e-5
"""The power iteration ends when what changes in a step changes by less than this, divided by the nodes."""


@dataclass(frozen=True, eq=False)
class EdgeParts(State):
    """Edges as they came: the hashes of the nodes of each, and what it weighs.

    Attributes
    ----------
    ends : list of uint64 arrays of shape (2, edges).
    weights : list of ndarrays of shape (edges,).
    """

    ends: list[np.ndarray]
    weights: list[np.ndarray]

    def merge(self, other: EdgeParts) -> EdgeParts:
        return EdgeParts([*self.ends, *other.ends], [*self.weights, *other.weights])

    def affinity(self, nodes: np.ndarray) -> Any:
        """The symmetric matrix of what joins two nodes, CSR; edges of the same two add up.

        Parameters
        ----------
        nodes : uint64 of shape (nodes,), their hashes, sorted.
        """
        first, second = np.searchsorted(nodes, np.concatenate(self.ends, axis=1))
        low, high = np.minimum(first, second), np.maximum(first, second)
        order = np.lexsort((np.concatenate(self.weights), high, low))  # sums do not depend on who came first
        weight, low, high = np.concatenate(self.weights)[order], low[order], high[order]
        made = sp.coo_array(
            (np.tile(weight, 2), (np.concatenate([low, high]), np.concatenate([high, low]))),
            shape=(len(nodes), len(nodes)),
        ).tocsr()
        made.eliminate_zeros()
        return made


def graph_clusters(
    edges: Any,
    n_clusters: int = 2,
    *,
    source: str = "src",
    target: str = "dst",
    weight: str | None = None,
    method: str = "power",
    init: str = "random",
    max_iter: int = 20,
    random_state: Any = None,
) -> pa.Table:
    """Divide the nodes of a graph by power iteration clustering or by spectral clustering.

    One pass brings the edges together, up to 67 million. Edges have no direction: each pair of nodes comes
    once, in any order; those that come again add up. Edges from a node to itself are left out, as are nodes
    without others.

    Parameters
    ----------
    edges : dataset, Spark DataFrame or table, with a row for each edge.
    n_clusters : how many clusters.
    source, target : the columns of the nodes of an edge: numbers, text or times, both of one type.
    weight : the column of how alike two nodes are, at least 0; None where all edges weigh one.
    method : 'power' for one number for each node, which random walks of some steps leave (Lin and Cohen
        2010): quick, and right where clusters are of different sizes or densities; 'spectral' for as many
        eigenvectors as clusters (Shi and Malik 2000), which also tell apart what one number does not.
    init : where 'power' begins: 'random', by the hashes of the nodes, or 'degree', by what their edges weigh.
    max_iter : most steps of 'power'.
    random_state : another number begins elsewhere.

    Returns
    -------
    A table with the columns `id`, sorted, and `cluster`; cluster 0 has the most nodes, of equals the
    first.

    Raises
    ------
    DataError
        When a node is missing, a weight is negative, or there are fewer nodes than clusters.

    Notes
    -----
    Unlike scikit-learn's `SpectralClustering(affinity='precomputed')`: takes edges; clusters are numbered.

    Unlike Spark MLlib's `PowerIterationClustering(k=2, maxIter=20)`: that has `assignClusters` only, so this
    is a function; ids are of any type; 'random' goes by the hashes of the nodes, so that partitions change
    nothing.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> calls = pa.table({"src": ["a", "a", "b", "x", "c"], "dst": ["b", "c", "c", "y", "x"]})
    >>> og.graph_clusters(calls, 2, method="spectral").to_pydict()
    {'id': ['a', 'b', 'c', 'x', 'y'], 'cluster': [0, 0, 0, 1, 1]}
    """
    _check(n_clusters, method, init, max_iter, random_state)
    rows = dataset(edges)
    wanted = [source, target, *([] if weight is None else [weight])]
    check_columns(rows.schema, wanted)
    kinds = [rows.schema.field(name).type for name in (source, target)]
    if kinds[0] != kinds[1]:
        raise SchemaError(
            f"{source!r} is of type {kinds[0]} and {target!r} of type {kinds[1]}: nodes are of one type. "
            "Read both as one, with types=."
        )
    fold = partial(_fold, source=source, target=target, weight=weight)
    learn = partial(_embedded, fold=fold, count=n_clusters, method=method, init=init, steps=max_iter)
    number = seed(random_state)
    scan = rows.select(wanted).scan
    done = rows.engine.fit(lambda shard: to_tree(learn(shard, number=number)), scan, stage="graph clusters")
    keys, places = from_tree(done.result)
    model = KMeans(n_clusters, n_init=5, random_state=number).fit(places)
    found = in_order(pa.table({"id": keys.table[_NODE], "cluster": model.labels_}), ["id"])
    return found.set_column(1, "cluster", pa.array(_by_size(found["cluster"].to_numpy())))


def _check(n_clusters: Any, method: Any, init: Any, max_iter: Any, random_state: Any) -> None:
    who = "graph_clusters"
    Integer(low=2).check(who, "n_clusters", n_clusters)
    OneOf("power", "spectral").check(who, "method", method)
    OneOf("random", "degree").check(who, "init", init)
    Integer(low=1).check(who, "max_iter", max_iter)
    RANDOM_STATE.check(who, "random_state", random_state)


def _fold(batch: Batch, source: str, target: str, weight: str | None) -> tuple[Keys, EdgeParts, np.ndarray]:
    """The nodes of a batch that others join, its edges, and how many there are."""
    ends = [key_column(batch, name) for name in (source, target)]
    if any(column.null_count for column in ends):
        raise DataError(f"Nodes are missing in {source!r} or {target!r}. Leave these edges out.")
    own = np.ones(batch.num_rows) if weight is None else number_column(batch, weight, "weight")
    if (own < 0).any():
        raise DataError(f"weight holds {own.min():g}: how alike two nodes are must be at least 0.")
    nodes = Batch({_NODE: pa.concat_arrays(ends)}, 2 * batch.num_rows)
    hashes, codes = key_codes(nodes, [_NODE])
    both = hashes[codes].reshape(2, -1)
    kept = (both[0] != both[1]) & (own > 0)
    both, own = both[:, kept], own[kept]
    known, first = np.unique(both, return_index=True)
    at = np.flatnonzero(np.tile(kept, 2))[first]
    return (
        Keys.of(known, key_values(nodes.take(at), [_NODE])),
        EdgeParts([both], [own]),
        np.array([float(len(own))]),
    )


def _embedded(
    shard: Shard, *, fold: Any, count: int, method: str, init: str, steps: int, number: int
) -> tuple[Keys, np.ndarray]:
    """The nodes, and where each lies: of shape (nodes, dimensions)."""
    keys, parts, edges = shard.reduce(fold)
    if edges[0] > MOST_EDGES:
        raise DataError(
            f"There are {int(edges[0])} edges, and {MOST_EDGES} are brought together. Leave out those that "
            "weigh little."
        )
    nodes = len(keys.hashes)
    if nodes < count:
        raise DataError(f"n_clusters={count} of {nodes} nodes with edges to others. Ask for fewer clusters.")
    affinity = parts.affinity(keys.hashes)
    degrees = np.asarray(affinity.sum(axis=1)).ravel()
    begin = degrees if init == "degree" and method == "power" else unit(seeded(keys.hashes, number)) + 1e-3
    if method == "power":
        return keys, _power(affinity, degrees, begin, steps)[:, None]
    return keys, _spectral(affinity, degrees, begin, count)


def _power(affinity: Any, degrees: np.ndarray, begin: np.ndarray, steps: int) -> np.ndarray:
    """Where random walks have got, times the number of nodes."""
    now, before = begin / begin.sum(), np.full(len(begin), np.inf)
    for _ in range(steps):
        new = (affinity @ now) / degrees
        new /= new.sum()
        change = np.abs(new - now)
        now = new
        if np.abs(change - before).max() < _STILL / len(now):
            break
        before = change
    return now * len(now)


def _spectral(affinity: Any, degrees: np.ndarray, begin: np.ndarray, count: int) -> np.ndarray:
    """The eigenvectors that change least along edges, of shape (nodes, count)."""
    roots = np.sqrt(degrees)
    scaled = sp.diags_array(1 / roots) @ affinity @ sp.diags_array(1 / roots)
    if len(degrees) <= max(_DENSE, 3 * count):
        vectors = np.linalg.eigh(scaled.toarray())[1][:, -count:]
    else:
        shifted = (scaled + sp.eye_array(len(degrees))).tocsr()  # all eigenvalues at least 0
        vectors = eigsh(shifted, k=count, v0=begin, which="LM")[1]
    placed: np.ndarray = vectors / roots[:, None]
    return placed / np.sqrt((placed**2).mean(axis=0))


def _by_size(labels: np.ndarray) -> np.ndarray:
    """The same labels, the largest cluster first; of equals, the first that comes."""
    _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    order = np.lexsort((first, -np.bincount(codes)))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[codes]
