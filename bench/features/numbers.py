"""Transformers of numbers beside scikit-learn's, on arrays in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
import sklearn.decomposition
import sklearn.feature_selection
import sklearn.impute
import sklearn.kernel_approximation
import sklearn.preprocessing
import sklearn.random_projection

import outgrow as og
from bench.grids.cell import Cell
from bench.shapes.linear import dense

ROWS, WIDTH, SHOWN = 2_000_000, 10, 1_000
Make = Callable[[], Any]


def size(made: Any) -> float:
    """The sum of the sizes of what the first thousand rows became."""
    first = made[:SHOWN]
    values = first.data if sp.issparse(first) else np.asarray(first)
    return float(np.nansum(np.abs(values.astype(np.float64))))


def beside(
    name: str,
    make: Make,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    *,
    target: bool = False,
    largest: bool = False,
) -> Iterator[Cell]:
    """Two cells: a fit, and a fit with the rows it changes.

    Parameters
    ----------
    make : the rows, or with `target` rows and y.
    ours, theirs : give transformers that were not fitted.
    largest : whether what rows become should be large, as projections on singular vectors are.
    """

    def fit(build: Callable[[], Any]) -> Callable[[Any], Any]:
        return lambda rows: build().fit(*rows) if target else build().fit(rows)

    def both(build: Callable[[], Any]) -> Callable[[Any], Any]:
        return lambda rows: build().fit_transform(*rows) if target else build().fit_transform(rows)

    yield Cell(f"{name}, fit", make, fit(ours), fit(theirs), lambda rows, found: 0.0)
    yield Cell(
        f"{name}, fit and transform",
        make,
        both(ours),
        both(theirs),
        lambda rows, found: -size(found) if largest else size(found),
        slack=1e-3,
    )


def numbers(rows: int = ROWS, width: int = WIDTH) -> np.ndarray:
    return dense(rows, width, 0).X


def positive() -> np.ndarray:
    return np.exp(0.5 * numbers())


def with_holes(rows: int = ROWS) -> np.ndarray:
    X = numbers(rows).copy()
    X[np.random.default_rng(0).random(X.shape) < 0.05] = np.nan
    return X


def labelled() -> tuple[np.ndarray, np.ndarray]:
    made = dense(ROWS, WIDTH, 2)
    return np.abs(made.X), made.y


def sparse(rows: int = 200_000, width: int = 20_000) -> sp.csr_array:
    random = np.random.default_rng(0)
    return sp.random_array((rows, width), density=20 / width, format="csr", rng=random)


def _cells() -> Iterator[Cell]:
    S, F, K = sklearn.preprocessing, sklearn.feature_selection, sklearn.kernel_approximation
    for name in ("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "Normalizer", "Binarizer"):
        yield from beside(name, numbers, getattr(og, name), getattr(S, name))
    bins = {"encode": "ordinal", "subsample": None}
    for strategy in ("quantile", "uniform", "kmeans"):
        how = {**bins, "strategy": strategy}
        if strategy == "quantile":
            how["quantile_method"] = "averaged_inverted_cdf"
        yield from beside(
            f"KBinsDiscretizer, {strategy}",
            numbers,
            lambda how=how: og.KBinsDiscretizer(**how),  # type: ignore[misc]
            lambda how=how: S.KBinsDiscretizer(**how),  # type: ignore[misc]
        )
    yield from beside(
        "QuantileTransformer",
        numbers,
        lambda: og.QuantileTransformer(),
        lambda: S.QuantileTransformer(subsample=None),
    )
    yield from beside(
        "PowerTransformer, yeo-johnson", numbers, lambda: og.PowerTransformer(), S.PowerTransformer
    )
    yield from beside(
        "PowerTransformer, box-cox",
        positive,
        lambda: og.PowerTransformer(method="box-cox"),
        lambda: S.PowerTransformer(method="box-cox"),
    )
    yield from beside("PolynomialFeatures", numbers, lambda: og.PolynomialFeatures(), S.PolynomialFeatures)
    yield from beside("SplineTransformer", numbers, lambda: og.SplineTransformer(), S.SplineTransformer)
    yield from beside(
        "SimpleImputer, mean", with_holes, lambda: og.SimpleImputer(), sklearn.impute.SimpleImputer
    )
    yield from beside(
        "SimpleImputer, median",
        with_holes,
        lambda: og.SimpleImputer(strategy="median"),
        lambda: sklearn.impute.SimpleImputer(strategy="median"),
    )
    yield from beside(
        "MissingIndicator", with_holes, lambda: og.MissingIndicator(), sklearn.impute.MissingIndicator
    )
    yield from beside(
        "KNNImputer, 5,000 rows",
        lambda: with_holes(5_000),
        lambda: og.KNNImputer(),
        sklearn.impute.KNNImputer,
    )
    yield from beside(
        "RBFSampler", numbers, lambda: og.RBFSampler(random_state=0), lambda: K.RBFSampler(random_state=0)
    )
    yield from beside(
        "Nystroem, 200,000 rows",
        lambda: numbers(200_000),
        lambda: og.Nystroem(random_state=0),
        lambda: K.Nystroem(random_state=0),
    )
    yield from beside(
        "GaussianRandomProjection, 200,000 x 1,000 to 50",
        lambda: numbers(200_000, 1_000),
        lambda: og.GaussianRandomProjection(50, random_state=0),
        lambda: sklearn.random_projection.GaussianRandomProjection(50, random_state=0),
    )
    yield from beside(
        "VarianceThreshold", numbers, lambda: og.VarianceThreshold(0.5), lambda: F.VarianceThreshold(0.5)
    )
    for score in ("f_classif", "chi2", "f_regression"):
        yield from beside(
            f"SelectKBest, {score}",
            labelled,
            lambda score=score: og.SelectKBest(score, k=5),  # type: ignore[misc]
            lambda score=score: F.SelectKBest(getattr(F, score), k=5),  # type: ignore[misc]
            target=True,
        )
    yield from beside(
        "TruncatedSVD, sparse 200,000 x 20,000 to 10",
        sparse,
        lambda: og.TruncatedSVD(10, random_state=0),
        lambda: sklearn.decomposition.TruncatedSVD(10, random_state=0),
        largest=True,
    )
    yield from beside(
        "PCA, sparse 200,000 x 20,000 to 10",
        sparse,
        lambda: og.PCA(10, random_state=0),
        lambda: sklearn.decomposition.PCA(10, svd_solver="arpack", random_state=0),
        largest=True,
    )


CELLS = tuple(_cells())
