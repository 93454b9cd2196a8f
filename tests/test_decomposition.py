"""Singular vectors and principal components beside those of SciPy and scikit-learn."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import decomposition as peer
from sklearn.exceptions import ConvergenceWarning

import outgrow as og
from outgrow.errors import DataError, ParameterError
from outgrow.ml.decomposition import incremental_pca, krylov, pca, truncated_svd
from outgrow.ml.decomposition.krylov import Krylov

RNG = np.random.default_rng(0)
WIDE = 400
TEXT = sp.random_array((500, WIDE), density=0.03, rng=RNG, format="csr") @ sp.diags_array(
    1.0 / np.arange(1, WIDE + 1)
)
TEXT = TEXT.tocsr()
X = RNG.normal(size=(300, 4)) @ RNG.normal(size=(4, 9)) + 0.1 * RNG.normal(size=(300, 9)) + 5.0


@pytest.fixture
def narrow_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few columns count as many."""
    for module in (pca, truncated_svd, incremental_pca):
        monkeypatch.setattr(module, "WIDEST", 5)


def _same_directions(ours: np.ndarray, theirs: np.ndarray, tolerance: float = 1e-8) -> None:
    np.testing.assert_allclose(ours, theirs, atol=tolerance)


# ---- block Krylov spaces -----------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    width=st.integers(1, 40),
    rank=st.integers(0, 40),
    count=st.integers(1, 6),
    oversamples=st.integers(1, 12),
    seed=st.integers(0, 3),
)
def test_leading_values_are_those_of_the_matrix(
    width: int, rank: int, count: int, oversamples: int, seed: int
) -> None:
    rows = np.random.default_rng(seed).normal(size=(min(rank, width), width))
    rows *= np.logspace(0, -3, len(rows))[:, None]
    products, count = rows.T @ rows, min(count, width)
    values, vectors = Krylov(oversamples=oversamples).leading(lambda Q: products @ Q, width, count)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(products)[::-1][:count], atol=1e-11 * width)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(count), atol=1e-12)
    np.testing.assert_allclose(products @ vectors.T, vectors.T * values, atol=1e-10 * width)


def test_a_space_that_grew_too_large_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(krylov, "_LARGEST", 1)
    values = np.linspace(1, 0.5, 200)
    passes = []

    def times(directions: np.ndarray) -> np.ndarray:
        passes.append(directions.shape[1])
        return values[:, None] * directions

    found, vectors = Krylov(oversamples=4).leading(times, 200, 3)
    np.testing.assert_allclose(found, values[:3], rtol=1e-11)
    np.testing.assert_allclose(np.abs(vectors), np.eye(3, 200), atol=1e-6)
    assert len(passes) > 5


def test_equal_values_have_as_many_directions_as_they_have() -> None:
    values = np.array([2.0] * 4 + [1.0] * 4 + [0.0] * 12)
    found, vectors = Krylov(oversamples=1).leading(lambda Q: values[:, None] * Q, 20, 6)
    np.testing.assert_allclose(found, values[:6], atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(vectors[:4, :4]), 2.0)


def test_what_does_not_converge_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(krylov, "_MOST_PASSES", 2)
    values = np.linspace(1, 0.99, 300)
    with pytest.warns(ConvergenceWarning, match="did not converge in 2 passes"):
        Krylov(oversamples=1).leading(lambda Q: values[:, None] * Q, 300, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Krylov(passes=2, oversamples=1).leading(lambda Q: values[:, None] * Q, 300, 1)


# ---- TruncatedSVD ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array, "wide", "wide sparse", "table"])
@pytest.mark.parametrize("algorithm", ["arpack", "randomized"])
def test_singular_vectors_are_those_of_scikit_learn(
    form: Any, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = TEXT if form == "wide sparse" else X
    if form == "wide":
        monkeypatch.setattr(truncated_svd, "WIDEST", 5)
    given = {"wide": X, "wide sparse": TEXT, "table": pa.table({f"x{j}": X[:, j] for j in range(9)})}
    theirs = peer.TruncatedSVD(3, algorithm="arpack", random_state=0).fit(rows)
    ours = og.TruncatedSVD(3, algorithm=algorithm, n_iter=30).fit(
        given[form] if isinstance(form, str) else form(rows)
    )
    _same_directions(ours.components_, theirs.components_)
    np.testing.assert_allclose(ours.singular_values_, theirs.singular_values_)
    np.testing.assert_allclose(ours.explained_variance_, theirs.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(ours.explained_variance_ratio_, theirs.explained_variance_ratio_, rtol=1e-6)
    if form == "table":
        return
    np.testing.assert_allclose(ours.transform(rows), theirs.transform(rows), atol=1e-7)
    made = theirs.transform(rows)
    np.testing.assert_allclose(ours.inverse_transform(made), theirs.inverse_transform(made), atol=1e-7)


def test_few_passes_are_closer_than_scikit_learns() -> None:
    flat = sp.random_array((800, 600), density=0.02, rng=RNG, format="csr")
    exact = peer.TruncatedSVD(5, algorithm="arpack", random_state=0).fit(flat).singular_values_
    theirs = peer.TruncatedSVD(5, random_state=0, n_iter=3).fit(flat).singular_values_
    ours = og.TruncatedSVD(5, n_iter=3).fit(flat).singular_values_
    assert (ours <= exact * (1 + 1e-12)).all()
    assert np.abs(ours - exact).sum() < np.abs(theirs - exact).sum()


def test_columns_without_numbers_are_left_out_and_come_back() -> None:
    places = np.sort(RNG.choice(100_000, WIDE, replace=False))
    rows = TEXT.tocoo()
    spread = sp.csr_array((rows.data, (rows.row, places[rows.col])), shape=(500, 100_000))
    ours, narrow = og.TruncatedSVD(4, algorithm="arpack").fit(spread), og.TruncatedSVD(4, algorithm="arpack")
    narrow.fit(TEXT)
    np.testing.assert_allclose(ours.components_[:, places], narrow.components_, atol=1e-9)
    assert np.count_nonzero(ours.components_) <= 4 * WIDE
    np.testing.assert_allclose(ours.transform(spread), narrow.transform(TEXT), atol=1e-9)


def test_no_more_components_than_rows_or_columns(narrow_limits: None) -> None:
    few = og.TruncatedSVD(6).fit(X[:3])
    assert few.components_.shape == (3, 9)
    np.testing.assert_allclose(few.singular_values_, np.linalg.svd(X[:3], compute_uv=False), rtol=1e-6)
    with pytest.raises(DataError, match=r"n_components\(10\) must be <= n_features\(9\)"):
        og.TruncatedSVD(10).fit(X)
    zeros = og.TruncatedSVD(2).fit(np.zeros((5, 8)))
    assert zeros.singular_values_.tolist() == [0, 0]
    assert zeros.explained_variance_ratio_.tolist() == [0, 0]


def test_text_is_analysed_without_ever_being_dense() -> None:
    words = np.array([f"w{i}" for i in range(3000)], dtype=object)
    table = pa.table({"a": RNG.choice(words, 4000), "b": RNG.choice(words[:7], 4000)})
    pipe = og.Pipeline([og.OneHotEncoder(), og.TruncatedSVD(3, algorithm="arpack")])
    made = pipe.fit(table).transform(table)
    assert made.column_names == ["truncatedsvd0", "truncatedsvd1", "truncatedsvd2"]
    codes = og.OneHotEncoder().fit(table).set_output(transform="default").transform(table)
    theirs = peer.TruncatedSVD(3, algorithm="arpack", random_state=0).fit(codes)
    np.testing.assert_allclose(pipe[-1].singular_values_, theirs.singular_values_)


# ---- PCA of many columns, and of sparse rows ---------------------------------------------------------------


@pytest.mark.parametrize("wanted", [1, 3, 0.9, 0.5, None])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array, "weighted"])
def test_components_of_many_columns(
    narrow_limits: None, form: Any, wanted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = RNG.integers(0, 3, len(X)).astype(float) if form == "weighted" else None
    rows = X if weight is None else np.repeat(X, weight.astype(int), axis=0)
    theirs = peer.PCA(wanted, svd_solver="full").fit(rows)
    if wanted is None:
        monkeypatch.setattr(pca, "_MOST", 5)
        with pytest.raises(DataError, match="n_components=None"):
            og.PCA(wanted).fit(X)
        return
    ours = og.PCA(wanted).fit(X if weight is not None else form(X), sample_weight=weight)
    _same_directions(ours.components_, theirs.components_)
    for name in ("mean_", "explained_variance_", "explained_variance_ratio_", "singular_values_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-8)
    assert ours.noise_variance_ == pytest.approx(theirs.noise_variance_)
    assert ours.n_samples_ == theirs.n_samples_
    np.testing.assert_allclose(ours.transform(rows), theirs.transform(rows), atol=1e-7)


@pytest.mark.parametrize("solver", ["auto", "arpack", "randomized"])
def test_sparse_rows_are_centred_as_dense_ones(solver: str) -> None:
    theirs = peer.PCA(4, svd_solver="full").fit(TEXT.toarray())
    ours = og.PCA(4, svd_solver=solver, iterated_power=30).fit(TEXT)
    np.testing.assert_allclose(ours.components_, theirs.components_, atol=1e-8)
    np.testing.assert_allclose(ours.explained_variance_, theirs.explained_variance_)
    np.testing.assert_allclose(ours.transform(TEXT), theirs.transform(TEXT.toarray()), atol=1e-8)


def test_a_mean_far_from_zero_leaves_no_negative_variance(narrow_limits: None) -> None:
    far = 1e6 + RNG.normal(size=(200, 12)) * np.logspace(0, -4, 12)
    for form in (np.asarray, sp.csr_array):
        ours = og.PCA(5).fit(form(far))
        assert (ours.explained_variance_ >= 0).all()
        np.testing.assert_allclose(
            ours.explained_variance_, peer.PCA(5, svd_solver="full").fit(far).explained_variance_, rtol=1e-6
        )


def test_the_first_row_does_not_decide_what_is_sparse() -> None:
    mixed = TEXT.copy().tolil()
    mixed[0] = 1.0
    rows = sp.csr_array(mixed)
    theirs = peer.PCA(2, svd_solver="full").fit(rows.toarray())
    np.testing.assert_allclose(og.PCA(2).fit(rows).components_, theirs.components_, atol=1e-8)


def test_few_rows_of_many_columns() -> None:
    rows = RNG.normal(size=(12, 5000))
    ours, theirs = og.PCA().fit(rows), peer.PCA(svd_solver="full").fit(rows)
    assert ours.n_components_ == 12
    np.testing.assert_allclose(ours.explained_variance_[:11], theirs.explained_variance_[:11])
    _same_directions(ours.components_[:11], theirs.components_[:11])
    assert og.PCA(svd_solver="arpack").fit(rows).n_components_ == 11
    with pytest.raises(DataError, match="strictly less than"):
        og.PCA(12, svd_solver="arpack").fit(rows)
    with pytest.raises(DataError, match="up to 4096 columns; there are 5000"):
        og.PCA(3, svd_solver="full").fit(rows)
    with pytest.raises(DataError, match="mle"):
        og.PCA("mle").fit(rows)


def test_no_components_of_many_columns(narrow_limits: None) -> None:
    ours = og.PCA(0).fit(X)
    assert ours.components_.shape == (0, 9)
    assert ours.noise_variance_ == pytest.approx(X.var(axis=0, ddof=1).mean())


def test_what_is_not_finite_is_refused(narrow_limits: None) -> None:
    for model in (og.PCA(2), og.TruncatedSVD(2)):
        for bad in (np.nan, np.inf):
            rows = X.copy()
            rows[7, 3] = bad
            with pytest.raises(ValueError, match=r"NaN|infinity"):
                model.fit(rows)


# ---- IncrementalPCA ----------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    cuts=st.lists(st.integers(6, 294), max_size=4),
    wanted=st.sampled_from([None, 1, 3]),
    whiten=st.booleans(),
)
def test_parts_are_learnt_as_the_whole(cuts: list[int], wanted: int | None, whiten: bool) -> None:
    grown = og.IncrementalPCA(wanted, whiten=whiten)
    edges = [0, *sorted({max(cut, 9) for cut in cuts}), len(X)]
    for start, end in itertools.pairwise(edges):
        grown.partial_fit(X[start:end])
    whole = og.PCA(wanted, whiten=whiten).fit(X)
    assert grown.n_samples_seen_ == len(X)
    for name in ("components_", "explained_variance_", "mean_", "explained_variance_ratio_"):
        np.testing.assert_allclose(getattr(grown, name), getattr(whole, name), atol=1e-9)
    np.testing.assert_allclose(grown.transform(X), whole.transform(X), atol=1e-8)
    np.testing.assert_allclose(grown.var_, X.var(axis=0))


def test_incremental_components_beside_scikit_learn() -> None:
    ours, theirs = og.IncrementalPCA().fit(X), peer.IncrementalPCA().fit(X)
    np.testing.assert_allclose(ours.components_, theirs.components_, atol=1e-8)
    np.testing.assert_allclose(ours.explained_variance_, theirs.explained_variance_)
    np.testing.assert_allclose(ours.var_, theirs.var_)
    np.testing.assert_allclose(ours.get_covariance(), theirs.get_covariance(), atol=1e-9)


def test_a_loaded_model_learns_on(tmp_path: Path) -> None:
    weight = RNG.random(len(X))
    og.IncrementalPCA(2).fit(X[:100], sample_weight=weight[:100]).save(tmp_path / "pca")
    grown = og.load(tmp_path / "pca").partial_fit(X[100:], sample_weight=weight[100:])
    whole = og.PCA(2).fit(X, sample_weight=weight)
    np.testing.assert_allclose(grown.components_, whole.components_, atol=1e-9)
    with pytest.raises(ParameterError):
        og.IncrementalPCA(0.5).fit(X)


def test_a_part_that_is_refused_changes_nothing() -> None:
    grown = og.IncrementalPCA(2).fit(X)
    bad = X[:20].copy()
    bad[3, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        grown.partial_fit(bad)
    assert grown.n_samples_seen_ == len(X)
    again = grown.fit(X)
    assert again.n_samples_seen_ == len(X)
    with pytest.raises(DataError, match="between 0 and"):
        og.IncrementalPCA(5).fit(X[:3])


def test_parts_may_have_fewer_rows_than_components() -> None:
    grown, whole = og.IncrementalPCA(5), og.PCA(5).fit(X[:40])
    for rows, expected in ((1, 0), (2, 2), (3, 3), (7, 5), (40, 5)):
        grown.partial_fit(X[grown.n_samples_seen_ if rows > 1 else 0 : rows])
        assert grown.n_samples_seen_ == rows
        assert grown.transform(X).shape == (300, expected)
    np.testing.assert_allclose(grown.components_, whole.components_, atol=1e-9)
