"""Multilayer perceptrons: from one start they go scikit-learn's way; with weights, sparse rows, exports."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.neural_network
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from sklearn.exceptions import ConvergenceWarning

import outgrow as og
from outgrow.errors import ArtifactError, DataError, ParameterError
from outgrow.ml.neural_network.network import ACTIVATIONS, Network
from outgrow.ml.persistence import describe, restore
from outgrow.ml.solvers import output_losses

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(400, 4))
SIGNAL = X[:, 0] * X[:, 1] + np.sin(X[:, 2])
LOSSES = [
    output_losses.half_square,
    output_losses.half_poisson,
    output_losses.log_loss_of_two,
    output_losses.log_loss_of_many,
]


def begun(kind: Any, model: Any, y: Any, weight: Any = None) -> Any:
    """scikit-learn's model that has begun where ours does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = kind(**model._shared(), random_state=0).set_params(max_iter=1).fit(X, y)
        sizes = (X.shape[1], *model.hidden_layer_sizes, theirs.n_outputs_)
        shape = Network(sizes, model.activation)
        weights, constants = shape.unpack(shape.start(0))
        theirs.coefs_, theirs.intercepts_ = [w.copy() for w in weights], [c.copy() for c in constants]
        return theirs.set_params(max_iter=model.max_iter, warm_start=True).fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_steps_are_those_of_scikit_learn_from_the_same_start(activation: str, classes: int) -> None:
    settings_: dict[str, Any] = {"hidden_layer_sizes": (6, 3), "activation": activation, "alpha": 0.01}
    settings_["max_iter"] = 4 if activation == "logistic" else 12  # its plateau magnifies rounding
    weight = RANDOM.integers(1, 4, len(X)).astype(float)
    if classes:
        y: Any = np.digitize(SIGNAL, np.quantile(SIGNAL, np.arange(1, classes) / classes))
        ours, theirs, method = (
            og.MLPClassifier(**settings_),
            sklearn.neural_network.MLPClassifier,
            "predict_proba",
        )
    else:
        y, method = SIGNAL, "predict"
        ours, theirs = og.MLPRegressor(**settings_), sklearn.neural_network.MLPRegressor
    other = begun(theirs, ours, y, weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ours.fit(X, y, sample_weight=weight)
    assert ours.loss_ == pytest.approx(other.loss_, rel=1e-6)
    np.testing.assert_allclose(getattr(ours, method)(X), getattr(other, method)(X), atol=1e-4)
    exported = ours.to_sklearn()
    np.testing.assert_allclose(getattr(exported, method)(X), getattr(ours, method)(X), atol=1e-12)


@given(
    loss=st.sampled_from(LOSSES),
    activation=st.sampled_from(["identity", "logistic", "tanh"]),
    hidden=st.lists(st.integers(1, 4), max_size=2),
    seed=st.integers(0, 1000),
    weighted=st.booleans(),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_gradients_are_those_of_the_loss(
    loss: Any, activation: str, hidden: list[int], seed: int, weighted: bool
) -> None:
    random = np.random.default_rng(seed)
    outputs = 1 if loss is output_losses.log_loss_of_two else 3
    shape = Network((2, *hidden, outputs), activation)
    rows = random.normal(size=(7, 2))
    y = (
        np.eye(outputs)[random.integers(0, outputs, 7)]
        if outputs > 1
        else random.integers(0, 2, (7, 1)) * 1.0
    )
    weight = random.random(7) if weighted else None
    w = random.normal(size=shape.size)

    def value(at: np.ndarray) -> float:
        return float(shape.sums(rows, y, weight, shape.unpack(at), loss)[0])

    found = shape.sums(rows, y, weight, shape.unpack(w), loss)
    np.testing.assert_allclose(found[2:], approx_fprime(w, value), rtol=1e-4, atol=1e-4)
    assert found[1] == (7 if weight is None else weight.sum())
    sparse = shape.sums(sp.csr_array(rows), y, weight, shape.unpack(w), loss)
    np.testing.assert_allclose(sparse, found, rtol=1e-12, atol=1e-12)
    parts = [
        shape.sums(rows[p], y[p], None if weight is None else weight[p], shape.unpack(w), loss)
        for p in (slice(0, 0), slice(0, 3), slice(3, 7))
    ]
    np.testing.assert_allclose(sum(parts), found, rtol=1e-12, atol=1e-12)


def test_counts_and_several_targets() -> None:
    counts = RANDOM.poisson(np.exp(0.5 * X[:, 0]))
    model = og.MLPRegressor("poisson", (4,), "tanh", alpha=3.0, tol=1e-3, random_state=1).fit(X, counts)
    assert (model.predict(X) > 0).all()
    assert np.corrcoef(model.predict(X), np.exp(0.5 * X[:, 0]))[0, 1] > 0.8
    np.testing.assert_allclose(model.predict(X).sum(), counts.sum(), rtol=1e-2)
    with pytest.raises(DataError, match="400 values of y are negative"):
        og.MLPRegressor("poisson").fit(X, -1.0 - counts)
    both = og.MLPRegressor(hidden_layer_sizes=(8,), activation="tanh", tol=1e-2).fit(
        X, np.column_stack([SIGNAL, -X[:, 3]])
    )
    assert both.predict(X).shape == (400, 2)
    assert both.score(X, np.column_stack([SIGNAL, -X[:, 3]])) > 0.5


def test_no_hidden_layer_is_a_logistic_regression() -> None:
    y = (SIGNAL > 0).astype(int)
    model = og.MLPClassifier((), alpha=1.0, tol=1e-8).fit(X, y)
    linear = og.LogisticRegression(C=1.0).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), linear.predict_proba(X), atol=1e-5)


def test_a_warm_start_goes_on() -> None:
    model = og.MLPRegressor(hidden_layer_sizes=(5,), activation="tanh", max_iter=5, warm_start=True)
    losses = []
    for _ in range(3):
        with pytest.warns(ConvergenceWarning, match="Raise max_iter or max_fun, scale the columns"):
            losses.append(model.fit(X, SIGNAL).loss_)
    assert losses[0] > losses[1] > losses[2]
    with pytest.raises(ParameterError, match=r"layers of \(4, 5, 1\).*\(4, 6, 1\)"):
        model.set_params(hidden_layer_sizes=6).fit(X, SIGNAL)


def test_numbers_that_leave_all_bounds_are_told_in_words() -> None:
    with pytest.raises(DataError, match="StandardScaler"):
        og.MLPRegressor(hidden_layer_sizes=(3,), activation="identity").fit(X * 1e200, SIGNAL)


def test_layers_that_do_not_fit_are_refused() -> None:
    tree = describe(og.MLPClassifier((3,), tol=0.1).fit(X, SIGNAL > 0))
    tree["learned"]["coefs_"] = [np.zeros((4, 3)), np.zeros((2, 1))]
    with pytest.raises(ArtifactError, match="do not fit one another"):
        restore(tree)
