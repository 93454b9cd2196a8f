"""Clusters of graphs beside scikit-learn's spectral clustering; what graphs come with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sklearn.cluster
from sklearn.metrics import adjusted_rand_score

import outgrow as og
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.ml.cluster import graph
from outgrow.testing import EngineCase


def groups(sizes: tuple[int, ...] = (40, 25, 15), between: float = 0.02) -> tuple[pa.Table, np.ndarray]:
    """Edges within groups, and few between them."""
    random = np.random.default_rng(0)
    kind = np.repeat(np.arange(len(sizes)), sizes)
    near = random.random((len(kind), len(kind))) < np.where(kind[:, None] == kind, 0.5, between)
    first, second = np.nonzero(np.triu(near, 1))
    table = pa.table({"src": first, "dst": second, "much": random.uniform(0.5, 1.5, len(first))})
    return table, kind


def as_matrix(edges: pa.Table, nodes: int) -> np.ndarray:
    matrix = np.zeros((nodes, nodes))
    first, second, weight = (edges[name].to_numpy() for name in ("src", "dst", "much"))
    matrix[first, second] = matrix[second, first] = weight
    return matrix


@pytest.mark.parametrize("dense", [500, 0])
def test_eigenvectors_find_what_scikit_learns_do(monkeypatch: pytest.MonkeyPatch, dense: int) -> None:
    monkeypatch.setattr(graph, "_DENSE", dense)
    edges, kind = groups()
    found = og.graph_clusters(edges, 3, weight="much", method="spectral", random_state=0)
    theirs = sklearn.cluster.SpectralClustering(3, affinity="precomputed", random_state=0)
    labels = theirs.fit_predict(as_matrix(edges, len(kind)))
    assert found["id"].to_pylist() == list(range(80))
    assert adjusted_rand_score(found["cluster"], labels) == 1
    assert adjusted_rand_score(found["cluster"], kind) == 1
    assert np.bincount(found["cluster"].to_numpy()).tolist() == [40, 25, 15]


@pytest.mark.parametrize("init", ["random", "degree"])
def test_power_iteration_is_the_plain_one(init: str) -> None:
    """Walks end alike within clusters before they do everywhere."""
    edges, kind = groups((60, 20), 0.005)
    found = og.graph_clusters(edges, 2, weight="much", init=init, max_iter=8, random_state=3)
    assert adjusted_rand_score(found["cluster"], kind) == 1
    matrix = as_matrix(edges, len(kind))
    begin = matrix.sum(axis=1)
    walk = begin / begin.sum()
    for _ in range(8):
        walk = matrix / begin[:, None] @ walk
        walk /= walk.sum()
    ours = graph._power(matrix, begin, begin, 8)
    np.testing.assert_allclose(ours, walk * len(walk))


def test_any_engine_any_order_any_ids(engine: EngineCase) -> None:
    edges, kind = groups((20, 12), 0.01)
    text = pa.table(
        {name: pa.array([f"n{v:02}" for v in edges[name].to_pylist()]) for name in ("src", "dst")}
    )
    turned = pa.table({"src": text["dst"], "dst": text["src"]}).take(np.arange(text.num_rows)[::-1])
    found = og.graph_clusters(engine.open(turned), 2, random_state=1)
    assert found.equals(og.graph_clusters(text, 2, random_state=1))
    assert adjusted_rand_score(found["cluster"], kind) == 1


def test_repeated_edges_add_up_and_loops_do_not_count() -> None:
    once = pa.table({"a": [1, 2, 3, 4, 5], "b": [2, 3, 1, 5, 3], "w": [2.0, 2.0, 2.0, 2.0, 0.2]})
    more: dict[str, Any] = {
        "a": [2, 1, *[2, 3, 1], *[5, 5], 3, 7, 8],
        "b": [1, 2, *[3, 2, 3], *[4, 4], 5, 7, 9],
    }
    more["w"] = [1.0, 1.0, 2.0, 0.0, 2.0, 1.5, 0.5, 0.2, 9.0, 0.0]
    how: dict[str, Any] = {"source": "a", "target": "b", "weight": "w", "method": "spectral"}
    assert og.graph_clusters(pa.table(more), **how).equals(og.graph_clusters(once, **how))


def test_parts_that_nothing_joins_are_clusters() -> None:
    apart = pa.table({"src": [1, 2, 3, 11, 12, 21], "dst": [2, 3, 1, 12, 13, 22]})
    found = og.graph_clusters(apart, 3, method="spectral")
    assert found["cluster"].to_pylist() == [0, 0, 0, 1, 1, 1, 2, 2]


def test_what_it_refuses_is_said() -> None:
    edges = pa.table({"src": [1, 2], "dst": [2, 3], "text": ["a", "b"], "w": [1.0, -2.0]})
    with pytest.raises(DataError, match="weight holds -2"):
        og.graph_clusters(edges, weight="w")
    with pytest.raises(DataError, match="n_clusters=4 of 3 nodes"):
        og.graph_clusters(edges, 4)
    with pytest.raises(SchemaError, match="'text' of type string: nodes are of one type"):
        og.graph_clusters(edges, target="text")
    with pytest.raises(DataError, match="Nodes are missing in 'src'"):
        og.graph_clusters(pa.table({"src": [1, None], "dst": [2, 3]}))
    with pytest.raises(ParameterError, match="method must be"):
        og.graph_clusters(edges, method="magic")
