"""Supervised models on Spark from a path, beside MLlib on the same session and cores."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import expit, log_softmax
from sklearn.metrics import log_loss, mean_squared_error, mean_tweedie_deviance

import outgrow as og
from bench.data import read_label, read_matrix
from bench.grids.cell import Cell
from bench.models import rows
from bench.shapes.spark import beside_mllib, features
from bench.shapes.tables import Table, bent_tables, stored_table
from bench.spark import cached, vectors

FIRST = 20_000
"""Rows on which a slow judge looks."""


def stored(name: str, make: Callable[[], rows.Sample]) -> Callable[[], Table]:
    """Rows of `bench.models.rows` as a file.

    Parameters
    ----------
    name : of the file.
    make : gives the rows.
    """

    def table() -> pa.Table:
        X, y = make()
        return pa.table({**{f"x{j}": X[:, j] for j in range(X.shape[1])}, "y": y})

    return lambda: stored_table(f"models-{name}", table)


def mllib(module: str, kind: str, **parameters: Any) -> Any:
    """An estimator of pyspark.ml.

    Parameters
    ----------
    module : of pyspark.ml.
    kind : the name of the class.
    **parameters : of it.
    """
    return getattr(importlib.import_module(f"pyspark.ml.{module}"), kind)(**parameters)


def _line(model: Any) -> tuple[np.ndarray, float]:
    """Coefficients and intercept of a model, whoever made it."""
    if hasattr(model, "coefficients"):
        return model.coefficients.toArray(), float(model.intercept)
    return np.ravel(model.coef_), float(np.ravel(model.intercept_)[0])


def _means() -> Iterator[Cell]:
    for name, family, power, make in (
        ("Poisson", "poisson", 1, rows.counts),
        ("gamma", "gamma", 2, rows.positives),
    ):

        def theirs(table: Table, family: str = family) -> Any:
            peer = mllib("regression", "GeneralizedLinearRegression", family=family, link="log", labelCol="y")
            return _line(peer.fit(features(table, "y")))

        def judge(table: Table, found: Any, power: int = power) -> float:
            mean = np.exp(table.matrix() @ found[0] + found[1])
            return float(mean_tweedie_deviance(table.label(), mean, power=power))

        ours = og.GeneralizedLinearRegression(family, link="log")
        fit = lambda data, ours=ours: _line(ours.fit(data, "y"))  # noqa: E731
        yield beside_mllib(name, stored(make.__name__, make), fit, theirs, judge)


def _margins() -> Cell:
    """MLlib minimises the hinge loss, outgrow its square; both are judged by the rows on the wrong side."""

    def theirs(table: Table) -> Any:
        peer = mllib("classification", "LinearSVC", labelCol="y", regParam=1 / table.count)
        return _line(peer.fit(features(table, "y")))

    def judge(table: Table, found: Any) -> float:
        return float(((table.matrix() @ found[0] + found[1] > 0) != table.label()).mean())

    def ours(data: Any) -> Any:
        return _line(og.LinearSVC().fit(data, "y"))

    make = stored("classes", rows.classes)
    return beside_mllib("linear support vectors", make, ours, theirs, judge, slack=0.01)


def _naive_bayes() -> Iterator[Cell]:
    def theirs(table: Table, kind: str) -> Any:
        peer = mllib("classification", "NaiveBayes", modelType=kind, labelCol="y")
        model = peer.fit(features(table, "y", cache=False))
        theta, prior = model.theta.toArray(), model.pi.toArray()
        if kind == "multinomial":
            return lambda X: X @ theta.T + prior
        var = model.sigma.toArray()
        return lambda X: np.column_stack(
            [
                c - 0.5 * ((X - t) ** 2 / v + np.log(v)).sum(axis=1)
                for c, t, v in zip(prior, theta, var, strict=True)
            ]
        )

    def judge(table: Table, found: Any) -> float:
        X, y = table.matrix()[:FIRST], table.label()[:FIRST].astype(int)
        if callable(found):
            return float(-log_softmax(found(X), axis=1)[np.arange(len(y)), y].mean())
        return float(log_loss(y, found.predict_proba(X)))

    def words() -> rows.Sample:
        X, y = rows.classes(5)
        return rows.Sample(np.floor(np.exp(X)), y)

    for name, kind, ours, make in (
        ("Gaussian naive Bayes", "gaussian", og.GaussianNB(), stored("classes", rows.classes)),
        ("multinomial naive Bayes", "multinomial", og.MultinomialNB(), stored("words", words)),
    ):
        fit = lambda data, ours=ours: ours.fit(data, "y")  # noqa: E731
        yield beside_mllib(name, make, fit, partial(theirs, kind=kind), judge, slack=0.01)


def _chances(table: Table, model: Any, classes: int) -> float:
    """The loss on rows held out: of chances, or of squares."""
    X, y = table.matrix(), table.label()
    if hasattr(model, "transform"):
        frame = model.transform(features(table, "y", cache=False))
        column = "probability" if classes else "prediction"
        found = np.array([row[0] for row in frame.select(column).collect()])
    else:
        found = model.predict_proba(X) if classes else model.predict(X)
    return float(log_loss(y, np.clip(found, 1e-3, 1)) if classes else mean_squared_error(y, found))


def _trees() -> Iterator[Cell]:
    grown = {
        "max_iter": 20,
        "max_depth": 5,
        "max_leaf_nodes": None,
        "min_samples_leaf": 1,
        "learning_rate": 0.3,
    }
    grown |= {"max_bins": 32, "early_stopping": False}
    for kind, classes in (("Classifier", 2), ("Regressor", 0)):
        module = "classification" if classes else "regression"
        tree = getattr(og, f"DecisionTree{kind}")(max_depth=10, max_bins=32)
        boosted = getattr(og, f"HistGradientBoosting{kind}")(**grown)
        numbers = "2 classes" if classes else "numbers"
        for name, ours, peer, how in (
            (f"decision tree of {numbers}, 10 deep, 32 bins", tree, "DecisionTree", {"maxDepth": 10}),
            (
                f"20 boosted trees of {numbers}, 5 deep, 32 bins",
                boosted,
                "GBT",
                {"maxIter": 20, "maxDepth": 5},
            ),
        ):

            def theirs(table: Table, module: str = module, peer: str = peer + kind, how: Any = how) -> Any:
                return mllib(module, peer, labelCol="y", maxBins=32, **how).fit(features(table, "y"))

            both = partial(bent_tables, rows.ROWS, rows.WIDTH, classes)
            yield beside_mllib(
                name,
                lambda both=both: both()[0],
                lambda data, ours=ours: ours.fit(data, "y"),
                theirs,
                lambda _, model, both=both, classes=classes: _chances(both()[1], model, classes),
                slack=0.02,
                turns=1,
            )


def _networks() -> Iterator[Cell]:
    make = stored("classes", rows.classes)

    def machine(table: Table) -> Any:
        peer = mllib("classification", "FMClassifier", labelCol="y", factorSize=8, regParam=1e-8, seed=0)
        model = peer.fit(features(table, "y"))
        return model.linear.toArray(), float(model.intercept), model.factors.toArray()

    def ours(data: Any) -> Any:
        model = og.FMClassifier(8, random_state=0).fit(data, "y")
        return model.coef_[0], float(model.intercept_[0]), model.factors_[0]

    def judge(table: Table, found: Any) -> float:
        X, (linear, constant, factors) = table.matrix()[:FIRST], found
        pairs = ((X @ factors) ** 2 - X**2 @ factors**2).sum(axis=1) / 2
        return float(log_loss(table.label()[:FIRST], np.clip(expit(X @ linear + constant + pairs), 1e-9, 1)))

    yield beside_mllib("factorization machine, 8 factors", make, ours, machine, judge, slack=0.01, turns=1)

    def layers(table: Table) -> Any:
        how = {"layers": [rows.WIDTH, 16, 2], "maxIter": 50, "seed": 0}
        peer = mllib("classification", "MultilayerPerceptronClassifier", labelCol="y", **how)
        model = peer.fit(features(table, "y"))
        return (
            model.transform(features(table, "y", cache=False).limit(FIRST))
            .select("probability", "y")
            .collect()
        )

    def chances(table: Table, found: Any) -> float:
        if isinstance(found, list):
            return float(log_loss([row[1] for row in found], np.array([list(row[0]) for row in found])))
        return float(log_loss(table.label()[:FIRST], found.predict_proba(table.matrix()[:FIRST])))

    ours_too = og.MLPClassifier((16,), "logistic", max_iter=50, random_state=0)
    yield beside_mllib(
        "perceptrons, 16 between, 50 steps",
        make,
        lambda data: ours_too.fit(data, "y"),
        layers,
        chances,
        slack=0.01,
        turns=1,
    )


def _one_against_the_rest() -> Cell:
    def theirs(table: Table) -> Any:
        inner = mllib("classification", "LogisticRegression", labelCol="y", regParam=1 / table.count)
        peer = mllib("classification", "OneVsRest", classifier=inner, labelCol="y")
        models = peer.fit(features(table, "y")).models
        return np.array([m.coefficients.toArray() for m in models]), np.array([m.intercept for m in models])

    def ours(data: Any) -> Any:
        models = og.OneVsRestClassifier(og.LogisticRegression()).fit(data, "y").estimators_
        lines = [_line(model) for model in models]
        return np.array([line[0] for line in lines]), np.array([line[1] for line in lines])

    def judge(table: Table, found: Any) -> float:
        scores = table.matrix() @ found[0].T + found[1]
        return float((scores.argmax(axis=1) != table.label()).mean())

    make = stored("five", partial(rows.classes, 5))
    return beside_mllib("one against the rest, 5 classes", make, ours, theirs, judge, slack=0.02, turns=1)


def _survival() -> Cell:
    def make() -> pa.Table:
        X, time, event = rows.lifetimes()
        return pa.table({**{f"x{j}": X[:, j] for j in range(X.shape[1])}, "event": event, "y": time})

    def theirs(table: Table) -> Any:
        names = [name for name in table.names if name != "event"]
        frame = cached(vectors(table.session, table.path, names), "features", "y", "event")
        peer = mllib("regression", "AFTSurvivalRegression", labelCol="y", censorCol="event")
        model = peer.fit(frame)
        return *_line(model), float(model.scale)

    def ours(data: Any) -> Any:
        model = og.AFTSurvivalRegression().fit(data, "y", event="event")
        return *_line(model), float(model.scale_)

    def judge(table: Table, found: Any) -> float:
        """Minus the mean logarithm of the likelihood."""
        names = [name for name in table.names if name != "event"]
        X, event = read_matrix(table.path, names), read_label(table.path, "event")
        coef, constant, scale = found
        rest = (np.log(table.label()) - X @ coef - constant) / scale
        return float(np.mean(np.exp(rest) - event * (rest - np.log(scale))))

    return beside_mllib(
        "Weibull survival, 100,000 x 10", lambda: stored_table("models-lifetimes", make), ours, theirs, judge
    )


def _isotonic() -> Cell:
    def make() -> rows.Sample:
        X, y = rows.heavy_tails()
        return rows.Sample(X[:, :1], np.clip(y, -10, 10) + X[:, 0])

    def theirs(table: Table) -> Any:
        peer = mllib("regression", "IsotonicRegression", featuresCol="x0", labelCol="y")
        model = peer.fit(table.frame())
        return model.boundaries.toArray(), model.predictions.toArray()

    def ours(data: Any) -> Any:
        model = og.IsotonicRegression().fit(data, "y")
        return model.X_thresholds_, model.y_thresholds_

    def judge(table: Table, found: Any) -> float:
        return float(mean_squared_error(table.label(), np.interp(table.matrix()[:, 0], *found)))

    return beside_mllib("isotonic regression", stored("rising", make), ours, theirs, judge)


CELLS = (
    *(*_means(), _margins(), *_naive_bayes(), *_trees(), *_networks()),
    *(_one_against_the_rest(), _survival(), _isotonic()),
)
