"""Models learned from arrays of float32 have float32 coefficients, as scikit-learn's have."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pandas
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import outgrow as og

RNG = np.random.default_rng(3)
X = RNG.normal(size=(120, 4)).astype(np.float32).astype(np.float64)
Y = X @ [1.0, -2.0, 0.5, 0.0] + 0.1 * RNG.normal(size=120)
LINEAR = [og.LinearRegression(), og.Ridge(), og.ElasticNet(alpha=0.01), og.LogisticRegression()]
MODELS = {
    **{type(model).__name__: (model, "coef_") for model in LINEAR},
    "KMeans": (og.KMeans(3, random_state=0), "cluster_centers_"),
    "PCA": (og.PCA(2), "components_"),
}


def fitted(model: Any, rows: Any) -> Any:
    classes = isinstance(model, og.LogisticRegression)
    return clone(model).fit(rows, Y > 0 if classes else Y)


def answers(model: Any, rows: Any) -> np.ndarray:
    found: np.ndarray = model.transform(rows) if hasattr(model, "transform") else model.predict(rows)
    return found


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_learned_arrays_follow_the_type_of_the_array(name: str, form: Any) -> None:
    model, attribute = MODELS[name]
    exact, single = fitted(model, form(X)), fitted(model, form(X.astype(np.float32)))
    assert getattr(exact, attribute).dtype == np.float64
    assert getattr(single, attribute).dtype == np.float32
    np.testing.assert_allclose(getattr(single, attribute), getattr(exact, attribute), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_saved_answers_as_what_was_fitted(name: str, tmp_path: Any) -> None:
    rows = X.astype(np.float32)
    model = fitted(MODELS[name][0], rows)
    model.save(tmp_path / "model")
    loaded = og.load(tmp_path / "model")
    assert getattr(loaded, MODELS[name][1]).dtype == np.float32
    np.testing.assert_array_equal(answers(loaded, rows), answers(model, rows))


@pytest.mark.parametrize("name", ["LinearRegression", "Ridge", "ElasticNet"])
def test_predictions_are_float32_where_rows_and_coefficients_are(name: str) -> None:
    model, rows = fitted(MODELS[name][0], X.astype(np.float32)), X.astype(np.float32)
    assert model.predict(rows).dtype == np.float32
    assert model.predict(X).dtype == np.float64
    assert fitted(MODELS[name][0], X).predict(rows).dtype == np.float64


def test_tables_give_float64_whatever_their_columns_are() -> None:
    frame = pandas.DataFrame(X.astype(np.float32), columns=list("abcd"))
    assert og.Ridge().fit(frame, Y).coef_.dtype == np.float64


def test_liblinear_learns_in_float64_as_scikit_learn_has_it() -> None:
    model = og.LogisticRegression(solver="liblinear").fit(X.astype(np.float32), Y > 0)
    assert model.coef_.dtype == np.float64


@pytest.mark.parametrize("name", ["LinearRegression", "LogisticRegression", "KMeans"])
def test_onnx_answers_as_the_model(name: str, tmp_path: Any) -> None:
    model = fitted(MODELS[name][0], X.astype(np.float32))
    model.to_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (found,) = session.run(["prediction"], {f"x{j}": X[:, [j]] for j in range(4)})
    np.testing.assert_allclose(found, model.predict(X), rtol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_scikit_learn_answers_as_the_model(name: str) -> None:
    model = fitted(MODELS[name][0], X.astype(np.float32))
    np.testing.assert_allclose(answers(model.to_sklearn(), X), answers(model, X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("solver", "words"),
    [
        ("lbfgs", "lbfgs failed to converge after 1 iterations"),
        ("newton-cg", "newton-cg failed to converge.* Increase the number of iterations"),
        ("liblinear", "Liblinear failed to converge, increase the number of iterations"),
        ("saga", "The max_iter was reached which means the coef_ did not converge"),
        ("newton-cholesky", "Newton solver did not converge after 1 iterations"),
    ],
)
def test_filters_of_scikit_learns_warnings_go_on_to_work(solver: str, words: str) -> None:
    with pytest.warns(ConvergenceWarning, match=words):
        og.LogisticRegression(solver=solver, max_iter=1).fit(X, Y > 0)
