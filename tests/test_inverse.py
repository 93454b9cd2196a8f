"""What transformers take back, learn bit by bit, and keep of the types of arrays."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import preprocessing

import outgrow as og
from outgrow.errors import DataError, ParameterError
from outgrow.testing import EngineCase

RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 4)) * [1, 10, 0.1, 3] + [0, 5, -2, 1]
NAMES = ["a", "b", "c", "d"]

TRANSFORMERS = {
    "scaler": og.StandardScaler(),
    "ranges": og.MinMaxScaler((-1, 3)),
    "scaler, spread": og.StandardScaler(with_mean=False),
    "scaler, mean": og.StandardScaler(with_std=False),
    "scaler, nothing": og.StandardScaler(with_mean=False, with_std=False),
    "pca": og.PCA(),
    "pca, whitened": og.PCA(whiten=True),
    "pipeline": og.Pipeline([og.StandardScaler(), og.PCA()]),
}


def table() -> pa.Table:
    return pa.table(dict(zip(NAMES, X.T, strict=True)))


@pytest.mark.parametrize("transformer", TRANSFORMERS.values(), ids=TRANSFORMERS)
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_arrays_come_back(transformer: Any, kind: type) -> None:
    rows = X.astype(kind)
    made = transformer.fit(rows).transform(rows)
    np.testing.assert_allclose(transformer.inverse_transform(made), rows, rtol=1e-4, atol=1e-5)
    if not isinstance(transformer, og.Pipeline):
        assert made.dtype == transformer.inverse_transform(made).dtype == kind


@pytest.mark.parametrize("transformer", TRANSFORMERS.values(), ids=TRANSFORMERS)
@pytest.mark.parametrize("form", ["arrow", "pandas", "dataset"])
def test_tables_come_back_in_their_form_with_the_other_columns(transformer: Any, form: str) -> None:
    forms = {"arrow": table(), "pandas": table().to_pandas(), "dataset": og.dataset(table())}
    rows = forms[form]
    back = transformer.fit(rows).inverse_transform(transformer.transform(rows))
    assert type(back) is type(rows)
    frame = back if form == "pandas" else back.to_pandas()
    assert list(frame.columns) == NAMES
    np.testing.assert_allclose(frame.to_numpy(), X, atol=1e-12)


def test_other_columns_stay() -> None:
    rows = table().append_column("word", pa.array(["x"] * len(X)))
    scaler = og.StandardScaler(columns=["a", "c"]).fit(rows)
    back = scaler.inverse_transform(scaler.transform(rows))
    assert back.column_names == rows.column_names
    assert back["word"] == rows["word"]
    np.testing.assert_allclose(back["c"].to_numpy(), X[:, 2])


@pytest.mark.parametrize("columns", [None, ["x1", "x2"]])
def test_a_loaded_model_takes_back_the_same(columns: Any, tmp_path: Path) -> None:
    for number, transformer in enumerate([og.StandardScaler(columns), og.PCA(columns=columns)]):
        transformer.fit(X).save(tmp_path / str(number))
        again = og.load(tmp_path / str(number))
        made = again.transform(X)
        np.testing.assert_array_equal(again.inverse_transform(made), transformer.inverse_transform(made))
        np.testing.assert_allclose(np.sort(again.inverse_transform(made)), np.sort(X), atol=1e-12)


@pytest.mark.parametrize("make", [sp.csr_array, sp.csc_matrix])
def test_sparse_rows_stay_sparse_and_dense_ones_dense(make: Any) -> None:
    rows = make(np.where(X > 1, X, 0.0).astype(np.float32))
    scaler = og.StandardScaler(with_mean=False).fit(rows)
    theirs = preprocessing.StandardScaler(with_mean=False).fit(rows)
    made = scaler.transform(rows)
    assert sp.issparse(made)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made.toarray(), theirs.transform(rows).toarray(), rtol=1e-5)
    np.testing.assert_allclose(scaler.inverse_transform(made).toarray(), rows.toarray(), rtol=1e-5)
    assert isinstance(scaler.transform(rows.toarray()), np.ndarray)
    for method in ("fit", "transform", "inverse_transform", "partial_fit"):
        with pytest.raises(ParameterError, match="with_mean=False"):
            getattr(og.StandardScaler().fit(X), method)(rows)


def test_wrong_arrays_are_refused_with_the_numbers() -> None:
    pca = og.PCA(2).fit(X)
    with pytest.raises(DataError, match="X has 3 columns; transform gives 2"):
        pca.inverse_transform(X[:, :3])
    with pytest.raises(ValueError, match="Expected 2D array"):
        pca.inverse_transform(X[0])


# ---- partial_fit -------------------------------------------------------------------------------------------

values = st.one_of(st.floats(-1e3, 1e3, width=32), st.just(float("nan")))
rows_and_cuts = st.integers(2, 12).flatmap(
    lambda n: st.tuples(
        arrays(np.float64, (n, 2), elements=values),
        arrays(np.float64, n, elements=st.sampled_from([0.5, 1.0, 2.0])),
        st.lists(st.integers(1, n - 1), unique=True, max_size=4),
    )
)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(rows_and_cuts, st.booleans())
def test_scaling_learnt_bit_by_bit_is_that_of_all_rows(case: Any, weighted: bool) -> None:
    rows, weight, cuts = case
    whole = og.StandardScaler().fit(rows, sample_weight=weight if weighted else None)
    grown = og.StandardScaler()
    for start, end in pairwise([0, *sorted(cuts), len(rows)]):
        grown.partial_fit(rows[start:end], sample_weight=weight[start:end] if weighted else None)
    for name in ("n_samples_seen_", "n_rows_seen_", "mean_", "var_"):
        np.testing.assert_allclose(getattr(grown, name), getattr(whole, name), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("form", ["array", "table"])
def test_rows_that_do_not_fit_change_nothing(form: str) -> None:
    rows, fewer = (X, X[:, :2]) if form == "array" else (table(), table().drop_columns(["d"]))
    scaler = og.StandardScaler().partial_fit(rows)
    before = scaler.mean_.tolist()
    with pytest.raises(ValueError, match=r"expecting 4 features|missing"):
        scaler.partial_fit(fewer)
    assert scaler.mean_.tolist() == before
    assert scaler.n_samples_seen_ == len(X)


def test_a_loaded_scaler_goes_on_learning(tmp_path: Path) -> None:
    og.StandardScaler().fit(X[:20]).save(tmp_path / "scaler")
    grown = og.load(tmp_path / "scaler").partial_fit(X[20:])
    np.testing.assert_allclose(grown.mean_, X.mean(axis=0))
    np.testing.assert_allclose(grown.scale_, X.std(axis=0))


def test_frames_of_any_engine_go_on() -> None:
    frame = pd.DataFrame(X, columns=NAMES)
    grown = og.StandardScaler().partial_fit(frame[:30]).partial_fit(og.dataset(table().slice(30)))
    np.testing.assert_allclose(grown.mean_, X.mean(axis=0))


# ---- components --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("solver", "count"), [("full", 4), ("arpack", 3), ("randomized", 4), ("auto", 4)])
def test_how_many_components_there_are_without_a_number(solver: str, count: int) -> None:
    assert og.PCA(svd_solver=solver).fit(X).n_components_ == count


@pytest.mark.parametrize(
    ("wanted", "solver", "message"),
    [(5, "auto", "between 0 and"), (0, "arpack", "between 1 and"), (4, "arpack", "strictly less than")],
)
def test_too_many_components_are_refused(wanted: int, solver: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        og.PCA(wanted, svd_solver=solver).fit(X)


def test_no_components_are_noise_alone() -> None:
    pca = og.PCA(0).fit(X)
    assert pca.transform(X).shape == (60, 0)
    assert pca.n_samples_ == 60
    np.testing.assert_allclose(pca.get_covariance(), np.eye(4) * X.var(axis=0, ddof=1).mean())


# ---- encoders ----------------------------------------------------------------------------------------------

MIXED = pa.table(
    {
        "word": ["x", None, "y", "x", "z", "x"],
        "number": [1.5, 2.5, None, 2.5, 1.5, 1.5],
        "count": [3, 1, 3, 3, 1, 1],
        "flag": [True, False, True, True, None, True],
        "other": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
    }
)
ENCODED = ["word", "number", "count", "flag"]
ENCODERS = {
    "one-hot": og.OneHotEncoder(ENCODED),
    "dense": og.OneHotEncoder(ENCODED, sparse_output=False, drop="first"),
    "ordinal": og.OrdinalEncoder(ENCODED, encoded_missing_value=-1),
}


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
def test_encoded_tables_come_back_on_every_engine(encoder: Any, engine: EngineCase) -> None:
    rows = engine.open(MIXED)
    fitted = encoder.fit(rows)
    back = og.dataset(fitted.inverse_transform(fitted.transform(rows))).to_pandas()
    expected = MIXED.to_pandas()
    assert sorted(back.columns) == sorted(expected.columns)
    pd.testing.assert_frame_equal(
        back[expected.columns].sort_values("other", ignore_index=True), expected, check_dtype=False
    )


@pytest.mark.parametrize("encoder", [og.OneHotEncoder, og.OrdinalEncoder])
def test_what_was_put_together_comes_back_as_text(encoder: Any) -> None:
    table = pa.table({"a": [1, 1, 1, 2, 3]})
    fitted = encoder(min_frequency=2).fit(table)
    back = fitted.inverse_transform(fitted.transform(table))
    assert back["a"].to_pylist() == ["1", "1", "1", *["infrequent_sklearn"] * 2]
