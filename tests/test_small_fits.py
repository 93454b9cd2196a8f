"""Fits of few rows: what they skip, and the compiled descent on few coordinates, change no result."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.engine import checks
from outgrow.engine.memory import Memory
from outgrow.ml.solvers import descent


def quadratic(seed: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Products of columns of very different units, some of which lean on others or do not vary."""
    random = np.random.default_rng(seed)
    units = 10.0 ** random.uniform(-3, 3, size)
    X = random.standard_normal((3 * size + 5, size)) * units
    if size > 3:
        X[:, 1] = 0.0
        X[:, 2] = X[:, 0] + 1e-2 * units[0] * random.standard_normal(len(X))
    y = X[:, ::3] @ (1 / units[::3]) + random.standard_normal(len(X))
    H, g = X.T @ X / len(X), X.T @ y / len(X)
    return H, g, 0.1 * np.sqrt(np.diag(H))


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("size", [1, 2, 10, 60, 128])
def test_compiled_descent_ends_where_equations_do(size: int, positive: bool) -> None:
    for seed in range(5):
        H, g, penalty = quadratic(seed, size)
        start = np.zeros(size) if seed % 2 else np.random.default_rng(seed).standard_normal(size)

        def value(w: np.ndarray, H: np.ndarray = H, g: np.ndarray = g, cost: np.ndarray = penalty) -> float:
            return float(0.5 * w @ H @ w - g @ w + cost @ np.abs(w))

        how = {"tol": 1e-10, "max_sweeps": 10_000, "positive": positive}
        found, steps = descent.lasso_quadratic(H, g, penalty, start, **how)
        other, _ = descent._minimum(H, g, penalty, start, 1e-10, 10_000, positive)
        assert value(found) == pytest.approx(value(other), rel=1e-10)
        np.testing.assert_array_equal(found != 0, other != 0)
        assert not positive or (found >= 0).all()
        assert descent.lasso_quadratic(H, g, penalty, found, **how) == (pytest.approx(found, rel=1e-12), 0)
        assert 0 < steps < 10_000


def test_few_coordinates_that_depend_on_others_are_left_to_equations() -> None:
    """There is no one minimum: which is found depends on where the descent begins, as it did."""
    X = np.random.default_rng(0).standard_normal((5, 9))
    H, g, penalty = X.T @ X, X.T @ np.ones(5), np.zeros(9)
    found, _ = descent.lasso_quadratic(H, g, penalty, np.zeros(9), tol=1e-10, max_sweeps=1_000)
    np.testing.assert_allclose(X @ found, np.ones(5), atol=1e-8)


def test_a_model_is_the_same_without_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = (part := np.random.default_rng(1).standard_normal((200, 8)))[:, :7], part[:, 0] + part[:, 7]
    models = og.Lasso(0.1), og.LogisticRegression(C=0.1, l1_ratio=1.0)
    with_kernel = [
        model.fit(X, target).coef_.ravel() for model, target in zip(models, (y, y > 0), strict=True)
    ]
    monkeypatch.setattr(descent, "COMPILED", 0)
    for model, target, coef in zip(models, (y, y > 0), with_kernel, strict=True):
        np.testing.assert_allclose(model.fit(X, target).coef_.ravel(), coef, rtol=1e-7, atol=1e-10)
        assert (coef == 0).any()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([3, 1, 3, 7], pa.int64()),
        ([-128, 127, 0, -128], pa.int8()),
        ([2**61, 2**61 + 2, 2**61], pa.uint64()),
        ([-(2**63), -(2**63) + 5], pa.int64()),
        ([0, 1, 2, 1, 0], pa.uint8()),
        ([5] * 4, pa.int32()),
        ([0, 10**6, 5], pa.int64()),
    ],
)
def test_classes_that_are_whole_numbers_are_told_apart_as_others_are(
    values: list[int], kind: pa.DataType, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = pa.array(values, kind)
    codes, classes = checks._classes(array, "y")
    assert classes == tuple(sorted(set(values)))
    assert [classes[code] for code in codes] == values
    monkeypatch.setattr(checks, "_RANGE", 0)
    others, same = checks._classes(array, "y")
    assert (others.tolist(), same) == (codes.tolist(), classes)


def test_few_rows_do_not_ask_how_much_memory_there_is() -> None:
    asked: list[int] = []

    def budget() -> int:
        asked.append(1)
        return 1

    memory = Memory(budget)
    assert memory.take(1_000)
    assert not asked
    assert not memory.take(1 << 23)
    assert asked
    assert memory.spilled == 1 << 23
    assert not Memory(1).take(1_000)
