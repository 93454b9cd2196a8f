"""What people type who come from scikit-learn."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import outgrow as og
from outgrow.ml.catalogue import ESTIMATORS


@pytest.mark.parametrize("name", ESTIMATORS)
def test_parameters_without_effect_are_parameters_and_documented(name: str) -> None:
    cls = getattr(og, name)
    parameters = inspect.signature(cls).parameters
    for parameter in cls.without_effect:
        assert parameter in parameters
        assert parameter in cls.__doc__


@pytest.mark.parametrize("source", [np.random.RandomState, np.random.default_rng])
def test_sources_of_random_numbers_are_seeds(source: Any, tmp_path: Any) -> None:
    X = np.random.default_rng(0).normal(size=(200, 3))
    first, second = (og.KMeans(3, random_state=source(1)).fit(X) for _ in range(2))
    np.testing.assert_array_equal(first.cluster_centers_, second.cluster_centers_)
    first.save(tmp_path / "model")
    np.testing.assert_array_equal(og.load(tmp_path / "model").predict(X), first.predict(X))
