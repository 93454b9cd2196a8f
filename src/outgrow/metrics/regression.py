"""How far predicted numbers are from the true ones."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from scipy import special

from outgrow.data.batch import Batch
from outgrow.data.matrix import matrix_columns
from outgrow.data.names import numbered
from outgrow.metrics.report import Report
from outgrow.statistics.rows import open_rows
from outgrow.statistics.summary import summarize

_PARTS = ("y", "error", "absolute", "squared", "relative", "logarithmic", "poisson", "gamma")
"""What each row adds, as columns of their own: metrics are read off their moments."""
_MEANS = {
    "mae": "absolute",
    "mse": "squared",
    "mean_error": "error",
    "mape": "relative",
    "msle": "logarithmic",
    "mean_poisson_deviance": "poisson",
    "mean_gamma_deviance": "gamma",
}
"""The metrics that are means over rows."""


class RegressionReport(Report):
    """The metrics of a regression; see `regression_report`."""


def regression_report(
    data: Any, y_true: str, y_pred: str, *, by: Any = None, sample_weight: Any = None
) -> RegressionReport:
    """Judge predicted numbers, as `sklearn.metrics` does, of all rows or of each group.

    Parameters
    ----------
    data : dataset, Spark DataFrame, or table with the columns.
    y_true, y_pred : the columns of the true and of the predicted numbers. Rows that lack one are left out.
    by : columns whose values make groups, each judged by itself: a name, several, or an array of shape
        (rows,). A missing key is a group of its own.
    sample_weight : the weight of each row: a column's name, or an array of shape (rows,).

    Returns
    -------
    A mapping with `r2`, `explained_variance`, `rmse`, `mse`, `mae`, `median_absolute_error`, `max_error`,
    `mean_error` (of the prediction less the truth), `mape` (a share, 0.1 is 10 %), `rmsle`, `msle`, and the
    mean deviances of Poisson and gamma. What a negative number does not let exist is NaN.

    Raises
    ------
    ColumnNotFoundError, SchemaError
        When a column is not there, or holds no numbers.
    DataError
        When no row counts.

    Notes
    -----
    One pass, and two or three more for the median. Standard errors take rows to be independent.

    Unlike scikit-learn: numbers that a metric is not made for make it NaN, no error; `r2` of one row is a
    number. The weighted median is a value that is there.

    Unlike Spark MLlib's `RegressionEvaluator(metricName="rmse")`: all metrics at once.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"shop": ["a", "a", "b"], "y": [3.0, 5.0, 8.0], "p": [2.0, 5.0, 11.0]})
    >>> report = og.metrics.regression_report(rows, "y", "p", by="shop")
    >>> report["mae"].tolist(), report.rows.tolist()
    ([0.5, 3.0], [2, 1])
    """
    rows = open_rows(data, [y_true, y_pred], by=by, weights=sample_weight)
    names = tuple(numbered(part, rows.dataset.columns) for part in _PARTS)
    parts = rows.dataset.map(partial(_parts, columns=(y_true, y_pred), names=names))
    summary = summarize(parts, list(names), by=list(rows.by) or None, fweights=rows.weight, quantiles=[0.5])
    fields = ("mean", "variance", "count", "weight_sum", "max", "missing")
    table = {name: np.atleast_2d(getattr(summary, name)) for name in fields}
    moments = {part: {name: values[:, j] for name, values in table.items()} for j, part in enumerate(_PARTS)}
    median = np.atleast_2d(summary.quantiles[0.5])[:, _PARTS.index("absolute")]
    return _read(moments, median, summary.groups)


def _parts(batch: Batch, columns: tuple[str, str], names: tuple[str, ...]) -> Batch:
    """What each row adds to the metrics, beside its columns."""
    y, predicted = batch.matrix(list(columns)).T
    y = np.where(np.isnan(predicted), np.nan, y)
    error = predicted - y
    absolute = np.abs(error)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = predicted / y
        parts = [
            y,
            error,
            absolute,
            error * error,
            absolute / np.maximum(np.abs(y), np.finfo(np.float64).eps),
            np.where((y > -1) & (predicted > -1), (np.log1p(predicted) - np.log1p(y)) ** 2, np.nan),
            np.where((y >= 0) & (predicted > 0), 2 * (special.xlogy(y, 1 / ratio) + error), np.nan),
            np.where((y > 0) & (predicted > 0), 2 * (np.log(ratio) + 1 / ratio - 1), np.nan),
        ]
    return batch.with_columns(matrix_columns(np.column_stack(parts), list(names)))


def _read(moments: dict[str, dict[str, Any]], median: np.ndarray, groups: Any) -> RegressionReport:
    """The report of the moments of each part."""
    y, error = moments["y"], moments["error"]
    count, mse = error["count"], moments["squared"]["mean"]
    degrees = np.maximum(error["weight_sum"] - 1, 0.0)
    spread, spread_of_error = (
        np.where(degrees > 0, part["variance"] * degrees, 0.0) / error["weight_sum"] for part in (y, error)
    )
    means, errors = {}, {}
    for name, part in _MEANS.items():
        whole = moments[part]["count"] == count  # else the metric is not made for some number
        means[name] = np.where(whole, moments[part]["mean"], np.nan)
        errors[name] = np.where(whole, np.sqrt(moments[part]["variance"] / np.maximum(count, 1)), np.nan)
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
        **{name: means[name] for name in ("msle", "mean_poisson_deviance", "mean_gamma_deviance")},
    }
    missing = error["missing"]
    if groups is None:
        count, missing = int(count[0]), int(missing[0])
    return RegressionReport(values, count, missing, groups, errors)


def _explained(left: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The share of a spread that is not left; of none at all 1 where nothing is left, else 0."""
    return np.where(spread > 0, 1 - left / np.where(spread > 0, spread, 1), left == 0)
