"""How good the predictions of a stream were, as soon as the true values are known.

Labels come later than predictions: Spark joins the two streams, and forgets what waited for too long. Of
each batch of pairs that met, the states of the metrics are kept by model version, in a folder that appears
whole; merged, they give the metrics over all batches.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sklearn.base import is_classifier

from outgrow import artifact
from outgrow.data.batch import Batch
from outgrow.engine.dataset import Dataset
from outgrow.engine.open import dataset, is_spark
from outgrow.engine.reading import read
from outgrow.engine.spark.explain import spark_explained
from outgrow.engine.spark.names import quoted
from outgrow.errors import ColumnNotFoundError, InputNotFoundError, ParameterError
from outgrow.ml.base import PREDICTION, VERSION
from outgrow.monitor.labels import class_places
from outgrow.registry.store import Follower, ModelStore
from outgrow.stats.scores import ClassificationState, RegressionState
from outgrow.stats.state import from_tree, merge, to_tree
from outgrow.storage import STATES, new_directory

_LABEL = "__outgrow_label"
_BY_CHANCES = ("log_loss", "roc_auc", "pr_auc", "roc_auc_ovr")
"""Metrics that need probabilities, not only the predicted class."""


@dataclass(frozen=True)
class VersionQuality:
    """What rows with prediction and label say of each version of a model.

    Attributes
    ----------
    classes : those of a classifier, None for a regressor.
    label, version : the columns of the true value, and of who predicted.
    chances : the columns of the probabilities, one a class; empty where there are none.
    """

    classes: tuple[Any, ...] | None
    label: str
    version: str
    chances: tuple[str, ...] = ()

    def __call__(self, _: int, piece: Any) -> dict[str, Any]:
        """The states of a piece by version, as an artifact can store them."""
        states: dict[str, Any] = {}
        for batch in piece.batches():
            for name, state in self.states(batch).items():
                states[name] = merge(states.get(name), state)
        return {name: to_tree(state) for name, state in states.items()}

    def states(self, batch: Batch) -> dict[str, Any]:
        """By version: the state of the metrics, and how many labels were counted and how many were not."""
        table = batch.to_arrow()
        truth, known = self._truth(table[self.label])
        states: dict[str, Any] = {}
        for name in pc.unique(table[self.version]).to_pylist():
            of_version = pc.equal(table[self.version], name).to_numpy(zero_copy_only=False)
            rows = of_version & known
            counts = np.array([rows.sum(), (of_version & ~known).sum()], dtype=np.float64)
            state = self._state(table.filter(pa.array(rows)), truth[rows]) if rows.any() else None
            states[str(name)] = (state, counts)
        return states

    def _truth(self, labels: Any) -> tuple[np.ndarray, np.ndarray]:
        """True values, and which of them count: a null or an unknown class does not."""
        if self.classes is None:
            values = labels.cast(pa.float64()).to_numpy(zero_copy_only=False)
            return values, np.isfinite(values)
        places = class_places(labels, self.classes)
        return np.maximum(places, 0), places >= 0

    def _state(self, table: pa.Table, truth: np.ndarray) -> Any:
        if self.classes is None:
            return RegressionState.of(truth, table[PREDICTION].to_numpy(zero_copy_only=False))
        if self.chances:
            chances = np.column_stack([table[name].to_numpy() for name in self.chances])
        else:
            predicted, _ = self._truth(table[PREDICTION])
            chances = np.eye(len(self.classes))[predicted]
        return ClassificationState.of(truth, chances)


def live_quality(
    model: str | os.PathLike[str] | ModelStore,
    predictions: Any,
    labels: Any,
    output: str | os.PathLike[str],
    *,
    on: str | Sequence[str],
    label: str,
    times: tuple[str, str],
    within: str,
    checkpoint: str | os.PathLike[str],
    version: str = VERSION,
    trigger: dict[str, Any] | None = None,
) -> Any:
    """Join labels that come later to the predictions of a stream, and keep the metrics of each model version.

    Parameters
    ----------
    model : the model or store that predicted; it says which classes there are.
    predictions : a streaming Spark DataFrame (Classic) of what `score_stream` or the server's log wrote.
    labels : a streaming DataFrame with the same columns `on`, and the true values.
    output : the folder for what is found, one `batch_id=<number>/` for each batch; `read_quality` reads it.
    on : the columns that say which label belongs to which prediction.
    label : the column of `labels` with the true value.
    times : the columns that say when a prediction, and when a label, was made.
    within : how long after its prediction a label may come, and how late rows of either stream may be, as
        Spark writes it: '2 hours'. What waits for longer is forgotten (Spark's watermark).
    checkpoint : the folder for Spark's own notes.
    version : the column of `predictions` with the model version.
    trigger : as for `score_stream`.

    Returns
    -------
    StreamingQuery
        Spark's query, which runs already.

    Examples
    --------
    >>> query = og.live_quality(                                             # doctest: +SKIP
    ...     "store", predictions, labels, "quality", on="id", label="late",
    ...     times=("asked_at", "landed_at"), within="12 hours", checkpoint="notes")
    """
    from outgrow.engine.spark.join import join_in_time  # it imports pyspark

    for frame, what in ((predictions, "predictions"), (labels, "labels")):
        if not (is_spark(frame) and frame.isStreaming):
            raise ParameterError(f"{what} is no stream of Spark. Give a DataFrame of spark.readStream.")
    keys = (on,) if isinstance(on, str) else tuple(on)
    _check(predictions, "predictions", [*keys, times[0], PREDICTION, version])
    _check(labels, "labels", [*keys, times[1], label])
    quality = _quality_of(model, predictions.columns, version)
    with spark_explained():
        pairs = join_in_time(predictions, labels, keys, times, within, (label, _LABEL))
        pairs = pairs.select(*map(quoted, (PREDICTION, version, *quality.chances, _LABEL)))
    folder = Path(output)

    def keep(batch: Any, number: int) -> None:
        _write(folder, f"batch_id={number}", dataset(batch), quality)

    with spark_explained():
        writer = pairs.writeStream.foreachBatch(keep).option("checkpointLocation", os.fspath(checkpoint))
        return (writer if trigger is None else writer.trigger(**trigger)).start()


def read_quality(folder: str | os.PathLike[str]) -> pa.Table:
    """The metrics of each model version over all pairs of prediction and label that met so far.

    Returns
    -------
    Table with `model_version`, `rows`, `not_counted` (labels that are null, or of a class the model does not
    know), and a column for each metric.

    Raises
    ------
    InputNotFoundError
        When there is nothing yet.

    Examples
    --------
    >>> import tempfile, outgrow as og
    >>> og.read_quality(tempfile.mkdtemp())                                  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    outgrow.errors.InputNotFoundError: No label has met its prediction in ... yet. Try again later.
    """
    if not any(Path(folder).glob("batch_id=*")):
        raise InputNotFoundError(f"No label has met its prediction in {folder} yet. Try again later.")
    states: dict[str, Any] = {}
    kept = read(os.fspath(folder)).to_arrow()
    for row in kept.to_pylist():
        tree = from_tree(artifact.unpack(row["state"]))
        states[row[VERSION]] = merge(states.get(row[VERSION]), tree)
    left_out = () if all(kept["probabilities"].to_pylist()) else _BY_CHANCES
    rows = [_metrics_row(name, states[name], left_out) for name in sorted(states, key=_natural)]
    columns = max(rows, key=len)  # a version without a label that counts has no metrics
    return pa.table({column: [row.get(column) for row in rows] for column in columns})


def _metrics_row(name: str, kept: tuple[Any, np.ndarray], left_out: Sequence[str]) -> dict[str, Any]:
    state, counts = kept
    metrics = {} if state is None else state.metrics()
    metrics = {metric: value for metric, value in metrics.items() if metric not in left_out}
    return {VERSION: name, "rows": int(counts[0]), "not_counted": int(counts[1]), **metrics}


def _natural(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdigit() else (1 << 62, name)


def _quality_of(
    model: str | os.PathLike[str] | ModelStore, columns: Sequence[str], version: str
) -> VersionQuality:
    current = Follower(model.path if isinstance(model, ModelStore) else model).look()
    assert current is not None
    predictor = current.predictor
    if predictor.targets is not None:
        raise ParameterError(
            f"The model predicts {predictor.targets} targets; the quality of one is kept. "
            "Evaluate it on rows with their targets (model.evaluate)."
        )
    if not is_classifier(predictor.model):
        return VersionQuality(None, _LABEL, version)
    chances = predictor.names("predict_proba") if predictor.gives("predict_proba") else []
    classes = tuple(predictor.classes or ())
    return VersionQuality(classes, _LABEL, version, tuple(chances) if set(chances) <= set(columns) else ())


def _write(folder: Path, name: str, pairs: Dataset, quality: VersionQuality) -> None:
    """Keep the states of a batch, unless there is nothing in it, or an earlier try has."""
    total: dict[str, Any] = {}
    for part in pairs.engine.each_piece(pairs.scan, quality, stage="quality"):
        for model_version, tree in part.items():
            total[model_version] = merge(total.get(model_version), from_tree(tree))
    # the batch is gone through even if an earlier try has kept it: Spark's own state goes on with that
    if not total or (folder / name).exists():
        return
    states = [artifact.pack(to_tree(state)) for state in total.values()]
    table = pa.table(
        {
            VERSION: pa.array(list(total), pa.string()),
            "state": pa.array(states, pa.binary()),
            "probabilities": pa.array([bool(quality.chances)] * len(states)),
        }
    )
    with new_directory(folder / name, STATES) as draft:
        pq.write_table(table, draft / "states.parquet")


def _check(frame: Any, what: str, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ColumnNotFoundError(f"{what} has no column {missing[0]!r}. It has {frame.columns}.")
