"""Transformers that learn from y."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.data.batch import Batch
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.base import SupervisedTransformer
from outgrow.ml.core.task import Task
from outgrow.testing import EngineCase


class Slope(SupervisedTransformer):
    """Multiplies each column by the slope of y over it, through zero."""

    def __init__(self, columns: Any = None) -> None:
        self.columns = columns

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        assert task.target is not None
        target = task.target

        def fold(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
            X, y = batch.matrix(names), batch.matrix([target])[:, 0]
            return X.T @ y, (X**2).sum(axis=0)

        products, squares = shard.reduce(fold)
        self.slopes_ = products / squares

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        changed = {
            name: pa.array(batch.matrix([name])[:, 0] * s)
            for name, s in zip(names, self.slopes_, strict=True)
        }
        return batch.with_columns(changed)


RNG = np.random.default_rng(1)
X = RNG.normal(size=(120, 3)) + 1
Y = X @ [1.0, -2.0, 0.5] + RNG.normal(size=120) * 0.1
TABLE = pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": Y})
SLOPES = (X * Y[:, None]).sum(axis=0) / (X**2).sum(axis=0)


def test_y_reaches_it_on_every_engine_and_it_is_saved(engine: EngineCase, tmp_path: Path) -> None:
    step = Slope().fit(engine.open(TABLE), "y")
    np.testing.assert_allclose(step.slopes_, SLOPES)
    step.save(tmp_path / "slope")
    np.testing.assert_allclose(
        og.load(tmp_path / "slope").transform(TABLE)["b"].to_numpy(), X[:, 1] * SLOPES[1]
    )
    pipe = og.Pipeline([Slope(columns=["a", "b"]), og.Ridge()]).fit(engine.open(TABLE), "y")
    np.testing.assert_allclose(pipe[0].slopes_, SLOPES[:2])


def test_arrays() -> None:
    np.testing.assert_allclose(Slope().fit(X, Y).slopes_, SLOPES)
    np.testing.assert_allclose(Slope().fit_transform(X, Y), X * SLOPES)
    np.testing.assert_allclose(og.Pipeline([Slope(), og.Ridge()]).fit(X, Y)[0].slopes_, SLOPES)


class Recall(SupervisedTransformer):
    """Puts the y of each row of the fit in the place of its number, and 0 for rows it has not seen."""

    def __init__(self, columns: Any = None) -> None:
        self.columns = columns

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        assert task.target is not None
        columns = [*names, task.target]
        self.known_ = shard.reduce(lambda batch: np.bincount(*_pair(batch.matrix(columns)), len(Y)))

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        return batch.with_columns({names[0]: pa.array(self.known_[batch.matrix(names)[:, 0].astype(int)])})


def _pair(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return columns[:, 0].astype(int), columns[:, 1]


@pytest.mark.parametrize("settings", [{}, {"ridge__alpha": 2.0}])
def test_folds_learn_from_their_own_rows_only(settings: dict[str, Any]) -> None:
    rows = pa.table({"number": np.arange(len(Y)), "y": Y})
    pipe = og.Pipeline([Recall(), og.Ridge()]).set_params(**settings)
    assert pipe.fit(rows, "y").evaluate(rows, "y")["r2"] > 0.99
    assert og.cross_validate(pipe, rows, "y", cv=og.KFold(3)).mean()["r2"] < 0.1


def test_without_y_it_is_refused() -> None:
    with pytest.raises(ValueError, match="requires y"):
        Slope().fit(X)
    with pytest.raises(ParameterError, match="Pipeline estimator requires y"):
        og.Pipeline([Slope(), og.KMeans(2)]).fit(X)
