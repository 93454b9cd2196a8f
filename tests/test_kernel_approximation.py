"""Random Fourier features, sketches and landmarks beside scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from sklearn import kernel_approximation
from sklearn.metrics.pairwise import pairwise_kernels

import outgrow as og
from outgrow.errors import ArtifactError, ParameterError
from outgrow.ml.export.onnx.run import feeds, run

X = np.random.default_rng(0).normal(size=(60, 4))
forms = pytest.mark.parametrize("form", [np.asarray, sp.csr_array])


@forms
@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("RBFSampler", {"gamma": 0.3}),
        ("RBFSampler", {"gamma": "scale"}),
        ("PolynomialCountSketch", {"degree": 3, "gamma": 0.5}),
        ("PolynomialCountSketch", {"degree": 1, "coef0": 0.5}),
        ("PolynomialCountSketch", {"degree": 2, "coef0": 2}),
    ],
)
def test_same_numbers_as_scikit_learn(name: str, chosen: dict[str, Any], form: Any) -> None:
    for count in (1, 7, 30):
        shared = {**chosen, "n_components": count, "random_state": 5}
        ours = getattr(og, name)(**shared).fit(form(X))
        theirs = getattr(kernel_approximation, name)(**shared).fit(form(X))
        expected = theirs.transform(form(X))
        np.testing.assert_allclose(ours.transform(form(X)), expected, rtol=1e-11, atol=1e-12)
        assert list(ours.get_feature_names_out()) == list(theirs.get_feature_names_out())
    if form is np.asarray:
        np.testing.assert_allclose(ours.to_sklearn().transform(X), expected, rtol=1e-11, atol=1e-12)


def test_rbf_sampler_of_constants_and_in_onnx(tmp_path: Any) -> None:
    assert og.RBFSampler(gamma="scale").fit(np.ones((3, 2))).gamma_ == 1.0
    ours = og.RBFSampler(n_components=5).fit(X)
    ours.to_onnx(tmp_path / "m.onnx")
    rows = feeds(pa.table({f"x{j}": X[:, j] for j in range(4)}), ours.columns_)
    (made,) = run((tmp_path / "m.onnx").read_bytes(), rows).values()
    np.testing.assert_allclose(made, ours.transform(X), atol=1e-13)


KERNELS: list[tuple[Any, dict[str, Any]]] = [
    ("rbf", {"gamma": 0.2}),
    ("rbf", {}),
    ("linear", {}),
    ("poly", {"degree": 2, "coef0": 0.5}),
    ("sigmoid", {"gamma": 0.1}),
    ("cosine", {}),
    ("laplacian", {"gamma": 0.1}),
    ("chi2", {"gamma": 0.1}),
    ("additive_chi2", {}),
    (lambda a, b, power=1: float(np.dot(a, b)) ** power, {"kernel_params": {"power": 2}}),
]


@forms
@pytest.mark.parametrize(("kernel", "chosen"), KERNELS)
def test_landmarks(kernel: Any, chosen: dict[str, Any], form: Any, tmp_path: Any) -> None:
    if form is sp.csr_array and (callable(kernel) or "chi2" in kernel or kernel == "laplacian"):
        return  # which scikit-learn has of dense rows alone
    rows = form(np.abs(X))
    ours = og.Nystroem(kernel, n_components=9, random_state=2, **chosen).fit(rows)
    theirs = kernel_approximation.Nystroem(kernel, n_components=9, random_state=0, **chosen).fit(rows)
    theirs.components_, theirs.normalization_ = ours.components_, ours.normalization_
    np.testing.assert_allclose(ours.transform(rows), theirs.transform(rows), rtol=1e-9, atol=1e-9)
    landmarks = ours.components_.toarray() if form is sp.csr_array else ours.components_
    gram = pairwise_kernels(landmarks, metric=kernel, filter_params=True, **ours._settings())
    made = ours.transform(form(landmarks))
    if kernel not in ("sigmoid", "additive_chi2"):  # which are no kernels of products
        np.testing.assert_allclose(made @ made.T, gram, rtol=1e-4, atol=1e-4)
    assert all((landmark == np.abs(X)).all(axis=1).any() for landmark in landmarks)
    if kernel in ("rbf", "linear", "poly", "sigmoid") and form is np.asarray:
        ours.to_onnx(tmp_path / "m.onnx")
        table = feeds(pa.table({f"x{j}": np.abs(X[:, j]) for j in range(4)}), ours.columns_)
        (answer,) = run((tmp_path / "m.onnx").read_bytes(), table).values()
        np.testing.assert_allclose(answer, ours.transform(np.abs(X)), rtol=1e-7, atol=1e-7)


def test_landmarks_do_not_depend_on_the_order_of_rows() -> None:
    first = og.Nystroem(n_components=7).fit(X)
    shuffled = np.random.default_rng(1).permutation(X)
    np.testing.assert_array_equal(first.components_, og.Nystroem(n_components=7).fit(shuffled).components_)
    sparse = og.Nystroem(n_components=7).fit(sp.csr_array(X)).components_
    np.testing.assert_array_equal(first.components_, sparse.toarray())
    other = og.Nystroem(n_components=7, random_state=1).fit(X).components_
    assert not np.array_equal(first.components_, other)
    with pytest.warns(UserWarning, match="n_components > n_samples"):
        assert og.Nystroem(n_components=100).fit(X).transform(X).shape == (60, 60)


def test_what_cannot_be(tmp_path: Any) -> None:
    with pytest.raises(ParameterError, match="Put them into kernel_params"):
        og.Nystroem(np.dot, gamma=1).fit(X)
    with pytest.raises(ParameterError, match="kernel must be"):
        og.Nystroem("precomputed").fit(X)
    with pytest.raises(ParameterError, match="coef0"):
        og.PolynomialCountSketch(coef0=-1.0).fit(X)
    with pytest.raises(ArtifactError, match="cannot be saved"):
        og.Nystroem(np.dot, n_components=3).fit(X).save(tmp_path / "m")
    with pytest.raises(ValueError, match="NaN"):
        og.RBFSampler().fit(X).transform(np.full((1, 4), np.nan))
