"""Parameters as users give them: NumPy numbers and flags, sets, columns of pandas, names that stand twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone

import outgrow as og

rng = np.random.default_rng(0)
ROWS = pa.table({"a": rng.normal(size=30), "b": rng.normal(size=30), "s": ["x y", "y z", "x x"] * 10})
TRUE = np.bool_(True)
WORDS = {"s": ["xx yy", "yy zz", "xx zz"]}


@pytest.mark.parametrize(
    ("given", "plain", "rows"),
    [
        (
            og.RobustScaler("a", with_centering=TRUE, with_scaling=TRUE, quantile_range=(np.int64(10), 90)),
            og.RobustScaler("a", quantile_range=(10, 90)),
            ROWS,
        ),
        (
            og.PolynomialFeatures(np.int32(2), columns=("a", "b"), include_bias=TRUE, interaction_only=TRUE),
            og.PolynomialFeatures(columns=["a", "b"], interaction_only=True),
            ROWS,
        ),
        (og.StandardScaler({"b", "a"}), og.StandardScaler(["a", "b"]), ROWS),
        (og.StandardScaler(pd.Index(["a"])), og.StandardScaler("a"), ROWS),
        (og.StandardScaler(pd.Series(["a"])), og.StandardScaler("a"), ROWS),
        (
            og.CountVectorizer(stop_words=frozenset({"xx"}), ngram_range=(np.int64(1), np.int64(1))),
            og.CountVectorizer(stop_words=["xx"]),
            pa.table(WORDS),
        ),
        (
            og.CountVectorizer(vocabulary={"zz", "yy"}),
            og.CountVectorizer(vocabulary=["yy", "zz"]),
            pa.table(WORDS),
        ),
    ],
)
def test_they_mean_what_plain_ones_mean(given: Any, plain: Any, rows: pa.Table, tmp_path: Path) -> None:
    expected = plain.fit(rows).transform(rows)
    assert clone(given).fit(rows).transform(rows).equals(expected)
    given.fit(rows).save(tmp_path / "model")
    assert og.load(tmp_path / "model").transform(rows).equals(expected)


@pytest.mark.parametrize(
    "estimator",
    [
        og.StandardScaler(["a", "b", "a"]),
        og.Binarizer(columns=["a", "a"], threshold=[0.0, 1.0]),
        og.OneHotEncoder(["s", "s"]),
        og.KBinsDiscretizer(columns=["a", "a"]),
        og.PCA(columns=["a", "b", "a"]),
        og.CountVectorizer(columns=["s", "s"]),
        og.SimpleImputer(lambda example, names: ["a", "a"]),
    ],
)
def test_a_column_is_named_once(estimator: Any) -> None:
    """PCA would count it twice, and an encoder make its columns again."""
    with pytest.raises(og.errors.ParameterError, match="several times"):
        estimator.fit(ROWS)


def test_selectors_give_names_that_are_there() -> None:
    with pytest.raises(og.errors.ColumnNotFoundError, match="'zz'"):
        og.StandardScaler(lambda example, names: ["zz"]).fit(ROWS)
    with pytest.raises(og.errors.ParameterError, match="no list of names"):
        og.StandardScaler(lambda example, names: None).fit(ROWS)


def test_statistics_look_at_a_column_once() -> None:
    assert og.stats.corr(ROWS, ["a", "b", "a"]).statistic.shape == (2, 2)
    assert og.stats.summarize(ROWS, og.numeric()).mean.shape == (2,)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (og.KBinsDiscretizer, "n_bins"),
        (og.KBinsDiscretizer, "bin_edges"),
        (og.CountVectorizer, "stop_words"),
        (og.CountVectorizer, "vocabulary"),
        (og.StandardScaler, "columns"),
    ],
)
def test_arrays_without_length_are_refused(kind: Any, name: str) -> None:
    with pytest.raises(og.errors.ParameterError, match=name):
        kind(**{name: np.array(2.5)}).fit(ROWS)


@pytest.mark.parametrize(
    "estimator",
    [
        og.GaussianRandomProjection(2),
        og.RBFSampler(n_components=4),
        og.PolynomialCountSketch(n_components=4),
        og.TruncatedSVD(2),
        og.LatentDirichletAllocation(2),
        og.RandomProjectionLSH(),
    ],
    ids=repr,
)
def test_seeds_of_any_size(estimator: Any) -> None:
    X = np.random.default_rng(0).random((20, 5))
    made = [clone(estimator).set_params(random_state=seed).fit(X) for seed in (2**40, 2**40, 2**41)]
    first, same, other = (each.transform(X) for each in made)
    np.testing.assert_array_equal(first, same)
    assert np.shape(first) == np.shape(other)
