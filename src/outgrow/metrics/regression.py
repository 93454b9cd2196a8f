"""How far predicted numbers are from the true ones."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from outgrow.data.batch import Batch
from outgrow.data.matrix import matrix_columns
from outgrow.data.names import numbered
from outgrow.engine.dataset import Dataset
from outgrow.metrics.deviances import Constants, group_hashes, pinball, tweedie
from outgrow.metrics.report import Report
from outgrow.ml.core.parameters import Number
from outgrow.statistics.rows import Rows, open_rows
from outgrow.statistics.summary import NOTHING, summary_of

_PARTS = ("y", "error", "absolute", "squared", "relative", "logarithmic", "poisson", "gamma")
"""What each row adds, as columns of their own: metrics are read off their moments; 'pinball' and 'tweedie'
where they are asked for."""
_MEANS = {
    "mae": "absolute",
    "mse": "squared",
    "mean_error": "error",
    "mape": "relative",
    "msle": "logarithmic",
    "mean_poisson_deviance": "poisson",
    "mean_gamma_deviance": "gamma",
    "mean_pinball_loss": "pinball",
    "mean_tweedie_deviance": "tweedie",
}
"""The metrics that are means over rows."""
_SCORED = {
    "d2_absolute_error": "mae",
    "d2_poisson": "mean_poisson_deviance",
    "d2_gamma": "mean_gamma_deviance",
    "d2_pinball": "mean_pinball_loss",
    "d2_tweedie": "mean_tweedie_deviance",
}
"""Which of them D2 scores compare with what the best constant would leave."""
_Constants = dict[str, tuple[str, float, np.ndarray]]
"""By the name of a D2 score: a loss, its quantile or power, and the constant of each group."""


class RegressionReport(Report):
    """The metrics of a regression; see `regression_report`."""


def regression_report(
    data: Any,
    y_true: str,
    y_pred: str,
    *,
    quantile: float | None = None,
    power: float | None = None,
    by: Any = None,
    sample_weight: Any = None,
) -> RegressionReport:
    """Judge predicted numbers, as `sklearn.metrics` does, of all rows or of each group.

    Parameters
    ----------
    data : dataset, Spark DataFrame, or table with the columns.
    y_true, y_pred : the columns of the true and of the predicted numbers. Rows that lack one are left out.
    quantile : between 0 and 1, the one that is predicted: `mean_pinball_loss` and `d2_pinball` are given too.
    power : of the variance of a Tweedie distribution, as 1.5 for claims: `mean_tweedie_deviance` and
        `d2_tweedie` are given too. No number between 0 and 1.
    by : columns whose values make groups, each judged by itself: a name, several, or an array of shape
        (rows,). A missing key is a group of its own.
    sample_weight : the weight of each row: a column's name, or an array of shape (rows,).

    Returns
    -------
    A mapping with `r2`, `explained_variance`, `rmse`, `mse`, `mae`, `median_absolute_error`, `max_error`,
    `mean_error` (of the prediction less the truth), `mape` (a share, 0.1 is 10 %), `rmsle`, `msle`, and the
    mean deviances of Poisson and gamma; and of absolute errors and of both deviances the share that the best
    constant leaves and the prediction does not, `d2_absolute_error`, `d2_poisson` and `d2_gamma`. What a
    negative number does not let exist is NaN.

    Raises
    ------
    ParameterError
        When the quantile or the power is none.
    ColumnNotFoundError, SchemaError
        When a column is not there, or holds no numbers.
    DataError
        When no row counts.

    Notes
    -----
    One pass, two or three more for the medians, and one for what constants leave. Standard errors take rows
    to be independent.

    Unlike scikit-learn: numbers that a metric is not made for make it NaN, no error; `r2` of one row is a
    number, and so are the D2 scores. The weighted median is a value that is there.

    Unlike Spark MLlib's `RegressionEvaluator(metricName="rmse")`: all metrics at once.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"shop": ["a", "a", "b"], "y": [3.0, 5.0, 8.0], "p": [2.0, 5.0, 11.0]})
    >>> report = og.metrics.regression_report(rows, "y", "p", by="shop")
    >>> report["mae"].tolist(), report.rows.tolist()
    ([0.5, 3.0], [2, 1])
    """
    if quantile is not None:
        Number(low=0, high=1).check("regression_report", "quantile", quantile)
    if power is not None:
        (Number(high=0) | Number(low=1)).check("regression_report", "power", power)
    rows = open_rows(data, [y_true, y_pred], by=by, weights=sample_weight)
    parts = (
        *_PARTS,
        *(["pinball"] if quantile is not None else []),
        *(["tweedie"] if power is not None else []),
    )
    names = tuple(numbered(part, rows.dataset.columns) for part in parts)
    made = partial(_parts, columns=(y_true, y_pred), names=names, quantile=quantile, power=power)
    judged = rows.dataset.map(made)
    by = list(rows.by) or None
    summary = summary_of(open_rows(judged, list(names), by=by, weights=rows.weight), [0.5], NOTHING)
    fields = ("mean", "variance", "count", "weight_sum", "max", "missing")
    table = {name: np.atleast_2d(getattr(summary, name)) for name in fields}
    moments = {part: {name: values[:, j] for name, values in table.items()} for j, part in enumerate(parts)}
    medians = np.atleast_2d(summary.quantiles[0.5])
    mean = moments["y"]["mean"]
    constants: _Constants = {
        "d2_absolute_error": ("pinball", 0.5, medians[:, 0]),
        "d2_poisson": ("tweedie", 1.0, mean),
        "d2_gamma": ("tweedie", 2.0, mean),
    }
    if quantile is not None:
        least = _least(judged, names[0], by, rows.weight, quantile)
        constants["d2_pinball"] = ("pinball", quantile, least)
    if power is not None:
        constants["d2_tweedie"] = ("tweedie", power, mean)
    left = _left(rows, (y_true, y_pred), constants, moments["error"]["weight_sum"], summary.groups)
    return _read(moments, medians[:, parts.index("absolute")], left, summary.groups)


def _least(judged: Dataset, y: str, by: list[str] | None, weight: str | None, quantile: float) -> np.ndarray:
    """A value of y in each group that has the least pinball loss: one that is there, not one between two."""
    if weight is None:
        weight = numbered("weight", judged.columns)
        judged = judged.map(partial(_with_ones, name=weight))
    rows = open_rows(judged, [y], by=by, weights=weight)
    return np.atleast_2d(summary_of(rows, [quantile], NOTHING).quantiles[quantile])[:, 0]


def _with_ones(batch: Batch, name: str) -> Batch:
    return batch.with_columns(matrix_columns(np.ones((batch.num_rows, 1)), [name]))


def _parts(
    batch: Batch,
    columns: tuple[str, str],
    names: tuple[str, ...],
    quantile: float | None,
    power: float | None,
) -> Batch:
    """What each row adds to the metrics, beside its columns."""
    y, predicted = batch.matrix(list(columns)).T
    y = np.where(np.isnan(predicted), np.nan, y)
    error = predicted - y
    absolute = np.abs(error)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        parts = [
            y,
            error,
            absolute,
            error * error,
            absolute / np.maximum(np.abs(y), np.finfo(np.float64).eps),
            np.where((y > -1) & (predicted > -1), (np.log1p(predicted) - np.log1p(y)) ** 2, np.nan),
            tweedie(y, predicted, 1),
            tweedie(y, predicted, 2),
        ]
    if quantile is not None:
        parts.append(pinball(y, predicted, quantile))
    if power is not None:
        parts.append(tweedie(y, predicted, power))
    return batch.with_columns(matrix_columns(np.column_stack(parts), list(names)))


def _left(
    rows: Rows, columns: tuple[str, str], constants: _Constants, weight: np.ndarray, groups: Any
) -> dict[str, np.ndarray]:
    """By the name of a D2 score, the mean of what the constant of each group leaves."""
    hashes = group_hashes(groups, rows)
    order = np.argsort(hashes)
    values = np.stack([of_groups[order] for _, _, of_groups in constants.values()])
    losses = tuple((name, number) for name, number, _ in constants.values())
    sums = Constants(hashes[order], values, losses).missed(rows, columns)
    placed = np.empty_like(sums)
    placed[:, order] = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        left = dict(zip(constants, placed / weight, strict=True))
    return {**left, "d2_absolute_error": 2 * left["d2_absolute_error"]}


def _read(
    moments: dict[str, dict[str, Any]], median: np.ndarray, left: dict[str, np.ndarray], groups: Any
) -> RegressionReport:
    """The report of the moments of each part."""
    y, error = moments["y"], moments["error"]
    count, mse = error["count"], moments["squared"]["mean"]
    spread, spread_of_error = y["variance"], error["variance"]
    others = np.where(count > 1, count - 1.0, np.nan)
    means, errors = {}, {}
    means_of = {name: part for name, part in _MEANS.items() if part in moments}
    for name, part in means_of.items():
        whole = moments[part]["count"] == count  # else the metric is not made for some number
        means[name] = np.where(whole, moments[part]["mean"], np.nan)
        errors[name] = np.where(whole, np.sqrt(moments[part]["variance"] / others), np.nan)
    values = {
        "r2": _explained(mse, spread),
        "explained_variance": _explained(spread_of_error, spread),
        "rmse": np.sqrt(mse),
        "mse": means["mse"],
        "mae": means["mae"],
        "median_absolute_error": median,
        "max_error": moments["absolute"]["max"],
        "mean_error": means["mean_error"],
        "mape": means["mape"],
        "rmsle": np.sqrt(means["msle"]),
        **{name: means[name] for name in means_of if name == "msle" or name.startswith("mean_")},
        **{name: _explained(means[_SCORED[name]], constant) for name, constant in left.items()},
    }
    missing = error["missing"]
    if groups is None:
        count, missing = int(count[0]), int(missing[0])
    return RegressionReport(values, count, missing, groups, errors)


def _explained(left: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The share of a spread that is not left; of none at all 1 where nothing is left, else 0."""
    share = np.where(spread > 0, 1 - left / np.where(spread > 0, spread, 1), left == 0)
    return np.where(np.isnan(left) | np.isnan(spread), np.nan, share)
