"""Compiles kernels and packages once, before several runs of the tests would do so beside each other."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed

import numpy as np
import pyarrow as pa

import outgrow as og
import outgrow.ml
from outgrow.groups.learning import MANY_FITS

KEYS, ROWS = MANY_FITS, 12
PACKAGES = (
    "lightning",
    "mlflow.pyfunc",
    "mlflow.sklearn",
    "pyspark.ml",
    "pyspark.sql.connect.session",
    "sklearn.utils.estimator_checks",
    "schemathesis",
    "polars",
    "fastapi",
)
"""Large ones that tests import, with what these import."""


def compile_at_import() -> None:
    """All kernels whose types are said, and steps of gradient descent."""
    for module in pkgutil.walk_packages(outgrow.ml.__path__, "outgrow.ml."):
        importlib.import_module(module.name)
    og.SGDClassifier().fit(np.eye(ROWS), np.arange(ROWS) % 2)


def compile_for_trees() -> None:
    """Grow forests of numbers and of classes, prune, isolate, rank, and boost for many small groups."""
    keys = np.repeat(np.arange(KEYS), ROWS)
    x = np.random.default_rng(0).normal(size=(len(keys), 2))
    rows = pa.table({"key": keys, "x": x[:, 0], "z": x[:, 1], "y": x.sum(axis=1), "late": x[:, 0] > 0})
    few = {"n_estimators": 2, "max_depth": 2}
    og.RandomForestRegressor(**few).fit(rows.select(["x", "z", "y"]), "y")
    og.RandomForestClassifier(**few).fit(rows.select(["x", "z", "late"]), "late")
    og.DecisionTreeRegressor(max_depth=2, ccp_alpha=0.1, min_impurity_decrease=1e-3).fit(
        rows.select(["x", "y"]), "y"
    )
    og.IsolationForest(n_estimators=2).fit(rows.select(["x", "z"])).predict(rows.select(["x", "z"]))
    og.GradientBoostingRanker(**few).fit(rows.select(["key", "x", "late"]), "late", query="key")
    here = og.dataset(rows.select(["key", "x", "z", "y"]), engine=og.Local(threads=1))
    og.PerGroup(og.GradientBoostingRegressor(**few), by="key", min_rows=ROWS).fit(here, "y")


def compile_packages() -> None:
    """Import them: Python keeps what it compiles."""
    warnings.simplefilter("ignore")
    for name in PACKAGES:
        importlib.import_module(name)


if __name__ == "__main__":
    tasks = (compile_for_trees, compile_at_import, compile_packages)
    with ProcessPoolExecutor(2) as pool:
        for done in as_completed([pool.submit(task) for task in tasks]):
            done.result()
