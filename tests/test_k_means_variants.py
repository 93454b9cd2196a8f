"""K-means of directions, and of a stream: what MLlib's cosine distance and StreamingKMeans do."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import scipy.sparse as sp
import sklearn.cluster

import outgrow as og
from outgrow.errors import DataError, ExportError, ParameterError


def rays(seed: int = 0, rows: int = 300) -> np.ndarray:
    """Rows of any length along four directions."""
    random = np.random.default_rng(seed)
    ways = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, -1]])
    X = ways[random.integers(0, 4, rows)] + 0.1 * random.standard_normal((rows, 3))
    return X * random.uniform(1e-3, 1e3, rows)[:, None]


def plain_spherical(X: np.ndarray, centers: np.ndarray, steps: int) -> np.ndarray:
    unit = X / np.linalg.norm(X, axis=1)[:, None]
    for _ in range(steps):
        labels = np.argmax(unit @ centers.T, axis=1)
        sums = np.stack([unit[labels == k].sum(axis=0) for k in range(len(centers))])
        centers = sums / np.linalg.norm(sums, axis=1)[:, None]
    return centers


def test_directions_are_those_of_the_plain_algorithm() -> None:
    X = rays()
    start = X[:4] / np.linalg.norm(X[:4], axis=1)[:, None]
    model = og.KMeans(4, init=X[:4], spherical=True, max_iter=3, tol=0).fit(X)
    np.testing.assert_allclose(model.cluster_centers_, plain_spherical(X, start, model.n_iter_), atol=1e-12)
    unit = X / np.linalg.norm(X, axis=1)[:, None]
    cosine = 1 - unit @ model.cluster_centers_.T
    assert model.inertia_ == pytest.approx(2 * cosine.min(axis=1).sum())
    np.testing.assert_array_equal(model.labels_, cosine.argmin(axis=1))
    np.testing.assert_allclose(model.transform(X) ** 2, 2 * cosine, atol=1e-12)
    sparse = og.KMeans(4, init=X[:4], spherical=True, max_iter=3, tol=0).fit(sp.csr_array(X))
    np.testing.assert_allclose(sparse.cluster_centers_, model.cluster_centers_, atol=1e-9)


def test_lengths_do_not_matter() -> None:
    X = rays(1)
    found = og.KMeans(4, spherical=True, random_state=0).fit(X)
    np.testing.assert_allclose(np.linalg.norm(found.cluster_centers_, axis=1), 1)
    np.testing.assert_array_equal(found.predict(1e150 * X), found.labels_)
    np.testing.assert_array_equal(found.predict(1e-150 * X), found.labels_)


def test_rows_of_zeros_have_no_direction() -> None:
    X = rays(2, 20)
    X[[3, 7]] = 0
    with pytest.raises(DataError, match=r"2 row\(s\) hold nothing but zeros"):
        og.KMeans(2, spherical=True).fit(X)
    model = og.KMeans(2, spherical=True, random_state=0).fit(X[10:])
    for answer in (model.predict, model.transform):
        with pytest.raises(DataError, match="nothing but zeros"):
            answer(X)
    with pytest.raises(ExportError, match=r"not look at directions\. Put Normalizer before"):
        model.to_sklearn()


def test_onnx_looks_at_directions(tmp_path: object) -> None:
    X = rays(3)
    model = og.KMeans(4, spherical=True, random_state=0).fit(X)
    path = f"{tmp_path}/rays.onnx"
    model.to_onnx(path)
    run = onnxruntime.InferenceSession(path)
    found = run.run(["prediction"], {f"x{j}": X[:, [j]] for j in range(3)})[0]
    np.testing.assert_array_equal(found, model.labels_)
    with pytest.raises(Exception, match="a row of zeros"):
        run.run(["prediction"], {f"x{j}": np.zeros((1, 1)) for j in range(3)})


def test_few_passes_over_all_rows_end_where_all_passes_do() -> None:
    random = np.random.default_rng(4)
    X = 10 * random.standard_normal((5, 2))[random.integers(0, 5, 40_000)] + random.standard_normal(
        (40_000, 2)
    )
    small = og.MiniBatchKMeans(5, random_state=0, tol=0).fit(X)
    whole = og.KMeans(5, random_state=0, tol=0).fit(X)
    assert small.inertia_ <= whole.inertia_ * 1.0001
    theirs = sklearn.cluster.MiniBatchKMeans(5, random_state=0, n_init=3).fit(X)
    assert small.inertia_ <= theirs.inertia_
    np.testing.assert_array_equal(np.bincount(small.labels_), small.cluster_sizes_)
    np.testing.assert_allclose(small.counts_, small.cluster_sizes_)


@pytest.mark.parametrize("kind", [og.KMeans, og.MiniBatchKMeans])
def test_rows_that_are_all_alike_are_one_cluster(kind: type[og.KMeans]) -> None:
    """Hashes then choose all of them or none."""
    for value in range(3):
        model = kind(1, random_state=0).fit(np.full((70_000, 1), float(value)))
        assert model.cluster_centers_.tolist() == [[value]]


def test_a_stream_is_learned_as_mllib_learns_it() -> None:
    """The example of pyspark.mllib's StreamingKMeansModel: centers, weights and a decay of 0."""
    start = np.array([[0.0, 0.0], [1.0, 1.0]])
    model = og.MiniBatchKMeans(2, init=start).partial_fit(start)
    batch = np.array([[-0.1, -0.1], [0.1, 0.1], [0.9, 0.9], [1.1, 1.1]])
    model.partial_fit(batch)
    np.testing.assert_allclose(model.cluster_centers_, start, atol=1e-12)
    np.testing.assert_allclose(model.counts_, [3, 3])
    assert [model.predict([[0.1, 0.1]])[0], model.predict([[0.9, 0.9]])[0]] == [0, 1]
    model.partial_fit(np.array([[4.0, 4.0]]), decay=0.0)
    np.testing.assert_allclose(model.cluster_centers_, [[0, 0], [4, 4]])
    np.testing.assert_allclose(model.counts_, [0, 1])
    assert model.n_steps_ == 3


def test_what_is_long_ago_is_forgotten() -> None:
    model = og.MiniBatchKMeans(1, init=np.zeros((1, 1)))
    for value in (0.0, 8.0, 8.0):
        model.partial_fit(np.full((4, 1), value), decay=0.5)
    assert model.counts_.tolist() == [7.0]
    assert model.cluster_centers_.tolist() == [[48 / 7]]
    weighted = og.MiniBatchKMeans(1, init=np.zeros((1, 1)))
    weighted.partial_fit(np.array([[0.0], [3.0]]), sample_weight=np.array([1.0, 2.0]))
    assert weighted.cluster_centers_.tolist() == [[2.0]]


def test_what_a_stream_cannot_be() -> None:
    model = og.MiniBatchKMeans(2, random_state=0)
    with pytest.raises(DataError, match="n_samples=1 should be >= n_clusters=2"):
        model.partial_fit(np.zeros((1, 1)))
    model.partial_fit(np.array([[0.0], [1.0]]))
    with pytest.raises(ParameterError, match="decay must be"):
        model.partial_fit(np.array([[0.0]]), decay=1.5)
    with pytest.raises(ParameterError, match="there are 2 from the batches before"):
        model.set_params(n_clusters=3).partial_fit(np.array([[0.0]]))
