"""How good predictions are, from one pass over rows with known y."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.engine.matrix import MatrixSpec, build_blocks
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.ml.inputs import open_training
from outgrow.stats.scores import ClassificationState, RegressionState
from outgrow.stats.state import from_tree, to_tree


@dataclass(frozen=True, eq=False)
class Scores(Mapping[str, float]):
    """Metrics by name, and the state they were read from.

    Attributes
    ----------
    rows : how many rows were scored.
    state : with `confusion` and, for classifiers, `ranked` (ROC and precision-recall curves) and `calibration`.
    classes : the classes in the order of the confusion matrix, or None.
    """

    values_: dict[str, float]
    rows: int
    state: Any
    classes: list[Any] | None = None

    def __getitem__(self, name: str) -> float:
        return self.values_[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)

    @property
    def confusion(self) -> np.ndarray:
        """Weight of rows by true class (row) and predicted class (column)."""
        return self.state.confusion

    def __repr__(self) -> str:
        width = max(map(len, self.values_))
        lines = [f"{name:<{width}}  {value:.6g}" for name, value in self.values_.items()]
        return "\n".join([*lines, f"{'rows':<{width}}  {self.rows:,}"])


def evaluate(model: Any, X: Any, y: Any, sample_weight: Any = None) -> Scores:
    """Score a fitted model; see `Supervised.evaluate`."""
    check_is_fitted(model)
    opened = open_training(model, X, y, sample_weight, reset=False)
    last = getattr(model, "model", model)
    classify = is_classifier(model)
    spec = MatrixSpec((), opened.target, opened.weight, labels=classify)
    classes = model.classes_.tolist() if classify else None
    places = {label: place for place, label in enumerate(classes or [])}

    def fold(batch: Batch) -> Any:
        (block,) = build_blocks(batch, spec)
        changed = batch if last is model else model._transform_all(batch)
        if not classify:
            state: Any = RegressionState.of(_array(block.y), last._answer("predict", changed), block.weight)
            return state, np.array([float(batch.num_rows)])
        unseen = [value for value in block.values or () if value not in places]
        if unseen:
            raise DataError(
                f"y holds classes that were not there at fit: {unseen[:5]}. Known: {list(places)[:20]}."
            )
        lookup = np.array([places[value] for value in block.values or ()], dtype=np.intp)
        probabilities = last._answer("predict_proba", changed)
        return ClassificationState.of(lookup[block.y], probabilities, block.weight), np.array(
            [float(batch.num_rows)]
        )

    def score(shard: Shard) -> Any:
        return to_tree(shard.reduce(fold))

    engine, scan = opened.dataset.engine, opened.dataset.scan
    state, rows = from_tree(engine.fit(score, scan, stage="evaluate", keep=False))
    return Scores(state.metrics(), int(rows[0]), state, classes)


def _array(y: np.ndarray | None) -> np.ndarray:
    assert y is not None
    return y
