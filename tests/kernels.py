"""Compiles the kernels of trees once, before several runs of the tests would do so beside each other."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

import outgrow as og
from outgrow.groups.learning import MANY_FITS

KEYS, ROWS = MANY_FITS, 12


def compile_kernels() -> None:
    """Grow forests of numbers and of classes, and boost for many small groups."""
    keys = np.repeat(np.arange(KEYS), ROWS)
    x = np.random.default_rng(0).normal(size=(len(keys), 2))
    rows = pa.table({"key": keys, "x": x[:, 0], "z": x[:, 1], "y": x.sum(axis=1), "late": x[:, 0] > 0})
    few = {"n_estimators": 2, "max_depth": 2}
    og.RandomForestRegressor(**few).fit(rows.select(["x", "z", "y"]), "y")
    og.RandomForestClassifier(**few).fit(rows.select(["x", "z", "late"]), "late")
    here = og.dataset(rows.select(["key", "x", "z", "y"]), engine=og.Local(threads=1))
    og.PerGroup(og.GradientBoostingRegressor(**few), by="key", min_rows=ROWS).fit(here, "y")


if __name__ == "__main__":
    compile_kernels()
