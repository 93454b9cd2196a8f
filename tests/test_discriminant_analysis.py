"""Linear and quadratic discriminant analysis beside scikit-learn's."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import discriminant_analysis as peer

import outgrow as og
from outgrow.errors import DataError, ParameterError
from outgrow.ml.selection.many import fit_many

AT_LEAST_1_9 = tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 9)
LINEAR, QUADRATIC = "LinearDiscriminantAnalysis", "QuadraticDiscriminantAnalysis"
RNG = np.random.default_rng(0)


def drawn(
    rng: np.random.Generator, classes: int, rows: int = 150, width: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of classes with covariances of their own, in columns of several scales far from zero."""
    y = np.arange(rows) % classes
    turns = 0.4 * rng.normal(size=(classes, width, width)) + 2 * np.eye(width)
    X = (
        np.einsum("np,npq->nq", rng.normal(size=(rows, width)), turns[y])
        + rng.normal(size=(classes, width))[y] * 2
    )
    return X * [1.0, 10.0, 0.5, 3.0, 1.0][:width] + [0.0, 100.0, -5.0, 0.0, 1.0][:width], y


def pair(name: str, **parameters: Any) -> tuple[Any, Any]:
    return getattr(og, name)(**parameters), getattr(peer, name)(**parameters)


def as_of_1_9(theirs: Any, counts: np.ndarray) -> None:
    """Of solver='svd', which before scikit-learn 1.9 divides by fewer than the rows, unlike the others."""
    if theirs.solver != "svd" or AT_LEAST_1_9:
        return
    if isinstance(theirs, peer.QuadraticDiscriminantAnalysis):
        for number, count in enumerate(counts):
            given = theirs.scalings_[number] - theirs.reg_param
            theirs.scalings_[number] = given * (count - 1) / count + theirs.reg_param
        turned = zip(theirs.rotations_, theirs.scalings_, strict=True)
        if theirs.store_covariance:
            theirs.covariance_ = [axes * widths @ axes.T for axes, widths in turned]
        return
    factor, shares = counts.sum() / (counts.sum() - len(counts)), np.log(theirs.priors_)
    shares = shares[1] - shares[0] if len(counts) == 2 else shares
    theirs.scalings_ = theirs.scalings_ * np.sqrt(factor)
    theirs.coef_ = theirs.coef_ * factor
    theirs.intercept_ = (theirs.intercept_ - shares) * factor + shares


def assert_alike(ours: Any, theirs: Any, X: np.ndarray) -> None:
    as_of_1_9(theirs, ours.class_count_)
    for name in (
        "priors_",
        "means_",
        "coef_",
        "intercept_",
        "covariance_",
        "explained_variance_ratio_",
        "xbar_",
    ):
        if hasattr(theirs, name):
            given, expected = getattr(ours, name), getattr(theirs, name)
            np.testing.assert_allclose(
                given, expected, rtol=1e-8, atol=1e-10 * np.abs(expected).max(), err_msg=name
            )
    for method in ("decision_function", "predict_proba"):
        given, expected = getattr(ours, method)(X), getattr(theirs, method)(X)
        np.testing.assert_allclose(given, expected, rtol=1e-8, atol=1e-9, err_msg=method)
    assert ours.predict(X).tolist() == theirs.predict(X).tolist()
    if hasattr(theirs, "transform") and ours.solver != "lsqr":
        given, expected = ours.transform(X), theirs.transform(X)
        signs = np.sign((given * expected).sum(axis=0))
        np.testing.assert_allclose(given, expected * signs, rtol=1e-7, atol=1e-9)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_linear_as_scikit_learn(data: st.DataObject) -> None:
    rng, classes = np.random.default_rng(data.draw(st.integers(0, 1000))), data.draw(st.integers(2, 4))
    X, y = drawn(rng, classes)
    solver = data.draw(st.sampled_from(["svd", "lsqr", "eigen"]))
    parameters = {
        "solver": solver,
        "shrinkage": None if solver == "svd" else data.draw(st.sampled_from([None, 0.0, 0.3, 1.0, "auto"])),
        "priors": data.draw(st.sampled_from([None, (p := rng.random(classes) + 0.1) / p.sum()])),
        "n_components": data.draw(st.sampled_from([None, 1])),
        "store_covariance": data.draw(st.booleans()),
    }
    ours, theirs = pair(LINEAR, **parameters)
    assert_alike(ours.fit(X, y), theirs.fit(X, y), X)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_quadratic_as_scikit_learn(data: st.DataObject) -> None:
    rng, classes = np.random.default_rng(data.draw(st.integers(0, 1000))), data.draw(st.integers(2, 4))
    X, y = drawn(rng, classes)
    solver = data.draw(st.sampled_from(["svd", "eigen"]))
    parameters = {
        "solver": solver,
        "shrinkage": None if solver == "svd" else data.draw(st.sampled_from([None, 0.3, "auto"])),
        "reg_param": data.draw(st.sampled_from([0.0, 0.2])),
        "priors": data.draw(st.sampled_from([None, (p := rng.random(classes) + 0.1) / p.sum()])),
        "store_covariance": data.draw(st.booleans()),
    }
    ours, theirs = pair(QUADRATIC, **parameters)
    assert_alike(ours.fit(X, y), theirs.fit(X, y), X)


@pytest.mark.parametrize(
    "model",
    [
        og.LinearDiscriminantAnalysis(),
        og.LinearDiscriminantAnalysis("eigen", "auto"),
        og.LinearDiscriminantAnalysis("lsqr", 0.2),
        og.QuadraticDiscriminantAnalysis(),
        og.QuadraticDiscriminantAnalysis(solver="eigen", shrinkage="auto"),
    ],
)
def test_weights_are_repetitions_and_zeros_need_not_be_stored(model: Any) -> None:
    X, y = drawn(RNG, 3)
    X[np.abs(X) < 1] = 0.0
    weight = RNG.integers(0, 4, len(X)).astype(float)
    repeated = np.repeat(np.arange(len(X)), weight.astype(int))
    expected = model.fit(X[repeated], y[repeated]).predict_proba(X)
    np.testing.assert_allclose(model.fit(X, y, weight).predict_proba(X), expected, rtol=1e-8, atol=1e-12)
    sparse = model.fit(sp.csr_array(X), y, weight)
    np.testing.assert_allclose(sparse.predict_proba(sp.csr_array(X)), expected, rtol=1e-8, atol=1e-12)


def test_columns_that_depend_on_others() -> None:
    X, y = drawn(RNG, 3)
    X = np.column_stack([X, X[:, 0] - 2 * X[:, 1], np.ones(len(X))])
    ours, theirs = pair(LINEAR)
    assert_alike(ours.fit(X, y), theirs.fit(X, y), X)
    shrunk = pair(LINEAR, solver="eigen", shrinkage="auto")
    assert_alike(shrunk[0].fit(X, y), shrunk[1].fit(X, y), X)
    with pytest.raises(DataError, match=r"cannot be inverted.*Choose solver='svd'"):
        og.LinearDiscriminantAnalysis("eigen").fit(X, y)
    with pytest.raises(DataError, match=r"class 0 is not full rank.*reg_param"):
        og.QuadraticDiscriminantAnalysis().fit(X, y)
    with pytest.raises(DataError, match=r"class 0 is not full rank.*shrinkage"):
        og.QuadraticDiscriminantAnalysis(solver="eigen").fit(X, y)
    regular = pair(QUADRATIC, reg_param=0.1)
    assert_alike(regular[0].fit(X, y), regular[1].fit(X, y), X)


def test_fewer_rows_than_columns() -> None:
    X, y = RNG.normal(size=(20, 30)), np.arange(20) % 2
    ours, theirs = pair(LINEAR)
    assert_alike(ours.fit(X, y), theirs.fit(X, y), X)


def test_classes_apart_in_no_column() -> None:
    X = np.array([[1.0, 2.0], [-1.0, 2.5], [1.0, 2.0], [-1.0, 2.5]])
    model = og.LinearDiscriminantAnalysis().fit(X, [0, 0, 1, 1])
    np.testing.assert_allclose(model.predict_proba(X), 0.5)
    assert model.explained_variance_ratio_.tolist() == [0.0]


def test_data_that_cannot_be_told_apart() -> None:
    X, y = drawn(RNG, 3, 30)
    with pytest.raises(DataError, match="No column varies within the classes"):
        og.LinearDiscriminantAnalysis().fit(np.array([[0.0], [1.0], [1.0]]), [0, 1, 1])
    with pytest.raises(DataError, match="only 1 sample in class 2"):
        og.QuadraticDiscriminantAnalysis().fit(np.vstack([X, X[:1]]), np.append(y % 2, 2))
    for kind in (og.LinearDiscriminantAnalysis, og.QuadraticDiscriminantAnalysis):
        with pytest.raises(DataError, match="2 classes"):
            kind().fit(X, np.zeros(30))
        with pytest.raises(DataError, match=r"class\(es\) \[1\] weigh nothing"):
            kind().fit(X, y, (y != 1).astype(float))
        with pytest.raises(DataError, match="overflow"):
            kind().fit(X * 1e200, y)


def test_wrong_parameters() -> None:
    X, y = drawn(RNG, 3, 30)
    cases: list[tuple[Any, str]] = [
        (og.LinearDiscriminantAnalysis(shrinkage=0.1), "shrinkage not supported with 'svd'"),
        (og.QuadraticDiscriminantAnalysis(shrinkage="auto"), "shrinkage not supported with 'svd'"),
        (og.LinearDiscriminantAnalysis(n_components=3), "which is 2 here"),
        (og.LinearDiscriminantAnalysis(priors=[0.5, 0.5]), "Number of priors must match number of classes"),
        (og.LinearDiscriminantAnalysis(priors=[-0.5, 0.5, 1.0]), "priors must be non-negative"),
        (og.LinearDiscriminantAnalysis("lsqr", 1.5), "shrinkage must be"),
        (og.LinearDiscriminantAnalysis(covariance_estimator=object()), "covariance_estimator must be None"),
    ]
    for model, why in cases:
        with pytest.raises(ParameterError, match=why):
            model.fit(X, y)
    with pytest.raises(ParameterError, match="transform not implemented for 'lsqr'"):
        og.LinearDiscriminantAnalysis("lsqr").fit(X, y).transform(X)
    for kind in (og.LinearDiscriminantAnalysis, og.QuadraticDiscriminantAnalysis):
        with pytest.warns(UserWarning, match="The priors do not sum to 1"):
            np.testing.assert_allclose(kind(priors=[1, 1, 2]).fit(X, y).priors_, [0.25, 0.25, 0.5])


@pytest.mark.parametrize("name", [LINEAR, QUADRATIC])
def test_settings_and_folds_share_passes(name: str) -> None:
    X, y = drawn(RNG, 2, 200)
    table = pa.table({f"x{j}": X[:, j] for j in range(5)} | {"y": y})
    frame = table.drop("y").to_pandas()
    plain = [{"solver": "eigen", "shrinkage": 0.1}, {"solver": "eigen", "shrinkage": 0.5}]
    found = fit_many(getattr(og, name)(), table, "y", plain, folds=og.KFold(3), refit=True)
    assert found.passes == 2  # one to learn, one to score
    drawn_in = [*plain, {"solver": "eigen", "shrinkage": "auto"}]
    found = fit_many(getattr(og, name)(), table, "y", drawn_in, folds=og.KFold(3), refit=True)
    for setting, trial in zip(drawn_in, found.trials, strict=True):
        assert trial.error is None
        alone = getattr(og, name)(**setting).fit(table, "y")
        np.testing.assert_allclose(trial.refitted.predict_proba(frame), alone.predict_proba(frame), rtol=1e-8)
    assert getattr(og, name)().fit(table, "y").fit_record_.passes == 1
    assert getattr(og, name)(solver="eigen", shrinkage="auto").fit(table, "y").fit_record_.passes == 2


def test_probabilities_too_small_for_floats_have_logarithms() -> None:
    X, y = np.array([[-1.0], [-1.1], [1.0], [1.2]]), [0, 0, 1, 1]
    for kind in (og.LinearDiscriminantAnalysis, og.QuadraticDiscriminantAnalysis):
        logs = kind(tol=1e-9).fit(X, y).predict_log_proba(np.array([[1e3], [-1e3]]))
        assert np.isfinite(logs).all()
        assert logs.min() < -1e4


def test_lazy_tables_are_transformed() -> None:
    X, y = drawn(RNG, 3)
    model = og.LinearDiscriminantAnalysis(n_components=1).fit(X, y)
    lazy = model.transform(og.dataset(pa.table({f"x{j}": X[:, j] for j in range(5)}))).to_arrow()
    assert model.get_feature_names_out().tolist() == ["lineardiscriminantanalysis0"]
    np.testing.assert_allclose(lazy["lineardiscriminantanalysis0"].to_numpy(), model.transform(X)[:, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(model.to_sklearn().transform(X), model.transform(X), atol=1e-12)
