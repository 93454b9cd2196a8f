"""How good predictions are, from one pass over rows with known y."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.engine.matrix import Block, MatrixSpec, build_blocks
from outgrow.errors import DataError
from outgrow.ml.base import Task
from outgrow.ml.inputs import open_training
from outgrow.stats.scores import ClassificationState, RegressionState
from outgrow.stats.state import from_tree, to_tree


@dataclass(frozen=True, eq=False)
class Scores(Mapping[str, float]):
    """Metrics by name, and the state they were read from.

    Attributes
    ----------
    rows : how many rows were scored.
    state : with `confusion` and, for classifiers, `ranked` (ROC and precision-recall curves) and
        `calibration`.
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
    task = Task(opened.target, opened.weight, tuple(model.columns_))
    engine, scan = opened.dataset.engine, opened.dataset.scan
    tree = engine.fit(
        lambda shard: to_tree(shard.reduce(scorer(model, task))), scan, stage="evaluate", keep=False
    ).result

    return read_scores(model, tree)


def scorer(model: Any, task: Task) -> Callable[[Batch], Any]:
    """A fold that scores the rows of a batch: the state of the metrics, and how many rows."""
    last = getattr(model, "model", model)
    spec = MatrixSpec((), task.target, task.weight, labels=is_classifier(model))

    def fold(batch: Batch) -> Any:
        (block,) = build_blocks(batch, spec)
        changed = batch if last is model else model._transform_all(batch)
        return _state(last, changed, block), np.array([float(batch.num_rows)])

    return fold


def read_scores(model: Any, tree: Any) -> Scores:
    """The scores of what `scorer` gave, as a tree."""
    state, rows = from_tree(tree)
    classes = model.classes_.tolist() if is_classifier(model) else None
    return Scores(state.metrics(), int(rows[0]), state, classes)


def _state(model: Any, batch: Batch, block: Block) -> Any:
    assert block.y is not None
    if block.values is None:
        return RegressionState.of(block.y, model._answer("predict", batch), block.weight)
    places = {label: place for place, label in enumerate(model.classes_.tolist())}
    unseen = [value for value in block.values if value not in places]
    if unseen:
        raise DataError(
            f"y holds classes that were not there at fit: {unseen[:5]}. Known: {list(places)[:20]}."
        )
    lookup = np.array([places[value] for value in block.values], dtype=np.intp)
    return ClassificationState.of(lookup[block.y], model._answer("predict_proba", batch), block.weight)
