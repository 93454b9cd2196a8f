"""How good the predictions for each group are, from one pass over rows with known y."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import is_classifier

from outgrow.data.batch import Batch
from outgrow.data.keys import in_order, key_codes, key_values
from outgrow.engine.blocks import MatrixSpec, build_blocks
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.ml.core.inputs import Training
from outgrow.ml.predictor import Predictor
from outgrow.stats.grouped import GroupedMoments, GroupedSums, Keys, Segments
from outgrow.stats.state import State, from_tree, to_tree


@dataclass(frozen=True, eq=False)
class GroupScores(State):
    """Errors of each group: `sums` are rows, weight, and weighted squared and absolute errors, or of
    classifiers the weight of what is right; `target` are the moments of a number y.
    """

    keys: Keys
    sums: GroupedSums
    target: GroupedMoments

    def merge(self, other: GroupScores) -> GroupScores:
        return GroupScores(
            self.keys.merge(other.keys), self.sums.merge(other.sums), self.target.merge(other.target)
        )

    def table(self, *, classes: bool) -> pa.Table:
        """A row a group: the key, `rows`, and the metrics."""
        columns: dict[str, Any] = {name: self.keys.table[name] for name in self.keys.table.column_names}
        columns["rows"] = self.sums.sums[:, 0].astype(np.int64)
        metrics = _metrics(self.sums.sums, self.target.m2[:, 0], classes=classes)
        columns |= {name: pa.array(values, from_pandas=True) for name, values in metrics.items()}
        return pa.table(columns)

    def total(self, *, classes: bool) -> dict[str, float]:
        """The metrics of all rows."""
        n, mean = self.target.n, self.target.mean
        middle = (n * mean).sum() / max(n.sum(), 1e-300)
        spread = self.target.m2.sum() + (n * (mean - middle) ** 2).sum()
        metrics = _metrics(self.sums.sums.sum(axis=0)[None], np.array([spread]), classes=classes)
        return {"rows": float(self.sums.sums[:, 0].sum()), **{k: float(v[0]) for k, v in metrics.items()}}


def _metrics(sums: np.ndarray, spread: np.ndarray, *, classes: bool) -> dict[str, np.ndarray]:
    weight = np.where(sums[:, 1] > 0, sums[:, 1], np.nan)
    if classes:
        return {"accuracy": sums[:, 2] / weight}
    varies = spread > 0
    r2 = np.where(varies, 1 - sums[:, 2] / np.where(varies, spread, 1), sums[:, 2] == 0)
    return {"rmse": np.sqrt(sums[:, 2] / weight), "mae": sums[:, 3] / weight, "r2": r2}


def measured(model: Any, data: Training) -> GroupScores:
    """The errors of a fitted `PerGroup` on rows with known y.

    Parameters
    ----------
    model : a fitted `PerGroup`.
    data : rows with the keys, the features and y; weights count where it has them.

    Raises
    ------
    DataError
        When no row has a key with a model.
    """
    fold = _fold(Predictor(model), model._keys, data, labels=is_classifier(model))

    def run(shard: Shard) -> Any:
        return to_tree(shard.reduce(fold))

    wanted = [*model.columns_, *data.beside]
    scan = data.dataset.scan.select(wanted)
    scores = from_tree(data.dataset.engine.fit(run, scan, stage="evaluate PerGroup", keep=False).result)
    assert isinstance(scores, GroupScores)
    if not len(scores.keys.hashes):
        raise DataError("No row has a key with a model, so there is nothing to score.")
    return scores


def score_groups(model: Any, data: Training) -> pa.Table:
    """The metrics of each group, in the order of the keys.

    Parameters
    ----------
    model, data : as for `measured`.

    Returns
    -------
    Table with a row a group: the keys, `rows`, and the metrics.
    """
    table = measured(model, data).table(classes=is_classifier(model))
    return in_order(table, model._keys)


def _fold(
    predictor: Predictor, by: tuple[str, ...], data: Training, *, labels: bool
) -> Callable[[Batch], GroupScores]:
    spec = MatrixSpec((), data.target, data.weight, labels=labels)

    def fold(batch: Batch) -> GroupScores:
        answers = predictor.answer(batch)
        known = (
            np.array([answer is not None for answer in answers])
            if answers.dtype == object
            else answers == answers
        )
        if not known.all():
            batch, answers = batch.filter(known), answers[known]
        (block,) = build_blocks(batch, spec)
        assert block.y is not None
        segments = Segments.coded(*key_codes(batch, by))
        w = np.ones(len(answers)) if block.weight is None else block.weight
        if block.values is None:
            y, residual = block.y, block.y - answers
            errors = [residual**2 * w, np.abs(residual) * w]
        else:
            y = np.zeros(len(answers))
            errors = [(np.array(block.values)[block.y] == answers) * w] if len(answers) else [y]
        columns = np.vstack([np.ones(len(y)), w, *errors])[:, segments.order]
        values = key_values(batch, by).take(pa.array(segments.firsts))
        return GroupScores(
            Keys.of(segments.hashes, values),
            GroupedSums.of(segments, columns),
            GroupedMoments.of(segments, y[None, segments.order], w[segments.order]),
        )

    return fold
