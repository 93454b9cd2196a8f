"""Models behind an encoder that gives sparse rows: they answer as behind one that gives dense ones."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone, is_classifier, is_clusterer, is_regressor

import outgrow as og
from outgrow.catalogue import ESTIMATORS
from outgrow.errors import ParameterError
from outgrow.ml.base.models import Model
from outgrow.testing.rows import compare

ROWS = 40
RNG = np.random.default_rng(0)
SIDE = np.arange(ROWS) % 2
FEATURES = {
    "kind": np.where(RNG.random(ROWS) < 0.5, "x", "y"),
    "size": RNG.integers(0, 4, ROWS) + 3.0 * SIDE,  # whole numbers, which some take for kinds
}
TARGETS = {
    "class": np.where(RNG.random(ROWS) < 0.8, SIDE, 1 - SIDE),
    "number": FEATURES["size"] + RNG.random(ROWS),
}
METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "score_samples", "transform")
KEYS = ("ALS", "BPR")
"""Models of pairs of keys, which are no numbers."""
NEAREST = og.KNeighborsClassifier(3)


def _models() -> dict[str, Any]:
    """Whatever has a target or finds groups, and models that ask others while they learn."""
    names = [name for name, home in ESTIMATORS.items() if home.startswith("outgrow.ml.") and name not in KEYS]
    kinds = [getattr(og, name) for name in names]
    made = [kind(**kind.test_parameters) for kind in kinds if issubclass(kind, Model)]
    found = {type(each).__name__: each for each in made if any(is_kind(each) for is_kind in IS_KIND)}
    return found | {
        "stacked": og.StackingClassifier([("near", NEAREST)]),
        "calibrated": og.CalibratedClassifierCV(NEAREST),
        "chained": og.ClassifierChain(NEAREST),
        "tuned": og.TunedThresholdClassifierCV(NEAREST),
        "bubbles": og.HDBSCAN(max_rows=ROWS // 2),
    }


IS_KIND = (is_classifier, is_regressor, is_clusterer)
MODELS = _models()


def _answers(model: Any, *, sparse: bool) -> dict[str, Any]:
    """What each public method says, behind an encoder, of the rows that the model has learned from."""
    target = "class" if is_classifier(model) else "number" if is_regressor(model) else None
    table = pa.table(FEATURES if target is None else {**FEATURES, target: TARGETS[target]})
    encoder = og.OneHotEncoder(columns=["kind"], drop="first", sparse_output=sparse)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = og.Pipeline([encoder, clone(model)])
        whole = whole.fit(table) if target is None else whole.fit(table, target)
        asked = [name for name in METHODS if hasattr(whole, name)]
        return {name: getattr(whole, name)(table.select(list(FEATURES))).to_pydict() for name in asked}


@pytest.mark.parametrize("name", MODELS)
def test_sparse_rows_of_an_encoder_are_dense_ones(name: str) -> None:
    found, expected = (_answers(MODELS[name], sparse=sparse) for sparse in (True, False))
    assert list(found) == list(expected)
    for method, columns in expected.items():
        compare(found[method], columns, 1e-6)


def test_a_few_kinds_before_the_nearest_rows() -> None:
    X = pd.DataFrame({"b": ["x", "y", "x", "y"], "a": [1.0, 2.0, 3.0, 4.0]})
    pipeline = og.Pipeline([og.OneHotEncoder(columns=["b"]), og.KNeighborsClassifier(1)])
    assert pipeline.fit(X, [0, 1, 0, 1]).predict(X).tolist() == [0, 1, 0, 1]


def test_many_kinds_are_refused_while_it_learns() -> None:
    X = pd.DataFrame({"b": [f"kind {k}" for k in range(ROWS)], "a": np.arange(ROWS)})
    with pytest.raises(ParameterError, match="does not support sparse input"):
        og.Pipeline([og.OneHotEncoder(columns=["b"]), NEAREST]).fit(X, SIDE)
