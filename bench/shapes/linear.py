"""Linear and logistic models on all shapes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
import sklearn.compose
import sklearn.linear_model as peer
import sklearn.model_selection
import sklearn.pipeline
import sklearn.preprocessing
from scipy.special import logsumexp

import outgrow as og
from bench.grids.cell import Cell

warnings.filterwarnings("ignore")

PER_ROW = 20
"""Values of a sparse row."""
BLOCK = 100_000
"""Rows that are made at once."""


class Rows(NamedTuple):
    X: Any
    y: np.ndarray
    table: Any = None


def dense(rows: int, width: int, classes: int) -> Rows:
    """Normal columns that lean on each other; `classes` of 0 make a number to predict."""
    random = np.random.default_rng([rows, width, classes])
    shared = random.standard_normal((5, width))
    X = np.empty((rows, width))
    for start in range(0, rows, BLOCK):
        part = X[start : start + BLOCK]
        part[:] = random.standard_normal(part.shape)
        part += 0.4 * random.standard_normal((len(part), 5)) @ shared
    few = min(width, 100)
    true = random.standard_normal((few, max(classes, 1) if classes != 2 else 1)) / np.sqrt(few)
    return Rows(X, _answers(X[:, :few] @ true, classes, random))


def sparse(rows: int, width: int, classes: int) -> Rows:
    """Hashed words: few are frequent, most are rare."""
    random = np.random.default_rng([rows, width, classes])
    place = (width * random.random((rows, PER_ROW)) ** 3).astype(np.int32)
    place = (place.astype(np.int64) * 7919 % width).astype(np.int32)
    edges = np.arange(0, rows * PER_ROW + 1, PER_ROW, dtype=np.int32)  # as some solvers of the peer insist
    X = sp.csr_array((np.ones(rows * PER_ROW), place.ravel(), edges), shape=(rows, width))
    X.sum_duplicates()
    true = random.standard_normal((width, max(classes, 1) if classes != 2 else 1)) * 0.5
    return Rows(X, _answers(X @ true, classes, random))


def _answers(margins: np.ndarray, classes: int, random: np.random.Generator) -> np.ndarray:
    if classes == 0:
        return margins[:, 0] + random.standard_normal(len(margins))
    if classes == 2:
        return (margins[:, 0] + random.logistic(size=len(margins)) > 0).astype(np.int64)
    y = np.argmax(2 * margins + random.gumbel(size=margins.shape), axis=1)
    y[:classes] = np.arange(classes)
    return y


def words(rows: int, count: int) -> Rows:
    """Three numbers, and a column of so many words."""
    random = np.random.default_rng([rows, count])
    word = random.integers(0, count, rows)
    word[:count] = np.arange(count)
    numbers = random.standard_normal((rows, 3))
    margin = numbers @ [1.0, -0.5, 0.2] + random.standard_normal(count)[word]
    y = (margin + random.logistic(size=rows) > 0).astype(np.int64)
    columns = {f"x{j}": numbers[:, j] for j in range(3)}
    table = pa.table({**columns, "word": pa.array([f"w{j:05}" for j in range(count)]).take(word)})
    X = sp.hstack([numbers, sp.csr_array((np.ones(rows), (np.arange(rows), word)))], format="csr")
    return Rows(X, y, table)


def log_loss(C: float, l1: float) -> Any:
    """The objective of logistic regression, divided by C and the rows."""

    def judge(rows: Rows, model: Any) -> float:
        margins = np.asarray(rows.X @ model.coef_.T + model.intercept_)
        if margins.shape[1] == 1:
            margins = np.hstack([np.zeros_like(margins), margins])
        loss = logsumexp(margins, axis=1) - margins[np.arange(len(margins)), rows.y]
        coef = model.coef_
        penalty = l1 * np.abs(coef).sum() + (1 - l1) * 0.5 * (coef**2).sum()
        return float(loss.mean() + penalty / (C * len(margins)))

    return judge


def squared(l1: float, l2: float) -> Any:
    """The mean squared error, halved, and the penalties."""

    def judge(rows: Rows, model: Any) -> float:
        coef = np.asarray(model.coef_)
        rest = rows.y - rows.X @ coef - model.intercept_
        return float(rest @ rest / (2 * len(rest)) + l1 * np.abs(coef).sum() + 0.5 * l2 * (coef @ coef))

    return judge


def _shown(rows: int, width: int, classes: int = 0) -> str:
    return f"{rows:,} x {width:,}" + (f", {classes} classes" if classes else "")


def logistic(name: str, make: Any, *, l1: bool = False, C: float = 1.0, turns: int = 3) -> Cell:
    """Logistic regression beside the solver of the peer that fits the shape best."""

    def ours(rows: Rows) -> Any:
        return og.LogisticRegression(C=C, l1_ratio=float(l1)).fit(rows.X, rows.y)

    def theirs(rows: Rows) -> Any:
        if not l1:
            return peer.LogisticRegression(C=C, max_iter=1_000).fit(rows.X, rows.y)
        two = rows.y.max() == 1
        solver: dict[str, Any] = (
            {"solver": "liblinear", "intercept_scaling": 100} if two else {"solver": "saga"}
        )
        return peer.LogisticRegression(C=C, l1_ratio=1, max_iter=200, **solver).fit(rows.X, rows.y)

    # liblinear penalises the intercept a little; saga stops early
    return Cell(name, make, ours, theirs, log_loss(C, float(l1)), turns=turns)


def least_squares(name: str, make: Any, ours: Any, theirs: Any, *, l1: float = 0.0, l2: float = 0.0) -> Cell:
    def fitted(model: Any) -> Any:
        return lambda rows: model().fit(rows.X, rows.y)

    return Cell(name, make, fitted(ours), fitted(theirs), squared(l1, l2))


def _made(kind: Any, *shape: int) -> Any:
    return lambda: kind(*shape)


def _dense() -> Iterator[Cell]:
    for rows, width in ((1_000, 10), (1_000, 100), (1_000, 1_000), (100_000, 10), (100_000, 100)):
        for classes in (2, 10, 100) if width < 1_000 else (2, 10):
            shape = _shown(rows, width, classes)
            yield logistic(f"logistic l2, {shape}", _made(dense, rows, width, classes))
            if classes < 100:
                make = _made(dense, rows, width, classes)
                yield logistic(f"logistic l1, {shape}", make, l1=True, C=0.1, turns=1)
    for rows, width, classes in ((100_000, 50, 10), (50_000, 1_000, 2), (100_000, 1_000, 10), (500, 10, 2)):
        yield logistic(f"logistic l2, {_shown(rows, width, classes)}", _made(dense, rows, width, classes))
    for rows, width in ((2_000_000, 10), (2_000_000, 100)):
        yield logistic(f"logistic l2, {_shown(rows, width, 2)}", _made(dense, rows, width, 2))
    yield logistic(f"logistic l1, {_shown(50_000, 1_000, 2)}", _made(dense, 50_000, 1_000, 2), l1=True, C=0.1)


def _sparse() -> Iterator[Cell]:
    for classes in (2, 10):
        shape = _shown(200_000, 20_000, classes)
        yield logistic(f"logistic l2, sparse {shape}", _made(sparse, 200_000, 20_000, classes))
        make = _made(sparse, 200_000, 20_000, classes)
        yield logistic(f"logistic l1, sparse {shape}", make, l1=True, C=0.1, turns=1)
    shape = _shown(2_000_000, 1_000_000, 2)
    yield logistic(f"logistic l2, sparse {shape}", _made(sparse, 2_000_000, 1_000_000, 2), turns=1)


def _linear() -> Iterator[Cell]:
    for rows, width in (
        *((1_000, 10), (1_000, 100), (1_000, 1_000), (100_000, 10), (100_000, 100)),
        *((100_000, 1_000), (2_000_000, 10), (2_000_000, 100)),
    ):
        shape, make = _shown(rows, width), _made(dense, rows, width, 0)
        yield least_squares(f"linear, {shape}", make, og.LinearRegression, peer.LinearRegression)
        yield least_squares(f"ridge, {shape}", make, og.Ridge, peer.Ridge, l2=1 / rows)
        yield _lasso(f"lasso, {shape}", make)
    shape, make = _shown(200_000, 20_000), _made(sparse, 200_000, 20_000, 0)
    yield least_squares(f"ridge, sparse {shape}", make, og.Ridge, peer.Ridge, l2=1 / 200_000)
    yield _lasso(f"lasso, sparse {shape}", make, alpha=1e-4)
    shape, make = _shown(2_000_000, 1_000_000), _made(sparse, 2_000_000, 1_000_000, 0)
    yield least_squares(f"ridge, sparse {shape}", make, og.Ridge, peer.Ridge, l2=1 / 2_000_000)


def _lasso(name: str, make: Any, alpha: float = 0.02) -> Cell:
    def ours() -> Any:
        return og.ElasticNet(alpha=alpha, l1_ratio=1.0)

    return least_squares(name, make, ours, lambda: peer.Lasso(alpha=alpha), l1=alpha)


def _pipeline() -> Cell:
    def ours(rows: Rows) -> Any:
        steps = [og.OneHotEncoder(columns=["word"]), og.LogisticRegression()]
        return og.Pipeline(steps).fit(rows.table, rows.y)[-1]

    def theirs(rows: Rows) -> Any:
        encoder = sklearn.preprocessing.OneHotEncoder()
        change = sklearn.compose.ColumnTransformer([("word", encoder, ["word"])], remainder="passthrough")
        steps = [("change", change), ("model", peer.LogisticRegression(max_iter=1_000))]
        return sklearn.pipeline.Pipeline(steps).fit(rows.table.to_pandas(), rows.y)[-1]

    def judge(rows: Rows, model: Any) -> float:
        loss = log_loss(1.0, 0.0)
        numbers, word = rows.X[:, :3], rows.X[:, 3:]
        return min(loss(Rows(X, rows.y), model) for X in (rows.X, sp.hstack([word, numbers], format="csr")))

    return Cell(
        "pipeline, 200,000 rows, 5,000 words one-hot", _made(words, 200_000, 5_000), ours, theirs, judge
    )


def _cross_validation() -> Iterator[Cell]:
    def ours(rows: Rows) -> Any:
        return og.cross_validate(og.LogisticRegression(), rows.X, rows.y, cv=og.KFold(5))

    def theirs(rows: Rows) -> Any:
        return sklearn.model_selection.cross_validate(
            peer.LogisticRegression(max_iter=1_000),
            rows.X,
            rows.y,
            cv=5,
            scoring=["neg_log_loss", "accuracy"],
        )

    for rows, width in ((1_000, 10), (100_000, 100)):
        name = f"cross-validation in 5 folds, logistic, {_shown(rows, width, 2)}"
        yield Cell(name, _made(dense, rows, width, 2), ours, theirs, lambda rows, found: 0.0)


def _few() -> Iterator[Cell]:
    """Fits on a hundred rows, and answers for one and a hundred."""
    yield logistic(f"logistic l2, {_shown(100, 10, 2)}", _made(dense, 100, 10, 2))
    yield least_squares(
        f"linear, {_shown(100, 10)}", _made(dense, 100, 10, 0), og.LinearRegression, peer.LinearRegression
    )
    for rows in (1, 100):
        for name, own, other, classes in (
            ("logistic", og.LogisticRegression, peer.LogisticRegression, 2),
            ("linear", og.LinearRegression, peer.LinearRegression, 0),
        ):
            made = dense(500, 10, classes)
            mine, theirs = own().fit(made.X, made.y), other().fit(made.X, made.y)
            yield Cell(
                f"{name} predict, {_shown(rows, 10)}",
                lambda made=made, rows=rows: Rows(made.X[:rows].copy(), made.y[:rows]),
                lambda rows, model=mine: model.predict(rows.X),
                lambda rows, model=theirs: model.predict(rows.X),
                lambda rows, found: 0.0,
            )


CELLS = (*_few(), *_dense(), *_linear(), *_sparse(), _pipeline(), *_cross_validation())
