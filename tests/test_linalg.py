"""Linear algebra of datasets: as NumPy and SciPy have it, on every engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity

import outgrow as og
from outgrow.errors import ColumnNotFoundError, DataError, ParameterError
from outgrow.linalg.steps import Factor, product
from outgrow.testing import EngineCase

RNG = np.random.default_rng(0)
A = RNG.normal(size=(600, 4)) * [1.0, 10.0, 0.1, 1.0]
B = RNG.normal(size=600)
NAMES = [f"a{j}" for j in range(4)]
ORDER = RNG.permutation(600)
TABLE = pa.table({"id": ORDER, **dict(zip(NAMES, A[ORDER].T, strict=True)), "b": B[ORDER]})
ENTRIES = sp.random_array((40, 30), density=0.2, rng=np.random.default_rng(1), format="coo")
OTHER = sp.random_array((30, 20), density=0.2, rng=np.random.default_rng(2), format="coo")


def of_condition(size: float, rows: int = 3_000, width: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """A matrix whose singular values fall from 1 to one over its condition number, and these."""
    left, right = (np.linalg.qr(RNG.normal(size=(n, width)))[0] for n in (rows, width))
    values = np.logspace(0, -np.log10(size), width)
    return left * values @ right.T, values


def entries_table(entries: sp.coo_array) -> pa.Table:
    return pa.table({"row": entries.row, "column": entries.col, "value": entries.data})


def test_all_of_a_matrix_on_every_engine(engine: EngineCase) -> None:
    """One test of many verbs: each is a fit, or a query, of its own."""
    matrix = og.linalg.row_matrix(engine.open(TABLE), NAMES, index="id")
    np.testing.assert_allclose(matrix.to_numpy(), A)
    found = og.linalg.qr(matrix)
    Q = found.Q.to_numpy()
    np.testing.assert_allclose(Q.T @ Q, np.eye(4), atol=1e-14)
    np.testing.assert_allclose(Q @ found.R, A, atol=1e-13)
    parts = og.linalg.svd(matrix, 2)
    np.testing.assert_allclose(parts.s, np.linalg.svd(A, compute_uv=False)[:2], rtol=1e-13)
    np.testing.assert_allclose(parts.U.to_numpy() * parts.s, A @ parts.V, atol=1e-12)
    wanted = np.linalg.lstsq(A, B, rcond=None)
    np.testing.assert_allclose(og.linalg.lstsq(matrix, "b").x, wanted[0], rtol=1e-12)
    np.testing.assert_allclose(matrix.T @ matrix.select("b"), (A.T @ B)[:, None], rtol=1e-11)
    small = og.linalg.row_matrix(
        engine.open(pa.table({"j": [2, 0, 3, 1], "w": [3.0, 1.0, 4.0, 2.0]})), index="j"
    )
    np.testing.assert_allclose((matrix @ small).to_numpy().ravel(), A @ [1.0, 2.0, 3.0, 4.0], rtol=1e-12)
    cosines = og.linalg.column_similarities(matrix).matrix.toarray()
    np.testing.assert_allclose(cosines, np.triu(cosine_similarity(A.T), 1), atol=1e-14)


def test_entries_on_every_engine(engine: EngineCase) -> None:
    C, D = (og.linalg.coordinate_matrix(engine.open(entries_table(part))) for part in (ENTRIES, OTHER))
    assert C.shape == ENTRIES.shape
    np.testing.assert_allclose((C @ D).to_numpy(), (ENTRIES @ OTHER).toarray(), atol=1e-14)
    weights = RNG.normal(size=(30, 2))
    present = np.unique(ENTRIES.row)
    np.testing.assert_allclose((C @ weights).to_numpy(), (ENTRIES @ weights)[present], atol=1e-14)
    rows = C.to_rows()
    np.testing.assert_allclose(rows.to_numpy(), ENTRIES.toarray()[present], atol=1e-15)
    np.testing.assert_allclose((C - C.T.T * 3.0).to_numpy(), ENTRIES.toarray() * -2, atol=1e-15)
    assert og.linalg.norm(C, 1) == pytest.approx(np.linalg.norm(ENTRIES.toarray(), 1))


def test_two_matrices_are_joined_by_the_numbers_of_their_rows(engine: EngineCase) -> None:
    left = og.linalg.row_matrix(engine.open(TABLE.select(["id", *NAMES])), index="id")
    right = og.linalg.row_matrix(engine.open(pa.table({"n": np.arange(600), "b": B})), index="n")
    np.testing.assert_allclose((left.T @ right).ravel(), A.T @ B, rtol=1e-11)
    np.testing.assert_allclose(
        og.linalg.lstsq(left, right).x.ravel(), np.linalg.lstsq(A, B, rcond=None)[0], rtol=1e-12
    )
    few = og.linalg.row_matrix(engine.open(pa.table({"n": [0, 0, 1], "b": [1.0, 2.0, 3.0]})), index="n")
    with pytest.raises(DataError, match="once in both"):
        _ = left.T @ few


@pytest.mark.parametrize("size", [1e3, 1e12])
def test_columns_that_nearly_depend_lose_no_orthogonality(size: float) -> None:
    matrix, values = of_condition(size)
    found = og.linalg.qr(matrix)
    Q = found.Q.to_numpy()
    assert np.abs(Q.T @ Q - np.eye(20)).max() < 1e-13
    assert np.abs(Q @ found.R - matrix).max() < 1e-15 * 10
    assert (np.diag(found.R) > 0).all()
    parts = og.linalg.svd(matrix)
    U = parts.U.to_numpy()
    np.testing.assert_allclose(parts.s, values, atol=1e-15)  # products of columns would end at 1e-8
    assert np.abs(U.T @ U - np.eye(20)).max() < 1e-13
    assert og.linalg.cond(matrix) == pytest.approx(size, rel=1e-3)


def test_a_row_gets_the_same_bits_in_any_company() -> None:
    """What was learned of one pass's rows divided by a factor holds for those of the next, cut otherwise."""
    matrix, _ = of_condition(1e12, rows=700)
    factors = [Factor(og.linalg.qr(matrix, mode="r").R, divides=True)]
    whole = product(matrix, factors)
    for start in (1, 100, 255, 256, 699):
        parts = np.concatenate([product(matrix[:start], factors), product(matrix[start:], factors)])
        assert np.array_equal(parts, whole)


@settings(max_examples=30)
@given(
    st.integers(1, 12),
    st.integers(1, 5),
    st.lists(st.sampled_from([0.0, 1.0, -2.0, 1e-9, 1e9]), min_size=60, max_size=60),
)
def test_least_squares_of_anything(rows: int, width: int, numbers: list[float]) -> None:
    """No other solution leaves less, or is as good and shorter."""
    matrix = np.array(numbers)[: rows * width].reshape(rows, width)
    right = np.array(numbers)[::-1][:rows]
    found = og.linalg.lstsq(matrix, right)
    lengths = np.linalg.norm(matrix, axis=0)
    scaled = matrix / np.where(lengths > 0, lengths, 1)
    best = scaled @ np.linalg.lstsq(scaled, right, rcond=None)[0]
    size = max(np.abs(right).max(), 1e-300)
    np.testing.assert_allclose(matrix @ found.x / size, best / size, atol=1e-6)
    assert found.rank == np.linalg.matrix_rank(scaled)


def test_least_squares() -> None:
    several = np.column_stack([B, B * 2 + 1])
    wanted = np.linalg.lstsq(A, several, rcond=None)
    found = og.linalg.lstsq(A, several)
    np.testing.assert_allclose(found.x, wanted[0], rtol=1e-11)
    np.testing.assert_allclose(found.residuals, wanted[1], rtol=1e-12)
    np.testing.assert_allclose(found.singular_values, wanted[3], rtol=1e-12)
    ridge = og.linalg.lstsq(A, B, alpha=3.0).x
    np.testing.assert_allclose(ridge, np.linalg.solve(A.T @ A + 3 * np.eye(4), A.T @ B), rtol=1e-11)
    dependent = np.column_stack([A, A[:, 0] - A[:, 3]])
    shortest = np.linalg.lstsq(dependent, B, rcond=None)
    np.testing.assert_allclose(og.linalg.lstsq(dependent, B).x, shortest[0], atol=1e-13)
    assert og.linalg.lstsq(dependent, B).rank == 4
    wide = og.linalg.lstsq(A.T, B[:4]).x
    np.testing.assert_allclose(wide, np.linalg.lstsq(A.T, B[:4], rcond=None)[0], atol=1e-12)


def test_powers_of_a_number_keep_their_digits() -> None:
    """NIST's Filip: powers of a number whose products know nothing, and which NumPy takes for dependent."""
    folder = Path(__file__).parent / "nist"
    y, x = np.genfromtxt(folder / "filip.csv", delimiter=",", skip_header=1).T
    certified = json.loads((folder / "certified.json").read_text())["linear"]["filip"]["coefficients"]
    found = og.linalg.lstsq(np.vander(x, 11, increasing=True), y)
    assert found.rank == 11
    np.testing.assert_allclose(found.x, np.array(certified, float), rtol=1e-6)


@pytest.mark.parametrize("ord", [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_norms(ord: Any) -> None:
    for matrix in (A, sp.csr_array(np.where(np.abs(A) > 1, A, 0))):
        dense = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
        assert og.linalg.norm(matrix, ord) == pytest.approx(np.linalg.norm(dense, ord), rel=1e-12)
    assert og.linalg.norm(np.zeros((3, 2)), ord) == 0


def test_sparse_rows() -> None:
    X = sp.random_array((4_000, 400), density=0.02, rng=np.random.default_rng(3), format="csr")
    np.testing.assert_allclose(og.linalg.gram(X), (X.T @ X).toarray(), atol=1e-12)
    parts = og.linalg.svd(X, 5)
    np.testing.assert_allclose(parts.s, np.linalg.svd(X.toarray(), compute_uv=False)[:5], rtol=1e-10)
    U = parts.U.to_numpy()
    np.testing.assert_allclose(U.T @ U, np.eye(5), atol=1e-10)
    exact = og.linalg.column_similarities(X).matrix.toarray()
    np.testing.assert_allclose(exact, np.triu(cosine_similarity(X.T), 1), atol=1e-13)
    with pytest.raises(DataError, match="Give k="):
        og.linalg.svd(X)


def test_sampled_cosines_are_close_and_the_same_for_any_order() -> None:
    rng = np.random.default_rng(4)
    base = rng.random((20_000, 1)) < 0.3
    X = sp.csr_array(
        (rng.random((20_000, 40)) < 0.1) | (base & (rng.random((20_000, 40)) < 0.5)), dtype=float
    )
    exact = og.linalg.column_similarities(X).matrix.toarray()
    for data in (X, X.toarray()):
        sampled = og.linalg.column_similarities(data, method="dimsum", threshold=0.3)
        again = og.linalg.column_similarities(data[rng.permutation(20_000)], method="dimsum", threshold=0.3)
        np.testing.assert_allclose(sampled.matrix.toarray(), again.matrix.toarray(), atol=1e-12)
        estimates = sampled.matrix.toarray()
        found = (exact > 0.4) & (estimates > 0)
        assert found.sum() > 0.95 * (exact > 0.4).sum()
        assert 0 < np.abs(estimates / np.where(found, exact, 1) - 1)[found].mean() < 0.2
        assert abs((estimates - exact)[found].mean()) < 0.02


def test_what_people_hand_in(tmp_path: Any) -> None:
    frame = pd.DataFrame(A, columns=NAMES).assign(city="Bonn", b=B)
    np.testing.assert_allclose(
        og.linalg.lstsq(frame, "b").x, np.linalg.lstsq(A, B, rcond=None)[0], rtol=1e-12
    )
    Q = og.linalg.qr(frame, NAMES).Q
    og.write_parquet(Q.dataset, tmp_path / "q")
    np.testing.assert_allclose(og.linalg.row_matrix(og.read(tmp_path / "q")).to_numpy(), Q.to_numpy())
    assert og.linalg.solve([[3.0, 1.0], [1.0, 2.0]], [9.0, 8.0]).round(12).tolist() == [2.0, 3.0]
    assert "x0" in repr(og.linalg.column_similarities(A))
    assert repr(og.linalg.row_matrix(frame)) == "<RowMatrix of 5 columns on local>"


def test_vectors_are_columns_too() -> None:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(A.ravel()), 4)
    table = pa.table({"v": vectors, "one": np.ones(600)})
    whole = np.column_stack([A, np.ones(600)])
    np.testing.assert_allclose(og.linalg.gram(table), whole.T @ whole, rtol=1e-11)
    matrix = og.linalg.row_matrix(table)
    np.testing.assert_allclose(
        matrix.select("v").T @ matrix.select("one", "v"), A.T @ np.column_stack([np.ones(600), A])
    )
    np.testing.assert_allclose(matrix.to_numpy(), whole)


REFUSED: list[tuple[Any, type[Exception], str]] = [
    (lambda: og.linalg.qr(np.column_stack([A, A[:, 1]])), DataError, "depend on the others"),
    (lambda: og.linalg.qr(A[:3]), DataError, "3 rows and 4 columns"),
    (lambda: og.linalg.solve(np.ones((2, 2)), [1.0, 2.0]), DataError, "singular"),
    (lambda: og.linalg.solve(A, B), DataError, "as many rows as columns"),
    (lambda: og.linalg.qr(np.array([[np.nan, 1.0]])), DataError, "NaN"),
    (lambda: og.linalg.norm(np.array([[1e200, 1.0]])), DataError, "overflow"),
    (lambda: og.linalg.norm(A, 3), ParameterError, "give one of"),
    (lambda: og.linalg.lstsq(TABLE, "c"), ColumnNotFoundError, "'c'"),
    (lambda: og.linalg.lstsq(og.dataset(TABLE), B), ParameterError, "by name"),
    (lambda: og.linalg.lstsq(A, B[:5]), DataError, "600 rows, and 5"),
    (lambda: og.linalg.row_matrix(TABLE) @ np.ones(3), ParameterError, "a row for each column"),
    (lambda: og.linalg.row_matrix(TABLE).T @ np.ones(600), ParameterError, "takes a RowMatrix"),
    (lambda: og.linalg.row_matrix(A).T @ og.linalg.row_matrix(A), ParameterError, "belong together"),
    (lambda: og.linalg.row_matrix(A).to_coordinates(), ParameterError, "index="),
    (lambda: og.linalg.svd(A, 5), ParameterError, "at most 4"),
    (lambda: og.linalg.svd(np.zeros((3, 2))), DataError, "is zero"),
    (lambda: og.linalg.svd(A, True), ParameterError, "whole number"),
    (lambda: og.linalg.column_similarities(A, method="dimsum"), ParameterError, "threshold"),
    (lambda: og.linalg.gram(np.zeros((0, 3))), DataError, "no rows"),
    (lambda: og.linalg.qr(np.zeros((0, 3))), DataError, "no rows"),
    (lambda: og.linalg.lstsq(np.zeros((0, 3)), np.zeros(0)), DataError, "no rows"),
    (
        lambda: og.linalg.coordinate_matrix(
            pa.table({"row": [0], "column": [0.5], "value": [1.0]})
        ).to_numpy(),
        DataError,
        "whole numbers",
    ),
    (
        lambda: og.linalg.coordinate_matrix(
            pa.table({"row": [-1], "column": [0], "value": [1.0]})
        ).to_numpy(),
        DataError,
        "whole numbers",
    ),
    (
        lambda: og.linalg.coordinate_matrix(ENTRIES) @ og.linalg.coordinate_matrix(ENTRIES),
        ParameterError,
        "cannot be multiplied",
    ),
]


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_what_cannot_be_is_refused(case: int) -> None:
    ask, kind, words = REFUSED[case]
    with pytest.raises(kind, match=words):
        ask()
