"""What predictions would have been worth: models of the past, scored on what came next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import clone, is_classifier

from outgrow.data.batch import Batch, is_numeric
from outgrow.data.exact import moment_text
from outgrow.data.keys import in_order
from outgrow.data.scan import Apply, check_columns
from outgrow.data.times import moments
from outgrow.engine.dataset import Dataset
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.groups.scores import measured
from outgrow.groups.summary import ranked_by
from outgrow.ml.core.inputs import Training, open_training
from outgrow.stats.quantiles import quantiles

_WHO = "A backtest"


@dataclass(frozen=True, eq=False)
class Backtest:
    """How models of the past did on what came next.

    Attributes
    ----------
    by : the key columns.
    folds : a row a fold: `fold`, `start` (the first moment predicted), `train_rows`, `rows`, the metrics.
    groups : a row a group and fold: `fold`, the key, `rows`, the metrics.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa, outgrow as og
    >>> day = np.arange(40)
    >>> sales = pa.table({"shop": np.where(day % 2, "a", "b"), "day": day, "sold": 2.0 * day, "x": day % 5.0})
    >>> og.PerGroup(og.DummyRegressor(), by=["shop"]).backtest(sales, "sold", time="day", folds=1)
    fold 1 from 19.5: rmse 41.62 on 20 rows, learned from 20
    """

    by: tuple[str, ...]
    folds: pa.Table
    groups: pa.Table

    def __repr__(self) -> str:
        metric = str(ranked_by(self.groups))
        lines = [
            f"fold {row['fold']} from {row['start']}: {metric} {row[metric]:.4g} on {row['rows']:,} rows, "
            f"learned from {row['train_rows']:,}"
            for row in self.folds.to_pylist()
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class Period:
    """A step of a scan: the rows from one moment to another."""

    time: str
    low: float
    high: float

    def __call__(self, batch: Batch) -> Batch:
        moment = moments(batch, self.time, _WHO)
        return batch.filter((moment >= self.low) & (moment < self.high))


def backtest(
    model: Any, X: Any, y: Any, sample_weight: Any, *, time: str, folds: int, test: float
) -> Backtest:
    """See `PerGroup.backtest`.

    Parameters
    ----------
    model : a `PerGroup`, fitted or not; each fold fits a copy of it, with unseen='null'.
    X, y, sample_weight : as for `PerGroup.fit`; the weights count in the metrics, too.
    time : the column that orders the rows: no key, target or weight. It is no feature here.
    folds : how many moments, at least 1.
    test : the share of the rows, the latest ones, that all folds together predict; between 0 and 1.

    Raises
    ------
    ParameterError
        When one of these is not possible.
    DataError
        When `time` has too few different values for the folds.
    """
    if folds < 1:
        raise ParameterError(f"folds={folds}: at least 1 is needed.")
    if not 0 < test < 1:
        raise ParameterError(f"test={test!r}: the share of the rows to predict lies between 0 and 1.")
    data = open_training(clone(model), X, y, sample_weight)
    check_columns(data.dataset.schema, [time])
    if time in (*model._keys, *data.beside):
        raise ParameterError(
            f"time={time!r} is a key, the target or the weight. It must be a column that orders rows."
        )
    cuts = _cuts(data.dataset, time, [1 - test + test * fold / folds for fold in range(folds)])
    rows, tables = [], []
    for fold, (start, end) in enumerate(zip(cuts, [*cuts[1:], np.inf], strict=True), 1):
        past = clone(model).set_params(unseen="null", checkpoint=None)
        train, coming = _period(data, time, -np.inf, start), _period(data, time, start, end)
        past.fit(train.dataset, data.target, data.weight)
        scores = measured(past, coming)
        classes = is_classifier(model)
        known = int(np.sum(past.groups_["rows"].to_numpy()))
        rows.append(
            {
                "fold": fold,
                "start": _moment(data.dataset, time, start),
                "train_rows": known,
                **scores.total(classes=classes),
            }
        )
        table = scores.table(classes=classes)
        tables.append(table.add_column(0, "fold", pa.array([fold] * table.num_rows)))
    whole = pa.Table.from_pylist(rows)
    column_index = whole.schema.get_field_index("rows")
    whole = whole.set_column(column_index, "rows", whole["rows"].cast(pa.int64()))
    return Backtest(model._keys, whole, in_order(pa.concat_tables(tables), ["fold", *model._keys]))


def _cuts(dataset: Dataset, time: str, shares: list[float]) -> list[float]:
    """The moments before which these shares of the rows lie."""
    moments(dataset.scan.example(), time, _WHO)

    def run(shard: Shard) -> Any:
        def reduce(fold: Any) -> Any:
            return shard.reduce(lambda batch: fold(moments(batch, time, _WHO)[:, None]))

        return quantiles(reduce, 1, shares)[0][:, 0]

    cuts = np.ravel(dataset.engine.fit(run, dataset.scan.select([time]), stage="find the folds").result)
    if len(np.unique(cuts)) < len(cuts):
        raise DataError(f"time={time!r} has too few different values for {len(cuts)} folds. Use fewer.")
    return [float(cut) for cut in cuts]


def _period(data: Training, time: str, low: float, high: float) -> Training:
    scan = data.dataset.scan.then(Apply(Period(time, low, high), data.dataset.schema))
    rows = Dataset(scan, data.dataset.engine)
    return replace(data, dataset=rows.select([name for name in rows.columns if name != time]))


def _moment(dataset: Dataset, time: str, value: float) -> Any:
    kind = dataset.schema.field(time).type
    if is_numeric(kind):
        return value
    try:
        return pa.scalar(int(value), pa.timestamp("us")).as_py()
    except OverflowError:  # Python knows no year past 9999
        return moment_text(int(value))
