"""What a fit makes of its own rows, where that is not what it makes of new ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.scan import Scan
from outgrow.data.source import TableSource
from outgrow.engine.dataset import Dataset
from outgrow.engine.local import Local
from outgrow.engine.open import dataset, is_table
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.core.inputs import Training
from outgrow.ml.core.outputs import all_columns, as_given, own
from outgrow.ml.core.task import Task


def fit_passing(estimator: Any, data: Training, X: Any, change: Callable[[Batch], Batch]) -> Any:
    """Fit a transformer, or a pipeline of them; the rows of the fit as a step behind would learn from them.

    Parameters
    ----------
    estimator : not fitted; it has `_fit_passing(shard, task)`.
    data : the opened rows.
    X : what the user gave, whose form the result has.
    change : what it does to a batch of new rows once it is fitted.

    Raises
    ------
    ParameterError
        When the rows are on a cluster.
    """
    who = type(estimator).__name__
    if not isinstance(data.dataset.engine, Local):
        raise ParameterError(
            f"{who}.fit_transform changes the rows it learns from otherwise than new ones, and those of a "
            "cluster stay where they are. Put the model behind it in a Pipeline, or fit, then transform."
        )
    kept: list[Batch] = []

    def learn(worker: Any, shard: Shard, task: Task) -> None:
        rows = worker._fit_passing(shard, task)
        kept.extend(list(rows.batches()) or [rows.example])

    estimator._learn_on_engine(data, learn)
    beside = data.made if is_table(X) else data.beside
    batches = [batch.drop(beside) for batch in kept]
    if not is_table(X):
        return own(all_columns(Batch.joined(batches)), X)
    table = pa.Table.from_batches([batch.to_arrow() for batch in batches])
    order = change(dataset(X).scan.example()).to_arrow().schema.names
    rows = Dataset(Scan(TableSource(table.select(order))), Local())
    return as_given(rows, X, estimator._output)
